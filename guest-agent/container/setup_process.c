/* SPDX-License-Identifier: Apache-2.0 */
/* From what set the container up to what runs in it: streams, working
 * directory, ids, privileges, filter, program. */
#include "guest-agent/container/setup.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "guest-agent/container/notify.h"
#include "guest-agent/container/sync.h"
#include "guest-agent/sys/kernel.h"
#include "guest-agent/sys/rootpath.h"

/* -------------------------------------------------------------- the process */

int step_session(struct setup *s)
{
	const struct plan_process *pp = &s->p->process;
	int i, fd;

	if (setsid() < 0 && errno != EPERM)
		return -errno;
	if (s->console >= 0 && ioctl(s->console, TIOCSCTTY, 0) < 0)
		return -errno;
	for (i = 0; i < 3; i++) {
		fd = s->console >= 0 ? s->console : pp->stdio[i];
		if (fd == i) {
			if (fcntl(fd, F_SETFD, 0) < 0)
				return -errno;
		} else if (dup2(fd, i) < 0) {
			return -errno;
		}
	}
	return 0;
}

/* By descriptor, so that no link leads out; made when missing, as other
 * engines do; and checked to be below "/", whatever happened (CVE-2024-21626). */
int step_cwd(struct setup *s)
{
	_cleanup_close_ int fd = -1;
	char cwd[4096];

	s->what = s->p->process.cwd;
	fd = rootpath_make_dir(s->root, s->p->process.cwd);
	if (fd < 0)
		return fd;
	if (fchdir(fd) < 0)
		return -errno;
	/* The kernel says "(unreachable)..." for what is outside. */
	if (!getcwd(cwd, sizeof(cwd)) || cwd[0] != '/')
		return -ENOENT;
	s->what = NULL;
	return 0;
}

/* What is not there is told when the container is made, as runc and crun do. */
int step_present(struct setup *s)
{
	const struct plan_process *pp = &s->p->process;
	size_t i;

	for (i = 0; s->p->early && pp->candidates[i]; i++)
		if (faccessat(AT_FDCWD, pp->candidates[i], F_OK, 0) == 0)
			return 0;
	if (!s->p->early)
		return 0;
	s->what = pp->argv[0];
	s->exit_code = 127;
	return -ENOENT;
}

static int drop_privileges(struct setup *s)
{
	const struct plan_process *pp = &s->p->process;
	int r;

	if (pp->set_caps) {
		s->what = "bounding set";
		r = caps_bound(pp->caps.bounding, pp->last_cap);
		if (r < 0)
			return r;
	}
	s->what = "groups";
	r = setup_groups(s, pp->n_groups, pp->groups);
	if (r < 0)
		return r;
	s->what = "user and group";
	if (setresgid(pp->gid, pp->gid, pp->gid) < 0)
		return -errno;
	if (pp->set_caps && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return -errno;
	if (setresuid(pp->uid, pp->uid, pp->uid) < 0)
		return -errno;
	s->what = "capabilities";
	if (pp->set_caps) {
		r = caps_apply(&pp->caps, pp->last_cap);
		if (r < 0)
			return r;
	}
	/* setresuid() may have made the process dumpable again. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	s->what = NULL;
	return 0;
}

int step_process(struct setup *s)
{
	const struct plan_process *pp = &s->p->process;

	umask(pp->umask);
	if (pp->personality != ~0UL && personality(pp->personality) < 0) {
		s->what = "personality";
		return -errno;
	}
	if (!pp->no_new_privs)
		return 0; /* the filter needs a privilege: see step_filter */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		s->what = "no_new_privs";
		return -errno;
	}
	return drop_privileges(s);
}

int step_ready(struct setup *s)
{
	struct sync_msg msg = {.kind = SYNC_READY};

	return sync_send(s->p->sync_fd, &msg, -1);
}

