/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/image_found.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "host-agent/image/image_ref.h"

/* Indexes inside one another: one is usual, two are allowed by the text. */
#define INDEX_DEPTH_MAX 4
/* Images of one source. */
#define IMAGES_MAX 256

struct finder {
	struct image_source *s;
	const char *source_name;
	struct arena *a;
	struct err *e;
	struct image_found *list;
	size_t n;
	const char **skipped;
	size_t n_skipped;
	size_t documents; /* read so far: bounds loops of indexes */
};

const char *image_host_architecture(void)
{
	static const struct {
		const char *machine, *name;
	} table[] = {
		{"x86_64", "amd64"},
		{"aarch64", "arm64"},
		{"riscv64", "riscv64"},
	};
	struct utsname u;
	size_t i;

	if (uname(&u) == 0) {
		for (i = 0; i < ARRAY_SIZE(table); i++) {
			if (strcmp(u.machine, table[i].machine) == 0)
				return table[i].name;
		}
	}
	return "unknown";
}

static int no_memory(struct finder *f)
{
	return err_set(f->e, ENOMEM, "read the image: no memory");
}

static int read_blob(struct finder *f, const struct oci_descriptor *d,
		     const char **ret, size_t *ret_len)
{
	char path[100];

	if (++f->documents > HYB_OCI_MANIFESTS_MAX)
		return err_set(f->e, E2BIG, "more than %d documents",
			       HYB_OCI_MANIFESTS_MAX);
	snprintf(path, sizeof(path), "blobs/sha256/%s", d->digest + 7);
	return image_source_read(f->s, path, HYB_OCI_IMAGE_JSON_MAX, d->digest,
				 d->size, f->a, ret, ret_len, NULL, f->e);
}

/* ---------------------------------------------------------------- layers */

static int name_layer(struct finder *f, size_t i, const char *digest)
{
	return err_wrap(f->e, "layer %zu (%.19s)", i + 1, digest);
}

static int check_config(struct finder *f, struct image_found *x)
{
	const char *arch = image_host_architecture();
	char text[100];

	if (oci_image_config_parse(x->config_text, x->config_len, f->a,
				   &x->config, f->e) < 0)
		return -f->e->code;
	if (x->config.n_diff_ids != x->n_layers)
		return err_set(f->e, EBADMSG,
			       "the image has %zu layers, and its "
			       "configuration lists %zu",
			       x->n_layers, x->config.n_diff_ids);
	if (x->config.os[0] && strcmp(x->config.os, "linux") != 0)
		return err_set(f->e, ENOTSUP, "the image is for %s, not Linux",
			       text_escape(x->config.os, text, sizeof(text)));
	if (x->config.architecture[0] &&
	    strcmp(x->config.architecture, arch) != 0)
		return err_set(
			f->e, ENOTSUP,
			"the image is for %s, and this host is %s",
			text_escape(x->config.architecture, text, sizeof(text)),
			arch);
	return 0;
}

/* Where the manifest's layers are. flat: files are called by their digits
 * alone. */
static int locate_layers(struct finder *f, const struct oci_manifest *m,
			 bool flat, struct image_found *x)
{
	size_t i;

	x->layers = arena_alloc(f->a, m->n_layers + 1, sizeof(*x->layers));
	if (!x->layers)
		return no_memory(f);
	for (i = 0; i < m->n_layers; i++) {
		const struct oci_descriptor *d = &m->layers[i];
		struct image_part p;
		char path[100];
		int r;

		snprintf(path, sizeof(path), "%s%s",
			 flat ? "" : "blobs/sha256/", d->digest + 7);
		r = image_source_find(f->s, path, &p, f->e);
		if (r == -ENOENT)
			r = err_set(f->e, ENOENT, "'%s' is missing", path);
		if (r == 0 && p.size != d->size)
			r = err_set(f->e, EBADMSG,
				    "is %llu bytes long, and should be %llu",
				    (unsigned long long)p.size,
				    (unsigned long long)d->size);
		if (r < 0)
			return name_layer(f, i, d->digest);
		x->layers[i] = (struct image_child_layer){
			.fd = p.fd,
			.offset = p.offset,
			.size = p.size,
			.digest = d->digest,
		};
		x->size += p.size;
	}
	x->n_layers = m->n_layers;
	return 0;
}

static void set_diff_ids(struct image_found *x)
{
	size_t i;

	for (i = 0; i < x->n_layers; i++)
		x->layers[i].diff_id = x->config.diff_ids[i];
}

/* ----------------------------------------------------------------- names */

