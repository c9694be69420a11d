/* SPDX-License-Identifier: Apache-2.0 */
/* Which devices the processes of a cgroup may open or make: a BPF programme
 * on the cgroup (cgroup v2 has no other way). */
#ifndef HYB_GUEST_SYS_DEVFILTER_H
#define HYB_GUEST_SYS_DEVFILTER_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Most rules of one programme: with 9 instructions each it stays
 * below the kernel's 4096. */
#define HYB_DEV_RULES_MAX 400

enum dev_access { DEV_READ = 1, DEV_WRITE = 2, DEV_MKNOD = 4 };

struct dev_rule {
	bool allow;
	char type;	      /* 'a' any, 'b' block, 'c' character */
	int64_t major, minor; /* -1: any */
	unsigned int access;  /* of enum dev_access */
};

/* null zero full random urandom tty ptmx and the pseudo terminals: what every
 * container may use. */
extern const struct dev_rule devfilter_short_list[];
extern const size_t devfilter_short_list_n;

/* The last rule that speaks of an access decides; none: denied. Returns the
 * programme's descriptor or -errno. */
int devfilter_load(const struct dev_rule *rules, size_t n, struct err *e);
/* Puts it on the cgroup, beside what parents have. */
int devfilter_attach(int prog_fd, int cgroup_fd, struct err *e);

#endif
