/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the child between clone and exec does, prepared by the parent so that
 * the child allocates nothing, parses nothing and decides little. Everything
 * lives in the parent's arena; the child has its own copy of that memory.
 */
#ifndef HYB_GUEST_CONTAINER_PLAN_H
#define HYB_GUEST_CONTAINER_PLAN_H

#include "common/base/arena.h"
#include "common/base/err.h"
#include "guest-agent/container/childhooks.h"
#include "guest-agent/sys/caps.h"
#include "guest-agent/sys/mnt.h"
#include "guest-agent/sys/seccomp.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* Most mounts of one container: each may hold a descriptor. */
#define HYB_MOUNTS_MAX 512
/* Most folders of PATH that are tried. */
#define HYB_PATH_DIRS_MAX 64
/* Most supplementary groups; the kernel takes 65536. */
#define HYB_GROUPS_MAX 1024

enum mount_special {
	MOUNT_PLAIN,
	MOUNT_PROC,
	MOUNT_DEV,
	MOUNT_DEVPTS,
	MOUNT_SYSFS,
	MOUNT_CGROUP,
};

struct plan_mount {
	const char *destination;
	const char *type, *source;
	const char *subdir; /* of what is mounted, the part that is seen */
	struct mnt_option *options;
	size_t n_options;
	enum mount_special special;
	/* Made by the parent, detached; -1: the child makes it, because it
	 * belongs to a namespace of the child's. */
	int fd;
	bool bind, bind_recursive, is_file;
	bool copy_up; /* begins as a copy of what it covers */
	bool remount; /* changes what is mounted there */
	/* A link as the source is not followed: bound itself, or (copy_link)
	 * made again, with this text, in the place of a mount. One as the
	 * destination is covered. */
	bool source_nofollow, target_nofollow, copy_link;
	const char *link;
	bool idmap; /* by the container's user namespace, by the parent */
	bool idmap_recursive;
	/* MOUNT_ATTR_* of the mount, and of all below it ("rro") */
	uint64_t set, clear, rec_set, rec_clear;
	/* MS_PRIVATE ... in the order given */
	unsigned long propagation[4];
	bool propagation_rec[4];
	size_t n_propagation;
};

struct sched_attr;

struct plan_rlimit {
	int resource;
	struct rlimit64 limit;
	bool optional; /* as far as this machine lets the parent raise it */
};

struct plan_sysctl {
	const char *path; /* below /proc/sys: "kernel/shmmax" */
	const char *value;
};

struct plan_device {
	const char *path;
	mode_t mode; /* with the type */
	dev_t rdev;
	uid_t uid; /* as the child's user namespace has them */
	gid_t gid;
	bool bind; /* the machine's own: nobody here may make one */
};

/* The process itself; shared by create and exec. */
struct plan_process {
	char **argv, **envp;
	char **candidates; /* what is executed, in the order tried */
	const char *cwd;
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	size_t n_groups;
	bool keep_groups; /* those that the parent has, and no others */
	mode_t umask;
	struct cap_sets caps;
	bool set_caps;
	int last_cap;
	bool no_new_privs;
	const struct seccomp_filter *seccomp; /* NULL: none */
	const struct seccomp_filter *floor;   /* before it; NULL: none */
	struct plan_rlimit *rlimits;	      /* set by the parent */
	size_t n_rlimits;
	bool set_oom_score_adj; /* by the parent */
	int oom_score_adj;
	int stdio[3];	       /* -1: /dev/null */
	unsigned int preserve; /* 3 to 2 + n are handed on as they are */
	bool terminal, plain_lines;
	uint16_t rows, cols;
	bool reaper;
	unsigned long personality; /* ~0UL: as it is */
	/* Set by the parent; NULL, 0: as it is. */
	const struct sched_attr *scheduler;
	int io_priority;
	/* Of what exec runs: lists of CPUs, or NULL. */
	const char *initial_cpus, *final_cpus;
};

struct plan {
	struct arena *arena;
	const char *id;
	/* CLONE_NEW*: made by the clone. CLONE_NEWCGROUP is unshared later, so
	 * that its root is the container's cgroup. */
	uint64_t namespaces;
	/* userns: in one that is not the parent's, whose ids setup_uid and
	 * setup_gid the set-up has: 0, or the first that are mapped. */
	bool userns, joined_userns;
	/* setgroups() is forbidden where the namespace comes from. */
	bool no_setgroups;
	bool confined; /* see struct engine */
	uid_t setup_uid;
	gid_t setup_gid;
	/* A mount namespace that exists: the root is attached in it at
	 * root_place and changed to by chroot(), others being there, too. */
	bool chroot;
	int join_mnt_fd;
	const char *root_place;
	const char *hostname, *domainname;
	bool loopback; /* a new network namespace: lo comes up */

	/* -1: sent by the parent once the user namespace has its mappings */
	int root_fd;
	bool root_readonly, dev_readonly;
	unsigned long root_propagation;
	bool root_propagation_rec;
	struct plan_mount *mounts;
	size_t n_mounts;
	const char **masked, **readonly;
	struct plan_sysctl *sysctls;
	size_t n_sysctls;
	/* Nodes that the child makes where they are to be. */
	struct plan_device *devices;
	size_t n_devices;

	struct plan_process process;
	bool early; /* a program that is missing fails the creation */
	/* HOME was not in the configuration: it is the user's. */
	bool home_added;
	/* What uid 0 of this container has, for an exec as another user. */
	struct cap_sets root_caps;

	/* Stops before the pivot with a READY of its own, until the parent has
	 * run hooks and says GO. */
	bool hooks;
	struct child_hooks create_hooks, start_hooks;
	int sync_fd;  /* the child's end */
	int start_fd; /* listening socket, or -1: sync_fd starts it */
	/* Descriptors that the child keeps, ascending. */
	int *keep;
	size_t n_keep;
};

/* The child's side of container_create(): never returns. */
__attribute__((noreturn)) void setup_run(const struct plan *p);
/* The child's side of container_exec(): joins the namespaces (CLONE_NEW*) of
 * the process behind target_pidfd first. */
__attribute__((noreturn)) void setup_run_exec(const struct plan *p,
					      int target_pidfd, int namespaces);

/* guest-agent/container/reaper.c: runs as PID 1 of the container until the
 * process `child` has ended, reaps whatever else ends, hands signals on; ends
 * as the child did. */
__attribute__((noreturn)) void reaper_run(pid_t child);

#endif
