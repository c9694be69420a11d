/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/model/model.h"

#include <stdio.h>
#include <string.h>

#include "common/base/parse.h"
#include "host-agent/model/check.h"

static const char *const restart_names[] = {
	[RESTART_NO] = "no",
	[RESTART_ON_FAILURE] = "on-failure",
	[RESTART_ALWAYS] = "always",
	[RESTART_UNLESS_STOPPED] = "unless-stopped",
};
_Static_assert(sizeof(restart_names) / sizeof(restart_names[0]) ==
		       RESTART_KIND_MAX,
	       "a name for each kind");

static const char *const condition_names[] = {
	[DEPENDS_STARTED] = "started",
	[DEPENDS_COMPLETED] = "completed",
	[DEPENDS_HEALTHY] = "healthy",
};
_Static_assert(sizeof(condition_names) / sizeof(condition_names[0]) ==
		       DEPENDS_CONDITION_MAX,
	       "a name for each condition");

void model_stack_free(struct model_stack *s)
{
	/* The struct itself lies in the arena too. */
	if (s)
		arena_free(s->arena);
}

const struct model_vm *model_find_vm(const struct model_stack *s,
				     const char *name)
{
	size_t i;

	for (i = 0; i < s->n_vms; i++)
		if (strcmp(s->vms[i].name, name) == 0)
			return &s->vms[i];
	return NULL;
}

const struct model_container *model_find_container(const struct model_vm *vm,
						   const char *name)
{
	size_t i;

	for (i = 0; i < vm->n_containers; i++)
		if (strcmp(vm->containers[i].name, name) == 0)
			return &vm->containers[i];
	return NULL;
}

const struct model_volume *model_find_volume(const struct model_stack *s,
					     const char *name)
{
	size_t i;

	for (i = 0; i < s->n_volumes; i++)
		if (strcmp(s->volumes[i].name, name) == 0)
			return &s->volumes[i];
	return NULL;
}

bool model_vm_uses_volume(const struct model_vm *vm, const char *name,
			  bool *ret_writes)
{
	const struct model_mount *m;
	bool uses = false, writes = false;
	size_t i, k;

	for (i = 0; i < vm->n_containers; i++) {
		for (k = 0; k < vm->containers[i].n_mounts; k++) {
			m = &vm->containers[i].mounts[k];
			if (m->kind != MODEL_MOUNT_VOLUME ||
			    strcmp(m->source, name) != 0)
				continue;
			uses = true;
			writes = writes || !m->read_only;
		}
	}
	if (ret_writes)
		*ret_writes = writes;
	return uses;
}

const struct model_port *model_vm_port(const struct model_vm *vm, size_t i)
{
	const struct model_container *c;

	if (i < vm->n_ports)
		return &vm->ports[i];
	i -= vm->n_ports;
	for (c = vm->containers; c < vm->containers + vm->n_containers; c++) {
		if (i < c->n_ports)
			return &c->ports[i];
		i -= c->n_ports;
	}
	return NULL;
}

static int bind_compare(const struct model_bind *a, const struct model_bind *b)
{
	int r = strcmp(a->container, b->container);

	if (r == 0)
		r = strcmp(a->source, b->source);
	return r ? r : (int)a->read_only - (int)b->read_only;
}

static void bind_insert(struct model_bind *list, size_t *n,
			const struct model_bind *b)
{
	size_t i, at = 0;

	while (at < *n && bind_compare(&list[at], b) < 0)
		at++;
	if (at < *n && bind_compare(&list[at], b) == 0)
		return;
	/* checked before: there are no more */
	if (*n == HYB_VM_BINDS_MAX)
		return;
	for (i = (*n)++; i > at; i--)
		list[i] = list[i - 1];
	list[at] = *b;
}

size_t model_vm_binds(const struct model_vm *vm,
		      struct model_bind ret[HYB_VM_BINDS_MAX])
{
	const struct model_mount *m;
	size_t i, k, n = 0;

	for (i = 0; i < vm->n_containers; i++) {
		for (k = 0; k < vm->containers[i].n_mounts; k++) {
			m = &vm->containers[i].mounts[k];
			if (m->kind == MODEL_MOUNT_BIND)
				bind_insert(ret, &n,
					    &(struct model_bind){
						    vm->containers[i].name,
						    m->source, m->read_only,
						    0});
		}
	}
	for (i = 0; i < n; i++)
		ret[i].ids = i == 0 ? 1
				    : ret[i - 1].ids +
					      (strcmp(ret[i - 1].container,
						      ret[i].container) != 0);
	return n;
}

