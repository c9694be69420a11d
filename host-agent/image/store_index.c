/* SPDX-License-Identifier: Apache-2.0 */
/* What the store knows, in memory and in its files. */
#include "host-agent/image/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/json.h"
#include "common/base/parse.h"
#include "host-agent/image/image_ref.h"
#include "host-agent/image/image_short.h"

#define META_MAX  (HYB_OCI_IMAGE_JSON_MAX * 2u + 65536u)
#define NAMES_MAX (16u << 20)
/* Shortest part of a digest that stands for an image. */
#define PREFIX_MIN 8

static int no_memory(struct err *e)
{
	return err_set(e, ENOMEM, "image store: no memory");
}

void stored_done(struct stored *i)
{
	free(i->config_text);
	free(i->layers);
	i->config_text = i->layers = NULL;
}

void store_index_free(struct image_store *s)
{
	size_t i;

	for (i = 0; i < s->n_images; i++)
		stored_done(&s->images[i]);
	for (i = 0; i < s->n_names; i++)
		free(s->names[i].full);
	free(s->images);
	free(s->names);
	s->images = NULL;
	s->names = NULL;
	s->n_images = s->cap_images = 0;
	s->n_names = s->cap_names = 0;
}

/* ------------------------------------------------------------- in memory */

struct stored *store_find_digest(struct image_store *s, const char *digest)
{
	size_t i;

	for (i = 0; i < s->n_images; i++) {
		if (strcmp(s->images[i].digest, digest) == 0)
			return &s->images[i];
	}
	return NULL;
}

int store_grow(void **list, size_t size, size_t n, size_t *cap)
{
	size_t want = *cap ? *cap * 2 : 16;
	void *p;

	if (n < *cap)
		return 0;
	p = realloc(*list, want * size);
	if (!p)
		return -ENOMEM;
	*list = p;
	*cap = want;
	return 0;
}

static int add_image(struct image_store *s, const struct stored *i)
{
	void *list = s->images;

	if (store_grow(&list, sizeof(*i), s->n_images, &s->cap_images) < 0)
		return -ENOMEM;
	s->images = list;
	s->images[s->n_images++] = *i;
	return 0;
}

static int find_name(const struct image_store *s, const char *full)
{
	size_t i;

	for (i = 0; i < s->n_names; i++) {
		if (strcmp(s->names[i].full, full) == 0)
			return (int)i;
	}
	return -1;
}

static int set_name(struct image_store *s, const char *full, const char *digest)
{
	int at = find_name(s, full);
	void *list = s->names;
	char *copy;

	if (at < 0) {
		if (store_grow(&list, sizeof(*s->names), s->n_names,
			       &s->cap_names))
			return -ENOMEM;
		s->names = list;
		copy = strdup(full);
		if (!copy)
			return -ENOMEM;
		at = (int)s->n_names++;
		s->names[at].full = copy;
	}
	snprintf(s->names[at].digest, sizeof(s->names[at].digest), "%s",
		 digest);
	return 0;
}

int store_put(struct image_store *s, const struct stored *i,
	      const char *const *names, struct err *e)
{
	struct stored *old = store_find_digest(s, i->digest);

	if (old) {
		stored_done(old);
		*old = *i;
	} else if (add_image(s, i) < 0) {
		return no_memory(e);
	}
	for (; *names; names++) {
		if (set_name(s, *names, i->digest) < 0)
			return no_memory(e);
	}
	return 0;
}

void store_drop_name(struct image_store *s, size_t i)
{
	free(s->names[i].full);
	s->names[i] = s->names[--s->n_names];
}

void store_drop_image(struct image_store *s, struct stored *i)
{
	stored_done(i);
	*i = s->images[--s->n_images];
}

/* --------------------------------------------------------------- finding */

