/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image store: names and digests to read-only EROFS files.
 *
 *   ROOT/images/          0711 root
 *     erofs/KEY.erofs     0444 root; the folder is 0700: VMs get hard links
 *     erofs/KEY.diff      the same, of what differs from another KEY.erofs
 *     meta/DIGEST.json    what is known of an image, its configuration too
 *     layers/HEX          0444 root: compressed layers, for later pulls
 *     names.json          name -> digest
 *     tmp/                what is being fetched; swept when the store is opened
 *     lock                held by the one process that has the store open
 *
 * KEY is made of the layers' uncompressed digests, so images that differ in
 * their configuration only share a file. A file appears under its final name
 * after every digest has been checked and it has been synced; the names file
 * is written whole and renamed, last. So whatever is found there is complete.
 *
 * Thread-safe: one lock, never held while an image is fetched or converted.
 */
#ifndef HYB_HOST_IMAGE_STORE_H
#define HYB_HOST_IMAGE_STORE_H

#include "common/base/arena.h"
#include "common/base/err.h"
#include "common/oci/image.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct image_store;

/* Immutable; all memory is the arena's, which goes with it. */
struct image_info {
	struct arena *arena;
	const char *tenant; /* whose store it is in */
	const char **names; /* "busybox:latest", NULL-ended, perhaps none */
	/* By which it was found, canonical; NULL: by a digest, or not asked. */
	const char *found;
	const char *digest;	   /* of the manifest, "sha256:..." */
	const char *config_digest; /* what Docker calls the image's id */
	/* Its file, absolute: the EROFS, or, with base_path, a qcow2 of what
	 * differs from the EROFS there. */
	const char *path, *base_path;
	const char *base_digest; /* of the image that the base was */
	uint64_t erofs_size;	 /* as a VM sees it */
	uint64_t file_size;	 /* of `path` */
	uint64_t disk_size;	 /* what that takes, without its holes */
	char erofs_serial[21];	 /* disk serial, of the file's key */
	const char *architecture;
	const char *os;
	const char *created; /* RFC 3339 or "" */
	uint64_t size;	     /* bytes of all layers as stored in the source */
	uint32_t max_uid;    /* largest that owns a file in it */
	uint32_t max_gid;
	struct oci_image_config config;
};

void image_info_free(struct image_info *i);
/* A list ends with NULL. */
void image_info_free_list(struct image_info **list);
static inline void cleanup_image_info(struct image_info **i)
{
	if (*i)
		image_info_free(*i);
}
static inline void cleanup_image_info_list(struct image_info ***l)
{
	if (*l)
		image_info_free_list(*l);
}
#define _cleanup_image_info_ __attribute__((cleanup(cleanup_image_info)))
#define _cleanup_image_info_list_ \
	__attribute__((cleanup(cleanup_image_info_list)))

#define IMAGE_NO_LAYER_CACHE UINT64_MAX

/* Who counts what a store's files take on disk; all may be NULL, then nobody
 * does. */
struct image_quota {
	/* Of the limit, and what is not used of it, by anything; UINT64_MAX:
	 * there is none. */
	int (*left)(void *arg, const char *tenant, uint64_t *ret_most,
		    uint64_t *ret_left, struct err *e);
	/* From now on they take so many bytes. check: -EDQUOT where that is
	 * more than before, and too much. */
	int (*hold)(void *arg, const char *tenant, uint64_t bytes, bool check,
		    struct err *e);
	void *arg;
};

/* With which other stores this one shares files: NULL: with none. *ret, which
 * ends with NULL, is freed, each of it given back with image_store_put(). */
struct image_peers {
	int (*list)(void *arg, const char *tenant, struct image_store ***ret,
		    struct err *e);
	void *arg;
};

struct image_store_config {
	const char *dir;       /* ROOT/images, made where it is missing */
	const char *tenant;    /* whose it is, for image_info; NULL: "" */
	const char *hyb_image; /* path of the program */
	const char *skopeo;    /* NULL: "skopeo" */
	/* Where registries.conf is, for short names; NULL: /etc/containers */
	const char *registries;
	uid_t uid; /* hyb-image becomes this user, if we are root */
	gid_t gid;
	uint64_t max_bytes;  /* of an image, uncompressed; 0: 64 GiB */
	uint64_t timeout_ms; /* of one load or pull; 0: one hour */
	/* Bytes of layers that are kept for later pulls; 0: a tenth of the file
	 * system, at most 8 GiB */
	uint64_t layer_cache;
	struct image_quota quota;
	struct image_peers peers;
};

/* -EBUSY: another process has it open. */
int image_store_open(const struct image_store_config *config,
		     struct image_store **ret, struct err *e);
void image_store_close(struct image_store *s);

/* Another holder of the store, which is closed when the last one puts it; the
 * first is who opened it. */
struct image_store *image_store_ref(struct image_store *s);
void image_store_put(struct image_store *s);
static inline void cleanup_image_store(struct image_store **s)
{
	if (*s)
		image_store_put(*s);
}
#define _cleanup_image_store_ __attribute__((cleanup(cleanup_image_store)))

