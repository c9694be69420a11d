/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the store share. */
#ifndef HYB_HOST_AGENT_STATE_STATE_INT_H
#define HYB_HOST_AGENT_STATE_STATE_INT_H

#include "host-agent/state/state.h"
#include "host-agent/state/state_tenant.h"

#include <pthread.h>
#include <sqlite3.h>

struct state {
	sqlite3 *db;
	pthread_mutex_t lock;
	char path[512];
};

/* state_db.c. Statements' parameters are bound by format: i int64_t, t text or
 * NULL. */
int db_error(struct state *s, struct err *e, const char *what);
int db_exec(struct state *s, const char *sql, struct err *e);
void cleanup_stmt(sqlite3_stmt **st);
int db_prepare(struct state *s, sqlite3_stmt **ret, struct err *e,
	       const char *sql, const char *format, ...);
/* A statement that gives no rows: within a transaction; as one of its own. */
int db_run(struct state *s, struct err *e, const char *sql, const char *format,
	   ...);
int db_write(struct state *s, struct err *e, const char *sql,
	     const char *format, ...);

/* Calls fn with each row, the lock held; another result than 0 ends it. */
typedef int (*db_row_fn)(void *arg, sqlite3_stmt *st, struct err *e);
int db_read(struct state *s, db_row_fn fn, void *arg, struct err *e,
	    const char *sql, const char *format, ...);

/* Rows as an array of structs of `size` bytes: read() fills a zeroed one. */
struct db_list {
	size_t size;
	void (*read)(sqlite3_stmt *st, void *row);
	void *rows; /* of a result of 0 the caller's, else NULL */
	size_t n;
};
int db_list(struct state *s, struct db_list *list, struct err *e,
	    const char *sql, const char *format, ...);

void column_text(sqlite3_stmt *st, int i, char *out, size_t size);
char *column_dup(sqlite3_stmt *st, int i);
/* BEGIN and the lock; ended by tx_end() with the result so far. */
int tx_begin(struct state *s, struct err *e);
int tx_end(struct state *s, int r, struct err *e);
int counter_next(struct state *s, const char *name, int64_t *ret,
		 struct err *e);

/* state_tenant.c: within a transaction, what a tenant uses before it; and what
 * it uses by then is looked at by quota_end(): -EDQUOT. */
int quota_use_read(struct state *s, const char *tenant, struct quota_use *ret,
		   struct err *e);
int quota_end(struct state *s, const char *tenant,
	      const struct quota_use *before, struct err *e);
int stack_use_write(struct state *s, const char *tenant, const char *name,
		    const struct quota_use *use, struct err *e);

#endif
