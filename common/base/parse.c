/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/parse.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Wide enough that a product of two in-range numbers cannot overflow. */
__extension__ typedef unsigned __int128 u128;

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int parse_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t v = 0;

	if (!is_digit(*s))
		return -EINVAL;
	for (; is_digit(*s); s++) {
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return -ERANGE;
	}
	if (*s)
		return -EINVAL;
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	bool negative = *s == '-';
	uint64_t u;
	int64_t v;
	int r;

	r = parse_u64(s + negative, 0, (uint64_t)INT64_MAX + negative, &u);
	if (r < 0)
		return r;
	v = negative ? (int64_t)(0 - u) : (int64_t)u;
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int parse_uid(const char *s, uint32_t *ret)
{
	uint64_t v;
	int r = parse_u64(s, 0, INT32_MAX, &v);

	if (r == 0)
		*ret = (uint32_t)v;
	return r;
}

int parse_port(const char *s, uint16_t *ret)
{
	uint64_t v;
	int r = parse_u64(s, 1, 65535, &v);

	if (r == 0)
		*ret = (uint16_t)v;
	return r;
}

/*
 * DIGITS[.DIGITS] at *s as a count of 1/unit: the number times unit, rounded
 * down. Moves *s behind it.
 */
static int parse_decimal(const char **s, uint64_t unit, uint64_t max,
			 uint64_t *ret)
{
	u128 v = 0, frac = 0, scale = 1;
	const char *p = *s;

	if (!is_digit(*p))
		return -EINVAL;
	for (; is_digit(*p); p++) {
		v = v * 10 + (unsigned)(*p - '0');
		if (v > max)
			return -ERANGE;
	}
	if (*p == '.') {
		p++;
		if (!is_digit(*p))
			return -EINVAL;
		for (; is_digit(*p); p++) {
			if (scale >= 1000000000000u)
				continue; /* finer than any unit here */
			frac = frac * 10 + (unsigned)(*p - '0');
			scale *= 10;
		}
	}
	v = v * unit + frac * unit / scale;
	if (v > max)
		return -ERANGE;
	*ret = (uint64_t)v;
	*s = p;
	return 0;
}

/* Skips digits and dots: where the unit begins. */
static const char *skip_number(const char *s)
{
	while (is_digit(*s) || *s == '.')
		s++;
	return s;
}

int parse_size(const char *s, uint64_t *ret)
{
	static const char suffixes[] = "kmgt";
	const char *unit = skip_number(s), *at;
	uint64_t factor = 1, v;
	int r;

	if (*unit) {
		at = strchr(suffixes, tolower((unsigned char)*unit));
		if (at)
			factor = (uint64_t)1024 << (10 * (at - suffixes));
		else if (strcasecmp(unit, "b") != 0)
			return -EINVAL;
		if (at && unit[1] && strcasecmp(unit + 1, "b") != 0 &&
		    strcasecmp(unit + 1, "ib") != 0)
			return -EINVAL;
	}
	r = parse_decimal(&s, factor, (uint64_t)1 << 60, &v);
	if (r < 0)
		return r;
	if (s != unit)
		return -EINVAL;
	*ret = v;
	return 0;
}

