/* SPDX-License-Identifier: Apache-2.0 */
/* Containers: the table and the methods over the engine. */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/varlink/params.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>

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
	files_remove(s->id);
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

/* ----------------------------------------------------------------- Create */

struct create_params {
	const char *id;
	json_t *config;
	const char *image;
	int64_t disk_timeout;
	const char *scratch; /* NULL: none */
	int64_t scratch_size;
	const char *user;
	bool init;
	int64_t log_size;
	json_t *files;
	int64_t ids;
};

static int create_read(const struct vl_call *call, struct create_params *q,
		       struct err *e)
{
#define AT(m) offsetof(struct create_params, m)
	static const struct vl_field fields[] = {
		{"id", VL_STRING, AT(id), 0, AGENT_ID_MAX, false},
		{"config", VL_OBJECT, AT(config), 0, 0, false},
		{"image", VL_STRING, AT(image), 0, AGENT_SERIAL_MAX, false},
		{"disk_timeout", VL_INT, AT(disk_timeout), 0,
		 AGENT_DISK_TIMEOUT_MAX_MS, false},
		{"scratch", VL_STRING, AT(scratch), 0, AGENT_SERIAL_MAX, true},
		{"scratch_size", VL_INT, AT(scratch_size), 0, INT64_C(1) << 40,
		 false},
		{"user", VL_STRING, AT(user), 0, AGENT_USER_MAX, false},
		{"init", VL_BOOL, AT(init), 0, 0, false},
		{"log_size", VL_INT, AT(log_size), AGENT_LOG_MIN, AGENT_LOG_MAX,
		 false},
		{"files", VL_ARRAY, AT(files), 0, AGENT_FILES_MAX, true},
		{"ids", VL_INT, AT(ids), 0, AGENT_IDS_MAX, true},
	};
#undef AT
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   q, NULL, e);
	if (r < 0)
		return r;
	if (!container_id_is_valid(q->id))
		return err_set(e, EINVAL,
			       "id: not one that a container may "
			       "have");
	if (!serial_is_valid(q->image))
		return err_set(e, EINVAL, "image: not a disk's serial");
	if (q->scratch && !serial_is_valid(q->scratch))
		return err_set(e, EINVAL, "scratch: not a disk's serial");
	return 0;
}

static int hash_add(const char *data, size_t len, void *arg)
{
	uint64_t *h = arg;
	size_t i;

	for (i = 0; i < len; i++)
		*h = (*h ^ (unsigned char)data[i]) * UINT64_C(0x100000001b3);
	return 0;
}

/* FNV-1a over what was asked for: tells a repeated call from another one. The
 * host has no reason to make two that collide. */
static uint64_t create_hash(const struct create_params *q)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);
	char text[64];

	json_dump_callback(q->config, hash_add, &h,
			   JSON_COMPACT | JSON_SORT_KEYS);
	hash_add(q->image, strlen(q->image) + 1, &h);
	hash_add(q->user, strlen(q->user) + 1, &h);
	if (q->scratch)
		hash_add(q->scratch, strlen(q->scratch) + 1, &h);
	snprintf(text, sizeof(text), "%lld %lld %d %lld",
		 (long long)q->scratch_size, (long long)q->log_size, q->init,
		 (long long)q->ids);
	hash_add(text, strlen(text), &h);
	return h;
}

/* The image's disk, or folder for tests: 0, or -ENOENT while it is missing. */
static int find_image(struct agent *a, const char *serial,
		      struct container_rootfs *ret, char *path, size_t size)
{
	struct stat st;

	if (!a->image_dir) {
		ret->erofs = path;
		return disks_find(serial, path, size);
	}
	snprintf(path, size, "%s/%s", a->image_dir, serial);
	if (stat(path, &st) < 0)
		return -ENOENT;
	if (S_ISDIR(st.st_mode))
		ret->dir = path;
	else
		ret->erofs = path;
	return 0;
}

static struct slot *slot_new(struct agent *a, const char *id, uint64_t hash)
{
	struct slot *s = NULL;
	size_t i;

