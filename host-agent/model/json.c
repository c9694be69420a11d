/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model as JSON and back. The environment is an object here, so that
 * comparing two of them does not depend on an order that means nothing.
 */
#include "host-agent/model/model.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/parse.h"
#include "host-agent/model/check.h"
#include "host-agent/model/health.h"
#include "host-agent/model/json_storage.h"

static const char *const no_strings[] = {NULL};

/* json_object_set_new() for a value that may be NULL (no memory). */
static bool put(json_t *o, const char *key, json_t *value)
{
	return value && json_object_set_new(o, key, value) == 0;
}

json_t *strings_to_json(const char *const *v)
{
	json_t *a = json_array();

	for (; a && *v; v++) {
		if (json_array_append_new(a, json_string(*v)) < 0) {
			json_decref(a);
			return NULL;
		}
	}
	return a;
}

static json_t *environment_to_json(const char *const *v)
{
	json_t *o = json_object(), *value;
	const char *equals;
	char *key;
	bool ok = o;

	for (; ok && *v; v++) {
		equals = strchr(*v, '=');
		if (!equals)
			continue;
		key = strndup(*v, (size_t)(equals - *v));
		value = json_string(equals + 1);
		ok = key && put(o, key, value);
		if (!key)
			json_decref(value);
		free(key);
	}
	if (ok)
		return o;
	json_decref(o);
	return NULL;
}

static json_t *ports_to_json(const struct model_port *p, size_t n)
{
	json_t *a = json_array();
	size_t i;

	for (i = 0; a && i < n; i++) {
		json_t *o = json_pack("{s:s,s:i,s:i}", "host_ip", p[i].host_ip,
				      "published", (int)p[i].published,
				      "target", (int)p[i].target);

		if (json_array_append_new(a, o) < 0) {
			json_decref(a);
			return NULL;
		}
	}
	return a;
}

static json_t *depends_to_json(const struct model_container *c)
{
	json_t *a = json_array();
	size_t i;

	for (i = 0; a && i < c->n_depends_on; i++) {
		const struct model_dependency *d = &c->depends_on[i];
		json_t *o = json_pack("{s:s,s:s,s:s}", "condition",
				      depends_condition_name(d->condition),
				      "container", d->container, "vm", d->vm);

		if (json_array_append_new(a, o) < 0) {
			json_decref(a);
			return NULL;
		}
	}
	return a;
}

static json_t *limits_to_json(const struct model_limits *l)
{
	return json_pack("{s:I,s:I,s:I}", "cpus_milli",
			 (json_int_t)l->cpus_milli, "memory",
			 (json_int_t)l->memory, "pids", (json_int_t)l->pids);
}

static json_t *restart_to_json(const struct restart_policy *p)
{
	char text[32];

	return json_string(restart_policy_format(p, text, sizeof(text)));
}

/* Signals without a name of their own (real-time ones) go as a number. */
static json_t *signal_to_json(int sig)
{
	const char *name = sig ? signal_name(sig) : "";

	return name ? json_string(name) : json_sprintf("%d", sig);
}

json_t *model_container_to_json(const struct model_container *c)
{
	json_t *o = json_object();
	bool ok = o;

	ok = ok &&
	     put(o, "command",
		 c->has_command ? strings_to_json(c->command) : json_null());
	ok = ok && put(o, "depends_on", depends_to_json(c));
	/* As in what was stored before there was this. */
	if (c->digest && *c->digest)
		ok = ok && put(o, "digest", json_string(c->digest));
	ok = ok && put(o, "entrypoint",
		       c->has_entrypoint ? strings_to_json(c->entrypoint)
					 : json_null());
	ok = ok && put(o, "environment", environment_to_json(c->environment));
	ok = ok && health_to_json(o, c);
	ok = ok && put(o, "hostname", json_string(c->hostname));
	ok = ok && put(o, "image", json_string(c->image));
	ok = ok && put(o, "init", json_boolean(c->init));
	ok = ok && put(o, "limits", limits_to_json(&c->limits));
	ok = ok && put(o, "name", json_string(c->name));
	ok = ok && put(o, "ports", ports_to_json(c->ports, c->n_ports));
	ok = ok && put(o, "restart", restart_to_json(&c->restart));
	ok = ok && put(o, "stop_grace_ns",
		       json_integer((json_int_t)c->stop_grace_ns));
	ok = ok && put(o, "stop_signal", signal_to_json(c->stop_signal));
	/* As in what was stored before there was this. */
	if (*c->seccomp)
		ok = ok && put(o, "seccomp", json_loads(c->seccomp, 0, NULL));
	ok = ok && storage_to_json(o, c);
	ok = ok && put(o, "user", json_string(c->user));
	ok = ok && put(o, "working_dir", json_string(c->working_dir));
	if (ok)
		return o;
	json_decref(o);
	return NULL;
}

