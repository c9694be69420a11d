/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exec and Attach.
 *
 * Theory of operation
 *
 * A session is a process in a container, up to three streams (our ends of its
 * pipes, or of its terminal; session_stream.c) and up to four connections:
 * control (session_control.c), and one for each stream that has been attached.
 * It lives until the process has ended, its exit has been told (or control is
 * gone), and its output has been taken (or nobody will). One that is kept
 * (session_keep.c) does not depend on connections.
 *
 *   stream's connection goes   the process does not notice: what it writes is
 *                              dropped, its input ends
 *   control goes first         with a terminal: hang-up; without: it goes on,
 *                              and streams that nobody attached are dropped
 *   process ends               exit is told at once; output goes on until all
 *                              of it is written and the pipe has ended, or
 *                              what is left behind is silent
 */
#include "guest-agent/rpc/session.h"

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

struct session *session_find(struct agent *a, const char *id)
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

	for (i = 0; i < AGENT_SESSIONS_MAX; i++) {
		struct session *s = &a->sessions[i];

		if (!s->used || s->slot != slot)
			continue;
		s->slot = NULL;
		/* Nobody can ask for it any more. */
		if (s->kept && s->ended && !session_is_attached(s))
			session_free(s);
	}
}

void session_free(struct session *s)
{
	size_t i;

	if (!s->used)
		return;
	for (i = 0; i < STREAM_N; i++) {
		stream_end(&s->streams[i]);
		outring_done(&s->streams[i].ring);
	}
	poller_timer_cancel(&s->agent->poller, &s->linger);
	cleanup_close(&s->pidfd);
	s->used = false;
	if (s->control) {
		struct peer *p = s->control;

		s->control = NULL;
		peer_close(p);
	}
}

