/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader of tar streams: v7, ustar, PAX, GNU and star headers, long names,
 * sparse files (GNU old, PAX 0.0, 0.1, 1.0), extended attributes
 * (SCHILY.xattr). Names are bytes and are handed on as they are. One pass,
 * no seeking, memory bounded by limits.h whatever the stream says.
 */
#ifndef HYB_IMAGE_CONVERT_TAR_H
#define HYB_IMAGE_CONVERT_TAR_H

#include "host-agent/image/convert/bytes.h"

#include <stdbool.h>

enum tar_type {
	TAR_FILE,
	TAR_LINK,
	TAR_SYMLINK,
	TAR_CHAR,
	TAR_BLOCK,
	TAR_DIR,
	TAR_FIFO,
};

struct tar_xattr {
	const char *name; /* whole, with its prefix: "user.x" */
	const void *value;
	size_t len;
};

struct tar_extent {
	uint64_t off;
	uint64_t len;
};

/* Valid until the next tar_next(). */
struct tar_entry {
	enum tar_type type;
	const char *path; /* never empty, no NUL inside */
	const char *link; /* of a link or symbolic link, else "" */
	uint32_t mode;	  /* permission bits, 07777 */
	uint32_t uid;
	uint32_t gid;
	uint32_t dev_major;
	uint32_t dev_minor;
	int64_t mtime;
	uint32_t mtime_nsec;
	uint64_t size;	  /* of the file, holes included */
	uint64_t stored;  /* bytes of data in the stream */
	uint64_t data_at; /* their offset in the stream */
	bool sparse;
	const struct tar_xattr *xattrs;
	size_t n_xattrs;
};

struct tar;

/* NULL: no memory. src is kept by reference. */
struct tar *tar_new(const struct byte_source *src);
void tar_free(struct tar *t);
static inline void cleanup_tar(struct tar **t)
{
	if (*t)
		tar_free(*t);
}

/* The next entry; what is left of the one before is skipped. 1: *ret is set,
 * 0: end of the archive, -errno: broken (-EBADMSG), cut (-ENODATA), over a
 * limit (-E2BIG), or the source's own error; e names the entry where one is
 * known. */
int tar_next(struct tar *t, const struct tar_entry **ret, struct err *e);

/* The next piece of the current file's data: *off is its place in the file
 * (pieces come in rising order; what lies between them is holes). Returns the
 * length, 0 at the end of the entry, or -errno. */
ssize_t tar_data(struct tar *t, const uint8_t **ret, uint64_t *off,
		 struct err *e);

/* Reads on to the end of the source, whatever is there. */
int tar_drain(struct tar *t, struct err *e);

#endif
