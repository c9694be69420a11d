/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/manifest/diag.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host-agent/manifest/text.h"

/* Of a value, in a message. */
#define QUOTE_MAX 60
/* Of another's message. */
#define MESSAGE_MAX 240
/* Of a source line: a longer one is cut around the caret. */
#define SOURCE_MAX    100
#define SOURCE_BEFORE 60

int diags_init(struct diags *d, struct arena *arena)
{
	memset(d, 0, sizeof(*d));
	d->arena = arena;
	d->items =
		arena_alloc(arena, HYB_MANIFEST_ERRORS_MAX, sizeof(*d->items));
	return d->items ? 0 : -ENOMEM;
}

void diag_add(struct diags *d, uint32_t line, uint32_t col, const char *fmt,
	      ...)
{
	struct buf b = BUF_INIT;
	va_list ap;

	if (d->n == HYB_MANIFEST_ERRORS_MAX) {
		d->truncated = true;
		return;
	}
	va_start(ap, fmt);
	buf_vprintf(&b, fmt, ap);
	va_end(ap);
	d->items[d->n].line = line;
	d->items[d->n].col = col;
	d->items[d->n].source = "";
	d->items[d->n].message = arena_strdup(d->arena, buf_str(&b));
	if (b.error || !d->items[d->n].message)
		d->no_memory = true;
	else
		d->n++;
	buf_done(&b);
}

/* Escaped and cut after `max` characters, between two quotes. */
static const char *show(struct diags *d, const char *text, size_t len,
			size_t max, const char *quote)
{
	struct buf b = BUF_INIT;
	uint32_t cp;
	size_t at = 0, n, chars = 0;
	char *copy;

	/* Nothing more is going to be shown. */
	if (d->n == HYB_MANIFEST_ERRORS_MAX)
		return "";
	for (; at < len && chars < max; at += n, chars++) {
		n = text_char(text + at, len - at, &cp);
		n = n ? n : 1;
	}
	buf_puts(&b, quote);
	buf_put_escaped(&b, text, at);
	buf_puts(&b, at < len ? "..." : "");
	buf_puts(&b, quote);
	copy = arena_strdup(d->arena, buf_str(&b));
	if (b.error || !copy)
		d->no_memory = true;
	buf_done(&b);
	return copy ? copy : "";
}

const char *diag_quote(struct diags *d, const char *text, size_t len)
{
	return show(d, text, len, QUOTE_MAX, "'");
}

const char *diag_message(struct diags *d, const char *text)
{
	return show(d, text, strlen(text), MESSAGE_MAX, "");
}

static int compare_places(const void *a, const void *b)
{
	const struct manifest_diagnostic *x = a, *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	if (x->col != y->col)
		return x->col < y->col ? -1 : 1;
	return strcmp(x->message, y->message);
}

/* One character of a source line as it is shown; the columns it took. */
static uint32_t show_char(struct buf *b, const char *s, size_t n, uint32_t cp,
			  uint32_t column)
{
	size_t before = b->len;

	if (cp == '\t') {
		do
			buf_putc(b, ' ');
		while (++column % 8);
		return (uint32_t)(b->len - before);
	}
	if (cp == '\\') {
		buf_putc(b, '\\');
		return 1;
	}
	buf_put_escaped(b, s, n);
	if (b->len > before && b->data[before] == '\\')
		return (uint32_t)(b->len - before);
	return text_width(cp);
}

/* A place in the text that moves forward only: one pass serves all, since the
 * diagnostics are sorted. */
struct cursor {
	const char *s;
	size_t len;
	uint32_t line, col;
};

static void cursor_seek(struct cursor *c, uint32_t line, uint32_t col)
{
	size_t n;
	uint32_t cp;

	while (c->len > 0 &&
	       (c->line < line || (c->line == line && c->col < col))) {
		n = text_break(c->s, c->len);
		if (n > 0 && c->line == line)
			return;
		c->col = n > 0 ? 1 : c->col + 1;
		c->line += n > 0;
		n = n > 0 ? n : text_char(c->s, c->len, &cp);
		n = n > 0 ? n : 1;
		c->s += n;
		c->len -= n;
	}
}

/* The line as it is shown from this place on, with the caret's column. */
static void show_source(struct diags *d, struct manifest_diagnostic *item,
			struct cursor c)
{
	uint32_t first = c.col, cp, column = 0;
	struct buf b = BUF_INIT;
	size_t n;

	if (first > 1) {
		buf_puts(&b, "...");
		column = 3;
	}
	for (; c.len > 0 && !text_break(c.s, c.len); c.col++) {
		if (c.col == item->col)
			item->caret = column;
		if (c.col == first + SOURCE_MAX) {
			buf_puts(&b, "...");
			break;
		}
		n = text_char(c.s, c.len, &cp);
		if (n == 0) {
			n = 1;
			cp = 0xfffd;
		}
		column += show_char(&b, c.s, n, cp, column);
		c.s += n;
		c.len -= n;
	}
	if (item->col >= c.col)
		item->caret = column;
	item->source = arena_strdup(d->arena, buf_str(&b));
	if (b.error || !item->source)
		d->no_memory = true;
	if (!item->source)
		item->source = "";
	buf_done(&b);
}

void diags_finish(struct diags *d, const char *text, size_t len)
{
	struct cursor at = {text, len, 1, 1};
	struct manifest_diagnostic *last = NULL;
	size_t i, n = 0;

	if (d->n == 0)
		return;
	qsort(d->items, d->n, sizeof(*d->items), compare_places);
	for (i = 0; i < d->n; i++) {
		if (last && compare_places(last, &d->items[i]) == 0)
			continue;
		last = &d->items[n++];
		*last = d->items[i];
		cursor_seek(&at, last->line,
			    last->col > SOURCE_BEFORE + 20
				    ? last->col - SOURCE_BEFORE
				    : 1);
		if (at.line == last->line && at.len > 0)
			show_source(d, last, at);
	}
	d->n = n;
}
