/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/convert/erofs_out.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/fd.h"
#include "host-agent/image/convert/erofs_format.h"

#define WINDOW_SIZE (1024u * 1024u)
/* A piece this long goes out on its own, without being copied. */
#define DIRECT_MIN (128u * 1024u)
/* Words of the map that one search looks at: bounded work per file. */
#define SEARCH_WORDS 1024

int erofs_out_init(struct erofs_out *o, int fd, uint64_t max_bytes,
		   struct err *e)
{
	memset(o, 0, sizeof(*o));
	o->fd = fd;
	o->max_blocks = max_bytes / EROFS_BLOCK;
	if (o->max_blocks > UINT32_MAX)
		o->max_blocks = UINT32_MAX;
	o->window = malloc(WINDOW_SIZE);
	if (!o->window)
		return err_sys(e, ENOMEM, "write");
	return 0;
}

void erofs_out_done(struct erofs_out *o)
{
	free(o->window);
	free(o->free_map);
}

static bool is_free(const struct erofs_out *o, uint64_t b)
{
	return b < o->map_blocks && (o->free_map[b / 64] >> (b % 64) & 1);
}

/* A run of n free blocks; -1 where the part looked at has none. */
static int64_t find_run(struct erofs_out *o, uint64_t n)
{
	uint64_t words = o->map_blocks / 64, w = o->hint, looked, run = 0;

	if (o->n_free < n)
		return -1;
	if (w >= words)
		w = 0;
	for (looked = 0; looked < SEARCH_WORDS && looked < words; looked++) {
		uint64_t bits = o->free_map[w], i;

		for (i = 0; bits != 0 && i < 64; i++) {
			run = bits >> i & 1 ? run + 1 : 0;
			if (run == n) {
				o->hint = w;
				return (int64_t)(w * 64 + i + 1 - n);
			}
		}
		if (bits == 0)
			run = 0;
		if (++w == words) {
			w = 0;
			run = 0;
		}
	}
	o->hint = w;
	return -1;
}

int erofs_out_alloc(struct erofs_out *o, uint64_t n, bool fresh, uint32_t *ret,
		    struct err *e)
{
	int64_t run = fresh ? -1 : find_run(o, n);
	uint64_t i;

	if (run >= 0) {
		for (i = (uint64_t)run; i < (uint64_t)run + n; i++)
			o->free_map[i / 64] &= ~(1ull << (i % 64));
		o->n_free -= n;
		*ret = (uint32_t)run;
		return 0;
	}
	if (n > o->max_blocks - o->end)
		return err_set(e, EFBIG,
			       "the image is larger than the limit of %llu MiB",
			       (unsigned long long)(o->max_blocks >> 8));
	*ret = (uint32_t)o->end;
	o->end += n;
	return 0;
}

void erofs_out_free(struct erofs_out *o, uint64_t block, uint64_t n)
{
	uint64_t i;

	if (block + n > o->map_blocks) {
		uint64_t want = (block + n + 64) * 3 / 2 / 64 * 64 + 64;
		uint64_t *p = realloc(o->free_map, want / 8);

		/* Without memory the blocks stay unused: that is safe. */
		if (!p)
			return;
		memset((char *)p + o->map_blocks / 8, 0,
		       (want - o->map_blocks) / 8);
		o->free_map = p;
		o->map_blocks = want;
	}
	for (i = block; i < block + n; i++)
		o->free_map[i / 64] |= 1ull << (i % 64);
	o->n_free += n;
	if (block / 64 < o->hint)
		o->hint = block / 64;
}

static int write_at(struct erofs_out *o, uint64_t at, const void *data,
		    size_t len, struct err *e)
{
	int r = pwrite_full(o->fd, data, len, at);

	if (r < 0)
		return err_sys(e, -r, "write the image file");
	o->written += len;
	return 0;
}

int erofs_out_flush(struct erofs_out *o, struct err *e)
{
	int r = write_at(o, o->window_at, o->window, o->window_len, e);

	o->window_at += o->window_len;
	o->window_len = 0;
	return r;
}

int erofs_out_write(struct erofs_out *o, uint64_t at, const void *data,
		    size_t len, struct err *e)
{
	uint64_t end = o->window_at + o->window_len;
	int r;

	/* Into what is still here. */
	if (o->window_len && at >= o->window_at && at + len <= end) {
		memcpy(o->window + (at - o->window_at), data, len);
		return 0;
	}
	/* At its end, or elsewhere: a new window. */
	if (at != end || len > WINDOW_SIZE - o->window_len ||
	    len >= DIRECT_MIN) {
		r = erofs_out_flush(o, e);
		if (r < 0)
			return r;
		if (len >= DIRECT_MIN) {
			o->window_at = at + len;
			return write_at(o, at, data, len, e);
		}
		o->window_at = at;
	}
	memcpy(o->window + o->window_len, data, len);
	o->window_len += len;
	return 0;
}

static int make_hole(struct erofs_out *o, uint64_t block, uint64_t n,
		     struct err *e)
{
	static const uint8_t zeros[EROFS_BLOCK];
	uint64_t at = block * EROFS_BLOCK;
	int r = 0;

	if (fallocate(o->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)at, (off_t)(n * EROFS_BLOCK)) == 0)
		return 0;
	for (; n > 0 && r == 0; n--, at += EROFS_BLOCK)
		r = write_at(o, at, zeros, sizeof(zeros), e);
	return r;
}

int erofs_out_finish(struct erofs_out *o, uint64_t *ret, struct err *e)
{
	uint64_t b, start;
	int r = erofs_out_flush(o, e);

	if (r < 0)
		return r;
	while (o->end > 0 && is_free(o, o->end - 1))
		o->end--;
	if (ftruncate(o->fd, (off_t)(o->end * EROFS_BLOCK)) < 0)
		return err_sys(e, errno, "write the image file");
	for (b = 0; o->n_free && b < o->end && b < o->map_blocks; b++) {
		if (!is_free(o, b))
			continue;
		for (start = b; is_free(o, b); b++)
			;
		r = make_hole(o, start, b - start, e);
		if (r < 0)
			return r;
	}
	*ret = o->end;
	return 0;
}
