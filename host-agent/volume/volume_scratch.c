/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scratch disks: copies of a template, ROOT/volumes/.scratch/VERSION-SIZE.ext4,
 * which mke2fs makes once for each size. A template's data are its file system's
 * tables, less than a megabyte for a common size: copying them takes a
 * millisecond where mke2fs takes ten or, on a busy host, fifty.
 *
 * Templates are only ever read, and by hybd alone: no guest's bytes come near
 * them. The copies' file systems have one UUID; no two are seen by one kernel.
 */
#include "host-agent/volume/volume_int.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define TEMPLATES ".scratch"
#define HALF_MADE "new"
/* Raised when the options of mke2fs change. */
#define VERSION "1"

/* No journal: there is nothing to be recovered. Quotas: containers of a VM
 * share the disk and have a part of it each. Twice as many inodes as usual, for
 * they are shared out with the bytes. */
static int fill(const struct volume_store *s, int fd, struct err *e)
{
	static const char *const argv[] = {
		"mke2fs",
		"-q",
		"-F",
		"-t",
		"ext4",
		"-b",
		"4096",
		"-I",
		"256",
		"-i",
		"8192",
		"-m",
		"0",
		"-O",
		"none,ext_attr,resize_inode,dir_index,filetype,extent,64bit,"
		"flex_bg,sparse_super,large_file,huge_file,dir_nlink,"
		"extra_isize,metadata_csum,quota,project",
		"-E",
		"nodiscard,lazy_itable_init=1,quotatype=prjquota",
		"/proc/self/fd/3",
		NULL};
	int r;

	if (fchown(fd, s->mkfs_uid, s->mkfs_uid) < 0)
		return err_sys(e, errno, "make a template");
	r = volume_mke2fs(s, argv, &fd, 1, e);
	if (r == 0 && (fchown(fd, 0, 0) < 0 || fsync(fd) < 0))
		r = err_sys(e, errno, "make a template");
	return r;
}

static int open_dir(const struct volume_store *s, struct err *e)
{
	char path[VOLUME_PATH_MAX];
	int fd, r;

	snprintf(path, sizeof(path), "%s/" TEMPLATES, s->dir);
	r = dir_make(path, 0700, e);
	if (r < 0)
		return r;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "open '%s'", path) : fd;
}

/* Under the lock: one is made at a time. It has its name when it is whole and
 * on disk. */
static int make_template(const struct volume_store *s, int dir,
			 const char *name, uint64_t size, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (unlinkat(dir, HALF_MADE, 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "make a template");
	fd = openat(dir, HALF_MADE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
		    0600);
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return err_sys(e, errno, "make a template");
	r = fill(s, fd, e);
	if (r == 0 &&
	    (renameat(dir, HALF_MADE, dir, name) < 0 || fsync(dir) < 0))
		r = err_sys(e, errno, "make a template");
	if (r < 0)
		unlinkat(dir, HALF_MADE, 0);
	return r < 0 ? r : steal_fd(&fd);
}

static int open_template(struct volume_store *s, uint64_t size, struct err *e)
{
	_cleanup_close_ int dir = open_dir(s, e), fd = -1;
	struct stat st;
	char name[48];
	int r;

	if (dir < 0)
		return dir;
	snprintf(name, sizeof(name), VERSION "-%llu.ext4",
		 (unsigned long long)size);
	pthread_mutex_lock(&s->lock);
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
			st.st_uid != 0 || st.st_size != (off_t)size))
		r = err_set(e, EEXIST, "'%s/" TEMPLATES "/%s' is not hyb's",
			    s->dir, name);
	else if (fd >= 0)
		r = steal_fd(&fd);
	else if (errno == ENOENT)
		r = make_template(s, dir, name, size, e);
	else
		r = err_sys(e, errno, "open a template");
	pthread_mutex_unlock(&s->lock);
	return r;
}

int volume_scratch_make(struct volume_store *s, const char *dir,
			const char *name, uint64_t size, uid_t uid,
			struct err *e)
{
	_cleanup_close_ int from = open_template(s, size, e), at = -1, to = -1;
	int r = 0;

	if (from < 0)
		return err_wrap(e, "scratch disk");
	/* The folder may be the VM's: nothing there is believed. */
	at = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (at < 0 || (unlinkat(at, name, 0) < 0 && errno != ENOENT))
		return err_sys(e, errno, "scratch disk in '%s'", dir);
	to = openat(at, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0)
		return err_sys(e, errno, "scratch disk in '%s'", dir);
	if (ioctl(to, FICLONE, from) < 0)
		r = volume_copy_sparse(from, to, (off_t)size);
	if (r == 0 && fchown(to, uid, uid) < 0)
		r = -errno;
	if (r < 0)
		unlinkat(at, name, 0);
	return r < 0 ? err_sys(e, -r, "scratch disk in '%s'", dir) : 0;
}
