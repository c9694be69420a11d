/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an image comes from: a folder (OCI layout, skopeo's dir) or an archive
 * (oci-archive, docker-archive), both as "the file called PATH". Nothing is
 * unpacked: a file in an archive is a part of the archive.
 */
#ifndef HYB_HOST_IMAGE_IMAGE_SOURCE_H
#define HYB_HOST_IMAGE_IMAGE_SOURCE_H

#include "common/base/arena.h"
#include "common/base/err.h"
#include "host-agent/image/image_child.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct image_source;

struct image_source_config {
	int fd;		/* regular file, pipe, or folder; kept by the caller */
	bool as_caller; /* files of the folder are opened as this user */
	uid_t uid;
	gid_t gid;
	bool is_tree; /* a tar of a root file system, not an archive of files */
	int tmp_dir;  /* for a copy, where the source is a pipe or compressed */
	const struct image_child *child; /* how to run hyb-image */
};

int image_source_open(const struct image_source_config *c,
		      struct image_source **ret, struct err *e);
void image_source_close(struct image_source *s);
static inline void cleanup_image_source(struct image_source **s)
{
	if (*s)
		image_source_close(*s);
}

struct image_part {
	int fd; /* the source's, valid as long as it is */
	uint64_t offset, size;
};

/* -ENOENT without a message where there is none; every other error has one. */
int image_source_find(struct image_source *s, const char *path,
		      struct image_part *ret, struct err *e);

/* The tar, plain, of a source that is_tree. */
struct image_part image_source_tree(const struct image_source *s);

/* The whole of a document of at most max bytes, with a NUL behind it, in the
 * arena. digest ("sha256:..."), unless NULL, must be that of the content, and
 * size, unless UINT64_MAX, its size. ret_digest[72], unless NULL: its digest. */
int image_source_read(struct image_source *s, const char *path, size_t max,
		      const char *digest, uint64_t size, struct arena *a,
		      const char **ret, size_t *ret_len, char *ret_digest,
		      struct err *e);

/* "sha256:..." of data, out[72]. */
void image_digest(const void *data, size_t len, char *out);

/* The same of a part of a file. tick (may be NULL) is told how many bytes have
 * been read; what it returns other than 0 ends it. */
int image_digest_part(const struct image_part *p,
		      int (*tick)(void *arg, uint64_t done), void *arg,
		      char digest[72], struct err *e);

#endif
