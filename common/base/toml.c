/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/toml.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define PATH_MAX_ (2 * HYB_TOML_TEXT_MAX)

struct reader {
	const char *p;
	unsigned int line;
	int depth;
	toml_fn fn;
	void *arg;
	struct err *e;
};

/* Where a value stands. */
struct place {
	char table[PATH_MAX_];
	char key[HYB_TOML_TEXT_MAX];
	int index;
};

static int bad(struct reader *r, const char *why)
{
	return err_set(r->e, EINVAL, "line %u: %s", r->line, why);
}

static void skip_blanks(struct reader *r)
{
	r->p += strspn(r->p, " \t");
}

/* Blanks, comments and ends of lines. */
static void skip_space(struct reader *r)
{
	for (;;) {
		r->p += strspn(r->p, " \t\r");
		if (*r->p == '#')
			r->p += strcspn(r->p, "\n");
		if (*r->p != '\n')
			return;
		r->line++;
		r->p++;
	}
}

/* ---------------------------------------------------------------- strings */

static int put(struct reader *r, char *out, size_t *n, char c)
{
	if (*n + 1 >= HYB_TOML_TEXT_MAX)
		return bad(r, "a text is too long");
	out[(*n)++] = c;
	return 0;
}

static int put_rune(struct reader *r, char *out, size_t *n, uint32_t c)
{
	static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
	int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	int e = put(r, out, n, (char)(lead[more] | c >> (6 * more)));

	while (e == 0 && more-- > 0)
		e = put(r, out, n, (char)(0x80 | (c >> (6 * more) & 0x3f)));
	return e;
}

/* \uXXXX and \UXXXXXXXX, behind the letter. */
static int take_rune(struct reader *r, int digits, char *out, size_t *n)
{
	static const char hex[] = "0123456789abcdefABCDEF";
	uint32_t c = 0;

	for (; digits > 0; digits--, r->p++) {
		const char *d = *r->p ? strchr(hex, *r->p) : NULL;

		if (!d)
			return bad(r, "a wrong escape in a string");
		c = c << 4 | (uint32_t)(d - hex < 16 ? d - hex : d - hex - 6);
	}
	if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return bad(r, "a wrong escape in a string");
	return put_rune(r, out, n, c);
}

/* Behind the backslash. */
static int take_escape(struct reader *r, bool lines, char *out, size_t *n)
{
	static const char from[] = "btnfre\"\\", to[] = "\b\t\n\f\r\033\"\\";
	const char *at;

	if (lines && r->p[strspn(r->p, " \t\r")] == '\n') {
		while (*r->p && strchr(" \t\r\n", *r->p))
			r->line += *r->p++ == '\n';
		return 0;
	}
	if (*r->p == 'u' || *r->p == 'U')
		return take_rune(r, *r->p++ == 'u' ? 4 : 8, out, n);
	at = *r->p ? strchr(from, *r->p) : NULL;
	if (!at)
		return bad(r, "a wrong escape in a string");
	r->p++;
	return put(r, out, n, to[at - from]);
}

/* At its first quote. */
static int take_string(struct reader *r, bool may_have_lines, char *out)
{
	const char q = *r->p, three[] = {q, q, q, '\0'};
	bool lines = may_have_lines && strncmp(r->p, three, 3) == 0;
	size_t n = 0;
	int e = 0;

	r->p += lines ? 3 : 1;
	if (lines && strncmp(r->p, "\r\n", 2) == 0)
		r->p++;
	if (lines && *r->p == '\n') {
		r->line++;
		r->p++;
	}
	while (e == 0) {
		if (lines ? strncmp(r->p, three, 3) == 0 && r->p[3] != q
			  : *r->p == q)
			break;
		if (!*r->p || (*r->p == '\n' && !lines))
			return bad(r, "a string has no end");
		if (*r->p == '\\' && q == '"') {
			r->p++;
			e = take_escape(r, lines, out, &n);
			continue;
		}
		r->line += *r->p == '\n';
		e = put(r, out, &n, *r->p++);
	}
	if (e < 0)
		return e; /* its end may be the text's */
	out[n] = '\0';
	r->p += lines ? 3 : 1;
	return 0;
}

/* ------------------------------------------------------------------- keys */

static int take_key_part(struct reader *r, char *out)
{
	static const char bare[] = "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	size_t n = strspn(r->p, bare);

	if (*r->p == '"' || *r->p == '\'')
		return take_string(r, false, out);
	if (n == 0)
		return bad(r, "a key is missing");
	if (n >= HYB_TOML_TEXT_MAX)
		return bad(r, "a text is too long");
	memcpy(out, r->p, n);
	out[n] = '\0';
	r->p += n;
	return 0;
}

