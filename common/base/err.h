/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors that carry context.
 *
 * A function that can fail in more than one way takes a `struct err *e` as its
 * last parameter and returns 0 or -errno. The innermost layer fills in code
 * and message with err_set(); every layer above may put what it was doing in
 * front with err_wrap(): "deploy 'shop': vm 'web': attach disk: No space left
 * on device". `e` may be NULL where the caller wants no text.
 */
#ifndef HYB_COMMON_BASE_ERR_H
#define HYB_COMMON_BASE_ERR_H

#include <errno.h>
#include <stdarg.h>

#define HYB_ERR_MSG_MAX 1024

struct err {
	int code;			/* positive errno, 0: no error */
	char msg[HYB_ERR_MSG_MAX];	/* one line, no newline at the end */
	char hint[HYB_ERR_MSG_MAX / 2]; /* what the user can do, or "" */
};

#define ERR_INIT          \
	{                 \
		.code = 0 \
	}

/* Sets the message and code (a positive errno); returns -code. A message that
 * does not fit is cut and ends in "...". */
int err_set(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));

/* As err_set(), with ": strerror(code)" put behind the message. */
int err_sys(struct err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));

/* Puts "PREFIX: " in front of the message; returns -e->code (-EIO where e is
 * NULL or holds none). */
int err_wrap(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), cold));

/* Says what the user can do about it; leaves code and message alone. */
void err_hint(struct err *e, const char *fmt, ...)
	__attribute__((format(printf, 2, 3), cold));

/* Forgets the error. */
void err_clear(struct err *e);

#endif
