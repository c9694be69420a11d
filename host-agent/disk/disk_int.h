/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of disk/ share. */
#ifndef HYB_HOST_AGENT_DISK_DISK_INT_H
#define HYB_HOST_AGENT_DISK_DISK_INT_H

#include "host-agent/disk/disk.h"

#include <stdatomic.h>

struct disk_store {
	char root[256];
	uid_t uid;
	unsigned int n_uids;
	gid_t gid;
	struct disk_quota quota;
	atomic_uint imports; /* so far */
};

#define DISK_IMPORT_PREFIX ".import-"
#define DISK_NEW_PREFIX	   ".new-"

/* "ROOT/disks/TENANT/NAME.raw"; both are names. */
void disk_path(const struct disk_store *s, const char *tenant, const char *name,
	       char *out, size_t size);
int dir_sync(const char *path, struct err *e);

/* convert.c: runs qemu-img, confined, from one file to the other in a folder
 * that belongs to uid. size: of the disk in it, checked afterwards. */
int disk_convert(const struct disk_store *s, uid_t uid, const char *in,
		 const char *out, uint64_t size, struct err *e);
/* An empty overlay of a disk of `size` bytes whose file is `base`. */
int disk_make_overlay(const char *path, const char *base, uint64_t size,
		      struct err *e);

#endif
