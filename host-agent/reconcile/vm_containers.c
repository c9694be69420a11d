/* SPDX-License-Identifier: Apache-2.0 */
/* Containers of one VM: made, ended, restarted. Only the VM's actor is here. */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "host-agent/reconcile/logfile.h"
#include "host-agent/reconcile/oci_config.h"

#include <signal.h>

#define CALL_MS	  30000 /* of one call that may do much */
#define DISK_MS	  10000
#define DRAIN_MS  3000
#define FORGET_MS 10000
/* In the guest's memory, for folders that mounts need: a root that is read-only
 * takes nothing else. */
#define READ_ONLY_LAYER ((uint64_t)4 << 20)

static int64_t now_real(void)
{
	return (int64_t)now_realtime_ns();
}

void ctr_set(struct vm *vm, struct ctr *c, enum ctr_state state,
	     const char *reason, const char *message)
{
	world_lock(vm->world);
	c->state = state;
	snprintf(c->row.state, sizeof(c->row.state), "%s",
		 ctr_state_name(state));
	snprintf(c->row.reason, sizeof(c->row.reason), "%s", reason);
	snprintf(c->row.message, sizeof(c->row.message), "%s", message);
	world_changed(vm->world);
	world_unlock(vm->world);
}

static int ctr_put(struct vm *vm, struct ctr *c, struct err *e)
{
	int r;

	world_lock(vm->world);
	c->row.vm_id = vm->row.id;
	r = state_container_put(vm->world->state, &c->row, e);
	world_unlock(vm->world);
	return r;
}

void ctr_store(struct vm *vm, struct ctr *c)
{
	struct err e = ERR_INIT;

	if (ctr_put(vm, c, &e) < 0)
		log_error("%s/%s/%s: %s", vm->stack, vm->name, c->row.name,
			  e.msg);
}

enum ctr_state ctr_now(struct vm *vm, const struct ctr *c)
{
	enum ctr_state s;

	world_lock(vm->world);
	s = c->state;
	world_unlock(vm->world);
	return s;
}

static void ctr_set_in_guest(struct vm *vm, struct ctr *c, bool in_guest)
{
	world_lock(vm->world);
	c->in_guest = in_guest;
	world_unlock(vm->world);
}

bool ctr_row_is_lost(const struct state_container *row)
{
	static const char *const reasons[] = {"VMKilled", "AgentLost",
					      "GuestPanic", "BindLost"};
	size_t i;

	if (strcmp(row->state, ctr_state_name(CTR_FAILED)) != 0)
		return false;
	for (i = 0; i < ARRAY_SIZE(reasons); i++)
		if (strcmp(row->reason, reasons[i]) == 0)
			return true;
	return false;
}

/* It failed before its program ran: told, stored, and not tried again until
 * its policy or a user says so. */
static int ctr_fail(struct vm *vm, struct ctr *c,
		    const struct model_container *m, const char *reason,
		    int64_t exit_code, const struct err *e)
{
	world_lock(vm->world);
	c->row.exit_code = exit_code;
	c->row.finished_at = now_real();
	c->restart_at = 0;
	if (m && restart_applies(&m->restart, 1, c->row.restarts))
		c->restart_at = now_ms() + backoff_ms(c->backoff++);
	world_unlock(vm->world);
	ctr_set(vm, c, CTR_FAILED, reason, e->msg);
	ctr_store(vm, c);
	vm_tell(vm, c->row.name, "failed", "%s: %s", reason, e->msg);
	return -e->code;
}

/* ------------------------------------------------------------- depends_on */

