/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: an inode with its attributes and, where it fits, the
 * last partial block of its file must lie within one block. Sixteen such
 * blocks are open at a time; the next inode goes into the one that it fills
 * best, and where none has room the fullest is written and a new one opened.
 * Inode numbers are byte positions / 32, so nothing moves once placed.
 *
 * A block of metadata is given back when the last inode in it is released.
 */
#include "host-agent/image/convert/erofs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host-agent/image/convert/erofs_out.h"
#include "host-agent/image/convert/limits.h"

#define BINS	  16
#define META_RUN  16 /* blocks of metadata that are taken together */
#define ROOT_AT	  (EROFS_SUPER_AT + (uint32_t)sizeof(struct erofs_super))
#define INODE_LEN ((uint32_t)sizeof(struct erofs_inode))
/* The largest inode with attributes, and a last block behind it. */
#define META_MAX                                                        \
	(sizeof(struct erofs_inode) + sizeof(struct erofs_xattr_head) + \
	 2 * HYB_IMAGE_XATTR_BYTES_MAX + EROFS_BLOCK)

struct bin {
	uint32_t block;
	uint32_t used; /* 0: not open */
	uint8_t data[EROFS_BLOCK];
};

struct erofs {
	struct erofs_out out;
	uint8_t uuid[16];
	uint64_t inodes;
	uint32_t next_ino;

	struct bin bins[BINS];
	uint32_t run_block; /* what is left of a run of metadata blocks */
	uint32_t run_left;
	uint16_t *live; /* inodes in each metadata block, by block */
	uint64_t live_len;

	/* The file or directory at hand. */
	const struct erofs_attr *attr;
	uint64_t size;
	uint64_t full;	/* bytes of its full blocks */
	uint32_t block; /* its data, where there are blocks */
	uint32_t blocks;
	bool tail_in; /* the tail goes behind the inode */
	uint8_t tail[EROFS_BLOCK];
	uint32_t tail_len;
	uint8_t meta[META_MAX];

	struct erofs_loc dir;
	uint64_t dir_done; /* full blocks written */
	struct erofs_dirent ents[EROFS_BLOCK / sizeof(struct erofs_dirent)];
	uint16_t name_lens[EROFS_BLOCK / sizeof(struct erofs_dirent)];
	uint8_t names[EROFS_BLOCK];
	uint32_t n_ents, names_len;
};

int erofs_new(int fd, uint64_t max_bytes, const uint8_t uuid[16],
	      struct erofs **ret, struct err *e)
{
	struct erofs *w = calloc(1, sizeof(*w));
	uint32_t first;
	int r;

