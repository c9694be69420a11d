/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stack's volumes; and what only the whole can tell: is each that a container
 * mounts declared, does one VM at most write to it.
 */
#include "host-agent/manifest/container.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "host-agent/model/check.h"

/* ------------------------------------------------------ a stack's volumes */

struct volume_draft {
	struct model_volume m;
	const struct node *size;
};

static void on_volume_size(struct reading *r, const struct node *n, void *out)
{
	struct volume_draft *d = out;

	d->size = n;
	if (read_size(r, n, HYB_VOLUME_SIZE_MIN, HYB_VOLUME_SIZE_MAX,
		      &d->m.size) &&
	    d->m.size % 4096 != 0)
		node_error(r, n, "'%s' must be a multiple of 4k; it is %s",
			   r->key, node_show(r, n));
}

static void on_external(struct reading *r, const struct node *n, void *out)
{
	struct volume_draft *d = out;

	read_bool(r, n, &d->m.external);
}

static const struct field volume_fields[] = {
	{"size", on_volume_size},
	{"external", on_external},
};

const struct field_table fields_volume = {
	"a volume",
	volume_fields,
	ARRAY_SIZE(volume_fields),
};

static void volume_read(struct reading *r, const struct node *at,
			const struct node *map, struct model_volume *ret)
{
	struct volume_draft d = {.m.name = "?"};
	const char *why = check_name(at->text);

	if (why)
		node_error(r, at, "the name of a volume must be %s; it is %s",
			   why, node_show(r, at));
	else
		d.m.name = read_strdup(r, at->text);
	fields_read(r, map, &fields_volume, &d);
	if (d.m.external && d.size) {
		node_error(r, d.size,
			   "'size' says nothing to an external volume: it has "
			   "the one it was made with");
	} else if (map->kind == NODE_MAP && !d.m.external && !d.size) {
		node_error(r, at,
			   "the volume %s has no 'size'; write size: 1g, or "
			   "external: true for one that `hyb volume create` "
			   "has made",
			   node_show(r, at));
	}
	*ret = d.m;
}

void volumes_read(struct reading *r, const struct node *n, void *draft)
{
	struct stack_draft *d = draft;
	size_t i;

	if (n->kind != NODE_MAP) {
		node_error(r, n, "'volumes' must be a map of volumes; it is %s",
			   node_show(r, n));
		return;
	}
	if (n->n > HYB_STACK_VOLUMES_MAX) {
		node_error(r, n, "a stack can have at most %d volumes",
			   HYB_STACK_VOLUMES_MAX);
		return;
	}
	d->volumes = read_alloc(r, n->n, sizeof(*d->volumes));
	d->volume_at = scratch_alloc(r, n->n, sizeof(*d->volume_at));
	if (!d->volumes || !d->volume_at)
		return;
	for (i = 0; i < n->n; i++) {
		d->volume_at[i] = n->pairs[i].key;
		volume_read(r, n->pairs[i].key, n->pairs[i].value,
			    &d->volumes[i]);
	}
	d->m->volumes = d->volumes;
	d->m->n_volumes = n->n;
}

/* --------------------------------------------------------- cross checks */

static void check_declared(struct reading *r, const struct stack_draft *s,
			   const struct container_draft *c)
{
	const char *names[HYB_STACK_VOLUMES_MAX], *near;
	size_t i, k;

	for (k = 0; k < s->m->n_volumes; k++)
		names[k] = s->volumes[k].name;
	for (i = 0; i < c->m.n_mounts; i++) {
		if (c->mounts[i].kind != MODEL_MOUNT_VOLUME ||
		    model_find_volume(s->m, c->mounts[i].source))
			continue;
		near = nearest_name(c->mounts[i].source, names, k);
		node_error(r, c->mount_at[i], "there is no volume %s%s%s%s",
			   text_show(r, c->mounts[i].source),
			   near ? "; did you mean "
				: "; declare it in the stack's 'volumes'",
			   near ? text_show(r, near) : "", near ? "?" : "");
	}
}

