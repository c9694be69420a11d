/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's PID 1 for programs that were not written to be one: it hands
 * signals to the program, reaps what the program's children leave behind, and
 * ends as the program did. The kernel then kills what is left.
 */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest-agent/container/plan.h"
#include "guest-agent/sys/caps.h"

/* Reaps all there is; returns when nothing has ended, ends with the child. */
static void reap(pid_t child)
{
	int status;
	pid_t pid;

	for (;;) {
		pid = waitpid(-1, &status, WNOHANG);
		if (pid == 0 || (pid < 0 && errno != EINTR))
			return;
		if (pid != child)
			continue;
		_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status)
					  : WEXITSTATUS(status));
	}
}

void reaper_run(pid_t child)
{
	sigset_t all;
	siginfo_t info;
	int sig;

	/* Blocked, not handled: PID 1 is sent only what it handles or blocks,
	 * so this is also what makes SIGTERM arrive at all. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (;;) {
		reap(child);
		sig = sigwaitinfo(&all, &info);
		if (sig > 0 && sig != SIGCHLD)
			kill(child, sig);
	}
}
