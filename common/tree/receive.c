/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Where the tree goes is decided when its first entry is
 * there: `top` is the folder that holds it, `name` its name in there. If it is
 * a folder, `top` becomes that folder, opened, and every further name is
 * resolved below it by openat2() (RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS): safe
 * because the kernel itself refuses a component that is a link, at each
 * lookup, so nothing that came earlier or that somebody swaps meanwhile leads
 * out. What is made is made with O_EXCL or mkdir in a folder held by a
 * descriptor; what was there under the name is unlinked, never opened.
 *
 * A folder gets its own mode, owner and time once what comes next lies outside
 * of it.
 */
#include "common/tree/tree.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

/* A folder that is not finished. */
struct open_dir {
	char *name;
	uint32_t mode, uid, gid;
	struct timespec mtime;
};

struct receiver {
	const struct tree_target *t;
	struct tree_end *end;
	bool rooted; /* the first entry was there */
	int top;     /* the root folder; -1: the root is no folder */
	int parent;  /* of the last name, and that name's folder */
	char parent_name[TREE_PATH_MAX + 1];
	bool parent_known;
	struct open_dir dirs[TREE_DEPTH_MAX + 1];
	size_t n_dirs;
	int file; /* being written; -1: none */
	uint64_t size, at;
	struct tree_entry entry; /* of it: without strings */
	unsigned char caps[64];	 /* its capabilities */
	size_t caps_len;
	int file_dir; /* where it lies, to take it away again */
	char file_name[TREE_NAME_MAX + 1];
	bool in_place; /* it was there before */
};

int tree_open_beneath(int dirfd, const char *path, uint64_t flags)
{
	struct open_how how = {.flags = flags | O_CLOEXEC,
			       .resolve = RESOLVE_BENEATH |
					  RESOLVE_NO_SYMLINKS |
					  RESOLVE_NO_MAGICLINKS};
	int fd;

	fd = (int)syscall(SYS_openat2, dirfd, path[0] ? path : ".", &how,
			  sizeof(how));
	return fd < 0 ? -errno : fd;
}

/* --------------------------------------------------------------- attributes */

static mode_t mode_of(const struct receiver *rx, uint32_t mode)
{
	return mode & (rx->t->special ? 07777 : 0777);
}

static uid_t uid_of(const struct receiver *rx, uint32_t uid)
{
	return (uid_t)(rx->t->flags & TREE_OWNERS ? uid : rx->t->uid);
}

static gid_t gid_of(const struct receiver *rx, uint32_t gid)
{
	return (gid_t)(rx->t->flags & TREE_OWNERS ? gid : rx->t->gid);
}

/* Owner before mode: chown takes the set-id bits away. */
static int set_attributes(const struct receiver *rx, int fd, uint32_t uid,
			  uint32_t gid, uint32_t mode,
			  const struct timespec *mtime)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, *mtime};

	if (fchown(fd, uid_of(rx, uid), gid_of(rx, gid)) < 0 ||
	    fchmod(fd, mode_of(rx, mode)) < 0 || futimens(fd, times) < 0)
		return -errno;
	return 0;
}

/* Where the file system has none they are left out. */
static int set_xattrs(struct receiver *rx, int fd, const struct tree_entry *t,
		      struct err *e)
{
	uint32_t flags = rx->t->flags;
	const char *name;
	const void *value;
	size_t at = 0, len;

	rx->caps_len = 0;
	/* What the folder above hands down is not what was sent. */
	if (flags & TREE_WHOLE) {
		fremovexattr(fd, "system.posix_acl_access");
		fremovexattr(fd, "system.posix_acl_default");
	}
	while (tree_xattr_next(t, &at, &name, &value, &len)) {
		if (!tree_xattr_is_kept(name, flags))
			continue;
		if (strcmp(name, TREE_XATTR_CAPS) == 0) {
			if (len > sizeof(rx->caps))
				return err_set(e, EBADMSG, "'%s': %s", t->name,
					       name);
			memcpy(rx->caps, value, len);
			rx->caps_len = len;
			continue;
		}
		if (fsetxattr(fd, name, value, len, 0) == 0)
			continue;
		if (flags & TREE_WHOLE)
			return err_sys(e, errno, "attribute '%s' of '%s'", name,
				       t->name);
		if (errno == ENOSPC)
			return 0;
	}
	return 0;
}

