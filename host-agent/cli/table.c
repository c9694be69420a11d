/* SPDX-License-Identifier: Apache-2.0 */
/* Tables and JSON: the listing half of out.h. */
#include "host-agent/cli/out.h"

#include "common/base/cleanup.h"

#define GAP 2

void out_table_init(struct out_table *t, const char *const *headings)
{
	size_t i;

	memset(t, 0, sizeof(*t));
	for (i = 0; headings[i]; i++)
		t->columns++;
	for (i = 0; headings[i]; i++)
		out_table_cell(t, headings[i]);
}

void out_table_done(struct out_table *t)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		free(t->cells[i]);
	free(t->cells);
	free(t->tones);
	memset(t, 0, sizeof(*t));
}

static bool grow(struct out_table *t)
{
	size_t cap = t->cap ? t->cap * 2 : 64;
	char **cells = reallocarray(t->cells, cap, sizeof(*cells));
	enum out_tone *tones;

	if (!cells)
		return false;
	t->cells = cells;
	tones = reallocarray(t->tones, cap, sizeof(*tones));
	if (!tones)
		return false;
	t->tones = tones;
	t->cap = cap;
	return true;
}

void out_table_cell_tone(struct out_table *t, const char *text,
			 enum out_tone tone)
{
	struct buf b = BUF_INIT;
	char *cell;

	if (t->failed)
		return;
	out_safe(&b, *text ? text : "-", *text ? strlen(text) : 1, "\\");
	cell = buf_steal(&b);
	buf_done(&b);
	if (!cell || (t->n == t->cap && !grow(t))) {
		free(cell);
		t->failed = true;
		return;
	}
	t->cells[t->n] = cell;
	t->tones[t->n] = tone;
	t->n++;
}

void out_table_cell(struct out_table *t, const char *text)
{
	out_table_cell_tone(t, text, OUT_PLAIN);
}

void out_table_size(struct out_table *t, const json_t *row, const char *key)
{
	int64_t v = out_int(row, key, -1);
	char text[24];

	out_table_cell(t, v < 0 ? "" : out_size((uint64_t)v, text));
}

/* Characters of UTF-8 text; what is here has been escaped, so it is valid. */
static size_t width_of(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

void out_table_print(const struct out_table *t, FILE *f)
{
	bool colour = out_colour(f);
	size_t i, c, w, width[32] = {0};
	enum out_tone tone;

	if (t->failed || t->columns > ARRAY_SIZE(width)) {
		fputs("hyb: no memory for the table\n", stderr);
		return;
	}
	for (i = 0; i < t->n; i++) {
		w = width_of(t->cells[i]);
		c = i % t->columns;
		width[c] = w > width[c] ? w : width[c];
	}
	for (i = 0; i < t->n; i++) {
		c = i % t->columns;
		tone = i < t->columns ? OUT_FAINT : t->tones[i];
		fprintf(f, "%s%s%s", out_tone_on(tone, colour), t->cells[i],
			out_tone_off(tone, colour));
		if (c + 1 == t->columns) {
			fputc('\n', f);
			continue;
		}
		w = width[c] - width_of(t->cells[i]) + GAP;
		fprintf(f, "%*s", (int)w, "");
	}
}

/* ------------------------------------------------------------------- JSON */

int out_json(const json_t *value)
{
	/* On a terminal no byte beyond ASCII: JSON's own escapes leave DEL,
	 * C1 and bidirectional controls as they are. */
	size_t flags = JSON_INDENT(2) | JSON_ENCODE_ANY |
		       (isatty(STDOUT_FILENO) ? JSON_ENSURE_ASCII : 0);

	if (json_dumpf(value, stdout, flags) < 0)
		return -EIO;
	fputc('\n', stdout);
	return 0;
}

static bool is_scalar(const json_t *v)
{
	return v && !json_is_array(v) && !json_is_object(v);
}

int out_json_rows(const json_t *rows, const char *const *fields)
{
	json_t *all = json_array(), *row, *flat, *v;
	size_t i, f;
	int r = all ? 0 : -ENOMEM;

	json_array_foreach(rows, i, row) {
		flat = json_object();
		for (f = 0; fields[f]; f++) {
			v = json_object_get(row, fields[f]);
			v = is_scalar(v) ? json_incref(v) : json_null();
			if (json_object_set_new(flat, fields[f], v) < 0)
				r = -ENOMEM;
		}
		if (json_array_append_new(all, flat) < 0)
			r = -ENOMEM;
	}
	if (r == 0)
		r = out_json(all);
	json_decref(all);
	return r;
}

void out_rows(const json_t *rows, enum out_format format, bool whole,
	      const char *const *fields, const char *const *headings,
	      out_row_fn print_row)
{
	_cleanup_out_table_ struct out_table t = {.n = 0};
	const json_t *row;
	size_t i;

	if (format == OUT_JSON) {
		out_json_rows(rows, fields);
		return;
	}
	out_table_init(&t, headings);
	json_array_foreach(rows, i, row)
		print_row(&t, row, whole);
	out_table_print(&t, stdout);
}

const char *out_str(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

int64_t out_int(const json_t *object, const char *key, int64_t otherwise)
{
	const json_t *v = json_object_get(object, key);

	return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

bool out_has(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);

	return v && !json_is_null(v);
}
