/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exec and Attach.
 *
 * Theory of operation
 *
 * A session is a process in a container, up to three streams (our ends of its
 * pipes, or of its terminal) and up to four connections: control, and one for
 * each stream that has been attached. It lives until the process has ended,
 * its exit has been told (or control is gone), and its output has been taken
 * (or nobody will).
 *
 *   stream's connection goes   the process does not notice: what it writes is
 *                              dropped, its input ends
 *   control goes first         with a terminal: hang-up; without: it goes on,
 *                              and streams that nobody attached are dropped
 *   process ends               exit is told at once; output goes on until all
 *                              of it is written and the pipe has ended, or
 *                              what is left behind is silent
 */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "common/varlink/params.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static void stream_run(struct session_stream *st);

static struct session *session_find(struct agent *a, const char *id)
{
	size_t i;

	for (i = 0; i < AGENT_SESSIONS_MAX; i++)
		if (a->sessions[i].used && strcmp(a->sessions[i].id, id) == 0)
			return &a->sessions[i];
	return NULL;
}

struct session *session_find_pid(struct agent *a, pid_t pid)
{
	size_t i;

	for (i = 0; i < AGENT_SESSIONS_MAX; i++)
		if (a->sessions[i].used && a->sessions[i].pid == pid)
			return &a->sessions[i];
	return NULL;
}

void sessions_forget(struct slot *slot)
{
	struct agent *a = slot->agent;
	size_t i;

	for (i = 0; i < AGENT_SESSIONS_MAX; i++)
		if (a->sessions[i].used && a->sessions[i].slot == slot)
			a->sessions[i].slot = NULL;
}

static bool is_output(const struct session_stream *st)
{
	return st != &st->session->streams[STREAM_STDIN];
}

/* Our end is closed: the stream is over, its connection ends in order. */
static void stream_end(struct session_stream *st)
{
	struct peer *p = st->peer;

	poller_close(&st->session->agent->poller, &st->watch);
	copy_done(&st->copy);
	st->peer = NULL;
	if (p)
		peer_finish(p);
}

static void session_free(struct session *s)
{
	size_t i;

	if (!s->used)
		return;
	for (i = 0; i < STREAM_N; i++)
		stream_end(&s->streams[i]);
	poller_timer_cancel(&s->agent->poller, &s->linger);
	cleanup_close(&s->pidfd);
	s->used = false;
	if (s->control) {
		struct peer *p = s->control;

		s->control = NULL;
		peer_close(p);
	}
}

/* Frees it when nothing is left to do. */
static void session_look(struct session *s)
{
	size_t i;

	if (!s->used || !s->ended || s->control)
		return;
	for (i = STREAM_STDOUT; i < STREAM_N; i++)
		if (s->streams[i].watch.fd >= 0 || s->streams[i].peer)
			return;
	/* A stream that has ended already may still be asked for. */
	for (i = STREAM_STDOUT; i < STREAM_N; i++)
		if (!s->streams[i].attached && s->linger.armed)
			return;
	session_free(s);
}

/* ----------------------------------------------------------------- streams */

static ssize_t discard_write(void *arg, const void *buf, size_t len)
{
	(void)arg;
	(void)buf;
	return (ssize_t)len;
}

/* As a descriptor; but what a pipe does not have by now will not come. */
static ssize_t output_read(void *arg, void *buf, size_t len)
{
	struct session_stream *st = arg;
	ssize_t n = copy_fd_read(&st->watch.fd, buf, len);

	return n == -EAGAIN && st->session->cut ? 0 : n;
}

