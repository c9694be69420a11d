/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root file system, as a detached mount.
 *
 * From an image: the EROFS disk, its ids shifted into the container's user
 * namespace by an idmapped mount (so one read-only image serves containers
 * with different ranges), below an overlay whose upper is a tmpfs of the
 * parent's, or a folder that the caller gives. The upper is not shifted: what the container writes there is
 * stored with its ids in the parent's view, which only this container has.
 *
 * overlayfs of the kernels that we run on takes its layers by path, and only
 * from mounts that are attached. They are for an instant, on a folder that
 * only the parent's mount namespace has; the child was cloned before.
 */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/sys/mnt.h"

#define SCRATCH_DEFAULT (64u << 20)

/* A place in the parent's mount namespace; unmounted as it goes. */
struct staging {
	char path[64];
	bool mounted;
};

static void staging_done(struct staging *s)
{
	if (s->mounted)
		umount2(s->path, MNT_DETACH);
	if (s->path[0])
		rmdir(s->path);
}

static int staging_make(struct staging *s, int mnt_fd, struct err *e)
{
	_cleanup_close_ int dir = -1;
	int r;

	snprintf(s->path, sizeof(s->path), "/run/hyb-rootfs.%d", (int)getpid());
	if (mkdir(s->path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "make '%s'", s->path);
	dir = open(s->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, errno, "open '%s'", s->path);
	r = mnt_attach(mnt_fd, dir);
	if (r < 0)
		return err_sys(e, -r, "attach the scratch file system");
	s->mounted = true;
	return 0;
}

int rootfs_open(struct create *cr, struct err *e)
{
	const struct container_rootfs *rf = &cr->spec->rootfs;
	/* The super block's: without it a read-only disk is refused. */
	const struct mnt_option ro = {"ro", NULL};
	struct plan *p = cr->plan;
	const char *what = "";
	struct stat st;
	int fd, r;

	if (!rf->erofs == !rf->dir)
		return err_set(e, EINVAL,
			       "exactly one source of the root file "
			       "system is needed");
	if (rf->erofs && p->chroot)
		return err_set(e, ENOTSUP,
			       "linux.namespaces: a mount namespace cannot be "
			       "joined with an image as the root");
	p->root_place = rf->dir;
	if (rf->erofs) {
		/* nodev: no container opens a device by a node that its image
		 * brought along. */
		fd = mnt_new("erofs", rf->erofs, &ro, 1,
			     MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, &what);
		if (fd < 0)
			return err_sys(e, -fd, "root: erofs on '%s': %s",
				       rf->erofs, what);
		cr->lower = fd;
		return 0;
	}
	if (stat(rf->dir, &st) == 0 && !S_ISDIR(st.st_mode))
		return err_set(e, ENOTDIR, "root.path: '%s' is not a folder",
			       rf->dir);
	fd = mnt_clone(AT_FDCWD, rf->dir, true);
	if (fd < 0)
		return err_sys(e, -fd, "root: '%s'", rf->dir);
	p->root_fd = fd;
	/* A root that is to be shared or slave goes on following the parent's,
	 * but never the other way round; nor could one be pivoted to that is
	 * shared. The rest follows the pivot. */
	r = mnt_set(fd, 0, 0,
		    p->root_propagation & (MS_SHARED | MS_SLAVE) ? MS_SLAVE
								 : MS_PRIVATE,
		    true);
	return r < 0 ? err_sys(e, -r, "root: '%s'", rf->dir) : 0;
}

/* Folders of the scratch: upper looks like the root of the image, because the
 * overlay's root takes owner and mode from it. */
static int fill_scratch(const struct create *cr, int scratch, struct err *e)
{
	static const char *const dirs[] = {"upper", "work", "lower"};
	const struct container *c = cr->c;
	int64_t uid, gid;
	struct stat st;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdirat(scratch, dirs[i], 0700) < 0)
			return err_sys(e, errno, "scratch: '%s'", dirs[i]);
	/* Of the image, before its ids are shifted. */
	if (fstat(cr->lower, &st) < 0)
		return err_sys(e, errno, "root");
	uid = map_id(c->uids.maps, c->uids.n, st.st_uid);
	gid = map_id(c->gids.maps, c->gids.n, st.st_gid);
	if (fchmodat(scratch, "upper", st.st_mode & 07777, 0) < 0 ||
	    fchownat(scratch, "upper", uid < 0 ? 0 : (uid_t)uid,
		     gid < 0 ? 0 : (gid_t)gid, 0) < 0)
		return err_sys(e, errno, "scratch: 'upper'");
	return 0;
}

static int mount_overlay(const char *base, bool on_disk, struct err *e)
{
	char lower[80], upper[80], work[80];
	/* volatile: what an fsync in the container promises is for others than
	 * this layer; nor does the end of a container wait for a disk. */
	const struct mnt_option options[] = {{"lowerdir", lower},
					     {"upperdir", upper},
					     {"workdir", work},
					     {"volatile", NULL}};
	const char *what = "";
	int fd;

	snprintf(lower, sizeof(lower), "%s/lower", base);
	snprintf(upper, sizeof(upper), "%s/upper", base);
	snprintf(work, sizeof(work), "%s/work", base);
	fd = mnt_new("overlay", "overlay", options,
		     ARRAY_SIZE(options) - !on_disk, MOUNT_ATTR_NODEV, &what);
	return fd < 0 ? err_sys(e, -fd, "root: overlay: %s", what) : fd;
}

/* Where upper and work lie, as a detached mount. */
static int open_scratch(const struct container_rootfs *rf, struct err *e)
{
	uint64_t size = rf->scratch_size;
	char size_text[32];
	const struct mnt_option options[] = {{"size", size_text},
					     {"mode", "0700"}};
	const char *what = "";
	int fd;

	if (rf->scratch_dir) {
		fd = mnt_clone(AT_FDCWD, rf->scratch_dir, false);
		return fd < 0 ? err_sys(e, -fd, "scratch: '%s'",
					rf->scratch_dir)
			      : fd;
	}
	snprintf(size_text, sizeof(size_text), "%llu",
		 (unsigned long long)(size ? size : SCRATCH_DEFAULT));
	fd = mnt_new("tmpfs", "scratch", options, ARRAY_SIZE(options), 0,
		     &what);
	return fd < 0 ? err_sys(e, -fd, "scratch: %s", what) : fd;
}

int rootfs_overlay(struct create *cr, int userns_fd, struct err *e)
{
	_cleanup_(staging_done) struct staging st = {.mounted = false};
	_cleanup_close_ int scratch = -1, dir = -1;
	int r;

	scratch = open_scratch(&cr->spec->rootfs, e);
	if (scratch < 0)
		return scratch;
	r = fill_scratch(cr, scratch, e);
	if (r < 0)
		return r;
	if (userns_fd >= 0) {
		r = mnt_idmap(cr->lower, userns_fd, false);
		if (r < 0)
			return err_sys(e, -r, "root: map the image's ids");
	}
	r = staging_make(&st, scratch, e);
	if (r < 0)
		return r;
	dir = openat(scratch, "lower", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = dir < 0 ? -errno : mnt_attach(cr->lower, dir);
	if (r < 0)
		return err_sys(e, -r, "attach the image");
	return mount_overlay(st.path, cr->spec->rootfs.scratch_dir, e);
}
