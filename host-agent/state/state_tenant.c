/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/state/state_tenant.h"

#include "common/base/cleanup.h"
#include "host-agent/state/state_int.h"

/* ---------------------------------------------------------------- quota */

int quota_use_read(struct state *s, const char *tenant, struct quota_use *ret,
		   struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r, i;

	r = db_prepare(s, &st, e,
		       "SELECT TOTAL(vms), TOTAL(vcpus), TOTAL(memory),"
		       " TOTAL(storage)"
		       "  + (SELECT TOTAL(size) FROM volumes WHERE tenant = ?1)"
		       "  + (SELECT TOTAL(bytes) FROM holdings"
		       "     WHERE tenant = ?1)"
		       "  + (SELECT TOTAL(s.size) FROM snapshots s"
		       "     JOIN volumes v ON v.id = s.volume_id"
		       "     WHERE v.tenant = ?1),"
		       " (SELECT COUNT(*) FROM volumes WHERE tenant = ?1),"
		       " TOTAL(ports) FROM stacks WHERE tenant = ?1",
		       "t", tenant);
	if (r < 0)
		return r;
	if (sqlite3_step(st) != SQLITE_ROW)
		return db_error(s, e, "read");
	for (i = 0; i < QUOTA_KIND_MAX; i++)
		ret->n[i] = sqlite3_column_int64(st, i);
	return 0;
}

static void show(enum quota_kind kind, int64_t n, char out[32])
{
	if (!quota_kind_is_bytes(kind))
		snprintf(out, 32, "%lld", (long long)n);
	else if (n % ((int64_t)1 << 30) == 0)
		snprintf(out, 32, "%lldg", (long long)(n >> 30));
	else
		snprintf(out, 32, "%lldm",
			 (long long)((n + (1 << 20) - 1) >> 20));
}

static int quota_exceeded(const char *tenant, enum quota_kind kind,
			  int64_t used, int64_t after, int64_t limit,
			  struct err *e)
{
	char have[32], asked[32], most[32];

	show(kind, used, have);
	show(kind, after - used, asked);
	show(kind, limit, most);
	err_set(e, EDQUOT,
		"QuotaExceeded: tenant '%s': %s: %s used, %s more asked, the "
		"limit is %s",
		tenant, quota_kind_name(kind), have, asked, most);
	err_hint(e, "take something down, or ask the operator for more");
	return -EDQUOT;
}

static int quota_check(struct state *s, const char *tenant,
		       const struct quota_use *before,
		       const struct quota_use *after, struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r, step, kind;

	r = db_prepare(s, &st, e,
		       "SELECT kind, most FROM quotas WHERE tenant = ?1"
		       " ORDER BY kind",
		       "t", tenant);
	while (r == 0 && (step = sqlite3_step(st)) != SQLITE_DONE) {
		int64_t most = sqlite3_column_int64(st, 1);

		if (step != SQLITE_ROW)
			return db_error(s, e, "read");
		kind = sqlite3_column_int(st, 0);
		if (kind >= 0 && kind < QUOTA_KIND_MAX &&
		    after->n[kind] > most && after->n[kind] > before->n[kind])
			r = quota_exceeded(tenant, (enum quota_kind)kind,
					   before->n[kind], after->n[kind],
					   most, e);
	}
	return r;
}

int quota_end(struct state *s, const char *tenant,
	      const struct quota_use *before, struct err *e)
{
	struct quota_use after;
	int r = quota_use_read(s, tenant, &after, e);

	return r < 0 ? r : quota_check(s, tenant, before, &after, e);
}

int state_tenant_use(struct state *s, const char *name, struct quota_use *ret,
		     struct err *e)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = quota_use_read(s, name, ret, e);
	pthread_mutex_unlock(&s->lock);
	return r;
}

static int read_most(struct state *s, const char *tenant, enum quota_kind kind,
		     int64_t *ret, struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r, step;

	r = db_prepare(s, &st, e,
		       "SELECT most FROM quotas WHERE tenant = ?1"
		       " AND kind = ?2",
		       "ti", tenant, (int64_t)kind);
	if (r < 0)
		return r;
	step = sqlite3_step(st);
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		return db_error(s, e, "read");
	*ret = step == SQLITE_ROW ? sqlite3_column_int64(st, 0) : INT64_MAX;
	return 0;
}

