/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images into the store. A layer set is always converted, even where a file
 * with its key is there: who loads an image has to show that they have its
 * layers, since the key alone is no secret.
 */
#include "host-agent/image/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "host-agent/image/image_ref.h"
#include "host-agent/image/store_layers.h"
#include "host-agent/image/store_load.h"

/* Goes up whenever hyb-image would write other bytes for the same layers. */
#define EROFS_VERSION "hyb-erofs 1"

static void make_key(const struct image_found *f, char out[65])
{
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	uint8_t sum[32] = {0};
	size_t i;

	EVP_DigestInit_ex(md, EVP_sha256(), NULL);
	EVP_DigestUpdate(md, EROFS_VERSION, sizeof(EROFS_VERSION));
	for (i = 0; i < f->n_layers; i++)
		EVP_DigestUpdate(md, f->layers[i].diff_id,
				 HYB_OCI_DIGEST_LEN + 1);
	EVP_DigestFinal_ex(md, sum, NULL);
	EVP_MD_CTX_free(md);
	hex_format(sum, sizeof(sum), out);
}

static uint64_t number_of(json_t *o, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(o, key));

	return n < 0 ? 0 : (uint64_t)n;
}

static void make_name(struct image_store *s, char name[32])
{
	uint64_t n;

	pthread_mutex_lock(&s->lock);
	n = s->next_tmp++;
	pthread_mutex_unlock(&s->lock);
	snprintf(name, 32, "new-%llu", (unsigned long long)n);
}

/* A file without a name goes with us whatever happens; where the file system
 * has no such (overlayfs of older kernels), one that the next start sweeps. */
