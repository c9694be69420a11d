/* SPDX-License-Identifier: Apache-2.0 */
#include "common/tree/wire.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <poll.h>
#include <sys/socket.h>

#define HEADER	   8
#define VERSION	   1
#define ENTRY_SIZE 48
#define END_SIZE   24

static unsigned char *put(unsigned char *p, uint64_t v, size_t bytes)
{
	size_t i;

	for (i = 0; i < bytes; i++)
		p[i] = (unsigned char)(v >> (8 * i));
	return p + bytes;
}

static uint64_t get(const unsigned char **p, size_t bytes)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < bytes; i++)
		v |= (uint64_t)(*p)[i] << (8 * i);
	*p += bytes;
	return v;
}

static int broken(struct err *e, const char *what)
{
	return err_set(e, EBADMSG, "the stream is broken: %s", what);
}

int tree_wire_init(struct tree_wire *w, int fd, uint64_t idle_ms, struct err *e)
{
	memset(w, 0, sizeof(*w));
	w->fd = fd;
	w->idle_ms = idle_ms;
	w->out.max = 4 * TREE_FRAME_MAX;
	w->in = malloc(TREE_FRAME_MAX + HEADER);
	w->name = malloc(TREE_PATH_MAX + 1);
	w->link = malloc(TREE_PATH_MAX + 1);
	if (w->in && w->name && w->link)
		return 0;
	tree_wire_done(w);
	return err_sys(e, ENOMEM, "copy");
}

void tree_wire_done(struct tree_wire *w)
{
	buf_done(&w->out);
	free(w->in);
	free(w->name);
	free(w->link);
	memset(w, 0, sizeof(*w));
	w->fd = -1;
}

int tree_wire_preload(struct tree_wire *w, const void *data, size_t len)
{
	if (len > TREE_FRAME_MAX)
		return -EMSGSIZE;
	memcpy(w->in, data, len);
	w->in_at = 0;
	w->in_len = len;
	return 0;
}

/* ------------------------------------------------------------------ names */

bool tree_name_is_valid(const char *name)
{
	size_t len, depth = 0;

	if (!name[0])
		return true;
	if (strlen(name) > TREE_PATH_MAX)
		return false;
	for (;;) {
		len = strcspn(name, "/");
		if (len == 0 || len > TREE_NAME_MAX ||
		    (len == 1 && name[0] == '.') ||
		    (len == 2 && name[0] == '.' && name[1] == '.') ||
		    ++depth > TREE_DEPTH_MAX)
			return false;
		if (!name[len])
			return true;
		name += len + 1;
	}
}

bool tree_xattr_next(const struct tree_entry *t, size_t *at, const char **name,
		     const void **value, size_t *len)
{
	const unsigned char *p = t->xattrs + *at, *end;
	size_t left = t->xattrs_len - *at;

	if (left == 0)
		return false;
	end = memchr(p, '\0', left);
	if (!end || end == p || (size_t)(end - p) > TREE_NAME_MAX ||
	    left - (size_t)(end - p) < 5)
		return false;
	*name = (const char *)p;
	p = end + 1;
	left -= (size_t)(p - (t->xattrs + *at)) + 4;
	*len = (size_t)get(&p, 4);
	if (*len > left)
		return false;
	*value = p;
	*at = (size_t)(p - t->xattrs) + *len;
	return true;
}

bool tree_xattr_is_kept(const char *name, uint32_t flags)
{
	if (strncmp(name, "user.", 5) == 0)
		return true;
	return (flags & TREE_WHOLE) &&
	       (strcmp(name, TREE_XATTR_CAPS) == 0 ||
		strcmp(name, "system.posix_acl_access") == 0 ||
		strcmp(name, "system.posix_acl_default") == 0);
}

static bool xattrs_are_valid(const struct tree_entry *t)
{
	const char *name;
	const void *value;
	size_t at = 0, len;

	while (tree_xattr_next(t, &at, &name, &value, &len))
		continue;
	return at == t->xattrs_len;
}

void tree_end_from(struct tree_end *end, const struct err *e)
{
	end->code = e->code == 0 || e->code == ENOENT || e->code == ENOSPC
			    ? e->code
			    : EIO;
	end->text[0] = '\0';
	if (e->code)
		text_escape(e->msg, end->text, sizeof(end->text));
}

/* ---------------------------------------------------------------- sending */

/* 0, -ECANCELED, -ETIMEDOUT or what the socket says. */
static int wait_writable(struct tree_wire *w)
{
	struct pollfd p = {.fd = w->fd,
			   .events =
				   (short)(POLLOUT | (w->watch ? POLLIN : 0))};
	int n;

	do {
		n = poll(&p, 1, w->idle_ms ? (int)w->idle_ms : -1);
	} while (n < 0 && errno == EINTR);
	if (n == 0)
		return -ETIMEDOUT;
	if (w->watch && (p.revents & POLLIN))
		return -ECANCELED;
	return n < 0 ? -errno : 0;
}

