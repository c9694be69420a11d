/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/fd.h"

#include "common/base/cleanup.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t now_ms(void)
{
	return clock_ns(CLOCK_MONOTONIC) / 1000000;
}

uint64_t now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t now_realtime_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

/* At *at of the file; NULL: where it is read from. */
static ssize_t read_all(int fd, void *buf, size_t len, const uint64_t *at)
{
	size_t got = 0;
	ssize_t n;

	while (got < len) {
		char *p = (char *)buf + got;

		n = at ? pread(fd, p, len - got, (off_t)(*at + got))
		       : read(fd, p, len - got);
		if (n == 0)
			break;
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		got += (size_t)n;
	}
	return (ssize_t)got;
}

ssize_t read_full(int fd, void *buf, size_t len)
{
	return read_all(fd, buf, len, NULL);
}

ssize_t pread_full(int fd, void *buf, size_t len, uint64_t at)
{
	return read_all(fd, buf, len, &at);
}

int fd_wait(int fd, short events, uint64_t deadline_ms)
{
	struct pollfd p = {.fd = fd, .events = events};
	uint64_t now;
	int timeout, n;

	for (;;) {
		timeout = -1;
		if (deadline_ms) {
			now = now_ms();
			if (now >= deadline_ms)
				timeout = 0;
			else if (deadline_ms - now < INT_MAX)
				timeout = (int)(deadline_ms - now);
			else
				timeout = INT_MAX;
		}
		n = poll(&p, 1, timeout);
		if (n > 0)
			return 0;
		if (n == 0 && timeout != INT_MAX)
			return -ETIMEDOUT;
		if (n < 0 && errno != EINTR)
			return -errno;
	}
}

/* One write that raises no SIGPIPE where fd is a socket. */
static ssize_t write_quiet(int fd, const void *buf, size_t len)
{
	ssize_t n = send(fd, buf, len, MSG_NOSIGNAL);

	if (n < 0 && errno == ENOTSOCK)
		n = write(fd, buf, len);
	return n;
}

int write_deadline(int fd, const void *buf, size_t len, uint64_t deadline_ms)
{
	const char *p = buf;
	ssize_t n;
	int r;

	while (len > 0) {
		if (deadline_ms) {
			r = fd_wait(fd, POLLOUT, deadline_ms);
			if (r < 0)
				return r;
			n = send(fd, p, len, MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n < 0 && errno == ENOTSOCK)
				n = write(fd, p, len);
		} else {
			n = write_quiet(fd, p, len);
		}
		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				return -errno;
			r = fd_wait(fd, POLLOUT, deadline_ms);
			if (r < 0)
				return r;
			continue;
		}
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int write_full(int fd, const void *buf, size_t len)
{
	return write_deadline(fd, buf, len, 0);
}

int pwrite_full(int fd, const void *buf, size_t len, uint64_t at)
{
	const char *p = buf;

	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int fd_set_nonblock(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	flags = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	return fcntl(fd, F_SETFL, flags) < 0 ? -errno : 0;
}

int fd_set_cloexec(int fd, bool on)
{
	return fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0) < 0 ? -errno : 0;
}

int fd_lock(int fd)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_SETLK, &l) == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

bool fd_locked(int fd)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

int unix_connect(const char *path, struct err *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;

	if (strlen(path) >= sizeof(sa.sun_path))
		return err_sys(e, ENAMETOOLONG, "connect to '%s'", path);
	memcpy(sa.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, errno, "make a unix socket");
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, errno, "connect to '%s'", path);
	return steal_fd(&fd);
}

int unix_listen(const char *path, mode_t mode, int backlog, struct err *e)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	int n;

	n = snprintf(sa.sun_path, sizeof(sa.sun_path), "%s~", path);
	if (n < 0 || (size_t)n >= sizeof(sa.sun_path))
		return err_sys(e, ENAMETOOLONG, "listen on '%s'", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, errno, "make a unix socket");
	if (unlink(sa.sun_path) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove '%s'", sa.sun_path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, errno, "bind '%s'", sa.sun_path);
	if (chmod(sa.sun_path, mode) < 0 || listen(fd, backlog) < 0 ||
	    rename(sa.sun_path, path) < 0) {
		n = errno;
		unlink(sa.sun_path);
		return err_sys(e, n, "listen on '%s'", path);
	}
	return steal_fd(&fd);
}

int fds_send(int sock, const void *buf, size_t len, const int *fds, size_t n)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(HYB_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;
	ssize_t sent;

	if (n > HYB_FDS_MAX || len == 0)
		return -EINVAL;
	if (n == 0)
		return write_full(sock, buf, len);
	memset(&control, 0, sizeof(control));
	msg.msg_control = control.space;
	msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
	c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n * sizeof(int));
	do {
		sent = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	if (sent < 0)
		return -errno;
	return write_full(sock, (const char *)buf + sent, len - (size_t)sent);
}

/* Keeps up to max descriptors of one control message, closes the rest. */
static void take_fds(const struct cmsghdr *c, int *fds, size_t max, size_t *n)
{
	size_t i, count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
	int fd;

	for (i = 0; i < count; i++) {
		memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
		if (*n < max)
			fds[(*n)++] = fd;
		else
			close(fd);
	}
}

ssize_t fds_recv(int sock, void *buf, size_t len, int *fds, size_t max,
		 size_t *ret_n)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(HYB_FDS_MAX * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space)};
	struct cmsghdr *c;
	size_t n = 0;
	ssize_t got;

	do {
		got = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			take_fds(c, fds, max, &n);
	*ret_n = n;
	return got;
}

void random_bytes(void *buf, size_t len)
{
	char *p = buf;
	ssize_t n;

	while (len > 0) {
		n = getrandom(p, len, 0);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			abort(); /* no kernel that we run on */
		}
		p += n;
		len -= (size_t)n;
	}
}
