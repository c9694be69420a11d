/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tar streams from a few lines of text, broken ones too. One line, one thing:
 *
 *   f NAME DATA    file             d NAME MODE    folder (0755)
 *   l NAME TARGET  symbolic link    h NAME TARGET  hard link
 *   c NAME MA:MI   character device b NAME MA:MI   block device
 *   p NAME         fifo             F NAME N       file of N bytes 'x'
 *   ?T NAME DATA   an entry of type T
 *   @OFF BYTES     the next header has these bytes there, before its sum
 *   #              the next header's sum is wrong
 *   x KEY=VALUE    a PAX record; lines that follow one another, one header
 *   g KEY=VALUE    the same for the whole archive
 *   L NAME, K NAME GNU's long name, long target of a link
 *   0 N            N zero bytes     . BYTES        these bytes
 *   - N            the last N bytes go again
 *   !              no end mark
 *
 * In words: \xHH a byte, \s a blank, \n, \\ and \0 as in C, \T the folder of
 * the test, {C*N} the character C, N times.
 */
#ifndef HYB_TESTS_UNIT_IMAGE_SCRIPT_H
#define HYB_TESTS_UNIT_IMAGE_SCRIPT_H

#include "tests/unit/image_build.h"

struct script {
	struct buf *out;
	const char *top;
	struct buf pax;
	struct buf word, arg;
	struct {
		size_t at;
		char bytes[24];
		size_t len;
	} patch[8];
	size_t n_patch;
	char pax_type;
	bool bad_sum, no_end;
};

static inline void script_word(const struct script *s, const char *p,
			       size_t len, struct buf *out)
{
	const char *end = p + len;
	char c;
	int n, used = 0;
	unsigned int v = 0;

	buf_clear(out);
	while (p < end) {
		if (*p == '{' && p + 4 < end && p[2] == '*') {
			c = p[1];
			n = (int)strtol(p + 3, NULL, 10);
			while (n-- > 0)
				buf_putc(out, c);
			p = strchr(p + 3, '}') + 1;
			continue;
		}
		if (*p != '\\') {
			buf_putc(out, *p++);
			continue;
		}
		p++;
		if (*p == 'x' && sscanf(p + 1, "%2x%n", &v, &used) == 1)
			p += used;
		else if (*p == 'T')
			buf_puts(out, s->top);
		else
			v = *p == 's'	? ' '
			    : *p == 'n' ? '\n'
			    : *p == '0' ? 0
					: (unsigned char)*p;
		if (*p != 'T')
			buf_putc(out, (char)v);
		p++;
	}
}

static inline void script_head(struct script *s, struct ent *t)
{
	char h[512];
	size_t i;

	tar_header(h, t, t->len);
	for (i = 0; i < s->n_patch; i++)
		memcpy(h + s->patch[i].at, s->patch[i].bytes, s->patch[i].len);
	s->n_patch = 0;
	tar_sum(h);
	if (s->bad_sum)
		h[148] ^= 1;
	s->bad_sum = false;
	buf_append(s->out, h, 512);
	if (t->len)
		tar_data_(s->out, t->data, t->len);
}

/* The records so far become a header of their own. */
static inline void script_flush_pax(struct script *s)
{
	struct ent t = {.type = s->pax_type, .name = "x", .mode = 0644};

	if (s->pax.len == 0)
		return;
	t.data = s->pax.data;
	t.len = s->pax.len;
	/* Patches are for what follows. */
	{
		size_t n = s->n_patch;

		s->n_patch = 0;
		script_head(s, &t);
		s->n_patch = n;
	}
	buf_clear(&s->pax);
}

static inline void script_record(struct script *s, char type)
{
	size_t len = s->word.len + 2, all = len;
	char head[32];

	if (s->pax_type != type)
		script_flush_pax(s);
	s->pax_type = type;
	do
		all = len + (size_t)snprintf(head, sizeof(head), "%zu", all);
	while ((size_t)snprintf(head, sizeof(head), "%zu", all) + len != all);
	buf_puts(&s->pax, head);
	buf_putc(&s->pax, ' ');
	buf_append(&s->pax, s->word.data, s->word.len);
	buf_putc(&s->pax, '\n');
}

