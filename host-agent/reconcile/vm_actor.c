/* SPDX-License-Identifier: Apache-2.0 */
/* The actor of one VM: see the theory of operation in world.h. */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <poll.h>
#include <time.h>

/* The guest sends a heartbeat every second: so many missed, and it is lost. */
#define HEARTBEAT_LOST_MS 4000
#define RECONNECT_MS	  2000
#define SET_TIME_EVERY_MS 60000
/* Running this long makes the next restart the first in a row again. */
#define BACKOFF_FORGET_MS 10000
#define BACKOFF_FIRST_MS  100
#define BACKOFF_LAST_MS	  60000
#define DESTROY_RETRY_MS  1000

uint64_t backoff_ms(uint32_t n)
{
	uint64_t ms = BACKOFF_FIRST_MS;

	while (n-- > 0 && ms < BACKOFF_LAST_MS)
		ms *= 2;
	return ms < BACKOFF_LAST_MS ? ms : BACKOFF_LAST_MS;
}

bool restart_applies(const struct restart_policy *p, int64_t exit_code,
		     uint32_t n)
{
	switch (p->kind) {
	case RESTART_ALWAYS:
	case RESTART_UNLESS_STOPPED:
		return true;
	case RESTART_ON_FAILURE:
		return exit_code != 0 && (p->max == 0 || n < p->max);
	case RESTART_NO:
	case RESTART_KIND_MAX:
		break;
	}
	return false;
}

bool vm_is_completed(const struct vm *vm, const char *reason)
{
	return vm->machine && strcmp(reason, "Completed") == 0;
}

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
	      (c->row.user_stopped ||
	       (c->row.restart_of && c->row.restart_of == c->row.incarnation));
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
static void stop_all(struct vm *vm)
{
	bool ran[WORLD_CONTAINERS_MAX];
	size_t i;

	if (vm->row.exists && vm->machine)
		machine_shutdown(vm);
	if (!vm->row.exists)
		return;
	world_lock(vm->world);
	for (i = 0; i < vm->n_ctrs; i++)
		ran[i] = ctr_is_live(vm->ctrs[i].state);
	world_unlock(vm->world);
	ctrs_stop(vm, any, NULL);
	/* It runs again when the VM is made again. */
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
			     struct err *e)
{
	size_t order[WORLD_CONTAINERS_MAX], i;
	struct err one = ERR_INIT;
	int r, result = 0;

