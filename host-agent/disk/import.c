/* SPDX-License-Identifier: Apache-2.0 */
/* A disk is built in a folder of its own and gets its name at the end, by a
 * link that does not replace: it is whole, or it is not there. */
#include "host-agent/disk/disk_int.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define CHUNK ((size_t)1 << 20)
/* What is all zeros in pieces of this size becomes a hole. */
#define PIECE ((size_t)64 << 10)
/* So much of the host's file system is left free. */
#define RESERVE ((uint64_t)64 << 20)

struct import {
	struct disk_store *s;
	const char *tenant, *name;
	uid_t uid; /* qemu-img's */
	bool held; /* it is counted, and is not there yet */
	char dir[400];
	char in[440], raw[440];
	disk_progress progress;
	void *arg;
};

static void import_done(struct import *im)
{
	const struct disk_quota *q = &im->s->quota;

	if (im->dir[0])
		(void)path_remove(im->dir, NULL);
	if (im->held)
		(void)q->drop(q->arg, im->tenant, im->name, NULL);
}

/* size: as a VM sees it, which is what counts; more: while it is imported. */
static int hold(struct import *im, uint64_t size, uint64_t more, struct err *e)
{
	const struct disk_quota *q = &im->s->quota;
	int r = q->hold ? q->hold(q->arg, im->tenant, im->name, size + more,
				  true, e)
			: 0;

	im->held = r == 0 && q->hold;
	return r;
}

static int tell(const struct import *im, const char *phase, uint64_t done,
		uint64_t total, struct err *e)
{
	if (im->progress && im->progress(im->arg, phase, done, total) != 0)
		return err_set(e, ECANCELED, "cancelled");
	return 0;
}

static bool is_zero(const unsigned char *p, size_t n)
{
	return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

static int write_piece(int to, const unsigned char *p, size_t n, uint64_t at,
		       const char *path, struct err *e)
{
	int r = is_zero(p, n) ? 0 : pwrite_full(to, p, n, at);

	return r < 0 ? err_sys(e, -r, "write '%s'", path) : 0;
}

static int copy_data(const struct import *im, int from, int to, uint64_t size,
		     const char *path, struct err *e)
{
	_cleanup_free_ unsigned char *buf = malloc(CHUNK);
	uint64_t at = 0;
	size_t i, n;
	ssize_t got;
	int r = 0;

	if (!buf)
		return err_sys(e, ENOMEM, "copy");
	while (r == 0 && at < size) {
		got = pread(from, buf, CHUNK, (off_t)at);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, errno, "read the file");
		if (got == 0)
			return err_set(e, EIO,
				       "the file became shorter while it was "
				       "read");
		if ((uint64_t)got > size - at)
			got = (ssize_t)(size - at);
		for (i = 0; r == 0 && i < (size_t)got; i += n) {
			n = (size_t)got - i < PIECE ? (size_t)got - i : PIECE;
			r = write_piece(to, buf + i, n, at + i, path, e);
		}
		at += (uint64_t)got;
		if (r == 0)
			r = tell(im, "copying", at, size, e);
	}
	return r;
}

/* A file made of another's content; *ret_size: its length. */
static int copy(const struct import *im, int from, const char *path,
		uint64_t size, struct err *e)
{
	_cleanup_close_ int to = -1;

	to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
		  0600);
	if (to < 0)
		return err_sys(e, errno, "create '%s'", path);
	if (ioctl(to, FICLONE, from) == 0)
		return 0;
	if (ftruncate(to, (off_t)size) < 0)
		return err_sys(e, errno, "write '%s'", path);
	return copy_data(im, from, to, size, path, e);
}

static int check_source(int fd, enum disk_format format, struct stat *st,
			struct err *e)
{
	unsigned char head[4] = {0};