	if (!w)
		return err_sys(e, ENOMEM, "write");
	memcpy(w->uuid, uuid, sizeof(w->uuid));
	w->next_ino = 1;
	r = erofs_out_init(&w->out, fd, max_bytes, e);
	/* Block 0: superblock and root. */
	if (r == 0)
		r = erofs_out_alloc(&w->out, 1, true, &first, e);
	if (r < 0) {
		erofs_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void erofs_free(struct erofs *w)
{
	if (!w)
		return;
	erofs_out_done(&w->out);
	free(w->live);
	free(w);
}

uint32_t erofs_rdev(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xfff00) << 12;
}

/* Kept: what a program may set itself (user.) and file capabilities. Dropped:
 * what would steer the overlay above (user.overlay., trusted.), and labels of
 * security modules that the guest does not have. */
static int xattr_prefix(const char **name)
{
	if (strncmp(*name, "user.", 5) == 0 &&
	    strncmp(*name, "user.overlay.", 13) != 0) {
		*name += 5;
		return EROFS_XATTR_USER;
	}
	if (strcmp(*name, "security.capability") == 0) {
		*name += 9;
		return EROFS_XATTR_SECURITY;
	}
	return -ENOTSUP;
}

int erofs_xattr_add(void *buf, size_t size, size_t *len, const char *name,
		    const void *value, size_t value_len)
{
	int index = xattr_prefix(&name);
	struct erofs_xattr x;
	size_t n = strlen(name), all;
	uint8_t *p;

	if (index < 0)
		return index;
	if (n == 0)
		return -ENOTSUP;
	all = (sizeof(x) + n + value_len + 3) & ~(size_t)3;
	if (n > HYB_IMAGE_NAME_MAX - 9 || value_len > UINT16_MAX ||
	    all > size - *len)
		return -E2BIG;
	x.name_len = (uint8_t)n;
	x.name_index = (uint8_t)index;
	x.value_len = (uint16_t)value_len;
	p = (uint8_t *)buf + *len;
	memset(p, 0, all);
	memcpy(p, &x, sizeof(x));
	memcpy(p + sizeof(x), name, n);
	if (value_len)
		memcpy(p + sizeof(x) + n, value, value_len);
	*len += all;
	return 0;
}

/* ------------------------------------------------- places for metadata */

static int count_live(struct erofs *w, uint64_t block, struct err *e)
{
	if (block >= w->live_len) {
		uint64_t n = (block + 1024) * 3 / 2;
		uint16_t *p = realloc(w->live, n * sizeof(*p));

		if (!p)
			return err_sys(e, ENOMEM, "write");
		memset(p + w->live_len, 0, (n - w->live_len) * sizeof(*p));
		w->live = p;
		w->live_len = n;
	}
	w->live[block]++;
	return 0;
}

static void drop_live(struct erofs *w, uint64_t block)
{
	if (--w->live[block] == 0)
		erofs_out_free(&w->out, block, 1);
}

static int bin_close(struct erofs *w, struct bin *b, struct err *e)
{
	int r;

	if (b->used == 0)
		return 0;
	r = erofs_out_write(&w->out, (uint64_t)b->block * EROFS_BLOCK, b->data,
			    EROFS_BLOCK, e);
	b->used = 0;
	drop_live(w, b->block);
	return r;
}

static int bin_open(struct erofs *w, struct bin *b, struct err *e)
{
	int r;

	if (w->run_left == 0) {
		r = erofs_out_alloc(&w->out, META_RUN, false, &w->run_block, e);
		if (r < 0)
			return r;
		w->run_left = META_RUN;
	}
	b->block = w->run_block++;
	w->run_left--;
	memset(b->data, 0, sizeof(b->data));
	/* One count for being open, so that it is not given back meanwhile. */
	return count_live(w, b->block, e);
}

/* A place of len <= one block. */
static int bin_place(struct erofs *w, uint32_t len, struct bin **ret,
		     struct err *e)
{
	struct bin *best = NULL, *fullest = &w->bins[0];
	size_t i;
	int r;

