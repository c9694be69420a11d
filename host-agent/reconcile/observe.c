/* SPDX-License-Identifier: Apache-2.0 */
/* What there is, as plan/ wants to see it. */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"

struct observed {
	struct observed_stack stack;
	struct observed_vm *vms;
	struct observed_container *ctrs; /* of all VMs, one after another */
	char (*names)[STATE_NAME_MAX];
	size_t n_names;
	json_t **docs;
	size_t n_docs;
	char (*digests)[2][80];
	size_t n_ctrs;
};

static const char *keep_name(struct observed *o, const char *name)
{
	char *dst = o->names[o->n_names++];

	snprintf(dst, STATE_NAME_MAX, "%s", name);
	return dst;
}

static const json_t *keep_json(struct observed *o, const char *text)
{
	json_t *j = text ? json_loads(text, 0, NULL) : NULL;

	if (j)
		o->docs[o->n_docs++] = j;
	return j;
}

static void observe_ctr(struct observed *o, const struct ctr *c)
{
	struct observed_container *oc = &o->ctrs[o->n_ctrs];
	char(*digests)[80] = o->digests[o->n_ctrs++];

	snprintf(digests[0], sizeof(digests[0]), "%s", c->row.digest);
	oc->name = keep_name(o, c->row.name);
	oc->applied = keep_json(o, c->row.applied);
	oc->applied_digest = digests[0];
	oc->desired_digest = digests[1];
	/* One that has failed, whether it would be tried again or not, is
	 * started by the next deployment, as one that a user has stopped is. */
	oc->user_stopped = c->row.user_stopped || c->row.user_paused ||
			   c->state == CTR_FAILED;
	oc->paused = c->row.user_paused && !c->row.user_stopped;
	oc->failed = oc->user_stopped && !oc->paused && !c->row.user_stopped;
}

static void observe_vm(struct observed *o, struct observed_vm *ov,
		       const struct vm *vm)
{
	size_t i;

	ov->name = keep_name(o, vm->name);
	ov->exists = vm->row.exists || vm->row.applied;
	/* As with containers: the next deployment starts what has failed. */
	ov->user_stopped = vm->row.user_stopped || vm->state == VM_FAILED;
	ov->failed = ov->user_stopped && !vm->row.user_stopped;
	ov->applied = keep_json(o, vm->row.applied);
	ov->containers = &o->ctrs[o->n_ctrs];
	ov->n_containers = vm->n_ctrs;
	for (i = 0; i < vm->n_ctrs; i++)
		observe_ctr(o, &vm->ctrs[i]);
}

/* The digests that the images of the containers' models have now. Done without
 * the world's lock: the image store has its own. */
static void resolve_digests(struct observed *o, struct world *w,
			    const char *tenant)
{
	size_t i;

	for (i = 0; i < o->n_ctrs; i++) {
		_cleanup_image_info_ struct image_info *image = NULL;
		const char *ref = json_string_value(
			json_object_get(o->ctrs[i].applied, "image"));

		if (ref &&
		    image_stores_get(w->images, tenant, ref, &image, NULL) == 0)
			snprintf(o->digests[i][1], sizeof(o->digests[i][1]),
				 "%s", image->digest);
	}
}

struct observed *observed_new(struct world *w, const char *tenant,
			      const char *stack, const char *only_vm)
{
	struct observed *o = calloc(1, sizeof(*o));
	size_t n_vms = 0, n_ctrs = 0, i = 0;
	struct vm *vm;
	bool ok;

	if (!o)
		return NULL;
	world_lock(w);
	for (vm = w->vms; vm; vm = vm->next) {
		if (vm_is_in(vm, tenant, stack, only_vm ? only_vm : "")) {
			n_vms++;
			n_ctrs += vm->n_ctrs;
		}
	}
	o->vms = calloc(n_vms + 1, sizeof(*o->vms));
	o->ctrs = calloc(n_ctrs + 1, sizeof(*o->ctrs));
	o->names = calloc(n_vms + n_ctrs + 1, sizeof(*o->names));
	o->docs = calloc(n_vms + n_ctrs + 1, sizeof(json_t *));
	o->digests = calloc(n_ctrs + 1, sizeof(*o->digests));
	ok = o->vms && o->ctrs && o->names && o->docs && o->digests;
	for (vm = w->vms; ok && vm; vm = vm->next)
		if (vm_is_in(vm, tenant, stack, only_vm ? only_vm : ""))
			observe_vm(o, &o->vms[i++], vm);
	world_unlock(w);
	o->stack = (struct observed_stack){.vms = o->vms, .n_vms = n_vms};
	if (!ok) {
		observed_free(o);
		return NULL;
	}
	resolve_digests(o, w, tenant);
	return o;
}

const struct observed_stack *observed_stack(const struct observed *o)
{
	return &o->stack;
}

void observed_free(struct observed *o)
{
	size_t i;

	if (!o)
		return;
	for (i = 0; i < o->n_docs; i++)
		json_decref(o->docs[i]);
	free(o->vms);
	free(o->ctrs);
	free(o->names);
	free(o->docs);
	free(o->digests);
	free(o);
}
