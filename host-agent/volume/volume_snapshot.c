/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: whole copies, TENANT/snap-ID.raw, that share their blocks with the
 * volume where the host's file system can. */
#include "host-agent/volume/volume_int.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

void volume_snapshot_file(int64_t id, char out[32])
{
	snprintf(out, 32, "snap-%lld.raw", (long long)id);
}

static int wrap(struct err *e, const struct state_volume *v, const char *name)
{
	char full[136];

	return err_wrap(e, "volume '%s@%s'", volume_format(v, full), name);
}

/* ------------------------------------------------------------- copying */

static int copy_range(int from, int to, off_t at, off_t end)
{
	off_t in = at, out = at;
	ssize_t n;

	while (in < end) {
		n = copy_file_range(from, &in, to, &out, (size_t)(end - in), 0);
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
	}
	return 0;
}

int volume_copy_sparse(int from, int to, off_t size)
{
	off_t at = 0, end;
	int r;

	if (ftruncate(to, size) < 0)
		return -errno;
	while (at < size) {
		at = lseek(from, at, SEEK_DATA);
		if (at < 0)
			return errno == ENXIO ? 0 : -errno;
		end = lseek(from, at, SEEK_HOLE);
		if (end < 0)
			return -errno;
		r = copy_range(from, to, at, end < size ? end : size);
		if (r < 0)
			return r;
		at = end;
	}
	return 0;
}

static int copy_whole(struct volume_store *s, int from, int to, struct err *e)
{
	struct stat st;
	int r;

	if (fstat(from, &st) < 0)
		return err_sys(e, errno, "copy");
	if (ioctl(to, FICLONE, from) < 0) {
		r = volume_space(s, (uint64_t)st.st_blocks * 512, e);
		if (r < 0)
			return r;
		r = volume_copy_sparse(from, to, st.st_size);
		if (r < 0)
			return err_sys(e, -r, "copy");
	}
	return fsync(to) < 0 ? err_sys(e, errno, "copy") : 0;
}

static int new_file(int dir, const char *name, struct err *e)
{
	int fd;

	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "'%s'", name);
	fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 ? err_sys(e, errno, "make '%s'", name) : fd;
}

/* ------------------------------------------------------------- making */

int volume_snapshot_fill(struct volume_store *s, const struct state_volume *v,
			 const struct state_snapshot *snap, int from,
			 const struct volume_quiet *quiet, struct err *e)
{
	_cleanup_close_ int dir = volume_dir(s, v->tenant, false, e);
	_cleanup_close_ int to = -1;
	struct err thawing = ERR_INIT;
	char name[32];
	int r;

	if (dir < 0)
		return dir;
	volume_snapshot_file(snap->id, name);
	to = new_file(dir, name, e);
	if (to < 0)
		return to;
	r = quiet ? quiet->freeze(quiet->arg, e) : 0;
	if (r < 0)
		return r;
	r = copy_whole(s, from, to, e);
	/* One that had thawed by itself was written to meanwhile. */
	if (quiet && quiet->thaw(quiet->arg, &thawing) < 0 && r == 0) {
		*e = thawing;
		r = err_wrap(e, "the copy took too long");
	}
	if (r == 0 && fsync(dir) < 0)
		r = err_sys(e, errno, "copy");
	return r;
}

