/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/state/state.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "common/base/uuid.h"

#include "host-agent/state/state_int.h"

static const char schema[] =
	"CREATE TABLE stacks("
	" tenant TEXT NOT NULL, name TEXT NOT NULL, desired TEXT NOT NULL,"
	" generation INTEGER NOT NULL, PRIMARY KEY(tenant, name));"
	"CREATE TABLE vms("
	" id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, stack TEXT NOT NULL,"
	" name TEXT NOT NULL, uuid TEXT NOT NULL, instance TEXT NOT NULL,"
	" applied TEXT, user_stopped INTEGER NOT NULL, present INTEGER NOT NULL,"
	" reason TEXT NOT NULL, message TEXT NOT NULL,"
	" restarts INTEGER NOT NULL, created_at INTEGER NOT NULL,"
	" started_at INTEGER NOT NULL, portd_pid INTEGER NOT NULL,"
	" portd_start INTEGER NOT NULL, ports TEXT NOT NULL,"
	" UNIQUE(tenant, stack, name));"
	"CREATE TABLE containers("
	" vm_id INTEGER NOT NULL REFERENCES vms(id) ON DELETE CASCADE"
	"  ON UPDATE CASCADE,"
	" name TEXT NOT NULL, applied TEXT, digest TEXT NOT NULL,"
	" user_stopped INTEGER NOT NULL, state TEXT NOT NULL,"
	" reason TEXT NOT NULL, message TEXT NOT NULL,"
	" exit_code INTEGER NOT NULL, restarts INTEGER NOT NULL,"
	" created_at INTEGER NOT NULL, started_at INTEGER NOT NULL,"
	" finished_at INTEGER NOT NULL, incarnation INTEGER NOT NULL,"
	" log_base INTEGER NOT NULL, PRIMARY KEY(vm_id, name));"
	"CREATE TABLE counters(name TEXT PRIMARY KEY, value INTEGER NOT NULL);"
	"INSERT INTO counters VALUES('vm', 0), ('generation', 0);"
	"PRAGMA user_version = 1;";

/* What brings a store of version n to n + 1, each in one transaction: a new
 * store goes the same way. */
static const char *const upgrades[] = {
	[0] = schema,
	[1] = "ALTER TABLE vms ADD COLUMN restart_of INTEGER NOT NULL"
	      " DEFAULT 0;"
	      "ALTER TABLE containers ADD COLUMN user_paused INTEGER NOT NULL"
	      " DEFAULT 0;"
	      "ALTER TABLE containers ADD COLUMN restart_of INTEGER NOT NULL"
	      " DEFAULT 0;"
	      "PRAGMA user_version = 2;",
	[2] = "CREATE TABLE volumes("
	      " id INTEGER PRIMARY KEY, tenant TEXT NOT NULL,"
	      " stack TEXT NOT NULL, name TEXT NOT NULL, uuid TEXT NOT NULL,"
	      " size INTEGER NOT NULL, made INTEGER NOT NULL,"
	      " deleting INTEGER NOT NULL, created_at INTEGER NOT NULL,"
	      " UNIQUE(tenant, stack, name));"
	      "CREATE TABLE volume_uses("
	      " volume_id INTEGER NOT NULL REFERENCES volumes(id),"
	      " vm_id INTEGER NOT NULL, writes INTEGER NOT NULL,"
	      " PRIMARY KEY(volume_id, vm_id));"
	      "CREATE TABLE secrets("
	      " tenant TEXT NOT NULL, stack TEXT NOT NULL, name TEXT NOT NULL,"
	      " version INTEGER NOT NULL, sealed TEXT NOT NULL,"
	      " created_at INTEGER NOT NULL, PRIMARY KEY(tenant, stack, name));"
	      "INSERT INTO counters VALUES('volume', 0), ('secret', 0);"
	      "PRAGMA user_version = 3;",
	[3] = "CREATE TABLE snapshots("
	      " id INTEGER PRIMARY KEY,"
	      " volume_id INTEGER NOT NULL REFERENCES volumes(id),"
	      " name TEXT NOT NULL, size INTEGER NOT NULL,"
	      " made INTEGER NOT NULL, created_at INTEGER NOT NULL,"
	      " UNIQUE(volume_id, name));"
	      "PRAGMA user_version = 4;",
	[4] = "CREATE TABLE tenants(name TEXT PRIMARY KEY, doc TEXT NOT NULL);"
	      "CREATE TABLE quotas("
	      " tenant TEXT NOT NULL, kind INTEGER NOT NULL,"
	      " most INTEGER NOT NULL, PRIMARY KEY(tenant, kind));"
	      "ALTER TABLE stacks ADD COLUMN vms INTEGER NOT NULL DEFAULT 0;"
	      "ALTER TABLE stacks ADD COLUMN vcpus INTEGER NOT NULL DEFAULT 0;"
	      "ALTER TABLE stacks ADD COLUMN memory INTEGER NOT NULL DEFAULT 0;"
	      "ALTER TABLE stacks ADD COLUMN storage INTEGER NOT NULL"
	      " DEFAULT 0;"
	      "ALTER TABLE stacks ADD COLUMN ports INTEGER NOT NULL DEFAULT 0;"
	      "PRAGMA user_version = 5;",
	[5] = "CREATE TABLE holdings("
	      " tenant TEXT NOT NULL, what TEXT NOT NULL, name TEXT NOT NULL,"
	      " bytes INTEGER NOT NULL, PRIMARY KEY(tenant, what, name));"
	      "PRAGMA user_version = 6;",
	[6] = "ALTER TABLE vms ADD COLUMN net_number INTEGER NOT NULL"
	      " DEFAULT 0;"
	      "PRAGMA user_version = 7;",
};
#define SCHEMA_VERSION ((int)ARRAY_SIZE(upgrades))