static void output_run(struct session_stream *st)
{
	struct peer *p = st->peer;
	uint32_t events = EPOLLIN;

	if (!p && !st->discard) {
		poller_watch(&st->session->agent->poller, &st->watch, 0);
		return;
	}
	switch (copy_run(&st->copy, output_read, st,
			 p ? peer_write : discard_write, p)) {
	case COPY_READ:
		break;
	case COPY_WRITE:
		events = 0;
		break;
	case COPY_DONE:
		stream_end(st);
		return;
	case COPY_BROKEN:
		/* The connection is gone: see stream_gone(). */
		if (p)
			peer_close(p);
		return;
	}
	if (p) {
		p->want_out = events == 0;
		peer_update(p);
	}
	poller_watch(&st->session->agent->poller, &st->watch, events);
}

/* The host has nothing more to say: end of file for the process. */
static void input_end(struct session_stream *st)
{
	static const char eot = 4; /* what a terminal takes for the end */

	if (st->session->tty && st->watch.fd >= 0 &&
	    write(st->watch.fd, &eot, 1) < 0 && errno != EAGAIN)
		errno = 0;
	stream_end(st);
}

static void input_run(struct session_stream *st)
{
	struct peer *p = st->peer;
	uint32_t events = 0;

	if (!p)
		return;
	switch (copy_run(&st->copy, peer_read, p, copy_fd_write,
			 &st->watch.fd)) {
	case COPY_READ:
		p->want_in = true;
		break;
	case COPY_WRITE:
		p->want_in = false;
		events = EPOLLOUT;
		break;
	case COPY_DONE:
		input_end(st);
		return;
	case COPY_BROKEN:
		stream_end(st);
		return;
	}
	peer_update(p);
	poller_watch(&st->session->agent->poller, &st->watch, events);
}

static void stream_run(struct session_stream *st)
{
	struct session *s = st->session;

	if (st->watch.fd < 0)
		return;
	if (is_output(st))
		output_run(st);
	else
		input_run(st);
	session_look(s);
}

static void on_stream(struct watch *w, uint32_t events)
{
	(void)events;
	stream_run(container_of(w, struct session_stream, watch));
}

static void stream_readable(struct peer *p)
{
	struct session_stream *st = p->owner;
	char drop[512];
	ssize_t n;

	if (!is_output(st)) {
		stream_run(st);
		return;
	}
	/* The host has nothing to say here. Its end of file may be a half
	 * close; that it does not listen either is seen when writing. */
	n = peer_read(p, drop, sizeof(drop));
	if (n == 0) {
		p->want_in = false;
		peer_update(p);
	} else if (n < 0 && n != -EAGAIN) {
		peer_close(p);
	}
}

static void stream_writable(struct peer *p)
{
	struct session_stream *st = p->owner;

	p->want_out = false;
	stream_run(st);
}

static void stream_gone(struct peer *p)
{
	struct session_stream *st = p->owner;
	struct session *s = st->session;

	st->peer = NULL;
	copy_done(&st->copy);
	if (is_output(st)) {
		st->discard = true;
		poller_watch(&s->agent->poller, &st->watch, EPOLLIN);
	} else {
		input_end(st);
	}
	session_look(s);
}

static const struct peer_mode stream_mode = {
	.readable = stream_readable,
	.writable = stream_writable,
	.gone = stream_gone,
};

/* ----------------------------------------------------------------- control */

static void send_exit(struct session *s, int code, int sig, bool oom,
		      const char *message)
{
	struct peer *p = s->control;
	_cleanup_free_ char *text = NULL;
	struct wire_text safe;
	json_t *msg;
	size_t len;

	s->control = NULL;
	if (!p)
		return;
	msg = json_pack("{s:{s:i,s:i,s:b,s:s*}}", "exit", "code", code,
			"signal", sig, "oom_killed", (int)oom, "message",
			message ? wire_text(&safe, message) : NULL);
	text = msg ? vl_format(msg, &len) : NULL;
	json_decref(msg);
	if (!text || buf_append(&p->out, text, len) < 0) {
		peer_close(p);
		return;
	}
	if (peer_flush(p))
		peer_finish(p);
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

static int control_message(struct session *s, const json_t *msg, struct err *e)
{
	const json_t *resize = json_object_get(msg, "resize");
	const json_t *sig = json_object_get(msg, "signal");
	json_int_t n;

	if (json_object_size(msg) != 1)
		return err_set(e, EINVAL, "control: one member a message");
	if (resize)
		return control_resize(s, resize, e);
	n = json_integer_value(sig);
	if (!json_is_integer(sig) || n < 1 || n > 64)
		return err_set(e, EINVAL, "control: neither resize nor signal");
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
		if (r < 0)
			break;
	}
	if (r < 0 || p->conn.n_fds > 0 || (n <= 0 && n != -EAGAIN) ||
	    p->conn.in.len > AGENT_CONTROL_MAX)
		peer_close(p);
	else if (p->conn.in.len == 0)
		buf_done(&p->conn.in);
}