void session_look(struct session *s)
{
	size_t i;

	if (!s->used || !s->ended || s->control || s->kept)
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

/* --------------------------------------------------------------------- end */

/* How long it is there for those who come after its end. */
static uint64_t keep_ms(const struct session *s)
{
	return s->kept && s->slot ? AGENT_KEPT_STATUS_MS
				  : AGENT_SESSION_KEEP_MS;
}

static void on_linger(struct timer *t)
{
	struct session *s = container_of(t, struct session, linger);
	size_t i;

	if (!s->cut) {
		s->cut = true;
		poller_timer_set(&s->agent->poller, t, now_ms() + keep_ms(s));
		for (i = STREAM_STDOUT; s->used && i < STREAM_N; i++)
			stream_run(&s->streams[i]);
		return;
	}
	if (s->kept && session_is_attached(s)) {
		poller_timer_set(&s->agent->poller, t,
				 now_ms() + AGENT_SESSION_KEEP_MS);
		return;
	}
	if (s->kept) {
		session_free(s);
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
	s->finished_at = now_realtime_ns();
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

	s->exit.code = code;
	s->exit.sig = sig;
	s->exit.oom = sig == SIGKILL && oom_kills(s) > s->oom_kills;
	session_over(s);
	control_send_exit(s, NULL);
	session_look(s);
}

/* -------------------------------------------------------------------- Exec */

struct exec_params {
	const char *session, *id;
	json_t *args, *env;
	const char *cwd, *user;
	bool tty, in, detach;
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
		{"detach", VL_BOOL, AT(detach), 0, 0, true},
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

/* Words with blanks between them, as far as there is room. */
static void note_command(struct session *s, const json_t *args)
{
	size_t i, n, at = 0;

	for (i = 0; i < json_array_size(args); i++) {
		n = (size_t)snprintf(
			s->command + at, sizeof(s->command) - at, "%s%s",
			i ? " " : "",
			json_string_value(json_array_get(args, i)));
		if (n >= sizeof(s->command) - at)
			break;
		at += n;
	}
}

static struct session *session_new(struct agent *a, const struct exec_params *q,
				   struct slot *slot)
{
	struct session *s = NULL, *old;
	size_t i;

	for (i = 0; i < AGENT_SESSIONS_MAX && !s; i++)
		if (!a->sessions[i].used)
			s = &a->sessions[i];
	if (!s) {
		old = session_oldest_ended(a, NULL);
		if (old)
			session_free(old);
		s = old;
	}
	if (!s)
		return NULL;
	memset(s, 0, sizeof(*s));
	s->agent = a;
	s->slot = slot;
	s->pidfd = -1;
	s->in = q->in;
	s->linger.fn = on_linger;
	snprintf(s->id, sizeof(s->id), "%s", q->session);
	note_command(s, q->args);
	streams_init(s);
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

/* It has not come to be. What runs without a terminal ends by the hang-up. */
static void session_drop(struct session *s)
{
	size_t i;

	for (i = 0; i < STREAM_N; i++)
		poller_close(&s->agent->poller, &s->streams[i].watch);
	cleanup_close(&s->pidfd);
	session_unkeep(s);
}

/* The session is there: with a process, or with the exit that the program
 * could not be executed. */
static void exec_answer(struct peer *p, struct session *s,
			const struct container_failure *failure,
			const struct err *e)
{
	size_t i;

	s->used = true;
	s->started_at = now_realtime_ns();
	s->control = p;
	peer_upgrade(p, &session_control_mode, s);
	for (i = STREAM_STDOUT; s->used && s->kept && i < STREAM_N; i++)
		stream_run(&s->streams[i]);
	if (s->pid != 0 || !s->used)
		return;
	for (i = 0; i < STREAM_N; i++)
		poller_close(&s->agent->poller, &s->streams[i].watch);
	s->exit.code = failure->exit_code;
	session_over(s);
	control_send_exit(s, e->msg);
}

/* Who leaves at once is told by an error. */
static void exec_refused(struct peer *p, const struct container_failure *f,
			 const struct err *e)
{
	struct wire_text text;

	peer_error(p, IFACE "StartError",
		   json_pack("{s:i,s:s,s:s}", "exit_code", f->exit_code, "step",
			     f->step, "message", wire_text(&text, e->msg)));
}

/* 0 with *ret NULL: the call has been answered with an error. */
static int exec_session(struct peer *p, const struct exec_params *q,
			struct session **ret, struct err *e)
{
	struct slot *slot = peer_running_slot(p, q->id);
	struct session *s;
	int r = 0;

	*ret = NULL;
	if (!slot)
		return 0;
	if (session_find(p->agent, q->session)) {
		peer_error(p, IFACE "AlreadyExists",
			   json_pack("{s:s}", "what", q->session));
		return 0;
	}
	s = session_new(p->agent, q, slot);
	if (!s) {
		peer_error_limit(p, "sessions", AGENT_SESSIONS_MAX);
		return 0;
	}
	if (q->detach)
		r = session_keep(s, e);
	if (r == -EUSERS)
		peer_error_limit(p, "detached sessions", AGENT_KEPT_MAX);
	else if (r == 0)
		*ret = s;
	return r == -EUSERS ? 0 : r;
}

int method_exec(void *ctx, struct vl_call *call, struct err *e)
{
	struct container_failure failure = {0};
	struct exec_params q = {0};
	struct peer *p = ctx;
	struct session *s = NULL;
	int r;

	r = exec_read(call, &q, e);
	if (r == 0)
		r = exec_session(p, &q, &s, e);
	if (r < 0 || !s)
		return r;
	s->oom_kills = oom_kills(s);
	r = run_process(s, &q, &failure, e);
	if (r < 0 && (s->pid != 0 || failure.exit_code == 0 || q.detach)) {
		bool told = s->pid == 0 && failure.exit_code != 0;

		session_drop(s);
		if (told)
			exec_refused(p, &failure, e);
		return told ? 0 : r;
	}
	exec_answer(p, s, &failure, e);
	return 0;
}

/* ------------------------------------------------------------------ Attach */

#define STREAM_CONTROL STREAM_N

struct attach_params {
	const char *session, *stream;
	bool steal, replay;
};

static int attach_read(const struct vl_call *call, struct attach_params *q,
		       int *ret_which, struct err *e)
{
	static const char *const names[] = {"stdin", "stdout", "stderr",
					    "control"};
#define AT(m) offsetof(struct attach_params, m)
	static const struct vl_field fields[] = {
		{"session", VL_STRING, AT(session), 0, 32, false},
		{"stream", VL_STRING, AT(stream), 0, 16, false},
		{"steal", VL_BOOL, AT(steal), 0, 0, true},
		{"replay", VL_BOOL, AT(replay), 0, 0, true},
	};
#undef AT
	int i, r;

	_Static_assert(ARRAY_SIZE(names) == STREAM_CONTROL + 1, "stream names");
	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   q, NULL, e);
	if (r < 0)
		return r;
	for (i = 0; i <= STREAM_CONTROL; i++) {
		if (strcmp(names[i], q->stream) == 0) {
			*ret_which = i;
			return 0;
		}
	}
	return err_set(e, EINVAL,
		       "stream: must be control, stdin, stdout or stderr");
}

/* Whoever has control is the session's host. */
static void attach_control(struct peer *p, struct session *s,
			   const struct attach_params *q)
{
	if (!s->kept) {
		peer_error_state(p, "attached", "it has not been detached");
		return;
	}
	if (session_is_attached(s) && !q->steal) {
		peer_error(p, IFACE "AlreadyExists",
			   json_pack("{s:s}", "what", "control"));
		return;
	}
	if (session_is_attached(s))
		session_take_over(s);
	s->in_eof = false;
	s->in_closed = false;
	s->control = p;
	peer_upgrade_with(p, &session_control_mode, s,
			  json_pack("{s:b,s:b}", "tty", (int)s->tty, "stdin",
				    (int)s->in));
	if (s->ended)
		control_send_exit(s, NULL);
}

/* false: the stream is another's. */
static bool stream_is_free(struct session_stream *st)
{
	if (!st->session->kept)
		return !st->attached;
	/* What its last host has sent is still on its way: nobody is there. */
	if (st == &st->session->streams[STREAM_STDIN] && st->peer)
		peer_close(st->peer);
	return !st->peer;
}

static void attach_stream(struct peer *p, struct session_stream *st,
			  const struct attach_params *q)
{
	struct session *s = st->session;
	json_t *params = NULL;

	if (!stream_is_free(st)) {
		peer_error(p, IFACE "AlreadyExists",
			   json_pack("{s:s}", "what", q->stream));
		return;
	}
	st->attached = true;
	if (s->kept) {
		st->copy = (struct copy){0};
		if (st->ring.data)
			params = json_pack(
				"{s:I}", "lost",
				(json_int_t)outring_seek(&st->ring, q->replay));
		else
			s->in_closed = false;
	}
	peer_upgrade_with(p, &session_stream_mode, st, params);
	if (!p->used)
		return;
	st->peer = p;
	if (st->watch.fd < 0 && !st->ring.data)
		stream_end(st);
	else
		stream_run(st);
	if (s->used)
		session_look(s);
}

int method_attach(void *ctx, struct vl_call *call, struct err *e)
{
	struct attach_params q = {0};
	struct peer *p = ctx;
	struct session *s;
	int r, which = 0;

	r = attach_read(call, &q, &which, e);
	if (r < 0)
		return r;
	s = session_find(p->agent, q.session);
	if (!s || (s->tty && which == STREAM_STDERR)) {
		peer_error_not_found(p, s ? q.stream : q.session);
		return 0;
	}
	if (which == STREAM_CONTROL)
		attach_control(p, s, &q);
	else
		attach_stream(p, &s->streams[which], &q);
	return 0;
}

void sessions_done(struct agent *a)
{
	size_t i;

	for (i = 0; i < AGENT_SESSIONS_MAX; i++)
		session_free(&a->sessions[i]);
}
