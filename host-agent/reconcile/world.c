/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/reconcile/world.h"
#include "host-agent/state/state_tenant.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <sys/eventfd.h>

#define ACTOR_STACK_SIZE ((size_t)512 * 1024)

static const char *const ctr_state_names[] = {
	[CTR_PENDING] = "pending",   [CTR_STARTING] = "starting",
	[CTR_RUNNING] = "running",   [CTR_PAUSED] = "paused",
	[CTR_STOPPING] = "stopping", [CTR_STOPPED] = "stopped",
	[CTR_EXITED] = "exited",     [CTR_FAILED] = "failed",
};
_Static_assert(ARRAY_SIZE(ctr_state_names) == CTR_STATE_MAX, "ctr states");

static const char *const vm_state_names[] = {
	[VM_PENDING] = "pending", [VM_STARTING] = "starting",
	[VM_RUNNING] = "running", [VM_STOPPING] = "stopping",
	[VM_STOPPED] = "stopped", [VM_FAILED] = "failed",
};
_Static_assert(ARRAY_SIZE(vm_state_names) == VM_STATE_MAX, "vm states");

const char *ctr_state_name(enum ctr_state s)
{
	return ctr_state_names[s];
}

const char *vm_state_name(enum vm_state s)
{
	return vm_state_names[s];
}

void world_lock(struct world *w)
{
	pthread_mutex_lock(&w->lock);
}

void world_unlock(struct world *w)
{
	pthread_mutex_unlock(&w->lock);
}

