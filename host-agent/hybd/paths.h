/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where hybd finds its helpers and the guest's files: in a build tree beside
 * itself (build/VARIANT/bin and build/guest), installed in PREFIX/libexec/hyb
 * and PREFIX/lib/hyb. HYB_KERNEL and HYB_INITRAMFS name others.
 */
#ifndef HYB_HOST_AGENT_HYBD_PATHS_H
#define HYB_HOST_AGENT_HYBD_PATHS_H

#include "common/base/err.h"

#include <limits.h>

struct paths {
	char image[PATH_MAX]; /* hyb-image */
	char vsockd[PATH_MAX];
	char portd[PATH_MAX];
	char fsd[PATH_MAX];
	char dhcpd[PATH_MAX];
	char kernel[PATH_MAX];
	char initramfs[PATH_MAX];
	char cmdline[PATH_MAX]; /* file with the kernel's command line */
};

int paths_find(struct paths *ret, struct err *e);
/* Copies kernel and initramfs to ROOT/guest, where every VM's uid can read them
 * wherever they came from (a build tree may lie in a private home); the paths
 * are those copies from then on. A copy that is there and as new is kept. */
int paths_publish(struct paths *p, const char *root, struct err *e);
/* The kernel's command line, one line; the caller frees it. */
int paths_cmdline(const struct paths *p, char **ret, struct err *e);

#endif
