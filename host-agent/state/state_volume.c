/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/state/state_volume.h"

#include "common/base/cleanup.h"
#include "host-agent/state/state_int.h"

#define COLUMNS \
	"id, tenant, stack, name, uuid, size, made, deleting, created_at"

static void volume_read(sqlite3_stmt *st, struct state_volume *v)
{
	memset(v, 0, sizeof(*v));
	v->id = sqlite3_column_int64(st, 0);
	column_text(st, 1, v->tenant, sizeof(v->tenant));
	column_text(st, 2, v->stack, sizeof(v->stack));
	column_text(st, 3, v->name, sizeof(v->name));
	column_text(st, 4, v->uuid, sizeof(v->uuid));
	v->size = sqlite3_column_int64(st, 5);
	v->made = sqlite3_column_int64(st, 6);
	v->deleting = sqlite3_column_int(st, 7) != 0;
	v->created_at = sqlite3_column_int64(st, 8);
}

int state_volume_find(struct state *s, const char *tenant, const char *stack,
		      const char *name, struct state_volume *ret, struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r, step;

	pthread_mutex_lock(&s->lock);
	r = db_prepare(s, &st, e,
		       "SELECT " COLUMNS " FROM volumes WHERE tenant = ?1"
		       " AND stack = ?2 AND name = ?3",
		       "ttt", tenant, stack, name);
	step = r == 0 ? sqlite3_step(st) : SQLITE_DONE;
	if (r == 0 && step == SQLITE_ROW)
		volume_read(st, ret);
	else if (r == 0)
		r = step == SQLITE_DONE ? -ENOENT : db_error(s, e, "read");
	pthread_mutex_unlock(&s->lock);
	return r;
}

static int volume_insert(struct state *s, const struct state_volume *v,
			 struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r;

	r = db_prepare(s, &st, e,
		       "INSERT INTO volumes(" COLUMNS ") VALUES"
		       "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
		       "ittttiiii", v->id, v->tenant, v->stack, v->name,
		       v->uuid, v->size, v->made, (int64_t)v->deleting,
		       v->created_at);
	return r < 0 ? r : db_step(s, st, e);
}

int state_volume_add(struct state *s, struct state_volume *v, struct err *e)
{
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	r = counter_next(s, "volume", &v->id, e);
	if (r == 0)
		r = volume_insert(s, v, e);
	return tx_end(s, r, e);
}

int state_volume_put(struct state *s, const struct state_volume *v,
		     struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	r = db_prepare(s, &st, e,
		       "UPDATE volumes SET size = ?2, made = ?3, deleting = ?4"
		       " WHERE id = ?1",
		       "iiii", v->id, v->size, v->made, (int64_t)v->deleting);
	if (r == 0)
		r = db_step(s, st, e);
	return tx_end(s, r, e);
}

int state_volume_remove(struct state *s, int64_t id, struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	r = db_prepare(s, &st, e, "DELETE FROM volumes WHERE id = ?1", "i", id);
	if (r == 0)
		r = db_step(s, st, e);
	return tx_end(s, r, e);
}

