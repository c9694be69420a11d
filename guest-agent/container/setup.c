/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child between clone and exec.
 *
 * It has been cloned into new namespaces and its cgroup, holds descriptors of
 * all that the parent prepared, and goes down one column of steps. A failing
 * step sends its name and error to the parent and ends the process; nothing
 * needs undoing, because namespaces and mounts go with it.
 *
 * Rules of this file and of setup_*.c: no allocation; no path inside the root file system but
 * through rootpath.h; no path of the old root after the pivot; mounts by
 * descriptor only.
 */
#include "guest-agent/container/setup.h"

#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "guest-agent/container/sync.h"

struct step {
	const char *name;
	int (*run)(struct setup *s);
};

static void undo_root(const struct setup *s)
{
	if (s->undo_root && fchdir(s->root) == 0)
		umount2(".", MNT_DETACH);
}

void setup_give_up(const struct setup *s)
{
	undo_root(s);
	_exit(1);
}

void setup_fail(struct setup *s, int sock, const char *step, int err)
{
	struct sync_msg msg = {
		.kind = SYNC_ERROR, .error = -err, .exit_code = s->exit_code};

	snprintf(msg.step, sizeof(msg.step), "%s", step);
	if (s->what)
		snprintf(msg.what, sizeof(msg.what), "%s", s->what);
	undo_root(s);
	sync_send(sock, &msg, -1);
	_exit(s->exit_code ? s->exit_code : 1);
}

/* ------------------------------------------------ beginning, for both ways */

/* CVE-2024-21626, CVE-2016-9962: what the parent had open for others must not
 * be there, not even until exec. */
static int step_descriptors(struct setup *s)
{
	/* 0, 1 and 2 stay until step_session() puts the process's own over
	 * them: no descriptor that comes in between may get their numbers. */
	unsigned int from = STDERR_FILENO + 1;
	size_t i;

	for (i = 0; i < s->p->n_keep; i++) {
		unsigned int keep = (unsigned int)s->p->keep[i];

		if (keep < from)
			continue;
		if (keep > from && close_range(from, keep - 1, 0) < 0)
			return -errno;
		from = keep + 1;
	}
	return close_range(from, ~0U, 0) < 0 ? -errno : 0;
}