	plan_start_order(m, order);
	ctrs_stop(vm, is_to_end, NULL);
	vm->model = m;
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

static void vm_set_state(struct vm *vm, enum vm_state s)
{
	world_lock(vm->world);
	vm->state = s;
	world_changed(vm->world);
	world_unlock(vm->world);
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
	if (vm->row.exists && vm->machine)
		machine_shutdown(vm);
	if (vm->row.exists)
		ctrs_stop(vm, any, NULL);
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

static void mark_dead(struct vm *vm, const char *reason)
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
	mark_dead(vm, "HealthCheck");
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

/* One pass from what is there towards what is wanted: 0 all there, 1 something
 * must happen first, or what failed. */
static int converge(struct vm *vm, const struct model_vm *m, int64_t wish,
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
	r = ensure_containers(vm, m, e);
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

/* ------------------------------------------------------------ life signs */

static void pause_ms(long ms)
{
	const struct timespec t = {.tv_sec = ms / 1000,
				   .tv_nsec = ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

/* The VM has ended, or its guest does not answer: clears up, and plans the
 * restart that its policy asks for. */
static void on_death(struct vm *vm, const struct model_vm *m, int64_t wish)
{
	struct err e = ERR_INIT;
	char reason[sizeof(vm->died_reason)];
	bool again, completed;

	world_lock(vm->world);
	snprintf(reason, sizeof(reason), "%s", vm->died_reason);
	world_unlock(vm->world);

	log_warn("%s/%s: VM ended: %s", vm->stack, vm->name, reason);
	vm_tell(vm, "", "died", "%s", reason);
	if (vm_destroy(vm, reason, &e) < 0) {
		/* It stays dead, and is taken down at the next try. */
		log_warn("%s/%s: %s", vm->stack, vm->name, e.msg);
		pause_ms(DESTROY_RETRY_MS);
		return;
	}
	world_lock(vm->world);
	vm->died = false;
	if (now_ms() - vm->booted_at > BACKOFF_FORGET_MS)
		vm->backoff = 0;
	completed = vm_is_completed(vm, reason);
	again = m && !vm->row.user_stopped &&
		restart_applies(&m->restart, completed ? 0 : 1,
				vm->row.restarts);
	if (vm->wanted != wish) {
		/* A request came meanwhile: it asks for a VM now. */
		vm->restart_at = 0;
		vm->state = VM_PENDING;
	} else if (again) {
		vm->restart_at = now_ms() + backoff_ms(vm->backoff++);
		vm->row.restarts++;
		vm->state = VM_PENDING;
	} else {
		vm->restart_at = UINT64_MAX;
		vm->state = completed ? VM_STOPPED : VM_FAILED;
	}
	world_changed(vm->world);
	world_unlock(vm->world);
	if (vm_store(vm, &e) < 0)
		log_warn("%s/%s: %s", vm->stack, vm->name, e.msg);
}

/* The events connection has ended: the device may have died (it comes back),
 * or the guest has. */
static void on_events_lost(struct vm *vm)
{
	struct err e = ERR_INIT;
	uint64_t deadline;
	bool died;
	int r;

	vm_disconnect(vm);
	r = vm_reattach(vm, &e);
	if (r == 0)
		return;
	/* libvirt may say it a moment later, with the true reason. Others'
	 * changes wake us too. */
	deadline = now_ms() + RECONNECT_MS;
	world_lock(vm->world);
	while (!vm->died && now_ms() < deadline)
		world_wait(vm->world, 100);
	died = vm->died;
	world_unlock(vm->world);
	if (!died) {
		log_warn("%s/%s: %s", vm->stack, vm->name, e.msg);
		mark_dead(vm, r == -ESRCH ? "VMKilled" : "AgentLost");
	}
}

static void on_events(struct vm *vm)
{
	struct agent_container a;
	struct err e = ERR_INIT;
	ssize_t n;
	int r;

	n = vl_conn_fill(&vm->events.conn);
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		on_events_lost(vm);
		return;
	}
	vm->heard_at = now_ms();
	while ((r = agent_events_next(&vm->events, &a, &e)) > 0)
		if (a.id[0])
			ctr_observe(vm, &a);
	if (r < 0) {
		log_warn("%s/%s: events: %s", vm->stack, vm->name, e.msg);
		on_events_lost(vm);
	}
}

/* ms until something is due. */
static int next_timeout(struct vm *vm)
{
	uint64_t now = now_ms(), at = now + 1000;
	size_t i;

	world_lock(vm->world);
	if (vm->restart_at && vm->restart_at < at)
		at = vm->restart_at;
	for (i = 0; i < vm->n_ctrs; i++)
		if (vm->ctrs[i].restart_at && vm->ctrs[i].restart_at < at)
			at = vm->ctrs[i].restart_at;
	world_unlock(vm->world);
	return at <= now ? 0 : (int)(at - now);
}

static void check_heartbeat(struct vm *vm)
{
	struct err e = ERR_INIT;
	uint64_t now = now_ms();

	if (vm->events.conn.fd < 0)
		return;
	if (now - vm->heard_at > HEARTBEAT_LOST_MS) {
		mark_dead(vm, "AgentLost");
		return;
	}
	if (now - vm->time_set_at > SET_TIME_EVERY_MS) {
		vm->time_set_at = now;
		if (agent_set_time(&vm->agent, now + 1000, &e) < 0)
			log_warn("%s/%s: %s", vm->stack, vm->name, e.msg);
	}
}

/* Sleeps until something is to be done; takes the guest's events meanwhile. */
static void actor_wait(struct vm *vm)
{
	struct pollfd fds[2];
	uint64_t count;

	fds[0] = (struct pollfd){.fd = vm->wake, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = vm->events.conn.fd, .events = POLLIN};
	if (poll(fds, 2, next_timeout(vm)) < 0)
		return;
	if (fds[0].revents && read(vm->wake, &count, sizeof(count)) < 0)
		log_debug("%s: %s", vm->name, strerror(errno));
	if (fds[1].revents)
		on_events(vm);
	check_heartbeat(vm);
}

/* ------------------------------------------------------------ the thread */

/* What is not as it was wished though nothing is left to be done for it now:
 * who waits for the wish is told. With the lock held. */
static void find_failure(struct vm *vm, const struct model_vm *m, struct err *e)
{
	const struct ctr *c;
	size_t i;

	if (vm->state == VM_FAILED) {
		err_set(e, ECHILD, "VM '%s' has ended: %s", vm->name,
			vm->row.reason);
		return;
	}
	for (i = 0; m && vm->all_wanted && i < vm->n_ctrs; i++) {
		c = &vm->ctrs[i];
		if (ctr_is_unhealthy(c) &&
		    model_find_container(m, c->row.name)) {
			err_set(e, ECHILD, "container '%s/%s' is unhealthy: %s",
				vm->name, c->row.name, c->health_note);
			return;
		}
		if (c->state != CTR_FAILED ||
		    !model_find_container(m, c->row.name))
			continue;
		err_set(e, ECHILD, "container '%s/%s' has failed: %s%s%s",
			vm->name, c->row.name, c->row.reason,
			c->row.message[0] ? ": " : "", c->row.message);
		return;
	}
}

static void settle(struct vm *vm, const struct model_vm *m, int64_t wish, int r,
		   const struct err *e)
{
	world_lock(vm->world);
	if (r <= 0 && vm->settled < wish) {
		vm->settled = wish;
		vm->failure = *e;
		if (r == 0) {
			err_clear(&vm->failure);
			find_failure(vm, m, &vm->failure);
		}
	}
	world_changed(vm->world);
	world_unlock(vm->world);
}

/* A VM that could not be made is tried again, by its policy. */
static void on_failure(struct vm *vm, const struct model_vm *m, int64_t wish,
		       const struct err *e)
{
	log_warn("%s/%s: %s", vm->stack, vm->name, e->msg);
	vm_tell(vm, "", "failed", "%s", e->msg);
	if (vm->row.exists || !m)
		return;
	world_lock(vm->world);
	snprintf(vm->row.message, sizeof(vm->row.message), "%s", e->msg);
	if (vm->wanted != wish)
		vm->restart_at = 0;
	else if (restart_applies(&m->restart, 1, vm->row.restarts))
		vm->restart_at = now_ms() + 1000 + backoff_ms(vm->backoff++);
	else
		vm->restart_at = UINT64_MAX;
	vm->state = VM_FAILED;
	world_unlock(vm->world);
}

/* At the start of a hybd: the VM that an earlier one made is taken up. One
 * that was not up yet when that hybd ended is not dead, and nothing runs in it:
 * it is made again, for what was half done to it nobody knows. */
static void take_up(struct vm *vm)
{
	struct err e = ERR_INIT;
	const struct model_vm *m;
	struct model_ref *ref;
	int64_t wish;

	world_lock(vm->world);
	wish = vm->wanted;
	ref = vm->ref ? model_ref_take(vm->ref) : NULL;
	m = vm->desired;
	world_unlock(vm->world);
	/* Before all else: of a VM that is gone, too, the ports are given back.
	 */
	ports_reattach(vm);
	if (vm->row.exists && !vm->row.started_at) {
		log_info("%s/%s: was not up yet: made again", vm->stack,
			 vm->name);
		if (vm_destroy(vm, "", &e) < 0)
			log_warn("%s/%s: %s", vm->stack, vm->name, e.msg);
	} else if (vm->row.exists && vm_reattach(vm, &e) < 0) {
		log_warn("%s/%s: %s", vm->stack, vm->name, e.msg);
		mark_dead(vm, e.code == EOWNERDEAD ? "BindLost" : "VMKilled");
		on_death(vm, m, wish);
	}
	model_ref_drop(ref);
	world_lock(vm->world);
	vm->taking_up = false;
	world_changed(vm->world);
	world_unlock(vm->world);
}

void *vm_actor(void *arg)
{
	struct vm *vm = arg;
	struct model_ref *ref;
	const struct model_vm *m;
	struct err e = ERR_INIT;
	int64_t wish;
	bool died;
	int r;

	take_up(vm);
	for (;;) {
		world_lock(vm->world);
		wish = vm->wanted;
		ref = vm->ref ? model_ref_take(vm->ref) : NULL;
		m = vm->desired;
		died = vm->died;
		world_unlock(vm->world);
		if (died)
			on_death(vm, m, wish);
		err_clear(&e);
		r = vm_has_died(vm) ? 1 : converge(vm, m, wish, &e);
		/* Gone: who frees it waits for this thread with the lock held,
		 * so the lock is not taken any more. */
		if (!m && r == 0) {
			model_ref_drop(ref);
			break;
		}
		died = vm_has_died(vm);
		if (r < 0 && !died)
			on_failure(vm, m, wish, &e);
		if (!died || (r < 0 && e.code == EOWNERDEAD))
			settle(vm, m, wish, r, &e);
		model_ref_drop(ref);
		if (died)
			continue;
		/* What could not be taken down is tried again: actor_wait()
		 * waits a second at the most. */
		actor_wait(vm);
	}
	return NULL;
}
