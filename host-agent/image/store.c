/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/store_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "host-agent/image/image_ref.h"
#include "host-agent/image/image_short.h"
#include "host-agent/image/store_layers.h"

#define TIMEOUT_MS (3600ull * 1000)
#define BYTES_MAX  (64ull << 30)
/* "/erofs/" 64 digits ".erofs" must fit behind it. */
#define DIR_MAX 3900

void image_info_free(struct image_info *i)
{
	if (i)
		arena_free(i->arena);
}

void image_info_free_list(struct image_info **list)
{
	size_t n;

	for (n = 0; list && list[n]; n++)
		image_info_free(list[n]);
	free(list);
}

/* --------------------------------------------------------------- opening */

static int open_dir(struct image_store *s, const char *name, mode_t mode,
		    int *ret, struct err *e)
{
	if (name[0] && mkdirat(s->dir_fd, name, mode) < 0 && errno != EEXIST)
		return err_sys(e, errno, "image store: make '%s'", name);
	*ret = openat(s->dir_fd, name,
		      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*ret < 0 || fchmod(*ret, mode) < 0)
		return err_sys(e, errno, "image store: '%s'", name);
	return 0;
}

static int take_lock(struct image_store *s, struct err *e)
{
	int r;

	s->lock_fd = openat(s->dir_fd, "lock",
			    O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (s->lock_fd < 0)
		return err_sys(e, errno, "image store '%s': lock", s->dir);
	r = fd_lock(s->lock_fd);
	if (r == -EBUSY)
		return err_set(e, EBUSY,
			       "image store '%s' is open in another process",
			       s->dir);
	return r < 0 ? err_sys(e, -r, "image store '%s': lock", s->dir) : 0;
}

/* What an earlier process was fetching when it ended. */
static int sweep_tmp(struct image_store *s, struct err *e)
{
	char path[4096];
	int r;

	snprintf(path, sizeof(path), "%s/tmp", s->dir);
	r = path_remove(path, e);
	if (r < 0)
		return r;
	return open_dir(s, "tmp", 0711, &s->tmp_fd, e);
}

static int open_folders(struct image_store *s, struct err *e)
{
	int r = dir_make(s->dir, 0711, e);

	if (r < 0)
		return err_wrap(e, "image store");
	s->dir_fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir_fd < 0)
		return err_sys(e, errno, "image store '%s'", s->dir);
	if (fchmod(s->dir_fd, 0711) < 0)
		return err_sys(e, errno, "image store '%s'", s->dir);
	r = take_lock(s, e);
	if (r == 0)
		r = open_dir(s, "erofs", 0700, &s->erofs_fd, e);
	if (r == 0)
		r = open_dir(s, "meta", 0700, &s->meta_fd, e);
	if (r == 0)
		r = open_dir(s, "layers", 0700, &s->layers_fd, e);
	return r < 0 ? r : sweep_tmp(s, e);
}

static int set_config(struct image_store *s, const struct image_store_config *c)
{
	s->c = *c;
	s->dir = strdup(c->dir);
	s->program = strdup(c->hyb_image);
	s->skopeo = strdup(c->skopeo ? c->skopeo : "skopeo");
	s->tenant = strdup(c->tenant ? c->tenant : "");
	s->registries = strdup(c->registries ? c->registries : IMAGE_SHORT_DIR);
	s->c.registries = s->registries;
	s->c.dir = s->dir;
	s->c.tenant = s->tenant;
	s->c.hyb_image = s->program;
	s->c.skopeo = s->skopeo;
	if (!s->c.max_bytes)
		s->c.max_bytes = BYTES_MAX;
	if (!s->c.timeout_ms)
		s->c.timeout_ms = TIMEOUT_MS;
	return s->dir && s->program && s->skopeo && s->registries && s->tenant
		       ? 0
		       : -ENOMEM;
}

int image_store_open(const struct image_store_config *config,
		     struct image_store **ret, struct err *e)
{
	struct image_store *s;
	int r;

	if (config->dir[0] != '/' || strlen(config->dir) > DIR_MAX)
		return err_set(e, EINVAL,
			       "image store: its folder must be an absolute "
			       "path of at most %d bytes",
			       DIR_MAX);
	s = calloc(1, sizeof(*s));
	if (!s)
		return err_sys(e, ENOMEM, "image store");
	s->dir_fd = s->erofs_fd = s->meta_fd = s->layers_fd = -1;
	s->tmp_fd = s->lock_fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	atomic_init(&s->refs, 1);
	store_pull_init(s);
	r = set_config(s, config);
	if (r < 0)
		err_sys(e, ENOMEM, "image store");
	if (r == 0)
		r = open_folders(s, e);
	if (r == 0)
		r = store_index_load(s, e);
	if (r < 0) {
		image_store_close(s);
		return r;
	}
	store_quota_settle(s);
	*ret = s;
	return 0;
}