static int step_signals(struct setup *s)
{
	sigset_t none;
	int sig;

	(void)s;
	for (sig = 1; sig < NSIG; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			signal(sig, SIG_DFL);
	sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : 0;
}

/* The parent writes the mappings of the user namespace and puts the overlay
 * together meanwhile. */
static int step_wait_parent(struct setup *s)
{
	struct sync_msg msg;
	int fd = -1, r;

	r = sync_recv(s->p->sync_fd, &msg, &fd, 0);
	if (r == -EPIPE)
		setup_give_up(s);
	if (r < 0)
		return r;
	s->root = s->p->root_fd;
	if (fd >= 0)
		s->root = fd;
	return msg.kind == SYNC_GO ? 0 : -EPROTO;
}

/* In a user namespace that somebody made without privileges setgroups() may be
 * forbidden for good. Where no groups are asked for, that is no error: the
 * process that entered it dropped them before, or is an ordinary user's, who
 * can drop none. */
int setup_groups(const struct setup *s, size_t n, const gid_t *groups)
{
	if (s->p->process.keep_groups || setgroups(n, groups) == 0)
		return 0;
	if (errno == EPERM && n == 0 &&
	    (s->p->joined_userns || s->p->no_setgroups))
		return 0;
	return -errno;
}

/* Root of the user namespace, and of no use outside of it. Non-dumpable, so
 * that nobody who shares a namespace later can trace this process or read its
 * memory, which is a copy of the parent's. */
static int step_ids(struct setup *s)
{
	uid_t uid = s->p->setup_uid;
	gid_t gid = s->p->setup_gid;
	int r;

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	if (!s->p->userns)
		return 0;
	r = setup_groups(s, 0, NULL);
	if (r < 0)
		return r;
	if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	/* The change of ids may have made it dumpable again. */
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

/* ------------------------------------------------------------- namespaces */

static int step_namespaces(struct setup *s)
{
	const struct plan *p = s->p;

	if ((p->namespaces & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
		return -errno;
	if (p->hostname && sethostname(p->hostname, strlen(p->hostname)) < 0) {
		s->what = "hostname";
		return -errno;
	}
	if (p->domainname &&
	    setdomainname(p->domainname, strlen(p->domainname)) < 0) {
		s->what = "domainname";
		return -errno;
	}
	return 0;
}

static int step_loopback(struct setup *s)
{
	_cleanup_close_ int fd = -1;
	struct ifreq ifr = {.ifr_name = "lo"};

	if (!s->p->loopback)
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return -errno;
	ifr.ifr_flags = (short)(ifr.ifr_flags | IFF_UP);
	return ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

/* -------------------------------------------------------------- the columns */

static void run_steps(struct setup *s, const struct step *steps, size_t n)
{
	size_t i;
	int r;

	for (i = 0; i < n; i++) {
		r = steps[i].run(s);
		if (r < 0)
			setup_fail(s, s->start >= 0 ? s->start : s->p->sync_fd,
				   steps[i].name, r);
	}
	_exit(1); /* not reached: the last step executes the program */
}

static const struct step create_steps[] = {
	{"descriptors", step_descriptors},
	{"signals", step_signals},
	{"parent", step_wait_parent},
	{"user namespace", step_ids},
	{"namespaces", step_namespaces},
	{"loopback", step_loopback},
	{"root", step_root},
	{"mount", step_mounts},
	{"device", step_devices},
	{"sysctl", step_sysctls},
	{"terminal", step_console},
	{"masked path", step_mask},
	{"read-only path", step_readonly},
	{"hooks", step_hooks},
	{"hooks", step_create_hooks},
	{"pivot", step_pivot},
	{"session", step_session},
	{"working directory", step_cwd},
	{"exec", step_present},
	{"process", step_process},
	{"ready", step_ready},
	{"start", step_start},
	{"hooks", step_start_hooks},
	{"program", step_program},
	{"filter", step_filter},
	{"exec", step_exec},
};

void setup_run(const struct plan *p)
{
	struct setup s = {.p = p,
			  .root = -1,
			  .dev = -1,
			  .devpts = -1,
			  .proc = -1,
			  .sysfs = -1,
			  .console = -1,
			  .start = -1};

	run_steps(&s, create_steps, ARRAY_SIZE(create_steps));
	_exit(1);
}

/* ---------------------------------------------------------------- exec only */

/* In one call, so that there is no moment in half of them. */
static int step_join(struct setup *s)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	if (s->join_namespaces && setns(s->join_pidfd, s->join_namespaces) < 0)
		return -errno;
	close(s->join_pidfd);
	s->root = s->p->root_fd;
	if (s->root >= 0)
		return fchdir(s->root) < 0 || chroot(".") < 0 ? -errno : 0;
	s->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return s->root < 0 ? -errno : 0;
}

static const struct step exec_steps[] = {
	{"descriptors", step_descriptors},
	{"signals", step_signals},
	{"join", step_join},
	{"user namespace", step_ids},
	{"terminal", step_exec_console},
	{"session", step_session},
	{"working directory", step_cwd},
	{"process", step_process},
	{"ready", step_ready},
	{"start", step_start},
	{"program", step_program},
	{"filter", step_filter},
	{"exec", step_exec},
};

void setup_run_exec(const struct plan *p, int target_pidfd, int namespaces)
{
	struct setup s = {.p = p,
			  .join_pidfd = target_pidfd,
			  .join_namespaces = namespaces,
			  .root = -1,
			  .dev = -1,
			  .devpts = -1,
			  .proc = -1,
			  .sysfs = -1,
			  .console = -1,
			  .start = -1};

	run_steps(&s, exec_steps, ARRAY_SIZE(exec_steps));
	_exit(1);
}
