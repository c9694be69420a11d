/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/session.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/varlink/conn.h"
#include "host-agent/cli/cli.h"
#include "host-agent/cli/tty.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define PIPE_SIZE   ((size_t)65536)
#define CONTROL_MAX ((size_t)16384)
#define INTERRUPTS  3 /* so many SIGINTs unanswered end hyb itself */

/* One direction: from -> data -> to. */
struct flow {
	int from, to; /* -1: that end is over */
	bool whole;   /* `to` takes any amount without blocking */
	int failed;   /* errno of a write that failed; its reader left: 0 */
	size_t at, len;
	char data[PIPE_SIZE + TTY_KEYS_MAX];
};

struct loop {
	struct session *s;
	const char *name;
	struct vl_conn control;
	int signals;
	struct flow in, out, errout;
	bool filter; /* what is typed is looked at */
	bool ended, detached, lost, unread;
	bool leaving;  /* the detach keys were typed */
	bool asked;    /* ... and the guest has been told */
	bool released; /* the guest keeps it */
	bool taken;    /* by another client */
	int status, interrupts;
	uint64_t silent_since; /* ms; counts once it has ended */
	uint64_t asked_at;     /* ms */
};

enum {
	P_CONTROL,
	P_SIGNAL,
	P_IN,
	P_IN_TO,
	P_OUT,
	P_OUT_TO,
	P_ERR,
	P_ERR_TO,
	P_COUNT
};

void session_done(struct session *s)
{
	cleanup_close(&s->control);
	cleanup_close(&s->in);
	cleanup_close(&s->out);
	cleanup_close(&s->errout);
}

void session_window(struct winsize *ws)
{
	struct winsize w = {0};
	int fd;

	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (ioctl(fd, TIOCGWINSZ, &w) == 0 && w.ws_row && w.ws_col) {
			*ws = w;
			return;
		}
	}
}

/* ------------------------------------------------------------------ control */

static void send_control(struct loop *l, json_t *msg)
{
	/* A guest that does not read must not hang us. */
	if (msg && !l->ended && !l->lost &&
	    vl_conn_write(&l->control, msg, NULL, 0, now_ms() + 1000, NULL) <
		    0) {
		l->lost = true;
		l->silent_since = now_ms();
	}
	json_decref(msg);
}

/* more_rows: not what it is: the next one is a change, which makes a program
 * that was left draw its screen again. */
static void send_size(struct loop *l, int more_rows)
{
	struct winsize ws = {.ws_row = 24, .ws_col = 80};

	session_window(&ws);
	if (ws.ws_row + more_rows <= UINT16_MAX)
		ws.ws_row = (unsigned short)(ws.ws_row + more_rows);
	send_control(l, json_pack("{s:{s:i,s:i}}", "resize", "rows", ws.ws_row,
				  "cols", ws.ws_col));
}

/* The guest's word on how it ended: numbers are clamped, text is escaped when
 * it is shown. */
static void on_exit_message(struct loop *l, const json_t *untrusted_exit,
			    struct err *e)
{
	int64_t code = out_int(untrusted_exit, "code", -1);
	int64_t sig = out_int(untrusted_exit, "signal", 0);
	const char *text = out_str(untrusted_exit, "message");

	l->ended = true;
	l->silent_since = now_ms();
	if (sig > 0 && sig <= 64)
		l->status = 128 + (int)sig;
	else if (code >= 0 && code <= 255)
		l->status = (int)code;
	else
		l->status = CLI_EXEC_FAILED;
	if (*text && (l->status == 126 || l->status == 127))
		err_set(e, ENOEXEC, "%s", text);
}

/* It runs in as many as it may: we stay. The terminal stays raw, since what is
 * typed meanwhile is the session's; the line's end is complete for it. */
static void on_refused(struct loop *l, const json_t *untrusted_refused)
{
	out_note("not detached: %s", out_str(untrusted_refused, "message"));
	if (l->filter && isatty(STDERR_FILENO))
		fputc('\r', stderr);
	l->leaving = false;
	l->asked = false;
}

