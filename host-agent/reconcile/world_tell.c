/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told of what happens: to the log, to those who ask what happened
 * lately, and to those who wait for a stack.
 */
#include "host-agent/reconcile/world.h"

#include "common/base/buf.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <stdlib.h>
#include <string.h>

/* Progress that a client that does not read is owed at the most. */
#define SUBSCRIBER_MAX 4096

/* A ring for each tenant: what one does pushes nothing of another's out. */
struct event_ring {
	struct event_ring *next;
	char tenant[STATE_NAME_MAX];
	/* Event number i is at i % WORLD_EVENTS_MAX; n is the next one's. */
	uint64_t n;
	struct world_event list[WORLD_EVENTS_MAX];
};

static void progress_push(struct subscriber *s, const struct progress *p)
{
	struct progress *copy;

	if (s->n >= SUBSCRIBER_MAX)
		return;
	copy = malloc(sizeof(*copy));
	if (!copy)
		return;
	*copy = *p;
	copy->next = NULL;
	*s->tail = copy;
	s->tail = &copy->next;
	s->n++;
}

/* NULL: none of it has been told. With the lock held. */
static struct event_ring *find_ring(const struct world *w, const char *tenant)
{
	struct event_ring *r = w->events;

	while (r && strcmp(r->tenant, tenant) != 0)
		r = r->next;
	return r;
}

static struct event_ring *ring_of(struct world *w, const char *tenant)
{
	struct event_ring *r = find_ring(w, tenant);

	if (r)
		return r;
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	snprintf(r->tenant, sizeof(r->tenant), "%s", tenant);
	r->next = w->events;
	w->events = r;
	return r;
}

static void event_add(struct vm *vm, const struct progress *p)
{
	struct event_ring *r = ring_of(vm->world, vm->tenant);
	struct world_event *ev;

	if (!r)
		return;
	ev = &r->list[r->n++ % WORLD_EVENTS_MAX];
	ev->time = (int64_t)now_realtime_ns();
	snprintf(ev->object, sizeof(ev->object), "%s", p->object);
	snprintf(ev->event, sizeof(ev->event), "%s", p->phase);
	snprintf(ev->message, sizeof(ev->message), "%s", p->message);
}

const struct world_event *world_event_next(const struct world *w,
					   const char *tenant, uint64_t *at)
{
	const struct event_ring *r = find_ring(w, tenant);

	if (!r || *at >= r->n)
		return NULL;
	/* What was overwritten meanwhile is gone. */
	if (r->n > WORLD_EVENTS_MAX && *at < r->n - WORLD_EVENTS_MAX)
		*at = r->n - WORLD_EVENTS_MAX;
	return &r->list[(*at)++ % WORLD_EVENTS_MAX];
}

void vm_tell(struct vm *vm, const char *container, const char *phase,
	     const char *fmt, ...)
{
	struct world *w = vm->world;
	struct progress p = {.at = now_ms()};
	struct subscriber *s;
	struct vm *other;
	va_list ap;

	snprintf(p.object, sizeof(p.object), "%s/%s%s%s", vm->stack, vm->name,
		 container[0] ? "/" : "", container);
	snprintf(p.phase, sizeof(p.phase), "%s", phase);
	va_start(ap, fmt);
	vsnprintf(p.message, sizeof(p.message), fmt, ap);
	va_end(ap);
	log_info("%s: %s%s%s", p.object, p.phase, p.message[0] ? ": " : "",
		 p.message);
	world_lock(w);
	event_add(vm, &p);
	for (s = w->subscribers; s; s = s->next)
		if (strcmp(s->tenant, vm->tenant) == 0 &&
		    strcmp(s->stack, vm->stack) == 0)
			progress_push(s, &p);
	/* What another VM's container waits for may have happened. Not for what
	 * befalls a VM: two that fail would wake each other for ever. */
	for (other = w->vms; container[0] && other; other = other->next)
		if (other != vm && vm_is_in(other, vm->tenant, vm->stack, ""))
			vm_wake(other);
	world_changed(w);
	world_unlock(w);
}

