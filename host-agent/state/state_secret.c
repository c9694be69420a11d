/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/state/state_secret.h"

#include "common/base/cleanup.h"
#include "host-agent/state/state_int.h"

static void secret_read(sqlite3_stmt *st, void *row)
{
	struct state_secret *v = row;

	column_text(st, 0, v->tenant, sizeof(v->tenant));
	column_text(st, 1, v->stack, sizeof(v->stack));
	column_text(st, 2, v->name, sizeof(v->name));
	v->version = sqlite3_column_int64(st, 3);
	v->created_at = sqlite3_column_int64(st, 4);
}

int state_secret_find(struct state *s, const char *tenant, const char *stack,
		      const char *name, struct state_secret *ret, struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r, step;

	pthread_mutex_lock(&s->lock);
	r = db_prepare(s, &st, e,
		       "SELECT tenant, stack, name, version, created_at,"
		       " sealed FROM secrets WHERE tenant = ?1 AND stack = ?2"
		       " AND name = ?3",
		       "ttt", tenant, stack, name);
	step = r == 0 ? sqlite3_step(st) : SQLITE_DONE;
	if (r == 0 && step == SQLITE_ROW) {
		memset(ret, 0, sizeof(*ret));
		secret_read(st, ret);
		ret->sealed = column_dup(st, 5);
		if (!ret->sealed)
			r = err_sys(e, ENOMEM, "read state");
	} else if (r == 0) {
		r = step == SQLITE_DONE ? -ENOENT : db_error(s, e, "read");
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

int state_secret_version(struct state *s, int64_t *ret, struct err *e)
{
	int r = tx_begin(s, e);

	return r < 0 ? r : tx_end(s, counter_next(s, "secret", ret, e), e);
}

int state_secret_put(struct state *s, const struct state_secret *v,
		     struct err *e)
{
	return db_write(s, e,
			"INSERT OR REPLACE INTO secrets(tenant, stack, name,"
			" version, sealed, created_at)"
			" VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
			"tttiti", v->tenant, v->stack, v->name, v->version,
			v->sealed, v->created_at);
}

int state_secret_remove(struct state *s, const char *tenant, const char *stack,
			const char *name, struct err *e)
{
	return db_write(s, e,
			"DELETE FROM secrets WHERE tenant = ?1 AND stack = ?2"
			" AND name = ?3",
			"ttt", tenant, stack, name);
}

int state_secret_purge(struct state *s, struct err *e)
{
	return db_write(s, e,
			"DELETE FROM secrets WHERE stack != '' AND NOT EXISTS"
			" (SELECT 1 FROM stacks WHERE stacks.tenant ="
			" secrets.tenant AND stacks.name = secrets.stack)",
			"");
}

int state_secret_list(struct state *s, struct state_secret **ret, size_t *ret_n,
		      struct err *e)
{
	struct db_list list = {.size = sizeof(**ret), .read = secret_read};
	int r;

	r = db_list(s, &list, e,
		    "SELECT tenant, stack, name, version, created_at"
		    " FROM secrets ORDER BY tenant, stack, name",
		    "");
	if (r < 0)
		return r;
	*ret = list.rows;
	*ret_n = list.n;
	return 0;
}