void world_wait(struct world *w, uint64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(ms / 1000);
	until.tv_nsec += (long)(ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(&w->changed, &w->lock, &until);
}

void world_changed(struct world *w)
{
	pthread_cond_broadcast(&w->changed);
}

struct model_ref *model_ref_take(struct model_ref *r)
{
	atomic_fetch_add(&r->refs, 1);
	return r;
}

void model_ref_drop(struct model_ref *r)
{
	if (!r || atomic_fetch_sub(&r->refs, 1) != 1)
		return;
	model_stack_free(r->model);
	free(r);
}

static struct model_ref *model_ref_new(struct model_stack *model)
{
	struct model_ref *r = calloc(1, sizeof(*r));

	if (r) {
		r->model = model;
		atomic_init(&r->refs, 1);
	}
	return r;
}

/* ---------------------------------------------------------------- finding */

bool vm_is_in(const struct vm *vm, const char *tenant, const char *stack,
	      const char *name)
{
	return !vm->gone && strcmp(vm->tenant, tenant) == 0 &&
	       strcmp(vm->stack, stack) == 0 &&
	       (!name[0] || strcmp(vm->name, name) == 0);
}

struct vm *world_find_vm(struct world *w, const char *tenant, const char *stack,
			 const char *name)
{
	struct vm *vm;

	for (vm = w->vms; vm; vm = vm->next)
		if (!vm->gone && strcmp(vm->tenant, tenant) == 0 &&
		    strcmp(vm->stack, stack) == 0 &&
		    strcmp(vm->name, name) == 0)
			return vm;
	return NULL;
}

struct ctr *vm_find_ctr(struct vm *vm, const char *name)
{
	size_t i;

	for (i = 0; i < vm->n_ctrs; i++)
		if (strcmp(vm->ctrs[i].row.name, name) == 0)
			return &vm->ctrs[i];
	return NULL;
}

/* --------------------------------------------------------------- progress */

void vm_wake(struct vm *vm)
{
	uint64_t one = 1;

	if (write(vm->wake, &one, sizeof(one)) < 0)
		log_debug("wake '%s': %s", vm->name, strerror(errno));
}

/* ------------------------------------------------------------------ actors */

static void vm_free(struct vm *vm)
{
	size_t i;

	vm_disconnect(vm);
	logpump_free(vm->pump);
	cleanup_close(&vm->wake);
	cleanup_close(&vm->portd.pidfd);
	for (i = 0; i < vm->n_ctrs; i++)
		state_container_done(&vm->ctrs[i].row);
	state_vm_done(&vm->row);
	model_ref_drop(vm->ref);
	free(vm);
}

void world_reap_gone(struct world *w)
{
	struct vm **at = &w->vms, *vm;

	while ((vm = *at)) {
		if (!vm->gone) {
			at = &vm->next;
			continue;
		}
		*at = vm->next;
		/* It holds no lock any more: it ends by itself now. */
		pthread_join(vm->thread, NULL);
		vm_free(vm);
	}
}

static int load_ctr(void *arg, const struct state_container *row)
{
	struct vm *vm = arg;
	struct ctr *c;
	size_t i;

	if (vm->n_ctrs == WORLD_CONTAINERS_MAX)
		return 0;
	c = &vm->ctrs[vm->n_ctrs++];
	c->row = *row;
	c->row.applied = row->applied ? strdup(row->applied) : NULL;
	c->state = CTR_PENDING;
	for (i = 0; i < CTR_STATE_MAX; i++)
		if (strcmp(ctr_state_names[i], row->state) == 0)
			c->state = (enum ctr_state)i;
	c->lost = ctr_row_is_lost(row);
	snprintf(c->id, sizeof(c->id), "%s.%lld", row->name,
		 (long long)row->incarnation);
	return 0;
}

/* By the JSON of the model that it was made from. */
static bool boots_disk(const char *applied)
{
	json_t *j = applied ? json_loads(applied, 0, NULL) : NULL;
	bool boots = json_object_get(j, "boot_disk") != NULL;

	json_decref(j);
	return boots;
}

/* A VM of the world for a row of the store; its actor is not running yet. */
static struct vm *vm_new(struct world *w, const struct state_vm *row,
			 struct err *e)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	if (!vm) {
		err_sys(e, ENOMEM, "VM '%s'", row->name);
		return NULL;
	}
	vm->world = w;
	vm->row = *row;
	vm->row.applied = row->applied ? strdup(row->applied) : NULL;
	snprintf(vm->tenant, sizeof(vm->tenant), "%s", row->tenant);
	snprintf(vm->stack, sizeof(vm->stack), "%s", row->stack);
	snprintf(vm->name, sizeof(vm->name), "%s", row->name);
	snprintf(vm->logs, sizeof(vm->logs), "%s/logs/%s/%s/%s", w->config.root,
		 vm->tenant, vm->stack, vm->name);
	vm->agent.conn.fd = -1;
	vm->events.conn.fd = -1;
	vm->portd.pidfd = -1;
	vm->state = row->exists ? VM_STARTING : VM_PENDING;
	vm->taking_up = row->exists;
	if (row->user_stopped)
		vm->state = VM_STOPPED;
	vm->machine = boots_disk(row->applied);
	vm->plugged = row->exists && row->net_number;
	vm_set_id(vm);
	vm->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->wake < 0 ||
	    state_container_each(w->state, row->id, load_ctr, vm, e) < 0) {
		vm_free(vm);
		return NULL;
	}
	vm->next = w->vms;
	w->vms = vm;
	return vm;
}

static int vm_start_actor(struct vm *vm, struct err *e)
{
	pthread_attr_t attr;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, ACTOR_STACK_SIZE);
	r = pthread_create(&vm->thread, &attr, vm_actor, vm);
	pthread_attr_destroy(&attr);
	if (r != 0)
		return err_sys(e, r, "start the actor of '%s'", vm->name);
	return 0;
}

/* What the stack takes of its tenant's quota: a VM that boots a disk may write
 * as much as the disk is large. */
static void stack_use(struct world *w, const struct model_stack *s,
		      struct quota_use *ret)
{
	struct disk_info disk;
	size_t i;

	model_stack_use(s, ret);
	for (i = 0; i < s->n_vms; i++)
		if (model_vm_boots_disk(&s->vms[i]) &&
		    disk_get(w->disks, s->tenant, s->vms[i].boot_disk, &disk,
			     NULL) == 0)
			ret->n[QUOTA_STORAGE] += (int64_t)disk.size;
}

