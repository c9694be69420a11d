/* SPDX-License-Identifier: Apache-2.0 */
#include "common/tree/tree.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>

/* Files with several names that are known again. What is beyond is sent once
 * for each name. */
#define LINKS_MAX 16384
#define LINK_HASH 4096

struct known {
	struct known *next;
	dev_t dev;
	ino_t ino;
	char name[];
};

struct sender {
	struct tree_wire *w;
	struct tree_end *end;
	uint32_t flags;
	struct known *links[LINK_HASH];
	size_t n_links;
	char path[TREE_PATH_MAX + 1]; /* below the root */
	unsigned char data[TREE_DATA_MAX];
	char target[TREE_PATH_MAX + 1];
	unsigned char xattrs[TREE_XATTRS_MAX];
	char names[TREE_XATTRS_MAX];
};

/* -------------------------------------------------------------- hard links */

/* The name that this file was sent with; NULL: it was not, and is known from
 * now on. */
static const char *link_known(struct sender *s, const struct stat *st)
{
	struct known **slot = &s->links[(st->st_ino ^ st->st_dev) % LINK_HASH];
	struct known *k;
	size_t len = strlen(s->path) + 1;

	for (k = *slot; k; k = k->next)
		if (k->dev == st->st_dev && k->ino == st->st_ino)
			return k->name;
	if (s->n_links >= LINKS_MAX)
		return NULL;
	k = malloc(sizeof(*k) + len);
	if (!k)
		return NULL;
	k->dev = st->st_dev;
	k->ino = st->st_ino;
	memcpy(k->name, s->path, len);
	k->next = *slot;
	*slot = k;
	s->n_links++;
	return NULL;
}

static void links_free(struct sender *s)
{
	struct known *k;
	size_t i;

	for (i = 0; i < LINK_HASH; i++) {
		while ((k = s->links[i])) {
			s->links[i] = k->next;
			free(k);
		}
	}
}

/* ----------------------------------------------------------------- entries */

static void entry_from(const struct sender *s, struct tree_entry *t,
		       enum tree_type type, const struct stat *st)
{
	*t = (struct tree_entry){
		.type = type,
		.mode = st->st_mode & 07777,
		.uid = st->st_uid > INT32_MAX ? 65534 : st->st_uid,
		.gid = st->st_gid > INT32_MAX ? 65534 : st->st_gid,
		.mtime = st->st_mtim.tv_sec,
		.mtime_nsec = (uint32_t)st->st_mtim.tv_nsec,
		.name = s->path,
	};
}

/* What users attach. Those of the system mean something else elsewhere, unless
 * all of it is wanted. */
static int read_xattrs(struct sender *s, int fd, struct tree_entry *t,
		       struct err *e)
{
	bool whole = s->flags & TREE_WHOLE;
	ssize_t n = flistxattr(fd, s->names, sizeof(s->names)), v;
	const char *name = s->names, *end = s->names + (n > 0 ? n : 0);
	size_t at = 0, len, i;

	if (n < 0 && whole && errno != ENOTSUP)
		return err_sys(e, errno, "attributes of '%s'", s->path);
	for (; name < end; name += len) {
		len = strlen(name) + 1;
		if (!tree_xattr_is_kept(name, s->flags))
			continue;
		v = -1;
		errno = ERANGE;
		if (at + len + 4 < sizeof(s->xattrs))
			v = fgetxattr(fd, name, s->xattrs + at + len + 4,
				      sizeof(s->xattrs) - at - len - 4);
		if (v < 0 && whole && errno != ENODATA)
			return err_sys(e, errno, "attribute '%s' of '%s'", name,
				       s->path);
		if (v < 0)
			continue;
		memcpy(s->xattrs + at, name, len);
		at += len;
		for (i = 0; i < 4; i++)
			s->xattrs[at++] = (unsigned char)((size_t)v >> (8 * i));
		at += (size_t)v;
	}
	t->xattrs = s->xattrs;
	t->xattrs_len = at;
	return 0;
}

