/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/convert/merge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "host-agent/image/convert/limits.h"
#include "host-agent/image/convert/merge_int.h"

static void on_released(void *arg, const struct rootfs_inode *i)
{
	erofs_release(arg, &i->loc);
}

int merge_new(struct erofs *out, uint32_t max_entries, struct merge **ret,
	      struct err *e)
{
	struct merge *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return err_sys(e, ENOMEM, "merge");
	m->out = out;
	r = rootfs_init(&m->tree, max_entries + 1, e);
	if (r < 0) {
		merge_free(m);
		return r;
	}
	m->tree.released = on_released;
	m->tree.arg = out;
	*ret = m;
	return 0;
}

void merge_free(struct merge *m)
{
	if (!m)
		return;
	rootfs_done(&m->tree);
	free(m);
}

static int fail(const struct tar_entry *n, struct err *e, int code,
		const char *why)
{
	char name[300];

	return err_set(e, code, "entry '%s': %s",
		       text_escape(n->path, name, sizeof(name)), why);
}

/* As fail(), around a message that is there already. e is not NULL. */
static int wrap(const struct tar_entry *n, struct err *e)
{
	char name[300];

	if (e && strncmp(e->msg, "entry '", 7) == 0)
		return -e->code; /* the reader has said which */
	return err_wrap(e, "entry '%s'",
			text_escape(n->path, name, sizeof(name)));
}

/* ---------------------------------------------------------------- paths */

static int clean_part(struct path *p, size_t *len, const char *s, size_t n,
		      const char **why)
{
	size_t base = strlen(p->base);

	if (n == 0 || (n == 1 && s[0] == '.'))
		return 0;
	*why = "a name is over 255 bytes long";
	if (n > HYB_IMAGE_NAME_MAX)
		return -ENAMETOOLONG;
	*why = "its path has '..' in it";
	if (n == 2 && s[0] == '.' && s[1] == '.')
		return -EINVAL;
	/* The name so far is a folder. */
	if (base) {
		*why = "a folder is called '.wh.' and something";
		if (strncmp(p->base, ".wh..wh.", 8) == 0)
			p->aufs = true;
		else if (strncmp(p->base, ".wh.", 4) == 0)
			return -EINVAL;
		if (*len)
			p->dir[(*len)++] = '/';
		memcpy(p->dir + *len, p->base, base);
		*len += base;
	}
	memcpy(p->base, s, n);
	p->base[n] = '\0';
	return 0;
}

/* s is at most HYB_IMAGE_PATH_MAX long, so that all of it fits. */
static int path_clean(struct path *p, const char *s, const char **why)
{
	size_t len = 0;

	p->base[0] = '\0';
	p->aufs = false;
	while (*s) {
		size_t n = strcspn(s, "/");
		int r = clean_part(p, &len, s, n, why);

		if (r < 0)
			return r;
		s += n;
		if (*s)
			s++;
	}
	p->dir[len] = '\0';
	return 0;
}

static int make_dir(struct merge *m, uint32_t dir, const char *name, size_t len,
		    uint32_t *ret, struct err *e)
{
	uint32_t inode;
	int r = rootfs_new_inode(&m->tree, &inode, e);

	if (r < 0)
		return r;
	rootfs_plain_dir(&m->tree.inodes[inode]);
	return rootfs_add(&m->tree, dir, name, len, inode, m->layer, ret, e);
}

/* On the way to a directory. */
struct walker {
	struct merge *m;
	char *buf;     /* of WALK_MAX + 1 bytes */
	const char *p; /* what is left, in buf */
	uint32_t cur;
	unsigned int links;
	bool create;
};

/* A symbolic link: its target goes in front of rest. */
static int follow(struct walker *w, const struct rootfs_inode *link,
		  const char *rest, struct err *e)
{
	const char *target = w->m->tree.pool + link->link_at;
	size_t n = link->link_len, left = strlen(rest);

	if (++w->links > HYB_IMAGE_SYMLINKS_MAX)
		return err_set(e, ELOOP, "too many symbolic links in its path");
	if (n + 1 + left > WALK_MAX)
		return err_set(e, ENAMETOOLONG,
			       "its path is too long once symbolic links are "
			       "followed");
	memmove(w->buf + n + 1, rest, left + 1);
	memcpy(w->buf, target, n);
	w->buf[n] = '/';
	if (target[0] == '/')
		w->cur = ROOTFS_ROOT;
	w->p = w->buf;
	return 1;
}

