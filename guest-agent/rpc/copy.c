/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/rpc/copy.h"

#include "common/base/cleanup.h"
#include "guest-agent/rpc/limits.h"

/* One for all: nothing stays in it between two calls. */
static char scratch[AGENT_COPY_SIZE];

/* Writes data; keeps what is not taken. */
static enum copy_state push(struct copy *c, const char *data, size_t len,
			    copy_write_fn *wr, void *wr_arg)
{
	ssize_t n;

	while (len > 0) {
		n = wr(wr_arg, data, len);
		if (n == -EAGAIN)
			break;
		if (n < 0)
			return COPY_BROKEN;
		data += n;
		len -= (size_t)n;
	}
	if (len == 0)
		return COPY_READ;
	c->rest = malloc(len);
	if (!c->rest)
		return COPY_BROKEN;
	memcpy(c->rest, data, len);
	c->at = 0;
	c->len = len;
	return COPY_WRITE;
}

static enum copy_state push_rest(struct copy *c, copy_write_fn *wr,
				 void *wr_arg)
{
	ssize_t n;

	while (c->at < c->len) {
		n = wr(wr_arg, c->rest + c->at, c->len - c->at);
		if (n == -EAGAIN)
			return COPY_WRITE;
		if (n < 0)
			return COPY_BROKEN;
		c->at += (size_t)n;
	}
	copy_done(c);
	return COPY_READ;
}

enum copy_state copy_run(struct copy *c, copy_read_fn *rd, void *rd_arg,
			 copy_write_fn *wr, void *wr_arg)
{
	enum copy_state s;
	size_t moved = 0;
	ssize_t n;

	if (c->rest) {
		s = push_rest(c, wr, wr_arg);
		if (s != COPY_READ)
			return s;
	}
	while (!c->eof && moved < AGENT_COPY_TURN) {
		n = rd(rd_arg, scratch, sizeof(scratch));
		if (n == -EAGAIN)
			return COPY_READ;
		if (n <= 0) {
			c->eof = true;
			break;
		}
		moved += (size_t)n;
		s = push(c, scratch, (size_t)n, wr, wr_arg);
		if (s != COPY_READ)
			return s;
	}
	return c->eof ? COPY_DONE : COPY_READ;
}

void copy_done(struct copy *c)
{
	free(c->rest);
	c->rest = NULL;
	c->at = 0;
	c->len = 0;
}

ssize_t copy_fd_read(void *fd, void *buf, size_t len)
{
	ssize_t n;

	do {
		n = read(*(const int *)fd, buf, len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t copy_fd_write(void *fd, const void *buf, size_t len)
{
	ssize_t n;

	do {
		n = write(*(const int *)fd, buf, len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}
