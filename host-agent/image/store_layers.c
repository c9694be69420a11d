/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/store_layers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"

/* Unless it is configured: of the file system, at most so many bytes. */
#define PART_OF_DISK 10
#define BYTES_MAX    (8ull << 30)
/* Who has had nothing for so long is not waited for. */
#define STALLED_MS 10000

static bool is_hex(const char *name)
{
	return strlen(name) == 64 && strspn(name, "0123456789abcdef") == 64;
}

/* ----------------------------------------------------------- one pull's */

static struct layer *find(const struct layers *l, const char *hex)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (strcmp(l->list[i].hex, hex) == 0)
			return (struct layer *)&l->list[i];
	}
	return NULL;
}

int layers_begin(struct image_store *s, const struct oci_manifest *m,
		 const char *from, struct layers **ret, struct err *e)
{
	struct layers *l = calloc(1, sizeof(*l));
	size_t i;

	if (!l)
		return err_sys(e, ENOMEM, "image store");
	l->from = from;
	l->moved_ms = now_ms();
	for (i = 0; i < m->n_layers && l->n < HYB_OCI_LAYERS_MAX; i++) {
		const struct oci_descriptor *d = &m->layers[i];
		struct layer *x = &l->list[l->n];

		if (find(l, d->digest + 7))
			continue;
		snprintf(x->hex, sizeof(x->hex), "%.64s", d->digest + 7);
		x->size = d->size;
		l->n++;
	}
	pthread_mutex_lock(&s->lock);
	l->next = s->layers;
	s->layers = l;
	pthread_mutex_unlock(&s->lock);
	*ret = l;
	return 0;
}

static bool same_registry(const char *a, const char *b)
{
	size_t n = strcspn(a, "/");

	return n == strcspn(b, "/") && strncmp(a, b, n) == 0;
}

/* Whether it is worth while to wait for another's: of the same registry, so
 * that nobody can be made to wait by a registry of somebody's own, and only as
 * long as something comes. */
static bool is_coming(const struct image_store *s, const struct layers *l,
		      const char *hex)
{
	const struct layers *o;

	for (o = s->layers; o; o = o->next) {
		const struct layer *x;

		if (o == l || !same_registry(o->from, l->from) ||
		    now_ms() - o->moved_ms > STALLED_MS)
			continue;
		x = find(o, hex);
		if (x && x->fetched)
			return true;
	}
	return false;
}

static bool is_there(const struct image_store *s, const struct layer *x)
{
	struct stat st;

	return fstatat(s->layers_fd, x->hex, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode) && (uint64_t)st.st_size == x->size;
}

static int take_locked(struct image_store *s, struct layers *l, int dir_fd)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		if (!is_there(s, &l->list[i]) &&
		    is_coming(s, l, l->list[i].hex))
			return -EAGAIN;
	}
	l->rest = 0;
	for (i = 0; i < l->n; i++) {
		struct layer *x = &l->list[i];

		x->linked = is_there(s, x) && linkat(s->layers_fd, x->hex,
						     dir_fd, x->hex, 0) == 0;
		x->fetched = !x->linked;
		if (x->fetched)
			l->rest += x->size;
	}
	l->moved_ms = now_ms();
	return 0;
}

int layers_take(struct image_store *s, struct layers *l, int dir_fd)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = take_locked(s, l, dir_fd);
	pthread_mutex_unlock(&s->lock);
	return r;
}

bool layers_linked(const struct layers *l, const char *name)
{
	const struct layer *x = find(l, name);

	return x && x->linked;
}

void layers_moved(struct image_store *s, struct layers *l)
{
	pthread_mutex_lock(&s->lock);
	l->moved_ms = now_ms();
	pthread_mutex_unlock(&s->lock);
}

void layers_stop(struct image_store *s, struct layers *l)
{
	size_t i;

	pthread_mutex_lock(&s->lock);
	for (i = 0; i < l->n; i++)
		l->list[i].fetched = false;
	pthread_mutex_unlock(&s->lock);
}

/* --------------------------------------------------------------- keeping */

/* Makes a file of skopeo's user one that nobody can write: 0 or -errno.
 * Safe because it is that user's own (no link to another's, which would become
 * readable) and regular; because a new owner and mode end the right to open it
 * anew (the mode is the mask of an access list, too); and because the kernel
 * gives a lease for reading only where nobody has it open or mapped for
 * writing. */
