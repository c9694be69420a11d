/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to --log: errors, and with --debug what is being done. */
#include "guest-agent/runtime/runtime.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/json.h"

static void write_json(FILE *f, const char *stamp, const char *level,
		       const char *msg)
{
	json_t *json = json_pack("{ss ss ss}", "level", level, "msg", msg,
				 "time", stamp);
	_cleanup_free_ char *text =
		json ? json_dumps(json, JSON_COMPACT) : NULL;

	json_decref(json);
	if (text)
		fprintf(f, "%s\n", text);
}

/* time="..." level=error msg="...": as runc's log has it. */
static void write_text(FILE *f, const char *stamp, const char *level,
		       const char *msg)
{
	const char *c;

	fprintf(f, "time=\"%s\" level=%s msg=\"", stamp, level);
	for (c = msg; *c; c++) {
		if (*c == '"' || *c == '\\')
			fputc('\\', f);
		if ((unsigned char)*c < ' ')
			fprintf(f, "\\x%02x", (unsigned int)*c);
		else
			fputc(*c, f);
	}
	fputs("\"\n", f);
}

/* "file:" is crun's way to say so. */
static FILE *open_log(const struct options *o)
{
	if (!o->log)
		return NULL;
	return fopen(strncmp(o->log, "file:", 5) == 0 ? o->log + 5 : o->log,
		     "ae");
}

int check_log(const struct options *o, struct err *e)
{
	_cleanup_fclose_ FILE *f = NULL;

	if (!o->log)
		return 0;
	if (strncmp(o->log, "syslog:", 7) == 0 ||
	    strncmp(o->log, "journald:", 9) == 0)
		return err_set(e, ENOTSUP,
			       "--log: '%s': only a file can be written to",
			       o->log);
	f = open_log(o);
	return f ? 0 : err_sys(e, errno, "--log: '%s'", o->log);
}

static void write_line(const struct options *o, FILE *f, const char *level,
		       const char *msg)
{
	time_t now = time(NULL);
	char stamp[32];
	struct tm tm;

	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ",
		 gmtime_r(&now, &tm));
	if (o->log_json)
		write_json(f, stamp, level, msg);
	else
		write_text(f, stamp, level, msg);
}

void debug_line(const struct options *o, const char *fmt, ...)
{
	_cleanup_fclose_ FILE *f = NULL;
	char msg[512];
	va_list ap;

	if (!o->debug)
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	f = open_log(o);
	write_line(o, f ? f : stderr, "debug", msg);
}

void report_error(const struct options *o, const struct err *e)
{
	_cleanup_fclose_ FILE *f = open_log(o);

	fprintf(stderr, "hyb-runtime: %s\n", e->msg);
	if (f)
		write_line(o, f, "error", e->msg);
}
