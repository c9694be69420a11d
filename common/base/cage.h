/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What programs have in common that hybd starts to shut themselves in, or what
 * they become (hyb-portd, hyb-fsd, hyb-dhcpd): long options, inherited
 * descriptors from 3 on, and a main() that comes back with an error only.
 * What shuts in is sandbox.h's.
 */
#ifndef HYB_COMMON_BASE_CAGE_H
#define HYB_COMMON_BASE_CAGE_H

#include "common/base/err.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

/* Gives each option to take(), which finds its value in optarg. -EINVAL: it took
 * one for bad, or there is something that is no option. */
int cage_options(int argc, char **argv, const struct option *options,
		 int (*take)(int c, void *arg), void *arg);

struct cage {
	const char *name;
	unsigned int n_fds; /* those from 3 on that stay */
	/* Whoever starts it writes down that it did, then a byte to standard
	 * input; where that ends without, nobody knows of it: it ends. */
	bool wait;
	bool logs; /* an error is a line of the log (log_init()), not a plain one */
	int (*run)(void *arg, struct err *e);
	void *arg;
};

/* Says what run() failed with, on standard error; the exit status. */
int cage_main(const struct cage *c);

/* Namespaces for mounts (all of them private), IPC and names. */
int cage_namespaces(struct err *e);

/* What is at path below dir ("": at dir) as a mount of its own that is nowhere,
 * private, with these attributes (MOUNT_ATTR_*), without what is mounted below:
 * a descriptor. */
int cage_take(int dir, const char *path, uint64_t attrs, struct err *e);
/* Puts it there. */
int cage_put(int tree, int dir, const char *path, struct err *e);

#endif
