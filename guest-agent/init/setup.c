/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/init/setup.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "guest-agent/sys/mnt.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define NO_NONE (MS_NOSUID | MS_NODEV | MS_NOEXEC)

struct mount_row {
	const char *type, *target;
	unsigned long flags;
	const char *data;
};

static int mount_rows(const struct mount_row *rows, size_t n, struct err *e)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (mount(rows[i].type, rows[i].target, rows[i].type,
			  rows[i].flags, rows[i].data) < 0)
			return err_sys(e, errno, "mount %s", rows[i].target);
	return 0;
}

/*
 * The kernel's rootfs cannot be pivoted, and an engine needs pivot_root. A
 * copy of its mount, made read-only and put over "/", can: it has a parent.
 * Nothing that runs later can write to what lies below, as no path leads
 * there.
 */
static int new_root(struct err *e)
{
	_cleanup_close_ int tree = mnt_clone(AT_FDCWD, "/", false);
	int r;

	if (tree < 0)
		return err_sys(e, -tree, "copy the root's mount");
	r = mnt_set(tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, 0, false);
	if (r < 0)
		return err_sys(e, -r, "make the root read-only");
	if (move_mount(tree, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_sys(e, errno, "put the root in place");
	if (fchdir(tree) < 0 || chroot(".") < 0)
		return err_sys(e, errno, "enter the root");
	return 0;
}

int setup_root(struct err *e)
{
	static const struct mount_row rows[] = {
		{"proc", "/proc", NO_NONE, NULL},
		{"devtmpfs", "/dev", MS_NOSUID | MS_NOEXEC, "mode=0755"},
		{"tmpfs", "/run", NO_NONE, "mode=0755,size=4m,nr_inodes=4k"},
	};
	int r = new_root(e);

	return r < 0 ? r : mount_rows(rows, ARRAY_SIZE(rows), e);
}

int setup_mounts(struct err *e)
{
	static const struct mount_row rows[] = {
		{"sysfs", "/sys", NO_NONE, NULL},
		{"tmpfs", "/tmp", NO_NONE, "mode=1777,size=4m,nr_inodes=4k"},
		{"cgroup2", "/sys/fs/cgroup", NO_NONE,
		 "nsdelegate,memory_recursiveprot"},
	};

	return mount_rows(rows, ARRAY_SIZE(rows), e);
}

/* --------------------------------------------------------------- sysctls */

struct sysctl_row {
	const char *name, *value;
};

static const struct sysctl_row sysctls[] = {
	/* Nothing about the kernel's addresses and messages. */
	{"kernel/kptr_restrict", "2"},
	{"kernel/dmesg_restrict", "1"},
	{"kernel/perf_event_paranoid", "3"},
	{"kernel/randomize_va_space", "2"},
	/* No programs in the kernel but the agent's, and those hardened. */
	{"kernel/unprivileged_bpf_disabled", "2"},
	{"net/core/bpf_jit_harden", "2"},
	{"kernel/kexec_load_disabled", "1"},
	{"kernel/sysrq", "0"},
	/* A process traces none but its own children, with CAP_SYS_PTRACE. */
	{"kernel/yama/ptrace_scope", "2"},
	/* Traps in folders that all may write to. */
	{"fs/protected_symlinks", "1"},
	{"fs/protected_hardlinks", "1"},
	{"fs/protected_fifos", "2"},
	{"fs/protected_regular", "2"},
	{"fs/suid_dumpable", "0"},
	/* One user namespace a container, and some for the way. */
	{"user/max_user_namespaces", "256"},
	/* Free pages that a CPU holds for itself are lost to all others, and
	 * by default may be 5 MiB in the smallest VMs. */
	{"vm/percpu_pagelist_high_fraction", "1024"},
	/* Containers serve any port and may ping without privileges: the
	 * network namespace is theirs alone. */
	{"net/ipv4/ip_unprivileged_port_start", "0"},
	{"net/ipv4/ping_group_range", "0 2147483647"},
};

int setup_sysctls(struct err *e)
{
	char path[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(sysctls); i++) {
		const struct sysctl_row *row = &sysctls[i];
		_cleanup_close_ int fd = -1;
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/sys/%s", row->name);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 && errno == ENOENT)
			continue;
		n = fd < 0 ? -1 : write(fd, row->value, strlen(row->value));
		if (n < 0)
			return err_sys(e, errno, "set %s", row->name);
	}
	return 0;
}

/* --------------------------------------------------------------- network */

static int loopback_up(struct err *e)
{
	struct ifreq req = {.ifr_name = "lo"};
	_cleanup_close_ int fd = -1;

	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, errno, "socket");
	req.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &req) < 0)
		return err_sys(e, errno, "bring up lo");
	return 0;
}

static int netns_fd(struct err *e)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? err_sys(e, errno, "/proc/self/ns/net") : fd;
}

int setup_pod_network(int *ret_fd, struct err *e)
{
	int fd, r = loopback_up(e);

	if (r < 0)
		return r;
	fd = netns_fd(e);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

int setup_own_network(int *ret_fd, struct err *e)
{
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		return err_sys(e, errno, "make a network namespace");
	fd = netns_fd(e);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

/* ------------------------------------------------------------------ self */

int setup_self(struct err *e)
{
	/* The kernel starts init with 4096 at the most, too few for programs
	 * in containers; ours is the hard limit of all of them. */
	static const struct rlimit files = {.rlim_cur = 4096,
					    .rlim_max = 1048576};

	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_sys(e, errno, "RLIMIT_NOFILE");
	/* Before it enters any namespace of a container: see runc's
	 * CVE-2019-5736. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(e, errno, "PR_SET_DUMPABLE");
	umask(0022);
	return 0;
}

int setup_spared(struct err *e)
{
	_cleanup_close_ int fd = -1;

	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "-1000", 5) < 0)
		return err_sys(e, errno, "oom_score_adj");
	return 0;
}