/* ------------------------------------------------------------- opening */

static int check_version(struct state *s, struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int version, r;

	r = db_prepare(s, &st, e, "PRAGMA user_version", "");
	if (r < 0)
		return r;
	if (sqlite3_step(st) != SQLITE_ROW)
		return db_error(s, e, "read");
	version = sqlite3_column_int(st, 0);
	if (version > SCHEMA_VERSION)
		return err_set(
			e, EPROTONOSUPPORT,
			"state '%s' is of version %d, written by a newer "
			"hyb; this one knows version %d",
			s->path, version, SCHEMA_VERSION);
	return version;
}

static int check_integrity(struct state *s, struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	const unsigned char *t;
	int r;

	r = db_prepare(s, &st, e, "PRAGMA quick_check(1)", "");
	if (r < 0)
		return r;
	if (sqlite3_step(st) != SQLITE_ROW)
		return db_error(s, e, "read");
	t = sqlite3_column_text(st, 0);
	if (!t || strcmp((const char *)t, "ok") != 0)
		return err_set(e, EIO, "state '%s' is damaged: %s", s->path,
			       t ? (const char *)t : "unreadable");
	return 0;
}

static int state_prepare(struct state *s, struct err *e)
{
	int r;

	sqlite3_busy_timeout(s->db, 5000);
	r = check_integrity(s, e);
	if (r == 0)
		r = db_exec(s,
			    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
			    "PRAGMA foreign_keys=ON;",
			    e);
	if (r < 0)
		return r;
	while ((r = check_version(s, e)) >= 0 && r < SCHEMA_VERSION) {
		const char *upgrade = upgrades[r];

		r = tx_begin(s, e);
		if (r == 0)
			r = tx_end(s, db_exec(s, upgrade, e), e);
		if (r < 0)
			return r;
	}
	return r < 0 ? r : 0;
}

int state_open(const char *path, struct state **ret, struct err *e)
{
	struct state *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(e, ENOMEM, "open state '%s'", path);
	snprintf(s->path, sizeof(s->path), "%s", path);
	pthread_mutex_init(&s->lock, NULL);
	r = sqlite3_open_v2(path, &s->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				    SQLITE_OPEN_FULLMUTEX |
				    SQLITE_OPEN_NOFOLLOW,
			    NULL);
	if (r != SQLITE_OK)
		r = db_error(s, e, "open");
	else
		r = state_prepare(s, e);
	if (r < 0) {
		if (e && e->code == EIO)
			err_hint(e, "restore the file from a backup, or move "
				    "it away to begin anew");
		state_close(s);
		return r;
	}
	*ret = s;
	return 0;
}

