/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Health and readiness of containers: what the guest is to check, what it says
 * of it, what follows. The guest checks by itself, whether a hybd is there or
 * not; a new hybd learns from it what it has found. Only the VM's actor is
 * here, but for the words at the end.
 */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/model/health.h"

#define CALL_MS 10000
#define MS_NS	1000000

/* ------------------------------------------------------- the image's check */

static uint64_t within(uint64_t v, uint64_t fallback, uint64_t min,
		       uint64_t max)
{
	if (v == 0)
		return fallback;
	return v < min ? min : v > max ? max : v;
}

/* Docker's HEALTHCHECK, with what a manifest would have by default. shell:
 * memory for a shell's words. */
static int image_check(const struct oci_healthcheck *h, struct model_check *ret,
		       const char *shell[4], struct err *e)
{
	const char *const *test = (const char *const *)h->test;

	*ret = (struct model_check){
		.how = CHECK_EXEC,
		.path = "/",
		.interval_ns =
			within(h->interval_ns, HYB_HEALTH_INTERVAL_NS,
			       HYB_CHECK_LEAST_NS, HYB_CHECK_INTERVAL_NS),
		.timeout_ns = within(h->timeout_ns, HYB_HEALTH_TIMEOUT_NS,
				     HYB_CHECK_LEAST_NS, HYB_CHECK_TIMEOUT_NS),
		.start_period_ns =
			within(h->start_period_ns, 0, 1, HYB_CHECK_INTERVAL_NS),
		.retries = (uint32_t)within(h->retries, HYB_CHECK_RETRIES, 1,
					    HYB_CHECK_RETRIES_MAX),
	};
	if (strcmp(test[0], "CMD-SHELL") == 0 && test[1] && !test[2]) {
		shell[0] = "/bin/sh";
		shell[1] = "-c";
		shell[2] = test[1];
		shell[3] = NULL;
		ret->args = shell;
	} else if (strcmp(test[0], "CMD") == 0) {
		ret->args = test + 1;
	} else {
		return err_set(e, EINVAL,
			       "the image's Healthcheck is neither CMD, "
			       "CMD-SHELL nor NONE");
	}
	if (check_words(ret->args))
		return err_set(e, EINVAL, "the image's Healthcheck is not %s",
			       check_words(ret->args));
	return 0;
}

/* The health check that counts: the manifest's, else the image's; *ret NULL:
 * there is none. */
static int health_check_of(const struct model_container *m,
			   const struct image_info *image,
			   struct model_check *mem, const char *shell[4],
			   const struct model_check **ret, struct err *e)
{
	const struct oci_healthcheck *h = image->config.healthcheck;

	*ret = m->healthcheck;
	if (*ret && (*ret)->how == CHECK_DISABLED)
		*ret = NULL;
	if (m->healthcheck || !h || !h->test || !h->test[0] ||
	    strcmp(h->test[0], "NONE") == 0)
		return 0;
	*ret = mem;
	return image_check(h, mem, shell, e);
}

/* ------------------------------------------------------ what the guest does */

static json_t *check_json(const struct model_check *c)
{
	json_t *o, *args = json_array();
	size_t i;

	if (!c) {
		json_decref(args);
		return json_null();
	}
	o = json_pack("{s:s,s:I,s:I,s:I,s:I}", "how", check_how_name(c->how),
		      "interval", (json_int_t)(c->interval_ns / MS_NS),
		      "timeout", (json_int_t)(c->timeout_ns / MS_NS), "retries",
		      (json_int_t)c->retries, "start_period",
		      (json_int_t)(c->start_period_ns / MS_NS));
	for (i = 0; c->how == CHECK_EXEC && c->args[i]; i++)
		json_array_append_new(args, json_string(c->args[i]));
	if (c->how == CHECK_EXEC)
		json_object_set(o, "args", args);
	else
		json_object_set_new(o, "port", json_integer(c->port));
	if (c->how == CHECK_HTTP)
		json_object_set_new(o, "path", json_string(c->path));
	json_decref(args);
	return o;
}

static json_t *ports_json(const struct model_container *m)
{
	json_t *a = json_array();
	size_t i;

	for (i = 0; i < m->n_ports; i++)
		json_array_append_new(a, json_integer(m->ports[i].target));
	return a;
}

/* Tells the guest; nothing where there is nothing, and was nothing. */
static int send_checks(struct vm *vm, struct ctr *c,
		       const struct model_container *m,
		       const struct model_check *health, struct err *e)
{
	struct agent_container known;
	int r;

	if (!health && !m->readiness && c->health == AGENT_HEALTH_NONE &&
	    c->readiness == AGENT_HEALTH_NONE)
		return 0;
	r = agent_set_checks(&vm->agent, c->id, check_json(health),
			     check_json(m->readiness), ports_json(m),
			     now_ms() + CALL_MS, &known, e);
	/* Not by the event, which comes later than the answer. */
	if (r == 0)
		ctr_take_health(vm, c, &known);
	return r;
}

int ctr_apply_checks(struct vm *vm, struct ctr *c,
		     const struct model_container *m, struct err *e)
{
	_cleanup_image_info_ struct image_info *image = NULL;
	const struct model_check *health;
	struct model_check mem;
	const char *shell[4];
	int r;

	if (c->checks_wish == vm->model_wish)
		return 0;
	r = image_stores_get(vm->world->images, vm->tenant, c->row.digest,
			     &image, e);
	if (r == 0)
		r = health_check_of(m, image, &mem, shell, &health, e);
	if (r == 0)
		r = send_checks(vm, c, m, health, e);
	if (r < 0)
		return err_wrap(e, "health checks");
	world_lock(vm->world);
	c->checks_wish = vm->model_wish;
	c->has_health = health != NULL;
	c->has_readiness = m->readiness != NULL;
	world_changed(vm->world);
	world_unlock(vm->world);
	return 0;
}

