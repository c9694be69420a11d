/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of images: tar streams made by hand, and a reader of EROFS files
 * that is none of the writer's code. */
#ifndef HYB_TESTS_UNIT_IMAGE_BUILD_H
#define HYB_TESTS_UNIT_IMAGE_BUILD_H

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "host-agent/image/convert/bytes.h"

/* ------------------------------------------------------------------- tar */

struct ent {
	char type; /* as in a header */
	const char *name;
	unsigned int mode, uid, gid;
	long long mtime;
	const char *link;
	const void *data;
	size_t len;
};

__attribute__((unused)) static void tar_sum(char h[512])
{
	unsigned int sum = 0, i;

	memset(h + 148, ' ', 8);
	for (i = 0; i < 512; i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum & 0777777);
	h[155] = ' ';
}

/* An octal field of n bytes, the last a NUL. */
__attribute__((unused)) static void tar_octal(char *at, int n,
					      unsigned long long v)
{
	char text[32];

	snprintf(text, sizeof(text), "%0*llo", n - 1, v);
	memcpy(at, text + strlen(text) - (size_t)(n - 1), (size_t)(n - 1));
	at[n - 1] = '\0';
}

__attribute__((unused)) static void tar_header(char h[512], const struct ent *t,
					       unsigned long long size)
{
	memset(h, 0, 512);
	strncpy(h, t->name, 100);
	tar_octal(h + 100, 8, t->mode);
	tar_octal(h + 108, 8, t->uid);
	tar_octal(h + 116, 8, t->gid);
	tar_octal(h + 124, 12, size);
	tar_octal(h + 136, 12, (unsigned long long)t->mtime);
	h[156] = t->type;
	if (t->link)
		strncpy(h + 157, t->link, 100);
	memcpy(h + 257,
	       "ustar\0"
	       "00",
	       8);
	tar_octal(h + 329, 8, 1);
	tar_octal(h + 337, 8, 3);
	tar_sum(h);
}

__attribute__((unused)) static void tar_data_(struct buf *b, const void *data,
					      size_t len)
{
	static const char zeros[512];

	buf_append(b, data, len);
	buf_append(b, zeros, -len & 511);
}

__attribute__((unused)) static void tar_put(struct buf *b, const struct ent *t)
{
	char h[512];

	tar_header(h, t, t->len);
	buf_append(b, h, 512);
	if (t->len)
		tar_data_(b, t->data, t->len);
}

/* One PAX header of "KEY=VALUE" records; value_len -1: a string. */
__attribute__((unused)) static void tar_pax(struct buf *b, const char *key,
					    const void *value, long value_len)
{
	size_t n = value_len < 0 ? strlen(value) : (size_t)value_len;
	size_t len = strlen(key) + n + 3, all = len;
	char head[300];
	struct ent t = {.type = 'x', .name = "x", .mode = 0644};
	struct buf r = BUF_INIT;

	do {
		all = len + (size_t)snprintf(head, sizeof(head), "%zu", all);
	} while ((size_t)snprintf(head, sizeof(head), "%zu", all) + len != all);
	buf_printf(&r, "%zu %s=", all, key);
	buf_append(&r, value, n);
	buf_putc(&r, '\n');
	t.data = r.data;
	t.len = r.len;
	tar_put(b, &t);
	buf_done(&r);
}

__attribute__((unused)) static void tar_end(struct buf *b)
{
	static const char zeros[1024];

	buf_append(b, zeros, sizeof(zeros));
}

/* Entries from lines "TYPE NAME [ARG]": f file (content), d directory (mode),
 * l symbolic link (target), h hard link (target), c device, p fifo. */
