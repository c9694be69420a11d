/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that change what is wanted: Deploy, Plan, Down, Stop, Start. */
#include "host-agent/api/deploy_image.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "common/varlink/params.h"

#define TIMEOUT_MAX_MS ((int64_t)24 * 3600 * 1000)
/* From when all images are there, unless the caller says how long it may take
 * with them. */
#define TIMEOUT_MS 120000

struct deploy_params {
	const char *file, *text, *folder, *credentials_error;
	json_t *env_files, *files;
	bool dry_run, wait;
	int64_t timeout; /* -1: not given */
};

#define AT(m) offsetof(struct deploy_params, m)

static const struct vl_field deploy_fields[] = {
	{"file", VL_STRING, AT(file), 0, 4096, false},
	{"text", VL_STRING, AT(text), 0, (int64_t)HYB_MANIFEST_SIZE_MAX, false},
	{"folder", VL_STRING, AT(folder), 0, 4096, true},
	{"env_files", VL_OBJECT, AT(env_files), 0, 0, true},
	{"files", VL_OBJECT, AT(files), 0, 0, true},
	{"dry_run", VL_BOOL, AT(dry_run), 0, 0, true},
	{"wait", VL_BOOL, AT(wait), 0, 0, true},
	{"timeout", VL_INT, AT(timeout), 0, TIMEOUT_MAX_MS, true},
	{"credentials_error", VL_STRING, AT(credentials_error), 0, 1024, true},
};

/* env_file contents, as the caller sent them. */
static int env_read(void *arg, const char *path, char **ret, size_t *ret_len,
		    struct err *e)
{
	const struct deploy_params *p = arg;
	const json_t *v = json_object_get(p->env_files, path);

	if (!json_is_string(v))
		return err_set(e, ENOENT, "the file was not sent");
	*ret_len = json_string_length(v);
	*ret = malloc(*ret_len + 1);
	if (!*ret)
		return err_sys(e, ENOMEM, "read");
	memcpy(*ret, json_string_value(v), *ret_len + 1);
	return 0;
}

/* The same for secrets and configs, in hexadecimal. */
static int file_read_sent(void *arg, const char *path, char **ret,
			  size_t *ret_len, struct err *e)
{
	const struct deploy_params *p = arg;
	const json_t *v = json_object_get(p->files, path);
	size_t len = json_string_length(v) / 2;

	if (!json_is_string(v))
		return err_set(e, ENOENT, "the file was not sent");
	*ret = malloc(len + 1);
	if (!*ret)
		return err_sys(e, ENOMEM, "read");
	if (json_string_length(v) % 2 ||
	    hex_parse(json_string_value(v), *ret, len) < 0) {
		free(*ret);
		return err_set(e, EINVAL, "what was sent is not hexadecimal");
	}
	*ret_len = len;
	return 0;
}

void send_diagnostics(struct request *q, const struct manifest *m)
{
	struct buf text = {.max = (size_t)512 << 10};
	char message[128];
	json_t *msg;

	manifest_render_diagnostics(m, &text);
	snprintf(message, sizeof(message), "manifest: %zu error%s",
		 m->n_diagnostics, m->n_diagnostics == 1 ? "" : "s");
	msg = vl_make_error("io.hyb.Host.InvalidManifest",
			    json_pack("{s:s,s:s,s:s}", "message", message,
				      "hint", "", "diagnostics",
				      buf_str(&text)));
	if (!msg || vl_conn_write(q->conn, msg, NULL, 0,
				  now_ms() + API_WRITE_MS, NULL) < 0)
		q->close = true;
	json_decref(msg);
	buf_done(&text);
}

/* Whose is it? What the manifest says, unless the caller said something else;
 * and where neither does, whom the caller acts for. */
static int admit_tenant(struct request *q, struct model_stack *s, struct err *e)
{
	int r = 0;

	if (!s->tenant[0]) {
		if (!q->tenant[0])
			r = tenant_default(q, e);
		if (r < 0)
			return r;
		s->tenant = arena_strdup(s->arena, q->tenant);
		return s->tenant ? 0 : err_sys(e, ENOMEM, "deploy");
	}
	if (q->chosen[0] && strcmp(s->tenant, q->chosen) != 0)
		return err_set(e, EINVAL,
			       "stack '%s' is of tenant '%s', not '%s'",
			       s->name, s->tenant, q->chosen);
	r = tenant_check(q, s->tenant, e);
	return r < 0 ? err_wrap(e, "stack '%s'", s->name) : 0;
}

/* Every disk that a VM boots is here. */
static int admit_disks(const struct request *q, const struct model_stack *s,
		       struct err *e)
{
	struct disk_info info;
	size_t i;
	int r;

