/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes an EROFS file system, files first, directories last.
 *
 * A file's inode, attributes and last partial block are packed into metadata
 * blocks as it comes by; its full blocks go straight to the output. What is
 * removed again gives its blocks back for what follows. Directories, counts of
 * links and the superblock are written at the end. Memory: 2 bytes and a bit
 * per block of output, a window of 1 MiB, nothing per byte of file.
 */
#ifndef HYB_IMAGE_CONVERT_EROFS_H
#define HYB_IMAGE_CONVERT_EROFS_H

#include "common/base/err.h"
#include "host-agent/image/convert/erofs_format.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct erofs;

struct erofs_attr {
	uint16_t mode; /* with the type, as in st_mode */
	uint32_t uid;
	uint32_t gid;
	int64_t mtime;
	uint32_t mtime_nsec;
	uint32_t rdev;	    /* erofs_rdev() of a device */
	const void *xattrs; /* as erofs_xattr_add() made them, or NULL */
	size_t xattrs_len;
};

/* Where an inode and its blocks are. */
struct erofs_loc {
	uint64_t nid;
	uint32_t block; /* first block of data, where there are any */
	uint32_t blocks;
	uint32_t meta_len; /* bytes at the nid */
};

/* fd: an empty regular file, open for reading and writing, kept by the caller.
 * max_bytes: of the output. uuid: 16 bytes. */
int erofs_new(int fd, uint64_t max_bytes, const uint8_t uuid[16],
	      struct erofs **ret, struct err *e);
void erofs_free(struct erofs *w);
static inline void cleanup_erofs(struct erofs **w)
{
	if (*w)
		erofs_free(*w);
}

/* The device number as Linux encodes it. */
uint32_t erofs_rdev(uint32_t major, uint32_t minor);

/* Appends one attribute in on-disk form to buf[*len], of size bytes. name is
 * whole. 0, -ENOTSUP for a name that is not kept (see docs/images.md), -E2BIG
 * where it does not fit. */
int erofs_xattr_add(void *buf, size_t size, size_t *len, const char *name,
		    const void *value, size_t value_len);

/* A file in pieces: begin, put (off rising; what is left out is zeros), end.
 * sparse: there will be gaps. *a is kept by reference until the end. */
int erofs_begin(struct erofs *w, const struct erofs_attr *a, uint64_t size,
		bool sparse, struct err *e);
int erofs_put(struct erofs *w, uint64_t off, const void *data, size_t len,
	      struct err *e);
int erofs_end(struct erofs *w, struct erofs_loc *ret, struct err *e);

/* A file, link or device with all its content (NULL, 0: none). */
int erofs_small(struct erofs *w, const struct erofs_attr *a, const void *data,
		size_t len, struct erofs_loc *ret, struct err *e);

/* The inode is not needed any more: its blocks may be used again. */
void erofs_release(struct erofs *w, const struct erofs_loc *l);

/* Directories: first a place for each (size as erofs_dir_size_*() added up),
 * the root first of all; then their content. */
struct erofs_dir_size {
	uint64_t blocks; /* full ones before the last */
	uint32_t used;	 /* bytes in the last */
};
void erofs_dir_size_add(struct erofs_dir_size *s, size_t name_len);

int erofs_dir_place(struct erofs *w, const struct erofs_dir_size *s,
		    size_t xattrs_len, bool is_root, struct erofs_loc *ret,
		    struct err *e);
/* Entries come in order of their bytes, "." and ".." among them. */
void erofs_dir_begin(struct erofs *w, const struct erofs_loc *l);
int erofs_dir_entry(struct erofs *w, const char *name, size_t name_len,
		    uint64_t nid, enum erofs_type type, struct err *e);
int erofs_dir_end(struct erofs *w, const struct erofs_attr *a, uint32_t nlink,
		  struct err *e);

/* Corrects the count of links of an inode that was written with 1. After the
 * last file. */
int erofs_set_nlink(struct erofs *w, const struct erofs_loc *l, uint32_t nlink,
		    struct err *e);

/* Superblock, size, holes. *ret_bytes: size of the file. */
int erofs_finish(struct erofs *w, uint64_t *ret_bytes, struct err *e);

#endif
