/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How containers end. Those that end together have their signals together, so
 * that their times of grace pass side by side; but who depends on another ends
 * before it.
 */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "host-agent/reconcile/oci_config.h"

#include <signal.h>
#include <stdlib.h>

#define CALL_MS 30000
#define KILL_MS 10000

/* One whose signal is on its way. */
struct ending {
	struct ctr *c;
	uint64_t deadline_ms; /* of its grace */
};

static int wait_end(struct vm *vm, struct ctr *c, uint64_t deadline_ms,
		    struct agent_container *ret, struct err *e)
{
	_cleanup_agent_ struct agent a = {.conn.fd = -1};
	int r;

	/* A connection of its own: the call may outlast its deadline. */
	r = agent_open(&a, &vm->addr, deadline_ms, e);
	if (r == 0)
		r = agent_wait(&a, c->id, deadline_ms, ret, e);
	return r;
}

/* The signal that ends it. A container that an earlier hybd made: by what it
 * was made from. */
static int stop_signal_of(struct vm *vm, const struct ctr *c,
			  const json_t *applied)
{
	_cleanup_image_info_ struct image_info *image = NULL;
	struct image_defaults defaults = {0};
	struct model_container m = {
		.stop_signal = (int)json_integer_value(
			json_object_get(applied, "stop_signal")),
	};

	if (c->stop_signal)
		return c->stop_signal;
	if (c->row.digest[0] &&
	    image_stores_get(vm->world->images, vm->tenant, c->row.digest,
			     &image, NULL) == 0)
		defaults.stop_signal = image->config.stop_signal;
	return oci_config_stop_signal(&m, &defaults);
}

/* 1: it is to be waited for; 0: nothing of it runs. A signal that is not sent
 * is a grace that has passed. */
static int begin(struct vm *vm, struct ctr *c, struct ending *ret)
{
	_cleanup_json_ json_t *applied = NULL;
	uint64_t grace_ns = HYB_DEFAULT_STOP_GRACE_NS;
	enum ctr_state state = ctr_now(vm, c);
	int sig, r;

	if (state == CTR_STOPPED)
		return 0;
	/* STOPPING: an earlier try was not answered. */
	if ((!ctr_is_live(state) && state != CTR_STOPPING) || !c->in_guest) {
		world_lock(vm->world);
		c->restart_at = 0;
		world_unlock(vm->world);
		ctr_set(vm, c, CTR_STOPPED, "Stopped", "");
		ctr_store(vm, c);
		return 0;
	}
	applied = json_loads(c->row.applied ? c->row.applied : "{}", 0, NULL);
	if (json_is_integer(json_object_get(applied, "stop_grace_ns")))
		grace_ns = (uint64_t)json_integer_value(
			json_object_get(applied, "stop_grace_ns"));
	sig = stop_signal_of(vm, c, applied);
	ctr_set(vm, c, CTR_STOPPING, "", "");
	vm_tell(vm, c->row.name, "stopping", "%s", "");
	r = agent_signal(&vm->agent, c->id, sig, false, now_ms() + CALL_MS,
			 NULL);
	/* The signal first: it is what a frozen one finds when it is thawed. */
	if (r == 0 && state != CTR_RUNNING)
		r = agent_resume(&vm->agent, c->id, now_ms() + CALL_MS, NULL);
	*ret = (struct ending){
		.c = c,
		.deadline_ms = r < 0 ? 0 : now_ms() + grace_ns / 1000000,
	};
	return 1;
}

static int finish(struct vm *vm, const struct ending *x, struct err *e)
{
	struct agent_container end = {0};
	int r = -ETIMEDOUT;

	if (x->deadline_ms)
		r = wait_end(vm, x->c, x->deadline_ms, &end, e);
	if (r < 0) {
		/* Past its grace, or already gone. */
		vm_ensure_connected(vm, NULL);
		agent_signal(&vm->agent, x->c->id, SIGKILL, true,
			     now_ms() + CALL_MS, NULL);
		r = wait_end(vm, x->c, now_ms() + KILL_MS, &end, e);
	}
	if (r < 0)
		return err_wrap(e, "stop container '%s/%s'", vm->name,
				x->c->row.name);
	ctr_take_end(vm, x->c, &end);
	ctr_store(vm, x->c);
	vm_tell(vm, x->c->row.name, "stopped", "%s", "");
	return 0;
}

