/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup v2: the hierarchy, folders in it, their files. Paths are relative to
 * the hierarchy's mount point and have no leading slash.
 */
#ifndef HYB_GUEST_SYS_CGROUP_H
#define HYB_GUEST_SYS_CGROUP_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum cgroup_controller {
	CGROUP_MEMORY = 1,
	CGROUP_PIDS = 2,
	CGROUP_CPU = 4,
	CGROUP_IO = 8,
	CGROUP_CPUSET = 16,
	CGROUP_HUGETLB = 32,
	CGROUP_RDMA = 64,
};

/* Longest path of a cgroup. */
#define HYB_CGROUP_PATH_MAX 1024

/* The mount point of cgroup v2: /sys/fs/cgroup, or its "unified" folder on a
 * host that has v1 beside it. A descriptor of the caller, or -ENOENT where
 * there is none. */
int cgroup_root_open(struct err *e);

/* Opens the folder at path below root_fd, making it and its parents, each
 * parent with all controllers that it has enabled for its children. *ret_have:
 * of enum cgroup_controller, what the folder itself has. */
int cgroup_make(int root_fd, const char *path, unsigned int *ret_have,
		struct err *e);
/* Opens it; -ENOENT where it is not. */
int cgroup_open(int root_fd, const char *path);
/* Removes the folder and those below it, once no process is left in them;
 * waits up to timeout_ms for that. A missing folder is fine. */
int cgroup_remove(int root_fd, const char *path, unsigned int timeout_ms,
		  struct err *e);

/* "memory" */
const char *cgroup_controller_name(enum cgroup_controller c);

/* A file of a cgroup: 0 or -errno, without text. */
int cgroup_write(int fd, const char *file, const char *value);
int cgroup_write_u64(int fd, const char *file, uint64_t value);
/* "max" reads as UINT64_MAX. */
int cgroup_read_u64(int fd, const char *file, uint64_t *ret);
/* The number behind "key " in a file of such lines; -ENOENT: no such key. */
int cgroup_read_key(int fd, const char *file, const char *key, uint64_t *ret);

/* Bytes read and written by io.stat, over all devices. */
int cgroup_read_io(int fd, uint64_t *ret_read, uint64_t *ret_written);
/* "some avg10" of a file such as memory.pressure, in hundredths of a percent. */
int cgroup_read_pressure(int fd, const char *file, uint64_t *ret);

/* Kills every process in and below the folder. */
int cgroup_kill(int fd);
/* Sends a signal to every process in the folder and below; how many it
 * reached, or -errno. */
int cgroup_signal(int fd, int sig);
/* The processes in the folder and below: the first max; how many there are, or
 * -errno. */
int cgroup_pids(int fd, pid_t *pids, size_t max);
/* Freezes or thaws and waits until it is done. */
int cgroup_freeze(int fd, bool frozen, unsigned int timeout_ms);

#endif
