/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Folders of containers that outlive them: on the scratch disk, so as long as
 * the machine, which is as long as this process. What there is is in its memory.
 *
 * Theory of operation. Entry K of the table is the folder SCRATCH/keptK, of the
 * project AGENT_CONTAINERS_MAX + 1 + K (those before are the containers' own).
 * Containers see what is in its folder `data`, with ids as they are inside of
 * them. A child fills it; until that has ended well, it is nobody's. A child
 * removes it, too; until that has ended, its place is taken.
 */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/varlink/params.h"
#include "guest-agent/sys/caps.h"
#include "guest-agent/sys/copyup.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <sys/stat.h>

#define DATA "data"

/* What is asked for; strings are the call's. */
struct wanted {
	const char *path;
	int64_t size;
	bool copy;
	size_t at; /* in the table */
	bool is_new;
};

struct keep {
	const char *container, *scratch, *image;
	json_t *folders;
	struct wanted list[AGENT_CONTAINER_FOLDERS_MAX];
	size_t n;
	char dev[64]; /* of the image */
};

static void name_of(size_t at, char out[16])
{
	snprintf(out, 16, "kept%zu", at);
}

static uint32_t project_of(size_t at)
{
	return (uint32_t)(AGENT_CONTAINERS_MAX + 1 + at);
}

/* ---------------------------------------------------------- what is asked */

static int read_folder(const json_t *o, struct wanted *w, struct err *e)
{
#define AT(m) offsetof(struct wanted, m)
	static const struct vl_field fields[] = {
		{"path", VL_STRING, AT(path), 0, PATH_MAX - 1, false},
		{"size", VL_INT, AT(size), (int64_t)AGENT_SCRATCH_MIN,
		 INT64_C(1) << 40, false},
		{"copy", VL_BOOL, AT(copy), 0, 0, false},
	};
#undef AT
	int r = vl_params_read(o, fields, ARRAY_SIZE(fields), true, w, NULL, e);

	if (r == 0 && w->path[0] != '/')
		r = err_set(e, EINVAL, "path: not absolute");
	return r < 0 ? err_wrap(e, "folders") : 0;
}

static int read_keep(const struct vl_call *call, struct keep *k, struct err *e)
{
#define AT(m) offsetof(struct keep, m)
	static const struct vl_field fields[] = {
		{"container", VL_STRING, AT(container), 0,
		 sizeof(((struct folder *)0)->container) - 1, false},
		{"scratch", VL_STRING, AT(scratch), 0, AGENT_SERIAL_MAX, false},
		{"image", VL_STRING, AT(image), 0, AGENT_SERIAL_MAX, false},
		{"folders", VL_ARRAY, AT(folders), 0,
		 AGENT_CONTAINER_FOLDERS_MAX, false},
	};
#undef AT
	const json_t *o;
	size_t i, j;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   k, NULL, e);
	if (r < 0)
		return r;
	if (!container_id_is_valid(k->container))
		return err_set(e, EINVAL, "container: not a name");
	if (!serial_is_valid(k->scratch))
		return err_set(e, EINVAL, "scratch: not a disk's serial");
	if (k->image[0] && !serial_is_valid(k->image))
		return err_set(e, EINVAL, "image: not a disk's serial");
	json_array_foreach(k->folders, i, o) {
		r = read_folder(o, &k->list[i], e);
		if (r < 0)
			return r;
		for (j = 0; j < i; j++)
			if (strcmp(k->list[j].path, k->list[i].path) == 0)
				return err_set(e, EINVAL, "folders: one twice");
	}
	k->n = i;
	return 0;
}

/* ----------------------------------------------------------- what there is */

static void remove_folder(struct agent *a, size_t at)
{
	struct folder *f = &a->folders[at];
	char name[16];

	name_of(at, name);
	free(f->path);
	f->path = NULL;
	f->job = NULL;
	f->sweep = scratch_begin_removal(name);
}

static struct wanted *find_wanted(struct keep *k, const char *path)
{
	size_t i;

	for (i = 0; i < k->n; i++)
		if (strcmp(k->list[i].path, path) == 0)
			return &k->list[i];
	return NULL;
}

/* Finds what is wanted and there, removes what is there and not wanted. */
static int match(struct agent *a, struct keep *k, struct err *e)
{
	size_t at;

	for (at = 0; at < AGENT_FOLDERS_MAX; at++) {
		struct folder *f = &a->folders[at];

		if (f->path && f->job && !strcmp(f->container, k->container))
			return err_set(e, EBUSY,
				       "folders of '%s' are being made",
				       k->container);
	}
	for (at = 0; at < k->n; at++)
		k->list[at].is_new = true;
	for (at = 0; at < AGENT_FOLDERS_MAX; at++) {
		struct folder *f = &a->folders[at];
		struct wanted *w;

		if (!f->path || strcmp(f->container, k->container) != 0)
			continue;
		w = find_wanted(k, f->path);
		if (!w) {
			remove_folder(a, at);
			continue;
		}
		w->is_new = false;
		w->at = at;
	}
	return 0;
}

static int make_folder(struct agent *a, struct keep *k, struct wanted *w,
		       struct err *e)
{
	struct folder *f;
	bool made = false;
	char name[16];
	int r;

	for (w->at = 0; w->at < AGENT_FOLDERS_MAX; w->at++)
		if (!a->folders[w->at].path && !a->folders[w->at].sweep)
			break;
	if (w->at == AGENT_FOLDERS_MAX)
		return err_set(e, ENOSPC, "a machine has at most %d folders",
			       AGENT_FOLDERS_MAX);
	f = &a->folders[w->at];
	name_of(w->at, name);
	r = scratch_make(name, project_of(w->at), (uint64_t)w->size, &made, e);
	snprintf(f->container, sizeof(f->container), "%s", k->container);
	f->path = made ? strdup(w->path) : NULL;
	if (r == 0 && !f->path)
		r = err_sys(e, ENOMEM, "folder");
	if (r < 0 && made)
		remove_folder(a, w->at);
	return r;
}

