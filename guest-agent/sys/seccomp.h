/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System call filters. A filter is compiled ahead (libseccomp allocates and
 * is slow) and installed by a child just before it executes its program.
 */
#ifndef HYB_GUEST_SYS_SECCOMP_H
#define HYB_GUEST_SYS_SECCOMP_H

#include "common/base/err.h"
#include "common/oci/runtime.h"

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seccomp_filter {
	struct sock_filter *insns; /* owned, freed by seccomp_filter_done() */
	unsigned short n;
	unsigned int flags; /* SECCOMP_FILTER_FLAG_* */
	bool listener;	    /* some calls are answered by a listener */
};

void seccomp_filter_done(struct seccomp_filter *f);

/* The default profile (docs/container.md): made at the first call and kept for
 * the life of the process. Not the caller's to free. */
const struct seccomp_filter *seccomp_filter_default(void);
/* What holds below any profile of a VM's container: sockets of AF_VSOCK (the
 * way to the host and to the agent) and AF_ALG answer EPERM, other
 * architectures kill. To be installed first: the kernel takes the strictest
 * answer of all filters. */
const struct seccomp_filter *seccomp_filter_floor(void);
/* From an OCI configuration. Errors name the JSON path. -ENOTSUP: this kernel
 * lacks something that it asks for. */
int seccomp_filter_compile(const struct oci_seccomp *config,
			   struct seccomp_filter *ret, struct err *e);

/* Installs it on the calling thread; 0 or -errno, or where f->listener is true
 * the listener's descriptor (CLOEXEC). Needs no_new_privs or CAP_SYS_ADMIN. */
int seccomp_filter_install(const struct seccomp_filter *f);

#endif
