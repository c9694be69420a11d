/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/volume/volume_int.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "common/base/uuid.h"

#include <sys/stat.h>

const char *volume_format(const struct state_volume *v, char out[136])
{
	snprintf(out, 136, "%s%s%s", v->stack, v->stack[0] ? "/" : "", v->name);
	return out;
}

void volume_serial(int64_t id, char out[24])
{
	snprintf(out, 24, VOLUME_SERIAL_PREFIX "%lld", (long long)id);
}

static int wrap(struct err *e, const struct state_volume *v)
{
	char name[136];

	return err_wrap(e, "volume '%s'", volume_format(v, name));
}

int volume_store_open(const struct volume_config *c, struct volume_store **ret,
		      struct err *e)
{
	struct volume_store *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(e, ENOMEM, "volumes");
	snprintf(s->dir, sizeof(s->dir), "%s/volumes", c->root);
	s->state = c->state;
	s->mkfs_uid = c->mkfs_uid;
	s->vm_uid_base = c->vm_uid_base;
	s->vm_uid_count = c->vm_uid_count;
	pthread_mutex_init(&s->lock, NULL);
	atomic_init(&s->generation, 1);
	r = dir_make(s->dir, 0700, e);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

static void set_name(struct state_volume *v, const char *tenant,
		     const char *stack, const char *name)
{
	memset(v, 0, sizeof(*v));
	snprintf(v->tenant, sizeof(v->tenant), "%s", tenant);
	snprintf(v->stack, sizeof(v->stack), "%s", stack);
	snprintf(v->name, sizeof(v->name), "%s", name);
}

int volume_find(struct volume_store *s, const char *tenant, const char *stack,
		const char *name, struct state_volume *ret, struct err *e)
{
	struct state_volume asked;
	char shown[136];
	int r;

	r = state_volume_find(s->state, tenant, stack, name, ret, e);
	if (r != -ENOENT)
		return r;
	set_name(&asked, tenant, stack, name);
	err_set(e, ENOENT, "there is no volume '%s'",
		volume_format(&asked, shown));
	if (!stack[0])
		err_hint(e, "`hyb volume create %s --size SIZE` makes it",
			 name);
	return -ENOENT;
}

static int check_change(const struct state_volume *v, uint64_t size,
			struct err *e)
{
	char name[136];

	if (v->deleting)
		return err_set(e, EBUSY, "volume '%s' is being deleted",
			       volume_format(v, name));
	if ((int64_t)size < v->size) {
		err_set(e, EOPNOTSUPP,
			"volume '%s' has %lldm and cannot shrink to %llum",
			volume_format(v, name), (long long)(v->size >> 20),
			(unsigned long long)(size >> 20));
		err_hint(e, "leave its size as it is, or move the data to a "
			    "new volume");
		return -EOPNOTSUPP;
	}
	return 0;
}

int volume_would(struct volume_store *s, const char *tenant, const char *stack,
		 const char *name, uint64_t size, int *ret_changed,
		 struct state_volume *ret, struct err *e)
{
	int r = state_volume_find(s->state, tenant, stack, name, ret, e);

	if (r == -ENOENT) {
		set_name(ret, tenant, stack, name);
		ret->size = 0;
		*ret_changed = 1;
		r = volume_space(s, size, e);
		return r < 0 ? wrap(e, ret) : 0;
	}
	if (r == 0)
		r = check_change(ret, size, e);
	if (r == 0)
		*ret_changed = ret->made == 0		   ? 1
			       : ret->size < (int64_t)size ? 2
							   : 0;
	return r;
}

/* Its uses, counted. */
static int count_uses(struct volume_store *s, int64_t id, size_t *ret,
		      struct err *e)
{
	_cleanup_free_ struct state_volume_use *list = NULL;

	return state_volume_uses(s->state, id, &list, ret, e);
}

/* What of a volume's row is not so on disk yet, while nobody uses it. */
static int bring_about(struct volume_store *s, struct state_volume *v,
		       struct err *e)
{
	_cleanup_close_ int fd = -1;
	size_t uses = 0;
	int r;