static int seal(int fd, const struct layer *x, uid_t uid)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1 ||
	    (uint64_t)st.st_size != x->size || st.st_uid != uid)
		return -EBADMSG;
	if ((geteuid() == 0 && fchown(fd, 0, 0) < 0) || fchmod(fd, 0444) < 0)
		return -errno;
	if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0 ||
	    fcntl(fd, F_SETLEASE, F_UNLCK) < 0)
		return -errno;
	return 0;
}

static bool is_right(int fd, const struct layer *x)
{
	const struct image_part p = {.fd = fd, .size = x->size};
	char digest[72];

	return image_digest_part(&p, NULL, NULL, digest, NULL) == 0 &&
	       strcmp(digest + 7, x->hex) == 0;
}

/* A link is made at once, under the final name: there is never a part. What is
 * there already may be damaged, so this one takes its place. */
static int put(struct image_store *s, const struct layer *x, int fd)
{
	char from[64], tmp[80];
	int r = 0;

	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, from, s->layers_fd, x->hex, AT_SYMLINK_FOLLOW) ==
	    0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	snprintf(tmp, sizeof(tmp), "layer-%s", x->hex);
	pthread_mutex_lock(&s->lock);
	if (linkat(AT_FDCWD, from, s->tmp_fd, tmp, AT_SYMLINK_FOLLOW) < 0 ||
	    renameat(s->tmp_fd, tmp, s->layers_fd, x->hex) < 0)
		r = -errno;
	unlinkat(s->tmp_fd, tmp, 0); /* where both were one file */
	pthread_mutex_unlock(&s->lock);
	return r;
}

static int keep(struct image_store *s, const struct layer *x, int dir_fd,
		uid_t uid)
{
	_cleanup_close_ int fd = openat(
		dir_fd, x->hex, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = seal(fd, x, uid);
	if (r < 0)
		return r;
	return is_right(fd, x) ? put(s, x, fd) : -EBADMSG;
}

void layers_keep(struct image_store *s, struct layers *l, int dir_fd, uid_t uid)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		struct layer *x = &l->list[i];
		int r;

		if (!x->fetched)
			continue;
		r = keep(s, x, dir_fd, uid);
		if (r == -ENOENT)
			continue;
		pthread_mutex_lock(&s->lock);
		x->fetched = false;
		l->n_kept += r == 0;
		l->moved_ms = now_ms();
		pthread_mutex_unlock(&s->lock);
	}
}

size_t layers_check(struct image_store *s, const struct layers *l)
{
	size_t i, n = 0;

	for (i = 0; i < l->n; i++) {
		const struct layer *x = &l->list[i];
		_cleanup_close_ int fd = -1;

		if (!x->linked)
			continue;
		fd = openat(s->layers_fd, x->hex,
			    O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0 && is_right(fd, x))
			continue;
		unlinkat(s->layers_fd, x->hex, 0);
		n++;
	}
	return n;
}

/* --------------------------------------------------------------- removing */

struct entry {
	char hex[65];
	uint64_t size;
	struct timespec used;
};

static int by_use(const void *va, const void *vb)
{
	const struct entry *a = va, *b = vb;

	if (a->used.tv_sec != b->used.tv_sec)
		return a->used.tv_sec < b->used.tv_sec ? -1 : 1;
	return (a->used.tv_nsec > b->used.tv_nsec) -
	       (a->used.tv_nsec < b->used.tv_nsec);
}

static bool is_pulled(const struct image_store *s, const char *hex)
{
	const struct layers *l;

	for (l = s->layers; l; l = l->next) {
		if (find(l, hex))
			return true;
	}
	return false;
}

/* All of them, those first that were not used for longest. NULL: none, or no
 * memory, which only means that nothing is removed. */
static struct entry *list(const struct image_store *s, size_t *ret_n)
{
	_cleanup_closedir_ DIR *d = store_open_folder(s->layers_fd);
	struct entry *all = NULL;
	size_t n = 0, cap = 0;
	struct dirent *de;
	struct stat st;