	for (i = 0; i < AGENT_CONTAINERS_MAX && !s; i++)
		if (!a->slots[i].used && !a->sweeps[i])
			s = &a->slots[i];
	if (!s)
		return NULL;
	memset(s, 0, sizeof(*s));
	s->agent = a;
	s->hash = hash;
	snprintf(s->id, sizeof(s->id), "%s", id);
	return s;
}

_Static_assert(AGENT_IDS_FIRST >= AGENT_CONTAINERS_MAX,
	       "ids that the host chooses are no slot's");

/* Where the ids of its user namespace begin: behind those of all slots where
 * the host has chosen them. */
static uint32_t slot_ids(const struct slot *s)
{
	if (s->ids)
		return HYB_CONTAINER_IDS * (uint32_t)(AGENT_IDS_FIRST + s->ids);
	return HYB_CONTAINER_IDS * (uint32_t)(s - s->agent->slots + 1);
}

/* Has another container the ids that are asked for? */
static bool ids_are_taken(const struct agent *a, int64_t ids)
{
	size_t i;

	for (i = 0; ids && i < AGENT_CONTAINERS_MAX; i++)
		if (a->slots[i].used && a->slots[i].ids == ids)
			return true;
	return false;
}

static int create_container(struct slot *s, const struct create_params *q,
			    const struct oci_runtime *config,
			    const struct container_rootfs *rootfs,
			    struct err *e)
{
	struct container_spec spec = CONTAINER_SPEC_INIT;
	struct container_info info;
	struct agent *a = s->agent;
	char scratch[SCRATCH_PATH_MAX];
	int ends[2] = {-1, -1}, r = 0;

	if (q->scratch)
		r = scratch_make_folder(s, (uint64_t)q->scratch_size, scratch,
					e);
	if (r == 0)
		r = logs_open(s, (size_t)q->log_size, ends, e);
	if (r < 0)
		return r;
	spec.id = s->id;
	spec.config = config;
	spec.rootfs = *rootfs;
	spec.rootfs.scratch_size = (uint64_t)q->scratch_size;
	spec.rootfs.scratch_dir = q->scratch ? scratch : NULL;
	spec.defaults = true;
	spec.ids_base = slot_ids(s);
	spec.netns_fd = a->pod_netns;
	spec.user = q->user;
	spec.search_path = true;
	spec.init = q->init;
	spec.stdio[1] = ends[0];
	spec.stdio[2] = ends[1];
	r = container_create(&spec, &s->container, NULL, e);
	cleanup_close(&ends[0]);
	cleanup_close(&ends[1]);
	if (r < 0)
		return r;
	container_get_info(s->container, &info);
	s->pid = info.pid;
	r = container_take_console(s->container);
	return r < 0 ? 0 : logs_set_console(s, r, e);
}

/* Everything is there: makes it. */
static int create_now(struct peer *p, const struct create_params *q,
		      const struct container_rootfs *rootfs, struct err *e)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *config = NULL;
	struct agent *a = p->agent;
	struct slot *s;
	int r;

	r = oci_runtime_parse(q->config, &config, e);
	if (r < 0)
		return r;
	/* Each has its own by its id; the name would be left out. */
	if (config->lx && config->lx->cgroups_path)
		return err_set(e, EINVAL,
			       "linux.cgroupsPath: not allowed here");
	if (ids_are_taken(a, q->ids))
		return err_set(e, EBUSY, "ids: another container has them");
	s = slot_new(a, q->id, create_hash(q));
	if (!s) {
		peer_error_limit(p, "containers", AGENT_CONTAINERS_MAX);
		return 0;
	}
	s->ids = q->ids;
	r = files_write(s->id, q->files, slot_ids(s), true, e);
	if (r == 0)
		r = create_container(s, q, config, rootfs, e);
	if (r == 0)
		r = logs_begin(s, e);
	if (r < 0) {
		files_remove(s->id);
		if (s->container)
			container_delete(s->container, true, NULL);
		logs_close(s);
		scratch_remove_folder(s);
		return r;
	}
	s->used = true;
	events_changed(s);
	peer_reply(p, NULL);
	return 0;
}

