/* SPDX-License-Identifier: Apache-2.0 */
/* What PID 1 makes of a booted kernel: file systems, kernel settings, network
 * namespaces, limits of its own. */
#ifndef HYB_GUEST_INIT_SETUP_H
#define HYB_GUEST_INIT_SETUP_H

#include "common/base/err.h"

/* Without these the agent cannot answer: a root that can be pivoted, /proc,
 * /dev, /run. */
int setup_root(struct err *e);
/* The rest of the file systems. */
int setup_mounts(struct err *e);
/* Kernel settings; what the kernel does not have is passed over. */
int setup_sysctls(struct err *e);
/* The network namespace that the machine booted with becomes the containers':
 * its NIC appears there. */
int setup_pod_network(int *ret_fd, struct err *e);
/* Moves the agent out of it, into an empty one of its own. */
int setup_own_network(int *ret_fd, struct err *e);
/* The agent itself: never traced, enough files. */
int setup_self(struct err *e);
/* Never killed for memory. The kernel spares the init process anyway; this
 * says so to those who look. */
int setup_spared(struct err *e);

#endif
