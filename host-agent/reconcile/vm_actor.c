/* SPDX-License-Identifier: Apache-2.0 */
/* The actor of one VM: see the theory of operation in world.h. */
#include "host-agent/reconcile/world.h"

#include "common/base/fd.h"
#include "common/base/log.h"

#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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
		vm_mark_dead(vm, r == -ESRCH ? "VMKilled" : "AgentLost");
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
		vm_mark_dead(vm, "AgentLost");
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
		vm_mark_dead(vm,
			     e.code == EOWNERDEAD ? "BindLost" : "VMKilled");
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
		r = vm_has_died(vm) ? 1 : vm_converge(vm, m, wish, &e);
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
