/* SPDX-License-Identifier: Apache-2.0 */
/* Create: a container as the host asks for it, once its disks are there. */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/varlink/params.h"

#include <stdio.h>
#include <sys/stat.h>

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

uint32_t slot_ids(const struct slot *s)
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
	if (r < 0) {
		cleanup_close(&ends[0]);
		cleanup_close(&ends[1]);
		return r;
	}
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
	r = files_write(s->id, q->files, slot_ids(s), NULL, e);
	if (r == 0)
		r = create_container(s, q, config, rootfs, e);
	if (r == 0)
		r = logs_begin(s, e);
	if (r < 0) {
		files_remove(s->id, NULL);
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
	int r = a->prepared ? 0 : a->ops->prepare(e);

	if (r == 0)
		a->prepared = true;
	return r;
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

void create_disks_changed(struct agent *a)
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

void create_peer_timeout(struct peer *p)
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
