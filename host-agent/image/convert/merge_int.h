/* SPDX-License-Identifier: Apache-2.0 */
/* What merge.c and merge_dirs.c share. */
#ifndef HYB_IMAGE_CONVERT_MERGE_INT_H
#define HYB_IMAGE_CONVERT_MERGE_INT_H

#include <stdbool.h>

#include "host-agent/image/convert/limits.h"
#include "host-agent/image/convert/merge.h"
#include "host-agent/image/convert/rootfs.h"

/* A path, and the target of a link in front of what is left of it. */
#define WALK_MAX (2 * HYB_IMAGE_PATH_MAX + 2)

/* A path cut up: the folder (cleaned, no slash in front or behind) and the
 * last name in it. base is empty for the root itself. */
struct path {
	char dir[HYB_IMAGE_PATH_MAX + 1];
	char base[HYB_IMAGE_NAME_MAX + 1];
	bool aufs; /* one of aufs' own files: ".wh..wh.*" */
};

struct merge {
	struct rootfs tree;
	struct erofs *out;
	uint8_t layer; /* at hand, from 1 */
	uint64_t records;
	struct merge_stats stats;
	uint8_t xattrs[HYB_IMAGE_XATTR_BYTES_MAX]; /* of the entry at hand */
	/* Here, not on the stack, where each call would have to clear them. */
	struct path path;
	struct path target; /* of a hard link */
	char walk[WALK_MAX + 1];
};

#endif
