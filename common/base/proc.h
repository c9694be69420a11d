/* SPDX-License-Identifier: Apache-2.0 */
/* Child processes of the host side, held by pidfd. */
#ifndef HYB_COMMON_BASE_PROC_H
#define HYB_COMMON_BASE_PROC_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct proc_spec {
	const char *path;	 /* absolute, or a name looked up in PATH */
	const char *const *argv; /* NULL-terminated */
	const char *const *envp; /* NULL: PATH and LANG=C.UTF-8 only */
	int stdin_fd;		 /* -1: /dev/null */
	int stdout_fd;		 /* -1: /dev/null */
	int stderr_fd;		 /* -1: this process's own */
	const int *fds;		 /* passed on as descriptors 3, 4, ... */
	size_t n_fds;
	uid_t uid; /* with setuid: of the child; groups dropped */
	gid_t gid;
	bool drop_ids;	      /* whether uid and gid are to be set */
	bool new_session;     /* setsid(): outlives this process's terminal */
	bool die_with_parent; /* PR_SET_PDEATHSIG KILL */
};

/* Starts it: pid and pidfd. An exec that fails is told here (errno of the
 * exec). All other descriptors are closed in the child. */
int proc_spawn(const struct proc_spec *spec, pid_t *ret_pid, int *ret_pidfd,
	       struct err *e);
/* Waits for the end (reaps it) until deadline_ms of CLOCK_MONOTONIC (0: none).
 * *ret_status: exit status 0-255, or 128 + signal. */
int proc_wait(pid_t pid, int pidfd, uint64_t deadline_ms, int *ret_status,
	      struct err *e);
/* Runs it to its end with standard output and error collected (at most max
 * bytes each, the rest dropped; either pointer may be NULL). Kills it at the
 * deadline. */
int proc_run(const struct proc_spec *spec, uint64_t deadline_ms, size_t max,
	     char **ret_out, char **ret_errout, int *ret_status, struct err *e);

/* A memfd of a fixed size for what a child says: one that is made to say much
 * fills nothing. Its descriptor, or -errno. */
int proc_log_make(const char *name);
/* The first line of it that is not empty, what is not printable as '?'; "" where there is none
 * or log is negative. */
void proc_log_line(int log, char *out, size_t size);

/* Start time of a process in clock ticks since boot (field 22 of
 * /proc/PID/stat): with the pid it names one process for the life of the
 * host's boot. -ESRCH: no such process. */
int proc_start_time(pid_t pid, uint64_t *ret);
/* A pidfd of the process that has this pid and this start time, else -ESRCH:
 * so a reused pid is never signalled. */
int proc_open(pid_t pid, uint64_t start_time);

#endif
