/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on secrets, and what Deploy and Down do with them. */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "common/varlink/params.h"

/* Of a tenant, set by hand. */
#define SECRETS_MAX 1000

struct secret_params {
	const char *name, *data;
};

static int check_name_of(const char *name, struct err *e)
{
	const char *why = check_file_name(name);

	return why ? err_set(e, EINVAL, "the name must be %s", why) : 0;
}

/* Hexadecimal to bytes; *ret is to be given to secret_free(). */
static int decode(const char *hex, char **ret, size_t *ret_len, struct err *e)
{
	size_t len = strlen(hex) / 2;
	char *raw = malloc(len + 1);

	if (!raw)
		return err_sys(e, ENOMEM, "secret");
	if (strlen(hex) % 2 || hex_parse(hex, raw, len) < 0) {
		secret_free(raw, len);
		return err_set(e, EINVAL, "the content is not hexadecimal");
	}
	raw[len] = '\0';
	*ret = raw;
	*ret_len = len;
	return 0;
}

/* Every actor looks whether it has one that changed. */
static void wake_all(struct request *q)
{
	struct vm *vm;

	world_lock(q->api->world);
	for (vm = q->api->world->vms; vm; vm = vm->next)
		if (!vm->gone && strcmp(vm->tenant, q->tenant) == 0)
			vm_wake(vm);
	world_unlock(q->api->world);
}

/* No quota counts them: each is a row of what holds everything. */
static int check_room(struct request *q, const char *name, struct err *e)
{
	_cleanup_free_ struct state_secret *list = NULL;
	size_t n = 0, own = 0, i;
	int r = state_secret_list(q->api->state, &list, &n, e);

	for (i = 0; r == 0 && i < n; i++) {
		if (strcmp(list[i].tenant, q->tenant) != 0 || list[i].stack[0])
			continue;
		if (strcmp(list[i].name, name) == 0)
			return 0;
		own++;
	}
	if (r < 0 || own < SECRETS_MAX)
		return r;
	err_set(e, EDQUOT, "tenant '%s' has %d secrets: no more", q->tenant,
		SECRETS_MAX);
	err_hint(e, "`hyb secret rm` removes one");
	return -EDQUOT;
}

int on_secret_set(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, offsetof(struct secret_params, name), 1, 63,
		 false},
		{"data", VL_STRING, offsetof(struct secret_params, data), 0,
		 (int64_t)HYB_FILE_MAX * 2, false},
	};
	struct secret_params p = {.name = NULL};
	struct request *q = ctx;
	char *data = NULL;
	size_t len = 0;
	int changed = 0, r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &p, NULL, e);
	if (r == 0)
		r = check_name_of(p.name, e);
	if (r == 0)
		r = check_room(q, p.name, e);
	if (r == 0)
		r = decode(p.data, &data, &len, e);
	if (r == 0)
		r = secret_set(q->api->secrets, q->tenant, "", p.name, data,
			       len, &changed, e);
	secret_free(data, len);
	if (r < 0)
		return r;
	log_info("secret set '%s': by user %u", p.name, q->uid);
	wake_all(q);
	return request_reply(q, json_pack("{s:b}", "changed", changed != 0),
			     false, e);
}

int on_secret_list(void *ctx, struct vl_call *call, struct err *e)
{
	_cleanup_free_ struct state_secret *list = NULL;
	struct request *q = ctx;
	json_t *rows;
	size_t n = 0, i;
	int r;

	(void)call;
	r = state_secret_list(q->api->state, &list, &n, e);
	if (r < 0)
		return r;
	rows = json_array();
	for (i = 0; i < n; i++) {
		if (strcmp(list[i].tenant, q->tenant) != 0)
			continue;
		json_array_append_new(
			rows,
			json_pack("{s:s,s:o,s:I,s:o}", "tenant", list[i].tenant,
				  "name",
				  json_sprintf("%s%s%s", list[i].stack,
					       list[i].stack[0] ? "/" : "",
					       list[i].name),
				  "version", (json_int_t)list[i].version,
				  "created_at", time_json(list[i].created_at)));
	}
	return request_reply(q, json_pack("{s:o}", "secrets", rows), false, e);
}