	for (i = 0; i < BINS; i++) {
		struct bin *b = &w->bins[i];

		if (b->used && len <= EROFS_BLOCK - b->used &&
		    (!best || b->used > best->used))
			best = b;
		/* One that is not open comes before all others. */
		if (fullest->used && (!b->used || b->used > fullest->used))
			fullest = b;
	}
	if (!best) {
		best = fullest;
		r = bin_close(w, best, e);
		if (r == 0)
			r = bin_open(w, best, e);
		if (r < 0)
			return r;
	}
	*ret = best;
	return count_live(w, best->block, e);
}

/* Puts data[len], the rest up to reserve left zero, somewhere; *ret_at its
 * byte position. */
static int meta_place(struct erofs *w, const void *data, uint32_t len,
		      uint32_t reserve, uint64_t *ret_at, struct err *e)
{
	struct bin *b = NULL;
	uint32_t block = 0;
	int r;

	if (reserve > EROFS_BLOCK) {
		r = erofs_out_alloc(&w->out,
				    (reserve + EROFS_BLOCK - 1) / EROFS_BLOCK,
				    true, &block, e);
		if (r < 0)
			return r;
		*ret_at = (uint64_t)block * EROFS_BLOCK;
		return erofs_out_write(&w->out, *ret_at, data, len, e);
	}
	r = bin_place(w, reserve, &b, e);
	if (r < 0)
		return r;
	*ret_at = (uint64_t)b->block * EROFS_BLOCK + b->used;
	if (len)
		memcpy(b->data + b->used, data, len);
	b->used += (reserve + EROFS_SLOT - 1) & ~(EROFS_SLOT - 1);
	return 0;
}

void erofs_release(struct erofs *w, const struct erofs_loc *l)
{
	uint64_t block = l->nid >> (EROFS_BLOCK_BITS - EROFS_SLOT_BITS);

	w->inodes--;
	if (l->blocks)
		erofs_out_free(&w->out, l->block, l->blocks);
	if (l->meta_len > EROFS_BLOCK)
		erofs_out_free(&w->out, block,
			       (l->meta_len + EROFS_BLOCK - 1) / EROFS_BLOCK);
	else
		drop_live(w, block);
}

/* --------------------------------------------------------------- inodes */

static uint32_t xattr_body_len(size_t xattrs_len)
{
	if (xattrs_len == 0)
		return 0;
	return (uint32_t)(sizeof(struct erofs_xattr_head) + xattrs_len);
}

/* Inode and attributes into w->meta; the length. */
static uint32_t make_inode(struct erofs *w, const struct erofs_attr *a,
			   uint64_t size, uint32_t layout, uint32_t where,
			   uint32_t nlink)
{
	struct erofs_inode i = {
		.format = (uint16_t)(EROFS_FORMAT_EXTENDED | layout << 1),
		.mode = a->mode,
		.size = size,
		.where = where,
		.ino = w->next_ino++,
		.uid = a->uid,
		.gid = a->gid,
		.mtime = (uint64_t)a->mtime,
		.mtime_nsec = a->mtime_nsec,
		.nlink = nlink,
	};
	uint32_t body = xattr_body_len(a->xattrs_len);

	if (body)
		i.xattr_count = (uint16_t)(1 + a->xattrs_len / 4);
	memcpy(w->meta, &i, sizeof(i));
	if (body) {
		memset(w->meta + sizeof(i), 0, sizeof(struct erofs_xattr_head));
		memcpy(w->meta + sizeof(i) + sizeof(struct erofs_xattr_head),
		       a->xattrs, a->xattrs_len);
	}
	return INODE_LEN + body;
}

int erofs_begin(struct erofs *w, const struct erofs_attr *a, uint64_t size,
		bool sparse, struct err *e)
{
	uint32_t head = INODE_LEN + xattr_body_len(a->xattrs_len);
	uint64_t blocks = size / EROFS_BLOCK;

	w->attr = a;
	w->size = size;
	w->full = blocks * EROFS_BLOCK;
	w->tail_len = (uint32_t)(size % EROFS_BLOCK);
	w->tail_in = head + w->tail_len <= EROFS_BLOCK;
	if (w->tail_len && !w->tail_in)
		blocks++;
	w->block = 0;
	w->blocks = (uint32_t)blocks;
	memset(w->tail, 0, sizeof(w->tail));
	if (blocks == 0)
		return 0;
	return erofs_out_alloc(&w->out, blocks, sparse, &w->block, e);
}

int erofs_put(struct erofs *w, uint64_t off, const void *data, size_t len,
	      struct err *e)
{
	const uint8_t *p = data;