	for (i = 0; i < s->n_vms; i++) {
		if (!model_vm_boots_disk(&s->vms[i]))
			continue;
		r = disk_get(q->api->disks, s->tenant, s->vms[i].boot_disk,
			     &info, e);
		if (r < 0)
			return err_wrap(e, "VM '%s'", s->vms[i].name);
	}
	return 0;
}

static int admit_bind(const struct request *q, const char *vm,
		      const struct model_bind *b, struct err *e)
{
	struct bind_folder folder = {.fd = -1};
	int r = bind_open(q->api->binds, b->source, b->read_only, &folder, e);

	if (r < 0)
		return err_wrap(e, "container '%s/%s'", vm, b->container);
	close(folder.fd);
	return 0;
}

/* And every folder of the host's is allowed, and there. */
static int admit_binds(const struct request *q, const struct model_stack *s,
		       struct err *e)
{
	struct model_bind binds[HYB_VM_BINDS_MAX];
	size_t i, k, n;
	int r = 0;

	for (i = 0; r == 0 && i < s->n_vms; i++) {
		n = model_vm_binds(&s->vms[i], binds);
		if (n && strcmp(s->tenant, HYB_DEFAULT_TENANT) != 0)
			return err_set(e, EPERM,
				       "VM '%s': tenant '%s' may not have "
				       "folders of the host",
				       s->vms[i].name, s->tenant);
		for (k = 0; r == 0 && k < n; k++)
			r = admit_bind(q, s->vms[i].name, &binds[k], e);
	}
	return r;
}

/* What can be told at once comes before what takes a registry. */
static int admit(struct request *q, struct manifest *m, const char *text,
		 const struct image_admission *a, struct err *e)
{
	size_t i;
	int r = 0;

	if (m->n_tenants)
		return err_set(e, EINVAL,
			       "'%s' is a tenant: `hyb tenant apply` takes it",
			       m->tenants[0]->name);
	for (i = 0; i < m->n_stacks && r == 0; i++) {
		r = admit_tenant(q, m->stacks[i], e);
		if (r == 0)
			r = admit_disks(q, m->stacks[i], e);
		if (r == 0)
			r = admit_binds(q, m->stacks[i], e);
		if (r == 0)
			r = world_ask_quota(q->api->world, m->stacks[i], e);
		if (r == -EDQUOT)
			r = err_wrap(e, "stack '%s'", m->stacks[i]->name);
	}
	return r < 0 ? r : images_admit(q, m, text, a, e);
}

static void add_changes(json_t *array, const char *stack,
			const struct plan *plan)
{
	char object[160];
	size_t i;

	for (i = 0; i < plan->n; i++) {
		const struct plan_change *c = &plan->changes[i];

		snprintf(object, sizeof(object), "%s/%s%s%s", stack, c->vm,
			 c->container[0] ? "/" : "", c->container);
		json_array_append_new(
			array,
			json_pack("{s:s,s:s,s:s,s:s}", "action",
				  plan_action_name(c->action), "object", object,
				  "class", plan_class_name(c->change_class),
				  "why", c->why));
	}
}

/* ---------------------------------------------------------------- progress */

struct teller {
	struct request *q;
	uint64_t begin;
};

static int tell(void *arg, const struct progress *p)
{
	struct teller *t = arg;
	struct err e = ERR_INIT;
	uint64_t elapsed = p->at > t->begin ? p->at - t->begin : 0;

	if (!(t->q->call->flags & VL_MORE))
		return 0;
	if (request_reply(t->q,
			  json_pack("{s:{s:s,s:s,s:s,s:s,s:I}}", "event",
				    "object", p->object, "phase", p->phase,
				    "state", p->phase, "message", p->message,
				    "elapsed_ms", (json_int_t)elapsed),
			  true, &e) < 0)
		return -EPIPE;
	return 0;
}

/* --------------------------------------------------------------- the calls */

static int deploy_stacks(struct request *q, struct manifest *m,
			 const struct deploy_params *p, json_t *changes,
			 json_t *stacks, struct err *e)
{
	struct world *w = q->api->world;
	size_t i;
	int r = 0;

	for (i = 0; i < m->n_stacks && r == 0; i++) {
		struct plan plan = {0};
		char name[STATE_NAME_MAX];

		snprintf(name, sizeof(name), "%s", m->stacks[i]->name);
		json_array_append_new(stacks, json_pack("{s:s,s:s}", "name",
							name, "tenant",
							m->stacks[i]->tenant));
		r = volumes_deploy(q, m->stacks[i], p->dry_run, changes, e);
		if (r == 0)
			r = secrets_deploy(q, m->stacks[i], p->dry_run, changes,
					   e);
		if (r < 0)
			return err_wrap(e, "deploy '%s'", name);
		if (p->dry_run) {
			r = world_plan(w, m->stacks[i], &plan, e);
		} else {
			log_info("deploy '%s': by user %u", name, q->uid);
			r = world_deploy(w, steal_ptr(m->stacks[i]), &plan, e);
		}
		add_changes(changes, name, &plan);
		plan_done(&plan);
		if (r < 0)
			return err_wrap(e, "deploy '%s'", name);
	}
	return r;
}

