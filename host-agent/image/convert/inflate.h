/* SPDX-License-Identifier: Apache-2.0 */
/* Decompression of one stream, the kind told by its first bytes: gzip (one
 * member or more), zstd (one frame or more), or none. */
#ifndef HYB_IMAGE_CONVERT_INFLATE_H
#define HYB_IMAGE_CONVERT_INFLATE_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum inflate_kind { INFLATE_PLAIN, INFLATE_GZIP, INFLATE_ZSTD };

struct inflate;

/* By the first bytes; fewer than 4 are plain. */
enum inflate_kind inflate_detect(const uint8_t *data, size_t len);

/* NULL: no memory. */
struct inflate *inflate_new(enum inflate_kind kind);
void inflate_free(struct inflate *f);
static inline void cleanup_inflate(struct inflate **f)
{
	if (*f)
		inflate_free(*f);
}

/* From (*in)[*in_len], which moves on, to out[size]; *ret: bytes written. Call
 * again as long as input is left or the output was filled. */
int inflate_step(struct inflate *f, const uint8_t **in, size_t *in_len,
		 uint8_t *out, size_t size, size_t *ret, struct err *e);

/* The input is at its end: was the stream whole? -ENODATA where it is cut. */
int inflate_end(const struct inflate *f, struct err *e);

#endif
