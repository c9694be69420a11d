/* SPDX-License-Identifier: Apache-2.0 */
/* A document of kind stack: its own keys, and those of a VM. */
#include "host-agent/manifest/container.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "host-agent/model/check.h"

/* ---------------------------------------------------------------- a VM */

static void on_vcpus(struct reading *r, const struct node *n, void *out)
{
	struct vm_draft *d = out;
	uint64_t v;

	if (read_int(r, n, 1, HYB_VM_VCPUS_MAX, &v))
		d->m.vcpus = (uint32_t)v;
}

static void on_vm_memory(struct reading *r, const struct node *n, void *out)
{
	struct vm_draft *d = out;

	if (n->kind == NODE_SCALAR && strcmp(n->text, "auto") == 0)
		d->m.memory = 0;
	else if (read_size(r, n, HYB_VM_MEMORY_MIN, HYB_VM_MEMORY_MAX,
			   &d->m.memory))
		d->memory = n;
}

static const struct field vm_resources_fields[] = {
	{"vcpus", on_vcpus},
	{"memory", on_vm_memory},
};

const struct field_table fields_vm_resources = {
	"a VM's 'resources'",
	vm_resources_fields,
	ARRAY_SIZE(vm_resources_fields),
};

static void on_vm_resources(struct reading *r, const struct node *n, void *out)
{
	fields_read(r, n, &fields_vm_resources, out);
}

static void on_vm_restart(struct reading *r, const struct node *n, void *out)
{
	struct vm_draft *d = out;

	read_restart(r, n, RESTART_ALWAYS, &d->m.restart);
}

/* A key of the user's that names something (so "x-" is nothing special in it).
 * NULL: the error has been told. */
static const char *name_read(struct reading *r, const struct node *key,
			     const char *what)
{
	const char *why = check_name(key->text);

	if (why) {
		node_error(r, key, "the name of %s must be %s; it is %s", what,
			   why, node_show(r, key));
		return NULL;
	}
	return read_strdup(r, key->text);
}

static void on_containers(struct reading *r, const struct node *n, void *out)
{
	struct vm_draft *d = out;
	struct container_draft *c;
	const char *name;
	size_t i;

	if (n->kind != NODE_MAP || n->n == 0) {
		node_error(r, n,
			   "'containers' must be a map of at least one "
			   "container; it is %s",
			   n->kind == NODE_MAP ? "empty" : node_show(r, n));
		return;
	}
	if (n->n > HYB_VM_CONTAINERS_MAX) {
		node_error(r, n, "a VM can have at most %d containers",
			   HYB_VM_CONTAINERS_MAX);
		return;
	}
	d->containers = scratch_alloc(r, n->n, sizeof(*d->containers));
	for (i = 0; d->containers && i < n->n; i++) {
		c = &d->containers[d->n++];
		c->at = n->pairs[i].key;
		name = name_read(r, c->at, "a container");
		c->m.name = name ? name : "?";
		c->vm = d->m.name;
		container_read(r, n->pairs[i].value, c);
	}
}

static void on_boot_disk(struct reading *r, const struct node *n, void *out)
{
	struct vm_draft *d = out;

	read_checked(r, n, check_name, &d->m.boot_disk);
}

static void on_boot_firmware(struct reading *r, const struct node *n, void *out)
{
	struct vm_draft *d = out;
	const char *s;

	if (!read_text(r, n, &s))
		return;
	d->m.boot_uefi = strcmp(s, "uefi") == 0;
	if (!d->m.boot_uefi && strcmp(s, "bios") != 0)
		node_error(r, n, "'firmware' must be bios or uefi; it is %s",
			   node_show(r, n));
}

static const struct field boot_fields[] = {
	{"disk", on_boot_disk},
	{"firmware", on_boot_firmware},
};

const struct field_table fields_boot = {
	"'boot'",
	boot_fields,
	ARRAY_SIZE(boot_fields),
};

static void on_boot(struct reading *r, const struct node *n, void *out)
{
	fields_read(r, n, &fields_boot, out);
	if (n->kind == NODE_MAP && !node_get(n, "disk"))
		node_error(r, n, "'disk' is missing; write disk: NAME");
}

static void on_vm_ports(struct reading *r, const struct node *n, void *out)
{
	struct vm_draft *d = out;

	ports_read(r, n, &d->ports);
	d->m.ports = d->ports.v;
	d->m.n_ports = d->ports.n;
}

static const struct field vm_fields[] = {
	{"resources", on_vm_resources},
	{"restart", on_vm_restart},
	{"containers", on_containers},
	{"replicas", NULL},
	{"pool", NULL},
	{"networks", NULL},
	{"ports", on_vm_ports},
	{"update", NULL},
	{"boot", on_boot},
};

const struct field_table fields_vm = {
	"a VM",
	vm_fields,
	ARRAY_SIZE(vm_fields),
};

static void vm_read(struct reading *r, const struct node *map,
		    struct vm_draft *d)
{
	d->m.vcpus = 1;
	d->m.boot_disk = "";
	d->m.restart.kind = RESTART_ALWAYS;
	fields_read(r, map, &fields_vm, d);
	if (map->kind != NODE_MAP)
		return;
	if (!node_get(map, "containers") && !node_get(map, "boot"))
		node_error(r, d->at, "the VM %s has no 'containers'",
			   text_show(r, d->m.name));
	if (node_get(map, "containers") && node_get(map, "boot"))
		node_error(r, node_get(map, "boot"),
			   "the VM %s has 'containers': a VM that boots a disk "
			   "has an operating system of its own, and no agent "
			   "that would run them",
			   text_show(r, d->m.name));
	/* Which of the containers a port would lead to nobody could tell. */
	if (node_get(map, "ports") && !node_get(map, "boot"))
		node_error(r, node_get(map, "ports"),
			   "the VM %s has 'containers': write 'ports' in the "
			   "container that listens",
			   text_show(r, d->m.name));
}