int world_ask_quota(struct world *w, const struct model_stack *s, struct err *e)
{
	struct quota_use use;

	stack_use(w, s, &use);
	return state_quota_ask_stack(w->state, s->tenant, s->name, &use, e);
}

/* --------------------------------------------------------------- opening */

/* The rows of earlier versions were not counted. */
static int count_stack(struct world *w, const struct model_stack *s,
		       struct err *e)
{
	struct quota_use use;

	stack_use(w, s, &use);
	return state_stack_count(w->state, s->tenant, s->name, &use, e);
}

struct load {
	struct world *world;
	struct model_ref **refs;
	size_t n_refs;
	struct state_vm *rows;
	size_t n_rows;
};

static int load_stack(void *arg, const struct state_stack *st)
{
	struct load *l = arg;
	struct model_stack *model = NULL;
	struct err e = ERR_INIT;
	struct model_ref **grown, *ref;
	json_t *j;
	int r;

	j = json_loads(st->desired, JSON_REJECT_DUPLICATES, NULL);
	r = j ? model_stack_from_json(j, &model, &e)
	      : err_set(&e, EBADMSG, "not JSON");
	json_decref(j);
	if (r < 0) {
		/* Left alone: neither run nor taken down. */
		log_error("stack '%s': its stored form is damaged: %s",
			  st->name, e.msg);
		return 0;
	}
	ref = model_ref_new(model);
	grown = reallocarray(l->refs, l->n_refs + 1, sizeof(ref));
	if (!ref || !grown)
		return -ENOMEM;
	l->refs = grown;
	l->refs[l->n_refs++] = ref;
	return 0;
}

