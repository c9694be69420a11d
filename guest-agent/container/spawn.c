/* SPDX-License-Identifier: Apache-2.0 */
/* The parent's side of a set-up: plans, descriptors, the conversation. */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"

/* Memory of one plan: mounts, arguments, environment. */
#define PLAN_MAX (8u << 20)

struct plan *plan_new(struct err *e)
{
	struct arena *a = arena_new(PLAN_MAX);
	struct plan *p = a ? arena_alloc(a, 1, sizeof(*p)) : NULL;

	if (!p) {
		if (a)
			arena_free(a);
		err_sys(e, ENOMEM, "plan");
		return NULL;
	}
	p->arena = a;
	p->root_fd = p->sync_fd = p->start_fd = p->join_mnt_fd = -1;
	p->process.stdio[0] = p->process.stdio[1] = p->process.stdio[2] = -1;
	return p;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void plan_close(struct plan *p)
{
	size_t i;

	close_fd(&p->root_fd);
	close_fd(&p->join_mnt_fd);
	close_fd(&p->sync_fd);
	for (i = 0; i < p->n_mounts; i++)
		close_fd(&p->mounts[i].fd);
}

void plan_free(struct plan *p)
{
	if (!p)
		return;
	plan_close(p);
	arena_free(p->arena);
}

char *plan_strdup(struct plan *p, const char *s)
{
	return arena_strdup(p->arena, s);
}

static int compare_fds(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

/* Lists what the child keeps, so that it can close everything else by the gaps
 * between. */
int plan_keep(struct plan *p, const int *extra, size_t n_extra, struct err *e)
{
	size_t n = 0, i, out = 0;
	int *keep = arena_alloc(p->arena,
				p->n_mounts + n_extra + p->process.preserve + 8,
				sizeof(*keep));

	if (!keep)
		return err_sys(e, ENOMEM, "plan");
	for (i = 0; i < p->n_mounts; i++)
		keep[n++] = p->mounts[i].fd;
	for (i = 0; i < n_extra; i++)
		keep[n++] = extra[i];
	for (i = 0; i < 3; i++)
		keep[n++] = p->process.stdio[i];
	for (i = 0; i < p->process.preserve; i++)
		keep[n++] = 3 + (int)i;
	keep[n++] = p->root_fd;
	keep[n++] = p->join_mnt_fd;
	keep[n++] = p->sync_fd;
	keep[n++] = p->start_fd;
	qsort(keep, n, sizeof(*keep), compare_fds);
	for (i = 0; i < n; i++)
		if (keep[i] >= 0 && (out == 0 || keep[out - 1] != keep[i]))
			keep[out++] = keep[i];
	p->keep = keep;
	p->n_keep = out;
	return 0;
}

/* The child moves its standard streams to 0-2 while it still needs this
 * socket, which therefore must not be one of them. */
int sync_pair(int *ret_parent, int *ret_child, struct err *e)
{
	int pair[2], high;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "socketpair");
	high = fcntl(pair[1], F_DUPFD_CLOEXEC, 10);
	close(pair[1]);
	if (high < 0) {
		close(pair[0]);
		return err_sys(e, errno, "socketpair");
	}
	*ret_parent = pair[0];
	*ret_child = high;
	return 0;
}

static int child_failed(const struct sync_msg *msg,
			struct container_failure *failure, struct err *e)
{
	int code = msg->error > 0 && msg->error < 4096 ? msg->error : EIO;
	char what[sizeof(msg->what) * 4];

	if (failure) {
		failure->exit_code = msg->exit_code;
		memcpy(failure->step, msg->step, sizeof(failure->step));
	}
	if (!msg->what[0])
		return err_sys(e, code, "%s", msg->step);
	return err_sys(e, code, "%s: '%s'", msg->step,
		       text_escape(msg->what, what, sizeof(what)));
}

int spawned_supervise(struct spawned *s, const struct container *c,
		      struct err *e)
{
	s->c = c;
	if (!c->notify.path)
		return 0;
	s->supervisor = notify_connect(&c->notify, e);
	return s->supervisor < 0 ? s->supervisor : 0;
}

/* The listener goes to the supervisor; only then may the process go on. */
static int hand_over(struct spawned *s, int listener, struct err *e)
{
	struct sync_msg go = {.kind = SYNC_GO};
	int r;

	r = notify_send(&s->c->notify, s->supervisor, listener, s->pid,
			container_status_name(s->c->status), s->c->pid, e);
	/* One state to a connection. */
	close_fd(&s->supervisor);
	if (r < 0)
		return r;
	r = sync_send(s->sync, &go, -1);
	return r < 0 ? err_sys(e, -r, "talk to the process") : 0;
}

int spawned_wait(struct spawned *s, bool running, int *console,
		 struct container_failure *failure, struct err *e)
{
	uint64_t deadline = s->patient ? 0 : now_ms() + HYB_CONTAINER_SETUP_MS;
	struct sync_msg msg;
	int fd, r;

	for (;;) {
		fd = -1;
		r = sync_recv(s->sync, &msg, &fd, deadline);
		if (r == -EPIPE && running)
			return 0; /* closed by the exec */
		if (r == -EPIPE)
			return err_set(e, EIO,
				       "the process died in its "
				       "set-up");
		if (r < 0)
			return err_sys(e, -r, "wait for the process");
		if (msg.kind == SYNC_CONSOLE && fd >= 0 && console &&
		    *console < 0) {
			*console = fd;
			continue;
		}
		if (msg.kind == SYNC_LISTENER && fd >= 0 && running &&
		    s->supervisor >= 0) {
			r = hand_over(s, fd, e);
			close(fd);
			if (r < 0)
				return r;
			continue;
		}
		if (fd >= 0)
			close(fd);
		if (msg.kind == SYNC_ERROR) {
			s->told = true;
			return child_failed(&msg, failure, e);
		}
		if (msg.kind == SYNC_READY && !running)
			return 0;
		return err_set(e, EPROTO, "the process sent nonsense");
	}
}

int clone_failed(int err, bool pid_joined, struct err *e)
{
	if (pid_joined && err == ENOMEM)
		return err_set(e, err,
			       "clone: the pid namespace that is joined has "
			       "ended");
	return err_sys(e, err, "clone");
}

void spawned_abort(struct spawned *s)
{
	siginfo_t info;

	if (s->pidfd >= 0) {
		pidfd_send_signal(s->pidfd, SIGKILL, NULL, 0);
		while (waitid(P_PIDFD, (id_t)s->pidfd, &info, WEXITED) < 0 &&
		       errno == EINTR)
			continue;
	}
	close_fd(&s->pidfd);
	close_fd(&s->sync);
	close_fd(&s->supervisor);
}
