/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors: whole reads and writes, passing, files written whole. */
#ifndef HYB_COMMON_BASE_FD_H
#define HYB_COMMON_BASE_FD_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Milliseconds of CLOCK_MONOTONIC. */
uint64_t now_ms(void);
/* Nanoseconds of CLOCK_MONOTONIC and of CLOCK_REALTIME. */
uint64_t now_ns(void);
uint64_t now_realtime_ns(void);

/* Reads until len bytes or end of file; the bytes read, or -errno. */
ssize_t read_full(int fd, void *buf, size_t len);
/* Writes all of it (a descriptor in non-blocking mode is waited for); 0 or
 * -errno. Never raises SIGPIPE on a socket. */
int write_full(int fd, const void *buf, size_t len);
/* The same of a file at a place of it. */
ssize_t pread_full(int fd, void *buf, size_t len, uint64_t at);
int pwrite_full(int fd, const void *buf, size_t len, uint64_t at);
/* As write_full() on a socket, giving up at the CLOCK_MONOTONIC time
 * deadline_ms with -ETIMEDOUT; 0: no deadline. */
int write_deadline(int fd, const void *buf, size_t len, uint64_t deadline_ms);
/* Waits for events (POLLIN, ...) on fd; 0, -ETIMEDOUT or -errno. deadline_ms
 * as above. */
int fd_wait(int fd, short events, uint64_t deadline_ms);

int fd_set_nonblock(int fd, bool on);
int fd_set_cloexec(int fd, bool on);
/* Locks the file for this process: 0, -EBUSY (another has it) or -errno. No
 * child has a part in it: not even one that is between fork and exec when the
 * process is killed. Closing any descriptor of the file gives it up. */
int fd_lock(int fd);
/* Whether another process has the lock. */
bool fd_locked(int fd);

/* The whole of a regular file, at most max bytes (-EFBIG over it), with a NUL
 * behind the last byte. The caller frees *ret. dirfd may be AT_FDCWD. */
int file_read(int dirfd, const char *path, size_t max, char **ret,
	      size_t *ret_len, struct err *e);
/* Writes the file whole: temporary name in the same folder, fsync, rename,
 * fsync of the folder. mode is set exactly. */
int file_write_atomic(const char *path, const void *data, size_t len,
		      mode_t mode, struct err *e);
/* Creates the folder and its parents (new ones with mode); an existing folder
 * is fine. */
int dir_make(const char *path, mode_t mode, struct err *e);
/* Removes a file or a folder with all in it, never following symbolic links
 * and never leaving the file system it began on. A missing path is fine. */
int path_remove(const char *path, struct err *e);

/* A unix stream socket connected to path (at most 107 bytes). */
int unix_connect(const char *path, struct err *e);
/* A listening unix stream socket at path, made under a temporary name and
 * renamed over what was there, with this mode. */
int unix_listen(const char *path, mode_t mode, int backlog, struct err *e);

/* Most descriptors in one message. */
#define HYB_FDS_MAX 8
/* Sends len > 0 bytes with n descriptors attached to the first; 0 or -errno. */
int fds_send(int sock, const void *buf, size_t len, const int *fds, size_t n);
/* One recvmsg: bytes read (0: end of file) or -errno (-EAGAIN too).
 * Descriptors over max are closed. They are CLOEXEC. */
ssize_t fds_recv(int sock, void *buf, size_t len, int *fds, size_t max,
		 size_t *ret_n);

/* Fills buf from the kernel's random number generator. */
void random_bytes(void *buf, size_t len);

#endif