/* "/x/web.tar.gz" -> "web". */
static void base_name(const char *path, char *out, size_t size)
{
	const char *slash = strrchr(path, '/');

	snprintf(out, size, "%s", slash ? slash + 1 : path);
	out[strcspn(out, ".")] = '\0';
}

/* The name that an index gives its image, canonical; "" where it is none. */
static void make_name(struct finder *f, const struct oci_descriptor *d,
		      struct image_ref *ret)
{
	struct err ignored = ERR_INIT;
	char text[300], base[64];
	const char *s = d->full_name[0] ? d->full_name : d->ref_name;

	ret->full[0] = '\0';
	if (s[0] == '\0')
		return;
	if (strpbrk(s, ":/")) {
		if (image_ref_parse(s, ret, &ignored) < 0)
			ret->full[0] = '\0';
		return;
	}
	/* A tag only. */
	if (!f->source_name || strlen(s) > IMAGE_REF_TAG_MAX)
		return;
	base_name(f->source_name, base, sizeof(base));
	snprintf(text, sizeof(text), "%s:%s", base, s);
	if (image_ref_parse(text, ret, &ignored) < 0)
		ret->full[0] = '\0';
}

static int set_names(struct finder *f, struct image_found *x,
		     const char *const *names, size_t n)
{
	size_t i;

	x->names = arena_alloc(f->a, n + 1, sizeof(*x->names));
	if (!x->names)
		return no_memory(f);
	for (i = 0; i < n; i++) {
		x->names[i] = arena_strdup(f->a, names[i]);
		if (!x->names[i])
			return no_memory(f);
	}
	return 0;
}

/* An image of no layers: what it is called, for people. */
static int skip_image(struct finder *f, const char *name, const char *digest)
{
	char text[300];

	if (f->n_skipped == IMAGES_MAX)
		return err_set(f->e, E2BIG, "more than %d images", IMAGES_MAX);
	text_escape(name && name[0] ? name : digest, text, sizeof(text));
	f->skipped[f->n_skipped] =
		arena_printf(f->a, "'%s': the image has no layers", text);
	return f->skipped[f->n_skipped++] ? 0 : no_memory(f);
}

static int add_image(struct finder *f, const struct image_found *x)
{
	if (f->n == IMAGES_MAX)
		return err_set(f->e, E2BIG, "more than %d images", IMAGES_MAX);
	f->list[f->n++] = *x;
	return 0;
}

/* ------------------------------------------------------------ OCI layout */

static int on_manifest(struct finder *f, const struct oci_descriptor *d,
		       const struct oci_descriptor *named)
{
	struct image_found x = {.n_layers = 0};
	struct oci_manifest m;
	struct image_ref name;
	const char *text, *full = name.full;
	size_t len;
	int r = read_blob(f, d, &text, &len);

	if (r == 0)
		r = oci_manifest_parse(text, len, f->a, &m, f->e);
	if (r == 0)
		r = read_blob(f, &m.config, &x.config_text, &x.config_len);
	if (r < 0)
		return r;
	memcpy(x.digest, d->digest, sizeof(x.digest));
	memcpy(x.config_digest, m.config.digest, sizeof(x.config_digest));
	x.n_layers = m.n_layers;
	make_name(f, named, &name);
	if (m.n_layers == 0)
		return skip_image(f, image_ref_familiar(name.full), d->digest);
	r = check_config(f, &x);
	if (r == 0)
		r = locate_layers(f, &m, false, &x);
	if (r < 0)
		return r;
	set_diff_ids(&x);
	r = set_names(f, &x, &full, name.full[0] ? 1 : 0);
	return r < 0 ? r : add_image(f, &x);
}

static bool is_image(const struct oci_descriptor *d)
{
	return d->media == OCI_MEDIA_MANIFEST || d->media == OCI_MEDIA_INDEX;
}

/* How well an entry fits this host: 0 not at all, 1 says nothing, 2 it does. */
static int fits(const struct oci_descriptor *d)
{
	if (!is_image(d))
		return 0;
	if (!d->architecture[0] && !d->os[0])
		return 1;
	if (strcmp(d->os, "linux") != 0 && d->os[0])
		return 0;
	return strcmp(d->architecture, image_host_architecture()) == 0 ? 2 : 0;
}

static bool same_name(const struct oci_descriptor *a,
		      const struct oci_descriptor *b)
{
	return strcmp(a->ref_name, b->ref_name) == 0 &&
	       strcmp(a->full_name, b->full_name) == 0;
}

