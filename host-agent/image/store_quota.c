/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store may take. What its files take on disk is told to whoever counts
 * before there is more of it, and after there is less: so what is counted is
 * never less than what is there, wherever this process is killed. Of two loads
 * at once the store's lock lets one ask after the other.
 *
 * What is on its way is bounded apart: by what is left, as it is converted, and
 * by the whole limit, as it is fetched or read from a pipe.
 */
#include "host-agent/image/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"

/* Small images come through whatever the limit. */
#define TEMP_MIN ((uint64_t)64 << 20)
/* Of a description, beside the configuration in it. */
#define META_BYTES ((uint64_t)8192)
/* At once, in a store with a limit. */
#define LOADS_MAX 8
/* Of a store with a limit: what hybd keeps of images in memory. */
#define IMAGES_MAX     4096
#define CONFIG_SUM_MAX ((size_t)64 << 20)

static uint64_t blocks_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

uint64_t store_dir_bytes(int dir)
{
	_cleanup_closedir_ DIR *d = store_open_folder(dir);
	struct dirent *de;
	uint64_t sum = 0;

	while (d && (de = readdir(d))) {
		struct stat st;

		if (de->d_name[0] != '.' &&
		    fstatat(dir, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			sum += (uint64_t)st.st_blocks * 512;
	}
	return sum;
}

static uint64_t used(const struct image_store *s)
{
	return store_dir_bytes(s->erofs_fd) + store_dir_bytes(s->meta_fd);
}

static int hold(struct image_store *s, uint64_t bytes, bool check,
		struct err *e)
{
	const struct image_quota *q = &s->c.quota;

	return q->hold(q->arg, s->tenant, bytes, check, e);
}

void store_quota_settle(struct image_store *s)
{
	/* What could not be written is too much, which the next time mends. */
	if (s->c.quota.hold)
		(void)hold(s, used(s), false, NULL);
}

/* ------------------------------------------------------- what is to come */

/* Will it have no file of its own? */
static bool is_known(struct image_store *s, const struct store_ready *list,
		     size_t i)
{
	struct stored copy = list[i].i;
	size_t k;

	for (k = 0; k < i; k++)
		if (strcmp(list[k].i.key, copy.key) == 0)
			return true;
	return store_take_existing(s, &copy);
}

/* The base of a difference may be gone. */
static bool has_base(const struct image_store *s,
		     const struct store_ready *list, size_t i)
{
	const char *key = list[i].i.base.key;
	uint64_t size;
	int64_t mtime;
	size_t k;

	for (k = 0; k < i; k++)
		if ((strcmp(list[k].i.key, key) == 0 &&
		     !list[k].i.base.key[0]) ||
		    (list[k].base >= 0 && strcmp(list[k].i.base.key, key) == 0))
			return true;
	return store_find_whole(s, key, &size, &mtime);
}

/* What is another store's as well counts in full: it stays when that goes, and
 * nothing is told by how much it takes. */
static uint64_t own_bytes(const struct image_store *s,
			  const struct store_ready *list, size_t i)
{
	const struct store_ready *y = &list[i];

	if (y->twin >= 0)
		return blocks_of(y->twin);
	if (!y->i.base.key[0])
		return blocks_of(y->whole.fd);
	if (has_base(s, list, i))
		return blocks_of(y->diff.fd);
	return y->base >= 0 ? blocks_of(y->diff.fd) + blocks_of(y->base)
			    : blocks_of(y->whole.fd);
}

static int check_count(const struct image_store *s,
		       const struct store_ready *list, size_t n, struct err *e)
{
	size_t i, sum = 0;

	for (i = 0; i < s->n_images; i++)
		sum += strlen(s->images[i].config_text);
	for (i = 0; i < n; i++)
		sum += strlen(list[i].i.config_text);
	if (s->n_images + n <= IMAGES_MAX && sum <= CONFIG_SUM_MAX)
		return 0;
	return err_set(e, EDQUOT,
		       "QuotaExceeded: tenant '%s': images: at most %d, whose "
		       "configurations have %zu MiB together",
		       s->tenant, IMAGES_MAX, CONFIG_SUM_MAX >> 20);
}

int store_quota_take(struct image_store *s, const struct store_ready *list,
		     size_t n, struct err *e)
{
	uint64_t bytes;
	size_t i;
	int r;

	if (!s->c.quota.hold)
		return 0;
	r = check_count(s, list, n, e);
	if (r < 0)
		return r;
	bytes = used(s);
	for (i = 0; i < n; i++) {
		if (!store_find_digest(s, list[i].i.digest))
			bytes += META_BYTES + strlen(list[i].i.config_text);
		if (is_known(s, list, i))
			continue;
		bytes += own_bytes(s, list, i);
	}
	return hold(s, bytes, true, e);
}

/* ------------------------------------------------------------ on its way */

static int exceeded(struct image_store *s, uint64_t more, struct err *e)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = hold(s, used(s) + more, true, e);
	if (r == 0) {
		/* There is more room than a moment ago. */
		store_quota_settle(s);
		r = err_set(e, EDQUOT,
			    "QuotaExceeded: tenant '%s': storage: the image "
			    "does not fit",
			    s->tenant);
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* An image whose file is there takes nothing, and one that is stored as what
 * differs from another as much less as that has. */
static uint64_t largest_whole(struct image_store *s)
{
	uint64_t most = 0;
	size_t i;

	pthread_mutex_lock(&s->lock);
	for (i = 0; i < s->n_images; i++)
		if (s->images[i].erofs_size > most)
			most = s->images[i].erofs_size;
	pthread_mutex_unlock(&s->lock);
	return most;
}

int store_quota_begin(struct image_store *s, struct store_limits *ret,
		      struct err *e)
{
	const struct image_quota *q = &s->c.quota;
	uint64_t most = UINT64_MAX, left = UINT64_MAX;
	int r = q->left ? q->left(q->arg, s->tenant, &most, &left, e) : 0;

	if (r < 0)
		return r;
	ret->temp = ret->whole = s->c.max_bytes;
	if (most == UINT64_MAX)
		return 0;
	if (most < ret->temp)
		ret->temp = most + TEMP_MIN;
	left += largest_whole(s);
	if (left < ret->whole)
		ret->whole = left;
	return left ? 0 : exceeded(s, 1, e);
}

int store_quota_check_temp(struct image_store *s, uint64_t bytes, struct err *e)
{
	struct store_limits max;
	int r = store_quota_begin(s, &max, e);

	if (r < 0 || bytes <= max.temp)
		return r;
	if (max.temp == s->c.max_bytes)
		return err_set(e, EFBIG, "the image is larger than the limit");
	return exceeded(s, bytes, e);
}

int store_quota_progress(void *arg, const char *phase, uint64_t done,
			 uint64_t total)
{
	struct store_watch *w = arg;

	if (blocks_of(w->fd) > w->most) {
		w->over = true;
		return 1;
	}
	return w->progress ? w->progress(w->arg, phase, done, total) : 0;
}

int store_quota_over(struct image_store *s, const struct store_watch *w,
		     struct err *e)
{
	return exceeded(s, blocks_of(w->fd), e);
}

/* ------------------------------------------------------------ how many */

int store_enter(struct image_store *s, struct err *e)
{
	bool full;

	pthread_mutex_lock(&s->lock);
	full = s->c.quota.hold && s->n_loads >= LOADS_MAX;
	s->n_loads += !full;
	pthread_mutex_unlock(&s->lock);
	if (!full)
		return 0;
	err_set(e, EBUSY, "%d images of tenant '%s' are on their way already",
		LOADS_MAX, s->tenant);
	err_hint(e, "try again when one of them is there");
	return -EBUSY;
}

void store_leave(struct image_store *s)
{
	pthread_mutex_lock(&s->lock);
	s->n_loads--;
	pthread_mutex_unlock(&s->lock);
}
