/* SPDX-License-Identifier: Apache-2.0 */
#include "common/varlink/conn.h"

#include "common/base/cleanup.h"
#include "common/base/json.h"

#include <poll.h>
#include <sys/socket.h>

#define READ_SIZE ((size_t)16384)

static bool socket_is_unix(int fd)
{
	int domain = 0;
	socklen_t len = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 &&
	       domain == AF_UNIX;
}

void vl_conn_init(struct vl_conn *c, int fd, size_t max)
{
	memset(c, 0, sizeof(*c));
	c->fd = fd;
	c->max = max ? max : VL_MESSAGE_MAX;
	c->max_values = c->max / 8;
	/* A whole message, its NUL, and what one read may bring behind it. */
	c->in.max = c->max + 1 + READ_SIZE;
	c->is_unix = socket_is_unix(fd);
}

void vl_conn_done(struct vl_conn *c)
{
	size_t i;

	cleanup_close(&c->fd);
	for (i = 0; i < c->n_fds; i++)
		close(c->fds[i]);
	c->n_fds = 0;
	buf_done(&c->in);
}

ssize_t vl_conn_fill(struct vl_conn *c)
{
	char tmp[READ_SIZE];
	size_t n_fds = 0, want = sizeof(tmp);
	ssize_t n;
	int r;

	if (c->in.len > c->max)
		return -EMSGSIZE;
	if (c->is_unix) {
		n = fds_recv(c->fd, tmp, want, c->fds + c->n_fds,
			     HYB_FDS_MAX - c->n_fds, &n_fds);
		c->n_fds += n_fds;
	} else {
		do {
			n = recv(c->fd, tmp, want, 0);
		} while (n < 0 && errno == EINTR);
		if (n < 0)
			n = -errno;
	}
	if (n <= 0)
		return n;
	r = buf_append(&c->in, tmp, (size_t)n);
	return r < 0 ? r : n;
}

static int message_parse(const struct vl_conn *c, const char *text, size_t len,
			 json_t **ret, struct err *e)
{
	json_error_t je;
	char what[160];
	json_t *j;

	if (json_is_over(text, len, c->max_values))
		return err_set(e, EMSGSIZE, "message has more than %zu values",
			       c->max_values);
	j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	if (!j)
		return err_set(e, EBADMSG, "message is not JSON: %s",
			       text_escape(je.text, what, sizeof(what)));
	if (!json_is_object(j)) {
		json_decref(j);
		return err_set(e, EBADMSG, "message is not a JSON object");
	}
	*ret = j;
	return 1;
}

int vl_conn_next(struct vl_conn *c, json_t **ret, struct err *e)
{
	const char *end = NULL;
	size_t len;
	int r;

	if (c->in.len > c->seen)
		end = memchr(c->in.data + c->seen, '\0', c->in.len - c->seen);
	if (!end) {
		c->seen = c->in.len;
		if (c->in.len > c->max)
			return err_set(e, EMSGSIZE,
				       "message is longer than %zu bytes",
				       c->max);
		return 0;
	}
	len = (size_t)(end - c->in.data);
	if (len > c->max)
		return err_set(e, EMSGSIZE, "message is longer than %zu bytes",
			       c->max);
	r = message_parse(c, c->in.data, len, ret, e);
	buf_consume(&c->in, len + 1);
	c->seen = 0;
	return r;
}

int vl_conn_read(struct vl_conn *c, uint64_t deadline_ms, json_t **ret,
		 struct err *e)
{
	ssize_t n;
	int r;

	for (;;) {
		r = vl_conn_next(c, ret, e);
		if (r != 0)
			return r < 0 ? r : 0;
		r = fd_wait(c->fd, POLLIN, deadline_ms);
		if (r < 0)
			return err_sys(e, -r, "wait for an answer");
		n = vl_conn_fill(c);
		if (n == 0)
			return err_set(e, ECONNRESET,
				       "the peer closed the connection");
		if (n < 0 && n != -EAGAIN)
			return err_sys(e, (int)-n, "receive");
	}
}

char *vl_format(const json_t *msg, size_t *ret_len)
{
	char *text = json_dumps(msg, JSON_COMPACT);

	if (text)
		*ret_len = strlen(text) + 1;
	return text;
}

int vl_conn_write(struct vl_conn *c, const json_t *msg, const int *fds,
		  size_t n_fds, uint64_t deadline_ms, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	text = vl_format(msg, &len);
	if (!text)
		return err_sys(e, ENOMEM, "format a message");
	if (len - 1 > VL_MESSAGE_MAX)
		return err_set(e, EMSGSIZE, "message of %zu bytes is over %zu",
			       len - 1, VL_MESSAGE_MAX);
	if (n_fds > 0 && !c->is_unix)
		return err_set(e, EOPNOTSUPP,
			       "descriptors go over unix sockets only");
	if (n_fds > 0)
		r = fds_send(c->fd, text, len, fds, n_fds);
	else
		r = write_deadline(c->fd, text, len, deadline_ms);
	if (r < 0)
		return err_sys(e, -r, "send");
	return 0;
}

size_t vl_conn_take_fds(struct vl_conn *c, int *fds, size_t max)
{
	size_t i, n = c->n_fds < max ? c->n_fds : max;

	for (i = 0; i < c->n_fds; i++) {
		if (i < n)
			fds[i] = c->fds[i];
		else
			close(c->fds[i]);
	}
	c->n_fds = 0;
	return n;
}

const void *vl_conn_leftover(const struct vl_conn *c, size_t *ret_len)
{
	*ret_len = c->in.len;
	return c->in.data;
}