/* ----------------------------------------------------- what the guest says */

static void tell_change(struct vm *vm, struct ctr *c, const char *good,
			const char *bad, enum agent_health h, const char *note)
{
	if (h == AGENT_HEALTH_GOOD)
		vm_tell(vm, c->row.name, good, "%s", "");
	else if (h == AGENT_HEALTH_BAD)
		vm_tell(vm, c->row.name, bad, "%s", note);
}

void ctr_take_health(struct vm *vm, struct ctr *c,
		     const struct agent_container *a)
{
	enum agent_health health = c->health, readiness = c->readiness;

	world_lock(vm->world);
	c->health = a->health;
	c->readiness = a->readiness;
	snprintf(c->health_note, sizeof(c->health_note), "%s", a->health_note);
	snprintf(c->readiness_note, sizeof(c->readiness_note), "%s",
		 a->readiness_note);
	if (c->health == AGENT_HEALTH_GOOD)
		c->was_healthy = true;
	world_changed(vm->world);
	world_unlock(vm->world);
	if (c->health != health)
		tell_change(vm, c, "healthy", "unhealthy", c->health,
			    c->health_note);
	if (c->readiness != readiness)
		tell_change(vm, c, "ready", "not ready", c->readiness,
			    c->readiness_note);
}

void ctr_reset_health(struct ctr *c)
{
	c->health = AGENT_HEALTH_NONE;
	c->readiness = AGENT_HEALTH_NONE;
	c->health_note[0] = '\0';
	c->readiness_note[0] = '\0';
	c->was_healthy = false;
	c->checks_wish = 0;
}

/* ------------------------------------------------------------ what follows */

/* It is ended as `stop` would, and runs again after a back-off that grows as
 * long as it was never healthy in between. */
static int restart_unhealthy(struct vm *vm, struct ctr *c, struct err *e)
{
	char note[sizeof(c->health_note)];
	bool stopped;
	int r;

	memcpy(note, c->health_note, sizeof(note));
	r = ctr_stop(vm, c, e);
	if (r < 0)
		return r;
	world_lock(vm->world);
	stopped = c->row.user_stopped;
	if (!stopped) {
		if (c->was_healthy)
			c->backoff = 0;
		c->restart_at = now_ms() + backoff_ms(c->backoff++);
	}
	world_unlock(vm->world);
	if (stopped)
		return 0;
	ctr_set(vm, c, CTR_FAILED, "HealthCheck", note);
	ctr_store(vm, c);
	vm_tell(vm, c->row.name, "failed", "HealthCheck: %s", note);
	return 0;
}

/* What its policy does not restart goes on as it is: a service that limps is
 * more than none. */
static int follow_unhealthy(struct vm *vm, struct ctr *c,
			    const struct model_container *m, struct err *e)
{
	enum check_action action =
		m->healthcheck ? m->healthcheck->on_failure : CHECK_RESTART;

	if (action == CHECK_RESTART &&
	    restart_applies(&m->restart, 1, c->row.restarts))
		return restart_unhealthy(vm, c, e);
	if (action == CHECK_RESTART_VM && vm->desired &&
	    restart_applies(&vm->desired->restart, 1, vm->row.restarts))
		snprintf(vm->sick, sizeof(vm->sick), "%s", c->row.name);
	return 0;
}

/* What a deployment waits for; with the lock held. */
static bool waits_for_health(struct ctr *c)
{
	bool health = c->has_health && c->health != AGENT_HEALTH_GOOD;
	bool ready = c->has_readiness && c->readiness != AGENT_HEALTH_GOOD;
	const char *note = health ? c->health_note : c->readiness_note;

	c->why[0] = '\0';
	if (!health && !ready)
		return false;
	snprintf(c->why, sizeof(c->why), "waits for its %s%s%.110s",
		 health ? "health check" : "readiness", note[0] ? ": " : "",
		 note);
	return true;
}

int ctr_follow_health(struct vm *vm, struct ctr *c,
		      const struct model_container *m, struct err *e)
{
	bool bad, waits;

	world_lock(vm->world);
	bad = c->state == CTR_RUNNING && c->health == AGENT_HEALTH_BAD;
	waits = !bad && c->state == CTR_RUNNING && waits_for_health(c) &&
		vm->all_wanted;
	world_unlock(vm->world);
	if (bad)
		return follow_unhealthy(vm, c, m, e);
	return waits ? 1 : 0;
}

/* ------------------------------------------------------------------- words */

int ctr_health_answer(const struct ctr *c)
{
	if (!ctr_is_live(c->state) || !c->checks_wish)
		return 1;
	if (c->has_readiness)
		return c->readiness == AGENT_HEALTH_GOOD ? 0 : 1;
	if (c->has_health)
		return c->health == AGENT_HEALTH_GOOD ? 0 : 1;
	return -ENOENT;
}

bool ctr_is_unhealthy(const struct ctr *c)
{
	return c->state == CTR_RUNNING && c->health == AGENT_HEALTH_BAD;
}

const char *ctr_health_word(const struct ctr *c)
{
	if (!ctr_is_live(c->state))
		return "";
	if (c->health == AGENT_HEALTH_BAD)
		return "unhealthy";
	if (c->health == AGENT_HEALTH_STARTING ||
	    c->readiness == AGENT_HEALTH_STARTING)
		return "starting";
	if (c->readiness == AGENT_HEALTH_BAD)
		return "not ready";
	return c->health != AGENT_HEALTH_NONE ||
			       c->readiness != AGENT_HEALTH_NONE
		       ? "healthy"
		       : "";
}
