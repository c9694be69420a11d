/* SPDX-License-Identifier: Apache-2.0 */
/* PAX records and the four ways to write down a sparse file. */
#include "host-agent/image/convert/tar_int.h"

#include <stdlib.h>
#include <string.h>

void tar_ext_reset(struct tar *t)
{
	t->has_long_name = false;
	t->has_long_link = false;
	t->has_pax = false;
	t->pax_path = NULL;
	t->pax_link = NULL;
	t->pax_sparse_name = NULL;
	t->has_size = false;
	t->has_uid = false;
	t->has_gid = false;
	t->has_mtime = false;
	t->has_realsize = false;
	t->sparse_major = 0;
	t->sparse = TAR_DENSE;
	t->sparse_open = false;
	t->n_map = 0;
	t->n_xattrs = 0;
}

/* Decimal digits up to the end or one of the bytes in stop. */
static int number(const char **p, const char *end, char stop, uint64_t *ret)
{
	const char *s = *p;
	uint64_t v = 0;

	if (s == end || *s < '0' || *s > '9')
		return -EINVAL;
	for (; s < end && *s >= '0' && *s <= '9'; s++) {
		uint64_t d = (uint64_t)(*s - '0');

		if (v > (INT64_MAX - d) / 10)
			return -ERANGE;
		v = v * 10 + d;
	}
	if (s < end) {
		if (*s != stop)
			return -EINVAL;
		s++;
	}
	*p = s;
	*ret = v;
	return 0;
}

static int whole_number(const char *v, size_t len, uint64_t *ret)
{
	const char *p = v;

	/* A NUL stops nowhere: no digit, not the end. */
	return number(&p, v + len, '\0', ret) < 0 || p != v + len ||
			       (len > 0 && v[len - 1] == '\0')
		       ? -EINVAL
		       : 0;
}

/* [-]SECONDS[.FRACTION] */
static int pax_time(const char *v, size_t len, int64_t *ret, uint32_t *nsec)
{
	const char *p = v, *end = v + len;
	bool neg = len > 0 && *v == '-';
	uint64_t sec;
	uint32_t ns = 0, scale = 100000000;

	if (neg)
		p++;
	if (number(&p, end, '.', &sec) < 0)
		return -EINVAL;
	for (; p < end; p++) {
		if (*p < '0' || *p > '9')
			return -EINVAL;
		ns += (uint32_t)(*p - '0') * scale;
		scale /= 10;
	}
	*ret = neg ? -(int64_t)sec : (int64_t)sec;
	if (neg && ns) {
		(*ret)--;
		ns = 1000000000 - ns;
	}
	*nsec = ns;
	return 0;
}