/* 0: it holds, 1: it may yet, -ECANCELED: it never will (e says why). */
static int dependency_check(struct vm *vm, const struct model_dependency *d,
			    char *why, size_t size, struct err *e)
{
	const struct vm *other;
	const struct ctr *t;
	int r = 1;

	world_lock(vm->world);
	other = world_find_vm(vm->world, vm->tenant, vm->stack, d->vm);
	t = other ? vm_find_ctr((struct vm *)(uintptr_t)other, d->container)
		  : NULL;
	if (t && d->condition == DEPENDS_STARTED &&
	    (ctr_is_live(t->state) || t->state == CTR_EXITED))
		r = 0;
	else if (t && d->condition == DEPENDS_COMPLETED &&
		 t->state == CTR_EXITED)
		r = 0;
	else if (t && t->state == CTR_FAILED && !t->restart_at)
		r = -ECANCELED;
	else if (t && d->condition == DEPENDS_HEALTHY)
		r = ctr_health_answer(t);
	world_unlock(vm->world);
	if (r == 1)
		snprintf(why, size, "waits for %s/%s%s", d->vm, d->container,
			 d->condition == DEPENDS_HEALTHY ? " to be healthy"
							 : "");
	if (r == -ENOENT)
		err_set(e, ECANCELED,
			"%s/%s, which is to be healthy first, has no health "
			"check, and its image has none",
			d->vm, d->container);
	else if (r < 0)
		err_set(e, ECANCELED, "%s/%s, which it depends on, has failed",
			d->vm, d->container);
	return r;
}

static int dependencies_check(struct vm *vm, struct ctr *c,
			      const struct model_container *m, struct err *e)
{
	char why[sizeof(c->why)];
	size_t i;
	int r;

	for (i = 0; i < m->n_depends_on; i++) {
		r = dependency_check(vm, &m->depends_on[i], why, sizeof(why),
				     e);
		if (r < 0)
			return ctr_fail(vm, c, NULL, "StartError", -1, e);
		if (r > 0) {
			world_lock(vm->world);
			snprintf(c->why, sizeof(c->why), "%s", why);
			world_unlock(vm->world);
			return r;
		}
	}
	world_lock(vm->world);
	c->why[0] = '\0';
	world_unlock(vm->world);
	return 0;
}

/* ---------------------------------------------------------------- making */

static void image_defaults_of(const struct image_info *image,
			      struct image_defaults *ret)
{
	const struct oci_image_config *c = &image->config;

	*ret = (struct image_defaults){
		.env = (const char *const *)c->env,
		.entrypoint = (const char *const *)c->entrypoint,
		.cmd = (const char *const *)c->cmd,
		.user = c->user,
		.working_dir = c->working_dir,
		.stop_signal = c->stop_signal,
	};
}

static struct ctr *ctr_add(struct vm *vm, const char *name)
{
	struct ctr *c;

	if (vm->n_ctrs == WORLD_CONTAINERS_MAX)
		return NULL;
	world_lock(vm->world);
	c = &vm->ctrs[vm->n_ctrs++];
	memset(c, 0, sizeof(*c));
	snprintf(c->row.name, sizeof(c->row.name), "%s", name);
	c->row.exit_code = -1;
	world_unlock(vm->world);
	ctr_set(vm, c, CTR_PENDING, "", "");
	return c;
}

/* The row of the next incarnation, on disk before the guest hears of it. */
static int ctr_begin(struct vm *vm, struct ctr *c,
		     const struct model_container *m,
		     const struct image_info *image, struct err *e)
{
	struct logfile log;
	int r;

	r = dir_make(vm->logs, 0700, e);
	if (r == 0)
		r = logfile_open(vm->logs, m->name, &log, e);
	if (r < 0)
		return r;
	world_lock(vm->world);
	free(c->row.applied);
	c->row.applied = model_text(model_container_to_json(m));
	snprintf(c->row.digest, sizeof(c->row.digest), "%s", image->digest);
	c->row.vm_id = vm->row.id;
	c->row.incarnation++;
	c->row.user_paused = false;
	c->row.restart_of = 0;
	ctr_reset_health(c);
	c->row.created_at = now_real();
	c->row.started_at = 0;
	c->row.finished_at = 0;
	c->row.exit_code = -1;
	c->row.log_base = log.end;
	snprintf(c->id, sizeof(c->id), "%s.%lld", m->name,
		 (long long)c->row.incarnation);
	world_unlock(vm->world);
	logfile_close(&log);
	if (!c->row.applied)
		return err_sys(e, ENOMEM, "write state");
	ctr_set(vm, c, CTR_STARTING, "", "");
	return ctr_put(vm, c, e);
}