int tree_flush(struct tree_wire *w, struct err *e)
{
	size_t at = 0;
	ssize_t n;
	int r = w->out.error;

	while (r == 0 && at < w->out.len) {
		n = send(w->fd, w->out.data + at, w->out.len - at,
			 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n > 0 && w->on_moved)
			w->on_moved(w->moved_arg, (size_t)n);
		if (n > 0)
			at += (size_t)n;
		else if (n < 0 && errno == EAGAIN)
			r = wait_writable(w);
		else if (n < 0 && errno != EINTR)
			r = -errno;
	}
	buf_clear(&w->out);
	if (r == -ECANCELED)
		return r;
	return r < 0 ? err_sys(e, -r, "send") : 0;
}

static int put_frame(struct tree_wire *w, enum tree_frame kind, const void *a,
		     size_t a_len, const void *b, size_t b_len, struct err *e)
{
	unsigned char header[HEADER];

	put(put(header, kind, 4), a_len + b_len, 4);
	buf_append(&w->out, header, sizeof(header));
	buf_append(&w->out, a, a_len);
	buf_append(&w->out, b, b_len);
	return w->out.error || w->out.len >= TREE_DATA_MAX ? tree_flush(w, e)
							   : 0;
}

int tree_put_request(struct tree_wire *w, const struct tree_request *q,
		     struct err *e)
{
	struct buf b = BUF_INIT;
	unsigned char head[16], *p = head;
	int r;

	p = put(p, VERSION, 4);
	p = put(p, q->flags, 4);
	p = put(p, strlen(q->path), 4);
	put(p, strlen(q->base), 4);
	buf_puts(&b, q->path);
	buf_puts(&b, q->base);
	r = put_frame(w, TREE_REQUEST, head, sizeof(head), buf_str(&b), b.len,
		      e);
	buf_done(&b);
	return r < 0 ? r : tree_flush(w, e);
}

int tree_put_entry(struct tree_wire *w, const struct tree_entry *t,
		   struct err *e)
{
	size_t name = strlen(t->name), link = t->link ? strlen(t->link) : 0;
	unsigned char head[ENTRY_SIZE], *p = head;
	struct buf b = {.max = TREE_FRAME_MAX - ENTRY_SIZE};
	int r;

	p = put(p, t->type, 4);
	p = put(p, t->mode, 4);
	p = put(p, t->uid, 4);
	p = put(p, t->gid, 4);
	p = put(p, (uint64_t)t->mtime, 8);
	p = put(p, t->mtime_nsec, 4);
	p = put(p, t->size, 8);
	p = put(p, name, 4);
	p = put(p, link, 4);
	put(p, t->xattrs_len, 4);
	buf_append(&b, t->name, name);
	buf_append(&b, t->link ? t->link : "", link);
	buf_append(&b, t->xattrs, t->xattrs_len);
	r = b.error ? err_sys(e, -b.error, "send '%s'", t->name)
		    : put_frame(w, TREE_ENTRY, head, sizeof(head), buf_str(&b),
				b.len, e);
	buf_done(&b);
	return r;
}

int tree_put_data(struct tree_wire *w, uint64_t offset, const void *data,
		  size_t len, struct err *e)
{
	unsigned char head[8];

	put(head, offset, 8);
	return put_frame(w, TREE_DATA, head, sizeof(head), data, len, e);
}

int tree_put_end(struct tree_wire *w, const struct tree_end *end, struct err *e)
{
	unsigned char head[END_SIZE], *p = head;
	int r;

	p = put(p, (uint64_t)end->code, 4);
	p = put(p, end->entries, 8);
	p = put(p, end->bytes, 8);
	put(p, end->skipped, 4);
	w->watch = false;
	r = put_frame(w, TREE_END, head, sizeof(head), end->text,
		      strlen(end->text), e);
	return r < 0 ? r : tree_flush(w, e);
}

/* -------------------------------------------------------------- receiving */

/* Until `want` bytes are there. */
static int fill(struct tree_wire *w, size_t want, struct err *e)
{
	ssize_t n;
	int r;

	if (w->in_at > 0 && w->in_at + want > TREE_FRAME_MAX + HEADER) {
		memmove(w->in, w->in + w->in_at, w->in_len - w->in_at);
		w->in_len -= w->in_at;
		w->in_at = 0;
	}
	while (w->in_len - w->in_at < want) {
		n = recv(w->fd, w->in + w->in_len,
			 TREE_FRAME_MAX + HEADER - w->in_len, MSG_DONTWAIT);
		if (n > 0) {
			w->in_len += (size_t)n;
			if (w->on_moved)
				w->on_moved(w->moved_arg, (size_t)n);
			continue;
		}
		if (n == 0)
			return err_set(e, ECONNRESET, "the stream ended early");
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return err_sys(e, errno, "receive");
		r = fd_wait(w->fd, POLLIN,
			    w->idle_ms ? now_ms() + w->idle_ms : 0);
		if (r < 0)
			return err_sys(e, -r, "receive");
	}
	return 0;
}

int tree_get(struct tree_wire *w, const unsigned char **ret, size_t *ret_len,
	     struct err *e)
{
	const unsigned char *p;
	uint64_t kind, len;
	int r;

