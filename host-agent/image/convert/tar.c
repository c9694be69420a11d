/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation: tar_next() reads header blocks until one describes a
 * file; headers that only extend the next one (PAX x, GNU L and K) are read
 * whole into memory, never over HYB_IMAGE_TAR_EXTRA_MAX. The file's data are
 * handed on in place, as the source gave them; every file has a map of
 * extents, of one piece where it is not sparse.
 *
 * Where readers differ on a broken archive this one refuses, so that no two
 * tools can be made to see different trees in one image.
 */
#include "host-agent/image/convert/tar_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"

/* Offsets in a header block. */
enum {
	H_NAME = 0,
	H_MODE = 100,
	H_UID = 108,
	H_GID = 116,
	H_SIZE = 124,
	H_MTIME = 136,
	H_SUM = 148,
	H_TYPE = 156,
	H_LINK = 157,
	H_MAGIC = 257,
	H_MAJOR = 329,
	H_MINOR = 337,
	H_PREFIX = 345,
	H_TRAILER = 508, /* star */
};

struct tar *tar_new(const struct byte_source *src)
{
	struct tar *t = calloc(1, sizeof(*t));

	if (t)
		t->src = src;
	return t;
}

void tar_free(struct tar *t)
{
	if (!t)
		return;
	free(t->path.data);
	free(t->link.data);
	free(t->pax.data);
	free(t->long_name.data);
	free(t->long_link.data);
	free(t->map);
	free(t);
}

int tar_fail(const struct tar *t, struct err *e, int code, const char *why)
{
	char name[300];

	if (t->path.len == 0)
		return err_set(e, code, "at byte %llu: %s",
			       (unsigned long long)t->pos, why);
	return err_set(e, code, "entry '%s': %s",
		       text_escape(t->path.data, name, sizeof(name)), why);
}

int tar_mem_room(struct tar_mem *m, size_t len)
{
	char *p;

	if (len < m->cap)
		return 0;
	p = realloc(m->data, len + 1);
	if (!p)
		return -ENOMEM;
	m->data = p;
	m->cap = len + 1;
	return 0;
}

int tar_mem_set(struct tar_mem *m, const void *data, size_t len)
{
	if (tar_mem_room(m, len) < 0)
		return -ENOMEM;
	memcpy(m->data, data, len);
	m->data[len] = '\0';
	m->len = len;
	return 0;
}