/* Of all entries, that with the same name which fits best. */
static const struct oci_descriptor *choose(const struct oci_index *index,
					   const struct oci_descriptor *like)
{
	const struct oci_descriptor *best = NULL;
	size_t i;

	for (i = 0; i < index->n_manifests; i++) {
		const struct oci_descriptor *d = &index->manifests[i];

		if (like && !same_name(d, like))
			continue;
		if (fits(d) > (best ? fits(best) : 0))
			best = d;
	}
	return best;
}

const struct oci_descriptor *image_found_choose(const struct oci_index *index)
{
	return choose(index, NULL);
}

static int no_platform(struct finder *f)
{
	return err_set(f->e, ENOTSUP, "it has no image for linux/%s",
		       image_host_architecture());
}

/* Goes down from an index to the manifest for this host. */
static int on_entry(struct finder *f, const struct oci_descriptor *named)
{
	const struct oci_descriptor *d = named;
	struct oci_index index;
	const char *text;
	size_t len;
	int depth, r;

	for (depth = 0; d->media == OCI_MEDIA_INDEX; depth++) {
		if (depth == INDEX_DEPTH_MAX)
			return err_set(
				f->e, ELOOP,
				"more than %d indexes inside one another",
				INDEX_DEPTH_MAX);
		r = read_blob(f, d, &text, &len);
		if (r == 0)
			r = oci_index_parse(text, len, f->a, &index, f->e);
		if (r < 0)
			return r;
		d = choose(&index, NULL);
		if (!d)
			return no_platform(f);
	}
	return on_manifest(f, d, named);
}

/* Was an entry with this name before place i? */
static bool name_seen(const struct oci_index *index, size_t i)
{
	size_t k;

	for (k = 0; k < i; k++) {
		if (is_image(&index->manifests[k]) &&
		    same_name(&index->manifests[k], &index->manifests[i]))
			return true;
	}
	return false;
}

static int read_layout(struct finder *f, const char *text, size_t len)
{
	struct oci_index index;
	size_t i;
	int r = oci_index_parse(text, len, f->a, &index, f->e);

	if (r < 0)
		return r;
	if (index.n_manifests == 0)
		return err_set(f->e, EINVAL, "index.json names no image");
	for (i = 0; i < index.n_manifests; i++) {
		const struct oci_descriptor *d;

		/* Entries of one name are one image for several hosts; a
		 * signature or another artifact is none. */
		if (!is_image(&index.manifests[i]) || name_seen(&index, i))
			continue;
		d = choose(&index, &index.manifests[i]);
		if (!d)
			return no_platform(f);
		r = on_entry(f, d);
		if (r < 0)
			return r;
	}
	return f->n || f->n_skipped ? 0 : no_platform(f);
}

/* -------------------------------------------- docker-archive and "dir" */

static int on_docker(struct finder *f, const struct docker_image *d)
{
	struct image_found x = {.n_layers = d->n_layers};
	struct image_ref name;
	const char **names;
	size_t i, n = 0;
	int r;

	if (d->n_layers == 0)
		return skip_image(f, d->repo_tags ? d->repo_tags[0] : NULL,
				  d->config);
	r = image_source_read(f->s, d->config, HYB_OCI_IMAGE_JSON_MAX, NULL,
			      UINT64_MAX, f->a, &x.config_text, &x.config_len,
			      x.config_digest, f->e);
	if (r == 0)
		r = check_config(f, &x);
	if (r < 0)
		return r;
	x.layers = arena_alloc(f->a, d->n_layers, sizeof(*x.layers));
	if (!x.layers)
		return no_memory(f);
	for (i = 0; i < d->n_layers; i++) {
		struct image_part p;
		char text[200];

		r = image_source_find(f->s, d->layers[i], &p, f->e);
		if (r == -ENOENT)
			r = err_set(
				f->e, ENOENT, "'%s' is missing",
				text_escape(d->layers[i], text, sizeof(text)));
		if (r < 0)
			return name_layer(f, i, x.config.diff_ids[i]);
		x.layers[i] = (struct image_child_layer){
			.fd = p.fd, .offset = p.offset, .size = p.size};
		x.size += p.size;
	}
	set_diff_ids(&x);
	r = image_found_make_digest(&x, f->e);
	for (i = 0; d->repo_tags && d->repo_tags[i]; i++)
		;
	names = arena_alloc(f->a, i + 1, sizeof(*names));
	if (r < 0 || !names)
		return r < 0 ? r : no_memory(f);
	for (i = 0; d->repo_tags && d->repo_tags[i]; i++) {
		r = image_ref_parse(d->repo_tags[i], &name, f->e);
		if (r < 0)
			return r;
		names[n++] = arena_strdup(f->a, name.full);
	}
	r = set_names(f, &x, names, n);
	return r < 0 ? r : add_image(f, &x);
}