static int wait_stacks(struct request *q, const json_t *stacks,
		       uint64_t deadline, uint64_t begin, struct err *e)
{
	struct teller t = {.q = q, .begin = begin};
	const char *name, *tenant;
	const json_t *o;
	uint64_t now;
	size_t i;
	int r = 0;

	json_array_foreach(stacks, i, o) {
		name = json_string_value(json_object_get(o, "name"));
		tenant = json_string_value(json_object_get(o, "tenant"));
		now = now_ms();
		r = world_settle(q->api->world, tenant, name,
				 deadline > now ? deadline - now : 0, tell, &t,
				 e);
		if (r == -EPIPE)
			return 0; /* the client is gone; all goes on */
		if (r < 0)
			return err_wrap(e, "deploy '%s'", name);
		if (!world_is_wanted(q->api->world, tenant, name))
			return err_set(e, ECANCELED,
				       "deploy '%s': it was taken down "
				       "meanwhile",
				       name);
	}
	return r;
}

/* What the answer says of them. */
static json_t *stack_names(const json_t *stacks)
{
	json_t *names = json_array();
	const json_t *o;
	size_t i;

	json_array_foreach(stacks, i, o)
		json_array_append(names, json_object_get(o, "name"));
	return names;
}

/* Deploys, or says what that would be; answers. */
static int deploy_manifest(struct request *q, struct manifest *m,
			   const struct deploy_params *p,
			   const struct image_admission *a, bool plan_only,
			   struct err *e)
{
	uint64_t begin = a->pulls.begin, deadline = a->pulls.deadline_ms;
	_cleanup_json_ json_t *stacks = json_array();
	int r = admit(q, m, p->text, a, e);

	if (r == 0) {
		pthread_rwlock_rdlock(&q->api->removals);
		r = p->dry_run ? 0 : images_check(q, m, e);
		if (r == 0)
			r = deploy_stacks(q, m, p, a->changes, stacks, e);
		pthread_rwlock_unlock(&q->api->removals);
	}
	if (r == 0 && !p->dry_run && p->wait)
		r = wait_stacks(q, stacks,
				deadline ? deadline : now_ms() + TIMEOUT_MS,
				begin, e);
	if (r < 0)
		return r;
	if (plan_only)
		return request_reply(q,
				     json_pack("{s:O,s:O}", "changes",
					       a->changes, "warnings",
					       a->warnings),
				     false, e);
	return request_reply(q,
			     json_pack("{s:O,s:o,s:O,s:{s:I}}", "changes",
				       a->changes, "stacks",
				       stack_names(stacks), "warnings",
				       a->warnings, "timings", "total_ms",
				       (json_int_t)(now_ms() - begin)),
			     false, e);
}

static int deploy(struct request *q, struct vl_call *call, bool plan_only,
		  struct err *e)
{
	struct deploy_params p = {
		.wait = true, .timeout = -1, .dry_run = plan_only};
	_cleanup_manifest_ struct manifest m = {.stacks = NULL};
	struct manifest_reader reader = {.read = env_read,
					 .read_file = file_read_sent};
	_cleanup_json_ json_t *warnings = json_array(), *changes = json_array();
	struct image_admission a = {.changes = changes,
				    .warnings = warnings,
				    .pulls.begin = now_ms()};
	_cleanup_free_ char *auth = NULL;
	int r;

	r = vl_params_read(call->parameters, deploy_fields,
			   ARRAY_SIZE(deploy_fields), true, &p, NULL, e);
	if (r == 0)
		r = request_take_auth(q, &auth, e);
	if (r < 0)
		return r;
	reader.arg = &p;
	reader.folder = p.folder;
	r = manifest_parse(p.file, p.text, strlen(p.text), &reader, &m);
	a.dry_run = p.dry_run;
	a.pulls.auth = auth;
	a.pulls.auth_error = p.credentials_error;
	if (p.timeout >= 0)
		a.pulls.deadline_ms = a.pulls.begin + (uint64_t)p.timeout;
	if (r == 0)
		r = deploy_manifest(q, &m, &p, &a, plan_only, e);
	else if (r == -EINVAL)
		send_diagnostics(q, &m);
	else
		err_sys(e, -r, "read the manifest");
	if (auth)
		explicit_bzero(auth, strlen(auth));
	return r;
}

int on_deploy(void *ctx, struct vl_call *call, struct err *e)
{
	return deploy(ctx, call, false, e);
}