json_t *model_vm_to_json(const struct model_vm *vm)
{
	json_t *o = json_object(), *list = json_array();
	bool ok = o && list;
	size_t i;

	if (model_vm_boots_disk(vm))
		ok = ok && put(o, "boot_disk", json_string(vm->boot_disk));
	if (vm->boot_uefi)
		ok = ok && put(o, "boot_uefi", json_true());
	for (i = 0; ok && i < vm->n_containers; i++)
		ok = json_array_append_new(
			     list,
			     model_container_to_json(&vm->containers[i])) == 0;
	ok = ok && put(o, "containers", json_incref(list));
	ok = ok && put(o, "memory", json_integer((json_int_t)vm->memory));
	ok = ok && put(o, "name", json_string(vm->name));
	/* As in what was stored before there was this. */
	if (vm->n_ports)
		ok = ok &&
		     put(o, "ports", ports_to_json(vm->ports, vm->n_ports));
	ok = ok && put(o, "restart", restart_to_json(&vm->restart));
	ok = ok && put(o, "vcpus", json_integer(vm->vcpus));
	json_decref(list);
	if (ok)
		return o;
	json_decref(o);
	return NULL;
}

json_t *model_stack_to_json(const struct model_stack *s)
{
	json_t *o = json_object(), *list = json_array();
	bool ok = o && list;
	size_t i;

	for (i = 0; ok && i < s->n_vms; i++)
		ok = json_array_append_new(list,
					   model_vm_to_json(&s->vms[i])) == 0;
	ok = ok && put(o, "name", json_string(s->name));
	ok = ok && put(o, "tenant", json_string(s->tenant));
	ok = ok && put(o, "vms", json_incref(list));
	ok = ok && put(o, "volumes", volumes_to_json(s));
	json_decref(list);
	if (ok)
		return o;
	json_decref(o);
	return NULL;
}

char *model_text(json_t *j)
{
	char *text = j ? json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	json_decref(j);
	return text;
}

/* Reading back: the first error is kept, and everything after it does nothing
 * and yields empty values. */
struct from {
	struct arena *arena;
	struct err *e;
	int r;
};

static void fail(struct from *f, const char *key)
{
	if (f->r == 0)
		f->r = err_set(f->e, EINVAL, "'%s' is missing or not valid",
			       key);
}

static void *from_alloc(struct from *f, size_t n, size_t size)
{
	void *p = arena_alloc(f->arena, n ? n : 1, size);

	if (!p && f->r == 0)
		f->r = err_set(f->e, ENOMEM, "no memory");
	return p;
}

static const char *from_text(struct from *f, const json_t *j, const char *key)
{
	const char *s = json_string_value(j);
	char *copy;

	if (!s || strlen(s) != json_string_length(j)) {
		fail(f, key);
		return "";
	}
	copy = arena_strdup(f->arena, s);
	if (!copy && f->r == 0)
		f->r = err_set(f->e, ENOMEM, "no memory");
	return copy ? copy : "";
}

static const char *from_member(struct from *f, const json_t *o, const char *key)
{
	return from_text(f, json_object_get(o, key), key);
}

static uint64_t from_int(struct from *f, const json_t *o, const char *key,
			 uint64_t max)
{
	const json_t *j = json_object_get(o, key);
	json_int_t v = json_integer_value(j);

	if (!json_is_integer(j) || v < 0 || (uint64_t)v > max) {
		fail(f, key);
		return 0;
	}
	return (uint64_t)v;
}