/* skopeo's "dir": the manifest as the registry gave it. */
static int on_dir(struct finder *f, const char *text, size_t len)
{
	struct image_found x = {.n_layers = 0};
	struct oci_manifest m;
	int r = oci_manifest_parse(text, len, f->a, &m, f->e);

	if (r == 0)
		r = image_source_read(f->s, m.config.digest + 7,
				      HYB_OCI_IMAGE_JSON_MAX, m.config.digest,
				      m.config.size, f->a, &x.config_text,
				      &x.config_len, x.config_digest, f->e);
	if (r < 0)
		return r;
	image_digest(text, len, x.digest);
	if (m.n_layers == 0)
		return skip_image(f, NULL, x.digest);
	x.n_layers = m.n_layers;
	r = check_config(f, &x);
	if (r == 0)
		r = locate_layers(f, &m, true, &x);
	if (r < 0)
		return r;
	set_diff_ids(&x);
	r = set_names(f, &x, NULL, 0);
	return r < 0 ? r : add_image(f, &x);
}

static int read_docker(struct finder *f, const char *text, size_t len)
{
	struct docker_image *list;
	size_t i, n;
	int r;

	if (text[strspn(text, " \t\r\n")] == '{')
		return on_dir(f, text, len);
	r = docker_manifest_parse(text, len, f->a, &list, &n, f->e);
	for (i = 0; r == 0 && i < n; i++)
		r = on_docker(f, &list[i]);
	return r;
}

int image_found_make_digest(struct image_found *x, struct err *e)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t i;

	buf_printf(&b,
		   "{\"schemaVersion\":2,\"mediaType\":"
		   "\"application/vnd.oci.image.manifest.v1+json\","
		   "\"config\":{\"mediaType\":"
		   "\"application/vnd.oci.image.config.v1+json\","
		   "\"digest\":\"%s\",\"size\":%zu},\"layers\":[",
		   x->config_digest, x->config_len);
	for (i = 0; i < x->n_layers; i++)
		buf_printf(&b,
			   "%s{\"mediaType\":"
			   "\"application/vnd.oci.image.layer.v1.tar\","
			   "\"digest\":\"%s\",\"size\":%llu}",
			   i ? "," : "", x->layers[i].diff_id,
			   (unsigned long long)x->layers[i].size);
	buf_puts(&b, "]}");
	if (buf_error(&b) < 0)
		return err_set(e, ENOMEM, "read the image: no memory");
	image_digest(b.data, b.len, x->digest);
	return 0;
}

/* One image of no layers is an error; so are many, and no other. */
static int check_any(const struct finder *f)
{
	if (f->n > 0)
		return 0;
	if (f->n_skipped == 1)
		return err_set(f->e, EINVAL, "%s", f->skipped[0]);
	return err_set(f->e, EINVAL, "none of its %zu images has a layer",
		       f->n_skipped);
}

int image_found_read(struct image_source *s, const char *source_name,
		     struct arena *a, struct image_found_set *ret,
		     struct err *e)
{
	struct finder f = {.s = s, .source_name = source_name, .a = a, .e = e};
	const char *text;
	size_t len;
	int r;

	f.list = arena_alloc(a, IMAGES_MAX, sizeof(*f.list));
	f.skipped = arena_alloc(a, IMAGES_MAX + 1, sizeof(*f.skipped));
	if (!f.list || !f.skipped)
		return no_memory(&f);
	r = image_source_read(s, "index.json", HYB_OCI_IMAGE_JSON_MAX, NULL,
			      UINT64_MAX, a, &text, &len, NULL, e);
	if (r == 0) {
		r = read_layout(&f, text, len);
	} else if (r == -ENOENT) {
		r = image_source_read(s, "manifest.json",
				      HYB_OCI_IMAGE_JSON_MAX, NULL, UINT64_MAX,
				      a, &text, &len, NULL, e);
		if (r == -ENOENT)
			return err_set(e, EINVAL,
				       "not an image: it has neither "
				       "index.json (OCI) nor manifest.json "
				       "(docker save)");
		if (r == 0)
			r = read_docker(&f, text, len);
	}
	if (r == 0)
		r = check_any(&f);
	if (r < 0)
		return r;
	*ret = (struct image_found_set){f.list, f.n, f.skipped, f.n_skipped};
	return 0;
}
