/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's PID 1 for programs that were not written to be one: it hands
 * signals to the program, reaps what the program's children leave behind, and
 * ends as the program did. The kernel then kills what is left.
 *
 * The same for a process that was put into a running container and is to leave
 * nothing there: not PID 1, it gets the orphans as their subreaper, and when the
 * program has ended it kills them, whose own orphans come next, until none is
 * left. What outruns it is for whoever can kill the cgroup; it waits a moment for
 * that.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest-agent/container/plan.h"
#include "guest-agent/sys/caps.h"

#define LINGER_NS 100000000L

struct reaper {
	pid_t child;
	bool first; /* PID 1 */
	bool ended;
	int status; /* the child's, as an exit status */
};

/* Reaps all there is. Ends with the child, or when after it nothing is left. */
static void reap(struct reaper *r)
{
	int status;
	pid_t pid;

	for (;;) {
		pid = waitpid(-1, &status, WNOHANG);
		if (pid < 0 && errno == ECHILD && r->ended)
			_exit(r->status);
		if (pid == 0 || (pid < 0 && errno != EINTR))
			return;
		if (pid != r->child)
			continue;
		r->ended = true;
		r->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status)
						: WEXITSTATUS(status);
		if (r->first)
			_exit(r->status);
	}
}

/* Those that it has now: what they leave behind becomes its own. Where the
 * container has no /proc, none. */
static void kill_children(void)
{
	char buf[4096];
	ssize_t n, i;
	pid_t pid = 0;
	int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	n = read(fd, buf, sizeof(buf));
	close(fd);
	/* Numbers, each with a blank behind it; a last one that is cut has
	 * none. */
	for (i = 0; i < n; i++) {
		if (buf[i] >= '0' && buf[i] <= '9') {
			pid = pid * 10 + (buf[i] - '0');
			continue;
		}
		if (pid > 0)
			kill(pid, SIGKILL);
		pid = 0;
	}
}

void reaper_run(pid_t child)
{
	const struct timespec linger = {.tv_nsec = LINGER_NS};
	struct reaper r = {.child = child, .first = getpid() == 1};
	sigset_t all;
	siginfo_t info;
	int sig;

	/* Blocked, not handled: PID 1 is sent only what it handles or blocks,
	 * so this is also what makes SIGTERM arrive at all. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (;;) {
		reap(&r);
		if (r.ended)
			kill_children();
		sig = r.ended ? sigtimedwait(&all, &info, &linger)
			      : sigwaitinfo(&all, &info);
		if (r.ended && sig < 0 && errno == EAGAIN)
			_exit(r.status);
		if (sig > 0 && sig != SIGCHLD && !r.ended)
			kill(child, sig);
	}
}
