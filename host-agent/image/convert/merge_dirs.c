/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a merge: the tree's directories become part of the output. */
#include "host-agent/image/convert/merge_int.h"

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

/* Goes through what a directory shows: its children, in order, and "." and
 * ".." in their places among them. */
struct entries {
	uint32_t dir;
	uint32_t child;
	size_t dots; /* of "." and "..", how many were shown */
	/* The entry at hand. */
	uint32_t node;
	const char *name;
	size_t len;
};

static void entries_init(struct entries *s, const struct rootfs *t,
			 uint32_t dir)
{
	memset(s, 0, sizeof(*s));
	s->dir = dir;
	s->child = rootfs_node(t, dir)->child;
}

static bool before(const char *dots, size_t n_dots, const char *name,
		   size_t len)
{
	int r = memcmp(dots, name, n_dots < len ? n_dots : len);

	return r < 0 || (r == 0 && n_dots < len);
}

static bool entries_next(struct entries *s, const struct rootfs *t)
{
	const struct rootfs_node *d = rootfs_node(t, s->child);
	size_t n = s->dots + 1;

	if (n <= 2 && (!s->child || before("..", n, rootfs_name(t, s->child),
					   d->name_len))) {
		s->node = s->dir;
		if (n == 2 && s->dir != ROOTFS_ROOT)
			s->node = rootfs_node(t, s->dir)->parent;
		s->name = "..";
		s->len = n;
		s->dots++;
		return true;
	}
	if (!s->child)
		return false;
	s->node = s->child;
	s->name = rootfs_name(t, s->child);
	s->len = d->name_len;
	s->child = d->next;
	return true;
}

static void measure(const struct rootfs *t, uint32_t dir,
		    struct erofs_dir_size *ret)
{
	struct entries s;

	memset(ret, 0, sizeof(*ret));
	entries_init(&s, t, dir);
	while (entries_next(&s, t))
		erofs_dir_size_add(ret, s.len);
}

static int place_dirs(struct merge *m, struct err *e)
{
	struct rootfs *t = &m->tree;
	struct erofs_dir_size size;
	uint32_t n;
	int r;

	for (n = ROOTFS_ROOT; n; n = rootfs_walk(t, ROOTFS_ROOT, n)) {
		struct rootfs_inode *i = rootfs_inode(t, n);

		if (!S_ISDIR(i->mode))
			continue;
		rootfs_sort(t, n);
		measure(t, n, &size);
		r = erofs_dir_place(m->out, &size, i->xattrs_len,
				    n == ROOTFS_ROOT, &i->loc, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static enum erofs_type type_of(uint16_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return EROFS_DIR;
	case S_IFCHR:
		return EROFS_CHR;
	case S_IFBLK:
		return EROFS_BLK;
	case S_IFIFO:
		return EROFS_FIFO;
	case S_IFLNK:
		return EROFS_LNK;
	default:
		return EROFS_REG;
	}
}

static int write_dir(struct merge *m, uint32_t dir, struct err *e)
{
	struct rootfs *t = &m->tree;
	struct rootfs_inode *d = rootfs_inode(t, dir);
	struct erofs_attr a = {
		.mode = d->mode,
		.uid = d->uid,
		.gid = d->gid,
		.mtime = d->mtime,
		.mtime_nsec = d->mtime_nsec,
		.xattrs = t->pool + d->xattrs_at,
		.xattrs_len = d->xattrs_len,
	};
	uint32_t nlink = 0;
	struct entries s;
	int r;

	erofs_dir_begin(m->out, &d->loc);
	entries_init(&s, t, dir);
	while (entries_next(&s, t)) {
		const struct rootfs_inode *i = rootfs_inode(t, s.node);

		r = erofs_dir_entry(m->out, s.name, s.len, i->loc.nid,
				    type_of(i->mode), e);
		if (r < 0)
			return r;
		/* "." and ".." here, and a ".." in each directory below, make
		 * as many links as there are directories shown. */
		nlink += S_ISDIR(i->mode);
	}
	return erofs_dir_end(m->out, &a, nlink, e);
}

static int fix_nlinks(struct merge *m, struct err *e)
{
	uint32_t n;
	int r = 0;

	for (n = 1; n < m->tree.n_inodes && r == 0; n++) {
		const struct rootfs_inode *i = &m->tree.inodes[n];

		if (i->mode && !S_ISDIR(i->mode) && i->nlink > 1)
			r = erofs_set_nlink(m->out, &i->loc, i->nlink, e);
	}
	return r;
}

int merge_finish(struct merge *m, struct merge_stats *ret, uint64_t *ret_bytes,
		 struct err *e)
{
	struct rootfs *t = &m->tree;
	uint32_t n;
	int r = place_dirs(m, e);

	for (n = ROOTFS_ROOT; r == 0 && n; n = rootfs_walk(t, ROOTFS_ROOT, n)) {
		if (S_ISDIR(rootfs_inode(t, n)->mode))
			r = write_dir(m, n, e);
	}
	if (r == 0)
		r = fix_nlinks(m, e);
	if (r == 0)
		r = erofs_finish(m->out, ret_bytes, e);
	if (r < 0)
		return r;
	*ret = m->stats;
	ret->entries = t->live_nodes - 1;
	return 0;
}
