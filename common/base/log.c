/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *log_program = "hyb";
static enum log_level log_max = LOG_LEVEL_INFO;

static const char *const level_names[] = {"error", "warning", "info", "debug"};
_Static_assert(ARRAY_SIZE(level_names) == LOG_LEVEL_DEBUG + 1, "log levels");

int log_level_parse(const char *s, enum log_level *ret)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (strcmp(s, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

void log_init(const char *program, enum log_level max)
{
	log_program = program;
	log_max = max;
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	char text[2048], stamp[32];
	struct buf line = {.max = 16384};
	struct timespec ts;
	int saved = errno;
	struct tm tm;
	va_list ap;

	if (level > log_max)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	buf_printf(&line, "%s.%03ldZ %s %s: ", stamp, ts.tv_nsec / 1000000,
		   level_names[level], log_program);
	buf_put_escaped(&line, text, strlen(text));
	buf_putc(&line, '\n');
	/* One write, so that lines of threads do not mix. A log that cannot be
	 * written must not stop the program. */
	if (line.data && write(STDERR_FILENO, line.data, line.len) < 0)
		errno = saved;
	buf_done(&line);
	errno = saved;
}
