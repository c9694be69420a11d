/* SPDX-License-Identifier: Apache-2.0 */
/* What store_load.c and store_pull.c share. */
#ifndef HYB_HOST_IMAGE_STORE_LOAD_H
#define HYB_HOST_IMAGE_STORE_LOAD_H

#include "host-agent/image/store_int.h"

struct load {
	int fd;
	const char *source_name; /* may be NULL */
	const char *name;	 /* canonical, or NULL: the images' own */
	bool as_caller;
	uid_t uid;
	gid_t gid;
	uint64_t deadline_ms;
	image_progress progress;
	void *arg;
	bool is_tree;	     /* a tar of a root file system */
	char ***ret_skipped; /* may be NULL */
	image_may may;	     /* may be NULL */
	void *may_arg;
};

int store_load(struct image_store *s, const struct load *l,
	       struct image_info ***ret, struct err *e);

/* image_store_pull(), whoever else pulls the same. deadline_ms is of
 * CLOCK_MONOTONIC. */
int store_pull_now(struct image_store *s, const struct image_pull *p,
		   uint64_t deadline_ms, image_progress progress, void *arg,
		   struct image_info **ret, struct err *e);

#endif
