/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/guest/vsock.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <linux/vm_sockets.h>

/* "OK 4294967295\n" */
#define ANSWER_MAX 24
/* Between two tries at a device whose queue of new clients is full. */
#define FULL_STEP_NS 1000000

static bool is_over(uint64_t deadline_ms)
{
	return deadline_ms && now_ms() >= deadline_ms;
}

/* connect() of a non-blocking socket, waited for. */
static int connect_wait(int fd, const struct sockaddr *sa, socklen_t len,
			uint64_t deadline_ms)
{
	const struct timespec step = {.tv_nsec = FULL_STEP_NS};
	socklen_t size = sizeof(int);
	int err;

	for (;;) {
		if (connect(fd, sa, len) == 0)
			return 0;
		if (errno == EINPROGRESS || errno == EINTR)
			break;
		if (errno != EAGAIN)
			return -errno;
		/* A unix socket's backlog is full: nothing tells when it no
		 * longer is. */
		if (is_over(deadline_ms))
			return -ETIMEDOUT;
		nanosleep(&step, NULL);
	}
	err = fd_wait(fd, POLLOUT, deadline_ms);
	if (err < 0)
		return err;
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) < 0)
		return -errno;
	return -err;
}

/*
 * Reads the line that answers CONNECT and not a byte more: the guest's first
 * bytes may already be behind it.
 */
static int read_answer(int fd, uint64_t deadline_ms, char line[ANSWER_MAX])
{
	const char *end;
	size_t have = 0;
	ssize_t n;
	int err;

	while (have < ANSWER_MAX - 1) {
		err = fd_wait(fd, POLLIN, deadline_ms);
		if (err < 0)
			return err;
		n = recv(fd, line + have, ANSWER_MAX - 1 - have,
			 MSG_PEEK | MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return -ECONNREFUSED;
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n < 0)
			return -errno;
		end = memchr(line + have, '\n', (size_t)n);
		if (end)
			n = end - (line + have) + 1;
		/* What was seen is there to be taken. */
		n = recv(fd, line + have, (size_t)n, MSG_DONTWAIT);
		if (n < 0)
			return -errno;
		have += (size_t)n;
		if (end) {
			line[have] = '\0';
			return 0;
		}
	}
	return -EPROTO;
}

static int check_owner(const struct vsock_addr *a, int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (!a->check_uid)
		return 0;
	/* Of the process that called listen(). */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	return cred.uid == a->uid ? 0 : -EPERM;
}

static int connect_unix(const struct vsock_addr *a, uint32_t port,
			uint64_t deadline_ms, int fd)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	char line[ANSWER_MAX];
	size_t len = strnlen(a->path, sizeof(a->path));
	int n;

	if (len == 0 || len >= sizeof(sa.sun_path))
		return -ENAMETOOLONG;
	memcpy(sa.sun_path, a->path, len);
	n = connect_wait(fd, (struct sockaddr *)&sa, sizeof(sa), deadline_ms);
	if (n == 0)
		n = check_owner(a, fd);
	if (n < 0)
		return n;
	n = snprintf(line, sizeof(line), "CONNECT %u\n", port);
	n = write_deadline(fd, line, (size_t)n, deadline_ms);
	if (n < 0) /* the device closed it unread: it has no room */
		return n == -EPIPE || n == -ECONNRESET ? -ECONNREFUSED : n;
	n = read_answer(fd, deadline_ms, line);
	if (n < 0)
		return n;
	return strncmp(line, "OK ", 3) == 0 ? 0 : -EPROTO;
}

static int connect_kernel(const struct vsock_addr *a, uint32_t port,
			  uint64_t deadline_ms, int fd)
{
	const struct sockaddr_vm sa = {
		.svm_family = AF_VSOCK, .svm_cid = a->cid, .svm_port = port};

	return connect_wait(fd, (const struct sockaddr *)&sa, sizeof(sa),
			    deadline_ms);
}

int vsock_connect(const struct vsock_addr *a, uint32_t port,
		  uint64_t deadline_ms, int *ret_fd, struct err *e)
{
	bool kernel = a->carrier == VSOCK_KERNEL;
	_cleanup_close_ int fd = -1;
	int err;

	fd = socket(kernel ? AF_VSOCK : AF_UNIX,
		    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, errno, "make a socket");
	err = kernel ? connect_kernel(a, port, deadline_ms, fd)
		     : connect_unix(a, port, deadline_ms, fd);
	if (err == 0)
		err = fd_set_nonblock(fd, false);
	if (err < 0)
		return err_sys(e, -err, "connect to port %u of the VM", port);
	*ret_fd = steal_fd(&fd);
	return 0;
}
