/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text to values, strictly: the whole string or an error, no leading or
 * trailing space, no sign where none belongs, no overflow. All functions
 * return 0, -EINVAL (not of the form) or -ERANGE (out of range) and leave
 * *ret untouched on failure.
 */
#ifndef HYB_COMMON_BASE_PARSE_H
#define HYB_COMMON_BASE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Longest name, without the NUL. */
#define HYB_NAME_MAX 48

/* Decimal digits only. */
int parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret);
int parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret);

/* A uid or gid: the whole string decimal, 0 ... 2^31-1. */
int parse_uid(const char *s, uint32_t *ret);

/* A TCP or UDP port: 1 ... 65535. */
int parse_port(const char *s, uint16_t *ret);

/* Bytes: digits (with at most one fraction, "1.5g") and a suffix b, k, m, g, t
 * in either case, powers of 1024, an optional "b" or "ib" behind it
 * ("64m" "64MiB" "1g" "512"). At most 2^60. */
int parse_size(const char *s, uint64_t *ret_bytes);

/* Duration in ns: one or more NUMBER UNIT, unit ns us ms s m h ("1m30s",
 * "1.5s", "0s"). A bare "0" is zero; any other number needs a unit. At most
 * 10 years. */
int parse_duration(const char *s, uint64_t *ret_ns);

/* "true" or "false". */
int parse_bool(const char *s, bool *ret);

/* Is s a name: ^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$ */
bool name_is_valid(const char *s);

/* Hexadecimal digits (lower case) of len bytes into out[2 * len + 1]. */
void hex_format(const void *data, size_t len, char *out);
/* The other way: exactly 2 * len digits, either case. */
int hex_parse(const char *s, void *out, size_t len);

/* A signal by number ("9") or name ("KILL", "SIGKILL", any case). */
int parse_signal(const char *s, int *ret);
/* "SIGKILL", or NULL for an unknown number. */
const char *signal_name(int sig);

/* Splits a string into words as a POSIX shell would: blanks separate, '...',
 * "..." and backslash quote; nothing is expanded. *ret_argv ends with NULL and
 * is freed with strv_free(). -EINVAL on an open quote, -E2BIG over max words. */
int shell_split(const char *s, size_t max, char ***ret_argv);

void strv_free(char **v);
size_t strv_len(char *const *v);

/* Is a plain path that folder, or below it? By the text alone. */
bool path_is_below(const char *path, const char *folder);

#endif