int ctr_stop(struct vm *vm, struct ctr *c, struct err *e)
{
	struct ending x;

	return begin(vm, c, &x) ? finish(vm, &x, e) : 0;
}

/* -------------------------------------------------------------- several */

/* Those that are to end. */
struct several {
	bool left[WORLD_CONTAINERS_MAX]; /* they have not ended */
	bool begun[WORLD_CONTAINERS_MAX];
	struct ending ending[WORLD_CONTAINERS_MAX];
	/* [i][k]: k depends on i. */
	bool needed[WORLD_CONTAINERS_MAX][WORLD_CONTAINERS_MAX];
};

/* What the i-th depends on in this VM, as it was made. */
static void read_needs(const struct vm *vm, size_t i, struct several *s)
{
	const char *text = vm->ctrs[i].row.applied;
	_cleanup_json_ json_t *applied =
		json_loads(text ? text : "{}", 0, NULL);
	const json_t *list = json_object_get(applied, "depends_on"), *d;
	const char *on, *in;
	size_t n, k;

	json_array_foreach(list, n, d) {
		on = json_string_value(json_object_get(d, "container"));
		in = json_string_value(json_object_get(d, "vm"));
		for (k = 0; on && in && k < vm->n_ctrs; k++) {
			if (strcmp(in, vm->name) == 0 &&
			    strcmp(on, vm->ctrs[k].row.name) == 0)
				s->needed[k][i] = true;
		}
	}
}

static bool is_needed(const struct vm *vm, const struct several *s, size_t i)
{
	size_t k;

	for (k = 0; k < vm->n_ctrs; k++) {
		if (k != i && s->left[k] && s->needed[i][k])
			return true;
	}
	return false;
}

static void begin_one(struct vm *vm, struct several *s, size_t i)
{
	s->begun[i] = true;
	s->left[i] = begin(vm, &vm->ctrs[i], &s->ending[i]) > 0;
}

/* Those that nothing which has not ended depends on; where there are none, all:
 * two deployments can make a ring of what runs. */
static void begin_some(struct vm *vm, struct several *s)
{
	bool again = true, any = false;
	size_t i;

	while (again) {
		again = false;
		for (i = 0; i < vm->n_ctrs; i++) {
			if (!s->left[i] || s->begun[i] || is_needed(vm, s, i))
				continue;
			begin_one(vm, s, i);
			again = again || !s->left[i];
		}
	}
	for (i = 0; i < vm->n_ctrs; i++)
		any = any || (s->left[i] && s->begun[i]);
	for (i = 0; i < vm->n_ctrs && !any; i++) {
		if (s->left[i])
			begin_one(vm, s, i);
	}
}

/* Whose grace ends first; n_ctrs: nobody is left. */
static size_t next_to_end(const struct vm *vm, const struct several *s)
{
	size_t i, best = vm->n_ctrs;

	for (i = 0; i < vm->n_ctrs; i++) {
		if (s->left[i] && s->begun[i] &&
		    (best == vm->n_ctrs ||
		     s->ending[i].deadline_ms < s->ending[best].deadline_ms))
			best = i;
	}
	return best;
}

static void stop_several(struct vm *vm, struct several *s)
{
	struct err e = ERR_INIT;
	size_t i;

	for (;;) {
		begin_some(vm, s);
		i = next_to_end(vm, s);
		if (i == vm->n_ctrs)
			return;
		if (finish(vm, &s->ending[i], &e) < 0)
			log_warn("%s/%s: %s", vm->stack, vm->name, e.msg);
		s->left[i] = false;
	}
}

void ctrs_stop(struct vm *vm, ctr_choice chosen, const void *arg)
{
	_cleanup_free_ struct several *s = calloc(1, sizeof(*s));
	struct err e = ERR_INIT;
	size_t i;

	for (i = 0; i < vm->n_ctrs; i++) {
		if (!chosen(vm, &vm->ctrs[i], arg))
			continue;
		if (s) {
			s->left[i] = true;
			read_needs(vm, i, s);
		} else if (ctr_stop(vm, &vm->ctrs[i], &e) < 0) {
			log_warn("%s/%s: %s", vm->stack, vm->name, e.msg);
		}
	}
	if (s)
		stop_several(vm, s);
}
