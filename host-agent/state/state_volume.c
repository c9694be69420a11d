/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/state/state_volume.h"

#include "common/base/cleanup.h"
#include "host-agent/state/state_int.h"

#define COLUMNS \
	"id, tenant, stack, name, uuid, size, made, deleting, created_at"

static void volume_read(sqlite3_stmt *st, void *row)
{
	struct state_volume *v = row;

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
	if (r == 0 && step == SQLITE_ROW) {
		memset(ret, 0, sizeof(*ret));
		volume_read(st, ret);
	} else if (r == 0) {
		r = step == SQLITE_DONE ? -ENOENT : db_error(s, e, "read");
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

static int volume_insert(struct state *s, const struct state_volume *v,
			 struct err *e)
{
	return db_run(s, e,
		      "INSERT INTO volumes(" COLUMNS ") VALUES"
		      "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
		      "ittttiiii", v->id, v->tenant, v->stack, v->name, v->uuid,
		      v->size, v->made, (int64_t)v->deleting, v->created_at);
}

int state_volume_add(struct state *s, struct state_volume *v, struct err *e)
{
	struct quota_use before;
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	r = quota_use_read(s, v->tenant, &before, e);
	if (r == 0)
		r = counter_next(s, "volume", &v->id, e);
	if (r == 0)
		r = volume_insert(s, v, e);
	if (r == 0)
		r = quota_end(s, v->tenant, &before, e);
	return tx_end(s, r, e);
}

static int volume_update(struct state *s, const struct state_volume *v,
			 struct err *e)
{
	struct quota_use before;
	int r = quota_use_read(s, v->tenant, &before, e);

	if (r == 0)
		r = db_run(s, e,
			   "UPDATE volumes SET size = ?2, made = ?3,"
			   " deleting = ?4 WHERE id = ?1",
			   "iiii", v->id, v->size, v->made,
			   (int64_t)v->deleting);
	return r < 0 ? r : quota_end(s, v->tenant, &before, e);
}

int state_volume_put(struct state *s, const struct state_volume *v,
		     struct err *e)
{
	int r = tx_begin(s, e);

	return r < 0 ? r : tx_end(s, volume_update(s, v, e), e);
}

int state_volume_remove(struct state *s, int64_t id, struct err *e)
{
	return db_write(s, e, "DELETE FROM volumes WHERE id = ?1", "i", id);
}

int state_volume_list(struct state *s, struct state_volume **ret, size_t *ret_n,
		      struct err *e)
{
	struct db_list list = {.size = sizeof(**ret), .read = volume_read};
	int r;

	r = db_list(s, &list, e,
		    "SELECT " COLUMNS " FROM volumes"
		    " ORDER BY tenant, stack, name",
		    "");
	if (r < 0)
		return r;
	*ret = list.rows;
	*ret_n = list.n;
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
	return db_run(s, e,
		      "INSERT OR REPLACE INTO volume_uses"
		      "(volume_id, vm_id, writes) VALUES(?1, ?2, ?3)",
		      "iii", id, vm_id, (int64_t)writes);
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
	return db_write(s, e,
			"DELETE FROM volume_uses WHERE volume_id = ?1"
			" AND vm_id = ?2",
			"ii", id, vm_id);
}

static void use_read(sqlite3_stmt *st, void *row)
{
	struct state_volume_use *u = row;

	u->volume_id = sqlite3_column_int64(st, 0);
	u->vm_id = sqlite3_column_int64(st, 1);
	u->writes = sqlite3_column_int(st, 2) != 0;
}

int state_volume_uses(struct state *s, int64_t id,
		      struct state_volume_use **ret, size_t *ret_n,
		      struct err *e)
{
	struct db_list list = {.size = sizeof(**ret), .read = use_read};
	int r;

	r = db_list(s, &list, e,
		    "SELECT volume_id, vm_id, writes FROM volume_uses"
		    " WHERE ?1 = 0 OR volume_id = ?1 ORDER BY volume_id",
		    "i", id);
	if (r < 0)
		return r;
	*ret = list.rows;
	*ret_n = list.n;
	return 0;
}

/* ----------------------------------------------------------- snapshots */

static int snapshot_insert(struct state *s, const struct state_snapshot *snap,
			   struct err *e)
{
	int r;

	r = db_run(s, e,
		   "INSERT OR IGNORE INTO snapshots(id, volume_id, name,"
		   " size, made, created_at) VALUES(?1, ?2, ?3, ?4, 0, ?5)",
		   "iitii", snap->id, snap->volume_id, snap->name, snap->size,
		   snap->created_at);
	if (r == 0 && sqlite3_changes(s->db) == 0)
		r = err_set(e, EEXIST, "there is such a snapshot already");
	return r;
}

static int volume_tenant(struct state *s, int64_t id, char out[STATE_NAME_MAX],
			 struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r;

	r = db_prepare(s, &st, e, "SELECT tenant FROM volumes WHERE id = ?1",
		       "i", id);
	out[0] = '\0';
	if (r == 0 && sqlite3_step(st) == SQLITE_ROW)
		column_text(st, 0, out, STATE_NAME_MAX);
	return r;
}

int state_snapshot_add(struct state *s, struct state_snapshot *snap,
		       struct err *e)
{
	char tenant[STATE_NAME_MAX];
	struct quota_use before;
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	r = counter_next(s, "volume", &snap->id, e);
	if (r == 0)
		r = volume_tenant(s, snap->volume_id, tenant, e);
	if (r == 0)
		r = quota_use_read(s, tenant, &before, e);
	if (r == 0)
		r = snapshot_insert(s, snap, e);
	if (r == 0)
		r = quota_end(s, tenant, &before, e);
	return tx_end(s, r, e);
}

int state_snapshot_made(struct state *s, int64_t id, bool made, struct err *e)
{
	return db_write(s, e, "UPDATE snapshots SET made = ?2 WHERE id = ?1",
			"ii", id, (int64_t)made);
}

int state_snapshot_remove(struct state *s, int64_t id, struct err *e)
{
	return db_write(s, e, "DELETE FROM snapshots WHERE id = ?1", "i", id);
}

static void snapshot_read(sqlite3_stmt *st, void *row)
{
	struct state_snapshot *snap = row;

	snap->id = sqlite3_column_int64(st, 0);
	snap->volume_id = sqlite3_column_int64(st, 1);
	column_text(st, 2, snap->name, sizeof(snap->name));
	snap->size = sqlite3_column_int64(st, 3);
	snap->made = sqlite3_column_int(st, 4) != 0;
	snap->created_at = sqlite3_column_int64(st, 5);
}

int state_snapshot_list(struct state *s, int64_t volume_id,
			struct state_snapshot **ret, size_t *ret_n,
			struct err *e)
{
	struct db_list list = {.size = sizeof(**ret), .read = snapshot_read};
	int r;

	r = db_list(s, &list, e,
		    "SELECT id, volume_id, name, size, made, created_at"
		    " FROM snapshots WHERE ?1 = 0 OR volume_id = ?1"
		    " ORDER BY id",
		    "i", volume_id);
	if (r < 0)
		return r;
	*ret = list.rows;
	*ret_n = list.n;
	return 0;
}