/* Goes on by the name of n bytes at w->p: 1, or 0 where it leads to no
 * directory and none is to be made. */
static int enter(struct walker *w, size_t n, struct err *e)
{
	struct rootfs *t = &w->m->tree;
	const struct rootfs_inode *i;
	uint32_t next;
	int r;

	if (n > HYB_IMAGE_NAME_MAX)
		return err_set(e, ENAMETOOLONG,
			       "a name is over 255 bytes long");
	next = rootfs_lookup(t, w->cur, w->p, n);
	if (!next) {
		if (!w->create)
			return 0;
		r = make_dir(w->m, w->cur, w->p, n, &next, e);
		if (r < 0)
			return r;
	}
	i = rootfs_inode(t, next);
	if (S_ISLNK(i->mode))
		return follow(w, i, w->p + n, e);
	if (S_ISDIR(i->mode)) {
		w->cur = next;
		w->p += n;
		return 1;
	}
	if (!w->create)
		return 0;
	return err_set(e, ENOTDIR,
		       "a part of its path is a file, not a folder");
}

/* The directory at path. Links are followed, ".." of their targets stops at
 * the root. create: what is missing is made, and what is walked is marked as
 * reached by this layer; else *ret is 0 for what is missing. */
static int walk(struct merge *m, const char *path, bool create, uint32_t *ret,
		struct err *e)
{
	struct walker w = {
		.m = m, .buf = m->walk, .cur = ROOTFS_ROOT, .create = create};
	int r;

	memcpy(w.buf, path, strlen(path) + 1);
	w.p = w.buf;
	for (;;) {
		size_t n;

		w.p += strspn(w.p, "/");
		if (create)
			rootfs_node(&m->tree, w.cur)->layer = m->layer;
		if (*w.p == '\0')
			break;
		n = strcspn(w.p, "/");
		if (n == 2 && w.p[0] == '.' && w.p[1] == '.') {
			if (w.cur != ROOTFS_ROOT)
				w.cur = rootfs_node(&m->tree, w.cur)->parent;
			w.p += n;
		} else if (n == 1 && w.p[0] == '.') {
			w.p += n;
		} else {
			r = enter(&w, n, e);
			if (r < 0)
				return r;
			if (r == 0) {
				*ret = 0;
				return 0;
			}
		}
	}
	*ret = w.cur;
	return 0;
}

/* ------------------------------------------------------------ whiteouts */

/* All below dir that comes from lower layers. */
static int apply_opaque(struct merge *m, const struct path *p, struct err *e)
{
	uint32_t dir;
	int r = walk(m, p->dir, false, &dir, e);

	if (r == 0 && dir)
		rootfs_clear(&m->tree, dir, m->layer);
	return r;
}

static int apply_whiteout(struct merge *m, const struct path *p,
			  const struct tar_entry *n, struct err *e)
{
	const char *name = p->base + 4;
	uint32_t dir, node;
	struct rootfs_inode *i;
	int r;

	if (strcmp(name, "") == 0 || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0)
		return fail(n, e, EINVAL, "a whiteout of no name");
	r = walk(m, p->dir, false, &dir, e);
	if (r < 0 || !dir)
		return r;
	node = rootfs_lookup(&m->tree, dir, name, strlen(name));
	if (!node)
		return 0;
	if (rootfs_node(&m->tree, node)->layer != m->layer) {
		rootfs_remove(&m->tree, node);
		return 0;
	}
	/* This layer has put something there or below it, which stays. */
	i = rootfs_inode(&m->tree, node);
	if (!S_ISDIR(i->mode))
		return 0;
	rootfs_clear(&m->tree, node, m->layer);
	if (i->layer != m->layer)
		rootfs_plain_dir(i);
	return 0;
}

/* -------------------------------------------------------------- entries */

static uint16_t file_mode(const struct tar_entry *n)
{
	static const mode_t types[] = {
		[TAR_FILE] = S_IFREG,	 [TAR_LINK] = S_IFREG,
		[TAR_SYMLINK] = S_IFLNK, [TAR_CHAR] = S_IFCHR,
		[TAR_BLOCK] = S_IFBLK,	 [TAR_DIR] = S_IFDIR,
		[TAR_FIFO] = S_IFIFO,
	};
	/* Linux shows links with all bits, whatever an archive says. */
	mode_t perm = n->type == TAR_SYMLINK ? 0777 : n->mode;

	return (uint16_t)(types[n->type] | perm);
}