/* What may take a while and can be done while a disk is waited for. */
static int make_ready(struct agent *a, struct err *e)
{
	int r;

	if (!a->prepared) {
		r = a->ops->prepare(e);
		if (r < 0)
			return r;
		a->prepared = true;
	}
	if (!a->seccomp_ready) {
		r = container_engine_prepare(e);
		if (r < 0)
			return r;
		a->seccomp_ready = true;
	}
	return 0;
}

/* Is there such a container already? Then the call is answered. */
static bool create_exists(struct peer *p, const struct create_params *q)
{
	const struct slot *s = slot_find(p->agent, q->id);

	if (!s)
		return false;
	if (s->hash == create_hash(q))
		peer_reply(p, NULL);
	else
		peer_error(p, IFACE "AlreadyExists",
			   json_pack("{s:s}", "what", q->id));
	return true;
}

/* 1: a disk is not there yet. */
static int create_try(struct peer *p, const struct create_params *q,
		      struct err *e)
{
	struct container_rootfs rootfs = {0};
	char path[512];
	int r;

	if (create_exists(p, q))
		return 0;
	if (find_image(p->agent, q->image, &rootfs, path, sizeof(path)) < 0)
		return 1;
	r = q->scratch ? scratch_mount(p->agent, q->scratch, e) : 0;
	if (r == 0)
		r = make_ready(p->agent, e);
	if (r == 0)
		r = create_now(p, q, &rootfs, e);
	return r;
}

int method_create(void *ctx, struct vl_call *call, struct err *e)
{
	struct create_params q = {0};
	struct peer *p = ctx;
	int r;

	r = create_read(call, &q, e);
	if (r == 0)
		r = create_try(p, &q, e);
	if (r <= 0)
		return r;
	/* While it is waited for, what must be done anyway. */
	r = make_ready(p->agent, e);
	if (r == 0)
		r = create_try(p, &q, e);
	if (r <= 0)
		return r;
	p->call = *call;
	memset(call, 0, sizeof(*call));
	poller_timer_set(&p->agent->poller, &p->timer,
			 now_ms() + (uint64_t)q.disk_timeout);
	disks_expect(p->agent);
	peer_defer(p, WAIT_DISK);
	return 0;
}

/* A Create that waited. 1: it goes on waiting. */
static int create_again(struct peer *p)
{
	struct create_params q = {0};
	struct err e = ERR_INIT;
	struct vl_call call;
	int r;

	/* The strings are inside the call: it must live until the answer. */
	call = p->call;
	r = create_read(&call, &q, &e);
	if (r == 0)
		r = create_try(p, &q, &e);
	if (r == 1)
		return 1;
	memset(&p->call, 0, sizeof(p->call));
	if (r < 0)
		peer_error_failure(p, r, &e);
	vl_call_done(&call);
	return 0;
}

void containers_disks_changed(struct agent *a)
{
	bool waiting = false;
	size_t i;

	for (i = 0; i < AGENT_PEERS_MAX; i++) {
		struct peer *p = &a->peers[i];

		if (p->used && p->wait == WAIT_DISK && create_again(p) == 1)
			waiting = true;
	}
	if (waiting)
		disks_expect(a);
}

void containers_peer_timeout(struct peer *p)
{
	struct err e = ERR_INIT;
	struct create_params q = {0};

	if (p->wait == WAIT_DELETE) {
		err_set(&e, ETIMEDOUT, "its processes do not end");
	} else {
		if (create_again(p) == 0)
			return;
		create_read(&p->call, &q, &e);
		err_set(&e, ETIMEDOUT,
			"no disk with the serial '%s'%s%s%s came", q.image,
			q.scratch ? ", or none with '" : "",
			q.scratch ? q.scratch : "", q.scratch ? "'," : "");
	}
	peer_error_err(p, &e);
	vl_call_done(&p->call);
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
	r = files_write(s->id, q.files, slot_ids(s), false, e);
	if (r < 0)
		return r;
	peer_reply(p, NULL);
	return 0;
}