/* The host has left. */
static void control_gone(struct peer *p)
{
	struct session *s = p->owner;
	size_t i;

	if (s->control != p)
		return;
	s->control = NULL;
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
		if (is_output(st)) {
			st->discard = true;
			poller_watch(&s->agent->poller, &st->watch, EPOLLIN);
		} else {
			stream_end(st);
		}
	}
	session_look(s);
}

static const struct peer_mode control_mode = {
	.readable = control_readable,
	.gone = control_gone,
};

/* --------------------------------------------------------------------- end */

static void on_linger(struct timer *t)
{
	struct session *s = container_of(t, struct session, linger);
	size_t i;

	if (!s->cut) {
		s->cut = true;
		poller_timer_set(&s->agent->poller, t,
				 now_ms() + AGENT_SESSION_KEEP_MS);
		for (i = STREAM_STDOUT; s->used && i < STREAM_N; i++)
			stream_run(&s->streams[i]);
		return;
	}
	/* What nobody has asked for by now, nobody will. */
	for (i = STREAM_STDOUT; i < STREAM_N; i++)
		if (!s->streams[i].peer)
			stream_end(&s->streams[i]);
	session_look(s);
}

static uint64_t oom_kills(const struct session *s)
{
	struct container_stats stats;

	if (!s->slot ||
	    container_get_stats(s->slot->container, &stats, NULL) < 0)
		return s->oom_kills;
	return stats.oom_kills;
}

static void session_over(struct session *s)
{
	s->ended = true;
	s->pid = 0;
	cleanup_close(&s->pidfd);
	stream_end(&s->streams[STREAM_STDIN]);
	poller_timer_set(&s->agent->poller, &s->linger,
			 now_ms() + AGENT_SESSION_DRAIN_MS);
}

void session_ended(struct session *s, int wait_status)
{
	int sig = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
	int code = sig ? 128 + sig : WEXITSTATUS(wait_status);
	bool oom = sig == SIGKILL && oom_kills(s) > s->oom_kills;

	session_over(s);
	send_exit(s, code, sig, oom, NULL);
	session_look(s);
}

/* -------------------------------------------------------------------- Exec */

struct exec_params {
	const char *session, *id;
	json_t *args, *env;
	const char *cwd, *user;
	bool tty, in;
	int64_t rows, cols;
};

static bool session_id_is_valid(const char *s)
{
	unsigned char raw[16];

	return hex_parse(s, raw, sizeof(raw)) == 0;
}

