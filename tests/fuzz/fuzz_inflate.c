/* SPDX-License-Identifier: Apache-2.0 */
/* Streams that begin like gzip or zstd, in small pieces both ways. */
#include "host-agent/image/convert/inflate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define OUT_MAX (4u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	struct inflate *f;
	uint8_t out[1000];
	uint64_t total = 0;
	size_t step, n;
	int r = 0;

	if (size < 5)
		return 0;
	step = 1 + data[0];
	data++;
	size--;
	f = inflate_new(inflate_detect(data, size));
	assert(f);
	while (size > 0 && r == 0 && total < OUT_MAX) {
		size_t len = step < size ? step : size;
		/* A copy of its own, so that a read past it is seen. */
		uint8_t *piece = malloc(len);
		const uint8_t *p = piece;

		memcpy(piece, data, len);
		data += len;
		size -= len;
		do {
			size_t before = len;

			r = inflate_step(f, &p, &len, out, sizeof(out), &n, &e);
			assert(r < 0 || n <= sizeof(out));
			if (r < 0 || (n == 0 && len == before))
				break;
			total += n;
		} while (len > 0 || n == sizeof(out));
		free(piece);
	}
	(void)inflate_end(f, &e);
	inflate_free(f);
	return 0;
}
