/* SPDX-License-Identifier: Apache-2.0 */
/* One pass from what there is of a VM towards what is wanted of it. */
#include "host-agent/reconcile/world.h"

#include "common/base/fd.h"

#include <string.h>

static bool any(const struct vm *vm, const struct ctr *c, const void *arg)
{
	(void)vm;
	(void)c;
	(void)arg;
	return true;
}

/* What a user has ended, or wants to run anew. */
static bool is_to_end(const struct vm *vm, const struct ctr *c, const void *arg)
{
	bool yes;

	(void)arg;
	world_lock(vm->world);
	yes = ctr_is_live(c->state) &&
	      (c->row.user_stopped || ctr_restart_is_due(c));
	world_unlock(vm->world);
	return yes;
}

/* What the plan takes down, or makes anew, in a VM that stays. */
static bool is_removed(const struct vm *vm, const struct ctr *c,
		       const void *arg)
{
	const struct plan *plan = arg;
	size_t i;

	(void)vm;
	for (i = 0; i < plan->n; i++) {
		const struct plan_change *ch = &plan->changes[i];

		if ((ch->action == PLAN_REMOVE ||
		     ch->action == PLAN_RECREATE) &&
		    strcmp(ch->container, c->row.name) == 0)
			return true;
	}
	return false;
}

/* Ends what runs in the VM as it should end. What does not is told: the VM
 * goes anyway. */
static void end_all(struct vm *vm)
{
	if (!vm->row.exists)
		return;
	if (vm->machine)
		machine_shutdown(vm);
	ctrs_stop(vm, any, NULL);
}

/* The same of one that may be made again: so may what ran in it. */
static void stop_all(struct vm *vm)
{
	bool ran[WORLD_CONTAINERS_MAX];
	size_t i;

	if (!vm->row.exists)
		return;
	world_lock(vm->world);
	for (i = 0; i < vm->n_ctrs; i++)
		ran[i] = ctr_is_live(vm->ctrs[i].state);
	world_unlock(vm->world);
	end_all(vm);
	world_lock(vm->world);
	for (i = 0; i < vm->n_ctrs; i++)
		vm->ctrs[i].lost = ran[i] && !vm->ctrs[i].row.user_stopped;
	world_unlock(vm->world);
}

/* Takes down what the plan says is to go or to be made anew. */
static int run_removals(struct vm *vm, const struct plan *plan, struct err *e)
{
	size_t i;
	int r = 0;

	if (vm->row.exists)
		ctrs_stop(vm, is_removed, plan);
	for (i = 0; i < plan->n && r == 0; i++) {
		const struct plan_change *ch = &plan->changes[i];

		if (ch->action != PLAN_REMOVE && ch->action != PLAN_RECREATE)
			continue;
		if (ch->container[0]) {
			r = ctr_remove(vm, ch->container, e);
		} else {
			stop_all(vm);
			r = vm_destroy(vm, "Stopped", e);
		}
	}
	return r;
}

/* Takes `text` over as what is applied; true: it was another. */
static bool take_applied(struct vm *vm, char **applied, char *text)
{
	bool changed;

	world_lock(vm->world);
	changed = !*applied || strcmp(*applied, text) != 0;
	free(*applied);
	*applied = text;
	world_unlock(vm->world);
	return changed;
}

/* What is changed live: from now on the model counts as applied. */
static int run_updates(struct vm *vm, const struct model_vm *m,
		       const struct plan *plan, struct err *e)
{
	const struct model_container *mc;
	struct ctr *c;
	char *text;
	size_t i;

	for (i = 0; i < plan->n; i++) {
		const struct plan_change *ch = &plan->changes[i];

		mc = ch->action == PLAN_UPDATE
			     ? model_find_container(m, ch->container)
			     : NULL;
		c = mc ? vm_find_ctr(vm, ch->container) : NULL;
		if (!c)
			continue;
		text = model_text(model_container_to_json(mc));
		if (!text)
			return err_sys(e, ENOMEM, "write state");
		if (take_applied(vm, &c->row.applied, text))
			ctr_store(vm, c);
	}
	if (!vm->row.exists)
		return 0;
	text = model_text(model_vm_to_json(m));
	if (!text)
		return err_sys(e, ENOMEM, "write state");
	return take_applied(vm, &vm->row.applied, text) ? vm_store(vm, e) : 0;
}

