/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/out.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"

#include <inttypes.h>
#include <time.h>

bool out_colour(FILE *f)
{
	const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

	if (no && *no)
		return false;
	if (term && strcmp(term, "dumb") == 0)
		return false;
	return isatty(fileno(f)) == 1;
}

const char *out_tone_on(enum out_tone tone, bool colour)
{
	static const char *const codes[] = {
		[OUT_PLAIN] = "",	 [OUT_GOOD] = "\x1b[32m",
		[OUT_BAD] = "\x1b[31m",	 [OUT_BUSY] = "\x1b[33m",
		[OUT_FAINT] = "\x1b[2m",
	};

	return colour ? codes[tone] : "";
}

const char *out_tone_off(enum out_tone tone, bool colour)
{
	return colour && tone != OUT_PLAIN ? "\x1b[0m" : "";
}

void out_safe(struct buf *b, const char *s, size_t len, const char *keep)
{
	size_t n;

	while (len > 0) {
		for (n = 0; n < len; n++)
			if (s[n] != '\0' && strchr(keep, s[n]))
				break;
		buf_put_escaped(b, s, n);
		if (n < len)
			buf_putc(b, s[n++]);
		s += n;
		len -= n;
	}
}

void out_text(FILE *f, const char *s)
{
	_cleanup_buf_ struct buf b = BUF_INIT;

	out_safe(&b, s, strlen(s), "\\");
	fputs(buf_str(&b), f);
}

void out_error(const char *what, const struct err *e)
{
	bool colour = out_colour(stderr);

	fflush(stdout);
	fprintf(stderr, "%shyb: ", out_tone_on(OUT_BAD, colour));
	if (what && *what) {
		out_text(stderr, what);
		fputs(": ", stderr);
	}
	out_text(stderr, e->msg);
	fprintf(stderr, "%s\n", out_tone_off(OUT_BAD, colour));
	if (e->hint[0]) {
		fputs("hint: ", stderr);
		out_text(stderr, e->hint);
		fputc('\n', stderr);
	}
	fflush(stderr);
}

void out_note(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fflush(stdout);
	fputs("hyb: ", stderr);
	out_text(stderr, text);
	fputc('\n', stderr);
	fflush(stderr);
}

const char *out_size(uint64_t bytes, char out[24])
{
	static const char *const units[] = {"B",   "KiB", "MiB",
					    "GiB", "TiB", "PiB"};
	uint64_t whole = bytes, rest = 0;
	size_t u = 0;

	while (whole >= 1024 && u + 1 < ARRAY_SIZE(units)) {
		rest = whole % 1024;
		whole /= 1024;
		u++;
	}
	if (whole < 10 && u > 0 && rest * 10 / 1024 > 0)
		snprintf(out, 24, "%" PRIu64 ".%" PRIu64 " %s", whole,
			 rest * 10 / 1024, units[u]);
	else
		snprintf(out, 24, "%" PRIu64 " %s", whole, units[u]);
	return out;
}

const char *out_elapsed(uint64_t ms, char out[24])
{
	if (ms < 1000)
		snprintf(out, 24, "%" PRIu64 " ms", ms);
	else if (ms < 60000)
		snprintf(out, 24, "%" PRIu64 ".%" PRIu64 " s", ms / 1000,
			 ms % 1000 / 100);
	else
		snprintf(out, 24, "%" PRIu64 " m %" PRIu64 " s", ms / 60000,
			 ms % 60000 / 1000);
	return out;
}

const char *out_span(uint64_t s, char out[24])
{
	static const struct {
		uint64_t seconds;
		const char *name;
	} units[] = {
		{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
	size_t i;

	for (i = 0; i + 1 < ARRAY_SIZE(units); i++)
		if (s >= units[i].seconds)
			break;
	snprintf(out, 24, "%" PRIu64 " %s%s", s / units[i].seconds,
		 units[i].name, s / units[i].seconds == 1 ? "" : "s");
	return out;
}

/* The part behind the seconds: a fraction and a zone. */
static int parse_zone(const char *s, uint32_t *ret_ns, int64_t *ret_offset)
{
	uint32_t ns = 0, scale = 100000000;
	int h, m, n = 0;

	if (*s == '.') {
		if (s[1] < '0' || s[1] > '9')
			return -EINVAL;
		for (s++; *s >= '0' && *s <= '9'; s++) {
			ns += scale * (uint32_t)(*s - '0');
			scale /= 10;
		}
	}
	*ret_ns = ns;
	*ret_offset = 0;
	if (strcmp(s, "Z") == 0 || strcmp(s, "z") == 0)
		return 0;
	if ((*s != '+' && *s != '-') || s[1] < '0' || s[1] > '9' ||
	    sscanf(s + 1, "%2d:%2d%n", &h, &m, &n) != 2 || n != 5 ||
	    s[6] != '\0' || h > 23 || m > 59 || m < 0)
		return -EINVAL;
	*ret_offset = (h * 3600 + m * 60) * (*s == '-' ? -1 : 1);
	return 0;
}

int out_parse_time(const char *s, int64_t *ret_seconds, uint32_t *ret_ns)
{
	struct tm tm = {.tm_isdst = 0}, check;
	int64_t offset;
	uint32_t ns;
	time_t t;
	char t_sep;
	int n = 0;

	if (strlen(s) < 20 || strlen(s) > 40 || s[0] < '0' || s[0] > '9')
		return -EINVAL;
	if (sscanf(s, "%4d-%2d-%2d%c%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon,
		   &tm.tm_mday, &t_sep, &tm.tm_hour, &tm.tm_min, &tm.tm_sec,
		   &n) != 7 ||
	    n != 19 || (t_sep != 'T' && t_sep != 't'))
		return -EINVAL;
	if (parse_zone(s + 19, &ns, &offset) < 0)
		return -EINVAL;
	tm.tm_year -= 1900;
	tm.tm_mon -= 1;
	check = tm;
	t = timegm(&tm);
	/* timegm() turns 31 February into March: that is no time. */
	if (check.tm_mon != tm.tm_mon || check.tm_mday != tm.tm_mday ||
	    check.tm_hour != tm.tm_hour || check.tm_min != tm.tm_min ||
	    check.tm_sec != tm.tm_sec)
		return -EINVAL;
	*ret_seconds = (int64_t)t - offset;
	*ret_ns = ns;
	return 0;
}

const char *out_age(const char *stamp, char out[32])
{
	int64_t now = (int64_t)(now_realtime_ns() / 1000000000u), t;
	uint32_t ns;
	char span[24];

	out[0] = '\0';
	if (!stamp || out_parse_time(stamp, &t, &ns) < 0)
		return out;
	snprintf(out, 32, "%s ago",
		 out_span(t < now ? (uint64_t)(now - t) : 0, span));
	return out;
}

int out_parse_since(const char *s, int64_t *ret_ns, struct err *e)
{
	uint64_t span, now = now_realtime_ns();
	int64_t seconds;
	uint32_t ns;

	if (!s) {
		*ret_ns = 0;
		return 0;
	}
	if (parse_duration(s, &span) == 0) {
		*ret_ns = span < now ? (int64_t)(now - span) : 0;
		return 0;
	}
	if (out_parse_time(s, &seconds, &ns) == 0 && seconds >= 0 &&
	    seconds < INT64_MAX / 1000000000 - 1) {
		*ret_ns = seconds * 1000000000 + ns;
		return 0;
	}
	err_set(e, EINVAL, "--since: '%s' is neither a duration nor a time", s);
	err_hint(e, "like 10m, or 2026-01-31T12:00:00Z");
	return -EINVAL;
}
