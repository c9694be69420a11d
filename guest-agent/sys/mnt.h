/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts as descriptors: made detached (fsopen, fsmount, open_tree), changed
 * detached (mount_setattr) and put in place by descriptor (move_mount). No
 * function takes a path inside a root file system.
 *
 * They allocate nothing. On failure they return -errno; *ret_what (may be
 * NULL) then names the call that failed.
 */
#ifndef HYB_GUEST_SYS_MNT_H
#define HYB_GUEST_SYS_MNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mnt_option {
	const char *key, *value; /* value NULL: a flag */
};

/* A new file system of this type, detached. source may be NULL. attrs: of
 * MOUNT_ATTR_*. */
int mnt_new(const char *type, const char *source,
	    const struct mnt_option *options, size_t n, uint64_t attrs,
	    const char **ret_what);
/* Changes options of the file system that is mounted at fd: -EINVAL, nothing is.
 */
int mnt_reconfigure(int fd, const struct mnt_option *options, size_t n,
		    const char **ret_what);
/* A detached copy of the mount at fd (of what is below it, too, where
 * recursive). */
int mnt_clone_fd(int fd, bool recursive);
/* The same, by a path of the caller's own. */
int mnt_clone(int dirfd, const char *path, bool recursive);
/* Sets and clears MOUNT_ATTR_* on the mount at fd; propagation: MS_PRIVATE...,
 * or 0. */
int mnt_set(int fd, uint64_t set, uint64_t clear, uint64_t propagation,
	    bool recursive);
/* Maps the ids of a detached mount through a user namespace. */
int mnt_idmap(int fd, int userns_fd, bool recursive);
/* Puts the detached mount at mnt_fd onto the file or folder at target_fd. */
int mnt_attach(int mnt_fd, int target_fd);
/* Puts it below what is mounted at target_fd, where it is seen as soon as that
 * is gone. -EINVAL: nothing is mounted there, or the kernel is older than 6.5. */
int mnt_attach_beneath(int mnt_fd, int target_fd);
/* Puts a read-only copy of what is at fd onto itself. */
int mnt_make_readonly(int fd);

#endif
