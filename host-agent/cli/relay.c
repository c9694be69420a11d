/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/relay.h"

#include "common/base/fd.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>

#define RELAY_SIZE ((size_t)32768)

struct way {
	int from, to;
	bool ended;
	size_t at, len;
	char data[RELAY_SIZE];
};

/* false: the connection has failed. */
static bool way_read(struct way *w)
{
	ssize_t n = recv(w->from, w->data, sizeof(w->data), MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0) {
		w->ended = true;
		shutdown(w->to, SHUT_WR);
		return true;
	}
	w->at = 0;
	w->len = (size_t)n;
	return true;
}

static bool way_write(struct way *w)
{
	ssize_t n = send(w->to, w->data + w->at, w->len - w->at,
			 MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	w->at += (size_t)n;
	if (w->at == w->len)
		w->at = w->len = 0;
	return true;
}

/* The poll entry of a socket: what its own way reads and the other writes. */
static struct pollfd wanted(int fd, const struct way *reads,
			    const struct way *writes)
{
	short events = 0;

	if (!reads->ended && reads->len == 0)
		events |= POLLIN;
	if (writes->len > 0)
		events |= POLLOUT;
	return (struct pollfd){.fd = events ? fd : -1, .events = events};
}

static bool serve(struct way *reads, struct way *writes, short revents)
{
	bool ok = true;

	if (!reads->ended && reads->len == 0 &&
	    (revents & (POLLIN | POLLHUP | POLLERR)))
		ok = way_read(reads);
	if (ok && writes->len > 0 && (revents & (POLLOUT | POLLHUP | POLLERR)))
		ok = way_write(writes);
	return ok;
}

void relay_run(int a, int b)
{
	struct way ab = {.from = a, .to = b}, ba = {.from = b, .to = a};
	struct pollfd p[2];

	while (!ab.ended || !ba.ended || ab.len || ba.len) {
		p[0] = wanted(a, &ab, &ba);
		p[1] = wanted(b, &ba, &ab);
		if (poll(p, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return;
		}
		if (!serve(&ab, &ba, p[0].revents) ||
		    !serve(&ba, &ab, p[1].revents))
			return;
	}
}