static int make_file(struct image_store *s, struct store_temp *t, struct err *e)
{
	t->fd = openat(s->tmp_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (t->fd >= 0)
		return 0;
	make_name(s, t->name);
	t->fd = openat(s->tmp_fd, t->name,
		       O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (t->fd < 0)
		return err_sys(e, errno, "make a file in the image store");
	return 0;
}

static void drop_file(struct image_store *s, struct store_temp *t)
{
	cleanup_close(&t->fd);
	if (t->name[0])
		unlinkat(s->tmp_fd, t->name, 0);
	t->name[0] = '\0';
}

static void ready_done(struct image_store *s, struct store_ready *y)
{
	drop_file(s, &y->whole);
	drop_file(s, &y->diff);
	cleanup_close(&y->twin);
	cleanup_close(&y->base);
	stored_done(&y->i);
}

/* The file that the image is to be. */
static struct store_temp *own_file(struct store_ready *y)
{
	return y->i.base.key[0] ? &y->diff : &y->whole;
}

/* From now on that file is as it will be. */
static int seal(struct store_ready *y, struct err *e)
{
	const struct store_temp *t = own_file(y);
	struct stat st;

	if (fchmod(t->fd, 0444) < 0 || fsync(t->fd) < 0 ||
	    fstat(t->fd, &st) < 0)
		return err_sys(e, errno, "write the image file");
	y->i.file_size = (uint64_t)st.st_size;
	y->i.file_mtime_ns =
		st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec;
	return 0;
}

/* A difference where there is something to differ from, and the whole file
 * else. The whole one stays at hand, unsynced: the base may be gone when the
 * image is committed. */
static int make_diff(struct image_store *s, const struct image_found *f,
		     const struct store_ready *list, size_t n,
		     struct store_ready *y, struct err *e)
{
	int r;

	store_peer_twin(s, y);
	if (y->twin >= 0)
		return 0;
	r = make_file(s, &y->diff, e);
	if (r < 0)
		return r;
	if (store_share_base(s, f, list, n, y) < 0)
		drop_file(s, &y->diff);
	return seal(y, e);
}

/* Runs hyb-image on the layers. */
static int convert(struct image_store *s, const struct image_child *child,
		   const struct image_found *f, struct store_ready *y,
		   struct err *e)
{
	struct store_watch watch = {child->progress, child->arg, -1, 0, false};
	struct image_child c = *child;
	struct stored *ret = &y->i;
	struct store_limits max;
	json_t *result = NULL;
	uint8_t key[32];
	struct stat st;
	int r;

	make_key(f, ret->key);
	if (hex_parse(ret->key, key, sizeof(key)) < 0)
		return err_set(e, EIO, "sha256 does not work");
	r = store_quota_begin(s, &max, e);
	if (r == 0)
		r = make_file(s, &y->whole, e);
	if (r < 0)
		return r;
	watch.fd = y->whole.fd;
	watch.most = max.whole;
	c.progress = store_quota_progress;
	c.arg = &watch;
	c.max_bytes = s->c.max_bytes;
	c.verb = "convert";
	c.phase = "convert";
	c.out = y->whole.fd;
	c.uuid = key;
	c.layers = f->layers;
	c.n_layers = f->n_layers;
	c.total = f->size;
	r = image_child_run(&c, &result, e);
	if (r < 0)
		return watch.over ? store_quota_over(s, &watch, e) : r;
	ret->max_uid = (uint32_t)number_of(result, "max_uid");
	ret->max_gid = (uint32_t)number_of(result, "max_gid");
	ret->erofs_size = number_of(result, "bytes");
	json_decref(result);
	if (fstat(y->whole.fd, &st) < 0)
		return err_sys(e, errno, "write the image file");
	if (st.st_size <= 0 || (uint64_t)st.st_size != ret->erofs_size)
		return err_set(e, EIO,
			       "hyb-image wrote a file of the wrong "
			       "size");
	return 0;
}

/* Gives the file its name, under another first: a rename replaces what is
 * there, a link does not. With the lock held. */
static int publish(struct image_store *s, struct store_ready *y, struct err *e)
{
	struct store_temp *t = own_file(y);
	struct store_file f[2];
	char from[64];

	store_files(&y->i, f);
	snprintf(from, sizeof(from), "/proc/self/fd/%d", t->fd);
	if (!t->name[0]) {
		snprintf(t->name, sizeof(t->name), "new-%llu",
			 (unsigned long long)s->next_tmp++);
		if (linkat(AT_FDCWD, from, s->tmp_fd, t->name,
			   AT_SYMLINK_FOLLOW) < 0)
			return err_sys(e, errno, "write to the image store");
	}
	if (renameat(s->tmp_fd, t->name, s->erofs_fd, f[0].name) < 0 ||
	    fsync(s->erofs_fd) < 0)
		return err_sys(e, errno, "write to the image store");
	t->name[0] = '\0';
	return 0;
}

/* Where and how the bytes of `from`, an image of the same layers, are. */
static void take_files(struct stored *i, const struct stored *from)
{
	i->erofs_size = from->erofs_size;
	i->file_size = from->file_size;
	i->file_mtime_ns = from->file_mtime_ns;
	i->base = from->base;
}

/* What is there stays where it is whole: VMs share its pages. */
bool store_take_existing(struct image_store *s, struct stored *i)
{
	size_t k;

	for (k = 0; k < s->n_images; k++) {
		const struct stored *x = &s->images[k];

		if (strcmp(x->key, i->key) == 0 &&
		    store_check(s, x, NULL) == 0) {
			take_files(i, x);
			return true;
		}
	}
	if (!store_find_whole(s, i->key, &i->file_size, &i->file_mtime_ns))
		return false;
	memset(&i->base, 0, sizeof(i->base));
	return true;
}

/* Other images of the same layers follow the new file, and those that it is
 * the base of. */
static int update_others(struct image_store *s, const struct stored *i,
			 struct err *e)
{
	size_t k;
	int r = 0;

	for (k = 0; r == 0 && k < s->n_images; k++) {
		struct stored *x = &s->images[k];

		if (strcmp(x->digest, i->digest) == 0)
			continue;
		if (strcmp(x->key, i->key) == 0) {
			take_files(x, i);
			r = store_save_meta(s, x, e);
		} else if (!i->base.key[0] &&
			   strcmp(x->base.key, i->key) == 0) {
			x->base.size = i->file_size;
			x->base.mtime_ns = i->file_mtime_ns;
			r = store_save_meta(s, x, e);
		}
	}
	return r;
}

/* It is this store's, or becomes it. */
static bool has_base(struct image_store *s, struct store_ready *y)
{
	struct stored_base *b = &y->i.base;

	if (store_find_whole(s, b->key, &b->size, &b->mtime_ns))
		return true;
	return y->base >= 0 &&
	       store_peer_link(s, y->base, b->key, &b->size, &b->mtime_ns) == 0;
}

/* A difference is one from what is there: the base may have gone since. */
static int place(struct image_store *s, struct store_ready *y, struct err *e)
{
	struct stored *i = &y->i;
	int r = 0;

	if (store_take_existing(s, i))
		return 0;
	if (y->twin >= 0) {
		r = store_peer_link(s, y->twin, i->key, &i->file_size,
				    &i->file_mtime_ns);
		if (r == 0)
			return update_others(s, i, e);
		r = seal(y, e);
	} else if (i->base.key[0] && !has_base(s, y)) {
		memset(&i->base, 0, sizeof(i->base));
		r = seal(y, e);
	}
	if (r == 0)
		r = publish(s, y, e);
	return r < 0 ? r : update_others(s, i, e);
}

/* With the lock held: file, description, names, in this order. */
static int commit(struct image_store *s, struct store_ready *y,
		  const char *const *names, struct image_info **ret,
		  struct err *e)
{
	struct stored *i = &y->i;
	int r = place(s, y, e);

	if (r == 0)
		r = store_save_meta(s, i, e);
	if (r == 0)
		r = store_put(s, i, names, e);
	if (r < 0)
		return r;
	i->config_text = i->layers = NULL; /* the store's now */
	r = store_save_names(s, e);
	/* What the image was before. */
	if (r == 0)
		r = store_sweep(s, e);
	return r < 0 ? r
		     : store_make_info(s, store_find_digest(s, i->digest), -1,
				       ret, e);
}

/* The caller frees it; NULL: no memory. */
static char *list_layers(const struct image_found *f)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t i;

	for (i = 0; i < f->n_layers; i++) {
		if (f->layers[i].digest)
			buf_printf(&b, "%s%s", b.len ? " " : "",
				   f->layers[i].digest + 7);
	}
	return buf_error(&b) < 0 ? NULL : strdup(buf_str(&b));
}

/* Number n of the list. */
static int make_ready(struct image_store *s, const struct image_child *child,
		      const struct image_found *f, struct store_ready *list,
		      size_t n, struct err *e)
{
	struct store_ready *y = &list[n];
	int r;

	y->i.size = f->size;
	r = convert(s, child, f, y, e);
	if (r == -ENOSPC && layers_give_way(s) > 0) {
		drop_file(s, &y->whole);
		err_clear(e);
		r = convert(s, child, f, y, e);
	}
	if (r == -ENOSPC)
		return err_wrap(e, "image store '%s'", s->dir);
	if (r == 0)
		r = make_diff(s, f, list, n, y, e);
	if (r < 0)
		return r;
	memcpy(y->i.digest, f->digest, sizeof(y->i.digest));
	memcpy(y->i.config_digest, f->config_digest,
	       sizeof(y->i.config_digest));
	y->i.config_text = strndup(f->config_text, f->config_len);
	y->i.layers = list_layers(f);
	return y->i.config_text && y->i.layers
		       ? 0
		       : err_sys(e, ENOMEM, "image store");
}

/* All images of a source at once: none is seen before all are right. */
static int commit_all(struct image_store *s, struct store_ready *list,
		      const struct image_found *found, size_t n,
		      const struct load *l, struct image_info **infos,
		      struct err *e)
{
	const char *given[] = {l->name, NULL};
	size_t i;
	int r = 0;

	pthread_mutex_lock(&s->lock);
	if (s->gone)
		r = err_set(e, ENOENT, "its tenant is gone");
	if (r == 0)
		r = store_quota_take(s, list, n, e);
	for (i = 0; r == 0 && i < n; i++)
		r = commit(s, &list[i], l->name ? given : found[i].names,
			   &infos[i], e);
	if (r < 0)
		store_index_load(s, NULL); /* what is on disk counts */
	store_quota_settle(s);
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* What the images are to be called. */
static int check_names(const struct load *l, const struct image_found *found,
		       size_t n, struct err *e)
{
	const char *const *names;
	size_t i;
	int r = 0;

	if (!l->may)
		return 0;
	if (l->name)
		return l->may(l->may_arg, l->name, e);
	for (i = 0; r == 0 && i < n; i++) {
		names = found[i].names;
		if (!names[0])
			r = l->may(l->may_arg, NULL, e);
		for (; r == 0 && *names; names++)
			r = l->may(l->may_arg, *names, e);
	}
	return r;
}

static int load_images(struct image_store *s, const struct load *l,
		       const struct image_child *child,
		       const struct image_found *found, size_t n,
		       struct image_info ***ret, struct err *e)
{
	_cleanup_image_info_list_ struct image_info **infos = NULL;
	struct store_ready *list = NULL;
	size_t i;
	int r = check_names(l, found, n, e);

	if (r < 0)
		return r;
	list = calloc(n, sizeof(*list));
	infos = calloc(n + 1, sizeof(struct image_info *));
	if (!list || !infos) {
		free(list);
		return err_sys(e, ENOMEM, "image store");
	}
	for (i = 0; i < n; i++)
		list[i].whole.fd = list[i].diff.fd = list[i].twin =
			list[i].base = -1;
	for (i = 0; r == 0 && i < n; i++)
		r = make_ready(s, child, &found[i], list, i, e);
	if (r == 0 && child->progress)
		child->progress(child->arg, "store", 0, 0);
	if (r == 0)
		r = commit_all(s, list, found, n, l, infos, e);
	for (i = 0; i < n; i++)
		ready_done(s, &list[i]);
	free(list);
	if (r < 0)
		return r;
	*ret = steal_ptr(infos);
	return 0;
}

/* For the caller, in memory of its own. */
static int tell_skipped(const struct load *l, const struct image_found_set *f,
			struct image_info ***infos, struct err *e)
{
	char **list;
	size_t i;

	if (!l->ret_skipped)
		return 0;
	list = calloc(f->n_skipped + 1, sizeof(*list));
	for (i = 0; list && i < f->n_skipped; i++) {
		list[i] = strdup(f->skipped[i]);
		if (!list[i])
			break;
	}
	if (!list || i < f->n_skipped) {
		strv_free(list);
		image_info_free_list(steal_ptr(*infos));
		return err_sys(e, ENOMEM, "image store");
	}
	*l->ret_skipped = list;
	return 0;
}

static int load_source(struct image_store *s, const struct load *l,
		       const struct image_child *child,
		       struct image_source *src, struct image_info ***ret,
		       struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new(0);
	struct image_found_set found;
	int r;

	if (!a)
		return err_sys(e, ENOMEM, "image store");
	r = image_found_read(src, l->source_name, a, &found, e);
	if (r < 0)
		return r;
	if (l->name && found.n > 1)
		return err_set(e, EINVAL,
			       "it holds %zu images, which cannot all be "
			       "called '%s'",
			       found.n, image_ref_familiar(l->name));
	r = load_images(s, l, child, found.list, found.n, ret, e);
	return r < 0 ? r : tell_skipped(l, &found, ret, e);
}

/* ----------------------------------------------------------------- trees */

struct hashing {
	const struct load *l;
	uint64_t total;
	struct err *e;
};

static int on_hashed(void *arg, uint64_t done)
{
	const struct hashing *h = arg;

	if (now_ms() > h->l->deadline_ms)
		return err_set(h->e, ETIMEDOUT, "it took too long");
	if (h->l->progress &&
	    h->l->progress(h->l->arg, "read", done, h->total) != 0)
		return err_set(h->e, ECANCELED, "cancelled");
	return 0;
}

static int load_tree(struct image_store *s, const struct load *l,
		     const struct image_child *child,
		     const struct image_source *src, struct image_info ***ret,
		     struct err *e)
{
	static const char *const none[] = {NULL};
	const struct image_part p = image_source_tree(src);
	struct image_child_layer layer = {
		.fd = p.fd, .offset = p.offset, .size = p.size};
	char diff_id[72], config[300];
	struct image_found x = {
		.layers = &layer,
		.n_layers = 1,
		.size = p.size,
		.names = (const char **)(uintptr_t)none,
		.config_text = config,
	};
	struct hashing h = {l, p.size, e};
	/* A layer's digest is known before it is converted, which checks it: so
	 * the tar is read twice. It may change between the two; that is an
	 * error then. */
	int r = image_digest_part(&p, on_hashed, &h, diff_id, e);

	if (r < 0)
		return r;
	layer.diff_id = diff_id;
	x.config_len = (size_t)snprintf(
		config, sizeof(config),
		"{\"architecture\":\"%s\",\"os\":\"linux\",\"config\":{},"
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\"]}}",
		image_host_architecture(), diff_id);
	image_digest(config, x.config_len, x.config_digest);
	r = image_found_make_digest(&x, e);
	return r < 0 ? r : load_images(s, l, child, &x, 1, ret, e);
}

int store_load(struct image_store *s, const struct load *l,
	       struct image_info ***ret, struct err *e)
{
	struct image_child child = {
		.program = s->program,
		.drop_ids = geteuid() == 0,
		.uid = s->c.uid,
		.gid = s->c.gid,
		.in = -1,
		.out = -1,
		.deadline_ms = l->deadline_ms,
		.progress = l->progress,
		.arg = l->arg,
		.phase = "read",
	};
	struct image_source_config config = {
		.fd = l->fd,
		.as_caller = l->as_caller,
		.uid = l->uid,
		.gid = l->gid,
		.is_tree = l->is_tree,
		.tmp_dir = s->tmp_fd,
		.child = &child,
	};
	_cleanup_(cleanup_image_source) struct image_source *src = NULL;
	struct store_limits max;
	int r = store_quota_begin(s, &max, e);

	if (r < 0)
		return r;
	child.max_bytes = max.temp;
	r = image_source_open(&config, &src, e);
	if (r == -EFBIG && max.temp < s->c.max_bytes)
		return store_quota_check_temp(s, max.temp + 1, e);
	if (r < 0)
		return r;
	return l->is_tree ? load_tree(s, l, &child, src, ret, e)
			  : load_source(s, l, &child, src, ret, e);
}

static int load_named(struct image_store *s, struct load *l, const char *name,
		      const char *source_name, struct image_info ***ret,
		      struct err *e)
{
	struct image_ref ref;
	int r = 0;

	l->deadline_ms = now_ms() + s->c.timeout_ms;
	l->source_name = source_name;
	if (name) {
		r = image_ref_parse(name, &ref, e);
		if (r == 0 && ref.digest[0])
			r = err_set(e, EINVAL,
				    "image '%s': a name without a digest is "
				    "needed",
				    name);
		l->name = ref.full;
	}
	if (r == 0)
		r = store_load(s, l, ret, e);
	if (r < 0 && source_name)
		return err_wrap(e, "%s '%s'", l->is_tree ? "import" : "load",
				source_name);
	return r;
}

int image_store_load(struct image_store *s, const char *path, const char *name,
		     image_progress progress, void *arg,
		     struct image_info ***ret, struct err *e)
{
	struct load l = {.progress = progress, .arg = arg};
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "load '%s'", path);
	l.fd = fd;
	return load_named(s, &l, name, path, ret, e);
}

static int load_input(struct image_store *s, const struct image_input *in,
		      bool is_tree, struct image_info ***ret, struct err *e)
{
	struct load l = {
		.fd = in->fd,
		.as_caller = true,
		.uid = in->caller_uid,
		.gid = in->caller_gid,
		.progress = in->progress,
		.arg = in->arg,
		.is_tree = is_tree,
		.ret_skipped = in->ret_skipped,
		.may = in->may,
		.may_arg = in->may_arg,
	};

	int r = store_enter(s, e);

	if (r < 0)
		return r;
	r = load_named(s, &l, in->name, in->source_name, ret, e);
	store_leave(s);
	return r;
}

int image_store_load_fd(struct image_store *s, const struct image_input *in,
			struct image_info ***ret, struct err *e)
{
	return load_input(s, in, false, ret, e);
}

int image_store_import_fd(struct image_store *s, const struct image_input *in,
			  struct image_info ***ret, struct err *e)
{
	return load_input(s, in, true, ret, e);
}