static void on_message(struct loop *l, const json_t *msg, struct err *e)
{
	const json_t *exit = json_object_get(msg, "exit");
	const json_t *refused = json_object_get(msg, "refused");

	if (json_is_object(exit)) {
		on_exit_message(l, exit, e);
	} else if (json_is_object(json_object_get(msg, "taken"))) {
		l->taken = true;
		l->lost = true;
	} else if (l->asked && json_is_object(refused)) {
		on_refused(l, refused);
	} else if (l->asked && json_object_get(msg, "detached")) {
		l->released = true;
	} else {
		return;
	}
	l->silent_since = now_ms();
}

static void on_control(struct loop *l, struct err *e)
{
	struct err ignored = ERR_INIT;
	json_t *msg = NULL;
	ssize_t n = vl_conn_fill(&l->control);
	int r;

	if (n == -EAGAIN)
		return;
	while ((r = vl_conn_next(&l->control, &msg, &ignored)) > 0) {
		if (!l->ended && !l->released)
			on_message(l, msg, e);
		json_decref(msg);
	}
	if ((n <= 0 || r < 0) && !l->ended && !l->released) {
		l->lost = true;
		l->silent_since = now_ms();
	}
	if (n <= 0 || r < 0)
		cleanup_close(&l->control.fd);
}

/* ------------------------------------------------------------------ signals */

