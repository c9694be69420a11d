/* SPDX-License-Identifier: Apache-2.0 */
/* Names: stack/vm/container, completed where there is only one way to. */
#include "host-agent/api/api.h"

#include "common/base/parse.h"
#include "common/varlink/params.h"

#include <stdio.h>
#include <string.h>

/* Splits a name at its slashes: 1 to 3 valid names. */
static int name_split(const char *name, char parts[3][STATE_NAME_MAX],
		      struct err *e)
{
	char shown[96];
	const char *p = name;
	size_t len;
	int n = 0;

	for (;;) {
		len = strcspn(p, "/");
		if (n == 3 || len >= STATE_NAME_MAX)
			break;
		snprintf(parts[n], STATE_NAME_MAX, "%.*s", (int)len, p);
		if (!name_is_valid(parts[n]))
			break;
		n++;
		if (!p[len])
			return n;
		p += len + 1;
	}
	err_set(e, EINVAL, "'%s' is not a name",
		text_escape(name, shown, sizeof(shown)));
	err_hint(e, "a name is STACK, STACK/VM or STACK/VM/CONTAINER");
	return -EINVAL;
}

/* Is there a stack of this name? "" : *only gets the only one there is. */
static bool find_stack(struct world *w, const char *tenant, const char *name,
		       char only[STATE_NAME_MAX])
{
	const struct vm *vm;
	bool many = false;

	only[0] = '\0';
	for (vm = w->vms; vm; vm = vm->next) {
		if (vm->gone || strcmp(vm->tenant, tenant) != 0)
			continue;
		if (name[0] && strcmp(vm->stack, name) == 0)
			return true;
		if (only[0] && strcmp(only, vm->stack) != 0)
			many = true;
		snprintf(only, STATE_NAME_MAX, "%s", vm->stack);
	}
	if (many)
		only[0] = '\0';
	return false;
}

/* The only VM of the stack, or NULL. */
static struct vm *only_vm(struct world *w, const char *tenant,
			  const char *stack)
{
	struct vm *vm, *found = NULL;

	for (vm = w->vms; vm; vm = vm->next) {
		if (!vm_is_in(vm, tenant, stack, ""))
			continue;
		if (found)
			return NULL;
		found = vm;
	}
	return found;
}

/* What there is: in the stack, where it is known. */
static void hint_names(struct world *w, const char *tenant, const char *stack,
		       struct err *e)
{
	struct buf b = {.max = 380};
	const struct vm *vm;
	size_t i;

	for (vm = w->vms; vm && !b.error; vm = vm->next)
		for (i = 0; !vm->gone && i < vm->n_ctrs; i++)
			if (strcmp(vm->tenant, tenant) == 0 &&
			    (!stack[0] || strcmp(vm->stack, stack) == 0))
				buf_printf(&b, "%s%s/%s/%s", b.len ? ", " : "",
					   vm->stack, vm->name,
					   vm->ctrs[i].row.name);
	if (b.len)
		err_hint(e, "there is: %s%s", buf_str(&b),
			 b.error ? ", ..." : "");
	else
		err_hint(e, "nothing is deployed; `hyb deploy FILE` does");
	buf_done(&b);
}

