/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/sys/rootpath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/sys/kernel.h"

/* A lookup that raced with a rename says EAGAIN: tried again this often. */
#define RACE_TRIES 64

static int open_once(int rootfd, const char *path, uint64_t flags)
{
	return sys_openat2(rootfd, path[0] ? path : ".", flags | O_CLOEXEC, 0,
			   RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int rootpath_open(int rootfd, const char *path, uint64_t flags)
{
	int fd, i;

	for (i = 0; i < RACE_TRIES; i++) {
		fd = open_once(rootfd, path, flags);
		if (fd >= 0)
			return fd;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return -EAGAIN;
}

/* Cuts the last component off path: its length without trailing slashes, and
 * where the component begins. */
static void split_last(const char *path, size_t *ret_parent, size_t *ret_start,
		       size_t *ret_end)
{
	size_t end = strlen(path), start;

	while (end > 0 && path[end - 1] == '/')
		end--;
	start = end;
	while (start > 0 && path[start - 1] != '/')
		start--;
	*ret_end = end;
	*ret_start = start;
	while (start > 0 && path[start - 1] == '/')
		start--;
	*ret_parent = start;
}

/* Opens the folder path[0..len), making what is missing. A dangling symbolic
 * link stays an error (mkdirat says EEXIST, the open then ENOENT). */
static int make_dirs(int rootfd, const char *path, size_t len)
{
	_cleanup_close_ int fd = -1;
	char part[PATH_MAX];
	size_t i = 0, end;

	if (len >= sizeof(part))
		return -ENAMETOOLONG;
	memcpy(part, path, len);
	part[len] = '\0';
	fd = rootpath_open(rootfd, part, O_PATH | O_DIRECTORY);
	if (fd != -ENOENT)
		return steal_fd(&fd);
	while (i < len) {
		size_t parent, start, stop;
		_cleanup_close_ int up = -1;

		while (i < len && path[i] == '/')
			i++;
		end = i;
		while (end < len && path[end] != '/')
			end++;
		memcpy(part, path, end);
		part[end] = '\0';
		i = end;
		split_last(part, &parent, &start, &stop);
		if (start == stop)
			continue;
		/* The parent exists: it was made or opened the round before. */
		{
			char up_path[PATH_MAX];

			memcpy(up_path, part, parent);
			up_path[parent] = '\0';
			up = rootpath_open(rootfd, up_path,
					   O_PATH | O_DIRECTORY);
		}
		if (up < 0)
			return up;
		if (strcmp(part + start, ".") == 0 ||
		    strcmp(part + start, "..") == 0)
			continue;
		if (mkdirat(up, part + start, 0755) < 0 && errno != EEXIST)
			return -errno;
	}
	return rootpath_open(rootfd, part, O_PATH | O_DIRECTORY);
}

int rootpath_make_dir(int rootfd, const char *path)
{
	return make_dirs(rootfd, path, strlen(path));
}

/* The folder that path is in, made where it is missing, and path's last part.
 * make: false: it must be there. */
static int open_parent(int rootfd, const char *path, bool make,
		       char name[NAME_MAX + 1])
{
	size_t parent, start, end;
	char up[PATH_MAX];

	split_last(path, &parent, &start, &end);
	if (end - start == 0 || end - start > NAME_MAX || parent >= sizeof(up))
		return -EINVAL;
	memcpy(name, path + start, end - start);
	name[end - start] = '\0';
	if (make)
		return make_dirs(rootfd, path, parent);
	memcpy(up, path, parent);
	up[parent] = '\0';
	return rootpath_open(rootfd, up, O_PATH | O_DIRECTORY);
}

/* O_EXCL follows no link: what there is was made here, or by who raced. */
static int make_empty(int up, const char *name)
{
	_cleanup_close_ int made = openat(
		up, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		0644);

	return made < 0 && errno != EEXIST ? -errno : 0;
}

int rootpath_make_file(int rootfd, const char *path)
{
	_cleanup_close_ int fd = -1, up = -1;
	char name[NAME_MAX + 1];
	struct stat st;
	int r;

	fd = rootpath_open(rootfd, path, O_PATH);
	if (fd == -ENOENT) {
		up = open_parent(rootfd, path, true, name);
		if (up < 0)
			return up;
		r = make_empty(up, name);
		if (r < 0)
			return r;
		fd = rootpath_open(rootfd, path, O_PATH);
	}
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return steal_fd(&fd);
}

/* name is one part, and none of "." and ".." leads out of a folder that it is
 * opened in with O_NOFOLLOW but to its parent: those are not taken. */
static int open_last(int up, const char *name)
{
	int fd;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	fd = openat(up, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int rootpath_open_nofollow(int rootfd, const char *path)
{
	_cleanup_close_ int up = -1;
	char name[NAME_MAX + 1];

	up = open_parent(rootfd, path, false, name);
	return up < 0 ? up : open_last(up, name);
}

int rootpath_make_nofollow(int rootfd, const char *path, bool folder)
{
	_cleanup_close_ int up = -1;
	char name[NAME_MAX + 1];
	int fd, r = 0;

	up = open_parent(rootfd, path, true, name);
	if (up < 0)
		return up;
	fd = open_last(up, name);
	if (fd != -ENOENT)
		return fd;
	if (!folder)
		r = make_empty(up, name);
	else if (mkdirat(up, name, 0755) < 0 && errno != EEXIST)
		r = -errno;
	return r < 0 ? r : open_last(up, name);
}

int rootpath_make_link(int rootfd, const char *path, const char *text)
{
	_cleanup_close_ int up = -1;
	char name[NAME_MAX + 1];

	up = open_parent(rootfd, path, true, name);
	if (up < 0)
		return up;
	return symlinkat(text, up, name) < 0 ? -errno : 0;
}

ssize_t rootpath_read(int rootfd, const char *path, char *buf, size_t max)
{
	_cleanup_close_ int fd = -1, file = -1;
	char link[64];
	struct stat st;
	ssize_t n;

	fd = rootpath_open(rootfd, path, O_PATH);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	/* Safe: the link leads to the inode that was just looked at. */
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	file = open(link, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (file < 0)
		return -errno;
	n = read_full(file, buf, max);
	if (n < 0)
		return n;
	buf[n] = '\0';
	return n;
}
