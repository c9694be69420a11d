/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/logrec.h"

#include <errno.h>
#include <string.h>

static void put_le(unsigned char *p, uint64_t v, size_t bytes)
{
	size_t i;

	for (i = 0; i < bytes; i++)
		p[i] = (unsigned char)(v >> (8 * i));
}

static uint64_t get_le(const unsigned char *p, size_t bytes)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

void logrec_encode(const struct logrec *r,
		   unsigned char out[LOGREC_HEADER_SIZE])
{
	memset(out, 0, LOGREC_HEADER_SIZE);
	put_le(out, r->offset, 8);
	put_le(out + 8, r->time, 8);
	put_le(out + 16, r->length, 4);
	out[20] = r->stream;
}

int logrec_decode(const unsigned char in[LOGREC_HEADER_SIZE],
		  struct logrec *ret)
{
	struct logrec r = {
		.offset = get_le(in, 8),
		.time = get_le(in + 8, 8),
		.length = (uint32_t)get_le(in + 16, 4),
		.stream = in[20],
	};

	if (r.length < 1 || r.length > LOGREC_LENGTH_MAX ||
	    (r.stream != LOGREC_STDOUT && r.stream != LOGREC_STDERR) ||
	    r.offset > UINT64_MAX / 2 || in[21] || in[22] || in[23])
		return -EBADMSG;
	*ret = r;
	return 0;
}
