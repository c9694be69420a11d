/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files for a VM that reads a volume out, or fills a new one.
 *
 * Reading out. What nobody writes to is attached as it is, for reading, and
 * claimed as readers claim it. What a guest writes to is copied first, as a
 * snapshot is, and so is a file whose last writer did not end well: its journal
 * has to be replayed, which is not to be done to the volume. Such a copy has the
 * row of a snapshot that is not made: as long as it is there, so is the row, and
 * the next start removes both.
 *
 * Filling. The row of a new volume says that it is being deleted until it is
 * whole, and that it is in use while it is filled. What removes such volumes
 * leaves those in use alone, and at the start no use by a copy is left.
 */
#include "host-agent/volume/volume_int.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/uuid.h"

#include <fcntl.h>
#include <sys/stat.h>

static int wrap(struct err *e, const struct state_volume *v)
{
	char name[136];

	return err_wrap(e, "volume '%s'", volume_format(v, name));
}

static void set_path(struct volume_copy *c, int64_t id, const char *file)
{
	snprintf(c->path, sizeof(c->path), "%s/%s/%s", c->store->dir,
		 c->v.tenant, file);
	volume_serial(id, c->serial);
}

/* ------------------------------------------------------------ reading out */

/* For the VM alone, to write to as it likes. */
static int own_copy(struct volume_copy *c, int from,
		    const struct volume_quiet *quiet, uid_t uid, struct err *e)
{
	_cleanup_close_ int dir = volume_dir(c->store, c->v.tenant, false, e);
	_cleanup_close_ int fd = -1;
	char file[32];
	int r;

	if (dir < 0)
		return dir;
	c->own.volume_id = c->v.id;
	c->own.size = c->v.made;
	c->own.created_at = (int64_t)now_realtime_ns();
	snprintf(c->own.name, sizeof(c->own.name), ".copy%lld",
		 (long long)-c->holder);
	r = state_snapshot_add(c->store->state, &c->own, e);
	if (r < 0) {
		c->own.id = 0;
		return r;
	}
	r = volume_snapshot_fill(c->store, &c->v, &c->own, from, quiet, e);
	if (r < 0)
		return r;
	volume_snapshot_file(c->own.id, file);
	fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fchown(fd, uid, uid) < 0)
		return err_sys(e, errno, "give its copy to the VM");
	c->writes = true;
	set_path(c, c->own.id, file);
	return 0;
}

/* As it is, unless its journal has to be replayed. */
static int as_it_is(struct volume_copy *c, int fd, int64_t id, const char *file,
		    uid_t uid, struct err *e)
{
	if (volume_file_is_unclean(fd))
		return own_copy(c, fd, NULL, uid, e);
	if (fchown(fd, 0, 0) < 0 || fchmod(fd, 0444) < 0)
		return err_sys(e, errno, "give its disk to the VM");
	set_path(c, id, file);
	return 0;
}

static int open_snapshot(struct volume_copy *c, const char *name, int64_t *id,
			 char file[32], struct err *e)
{
	struct state_snapshot snap;
	int r = volume_snapshot_find(c->store, &c->v, name, &snap, e);

	if (r < 0)
		return r;
	volume_snapshot_file(snap.id, file);
	*id = snap.id;
	return volume_snapshot_open(c->store, &c->v, &snap, e);
}

/* A number for the copy, and where it is the volume's own file that is read,
 * its use. */
static int begin_use(struct volume_copy *c, bool claims, struct err *e)
{
	if (claims)
		return volume_copy_claim(c->store, &c->v, false, &c->holder, e);
	pthread_mutex_lock(&c->store->lock);
	c->holder = --c->store->last_copy;
	pthread_mutex_unlock(&c->store->lock);
	return 0;
}

static int begin_export(struct volume_copy *c, const char *snapshot,
			const struct volume_quiet *quiet, uid_t uid,
			struct err *e)
{
	_cleanup_close_ int fd = -1;
	int64_t id = c->v.id;
	char file[32];
	int r;

	r = begin_use(c, !snapshot && !quiet, e);
	if (r < 0)
		return r;
	volume_file_name(id, file);
	fd = snapshot ? open_snapshot(c, snapshot, &id, file, e)
		      : volume_file_open(c->store, &c->v, e);
	if (fd < 0)
		return fd;
	return quiet && !snapshot ? own_copy(c, fd, quiet, uid, e)
				  : as_it_is(c, fd, id, file, uid, e);
}