static void check_shm(struct reading *r, const struct container_draft *c)
{
	size_t i;

	for (i = 0; c->shm_size && i < c->m.n_mounts; i++)
		if (strcmp(c->mounts[i].target, "/dev/shm") == 0)
			node_error(r, c->shm_size,
				   "'shm_size' says nothing: a volume is at "
				   "/dev/shm");
}

/* How a VM uses a volume. */
static bool vm_uses(const struct vm_draft *vm, const char *name, bool *writes,
		    const struct node **at)
{
	const struct container_draft *c;
	bool uses = false;
	size_t i, k;

	*writes = false;
	for (i = 0; i < vm->n; i++) {
		c = &vm->containers[i];
		for (k = 0; k < c->m.n_mounts; k++) {
			if (c->mounts[k].kind != MODEL_MOUNT_VOLUME ||
			    strcmp(c->mounts[k].source, name) != 0)
				continue;
			if (!uses || (!*writes && !c->mounts[k].read_only))
				*at = c->mount_at[k];
			uses = true;
			*writes = *writes || !c->mounts[k].read_only;
		}
	}
	return uses;
}

/* A file system is either one kernel's, or nobody writes to it. */
static void check_one_writer(struct reading *r, const struct stack_draft *s,
			     const char *name)
{
	const struct node *at = NULL, *first_at = NULL;
	const struct vm_draft *first = NULL;
	bool writes, first_writes = false;
	size_t i;

	for (i = 0; i < s->n; i++) {
		if (!vm_uses(&s->vms[i], name, &writes, &at))
			continue;
		if (first && (writes || first_writes)) {
			node_error(r, at,
				   "the volume %s is mounted in the VM %s too "
				   "(line %u): while one VM writes, no other "
				   "may use it; only reading (:ro) is shared",
				   text_show(r, name),
				   text_show(r, first->m.name), first_at->line);
			return;
		}
		first = &s->vms[i];
		first_writes = writes;
		first_at = at;
	}
}

static void check_count(struct reading *r, const struct stack_draft *s,
			const struct vm_draft *vm)
{
	const struct node *at;
	size_t i, n = 0;
	bool writes;

	for (i = 0; i < s->m->n_volumes; i++)
		if (vm_uses(vm, s->volumes[i].name, &writes, &at) &&
		    ++n == HYB_VM_VOLUMES_MAX + 1)
			node_error(r, at, "a VM can have at most %d volumes",
				   HYB_VM_VOLUMES_MAX);
}

/* Each is a device of the VM, and a process on the host. */
static void check_binds(struct reading *r, const struct vm_draft *vm)
{
	const struct container_draft *c;
	size_t i, k, n = 0;

	for (i = 0; i < vm->n; i++) {
		c = &vm->containers[i];
		for (k = 0; k < c->m.n_mounts; k++)
			if (c->mounts[k].kind == MODEL_MOUNT_BIND &&
			    ++n == HYB_VM_BINDS_MAX + 1)
				node_error(r, c->mount_at[k],
					   "a VM can have at most %d binds",
					   HYB_VM_BINDS_MAX);
	}
}

static void check_anonymous_count(struct reading *r, const struct vm_draft *vm)
{
	const struct container_draft *c;
	size_t i, k, n = 0;

	for (i = 0; i < vm->n; i++) {
		c = &vm->containers[i];
		for (k = 0; k < c->m.n_mounts; k++)
			if (c->mounts[k].kind == MODEL_MOUNT_ANONYMOUS &&
			    ++n == HYB_VM_ANONYMOUS_MAX + 1)
				node_error(r, c->mount_at[k],
					   "a VM can have at most %d volumes "
					   "without a name",
					   HYB_VM_ANONYMOUS_MAX);
	}
}

void mounts_crosscheck(struct reading *r, const struct stack_draft *s)
{
	size_t i, k;

	for (i = 0; i < s->n; i++) {
		for (k = 0; k < s->vms[i].n; k++) {
			check_declared(r, s, &s->vms[i].containers[k]);
			check_shm(r, &s->vms[i].containers[k]);
		}
		check_count(r, s, &s->vms[i]);
		check_binds(r, &s->vms[i]);
		check_anonymous_count(r, &s->vms[i]);
	}
	for (i = 0; i < s->m->n_volumes; i++)
		check_one_writer(r, s, s->volumes[i].name);
}