/* All those that are new, or none. */
static int make_new(struct agent *a, struct keep *k, struct err *e)
{
	size_t i;
	int r = 0;

	for (i = 0; i < k->n; i++) {
		struct wanted *w = &k->list[i];

		r = w->is_new ? make_folder(a, k, w, e)
			      : scratch_set_room(project_of(w->at),
						 (uint64_t)w->size, e);
		if (r < 0)
			break;
	}
	while (r < 0 && i-- > 0)
		if (k->list[i].is_new)
			remove_folder(a, k->list[i].at);
	return r;
}

/* ------------------------------------------------------------- the child */

/* With that one quotas would be nothing. */
static int drop_resource(void)
{
	const uint64_t all = (UINT64_C(2) << caps_last()) - 1;
	const uint64_t some = all & ~(UINT64_C(1) << CAP_SYS_RESOURCE);
	const struct cap_sets sets = {.effective = some, .permitted = some};

	return caps_apply(&sets, caps_last());
}

static int fill(const struct keep *k, const struct wanted *w, struct err *e)
{
	_cleanup_close_ int from = -1, to = -1;
	char path[SCRATCH_PATH_MAX], name[16];
	int r;

	name_of(w->at, name);
	snprintf(path, sizeof(path), SCRATCH "/%s/" DATA, name);
	if (mkdir(path, 0755) < 0)
		return err_sys(e, errno, "make '%s'", path);
	if (!w->copy || !k->image[0])
		return 0;
	from = volumes_open_image(k->dev, w->path);
	if (from == -ENOENT)
		return 0;
	to = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = from < 0 ? from : to < 0 ? -errno : copyup_dir(from, to, false);
	return r < 0 ? err_sys(e, -r, "copy '%s' of the image", w->path) : 0;
}

static int fill_all(void *arg, struct err *e)
{
	const struct keep *k = arg;
	int r = drop_resource();
	size_t i;

	if (r < 0)
		return err_sys(e, -r, "capabilities");
	for (i = 0; i < k->n && r == 0; i++)
		if (k->list[i].is_new)
			r = fill(k, &k->list[i], e);
	return r;
}

/* -------------------------------------------------------------- the agent */

void folders_done(struct agent *a)
{
	size_t at;

	for (at = 0; at < AGENT_FOLDERS_MAX; at++)
		free(a->folders[at].path);
	for (at = 0; at < AGENT_VOLUME_JOBS_MAX; at++)
		json_decref(a->volume_jobs[at].reply);
}

void folders_filled(struct agent *a, const struct volume_job *job, bool good)
{
	size_t at;

	for (at = 0; at < AGENT_FOLDERS_MAX; at++) {
		if (a->folders[at].job != job)
			continue;
		a->folders[at].job = NULL;
		if (!good)
			remove_folder(a, at);
	}
}

bool folders_reaped(struct agent *a, pid_t pid, int status)
{
	size_t at;

	for (at = 0; at < AGENT_FOLDERS_MAX; at++)
		if (a->folders[at].sweep == pid)
			break;
	if (at == AGENT_FOLDERS_MAX)
		return false;
	a->folders[at].sweep = 0;
	if (status != 0)
		log_warn("scratch: what is in 'kept%zu' cannot be removed", at);
	return true;
}

static json_t *places(const struct keep *k)
{
	json_t *list = json_array();
	char name[16];
	size_t i;

	for (i = 0; i < k->n; i++) {
		name_of(k->list[i].at, name);
		json_array_append_new(list,
				      json_sprintf(SCRATCH "/%s/" DATA, name));
	}
	return json_pack("{s:o}", "places", list);
}

static int begin(struct peer *p, struct keep *k, struct err *e)
{
	struct agent *a = p->agent;
	struct volume_job *job;
	size_t i, n_new = 0;
	int r = make_new(a, k, e);

	if (r < 0)
		return r;
	for (i = 0; i < k->n; i++)
		n_new += k->list[i].is_new;
	if (n_new == 0) {
		peer_reply(p, places(k));
		return 0;
	}
	job = volumes_start(p, "", fill_all, k, e);
	for (i = 0; i < k->n; i++) {
		if (!k->list[i].is_new)
			continue;
		if (job)
			a->folders[k->list[i].at].job = job;
		else
			remove_folder(a, k->list[i].at);
	}
	if (!job)
		return -e->code;
	job->fills = true;
	job->reply = places(k);
	return 0;
}

/* 1: a disk is not there yet. */
static int find_disks(struct agent *a, struct keep *k, struct err *e)
{
	if (k->n == 0)
		return 0;
	if (k->image[0] && disks_find(k->image, k->dev, sizeof(k->dev)) < 0)
		return 1;
	return scratch_mount(a, k->scratch, e);
}

int method_keep_folders(void *ctx, struct vl_call *call, struct err *e)
{
	_cleanup_free_ struct keep *k = calloc(1, sizeof(*k));
	struct peer *p = ctx;
	int r;

	if (!k)
		return err_sys(e, ENOMEM, "folders");
	r = read_keep(call, k, e);
	if (r == 0)
		r = find_disks(p->agent, k, e);
	if (r > 0) {
		disks_expect(p->agent);
		peer_error_not_found(p, k->scratch);
		return 0;
	}
	if (r == 0)
		r = match(p->agent, k, e);
	return r < 0 ? r : begin(p, k, e);
}
