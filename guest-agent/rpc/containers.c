/* SPDX-License-Identifier: Apache-2.0 */
/* Containers: the table and the methods over the engine. */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/varlink/params.h"

#include <signal.h>

struct slot *slot_find(struct agent *a, const char *id)
{
	size_t i;

	for (i = 0; i < AGENT_CONTAINERS_MAX; i++)
		if (a->slots[i].used && strcmp(a->slots[i].id, id) == 0)
			return &a->slots[i];
	return NULL;
}

struct slot *peer_slot(struct peer *p, const char *id)
{
	struct slot *s = slot_find(p->agent, id);

	if (!s)
		peer_error_not_found(p, id);
	return s;
}

struct slot *peer_running_slot(struct peer *p, const char *id)
{
	struct slot *s = peer_slot(p, id);
	struct container_info info;

	if (!s)
		return NULL;
	container_get_info(s->container, &info);
	if (info.status == CONTAINER_RUNNING)
		return s;
	peer_error_state(p, container_status_name(info.status),
			 "it does not run");
	return NULL;
}

json_t *slot_json(const struct slot *s)
{
	struct check_note health, readiness;
	struct container_info i;
	struct wire_text text;

	container_get_info(s->container, &i);
	return json_pack(
		"{s:s,s:s,s:i,s:I,s:I,s:I,s:i,s:i,s:b,s:s,s:s,s:s,s:s,s:s,s:s}",
		"id", s->id, "status", container_status_name(i.status), "pid",
		(int)i.pid, "created_at", (json_int_t)i.created_at,
		"started_at", (json_int_t)i.started_at, "finished_at",
		(json_int_t)i.finished_at, "exit_code", i.exit_code, "signal",
		i.signal, "oom_killed", (int)i.oom_killed, "reason", i.reason,
		"message", wire_text(&text, i.message), "health",
		health_word(s, CHECK_HEALTH), "health_note",
		health_note(s, CHECK_HEALTH, &health), "readiness",
		health_word(s, CHECK_READINESS), "readiness_note",
		health_note(s, CHECK_READINESS, &readiness));
}

static enum container_status slot_status(const struct slot *s)
{
	struct container_info i;

	container_get_info(s->container, &i);
	return i.status;
}

/* The container is gone from the engine: so is all else. */
static void slot_free(struct slot *s)
{
	struct agent *a = s->agent;
	size_t i;

	s->used = false;
	health_free(s);
	sessions_forget(s);
	logs_close(s);
	files_remove(s->id, NULL);
	scratch_remove_folder(s);
	for (i = 0; i < AGENT_PEERS_MAX; i++)
		if (a->peers[i].used && a->peers[i].slot == s &&
		    a->peers[i].wait == WAIT_END)
			peer_error_not_found(&a->peers[i], s->id);
}

/* Deletes a container that has ended, or by force one that has not. */
static int slot_delete(struct slot *s, bool force, struct err *e)
{
	int r;

	/* While there is a container that they can be ended in. */
	health_ended(s);
	/* Secrets first: where they cannot go the next call tries again. */
	r = force ? 0 : files_remove(s->id, e);
	if (r == 0)
		r = container_delete(s->container, force, e);
	if (r < 0)
		return r;
	s->container = NULL;
	slot_free(s);
	return 0;
}

static void answer_waiters(struct slot *s)
{
	struct agent *a = s->agent;
	size_t i;

	for (i = 0; i < AGENT_PEERS_MAX; i++) {
		struct peer *p = &a->peers[i];

		if (p->used && p->wait == WAIT_END && p->slot == s)
			peer_reply(p, json_pack("{s:o}", "container",
						slot_json(s)));
	}
}

/* It is deleted; the answer comes when what it wrote is gone, too. */
static void answer_deleted(struct peer *p, struct slot *s)
{
	if (!scratch_is_busy(s)) {
		peer_reply(p, NULL);
		return;
	}
	poller_timer_cancel(&p->agent->poller, &p->timer);
	p->slot = s;
	peer_defer(p, WAIT_SCRATCH);
}