/* Waits for the starter; what fails from here on is told to it. */
int step_start(struct setup *s)
{
	char go;
	ssize_t n;

	s->start = s->p->sync_fd;
	if (s->p->start_fd >= 0) {
		s->start = accept4(s->p->start_fd, NULL, NULL, SOCK_CLOEXEC);
		if (s->start < 0)
			return -errno;
		close(s->p->start_fd);
	}
	n = recv(s->start, &go, 1, 0);
	if (n == 0)
		_exit(1); /* deleted before it was started */
	return n < 0 ? -errno : 0;
}

/* sock: to hand a listener over. */
static int install_filters(const struct plan_process *pp, int sock)
{
	int r = 0;

	if (pp->floor)
		r = seccomp_filter_install(pp->floor);
	if (r < 0 || !pp->seccomp)
		return r;
	return pp->seccomp->listener ? notify_install(pp->seccomp, sock)
				     : seccomp_filter_install(pp->seccomp);
}

static void run_reaper(struct setup *s)
{
	pid_t child;

	/* Before the fork: the program's orphans are to find it. */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	child = fork();
	if (child < 0) {
		s->what = "reaper";
		setup_fail(s, s->start, "process", -errno);
	}
	if (child == 0) {
		if (s->console >= 0) {
			setpgid(0, 0);
			signal(SIGTTOU, SIG_IGN);
			tcsetpgrp(0, getpid());
			signal(SIGTTOU, SIG_DFL);
		}
		return;
	}
	/* A listener's filter is the program's alone: this process would have
	 * none to answer for it. */
	if (s->p->process.no_new_privs &&
	    !(s->p->process.seccomp && s->p->process.seccomp->listener))
		install_filters(&s->p->process, -1);
	/* Its ends of the sockets must go, or nobody would see the program
	 * start. Descriptors 0-2 stay: a terminal's hang-up is for it, too. */
	close_range(3, ~0U, 0);
	reaper_run(child);
}

/* What must not be executed, found out while no filter is in the way.
 * CVE-2019-5736: /proc/self/exe is still the engine's binary. Whoever else
 * holds it (it is not writable for a container) shall not even run it. */
int step_program(struct setup *s)
{
	char **candidates = s->p->process.candidates;
	size_t i;
	int fd;

	for (i = 0; i < HYB_PATH_DIRS_MAX && candidates[i]; i++) {
		fd = sys_openat2(AT_FDCWD, candidates[i], O_PATH | O_CLOEXEC, 0,
				 RESOLVE_NO_MAGICLINKS);
		s->refused[i] = fd < 0 ? errno : 0;
		if (fd >= 0)
			close(fd);
	}
	return 0;
}

/* Last before the program, so that the filter need not allow what the set-up
 * does. Without no_new_privs the kernel wants CAP_SYS_ADMIN for it; then the
 * privileges go after it. */
int step_filter(struct setup *s)
{
	const struct plan_process *pp = &s->p->process;
	int r = 0;

	if (pp->reaper)
		run_reaper(s);
	s->what = "seccomp";
	r = install_filters(pp, s->start);
	if (r == 0 && !pp->no_new_privs)
		r = drop_privileges(s);
	if (r == 0)
		s->what = NULL;
	return r;
}

/* Tries what PATH gave, as execvp() would: goes on where there is nothing or
 * no permission, and remembers that there was something. */
int step_exec(struct setup *s)
{
	const struct plan_process *pp = &s->p->process;
	int err = ENOENT;
	size_t i;

	for (i = 0; i < HYB_PATH_DIRS_MAX && pp->candidates[i]; i++) {
		errno = s->refused[i];
		if (errno == 0)
			execve(pp->candidates[i], pp->argv, pp->envp);
		if (errno == EACCES || errno == EPERM)
			err = EACCES;
		else if (errno != ENOENT && errno != ENOTDIR)
			err = errno;
		if (err != ENOENT && err != EACCES)
			break;
	}
	s->what = pp->argv[0];
	s->exit_code = err == ENOENT ? 127 : 126;
	return -err;
}