	if (off < w->full) {
		size_t n = w->full - off < len ? (size_t)(w->full - off) : len;
		int r = erofs_out_write(&w->out,
					(uint64_t)w->block * EROFS_BLOCK + off,
					p, n, e);

		if (r < 0)
			return r;
		off += n;
		p += n;
		len -= n;
	}
	if (len)
		memcpy(w->tail + (off - w->full), p, len);
	return 0;
}

int erofs_end(struct erofs *w, struct erofs_loc *ret, struct err *e)
{
	const struct erofs_attr *a = w->attr;
	bool is_dev = S_ISCHR(a->mode) || S_ISBLK(a->mode);
	bool in = w->tail_len && w->tail_in;
	uint32_t len;
	uint64_t at;
	int r;

	if (w->tail_len && !w->tail_in) {
		r = erofs_out_write(&w->out,
				    (uint64_t)w->block * EROFS_BLOCK + w->full,
				    w->tail, EROFS_BLOCK, e);
		if (r < 0)
			return r;
	}
	len = make_inode(w, a, w->size,
			 in ? EROFS_LAYOUT_INLINE : EROFS_LAYOUT_PLAIN,
			 is_dev ? a->rdev : w->block, 1);
	if (in) {
		memcpy(w->meta + len, w->tail, w->tail_len);
		len += w->tail_len;
	}
	r = meta_place(w, w->meta, len, len, &at, e);
	if (r < 0)
		return r;
	w->inodes++;
	*ret = (struct erofs_loc){.nid = at >> EROFS_SLOT_BITS,
				  .block = w->block,
				  .blocks = w->blocks,
				  .meta_len = len};
	return 0;
}

int erofs_small(struct erofs *w, const struct erofs_attr *a, const void *data,
		size_t len, struct erofs_loc *ret, struct err *e)
{
	int r = erofs_begin(w, a, len, false, e);

	if (r == 0 && len)
		r = erofs_put(w, 0, data, len, e);
	return r < 0 ? r : erofs_end(w, ret, e);
}

int erofs_set_nlink(struct erofs *w, const struct erofs_loc *l, uint32_t nlink,
		    struct err *e)
{
	return erofs_out_write(&w->out,
			       (l->nid << EROFS_SLOT_BITS) +
				       offsetof(struct erofs_inode, nlink),
			       &nlink, sizeof(nlink), e);
}

/* ---------------------------------------------------------- directories */

void erofs_dir_size_add(struct erofs_dir_size *s, size_t name_len)
{
	uint32_t n = (uint32_t)(sizeof(struct erofs_dirent) + name_len);

	if (s->used + n > EROFS_BLOCK) {
		s->blocks++;
		s->used = 0;
	}
	s->used += n;
}

int erofs_dir_place(struct erofs *w, const struct erofs_dir_size *s,
		    size_t xattrs_len, bool is_root, struct erofs_loc *ret,
		    struct err *e)
{
	uint32_t len = INODE_LEN + xattr_body_len(xattrs_len);
	uint32_t room = is_root ? EROFS_BLOCK - ROOT_AT : EROFS_BLOCK;
	uint32_t tail = s->used % EROFS_BLOCK;
	uint64_t blocks = s->blocks + (s->used == EROFS_BLOCK), at = ROOT_AT;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (is_root && len > room)
		return err_set(e, E2BIG,
			       "entry '/': its attributes take more "
			       "than %u bytes",
			       (unsigned int)(room - INODE_LEN));
	if (tail && len + tail <= room)
		len += tail;
	else if (tail)
		blocks++;
	if (blocks) {
		r = erofs_out_alloc(&w->out, blocks, false, &ret->block, e);
		if (r < 0)
			return r;
	}
	if (!is_root) {
		r = meta_place(w, NULL, 0, len, &at, e);
		if (r < 0)
			return r;
	}
	w->inodes++;
	ret->nid = at >> EROFS_SLOT_BITS;
	ret->blocks = (uint32_t)blocks;
	ret->meta_len = len;
	return 0;
}

void erofs_dir_begin(struct erofs *w, const struct erofs_loc *l)
{
	w->dir = *l;
	w->dir_done = 0;
	w->n_ents = 0;
	w->names_len = 0;
}

/* The entries gathered, as a block, into w->tail; its length. */
static uint32_t dir_block(struct erofs *w)
{
	uint32_t at = w->n_ents * (uint32_t)sizeof(struct erofs_dirent), i;
	uint32_t len = at + w->names_len;

	memset(w->tail, 0, sizeof(w->tail));
	memcpy(w->tail + at, w->names, w->names_len);
	for (i = 0; i < w->n_ents; i++) {
		w->ents[i].name_at = (uint16_t)at;
		at += w->name_lens[i];
	}
	memcpy(w->tail, w->ents, w->n_ents * sizeof(struct erofs_dirent));
	w->n_ents = 0;
	w->names_len = 0;
	return len;
}

static int dir_put_block(struct erofs *w, struct err *e)
{
	return erofs_out_write(&w->out,
			       (w->dir.block + w->dir_done++) * EROFS_BLOCK,
			       w->tail, EROFS_BLOCK, e);
}

int erofs_dir_entry(struct erofs *w, const char *name, size_t name_len,
		    uint64_t nid, enum erofs_type type, struct err *e)
{
	uint32_t used = w->n_ents * (uint32_t)sizeof(struct erofs_dirent) +
			w->names_len;
	int r;

	if (used + sizeof(struct erofs_dirent) + name_len > EROFS_BLOCK) {
		dir_block(w);
		r = dir_put_block(w, e);
		if (r < 0)
			return r;
	}
	w->ents[w->n_ents] =
		(struct erofs_dirent){.nid = nid, .type = (uint8_t)type};
	w->name_lens[w->n_ents++] = (uint16_t)name_len;
	memcpy(w->names + w->names_len, name, name_len);
	w->names_len += (uint32_t)name_len;
	return 0;
}

static int close_bins(struct erofs *w, struct err *e)
{
	size_t i;
	int r = 0;

	for (i = 0; i < BINS && r == 0; i++)
		r = bin_close(w, &w->bins[i], e);
	if (w->run_left)
		erofs_out_free(&w->out, w->run_block, w->run_left);
	w->run_left = 0;
	return r;
}

int erofs_dir_end(struct erofs *w, const struct erofs_attr *a, uint32_t nlink,
		  struct err *e)
{
	uint32_t tail = dir_block(w), len;
	uint64_t size = w->dir_done * EROFS_BLOCK + tail;
	bool tail_in =
		w->dir.meta_len > INODE_LEN + xattr_body_len(a->xattrs_len);
	int r;