static int descend(struct reader *r, struct place *at, const char *key)
{
	size_t n = strlen(at->table);

	if (n + strlen(key) + 2 > sizeof(at->table))
		return bad(r, "the tables' names are too long");
	snprintf(at->table + n, sizeof(at->table) - n, "%s%s", n ? "." : "",
		 key);
	return 0;
}

/* A.B.C: all but the last are tables. */
static int take_key(struct reader *r, struct place *at)
{
	int e;

	for (;;) {
		skip_blanks(r);
		e = take_key_part(r, at->key);
		if (e < 0)
			return e;
		skip_blanks(r);
		if (*r->p != '.')
			return 0;
		r->p++;
		e = descend(r, at, at->key);
		if (e < 0)
			return e;
	}
}

/* ----------------------------------------------------------------- values */

static int take_value(struct reader *r, const struct place *at);

static int take_pair(struct reader *r, const struct place *table)
{
	struct place at = *table;
	int e;

	at.index = -1;
	e = take_key(r, &at);
	if (e < 0)
		return e;
	if (*r->p != '=')
		return bad(r, "'=' is missing behind a key");
	r->p++;
	skip_blanks(r);
	return take_value(r, &at);
}

static int take_array(struct reader *r, const struct place *at)
{
	struct place item = *at;
	int e = r->fn(r->arg, at->table, at->key, -1, NULL, r->e);

	r->p++;
	for (item.index = 0; e == 0; item.index++) {
		skip_space(r);
		if (*r->p == ']')
			break;
		e = take_value(r, &item);
		skip_space(r);
		if (e == 0 && *r->p == ',')
			r->p++;
		else if (e == 0 && *r->p != ']')
			return bad(r, "an array has no end");
	}
	r->p += e == 0;
	return e;
}

static int take_inline(struct reader *r, const struct place *at)
{
	struct place table = *at;
	int e = descend(r, &table, at->key);

	r->p++;
	skip_blanks(r);
	while (e == 0 && *r->p != '}') {
		e = take_pair(r, &table);
		skip_blanks(r);
		if (e == 0 && *r->p == ',')
			r->p++;
		else if (e == 0 && *r->p != '}')
			return bad(r, "an inline table has no end");
	}
	r->p += e == 0;
	return e;
}

static int take_value(struct reader *r, const struct place *at)
{
	char text[HYB_TOML_TEXT_MAX];
	size_t n;
	int e;

	if (*r->p == '"' || *r->p == '\'') {
		e = take_string(r, true, text);
		return e < 0 ? e
			     : r->fn(r->arg, at->table, at->key, at->index,
				     text, r->e);
	}
	if (*r->p == '[' || *r->p == '{') {
		if (r->depth == HYB_TOML_DEPTH_MAX)
			return bad(r, "values are too deep in one another");
		r->depth++;
		e = *r->p == '[' ? take_array(r, at) : take_inline(r, at);
		r->depth--;
		return e;
	}
	/* A number, a truth or a time. */
	n = strcspn(r->p, ",]}#\r\n");
	if (n == 0 || !strchr("+-0123456789tfin", *r->p))
		return bad(r, "a value is missing");
	r->p += n;
	return 0;
}

/* ------------------------------------------------------------------ lines */

/* [TABLE] or [[TABLE]] */
static int take_header(struct reader *r, struct place *table)
{
	bool list = r->p[1] == '[';
	int e;

	memset(table, 0, sizeof(*table));
	r->p += list ? 2 : 1;
	e = take_key(r, table);
	if (e == 0)
		e = descend(r, table, table->key);
	if (e < 0)
		return e;
	if (strncmp(r->p, list ? "]]" : "]", list ? 2 : 1) != 0)
		return bad(r, "']' is missing behind a table's name");
	r->p += list ? 2 : 1;
	return 0;
}

int toml_read(const char *text, toml_fn fn, void *arg, struct err *e)
{
	struct reader r = {.p = text, .line = 1, .fn = fn, .arg = arg, .e = e};
	struct place table = {.index = -1};
	int err = 0;

	for (skip_space(&r); err == 0 && *r.p; skip_space(&r)) {
		err = *r.p == '[' ? take_header(&r, &table)
				  : take_pair(&r, &table);
		skip_blanks(&r);
		if (err == 0 && *r.p && !strchr("#\r\n", *r.p))
			return bad(&r, "something stands behind a value");
	}
	return err;
}
