/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Confinement of a long-running helper, in stages. Each stage takes away what
 * the program does not need any more; the order is the program's:
 *
 *   sandbox_start()     first thing in main(): no core dumps, no ptrace, no
 *                       stray descriptors, no new privileges
 *   ... open what needs the file system or privileges ...
 *   sandbox_enter()     own namespaces, an empty or a chosen root, the ids of
 *                       the VM, no capabilities, limits
 *   ... connect what must be connected with the VM's ids ...
 *   sandbox_landlock()  no file is opened any more (where the kernel has it)
 *   sandbox_seccomp()   a list of system calls; anything else kills
 *
 * There is no pid namespace: it would only hold for a child, and these
 * programs have none (their filter knows neither fork nor kill).
 */
#ifndef HYB_COMMON_BASE_SANDBOX_H
#define HYB_COMMON_BASE_SANDBOX_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Closes all descriptors from `first` on, sets close-on-exec on 3 ... first-1,
 * and makes the process non-dumpable, core-less and unable to gain
 * privileges. Standard descriptors that are closed become /dev/null. */
int sandbox_start(unsigned int first, struct err *e);

struct sandbox_spec {
	/* The folder that becomes the root, read-only; NULL: an empty one. */
	const char *root;
	bool root_tree; /* with what is mounted below it, as it is mounted */
	bool keep_net;	/* the network namespace stays */
	/* Capabilities that stay, as bits (1ULL << CAP_X); across an exec where
	 * the uid is 0. */
	uint64_t keep_caps;
	bool drop_ids;
	uid_t uid;
	gid_t gid;
	unsigned int max_fds; /* RLIMIT_NOFILE */
	/* RLIMIT_FSIZE; 0: nothing but a log grows, and that a little. */
	uint64_t max_file;
	/* RLIMIT_NPROC: threads of all processes with this uid. */
	unsigned int max_tasks;
};

/* Namespaces (mount, network, ipc, uts), root, ids, capabilities, limits.
 * Without privileges the namespaces cannot be had: then *ret_confined is
 * false, everything else holds, and the program should say so. The current
 * directory is the new root, or spec->root. A folder that must still be reached
 * is opened before (O_PATH) and entered by fchdir(): paths relative to it
 * work, with the rights of the new ids. */
int sandbox_enter(const struct sandbox_spec *spec, bool *ret_confined,
		  struct err *e);

/*
 * A user namespace and a mount namespace that belongs to it (what is mounted
 * before is locked in it), with these maps (lines as of /proc/PID/uid_map; 0 is
 * in them), and 0 as the ids. Needs privileges, and /proc. It forks: before
 * there are limits. */
int sandbox_user_namespace(const char *uid_map, const char *gid_map,
			   struct err *e);

/* 0, or -EOPNOTSUPP where the kernel has no Landlock (that is no error). */
int sandbox_landlock(struct err *e);
/* The same for who connects by TCP: to these ports and no others, where the
 * kernel can tell them apart (Linux 6.7). */
int sandbox_landlock_tcp(const uint16_t *ports, size_t n, struct err *e);

/* A call of the list; `arg` is an index, `forbid` bits that must not be set in
 * the lower half of that argument (0: any argument), `only` the values of which
 * it must have one (NULL: any). Of entries of one call that follow each other
 * all must hold. */
struct sandbox_call {
	int nr;
	unsigned int arg;
	uint32_t forbid;
	const uint32_t *only;
	size_t n_only;
};

/* At most this many calls, and this many values of all of them. */
#define SANDBOX_CALLS_MAX  80
#define SANDBOX_VALUES_MAX 16

/* The process is killed at any system call that is not in the list, or of
 * another architecture. Does nothing in a build with a sanitizer, which makes
 * calls of its own. */
int sandbox_seccomp(const struct sandbox_call *calls, size_t n, struct err *e);

#endif