	if (v->made == v->size)
		return 0;
	if (v->made == 0) {
		r = volume_file_make(s, v, e);
	} else {
		r = count_uses(s, v->id, &uses, e);
		if (r < 0 || uses > 0)
			return r; /* its VM's actor does it, live */
		fd = volume_file_open(s, v, e);
		r = fd < 0 ? fd : volume_file_is_free(fd, true, e);
		if (r == 0)
			r = volume_file_grow(s, fd, (uint64_t)v->size, e);
	}
	if (r < 0)
		return r;
	v->made = v->size;
	return state_volume_put(s->state, v, e);
}

/* What could not be made is as it was: none, or of the size that it had. What
 * fails here is done at the next start, or by the next try. */
static void take_back(struct volume_store *s, struct state_volume *v,
		      int64_t had)
{
	struct err e = ERR_INIT;
	int r;

	if (!v->made) {
		r = state_volume_remove(s->state, v->id, &e);
	} else {
		v->size = had;
		r = volume_file_is_larger(s, v, had)
			    ? 0
			    : state_volume_put(s->state, v, &e);
	}
	if (r < 0)
		log_warn("volume '%s': %s", v->name, e.msg);
}

static int ensure(struct volume_store *s, struct state_volume *v, uint64_t size,
		  int *changed, struct err *e)
{
	int64_t had = 0;
	int r;

	r = state_volume_find(s->state, v->tenant, v->stack, v->name, v, e);
	*changed = 0;
	if (r == -ENOENT) {
		r = volume_space(s, size, e);
		if (r < 0)
			return wrap(e, v);
		v->size = (int64_t)size;
		v->created_at = (int64_t)now_realtime_ns();
		uuid_random(v->uuid);
		*changed = 1;
		r = state_volume_add(s->state, v, e);
	} else if (r == 0) {
		r = check_change(v, size, e);
		if (r < 0)
			return r;
		*changed = v->made == 0 ? 1 : v->size < (int64_t)size ? 2 : 0;
		if (*changed == 2)
			r = volume_space(s, size - (uint64_t)v->size, e);
		had = v->size;
		v->size = (int64_t)size;
		if (r == 0 && *changed)
			r = state_volume_put(s->state, v, e);
	}
	if (r == 0) {
		r = bring_about(s, v, e);
		if (r < 0 && *changed)
			take_back(s, v, had);
	}
	return r < 0 ? wrap(e, v) : 0;
}

uint64_t volume_generation(struct volume_store *s)
{
	return atomic_load(&s->generation);
}

int volume_ensure(struct volume_store *s, const char *tenant, const char *stack,
		  const char *name, uint64_t size, int *ret_changed,
		  struct err *e)
{
	struct state_volume v;
	int changed = 0, r;

	set_name(&v, tenant, stack, name);
	pthread_mutex_lock(&s->lock);
	r = ensure(s, &v, size, &changed, e);
	pthread_mutex_unlock(&s->lock);
	if (changed)
		atomic_fetch_add(&s->generation, 1);
	if (r == 0 && ret_changed)
		*ret_changed = changed;
	return r;
}

/* ----------------------------------------------------------- attaching */

/* The file, as this VM's QEMU must find it. */
static int prepare_file(struct volume_store *s, struct state_volume *v,
			uid_t uid, bool writes, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (v->made == 0) {
		r = bring_about(s, v, e);
		if (r < 0)
			return r;
	}
	fd = volume_file_open(s, v, e);
	if (fd < 0)
		return fd;
	r = volume_file_is_free(fd, writes, e);
	if (r == 0 && writes)
		r = volume_file_grow(s, fd, (uint64_t)v->size, e);
	if (r < 0)
		return r;
	if (writes) {
		v->made = v->size;
		r = state_volume_put(s->state, v, e);
		if (r < 0)
			return r;
	}
	if (fchown(fd, writes ? uid : 0, writes ? uid : 0) < 0 ||
	    fchmod(fd, writes ? 0600 : 0444) < 0)
		return err_sys(e, errno, "give its disk to the VM");
	return 0;
}

int volume_attach(struct volume_store *s, struct state_volume *v, int64_t vm_id,
		  uid_t uid, bool writes, char path[VOLUME_PATH_MAX],
		  int64_t *ret_holder, struct err *e)
{
	char name[32];
	int r;

	*ret_holder = 0;
	volume_file_name(v->id, name);
	snprintf(path, VOLUME_PATH_MAX, "%s/%s/%s", s->dir, v->tenant, name);
	pthread_mutex_lock(&s->lock);
	r = v->deleting ? err_set(e, EBUSY, "it is being deleted, or imported")
			: 0;
	if (r == 0)
		r = state_volume_claim(s->state, v->id, vm_id, writes,
				       ret_holder, e);
	if (r == 0) {
		r = prepare_file(s, v, uid, writes, e);
		if (r < 0)
			state_volume_release(s->state, v->id, vm_id, NULL);
	}
	pthread_mutex_unlock(&s->lock);
	return r < 0 ? wrap(e, v) : 0;
}

int volume_detached(struct volume_store *s, int64_t id, int64_t vm_id,
		    struct err *e)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = state_volume_release(s->state, id, vm_id, e);
	pthread_mutex_unlock(&s->lock);
	return r;
}

