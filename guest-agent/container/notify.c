/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. From the instant that the filter is in force any call of
 * the process may have to wait for a supervisor that has no listener yet, or
 * kill it; which calls these are is the configuration's to say. So the thread
 * that installs the filter makes no further call: a second thread, which the
 * filter is not for, sees the descriptor's number appear in memory, sends the
 * descriptor to the starter and writes back into memory that it has arrived.
 * The first thread spins for that time, some ten microseconds to milliseconds.
 *
 * Both share the process, so nothing needs reaping and nothing is left: the
 * second thread has ended before the first goes on.
 */
#include "guest-agent/container/notify.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/json.h"
#include "guest-agent/container/sync.h"

/* What goes out with the descriptor; more would not fit a socket's buffer
 * before the other side reads. */
#define FIRST_BYTES 32768

/* ------------------------------------------------------------- the parent */

/* The socket itself, whatever its path's length, and nothing but a socket. */
static int open_socket(const char *path, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return err_sys(e, errno, "linux.seccomp.listenerPath: '%s'",
			       path);
	if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
		return err_sys(e, ENOTSOCK, "linux.seccomp.listenerPath: '%s'",
			       path);
	return steal_fd(&fd);
}

int notify_plan(struct arena *a, const struct oci_seccomp *config,
		const struct hook_state *state, struct notify *ret,
		struct err *e)
{
	_cleanup_free_ char *text = hooks_state_text(state);
	_cleanup_close_ int fd = -1;

	if (config->listener_path[0] != '/')
		return err_set(e, EINVAL,
			       "linux.seccomp.listenerPath: must be absolute");
	fd = open_socket(config->listener_path, e);
	if (fd < 0)
		return fd;
	ret->metadata = NULL;
	if (config->listener_metadata)
		ret->metadata = arena_strdup(a, config->listener_metadata);
	ret->state = text ? arena_strdup(a, text) : NULL;
	ret->path = arena_strdup(a, config->listener_path);
	if (!ret->path || !ret->state ||
	    (config->listener_metadata && !ret->metadata))
		return err_sys(e, ENOMEM, "linux.seccomp");
	return 0;
}

int notify_connect(const struct notify *n, struct err *e)
{
	const struct timeval wait = {.tv_sec = HYB_NOTIFY_MS / 1000};
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	_cleanup_close_ int there = open_socket(n->path, e), fd = -1;

	if (there < 0)
		return there;
	snprintf(sa.sun_path, sizeof(sa.sun_path), "/proc/self/fd/%d", there);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* A full backlog is waited for that long. */
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0 ||
	    connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, errno == EAGAIN ? ETIMEDOUT : errno,
			       "linux.seccomp.listenerPath: connect to '%s'",
			       n->path);
	return steal_fd(&fd);
}

static char *process_state(const struct notify *n, pid_t pid,
			   const char *status, pid_t first)
{
	json_t *state = json_loads(n->state, 0, NULL), *json;
	char *text;

	if (!state)
		return NULL;
	json_object_set_new(state, "status", json_string(status));
	json_object_set_new(state, "pid", json_integer(first));
	json = json_pack("{ss s[s] si ss* so}", "ociVersion",
			 HYB_OCI_RUNTIME_VERSION, "fds", "seccompFd", "pid",
			 (int)pid, "metadata", n->metadata, "state", state);
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	return text;
}

int notify_send(const struct notify *n, int sock, int listener, pid_t pid,
		const char *status, pid_t first, struct err *e)
{
	_cleanup_free_ char *text = process_state(n, pid, status, first);
	size_t len = text ? strlen(text) : 0, part;
	int r;

	if (!text)
		return err_sys(e, ENOMEM, "linux.seccomp");
	part = len < FIRST_BYTES ? len : FIRST_BYTES;
	r = fds_send(sock, text, part, &listener, 1);
	if (r == 0 && part < len)
		r = write_deadline(sock, text + part, len - part,
				   now_ms() + HYB_NOTIFY_MS);
	return r < 0 ? err_sys(e, -r,
			       "linux.seccomp.listenerPath: send to '%s'",
			       n->path)
		     : 0;
}

/* -------------------------------------------------------------- the child */

struct carrier {
	int sock;
	atomic_int listener; /* its number + 1; -1: there is none; 0: not yet */
	atomic_int taken;
	/* The carrier's id, which the kernel clears at its end and writes as an
	 * ordinary int. */
	volatile pid_t thread;
};

static int carry(void *arg)
{
	struct carrier *c = arg;
	const struct timespec moment = {.tv_nsec = 20000};
	struct sync_msg msg = {.kind = SYNC_LISTENER};
	int fd;

	while ((fd = atomic_load(&c->listener)) == 0)
		nanosleep(&moment, NULL);
	if (fd < 0)
		return 0;
	fd--;
	if (sync_send(c->sock, &msg, fd) < 0 ||
	    sync_recv(c->sock, &msg, NULL, 0) < 0 || msg.kind != SYNC_GO)
		_exit(1); /* all threads: the starter has said why */
	close(fd);
	atomic_store(&c->taken, 1);
	return 0;
}

static void spin(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

int notify_install(const struct seccomp_filter *f, int sock)
{
	/* The process is single-threaded up to here, and forked: its own. */
	static uint8_t stack[32768] __attribute__((aligned(16)));
	static struct carrier c;
	int fd;

	c.sock = sock;
	if (clone(carry, stack + sizeof(stack),
		  CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
			  CLONE_THREAD | CLONE_SYSVSEM | CLONE_PARENT_SETTID |
			  CLONE_CHILD_CLEARTID,
		  &c, &c.thread, NULL, &c.thread) < 0)
		return -errno;
	fd = seccomp_filter_install(f);
	atomic_store(&c.listener, fd < 0 ? -1 : fd + 1);
	while (fd >= 0 && !atomic_load(&c.taken))
		spin();
	while (c.thread)
		spin();
	return fd < 0 ? fd : 0;
}
