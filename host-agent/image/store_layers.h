/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache of layers as registries send them: layers/HEX, root's, 0444.
 *
 * What is in it was hashed by us after nobody else could write it any more. It
 * is used again by hard links in the folder of a pull, which is skopeo's: to
 * skopeo they are layers that it has already. All that uses one hashes it
 * again; so a damaged one costs a second try, and never makes a wrong image.
 *
 * A pull's layers are of the store as long as the pull lasts: nobody fetches
 * one that another fetches right now, and nothing removes them.
 */
#ifndef HYB_HOST_IMAGE_STORE_LAYERS_H
#define HYB_HOST_IMAGE_STORE_LAYERS_H

#include "host-agent/image/store_int.h"

struct layer {
	char hex[65];
	uint64_t size;
	bool linked;  /* of the cache, in the pull's folder */
	bool fetched; /* by this pull, right now */
};

/* Those of one pull, each once, the lowest first. */
struct layers {
	struct layers *next; /* of the store */
	const char *from;    /* name of the image: registry and path */
	uint64_t moved_ms;   /* when bytes came last */
	uint64_t rest;	     /* bytes that are to be fetched */
	size_t n_kept;	     /* that this pull put into the cache */
	size_t n;
	struct layer list[HYB_OCI_LAYERS_MAX];
};

/* from lives as long as *ret, which is freed with layers_end(). */
int layers_begin(struct image_store *s, const struct oci_manifest *m,
		 const char *from, struct layers **ret, struct err *e);

/* Links what the cache has into the folder of the pull; the rest is the pull's
 * to fetch. -EAGAIN: another pull fetches one of them, and nothing was done. */
int layers_take(struct image_store *s, struct layers *l, int dir_fd);

/* Puts those into the cache that came to the folder, whole and right, since;
 * uid: whose files they are. */
void layers_keep(struct image_store *s, struct layers *l, int dir_fd,
		 uid_t uid);

/* Bytes came. */
void layers_moved(struct image_store *s, struct layers *l);

/* Is the file of this name in the pull's folder one of the cache? */
bool layers_linked(const struct layers *l, const char *name);

/* Nothing is being fetched now. */
void layers_stop(struct image_store *s, struct layers *l);

/* Removes those from the cache that were used and are damaged; how many. */
size_t layers_check(struct image_store *s, const struct layers *l);

/* They were used now, the lowest last, and the cache keeps its limit again. */
void layers_end(struct image_store *s, struct layers *l);

/* Removes all that no pull under way has: where the disk is full. Bytes. */
uint64_t layers_give_way(struct image_store *s);

/* With the lock held: those that no pull under way has, and no image but those
 * that `goes` knows, or, without it, whatever images have. Bytes. */
uint64_t layers_prune(struct image_store *s,
		      bool (*goes)(const void *arg, const char *digest),
		      const void *arg, bool dry_run, uint64_t *ret_n);

/* Its part of *ret. */
void layers_usage(const struct image_store *s, struct image_usage *ret);

#endif