/* All that the VM's model asks for and that does not need the VM to be made
 * anew. 1: something waits for another container. */
static int ensure_containers(struct vm *vm, const struct model_vm *m,
			     int64_t wish, struct err *e)
{
	size_t order[WORLD_CONTAINERS_MAX], i;
	struct err one = ERR_INIT;
	int r, result = 0;

	plan_start_order(m, order);
	ctrs_stop(vm, is_to_end, NULL);
	vm->model = m;
	vm->model_wish = wish;
	for (i = 0; i < m->n_containers; i++) {
		r = ctr_ensure(vm, &m->containers[order[i]], &one);
		if (r < 0 && result >= 0) {
			*e = one;
			result = r;
		} else if (r > 0 && result == 0) {
			result = 1;
		}
		/* Nothing can be done in a guest that is gone. */
		if (!vm->row.exists || vm_has_died(vm))
			break;
	}
	vm->model = NULL;
	return result;
}

/* A user stopped the VM: containers end as they should, then it goes. */
static int converge_stopped(struct vm *vm, struct err *e)
{
	int r;

	if (!vm->row.exists) {
		vm_set_state(vm, VM_STOPPED);
		return 0;
	}
	vm_set_state(vm, VM_STOPPING);
	stop_all(vm);
	r = vm_destroy(vm, "Stopped", e);
	if (r == 0)
		vm_set_state(vm, VM_STOPPED);
	return r;
}

/*
 * Its row goes, and with it the actor: decided in one piece, so that a wish
 * either comes before, and finds the actor at work, or finds no VM and makes a
 * new one. When a wish came while the VM was taken down (1), the actor goes on
 * with a row like a new VM's.
 */
static int vm_forget(struct vm *vm, int64_t wish, struct err *e)
{
	struct world *w = vm->world;
	struct state_vm row;
	int r;

	world_lock(w);
	r = state_vm_remove(w->state, vm->row.id, e);
	if (r == 0 && vm->wanted == wish) {
		vm->gone = true;
	} else if (r == 0) {
		r = state_vm_ensure(w->state, vm->tenant, vm->stack, vm->name,
				    &row, e);
		if (r == 0) {
			while (vm->n_ctrs > 0)
				state_container_done(
					&vm->ctrs[--vm->n_ctrs].row);
			memset(vm->ctrs, 0, sizeof(vm->ctrs));
			state_vm_done(&vm->row);
			vm->row = row;
			vm->state = VM_PENDING;
			vm->booted_at = 0;
			vm_set_id(vm);
			r = 1;
		}
	}
	world_changed(w);
	world_unlock(w);
	return r;
}

/* A user wants the VM made anew: it goes, as with a stop, and who called makes
 * the next one. That one's other id is what ends the wish on disk. */
static int converge_restart(struct vm *vm, struct err *e)
{
	bool due;
	int r = 0;

	world_lock(vm->world);
	due = vm->row.restart_of && vm->row.restart_of == vm->row.id;
	world_unlock(vm->world);
	if (!due)
		return 0;
	if (vm->row.exists) {
		vm_set_state(vm, VM_STOPPING);
		stop_all(vm);
		r = vm_destroy(vm, "Stopped", e);
	}
	if (r < 0)
		return r;
	world_lock(vm->world);
	vm->row.restart_of = 0;
	world_unlock(vm->world);
	return 0;
}

/* The VM is not wanted any more: nothing of it stays. */
static int converge_gone(struct vm *vm, int64_t wish, struct err *e)
{
	int r;

	vm_set_state(vm, VM_STOPPING);
	end_all(vm);
	r = vm_destroy(vm, "Stopped", e);
	if (r == 0)
		r = path_remove(vm->logs, e);
	if (r == 0)
		r = machine_forget(vm, e);
	if (r < 0)
		return r;
	volume_reap(vm->world->volumes);
	vm_tell(vm, "", "removed", "%s", "");
	return vm_forget(vm, wish, e);
}