	if (!tail_in) {
		r = dir_put_block(w, e);
		if (r < 0)
			return r;
	}
	len = make_inode(w, a, size,
			 tail_in ? EROFS_LAYOUT_INLINE : EROFS_LAYOUT_PLAIN,
			 w->dir.block, nlink);
	if (tail_in) {
		memcpy(w->meta + len, w->tail, tail);
		len += tail;
	}
	/* Blocks of metadata that are still open would be written over this. */
	r = close_bins(w, e);
	if (r < 0)
		return r;
	return erofs_out_write(&w->out, w->dir.nid << EROFS_SLOT_BITS, w->meta,
			       len, e);
}

/* ----------------------------------------------------------- superblock */

static uint32_t crc32c(uint32_t crc, const uint8_t *p, size_t len)
{
	int i;

	for (; len > 0; len--) {
		crc ^= *p++;
		for (i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return crc;
}

int erofs_finish(struct erofs *w, uint64_t *ret_bytes, struct err *e)
{
	uint8_t block[EROFS_BLOCK];
	struct erofs_super sb = {
		.magic = EROFS_MAGIC,
		.feature_compat = EROFS_COMPAT_CHECKSUM | EROFS_COMPAT_MTIME,
		.block_bits = EROFS_BLOCK_BITS,
		.root_nid = ROOT_AT >> EROFS_SLOT_BITS,
		.inodes = w->inodes,
		.volume_name = "hyb",
	};
	uint64_t blocks;
	ssize_t n;
	int r = close_bins(w, e);

	if (r == 0)
		r = erofs_out_finish(&w->out, &blocks, e);
	if (r < 0)
		return r;
	n = pread(w->out.fd, block, sizeof(block), 0);
	if (n != (ssize_t)sizeof(block))
		return err_sys(e, n < 0 ? errno : EIO, "read the image file");
	sb.blocks = (uint32_t)blocks;
	memcpy(sb.uuid, w->uuid, sizeof(sb.uuid));
	memcpy(block + EROFS_SUPER_AT, &sb, sizeof(sb));
	sb.checksum = crc32c(~0u, block + EROFS_SUPER_AT,
			     sizeof(block) - EROFS_SUPER_AT);
	memcpy(block + EROFS_SUPER_AT, &sb, sizeof(sb));
	if (pwrite(w->out.fd, block, sizeof(block), 0) !=
	    (ssize_t)sizeof(block))
		return err_sys(e, errno ? errno : EIO, "write the image file");
	*ret_bytes = blocks * EROFS_BLOCK;
	return 0;
}
