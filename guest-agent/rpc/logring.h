/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container wrote and the host does not have yet: a ring of records in
 * the form in which they go over the wire (common/base/logrec.h), so that
 * sending is handing out memory.
 *
 * Offsets count the bytes of the container's whole output; positions count
 * the bytes of storage ever used, modulo the size.
 */
#ifndef HYB_GUEST_RPC_LOGRING_H
#define HYB_GUEST_RPC_LOGRING_H

#include "common/base/err.h"
#include "common/base/logrec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct logring {
	unsigned char *mem; /* mapped: its pages cost when first touched */
	size_t size;
	uint64_t head, tail; /* positions: oldest record kept, end */
	uint64_t first, end; /* offsets: first byte kept, behind the last */
	bool open;	     /* the last record may still grow ... */
	uint64_t last_pos;   /* ... its position, ... */
	struct logrec last;  /* ... and its header */
	uint64_t join_ns;    /* ... for this long after its first byte */
};

/* Where a reader is. */
struct logcursor {
	uint64_t pos; /* of the next byte to send */
	/* The header of a record that is sent from its middle. */
	unsigned char head[LOGREC_HEADER_SIZE];
	size_t head_at;	   /* sent of it; LOGREC_HEADER_SIZE: none is due */
	uint64_t rec_end;  /* position behind the record at pos; pos at a
			      boundary: none is begun */
	uint64_t rec_last; /* offset behind that record */
	uint64_t sent;	   /* offset up to which whole records are sent */
};

int logring_init(struct logring *r, size_t size, uint64_t join_ns,
		 struct err *e);
void logring_done(struct logring *r);

/* Room for the next bytes of this stream, read at time `now` (CLOCK_REALTIME,
 * ns): up to two pieces of memory. Returns their length together, at most
 * LOGREC_LENGTH_MAX; 0: full, something must be acknowledged first. */
size_t logring_reserve(const struct logring *r, uint8_t stream, uint64_t now,
		       struct iovec iov[2]);
/* n > 0 bytes were put into what logring_reserve() gave for the same stream
 * and time. */
void logring_commit(struct logring *r, uint8_t stream, uint64_t now, size_t n);

/* Puts a reader at byte `offset`, or at the first byte kept where that is
 * behind it. -ERANGE: beyond what was written. */
int logring_seek(struct logring *r, uint64_t offset, struct logcursor *c);
/* What the reader is to be sent next: up to three pieces; returns their length
 * together, 0: nothing. The records in it do not grow any more. */
size_t logring_peek(struct logring *r, const struct logcursor *c,
		    struct iovec iov[3], int *ret_n);
/* n bytes of that were sent. */
void logring_advance(const struct logring *r, struct logcursor *c, size_t n);

/* The reader has all bytes before `offset` safe: forgets them. -EBADMSG: they
 * were not sent to it. */
int logring_ack(struct logring *r, struct logcursor *c, uint64_t offset);

static inline bool logring_all_sent(const struct logring *r,
				    const struct logcursor *c)
{
	return c->pos == r->tail && c->head_at == LOGREC_HEADER_SIZE;
}

static inline bool logring_is_empty(const struct logring *r)
{
	return r->head == r->tail;
}

#endif