int on_plan(void *ctx, struct vl_call *call, struct err *e)
{
	return deploy(ctx, call, true, e);
}

int change_read(const struct vl_call *call, struct change_params *p,
		struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, offsetof(struct change_params, name), 0,
		 256, false},
		{"timeout", VL_INT, offsetof(struct change_params, timeout), 0,
		 TIMEOUT_MAX_MS, true},
	};

	p->timeout = 120000;
	return vl_params_read(call->parameters, fields, ARRAY_SIZE(fields),
			      true, p, NULL, e);
}

int change_wait(struct request *q, const struct target *t, int64_t timeout,
		struct err *e)
{
	struct teller teller = {.q = q, .begin = now_ms()};
	int r;

	r = world_settle(q->api->world, q->tenant, t->stack, (uint64_t)timeout,
			 tell, &teller, e);
	return r == -EPIPE ? 0 : r;
}

int change_reply(struct request *q, json_t *changes, int r, struct err *e)
{
	if (r == 0)
		return request_reply(q, json_pack("{s:o}", "changes", changes),
				     false, e);
	json_decref(changes);
	return r;
}

json_t *change_json(const char *action, const char *object)
{
	return json_pack("{s:s,s:s,s:s,s:s}", "action", action, "object",
			 object, "class", "live", "why", "asked for");
}

/* A stack that is down already may still have volumes. */
static int down_volumes_only(struct request *q, const char *name, struct err *e)
{
	json_t *changes = json_array();
	struct err ignored = ERR_INIT;
	int r;

	r = volumes_down(q, name, changes, &ignored);
	if (r < 0 || json_array_size(changes) == 0) {
		json_decref(changes);
		return -ENOENT;
	}
	err_clear(e);
	volume_reap(q->api->volumes);
	return change_reply(q, changes, 0, e);
}

static int down(struct request *q, struct vl_call *call, bool volumes,
		struct err *e)
{
	struct change_params p;
	struct plan plan = {0};
	struct target t;
	json_t *changes;
	int r;

	r = change_read(call, &p, e);
	if (r == 0)
		r = target_find(q, p.name, 1, &t, e);
	if (r == -ENOENT && volumes && down_volumes_only(q, p.name, e) == 0)
		return 0;
	if (r < 0)
		return r;
	if (t.vm[0]) {
		err_set(e, EINVAL, "down takes a whole stack, not '%s'",
			p.name);
		err_hint(e,
			 "`hyb stop %s` stops it; to remove it, take it out "
			 "of the manifest and deploy",
			 p.name);
		return -EINVAL;
	}
	log_info("down '%s'%s: by user %u", t.stack,
		 volumes ? " with its volumes" : "", q->uid);
	changes = json_array();
	r = world_down(q->api->world, q->tenant, t.stack, &plan, e);
	add_changes(changes, t.stack, &plan);
	plan_done(&plan);
	/* Marked when nothing wants them any more; the last of its actors, or
	 * the next hybd, removes them whether the caller waits or not. */
	if (r == 0)
		secrets_down(q, t.stack);
	if (r == 0 && volumes)
		r = volumes_down(q, t.stack, changes, e);
	if (r == 0)
		r = change_wait(q, &t, p.timeout, e);
	if (r == 0 && volumes)
		volume_reap(q->api->volumes);
	if (r == 0 && world_is_wanted(q->api->world, q->tenant, t.stack))
		r = err_set(e, ECANCELED,
			    "it was taken down, and deployed again meanwhile");
	return change_reply(q, changes, r, e);
}

int on_down(void *ctx, struct vl_call *call, struct err *e)
{
	return down(ctx, call, false, e);
}

int on_down_volumes(void *ctx, struct vl_call *call, struct err *e)
{
	return down(ctx, call, true, e);
}

static int set_stopped(struct request *q, struct vl_call *call, bool stopped,
		       struct err *e)
{
	struct change_params p;
	struct target t;
	json_t *changes;
	int r;

	r = change_read(call, &p, e);
	if (r == 0)
		r = target_find(q, p.name, 1, &t, e);
	if (r < 0)
		return r;
	log_info("%s '%s/%s/%s': by user %u", stopped ? "stop" : "start",
		 t.stack, t.vm, t.container, q->uid);
	r = world_set_stopped(q->api->world, q->tenant, t.stack, t.vm,
			      t.container, stopped, e);
	if (r < 0)
		return r;
	changes = json_pack("[o]",
			    change_json(stopped ? "stop" : "start", p.name));
	return change_reply(q, changes, change_wait(q, &t, p.timeout, e), e);
}

int on_stop(void *ctx, struct vl_call *call, struct err *e)
{
	return set_stopped(ctx, call, true, e);
}

int on_start(void *ctx, struct vl_call *call, struct err *e)
{
	return set_stopped(ctx, call, false, e);
}
