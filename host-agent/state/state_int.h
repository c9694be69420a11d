/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the store share. */
#ifndef HYB_HOST_AGENT_STATE_STATE_INT_H
#define HYB_HOST_AGENT_STATE_STATE_INT_H

#include "host-agent/state/state.h"

#include <pthread.h>
#include <sqlite3.h>

struct state {
	sqlite3 *db;
	pthread_mutex_t lock;
	char path[512];
};

int db_error(struct state *s, struct err *e, const char *what);
int db_exec(struct state *s, const char *sql, struct err *e);
void cleanup_stmt(sqlite3_stmt **st);
/* Prepares sql and binds its parameters by format: i int64_t, t text or NULL. */
int db_prepare(struct state *s, sqlite3_stmt **ret, struct err *e,
	       const char *sql, const char *format, ...);
/* Runs a statement that gives no rows. */
int db_step(struct state *s, sqlite3_stmt *st, struct err *e);
void column_text(sqlite3_stmt *st, int i, char *out, size_t size);
char *column_dup(sqlite3_stmt *st, int i);
/* BEGIN and the lock; ended by tx_end() with the result so far. */
int tx_begin(struct state *s, struct err *e);
int tx_end(struct state *s, int r, struct err *e);
int counter_next(struct state *s, const char *name, int64_t *ret,
		 struct err *e);

#endif