static struct timespec mtime_of(const struct tree_entry *t)
{
	return (struct timespec){.tv_sec = t->mtime, .tv_nsec = t->mtime_nsec};
}

/* -------------------------------------------------------------- what is open */

static int finish_file(struct receiver *rx, struct err *e)
{
	struct timespec mtime = mtime_of(&rx->entry);
	int r = 0;

	if (rx->file < 0)
		return 0;
	if (ftruncate(rx->file, (off_t)rx->size) < 0)
		r = -errno;
	if (r == 0)
		r = set_attributes(rx, rx->file, rx->entry.uid, rx->entry.gid,
				   rx->entry.mode, &mtime);
	if (r == 0 && rx->caps_len &&
	    fsetxattr(rx->file, TREE_XATTR_CAPS, rx->caps, rx->caps_len, 0) < 0)
		r = -errno;
	cleanup_close(&rx->file);
	return r < 0 ? err_sys(e, -r, "write '%s'", rx->file_name) : 0;
}

/* Half a file is none. */
static void abandon_file(struct receiver *rx)
{
	if (rx->file < 0)
		return;
	cleanup_close(&rx->file);
	if (!rx->in_place)
		unlinkat(rx->file_dir, rx->file_name, 0);
}

static bool is_inside(const char *name, const char *dir)
{
	size_t len = strlen(dir);

	return len == 0 || (strncmp(name, dir, len) == 0 &&
			    (name[len] == '/' || name[len] == '\0'));
}

/* Finishes the folders that `next` does not lie in; NULL: all. */
static int finish_dirs(struct receiver *rx, const char *next, struct err *e)
{
	struct open_dir *d;
	int fd, r = 0;

	while (rx->n_dirs > 0) {
		d = &rx->dirs[rx->n_dirs - 1];
		if (next && is_inside(next, d->name))
			return r;
		fd = tree_open_beneath(rx->top, d->name,
				       O_RDONLY | O_DIRECTORY);
		if (fd < 0 && r == 0)
			r = err_sys(e, -fd, "folder '%s'", d->name);
		if (fd >= 0 && r == 0) {
			r = set_attributes(rx, fd, d->uid, d->gid, d->mode,
					   &d->mtime);
			if (r < 0)
				err_sys(e, -r, "folder '%s'", d->name);
		}
		if (fd >= 0)
			close(fd);
		free(d->name);
		rx->n_dirs--;
	}
	return r;
}

static int push_dir(struct receiver *rx, const struct tree_entry *t,
		    struct err *e)
{
	struct open_dir *d;

	if (rx->n_dirs == ARRAY_SIZE(rx->dirs))
		return err_set(e, ELOOP, "'%s': folders too deep", t->name);
	d = &rx->dirs[rx->n_dirs];
	d->name = strdup(t->name);
	if (!d->name)
		return err_sys(e, ENOMEM, "copy");
	d->mode = t->mode;
	d->uid = t->uid;
	d->gid = t->gid;
	d->mtime = mtime_of(t);
	rx->n_dirs++;
	return 0;
}

/* ------------------------------------------------------------------ entries */

static int make_dir(struct receiver *rx, int dirfd, const char *name,
		    const struct tree_entry *t, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (mkdirat(dirfd, name, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "make folder '%s'", name);
	fd = openat(dirfd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, ENOTDIR,
			       "'%s' is there and is no folder: nothing is put "
			       "through a link or in a file's place",
			       t->name[0] ? t->name : name);
	r = set_xattrs(rx, fd, t, e);
	if (r < 0)
		return r;
	if (!rx->rooted)
		rx->top = steal_fd(&fd);
	return push_dir(rx, t, e);
}

/* What is there under the name goes, unless it is a folder. */
static int make_room(int dirfd, const char *name, struct err *e)
{
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno == EISDIR || errno == EPERM)
		return err_set(e, EISDIR, "'%s' is a folder there", name);
	return err_sys(e, errno, "replace '%s'", name);
}