int state_quota_left(struct state *s, const char *tenant, enum quota_kind kind,
		     int64_t *ret_most, int64_t *ret_left, struct err *e)
{
	struct quota_use use;
	int r;

	pthread_mutex_lock(&s->lock);
	r = quota_use_read(s, tenant, &use, e);
	if (r == 0)
		r = read_most(s, tenant, kind, ret_most, e);
	pthread_mutex_unlock(&s->lock);
	if (r < 0)
		return r;
	if (*ret_most == INT64_MAX)
		*ret_left = INT64_MAX;
	else
		*ret_left =
			*ret_most > use.n[kind] ? *ret_most - use.n[kind] : 0;
	return 0;
}

/* Has the tenant a row in the table? 1, 0 or an error. */
static int has_rows(struct state *s, const char *sql, const char *name,
		    struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r, step;

	r = db_prepare(s, &st, e, sql, "t", name);
	if (r < 0)
		return r;
	step = sqlite3_step(st);
	if (step != SQLITE_ROW && step != SQLITE_DONE)
		return db_error(s, e, "read");
	return step == SQLITE_ROW;
}

/* Nothing new is of one that is gone. */
static int check_tenant(struct state *s, const char *name, struct err *e)
{
	int r = 1;

	if (strcmp(name, HYB_DEFAULT_TENANT) != 0)
		r = has_rows(s, "SELECT 1 FROM tenants WHERE name = ?1", name,
			     e);
	return r == 0  ? err_set(e, ENOENT, "there is no tenant '%s'", name)
	       : r < 0 ? r
		       : 0;
}

static int check_new(struct state *s, const struct state_holding *h,
		     struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r, step;

	r = db_prepare(s, &st, e,
		       "SELECT 1 FROM holdings WHERE tenant = ?1"
		       " AND what = ?2 AND name = ?3",
		       "ttt", h->tenant, h->what, h->name);
	if (r < 0)
		return r;
	step = sqlite3_step(st);
	if (step == SQLITE_ROW)
		return err_set(e, EEXIST, "there is a %s '%s', or will be",
			       h->what, h->name);
	return step == SQLITE_DONE ? 0 : db_error(s, e, "read");
}

static int holding_put(struct state *s, const struct state_holding *h,
		       enum holding_how how, struct err *e)
{
	struct quota_use before;
	int r = quota_use_read(s, h->tenant, &before, e);

	if (r == 0 && how != HOLDING_SET)
		r = check_tenant(s, h->tenant, e);
	if (r == 0 && how == HOLDING_NEW)
		r = check_new(s, h, e);
	if (r == 0)
		r = db_run(s, e,
			   "INSERT OR REPLACE INTO holdings"
			   "(tenant, what, name, bytes)"
			   " VALUES(?1, ?2, ?3, ?4)",
			   "ttti", h->tenant, h->what, h->name, h->bytes);
	return r < 0 || how == HOLDING_SET
		       ? r
		       : quota_end(s, h->tenant, &before, e);
}

int state_holding_put(struct state *s, const struct state_holding *h,
		      enum holding_how how, struct err *e)
{
	int r = tx_begin(s, e);

	return r < 0 ? r : tx_end(s, holding_put(s, h, how, e), e);
}

int state_holding_drop(struct state *s, const char *tenant, const char *what,
		       const char *name, struct err *e)
{
	return db_write(s, e,
			"DELETE FROM holdings WHERE tenant = ?1 AND what = ?2"
			" AND name = ?3",
			"ttt", tenant, what, name);
}

int state_holding_clear(struct state *s, const char *what, struct err *e)
{
	return db_write(s, e, "DELETE FROM holdings WHERE what = ?1", "t",
			what);
}

int stack_use_write(struct state *s, const char *tenant, const char *name,
		    const struct quota_use *use, struct err *e)
{
	/* At each start this is done for every stack: what is right already is
	 * not written. */
	return db_run(s, e,
		      "UPDATE stacks SET vms = ?3, vcpus = ?4, memory = ?5,"
		      " storage = ?6, ports = ?7"
		      " WHERE tenant = ?1 AND name = ?2"
		      " AND (vms, vcpus, memory, storage, ports)"
		      "  IS NOT (?3, ?4, ?5, ?6, ?7)",
		      "ttiiiii", tenant, name, use->n[QUOTA_VMS],
		      use->n[QUOTA_VCPUS], use->n[QUOTA_MEMORY],
		      use->n[QUOTA_STORAGE], use->n[QUOTA_PORTS]);
}

int state_stack_count(struct state *s, const char *tenant, const char *name,
		      const struct quota_use *use, struct err *e)
{
	int r = tx_begin(s, e);

	return r < 0 ? r
		     : tx_end(s, stack_use_write(s, tenant, name, use, e), e);
}