int volume_release_vm(struct volume_store *s, int64_t vm_id, struct err *e)
{
	_cleanup_free_ struct state_volume_use *list = NULL;
	size_t n = 0, i;
	int r;

	pthread_mutex_lock(&s->lock);
	r = state_volume_uses(s->state, 0, &list, &n, e);
	for (i = 0; r == 0 && i < n; i++)
		if (list[i].vm_id == vm_id)
			r = state_volume_release(s->state, list[i].volume_id,
						 vm_id, e);
	pthread_mutex_unlock(&s->lock);
	return r;
}

int volume_grown(struct volume_store *s, const struct state_volume *v,
		 struct err *e)
{
	struct state_volume now;
	int r;

	pthread_mutex_lock(&s->lock);
	/* It may be to grow further, or to go, meanwhile. */
	r = state_volume_find(s->state, v->tenant, v->stack, v->name, &now, e);
	if (r == 0 && now.id == v->id) {
		now.made = v->size;
		r = state_volume_put(s->state, &now, e);
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* ------------------------------------------------------------ removing */

int volume_mark(struct volume_store *s, const struct state_volume *v,
		struct err *e)
{
	struct state_volume gone = *v;
	int r;

	pthread_mutex_lock(&s->lock);
	gone.deleting = true;
	r = state_volume_put(s->state, &gone, e);
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* File first: a row without a file is taken away by the next try, a file
 * without a row would never be. */
static int remove_unused(struct volume_store *s, const struct state_volume *v,
			 struct err *e)
{
	size_t uses = 0;
	int r;

	r = count_uses(s, v->id, &uses, e);
	if (r == 0 && uses > 0)
		r = err_set(e, EBUSY, "it is in use");
	if (r == 0)
		r = volume_snapshots_remove(s, v, e);
	if (r == 0)
		r = volume_file_remove(s, v, e);
	if (r == 0)
		r = state_volume_remove(s->state, v->id, e);
	return r < 0 ? wrap(e, v) : 0;
}

int volume_remove(struct volume_store *s, const struct state_volume *v,
		  struct err *e)
{
	struct state_volume gone = *v;
	size_t uses = 0;
	int r;

	pthread_mutex_lock(&s->lock);
	r = count_uses(s, v->id, &uses, e);
	if (r == 0 && uses > 0) {
		err_set(e, EBUSY, "it is in use");
		r = wrap(e, v);
	}
	gone.deleting = true;
	if (r == 0)
		r = state_volume_put(s->state, &gone, e);
	if (r == 0)
		r = remove_unused(s, v, e);
	pthread_mutex_unlock(&s->lock);
	return r;
}

void volume_reap(struct volume_store *s)
{
	_cleanup_free_ struct state_volume *list = NULL;
	struct err e = ERR_INIT;
	size_t n = 0, i;

	pthread_mutex_lock(&s->lock);
	if (state_volume_list(s->state, &list, &n, &e) < 0)
		log_warn("volumes: %s", e.msg);
	for (i = 0; i < n; i++)
		if (list[i].deleting && remove_unused(s, &list[i], &e) < 0 &&
		    e.code != EBUSY)
			log_warn("%s", e.msg);
	pthread_mutex_unlock(&s->lock);
}

void volume_look(struct volume_store *s, const struct state_volume *v,
		 struct volume_info *ret)
{
	_cleanup_close_ int fd = -1;
	struct err e = ERR_INIT;
	struct stat st;
	char name[32];

	memset(ret, 0, sizeof(*ret));
	volume_file_name(v->id, name);
	snprintf(ret->path, sizeof(ret->path), "%s/%s/%s", s->dir, v->tenant,
		 name);
	if (!v->made)
		return; /* it has none yet */
	pthread_mutex_lock(&s->lock);
	fd = volume_file_open(s, v, &e);
	if (fd < 0)
		snprintf(ret->problem, sizeof(ret->problem), "%s", e.msg);
	else if (fstat(fd, &st) == 0)
		ret->allocated = (uint64_t)st.st_blocks * 512;
	pthread_mutex_unlock(&s->lock);
}
