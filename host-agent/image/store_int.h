/* SPDX-License-Identifier: Apache-2.0 */
/* What the store's files share. */
#ifndef HYB_HOST_IMAGE_STORE_INT_H
#define HYB_HOST_IMAGE_STORE_INT_H

#include "host-agent/image/image_found.h"
#include "host-agent/image/store.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>

/* The EROFS file that an image is a difference from. It stays as long as a
 * difference needs it, with or without an image of its own. */
struct stored_base {
	char key[65];	 /* "": the image is a whole EROFS file */
	char digest[72]; /* of the image that it was, to name it */
	uint32_t layers; /* lowest ones that both have */
	uint64_t size;
	int64_t mtime_ns;
};

/* An image as it is kept. All strings are owned. */
struct stored {
	char digest[72];
	char config_digest[72];
	char key[65]; /* of the EROFS */
	char *config_text;
	char *layers; /* digits of the compressed ones' digests, "HEX HEX" */
	uint64_t size;
	uint64_t erofs_size; /* as VMs see it */
	uint64_t file_size;  /* of its own file: the same, or a difference */
	int64_t file_mtime_ns;
	struct stored_base base;
	uint32_t max_uid, max_gid;
};

void stored_done(struct stored *i);

/* A file in erofs/ as it was when it got its name. */
struct store_file {
	char name[80];
	uint64_t size;
	int64_t mtime_ns;
};

/* A file on its way there. */
struct store_temp {
	int fd;
	char name[32]; /* in tmp/, or "" while it has none */
};

/* An image that was converted and waits to be committed. */
struct store_ready {
	struct stored i;
	struct store_temp whole, diff; /* the latter where i.base says so */
	/* Files of other stores, or -1: the same as `whole`; the base. */
	int twin, base;
};

struct store_name {
	char *full; /* canonical */
	char digest[72];
};

struct image_store {
	struct image_store_config c;
	/* What c points to. */
	char *dir, *program, *skopeo, *registries, *tenant;
	atomic_uint refs;
	int dir_fd, erofs_fd, meta_fd, layers_fd, tmp_fd, lock_fd;
	uint64_t next_tmp;

	pthread_mutex_t lock; /* of all below */
	unsigned int n_loads; /* and pulls, under way */
	bool gone; /* its folder is to go: nothing is put in any more */
	struct stored *images;
	size_t n_images, cap_images;
	struct store_name *names;
	size_t n_names, cap_names;
	struct pulling *pulls; /* those under way */
	struct layers *layers; /* theirs */
	pthread_cond_t pulled; /* one of them has ended */
};

/* ---- store_once.c ---- */
void store_pull_init(struct image_store *s);

/* ---- store_index.c: all with the lock held ---- */

/* Reads meta/ and names.json, drops what leads nowhere, removes EROFS files
 * that no image uses. */
int store_index_load(struct image_store *s, struct err *e);
void store_index_free(struct image_store *s);

/* Room for one more than n. */
int store_grow(void **list, size_t size, size_t n, size_t *cap);

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

/* ---- store_file.c: all with the lock held ---- */

/* An image's own file, and its base's: 1 or 2 of them. */
size_t store_files(const struct stored *i, struct store_file ret[2]);
/* Are its files there as they were written? 0, -ENOENT, -EUCLEAN. ret_base
 * (may be NULL): it is the base's that is not. */
int store_check(const struct image_store *s, const struct stored *i,
		bool *ret_base);
/* Is the whole EROFS file of this key there, an image's or a base? */
bool store_find_whole(const struct image_store *s, const char *key,
		      uint64_t *ret_size, int64_t *ret_mtime_ns);
/* A folder of the store to be read; NULL with errno. */
DIR *store_open_folder(int fd);
/* Removes files in erofs/ that no image uses. */
int store_sweep(struct image_store *s, struct err *e);
/* Bytes of files that only images use which `goes` knows: each once. */
uint64_t store_count_freed(const struct image_store *s,
			   bool (*goes)(const void *arg, const char *digest),
			   const void *arg);

/* name: by which it was found, or -1. */
int store_make_info(struct image_store *s, const struct stored *i, int name,
		    struct image_info **ret, struct err *e);

/* ---- store_peer.c ---- */

/* Without the lock: looks for a file that is the image's, in another store, if
 * this one has none. */
void store_peer_twin(struct image_store *s, struct store_ready *y);
/* The file that has more of the lowest layers than *b, which then says which
 * it is; -1: none has. */
int store_peer_base(struct image_store *s, const struct image_found *f,
		    struct stored_base *b);
/* With the lock: makes the file this store's own, too. */
int store_peer_link(struct image_store *s, int fd, const char *key,
		    uint64_t *ret_size, int64_t *ret_mtime_ns);

/* ---- store_quota.c ---- */

/* Bytes that the files of a folder take on disk. */
uint64_t store_dir_bytes(int dir);

/* With the lock held: asks for what the n images will take; tells what the
 * store takes when that is settled. */
int store_quota_take(struct image_store *s, const struct store_ready *list,
		     size_t n, struct err *e);
void store_quota_settle(struct image_store *s);

/* Without it: how much an image may have on its way, in temporary files and as
 * a whole EROFS file. -EDQUOT: nothing. */
struct store_limits {
	uint64_t temp, whole;
};
int store_quota_begin(struct image_store *s, struct store_limits *ret,
		      struct err *e);
/* Is that much in temporary files too much? */
int store_quota_check_temp(struct image_store *s, uint64_t bytes,
			   struct err *e);
/* The progress of what is written to a file, which it ends when there is too
 * much of it. */
struct store_watch {
	image_progress progress; /* told as well; may be NULL */
	void *arg;
	int fd;
	uint64_t most;
	bool over;
};
int store_quota_progress(void *watch, const char *phase, uint64_t done,
			 uint64_t total);
int store_quota_over(struct image_store *s, const struct store_watch *w,
		     struct err *e);

/* Around a load or pull. -EBUSY: too many at once. */
int store_enter(struct image_store *s, struct err *e);
void store_leave(struct image_store *s);

/* ---- store_load.c, with the lock held ---- */

/* Is there a whole file of these layers? Then it is the image's. */
bool store_take_existing(struct image_store *s, struct stored *i);

/* ---- store_diff.c, store_share.c, without the lock ---- */

/* Makes the empty file `to` a qcow2 of what `from` has over `base`. -ENODATA:
 * it is not worth it. What is in `to` then is of no use. */
int store_diff_write(int from, int base, int to);
/* Have the files the same bytes? */
bool store_diff_same(int a, int b);
/* The lowest layers that both have; ret_all (may be NULL): all of x. */
uint32_t store_common_layers(const struct stored *x,
			     const struct image_found *f, uint32_t *ret_all);

/* Looks for the image that has most lowest layers in common with the new image
 * y, of the store or of the n that are ready, and writes y->diff and y->i.base.
 * Negative: there is none, or it is not worth it. */
int store_share_base(struct image_store *s, const struct image_found *f,
		     const struct store_ready *list, size_t n,
		     struct store_ready *y);

#endif