int volume_export_begin(struct volume_store *s, const struct state_volume *v,
			const char *snapshot, const struct volume_quiet *quiet,
			uid_t uid, struct volume_copy *ret, struct err *e)
{
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	ret->store = s;
	ret->v = *v;
	if (v->deleting)
		r = err_set(e, EBUSY, "it is being deleted, or imported");
	else if (!v->made)
		r = err_set(e, EBUSY, "it is not made yet");
	if (r == 0)
		r = begin_export(ret, snapshot, quiet, uid, e);
	if (r < 0)
		volume_export_end(ret);
	return r < 0 ? wrap(e, v) : 0;
}

void volume_export_end(struct volume_copy *c)
{
	struct err e = ERR_INIT;

	if (c->own.id &&
	    volume_snapshot_drop(c->store, c->v.tenant, &c->own, &e) < 0)
		log_warn("%s", e.msg);
	if (c->holder)
		volume_detached(c->store, c->v.id, c->holder, NULL);
	c->own.id = 0;
	c->holder = 0;
	/* It may have been marked meanwhile. */
	volume_reap(c->store);
}

/* ---------------------------------------------------------------- filling */

/* With the lock held. */
static int make_new(struct volume_copy *c, struct err *e)
{
	struct volume_store *s = c->store;
	struct state_volume there;
	int64_t mine, other;
	int r;

	r = state_volume_find(s->state, c->v.tenant, c->v.stack, c->v.name,
			      &there, e);
	if (r == 0)
		return err_set(e, EEXIST,
			       there.deleting ? "it is being deleted, or "
						"imported"
					      : "it exists: an import goes "
						"into a new one");
	if (r == -ENOENT)
		r = volume_space(s, (uint64_t)c->v.size, e);
	if (r == 0)
		r = state_volume_add(s->state, &c->v, e);
	if (r < 0) {
		c->v.id = 0;
		return r;
	}
	mine = --s->last_copy;
	r = state_volume_claim(s->state, c->v.id, mine, true, &other, e);
	if (r < 0)
		return r;
	c->holder = mine;
	r = volume_file_make(s, &c->v, e);
	if (r < 0)
		return r;
	c->v.made = c->v.size;
	return state_volume_put(s->state, &c->v, e);
}

int volume_import_begin(struct volume_store *s, const char *tenant,
			const char *name, uint64_t size, uid_t uid,
			struct volume_copy *ret, struct err *e)
{
	_cleanup_close_ int fd = -1;
	char file[32];
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->store = s;
	ret->v.size = (int64_t)size;
	ret->v.deleting = true;
	ret->v.created_at = (int64_t)now_realtime_ns();
	snprintf(ret->v.tenant, sizeof(ret->v.tenant), "%s", tenant);
	snprintf(ret->v.name, sizeof(ret->v.name), "%s", name);
	uuid_random(ret->v.uuid);
	ret->writes = true;
	pthread_mutex_lock(&s->lock);
	r = make_new(ret, e);
	pthread_mutex_unlock(&s->lock);
	if (r == 0) {
		volume_file_name(ret->v.id, file);
		set_path(ret, ret->v.id, file);
		fd = volume_file_open(s, &ret->v, e);
		r = fd < 0 ? fd : 0;
	}
	if (r == 0 && fchown(fd, uid, uid) < 0)
		r = err_sys(e, errno, "give its disk to the VM");
	if (r < 0) {
		wrap(e, &ret->v);
		volume_import_abort(ret);
	}
	return r;
}

int volume_import_commit(struct volume_copy *c, struct err *e)
{
	_cleanup_close_ int fd = volume_file_open(c->store, &c->v, e);
	int r = fd < 0 ? fd : 0;

	if (r == 0 && (fchown(fd, 0, 0) < 0 || fsync(fd) < 0))
		r = err_sys(e, errno, "write its disk");
	pthread_mutex_lock(&c->store->lock);
	if (r == 0) {
		c->v.deleting = false;
		r = state_volume_put(c->store->state, &c->v, e);
		c->v.deleting = r < 0;
	}
	pthread_mutex_unlock(&c->store->lock);
	if (r < 0)
		return wrap(e, &c->v);
	volume_detached(c->store, c->v.id, c->holder, NULL);
	c->holder = 0;
	return 0;
}

void volume_import_abort(struct volume_copy *c)
{
	if (c->holder)
		volume_detached(c->store, c->v.id, c->holder, NULL);
	c->holder = 0;
	/* Its row says that it is to go. */
	if (c->v.id)
		volume_reap(c->store);
}