/* ------------------------------------------------------------- a stack */

void version_read(struct reading *r, const struct node *n, void *out)
{
	uint64_t v;

	(void)out;
	if (read_int(r, n, 0, UINT64_MAX, &v) && v != 1)
		node_error(r, n,
			   "version %s of the manifest is not known; this hyb "
			   "reads version 1",
			   node_show(r, n));
}

/* stack_read() has looked at it. */
static void on_kind(struct reading *r, const struct node *n, void *out)
{
	(void)r;
	(void)n;
	(void)out;
}

static void on_name(struct reading *r, const struct node *n, void *out)
{
	struct stack_draft *d = out;

	read_checked(r, n, check_name, &d->m->name);
}

static void on_tenant(struct reading *r, const struct node *n, void *out)
{
	struct stack_draft *d = out;

	read_checked(r, n, check_name, &d->m->tenant);
}

static void on_vms(struct reading *r, const struct node *n, void *out)
{
	struct stack_draft *d = out;
	struct vm_draft *vm;
	const char *name;
	size_t i;

	if (n->kind != NODE_MAP || n->n == 0) {
		node_error(r, n,
			   "'vms' must be a map of at least one VM; it is %s",
			   n->kind == NODE_MAP ? "empty" : node_show(r, n));
		return;
	}
	if (n->n > HYB_STACK_VMS_MAX) {
		node_error(r, n, "a stack can have at most %d VMs",
			   HYB_STACK_VMS_MAX);
		return;
	}
	d->vms = scratch_alloc(r, n->n, sizeof(*d->vms));
	for (i = 0; d->vms && i < n->n; i++) {
		vm = &d->vms[d->n++];
		vm->at = n->pairs[i].key;
		name = name_read(r, vm->at, "a VM");
		vm->m.name = name ? name : "?";
		vm_read(r, n->pairs[i].value, vm);
	}
}

static const struct field stack_fields[] = {
	{"hyb", version_read},	   {"kind", on_kind},
	{"tenant", on_tenant},	   {"name", on_name},
	{"vms", on_vms},	   {"networks", NULL},
	{"egress", NULL},	   {"volumes", volumes_read},
	{"secrets", secrets_read}, {"configs", configs_read},
};

const struct field_table fields_stack = {
	"a stack",
	stack_fields,
	ARRAY_SIZE(stack_fields),
};

bool kind_is_tenant(const struct node *root)
{
	const struct node *kind =
		root->kind == NODE_MAP ? node_get(root, "kind") : NULL;

	return kind && kind->kind == NODE_SCALAR &&
	       strcmp(kind->text, "tenant") == 0;
}

/* Is the document one of a stack? If not, the error has been told. */
static bool kind_is_stack(struct reading *r, const struct node *root)
{
	static const char *const kinds[] = {"stack", "tenant"};
	const struct node *kind = node_get(root, "kind");
	const char *near;

	if (!kind ||
	    (kind->kind == NODE_SCALAR && strcmp(kind->text, "stack") == 0))
		return true;
	near = kind->kind == NODE_SCALAR
		       ? nearest_name(kind->text, kinds, ARRAY_SIZE(kinds))
		       : NULL;
	node_error(r, kind, "'kind' must be stack or tenant; it is %s%s%s%s",
		   node_is_null(kind) ? "nothing" : node_show(r, kind),
		   near ? "; did you mean " : "",
		   near ? text_show(r, near) : "", near ? "?" : "");
	return false;
}

static void missing(struct reading *r, const struct node *root, const char *key,
		    const char *example)
{
	if (!node_get(root, key))
		node_error(r, root, "'%s' is missing; write %s", key, example);
}

static void draft_to_model(struct reading *r, struct stack_draft *d)
{
	struct model_container *c;
	struct model_vm *vms;
	size_t i, k;

	vms = read_alloc(r, d->n, sizeof(*vms));
	for (i = 0; vms && i < d->n; i++) {
		c = read_alloc(r, d->vms[i].n, sizeof(*c));
		for (k = 0; c && k < d->vms[i].n; k++)
			c[k] = d->vms[i].containers[k].m;
		vms[i] = d->vms[i].m;
		vms[i].containers = c;
		vms[i].n_containers = c ? d->vms[i].n : 0;
		d->vms[i].m = vms[i];
	}
	d->m->vms = vms;
	d->m->n_vms = vms ? d->n : 0;
}

struct stack_draft *stack_read(struct reading *r, const struct node *root)
{
	struct stack_draft *d;

	if (root->kind != NODE_MAP) {
		node_error(r, root, "a manifest must be a map of keys, not %s",
			   node_show(r, root));
		return NULL;
	}
	if (!kind_is_stack(r, root))
		return NULL;
	d = scratch_alloc(r, 1, sizeof(*d));
	if (!d)
		return NULL;
	d->m = read_alloc(r, 1, sizeof(*d->m));
	if (!d->m)
		return NULL;
	d->m->name = "";
	d->m->tenant = "";
	d->root = root;
	fields_read(r, root, &fields_stack, d);
	missing(r, root, "hyb", "hyb: 1");
	missing(r, root, "name", "name: NAME");
	missing(r, root, "vms", "vms: and the VMs under it");
	draft_to_model(r, d);
	return d;
}