/* Changes that make a into b, counted up to a few. */
static size_t distance(const char *a, const char *b)
{
	size_t row[65], n = strlen(b), i, j;

	if (n > 64 || strlen(a) > 64)
		return SIZE_MAX;
	for (j = 0; j <= n; j++)
		row[j] = j;
	for (i = 1; a[i - 1]; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (j = 1; j <= n; j++) {
			size_t best = diagonal + (a[i - 1] != b[j - 1]);

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[n];
}

static int not_found(const struct image_store *s, const char *reference,
		     const char *full, struct err *e)
{
	const char *best = NULL, *want = image_ref_familiar(full);
	size_t best_d = 4, i;
	char text[200];

	err_set(e, ENOENT, "image '%s' is not in the store",
		text_escape(reference, text, sizeof(text)));
	for (i = 0; i < s->n_names; i++) {
		const char *name = image_ref_familiar(s->names[i].full);
		size_t d = distance(want, name);

		if (d < best_d) {
			best_d = d;
			best = name;
		}
	}
	if (best)
		err_hint(e, "did you mean '%s'? `hyb image ls` lists all",
			 best);
	else
		err_hint(e, "`hyb image pull %s`, or `hyb image load FILE`",
			 text);
	return -ENOENT;
}

static bool has_prefix(const char *digest, const char *hex)
{
	return strncmp(digest + 7, hex, strlen(hex)) == 0;
}

/* An image by the first digits of its digest or its configuration's. */
static int find_prefix(struct image_store *s, const char *text,
		       struct stored **ret, struct err *e)
{
	const char *hex = strncmp(text, "sha256:", 7) == 0 ? text + 7 : text;
	struct stored *found = NULL;
	size_t i, n = strlen(hex);

	if (n < PREFIX_MIN || n > 64 || strspn(hex, "0123456789abcdef") != n)
		return -ENOENT;
	for (i = 0; i < s->n_images; i++) {
		struct stored *x = &s->images[i];

		if (!has_prefix(x->digest, hex) &&
		    !has_prefix(x->config_digest, hex))
			continue;
		if (found)
			return err_set(e, EINVAL,
				       "image '%s': more than one begins so; "
				       "give more digits",
				       hex);
		found = x;
	}
	*ret = found;
	return found ? 0 : -ENOENT;
}

/* A name without a registry that was pulled from one. */
static int find_short(const struct image_store *s, const char *reference)
{
	_cleanup_image_short_ struct image_short names = {.refs = NULL};
	struct err ignored = ERR_INIT;
	struct image_ref ref;
	int at = -1;
	size_t i;

	if (image_short_resolve(s->c.registries, reference, &names, &ignored) <
	    0)
		return -1;
	for (i = 0; at < 0 && names.refs[i]; i++)
		if (image_ref_parse(names.refs[i], &ref, &ignored) == 0)
			at = find_name(s, ref.full);
	return at;
}

int store_find(struct image_store *s, const char *reference,
	       struct stored **ret, int *ret_name, struct err *e)
{
	struct err why = ERR_INIT;
	struct image_ref ref = {.full = ""};
	int r = image_ref_parse(reference, &ref, &why), at = -1;

	if (r == 0)
		at = find_name(s, ref.full);
	if (at >= 0) {
		*ret = store_find_digest(s, s->names[at].digest);
		*ret_name = at;
		return 0;
	}
	*ret_name = -1;
	if (ref.digest[0]) {
		*ret = store_find_digest(s, ref.digest);
		if (*ret)
			return 0;
	}
	at = find_prefix(s, reference, ret, e);
	if (at != -ENOENT)
		return at;
	at = r == 0 && strncmp(reference, "sha256:", 7) != 0
		     ? find_short(s, reference)
		     : -1;
	if (at >= 0) {
		*ret = store_find_digest(s, s->names[at].digest);
		*ret_name = at;
		return 0;
	}
	if (r < 0 && strncmp(reference, "sha256:", 7) != 0) {
		if (e)
			*e = why;
		return r;
	}
	return not_found(s, reference, ref.full, e);
}

/* ---------------------------------------------------------------- saving */

static json_t *base_json(const struct stored_base *b)
{
	return json_pack("{s:s, s:s, s:I, s:I, s:I}", "key", b->key, "digest",
			 b->digest, "layers", (json_int_t)b->layers, "size",
			 (json_int_t)b->size, "mtime_ns",
			 (json_int_t)b->mtime_ns);
}

/* Of a whole file neither "base" nor "file_size" is said; "erofs_mtime_ns" is
 * that of the image's own file. */
int store_save_meta(struct image_store *s, const struct stored *i,
		    struct err *e)
{
	_cleanup_json_ json_t *o = json_pack(
		"{s:i, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I}",
		"version", 1, "digest", i->digest, "config_digest",
		i->config_digest, "key", i->key, "config", i->config_text,
		"layers", i->layers, "size", (json_int_t)i->size, "erofs_size",
		(json_int_t)i->erofs_size, "erofs_mtime_ns",
		(json_int_t)i->file_mtime_ns, "max_uid", (json_int_t)i->max_uid,
		"max_gid", (json_int_t)i->max_gid);
	_cleanup_free_ char *text = NULL;
	char path[4096];

	if (o && i->base.key[0] &&
	    (json_object_set_new(o, "base", base_json(&i->base)) < 0 ||
	     json_object_set_new(o, "file_size",
				 json_integer((json_int_t)i->file_size)) < 0))
		return no_memory(e);
	text = o ? json_dumps(o, JSON_INDENT(1)) : NULL;
	if (!text)
		return no_memory(e);
	snprintf(path, sizeof(path), "%s/meta/%s.json", s->dir, i->digest + 7);
	return file_write_atomic(path, text, strlen(text), 0600, e);
}

int store_save_names(struct image_store *s, struct err *e)
{
	_cleanup_json_ json_t *o = json_object();
	_cleanup_free_ char *text = NULL;
	char path[4096];
	size_t i;

	for (i = 0; i < s->n_names; i++)
		json_object_set_new(o, s->names[i].full,
				    json_string(s->names[i].digest));
	text = json_dumps(o, JSON_INDENT(1) | JSON_SORT_KEYS);
	if (!text)
		return no_memory(e);
	snprintf(path, sizeof(path), "%s/names.json", s->dir);
	return file_write_atomic(path, text, strlen(text), 0600, e);
}

/* --------------------------------------------------------------- loading */

static bool get_text(json_t *o, const char *key, char *out, size_t size)
{
	const char *v = json_string_value(json_object_get(o, key));

	return v && (size_t)snprintf(out, size, "%s", v) < size;
}

static bool get_number(json_t *o, const char *key, json_int_t *ret)
{
	json_t *v = json_object_get(o, key);

	*ret = json_integer_value(v);
	return json_is_integer(v) && *ret >= 0;
}

static bool is_key(const char *key)
{
	return strlen(key) == 64 && strspn(key, "0123456789abcdef") == 64;
}

static bool take_base(json_t *o, struct stored *i)
{
	json_t *base = json_object_get(o, "base");
	json_int_t layers, size, mtime, file_size;

	i->file_size = i->erofs_size;
	if (!base)
		return true;
	if (!get_text(base, "key", i->base.key, sizeof(i->base.key)) ||
	    !get_text(base, "digest", i->base.digest, sizeof(i->base.digest)) ||
	    !get_number(base, "layers", &layers) ||
	    !get_number(base, "size", &size) ||
	    !get_number(base, "mtime_ns", &mtime) ||
	    !get_number(o, "file_size", &file_size) || !is_key(i->base.key) ||
	    !oci_digest_is_valid(i->base.digest) || layers > UINT32_MAX)
		return false;
	i->base.layers = (uint32_t)layers;
	i->base.size = (uint64_t)size;
	i->base.mtime_ns = mtime;
	i->file_size = (uint64_t)file_size;
	return true;
}

static bool take_meta(json_t *o, const char *name, struct stored *i)
{
	json_int_t size, erofs_size, mtime, uid, gid;
	const char *config = json_string_value(json_object_get(o, "config"));
	const char *layers = json_string_value(json_object_get(o, "layers"));

	if (!get_text(o, "digest", i->digest, sizeof(i->digest)) ||
	    !get_text(o, "config_digest", i->config_digest,
		      sizeof(i->config_digest)) ||
	    !get_text(o, "key", i->key, sizeof(i->key)) || !config ||
	    !get_number(o, "size", &size) ||
	    !get_number(o, "erofs_size", &erofs_size) ||
	    !get_number(o, "erofs_mtime_ns", &mtime) ||
	    !get_number(o, "max_uid", &uid) || !get_number(o, "max_gid", &gid))
		return false;
	if (!oci_digest_is_valid(i->digest) ||
	    !oci_digest_is_valid(i->config_digest) ||
	    strncmp(name, i->digest + 7, 64) != 0 || !is_key(i->key))
		return false;
	i->size = (uint64_t)size;
	i->erofs_size = (uint64_t)erofs_size;
	i->file_mtime_ns = mtime;
	i->max_uid = (uint32_t)uid;
	i->max_gid = (uint32_t)gid;
	if (!take_base(o, i))
		return false;
	i->config_text = strdup(config);
	i->layers = strdup(layers ? layers : "");
	return i->config_text && i->layers;
}

/* One file of meta/. One that is broken is removed: the image is gone, and a
 * load brings it back. */
static int load_meta(struct image_store *s, const char *name, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *o = NULL;
	struct stored i = {.config_text = NULL};
	size_t len;
	int r = file_read(s->meta_fd, name, META_MAX, &text, &len, e);

	if (r < 0)
		return r;
	o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (strlen(name) != 69 || !o || !take_meta(o, name, &i)) {
		stored_done(&i);
		unlinkat(s->meta_fd, name, 0);
		return 0;
	}
	if (add_image(s, &i) < 0) {
		stored_done(&i);
		return no_memory(e);
	}
	return 0;
}

static int each_file(int dir_fd,
		     int (*fn)(struct image_store *s, const char *name,
			       struct err *e),
		     struct image_store *s, struct err *e)
{
	_cleanup_closedir_ DIR *d = store_open_folder(dir_fd);
	struct dirent *de;
	int r = 0;

	if (!d)
		return err_sys(e, errno, "image store");
	while (r == 0 && (de = readdir(d))) {
		if (de->d_name[0] != '.')
			r = fn(s, de->d_name, e);
	}
	return r;
}

static int load_names(struct image_store *s, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ json_t *o = NULL;
	struct err err = ERR_INIT;
	const char *full;
	json_t *v;
	size_t len;
	int r = file_read(s->dir_fd, "names.json", NAMES_MAX, &text, &len,
			  &err);

	if (r == -ENOENT)
		return 0;
	if (r == 0) {
		o = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
		if (!json_is_object(o))
			r = err_set(&err, EUCLEAN, "it is damaged");
	}
	if (r < 0) {
		if (e)
			*e = err;
		err_wrap(e, "image store '%s': names.json", s->dir);
		err_hint(e, "remove it: images stay and can be named again "
			    "by loading them");
		return r;
	}
	json_object_foreach(o, full, v) {
		const char *digest = json_string_value(v);

		if (digest && store_find_digest(s, digest) &&
		    set_name(s, full, digest) < 0)
			return no_memory(e);
	}
	return 0;
}

/* A names.json that was being written. */
static int sweep_top(struct image_store *s, const char *name, struct err *e)
{
	(void)e;
	if (strncmp(name, "names.json.", 11) == 0)
		unlinkat(s->dir_fd, name, 0);
	return 0;
}

int store_index_load(struct image_store *s, struct err *e)
{
	int r;

	store_index_free(s);
	r = each_file(s->meta_fd, load_meta, s, e);
	if (r == 0)
		r = load_names(s, e);
	if (r == 0)
		r = store_sweep(s, e);
	if (r == 0)
		r = each_file(s->dir_fd, sweep_top, s, e);
	return r;
}

/* ----------------------------------------------------------------- infos */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int info_names(const struct image_store *s, const struct stored *i,
		      struct image_info *info)
{
	size_t k, n = 0;

	info->names =
		arena_alloc(info->arena, s->n_names + 1, sizeof(*info->names));
	if (!info->names)
		return -ENOMEM;
	for (k = 0; k < s->n_names; k++) {
		if (strcmp(s->names[k].digest, i->digest) != 0)
			continue;
		info->names[n] = arena_strdup(
			info->arena, image_ref_familiar(s->names[k].full));
		if (!info->names[n++])
			return -ENOMEM;
	}
	qsort(info->names, n, sizeof(*info->names), by_text);
	return 0;
}

static int info_files(const struct image_store *s, const struct stored *i,
		      struct image_info *info)
{
	struct store_file f[2];
	size_t n = store_files(i, f);
	struct stat st;

	info->file_size = i->file_size;
	info->path =
		arena_printf(info->arena, "%s/erofs/%s", s->dir, f[0].name);
	info->disk_size = info->path && lstat(info->path, &st) == 0
				  ? (uint64_t)st.st_blocks * 512
				  : 0;
	if (n > 1) {
		info->base_path = arena_printf(info->arena, "%s/erofs/%s",
					       s->dir, f[1].name);
		info->base_digest = arena_strdup(info->arena, i->base.digest);
		if (!info->base_path || !info->base_digest)
			return -ENOMEM;
	}
	return info->path ? 0 : -ENOMEM;
}

int store_make_info(struct image_store *s, const struct stored *i, int name,
		    struct image_info **ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new(0);
	struct image_info *info = a ? arena_alloc(a, 1, sizeof(*info)) : NULL;
	int r;

	if (!info)
		return no_memory(e);
	info->arena = a;
	r = oci_image_config_parse(i->config_text, strlen(i->config_text), a,
				   &info->config, e);
	if (r < 0)
		return r;
	info->tenant = arena_strdup(a, s->tenant);
	info->found = name < 0 ? NULL : arena_strdup(a, s->names[name].full);
	info->digest = arena_strdup(a, i->digest);
	info->config_digest = arena_strdup(a, i->config_digest);
	info->erofs_size = i->erofs_size;
	memcpy(info->erofs_serial, i->key, sizeof(info->erofs_serial) - 1);
	info->architecture = info->config.architecture;
	info->os = info->config.os;
	info->created = info->config.created;
	info->size = i->size;
	info->max_uid = i->max_uid;
	info->max_gid = i->max_gid;
	if (!info->tenant || (name >= 0 && !info->found) || !info->digest ||
	    !info->config_digest || info_files(s, i, info) < 0 ||
	    info_names(s, i, info) < 0)
		return no_memory(e);
	steal_ptr(a);
	*ret = info;
	return 0;
}
