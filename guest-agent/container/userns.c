/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clone into a user namespace of others, which cannot be left again: a
 * process that ends at once enters it and clones the child there. Who is
 * confined cannot leave any other either, and clones so into all that it joins.
 *
 * That process is in no pid namespace that is joined: it enters those for its
 * child itself, so that nobody in there ever sees it.
 */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/sys/kernel.h"

struct cloned {
	int error;
	int pidfd;
};

/* The process that enters the user namespace, makes the container's there and
 * ends. Its descriptors are the parent's, who so gets the pidfd; as a sibling
 * the new process is the parent's own child. Non-dumpable before it enters, so
 * that nobody in there can trace it. */
__attribute__((noreturn)) static void
clone_there(struct create *cr, const struct clone_args *from, int told)
{
	struct cloned c = {.pidfd = -1};
	struct clone_args args = *from;
	pid_t pid;

	/* The helper is in the cgroup already. */
	args.flags &= ~(uint64_t)CLONE_INTO_CGROUP;
	args.flags |= CLONE_PARENT;
	args.exit_signal = 0;
	args.pidfd = (uint64_t)(uintptr_t)&c.pidfd;
	c.error = engine.confined ? -namespaces_enter(cr, NULL)
				  : -namespaces_enter_pid(cr);
	/* The groups now: inside it may be forbidden. */
	if (!c.error && cr->userns_fd >= 0 &&
	    (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	     (!engine.no_setgroups && !cr->plan->process.keep_groups &&
	      setgroups(0, NULL) < 0) ||
	     setns(cr->userns_fd, CLONE_NEWUSER) < 0))
		c.error = errno;
	if (!c.error) {
		pid = sys_clone3(&args);
		if (pid == 0)
			setup_run(cr->plan);
		if (pid < 0)
			c.error = errno;
	}
	_exit(write(told, &c, sizeof(c)) != sizeof(c));
}

/* The number that a process has here. What the helper was told is its number in
 * the pid namespace that the helper itself is in, which may be a joined one. */
static pid_t pid_here(int pidfd, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char path[48], *line;
	size_t len;
	int r, pid;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	r = file_read(AT_FDCWD, path, 4096, &text, &len, e);
	if (r < 0)
		return r;
	line = strstr(text, "\nPid:");
	if (!line || sscanf(line, "\nPid: %d", &pid) != 1 || pid <= 0)
		return err_set(e, ESRCH, "the process ended before its set-up");
	return pid;
}

int clone_in_userns(struct create *cr, const struct clone_args *args,
		    struct spawned *s, struct err *e)
{
	_cleanup_close_ int there = -1, told = -1;
	struct clone_args helper = {
		.flags = CLONE_FILES | (args->flags & CLONE_INTO_CGROUP),
		.exit_signal = SIGCHLD,
		.cgroup = args->cgroup,
	};
	struct cloned c = {.error = EIO, .pidfd = -1};
	int pair[2], status;
	pid_t pid;

	s->pidfd = -1;
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	there = pair[0];
	told = pair[1];
	pid = sys_clone3(&helper);
	if (pid == 0)
		clone_there(cr, args, told);
	if (pid < 0)
		return clone_failed(errno, false, e);
	while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
		continue;
	/* It has ended: what it had to say is in the pipe, or never will be. */
	close(steal_fd(&told));
	if (read_full(there, &c, sizeof(c)) != sizeof(c))
		return err_set(e, EIO, "join the namespaces");
	if (c.error == ENOMEM && (cr->joined & CLONE_NEWPID))
		return clone_failed(c.error, true, e);
	if (c.error)
		return err_sys(e, c.error, "join the %s",
			       cr->userns_fd >= 0 ? "user namespace"
						  : "namespaces");
	s->pidfd = c.pidfd;
	pid = pid_here(c.pidfd, e);
	if (pid < 0)
		return pid;
	s->pid = pid;
	return 0;
}
