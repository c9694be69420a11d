/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of the output: which are free, and writing them.
 *
 * Writes that follow one another gather in a window. Blocks come from what
 * was given back, where enough lie together near the last place looked at, or
 * from the end. Both depend on the calls alone, so equal calls make equal
 * files.
 */
#ifndef HYB_IMAGE_CONVERT_EROFS_OUT_H
#define HYB_IMAGE_CONVERT_EROFS_OUT_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct erofs_out {
	int fd;
	uint64_t max_blocks;
	uint64_t end;	    /* blocks ever given out */
	uint64_t *free_map; /* one bit a block, below map_blocks */
	uint64_t map_blocks;
	uint64_t n_free;
	uint64_t hint; /* where to look first */

	uint8_t *window;
	uint64_t window_at; /* byte offset */
	size_t window_len;
	uint64_t written; /* bytes handed to the kernel, for progress */
};

int erofs_out_init(struct erofs_out *o, int fd, uint64_t max_bytes,
		   struct err *e);
void erofs_out_done(struct erofs_out *o);

/* n > 0 blocks in a row. fresh: never used before, so they read as zeros. */
int erofs_out_alloc(struct erofs_out *o, uint64_t n, bool fresh, uint32_t *ret,
		    struct err *e);
void erofs_out_free(struct erofs_out *o, uint64_t block, uint64_t n);

int erofs_out_write(struct erofs_out *o, uint64_t at, const void *data,
		    size_t len, struct err *e);
int erofs_out_flush(struct erofs_out *o, struct err *e);
/* Cuts free blocks off the end and makes those inside zeros; the number of
 * blocks in *ret. */
int erofs_out_finish(struct erofs_out *o, uint64_t *ret, struct err *e);

#endif
