/* SPDX-License-Identifier: Apache-2.0 */
/* Statements and transactions: what every table's file calls. */
#include "host-agent/state/state_int.h"

#include "common/base/cleanup.h"

#include <stdarg.h>

int db_error(struct state *s, struct err *e, const char *what)
{
	int code = sqlite3_errcode(s->db) & 0xff;
	int os = code == SQLITE_FULL	? ENOSPC
		 : code == SQLITE_BUSY	? EBUSY
		 : code == SQLITE_NOMEM ? ENOMEM
					: EIO;

	err_set(e, os, "state '%s': %s: %s", s->path, what,
		sqlite3_errmsg(s->db));
	if (os == ENOSPC)
		err_hint(e, "make room in its file system: `hyb image prune "
			    "-a` needs none");
	return -os;
}

int db_exec(struct state *s, const char *sql, struct err *e)
{
	if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return db_error(s, e, "write");
	return 0;
}

void cleanup_stmt(sqlite3_stmt **st)
{
	sqlite3_finalize(*st);
}

static int vprepare(struct state *s, sqlite3_stmt **ret, struct err *e,
		    const char *sql, const char *format, va_list ap)
{
	const char *t;
	int i, r = SQLITE_OK;

	if (sqlite3_prepare_v2(s->db, sql, -1, ret, NULL) != SQLITE_OK)
		return db_error(s, e, "prepare");
	for (i = 1; format[i - 1] && r == SQLITE_OK; i++) {
		if (format[i - 1] == 'i') {
			r = sqlite3_bind_int64(*ret, i, va_arg(ap, int64_t));
			continue;
		}
		t = va_arg(ap, const char *);
		r = t ? sqlite3_bind_text(*ret, i, t, -1, SQLITE_TRANSIENT)
		      : sqlite3_bind_null(*ret, i);
	}
	return r == SQLITE_OK ? 0 : db_error(s, e, "bind");
}

int db_prepare(struct state *s, sqlite3_stmt **ret, struct err *e,
	       const char *sql, const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = vprepare(s, ret, e, sql, format, ap);
	va_end(ap);
	return r;
}

static int vrun(struct state *s, struct err *e, const char *sql,
		const char *format, va_list ap)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r = vprepare(s, &st, e, sql, format, ap);

	if (r == 0 && sqlite3_step(st) != SQLITE_DONE)
		r = db_error(s, e, "write");
	return r;
}

int db_run(struct state *s, struct err *e, const char *sql, const char *format,
	   ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = vrun(s, e, sql, format, ap);
	va_end(ap);
	return r;
}

int db_write(struct state *s, struct err *e, const char *sql,
	     const char *format, ...)
{
	va_list ap;
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	va_start(ap, format);
	r = vrun(s, e, sql, format, ap);
	va_end(ap);
	return tx_end(s, r, e);
}

static int vread(struct state *s, db_row_fn fn, void *arg, struct err *e,
		 const char *sql, const char *format, va_list ap)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r, step = SQLITE_DONE;

	pthread_mutex_lock(&s->lock);
	r = vprepare(s, &st, e, sql, format, ap);
	while (r == 0 && (step = sqlite3_step(st)) == SQLITE_ROW)
		r = fn(arg, st, e);
	if (r == 0 && step != SQLITE_DONE)
		r = db_error(s, e, "read");
	pthread_mutex_unlock(&s->lock);
	return r;
}

int db_read(struct state *s, db_row_fn fn, void *arg, struct err *e,
	    const char *sql, const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = vread(s, fn, arg, e, sql, format, ap);
	va_end(ap);
	return r;
}

static int on_list_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	struct db_list *list = arg;
	unsigned char *grown =
		reallocarray(list->rows, list->n + 1, list->size);

	if (!grown)
		return err_sys(e, ENOMEM, "read state");
	list->rows = grown;
	grown += list->n++ * list->size;
	memset(grown, 0, list->size);
	list->read(st, grown);
	return 0;
}

int db_list(struct state *s, struct db_list *list, struct err *e,
	    const char *sql, const char *format, ...)
{
	va_list ap;
	int r;

	va_start(ap, format);
	r = vread(s, on_list_row, list, e, sql, format, ap);
	va_end(ap);
	if (r < 0) {
		free(list->rows);
		list->rows = NULL;
	}
	return r;
}

void column_text(sqlite3_stmt *st, int i, char *out, size_t size)
{
	const unsigned char *t = sqlite3_column_text(st, i);

	snprintf(out, size, "%s", t ? (const char *)t : "");
}

char *column_dup(sqlite3_stmt *st, int i)
{
	const unsigned char *t = sqlite3_column_text(st, i);

	return t ? strdup((const char *)t) : NULL;
}

int tx_begin(struct state *s, struct err *e)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = db_exec(s, "BEGIN IMMEDIATE", e);
	if (r < 0)
		pthread_mutex_unlock(&s->lock);
	return r;
}

int tx_end(struct state *s, int r, struct err *e)
{
	if (r == 0)
		r = db_exec(s, "COMMIT", e);
	if (r < 0)
		sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
	pthread_mutex_unlock(&s->lock);
	return r;
}

int counter_next(struct state *s, const char *name, int64_t *ret, struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r;

	r = db_prepare(s, &st, e,
		       "UPDATE counters SET value = value + 1 WHERE name = ?1"
		       " RETURNING value",
		       "t", name);
	if (r < 0)
		return r;
	if (sqlite3_step(st) != SQLITE_ROW)
		return db_error(s, e, "count");
	*ret = sqlite3_column_int64(st, 0);
	return 0;
}