/* Those that asked for its deletion by force, which killed it. */
static void delete_for_waiters(struct slot *s)
{
	struct agent *a = s->agent;
	struct err e = ERR_INIT;
	bool done = false;
	int r = 0;
	size_t i;

	for (i = 0; i < AGENT_PEERS_MAX; i++) {
		struct peer *p = &a->peers[i];

		if (!p->used || p->wait != WAIT_DELETE || p->slot != s)
			continue;
		if (!done)
			r = slot_delete(s, false, &e);
		done = true;
		if (r < 0)
			peer_error_err(p, &e);
		else
			answer_deleted(p, s);
	}
}

void slot_ended(struct slot *s, int wait_status)
{
	s->pid = 0;
	s->ended = true;
	health_ended(s);
	container_ended(s->container, wait_status);
	logs_ended(s);
	events_changed(s);
	answer_waiters(s);
	delete_for_waiters(s);
	shutdown_look(s->agent);
}

void containers_done(struct agent *a)
{
	struct err e = ERR_INIT;
	size_t i;

	for (i = 0; i < AGENT_CONTAINERS_MAX; i++)
		if (a->slots[i].used && slot_delete(&a->slots[i], true, &e) < 0)
			log_warn("delete %s: %s", a->slots[i].id, e.msg);
}

/* ------------------------------------------------- calls about one of them */

struct id_params {
	const char *id;
};

#define ID_FIELD                                           \
	{                                                  \
		"id", VL_STRING, 0, 0, AGENT_ID_MAX, false \
	}

/* 0 and *ret, 1: answered NotFound, or -EINVAL. */
static int read_slot(struct peer *p, const struct vl_call *call,
		     const struct vl_field *fields, size_t n, void *out,
		     struct slot **ret, struct err *e)
{
	const char *id;
	int r;

	r = vl_params_read(call->parameters, fields, n, true, out, NULL, e);
	if (r < 0)
		return r;
	memcpy(&id, out, sizeof(id));
	*ret = peer_slot(p, id);
	return *ret ? 0 : 1;
}

static int read_id(struct peer *p, const struct vl_call *call,
		   struct slot **ret, struct err *e)
{
	static const struct vl_field fields[] = {ID_FIELD};
	struct id_params q = {0};

	return read_slot(p, call, fields, 1, &q, ret, e);
}

static void wrong_state(struct peer *p, const struct slot *s, const char *msg)
{
	peer_error_state(p, container_status_name(slot_status(s)), msg);
}

static void start_failed(struct peer *p, struct slot *s,
			 const struct container_failure *f, const struct err *e)
{
	struct wire_text text;

	events_changed(s);
	peer_error(p, IFACE "StartError",
		   json_pack("{s:i,s:s,s:s}", "exit_code",
			     f->exit_code > 0 && f->exit_code < 256
				     ? f->exit_code
				     : 125,
			     "step", f->step, "message",
			     wire_text(&text, e->msg)));
}

int method_start(void *ctx, struct vl_call *call, struct err *e)
{
	struct container_failure failure = {0};
	struct container_info info;
	struct peer *p = ctx;
	struct slot *s;
	int r;

	r = read_id(p, call, &s, e);
	if (r != 0)
		return r < 0 ? r : 0;
	container_get_info(s->container, &info);
	if (info.status == CONTAINER_STOPPED) {
		wrong_state(p, s, "it has ended");
		return 0;
	}
	if (info.status == CONTAINER_CREATED) {
		r = container_start(s->container, &failure, e);
		if (r < 0) {
			start_failed(p, s, &failure, e);
			return 0;
		}
		container_get_info(s->container, &info);
		health_started(s);
		events_changed(s);
	}
	peer_reply(p, json_pack("{s:i,s:I}", "pid", (int)info.pid, "started_at",
				(json_int_t)info.started_at));
	return 0;
}

struct signal_params {
	const char *id;
	int64_t signal;
	bool all;
};

int method_signal(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		ID_FIELD,
		{"signal", VL_INT, offsetof(struct signal_params, signal), 1,
		 64, false},
		{"all", VL_BOOL, offsetof(struct signal_params, all), 0, 0,
		 false},
	};
	struct signal_params q = {0};
	struct peer *p = ctx;
	struct slot *s;
	int r;

	r = read_slot(p, call, fields, ARRAY_SIZE(fields), &q, &s, e);
	if (r != 0)
		return r < 0 ? r : 0;
	r = container_kill(s->container, (int)q.signal, q.all, e);
	if (r == -ESRCH || s->ended)
		wrong_state(p, s, "it has ended");
	else if (r < 0)
		peer_error_err(p, e);
	else
		peer_reply(p, NULL);
	return 0;
}