void state_close(struct state *s)
{
	if (!s)
		return;
	sqlite3_close(s->db);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* -------------------------------------------------------------- stacks */

static int stack_put(struct state *s, const char *tenant, const char *name,
		     const char *desired, const struct quota_use *use,
		     int64_t *gen, struct err *e)
{
	struct quota_use before;
	int r = counter_next(s, "generation", gen, e);

	if (r == 0)
		r = quota_use_read(s, tenant, &before, e);
	if (r == 0)
		r = db_run(s, e,
			   "INSERT OR REPLACE INTO stacks"
			   "(tenant, name, desired, generation)"
			   " VALUES(?1, ?2, ?3, ?4)",
			   "ttti", tenant, name, desired, *gen);
	if (r == 0)
		r = stack_use_write(s, tenant, name, use, e);
	return r < 0 ? r : quota_end(s, tenant, &before, e);
}

int state_stack_put(struct state *s, const char *tenant, const char *name,
		    const char *desired, const struct quota_use *use,
		    int64_t *ret_generation, struct err *e)
{
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	return tx_end(
		s, stack_put(s, tenant, name, desired, use, ret_generation, e),
		e);
}

int state_stack_remove(struct state *s, const char *tenant, const char *name,
		       struct err *e)
{
	return db_write(s, e,
			"DELETE FROM stacks WHERE tenant = ?1 AND name = ?2",
			"tt", tenant, name);
}

struct stack_each {
	int (*fn)(void *arg, const struct state_stack *st);
	void *arg;
};

static int on_stack_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	const struct stack_each *each = arg;
	struct state_stack row;
	int r;

	column_text(st, 0, row.tenant, sizeof(row.tenant));
	column_text(st, 1, row.name, sizeof(row.name));
	row.desired = column_dup(st, 2);
	row.generation = sqlite3_column_int64(st, 3);
	r = row.desired ? each->fn(each->arg, &row)
			: err_sys(e, ENOMEM, "read state");
	free(row.desired);
	return r;
}

int state_stack_each(struct state *s,
		     int (*fn)(void *arg, const struct state_stack *st),
		     void *arg, struct err *e)
{
	struct stack_each each = {fn, arg};

	return db_read(s, on_stack_row, &each, e,
		       "SELECT tenant, name, desired, generation FROM stacks"
		       " ORDER BY tenant, name",
		       "");
}

/* ----------------------------------------------------------------- VMs */

#define VM_COLUMNS                                                        \
	"id, tenant, stack, name, uuid, instance, applied, user_stopped," \
	" present, reason, message, restarts, created_at, started_at,"    \
	" portd_pid, portd_start, ports, restart_of, net_number"

static void vm_read(sqlite3_stmt *st, struct state_vm *vm)
{
	memset(vm, 0, sizeof(*vm));
	vm->id = sqlite3_column_int64(st, 0);
	column_text(st, 1, vm->tenant, sizeof(vm->tenant));
	column_text(st, 2, vm->stack, sizeof(vm->stack));
	column_text(st, 3, vm->name, sizeof(vm->name));
	column_text(st, 4, vm->uuid, sizeof(vm->uuid));
	column_text(st, 5, vm->instance, sizeof(vm->instance));
	vm->applied = column_dup(st, 6);
	vm->user_stopped = sqlite3_column_int(st, 7) != 0;
	vm->exists = sqlite3_column_int(st, 8) != 0;
	column_text(st, 9, vm->reason, sizeof(vm->reason));
	column_text(st, 10, vm->message, sizeof(vm->message));
	vm->restarts = (uint32_t)sqlite3_column_int64(st, 11);
	vm->created_at = sqlite3_column_int64(st, 12);
	vm->started_at = sqlite3_column_int64(st, 13);
	vm->portd_pid = sqlite3_column_int64(st, 14);
	vm->portd_start = (uint64_t)sqlite3_column_int64(st, 15);
	column_text(st, 16, vm->ports, sizeof(vm->ports));
	vm->restart_of = sqlite3_column_int64(st, 17);
	vm->net_number = (uint32_t)sqlite3_column_int64(st, 18);
}