static const struct {
	const char *name;
	uint64_t ns;
} duration_units[] = {
	{"ns", 1},	   {"us", 1000},       {"ms", 1000000},
	{"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000},
};

int parse_duration(const char *s, uint64_t *ret)
{
	const uint64_t max = (uint64_t)3650 * 24 * 3600 * 1000000000;
	uint64_t sum = 0, v, factor;
	const char *unit;
	size_t i, n;
	int r;

	if (strcmp(s, "0") == 0) {
		*ret = 0;
		return 0;
	}
	do {
		unit = skip_number(s);
		n = strspn(unit, "nusmh");
		factor = 0;
		for (i = 0; i < ARRAY_SIZE(duration_units); i++)
			if (n == strlen(duration_units[i].name) &&
			    strncmp(unit, duration_units[i].name, n) == 0)
				factor = duration_units[i].ns;
		if (!factor)
			return -EINVAL;
		r = parse_decimal(&s, factor, max, &v);
		if (r < 0)
			return r;
		if (s != unit)
			return -EINVAL;
		sum += v;
		if (sum > max)
			return -ERANGE;
		s += n;
	} while (*s);
	*ret = sum;
	return 0;
}

int parse_bool(const char *s, bool *ret)
{
	if (strcmp(s, "true") == 0)
		*ret = true;
	else if (strcmp(s, "false") == 0)
		*ret = false;
	else
		return -EINVAL;
	return 0;
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || is_digit(c);
}

bool name_is_valid(const char *s)
{
	size_t i, n = strnlen(s, HYB_NAME_MAX + 1);

	if (n < 1 || n > HYB_NAME_MAX || !is_name_char(s[0]) ||
	    !is_name_char(s[n - 1]))
		return false;
	for (i = 0; i < n; i++)
		if (!is_name_char(s[i]) && s[i] != '-')
			return false;
	return true;
}

void hex_format(const void *data, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = data;
	size_t i;

	for (i = 0; i < len; i++) {
		out[2 * i] = digits[p[i] >> 4];
		out[2 * i + 1] = digits[p[i] & 15];
	}
	out[2 * len] = '\0';
}

static int hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int hex_parse(const char *s, void *out, size_t len)
{
	unsigned char *p = out;
	int hi, lo;
	size_t i;

	if (strnlen(s, 2 * len + 1) != 2 * len)
		return -EINVAL;
	for (i = 0; i < 2 * len; i++)
		if (hex_value(s[i]) < 0)
			return -EINVAL;
	for (i = 0; i < len; i++) {
		hi = hex_value(s[2 * i]);
		lo = hex_value(s[2 * i + 1]);
		p[i] = (unsigned char)(hi << 4 | lo);
	}
	return 0;
}

int parse_signal(const char *s, int *ret)
{
	const char *abbrev;
	uint64_t v;
	int i;

	if (is_digit(*s)) {
		if (parse_u64(s, 1, (uint64_t)SIGRTMAX, &v) < 0)
			return -EINVAL;
		*ret = (int)v;
		return 0;
	}
	if (strncasecmp(s, "SIG", 3) == 0)
		s += 3;
	for (i = 1; i < 32; i++) {
		abbrev = sigabbrev_np(i);
		if (abbrev && strcasecmp(s, abbrev) == 0) {
			*ret = i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *signal_name(int sig)
{
	static const char *const names[32] = {
		[SIGHUP] = "SIGHUP",   [SIGINT] = "SIGINT",
		[SIGQUIT] = "SIGQUIT", [SIGILL] = "SIGILL",
		[SIGTRAP] = "SIGTRAP", [SIGABRT] = "SIGABRT",
		[SIGBUS] = "SIGBUS",   [SIGFPE] = "SIGFPE",
		[SIGKILL] = "SIGKILL", [SIGUSR1] = "SIGUSR1",
		[SIGSEGV] = "SIGSEGV", [SIGUSR2] = "SIGUSR2",
		[SIGPIPE] = "SIGPIPE", [SIGALRM] = "SIGALRM",
		[SIGTERM] = "SIGTERM", [SIGSTKFLT] = "SIGSTKFLT",
		[SIGCHLD] = "SIGCHLD", [SIGCONT] = "SIGCONT",
		[SIGSTOP] = "SIGSTOP", [SIGTSTP] = "SIGTSTP",
		[SIGTTIN] = "SIGTTIN", [SIGTTOU] = "SIGTTOU",
		[SIGURG] = "SIGURG",   [SIGXCPU] = "SIGXCPU",
		[SIGXFSZ] = "SIGXFSZ", [SIGVTALRM] = "SIGVTALRM",
		[SIGPROF] = "SIGPROF", [SIGWINCH] = "SIGWINCH",
		[SIGIO] = "SIGIO",     [SIGPWR] = "SIGPWR",
		[SIGSYS] = "SIGSYS",
	};

	if (sig < 1 || sig >= (int)ARRAY_SIZE(names))
		return NULL;
	return names[sig];
}

void strv_free(char **v)
{
	size_t i;

	for (i = 0; v && v[i]; i++)
		free(v[i]);
	free(v);
}

size_t strv_len(char *const *v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

/* One word at *s (which is not blank) into b; moves *s behind it. */
static int shell_word(const char **s, struct buf *b)
{
	char quote = '\0';
	const char *p;

	for (p = *s; *p; p++) {
		if (quote == '\'') {
			if (*p == '\'')
				quote = '\0';
			else
				buf_putc(b, *p);
		} else if (*p == '\\') {
			/* In double quotes a backslash quotes only these. */
			if (quote && !strchr("$`\"\\\n", p[1]))
				buf_putc(b, *p);
			else if (!p[1])
				return -EINVAL;
			else if (*++p != '\n')
				buf_putc(b, *p);
		} else if (quote && *p == quote) {
			quote = '\0';
		} else if (!quote && (*p == '\'' || *p == '"')) {
			quote = *p;
		} else if (!quote && strchr(" \t\n", *p)) {
			break;
		} else {
			buf_putc(b, *p);
		}
	}
	*s = p;
	return quote ? -EINVAL : b->error;
}

int shell_split(const char *s, size_t max, char ***ret)
{
	char **v = calloc(1, sizeof(*v)), **grown;
	size_t n = 0;
	int r = 0;

	if (!v)
		return -ENOMEM;
	for (;;) {
		struct buf word = BUF_INIT;

		s += strspn(s, " \t\n");
		if (!*s)
			break;
		r = n < max ? shell_word(&s, &word) : -E2BIG;
		grown = r < 0 ? NULL : reallocarray(v, n + 2, sizeof(*v));
		if (!grown) {
			buf_done(&word);
			r = r < 0 ? r : -ENOMEM;
			break;
		}
		v = grown;
		v[n] = buf_steal(&word);
		v[++n] = NULL;
	}
	if (r < 0) {
		strv_free(v);
		return r;
	}
	*ret = v;
	return 0;
}

bool path_is_below(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return strncmp(path, folder, n) == 0 &&
	       (path[n] == '\0' || path[n] == '/');
}