static int ctr_create(struct vm *vm, struct ctr *c,
		      const struct model_container *m,
		      const struct image_info *image,
		      const char (*folders)[AGENT_PLACE_MAX], struct err *e)
{
	struct model_bind binds[HYB_VM_BINDS_MAX];
	size_t n_binds = model_vm_binds(vm->model, binds), i;
	struct image_defaults defaults;
	const struct oci_place place = {.vm_name = vm->name,
					.binds = binds,
					.n_binds = n_binds,
					.kernel = vm->kernel,
					.id = c->id,
					.volume_id = volumes_id,
					.arg = vm,
					.folders = folders};
	struct agent_create create;
	json_t *config = NULL, *files;
	int r;

	image_defaults_of(image, &defaults);
	c->stop_signal = oci_config_stop_signal(m, &defaults);
	r = oci_config_make(m, &defaults, &place, &config, e);
	if (r < 0)
		return r;
	files = files_make(vm, m, e);
	if (!files) {
		json_decref(config);
		return -e->code;
	}
	create = (struct agent_create){
		.files = files,
		.id = c->id,
		.config = config,
		.image_serial = image->erofs_serial,
		.disk_timeout_ms = DISK_MS,
		.scratch_serial = m->read_only ? NULL : SCRATCH_SERIAL,
		.scratch_size =
			m->read_only ? READ_ONLY_LAYER : model_layer_size(m),
		.user = m->user[0]	? m->user
			: defaults.user ? defaults.user
					: "",
		.init = m->init,
		.log_size = WORLD_LOG_RING,
	};
	for (i = 0; i < n_binds; i++)
		if (strcmp(binds[i].container, m->name) == 0)
			create.ids = binds[i].ids;
	r = agent_create(&vm->agent, &create, now_ms() + CALL_MS, e);
	json_decref(config);
	files_free(files);
	if (r == 0)
		ctr_set_in_guest(vm, c, true);
	else if (strstr(e->msg, "is not in the image"))
		err_wrap(e, "image '%s'", m->image);
	return r;
}

/* Makes and starts it; the row is written before and after. */
static int ctr_run(struct vm *vm, struct ctr *c,
		   const struct model_container *m, struct err *e)
{
	char folders[HYB_MOUNTS_PER_CONTAINER_MAX][AGENT_PLACE_MAX];
	_cleanup_image_info_ struct image_info *image = NULL;
	int64_t exit_code = -1, pid = 0;
	int r;

	r = vm_attach_image(vm, m, &image, e);
	if (r < 0)
		return ctr_fail(vm, c, m, "ImageError", -1, e);
	r = model_scratch_size(m) ? scratch_ensure(vm, e) : 0;
	if (r == 0)
		r = volumes_ensure(vm, c, m, image, e);
	if (r == 0)
		r = folders_ensure(vm, c, m, image, folders, e);
	if (r < 0)
		return ctr_fail(vm, c, m, "StartError", -1, e);
	if (r > 0) {
		ctr_set(vm, c, CTR_PENDING, "", "");
		return r;
	}
	vm_tell(vm, m->name, "creating", "%s", m->image);
	r = ctr_begin(vm, c, m, image, e);
	if (r == 0)
		r = ctr_create(vm, c, m, image,
			       (const char(*)[AGENT_PLACE_MAX])folders, e);
	if (r == 0)
		r = logpump_add(vm->pump, m->name, c->id, c->row.log_base, e);
	if (r < 0)
		return ctr_fail(vm, c, m, "StartError", -1, e);
	r = ctr_apply_checks(vm, c, m, e);
	if (r < 0)
		return ctr_fail(vm, c, m, "StartError", -1, e);
	vm_tell(vm, m->name, "starting", "%s", "");
	r = agent_start(&vm->agent, c->id, now_ms() + CALL_MS, &pid, &exit_code,
			e);
	if (r < 0)
		return ctr_fail(vm, c, m, "StartError", exit_code, e);
	world_lock(vm->world);
	c->pid = pid;
	c->row.started_at = now_real();
	world_unlock(vm->world);
	ctr_set(vm, c, CTR_RUNNING, "", "");
	ctr_store(vm, c);
	vm_tell(vm, m->name, "running", "%s", "");
	return ctr_follow_health(vm, c, m, e);
}

