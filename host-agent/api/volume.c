/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on volumes, and what Deploy and Down do with them. */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "common/varlink/params.h"

/* "stack/vm, stack/vm (ro)": who has it. */
static void users_of(struct request *q, int64_t id, struct buf *out)
{
	_cleanup_free_ struct state_volume_use *uses = NULL;
	const struct vm *vm;
	size_t n = 0, i;

	if (state_volume_uses(q->api->state, id, &uses, &n, NULL) < 0)
		return;
	world_lock(q->api->world);
	for (i = 0; i < n; i++)
		for (vm = q->api->world->vms; vm; vm = vm->next)
			if (vm->row.id == uses[i].vm_id)
				buf_printf(out, "%s%s/%s%s",
					   out->len ? ", " : "", vm->stack,
					   vm->name,
					   uses[i].writes ? "" : " (ro)");
	world_unlock(q->api->world);
}

/* Writing back what a guest has dirty may take a while. */
#define FREEZE_MS 30000

static json_t *volume_row(struct request *q, const struct state_volume *v)
{
	_cleanup_buf_ struct buf users = {.max = 4096};
	struct volume_info info;
	char name[136];
	json_t *o;

	volume_look(q->api->volumes, v, &info);
	users_of(q, v->id, &users);
	o = json_pack("{s:s,s:s,s:I,s:I,s:s,s:s,s:s}", "tenant", v->tenant,
		      "name", volume_format(v, name), "size",
		      (json_int_t)v->size, "allocated",
		      (json_int_t)info.allocated, "used_by", buf_str(&users),
		      "state",
		      v->deleting	? "deleting"
		      : info.problem[0] ? "failed"
		      : !v->made	? "being made"
		      : users.len	? "in use"
					: "ready",
		      "problem", info.problem);
	json_object_set_new(o, "created_at", time_json(v->created_at));
	return o;
}

int on_volume_list(void *ctx, struct vl_call *call, struct err *e)
{
	_cleanup_free_ struct state_volume *list = NULL;
	struct request *q = ctx;
	json_t *rows;
	size_t n = 0, i;
	int r;

	(void)call;
	r = state_volume_list(q->api->state, &list, &n, e);
	if (r < 0)
		return r;
	rows = json_array();
	for (i = 0; i < n; i++)
		if (strcmp(list[i].tenant, q->tenant) == 0)
			json_array_append_new(rows, volume_row(q, &list[i]));
	return request_reply(q, json_pack("{s:o}", "volumes", rows), false, e);
}

/* ---------------------------------------------------------------- one */

static bool is_meant(const struct state_volume *v, const char *tenant,
		     const char *name)
{
	char full[136];

	return strcmp(v->tenant, tenant) == 0 &&
	       (strcmp(volume_format(v, full), name) == 0);
}

/* Cuts "@snapshot" off, if it is there: *ret_snapshot, or NULL. */
static int split_name(const char *name, char volume[256],
		      const char **ret_snapshot, struct err *e)
{
	char *at;

	snprintf(volume, 256, "%s", name);
	at = strchr(volume, '@');
	*ret_snapshot = NULL;
	if (!at)
		return 0;
	*at++ = '\0';
	if (check_name(at))
		return err_set(e, EINVAL, "the name of a snapshot must be %s",
			       check_name(at));
	*ret_snapshot = at;
	return 0;
}

/* "stack/name"; "name" of one made by hand, or of the only one called so. */
static int find_by_name(struct request *q, const char *name,
			struct state_volume *ret, struct err *e)
{
	_cleanup_free_ struct state_volume *list = NULL;
	size_t n = 0, i, found = 0, exact = 0;
	char shown[160];
	int r;

	r = state_volume_list(q->api->state, &list, &n, e);
	if (r < 0)
		return r;
	for (i = 0; i < n && !exact; i++) {
		if (is_meant(&list[i], q->tenant, name)) {
			*ret = list[i];
			exact = 1;
		} else if (strcmp(list[i].tenant, q->tenant) == 0 &&
			   strcmp(list[i].name, name) == 0) {
			*ret = list[i];
			found++;
		}
	}
	if (exact || found == 1)
		return 0;
	err_set(e, ENOENT,
		found ? "there are several volumes '%s'"
		      : "there is no volume '%s'",
		text_escape(name, shown, sizeof(shown)));
	err_hint(e, found ? "write STACK/NAME" : "`hyb volume ls` lists them");
	return -ENOENT;
}

struct volume_params {
	const char *name;
	int64_t size;
};

/* volume: what *ret_snapshot (NULL: none) points into. */
int volume_by_name(struct request *q, const char *name, char volume[256],
		   struct state_volume *ret, const char **ret_snapshot,
		   struct err *e)
{
	int r = split_name(name, volume, ret_snapshot, e);