void image_store_close(struct image_store *s)
{
	if (!s)
		return;
	store_index_free(s);
	cleanup_close(&s->dir_fd);
	cleanup_close(&s->erofs_fd);
	cleanup_close(&s->meta_fd);
	cleanup_close(&s->layers_fd);
	cleanup_close(&s->tmp_fd);
	cleanup_close(&s->lock_fd);
	pthread_cond_destroy(&s->pulled);
	pthread_mutex_destroy(&s->lock);
	free(s->dir);
	free(s->program);
	free(s->skopeo);
	free(s->registries);
	free(s->tenant);
	free(s);
}

struct image_store *image_store_ref(struct image_store *s)
{
	atomic_fetch_add(&s->refs, 1);
	return s;
}

void image_store_put(struct image_store *s)
{
	if (s && atomic_fetch_sub(&s->refs, 1) == 1)
		image_store_close(s);
}

/* --------------------------------------------------------------- looking */

/* What the base of a difference is called, which may have no image now. */
static const char *base_name(struct image_store *s, const struct stored *i)
{
	size_t k;

	for (k = 0; k < s->n_names; k++)
		if (strcmp(s->names[k].digest, i->base.digest) == 0)
			return image_ref_familiar(s->names[k].full);
	return i->base.digest;
}

static int get_locked(struct image_store *s, const char *reference,
		      struct image_info **ret, struct err *e)
{
	struct stored *i;
	bool base;
	int name, r = store_find(s, reference, &i, &name, e);
	const char *why;

	if (r < 0)
		return r;
	r = store_check(s, i, &base);
	if (r == 0)
		return store_make_info(s, i, name, ret, e);
	why = r == -ENOENT ? "is gone" : "was changed since it was written";
	if (base) {
		err_set(e, EUCLEAN,
			"image '%s' is stored as what differs from image '%s', "
			"whose file in the store %s",
			reference, base_name(s, i), why);
		err_hint(e, "load or pull one of them again");
	} else {
		err_set(e, EUCLEAN, "image '%s': its file in the store %s",
			reference, why);
		err_hint(e, "load or pull the image again");
	}
	return -EUCLEAN;
}

int image_store_get(struct image_store *s, const char *reference,
		    struct image_info **ret, struct err *e)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = get_locked(s, reference, ret, e);
	pthread_mutex_unlock(&s->lock);
	return r;
}

static int by_name(const void *va, const void *vb)
{
	const struct image_info *a = *(struct image_info *const *)va;
	const struct image_info *b = *(struct image_info *const *)vb;

	if (!a->names[0] || !b->names[0])
		return !a->names[0] && !b->names[0]
			       ? strcmp(a->digest, b->digest)
			       : (a->names[0] ? -1 : 1);
	return strcmp(a->names[0], b->names[0]);
}

int image_store_list(struct image_store *s, struct image_info ***ret,
		     struct err *e)
{
	_cleanup_image_info_list_ struct image_info **list = NULL;
	size_t i;
	int r = 0;

	pthread_mutex_lock(&s->lock);
	list = calloc(s->n_images + 1, sizeof(struct image_info *));
	if (!list)
		r = err_sys(e, ENOMEM, "image store");
	for (i = 0; r == 0 && i < s->n_images; i++)
		r = store_make_info(s, &s->images[i], -1, &list[i], e);
	if (r == 0)
		qsort(list, s->n_images, sizeof(struct image_info *), by_name);
	pthread_mutex_unlock(&s->lock);
	if (r < 0)
		return r;
	*ret = steal_ptr(list);
	return 0;
}

void image_store_usage(struct image_store *s, struct image_usage *ret)
{
	ret->images = store_dir_bytes(s->erofs_fd);
	layers_usage(s, ret);
}

/* -------------------------------------------------------------- removing */

static size_t count_names(const struct image_store *s, const char *digest)
{
	size_t i, n = 0;

	for (i = 0; i < s->n_names; i++)
		n += strcmp(s->names[i].digest, digest) == 0;
	return n;
}

static int add_removed(char **list, size_t *n, const char *s)
{
	list[*n] = strdup(s);
	return list[(*n)++] ? 0 : -ENOMEM;
}

/* The image with all its names. Its description goes first: from then on, a
 * crash leaves only what the next start sweeps. */