static int make_attr(struct merge *m, const struct tar_entry *n,
		     struct erofs_attr *a, struct err *e)
{
	size_t i, len = 0;
	int r;

	for (i = 0; i < n->n_xattrs; i++) {
		const struct tar_xattr *x = &n->xattrs[i];

		r = erofs_xattr_add(m->xattrs, sizeof(m->xattrs), &len, x->name,
				    x->value, x->len);
		if (r == -ENOTSUP)
			m->stats.dropped_xattrs++;
		else if (r < 0)
			return fail(n, e, E2BIG,
				    "its attributes take more than 64 KiB");
	}
	*a = (struct erofs_attr){
		.mode = file_mode(n),
		.uid = n->uid,
		.gid = n->gid,
		.mtime = n->mtime,
		.mtime_nsec = n->mtime_nsec,
		.rdev = erofs_rdev(n->dev_major, n->dev_minor),
		.xattrs = m->xattrs,
		.xattrs_len = len,
	};
	if (n->uid > m->stats.max_uid)
		m->stats.max_uid = n->uid;
	if (n->gid > m->stats.max_gid)
		m->stats.max_gid = n->gid;
	return 0;
}

static int set_dir(struct merge *m, uint32_t node, const struct erofs_attr *a,
		   struct err *e)
{
	struct rootfs_inode *i = rootfs_inode(&m->tree, node);
	uint32_t at = 0;
	int r;

	if (a->xattrs_len) {
		r = rootfs_store(&m->tree, a->xattrs, a->xattrs_len, &at, e);
		if (r < 0)
			return r;
	}
	i->mode = a->mode;
	i->uid = a->uid;
	i->gid = a->gid;
	i->mtime = a->mtime;
	i->mtime_nsec = a->mtime_nsec;
	i->xattrs_at = at;
	i->xattrs_len = (uint32_t)a->xattrs_len;
	i->layer = m->layer;
	rootfs_node(&m->tree, node)->layer = m->layer;
	return 0;
}

static int apply_dir(struct merge *m, uint32_t dir, const struct path *p,
		     const struct erofs_attr *a, struct err *e)
{
	uint32_t node = ROOTFS_ROOT;
	int r;

	if (p->base[0]) {
		node = rootfs_lookup(&m->tree, dir, p->base, strlen(p->base));
		if (node && !S_ISDIR(rootfs_inode(&m->tree, node)->mode)) {
			rootfs_remove(&m->tree, node);
			node = 0;
		}
		if (!node) {
			r = make_dir(m, dir, p->base, strlen(p->base), &node,
				     e);
			if (r < 0)
				return r;
		}
	}
	return set_dir(m, node, a, e);
}

static int write_file(struct merge *m, struct tar *t, const struct tar_entry *n,
		      const struct erofs_attr *a, struct erofs_loc *ret,
		      struct err *e)
{
	const uint8_t *data;
	uint64_t off;
	ssize_t len;
	int r;

	if (n->size > HYB_IMAGE_BYTES_MAX)
		return err_set(e, EFBIG, "it is larger than 64 GiB");
	r = erofs_begin(m->out, a, n->size, n->sparse, e);
	if (r < 0)
		return r;
	while ((len = tar_data(t, &data, &off, e)) > 0) {
		r = erofs_put(m->out, off, data, (size_t)len, e);
		if (r < 0)
			return r;
	}
	return len < 0 ? (int)len : erofs_end(m->out, ret, e);
}

/* Anything but a directory or a hard link: written, then named. */
static int apply_file(struct merge *m, struct tar *t, uint32_t dir,
		      const struct path *p, const struct tar_entry *n,
		      const struct erofs_attr *a, struct err *e)
{
	bool is_link = n->type == TAR_SYMLINK;
	uint32_t inode, node;
	struct rootfs_inode *i;
	int r;

	node = rootfs_lookup(&m->tree, dir, p->base, strlen(p->base));
	if (node)
		rootfs_remove(&m->tree, node);
	if (is_link && n->link[0] == '\0')
		return err_set(e, EINVAL, "a symbolic link to nothing");
	r = rootfs_new_inode(&m->tree, &inode, e);
	if (r < 0)
		return r;
	i = &m->tree.inodes[inode];
	i->mode = a->mode;
	i->layer = m->layer;
	if (is_link) {
		i->link_len = (uint32_t)strlen(n->link);
		r = rootfs_store(&m->tree, n->link, i->link_len, &i->link_at,
				 e);
		if (r == 0)
			r = erofs_small(m->out, a, n->link, i->link_len,
					&i->loc, e);
	} else if (n->type == TAR_FILE) {
		r = write_file(m, t, n, a, &i->loc, e);
	} else {
		r = erofs_small(m->out, a, NULL, 0, &i->loc, e);
	}
	if (r < 0)
		return r;
	return rootfs_add(&m->tree, dir, p->base, strlen(p->base), inode,
			  m->layer, &node, e);
}