static int exec_read(const struct vl_call *call, struct exec_params *q,
		     struct err *e)
{
#define AT(m) offsetof(struct exec_params, m)
	static const struct vl_field fields[] = {
		{"session", VL_STRING, AT(session), 0, 32, false},
		{"id", VL_STRING, AT(id), 0, AGENT_ID_MAX, false},
		{"args", VL_STRINGS, AT(args), 0, AGENT_ARGS_MAX, false},
		{"env", VL_STRINGS, AT(env), 0, AGENT_ENV_MAX, false},
		{"cwd", VL_STRING, AT(cwd), 0, 4095, false},
		{"user", VL_STRING, AT(user), 0, AGENT_USER_MAX, false},
		{"tty", VL_BOOL, AT(tty), 0, 0, false},
		{"rows", VL_INT, AT(rows), 0, 65535, false},
		{"cols", VL_INT, AT(cols), 0, 65535, false},
		{"stdin", VL_BOOL, AT(in), 0, 0, false},
	};
#undef AT
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   q, NULL, e);
	if (r < 0)
		return r;
	if (!session_id_is_valid(q->session))
		return err_set(e, EINVAL,
			       "session: must be 32 hexadecimal digits");
	if (json_array_size(q->args) == 0 ||
	    json_string_length(json_array_get(q->args, 0)) == 0)
		return err_set(e, EINVAL, "args: no program is named");
	if (q->cwd[0] && q->cwd[0] != '/')
		return err_set(e, EINVAL, "cwd: must be absolute");
	return 0;
}

static struct session *session_new(struct agent *a, const char *id,
				   struct slot *slot)
{
	struct session *s = NULL;
	size_t i;

	for (i = 0; i < AGENT_SESSIONS_MAX && !s; i++)
		if (!a->sessions[i].used)
			s = &a->sessions[i];
	if (!s)
		return NULL;
	memset(s, 0, sizeof(*s));
	s->agent = a;
	s->slot = slot;
	s->pidfd = -1;
	s->linger.fn = on_linger;
	snprintf(s->id, sizeof(s->id), "%s", id);
	for (i = 0; i < STREAM_N; i++) {
		s->streams[i].session = s;
		s->streams[i].watch = (struct watch){.fd = -1, .fn = on_stream};
	}
	return s;
}

/* Our ends into the session, the process's into stdio. */
static int make_pipes(struct session *s, bool in, int stdio[3], struct err *e)
{
	size_t i;
	int fds[2], r;

	for (i = 0; i < STREAM_N; i++) {
		if (i == STREAM_STDIN && !in)
			continue;
		if (pipe2(fds, O_CLOEXEC) < 0)
			return err_sys(e, errno, "pipe");
		s->streams[i].watch.fd = fds[i == STREAM_STDIN ? 1 : 0];
		stdio[i] = fds[i == STREAM_STDIN ? 0 : 1];
		r = fd_set_nonblock(s->streams[i].watch.fd, true);
		if (r < 0)
			return err_sys(e, -r, "pipe");
	}
	return 0;
}

/* A terminal has one descriptor for both directions; epoll wants two. */
static int take_console(struct session *s, int fd, bool in, struct err *e)
{
	int r;

	s->streams[STREAM_STDOUT].watch.fd = fd;
	r = fd_set_nonblock(fd, true);
	if (r < 0)
		return err_sys(e, -r, "terminal");
	if (!in)
		return 0;
	s->streams[STREAM_STDIN].watch.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (s->streams[STREAM_STDIN].watch.fd < 0)
		return err_sys(e, errno, "terminal");
	return 0;
}

static int run_process(struct session *s, const struct exec_params *q,
		       struct container_failure *failure, struct err *e)
{
	_cleanup_free_ const char **args = vl_strings(q->args);
	_cleanup_free_ const char **env = vl_strings(q->env);
	struct container_process proc = {.pidfd = -1, .console = -1};
	struct container_exec_spec spec = {
		.args = args,
		.env = env,
		.cwd = q->cwd,
		.user = q->user,
		.search_path = true,
		.terminal = q->tty,
		.rows = (uint16_t)q->rows,
		.cols = (uint16_t)q->cols,
		.stdio = {-1, -1, -1},
	};
	size_t i;
	int r = 0;

	if (!args || !env)
		return err_sys(e, ENOMEM, "exec");
	if (!q->tty)
		r = make_pipes(s, q->in, spec.stdio, e);
	if (r == 0)
		r = container_exec(s->slot->container, &spec, &proc, failure,
				   e);
	for (i = 0; i < 3; i++)
		cleanup_close(&spec.stdio[i]);
	if (r < 0)
		return r;
	s->pid = proc.pid;
	s->pidfd = proc.pidfd;
	s->tty = q->tty;
	/* A terminal has no third stream: nobody is waited for. */
	s->streams[STREAM_STDERR].attached = q->tty;
	return q->tty ? take_console(s, proc.console, q->in, e) : 0;
}

