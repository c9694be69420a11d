/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/sys/copyup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"

#define CHUNK ((size_t)1 << 20)

static int copy_below(int from, int to, int depth);

/* Owner first: chown takes setuid away. */
static int copy_meta(int fd, const struct stat *st)
{
	const struct timespec times[] = {st->st_atim, st->st_mtim};

	if (fchown(fd, st->st_uid, st->st_gid) < 0 ||
	    fchmod(fd, st->st_mode & 07777) < 0 || futimens(fd, times) < 0)
		return -errno;
	return 0;
}

static int copy_file(int from, int to, const char *name, const struct stat *st)
{
	_cleanup_close_ int in = openat(
		from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_close_ int out = -1;
	ssize_t n;

	if (in < 0)
		return -errno;
	out = openat(to, name,
		     O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		     0600);
	if (out < 0)
		return -errno;
	while ((n = sendfile(out, in, NULL, CHUNK)) > 0)
		continue;
	return n < 0 ? -errno : copy_meta(out, st);
}

static int copy_link(int from, int to, const char *name, const struct stat *st)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	if (symlinkat(target, to, name) < 0 ||
	    fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int copy_folder(int from, int to, const char *name,
		       const struct stat *st, int depth)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	_cleanup_close_ int in = openat(from, name, flags), out = -1;
	int r;

	if (in < 0 || mkdirat(to, name, 0700) < 0)
		return -errno;
	out = openat(to, name, flags);
	if (out < 0)
		return -errno;
	r = copy_below(in, out, depth - 1);
	return r < 0 ? r : copy_meta(out, st);
}

static int copy_fifo(int to, const char *name, const struct stat *st)
{
	if (mkfifoat(to, name, 0600) < 0 ||
	    fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) <
		    0 ||
	    fchmodat(to, name, st->st_mode & 07777, 0) < 0)
		return -errno;
	return 0;
}

static int copy_entry(int from, int to, const char *name, int depth)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		return copy_file(from, to, name, &st);
	case S_IFLNK:
		return copy_link(from, to, name, &st);
	case S_IFDIR:
		return copy_folder(from, to, name, &st, depth);
	case S_IFIFO:
		return copy_fifo(to, name, &st);
	default:
		return 0;
	}
}

/* getdents64() and not readdir(), which allocates. */
static int copy_below(int from, int to, int depth)
{
	_Alignas(struct dirent64) char buf[4096];
	struct dirent64 *d;
	ssize_t n, at;
	int r;

	if (depth == 0)
		return -ELOOP;
	while ((n = getdents64(from, buf, sizeof(buf))) > 0) {
		for (at = 0; at < n; at += d->d_reclen) {
			d = (struct dirent64 *)(void *)(buf + at);
			if (strcmp(d->d_name, ".") == 0 ||
			    strcmp(d->d_name, "..") == 0)
				continue;
			r = copy_entry(from, to, d->d_name, depth);
			if (r < 0)
				return r;
		}
	}
	return n < 0 ? -errno : 0;
}

int copyup_dir(int from, int to, bool keep_mode)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	_cleanup_close_ int in = openat(from, ".", flags);
	_cleanup_close_ int out = openat(to, ".", flags);
	struct stat st, own;
	int r;

	if (in < 0 || out < 0 || fstat(in, &st) < 0 || fstat(out, &own) < 0)
		return -errno;
	if (keep_mode)
		st.st_mode = own.st_mode;
	r = copy_below(in, out, HYB_COPYUP_DEPTH);
	return r < 0 ? r : copy_meta(out, &st);
}
