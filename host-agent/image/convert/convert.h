/* SPDX-License-Identifier: Apache-2.0 */
/* Layers to one EROFS file. */
#ifndef HYB_IMAGE_CONVERT_CONVERT_H
#define HYB_IMAGE_CONVERT_CONVERT_H

#include "common/base/err.h"
#include "host-agent/image/convert/feed.h"
#include "host-agent/image/convert/limits.h"
#include "host-agent/image/convert/merge.h"

#include <stdint.h>

struct convert_job {
	const struct feed_layer *layers; /* the lowest first, at least one */
	size_t n_layers;
	int out; /* empty regular file, open for reading and writing */
	uint8_t uuid[16];
	uint64_t max_bytes;   /* 0: HYB_IMAGE_BYTES_MAX */
	uint32_t max_entries; /* 0: HYB_IMAGE_ENTRIES_MAX */
	unsigned int threads; /* as in feed_new() */
	/* Called by each thread, this one too, after all were started and
	 * before any of them reads: the place for a filter of system calls
	 * that starts no threads. May be NULL. */
	void (*confine)(void);
	/* Compressed bytes done; may be NULL. */
	void (*progress)(void *arg, uint64_t done);
	void *arg;
};

struct convert_result {
	uint64_t bytes; /* of the EROFS file */
	struct merge_stats stats;
};

/* The output is complete and all digests were right when this returns 0; it
 * was not synced. Errors begin with "layer N (sha256:...)", N from 1. */
int convert_run(const struct convert_job *job, struct convert_result *ret,
		struct err *e);

/* Decompresses in (gzip, zstd or plain) into out, both from their start.
 * confine as above. */
int convert_plain(int in, int out, uint64_t max_bytes, void (*confine)(void),
		  uint64_t *ret_bytes, struct err *e);

#endif
