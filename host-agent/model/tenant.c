/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/model/tenant.h"

#include <assert.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "host-agent/model/check.h"

static const char *const names[] = {"vms",     "vcpus",	  "memory",
				    "storage", "volumes", "published_ports"};
static_assert(ARRAY_SIZE(names) == QUOTA_KIND_MAX, "a name for each");

static const char *const none[] = {NULL};

const char *quota_kind_name(enum quota_kind kind)
{
	return names[kind];
}

bool quota_kind_is_bytes(enum quota_kind kind)
{
	return kind == QUOTA_MEMORY || kind == QUOTA_STORAGE;
}

void model_tenant_free(struct model_tenant *t)
{
	if (t)
		arena_free(t->arena);
}

static json_t *quota_to_json(const struct model_tenant *t)
{
	json_t *o = json_object();
	size_t i;

	for (i = 0; o && i < QUOTA_KIND_MAX; i++)
		if (t->quota[i] >= 0)
			json_object_set_new(o, names[i],
					    json_integer(t->quota[i]));
	return o;
}

static json_t *list_to_json(const char *const *v)
{
	json_t *a = json_array();

	for (; a && *v; v++)
		json_array_append_new(a, json_string(*v));
	return a;
}

json_t *model_tenant_to_json(const struct model_tenant *t)
{
	return json_pack(
		"{s:s,s:o,s:{s:o},s:b,s:{s:o,s:o}}", "name", t->name, "quota",
		quota_to_json(t), "allow", "images",
		t->limits_images ? list_to_json(t->images) : json_null(),
		"share_images", t->share_images, "access", "users",
		list_to_json(t->users), "groups", list_to_json(t->groups));
}

/* NULL: no list of strings. */
static const char *const *list_from_json(struct arena *a, const json_t *list)
{
	size_t i, n = json_array_size(list);
	const char **v = arena_alloc(a, n + 1, sizeof(*v));

	if (!v || !json_is_array(list) || n > HYB_TENANT_LIST_MAX)
		return NULL;
	for (i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(list, i));

		v[i] = s ? arena_strdup(a, s) : NULL;
		if (!v[i])
			return NULL;
	}
	return v;
}

static bool fill(struct model_tenant *t, const json_t *j)
{
	const char *name = json_string_value(json_object_get(j, "name"));
	const json_t *quota = json_object_get(j, "quota"), *v;
	const json_t *access = json_object_get(j, "access");
	const json_t *images =
		json_object_get(json_object_get(j, "allow"), "images");
	size_t i;

	if (!name || !name_is_valid(name))
		return false;
	t->name = arena_strdup(t->arena, name);
	for (i = 0; i < QUOTA_KIND_MAX; i++) {
		v = json_object_get(quota, names[i]);
		t->quota[i] = v ? json_integer_value(v) : -1;
		if (v && (!json_is_integer(v) || t->quota[i] < 0))
			return false;
	}
	t->limits_images = images && !json_is_null(images);
	t->images = t->limits_images ? list_from_json(t->arena, images) : none;
	t->share_images = json_is_true(json_object_get(j, "share_images"));
	t->users = list_from_json(t->arena, json_object_get(access, "users"));
	t->groups = list_from_json(t->arena, json_object_get(access, "groups"));
	return t->name && t->images && t->users && t->groups;
}

int model_tenant_from_json(const json_t *j, struct model_tenant **ret,
			   struct err *e)
{
	struct arena *arena = arena_new(0);
	struct model_tenant *t =
		arena ? arena_alloc(arena, 1, sizeof(*t)) : NULL;

	if (!t) {
		arena_free(arena);
		return err_sys(e, ENOMEM, "read a tenant");
	}
	t->arena = arena;
	if (!fill(t, j)) {
		arena_free(arena);
		return err_set(e, EBADMSG, "a tenant's stored form is damaged");
	}
	*ret = t;
	return 0;
}

void model_stack_use(const struct model_stack *s, struct quota_use *ret)
{
	size_t i, k;

	memset(ret, 0, sizeof(*ret));
	ret->n[QUOTA_VMS] = (int64_t)s->n_vms;
	for (i = 0; i < s->n_vms; i++) {
		const struct model_vm *vm = &s->vms[i];

		ret->n[QUOTA_VCPUS] += vm->vcpus;
		ret->n[QUOTA_MEMORY] += (int64_t)model_vm_memory(vm);
		ret->n[QUOTA_STORAGE] += (int64_t)model_vm_scratch(vm);
		for (k = 0; model_vm_port(vm, k); k++)
			ret->n[QUOTA_PORTS]++;
	}
}

const char *check_account(const char *s)
{
	size_t n = strlen(s);

	if (n == 0 || n > 32 || !strchr("abcdefghijklmnopqrstuvwxyz_", s[0]) ||
	    strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_-.") != n)
		return "1 to 32 characters of a-z, 0-9, _, - and ., beginning "
		       "with a letter or _";
	return NULL;
}