/* A random UUID and instance: who this VM is. */
static void vm_identity(struct state_vm *vm)
{
	unsigned char token[16];

	uuid_random(vm->uuid);
	random_bytes(token, sizeof(token));
	hex_format(token, sizeof(token), vm->instance);
}

static int vm_find(struct state *s, const char *tenant, const char *stack,
		   const char *name, struct state_vm *ret, struct err *e)
{
	_cleanup_(cleanup_stmt) sqlite3_stmt *st = NULL;
	int r, step;

	r = db_prepare(s, &st, e,
		       "SELECT " VM_COLUMNS " FROM vms WHERE tenant = ?1"
		       " AND stack = ?2 AND name = ?3",
		       "ttt", tenant, stack, name);
	if (r < 0)
		return r;
	step = sqlite3_step(st);
	if (step == SQLITE_DONE)
		return -ENOENT;
	if (step != SQLITE_ROW)
		return db_error(s, e, "read");
	vm_read(st, ret);
	return 0;
}

static int vm_insert(struct state *s, const struct state_vm *vm, struct err *e)
{
	return db_run(s, e,
		      "INSERT INTO vms(" VM_COLUMNS ") VALUES"
		      "(?1, ?2, ?3, ?4, ?5, ?6, NULL, 0, 0, '', '', 0, 0, 0,"
		      " 0, 0, '', 0, 0)",
		      "itttt"
		      "t",
		      vm->id, vm->tenant, vm->stack, vm->name, vm->uuid,
		      vm->instance);
}

static int vm_ensure(struct state *s, const char *tenant, const char *stack,
		     const char *name, struct state_vm *ret, struct err *e)
{
	int r = vm_find(s, tenant, stack, name, ret, e);

	if (r != -ENOENT)
		return r;
	memset(ret, 0, sizeof(*ret));
	snprintf(ret->tenant, sizeof(ret->tenant), "%s", tenant);
	snprintf(ret->stack, sizeof(ret->stack), "%s", stack);
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	vm_identity(ret);
	r = counter_next(s, "vm", &ret->id, e);
	return r < 0 ? r : vm_insert(s, ret, e);
}

int state_vm_ensure(struct state *s, const char *tenant, const char *stack,
		    const char *name, struct state_vm *ret, struct err *e)
{
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	return tx_end(s, vm_ensure(s, tenant, stack, name, ret, e), e);
}

int state_vm_number(struct state *s, struct state_vm *ret, struct err *e)
{
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	vm_identity(ret);
	return tx_end(s, counter_next(s, "vm", &ret->id, e), e);
}

static int vm_renew(struct state *s, int64_t old, const struct state_vm *vm,
		    struct err *e)
{
	return db_run(s, e,
		      "UPDATE vms SET id = ?2, uuid = ?3, instance = ?4"
		      " WHERE id = ?1",
		      "iitt", old, vm->id, vm->uuid, vm->instance);
}

int state_vm_renew(struct state *s, struct state_vm *vm, struct err *e)
{
	struct state_vm next = *vm;
	int r = tx_begin(s, e);

	if (r < 0)
		return r;
	vm_identity(&next);
	r = counter_next(s, "vm", &next.id, e);
	if (r == 0)
		r = vm_renew(s, vm->id, &next, e);
	r = tx_end(s, r, e);
	if (r == 0)
		*vm = next;
	return r;
}

int state_vm_put(struct state *s, const struct state_vm *vm, struct err *e)
{
	return db_write(
		s, e,
		"UPDATE vms SET applied = ?2, user_stopped = ?3,"
		" present = ?4, reason = ?5, message = ?6, restarts = ?7,"
		" created_at = ?8, started_at = ?9, portd_pid = ?10,"
		" portd_start = ?11, ports = ?12, restart_of = ?13,"
		" net_number = ?14"
		" WHERE id = ?1",
		"itiittiiiiitii", vm->id, vm->applied,
		(int64_t)vm->user_stopped, (int64_t)vm->exists, vm->reason,
		vm->message, (int64_t)vm->restarts, vm->created_at,
		vm->started_at, vm->portd_pid, (int64_t)vm->portd_start,
		vm->ports, vm->restart_of, (int64_t)vm->net_number);
}

int state_vm_remove(struct state *s, int64_t id, struct err *e)
{
	return db_write(s, e, "DELETE FROM vms WHERE id = ?1", "i", id);
}