static int load_vm(void *arg, const struct state_vm *row)
{
	struct load *l = arg;
	struct state_vm *grown =
		reallocarray(l->rows, l->n_rows + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	l->rows = grown;
	l->rows[l->n_rows] = *row;
	l->rows[l->n_rows].applied = row->applied ? strdup(row->applied) : NULL;
	l->n_rows++;
	return 0;
}

static int want_model(struct world *w, struct model_ref *ref, bool clear,
		      struct err *e);

/* A VM that ended while an earlier hybd ran, and that its policy does not
 * restart, is not restarted because hybd is. */
static void keep_failed(struct vm *vm)
{
	const struct state_vm *row = &vm->row;
	bool completed = vm_is_completed(vm, row->reason);

	if (!vm->desired || row->exists || row->user_stopped ||
	    !row->reason[0] || strcmp(row->reason, "Stopped") == 0 ||
	    restart_applies(&vm->desired->restart, completed ? 0 : 1,
			    row->restarts))
		return;
	vm->state = completed ? VM_STOPPED : VM_FAILED;
	vm->restart_at = UINT64_MAX;
}

int world_open(const struct world_config *config, struct state *state,
	       struct image_stores *images, struct virt *virt,
	       struct world **ret, struct err *e)
{
	struct world *w = calloc(1, sizeof(*w));
	pthread_condattr_t attr;
	struct load l = {.world = w};
	struct vm *vm;
	size_t i;
	int r;

	if (!w)
		return err_sys(e, ENOMEM, "start");
	w->config = *config;
	w->state = state;
	w->images = images;
	w->disks = config->disks;
	w->net = config->net;
	w->virt = virt;
	w->volumes = config->volumes;
	w->secrets = config->secrets;
	pthread_mutex_init(&w->lock, NULL);
	pthread_mutex_init(&w->wishes, NULL);
	for (i = 0; i < WORLD_NETWORK_LOCKS; i++)
		pthread_mutex_init(&w->networks[i], NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->changed, &attr);
	pthread_condattr_destroy(&attr);
	r = state_stack_each(state, load_stack, &l, e);
	if (r == 0)
		r = state_vm_each(state, load_vm, &l, e);
	if (r < 0)
		return r;
	/* Here, before any actor runs, so that nothing is taken down that a
	 * callback told of. */
	*ret = w;
	for (i = 0; i < l.n_rows; i++) {
		if (!vm_new(w, &l.rows[i], e))
			return -e->code;
		state_vm_done(&l.rows[i]);
	}
	for (i = 0; i < l.n_refs && r == 0; i++) {
		r = count_stack(w, l.refs[i]->model, e);
		if (r == 0)
			r = want_model(w, l.refs[i], false, e);
		model_ref_drop(l.refs[i]);
	}
	free(l.rows);
	free(l.refs);
	if (r < 0)
		return r;
	orphans_remove(w);
	volumes_purge(w);
	for (vm = w->vms; vm; vm = vm->next)
		keep_failed(vm);
	for (vm = w->vms; vm && r == 0; vm = vm->next)
		if (!vm->thread)
			r = vm_start_actor(vm, e);
	return r;
}

static bool any_taking_up(const struct world *w)
{
	const struct vm *vm;

	for (vm = w->vms; vm; vm = vm->next)
		if (vm->taking_up)
			return true;
	return false;
}

void world_await_taken_up(struct world *w, uint64_t ms)
{
	uint64_t deadline = now_ms() + ms;

	world_lock(w);
	while (any_taking_up(w) && now_ms() < deadline)
		world_wait(w, 100);
	world_unlock(w);
}

/* ----------------------------------------------------------------- wishes */

static void want_vm(struct vm *vm, struct model_ref *ref,
		    const struct model_vm *m)
{
	model_ref_drop(vm->ref);
	vm->ref = ref ? model_ref_take(ref) : NULL;
	vm->desired = m;
	vm->wanted++;
	vm->all_wanted = true;
	vm->restart_at = 0;
	vm->backoff = 0;
	vm_wake(vm);
}

void ctr_want(struct ctr *c)
{
	c->state = CTR_PENDING;
	snprintf(c->row.state, sizeof(c->row.state), "%s",
		 ctr_state_name(CTR_PENDING));
}

void vm_clear_stops(struct vm *vm)
{
	size_t i;

	vm->row.user_stopped = false;
	if (!vm->row.exists)
		vm->row.reason[0] = '\0';
	for (i = 0; i < vm->n_ctrs; i++) {
		struct ctr *c = &vm->ctrs[i];

		if (c->state == CTR_STOPPED || c->state == CTR_FAILED)
			ctr_want(c);
		c->restart_at = 0;
		c->row.user_stopped = false;
		c->row.user_paused = false;
		c->backoff = 0;
	}
}

/* Gives every VM of the stack its model (those that the model does not have:
 * none), makes the ones that are not there yet. Actors of new VMs are started
 * when `clear`, that is for a deployment. */
static int want_model(struct world *w, struct model_ref *ref, bool clear,
		      struct err *e)
{
	const struct model_stack *s = ref->model;
	struct state_vm row;
	struct vm *vm;
	size_t i;
	int r = 0;

	world_lock(w);
	world_reap_gone(w);
	for (vm = w->vms; vm; vm = vm->next) {
		if (!vm_is_in(vm, s->tenant, s->name, ""))
			continue;
		if (clear)
			vm_clear_stops(vm);
		want_vm(vm, ref, model_find_vm(s, vm->name));
	}
	for (i = 0; i < s->n_vms && r == 0; i++) {
		if (world_find_vm(w, s->tenant, s->name, s->vms[i].name))
			continue;
		r = state_vm_ensure(w->state, s->tenant, s->name,
				    s->vms[i].name, &row, e);
		if (r < 0)
			break;
		vm = vm_new(w, &row, e);
		state_vm_done(&row);
		if (!vm) {
			r = -e->code;
			break;
		}
		want_vm(vm, ref, &s->vms[i]);
		if (clear)
			r = vm_start_actor(vm, e);
		if (r < 0) {
			/* Without an actor it would be waited for for ever; the
			 * row stays, for the next try. */
			w->vms = vm->next;
			vm_free(vm);
		}
	}
	world_changed(w);
	world_unlock(w);
	return r;
}

int world_plan(struct world *w, const struct model_stack *model,
	       struct plan *ret_plan, struct err *e)
{
	struct observed *o = observed_new(w, model->tenant, model->name, NULL);
	int r;

	if (!o)
		return err_sys(e, ENOMEM, "plan");
	r = plan_make(model, observed_stack(o), ret_plan);
	observed_free(o);
	return r < 0 ? err_sys(e, -r, "plan") : 0;
}

int world_store_rows(struct world *w, const char *tenant, const char *stack,
		     struct err *e)
{
	struct vm *vm;
	size_t i;
	int r = 0;

	world_lock(w);
	for (vm = w->vms; vm && r == 0; vm = vm->next) {
		if (!vm_is_in(vm, tenant, stack, ""))
			continue;
		r = state_vm_put(w->state, &vm->row, e);
		for (i = 0; i < vm->n_ctrs && r == 0; i++) {
			vm->ctrs[i].row.vm_id = vm->row.id;
			r = state_container_put(w->state, &vm->ctrs[i].row, e);
		}
	}
	world_unlock(w);
	return r;
}

int world_deploy(struct world *w, struct model_stack *model,
		 struct plan *ret_plan, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct model_ref *ref;
	struct quota_use use;
	int64_t generation;
	int r;

	ref = model_ref_new(model);
	if (!ref) {
		model_stack_free(model);
		return err_sys(e, ENOMEM, "deploy");
	}
	r = world_plan(w, model, ret_plan, e);
	if (r == 0) {
		text = model_text(model_stack_to_json(model));
		if (!text)
			r = err_sys(e, ENOMEM, "deploy '%s'", model->name);
	}
	stack_use(w, model, &use);
	pthread_mutex_lock(&w->wishes);
	if (r == 0)
		r = state_stack_put(w->state, model->tenant, model->name, text,
				    &use, &generation, e);
	if (r == 0)
		r = want_model(w, ref, true, e);
	if (r == 0)
		r = world_store_rows(w, model->tenant, model->name, e);
	pthread_mutex_unlock(&w->wishes);
	model_ref_drop(ref);
	return r;
}

int world_down(struct world *w, const char *tenant, const char *stack,
	       struct plan *ret_plan, struct err *e)
{
	struct observed *o = observed_new(w, tenant, stack, NULL);
	struct vm *vm;
	int r;

	if (!o)
		return err_sys(e, ENOMEM, "take down '%s'", stack);
	r = plan_make(NULL, observed_stack(o), ret_plan);
	observed_free(o);
	if (r < 0)
		return err_sys(e, -r, "plan");
	pthread_mutex_lock(&w->wishes);
	r = state_stack_remove(w->state, tenant, stack, e);
	world_lock(w);
	for (vm = w->vms; r == 0 && vm; vm = vm->next)
		if (vm_is_in(vm, tenant, stack, ""))
			want_vm(vm, NULL, NULL);
	world_changed(w);
	world_unlock(w);
	pthread_mutex_unlock(&w->wishes);
	return r;
}

bool world_is_wanted(struct world *w, const char *tenant, const char *stack)
{
	const struct vm *vm;
	bool wanted = false;

	world_lock(w);
	for (vm = w->vms; vm; vm = vm->next)
		if (vm->desired && vm_is_in(vm, tenant, stack, ""))
			wanted = true;
	world_unlock(w);
	return wanted;
}

void world_domain_ended(struct world *w, const char *domain, const char *reason)
{
	char name[64];
	struct vm *vm;

	world_lock(w);
	for (vm = w->vms; vm; vm = vm->next) {
		vm_domain_name(vm, name);
		/* The end of one that was taken down on purpose may be told when
		 * that is done, and the next one has no domain yet. */
		if (vm->gone || vm->state == VM_STOPPING || !vm->row.exists ||
		    strcmp(name, domain) != 0)
			continue;
		snprintf(vm->died_reason, sizeof(vm->died_reason), "%s",
			 reason);
		vm->died = true;
		vm_wake(vm);
	}
	world_changed(w);
	world_unlock(w);
}