static inline void script_entry(struct script *s, char kind)
{
	static const char kinds[] = "fdlhcbpF", types[] = "05213460";
	struct ent t = {.name = buf_str(&s->word), .mode = 0644, .mtime = 1000};
	const char *k = strchr(kinds, kind);
	struct buf big = BUF_INIT;
	size_t n = (size_t)strtoull(buf_str(&s->arg), NULL, 10);

	t.type = k ? types[k - kinds] : kind;
	if (kind == 'd')
		t.mode = s->arg.len ? (unsigned int)strtoul(buf_str(&s->arg),
							    NULL, 8)
				    : 0755;
	else if (kind == 'l' || kind == 'h')
		t.link = buf_str(&s->arg);
	else if (kind == 'c' || kind == 'b') {
		const char *minor = strchr(buf_str(&s->arg), ':');

		assert(s->n_patch + 2 <= 8);
		tar_octal(s->patch[s->n_patch].bytes, 8, n);
		s->patch[s->n_patch].at = 329;
		s->patch[s->n_patch++].len = 8;
		tar_octal(s->patch[s->n_patch].bytes, 8,
			  minor ? strtoull(minor + 1, NULL, 10) : 3);
		s->patch[s->n_patch].at = 337;
		s->patch[s->n_patch++].len = 8;
	} else if (kind == 'F') {
		while (big.len < n)
			buf_append(&big, "xxxxxxxxxxxxxxxx",
				   n - big.len < 16 ? n - big.len : 16);
		t.data = big.data;
		t.len = n;
	} else {
		t.data = s->arg.data;
		t.len = s->arg.len;
	}
	script_head(s, &t);
	buf_done(&big);
}

static inline void script_long(struct script *s, char type)
{
	struct ent t = {.type = type, .name = "././@LongLink", .mode = 0644};

	t.data = buf_str(&s->word);
	t.len = s->word.len + 1; /* with its NUL */
	script_head(s, &t);
}

static inline void script_line(struct script *s, const char *line, size_t len)
{
	size_t skip = line[0] == '?' || line[0] == '@' ? 0 : 1, n;
	const char *p = line + skip + (skip && len > 1), *space;
	char kind = line[0];
	size_t at = 0;

	len -= (size_t)(p - line);
	if (kind == '?') {
		kind = p[1];
		p += 3;
		len -= 3;
	} else if (kind == '@') {
		char *end;

		at = (size_t)strtoul(p + 1, &end, 10);
		len -= (size_t)(end + 1 - p);
		p = end + 1;
	}
	space = strchr("xgLK.@", kind) && line[0] != '?' ? NULL
							 : memchr(p, ' ', len);
	n = space ? (size_t)(space - p) : len;
	script_word(s, p, n, &s->word);
	script_word(s, space ? space + 1 : p, space ? len - n - 1 : 0, &s->arg);
	if (line[0] != '?' && (kind == 'x' || kind == 'g')) {
		script_record(s, kind);
		return;
	}
	if (kind == '@') {
		assert(s->word.len <= sizeof(s->patch[0].bytes));
		s->patch[s->n_patch].at = at;
		memcpy(s->patch[s->n_patch].bytes, s->word.data, s->word.len);
		s->patch[s->n_patch++].len = s->word.len;
		return;
	}
	script_flush_pax(s);
	n = (size_t)strtoull(buf_str(&s->word), NULL, 10);
	if (line[0] == '?')
		script_entry(s, kind);
	else if (kind == '#')
		s->bad_sum = true;
	else if (kind == '!')
		s->no_end = true;
	else if (kind == 'L' || kind == 'K')
		script_long(s, kind);
	else if (kind == '0')
		while (n-- > 0)
			buf_putc(s->out, '\0');
	else if (kind == '.')
		buf_append(s->out, s->word.data, s->word.len);
	else if (kind == '-')
		s->out->len -= n;
	else
		script_entry(s, kind);
}

/* Appends the tar that the lines describe. */
static inline void script_run(const char *lines, const char *dir,
			      struct buf *out)
{
	struct script s = {.out = out, .top = dir};

	while (*lines) {
		size_t n = strcspn(lines, "\n");

		if (n)
			script_line(&s, lines, n);
		lines += n + (lines[n] == '\n');
	}
	script_flush_pax(&s);
	if (!s.no_end)
		tar_end(out);
	buf_done(&s.pax);
	buf_done(&s.word);
	buf_done(&s.arg);
}

#endif