void vm_mark_dead(struct vm *vm, const char *reason)
{
	world_lock(vm->world);
	if (!vm->died)
		snprintf(vm->died_reason, sizeof(vm->died_reason), "%s",
			 reason);
	vm->died = true;
	world_unlock(vm->world);
}

/* A container's health check asks for a new VM: what runs in it ends as it
 * should, then it counts as dead. */
static void end_sick(struct vm *vm)
{
	struct ctr *c = vm_find_ctr(vm, vm->sick);
	char note[sizeof(c->health_note)] = "";

	if (c)
		memcpy(note, c->health_note, sizeof(note));
	world_lock(vm->world);
	snprintf(vm->row.message, sizeof(vm->row.message),
		 "container '%s' is unhealthy: %s", vm->sick, note);
	world_unlock(vm->world);
	stop_all(vm);
	volumes_unmount(vm);
	if (c && c->lost)
		ctr_set(vm, c, CTR_STOPPED, "HealthCheck", note);
	vm->sick[0] = '\0';
	vm_mark_dead(vm, "HealthCheck");
}

static int plan_for(struct vm *vm, const struct model_vm *m, struct plan *plan,
		    struct err *e)
{
	struct model_stack one = {
		.tenant = vm->tenant, .name = vm->stack, .vms = m, .n_vms = 1};
	struct observed *o =
		observed_new(vm->world, vm->tenant, vm->stack, vm->name);
	int r;

	if (!o)
		return err_sys(e, ENOMEM, "plan");
	r = plan_make(&one, observed_stack(o), plan);
	observed_free(o);
	return r < 0 ? err_sys(e, -r, "plan") : 0;
}

int vm_converge(struct vm *vm, const struct model_vm *m, int64_t wish,
		struct err *e)
{
	struct err restart = ERR_INIT;
	struct plan plan = {0};
	bool stopped, later;
	int r = 0;

	world_lock(vm->world);
	stopped = vm->row.user_stopped;
	world_unlock(vm->world);
	/* One that does not answer any more goes all the same. */
	if (vm->row.exists)
		r = vm_ensure_connected(vm, e);
	if (!m)
		return converge_gone(vm, wish, e);
	if (stopped)
		return converge_stopped(vm, e);
	/* Nor does one that hangs keep it from being made anew. */
	if (converge_restart(vm, &restart) < 0) {
		*e = restart;
		return -restart.code;
	}
	if (r < 0 && vm->row.exists)
		return r;
	err_clear(e);
	r = plan_for(vm, m, &plan, e);
	if (r == 0)
		r = run_removals(vm, &plan, e);
	if (r == 0)
		r = run_updates(vm, m, &plan, e);
	plan_done(&plan);
	if (r == 0 && vm->row.exists) {
		volumes_give_back(vm);
		r = volumes_grow(vm, e);
	}
	if (r < 0)
		return r;
	if (!vm->row.exists) {
		world_lock(vm->world);
		later = vm->restart_at > now_ms();
		world_unlock(vm->world);
		if (later)
			return vm->state == VM_FAILED || vm->state == VM_STOPPED
				       ? 0
				       : 1;
		r = vm_boot(vm, m, e);
		if (r < 0)
			return r;
	} else {
		r = ports_publish(vm, m, e);
		if (r < 0)
			return r;
	}
	r = ensure_containers(vm, m, wish, e);
	if (r >= 0)
		files_rotate(vm, m);
	if (!vm->sick[0])
		return r;
	end_sick(vm);
	/* Who waits for all of it hears of that; the VM is made again. */
	world_lock(vm->world);
	r = vm->all_wanted ? err_set(e, EOWNERDEAD, "VM '%s': %s", vm->name,
				     vm->row.message)
			   : 1;
	world_unlock(vm->world);
	return r;
}
