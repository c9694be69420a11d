/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layers as streams of uncompressed bytes, decoded ahead by threads.
 *
 * Each thread takes the next layer that nobody has taken: it reads, hashes
 * what it read (the layer's digest), decompresses and hands buffers to the one
 * consumer, who takes the layers in order and hashes what it takes (the
 * diff_id). Every layer at work has a fixed number of buffers, so memory does
 * not depend on sizes.
 */
#ifndef HYB_IMAGE_CONVERT_FEED_H
#define HYB_IMAGE_CONVERT_FEED_H

#include "common/base/err.h"
#include "host-agent/image/convert/bytes.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FEED_DIGEST_LEN 32

/* A layer: part of a file. */
struct feed_layer {
	int fd; /* read at offsets; kept by the caller */
	uint64_t offset;
	uint64_t size;
	bool has_digest; /* of the bytes as they are stored */
	uint8_t digest[FEED_DIGEST_LEN];
	bool has_diff_id; /* of the bytes uncompressed */
	uint8_t diff_id[FEED_DIGEST_LEN];
};

struct feed;

/* threads: 0 takes as many as there are processors, at most 4. max_bytes: of
 * all layers, uncompressed. on_start, unless NULL, is called by every thread
 * before it reads anything. layers are kept by reference. */
int feed_new(const struct feed_layer *layers, size_t n, unsigned int threads,
	     uint64_t max_bytes, void (*on_start)(void), struct feed **ret,
	     struct err *e);
/* Stops the threads and waits for them. */
void feed_free(struct feed *f);
static inline void cleanup_feed(struct feed **f)
{
	if (*f)
		feed_free(*f);
}

/* Begins layer i, which must be one behind the last; *ret: its bytes. */
void feed_begin(struct feed *f, size_t i, struct byte_source *ret);
/* The layer was read to its end: are both digests right? -EBADMSG, naming the
 * digest that is wrong. */
int feed_check(struct feed *f, struct err *e);
/* Compressed bytes taken by the threads so far, of all layers. */
uint64_t feed_progress(struct feed *f);

#endif