	return r < 0 ? r : find_by_name(q, volume, ret, e);
}

static int read_named(struct request *q, const struct vl_call *call,
		      char volume[256], struct state_volume *ret,
		      const char **ret_snapshot, struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, offsetof(struct volume_params, name), 1,
		 255, false},
	};
	struct volume_params p = {.name = NULL};
	int r;

	r = vl_params_read(call->parameters, fields, 1, true, &p, NULL, e);
	return r < 0 ? r
		     : volume_by_name(q, p.name, volume, ret, ret_snapshot, e);
}

static int read_one(struct request *q, const struct vl_call *call,
		    struct state_volume *ret, struct err *e)
{
	const char *snapshot;
	char volume[256];
	int r = read_named(q, call, volume, ret, &snapshot, e);

	if (r == 0 && snapshot)
		return err_set(e, EINVAL,
			       "'%s@%s': a volume is meant, not a "
			       "snapshot",
			       volume, snapshot);
	return r;
}

/* VOLUME@SNAPSHOT, both. */
static int read_snapshot(struct request *q, const struct vl_call *call,
			 char volume[256], struct state_volume *ret,
			 const char **ret_snapshot, struct err *e)
{
	int r = read_named(q, call, volume, ret, ret_snapshot, e);

	if (r == 0 && !*ret_snapshot)
		return err_set(e, EINVAL, "write VOLUME@SNAPSHOT");
	return r;
}

int volume_check_new(const char *name, int64_t size, struct err *e)
{
	const char *why = check_name(name);

	if (why)
		return err_set(e, EINVAL, "the name must be %s", why);
	if ((uint64_t)size < HYB_VOLUME_SIZE_MIN ||
	    (uint64_t)size > HYB_VOLUME_SIZE_MAX || size % 4096)
		return err_set(e, EINVAL,
			       "the size must be from 16m to 16t, a multiple "
			       "of 4k");
	return 0;
}

int on_volume_create(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, offsetof(struct volume_params, name), 1,
		 256, false},
		{"size", VL_INT, offsetof(struct volume_params, size), 0,
		 INT64_MAX, false},
	};
	struct volume_params p = {.name = NULL};
	struct request *q = ctx;
	struct state_volume v;
	int changed = 0, r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &p, NULL, e);
	if (r == 0)
		r = volume_check_new(p.name, p.size, e);
	if (r < 0)
		return r;
	r = state_volume_find(q->api->state, q->tenant, "", p.name, &v, e);
	if (r == 0 && v.made && v.size >= p.size)
		return err_set(e, EEXIST, "volume '%s' exists", p.name);
	if (r < 0 && r != -ENOENT)
		return r;
	r = volume_ensure(q->api->volumes, q->tenant, "", p.name,
			  (uint64_t)p.size, &changed, e);
	if (r < 0)
		return r;
	log_info("volume create '%s': by user %u", p.name, q->uid);
	return request_reply(q, json_pack("{s:s}", "name", p.name), false, e);
}

static json_t *snapshots_json(struct request *q, int64_t id)
{
	_cleanup_free_ struct state_snapshot *list = NULL;
	json_t *rows = json_array();
	size_t n = 0, i;

	if (state_snapshot_list(q->api->state, id, &list, &n, NULL) < 0)
		return rows;
	for (i = 0; i < n; i++)
		/* Those of exports have no name that a user can give. */
		if (list[i].name[0] != '.')
			json_array_append_new(
				rows,
				json_pack("{s:s,s:I,s:s,s:o}", "name",
					  list[i].name, "size",
					  (json_int_t)list[i].size, "state",
					  list[i].made ? "ready" : "being made",
					  "created_at",
					  time_json(list[i].created_at)));
	return rows;
}

int on_volume_inspect(void *ctx, struct vl_call *call, struct err *e)
{
	struct request *q = ctx;
	struct volume_info info;
	struct state_volume v;
	char serial[24];
	json_t *o;
	int r;

	r = read_one(q, call, &v, e);
	if (r < 0)
		return r;
	o = volume_row(q, &v);
	volume_look(q->api->volumes, &v, &info);
	volume_serial(v.id, serial);
	json_object_set_new(o, "path", json_string(info.path));
	json_object_set_new(o, "serial", json_string(serial));
	json_object_set_new(o, "uuid", json_string(v.uuid));
	json_object_set_new(o, "stack", json_string(v.stack));
	json_object_set_new(o, "snapshots", snapshots_json(q, v.id));
	return request_reply(q, json_pack("{s:o}", "object", o), false, e);
}

