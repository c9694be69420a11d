/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/progress.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/cli/out.h"

#include <inttypes.h>
#include <sys/ioctl.h>

static const char *const good_phases[] = {"running", "removed", "stopped",
					  "exited",  "done",	"healthy",
					  "ready",   "pulled",	NULL};
static const char *const bad_phases[] = {"failed", "died", "unhealthy", NULL};

static bool is_in(const char *s, const char *const *list)
{
	for (; *list; list++)
		if (strcmp(*list, s) == 0)
			return true;
	return false;
}

static bool is_last(const char *phase)
{
	return is_in(phase, good_phases) || is_in(phase, bad_phases);
}

static enum out_tone tone_of(const char *phase)
{
	if (is_in(phase, good_phases))
		return OUT_GOOD;
	return is_in(phase, bad_phases) ? OUT_BAD : OUT_BUSY;
}

void progress_init(struct progress *p)
{
	memset(p, 0, sizeof(*p));
	p->colour = out_colour(stderr);
	p->live = isatty(STDERR_FILENO) && getenv("TERM") &&
		  strcmp(getenv("TERM"), "dumb") != 0;
	p->begin = now_ms();
	p->rows = calloc(PROGRESS_ROWS_MAX, sizeof(*p->rows));
	p->marks = calloc(PROGRESS_MARKS_MAX, sizeof(*p->marks));
}

/* --------------------------------------------------------------- live table */

static void terminal_size(unsigned short *rows, unsigned short *cols)
{
	struct winsize ws = {0};

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) < 0 || ws.ws_col < 20 ||
	    ws.ws_row < 3) {
		ws.ws_col = 80;
		ws.ws_row = 24;
	}
	*rows = ws.ws_row;
	*cols = ws.ws_col;
}

void progress_clear(struct progress *p)
{
	if (p->drawn > 0)
		fprintf(stderr, "\x1b[%zuA\x1b[J", p->drawn);
	p->drawn = 0;
	fflush(stderr);
}

/* Cuts text at max columns; it is ASCII or counted as if it were. */
static void draw_row(const struct progress *p, const struct progress_row *r,
		     uint64_t now, unsigned short cols)
{
	enum out_tone tone = tone_of(r->phase);
	uint64_t took = (r->end_ms ? r->end_ms : now);
	/* A narrow terminal shows the phase and the time all the same. */
	int n, width = cols < 72 ? cols / 2 - 4 : 30;
	char line[512], span[24];

	out_elapsed(took > r->begin_ms && !r->end_ms ? took - r->begin_ms
						     : took,
		    span);
	n = snprintf(line, sizeof(line), "  %-*s %-10s %8s  %s",
		     width > 0 ? width : 0, r->object, r->phase, span,
		     r->message);
	if (n >= cols)
		line[cols - 1] = '\0';
	fprintf(stderr, "%s%s%s\x1b[K\n", out_tone_on(tone, p->colour), line,
		out_tone_off(tone, p->colour));
}

static void draw(struct progress *p)
{
	unsigned short rows, cols;
	uint64_t now = now_ms() - p->begin;
	size_t i, room, hidden;

	terminal_size(&rows, &cols);
	room = (size_t)rows - 2;
	hidden = p->n > room ? p->n - room : 0;
	progress_clear(p);
	/* Where there is no room for all, what is finished gives way. */
	for (i = 0; i < p->n; i++) {
		if (hidden > 0 && is_in(p->rows[i].phase, good_phases)) {
			hidden--;
			continue;
		}
		if (p->drawn >= room)
			break;
		draw_row(p, &p->rows[i], now, cols);
		p->drawn++;
	}
	fflush(stderr);
}

/* ------------------------------------------------------------------- events */

static struct progress_row *row_of(struct progress *p, const char *object)
{
	char shown[sizeof(p->rows[0].object)];
	size_t i;

	text_escape(object, shown, sizeof(shown));
	for (i = 0; i < p->n; i++)
		if (strcmp(p->rows[i].object, shown) == 0)
			return &p->rows[i];
	if (p->n >= PROGRESS_ROWS_MAX || !p->rows)
		return NULL;
	memcpy(p->rows[p->n].object, shown, sizeof(shown));
	return &p->rows[p->n++];
}

static void mark(struct progress *p, const struct progress_row *row,
		 uint64_t at)
{
	struct progress_mark *m;

	if (p->n_marks >= PROGRESS_MARKS_MAX || !p->marks)
		return;
	m = &p->marks[p->n_marks++];
	m->row = (uint16_t)(row - p->rows);
	m->at_ms = at;
	memcpy(m->phase, row->phase, sizeof(m->phase));
}