/* 0.1: the whole map as one list of numbers. */
static int map_list(struct tar *t, const char *v, size_t len)
{
	const char *p = v, *end = v + len;
	uint64_t off, n;
	int r;

	t->n_map = 0;
	while (p < end) {
		if (number(&p, end, ',', &off) < 0 ||
		    number(&p, end, ',', &n) < 0)
			return -EINVAL;
		r = tar_map_add(t, off, n);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_xattr(struct tar *t, const char *name, const char *v, size_t len)
{
	size_t i;

	if (*name == '\0')
		return -EINVAL;
	/* The later record of one name counts. */
	for (i = 0; i < t->n_xattrs; i++) {
		if (strcmp(t->xattrs[i].name, name) == 0)
			break;
	}
	if (i == HYB_IMAGE_XATTRS_MAX)
		return -E2BIG;
	if (i == t->n_xattrs)
		t->n_xattrs++;
	t->xattrs[i] = (struct tar_xattr){name, v, len};
	return 0;
}

/* GNU.sparse.KEY */
static int sparse_record(struct tar *t, const char *key, const char *v,
			 size_t len)
{
	uint64_t n = 0;

	if (strcmp(key, "name") == 0) {
		t->pax_sparse_name = len ? v : NULL;
		return strlen(v) == len ? 0 : -EINVAL;
	}
	if (t->sparse == TAR_DENSE)
		t->sparse = TAR_SPARSE_PAX;
	if (strcmp(key, "map") == 0)
		return map_list(t, v, len);
	if (whole_number(v, len, &n) < 0)
		return -EINVAL;
	if (strcmp(key, "major") == 0) {
		t->sparse_major = (unsigned int)n;
		if (n == 1)
			t->sparse = TAR_SPARSE_PAX_1;
		return n > 1 ? -EINVAL : 0;
	}
	if (strcmp(key, "minor") == 0)
		return 0;
	if (strcmp(key, "size") == 0 || strcmp(key, "realsize") == 0) {
		t->has_realsize = true;
		t->pax_realsize = n;
		return 0;
	}
	if (strcmp(key, "offset") == 0) {
		if (t->sparse_open)
			return -EINVAL;
		t->sparse_open = true;
		return tar_map_add(t, n, 0);
	}
	if (strcmp(key, "numbytes") == 0) {
		if (!t->sparse_open)
			return -EINVAL;
		t->sparse_open = false;
		t->map[t->n_map - 1].len = n;
	}
	return 0; /* numblocks: the map says it itself */
}

/* One record; values that are names must hold no NUL. */
static int pax_record(struct tar *t, const char *key, const char *v, size_t len)
{
	static const char xattr[] = "SCHILY.xattr.";
	static const char sparse[] = "GNU.sparse.";

	if (strcmp(key, "path") == 0) {
		t->pax_path = len ? v : NULL;
		return strlen(v) == len ? 0 : -EINVAL;
	}
	if (strcmp(key, "linkpath") == 0) {
		t->pax_link = len ? v : NULL;
		return strlen(v) == len ? 0 : -EINVAL;
	}
	if (strncmp(key, xattr, sizeof(xattr) - 1) == 0)
		return add_xattr(t, key + sizeof(xattr) - 1, v, len);
	if (strncmp(key, sparse, sizeof(sparse) - 1) == 0)
		return sparse_record(t, key + sizeof(sparse) - 1, v, len);
	if (len == 0)
		return 0; /* "as in the header" */
	if (strcmp(key, "size") == 0) {
		t->has_size = true;
		return whole_number(v, len, &t->pax_size);
	}
	if (strcmp(key, "uid") == 0) {
		t->has_uid = true;
		return whole_number(v, len, &t->pax_uid);
	}
	if (strcmp(key, "gid") == 0) {
		t->has_gid = true;
		return whole_number(v, len, &t->pax_gid);
	}
	if (strcmp(key, "mtime") == 0) {
		t->has_mtime = true;
		return pax_time(v, len, &t->pax_mtime, &t->pax_mtime_nsec);
	}
	return 0;
}

static void pax_reset(struct tar *t)
{
	bool name = t->has_long_name, link = t->has_long_link;

	/* A second x header replaces the first; L and K stay. */
	tar_ext_reset(t);
	t->has_long_name = name;
	t->has_long_link = link;
}

int tar_ext_pax(struct tar *t, struct err *e)
{
	char *p = t->pax.data, *end = p + t->pax.len;

	pax_reset(t);
	while (p < end) {
		const char *s = p;
		char *eq, *next;
		uint64_t len;
		int r;

		/* "LEN KEY=VALUE\n", LEN counting all of it. */
		if (number(&s, end, ' ', &len) < 0 ||
		    len > (uint64_t)(end - p) || s[-1] != ' ' ||
		    len <= (uint64_t)(s - p) || p[len - 1] != '\n')
			return tar_fail(t, e, EBADMSG,
					"a PAX header is broken");
		next = p + len;
		eq = memchr(s, '=', (size_t)(next - s));
		if (!eq || memchr(s, '\0', (size_t)(eq - s)))
			return tar_fail(t, e, EBADMSG,
					"a PAX header is broken");
		*eq = '\0';
		next[-1] = '\0';
		r = pax_record(t, s, eq + 1, (size_t)(next - eq) - 2);
		if (r == -E2BIG)
			return tar_fail(t, e, E2BIG,
					"too many attributes or holes");
		if (r == -ENOMEM)
			return tar_fail(t, e, ENOMEM, "no memory");
		if (r < 0)
			return tar_fail(t, e, EBADMSG,
					"a PAX header has a value that is not "
					"valid");
		p = next;
	}
	if (t->sparse_open)
		return tar_fail(t, e, EBADMSG, "a map of holes is broken");
	return 0;
}

static int add_gnu(struct tar *t, const uint8_t *p, size_t n, bool *more,
		   struct err *e)
{
	size_t i;

	for (i = 0; i < n && *more; i++, p += 24) {
		int64_t off, len;
		int r;

		if (p[0] == '\0' && p[12] == '\0') {
			*more = false;
			break;
		}
		if (tar_number(p, 12, &off) < 0 || off < 0 ||
		    tar_number(p + 12, 12, &len) < 0 || len < 0)
			return tar_fail(t, e, EBADMSG,
					"its map of holes is broken");
		r = tar_map_add(t, (uint64_t)off, (uint64_t)len);
		if (r < 0)
			return tar_fail(t, e, -r, "too many holes");
	}
	return 0;
}

/* GNU's old way: 4 pieces in the header, 21 in each block behind it. */
static int sparse_gnu(struct tar *t, struct err *e)
{
	uint8_t block[TAR_BLOCK_SIZE];
	bool more = true;
	int64_t size;
	uint8_t extended = t->hdr[482];
	int r;

	if (tar_number(t->hdr + 483, 12, &size) < 0 || size < 0)
		return tar_fail(t, e, EBADMSG, "its size is not valid");
	t->entry.size = (uint64_t)size;
	t->n_map = 0;
	r = add_gnu(t, t->hdr + 386, 4, &more, e);
	while (r == 0 && extended) {
		r = tar_block(t, block, e);
		if (r < 0)
			return r;
		if (r == 0)
			return tar_fail(t, e, ENODATA, "the tar stream is cut");
		extended = block[504];
		r = add_gnu(t, block, 21, &more, e);
		/* No piece left, yet more blocks: they would never end. */
		if (r == 0 && extended && !more)
			return tar_fail(t, e, EBADMSG,
					"its map of holes is broken");
	}
	return r;
}

/* A line of the map at the start of the data, block by block. */
struct lines {
	uint8_t block[TAR_BLOCK_SIZE];
	size_t at;
	uint64_t *stored;
};

static int line_number(struct tar *t, struct lines *l, uint64_t *ret,
		       struct err *e)
{
	char digits[24];
	size_t n = 0;
	const char *p = digits;
	int r;

	for (;;) {
		char c;

		if (l->at == TAR_BLOCK_SIZE) {
			if (*l->stored < TAR_BLOCK_SIZE)
				return tar_fail(t, e, EBADMSG,
						"its map of holes is broken");
			r = tar_block(t, l->block, e);
			if (r < 0)
				return r;
			if (r == 0)
				return tar_fail(t, e, ENODATA,
						"the tar stream is cut");
			*l->stored -= TAR_BLOCK_SIZE;
			l->at = 0;
		}
		c = (char)l->block[l->at++];
		if (c == '\n')
			break;
		if (n == sizeof(digits))
			return tar_fail(t, e, EBADMSG,
					"its map of holes is broken");
		digits[n++] = c;
	}
	if (number(&p, digits + n, '\n', ret) < 0)
		return tar_fail(t, e, EBADMSG, "its map of holes is broken");
	return 0;
}

static int sparse_pax_1(struct tar *t, uint64_t *stored, struct err *e)
{
	struct lines l = {.at = TAR_BLOCK_SIZE, .stored = stored};
	uint64_t n, off, len;
	int r = line_number(t, &l, &n, e);

	if (r < 0)
		return r;
	if (n > HYB_IMAGE_SPARSE_MAX)
		return tar_fail(t, e, E2BIG, "too many holes");
	t->n_map = 0;
	for (; n > 0; n--) {
		r = line_number(t, &l, &off, e);
		if (r == 0)
			r = line_number(t, &l, &len, e);
		if (r < 0)
			return r;
		r = tar_map_add(t, off, len);
		if (r < 0)
			return tar_fail(t, e, -r, "too many holes");
	}
	return 0;
}

int tar_ext_sparse(struct tar *t, uint64_t *stored, struct err *e)
{
	if (t->sparse == TAR_SPARSE_GNU)
		return sparse_gnu(t, e);
	if (!t->has_realsize)
		return tar_fail(t, e, EBADMSG, "a sparse file has no size");
	t->entry.size = t->pax_realsize;
	if (t->sparse == TAR_SPARSE_PAX_1)
		return sparse_pax_1(t, stored, e);
	return 0;
}
