/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes on, while it goes on: on a terminal a table that is drawn again
 * and again, a line for every VM and container; elsewhere one plain line an
 * event. Both on standard error.
 */
#ifndef HYB_HOST_AGENT_CLI_PROGRESS_H
#define HYB_HOST_AGENT_CLI_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRESS_ROWS_MAX  512
#define PROGRESS_MARKS_MAX 4096

struct progress_row {
	char object[160];
	char phase[40];
	char message[120];
	uint64_t begin_ms; /* of the phase, since the call */
	uint64_t end_ms;   /* of a last phase, else 0 */
	uint64_t told_ms;  /* of the last line where there is no terminal */
	bool has_total;	   /* that line had the whole's size */
};

/* When an object entered a phase. */
struct progress_mark {
	uint16_t row;
	char phase[40];
	uint64_t at_ms;
};

struct progress {
	bool live, colour;
	uint64_t begin;	 /* ms, CLOCK_MONOTONIC */
	size_t n, drawn; /* rows; lines on the terminal */
	struct progress_row *rows;
	size_t n_marks;
	struct progress_mark *marks;
};

void progress_init(struct progress *p);
/* Leaves the last state on the terminal. */
void progress_done(struct progress *p);
/* A client_event_fn; ctx is the struct progress. */
void progress_on_event(void *ctx, const json_t *event);
/* Wipes the live table, so that something else can be printed. */
void progress_clear(struct progress *p);
/* `--timings`: every object's phases and how long they took. */
void progress_timings(const struct progress *p, const json_t *timings);

#endif
