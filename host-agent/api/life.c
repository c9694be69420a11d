/* SPDX-License-Identifier: Apache-2.0 */
/* Calls about what runs already: Pause, Resume, Restart, Kill. */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "common/varlink/params.h"

#include <signal.h>

/* What was to be paused may have ended meanwhile. */
static int check_paused(struct request *q, const struct target *t, bool paused,
			struct err *e)
{
	enum ctr_state want = paused ? CTR_PAUSED : CTR_RUNNING;
	struct vm *vm;
	struct ctr *c;
	int r = 0;

	if (!t->container[0])
		return 0;
	world_lock(q->api->world);
	vm = world_find_vm(q->api->world, q->tenant, t->stack, t->vm);
	c = vm ? vm_find_ctr(vm, t->container) : NULL;
	if (!c || c->state != want)
		r = err_set(e, ENOTCONN,
			    "container '%s/%s/%s' is %s: it ended, or was "
			    "changed, meanwhile",
			    t->stack, t->vm, t->container,
			    c ? ctr_state_name(c->state) : "gone");
	world_unlock(q->api->world);
	return r;
}

static int set_paused(struct request *q, struct vl_call *call, bool paused,
		      struct err *e)
{
	const char *verb = paused ? "pause" : "resume";
	struct change_params p;
	json_t *changes;
	struct target t;
	size_t n = 0;
	int r;

	r = change_read(call, &p, e);
	if (r == 0)
		r = target_find(q, p.name, 1, &t, e);
	if (r < 0)
		return r;
	log_info("%s '%s/%s/%s': by user %u", verb, t.stack, t.vm, t.container,
		 q->uid);
	r = world_set_paused(q->api->world, q->tenant, t.stack, t.vm,
			     t.container, paused, &n, e);
	if (r < 0)
		return r;
	changes = json_array();
	if (n > 0)
		json_array_append_new(changes, change_json(verb, p.name));
	r = change_wait(q, &t, p.timeout, e);
	if (r == 0)
		r = check_paused(q, &t, paused, e);
	return change_reply(q, changes, r, e);
}

int on_pause(void *ctx, struct vl_call *call, struct err *e)
{
	return set_paused(ctx, call, true, e);
}

int on_resume(void *ctx, struct vl_call *call, struct err *e)
{
	return set_paused(ctx, call, false, e);
}

int on_restart(void *ctx, struct vl_call *call, struct err *e)
{
	struct request *q = ctx;
	struct change_params p;
	struct target t;
	int r;

	r = change_read(call, &p, e);
	if (r == 0)
		r = target_find(q, p.name, 1, &t, e);
	if (r < 0)
		return r;
	log_info("restart '%s/%s/%s': by user %u", t.stack, t.vm, t.container,
		 q->uid);
	r = world_restart(q->api->world, q->tenant, t.stack, t.vm, t.container,
			  e);
	if (r < 0)
		return r;
	r = change_wait(q, &t, p.timeout, e);
	return change_reply(q, json_pack("[o]", change_json("restart", p.name)),
			    r, e);
}

/* ------------------------------------------------------------------- kill */

struct kill_params {
	const char *name;
	int64_t signal, timeout;
};

/* One container to be sent the signal. */
struct victim {
	char name[3 * STATE_NAME_MAX];
	char id[80];
	struct vsock_addr addr;
	bool paused;
};

/* As many as there can be; with the lock held. */
static struct victim *make_room(struct request *q, const struct target *t)
{
	const struct vm *vm;
	size_t n = 1;

	for (vm = q->api->world->vms; vm; vm = vm->next)
		if (vm_is_in(vm, q->tenant, t->stack, t->vm))
			n += vm->n_ctrs;
	return calloc(n, sizeof(struct victim));
}

/* What the name means and what runs of it; *ret is the caller's. Names a
 * container that does not. */
static int find_victims(struct request *q, const struct target *t,
			struct victim **ret, size_t *n, struct err *e)
{
	struct victim *v;
	struct vm *vm;
	size_t i;
	int r = 0;