static void subscribe(struct world *w, struct subscriber *s, const char *tenant,
		      const char *stack)
{
	memset(s, 0, sizeof(*s));
	snprintf(s->tenant, sizeof(s->tenant), "%s", tenant);
	snprintf(s->stack, sizeof(s->stack), "%s", stack);
	s->tail = &s->head;
	s->next = w->subscribers;
	w->subscribers = s;
}

static struct progress *subscriber_pop(struct subscriber *s)
{
	struct progress *p = s->head;

	if (p) {
		s->head = p->next;
		if (!s->head)
			s->tail = &s->head;
		s->n--;
	}
	return p;
}

static void unsubscribe(struct world *w, struct subscriber *s)
{
	struct subscriber **at = &w->subscribers;
	struct progress *p;

	while (*at && *at != s)
		at = &(*at)->next;
	if (*at)
		*at = s->next;
	while ((p = subscriber_pop(s)))
		free(p);
}

/* Have all actors of the stack done what was wished? With the lock held. */
static bool is_settled(struct world *w, const char *tenant, const char *stack,
		       struct err *e)
{
	bool settled = true;
	struct vm *vm;

	err_clear(e);
	for (vm = w->vms; vm; vm = vm->next) {
		if (!vm_is_in(vm, tenant, stack, ""))
			continue;
		if (vm->settled < vm->wanted)
			settled = false;
		else if (vm->failure.code && !e->code)
			*e = vm->failure;
	}
	return settled;
}

/* What a wait that ran out of time waited for. With the lock held. */
static int timed_out(struct world *w, const char *tenant, const char *stack,
		     struct err *e)
{
	struct buf b = {.max = 600};
	struct vm *vm;
	size_t i;

	for (vm = w->vms; vm; vm = vm->next) {
		if (!vm_is_in(vm, tenant, stack, "") ||
		    vm->settled >= vm->wanted)
			continue;
		buf_printf(&b, "%s%s is %s", b.len ? "; " : "", vm->name,
			   vm_state_name(vm->state));
		for (i = 0; i < vm->n_ctrs; i++)
			if (vm->ctrs[i].state == CTR_PENDING ||
			    (vm->ctrs[i].state == CTR_RUNNING &&
			     vm->ctrs[i].why[0]))
				buf_printf(&b, ", %s/%s is %s%s%s", vm->name,
					   vm->ctrs[i].row.name,
					   ctr_state_name(vm->ctrs[i].state),
					   vm->ctrs[i].why[0] ? ": " : "",
					   vm->ctrs[i].why);
	}
	err_set(e, ETIMEDOUT, "stack '%s': timed out: %s", stack, buf_str(&b));
	buf_done(&b);
	return -ETIMEDOUT;
}

int world_settle(struct world *w, const char *tenant, const char *stack,
		 uint64_t timeout_ms,
		 int (*fn)(void *arg, const struct progress *p), void *arg,
		 struct err *e)
{
	uint64_t deadline = now_ms() + timeout_ms;
	struct subscriber sub;
	struct progress *p;
	bool settled = false;
	int r = 0;

	world_lock(w);
	subscribe(w, &sub, tenant, stack);
	while (r == 0) {
		settled = is_settled(w, tenant, stack, e);
		p = subscriber_pop(&sub);
		if (p) {
			world_unlock(w);
			r = fn ? fn(arg, p) : 0;
			free(p);
			world_lock(w);
			continue;
		}
		if (settled)
			break;
		if (now_ms() >= deadline)
			r = timed_out(w, tenant, stack, e);
		else
			world_wait(w, 200);
	}
	unsubscribe(w, &sub);
	world_reap_gone(w);
	world_unlock(w);
	if (r < 0)
		return r;
	if (!settled || !e->code)
		return 0;
	/* What a container lacks is no wrong call of who waits for it. */
	if (e->code == EINVAL)
		e->code = ENOEXEC;
	return -e->code;
}