/* With the lock held. */
static int find_locked(struct request *q, char parts[3][STATE_NAME_MAX], int n,
		       int want, struct target *t)
{
	struct world *w = q->api->world;
	char only[STATE_NAME_MAX];
	struct vm *vm;
	int at = 0;

	if (n == 3 || find_stack(w, q->tenant, parts[0], only)) {
		snprintf(t->stack, sizeof(t->stack), "%s", parts[at++]);
	} else {
		if (!only[0])
			return -ENOENT;
		snprintf(t->stack, sizeof(t->stack), "%s", only);
	}
	if (at < n)
		snprintf(t->vm, sizeof(t->vm), "%s", parts[at++]);
	if (at < n)
		snprintf(t->container, sizeof(t->container), "%s", parts[at++]);
	if (at < n)
		return -ENOENT;
	if (!t->vm[0] && want > 1) {
		vm = only_vm(w, q->tenant, t->stack);
		if (!vm)
			return -ENOENT;
		snprintf(t->vm, sizeof(t->vm), "%s", vm->name);
	}
	if (!t->vm[0])
		return only_vm(w, q->tenant, t->stack) ||
				       find_stack(w, q->tenant, t->stack, only)
			       ? 0
			       : -ENOENT;
	vm = world_find_vm(w, q->tenant, t->stack, t->vm);
	if (!vm)
		return -ENOENT;
	if (!t->container[0] && want > 2) {
		if (vm->machine || vm->n_ctrs != 1)
			return vm->machine ? -ENOEXEC : -ENOTUNIQ;
		snprintf(t->container, sizeof(t->container), "%s",
			 vm->ctrs[0].row.name);
	}
	if (t->container[0] && !vm_find_ctr(vm, t->container))
		return -ENOENT;
	return 0;
}

/* The VM boots a disk. */
static int no_containers(struct err *e, const char *stack, const char *vm)
{
	err_set(e, ENOENT, "'%s/%s' boots a disk: it has no containers", stack,
		vm);
	err_hint(e, "`hyb console %s/%s` connects to it", stack, vm);
	return -ENOENT;
}

int target_find(struct request *q, const char *name, int want,
		struct target *ret, struct err *e)
{
	char parts[3][STATE_NAME_MAX];
	struct target t = {"", "", ""};
	int n, r;

	n = name_split(name, parts, e);
	if (n < 0)
		return n;
	world_lock(q->api->world);
	r = find_locked(q, parts, n, want, &t);
	if (r == -ENOTUNIQ) {
		err_set(e, ENOENT, "'%s' has several containers: name one",
			name);
		r = -ENOENT;
	} else if (r == -ENOEXEC) {
		r = no_containers(e, t.stack, t.vm);
	} else if (r < 0) {
		err_set(e, ENOENT, "'%s': not found", name);
	}
	if (r < 0 && !e->hint[0])
		hint_names(q->api->world, q->tenant, t.stack, e);
	world_unlock(q->api->world);
	if (r == 0)
		*ret = t;
	return r;
}

bool target_has(const struct request *q, const struct target *t,
		const struct vm *vm)
{
	return vm_is_in(vm, q->tenant, t->stack[0] ? t->stack : vm->stack,
			t->vm);
}

struct resolve_params {
	const char *name;
};

int on_resolve(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, offsetof(struct resolve_params, name), 0,
		 256, false},
	};
	struct resolve_params p = {0};
	struct request *q = ctx;
	struct target t = {"", "", ""};
	char full[3 * STATE_NAME_MAX];
	const struct vm *vm, *machine = NULL;
	json_t *names;
	size_t i;
	int r;

	r = vl_params_read(call->parameters, fields, 1, true, &p, NULL, e);
	if (r == 0 && p.name[0])
		r = target_find(q, p.name, 1, &t, e);
	if (r < 0)
		return r;
	names = json_array();
	world_lock(q->api->world);
	for (vm = q->api->world->vms; vm; vm = vm->next) {
		if (!target_has(q, &t, vm))
			continue;
		if (vm->machine)
			machine = vm;
		for (i = 0; i < vm->n_ctrs; i++) {
			if (t.container[0] &&
			    strcmp(vm->ctrs[i].row.name, t.container) != 0)
				continue;
			snprintf(full, sizeof(full), "%s/%s/%s", vm->stack,
				 vm->name, vm->ctrs[i].row.name);
			json_array_append_new(names, json_string(full));
		}
	}
	r = machine && json_array_size(names) == 0 && p.name[0]
		    ? no_containers(e, machine->stack, machine->name)
		    : 0;
	world_unlock(q->api->world);
	if (r < 0) {
		json_decref(names);
		return r;
	}
	return request_reply(q, json_pack("{s:o}", "names", names), false, e);
}