static int send_entry(struct sender *s, const struct tree_entry *t,
		      struct err *e)
{
	int r = tree_put_entry(s->w, t, e);

	if (r == 0)
		s->end->entries++;
	return r;
}

/* From at to stop, or to the file's end, which may have come nearer. */
static int send_range(struct sender *s, int fd, uint64_t at, uint64_t stop,
		      struct err *e)
{
	size_t want;
	ssize_t n;
	int r;

	while (at < stop) {
		want = stop - at < TREE_DATA_MAX ? (size_t)(stop - at)
						 : TREE_DATA_MAX;
		n = pread(fd, s->data, want, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "read '%s'", s->path);
		if (n == 0)
			return 0;
		r = tree_put_data(s->w, at, s->data, (size_t)n, e);
		if (r < 0)
			return r;
		at += (uint64_t)n;
		s->end->bytes += (uint64_t)n;
	}
	return 0;
}

static int send_data(struct sender *s, int fd, uint64_t size, struct err *e)
{
	uint64_t at = 0, stop;
	off_t data, hole;
	int r = 0;

	while (r == 0 && at < size) {
		data = lseek(fd, (off_t)at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			return 0;
		/* A file system that knows of no holes. */
		if (data < 0)
			return send_range(s, fd, at, size, e);
		hole = lseek(fd, data, SEEK_HOLE);
		stop = hole > data && (uint64_t)hole < size ? (uint64_t)hole
							    : size;
		r = send_range(s, fd, (uint64_t)data, stop, e);
		at = stop;
	}
	return r;
}

static int send_file(struct sender *s, int dirfd, const char *name,
		     int extra_flags, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct tree_entry t;
	const char *known = NULL;
	struct stat st;
	int r;

	fd = openat(dirfd, name,
		    O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | extra_flags);
	if (fd < 0 && errno == ENOENT && s->path[0])
		return 0; /* gone meanwhile */
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "open '%s'",
			       s->path[0] ? s->path : name);
	if (!S_ISREG(st.st_mode)) {
		s->end->skipped++; /* another thing meanwhile */
		return 0;
	}
	if (st.st_nlink > 1)
		known = link_known(s, &st);
	entry_from(s, &t, known ? TREE_LINK : TREE_FILE, &st);
	if (known) {
		t.link = known;
		return send_entry(s, &t, e);
	}
	t.size = (uint64_t)st.st_size;
	r = read_xattrs(s, fd, &t, e);
	if (r == 0)
		r = send_entry(s, &t, e);
	return r < 0 ? r : send_data(s, fd, t.size, e);
}

static int send_symlink(struct sender *s, int dirfd, const char *name,
			const struct stat *st, struct err *e)
{
	ssize_t n = readlinkat(dirfd, name, s->target, sizeof(s->target) - 1);
	struct tree_entry t;

	if (n <= 0)
		return 0; /* gone meanwhile */
	s->target[n] = '\0';
	entry_from(s, &t, TREE_SYMLINK, st);
	t.link = s->target;
	return send_entry(s, &t, e);
}

/* ------------------------------------------------------------------ folders */

/* File systems whose files are not files: reading them is endless, or is done
 * to the machine. */
static bool is_pseudo(int fd)
{
	static const unsigned long kinds[] = {
		PROC_SUPER_MAGIC,    SYSFS_MAGIC,
		CGROUP2_SUPER_MAGIC, CGROUP_SUPER_MAGIC,
		DEVPTS_SUPER_MAGIC,  DEBUGFS_MAGIC,
		TRACEFS_MAGIC,	     BPF_FS_MAGIC,
		SECURITYFS_MAGIC,    0x19800202 /* mqueue */,
	};
	struct statfs fs;
	size_t i;

	if (fstatfs(fd, &fs) < 0)
		return false;
	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if ((unsigned long)fs.f_type == kinds[i])
			return true;
	return false;
}

static int send_dir(struct sender *s, int dirfd, const char *name,
		    int extra_flags, unsigned int depth, struct err *e);