	*n = 0;
	world_lock(q->api->world);
	v = *ret = make_room(q, t);
	for (vm = q->api->world->vms; v && vm; vm = vm->next) {
		if (!vm_is_in(vm, q->tenant, t->stack, t->vm))
			continue;
		for (i = 0; i < vm->n_ctrs; i++) {
			const struct ctr *c = &vm->ctrs[i];

			if (t->container[0] &&
			    strcmp(c->row.name, t->container) != 0)
				continue;
			if (vm->state == VM_RUNNING && c->in_guest &&
			    (ctr_is_live(c->state) ||
			     c->state == CTR_STOPPING)) {
				snprintf(v[*n].name, sizeof(v[*n].name),
					 "%s/%s/%s", vm->stack, vm->name,
					 c->row.name);
				snprintf(v[*n].id, sizeof(v[*n].id), "%s",
					 c->id);
				v[*n].addr = vm->addr;
				v[*n].paused = c->state == CTR_PAUSED;
				++*n;
			} else if (t->container[0]) {
				r = err_set(e, ENOTCONN,
					    "container '%s/%s/%s' is %s, not "
					    "running",
					    vm->stack, vm->name, c->row.name,
					    ctr_state_name(c->state));
			}
		}
	}
	world_unlock(q->api->world);
	if (!v)
		return err_sys(e, ENOMEM, "kill");
	if (r == 0 && *n == 0)
		r = err_set(e, ENOTCONN, "nothing runs in '%s%s%s'", t->stack,
			    t->vm[0] ? "/" : "", t->vm);
	return r;
}

static int kill_one(const struct victim *v, int sig, uint64_t deadline,
		    struct err *e)
{
	_cleanup_agent_ struct agent a = {.conn.fd = -1};
	int r;

	/* A frozen process would find it when it is thawed, which nobody who
	 * asks for it now can mean. */
	if (v->paused && sig != SIGKILL) {
		err_set(e, ENOTCONN, "container '%s' is paused", v->name);
		err_hint(e,
			 "`hyb resume %s` first; only signal 9 (KILL) "
			 "reaches what is paused",
			 v->name);
		return -ENOTCONN;
	}
	r = agent_open(&a, &v->addr, deadline, e);
	if (r == 0)
		r = agent_signal(&a, v->id, sig, sig == SIGKILL, deadline, e);
	return r < 0 ? err_wrap(e, "container '%s'", v->name) : 0;
}

/* All of them are tried; the first failure counts. */
static int kill_all(const struct victim *v, size_t n,
		    const struct kill_params *p, json_t *killed, struct err *e)
{
	uint64_t deadline = now_ms() + (uint64_t)p->timeout;
	struct err one = ERR_INIT;
	size_t i;

	for (i = 0; i < n; i++) {
		if (kill_one(&v[i], (int)p->signal, deadline, &one) == 0)
			json_array_append_new(killed, json_string(v[i].name));
		else if (!e->code)
			*e = one;
	}
	return -e->code;
}

int on_kill(void *ctx, struct vl_call *call, struct err *e)
{
#define AT(m) offsetof(struct kill_params, m)
	static const struct vl_field fields[] = {
		{"name", VL_STRING, AT(name), 0, 256, false},
		{"signal", VL_INT, AT(signal), 1, 64, false},
		{"timeout", VL_INT, AT(timeout), 1, 600000, true},
	};
#undef AT
	_cleanup_free_ struct victim *v = NULL;
	struct kill_params p = {.timeout = 10000};
	struct request *q = ctx;
	struct target t;
	json_t *killed;
	size_t n = 0;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &p, NULL, e);
	if (r == 0)
		r = target_find(q, p.name, 1, &t, e);
	if (r == 0)
		r = find_victims(q, &t, &v, &n, e);
	if (r < 0)
		return r;
	log_info("kill -s %lld '%s/%s/%s': by user %u", (long long)p.signal,
		 t.stack, t.vm, t.container, q->uid);
	killed = json_array();
	r = kill_all(v, n, &p, killed, e);
	if (r == 0)
		return request_reply(q, json_pack("{s:o}", "killed", killed),
				     false, e);
	json_decref(killed);
	return r;
}
