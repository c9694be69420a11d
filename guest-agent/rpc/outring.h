/* SPDX-License-Identifier: Apache-2.0 */
/* What a session writes while nobody takes it: the last bytes are kept, the
 * oldest give way, and how many did is known. */
#ifndef HYB_GUEST_RPC_OUTRING_H
#define HYB_GUEST_RPC_OUTRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct outring {
	char *data; /* malloc()ed; NULL: there is none */
	size_t size;
	uint64_t end;  /* bytes that were put in, ever */
	uint64_t sent; /* of which so many were handed on */
};

/* 0 or -ENOMEM; r is zeroed. The memory is used as it is written to. */
int outring_open(struct outring *r, size_t size);
void outring_done(struct outring *r);

/* The offset of the oldest byte that is kept. */
uint64_t outring_begin(const struct outring *r);
/* Bytes that are kept and not handed on yet. */
size_t outring_waiting(const struct outring *r);
/* Bytes that can be put in without losing one that was not handed on. */
size_t outring_room(const struct outring *r);
/* Puts all of it in, over the oldest. */
void outring_put(struct outring *r, const char *data, size_t len);
/* A reader begins, where the last one ended or (from_begin) with the oldest
 * byte that is kept: how many it misses. */
uint64_t outring_seek(struct outring *r, bool from_begin);
/* The next bytes to be handed on, at most so many as lie in one piece; 0:
 * none. */
size_t outring_piece(const struct outring *r, const char **ret);
void outring_took(struct outring *r, size_t len);

#endif