int volume_snapshot_drop(struct volume_store *s, const char *tenant,
			 const struct state_snapshot *snap, struct err *e)
{
	_cleanup_close_ int dir = volume_dir(s, tenant, false, e);
	char name[32];

	volume_snapshot_file(snap->id, name);
	if (dir >= 0 && unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove '%s'", name);
	return state_snapshot_remove(s->state, snap->id, e);
}

int volume_copy_claim(struct volume_store *s, const struct state_volume *v,
		      bool writes, int64_t *ret_holder, struct err *e)
{
	int64_t other, mine;
	int r;

	*ret_holder = 0;
	pthread_mutex_lock(&s->lock);
	mine = --s->last_copy;
	r = state_volume_claim(s->state, v->id, mine, writes, &other, e);
	pthread_mutex_unlock(&s->lock);
	if (r == 0)
		*ret_holder = mine;
	return r;
}

static int make_snapshot(struct volume_store *s, const struct state_volume *v,
			 struct state_snapshot *snap,
			 const struct volume_quiet *quiet, struct err *e)
{
	_cleanup_close_ int from = volume_file_open(s, v, e);
	struct err ignored = ERR_INIT;
	int r;

	if (from < 0)
		return from;
	r = state_snapshot_add(s->state, snap, e);
	if (r < 0)
		return r;
	r = volume_snapshot_fill(s, v, snap, from, quiet, e);
	if (r == 0)
		r = state_snapshot_made(s->state, snap->id, e);
	if (r < 0 && volume_snapshot_drop(s, v->tenant, snap, &ignored) < 0)
		log_warn("%s", ignored.msg);
	return r;
}

int volume_snapshot(struct volume_store *s, const struct state_volume *v,
		    const char *name, const struct volume_quiet *quiet,
		    struct err *e)
{
	struct state_snapshot snap = {
		.volume_id = v->id,
		.size = v->made,
		.created_at = (int64_t)now_realtime_ns(),
	};
	int64_t holder = 0;
	int r = 0;

	snprintf(snap.name, sizeof(snap.name), "%s", name);
	if (!quiet)
		r = volume_copy_claim(s, v, false, &holder, e);
	if (r < 0)
		return wrap(e, v, name);
	r = make_snapshot(s, v, &snap, quiet, e);
	if (holder)
		volume_detached(s, v->id, holder, NULL);
	return r < 0 ? wrap(e, v, name) : 0;
}

/* ----------------------------------------------------------- using one */

int volume_snapshot_find(struct volume_store *s, const struct state_volume *v,
			 const char *name, struct state_snapshot *ret,
			 struct err *e)
{
	_cleanup_free_ struct state_snapshot *list = NULL;
	char full[136];
	size_t n = 0, i;
	int r;

	r = state_snapshot_list(s->state, v->id, &list, &n, e);
	if (r < 0)
		return r;
	for (i = 0; i < n; i++) {
		if (strcmp(list[i].name, name) == 0 && list[i].made) {
			*ret = list[i];
			return 0;
		}
	}
	return err_set(e, ENOENT, "volume '%s' has no snapshot '%s'",
		       volume_format(v, full), name);
}

/* Written whole beside, as large as the volume is (so that its row stays true
 * on either side of the rename; the file system grows when it is mounted). */
static int put_back(struct volume_store *s, const struct state_volume *v,
		    const struct state_snapshot *snap, struct err *e)
{
	_cleanup_close_ int dir = volume_dir(s, v->tenant, false, e);
	_cleanup_close_ int from = -1, to = -1, old = -1;
	char name[32], fresh[40], copy[32];
	int r;

	if (dir < 0)
		return dir;
	volume_snapshot_file(snap->id, copy);
	volume_file_name(v->id, name);
	snprintf(fresh, sizeof(fresh), "%s.new", name);
	/* What stands in the volume's place must be a volume's file. */
	old = volume_file_open(s, v, e);
	if (old < 0)
		return old;
	r = volume_file_is_free(old, true, e);
	if (r < 0)
		return r;
	from = openat(dir, copy, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0)
		return err_sys(e, errno, "open '%s'", copy);
	to = new_file(dir, fresh, e);
	if (to < 0)
		return to;
	r = copy_whole(s, from, to, e);
	if (r == 0 && (ftruncate(to, v->made) < 0 || fsync(to) < 0 ||
		       renameat(dir, fresh, dir, name) < 0 || fsync(dir) < 0))
		r = err_sys(e, errno, "restore");
	if (r < 0)
		unlinkat(dir, fresh, 0);
	return r;
}

int volume_restore(struct volume_store *s, const struct state_volume *v,
		   const char *name, struct err *e)
{
	struct state_snapshot snap;
	int64_t holder;
	int r;

	r = volume_snapshot_find(s, v, name, &snap, e);
	if (r < 0)
		return r;
	r = volume_copy_claim(s, v, true, &holder, e);
	if (r == 0) {
		r = put_back(s, v, &snap, e);
		volume_detached(s, v->id, holder, NULL);
	}
	return r < 0 ? wrap(e, v, name) : 0;
}

int volume_snapshot_remove(struct volume_store *s, const struct state_volume *v,
			   const char *name, struct err *e)
{
	struct state_snapshot snap;
	int r = volume_snapshot_find(s, v, name, &snap, e);

	return r < 0 ? r : volume_snapshot_drop(s, v->tenant, &snap, e);
}

int volume_snapshots_remove(struct volume_store *s,
			    const struct state_volume *v, struct err *e)
{
	_cleanup_free_ struct state_snapshot *list = NULL;
	size_t n = 0, i;
	int r;

	r = state_snapshot_list(s->state, v->id, &list, &n, e);
	for (i = 0; r == 0 && i < n; i++)
		r = volume_snapshot_drop(s, v->tenant, &list[i], e);
	return r;
}

void volume_snapshots_purge(struct volume_store *s)
{
	_cleanup_free_ struct state_volume *volumes = NULL;
	_cleanup_free_ struct state_snapshot *list = NULL;
	size_t n = 0, n_volumes = 0, i, k;
	struct err e = ERR_INIT;
	int r;

	r = state_snapshot_list(s->state, 0, &list, &n, &e);
	if (r == 0)
		r = state_volume_list(s->state, &volumes, &n_volumes, &e);
	for (i = 0; r == 0 && i < n; i++)
		for (k = 0; !list[i].made && k < n_volumes; k++)
			if (volumes[k].id == list[i].volume_id)
				r = volume_snapshot_drop(s, volumes[k].tenant,
							 &list[i], &e);
	if (r < 0)
		log_warn("snapshots: %s", e.msg);
}
