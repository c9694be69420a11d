/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines on standard error: "2026-01-01T00:00:00.123Z LEVEL program: text".
 * Only the edges log (main, dispatcher, reconcile loop); library code returns
 * errors. Control characters in a message are escaped.
 */
#ifndef HYB_COMMON_BASE_LOG_H
#define HYB_COMMON_BASE_LOG_H

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};

/* "error", "warning", "info", "debug": 0 or -EINVAL. */
int log_level_parse(const char *s, enum log_level *ret);

/* program is kept by reference. */
void log_init(const char *program, enum log_level max);
/* Where standard error is the file `path` (kept by reference), it grows to `max`
 * bytes, and is then PATH.1, in place of the last one. For programs whose lines
 * others can bring about. */
void log_limit(const char *path, long long max);
void log_msg(enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) log_msg(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...)  log_msg(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...)  log_msg(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
