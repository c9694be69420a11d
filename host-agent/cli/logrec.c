/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/logrec.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/cli/out.h"

#include <endian.h>

/* Bytes of a character that the next record completes, at most. */
#define CHARACTER_MAX 4
/* A line longer than this is broken where names stand before lines. */
#define LINE_MAX_LEN ((size_t)65536)
/* What is collected before it is written, so that a log of short records
 * does not cost a system call each. */
#define OUT_SIZE ((size_t)65536)

static char out_data[2][OUT_SIZE];
static size_t out_len[2];

static int flush_one(int k)
{
	int r = write_full(k + 1, out_data[k], out_len[k]);

	out_len[k] = 0;
	return r;
}

int logrec_flush(void)
{
	int a = flush_one(0), b = flush_one(1);

	return a < 0 ? a : b;
}

static int put(int fd, const char *data, size_t len)
{
	int k = fd - 1, r;

	/* The other stream's bytes were written before these. */
	if (out_len[!k] > 0) {
		r = flush_one(!k);
		if (r < 0)
			return r;
	}
	if (len > OUT_SIZE - out_len[k]) {
		r = flush_one(k);
		if (r < 0)
			return r;
	}
	if (len > OUT_SIZE)
		return write_full(fd, data, len);
	memcpy(out_data[k] + out_len[k], data, len);
	out_len[k] += len;
	return 0;
}

int logrec_parse(const char *data, size_t len, struct logrec *ret,
		 struct err *e)
{
	static const char zero[3];
	uint64_t offset, time;
	uint32_t length;

	if (len < LOGREC_HEADER)
		return 0;
	memcpy(&offset, data, 8);
	memcpy(&time, data + 8, 8);
	memcpy(&length, data + 16, 4);
	length = le32toh(length);
	if (length > LOGREC_LENGTH || data[20] > 2 ||
	    (length == 0) != (data[20] == 0) || memcmp(data + 21, zero, 3) != 0)
		return err_set(e, EBADMSG, "hybd sent a broken log record");
	if (len - LOGREC_HEADER < length)
		return 0;
	*ret = (struct logrec){.offset = le64toh(offset),
			       .time = le64toh(time),
			       .stream = data[20],
			       .data = data + LOGREC_HEADER,
			       .length = length,
			       .size = LOGREC_HEADER + length};
	return 1;
}

void logrec_writer_init(struct logrec_writer *w, int fd)
{
	memset(w, 0, sizeof(*w));
	w->fd = fd;
	w->pending.max = LINE_MAX_LEN + LOGREC_LENGTH;
}

void logrec_writer_done(struct logrec_writer *w)
{
	buf_done(&w->pending);
}

/* How many bytes at the end begin a UTF-8 character that is not whole. */
static size_t open_character(const char *s, size_t len)
{
	size_t back;
	unsigned char c;

	for (back = 1; back < CHARACTER_MAX && back <= len; back++) {
		c = (unsigned char)s[len - back];
		if ((c & 0xc0) == 0x80)
			continue;
		if (c >= 0xf0)
			return back < 4 ? back : 0;
		if (c >= 0xe0)
			return back < 3 ? back : 0;
		if (c >= 0xc0)
			return back < 2 ? back : 0;
		return 0;
	}
	return 0;
}

static int put_text(int fd, bool escape, const char *s, size_t len)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	if (!escape)
		return put(fd, s, len);
	out_safe(&b, s, len, "\\\n\r\t");
	if (b.error)
		return b.error;
	return put(fd, b.data, b.len);
}

static int write_stream(struct logrec_writer *w, bool escape, const char *data,
			size_t len)
{
	struct buf *p = &w->pending;
	size_t keep;
	int r;

	if (!escape)
		return put(w->fd, data, len);
	r = buf_append(p, data, len);
	if (r < 0)
		return r;
	keep = open_character(p->data, p->len);
	r = put_text(w->fd, true, p->data, p->len - keep);
	buf_consume(p, p->len - keep);
	return r;
}

static int put_line(struct logrec_writer *w, const char *name, int width,
		    bool escape, const char *line, size_t len)
{
	char head[256];
	int r;

	snprintf(head, sizeof(head), "%-*s | ", width, name);
	r = put(w->fd, head, strlen(head));
	if (r == 0)
		r = put_text(w->fd, escape, line, len);
	if (r == 0)
		r = put(w->fd, "\n", 1);
	return r;
}

static int write_lines(struct logrec_writer *w, const char *name, int width,
		       bool escape, const char *data, size_t len)
{
	struct buf *p = &w->pending;
	size_t from = 0, n;
	const char *nl;
	int r = buf_append(p, data, len);

	while (r == 0 && from < p->len) {
		nl = memchr(p->data + from, '\n', p->len - from);
		if (!nl && p->len - from < LINE_MAX_LEN)
			break;
		n = nl ? (size_t)(nl - p->data) - from : LINE_MAX_LEN;
		r = put_line(w, name, width, escape, p->data + from, n);
		from += n + (nl ? 1 : 0);
	}
	buf_consume(p, from);
	return r;
}

int logrec_write(struct logrec_writer *w, const char *name, int width,
		 bool escape, const char *data, size_t len)
{
	if (!name)
		return write_stream(w, escape, data, len);
	return write_lines(w, name, width, escape, data, len);
}

int logrec_finish(struct logrec_writer *w, const char *name, int width,
		  bool escape)
{
	struct buf *p = &w->pending;
	int r = 0;

	if (p->len == 0)
		return 0;
	if (name)
		r = put_line(w, name, width, escape, p->data, p->len);
	else
		r = put_text(w->fd, escape, p->data, p->len);
	buf_clear(p);
	return r;
}
