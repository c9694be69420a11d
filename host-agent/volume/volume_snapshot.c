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

	int r;

	/* From here on it is none: should this end in between, the next start
	 * does the rest. */
	r = snap->made ? state_snapshot_made(s->state, snap->id, false, e) : 0;
	if (r < 0)
		return r;
	volume_snapshot_file(snap->id, name);
	if (dir >= 0 && unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove '%s'", name);
	if (dir >= 0 && fsync(dir) < 0)
		return err_sys(e, errno, "remove '%s'", name);
	return state_snapshot_remove(s->state, snap->id, e);
}

/* What is known of it may be old: it may have grown since, or gone. */
static int read_again(struct volume_store *s, struct state_volume *v,
		      struct err *e)
{
	struct state_volume now;
	int r;

	r = state_volume_find(s->state, v->tenant, v->stack, v->name, &now, e);
	if (r == -ENOENT || (r == 0 && (now.id != v->id || now.deleting)))
		return err_set(e, EBUSY, "it is being deleted, or imported");
	if (r == 0 && !now.made)
		return err_set(e, EBUSY, "it is not made yet");
	if (r == 0)
		*v = now;
	return r;
}

int volume_copy_claim(struct volume_store *s, struct state_volume *v,
		      bool writes, int64_t *ret_holder, struct err *e)
{
	int64_t other, mine;
	int r;

	*ret_holder = 0;
	pthread_mutex_lock(&s->lock);
	mine = --s->last_copy;
	r = read_again(s, v, e);
	if (r == 0)
		r = state_volume_claim(s->state, v->id, mine, writes, &other,
				       e);
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
		r = state_snapshot_made(s->state, snap->id, true, e);
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
		.created_at = (int64_t)now_realtime_ns(),
	};
	struct state_volume now = *v;
	int64_t holder = 0;
	int r = 0;

	snprintf(snap.name, sizeof(snap.name), "%s", name);
	if (!quiet)
		r = volume_copy_claim(s, &now, false, &holder, e);
	if (r < 0)
		return wrap(e, v, name);
	snap.size = now.made;
	r = make_snapshot(s, &now, &snap, quiet, e);
	if (holder)
		volume_detached(s, v->id, holder, NULL);
	return r < 0 ? wrap(e, v, name) : 0;
}

/* ----------------------------------------------------------- using one */

/* Of what is to take the place of a volume's file. */
static void fresh_name(int64_t id, char out[40])
{
	char name[32];

	volume_file_name(id, name);
	snprintf(out, 40, "%s.new", name);
}

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

int volume_snapshot_open(struct volume_store *s, const struct state_volume *v,
			 const struct state_snapshot *snap, struct err *e)
{
	_cleanup_close_ int dir = volume_dir(s, v->tenant, false, e), fd = -1;
	struct stat st;
	char name[32];
	int r;

	if (dir < 0)
		return dir;
	volume_snapshot_file(snap->id, name);
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return err_set(e, ENXIO, "its file '%s/%s/%s' is gone", s->dir,
			       v->tenant, name);
	if (fd < 0 && errno != ELOOP)
		return err_sys(e, errno, "open its file '%s'", name);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_uid != 0 || st.st_size < snap->size || st.st_size > v->size)
		return err_set(e, EEXIST,
			       "'%s/%s/%s' is not the file that hyb made",
			       s->dir, v->tenant, name);
	r = volume_file_check_super(v, fd, name, e);
	return r < 0 ? r : steal_fd(&fd);
}

/* What stands in the volume's place must be a volume's file that nobody has, or
 * nothing: then the volume is lost but for its snapshots. */
static int check_place(struct volume_store *s, const struct state_volume *v,
		       struct err *e)
{
	_cleanup_close_ int old = volume_file_open(s, v, e);

	if (old == -ENXIO) {
		err_clear(e);
		return 0;
	}
	return old < 0 ? old : volume_file_is_free(old, true, e);
}

/* At least as large as the volume is, so that its row is true on either side of
 * the rename; the file system grows when it is mounted. Not smaller than the
 * snapshot: what has grown may be larger than the row says. */
static int write_back(struct volume_store *s, const struct state_volume *v,
		      int from, int to, struct err *e)
{
	struct stat st;
	int r = copy_whole(s, from, to, e);

	if (r < 0)
		return r;
	if (fstat(to, &st) < 0 ||
	    (st.st_size < v->made && ftruncate(to, v->made) < 0) ||
	    fsync(to) < 0)
		return err_sys(e, errno, "restore");
	return 0;
}

/* Written whole beside, then put in its place. */
static int put_back(struct volume_store *s, const struct state_volume *v,
		    const struct state_snapshot *snap, struct err *e)
{
	_cleanup_close_ int dir = volume_dir(s, v->tenant, false, e);
	_cleanup_close_ int from = -1, to = -1;
	char name[32], fresh[40];
	int r;

	if (dir < 0)
		return dir;
	volume_file_name(v->id, name);
	fresh_name(v->id, fresh);
	r = check_place(s, v, e);
	if (r < 0)
		return r;
	from = volume_snapshot_open(s, v, snap, e);
	if (from < 0)
		return from;
	to = new_file(dir, fresh, e);
	if (to < 0)
		return to;
	r = write_back(s, v, from, to, e);
	if (r == 0 && (renameat(dir, fresh, dir, name) < 0 || fsync(dir) < 0))
		r = err_sys(e, errno, "restore");
	if (r < 0)
		unlinkat(dir, fresh, 0);
	return r;
}

int volume_restore(struct volume_store *s, const struct state_volume *v,
		   const char *name, struct err *e)
{
	struct state_volume now = *v;
	struct state_snapshot snap;
	int64_t holder;
	int r;

	r = volume_snapshot_find(s, v, name, &snap, e);
	if (r < 0)
		return r;
	r = volume_copy_claim(s, &now, true, &holder, e);
	if (r == 0) {
		r = put_back(s, &now, &snap, e);
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

static int purge_of(struct volume_store *s, const struct state_volume *v,
		    struct err *e)
{
	_cleanup_free_ struct state_snapshot *list = NULL;
	_cleanup_close_ int dir = volume_dir(s, v->tenant, false, e);
	char fresh[40];
	size_t n = 0, i;
	int r;

	fresh_name(v->id, fresh);
	if (dir >= 0 && unlinkat(dir, fresh, 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove '%s'", fresh);
	r = state_snapshot_list(s->state, v->id, &list, &n, e);
	for (i = 0; r == 0 && i < n; i++)
		if (!list[i].made)
			r = volume_snapshot_drop(s, v->tenant, &list[i], e);
	return r;
}

void volume_purge(struct volume_store *s)
{
	_cleanup_free_ struct state_volume *list = NULL;
	struct err e = ERR_INIT;
	size_t n = 0, i;

	if (state_volume_list(s->state, &list, &n, &e) < 0)
		log_warn("volumes: %s", e.msg);
	for (i = 0; i < n; i++) {
		if (purge_of(s, &list[i], &e) < 0)
			log_warn("volume '%s': %s", list[i].name, e.msg);
		/* Nobody was told that it is there, and nothing is in it. */
		if (!list[i].made && !list[i].deleting &&
		    volume_mark(s, &list[i], &e) < 0)
			log_warn("%s", e.msg);
	}
	volume_reap(s);
}