static int open_signals(void)
{
	static const int caught[] = {SIGINT,  SIGTERM, SIGHUP,	SIGQUIT,
				     SIGUSR1, SIGUSR2, SIGWINCH};
	sigset_t set;
	size_t i;
	int fd;

	sigemptyset(&set);
	for (i = 0; i < ARRAY_SIZE(caught); i++)
		sigaddset(&set, caught[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

static void close_signals(int fd)
{
	sigset_t set;

	close(fd);
	sigemptyset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	signal(SIGPIPE, SIG_DFL);
}

static void on_signal(struct loop *l)
{
	struct signalfd_siginfo si;
	int sig;

	while (read(l->signals, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		sig = (int)si.ssi_signo;
		if (sig == SIGWINCH) {
			if (l->s->tty)
				send_size(l, 0);
			continue;
		}
		/* With a terminal of its own, keys reach it as bytes: a signal
		 * is meant for us. */
		if (l->s->tty && sig != SIGUSR1 && sig != SIGUSR2) {
			l->status = 128 + sig;
			l->detached = true;
			return;
		}
		/* Our terminal's end is not the end of what is kept. */
		if (l->s->kept && sig == SIGHUP) {
			l->status = 128 + sig;
			l->detached = true;
			return;
		}
		send_control(l, json_pack("{s:i}", "signal", sig));
		if (sig == SIGINT && ++l->interrupts >= INTERRUPTS) {
			l->status = 128 + sig;
			l->detached = true;
		}
	}
}

/* ------------------------------------------------------------------ streams */

/* A regular file or a terminal takes what it gets; of a pipe POLLOUT promises
 * PIPE_BUF bytes. */
static bool takes_whole(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && !S_ISFIFO(st.st_mode) &&
	       !S_ISSOCK(st.st_mode);
}

/* The reader is gone: the writer is told, as SIGPIPE would. */
static void flow_break(struct flow *f)
{
	f->to = -1;
	f->len = 0;
	if (f->from > STDERR_FILENO) /* the guest's, not the caller's */
		shutdown(f->from, SHUT_RD);
	f->from = -1;
}

static void flow_write(struct flow *f)
{
	size_t n = f->len - f->at;
	ssize_t w;

	if (!f->whole && n > PIPE_BUF)
		n = PIPE_BUF;
	w = send(f->to, f->data + f->at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (w < 0 && errno == ENOTSOCK)
		w = write(f->to, f->data + f->at, n);
	if (w < 0) {
		if (errno == EAGAIN || errno == EINTR)
			return;
		f->failed = errno == EPIPE ? 0 : errno;
		flow_break(f);
		return;
	}
	f->at += (size_t)w;
	if (f->at == f->len)
		f->at = f->len = 0;
}

/* Bytes read, 0: the end, -1: nothing now. */
static ssize_t flow_read(struct flow *f)
{
	ssize_t n = read(f->from, f->data, PIPE_SIZE);

	if (n > 0)
		f->len = (size_t)n;
	else if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -1;
	else
		f->from = -1; /* EIO of a terminal that hung up, too */
	return n > 0 ? n : 0;
}

static void in_read(struct loop *l)
{
	struct flow *f = &l->in;
	char typed[PIPE_SIZE];
	bool detach;
	ssize_t n = flow_read(f);

	if (n <= 0 || !l->filter)
		return;
	memcpy(typed, f->data, (size_t)n);
	f->len = tty_filter(&l->s->keys, typed, (size_t)n, f->data, &detach);
	if (detach)
		l->leaving = true;
}

/* Once what was typed before the keys is on its way. */
static void ask_to_leave(struct loop *l)
{
	if (!l->leaving || l->asked || l->in.len > 0)
		return;
	l->asked = true;
	l->asked_at = now_ms();
	send_control(l, json_pack("{s:b}", "detach", 1));
}

static void out_read(struct loop *l, struct flow *f)
{
	if (flow_read(f) > 0)
		l->silent_since = now_ms();
}

/* A slow reader is no silence: the guest could not go on while it read. */
static void out_write(struct loop *l, struct flow *f)
{
	flow_write(f);
	l->silent_since = now_ms();
}

/* -------------------------------------------------------------------- loop */

static void set_poll(struct pollfd *p, int fd, short events, bool wanted)
{
	*p = (struct pollfd){.fd = wanted ? fd : -1, .events = events};
}

static void prepare(const struct loop *l, struct pollfd p[P_COUNT])
{
	set_poll(&p[P_CONTROL], l->control.fd, POLLIN, true);
	set_poll(&p[P_SIGNAL], l->signals, POLLIN, true);
	set_poll(&p[P_IN], l->in.from, POLLIN,
		 l->in.len == 0 && l->in.to >= 0 && !l->leaving);
	set_poll(&p[P_IN_TO], l->in.to, POLLOUT, l->in.len > 0);
	set_poll(&p[P_OUT], l->out.from, POLLIN, l->out.len == 0);
	set_poll(&p[P_OUT_TO], l->out.to, POLLOUT, l->out.len > 0);
	set_poll(&p[P_ERR], l->errout.from, POLLIN, l->errout.len == 0);
	set_poll(&p[P_ERR_TO], l->errout.to, POLLOUT, l->errout.len > 0);
}

/* The end of standard input becomes a half-close, once all is written. */
static void finish_in(struct loop *l)
{
	if (l->in.to < 0 || l->in.from >= 0 || l->in.len > 0)
		return;
	shutdown(l->in.to, SHUT_WR);
	l->in.to = -1;
	if (l->s->kept)
		send_control(l, json_pack("{s:b}", "eof", 1));
}

/* Nobody reads CMD's output any more (`hyb exec … | head`). That its stream was
 * shut down CMD learns late or never: hyb tells it, as a pipe would. */
static void tell_unread(struct loop *l)
{
	if (l->unread || l->ended || l->out.to >= 0)
		return;
	l->unread = true;
	if (l->s->kept) {
		l->status = 128 + SIGPIPE;
		l->detached = true;
		return;
	}
	send_control(l, json_pack("{s:i}", "signal", SIGPIPE));
}

static void serve(struct loop *l, const struct pollfd p[P_COUNT], struct err *e)
{
	if (p[P_SIGNAL].revents)
		on_signal(l);
	if (p[P_IN].revents)
		in_read(l);
	if (p[P_IN_TO].revents)
		flow_write(&l->in);
	if (p[P_OUT].revents)
		out_read(l, &l->out);
	if (p[P_ERR].revents)
		out_read(l, &l->errout);
	/* Written at once where nobody has to be waited for: one poll less. */
	if (p[P_OUT_TO].revents || (l->out.len && l->out.whole))
		out_write(l, &l->out);
	if (p[P_ERR_TO].revents || (l->errout.len && l->errout.whole))
		out_write(l, &l->errout);
	tell_unread(l);
	if (p[P_CONTROL].revents)
		on_control(l, e);
	finish_in(l);
	ask_to_leave(l);
}

static bool output_over(const struct loop *l)
{
	return l->out.from < 0 && l->errout.from < 0 && l->out.len == 0 &&
	       l->errout.len == 0;
}

/* Nothing more will be told. */
static bool is_over(const struct loop *l)
{
	return l->ended || l->lost || l->released;
}

/* ms until the drain is given up, 0: now, -1: not in sight. What is in our
 * buffers is written however long its reader takes. */
static int drain_left(const struct loop *l)
{
	uint64_t now = now_ms(), until = l->silent_since + SESSION_DRAIN_MS;

	if (!is_over(l) && l->asked)
		until = l->asked_at + SESSION_LEAVE_MS;
	else if (!is_over(l) || l->out.len || l->errout.len)
		return -1;
	return now >= until ? 0 : (int)(until - now);
}

/* What the loop's end means. */
static int conclude(const struct loop *l, struct err *e)
{
	if (l->ended || l->released)
		return 0;
	if (l->taken)
		return err_set(e, EBUSY,
			       "another client has taken the session over");
	if (l->asked && !l->lost) {
		err_set(e, ETIMEDOUT,
			"the VM does not answer: the session may "
			"have ended");
		return -ETIMEDOUT;
	}
	err_set(e, ECONNRESET, "the connection to the VM was lost");
	err_hint(e, "`hyb ps -a` and `hyb vm ls` tell what became of it");
	return -ECONNRESET;
}

static int run_loop(struct loop *l, struct err *e)
{
	struct pollfd p[P_COUNT];
	int timeout;

	for (;;) {
		if (l->detached)
			return 0;
		if (is_over(l) && output_over(l))
			break;
		timeout = drain_left(l);
		if (timeout == 0)
			break;
		prepare(l, p);
		if (poll(p, P_COUNT, timeout) < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(e, errno, "wait for the streams");
		}
		serve(l, p, e);
	}
	return conclude(l, e);
}

/* Output that was lost on a full disk must not look like success. A terminal
 * that hung up is a reader that left; who closed standard error wants none. */
static int check_written(const struct loop *l, struct err *e)
{
	if (l->s->tty)
		return 0;
	if (l->out.failed)
		return err_sys(e, l->out.failed, "write to standard output");
	if (l->errout.failed && l->errout.failed != EBADF)
		return err_sys(e, l->errout.failed, "write to standard error");
	return 0;
}

static void flow_init(struct flow *f, int from, int to)
{
	f->from = from;
	f->to = to;
	f->at = f->len = 0;
	f->whole = takes_whole(to);
}

int session_run(struct session *s, const char *name, int *ret_status,
		struct err *e)
{
	_cleanup_free_ struct loop *l = calloc(1, sizeof(*l));
	int r;

	if (!l)
		return err_sys(e, ENOMEM, "exec");
	l->s = s;
	l->name = name;
	l->signals = open_signals();
	if (l->signals < 0)
		return err_sys(e, -l->signals, "catch signals");
	vl_conn_init(&l->control, steal_fd(&s->control), CONTROL_MAX);
	flow_init(&l->in, s->in >= 0 ? STDIN_FILENO : -1, s->in);
	flow_init(&l->out, s->out, STDOUT_FILENO);
	flow_init(&l->errout, s->errout, STDERR_FILENO);
	fflush(stdout);
	if (s->tty && s->in >= 0 && isatty(STDIN_FILENO)) {
		l->filter = true;
		if (tty_raw(STDIN_FILENO) == 0 && s->kept)
			send_size(l, 1);
		send_size(l, 0);
	}
	r = run_loop(l, e);
	tty_restore();
	if (r == 0)
		r = check_written(l, e);
	if (r == 0 && l->released && l->filter)
		fputc('\n', stderr);
	if (r == 0 && l->released)
		out_note("detached; `hyb exec --attach %.12s %s` goes on",
			 s->id, name);
	close_signals(l->signals);
	vl_conn_done(&l->control);
	if (r == 0)
		*ret_status = l->status;
	return r;
}
