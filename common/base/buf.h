/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A byte buffer that grows up to a limit. Once an append has failed (memory,
 * or over the limit) the buffer keeps the error and later appends do nothing,
 * so a run of appends needs one check, of buf_error(), at its end.
 */
#ifndef HYB_COMMON_BASE_BUF_H
#define HYB_COMMON_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *data; /* NUL behind the last byte, or NULL when empty */
	size_t len; /* bytes in use */
	size_t cap;
	size_t max; /* limit of len; 0: 64 MiB */
	int error;  /* 0 or -errno, sticky */
};

#define BUF_INIT             \
	{                    \
		.data = NULL \
	}

void buf_done(struct buf *b);
#define _cleanup_buf_ __attribute__((cleanup(buf_done)))

int buf_append(struct buf *b, const void *data, size_t len);
int buf_puts(struct buf *b, const char *s);
int buf_putc(struct buf *b, char c);
int buf_printf(struct buf *b, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);
void buf_clear(struct buf *b);
/* 0 or the first error. */
int buf_error(const struct buf *b);
/* The text; "" when empty. Valid until the next change. */
const char *buf_str(const struct buf *b);
/* The text, owned by the caller; the buffer is empty from then on. NULL on a
 * sticky error. */
char *buf_steal(struct buf *b);

/* Text that an enemy may have written, made safe for a terminal and a log:
 * printable UTF-8 stays, everything else (control characters, C1, bidi
 * overrides, broken UTF-8, backslash) becomes \xNN. */
int buf_put_escaped(struct buf *b, const char *s, size_t len);
/* As above into out[size], cut at size with "..." ; returns out. */
char *text_escape(const char *s, char *out, size_t size);

#endif
