/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/convert/inflate.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* zstd's own limit for streams: 128 MiB of window. */
#define ZSTD_WINDOW_LOG 27

struct inflate {
	enum inflate_kind kind;
	bool started; /* inside a member or frame */
	struct inflate_state gz;
	ZSTD_DStream *zs;
};

enum inflate_kind inflate_detect(const uint8_t *d, size_t len)
{
	if (len >= 4 && d[0] == 0x1f && d[1] == 0x8b && d[2] == 8)
		return INFLATE_GZIP;
	if (len >= 4 && d[0] == 0x28 && d[1] == 0xb5 && d[2] == 0x2f &&
	    d[3] == 0xfd)
		return INFLATE_ZSTD;
	/* A skippable frame, which zstd streams may begin with. */
	if (len >= 4 && (d[0] & 0xf0) == 0x50 && d[1] == 0x2a && d[2] == 0x4d &&
	    d[3] == 0x18)
		return INFLATE_ZSTD;
	return INFLATE_PLAIN;
}

struct inflate *inflate_new(enum inflate_kind kind)
{
	struct inflate *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->kind = kind;
	if (kind != INFLATE_ZSTD)
		return f;
	f->zs = ZSTD_createDStream();
	if (!f->zs || ZSTD_isError(ZSTD_DCtx_setParameter(
			      f->zs, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG))) {
		inflate_free(f);
		return NULL;
	}
	return f;
}

void inflate_free(struct inflate *f)
{
	if (!f)
		return;
	ZSTD_freeDStream(f->zs);
	free(f);
}

static int step_gzip(struct inflate *f, const uint8_t **in, size_t *in_len,
		     uint8_t *out, size_t size, size_t *ret, struct err *e)
{
	int r;

	if (!f->started) {
		if (*in_len == 0) {
			*ret = 0;
			return 0;
		}
		isal_inflate_init(&f->gz);
		f->gz.crc_flag = ISAL_GZIP;
		f->started = true;
	}
	/* The reader does not change its input. */
	f->gz.next_in = (uint8_t *)(uintptr_t)*in;
	f->gz.avail_in = (uint32_t)*in_len;
	f->gz.next_out = out;
	f->gz.avail_out = (uint32_t)size;
	r = isal_inflate(&f->gz);
	if (r == ISAL_INCORRECT_CHECKSUM)
		return err_set(e, EBADMSG, "gzip: the checksum is wrong");
	if (r < 0 || r == ISAL_NEED_DICT)
		return err_set(e, EBADMSG, "gzip: the data are broken");
	*in += *in_len - f->gz.avail_in;
	*in_len = f->gz.avail_in;
	*ret = size - f->gz.avail_out;
	if (f->gz.block_state == ISAL_BLOCK_FINISH)
		f->started = false; /* what follows is another member */
	return 0;
}

static int step_zstd(struct inflate *f, const uint8_t **in, size_t *in_len,
		     uint8_t *out, size_t size, size_t *ret, struct err *e)
{
	ZSTD_inBuffer ib = {.src = *in, .size = *in_len};
	ZSTD_outBuffer ob = {.dst = out, .size = size};
	size_t r = ZSTD_decompressStream(f->zs, &ob, &ib);

	if (ZSTD_isError(r))
		return err_set(e, EBADMSG, "zstd: %s", ZSTD_getErrorName(r));
	f->started = r != 0;
	*in += ib.pos;
	*in_len -= ib.pos;
	*ret = ob.pos;
	return 0;
}

int inflate_step(struct inflate *f, const uint8_t **in, size_t *in_len,
		 uint8_t *out, size_t size, size_t *ret, struct err *e)
{
	size_t n = *in_len < size ? *in_len : size;

	if (f->kind == INFLATE_GZIP)
		return step_gzip(f, in, in_len, out, size, ret, e);
	if (f->kind == INFLATE_ZSTD)
		return step_zstd(f, in, in_len, out, size, ret, e);
	memcpy(out, *in, n);
	*in += n;
	*in_len -= n;
	*ret = n;
	return 0;
}

int inflate_end(const struct inflate *f, struct err *e)
{
	if (f->kind == INFLATE_PLAIN || !f->started)
		return 0;
	return err_set(e, ENODATA, "%s: the data are cut",
		       f->kind == INFLATE_GZIP ? "gzip" : "zstd");
}