static int send_child(struct sender *s, int dirfd, const char *name,
		      unsigned int depth, struct err *e)
{
	struct tree_entry t;
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT
			       ? 0
			       : err_sys(e, errno, "look at '%s'", s->path);
	switch (st.st_mode & S_IFMT) {
	case S_IFDIR:
		return send_dir(s, dirfd, name, O_NOFOLLOW, depth + 1, e);
	case S_IFREG:
		return send_file(s, dirfd, name, O_NOFOLLOW, e);
	case S_IFLNK:
		return send_symlink(s, dirfd, name, &st, e);
	case S_IFIFO:
		entry_from(s, &t, TREE_FIFO, &st);
		return send_entry(s, &t, e);
	default:
		s->end->skipped++;
		return 0;
	}
}

static int send_children(struct sender *s, DIR *d, unsigned int depth,
			 struct err *e)
{
	size_t len = strlen(s->path), n;
	const struct dirent *de;
	int r = 0;

	while (r == 0) {
		errno = 0;
		de = readdir(d);
		if (!de)
			return errno ? err_sys(e, errno, "list '%s'", s->path)
				     : 0;
		if (strcmp(de->d_name, ".") == 0 ||
		    strcmp(de->d_name, "..") == 0)
			continue;
		n = strlen(de->d_name);
		if (len + n + 1 > TREE_PATH_MAX)
			return err_sys(e, ENAMETOOLONG, "'%s/%s'", s->path,
				       de->d_name);
		snprintf(s->path + len, sizeof(s->path) - len, "%s%s",
			 len ? "/" : "", de->d_name);
		r = send_child(s, dirfd(d), de->d_name, depth, e);
		s->path[len] = '\0';
	}
	return r;
}

static int send_dir(struct sender *s, int dirfd, const char *name,
		    int extra_flags, unsigned int depth, struct err *e)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct tree_entry t;
	struct stat st;
	int fd, r;

	if (depth > TREE_DEPTH_MAX)
		return err_set(e, ELOOP, "'%s': folders too deep", s->path);
	fd = openat(dirfd, name,
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC | extra_flags);
	if (fd < 0 && errno == ENOENT && s->path[0])
		return 0;
	if (fd < 0)
		return err_sys(e, errno, "open '%s'",
			       s->path[0] ? s->path : name);
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return err_sys(e, ENOMEM, "list '%s'", s->path);
	}
	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "look at '%s'", s->path);
	entry_from(s, &t, TREE_DIR, &st);
	r = read_xattrs(s, fd, &t, e);
	if (r == 0)
		r = send_entry(s, &t, e);
	if (r < 0 || is_pseudo(fd))
		return r;
	return send_children(s, d, depth, e);
}

/* ----------------------------------------------------------------- the root */

int tree_send(struct tree_wire *w, const char *path, uint32_t flags,
	      struct tree_end *end, struct err *e)
{
	_cleanup_free_ struct sender *s = calloc(1, sizeof(*s));
	size_t len = strlen(path);
	bool follow = (flags & TREE_FOLLOW) || (len && path[len - 1] == '/');
	int nofollow = follow ? 0 : O_NOFOLLOW, r;
	struct stat st;

	if (!s)
		return err_sys(e, ENOMEM, "copy");
	s->w = w;
	s->end = end;
	s->flags = flags;
	w->watch = true;
	if (fstatat(AT_FDCWD, path, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "'%s'", path);
	if (S_ISDIR(st.st_mode))
		r = send_dir(s, AT_FDCWD, path, nofollow, 0, e);
	else if (S_ISREG(st.st_mode))
		r = send_file(s, AT_FDCWD, path, nofollow, e);
	else if (S_ISLNK(st.st_mode))
		r = send_symlink(s, AT_FDCWD, path, &st, e);
	else
		r = err_set(e, EINVAL,
			    "'%s' is neither a file, a folder nor a link",
			    path);
	links_free(s);
	return r;
}
