/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
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

/* ----------------------------------------------------------- a limited file */

static struct {
	pthread_mutex_t lock;
	const char *path; /* NULL: no limit */
	long long max, written;
} limited = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Is the descriptor the file that has that name? */
static bool is_file(int fd, const char *path, off_t *ret_size)
{
	struct stat a, b;

	if (fstat(fd, &a) < 0 || !S_ISREG(a.st_mode) || lstat(path, &b) < 0 ||
	    a.st_dev != b.st_dev || a.st_ino != b.st_ino)
		return false;
	*ret_size = a.st_size;
	return true;
}

void log_limit(const char *path, long long max)
{
	off_t size = 0;

	pthread_mutex_lock(&limited.lock);
	limited.path = is_file(STDERR_FILENO, path, &size) ? path : NULL;
	limited.max = max;
	limited.written = size;
	pthread_mutex_unlock(&limited.lock);
}

/* With the lock held. What cannot be done is tried again after as much. */
static void start_anew(void)
{
	bool out_too;
	char old[4096];
	off_t size;
	int fd;

	limited.written = 0;
	if (!is_file(STDERR_FILENO, limited.path, &size) ||
	    snprintf(old, sizeof(old), "%s.1", limited.path) >=
		    (int)sizeof(old))
		return;
	out_too = is_file(STDOUT_FILENO, limited.path, &size);
	if (rename(limited.path, old) < 0)
		return;
	fd = open(limited.path,
		  O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0640);
	if (fd < 0) {
		/* By its name it is known the next time. */
		(void)rename(old, limited.path);
		return;
	}
	dup2(fd, STDERR_FILENO);
	if (out_too)
		dup2(fd, STDOUT_FILENO);
	close(fd);
}

static void count(size_t n)
{
	pthread_mutex_lock(&limited.lock);
	limited.written += (long long)n;
	if (limited.path && limited.written > limited.max)
		start_anew();
	pthread_mutex_unlock(&limited.lock);
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
	if (line.data && write(STDERR_FILENO, line.data, line.len) > 0)
		count(line.len);
	buf_done(&line);
	errno = saved;
}
