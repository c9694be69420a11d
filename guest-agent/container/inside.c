/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process of the agent's own inside a container.
 *
 * It is forked, not executed: there is no file of the agent's that the
 * container could get at. It is non-dumpable from its first step and in no pid
 * namespace of the container's, so no process there can name it, trace it or
 * read its memory. It is born in the container's cgroup: what it writes counts
 * as the container's. It ends with the container (the cgroup is killed).
 *
 * Every path that it opens is resolved by the container's own root, however
 * links are swapped meanwhile: the worst that they reach is another file of
 * the same container.
 */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"
#include "guest-agent/sys/caps.h"
#include "guest-agent/sys/kernel.h"
#include "guest-agent/sys/seccomp.h"

/* All that reading and writing files takes. No socket is made, nothing is
 * executed, mounted, traced or sent a signal. */
static const char *const calls[] = {
	"openat2",	 "openat",     "open",
	"close",	 "read",       "write",
	"pread64",	 "pwrite64",   "lseek",
	"ftruncate",	 "fstat",      "newfstatat",
	"fstatfs",	 "getdents64", "readlinkat",
	"mkdirat",	 "symlinkat",  "linkat",
	"mknodat",	 "unlinkat",   "fchown",
	"fchownat",	 "fchmod",     "utimensat",
	"flistxattr",	 "fgetxattr",  "fsetxattr",
	"fremovexattr",	 "syncfs",     "fcntl",
	"poll",		 "ppoll",      "sendto",
	"recvfrom",	 "brk",	       "mmap",
	"munmap",	 "mremap",     "madvise",
	"clock_gettime", "gettid",     "getpid",
	"exit_group",	 "exit",       "restart_syscall",
	"rt_sigreturn",	 NULL,
};

/* Compiled once, for all containers. */
static int filter_get(const struct seccomp_filter **ret, struct err *e)
{
	static struct seccomp_filter filter;
	static bool ready;
	const char *archs[] = {"SCMP_ARCH_X86_64", NULL};
	struct oci_seccomp_rule rule = {
		.names = (const char **)(uintptr_t)calls,
		.action = "SCMP_ACT_ALLOW",
	};
	struct oci_seccomp config = {
		.default_action = "SCMP_ACT_ERRNO",
		.architectures = archs,
		.syscalls = &rule,
		.n_syscalls = 1,
	};
	int r;

	if (!ready) {
		r = seccomp_filter_compile(&config, &filter, e);
		if (r < 0)
			return r;
		ready = true;
	}
	*ret = &filter;
	return 0;
}

/* The stream at 0, what it is to be inside of at 1, nothing else. */
static int keep_two(int fd, int place)
{
	sigset_t none;
	int a, b;

	a = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	b = fcntl(place, F_DUPFD_CLOEXEC, 3);
	if (a < 0 || b < 0 || dup2(a, 0) < 0 || dup2(b, 1) < 0 ||
	    close_range(2, ~0u, 0) < 0)
		return -errno;
	sigemptyset(&none);
	signal(SIGPIPE, SIG_IGN);
	return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : 0;
}

static int join(int namespaces)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || setns(1, namespaces) < 0)
		return -errno;
	close(1);
	return chdir("/") < 0 ? -errno : 0;
}

/* Safe although a process with CAP_SYS_CHROOT could leave it: that capability
 * goes, with all but those over files, before anything is read. */
static int enter_folder(void)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || fchdir(1) < 0 ||
	    chroot(".") < 0)
		return -errno;
	close(1);
	return chdir("/") < 0 ? -errno : 0;
}

/* uid 0 over files, and nothing else. extra: capabilities besides. */
static int drop(int last_cap, uint64_t extra)
{
	const uint64_t keep = UINT64_C(1) << caps_parse("CAP_CHOWN") |
			      UINT64_C(1) << caps_parse("CAP_DAC_OVERRIDE") |
			      UINT64_C(1) << caps_parse("CAP_FOWNER") |
			      UINT64_C(1) << caps_parse("CAP_FSETID") | extra;
	const struct cap_sets sets = {
		.bounding = keep, .effective = keep, .permitted = keep};
	const struct rlimit none = {0, 0};
	int r;

	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0)
		return -errno;
	r = caps_bound(keep, last_cap);
	if (r == 0 && setresuid(0, 0, 0) < 0)
		r = -errno;
	if (r == 0)
		r = caps_apply(&sets, last_cap);
	if (r == 0 && (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
		       setrlimit(RLIMIT_CORE, &none) < 0 ||
		       prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0))
		r = -errno;
	umask(0);
	return r;
}

/* c NULL: into the folder `place`. */
static _Noreturn void run(const struct container *c, int place, int fd,
			  const struct seccomp_filter *filter,
			  container_inside_fn *fn, void *arg)
{
	uint64_t extra = c ? 0 : UINT64_C(1) << caps_parse("CAP_SETFCAP");
	const char *step = "descriptors";
	struct err e = ERR_INIT;
	int r;

	r = keep_two(fd, c ? c->pidfd : place);
	if (r == 0) {
		step = c ? "join the container" : "enter the folder";
		r = c ? join(c->namespaces & ~CLONE_NEWPID) : enter_folder();
	}
	if (r == 0) {
		step = "give up privileges";
		r = drop(caps_last(), extra);
	}
	if (r == 0) {
		step = "install the filter";
		r = seccomp_filter_install(filter);
	}
	if (r < 0)
		err_sys(&e, -r, "%s", step);
	fn(arg, &e);
	_exit(r < 0);
}

int container_inside(struct container *c, int fd, container_inside_fn *fn,
		     void *arg, pid_t *ret_pid, struct err *e)
{
	struct clone_args args = {
		.flags = CLONE_CLEAR_SIGHAND,
		.exit_signal = SIGCHLD,
	};
	const struct seccomp_filter *filter;
	pid_t pid;
	int r;

	if (c->status != CONTAINER_RUNNING)
		return err_set(e, EINVAL, "the container is %s, not running",
			       container_status_name(c->status));
	/* Without them the "container's root" would be ours. */
	if ((c->namespaces & (CLONE_NEWNS | CLONE_NEWUSER)) !=
		    (CLONE_NEWNS | CLONE_NEWUSER) ||
	    c->plan->chroot)
		return err_set(e, ENOTSUP,
			       "the container has no mount or user namespace "
			       "of its own");
	r = filter_get(&filter, e);
	if (r < 0)
		return r;
	if (c->cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)(unsigned int)c->cgroup_fd;
	}
	pid = sys_clone3(&args);
	if (pid == 0)
		run(c, -1, fd, filter, fn, arg);
	if (pid < 0)
		return err_sys(e, errno, "clone");
	*ret_pid = pid;
	return 0;
}

int container_in_folder(int place, int fd, container_inside_fn *fn, void *arg,
			pid_t *ret_pid, struct err *e)
{
	struct clone_args args = {
		.flags = CLONE_CLEAR_SIGHAND,
		.exit_signal = SIGCHLD,
	};
	const struct seccomp_filter *filter;
	pid_t pid;
	int r;

	r = filter_get(&filter, e);
	if (r < 0)
		return r;
	pid = sys_clone3(&args);
	if (pid == 0)
		run(NULL, place, fd, filter, fn, arg);
	if (pid < 0)
		return err_sys(e, errno, "clone");
	*ret_pid = pid;
	return 0;
}
