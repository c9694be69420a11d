/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/rpc/outring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int outring_open(struct outring *r, size_t size)
{
	r->data = malloc(size);
	if (!r->data)
		return -ENOMEM;
	r->size = size;
	return 0;
}

void outring_done(struct outring *r)
{
	free(r->data);
	*r = (struct outring){0};
}

uint64_t outring_begin(const struct outring *r)
{
	return r->end > r->size ? r->end - r->size : 0;
}

size_t outring_waiting(const struct outring *r)
{
	uint64_t begin = outring_begin(r);

	return (size_t)(r->end - (r->sent > begin ? r->sent : begin));
}

size_t outring_room(const struct outring *r)
{
	return r->size - outring_waiting(r);
}

void outring_put(struct outring *r, const char *data, size_t len)
{
	size_t at, n;

	if (len > r->size) {
		r->end += len - r->size;
		data += len - r->size;
		len = r->size;
	}
	while (len > 0) {
		at = (size_t)(r->end % r->size);
		n = r->size - at < len ? r->size - at : len;
		memcpy(r->data + at, data, n);
		r->end += n;
		data += n;
		len -= n;
	}
}

uint64_t outring_seek(struct outring *r, bool from_begin)
{
	uint64_t begin = outring_begin(r), lost;

	if (from_begin)
		r->sent = 0;
	lost = begin > r->sent ? begin - r->sent : 0;
	r->sent += lost;
	return lost;
}

size_t outring_piece(const struct outring *r, const char **ret)
{
	size_t n = outring_waiting(r), at;

	if (n == 0)
		return 0;
	at = (size_t)((r->end - n) % r->size);
	*ret = r->data + at;
	return r->size - at < n ? r->size - at : n;
}

void outring_took(struct outring *r, size_t len)
{
	uint64_t begin = outring_begin(r);

	if (r->sent < begin)
		r->sent = begin;
	r->sent += len;
}