struct vm_each {
	int (*fn)(void *arg, const struct state_vm *vm);
	void *arg;
};

static int on_vm_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	const struct vm_each *each = arg;
	struct state_vm vm;
	int r;

	(void)e;
	vm_read(st, &vm);
	r = each->fn(each->arg, &vm);
	state_vm_done(&vm);
	return r;
}

int state_vm_each(struct state *s,
		  int (*fn)(void *arg, const struct state_vm *vm), void *arg,
		  struct err *e)
{
	struct vm_each each = {fn, arg};

	return db_read(s, on_vm_row, &each, e,
		       "SELECT " VM_COLUMNS " FROM vms ORDER BY id", "");
}

void state_vm_done(struct state_vm *vm)
{
	free(vm->applied);
	vm->applied = NULL;
}

/* ---------------------------------------------------------- containers */

int state_container_put(struct state *s, const struct state_container *c,
			struct err *e)
{
	return db_write(
		s, e,
		"INSERT OR REPLACE INTO containers(vm_id, name, applied,"
		" digest, user_stopped, state, reason, message,"
		" exit_code, restarts, created_at, started_at,"
		" finished_at, incarnation, log_base, user_paused,"
		" restart_of) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,"
		" ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
		"itttitttiiiiiiiii", c->vm_id, c->name, c->applied, c->digest,
		(int64_t)c->user_stopped, c->state, c->reason, c->message,
		c->exit_code, (int64_t)c->restarts, c->created_at,
		c->started_at, c->finished_at, c->incarnation,
		(int64_t)c->log_base, (int64_t)c->user_paused, c->restart_of);
}

int state_container_remove(struct state *s, int64_t vm_id, const char *name,
			   struct err *e)
{
	return db_write(s, e,
			"DELETE FROM containers WHERE vm_id = ?1 AND name = ?2",
			"it", vm_id, name);
}

static void container_read(sqlite3_stmt *st, struct state_container *c)
{
	memset(c, 0, sizeof(*c));
	c->vm_id = sqlite3_column_int64(st, 0);
	column_text(st, 1, c->name, sizeof(c->name));
	c->applied = column_dup(st, 2);
	column_text(st, 3, c->digest, sizeof(c->digest));
	c->user_stopped = sqlite3_column_int(st, 4) != 0;
	column_text(st, 5, c->state, sizeof(c->state));
	column_text(st, 6, c->reason, sizeof(c->reason));
	column_text(st, 7, c->message, sizeof(c->message));
	c->exit_code = sqlite3_column_int64(st, 8);
	c->restarts = (uint32_t)sqlite3_column_int64(st, 9);
	c->created_at = sqlite3_column_int64(st, 10);
	c->started_at = sqlite3_column_int64(st, 11);
	c->finished_at = sqlite3_column_int64(st, 12);
	c->incarnation = sqlite3_column_int64(st, 13);
	c->log_base = (uint64_t)sqlite3_column_int64(st, 14);
	c->user_paused = sqlite3_column_int(st, 15) != 0;
	c->restart_of = sqlite3_column_int64(st, 16);
}

struct container_each {
	int (*fn)(void *arg, const struct state_container *c);
	void *arg;
};

static int on_container_row(void *arg, sqlite3_stmt *st, struct err *e)
{
	const struct container_each *each = arg;
	struct state_container c;
	int r;

	(void)e;
	container_read(st, &c);
	r = each->fn(each->arg, &c);
	state_container_done(&c);
	return r;
}

int state_container_each(struct state *s, int64_t vm_id,
			 int (*fn)(void *arg, const struct state_container *c),
			 void *arg, struct err *e)
{
	struct container_each each = {fn, arg};

	return db_read(s, on_container_row, &each, e,
		       "SELECT vm_id, name, applied, digest, user_stopped,"
		       " state, reason, message, exit_code, restarts,"
		       " created_at, started_at, finished_at, incarnation,"
		       " log_base, user_paused, restart_of"
		       " FROM containers WHERE vm_id = ?1"
		       " ORDER BY name",
		       "i", vm_id);
}

void state_container_done(struct state_container *c)
{
	free(c->applied);
	c->applied = NULL;
}
