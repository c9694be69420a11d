/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/container/sync.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "common/base/fd.h"

int sync_send(int sock, const struct sync_msg *msg, int fd)
{
	return fds_send(sock, msg, sizeof(*msg), &fd, fd >= 0 ? 1 : 0);
}

int sync_recv(int sock, struct sync_msg *msg, int *ret_fd, uint64_t deadline_ms)
{
	size_t n_fds = 0;
	int fd = -1, r;
	ssize_t n;

	if (deadline_ms) {
		r = fd_wait(sock, POLLIN, deadline_ms);
		if (r < 0)
			return r;
	}
	n = fds_recv(sock, msg, sizeof(*msg), &fd, 1, &n_fds);
	if (n == (ssize_t)sizeof(*msg)) {
		msg->step[sizeof(msg->step) - 1] = '\0';
		msg->what[sizeof(msg->what) - 1] = '\0';
		if (ret_fd)
			*ret_fd = fd;
		else if (fd >= 0)
			close(fd);
		return 0;
	}
	if (fd >= 0)
		close(fd);
	if (n < 0)
		return n == -ECONNRESET ? -EPIPE : (int)n;
	return n == 0 ? -EPIPE : -EPROTO;
}
