/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/sys/mnt.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mount.h>

#include "common/base/cleanup.h"

#ifndef MOVE_MOUNT_BENEATH
#define MOVE_MOUNT_BENEATH 0x200
#endif

static int failed(const char **ret_what, const char *what)
{
	if (ret_what)
		*ret_what = what;
	return -errno;
}

static int set_options(int fs, const struct mnt_option *options, size_t n,
		       const char **ret_what)
{
	size_t i;
	int r;

	for (i = 0; i < n; i++) {
		if (options[i].value)
			r = fsconfig(fs, FSCONFIG_SET_STRING, options[i].key,
				     options[i].value, 0);
		else
			r = fsconfig(fs, FSCONFIG_SET_FLAG, options[i].key,
				     NULL, 0);
		if (r < 0)
			return failed(ret_what, options[i].key);
	}
	return 0;
}

int mnt_reconfigure(int fd, const struct mnt_option *options, size_t n,
		    const char **ret_what)
{
	_cleanup_close_ int fs =
		fspick(fd, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH);
	int r;

	if (fs < 0)
		return failed(ret_what, "fspick");
	r = set_options(fs, options, n, ret_what);
	if (r < 0)
		return r;
	if (fsconfig(fs, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0)
		return failed(ret_what, "fsconfig reconfigure");
	return 0;
}

int mnt_new(const char *type, const char *source,
	    const struct mnt_option *options, size_t n, uint64_t attrs,
	    const char **ret_what)
{
	_cleanup_close_ int fs = fsopen(type, FSOPEN_CLOEXEC);
	int fd, r;

	if (fs < 0)
		return failed(ret_what, "fsopen");
	if (source && fsconfig(fs, FSCONFIG_SET_STRING, "source", source, 0))
		return failed(ret_what, "fsconfig source");
	r = set_options(fs, options, n, ret_what);
	if (r < 0)
		return r;
	if (fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return failed(ret_what, "fsconfig create");
	fd = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned int)attrs);
	return fd < 0 ? failed(ret_what, "fsmount") : fd;
}

int mnt_clone(int dirfd, const char *path, bool recursive)
{
	unsigned int flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
	int fd;

	if (!path[0])
		flags |= AT_EMPTY_PATH;
	if (recursive)
		flags |= AT_RECURSIVE;
	fd = open_tree(dirfd, path, flags);
	return fd < 0 ? -errno : fd;
}

int mnt_clone_fd(int fd, bool recursive)
{
	return mnt_clone(fd, "", recursive);
}

int mnt_set(int fd, uint64_t set, uint64_t clear, uint64_t propagation,
	    bool recursive)
{
	struct mount_attr attr = {
		.attr_set = set, .attr_clr = clear, .propagation = propagation};
	unsigned int flags = AT_EMPTY_PATH;

	if (recursive)
		flags |= AT_RECURSIVE;
	return mount_setattr(fd, "", flags, &attr, sizeof(attr)) < 0 ? -errno
								     : 0;
}

int mnt_idmap(int fd, int userns_fd, bool recursive)
{
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP,
				  .userns_fd = (unsigned int)userns_fd};
	unsigned int flags = AT_EMPTY_PATH;

	if (recursive)
		flags |= AT_RECURSIVE;
	return mount_setattr(fd, "", flags, &attr, sizeof(attr)) < 0 ? -errno
								     : 0;
}

int mnt_attach(int mnt_fd, int target_fd)
{
	return move_mount(mnt_fd, "", target_fd, "",
			  MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0
		       ? -errno
		       : 0;
}

int mnt_attach_beneath(int mnt_fd, int target_fd)
{
	return move_mount(mnt_fd, "", target_fd, "",
			  MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH |
				  MOVE_MOUNT_BENEATH) < 0
		       ? -errno
		       : 0;
}

int mnt_make_readonly(int fd)
{
	_cleanup_close_ int copy = mnt_clone_fd(fd, true);
	int r;

	if (copy < 0)
		return copy;
	r = mnt_set(copy, MOUNT_ATTR_RDONLY, 0, 0, true);
	return r < 0 ? r : mnt_attach(copy, fd);
}