static int freeze(struct peer *p, struct vl_call *call,
		  int (*fn)(struct container *c, struct err *e),
		  void (*health)(struct slot *s), struct err *e)
{
	struct slot *s;
	int r;

	r = read_id(p, call, &s, e);
	if (r != 0)
		return r < 0 ? r : 0;
	if (slot_status(s) != CONTAINER_RUNNING &&
	    slot_status(s) != CONTAINER_PAUSED) {
		wrong_state(p, s, "it does not run");
		return 0;
	}
	r = fn(s->container, e);
	if (r < 0) {
		peer_error_err(p, e);
		return 0;
	}
	health(s);
	events_changed(s);
	peer_reply(p, NULL);
	return 0;
}

int method_pause(void *ctx, struct vl_call *call, struct err *e)
{
	return freeze(ctx, call, container_pause, health_paused, e);
}

int method_resume(void *ctx, struct vl_call *call, struct err *e)
{
	return freeze(ctx, call, container_resume, health_resumed, e);
}

int method_wait(void *ctx, struct vl_call *call, struct err *e)
{
	struct peer *p = ctx;
	struct slot *s;
	int r;

	r = read_id(p, call, &s, e);
	if (r != 0)
		return r < 0 ? r : 0;
	if (s->ended) {
		peer_reply(p, json_pack("{s:o}", "container", slot_json(s)));
		return 0;
	}
	p->slot = s;
	peer_defer(p, WAIT_END);
	return 0;
}

struct delete_params {
	const char *id;
	bool force;
};

int method_delete(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		ID_FIELD,
		{"force", VL_BOOL, offsetof(struct delete_params, force), 0, 0,
		 false},
	};
	struct delete_params q = {0};
	struct peer *p = ctx;
	struct slot *s;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &q, NULL, e);
	if (r < 0)
		return r;
	s = slot_find(p->agent, q.id);
	if (!s) {
		peer_reply(p, NULL);
		return 0;
	}
	if (s->ended) {
		r = slot_delete(s, false, e);
		if (r < 0)
			peer_error_err(p, e);
		else
			answer_deleted(p, s);
		return 0;
	}
	if (!q.force) {
		wrong_state(p, s, "it has not ended");
		return 0;
	}
	/* Killed now, deleted when it has been reaped: nobody waits here. */
	r = container_kill(s->container, SIGKILL, true, e);
	if (r < 0 && r != -ESRCH) {
		peer_error_err(p, e);
		return 0;
	}
	p->slot = s;
	poller_timer_set(&p->agent->poller, &p->timer,
			 now_ms() + AGENT_DELETE_MS);
	peer_defer(p, WAIT_DELETE);
	return 0;
}

int method_list(void *ctx, struct vl_call *call, struct err *e)
{
	struct peer *p = ctx;
	json_t *list;
	size_t i;
	int r;

	r = vl_params_read(call->parameters, NULL, 0, true, NULL, NULL, e);
	if (r < 0)
		return r;
	list = json_array();
	for (i = 0; i < AGENT_CONTAINERS_MAX; i++)
		if (p->agent->slots[i].used)
			json_array_append_new(list,
					      slot_json(&p->agent->slots[i]));
	peer_reply(p, json_pack("{s:o}", "containers", list));
	return 0;
}

/* ------------------------------------------------------------ UpdateFiles */

struct update_params {
	const char *id;
	json_t *files;
};

int method_update_files(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		ID_FIELD,
		{"files", VL_ARRAY, offsetof(struct update_params, files), 0,
		 AGENT_FILES_MAX, false},
	};
	struct update_params q = {.id = NULL};
	struct peer *p = ctx;
	struct slot *s;
	int r;

	r = read_slot(p, call, fields, ARRAY_SIZE(fields), &q, &s, e);
	if (r != 0)
		return r < 0 ? r : 0;
	r = files_write(s->id, q.files, slot_ids(s), s->container, e);
	if (r < 0)
		return r;
	peer_reply(p, NULL);
	return 0;
}
