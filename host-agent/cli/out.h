/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hyb shows: errors, tables, JSON, sizes and times. Whatever comes from
 * hybd may hold what a guest or a tenant wrote, so it is escaped before it
 * reaches a terminal.
 */
#ifndef HYB_HOST_AGENT_CLI_OUT_H
#define HYB_HOST_AGENT_CLI_OUT_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum out_format { OUT_TABLE, OUT_JSON };

/* Is colour wanted on this stream: a terminal, and no NO_COLOR. */
bool out_colour(FILE *f);

enum out_tone { OUT_PLAIN, OUT_GOOD, OUT_BAD, OUT_BUSY, OUT_FAINT };
/* Escape sequences that switch a tone on and off; "" without colour. */
const char *out_tone_on(enum out_tone tone, bool colour);
const char *out_tone_off(enum out_tone tone, bool colour);

/* Text made harmless for a terminal; the bytes in `keep` stay as they are. */
void out_safe(struct buf *b, const char *s, size_t len, const char *keep);
/* As out_safe() for a line: printed to f, backslashes kept. */
void out_text(FILE *f, const char *s);

/* "hyb: WHAT: WHY" and, where e has one, "hint: ..." on standard error. */
void out_error(const char *what, const struct err *e);
/* "hyb: ..." on standard error. */
void out_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* "512 B", "64 MiB", "1.5 GiB". */
const char *out_size(uint64_t bytes, char out[24]);
/* "850 ms", "3.2 s", "1 m 20 s". */
const char *out_elapsed(uint64_t ms, char out[24]);
/* How long ago: "5 seconds", "3 minutes", "2 hours", "4 days". */
const char *out_span(uint64_t seconds, char out[24]);
/* Seconds since 1970 of "YYYY-MM-DDThh:mm:ss[.fff]Z" (or +hh:mm); -EINVAL. */
int out_parse_time(const char *s, int64_t *ret_seconds, uint32_t *ret_ns);
/* --since: such a time, or a span before now ("10m"); NULL: 0. -EINVAL. */
int out_parse_since(const char *s, int64_t *ret_ns, struct err *e);
/* "3 minutes ago" of such a time; "" for NULL or a bad one. */
const char *out_age(const char *stamp, char out[32]);

/* ----------------------------------------------------------------- tables */

struct out_table {
	size_t columns;
	size_t n; /* cells, the headings included */
	size_t cap;
	char **cells;
	enum out_tone *tones;
	bool failed; /* no memory: nothing is printed */
};

/* headings: ends with NULL. */
void out_table_init(struct out_table *t, const char *const *headings);
void out_table_done(struct out_table *t);
#define _cleanup_out_table_ __attribute__((cleanup(out_table_done)))
/* The next cell, row by row; "" is shown as "-". Escaped here. */
void out_table_cell(struct out_table *t, const char *text);
void out_table_cell_tone(struct out_table *t, const char *text,
			 enum out_tone tone);
/* The row's bytes under key as a size; "" where there are none. */
void out_table_size(struct out_table *t, const json_t *row, const char *key);
void out_table_print(const struct out_table *t, FILE *f);

/* ------------------------------------------------------------------- JSON */

/* Rows from hybd as an array of flat objects with exactly these fields in
 * this order (NULL ends them); what is missing or no scalar is null. */
int out_json_rows(const json_t *rows, const char *const *fields);
/* Any value. Both: 0 or -errno. */
int out_json(const json_t *value);

/* Rows from hybd in the format asked for: those fields, or a table, to which
 * print_row adds the cells of one (whole: nothing is to be shortened). */
typedef void (*out_row_fn)(struct out_table *t, const json_t *row, bool whole);
void out_rows(const json_t *rows, enum out_format format, bool whole,
	      const char *const *fields, const char *const *headings,
	      out_row_fn print_row);

/* The member as text ("" when it is none), or as a number. */
const char *out_str(const json_t *object, const char *key);
int64_t out_int(const json_t *object, const char *key, int64_t otherwise);
bool out_has(const json_t *object, const char *key);

#endif
