/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 *     head                      last_pos          tail
 *      |                           |               |
 *   [hdr|bytes][hdr|bytes] ... [hdr|bytes that grow]     (modulo size)
 *                     ^ cursor
 *
 * Only the last record grows, and only until a reader is handed any of it
 * (logring_peek() closes it): what was sent never changes afterwards. An
 * acknowledgement in the middle of a record cuts the record: its header is
 * written anew over payload that is not needed any more, right in front of the
 * payload that is. A reader that begins in the middle of a record gets such a
 * header from its cursor, as the storage stays as it is.
 *
 * When all is acknowledged positions begin at 0 again, so that a quiet
 * container touches one page only.
 */
#include "guest-agent/rpc/logring.h"

#include "common/base/cleanup.h"

#include <sys/mman.h>

#define HDR ((uint64_t)LOGREC_HEADER_SIZE)
/* A new record is not begun for less than this. */
#define ROOM_MIN 512

int logring_init(struct logring *r, size_t size, uint64_t join_ns,
		 struct err *e)
{
	void *mem;

	memset(r, 0, sizeof(*r));
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		return err_sys(e, errno, "log ring of %zu bytes", size);
	r->mem = mem;
	r->size = size;
	r->join_ns = join_ns;
	return 0;
}

void logring_done(struct logring *r)
{
	if (r->mem)
		munmap(r->mem, r->size);
	memset(r, 0, sizeof(*r));
}

/* The storage from pos on as up to two pieces. */
static int pieces(const struct logring *r, uint64_t pos, size_t len,
		  struct iovec iov[2])
{
	size_t at = (size_t)(pos % r->size);
	size_t first = r->size - at < len ? r->size - at : len;

	iov[0] = (struct iovec){.iov_base = r->mem + at, .iov_len = first};
	iov[1] = (struct iovec){.iov_base = r->mem, .iov_len = len - first};
	return len > first ? 2 : 1;
}

static void put_header(const struct logring *r, uint64_t pos,
		       const struct logrec *rec)
{
	unsigned char raw[LOGREC_HEADER_SIZE];
	struct iovec iov[2];

	logrec_encode(rec, raw);
	pieces(r, pos, sizeof(raw), iov);
	memcpy(iov[0].iov_base, raw, iov[0].iov_len);
	memcpy(iov[1].iov_base, raw + iov[0].iov_len, iov[1].iov_len);
}

static void get_header(const struct logring *r, uint64_t pos,
		       struct logrec *rec)
{
	unsigned char raw[LOGREC_HEADER_SIZE];
	struct iovec iov[2];

	pieces(r, pos, sizeof(raw), iov);
	memcpy(raw, iov[0].iov_base, iov[0].iov_len);
	memcpy(raw + iov[0].iov_len, iov[1].iov_base, iov[1].iov_len);
	/* We wrote it; were it broken, an empty record would end every walk. */
	if (logrec_decode(raw, rec) < 0)
		memset(rec, 0, sizeof(*rec));
}

/* May bytes of this stream and time join the last record? */
static bool joins(const struct logring *r, uint8_t stream, uint64_t now)
{
	return r->open && r->last.stream == stream &&
	       r->last.length < LOGREC_LENGTH_MAX && now >= r->last.time &&
	       now - r->last.time < r->join_ns && r->tail - r->head < r->size;
}

size_t logring_reserve(const struct logring *r, uint8_t stream, uint64_t now,
		       struct iovec iov[2])
{
	uint64_t used = r->tail - r->head;
	uint64_t room = r->size - used;
	uint64_t max = LOGREC_LENGTH_MAX, pos = r->tail;

	if (joins(r, stream, now)) {
		max -= r->last.length;
	} else {
		if (room < HDR + ROOM_MIN)
			return 0;
		room -= HDR;
		pos += HDR;
	}
	if (room > max)
		room = max;
	pieces(r, pos, (size_t)room, iov);
	return (size_t)room;
}

