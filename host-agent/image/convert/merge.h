/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Applies layers, lowest first, to a tree, by the rules of the OCI image
 * specification (layer.md): a later entry replaces an earlier one, directories
 * merge, ".wh.NAME" hides NAME of the layers below, ".wh..wh..opq" all of
 * them. File data go to the output as they come by.
 *
 * As an entry's path is walked, symbolic links are followed inside the image
 * and never out of it, as tools that unpack do. Names with ".." are refused;
 * absolute names mean the image's root.
 */
#ifndef HYB_IMAGE_CONVERT_MERGE_H
#define HYB_IMAGE_CONVERT_MERGE_H

#include "common/base/err.h"
#include "host-agent/image/convert/erofs.h"
#include "host-agent/image/convert/tar.h"

#include <stdint.h>

struct merge;

struct merge_stats {
	uint32_t entries; /* names in the tree, without the root */
	uint32_t max_uid; /* largest that was given to a file */
	uint32_t max_gid;
	uint64_t dropped_xattrs; /* of kinds that are not kept */
};

/* out is kept by reference. */
int merge_new(struct erofs *out, uint32_t max_entries, struct merge **ret,
	      struct err *e);
void merge_free(struct merge *m);
static inline void cleanup_merge(struct merge **m)
{
	if (*m)
		merge_free(*m);
}

/* The next layer, to the end of its source. */
int merge_layer(struct merge *m, const struct byte_source *src, struct err *e);
/* Writes the directories and finishes the output. */
int merge_finish(struct merge *m, struct merge_stats *ret, uint64_t *ret_bytes,
		 struct err *e);

#endif