	while (d && (de = readdir(d))) {
		void *more = all;

		if (!is_hex(de->d_name) ||
		    fstatat(s->layers_fd, de->d_name, &st,
			    AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (store_grow(&more, sizeof(*all), n, &cap) < 0)
			break;
		all = more;
		memcpy(all[n].hex, de->d_name, sizeof(all[n].hex));
		all[n].size = (uint64_t)st.st_size;
		all[n++].used = st.st_mtim;
	}
	if (n > 1)
		qsort(all, n, sizeof(*all), by_use);
	*ret_n = n;
	return all;
}

static uint64_t limit(const struct image_store *s)
{
	struct statvfs v;
	uint64_t part;

	if (s->c.layer_cache)
		return s->c.layer_cache == IMAGE_NO_LAYER_CACHE
			       ? 0
			       : s->c.layer_cache;
	if (fstatvfs(s->layers_fd, &v) < 0)
		return BYTES_MAX;
	part = (uint64_t)v.f_blocks * v.f_frsize / PART_OF_DISK;
	return part < BYTES_MAX ? part : BYTES_MAX;
}

/* With the lock held. Bytes that went. */
static uint64_t shrink(struct image_store *s, uint64_t max)
{
	size_t i, n;
	_cleanup_free_ struct entry *all = list(s, &n);
	uint64_t sum = 0, gone = 0;

	for (i = 0; i < n; i++)
		sum += all[i].size;
	for (i = 0; i < n && sum - gone > max; i++) {
		if (is_pulled(s, all[i].hex) ||
		    unlinkat(s->layers_fd, all[i].hex, 0) < 0)
			continue;
		gone += all[i].size;
	}
	return gone;
}

uint64_t layers_give_way(struct image_store *s)
{
	uint64_t gone;

	pthread_mutex_lock(&s->lock);
	gone = shrink(s, 0);
	pthread_mutex_unlock(&s->lock);
	return gone;
}

static bool is_needed(const struct image_store *s, const char *hex,
		      bool (*goes)(const void *arg, const char *digest),
		      const void *arg)
{
	size_t i;

	for (i = 0; i < s->n_images; i++) {
		if (!goes(arg, s->images[i].digest) &&
		    strstr(s->images[i].layers, hex))
			return true;
	}
	return false;
}

uint64_t layers_prune(struct image_store *s,
		      bool (*goes)(const void *arg, const char *digest),
		      const void *arg, bool dry_run, uint64_t *ret_n)
{
	size_t i, n;
	_cleanup_free_ struct entry *all = list(s, &n);
	uint64_t gone = 0, bytes = 0;

	for (i = 0; i < n; i++) {
		if (is_pulled(s, all[i].hex) ||
		    (goes && is_needed(s, all[i].hex, goes, arg)))
			continue;
		if (!dry_run && unlinkat(s->layers_fd, all[i].hex, 0) < 0)
			continue;
		bytes += all[i].size;
		gone++;
	}
	if (ret_n)
		*ret_n = gone;
	return bytes;
}

void layers_usage(const struct image_store *s, struct image_usage *ret)
{
	_cleanup_free_ struct entry *all = list(s, &ret->n_layers);
	size_t i;

	ret->layers = 0;
	for (i = 0; i < ret->n_layers; i++)
		ret->layers += all[i].size;
	ret->layers_max = limit(s);
}

static void touch(const struct image_store *s, const struct layers *l)
{
	uint64_t now = now_realtime_ns();
	size_t i;

	for (i = 0; i < l->n; i++) {
		const uint64_t ns = now - i;
		const struct timespec t[2] = {
			{.tv_nsec = UTIME_OMIT},
			{.tv_sec = (time_t)(ns / 1000000000),
			 .tv_nsec = (long)(ns % 1000000000)},
		};

		utimensat(s->layers_fd, l->list[i].hex, t, AT_SYMLINK_NOFOLLOW);
	}
}

void layers_end(struct image_store *s, struct layers *l)
{
	struct layers **at;

	if (!l)
		return;
	pthread_mutex_lock(&s->lock);
	for (at = &s->layers; *at != l; at = &(*at)->next)
		;
	*at = l->next;
	touch(s, l);
	shrink(s, limit(s));
	pthread_mutex_unlock(&s->lock);
	free(l);
}