void logring_commit(struct logring *r, uint8_t stream, uint64_t now, size_t n)
{
	if (joins(r, stream, now)) {
		r->last.length += (uint32_t)n;
	} else {
		r->last_pos = r->tail;
		r->last = (struct logrec){.offset = r->end,
					  .time = now,
					  .length = (uint32_t)n,
					  .stream = stream};
		r->open = true;
		r->tail += HDR;
	}
	r->tail += n;
	r->end += n;
	put_header(r, r->last_pos, &r->last);
}

int logring_seek(struct logring *r, uint64_t offset, struct logcursor *c)
{
	uint64_t pos = r->head;
	struct logrec rec;

	if (offset > r->end)
		return -ERANGE;
	if (offset < r->first)
		offset = r->first;
	/* The cursor may come to be behind the last record, which must not
	 * grow past it then. */
	r->open = false;
	while (pos < r->tail) {
		get_header(r, pos, &rec);
		if (rec.length == 0 || rec.offset + rec.length > offset)
			break;
		pos += HDR + rec.length;
	}
	*c = (struct logcursor){.pos = pos,
				.rec_end = pos,
				.rec_last = offset,
				.sent = offset,
				.head_at = HDR};
	if (pos < r->tail && offset > rec.offset) {
		uint64_t skip = offset - rec.offset;

		c->rec_end = pos + HDR + rec.length;
		c->rec_last = rec.offset + rec.length;
		c->pos = pos + HDR + skip;
		rec.offset = offset;
		rec.length -= (uint32_t)skip;
		logrec_encode(&rec, c->head);
		c->head_at = 0;
	}
	return 0;
}

size_t logring_peek(struct logring *r, const struct logcursor *c,
		    struct iovec iov[3], int *ret_n)
{
	size_t len = (size_t)(r->tail - c->pos);
	size_t head = LOGREC_HEADER_SIZE - c->head_at;
	int n = 0;

	if (len == 0)
		return 0;
	r->open = false;
	if (head > 0) {
		iov[n].iov_base = (void *)(uintptr_t)(c->head + c->head_at);
		iov[n++].iov_len = head;
	}
	n += pieces(r, c->pos, len, iov + n);
	*ret_n = n;
	return head + len;
}

void logring_advance(const struct logring *r, struct logcursor *c, size_t n)
{
	size_t head = LOGREC_HEADER_SIZE - c->head_at;
	uint64_t target;
	struct logrec rec;

	if (head > n)
		head = n;
	c->head_at += head;
	target = c->pos + (n - head);
	while (c->pos < target) {
		if (c->pos == c->rec_end) {
			get_header(r, c->pos, &rec);
			c->rec_end = c->pos + HDR + rec.length;
			c->rec_last = rec.offset + rec.length;
		}
		c->pos = c->rec_end < target ? c->rec_end : target;
		if (c->pos == c->rec_end)
			c->sent = c->rec_last;
	}
}

int logring_ack(struct logring *r, struct logcursor *c, uint64_t offset)
{
	struct logrec rec;
	uint64_t skip;

	if (offset > c->sent)
		return -EBADMSG;
	while (r->head < r->tail) {
		get_header(r, r->head, &rec);
		if (rec.length == 0 || rec.offset >= offset)
			break;
		if (rec.offset + rec.length <= offset) {
			r->head += HDR + rec.length;
			continue;
		}
		/* Safe because the new header ends where the payload that is
		 * still needed begins. */
		skip = offset - rec.offset;
		rec.offset = offset;
		rec.length -= (uint32_t)skip;
		r->head += skip;
		put_header(r, r->head, &rec);
		break;
	}
	if (offset > r->first)
		r->first = offset;
	if (logring_is_empty(r) && c->pos == r->tail) {
		r->head = r->tail = c->pos = c->rec_end = 0;
		r->open = false;
	}
	return 0;
}