static void print_line(const struct progress *p, const struct progress_row *r,
		       uint64_t at)
{
	enum out_tone tone = tone_of(r->phase);

	fprintf(stderr, "%4" PRIu64 ".%02" PRIu64 " s  %-24s %s%s%s%s%s\n",
		at / 1000, at % 1000 / 10, r->object,
		out_tone_on(tone, p->colour), r->phase,
		out_tone_off(tone, p->colour), r->message[0] ? "  " : "",
		r->message);
	fflush(stderr);
}

/* Between two lines of one phase where there is no terminal. */
#define LINE_EVERY_MS 5000

/* "done" of "total" bytes, of events that count. */
static void add_count(struct progress_row *row, const json_t *event)
{
	int64_t done = out_int(event, "done", -1);
	int64_t total = out_int(event, "total", 0);
	char a[24], b[24];

	if (done < 0)
		return;
	if (total > 0)
		snprintf(row->message, sizeof(row->message), "%s of %s (%d%%)",
			 out_size((uint64_t)done, a),
			 out_size((uint64_t)total, b),
			 done < total
				 ? (int)(100.0 * (double)done / (double)total)
				 : 100);
	else if (done > 0)
		snprintf(row->message, sizeof(row->message), "%s",
			 out_size((uint64_t)done, a));
}

/* Of counts: when the total becomes known, and every few seconds. */
static bool is_line_due(const struct progress_row *row, const json_t *event,
			uint64_t at)
{
	if (!out_has(event, "done"))
		return true;
	if (out_int(event, "done", 0) == 0)
		return false;
	if (!row->has_total && out_int(event, "total", 0) > 0)
		return true;
	return at >= row->told_ms + LINE_EVERY_MS;
}

void progress_on_event(void *ctx, const json_t *event)
{
	struct progress *p = ctx;
	struct progress_row *row;
	char phase[sizeof(row->phase)];
	const char *name;
	uint64_t at;
	bool new_phase;

	if (!event) {
		if (p->live && p->n > 0)
			draw(p);
		return;
	}
	name = out_str(event, "object");
	row = row_of(p, *name ? name : "image");
	if (!row)
		return;
	at = (uint64_t)out_int(event, "elapsed_ms",
			       (int64_t)(now_ms() - p->begin));
	text_escape(out_str(event, "phase"), phase, sizeof(phase));
	new_phase = strcmp(phase, row->phase) != 0;
	if (new_phase) {
		memcpy(row->phase, phase, sizeof(phase));
		row->begin_ms = at;
		row->end_ms = is_last(phase) ? at : 0;
		row->has_total = false;
		mark(p, row, at);
	}
	text_escape(out_str(event, "message"), row->message,
		    sizeof(row->message));
	add_count(row, event);
	if (p->live)
		draw(p);
	else if (new_phase || is_line_due(row, event, at))
		print_line(p, row, at);
	else
		return;
	row->told_ms = at;
	row->has_total = out_int(event, "total", 0) > 0;
}

void progress_done(struct progress *p)
{
	free(p->rows);
	free(p->marks);
	memset(p, 0, sizeof(*p));
}

/* ------------------------------------------------------------------ timings */

/* When the phase that began at mark i ended: at its object's next one. */
static uint64_t phase_end(const struct progress *p, size_t i)
{
	size_t k;

	for (k = i + 1; k < p->n_marks; k++)
		if (p->marks[k].row == p->marks[i].row)
			return p->marks[k].at_ms;
	return p->marks[i].at_ms;
}

void progress_timings(const struct progress *p, const json_t *timings)
{
	static const char *const headings[] = {"OBJECT", "PHASE", "AT", "TOOK",
					       NULL};
	_cleanup_out_table_ struct out_table t;
	char at[24], took[24];
	const char *key;
	const json_t *v;
	uint64_t end;
	size_t i;

	out_table_init(&t, headings);
	for (i = 0; i < p->n_marks; i++) {
		const struct progress_mark *m = &p->marks[i];

		end = phase_end(p, i);
		out_table_cell(&t, p->rows[m->row].object);
		out_table_cell(&t, m->phase);
		out_table_cell(&t, out_elapsed(m->at_ms, at));
		out_table_cell(&t, end > m->at_ms
					   ? out_elapsed(end - m->at_ms, took)
					   : "");
	}
	json_object_foreach((json_t *)(uintptr_t)timings, key, v) {
		if (!json_is_number(v))
			continue;
		out_table_cell(&t, "");
		out_table_cell(&t,
			       strcmp(key, "total_ms") == 0 ? "total" : key);
		out_table_cell(&t, "");
		snprintf(took, sizeof(took), "%.0f ms", json_number_value(v));
		out_table_cell(&t, took);
	}
	out_table_print(&t, stdout);
}
