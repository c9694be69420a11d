/* SPDX-License-Identifier: Apache-2.0 */
/* Wishes of users about what is there already: stop, start, pause, resume,
 * restart. */
#include "host-agent/reconcile/world.h"

#include <string.h>

static bool vm_is_meant(const struct vm *vm, const char *tenant,
			const char *stack, const char *name)
{
	return vm->desired && vm_is_in(vm, tenant, stack, name);
}

/* What the actors are to look at again. With the lock held. */
static void wish(struct vm *vm)
{
	vm->wanted++;
	vm->all_wanted = false;
	vm->restart_at = 0;
}

/* Rows on disk, then the actors. */
static int carry_out(struct world *w, const char *tenant, const char *stack,
		     struct err *e)
{
	struct vm *vm;
	int r;

	r = world_store_rows(w, tenant, stack, e);
	world_lock(w);
	for (vm = w->vms; vm; vm = vm->next)
		if (vm_is_meant(vm, tenant, stack, ""))
			vm_wake(vm);
	world_unlock(w);
	return r;
}

/* ------------------------------------------------------------ stop, start */

/* One VM's part; with the lock held. */
static void vm_set_stopped(struct vm *vm, const char *container, bool stopped)
{
	struct ctr *c;

	if (!container[0]) {
		vm->row.user_stopped = stopped;
		if (!stopped)
			vm_clear_stops(vm);
	} else {
		c = vm_find_ctr(vm, container);
		if (!c)
			return;
		c->row.user_stopped = stopped;
		c->row.user_paused = false;
		if (!stopped) {
			vm->row.user_stopped = false;
			/* One that is being stopped runs again after that. */
			if (!ctr_is_live(c->state) &&
			    c->state != CTR_STARTING &&
			    c->state != CTR_STOPPING)
				ctr_want(c);
		}
	}
	wish(vm);
}

int world_set_stopped(struct world *w, const char *tenant, const char *stack,
		      const char *name, const char *container, bool stopped,
		      struct err *e)
{
	struct vm *vm;
	int r;

	pthread_mutex_lock(&w->wishes);
	world_lock(w);
	for (vm = w->vms; vm; vm = vm->next)
		if (vm_is_meant(vm, tenant, stack, name))
			vm_set_stopped(vm, container, stopped);
	world_unlock(w);
	r = carry_out(w, tenant, stack, e);
	pthread_mutex_unlock(&w->wishes);
	return r;
}

/* ------------------------------------------------------------------ pause */

static int not_running(const struct vm *vm, const struct ctr *c, struct err *e)
{
	return err_set(e, ENOTCONN,
		       "container '%s/%s/%s' is %s: only what runs "
		       "can be paused or resumed",
		       vm->stack, vm->name, c->row.name,
		       ctr_state_name(c->state));
}

/* One VM's part; with the lock held. */
static int vm_set_paused(struct vm *vm, const char *container, bool paused,
			 size_t *n_live, size_t *n, struct err *e)
{
	bool changed = false;
	struct ctr *c;
	size_t i;

	for (i = 0; i < vm->n_ctrs; i++) {
		c = &vm->ctrs[i];
		if (container[0] && strcmp(c->row.name, container) != 0)
			continue;
		if (!ctr_is_live(c->state)) {
			if (container[0])
				return not_running(vm, c, e);
			continue;
		}
		++*n_live;
		if (c->row.user_paused == paused)
			continue;
		c->row.user_paused = paused;
		++*n;
		changed = true;
	}
	if (changed)
		wish(vm);
	return 0;
}

int world_set_paused(struct world *w, const char *tenant, const char *stack,
		     const char *name, const char *container, bool paused,
		     size_t *ret_n, struct err *e)
{
	size_t n_live = 0, n = 0;
	struct vm *vm;
	int r = 0;

	pthread_mutex_lock(&w->wishes);
	world_lock(w);
	for (vm = w->vms; vm && r == 0; vm = vm->next)
		if (vm_is_meant(vm, tenant, stack, name))
			r = vm_set_paused(vm, container, paused, &n_live, &n,
					  e);
	world_unlock(w);
	if (r == 0 && n_live == 0)
		r = err_set(e, ENOTCONN, "nothing runs in '%s%s%s'", stack,
			    name[0] ? "/" : "", name);
	if (r == 0 && n > 0)
		r = carry_out(w, tenant, stack, e);
	pthread_mutex_unlock(&w->wishes);
	if (r == 0)
		*ret_n = n;
	return r;
}

/* ---------------------------------------------------------------- restart */

static void ctr_set_restart(struct vm *vm, struct ctr *c)
{
	vm->row.user_stopped = false;
	c->row.user_stopped = false;
	c->row.user_paused = false;
	c->backoff = 0;
	c->restart_at = 0;
	if (ctr_is_live(c->state) || c->state == CTR_STARTING ||
	    c->state == CTR_STOPPING)
		c->row.restart_of = c->row.incarnation;
	else
		ctr_want(c);
}

int world_restart(struct world *w, const char *tenant, const char *stack,
		  const char *name, const char *container, struct err *e)
{
	struct ctr *c;
	struct vm *vm;
	int r;

	pthread_mutex_lock(&w->wishes);
	world_lock(w);
	for (vm = w->vms; vm; vm = vm->next) {
		if (!vm_is_meant(vm, tenant, stack, name))
			continue;
		c = container[0] ? vm_find_ctr(vm, container) : NULL;
		if (c) {
			ctr_set_restart(vm, c);
		} else {
			vm_clear_stops(vm);
			if (vm->row.exists)
				vm->row.restart_of = vm->row.id;
		}
		wish(vm);
	}
	world_unlock(w);
	r = carry_out(w, tenant, stack, e);
	pthread_mutex_unlock(&w->wishes);
	return r;
}