	if (w->in_at == w->in_len)
		w->in_at = w->in_len = 0;
	r = fill(w, HEADER, e);
	if (r < 0)
		return r;
	p = w->in + w->in_at;
	kind = get(&p, 4);
	len = get(&p, 4);
	if (kind < TREE_REQUEST || kind > TREE_END || len > TREE_FRAME_MAX)
		return broken(e, "no such frame");
	r = fill(w, HEADER + (size_t)len, e);
	if (r < 0)
		return r;
	*ret = w->in + w->in_at + HEADER;
	*ret_len = (size_t)len;
	w->in_at += HEADER + (size_t)len;
	return (int)kind;
}

/* len bytes at p as a string; false: a NUL inside. */
static bool take(char *dst, const unsigned char *p, size_t len)
{
	if (memchr(p, '\0', len))
		return false;
	memcpy(dst, p, len);
	dst[len] = '\0';
	return true;
}

int tree_parse_request(struct tree_wire *w, const unsigned char *p, size_t len,
		       struct tree_request *ret, struct err *e)
{
	uint64_t path, base;

	if (len < 16)
		return broken(e, "a short request");
	if (get(&p, 4) != VERSION)
		return broken(e, "a request of another version");
	ret->flags = (uint32_t)get(&p, 4);
	path = get(&p, 4);
	base = get(&p, 4);
	if (path > TREE_PATH_MAX || base > TREE_NAME_MAX ||
	    path + base != len - 16 || !take(w->name, p, (size_t)path) ||
	    !take(w->link, p + path, (size_t)base) || w->name[0] != '/' ||
	    strchr(w->link, '/') ||
	    (w->link[0] && !tree_name_is_valid(w->link)))
		return broken(e, "a path that is none");
	ret->path = w->name;
	ret->base = w->link;
	return 0;
}

int tree_parse_entry(struct tree_wire *w, const unsigned char *p, size_t len,
		     struct tree_entry *ret, struct err *e)
{
	uint64_t type, name, link;

	if (len < ENTRY_SIZE)
		return broken(e, "a short entry");
	len -= ENTRY_SIZE;
	type = get(&p, 4);
	ret->mode = (uint32_t)get(&p, 4);
	ret->uid = (uint32_t)get(&p, 4);
	ret->gid = (uint32_t)get(&p, 4);
	ret->mtime = (int64_t)get(&p, 8);
	ret->mtime_nsec = (uint32_t)get(&p, 4);
	ret->size = get(&p, 8);
	name = get(&p, 4);
	link = get(&p, 4);
	ret->xattrs_len = (size_t)get(&p, 4);
	if (type < TREE_FILE || type >= TREE_TYPE_MAX || ret->mode > 07777 ||
	    ret->uid > INT32_MAX || ret->gid > INT32_MAX ||
	    ret->mtime_nsec >= 1000000000 || ret->size > INT64_MAX ||
	    (type != TREE_FILE && ret->size))
		return broken(e, "an entry out of its bounds");
	if (name > TREE_PATH_MAX || link > TREE_PATH_MAX ||
	    ret->xattrs_len > TREE_XATTRS_MAX ||
	    name + link + ret->xattrs_len != len)
		return broken(e, "an entry of another length");
	if (!take(w->name, p, (size_t)name) ||
	    !take(w->link, p + name, (size_t)link) ||
	    !tree_name_is_valid(w->name))
		return broken(e, "a name that leads out of the tree");
	ret->type = (enum tree_type)type;
	ret->name = w->name;
	ret->link = w->link;
	ret->xattrs = p + name + link;
	if ((type == TREE_SYMLINK) != (link && type != TREE_LINK) ||
	    (type == TREE_LINK && (!link || !tree_name_is_valid(w->link))))
		return broken(e, "a link that is none");
	return xattrs_are_valid(ret) ? 0 : broken(e, "attributes");
}

int tree_parse_data(const unsigned char *p, size_t len, uint64_t *ret_offset,
		    const unsigned char **ret_data, size_t *ret_len,
		    struct err *e)
{
	if (len < 8 || len - 8 > TREE_DATA_MAX)
		return broken(e, "data of a wrong length");
	*ret_offset = get(&p, 8);
	*ret_data = p;
	*ret_len = len - 8;
	return 0;
}

int tree_parse_end(const unsigned char *p, size_t len, struct tree_end *ret,
		   struct err *e)
{
	char raw[sizeof(ret->text)];
	uint64_t code;

	if (len < END_SIZE || len - END_SIZE >= sizeof(raw))
		return broken(e, "an end of a wrong length");
	len -= END_SIZE;
	code = get(&p, 4);
	ret->code =
		code == 0 || code == ENOENT || code == ENOSPC ? (int)code : EIO;
	ret->entries = get(&p, 8);
	ret->bytes = get(&p, 8);
	ret->skipped = (uint32_t)get(&p, 4);
	if (!take(raw, p, len))
		return broken(e, "an end with a NUL");
	/* Escaped by who wrote it, if it is honest: a second time in any case.
	 */
	text_escape(raw, ret->text, sizeof(ret->text));
	return 0;
}