__attribute__((unused)) static void tar_lines(struct buf *b, const char *lines)
{
	char *copy = strdup(lines), *save = NULL, *line;

	for (line = strtok_r(copy, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		static const char types[] = "fdlhcp", tar_types[] = "052136";
		char *name = line + 2, *arg = strchr(name, ' ');
		struct ent t = {.name = name, .mode = 0644, .mtime = 1000};

		if (arg)
			*arg++ = '\0';
		t.type = tar_types[strchr(types, line[0]) - types];
		if (line[0] == 'd')
			t.mode = arg ? (unsigned int)strtoul(arg, NULL, 8)
				     : 0755;
		if (line[0] == 'l' || line[0] == 'h')
			t.link = arg ? arg : "";
		if (line[0] == 'f' && arg) {
			t.data = arg;
			t.len = strlen(arg);
		}
		tar_put(b, &t);
	}
	free(copy);
	tar_end(b);
}

/* Memory as a byte_source, in pieces of a size that fits nothing. */
struct mem_source {
	const uint8_t *data;
	size_t len, at, step;
};

__attribute__((unused)) static ssize_t mem_next(void *arg, const uint8_t **ret,
						struct err *e)
{
	struct mem_source *m = arg;
	size_t n = m->len - m->at < m->step ? m->len - m->at : m->step;

	(void)e;
	*ret = m->data + m->at;
	m->at += n;
	return (ssize_t)n;
}

/* ----------------------------------------------------------------- erofs */

struct erofs_img {
	const uint8_t *p;
	size_t len;
};

struct erofs_ino {
	unsigned int mode, uid, gid, nlink, layout, xattr_count;
	uint64_t size, nid;
	uint32_t where;
	int64_t mtime;
	size_t body; /* offset behind the inode and its attributes */
};

__attribute__((unused)) static uint64_t get_le(const uint8_t *p, int n)
{
	uint64_t v = 0;

	while (n-- > 0)
		v = v << 8 | p[n];
	return v;
}

__attribute__((unused)) static void erofs_get(const struct erofs_img *g,
					      uint64_t nid, struct erofs_ino *i)
{
	const uint8_t *p = g->p + nid * 32;

	assert(nid * 32 + 64 <= g->len);
	assert((p[0] & 1) == 1); /* extended */
	i->nid = nid;
	i->layout = (unsigned int)(get_le(p, 2) >> 1 & 7);
	i->xattr_count = (unsigned int)get_le(p + 2, 2);
	i->mode = (unsigned int)get_le(p + 4, 2);
	i->size = get_le(p + 8, 8);
	i->where = (uint32_t)get_le(p + 16, 4);
	i->uid = (unsigned int)get_le(p + 24, 4);
	i->gid = (unsigned int)get_le(p + 28, 4);
	i->mtime = (int64_t)get_le(p + 32, 8);
	i->nlink = (unsigned int)get_le(p + 44, 4);
	i->body = nid * 32 + 64;
	if (i->xattr_count)
		i->body += 12 + 4 * (size_t)(i->xattr_count - 1);
}

/* len bytes of the file from off, which must not cross a block. */
__attribute__((unused)) static const uint8_t *
erofs_at(const struct erofs_img *g, const struct erofs_ino *i, uint64_t off)
{
	size_t at = (size_t)i->where * 4096 + off;

	if (i->layout == 2 && off >= i->size / 4096 * 4096) {
		at = i->body + off % 4096;
		assert(i->body / 4096 == (i->body + i->size % 4096 - 1) / 4096);
	}
	assert(at < g->len);
	return g->p + at;
}

__attribute__((unused)) static void erofs_list_dir(const struct erofs_img *g,
						   uint64_t nid,
						   const char *path,
						   struct buf *out, bool full);

/* " NAME=LENGTH OF THE VALUE" for each attribute, in their order in the file. */
__attribute__((unused)) static void erofs_list_xattrs(const struct erofs_img *g,
						      const struct erofs_ino *i,
						      struct buf *out)
{
	static const char *const prefixes[] = {
		[1] = "user.",
		[2] = "system.posix_acl_access",
		[3] = "system.posix_acl_default",
		[4] = "trusted.",
		[6] = "security.",
	};
	const uint8_t *p = g->p + i->nid * 32 + 64 + 12, *end = g->p + i->body;

	while (i->xattr_count && p < end) {
		size_t name = p[0], value = get_le(p + 2, 2);

		assert(p[1] < 7 && prefixes[p[1]]);
		buf_printf(out, " %s%.*s=%zu", prefixes[p[1]], (int)name,
			   (const char *)p + 4, value);
		p += (4 + name + value + 3) & ~(size_t)3;
	}
	assert(!i->xattr_count || p == end);
}

__attribute__((unused)) static void erofs_list_one(const struct erofs_img *g,
						   uint64_t nid,
						   const char *path,
						   struct buf *out, bool full)
{
	struct erofs_ino i;

	erofs_get(g, nid, &i);
	if (S_ISDIR(i.mode))
		buf_printf(out, "d %s", path);
	else if (S_ISREG(i.mode))
		buf_printf(out, "f %s", path);
	else if (S_ISLNK(i.mode))
		buf_printf(out, "l %s", path);
	else
		buf_printf(out, "%c %s", S_ISFIFO(i.mode) ? 'p' : 'c', path);
	if ((S_ISREG(i.mode) || S_ISLNK(i.mode)) && i.size && i.size < 4096) {
		buf_putc(out, ' ');
		buf_append(out, erofs_at(g, &i, 0), (size_t)i.size);
	}
	if (!S_ISDIR(i.mode) && i.nlink > 1)
		buf_printf(out, " x%u", i.nlink);
	if (full)
		buf_printf(out, " %o %u:%u %lld", i.mode & 07777, i.uid, i.gid,
			   (long long)i.mtime);
	if (full)
		erofs_list_xattrs(g, &i, out);
	buf_putc(out, '\n');
	if (S_ISDIR(i.mode))
		erofs_list_dir(g, nid, path, out, full);
}

__attribute__((unused)) static void erofs_list_dir(const struct erofs_img *g,
						   uint64_t nid,
						   const char *path,
						   struct buf *out, bool full)
{
	struct erofs_ino i;
	uint64_t off;
	char last[300] = "";

	erofs_get(g, nid, &i);
	for (off = 0; off < i.size; off += 4096) {
		const uint8_t *b = erofs_at(g, &i, off);
		size_t room =
			i.size - off < 4096 ? (size_t)(i.size - off) : 4096;
		size_t n = get_le(b + 8, 2) / 12, k;

		for (k = 0; k < n; k++) {
			size_t at = get_le(b + 12 * k + 8, 2);
			size_t end =
				k + 1 < n ? get_le(b + 12 * k + 20, 2) : room;
			char name[300], sub[5000];
			struct erofs_ino child;

			if (k + 1 == n)
				end = at +
				      strnlen((const char *)b + at, room - at);
			memcpy(name, b + at, end - at);
			name[end - at] = '\0';
			assert(strcmp(last, name) < 0); /* sorted */
			strcpy(last, name);
			erofs_get(g, get_le(b + 12 * k, 8), &child);
			if (strcmp(name, ".") == 0)
				assert(child.nid == nid);
			if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
				continue;
			snprintf(sub, sizeof(sub), "%s/%s", path, name);
			erofs_list_one(g, child.nid, sub, out, full);
		}
	}
}

/* All names in order, as lines like tar_lines() takes them. */
__attribute__((unused)) static void erofs_list(int fd, struct buf *out,
					       bool full)
{
	struct stat st;
	struct erofs_img g;

	assert(fstat(fd, &st) == 0 && st.st_size >= 4096);
	g.len = (size_t)st.st_size;
	g.p = mmap(NULL, g.len, PROT_READ, MAP_SHARED, fd, 0);
	assert(g.p != MAP_FAILED);
	assert(get_le(g.p + 1024, 4) == 0xE0F5E1E2);
	assert(get_le(g.p + 1024 + 36, 4) * 4096 == g.len);
	erofs_list_dir(&g, get_le(g.p + 1024 + 14, 2), "", out, full);
	munmap((void *)(uintptr_t)g.p, g.len);
}

#endif