int tar_map_add(struct tar *t, uint64_t off, uint64_t len)
{
	if (t->n_map == HYB_IMAGE_SPARSE_MAX)
		return -E2BIG;
	if (t->n_map == t->cap_map) {
		size_t cap = t->cap_map ? t->cap_map * 2 : 16;
		struct tar_extent *p = realloc(t->map, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		t->map = p;
		t->cap_map = cap;
	}
	t->map[t->n_map++] = (struct tar_extent){off, len};
	return 0;
}

/* 1: there are bytes at t->cur; 0: the end. */
static int fill(struct tar *t, struct err *e)
{
	ssize_t n;

	if (t->cur_len)
		return 1;
	n = t->src->next(t->src->arg, &t->cur, e);
	if (n <= 0)
		return (int)n;
	t->cur_len = (size_t)n;
	return 1;
}

static void take(struct tar *t, size_t n)
{
	t->cur += n;
	t->cur_len -= n;
	t->pos += n;
}

/* Reads exactly len bytes; the bytes read (fewer at the end) or -errno. */
static ssize_t read_bytes(struct tar *t, void *out, size_t len, struct err *e)
{
	size_t done = 0;

	while (done < len) {
		size_t n = len - done;
		int r = fill(t, e);

		if (r < 0)
			return r;
		if (r == 0)
			break;
		if (n > t->cur_len)
			n = t->cur_len;
		memcpy((char *)out + done, t->cur, n);
		take(t, n);
		done += n;
	}
	return (ssize_t)done;
}

int tar_block(struct tar *t, uint8_t *out, struct err *e)
{
	ssize_t n = read_bytes(t, out, TAR_BLOCK_SIZE, e);

	if (n < 0)
		return (int)n;
	if (n == 0)
		return 0;
	if (n < TAR_BLOCK_SIZE)
		return tar_fail(t, e, ENODATA, "the tar stream is cut");
	return 1;
}

static int skip(struct tar *t, uint64_t len, struct err *e)
{
	while (len > 0) {
		size_t n;
		int r;

		if (t->cur_len == 0 && t->src->skip) {
			uint64_t skipped = t->src->skip(t->src->arg, len);

			t->pos += skipped;
			len -= skipped;
			if (len == 0)
				break;
		}
		r = fill(t, e);
		if (r < 0)
			return r;
		if (r == 0)
			return tar_fail(t, e, ENODATA, "the tar stream is cut");
		n = t->cur_len < len ? t->cur_len : (size_t)len;
		take(t, n);
		len -= n;
	}
	return 0;
}

int tar_drain(struct tar *t, struct err *e)
{
	int r;

	while ((r = fill(t, e)) > 0)
		take(t, t->cur_len);
	return r;
}

int tar_number(const uint8_t *p, size_t len, int64_t *ret)
{
	uint64_t v = 0;
	size_t i = 0;

	if (p[0] & 0x80) {
		/* Base 256, two's complement, the top bit the mark. */
		bool neg = (p[0] & 0x40) != 0;

		for (i = 0; i < len; i++) {
			uint8_t c = p[i];

			if (i == 0)
				c = neg ? (uint8_t)(c | 0x80)
					: (uint8_t)(c & 0x7f);
			if (neg)
				c = (uint8_t)~c;
			if (v >> 55)
				return -ERANGE;
			v = v << 8 | c;
		}
		*ret = neg ? -(int64_t)v - 1 : (int64_t)v;
		return 0;
	}
	while (i < len && p[i] == ' ')
		i++;
	for (; i < len && p[i] >= '0' && p[i] <= '7'; i++) {
		if (v >> 59)
			return -ERANGE;
		v = v << 3 | (uint64_t)(p[i] - '0');
	}
	for (; i < len; i++) {
		if (p[i] != ' ' && p[i] != '\0')
			return -EINVAL;
	}
	*ret = (int64_t)v;
	return 0;
}

static bool is_zero(const uint8_t *p)
{
	size_t i;

	for (i = 0; i < TAR_BLOCK_SIZE; i++) {
		if (p[i])
			return false;
	}
	return true;
}

static bool sum_is_right(const uint8_t *p)
{
	int64_t want, u = 0, s = 0;
	size_t i;

	if (tar_number(p + H_SUM, 8, &want) < 0)
		return false;
	for (i = 0; i < TAR_BLOCK_SIZE; i++) {
		uint8_t c = i >= H_SUM && i < H_SUM + 8 ? ' ' : p[i];

		u += c;
		s += (int8_t)c; /* what some very old tars wrote */
	}
	return want == u || want == s;
}

/* The next header: 1, 0 at the end of the archive. */
static int next_header(struct tar *t, struct err *e)
{
	int r = tar_block(t, t->hdr, e);

	if (r <= 0)
		return r;
	if (is_zero(t->hdr)) {
		r = tar_block(t, t->hdr, e);
		if (r > 0 && !is_zero(t->hdr))
			return tar_fail(t, e, EBADMSG,
					"data behind an end mark");
		return r < 0 ? r : 0;
	}
	if (!sum_is_right(t->hdr))
		return tar_fail(t, e, EBADMSG,
				"not a tar header (checksum is wrong)");
	return 1;
}

/* Data of an extending header, and the padding behind them. */
static int read_extra(struct tar *t, struct tar_mem *m, struct err *e)
{
	int64_t size;
	ssize_t n;

	if (tar_number(t->hdr + H_SIZE, 12, &size) < 0 || size < 0)
		return tar_fail(t, e, EBADMSG, "a size is not a number");
	if (size > HYB_IMAGE_TAR_EXTRA_MAX)
		return tar_fail(t, e, E2BIG,
				"an extended header is over 1 MiB");
	if (tar_mem_room(m, (size_t)size) < 0)
		return tar_fail(t, e, ENOMEM, "no memory");
	n = read_bytes(t, m->data, (size_t)size, e);
	if (n < 0)
		return (int)n;
	if (n < size)
		return tar_fail(t, e, ENODATA, "the tar stream is cut");
	m->data[size] = '\0';
	m->len = (size_t)size;
	return skip(t, (uint64_t)(-size & (TAR_BLOCK_SIZE - 1)), e);
}

/* GNU L and K: a name, perhaps with NULs behind it. */
static int read_long(struct tar *t, struct tar_mem *m, struct err *e)
{
	int r = read_extra(t, m, e);

	if (r < 0)
		return r;
	m->len = strlen(m->data);
	return 0;
}

/* Name and prefix of the header block. */
static int header_path(struct tar *t)
{
	const uint8_t *h = t->hdr;
	size_t n = strnlen((const char *)h + H_NAME, 100);
	size_t prefix = 0, max = 155;

	/* GNU's magic ends in blanks, and it keeps times in this place. */
	if (memcmp(h + H_MAGIC, "ustar\0", 6) == 0) {
		if (memcmp(h + H_TRAILER, "tar\0", 4) == 0)
			max = 131; /* star */
		prefix = strnlen((const char *)h + H_PREFIX, max);
	}
	if (prefix == 0)
		return tar_mem_set(&t->path, h + H_NAME, n);
	if (tar_mem_room(&t->path, prefix + 1 + n) < 0)
		return -ENOMEM;
	memcpy(t->path.data, h + H_PREFIX, prefix);
	t->path.data[prefix] = '/';
	memcpy(t->path.data + prefix + 1, h + H_NAME, n);
	t->path.len = prefix + 1 + n;
	t->path.data[t->path.len] = '\0';
	return 0;
}

static int set_names(struct tar *t, struct err *e)
{
	const char *link = (const char *)t->hdr + H_LINK;
	int r;

	if (t->pax_sparse_name)
		r = tar_mem_set(&t->path, t->pax_sparse_name,
				strlen(t->pax_sparse_name));
	else if (t->pax_path)
		r = tar_mem_set(&t->path, t->pax_path, strlen(t->pax_path));
	else if (t->has_long_name)
		r = tar_mem_set(&t->path, t->long_name.data, t->long_name.len);
	else
		r = header_path(t);
	if (r < 0)
		return tar_fail(t, e, ENOMEM, "no memory");
	if (t->pax_link)
		r = tar_mem_set(&t->link, t->pax_link, strlen(t->pax_link));
	else if (t->has_long_link)
		r = tar_mem_set(&t->link, t->long_link.data, t->long_link.len);
	else
		r = tar_mem_set(&t->link, link, strnlen(link, 100));
	if (r < 0)
		return tar_fail(t, e, ENOMEM, "no memory");
	if (t->path.len == 0)
		return tar_fail(t, e, EBADMSG, "an entry has no name");
	if (t->path.len > HYB_IMAGE_PATH_MAX)
		return tar_fail(t, e, ENAMETOOLONG,
				"its name is over 4095 bytes long");
	if (t->link.len > HYB_IMAGE_PATH_MAX)
		return tar_fail(t, e, ENAMETOOLONG,
				"what it links to is over 4095 bytes long");
	return 0;
}

/* One number of the header, within 0 ... max. */
static int field(struct tar *t, size_t at, size_t len, int64_t max,
		 const char *what, int64_t *ret, struct err *e)
{
	char why[80];
	int64_t v;

	if (tar_number(t->hdr + at, len, &v) < 0 || v < 0 || v > max) {
		snprintf(why, sizeof(why), "its %s is not a valid number",
			 what);
		return tar_fail(t, e, EBADMSG, why);
	}
	*ret = v;
	return 0;
}

/* Ids: 0 ... 2^31-1, since larger ones wrap to others in some programs. */
static int set_ids(struct tar *t, struct err *e)
{
	int64_t uid = 0, gid = 0;
	int r = 0;

	if (t->has_uid)
		uid = t->pax_uid > INT32_MAX ? -1 : (int64_t)t->pax_uid;
	else
		r = field(t, H_UID, 8, INT32_MAX, "uid", &uid, e);
	if (r < 0)
		return r;
	if (t->has_gid)
		gid = t->pax_gid > INT32_MAX ? -1 : (int64_t)t->pax_gid;
	else
		r = field(t, H_GID, 8, INT32_MAX, "gid", &gid, e);
	if (r < 0)
		return r;
	if (uid < 0 || gid < 0)
		return tar_fail(t, e, ERANGE, "its uid or gid is over 2^31-1");
	t->entry.uid = (uint32_t)uid;
	t->entry.gid = (uint32_t)gid;
	return 0;
}

static int set_numbers(struct tar *t, uint64_t *stored, struct err *e)
{
	struct tar_entry *n = &t->entry;
	int64_t v = 0;
	int r;

	r = field(t, H_MODE, 8, INT32_MAX, "mode", &v, e);
	if (r < 0)
		return r;
	n->mode = (uint32_t)v & 07777;
	r = set_ids(t, e);
	if (r < 0)
		return r;
	if (t->has_mtime) {
		n->mtime = t->pax_mtime;
		n->mtime_nsec = t->pax_mtime_nsec;
	} else if (tar_number(t->hdr + H_MTIME, 12, &n->mtime) < 0) {
		return tar_fail(t, e, EBADMSG,
				"its time is not a valid number");
	}
	r = field(t, H_SIZE, 12, INT64_MAX / 4, "size", &v, e);
	if (r < 0)
		return r;
	*stored = t->has_size ? t->pax_size : (uint64_t)v;
	if (*stored > INT64_MAX / 4)
		return tar_fail(t, e, EBADMSG, "its size is too large");
	if (n->type != TAR_CHAR && n->type != TAR_BLOCK)
		return 0;
	r = field(t, H_MAJOR, 8, 0xfff, "device number", &v, e);
	if (r < 0)
		return r;
	n->dev_major = (uint32_t)v;
	r = field(t, H_MINOR, 8, 0xfffff, "device number", &v, e);
	n->dev_minor = (uint32_t)v;
	return r;
}

/* The type, or -1 for one that is not a file. */
static int entry_type(const struct tar *t)
{
	switch (t->hdr[H_TYPE]) {
	case '\0':
	case '0':
	case '7':
	case 'S':
		return t->path.data[t->path.len - 1] == '/' ? TAR_DIR
							    : TAR_FILE;
	case '1':
		return TAR_LINK;
	case '2':
		return TAR_SYMLINK;
	case '3':
		return TAR_CHAR;
	case '4':
		return TAR_BLOCK;
	case '5':
		return TAR_DIR;
	case '6':
		return TAR_FIFO;
	default:
		return -1;
	}
}

/* The map must rise, stay inside the file and name each stored byte once. */
static int check_map(struct tar *t, uint64_t stored, struct err *e)
{
	uint64_t end = 0, sum = 0;
	size_t i;

	for (i = 0; i < t->n_map; i++) {
		const struct tar_extent *x = &t->map[i];

		if (x->off < end || x->off > t->entry.size ||
		    x->len > t->entry.size - x->off)
			return tar_fail(t, e, EBADMSG,
					"its map of holes is broken");
		end = x->off + x->len;
		sum += x->len;
	}
	if (sum != stored)
		return tar_fail(t, e, EBADMSG,
				"its map of holes is not of its size");
	return 0;
}

static int set_data(struct tar *t, uint64_t stored, struct err *e)
{
	struct tar_entry *n = &t->entry;
	int r;

	/* Only files have data, whatever the header's size says, and a file
	 * whose name ends in a slash is a folder with data to skip: so it is
	 * in Go's reader, by which image tools live. */
	if (n->type != TAR_FILE && !strchr("07", t->hdr[H_TYPE]))
		stored = 0;
	n->sparse = n->type == TAR_FILE && t->sparse != TAR_DENSE;
	t->pad = (uint32_t)(-stored & (TAR_BLOCK_SIZE - 1));
	if (n->sparse) {
		r = tar_ext_sparse(t, &stored, e);
		if (r < 0)
			return r;
		r = check_map(t, stored, e);
	} else {
		n->size = stored;
		t->n_map = 0;
		r = tar_map_add(t, 0, stored);
		if (r < 0)
			r = tar_fail(t, e, ENOMEM, "no memory");
	}
	n->stored = stored;
	n->data_at = t->pos;
	t->left = stored;
	t->map_at = 0;
	t->map_done = 0;
	return r;
}

/* The header at hand describes a file: fill in t->entry. */
static int make_entry(struct tar *t, struct err *e)
{
	struct tar_entry *n = &t->entry;
	uint64_t stored = 0;
	int r, type;

	memset(n, 0, sizeof(*n));
	r = set_names(t, e);
	if (r < 0)
		return r;
	type = entry_type(t);
	if (type < 0)
		return tar_fail(t, e, EBADMSG,
				"it is of a type that is not known");
	n->type = (enum tar_type)type;
	n->path = t->path.data;
	n->link = n->type == TAR_LINK || n->type == TAR_SYMLINK ? t->link.data
								: "";
	if (t->hdr[H_TYPE] == 'S')
		t->sparse = TAR_SPARSE_GNU;
	r = set_numbers(t, &stored, e);
	if (r < 0)
		return r;
	n->xattrs = t->xattrs;
	n->n_xattrs = t->n_xattrs;
	return set_data(t, stored, e);
}

/* Takes a header that only extends the next: 1 where it was one. */
static int extension(struct tar *t, struct err *e)
{
	int64_t size;
	int r;

	switch (t->hdr[H_TYPE]) {
	case 'L':
		t->has_long_name = true;
		r = read_long(t, &t->long_name, e);
		break;
	case 'K':
		t->has_long_link = true;
		r = read_long(t, &t->long_link, e);
		break;
	case 'x':
		r = read_extra(t, &t->pax, e);
		if (r == 0)
			r = tar_ext_pax(t, e);
		t->has_pax = true;
		break;
	case 'g': /* for the whole archive: comments, in practice */
	case 'V': /* GNU: the volume's name */
		if (tar_number(t->hdr + H_SIZE, 12, &size) < 0 || size < 0 ||
		    size > HYB_IMAGE_TAR_EXTRA_MAX)
			return tar_fail(t, e, EBADMSG, "a size is not valid");
		size += -size & (TAR_BLOCK_SIZE - 1);
		r = skip(t, (uint64_t)size, e);
		break;
	default:
		return 0;
	}
	return r < 0 ? r : 1;
}

/* A name, owner or size without the file that it is of: the end of the stream
 * is missing. (Comments and the name of a volume stand alone.) */
static int check_orphan(const struct tar *t, struct err *e)
{
	if (!t->has_long_name && !t->has_long_link && !t->has_pax)
		return 0;
	return tar_fail(t, e, ENODATA,
			"the tar stream is cut: an extended header is the "
			"last entry");
}

int tar_next(struct tar *t, const struct tar_entry **ret, struct err *e)
{
	int r = skip(t, t->left + t->pad, e);

	if (r < 0)
		return r;
	t->left = 0;
	t->pad = 0;
	t->path.len = 0;
	tar_ext_reset(t);
	do {
		r = next_header(t, e);
		if (r <= 0)
			return r < 0 ? r : check_orphan(t, e);
		r = extension(t, e);
	} while (r > 0);
	if (r == 0)
		r = make_entry(t, e);
	if (r < 0)
		return r;
	*ret = &t->entry;
	return 1;
}

ssize_t tar_data(struct tar *t, const uint8_t **ret, uint64_t *off,
		 struct err *e)
{
	const struct tar_extent *x;
	uint64_t n;
	int r;

	if (t->left == 0)
		return 0;
	while (t->map_done == t->map[t->map_at].len) {
		t->map_at++;
		t->map_done = 0;
	}
	x = &t->map[t->map_at];
	r = fill(t, e);
	if (r < 0)
		return r;
	if (r == 0)
		return tar_fail(t, e, ENODATA, "the tar stream is cut");
	n = x->len - t->map_done;
	if (n > t->cur_len)
		n = t->cur_len;
	*ret = t->cur;
	*off = x->off + t->map_done;
	take(t, (size_t)n);
	t->map_done += n;
	t->left -= n;
	return (ssize_t)n;
}