/* The inode that a hard link names. */
static int link_target(struct merge *m, const struct tar_entry *n,
		       uint32_t *ret, struct err *e)
{
	struct path *to = &m->target;
	const char *why = NULL;
	char name[300];
	uint32_t dir, node = 0;
	int r;

	text_escape(n->link, name, sizeof(name));
	r = path_clean(to, n->link, &why);
	if (r < 0)
		return err_set(e, -r, "a hard link to '%s': %s", name, why);
	r = walk(m, to->dir, false, &dir, e);
	if (r < 0)
		return r;
	if (dir && to->base[0])
		node = rootfs_lookup(&m->tree, dir, to->base, strlen(to->base));
	if (!to->base[0])
		return err_set(e, EINVAL, "a hard link to the root");
	if (!node)
		return err_set(e, ENOENT,
			       "a hard link to '%s', which does not exist",
			       name);
	if (S_ISDIR(rootfs_inode(&m->tree, node)->mode))
		return err_set(e, EINVAL,
			       "a hard link to '%s', which is a folder", name);
	*ret = rootfs_node(&m->tree, node)->inode;
	return 0;
}

static int apply_link(struct merge *m, uint32_t dir, const struct path *p,
		      const struct tar_entry *n, struct err *e)
{
	uint32_t inode = 0, node;
	int r = link_target(m, n, &inode, e);

	if (r < 0)
		return r;
	/* Held, should the name that goes be its last. */
	m->tree.inodes[inode].nlink++;
	node = rootfs_lookup(&m->tree, dir, p->base, strlen(p->base));
	if (node)
		rootfs_remove(&m->tree, node);
	r = rootfs_add(&m->tree, dir, p->base, strlen(p->base), inode, m->layer,
		       &node, e);
	m->tree.inodes[inode].nlink--;
	return r;
}

static int apply(struct merge *m, struct tar *t, const struct tar_entry *n,
		 struct err *e)
{
	struct path *p = &m->path;
	struct erofs_attr a;
	const char *why = NULL;
	uint32_t dir;
	int r = path_clean(p, n->path, &why);

	if (r < 0)
		return fail(n, e, -r, why);
	if (strcmp(p->base, ".wh..wh..opq") == 0 && !p->aufs) {
		r = apply_opaque(m, p, e);
		return r < 0 ? wrap(n, e) : 0;
	}
	if (p->aufs || strncmp(p->base, ".wh..wh.", 8) == 0)
		return 0;
	if (strncmp(p->base, ".wh.", 4) == 0) {
		r = apply_whiteout(m, p, n, e);
		return r == -EINVAL || r == 0 ? r : wrap(n, e);
	}
	if (!p->base[0] && n->type != TAR_DIR)
		return fail(n, e, EINVAL, "it would replace the root folder");
	r = make_attr(m, n, &a, e);
	if (r < 0)
		return r;
	r = walk(m, p->dir, true, &dir, e);
	if (r < 0)
		return wrap(n, e);
	if (n->type == TAR_DIR)
		r = apply_dir(m, dir, p, &a, e);
	else if (n->type == TAR_LINK)
		r = apply_link(m, dir, p, n, e);
	else
		r = apply_file(m, t, dir, p, n, &a, e);
	return r < 0 ? wrap(n, e) : 0;
}

int merge_layer(struct merge *m, const struct byte_source *src, struct err *e)
{
	_cleanup_(cleanup_tar) struct tar *t = tar_new(src);
	const struct tar_entry *n;
	int r;

	if (!t)
		return err_sys(e, ENOMEM, "merge");
	if (m->layer == HYB_IMAGE_LAYERS_MAX)
		return err_set(e, E2BIG, "more than %d layers",
			       HYB_IMAGE_LAYERS_MAX);
	m->layer++;
	while ((r = tar_next(t, &n, e)) > 0) {
		if (++m->records > HYB_IMAGE_RECORDS_MAX)
			return fail(n, e, E2BIG,
				    "more than 4000000 entries in all layers");
		r = apply(m, t, n, e);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : tar_drain(t, e);
}