/* Takes it out of the guest, its output first. */
static int ctr_discard(struct vm *vm, struct ctr *c, struct err *e)
{
	int r;

	if (!c->in_guest)
		return 0;
	if (logpump_drain(vm->pump, c->id, now_ms() + DRAIN_MS) < 0)
		log_warn("%s/%s/%s: its last output was not taken in time",
			 vm->stack, vm->name, c->row.name);
	r = agent_delete(&vm->agent, c->id, true, now_ms() + CALL_MS, e);
	if (r < 0)
		return r;
	logpump_remove(vm->pump, c->id);
	ctr_set_in_guest(vm, c, false);
	return 0;
}

/* A user wants this incarnation replaced: it ends, if it has not, and runs
 * again as what was never there. On disk the wish ends with the row of the next
 * incarnation. */
static int ctr_apply_restart(struct vm *vm, struct ctr *c, struct err *e)
{
	enum ctr_state state;
	bool due;
	int r;

	world_lock(vm->world);
	state = c->state;
	due = ctr_restart_is_due(c);
	world_unlock(vm->world);
	if (!due)
		return 0;
	if (ctr_is_live(state) || state == CTR_STOPPING) {
		r = ctr_stop(vm, c, e);
		if (r < 0)
			return r;
	}
	world_lock(vm->world);
	c->row.restart_of = 0;
	c->restart_at = 0;
	ctr_want(c);
	world_changed(vm->world);
	world_unlock(vm->world);
	return 0;
}

int ctr_ensure(struct vm *vm, const struct model_container *m, struct err *e)
{
	struct ctr *c = vm_find_ctr(vm, m->name);
	enum ctr_state state;
	bool stopped, later = false;
	int r;

	if (!c)
		c = ctr_add(vm, m->name);
	if (!c)
		return err_set(e, ENOSPC, "container '%s': a VM has at most %d",
			       m->name, WORLD_CONTAINERS_MAX);
	world_lock(vm->world);
	stopped = c->row.user_stopped;
	world_unlock(vm->world);
	if (!stopped) {
		r = ctr_apply_restart(vm, c, e);
		if (r < 0)
			return r;
	}
	world_lock(vm->world);
	stopped = c->row.user_stopped;
	state = c->state;
	if (!stopped && (state == CTR_EXITED || state == CTR_FAILED)) {
		later = !c->restart_at || c->restart_at > now_ms();
		if (!later) {
			c->restart_at = 0;
			c->row.restarts++;
		}
	}
	world_unlock(vm->world);
	if (stopped) {
		r = ctr_stop(vm, c, e);
		return r < 0 ? r : 0;
	}
	if (ctr_is_live(state)) {
		r = ctr_apply_pause(vm, c, e);
		if (r == 0)
			r = ctr_apply_checks(vm, c, m, e);
		return r < 0 ? r : ctr_follow_health(vm, c, m, e);
	}
	if (later)
		return 0;
	r = dependencies_check(vm, c, m, e);
	if (r == 0)
		r = ctr_discard(vm, c, e);
	if (r == 0)
		r = ctr_run(vm, c, m, e);
	if (r < 0)
		err_wrap(e, "container '%s/%s'", vm->name, m->name);
	return r;
}

/* ---------------------------------------------------------------- ending */

void ctr_take_end(struct vm *vm, struct ctr *c, const struct agent_container *a)
{
	enum ctr_state state = CTR_FAILED;
	const char *reason = a->oom_killed	 ? "OOMKilled"
			     : a->reason[0]	 ? a->reason
			     : a->exit_code == 0 ? "Completed"
						 : "Error";

	world_lock(vm->world);
	if (c->state == CTR_STOPPING || c->row.user_stopped) {
		state = CTR_STOPPED;
		if (!a->oom_killed)
			reason = "Stopped";
	} else if (a->exit_code == 0) {
		state = CTR_EXITED;
	}
	c->row.exit_code = a->exit_code;
	c->row.user_paused = false;
	c->row.finished_at = now_real();
	c->pid = 0;
	world_unlock(vm->world);
	ctr_set(vm, c, state, reason, a->message);
}

