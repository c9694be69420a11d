/* SPDX-License-Identifier: Apache-2.0 */
/* Control of sessions: what the host may say, and what it is told. */
#include "guest-agent/rpc/session.h"

#include "common/base/cleanup.h"
#include "common/varlink/params.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

/* Queues a message (reference taken). false: control is gone. */
static bool control_send(struct session *s, json_t *msg)
{
	struct peer *p = s->control;
	_cleanup_free_ char *text = NULL;
	size_t len = 0;

	text = msg ? vl_format(msg, &len) : NULL;
	json_decref(msg);
	if (!text || buf_append(&p->out, text, len) < 0) {
		peer_close(p);
		return false;
	}
	return peer_flush(p);
}

/* The last message: then control has done its part. */
static void control_end(struct session *s, json_t *msg)
{
	struct peer *p = s->control;

	if (control_send(s, msg)) {
		s->control = NULL;
		peer_finish(p);
	}
}

void control_send_exit(struct session *s, const char *message)
{
	struct wire_text safe;

	if (!s->control)
		return;
	control_end(s, json_pack("{s:{s:i,s:i,s:b,s:s*}}", "exit", "code",
				 s->exit.code, "signal", s->exit.sig,
				 "oom_killed", (int)s->exit.oom, "message",
				 message ? wire_text(&safe, message) : NULL));
}

struct resize_params {
	int64_t rows, cols;
};

static int control_resize(struct session *s, const json_t *j, struct err *e)
{
	static const struct vl_field fields[] = {
		{"rows", VL_INT, offsetof(struct resize_params, rows), 0, 65535,
		 false},
		{"cols", VL_INT, offsetof(struct resize_params, cols), 0, 65535,
		 false},
	};
	struct resize_params q = {0};
	struct winsize ws = {0};
	int r;

	r = vl_params_read(j, fields, ARRAY_SIZE(fields), true, &q, NULL, e);
	if (r < 0)
		return r;
	ws.ws_row = (unsigned short)q.rows;
	ws.ws_col = (unsigned short)q.cols;
	if (s->tty && s->streams[STREAM_STDOUT].watch.fd >= 0)
		ioctl(s->streams[STREAM_STDOUT].watch.fd, TIOCSWINSZ, &ws);
	return 0;
}

/* The host wants to leave without ending the session. */
static void control_leave(struct session *s)
{
	struct err e = ERR_INIT;

	if (!s->kept && session_keep(s, &e) < 0) {
		struct wire_text text;

		if (control_send(s, json_pack("{s:{s:s}}", "refused", "message",
					      wire_text(&text, e.msg))))
			peer_update(s->control);
		return;
	}
	session_leave(s);
	if (s->control)
		control_end(s, json_pack("{s:{}}", "detached"));
}

/* Of a kept session a connection's end may be a host that was killed: that
 * stdin has ended is said. */
static void control_eof(struct session *s)
{
	s->in_eof = true;
	if (s->kept && s->in_closed)
		input_end(&s->streams[STREAM_STDIN]);
}

static int control_message(struct session *s, const json_t *msg, struct err *e)
{
	const json_t *resize = json_object_get(msg, "resize");
	const json_t *sig = json_object_get(msg, "signal");
	json_int_t n;

	if (json_object_size(msg) != 1)
		return err_set(e, EINVAL, "control: one member a message");
	if (resize)
		return control_resize(s, resize, e);
	if (json_is_true(json_object_get(msg, "detach"))) {
		control_leave(s);
		return 0;
	}
	if (json_is_true(json_object_get(msg, "eof"))) {
		control_eof(s);
		return 0;
	}
	n = json_integer_value(sig);
	if (!json_is_integer(sig) || n < 1 || n > 64)
		return err_set(e, EINVAL, "control: no message that is known");
	/* It may have ended this very moment. */
	if (s->pidfd >= 0)
		syscall(SYS_pidfd_send_signal, s->pidfd, (int)n, NULL, 0);
	return 0;
}

static void control_readable(struct peer *p)
{
	struct session *s = p->owner;
	struct err e = ERR_INIT;
	json_t *msg;
	ssize_t n = -EAGAIN;
	int r;

	if (p->conn.in.len <= AGENT_CONTROL_MAX)
		n = vl_conn_fill(&p->conn);
	while ((r = vl_conn_next(&p->conn, &msg, &e)) > 0) {
		r = control_message(s, msg, &e);
		json_decref(msg);
		if (s->control != p)
			return;
		if (r < 0)
			break;
	}
	if (r < 0 || p->conn.n_fds > 0 || (n <= 0 && n != -EAGAIN) ||
	    p->conn.in.len > AGENT_CONTROL_MAX)
		peer_close(p);
	else if (p->conn.in.len == 0)
		buf_done(&p->conn.in);
}

/* A kept session goes on. What was sent to its input still arrives. */
static void kept_gone(struct session *s)
{
	size_t i;

	s->in_eof = false;
	s->in_closed = false;
	for (i = STREAM_STDOUT; i < STREAM_N; i++)
		if (s->streams[i].peer)
			peer_close(s->streams[i].peer);
}

/* The host has left. */
static void control_gone(struct peer *p)
{
	struct session *s = p->owner;
	size_t i;

	if (s->control != p)
		return;
	s->control = NULL;
	if (s->kept) {
		kept_gone(s);
		return;
	}
	if (s->tty) {
		/* The terminal's last descriptors: the kernel hangs up. */
		for (i = 0; i < STREAM_N; i++)
			stream_end(&s->streams[i]);
		if (s->pidfd >= 0)
			syscall(SYS_pidfd_send_signal, s->pidfd, SIGHUP, NULL,
				0);
	}
	for (i = 0; !s->tty && i < STREAM_N; i++) {
		struct session_stream *st = &s->streams[i];

		/* Nobody will come for it any more. */
		st->attached = true;
		if (st->watch.fd < 0 || st->peer)
			continue;
		if (i != STREAM_STDIN) {
			st->discard = true;
			poller_watch(&s->agent->poller, &st->watch, EPOLLIN);
		} else {
			stream_end(st);
		}
	}
	session_look(s);
}

const struct peer_mode session_control_mode = {
	.readable = control_readable,
	.gone = control_gone,
};

struct signal_params {
	const char *session;
	int64_t signal;
};

/* Its process has a session of the kernel's of its own from the set-up on, and
 * so a group of its pid's number. That is no other's as long as the process,
 * ended or not, has not been reaped, which its pidfd tells. */
static int signal_group(const struct session *s, int sig)
{
	if (s->pidfd < 0 ||
	    syscall(SYS_pidfd_send_signal, s->pidfd, 0, NULL, 0) < 0)
		return -ESRCH;
	return kill(-s->pid, sig) < 0 ? -errno : 0;
}

int method_signal_session(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"session", VL_STRING, offsetof(struct signal_params, session),
		 32, 32, false},
		{"signal", VL_INT, offsetof(struct signal_params, signal), 1,
		 64, false},
	};
	struct signal_params q = {0};
	struct peer *p = ctx;
	struct session *s;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &q, NULL, e);
	if (r < 0)
		return r;
	s = session_find(p->agent, q.session);
	if (!s) {
		peer_error_not_found(p, q.session);
		return 0;
	}
	r = s->pid > 0 ? signal_group(s, (int)q.signal) : -ESRCH;
	if (r == -ESRCH) {
		peer_error_state(p, "exited", "it has ended");
	} else if (r < 0) {
		err_sys(e, -r, "signal the session");
		peer_error_err(p, e);
	} else {
		peer_reply(p, NULL);
	}
	return 0;
}