/* The deployed stack that declares it; false: none. */
static bool declared_by(struct request *q, const struct state_volume *v,
			char out[STATE_NAME_MAX])
{
	const struct model_volume *mv;
	const struct vm *vm;
	bool found = false;

	world_lock(q->api->world);
	for (vm = q->api->world->vms; vm && !found; vm = vm->next) {
		if (vm->gone || !vm->ref || strcmp(vm->tenant, v->tenant) != 0)
			continue;
		mv = model_find_volume(vm->ref->model, v->name);
		found = mv &&
			strcmp(mv->external ? "" : vm->stack, v->stack) == 0;
		if (found)
			snprintf(out, STATE_NAME_MAX, "%s", vm->stack);
	}
	world_unlock(q->api->world);
	return found;
}

static int remove_snapshot(struct request *q, const struct state_volume *v,
			   const char *snapshot, struct err *e)
{
	char name[136];
	int r = volume_snapshot_remove(q->api->volumes, v, snapshot, e);

	if (r < 0)
		return r;
	volume_format(v, name);
	log_info("volume rm '%s@%s': by user %u", name, snapshot, q->uid);
	return request_reply(q,
			     json_pack("{s:o}", "name",
				       json_sprintf("%s@%s", name, snapshot)),
			     false, e);
}

int on_volume_remove(void *ctx, struct vl_call *call, struct err *e)
{
	char name[136], stack[STATE_NAME_MAX], word[256];
	struct request *q = ctx;
	const char *snapshot;
	struct state_volume v;
	int r;

	r = read_named(q, call, word, &v, &snapshot, e);
	if (r < 0)
		return r;
	volume_format(&v, name);
	if (snapshot)
		return remove_snapshot(q, &v, snapshot, e);
	if (declared_by(q, &v, stack)) {
		err_set(e, EBUSY, "volume '%s': the stack '%s' declares it",
			name, stack);
		err_hint(e,
			 "take it out of the manifest and deploy, or `hyb "
			 "down %s --volumes`",
			 stack);
		return -EBUSY;
	}
	r = volume_remove(q->api->volumes, &v, e);
	if (r < 0)
		return r;
	log_info("volume rm '%s': by user %u", name, q->uid);
	return request_reply(q, json_pack("{s:s}", "name", name), false, e);
}

/* ------------------------------------------------------------ snapshots */

/* For as long as the connection is there: should hybd end, it goes on. */
static int freeze_writer(void *arg, struct err *e)
{
	struct volume_writer *w = arg;
	uint64_t deadline = now_ms() + FREEZE_MS;
	int r;

	r = agent_open(&w->agent, &w->addr, deadline, e);
	if (r == 0)
		r = agent_freeze_volume(&w->agent, w->serial, deadline, e);
	if (r < 0)
		agent_close(&w->agent);
	return r;
}

static int thaw_writer(void *arg, struct err *e)
{
	struct volume_writer *w = arg;
	int r = agent_thaw_volume(&w->agent, w->serial, now_ms() + FREEZE_MS,
				  e);

	agent_close(&w->agent);
	return r;
}

bool volume_writer_find(struct request *q, const struct state_volume *v,
			struct volume_writer *ret)
{
	_cleanup_free_ struct state_volume_use *uses = NULL;
	const struct vm *vm;
	bool found = false;
	size_t n = 0, i;

	if (state_volume_uses(q->api->state, v->id, &uses, &n, NULL) < 0)
		return false;
	volume_serial(v->id, ret->serial);
	ret->agent.conn.fd = -1;
	ret->quiet = (struct volume_quiet){
		.freeze = freeze_writer, .thaw = thaw_writer, .arg = ret};
	world_lock(q->api->world);
	for (i = 0; i < n; i++) {
		for (vm = q->api->world->vms; vm; vm = vm->next) {
			if (vm->row.id != uses[i].vm_id || !uses[i].writes)
				continue;
			ret->addr = vm->addr;
			found = true;
		}
	}
	world_unlock(q->api->world);
	return found;
}

int on_volume_snapshot(void *ctx, struct vl_call *call, struct err *e)
{
	struct request *q = ctx;
	struct volume_writer writer;
	const char *snapshot;
	struct state_volume v;
	char word[256];
	int r;

	r = read_snapshot(q, call, word, &v, &snapshot, e);
	if (r < 0)
		return r;
	r = volume_snapshot(
		q->api->volumes, &v, snapshot,
		volume_writer_find(q, &v, &writer) ? &writer.quiet : NULL, e);
	if (r < 0)
		return r;
	log_info("volume snapshot '%s@%s': by user %u", word, snapshot, q->uid);
	return request_reply(q, NULL, false, e);
}