int state_volume_list(struct state *s, struct state_volume **ret, size_t *ret_n,
		      struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	struct state_volume *list = NULL, *grown;
	int r, step = SQLITE_DONE;
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	r = db_prepare(s, &st, e,
		       "SELECT " COLUMNS " FROM volumes"
		       " ORDER BY tenant, stack, name",
		       "");
	while (r == 0 && (step = sqlite3_step(st)) == SQLITE_ROW) {
		grown = reallocarray(list, n + 1, sizeof(*list));
		if (!grown) {
			r = err_sys(e, ENOMEM, "read state");
			break;
		}
		list = grown;
		volume_read(st, &list[n++]);
	}
	if (r == 0 && step != SQLITE_DONE)
		r = db_error(s, e, "read");
	pthread_mutex_unlock(&s->lock);
	if (r < 0) {
		free(list);
		return r;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

/* ---------------------------------------------------------------- uses */

/* 0: nobody is in the way. */
static int find_holder(struct state *s, int64_t id, int64_t vm_id, bool writes,
		       int64_t *ret, struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r, step;

	r = db_prepare(s, &st, e,
		       "SELECT vm_id FROM volume_uses WHERE volume_id = ?1"
		       " AND vm_id != ?2 AND (writes OR ?3) LIMIT 1",
		       "iii", id, vm_id, (int64_t)writes);
	if (r < 0)
		return r;
	step = sqlite3_step(st);
	if (step == SQLITE_DONE)
		return 0;
	if (step != SQLITE_ROW)
		return db_error(s, e, "read");
	*ret = sqlite3_column_int64(st, 0);
	return err_set(e, EBUSY, "it is in use by another VM");
}

static int use_insert(struct state *s, int64_t id, int64_t vm_id, bool writes,
		      struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r;

	r = db_prepare(s, &st, e,
		       "INSERT OR REPLACE INTO volume_uses"
		       "(volume_id, vm_id, writes) VALUES(?1, ?2, ?3)",
		       "iii", id, vm_id, (int64_t)writes);
	return r < 0 ? r : db_step(s, st, e);
}

int state_volume_claim(struct state *s, int64_t id, int64_t vm_id, bool writes,
		       int64_t *ret_holder, struct err *e)
{
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	*ret_holder = 0;
	r = find_holder(s, id, vm_id, writes, ret_holder, e);
	if (r == 0)
		r = use_insert(s, id, vm_id, writes, e);
	return tx_end(s, r, e);
}

int state_volume_release(struct state *s, int64_t id, int64_t vm_id,
			 struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	r = db_prepare(s, &st, e,
		       "DELETE FROM volume_uses WHERE volume_id = ?1"
		       " AND vm_id = ?2",
		       "ii", id, vm_id);
	if (r == 0)
		r = db_step(s, st, e);
	return tx_end(s, r, e);
}

int state_volume_uses(struct state *s, int64_t id,
		      struct state_volume_use **ret, size_t *ret_n,
		      struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	struct state_volume_use *list = NULL, *grown;
	int r, step = SQLITE_DONE;
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	r = db_prepare(s, &st, e,
		       "SELECT volume_id, vm_id, writes FROM volume_uses"
		       " WHERE ?1 = 0 OR volume_id = ?1 ORDER BY volume_id",
		       "i", id);
	while (r == 0 && (step = sqlite3_step(st)) == SQLITE_ROW) {
		grown = reallocarray(list, n + 1, sizeof(*list));
		if (!grown) {
			r = err_sys(e, ENOMEM, "read state");
			break;
		}
		list = grown;
		list[n].volume_id = sqlite3_column_int64(st, 0);
		list[n].vm_id = sqlite3_column_int64(st, 1);
		list[n++].writes = sqlite3_column_int(st, 2) != 0;
	}
	if (r == 0 && step != SQLITE_DONE)
		r = db_error(s, e, "read");
	pthread_mutex_unlock(&s->lock);
	if (r < 0) {
		free(list);
		return r;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

/* ----------------------------------------------------------- snapshots */

static int snapshot_insert(struct state *s, const struct state_snapshot *snap,
			   struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r;

	r = db_prepare(s, &st, e,
		       "INSERT OR IGNORE INTO snapshots(id, volume_id, name,"
		       " size, made, created_at) VALUES(?1, ?2, ?3, ?4, 0, ?5)",
		       "iitii", snap->id, snap->volume_id, snap->name,
		       snap->size, snap->created_at);
	if (r == 0)
		r = db_step(s, st, e);
	if (r == 0 && sqlite3_changes(s->db) == 0)
		r = err_set(e, EEXIST, "there is such a snapshot already");
	return r;
}

int state_snapshot_add(struct state *s, struct state_snapshot *snap,
		       struct err *e)
{
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	r = counter_next(s, "volume", &snap->id, e);
	if (r == 0)
		r = snapshot_insert(s, snap, e);
	return tx_end(s, r, e);
}

static int snapshot_run(struct state *s, const char *sql, int64_t id,
			struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	r = db_prepare(s, &st, e, sql, "i", id);
	if (r == 0)
		r = db_step(s, st, e);
	return tx_end(s, r, e);
}

int state_snapshot_made(struct state *s, int64_t id, struct err *e)
{
	return snapshot_run(s, "UPDATE snapshots SET made = 1 WHERE id = ?1",
			    id, e);
}

int state_snapshot_remove(struct state *s, int64_t id, struct err *e)
{
	return snapshot_run(s, "DELETE FROM snapshots WHERE id = ?1", id, e);
}

int state_snapshot_list(struct state *s, int64_t volume_id,
			struct state_snapshot **ret, size_t *ret_n,
			struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	struct state_snapshot *list = NULL, *grown;
	int r, step = SQLITE_DONE;
	size_t n = 0;

	pthread_mutex_lock(&s->lock);
	r = db_prepare(s, &st, e,
		       "SELECT id, volume_id, name, size, made, created_at"
		       " FROM snapshots WHERE ?1 = 0 OR volume_id = ?1"
		       " ORDER BY id",
		       "i", volume_id);
	while (r == 0 && (step = sqlite3_step(st)) == SQLITE_ROW) {
		grown = reallocarray(list, n + 1, sizeof(*list));
		if (!grown) {
			r = err_sys(e, ENOMEM, "read state");
			break;
		}
		list = grown;
		list[n].id = sqlite3_column_int64(st, 0);
		list[n].volume_id = sqlite3_column_int64(st, 1);
		column_text(st, 2, list[n].name, sizeof(list[n].name));
		list[n].size = sqlite3_column_int64(st, 3);
		list[n].made = sqlite3_column_int(st, 4) != 0;
		list[n++].created_at = sqlite3_column_int64(st, 5);
	}
	if (r == 0 && step != SQLITE_DONE)
		r = db_error(s, e, "read");
	pthread_mutex_unlock(&s->lock);
	if (r < 0) {
		free(list);
		return r;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}