static const json_t *from_list(struct from *f, const json_t *o, const char *key)
{
	const json_t *j = json_object_get(o, key);

	if (!json_is_array(j))
		fail(f, key);
	return j;
}

static const char *const *from_strings(struct from *f, const json_t *o,
				       const char *key, bool *has)
{
	const json_t *j = json_object_get(o, key);
	size_t i, n = json_array_size(j);
	const char **v;

	*has = !json_is_null(j);
	if (!*has)
		return no_strings;
	if (!json_is_array(j))
		fail(f, key);
	v = from_alloc(f, n + 1, sizeof(*v));
	for (i = 0; v && i < n; i++)
		v[i] = from_text(f, json_array_get(j, i), key);
	return v ? v : no_strings;
}

static int compare_strings(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

static const char *const *from_environment(struct from *f, const json_t *o)
{
	json_t *j = json_object_get(o, "environment");
	const char **v, *s;
	void *iter;
	size_t n = 0;

	if (!json_is_object(j))
		fail(f, "environment");
	v = from_alloc(f, json_object_size(j) + 1, sizeof(*v));
	if (!v)
		return no_strings;
	for (iter = json_object_iter(j); iter;
	     iter = json_object_iter_next(j, iter)) {
		s = from_text(f, json_object_iter_value(iter), "environment");
		v[n] = arena_printf(f->arena, "%s=%s",
				    json_object_iter_key(iter), s);
		if (!v[n++]) {
			f->r = err_set(f->e, ENOMEM, "no memory");
			return no_strings;
		}
	}
	qsort(v, n, sizeof(*v), compare_strings);
	return v;
}

static void from_restart(struct from *f, const json_t *o,
			 struct restart_policy *ret)
{
	const char *s = from_member(f, o, "restart");

	if (f->r == 0 && restart_policy_parse(s, ret) < 0)
		fail(f, "restart");
}

static void from_ports(struct from *f, const json_t *o,
		       const struct model_port **ret, size_t *ret_n)
{
	const json_t *list = from_list(f, o, "ports"), *j;
	size_t i, n = json_array_size(list);
	struct model_port *p = from_alloc(f, n, sizeof(*p));

	for (i = 0; f->r == 0 && p && i < n; i++) {
		j = json_array_get(list, i);
		p[i].host_ip = from_member(f, j, "host_ip");
		p[i].published = (uint16_t)from_int(f, j, "published", 65535);
		p[i].target = (uint16_t)from_int(f, j, "target", 65535);
	}
	*ret = p;
	*ret_n = f->r == 0 ? n : 0;
}

static void from_depends(struct from *f, const json_t *o,
			 struct model_container *c)
{
	const json_t *list = from_list(f, o, "depends_on"), *j;
	size_t i, n = json_array_size(list);
	struct model_dependency *d = from_alloc(f, n, sizeof(*d));
	const char *condition;
	int k;

	for (i = 0; f->r == 0 && d && i < n; i++) {
		j = json_array_get(list, i);
		d[i].vm = from_member(f, j, "vm");
		d[i].container = from_member(f, j, "container");
		condition = from_member(f, j, "condition");
		d[i].condition = DEPENDS_CONDITION_MAX;
		for (k = 0; k < DEPENDS_CONDITION_MAX; k++)
			if (strcmp(condition,
				   depends_condition_name(
					   (enum depends_condition)k)) == 0)
				d[i].condition = (enum depends_condition)k;
	}
	c->depends_on = d;
	c->n_depends_on = f->r == 0 ? n : 0;
}

static void from_limits(struct from *f, const json_t *o, struct model_limits *l)
{
	const json_t *j = json_object_get(o, "limits");

	l->cpus_milli = (uint32_t)from_int(f, j, "cpus_milli", UINT32_MAX);
	l->memory = from_int(f, j, "memory", HYB_LIMIT_MEMORY_MAX);
	l->pids = (uint32_t)from_int(f, j, "pids", HYB_LIMIT_PIDS_MAX);
}

static int from_signal(struct from *f, const json_t *o)
{
	const char *s = from_member(f, o, "stop_signal");
	int sig = 0;

	if (*s && parse_signal(s, &sig) < 0)
		fail(f, "stop_signal");
	return sig;
}

static const char *from_seccomp(struct from *f, const json_t *o)
{
	json_t *j = json_object_get(o, "seccomp");
	const char *copy;
	char *text;

	if (!j || json_is_null(j))
		return "";
	text = model_text(json_incref(j));
	copy = text ? arena_strdup(f->arena, text) : NULL;
	free(text);
	if (!copy && f->r == 0)
		f->r = err_set(f->e, ENOMEM, "no memory");
	return copy ? copy : "";
}

static void from_container(struct from *f, const json_t *o,
			   struct model_container *c)
{
	c->name = from_member(f, o, "name");
	c->image = from_member(f, o, "image");
	c->digest =
		json_object_get(o, "digest") ? from_member(f, o, "digest") : "";
	c->entrypoint = from_strings(f, o, "entrypoint", &c->has_entrypoint);
	c->command = from_strings(f, o, "command", &c->has_command);
	c->environment = from_environment(f, o);
	c->user = from_member(f, o, "user");
	c->working_dir = from_member(f, o, "working_dir");
	c->hostname = from_member(f, o, "hostname");
	from_ports(f, o, &c->ports, &c->n_ports);
	from_restart(f, o, &c->restart);
	from_depends(f, o, c);
	from_limits(f, o, &c->limits);
	c->init = json_is_true(json_object_get(o, "init"));
	if (!json_is_boolean(json_object_get(o, "init")))
		fail(f, "init");
	c->seccomp = from_seccomp(f, o);
	c->stop_signal = from_signal(f, o);
	c->stop_grace_ns =
		from_int(f, o, "stop_grace_ns", HYB_STOP_GRACE_MAX_NS);
	if (f->r == 0)
		f->r = storage_from_json(f->arena, o, c, f->e);
	if (f->r == 0)
		f->r = health_from_json(f->arena, o, c, f->e);
}

static void from_vm(struct from *f, const json_t *o, struct model_vm *vm)
{
	const json_t *list = from_list(f, o, "containers");
	struct model_container *c;
	size_t i, n = json_array_size(list);

	vm->name = from_member(f, o, "name");
	vm->boot_disk = json_object_get(o, "boot_disk")
				? from_member(f, o, "boot_disk")
				: "";
	vm->boot_uefi = json_is_true(json_object_get(o, "boot_uefi"));
	if (json_object_get(o, "boot_uefi") &&
	    !json_is_boolean(json_object_get(o, "boot_uefi")))
		fail(f, "boot_uefi");
	vm->vcpus = (uint32_t)from_int(f, o, "vcpus", HYB_VM_VCPUS_MAX);
	vm->memory = from_int(f, o, "memory", HYB_VM_MEMORY_MAX);
	from_restart(f, o, &vm->restart);
	if (json_object_get(o, "ports"))
		from_ports(f, o, &vm->ports, &vm->n_ports);
	c = from_alloc(f, n, sizeof(*c));
	for (i = 0; f->r == 0 && c && i < n; i++)
		from_container(f, json_array_get(list, i), &c[i]);
	vm->containers = c;
	vm->n_containers = f->r == 0 ? n : 0;
}

int model_stack_from_json(const json_t *j, struct model_stack **ret,
			  struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct from f = {.arena = arena, .e = e};
	struct model_stack *s;
	struct model_vm *vms;
	const json_t *list;
	size_t i, n;

	if (!arena)
		return err_set(e, ENOMEM, "no memory");
	s = from_alloc(&f, 1, sizeof(*s));
	if (!s)
		return f.r;
	s->name = from_member(&f, j, "name");
	s->tenant = from_member(&f, j, "tenant");
	list = from_list(&f, j, "vms");
	n = json_array_size(list);
	vms = from_alloc(&f, n, sizeof(*vms));
	for (i = 0; f.r == 0 && i < n; i++)
		from_vm(&f, json_array_get(list, i), &vms[i]);
	s->vms = vms;
	s->n_vms = n;
	if (f.r == 0)
		f.r = volumes_from_json(arena, j, s, e);
	if (f.r == 0)
		f.r = check_stack(s, e);
	if (f.r < 0)
		return f.r;
	s->arena = arena;
	arena = NULL;
	*ret = s;
	return 0;
}
