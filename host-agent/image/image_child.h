/* SPDX-License-Identifier: Apache-2.0 */
/* Runs hyb-image (convert/job.h says what is exchanged). What it answers is
 * checked like anything that a stranger may have written. */
#ifndef HYB_HOST_IMAGE_IMAGE_CHILD_H
#define HYB_HOST_IMAGE_IMAGE_CHILD_H

#include "common/base/err.h"
#include "host-agent/image/store.h"

#include <jansson.h>

struct image_child_layer {
	int fd;
	uint64_t offset, size;
	const char *digest;  /* "sha256:..." or NULL: not checked */
	const char *diff_id; /* "sha256:..." */
};

struct image_child {
	const char *program;
	const char *verb; /* "convert", "list", "plain" */
	bool drop_ids;
	uid_t uid;
	gid_t gid;
	int in;		     /* -1: none */
	int out;	     /* -1: none */
	const uint8_t *uuid; /* 16 bytes; NULL: zeros */
	uint64_t max_bytes;
	const struct image_child_layer *layers;
	size_t n_layers;
	uint64_t deadline_ms;	 /* of CLOCK_MONOTONIC */
	image_progress progress; /* may be NULL */
	void *arg;
	const char *phase;
	uint64_t total;
};

/* Waits until there is something to read, and asks now and then, by telling
 * progress, whether anybody still waits for it. */
int image_child_wait(const struct image_child *c, int fd, const char *phase,
		     uint64_t done, uint64_t total, struct err *e);
/* Runs it to its end; *ret: the result, json_decref(). */
int image_child_run(const struct image_child *c, json_t **ret, struct err *e);

#endif