	if (fstat(fd, st) < 0)
		return err_sys(e, errno, "read the file");
	if (!S_ISREG(st->st_mode))
		return err_set(e, EINVAL, "it is no regular file");
	if (st->st_size == 0)
		return err_set(e, EINVAL, "the file is empty");
	if ((uint64_t)st->st_size > DISK_SIZE_MAX)
		return err_set(e, EFBIG, "it has %llu bytes, the most is %llu",
			       (unsigned long long)st->st_size,
			       (unsigned long long)DISK_SIZE_MAX);
	if (format != DISK_RAW)
		return 0;
	if (pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head) &&
	    memcmp(head, "QFI\xfb", 4) == 0) {
		err_set(e, EINVAL, "it begins as a qcow2 image does");
		err_hint(e, "say --format qcow2");
		return -EINVAL;
	}
	if ((uint64_t)st->st_size < DISK_SIZE_MIN || st->st_size % 512)
		return err_set(e, EINVAL,
			       "it has %llu bytes: a raw disk has whole "
			       "sectors of 512, at least 1 MiB",
			       (unsigned long long)st->st_size);
	return 0;
}

/* Would it fit, were all of it data? Better told before than after an hour. */
static int check_space(const struct import *im, uint64_t need, struct err *e)
{
	struct statvfs v;
	uint64_t avail;

	if (statvfs(im->dir, &v) < 0)
		return err_sys(e, errno, "'%s'", im->dir);
	avail = (uint64_t)v.f_bavail * v.f_frsize;
	if (avail >= need + RESERVE)
		return 0;
	return err_set(e, ENOSPC,
		       "%llu MiB are needed where the disks are, %llu are free",
		       (unsigned long long)((need + RESERVE) >> 20),
		       (unsigned long long)(avail >> 20));
}

static int make_dir(struct import *im, struct err *e)
{
	char template[sizeof(im->dir)];

	snprintf(template, sizeof(template),
		 "%s/disks/" DISK_IMPORT_PREFIX "XXXXXX", im->s->root);
	if (!mkdtemp(template))
		return err_sys(e, errno, "create '%s'", template);
	memcpy(im->dir, template, sizeof(template));
	snprintf(im->in, sizeof(im->in), "%s/in", im->dir);
	snprintf(im->raw, sizeof(im->raw), "%s/raw", im->dir);
	return 0;
}

/* The folder and the file become qemu-img's for as long as it runs. */
static int give(const struct import *im, uid_t uid, gid_t gid, struct err *e)
{
	if (geteuid() != 0)
		return 0;
	if (chown(im->in, uid, gid) < 0 || chown(im->dir, uid, gid) < 0)
		return err_sys(e, errno, "give '%s' away", im->dir);
	return 0;
}

static int read_header(int fd, const char *what, uint64_t *ret_size,
		       struct err *e)
{
	unsigned char head[QCOW2_HEADER_MAX] = {0};
	ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof(head), 0);

	if (n < 0)
		return err_sys(e, errno, "read '%s'", what);
	return qcow2_check(head, (size_t)n, ret_size, e);
}

/* Without what it was converted from it takes less: told before the disk is
 * there, as from then on it can be removed. */
static int shrink(const struct import *im, uint64_t size, struct err *e)
{
	const struct disk_quota *q = &im->s->quota;

	if (unlink(im->in) < 0)
		return err_sys(e, errno, "remove '%s'", im->in);
	return q->hold ? q->hold(q->arg, im->tenant, im->name, size, false, e)
		       : 0;
}

