/* SPDX-License-Identifier: Apache-2.0 */
/* What tar.c and tar_ext.c share. */
#ifndef HYB_IMAGE_CONVERT_TAR_INT_H
#define HYB_IMAGE_CONVERT_TAR_INT_H

#include "host-agent/image/convert/limits.h"
#include "host-agent/image/convert/tar.h"

#define TAR_BLOCK_SIZE 512

/* A growing piece of memory, kept from entry to entry. */
struct tar_mem {
	char *data;
	size_t len;
	size_t cap;
};

enum tar_sparse {
	TAR_DENSE,
	TAR_SPARSE_GNU,	  /* map in the header and blocks behind it */
	TAR_SPARSE_PAX,	  /* map in PAX records (0.0 and 0.1) */
	TAR_SPARSE_PAX_1, /* map at the start of the data (1.0) */
};

struct tar {
	const struct byte_source *src;
	const uint8_t *cur;
	size_t cur_len;
	uint64_t pos; /* bytes of the stream taken so far */
	uint8_t hdr[TAR_BLOCK_SIZE];

	struct tar_mem path; /* of the current entry */
	struct tar_mem link;
	struct tar_mem pax;	  /* records, cut up in place */
	struct tar_mem long_name; /* GNU L and K */
	struct tar_mem long_link;
	bool has_long_name;
	bool has_long_link;
	bool has_pax; /* an x header came, whatever it said */

	/* What PAX said of the next entry. */
	const char *pax_path;
	const char *pax_link;
	const char *pax_sparse_name;
	bool has_size, has_uid, has_gid, has_mtime, has_realsize;
	uint64_t pax_size, pax_realsize;
	uint64_t pax_uid, pax_gid;
	int64_t pax_mtime;
	uint32_t pax_mtime_nsec;
	unsigned int sparse_major;
	enum tar_sparse sparse;
	bool sparse_open; /* 0.0: an offset waits for its length */

	struct tar_extent *map;
	size_t n_map, cap_map;
	struct tar_xattr xattrs[HYB_IMAGE_XATTRS_MAX];
	size_t n_xattrs;

	struct tar_entry entry;
	uint64_t left; /* stored bytes not yet handed on */
	uint32_t pad;  /* bytes behind them up to the block's end */
	size_t map_at; /* current piece and what is done of it */
	uint64_t map_done;
};

/* "entry 'NAME': " is put in front of messages once the name is known. */
int tar_fail(const struct tar *t, struct err *e, int code, const char *why);

/* One block: 1, 0 at the end of the source, -errno. */
int tar_block(struct tar *t, uint8_t *out, struct err *e);

int tar_mem_set(struct tar_mem *m, const void *data, size_t len);
int tar_mem_room(struct tar_mem *m, size_t len);
int tar_map_add(struct tar *t, uint64_t off, uint64_t len);

/* A number of a header: octal, or base 256. */
int tar_number(const uint8_t *p, size_t len, int64_t *ret);

/* Forgets what PAX and GNU headers said. */
void tar_ext_reset(struct tar *t);
/* Cuts up t->pax and takes what it says. */
int tar_ext_pax(struct tar *t, struct err *e);
/* Reads the map of a sparse file where it is not in the PAX records. Takes
 * from *stored what it read of the data. */
int tar_ext_sparse(struct tar *t, uint64_t *stored, struct err *e);

#endif
