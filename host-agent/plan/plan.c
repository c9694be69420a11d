/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/plan/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "host-agent/plan/diff.h"

static const char *const action_names[] = {
	[PLAN_CREATE] = "create",     [PLAN_REMOVE] = "remove",
	[PLAN_RECREATE] = "recreate", [PLAN_START] = "start",
	[PLAN_UPDATE] = "update",
};
_Static_assert(ARRAY_SIZE(action_names) == PLAN_ACTION_MAX,
	       "a name for each action");

static const char *const class_names[] = {
	[PLAN_LIVE] = "live",
	[PLAN_RESTART_CONTAINER] = "restart_container",
	[PLAN_RESTART_VM] = "restart_vm",
	[PLAN_RECREATE_VM] = "recreate_vm",
	[PLAN_DELETES_DATA] = "deletes_data",
};
_Static_assert(ARRAY_SIZE(class_names) == PLAN_CLASS_MAX,
	       "a name for each class");

/* A plan while it is made. */
struct planner {
	struct plan plan;
	size_t cap;
	bool oom;
};

static void add(struct planner *p, enum plan_action action,
		enum plan_class class, const char *vm, const char *container,
		const char *why)
{
	struct plan_change *grown, *c;
	size_t cap;

	if (p->plan.n == p->cap) {
		cap = p->cap ? p->cap * 2 : 16;
		grown = reallocarray(p->plan.changes, cap, sizeof(*grown));
		if (!grown) {
			p->oom = true;
			return;
		}
		p->plan.changes = grown;
		p->cap = cap;
	}
	c = &p->plan.changes[p->plan.n++];
	memset(c, 0, sizeof(*c));
	c->action = action;
	c->change_class = class;
	snprintf(c->vm, sizeof(c->vm), "%s", vm);
	snprintf(c->container, sizeof(c->container), "%s", container);
	text_fit(why, c->why, sizeof(c->why));
}

static const struct observed_vm *find_vm(const struct observed_stack *s,
					 const char *name)
{
	size_t i;

	for (i = 0; i < s->n_vms; i++)
		if (strcmp(s->vms[i].name, name) == 0)
			return &s->vms[i];
	return NULL;
}

static const struct observed_container *
find_container(const struct observed_vm *vm, const char *name)
{
	size_t i;

	for (i = 0; i < vm->n_containers; i++)
		if (strcmp(vm->containers[i].name, name) == 0)
			return &vm->containers[i];
	return NULL;
}

/* --------------------------------------------------------- start order */

/* Does the container wait for one of its own VM that is not placed yet? */
static bool has_to_wait(const struct model_vm *vm, size_t i, const bool *placed)
{
	const struct model_container *c = &vm->containers[i];
	const struct model_dependency *d;
	size_t k, at;

	for (k = 0; k < c->n_depends_on; k++) {
		d = &c->depends_on[k];
		if (strcmp(d->vm, vm->name) != 0)
			continue;
		for (at = 0; at < vm->n_containers; at++)
			if (!placed[at] && at != i &&
			    strcmp(vm->containers[at].name, d->container) == 0)
				return true;
	}
	return false;
}

/* Of those that need not wait always the first declared comes next. A circle
 * (which manifest/ refuses) is broken where it was declared first. */
static size_t next_to_start(const struct model_vm *vm, const bool *placed)
{
	size_t i, first = vm->n_containers;

	for (i = 0; i < vm->n_containers; i++) {
		if (placed[i])
			continue;
		if (!has_to_wait(vm, i, placed))
			return i;
		if (first == vm->n_containers)
			first = i;
	}
	return first;
}

void plan_start_order(const struct model_vm *vm, size_t *order)
{
	_cleanup_free_ bool *placed = calloc(vm->n_containers + 1, 1);
	size_t i;

	for (i = 0; i < vm->n_containers; i++) {
		order[i] = placed ? next_to_start(vm, placed) : i;
		if (placed)
			placed[order[i]] = true;
	}
}

/* ------------------------------------------------------------- removals */

static void plan_removals(struct planner *p, const struct model_stack *desired,
			  const struct observed_stack *observed)
{
	const char *why = desired ? "not declared" : "the stack goes";
	const struct observed_vm *o;
	const struct model_vm *vm;
	size_t i, k;

	for (i = 0; i < observed->n_vms; i++) {
		o = &observed->vms[i];
		if (!desired || !model_find_vm(desired, o->name))
			add(p, PLAN_REMOVE, PLAN_RECREATE_VM, o->name, "", why);
	}
	for (i = 0; desired && i < observed->n_vms; i++) {
		o = &observed->vms[i];
		vm = model_find_vm(desired, o->name);
		for (k = 0; vm && k < o->n_containers; k++)
			if (!model_find_container(vm, o->containers[k].name))
				add(p, PLAN_REMOVE, PLAN_RESTART_CONTAINER,
				    o->name, o->containers[k].name, why);
	}
}

/* ----------------------------------------------------------- containers */

/* The digest that the image is to have: as it was pinned, or, of what was stored
 * before images were, what the name means now. */
static const char *wanted_digest(const struct model_container *c,
				 const struct observed_container *o)
{
	if (c->digest && *c->digest)
		return c->digest;
	return o->desired_digest ? o->desired_digest : "";
}

static bool image_moved(const struct model_container *c,
			const struct observed_container *o)
{
	const char *wanted = wanted_digest(c, o);

	return o->applied_digest && *o->applied_digest && *wanted &&
	       strcmp(o->applied_digest, wanted) != 0;
}

/* "sha256:0123456789ab" is enough to tell two apart. */
#define DIGEST_SHOWN 19