int on_volume_restore(void *ctx, struct vl_call *call, struct err *e)
{
	struct request *q = ctx;
	const char *snapshot;
	struct state_volume v;
	char word[256];
	int r;

	r = read_snapshot(q, call, word, &v, &snapshot, e);
	if (r == 0)
		r = volume_restore(q->api->volumes, &v, snapshot, e);
	if (r == -EBUSY)
		err_hint(e, "stop the VMs that use it: `hyb stop NAME`");
	if (r < 0)
		return r;
	log_info("volume restore '%s@%s': by user %u", word, snapshot, q->uid);
	return request_reply(q, NULL, false, e);
}

/* ------------------------------------------------------- Deploy and Down */

static void add_change(json_t *changes, const char *action, const char *class,
		       const struct state_volume *v, const char *why)
{
	char name[136];

	json_array_append_new(
		changes,
		json_pack("{s:s,s:o,s:s,s:s}", "action", action, "object",
			  json_sprintf("volume %s", volume_format(v, name)),
			  "class", class, "why", why));
}

/* Is it held by a VM that this stack has no say in? */
static int check_external(struct request *q, const struct model_stack *s,
			  const struct model_volume *mv, struct err *e)
{
	_cleanup_buf_ struct buf who = {.max = 4096};
	_cleanup_free_ struct state_volume_use *uses = NULL;
	bool writes = false, any_writes = false;
	const struct vm *vm;
	struct state_volume v;
	size_t n = 0, i;
	int r;

	r = volume_find(q->api->volumes, s->tenant, "", mv->name, &v, e);
	if (r == 0)
		r = state_volume_uses(q->api->state, v.id, &uses, &n, e);
	if (r < 0)
		return r;
	for (i = 0; i < s->n_vms; i++)
		if (model_vm_uses_volume(&s->vms[i], mv->name, &writes))
			any_writes = any_writes || writes;
	world_lock(q->api->world);
	for (i = 0; i < n; i++)
		for (vm = q->api->world->vms; vm; vm = vm->next)
			if (vm->row.id == uses[i].vm_id &&
			    strcmp(vm->stack, s->name) != 0 &&
			    (uses[i].writes || any_writes))
				buf_printf(&who, "%s%s/%s", who.len ? ", " : "",
					   vm->stack, vm->name);
	world_unlock(q->api->world);
	if (!who.len)
		return 0;
	return err_set(e, EBUSY,
		       "volume '%s' is in use by %s: while one VM writes, no "
		       "other may use it",
		       mv->name, buf_str(&who));
}

static int deploy_one(struct request *q, const struct model_stack *s,
		      const struct model_volume *mv, bool dry_run,
		      json_t *changes, struct err *e)
{
	struct volume_store *store = q->api->volumes;
	struct state_volume before;
	int changed = 0, r;
	char why[64];

	if (mv->external)
		return check_external(q, s, mv, e);
	r = volume_would(store, s->tenant, s->name, mv->name, mv->size,
			 &changed, &before, e);
	if (r == 0 && !dry_run)
		r = volume_ensure(store, s->tenant, s->name, mv->name, mv->size,
				  NULL, e);
	if (r < 0 || !changed)
		return r;
	if (changed == 1)
		snprintf(why, sizeof(why), "new, %llum",
			 (unsigned long long)(mv->size >> 20));
	else
		snprintf(why, sizeof(why), "size changed: %lldm → %llum",
			 (long long)(before.size >> 20),
			 (unsigned long long)(mv->size >> 20));
	add_change(changes, changed == 1 ? "create" : "update", "live", &before,
		   why);
	return 0;
}

int volumes_deploy(struct request *q, const struct model_stack *s, bool dry_run,
		   json_t *changes, struct err *e)
{
	size_t i;
	int r = 0;

	/* First whether all of it can be, then it is done. */
	for (i = 0; i < s->n_volumes && r == 0; i++)
		r = deploy_one(q, s, &s->volumes[i], true, changes, e);
	for (i = 0; i < s->n_volumes && r == 0 && !dry_run; i++) {
		json_t *again = json_array();

		r = deploy_one(q, s, &s->volumes[i], false, again, e);
		json_decref(again);
	}
	return r;
}

int volumes_down(struct request *q, const char *stack, json_t *changes,
		 struct err *e)
{
	_cleanup_free_ struct state_volume *list = NULL;
	size_t n = 0, i;
	int r;

	r = state_volume_list(q->api->state, &list, &n, e);
	for (i = 0; i < n && r == 0; i++) {
		if (strcmp(list[i].tenant, q->tenant) != 0 ||
		    strcmp(list[i].stack, stack) != 0)
			continue;
		r = volume_mark(q->api->volumes, &list[i], e);
		add_change(changes, "remove", "deletes_data", &list[i],
			   "asked for");
	}
	return r;
}
