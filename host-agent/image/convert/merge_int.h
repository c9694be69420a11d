/* SPDX-License-Identifier: Apache-2.0 */
/* What merge.c and merge_dirs.c share. */
#ifndef HYB_IMAGE_CONVERT_MERGE_INT_H
#define HYB_IMAGE_CONVERT_MERGE_INT_H

#include "host-agent/image/convert/limits.h"
#include "host-agent/image/convert/merge.h"
#include "host-agent/image/convert/rootfs.h"

struct merge {
	struct rootfs tree;
	struct erofs *out;
	uint8_t layer; /* at hand, from 1 */
	uint64_t records;
	struct merge_stats stats;
	uint8_t xattrs[HYB_IMAGE_XATTR_BYTES_MAX]; /* of the entry at hand */
};

#endif