static int make_file(struct receiver *rx, int dirfd, const char *name,
		     const struct tree_entry *t, struct err *e)
{
	int r = make_room(dirfd, name, e);

	if (r < 0)
		return r;
	rx->file = openat(dirfd, name,
			  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			  0600);
	if (rx->file < 0)
		return err_sys(e, errno, "create '%s'", name);
	rx->file_dir = dirfd;
	snprintf(rx->file_name, sizeof(rx->file_name), "%s", name);
	rx->in_place = false;
	rx->entry = *t;
	rx->size = t->size;
	rx->at = 0;
	return set_xattrs(rx, rx->file, t, e);
}

static int make_symlink(struct receiver *rx, int dirfd, const char *name,
			const struct tree_entry *t, struct err *e)
{
	const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, mtime_of(t)};
	int r = make_room(dirfd, name, e);

	if (r < 0)
		return r;
	if (symlinkat(t->link, dirfd, name) < 0 ||
	    fchownat(dirfd, name, uid_of(rx, t->uid), gid_of(rx, t->gid),
		     AT_SYMLINK_NOFOLLOW) < 0 ||
	    utimensat(dirfd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "make link '%s'", name);
	return 0;
}

static int make_fifo(struct receiver *rx, int dirfd, const char *name,
		     const struct tree_entry *t, struct err *e)
{
	int r = make_room(dirfd, name, e);

	if (r < 0)
		return r;
	if (mkfifoat(dirfd, name, mode_of(rx, t->mode)) < 0 ||
	    fchownat(dirfd, name, uid_of(rx, t->uid), gid_of(rx, t->gid),
		     AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "make FIFO '%s'", name);
	return 0;
}

/* The folder of a name, and where its last component begins. */
static const char *split(const char *name, char dir[TREE_PATH_MAX + 1])
{
	const char *slash = strrchr(name, '/');

	snprintf(dir, TREE_PATH_MAX + 1, "%.*s",
		 slash ? (int)(slash - name) : 0, name);
	return slash ? slash + 1 : name;
}

/* Folders that a tar stream names nowhere: made on the way, one by one. */
static int make_parents(struct receiver *rx, const char *dir, struct err *e)
{
	char part[TREE_PATH_MAX + 1], above[TREE_PATH_MAX + 1];
	const char *name, *p = dir;
	int fd, r;

	for (;;) {
		p += strcspn(p, "/");
		snprintf(part, sizeof(part), "%.*s", (int)(p - dir), dir);
		name = split(part, above);
		fd = tree_open_beneath(rx->top, above, O_PATH | O_DIRECTORY);
		if (fd < 0)
			return err_sys(e, -fd, "folder '%s'", above);
		r = mkdirat(fd, name, 0755) < 0 && errno != EEXIST ? errno : 0;
		close(fd);
		if (r)
			return err_sys(e, r, "make folder '%s'", part);
		if (!*p)
			return 0;
		p++;
	}
}

/* The folder that `dir` names, held in rx->parent. */
static int open_parent(struct receiver *rx, const char *dir, struct err *e)
{
	int fd, r;

	if (rx->parent_known && strcmp(rx->parent_name, dir) == 0)
		return 0;
	fd = tree_open_beneath(rx->top, dir, O_PATH | O_DIRECTORY);
	if (fd == -ENOENT && (rx->t->flags & TREE_STREAM)) {
		r = make_parents(rx, dir, e);
		if (r < 0)
			return r;
		fd = tree_open_beneath(rx->top, dir, O_PATH | O_DIRECTORY);
	}
	if (fd == -ELOOP || fd == -ENOTDIR)
		return err_set(e, ELOOP,
			       "folder '%s': is a link, or no folder: nothing "
			       "is put through it",
			       dir);
	if (fd < 0)
		return err_sys(e, -fd, "folder '%s'", dir);
	cleanup_close(&rx->parent);
	rx->parent = fd;
	rx->parent_known = true;
	snprintf(rx->parent_name, sizeof(rx->parent_name), "%s", dir);
	return 0;
}

static int make_link(struct receiver *rx, const char *name,
		     const struct tree_entry *t, struct err *e)
{
	char dir[TREE_PATH_MAX + 1];
	const char *old = split(t->link, dir);
	_cleanup_close_ int fd =
		tree_open_beneath(rx->top, dir, O_PATH | O_DIRECTORY);
	struct stat st;
	int r;

	if (fd < 0)
		return err_sys(e, -fd, "folder '%s'", dir);
	if (fstatat(fd, old, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "link '%s' to '%s'", t->name, t->link);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EBADMSG, "link '%s' to '%s': that is no file",
			       t->name, t->link);
	if (strcmp(t->name, t->link) == 0)
		return 0;
	r = make_room(rx->parent, name, e);
	if (r == 0 && linkat(fd, old, rx->parent, name, 0) < 0)
		r = err_sys(e, errno, "link '%s' to '%s'", t->name, t->link);
	return r;
}

static int make(struct receiver *rx, int dirfd, const char *name,
		const struct tree_entry *t, struct err *e)
{
	switch (t->type) {
	case TREE_DIR:
		return make_dir(rx, dirfd, name, t, e);
	case TREE_FILE:
		return make_file(rx, dirfd, name, t, e);
	case TREE_SYMLINK:
		return make_symlink(rx, dirfd, name, t, e);
	case TREE_FIFO:
		return make_fifo(rx, dirfd, name, t, e);
	case TREE_LINK:
		if (rx->top < 0)
			break;
		return make_link(rx, name, t, e);
	case TREE_TYPE_MAX:
		break;
	}
	return err_set(e, EBADMSG, "the stream is broken: a link to nothing");
}

/* ----------------------------------------------------------------- the root */

/* Into a file that is there: its place, its other names and what is mounted on
 * it stay. */
static int root_in_place(struct receiver *rx, const struct tree_entry *t,
			 struct err *e)
{
	struct stat st;

	if (t->type == TREE_DIR)
		return err_set(e, ENOTDIR,
			       "'%s' is there and is no folder: a folder "
			       "cannot be put in its place",
			       rx->t->path);
	if (t->type != TREE_FILE)
		return err_set(e, EEXIST, "'%s' is there already", rx->t->path);
	rx->file =
		open(rx->t->path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (rx->file < 0 || fstat(rx->file, &st) < 0)
		return err_sys(e, errno, "open '%s'", rx->t->path);
	if (!S_ISREG(st.st_mode)) {
		cleanup_close(&rx->file);
		return err_set(e, EINVAL, "'%s' is no file", rx->t->path);
	}
	if (ftruncate(rx->file, 0) < 0)
		return err_sys(e, errno, "write '%s'", rx->t->path);
	rx->in_place = true;
	snprintf(rx->file_name, sizeof(rx->file_name), "%.255s", rx->t->path);
	rx->entry = *t;
	rx->size = t->size;
	rx->at = 0;
	return set_xattrs(rx, rx->file, t, e);
}

/* At a path where nothing is: the folder above it must be there. */
static int root_new(struct receiver *rx, const struct tree_entry *t,
		    struct err *e)
{
	char dir[TREE_PATH_MAX + 2], name[TREE_NAME_MAX + 1];
	size_t len = strlen(rx->t->path), start;
	const char *path = rx->t->path;

	if (len > TREE_PATH_MAX)
		return err_sys(e, ENAMETOOLONG, "'%s'", path);
	if ((rx->t->flags & TREE_STREAM) ||
	    (t->type != TREE_DIR && len && path[len - 1] == '/'))
		return err_set(e, ENOENT, "'%s': there is no such folder",
			       path);
	while (len > 1 && path[len - 1] == '/')
		len--;
	for (start = len; start > 0 && path[start - 1] != '/';)
		start--;
	snprintf(dir, sizeof(dir), "%.*s", (int)start, start ? path : "");
	if (len - start > TREE_NAME_MAX || len == start)
		return err_sys(e, ENAMETOOLONG, "'%s'", path);
	snprintf(name, sizeof(name), "%.*s", (int)(len - start), path + start);
	rx->parent = open(dir[0] ? dir : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (rx->parent < 0)
		return err_sys(e, errno, "'%s': its folder '%s'", path,
			       dir[0] ? dir : ".");
	return make(rx, rx->parent, name, t, e);
}

static int root_make(struct receiver *rx, const struct tree_entry *t,
		     struct err *e)
{
	const struct tree_target *to = rx->t;
	bool merge = (to->flags & TREE_STREAM) ||
		     ((to->flags & TREE_CONTENTS) && t->type == TREE_DIR);
	struct stat st;
	int fd, r;

	fd = open(to->path, O_PATH | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return root_new(rx, t, e);
	if (fd < 0)
		return err_sys(e, errno, "'%s'", to->path);
	if (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode)) {
		close(fd);
		if (to->flags & TREE_STREAM)
			return err_set(e, ENOTDIR, "'%s' is no folder",
				       to->path);
		return root_in_place(rx, t, e);
	}
	if (merge) {
		r = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		rx->top = r;
		if (r < 0)
			return err_sys(e, errno, "open '%s'", to->path);
		/* It stays as it is; only what comes into it is new. */
		if (!(to->flags & TREE_WHOLE) || t->type != TREE_DIR)
			return 0;
		r = set_xattrs(rx, rx->top, t, e);
		return r < 0 ? r : push_dir(rx, t, e);
	}
	rx->parent = fd;
	if (!to->base[0])
		return err_set(e, EINVAL, "'%s' is a folder: no name in it",
			       to->path);
	return make(rx, fd, to->base, t, e);
}

/* ------------------------------------------------------------------- frames */

static int on_entry(struct receiver *rx, const struct tree_entry *t,
		    struct err *e)
{
	char dir[TREE_PATH_MAX + 1];
	const char *name;
	int r;

	r = finish_file(rx, e);
	if (r < 0)
		return r;
	if (rx->rooted != (t->name[0] != '\0') || (rx->rooted && rx->top < 0))
		return err_set(e, EBADMSG,
			       "the stream is broken: a second root, or none");
	if (!rx->rooted) {
		r = root_make(rx, t, e);
		rx->rooted = true;
		rx->parent_known = false;
	} else {
		r = finish_dirs(rx, t->name, e);
		name = split(t->name, dir);
		if (r == 0)
			r = open_parent(rx, dir, e);
		if (r == 0)
			r = make(rx, rx->parent, name, t, e);
	}
	if (r == 0)
		rx->end->entries++;
	return r;
}

static int on_data(struct receiver *rx, const unsigned char *p, size_t len,
		   struct err *e)
{
	uint64_t offset;
	int r;

	r = tree_parse_data(p, len, &offset, &p, &len, e);
	if (r < 0)
		return r;
	if (rx->file < 0 || offset < rx->at || offset > rx->size ||
	    len > rx->size - offset)
		return err_set(e, EBADMSG,
			       "the stream is broken: data out of its place");
	r = pwrite_full(rx->file, p, len, offset);
	if (r < 0)
		return err_sys(e, -r, "write '%s'", rx->file_name);
	rx->end->bytes += len;
	rx->at = offset + len;
	return 0;
}

static int receive_frames(struct receiver *rx, struct tree_wire *w,
			  struct tree_end *sender, struct err *e)
{
	const unsigned char *p = NULL;
	struct tree_entry t;
	size_t len = 0;
	int kind, r;

	for (;;) {
		kind = tree_get(w, &p, &len, e);
		switch (kind) {
		case TREE_ENTRY:
			r = tree_parse_entry(w, p, len, &t, e);
			if (r == 0)
				r = on_entry(rx, &t, e);
			break;
		case TREE_DATA:
			r = on_data(rx, p, len, e);
			break;
		case TREE_END:
			r = tree_parse_end(p, len, sender, e);
			if (r == 0 && sender->code)
				r = err_set(e, sender->code, "%s",
					    sender->text[0]
						    ? sender->text
						    : "the sender gave up");
			if (r == 0)
				r = finish_file(rx, e);
			return r == 0 ? finish_dirs(rx, NULL, e) : r;
		case TREE_REQUEST:
			r = err_set(e, EBADMSG, "the stream is broken");
			break;
		default:
			return kind;
		}
		if (r < 0)
			return r;
	}
}

int tree_receive(struct tree_wire *w, const struct tree_target *t,
		 struct tree_end *end, struct tree_end *sender, struct err *e)
{
	_cleanup_free_ struct receiver *rx = calloc(1, sizeof(*rx));
	int r;

	if (!rx)
		return err_sys(e, ENOMEM, "copy");
	rx->t = t;
	rx->end = end;
	rx->top = rx->parent = rx->file = -1;
	r = receive_frames(rx, w, sender, e);
	if (r < 0) {
		abandon_file(rx);
		while (rx->n_dirs > 0)
			free(rx->dirs[--rx->n_dirs].name);
	}
	cleanup_close(&rx->top);
	cleanup_close(&rx->parent);
	return r;
}