static int from_qcow2(struct import *im, int fd, uint64_t file_size,
		      uint64_t *ret_size, struct err *e)
{
	_cleanup_close_ int in = -1;
	uint64_t size = 0;
	int r;

	r = read_header(fd, "the file", &size, e);
	if (r == 0)
		r = hold(im, size, file_size, e);
	if (r == 0)
		r = check_space(im, file_size, e);
	if (r == 0)
		r = copy(im, fd, im->in, file_size, e);
	if (r < 0)
		return r;
	/* Of the copy: the caller's own file may change. */
	in = open(im->in, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	r = read_header(in, im->in, ret_size, e);
	if (r == 0 && *ret_size != size)
		r = err_set(e, EINVAL, "the file changed while it was read");
	if (r == 0)
		r = tell(im, "converting", 0, 0, e);
	if (r == 0)
		r = give(im, im->uid, im->s->gid, e);
	if (r == 0)
		r = disk_convert(im->s, im->uid, im->in, im->raw, *ret_size, e);
	if (r == 0)
		r = give(im, 0, 0, e);
	return r < 0 ? r : shrink(im, *ret_size, e);
}

/* What qemu-img left must be what was to be made: its uid may have put
 * anything there. */
static int seal(const struct import *im, uint64_t size, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	fd = open(im->raw, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "open '%s'", im->raw);
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 ||
	    (uint64_t)st.st_size != size)
		return err_set(e, EBADMSG,
			       "the converted disk is not what was to be made");
	if (geteuid() == 0 && fchown(fd, 0, 0) < 0)
		return err_sys(e, errno, "take '%s'", im->raw);
	if (fchmod(fd, 0444) < 0 || fsync(fd) < 0)
		return err_sys(e, errno, "write '%s'", im->raw);
	return 0;
}

static int publish(const struct import *im, const char *tenant,
		   const char *name, struct err *e)
{
	char dir[400], path[600];
	int r;

	snprintf(dir, sizeof(dir), "%s/disks/%s", im->s->root, tenant);
	disk_path(im->s, tenant, name, path, sizeof(path));
	r = dir_make(dir, 0700, e);
	if (r < 0)
		return r;
	if (link(im->raw, path) == 0) {
		r = dir_sync(dir, e);
		/* What is told to have failed is not there. */
		if (r < 0)
			(void)unlink(path);
		return r;
	}
	if (errno != EEXIST)
		return err_sys(e, errno, "link '%s'", path);
	err_set(e, EEXIST, "there is a disk '%s' already", name);
	err_hint(e, "`hyb disk rm %s` removes it", name);
	return -EEXIST;
}

int disk_import(struct disk_store *s, const char *tenant, const char *name,
		int fd, enum disk_format format, disk_progress progress,
		void *arg, struct disk_info *ret, struct err *e)
{
	_cleanup_(import_done) struct import im = {.s = s,
						   .tenant = tenant,
						   .name = name,
						   .progress = progress,
						   .arg = arg};
	struct disk_info there;
	uint64_t size;
	struct stat st;
	int r;

	if (!name_is_valid(name))
		return err_set(e, EINVAL,
			       "a disk's name has a-z, 0-9 and '-', at most "
			       "%d of them",
			       HYB_NAME_MAX);
	if (disk_get(s, tenant, name, &there, NULL) == 0) {
		err_set(e, EEXIST, "there is a disk '%s' already", name);
		err_hint(e, "`hyb disk rm %s` removes it", name);
		return -EEXIST;
	}
	im.uid = s->uid + atomic_fetch_add(&s->imports, 1) % s->n_uids;
	r = check_source(fd, format, &st, e);
	if (r == 0)
		r = make_dir(&im, e);
	if (r < 0)
		return r;
	size = (uint64_t)st.st_size;
	if (format == DISK_RAW) {
		r = hold(&im, size, 0, e);
		if (r == 0)
			r = check_space(&im, (uint64_t)st.st_blocks * 512, e);
		if (r == 0)
			r = copy(&im, fd, im.raw, size, e);
	} else {
		r = from_qcow2(&im, fd, size, &size, e);
	}
	if (r == 0)
		r = seal(&im, size, e);
	if (r == 0)
		r = publish(&im, tenant, name, e);
	if (r == 0)
		im.held = false;
	return r < 0 ? r : disk_get(s, tenant, name, ret, e);
}