/* What goes on, for people: phase is "fetch", "read", "convert" or "store";
 * total 0 where it is not known. Called from the thread that loads; a return
 * other than 0 cancels the work with -ECANCELED. */
typedef int (*image_progress)(void *arg, const char *phase, uint64_t done,
			      uint64_t total);

/* May there be an image of this canonical name? NULL: may it be one without a
 * name? -errno with a reason. */
typedef int (*image_may)(void *arg, const char *full, struct err *e);

/* Loads all images of an OCI layout, an oci-archive or a docker-archive (plain
 * or compressed): told apart by content. name: what the image is to be called
 * in place of its own names (an error where there are several images).
 * *ret: the images, freed with image_info_free_list(). Errors name the layer
 * and the entry; the store is then as it was before. */
int image_store_load(struct image_store *s, const char *path, const char *name,
		     image_progress progress, void *arg,
		     struct image_info ***ret, struct err *e);

/* What a user passed. */
struct image_input {
	int fd; /* kept by the caller; of a file the position does not matter */
	const char *source_name; /* for messages; may be NULL */
	const char *name;	 /* as above */
	uid_t caller_uid; /* files of a folder are opened with this user's */
	gid_t caller_gid; /* rights, not ours */
	image_progress progress;
	void *arg;
	image_may may; /* asked before anything is converted; may be NULL */
	void *may_arg;
	/* Unless NULL: a sentence about each image that was left out,
	 * strv_free(). */
	char ***ret_skipped;
};

/* The same of a regular file, a pipe, or the folder of a layout. */
int image_store_load_fd(struct image_store *s, const struct image_input *in,
			struct image_info ***ret, struct err *e);

/* An image of one layer: the tar, plain or compressed, of a root file system.
 * Its configuration says nothing but the host's architecture, so the same tar
 * is the same image. Without a name it is found by its digest. */
int image_store_import_fd(struct image_store *s, const struct image_input *in,
			  struct image_info ***ret, struct err *e);

struct image_pull {
	const char *reference; /* [REGISTRY/]NAME[:TAG][@DIGEST] */
	const char *auth; /* credentials, an auth.json's text with nothing but
				  "auths", or NULL */
	bool no_tls_verify;
	const char *platform; /* OS/ARCHITECTURE[/VARIANT]; NULL: the host's */
	uint64_t timeout_ms;  /* 0: the store's */
	/* NULL, or a digest. Where the registry has this image the pull is over
	 * before anything is fetched: -EALREADY. */
	const char *have;
	/* Asked of each image that the reference may mean, before any is
	 * fetched; may be NULL. */
	image_may may;
	void *may_arg;
	/* Nothing is fetched but from the registry (or its mirrors): a manifest
	 * that sends elsewhere for a part of the image (`urls`) is refused
	 * before that is asked for. */
	bool strict;
};

/* Fetches with skopeo (a name without a registry as registries.conf has it:
 * where that lists several, one after the other), which runs as the store's uid in a folder of its own,
 * then loads. The digest is that of the registry's manifest. Of several calls
 * at once for the same, with the same credentials, one fetches and the others
 * wait for it. */
int image_store_pull(struct image_store *s, const struct image_pull *p,
		     image_progress progress, void *arg,
		     struct image_info **ret, struct err *e);

/* By name ("busybox", "docker.io/library/busybox:1.36", "NAME@sha256:..."; one
 * without a registry also as registries.conf has it) or by the first 8 or more digits of a digest. -ENOENT with a hint; -EUCLEAN
 * where the file is not as it was written (the hint says to load it again). */
int image_store_get(struct image_store *s, const char *reference,
		    struct image_info **ret, struct err *e);

/* All, in order of their names. */
int image_store_list(struct image_store *s, struct image_info ***ret,
		     struct err *e);

/* Is the image with this digest needed? Called with the store's lock held:
 * it must not call the store. */
typedef bool (*image_in_use)(void *arg, const char *digest);

/* Takes the name away, or, by digest, the image with all its names; with the
 * last name the image goes, with the last image its file, unless an
 * image is stored as what differs from that. -EBUSY where in_use
 * says so. *ret_removed: names and digests that went, strv_free(). */
int image_store_remove(struct image_store *s, const char *reference,
		       image_in_use in_use, void *arg, char ***ret_removed,
		       struct err *e);

struct image_prune {
	bool all;	      /* images with a name too */
	bool dry_run;	      /* nothing is removed */
	uint64_t *ret_layers; /* unless NULL: how many of the cache went */
	image_in_use in_use;
	void *arg;
};

/* Removes the images that in_use does not know; *ret: what went, or would, as
 * of image_store_remove(); *ret_bytes: of their files that no other image
 * needs, and of layers in the cache that no image has, or, with all, of all. */
int image_store_prune(struct image_store *s, const struct image_prune *p,
		      char ***ret, uint64_t *ret_bytes, struct err *e);

/* What the store takes of the disk, in bytes: its images' files, and the layers
 * that are kept for later pulls. */
struct image_usage {
	uint64_t images;
	uint64_t layers, layers_max;
	size_t n_layers;
};

void image_store_usage(struct image_store *s, struct image_usage *ret);

#endif