/* A container of a deployed stack that has it; false: none. */
static bool is_used(struct request *q, const char *name, char out[160])
{
	const struct model_container *c;
	const struct vm *vm;
	bool used = false;
	size_t i, k;

	world_lock(q->api->world);
	for (vm = q->api->world->vms; vm; vm = vm->next) {
		if (vm->gone || !vm->desired ||
		    strcmp(vm->tenant, q->tenant) != 0)
			continue;
		for (i = 0; i < vm->desired->n_containers; i++) {
			c = &vm->desired->containers[i];
			for (k = 0; k < c->n_files; k++) {
				if (c->files[k].config ||
				    !c->files[k].external ||
				    strcmp(c->files[k].source, name) != 0)
					continue;
				used = true;
				snprintf(out, 160, "%s/%s/%s", vm->stack,
					 vm->name, c->name);
			}
		}
	}
	world_unlock(q->api->world);
	return used;
}

int on_secret_remove(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, offsetof(struct secret_params, name), 1, 63,
		 false},
	};
	struct secret_params p = {.name = NULL};
	struct request *q = ctx;
	struct state_secret v = {.sealed = NULL};
	char who[160];
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &p, NULL, e);
	if (r == 0)
		r = check_name_of(p.name, e);
	if (r == 0)
		r = state_secret_find(q->api->state, q->tenant, "", p.name, &v,
				      e);
	free(v.sealed);
	if (r == -ENOENT)
		return err_set(e, ENOENT, "there is no secret '%s'", p.name);
	if (r == 0 && is_used(q, p.name, who))
		return err_set(e, EBUSY, "secret '%s' is used by %s", p.name,
			       who);
	if (r == 0)
		r = secret_remove(q->api->secrets, q->tenant, "", p.name, e);
	if (r < 0)
		return r;
	log_info("secret rm '%s': by user %u", p.name, q->uid);
	return request_reply(q, json_pack("{s:s}", "name", p.name), false, e);
}

/* ------------------------------------------------------- Deploy and Down */

static int deploy_secret(struct request *q, const struct model_stack *s,
			 const struct model_source *m, bool dry_run,
			 json_t *changes, struct err *e)
{
	struct secret_store *store = q->api->secrets;
	struct state_secret have = {.sealed = NULL};
	char *data = NULL;
	size_t len = 0;
	int changed = 0, r;

	if (m->external) {
		r = state_secret_find(q->api->state, s->tenant, "", m->name,
				      &have, e);
		free(have.sealed);
		if (r == -ENOENT) {
			err_set(e, ENOENT, "there is no secret '%s'", m->name);
			err_hint(e, "`hyb secret set %s` sets it", m->name);
		}
		return r;
	}
	r = decode(m->content, &data, &len, e);
	if (r == 0 && dry_run)
		r = secret_would(store, s->tenant, s->name, m->name, data, len,
				 &changed, e);
	else if (r == 0)
		r = secret_set(store, s->tenant, s->name, m->name, data, len,
			       &changed, e);
	secret_free(data, len);
	if (r == 0 && changed)
		json_array_append_new(
			changes,
			json_pack(
				"{s:s,s:o,s:s,s:s}", "action",
				changed == 1 ? "create" : "update", "object",
				json_sprintf("secret %s/%s", s->name, m->name),
				"class", "live", "why",
				changed == 1 ? "new" : "its content changed"));
	return r;
}

int secrets_deploy(struct request *q, const struct model_stack *s, bool dry_run,
		   json_t *changes, struct err *e)
{
	size_t i;
	int r = 0;

	/* Externals first: what is missing is told before anything is set. */
	for (i = 0; i < s->n_secrets && r == 0; i++)
		if (s->secrets[i].external)
			r = deploy_secret(q, s, &s->secrets[i], dry_run,
					  changes, e);
	for (i = 0; i < s->n_secrets && r == 0; i++)
		if (!s->secrets[i].external)
			r = deploy_secret(q, s, &s->secrets[i], dry_run,
					  changes, e);
	return r;
}

void secrets_down(struct request *q, const char *stack)
{
	_cleanup_free_ struct state_secret *list = NULL;
	struct err e = ERR_INIT;
	size_t n = 0, i;
	int r;

	r = state_secret_list(q->api->state, &list, &n, &e);
	for (i = 0; i < n && r == 0; i++)
		if (strcmp(list[i].tenant, q->tenant) == 0 &&
		    strcmp(list[i].stack, stack) == 0)
			r = secret_remove(q->api->secrets, q->tenant, stack,
					  list[i].name, &e);
	if (r < 0)
		log_warn("secrets of '%s': %s", stack, e.msg);
}