/* Constant to those who read it; it is the stack's own memory. */
static struct model_container *own_container(const struct model_container *c)
{
	return (struct model_container *)(uintptr_t)c;
}

int model_add_anonymous(struct model_stack *s, const struct model_container *c,
			const char *target)
{
	const struct model_mount m = {
		.kind = MODEL_MOUNT_ANONYMOUS,
		.source = "",
		.subpath = "",
		.target = arena_strdup(s->arena, target),
	};
	struct model_container *own = own_container(c);
	struct model_mount *list =
		arena_alloc(s->arena, c->n_mounts + 1, sizeof(*list));
	size_t i = c->n_mounts;

	if (!m.target || !list)
		return -ENOMEM;
	for (; i > 0 && strcmp(c->mounts[i - 1].target, target) > 0; i--)
		list[i] = c->mounts[i - 1];
	list[i] = m;
	while (i-- > 0)
		list[i] = c->mounts[i];
	own->mounts = list;
	own->n_mounts++;
	return 0;
}

int model_pin(struct model_stack *s, const struct model_container *c,
	      const char *digest)
{
	struct model_container *own = own_container(c);

	own->digest = arena_strdup(s->arena, digest);
	return own->digest ? 0 : -ENOMEM;
}

uint64_t model_vm_memory(const struct model_vm *vm)
{
	const uint64_t unit = (uint64_t)2 << 20;
	uint64_t sum = vm->memory, one;
	size_t i;

	if (!sum && model_vm_boots_disk(vm)) {
		sum = HYB_AUTO_BOOT_MEMORY;
	} else if (!sum) {
		sum = HYB_GUEST_OWN_MEMORY;
		for (i = 0; i < vm->n_containers; i++) {
			one = vm->containers[i].limits.memory;
			sum += one ? one : HYB_AUTO_CONTAINER_MEMORY;
		}
	}
	return (sum + unit - 1) / unit * unit;
}

uint64_t model_layer_size(const struct model_container *c)
{
	if (c->read_only)
		return 0;
	return c->layer_size ? c->layer_size : HYB_DEFAULT_LAYER_SIZE;
}

uint64_t model_anonymous_size(const struct model_container *c)
{
	return c->layer_size ? c->layer_size : HYB_DEFAULT_LAYER_SIZE;
}

size_t model_count_anonymous(const struct model_container *c)
{
	size_t i, n = 0;

	for (i = 0; i < c->n_mounts; i++)
		n += c->mounts[i].kind == MODEL_MOUNT_ANONYMOUS;
	return n;
}

uint64_t model_scratch_size(const struct model_container *c)
{
	return model_layer_size(c) +
	       model_count_anonymous(c) * model_anonymous_size(c);
}

uint64_t model_vm_scratch(const struct model_vm *vm)
{
	/* The file system's own: inode tables are a 32nd; blocks that ext4
	 * keeps for itself, descriptors of groups and their reserve. */
	const uint64_t own = (uint64_t)32 << 20;
	uint64_t sum = 0, unit = (uint64_t)1 << 20;
	size_t i;

	for (i = 0; i < vm->n_containers; i++)
		sum += model_scratch_size(&vm->containers[i]);
	if (!sum)
		return 0;
	sum += sum / 16 + own;
	/* Four sizes from one power of two to the next: the file is sparse. */
	while (unit * 8 <= sum)
		unit *= 2;
	return (sum + unit - 1) / unit * unit;
}

const char *restart_policy_format(const struct restart_policy *p, char *out,
				  size_t size)
{
	const char *name =
		p->kind < RESTART_KIND_MAX ? restart_names[p->kind] : "?";

	if (p->kind == RESTART_ON_FAILURE && p->max)
		snprintf(out, size, "%s:%u", name, p->max);
	else
		snprintf(out, size, "%s", name);
	return out;
}

int restart_policy_parse(const char *s, struct restart_policy *ret)
{
	static const char on_failure[] = "on-failure:";
	const size_t n = sizeof(on_failure) - 1;
	uint64_t max;
	int i, r;

	for (i = 0; i < RESTART_KIND_MAX; i++) {
		if (strcmp(s, restart_names[i]) == 0) {
			ret->kind = (enum restart_kind)i;
			ret->max = 0;
			return 0;
		}
	}
	if (strncmp(s, on_failure, n) != 0)
		return -EINVAL;
	r = parse_u64(s + n, 1, HYB_RESTART_MAX, &max);
	if (r < 0)
		return r;
	ret->kind = RESTART_ON_FAILURE;
	ret->max = (uint32_t)max;
	return 0;
}

const char *depends_condition_name(enum depends_condition c)
{
	return c < DEPENDS_CONDITION_MAX ? condition_names[c] : "?";
}