static void plan_image_moved(struct planner *p, const struct model_vm *vm,
			     const struct model_container *c,
			     const struct observed_container *o)
{
	_cleanup_buf_ struct buf why = BUF_INIT;

	buf_puts(&why, "image ");
	buf_put_escaped(&why, c->image, strlen(c->image));
	buf_printf(&why, " is another now: %.*s → %.*s", DIGEST_SHOWN,
		   o->applied_digest, DIGEST_SHOWN, wanted_digest(c, o));
	if (buf_error(&why))
		p->oom = true;
	add(p, PLAN_RECREATE, PLAN_RESTART_CONTAINER, vm->name, c->name,
	    buf_str(&why));
}

/* A container of a VM that stays. */
static void plan_container(struct planner *p, const struct model_vm *vm,
			   const struct model_container *c,
			   const struct observed_vm *ovm)
{
	const struct observed_container *o = find_container(ovm, c->name);
	_cleanup_diff_ struct diff diff = {0};
	json_t *desired;
	int r;

	if (!o || !o->applied) {
		add(p, PLAN_CREATE, PLAN_LIVE, vm->name, c->name,
		    o ? "was not finished" : "new");
		return;
	}
	desired = model_container_to_json(c);
	r = desired ? diff_container(o->applied, desired, &diff) : -ENOMEM;
	json_decref(desired);
	if (r < 0) {
		p->oom = true;
		return;
	}
	if (diff.changed && diff.change_class != PLAN_LIVE) {
		add(p, PLAN_RECREATE, diff.change_class, vm->name, c->name,
		    buf_str(&diff.why));
		return;
	}
	if (image_moved(c, o)) {
		plan_image_moved(p, vm, c, o);
		return;
	}
	if (diff.changed)
		add(p, PLAN_UPDATE, PLAN_LIVE, vm->name, c->name,
		    buf_str(&diff.why));
	if (o->user_stopped || ovm->user_stopped)
		add(p, PLAN_START, PLAN_LIVE, vm->name, c->name,
		    o->failed	      ? "has failed"
		    : o->paused	      ? "was paused"
		    : o->user_stopped ? "was stopped"
				      : "its VM was stopped");
}

/* A container of a VM that is made, for the first time or again. */
static void plan_container_anew(struct planner *p, const struct model_vm *vm,
				const struct model_container *c,
				const struct observed_vm *ovm)
{
	if (ovm && ovm->exists && find_container(ovm, c->name))
		add(p, PLAN_RECREATE, PLAN_RESTART_CONTAINER, vm->name, c->name,
		    "its VM is recreated");
	else
		add(p, PLAN_CREATE, PLAN_LIVE, vm->name, c->name, "new");
}

/* ------------------------------------------------------------------ VMs */

/* The change of the VM itself; true: everything in it is made anew. */
static bool plan_vm_itself(struct planner *p, const struct model_vm *vm,
			   const struct observed_vm *o)
{
	_cleanup_diff_ struct diff diff = {0};

	if (!o || !o->exists) {
		add(p, PLAN_CREATE, PLAN_LIVE, vm->name, "", "new");
		return true;
	}
	if (!o->applied) {
		add(p, PLAN_RECREATE, PLAN_RECREATE_VM, vm->name, "",
		    "was not finished");
		return true;
	}
	if (diff_vm(o->applied, vm, &diff) < 0) {
		p->oom = true;
		return false;
	}
	if (diff.changed && diff.change_class != PLAN_LIVE) {
		add(p, PLAN_RECREATE, diff.change_class, vm->name, "",
		    buf_str(&diff.why));
		return true;
	}
	if (diff.changed)
		add(p, PLAN_UPDATE, PLAN_LIVE, vm->name, "",
		    buf_str(&diff.why));
	if (o->user_stopped)
		add(p, PLAN_START, PLAN_LIVE, vm->name, "",
		    o->failed ? "has failed" : "was stopped");
	return false;
}

static void plan_vm(struct planner *p, const struct model_vm *vm,
		    const struct observed_vm *o)
{
	_cleanup_free_ size_t *order =
		calloc(vm->n_containers + 1, sizeof(*order));
	const struct model_container *c;
	bool anew;
	size_t i;

	if (!order) {
		p->oom = true;
		return;
	}
	plan_start_order(vm, order);
	anew = plan_vm_itself(p, vm, o);
	for (i = 0; i < vm->n_containers; i++) {
		c = &vm->containers[order[i]];
		if (anew)
			plan_container_anew(p, vm, c, o);
		else if (o)
			plan_container(p, vm, c, o);
	}
}

int plan_make(const struct model_stack *desired,
	      const struct observed_stack *observed, struct plan *ret)
{
	static const struct observed_stack nothing = {NULL, 0};
	struct planner p = {0};
	size_t i;

	if (!observed)
		observed = &nothing;
	plan_removals(&p, desired, observed);
	for (i = 0; desired && i < desired->n_vms; i++)
		plan_vm(&p, &desired->vms[i],
			find_vm(observed, desired->vms[i].name));
	if (p.oom) {
		plan_done(&p.plan);
		return -ENOMEM;
	}
	*ret = p.plan;
	return 0;
}

void plan_done(struct plan *p)
{
	free(p->changes);
	p->changes = NULL;
	p->n = 0;
}

const char *plan_action_name(enum plan_action a)
{
	return a < PLAN_ACTION_MAX ? action_names[a] : "?";
}

const char *plan_class_name(enum plan_class c)
{
	return c < PLAN_CLASS_MAX ? class_names[c] : "?";
}