static int remove_image(struct image_store *s, struct stored *i, char **list,
			size_t *n, struct err *e)
{
	char file[80], digest[72];
	size_t k;

	memcpy(digest, i->digest, sizeof(digest));
	snprintf(file, sizeof(file), "%s.json", digest + 7);
	if (unlinkat(s->meta_fd, file, 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove image %s", digest);
	fsync(s->meta_fd);
	for (k = s->n_names; k-- > 0;) {
		if (strcmp(s->names[k].digest, digest) != 0)
			continue;
		add_removed(list, n, image_ref_familiar(s->names[k].full));
		store_drop_name(s, k);
	}
	add_removed(list, n, digest);
	store_drop_image(s, i);
	(void)store_sweep(s, NULL); /* what stays, the next start sweeps */
	return store_save_names(s, e);
}

static int remove_locked(struct image_store *s, const char *reference,
			 image_in_use in_use, void *arg, char ***ret,
			 struct err *e)
{
	char **list;
	struct stored *i;
	size_t n = 0, names;
	int name, r = store_find(s, reference, &i, &name, e);

	if (r < 0)
		return r;
	names = count_names(s, i->digest);
	list = calloc(names + 2, sizeof(*list));
	if (!list)
		return err_sys(e, ENOMEM, "image store");
	if (name >= 0 && names > 1) {
		add_removed(list, &n, image_ref_familiar(s->names[name].full));
		store_drop_name(s, (size_t)name);
		r = store_save_names(s, e);
	} else if (in_use && in_use(arg, i->digest)) {
		r = err_set(e, EBUSY, "image '%s' is in use", reference);
		err_hint(e, "`hyb ps -a` shows by which containers");
	} else {
		r = remove_image(s, i, list, &n, e);
	}
	if (r < 0) {
		strv_free(list);
		/* What is on disk counts. */
		if (r != -EBUSY)
			store_index_load(s, NULL);
		return r;
	}
	*ret = list;
	return 0;
}

int image_store_remove(struct image_store *s, const char *reference,
		       image_in_use in_use, void *arg, char ***ret_removed,
		       struct err *e)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = remove_locked(s, reference, in_use, arg, ret_removed, e);
	store_quota_settle(s);
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* ------------------------------------------------------------------ pruning */

/* The digests of what goes: of images, not yet of names. */
static size_t find_unused(struct image_store *s, const struct image_prune *p,
			  char (*doomed)[72])
{
	size_t i, n = 0;

	for (i = 0; i < s->n_images; i++) {
		const struct stored *x = &s->images[i];

		if (!p->all && count_names(s, x->digest) > 0)
			continue;
		if (p->in_use && p->in_use(p->arg, x->digest))
			continue;
		memcpy(doomed[n++], x->digest, 72);
	}
	return n;
}

struct doomed {
	const char (*digests)[72];
	size_t n;
};

static bool is_doomed(const void *arg, const char *digest)
{
	const struct doomed *d = arg;
	size_t i;

	for (i = 0; i < d->n; i++) {
		if (strcmp(d->digests[i], digest) == 0)
			return true;
	}
	return false;
}

static void tell_doomed(const struct image_store *s, const char *digest,
			char **list, size_t *n)
{
	size_t i;

	for (i = 0; i < s->n_names; i++) {
		if (strcmp(s->names[i].digest, digest) == 0)
			add_removed(list, n,
				    image_ref_familiar(s->names[i].full));
	}
	add_removed(list, n, digest);
}

static int prune_locked(struct image_store *s, const struct image_prune *p,
			char ***ret, uint64_t *ret_bytes, struct err *e)
{
	_cleanup_free_ char(*doomed)[72] =
		calloc(s->n_images + 1, sizeof(*doomed));
	char **list = calloc(s->n_images + s->n_names + 1, sizeof(*list));
	struct doomed d = {.n = 0};
	size_t i, n_doomed, n = 0;
	int r = 0;

	if (!doomed || !list) {
		free(list);
		return err_sys(e, ENOMEM, "image store");
	}
	n_doomed = find_unused(s, p, doomed);
	d.digests = (const char(*)[72])doomed;
	d.n = n_doomed;
	*ret_bytes = store_count_freed(s, is_doomed, &d) +
		     layers_prune(s, p->all ? NULL : is_doomed, &d, p->dry_run,
				  p->ret_layers);
	for (i = 0; r == 0 && i < n_doomed; i++) {
		if (p->dry_run)
			tell_doomed(s, doomed[i], list, &n);
		else
			r = remove_image(s, store_find_digest(s, doomed[i]),
					 list, &n, e);
	}
	if (r < 0) {
		strv_free(list);
		store_index_load(s, NULL); /* what is on disk counts */
		return r;
	}
	*ret = list;
	return 0;
}

int image_store_prune(struct image_store *s, const struct image_prune *p,
		      char ***ret, uint64_t *ret_bytes, struct err *e)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = prune_locked(s, p, ret, ret_bytes, e);
	store_quota_settle(s);
	pthread_mutex_unlock(&s->lock);
	return r;
}
