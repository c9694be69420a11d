/* SPDX-License-Identifier: Apache-2.0 */
/* What the store's files share. */
#ifndef HYB_HOST_IMAGE_STORE_INT_H
#define HYB_HOST_IMAGE_STORE_INT_H

#include "host-agent/image/image_found.h"
#include "host-agent/image/store.h"

#include <pthread.h>

/* An image as it is kept. All strings are owned. */
struct stored {
	char digest[72];
	char config_digest[72];
	char key[65]; /* of the EROFS file */
	char *config_text;
	uint64_t size;
	uint64_t erofs_size;
	int64_t erofs_mtime_ns;
	uint32_t max_uid, max_gid;
};

struct store_name {
	char *full; /* canonical */
	char digest[72];
};

struct image_store {
	struct image_store_config c;
	char *dir, *program, *skopeo, *registries; /* what c points to */
	int dir_fd, erofs_fd, meta_fd, tmp_fd, lock_fd;
	uint64_t next_tmp;

	pthread_mutex_t lock; /* of all below */
	struct stored *images;
	size_t n_images, cap_images;
	struct store_name *names;
	size_t n_names, cap_names;
	struct pulling *pulls; /* those under way */
	pthread_cond_t pulled; /* one of them has ended */
};

/* ---- store_once.c ---- */
void store_pull_init(struct image_store *s);

/* ---- store_index.c: all with the lock held ---- */

/* Reads meta/ and names.json, drops what leads nowhere, removes EROFS files
 * that no image uses. */
int store_index_load(struct image_store *s, struct err *e);
void store_index_free(struct image_store *s);

struct stored *store_find_digest(struct image_store *s, const char *digest);
/* By what a user wrote; *ret_name: the name that matched, or -1. */
int store_find(struct image_store *s, const char *reference,
	       struct stored **ret, int *ret_name, struct err *e);

/* Writes one image's file; writes all names. */
int store_save_meta(struct image_store *s, const struct stored *i,
		    struct err *e);
int store_save_names(struct image_store *s, struct err *e);

/* Puts the image (strings become the store's) and its names in place of what
 * had them, in memory only. */
int store_put(struct image_store *s, const struct stored *i,
	      const char *const *names, struct err *e);
void store_drop_name(struct image_store *s, size_t i);
void store_drop_image(struct image_store *s, struct stored *i);
/* Does any image use this EROFS file? */
bool store_uses_key(const struct image_store *s, const char *key);
/* Is the file there as it was written? 0, -ENOENT, -EUCLEAN. */
int store_check_file(const struct image_store *s, const struct stored *i);

int store_make_info(struct image_store *s, const struct stored *i,
		    struct image_info **ret, struct err *e);

/* ---- store_share.c, without the lock ---- */

/* Gives the empty file `to` the bytes of `from`, a new image of these layers, in
 * such a way that it shares blocks of the disk with another image that has some
 * of them. Negative: it cannot be, or is not worth it, and what is in `to` is of
 * no use; the file system has no clones, or no image has the layers. */
int store_share_base(struct image_store *s, const struct image_found *f,
		     const char *key, int from, int to);

#endif
