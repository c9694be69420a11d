/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths inside a root file system that an enemy has made. Every such path in
 * the engine goes through these functions: the kernel resolves it as if
 * rootfd were "/", so neither ".." nor a symbolic link leads out, and magic
 * links (/proc/self/fd/N) are refused. What comes back is a descriptor, never
 * a path to be looked up again.
 *
 * They allocate nothing, so a child between clone and exec may call them.
 */
#ifndef HYB_GUEST_SYS_ROOTPATH_H
#define HYB_GUEST_SYS_ROOTPATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A descriptor (CLOEXEC) or -errno; flags as for open(). */
int rootpath_open(int rootfd, const char *path, uint64_t flags);
/* The folder at path (O_PATH), made with its parents where missing: 0755, of
 * the caller's uid. -ENOTDIR: something else is there. */
int rootpath_make_dir(int rootfd, const char *path);
/* The file at path (O_PATH), made empty with its parents where missing.
 * -EISDIR: a folder is there. */
int rootpath_make_file(int rootfd, const char *path);
/* What lies at path (O_PATH), the last part of which is not followed: a
 * symbolic link itself. */
int rootpath_open_nofollow(int rootfd, const char *path);
/* The same; made, as a folder or an empty file, where it is missing. */
int rootpath_make_nofollow(int rootfd, const char *path, bool folder);
/* Makes a symbolic link at path, and its parents; -EEXIST: something is
 * there. */
int rootpath_make_link(int rootfd, const char *path, const char *text);
/* Reads a regular file of at most max bytes (the rest is cut off) into buf,
 * with a NUL; its length or -errno. A device, FIFO or socket is never
 * opened: -EINVAL. buf has max + 1 bytes. */
ssize_t rootpath_read(int rootfd, const char *path, char *buf, size_t max);

#endif