static void close_streams(struct session *s)
{
	size_t i;

	for (i = 0; i < STREAM_N; i++)
		poller_close(&s->agent->poller, &s->streams[i].watch);
}

/* The session is there: with a process, or with the exit that the program
 * could not be executed. */
static void exec_answer(struct peer *p, struct session *s,
			const struct container_failure *failure,
			const struct err *e)
{
	s->used = true;
	s->control = p;
	peer_upgrade(p, &control_mode, s);
	if (s->pid != 0 || !s->used)
		return;
	close_streams(s);
	session_over(s);
	send_exit(s, failure->exit_code, 0, false, e->msg);
}

int method_exec(void *ctx, struct vl_call *call, struct err *e)
{
	struct container_failure failure = {0};
	struct exec_params q = {0};
	struct peer *p = ctx;
	struct session *s;
	struct slot *slot;
	int r;

	r = exec_read(call, &q, e);
	if (r < 0)
		return r;
	slot = peer_running_slot(p, q.id);
	if (!slot)
		return 0;
	if (session_find(p->agent, q.session)) {
		peer_error(p, IFACE "AlreadyExists",
			   json_pack("{s:s}", "what", q.session));
		return 0;
	}
	s = session_new(p->agent, q.session, slot);
	if (!s) {
		peer_error_limit(p, "sessions", AGENT_SESSIONS_MAX);
		return 0;
	}
	s->oom_kills = oom_kills(s);
	r = run_process(s, &q, &failure, e);
	if (r < 0 && (s->pid != 0 || failure.exit_code == 0)) {
		/* What runs without a terminal ends by the hang-up. */
		close_streams(s);
		cleanup_close(&s->pidfd);
		return r;
	}
	exec_answer(p, s, &failure, e);
	return 0;
}

/* ------------------------------------------------------------------ Attach */

struct attach_params {
	const char *session, *stream;
};

static int stream_index(const char *name)
{
	static const char *const names[] = {"stdin", "stdout", "stderr"};
	int i;

	_Static_assert(ARRAY_SIZE(names) == STREAM_N, "stream names");
	for (i = 0; i < STREAM_N; i++)
		if (strcmp(names[i], name) == 0)
			return i;
	return -1;
}

int method_attach(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"session", VL_STRING, offsetof(struct attach_params, session),
		 0, 32, false},
		{"stream", VL_STRING, offsetof(struct attach_params, stream), 0,
		 16, false},
	};
	struct attach_params q = {0};
	struct session_stream *st;
	struct peer *p = ctx;
	struct session *s;
	int r, which;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &q, NULL, e);
	if (r < 0)
		return r;
	which = stream_index(q.stream);
	if (which < 0)
		return err_set(e, EINVAL,
			       "stream: must be stdin, stdout or stderr");
	s = session_find(p->agent, q.session);
	if (!s || (s->tty && which == STREAM_STDERR)) {
		peer_error_not_found(p, s ? q.stream : q.session);
		return 0;
	}
	st = &s->streams[which];
	if (st->attached) {
		peer_error(p, IFACE "AlreadyExists",
			   json_pack("{s:s}", "what", q.stream));
		return 0;
	}
	st->attached = true;
	peer_upgrade(p, &stream_mode, st);
	if (!p->used)
		return 0;
	st->peer = p;
	if (st->watch.fd < 0)
		stream_end(st);
	else
		stream_run(st);
	if (s->used)
		session_look(s);
	return 0;
}

void sessions_done(struct agent *a)
{
	size_t i;

	for (i = 0; i < AGENT_SESSIONS_MAX; i++)
		session_free(&a->sessions[i]);
}