int ctr_remove(struct vm *vm, const char *name, struct err *e)
{
	struct ctr *c = vm_find_ctr(vm, name);
	bool wanted;
	int r;

	if (!c)
		return 0;
	r = ctr_stop(vm, c, e);
	if (r == 0)
		r = ctr_discard(vm, c, e);
	if (r < 0)
		return r;
	world_lock(vm->world);
	wanted = vm->desired && model_find_container(vm->desired, name);
	world_unlock(vm->world);
	if (!wanted)
		folders_remove(vm, c);
	world_lock(vm->world);
	free(c->row.applied);
	c->row.applied = NULL;
	c->restart_at = 0;
	c->backoff = 0;
	c->state = CTR_PENDING;
	if (!wanted) {
		*c = vm->ctrs[--vm->n_ctrs];
		memset(&vm->ctrs[vm->n_ctrs], 0, sizeof(*c));
	}
	world_changed(vm->world);
	world_unlock(vm->world);
	if (wanted) {
		ctr_store(vm, c);
		return 0;
	}
	r = state_container_remove(vm->world->state, vm->row.id, name, e);
	if (r == 0)
		r = logfile_remove(vm->logs, name, e);
	vm_tell(vm, name, "removed", "%s", "");
	return r;
}

/* It has ended by itself: its policy says what follows. */
void ctr_plan_restart(struct vm *vm, struct ctr *c)
{
	const struct model_container *m;
	int64_t code = c->row.exit_code;

	/* Ended by an earlier hybd, perhaps with 0: it had failed before. */
	if (strcmp(c->row.reason, "HealthCheck") == 0)
		code = 1;
	world_lock(vm->world);
	if ((uint64_t)(c->row.finished_at - c->row.started_at) >
	    (uint64_t)FORGET_MS * 1000000)
		c->backoff = 0;
	m = vm->desired ? model_find_container(vm->desired, c->row.name) : NULL;
	c->restart_at = 0;
	if (m && !c->row.user_stopped && c->state != CTR_STOPPED &&
	    restart_applies(&m->restart, code, c->row.restarts))
		c->restart_at = now_ms() + backoff_ms(c->backoff++);
	world_unlock(vm->world);
}

void ctr_observe(struct vm *vm, const struct agent_container *a)
{
	struct ctr *c = NULL;
	enum ctr_state state;
	size_t i;

	for (i = 0; i < vm->n_ctrs; i++)
		if (strcmp(vm->ctrs[i].id, a->id) == 0)
			c = &vm->ctrs[i];
	/* Of an earlier incarnation, or nothing that we made. */
	if (!c)
		return;
	state = ctr_now(vm, c);
	if (a->status == AGENT_RUNNING || a->status == AGENT_PAUSED) {
		world_lock(vm->world);
		c->in_guest = true;
		c->pid = a->pid;
		if (!c->row.started_at)
			c->row.started_at = now_real();
		world_unlock(vm->world);
		/* Started by a hybd that was killed before it wrote so. */
		if (state == CTR_STARTING || state == CTR_PENDING) {
			ctr_set(vm, c, CTR_RUNNING, "", "");
			ctr_store(vm, c);
		}
		ctr_take_pause(vm, c, a);
		ctr_take_health(vm, c, a);
		return;
	}
	/* STARTING, STOPPING: while no hybd was there to see it. */
	if (a->status != AGENT_STOPPED ||
	    (!ctr_is_live(state) && state != CTR_STARTING &&
	     state != CTR_STOPPING))
		return;
	ctr_take_end(vm, c, a);
	ctr_plan_restart(vm, c);
	ctr_store(vm, c);
	vm_tell(vm, c->row.name, c->state == CTR_EXITED ? "exited" : "failed",
		"%s, exit code %lld", c->row.reason,
		(long long)c->row.exit_code);
}

void ctr_all_gone(struct vm *vm, const char *reason)
{
	bool stopped = strcmp(reason, "Stopped") == 0;
	size_t i;

	for (i = 0; i < vm->n_ctrs; i++) {
		struct ctr *c = &vm->ctrs[i];
		bool ran;

		world_lock(vm->world);
		c->in_guest = false;
		c->pid = 0;
		c->restart_at = 0;
		ran = ctr_is_live(c->state) || c->state == CTR_STARTING ||
		      c->state == CTR_STOPPING;
		if (ran) {
			c->row.exit_code = -1;
			c->row.user_paused = false;
			c->row.finished_at = now_real();
			c->lost = true;
		}
		world_unlock(vm->world);
		if (ran)
			ctr_set(vm, c, stopped ? CTR_STOPPED : CTR_FAILED,
				reason, "");
		ctr_store(vm, c);
	}
}
