/* SPDX-License-Identifier: Apache-2.0 */
/* Files and folders: the path half of common/base/fd.h. */
#include "common/base/fd.h"

#include "common/base/cleanup.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

int file_read(int dirfd, const char *path, size_t max, char **ret,
	      size_t *ret_len, struct err *e)
{
	_cleanup_free_ char *data = NULL;
	_cleanup_close_ int fd = -1;
	size_t len = 0, cap = 4096;
	ssize_t n;
	char *p;

	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return err_sys(e, errno, "open '%s'", path);
	data = malloc(cap);
	if (!data)
		return err_sys(e, ENOMEM, "read '%s'", path);
	for (;;) {
		n = read_full(fd, data + len, cap - len - 1);
		if (n < 0)
			return err_sys(e, (int)-n, "read '%s'", path);
		len += (size_t)n;
		if (len > max)
			return err_set(e, EFBIG,
				       "read '%s': larger than %zu bytes", path,
				       max);
		if (len < cap - 1)
			break;
		cap *= 2;
		p = realloc(data, cap);
		if (!p)
			return err_sys(e, ENOMEM, "read '%s'", path);
		data = p;
	}
	data[len] = '\0';
	if (ret_len)
		*ret_len = len;
	*ret = steal_ptr(data);
	return 0;
}

/* fsync of the folder that path lies in, so that its name is on disk. */
static int sync_parent(const char *path, struct err *e)
{
	char dir[PATH_MAX];
	_cleanup_close_ int fd = -1;
	const char *slash = strrchr(path, '/');

	if (!slash)
		snprintf(dir, sizeof(dir), ".");
	else
		snprintf(dir, sizeof(dir), "%.*s",
			 (int)(slash == path ? 1 : slash - path), path);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return err_sys(e, errno, "sync folder '%s'", dir);
	return 0;
}

int file_write_atomic(const char *path, const void *data, size_t len,
		      mode_t mode, struct err *e)
{
	char tmp[PATH_MAX];
	_cleanup_close_ int fd = -1;
	unsigned int tag;
	int n, r;

	random_bytes(&tag, sizeof(tag));
	n = snprintf(tmp, sizeof(tmp), "%s.%08x.tmp", path, tag);
	if (n < 0 || (size_t)n >= sizeof(tmp))
		return err_sys(e, ENAMETOOLONG, "write '%s'", path);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		  0600);
	if (fd < 0)
		return err_sys(e, errno, "create '%s'", tmp);
	r = write_full(fd, data, len);
	if (r == 0 && fchmod(fd, mode) < 0)
		r = -errno;
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0) {
		unlink(tmp);
		return err_sys(e, -r, "write '%s'", path);
	}
	return sync_parent(path, e);
}

int dir_make(const char *path, mode_t mode, struct err *e)
{
	char part[PATH_MAX];
	struct stat st;
	char *p;

	if (snprintf(part, sizeof(part), "%s", path) >= (int)sizeof(part))
		return err_sys(e, ENAMETOOLONG, "make folder '%s'", path);
	for (p = part + 1;; p++) {
		char c = *p;

		if (c != '/' && c != '\0')
			continue;
		*p = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return err_sys(e, errno, "make folder '%s'", part);
		*p = c;
		if (c == '\0')
			break;
	}
	if (stat(path, &st) < 0)
		return err_sys(e, errno, "make folder '%s'", path);
	if (!S_ISDIR(st.st_mode))
		return err_sys(e, ENOTDIR, "make folder '%s'", path);
	return 0;
}

static int remove_at(int dirfd, const char *name, dev_t dev, int depth);

/* Empties the open folder (and closes it). */
static int remove_inside(int fd, dev_t dev, int depth)
{
	_cleanup_closedir_ DIR *d = fdopendir(fd);
	struct dirent *ent;
	int r, first = 0;

	if (!d) {
		r = -errno;
		close(fd);
		return r;
	}
	while ((ent = readdir(d))) {
		if (strcmp(ent->d_name, ".") == 0 ||
		    strcmp(ent->d_name, "..") == 0)
			continue;
		r = remove_at(fd, ent->d_name, dev, depth + 1);
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}

static int remove_at(int dirfd, const char *name, dev_t dev, int depth)
{
	struct stat st;
	int fd, r;

	if (depth > 64)
		return -ELOOP;
	if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	fd = openat(dirfd, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_dev != dev) {
		close(fd);
		return -EXDEV; /* something is mounted here: not ours */
	}
	r = remove_inside(fd, dev, depth);
	if (r < 0)
		return r;
	if (unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int path_remove(const char *path, struct err *e)
{
	struct stat st;
	int r;

	if (lstat(path, &st) < 0) {
		if (errno == ENOENT)
			return 0;
		return err_sys(e, errno, "remove '%s'", path);
	}
	r = remove_at(AT_FDCWD, path, st.st_dev, 0);
	if (r < 0)
		return err_sys(e, -r, "remove '%s'", path);
	return 0;
}