static int ask_stack(struct state *s, const char *tenant, const char *name,
		     const struct quota_use *use, struct err *e)
{
	struct quota_use before;
	int r = quota_use_read(s, tenant, &before, e);

	if (r == 0)
		r = db_run(s, e,
			   "INSERT OR REPLACE INTO stacks"
			   "(tenant, name, desired, generation)"
			   " VALUES(?1, ?2, '', 0)",
			   "tt", tenant, name);
	if (r == 0)
		r = stack_use_write(s, tenant, name, use, e);
	return r < 0 ? r : quota_end(s, tenant, &before, e);
}

int state_quota_ask_stack(struct state *s, const char *tenant, const char *name,
			  const struct quota_use *use, struct err *e)
{
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	r = ask_stack(s, tenant, name, use, e);
	/* It was only asked: nothing of it stays. */
	tx_end(s, -ECANCELED, NULL);
	return r;
}

/* -------------------------------------------------------------- tenants */

static int tenant_write(struct state *s, const struct model_tenant *t,
			const char *doc, struct err *e)
{
	int64_t kind;
	int r;

	r = db_run(s, e,
		   "INSERT OR REPLACE INTO tenants(name, doc) VALUES(?1, ?2)",
		   "tt", t->name, doc);
	if (r == 0)
		r = db_run(s, e, "DELETE FROM quotas WHERE tenant = ?1", "t",
			   t->name);
	for (kind = 0; r == 0 && kind < QUOTA_KIND_MAX; kind++)
		if (t->quota[kind] >= 0)
			r = db_run(s, e,
				   "INSERT INTO quotas(tenant, kind, most)"
				   " VALUES(?1, ?2, ?3)",
				   "tii", t->name, kind, t->quota[kind]);
	return r;
}

int state_tenant_put(struct state *s, const struct model_tenant *t,
		     struct err *e)
{
	_cleanup_free_ char *doc = model_text(model_tenant_to_json(t));
	int r = doc ? tx_begin(s, e) : err_sys(e, ENOMEM, "store a tenant");

	return r < 0 ? r : tx_end(s, tenant_write(s, t, doc, e), e);
}

static int tenant_delete(struct state *s, const char *name, struct err *e)
{
	static const struct {
		const char *what, *sql;
	} tables[] = {
		{"stacks", "SELECT 1 FROM stacks WHERE tenant = ?1 LIMIT 1"},
		{"VMs", "SELECT 1 FROM vms WHERE tenant = ?1 LIMIT 1"},
		{"volumes", "SELECT 1 FROM volumes WHERE tenant = ?1 LIMIT 1"},
		{"secrets", "SELECT 1 FROM secrets WHERE tenant = ?1 LIMIT 1"},
		{"disks", "SELECT 1 FROM holdings WHERE tenant = ?1"
			  " AND what = 'disk' LIMIT 1"},
	};
	bool keeps = strcmp(name, HYB_DEFAULT_TENANT) == 0;
	size_t i;
	int r = 0;

	/* What 'default' has needs no declaration. */
	for (i = 0; !keeps && r == 0 && i < ARRAY_SIZE(tables); i++) {
		r = has_rows(s, tables[i].sql, name, e);
		if (r > 0)
			return err_set(e, EBUSY, "tenant '%s' still has %s",
				       name, tables[i].what);
	}
	if (r == 0)
		r = db_run(s, e, "DELETE FROM quotas WHERE tenant = ?1", "t",
			   name);
	if (r == 0 && !keeps)
		r = db_run(s, e, "DELETE FROM holdings WHERE tenant = ?1", "t",
			   name);
	if (r == 0)
		r = db_run(s, e, "DELETE FROM tenants WHERE name = ?1", "t",
			   name);
	if (r == 0 && sqlite3_changes(s->db) == 0)
		r = err_set(e, ENOENT, "there is no tenant '%s'", name);
	return r;
}

int state_tenant_remove(struct state *s, const char *name, struct err *e)
{
	int r = tx_begin(s, e);

	return r < 0 ? r : tx_end(s, tenant_delete(s, name, e), e);
}

static void tenant_row(sqlite3_stmt *st, void *row)
{
	struct state_tenant *t = row;

	column_text(st, 0, t->name, sizeof(t->name));
	t->doc = column_dup(st, 1);
}

int state_tenant_list(struct state *s, struct state_tenant **ret, size_t *ret_n,
		      struct err *e)
{
	struct db_list list = {.size = sizeof(**ret), .read = tenant_row};
	int r;

	r = db_list(s, &list, e, "SELECT name, doc FROM tenants ORDER BY name",
		    "");
	if (r < 0)
		return r;
	*ret = list.rows;
	*ret_n = list.n;
	return 0;
}

void state_tenant_free(struct state_tenant *list, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		free(list[i].doc);
	free(list);
}
