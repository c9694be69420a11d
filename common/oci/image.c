/* SPDX-License-Identifier: Apache-2.0 */
#include "common/oci/image.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/json.h"

/* Strings in one list (Env, Labels, ...): more is not a real image. */
#define LIST_MAX 4096

struct ctx {
	struct arena *a;
	struct err *e;
	const char *doc; /* "index", for errors */
};

static int no_memory(const struct ctx *c)
{
	return err_set(c->e, ENOMEM, "%s: no memory", c->doc);
}

static int bad(const struct ctx *c, const char *path, const char *why)
{
	return err_set(c->e, EINVAL, "%s: %s: %s", c->doc, path, why);
}

bool oci_digest_is_valid(const char *s)
{
	size_t i;

	if (strncmp(s, "sha256:", 7) != 0)
		return false;
	for (i = 7; i < HYB_OCI_DIGEST_LEN; i++) {
		if (!(s[i] >= '0' && s[i] <= '9') &&
		    !(s[i] >= 'a' && s[i] <= 'f'))
			return false;
	}
	return s[i] == '\0';
}

enum oci_media oci_media_parse(const char *t)
{
	static const struct {
		const char *name;
		enum oci_media media;
	} table[] = {
		{"application/vnd.oci.image.index.v1+json", OCI_MEDIA_INDEX},
		{"application/vnd.docker.distribution.manifest.list.v2+json",
		 OCI_MEDIA_INDEX},
		{"application/vnd.oci.image.manifest.v1+json",
		 OCI_MEDIA_MANIFEST},
		{"application/vnd.docker.distribution.manifest.v2+json",
		 OCI_MEDIA_MANIFEST},
		{"application/vnd.oci.image.config.v1+json", OCI_MEDIA_CONFIG},
		{"application/vnd.docker.container.image.v1+json",
		 OCI_MEDIA_CONFIG},
		{"application/vnd.oci.image.layer.v1.tar", OCI_MEDIA_LAYER},
		{"application/vnd.oci.image.layer.v1.tar+gzip",
		 OCI_MEDIA_LAYER},
		{"application/vnd.oci.image.layer.v1.tar+zstd",
		 OCI_MEDIA_LAYER},
		{"application/vnd.oci.image.layer.nondistributable.v1.tar",
		 OCI_MEDIA_LAYER},
		{"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
		 OCI_MEDIA_LAYER},
		{"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
		 OCI_MEDIA_LAYER},
		{"application/vnd.docker.image.rootfs.diff.tar",
		 OCI_MEDIA_LAYER},
		{"application/vnd.docker.image.rootfs.diff.tar.gzip",
		 OCI_MEDIA_LAYER},
		{"application/vnd.docker.image.rootfs.diff.tar.zstd",
		 OCI_MEDIA_LAYER},
	};
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(t, table[i].name) == 0)
			return table[i].media;
	}
	return OCI_MEDIA_UNKNOWN;
}

/* ------------------------------------------------------------ members */

/* A string, or "" where it is missing or null. */
static int get_string(const struct ctx *c, json_t *o, const char *key,
		      const char *path, const char **ret)
{
	json_t *v = json_object_get(o, key);

	*ret = "";
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_string(v))
		return bad(c, path, "is not a string");
	if (strlen(json_string_value(v)) != json_string_length(v))
		return bad(c, path, "has a NUL in it");
	*ret = arena_strdup(c->a, json_string_value(v));
	return *ret ? 0 : no_memory(c);
}

static int get_number(const struct ctx *c, json_t *o, const char *key,
		      const char *path, uint64_t *ret)
{
	json_t *v = json_object_get(o, key);

	*ret = 0;
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return bad(c, path, "is not a whole number from 0");
	*ret = (uint64_t)json_integer_value(v);
	return 0;
}

/* A list of strings ending with NULL; NULL where it is missing. */
static int get_list(const struct ctx *c, json_t *o, const char *key,
		    const char *path, const char ***ret, size_t *ret_n)
{
	json_t *v = json_object_get(o, key);
	const char **list;
	size_t i, n;

	*ret = NULL;
	if (ret_n)
		*ret_n = 0;
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_array(v))
		return bad(c, path, "is not a list");
	n = json_array_size(v);
	if (n > LIST_MAX)
		return bad(c, path, "is too long");
	list = arena_alloc(c->a, n + 1, sizeof(*list));
	if (!list)
		return no_memory(c);
	for (i = 0; i < n; i++) {
		json_t *s = json_array_get(v, i);

		if (!json_is_string(s) ||
		    strlen(json_string_value(s)) != json_string_length(s))
			return bad(c, path, "has an item that is not a string");
		list[i] = arena_strdup(c->a, json_string_value(s));
		if (!list[i])
			return no_memory(c);
	}
	*ret = list;
	if (ret_n)
		*ret_n = n;
	return 0;
}

/* The keys of an object whose values say nothing. */
static int get_keys(const struct ctx *c, json_t *o, const char *key,
		    const char *path, const char ***ret)
{
	json_t *v = json_object_get(o, key), *item;
	const char **list, *k;
	size_t n = 0;

	*ret = NULL;
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_object(v))
		return bad(c, path, "is not an object");
	if (json_object_size(v) > LIST_MAX)
		return bad(c, path, "is too long");
	list = arena_alloc(c->a, json_object_size(v) + 1, sizeof(*list));
	if (!list)
		return no_memory(c);
	json_object_foreach(v, k, item) {
		list[n] = arena_strdup(c->a, k);
		if (!list[n++])
			return no_memory(c);
	}
	*ret = list;
	return 0;
}

static int get_labels(const struct ctx *c, json_t *o, const char *key,
		      const char *path, struct oci_label **ret, size_t *ret_n)
{
	json_t *v = json_object_get(o, key), *item;
	struct oci_label *list;
	const char *k;
	size_t n = 0;

	*ret = NULL;
	*ret_n = 0;
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_object(v))
		return bad(c, path, "is not an object");
	if (json_object_size(v) > LIST_MAX)
		return bad(c, path, "is too long");
	list = arena_alloc(c->a, json_object_size(v) + 1, sizeof(*list));
	if (!list)
		return no_memory(c);
	json_object_foreach(v, k, item) {
		if (!json_is_string(item))
			return bad(c, path, "has a value that is not a string");
		list[n].key = arena_strdup(c->a, k);
		list[n].value = arena_strdup(c->a, json_string_value(item));
		if (!list[n].key || !list[n].value)
			return no_memory(c);
		n++;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

/* The document as an object or array; the caller decrefs *ret. */
static int load(const struct ctx *c, const char *text, size_t len, json_t **ret)
{
	char why[2 * JSON_ERROR_TEXT_LENGTH];
	json_error_t je;

	if (len > HYB_OCI_IMAGE_JSON_MAX)
		return err_set(c->e, E2BIG, "%s: is over 4 MiB", c->doc);
	if (json_is_over(text, len, HYB_OCI_IMAGE_VALUES_MAX))
		return err_set(c->e, E2BIG, "%s: has more than %d values",
			       c->doc, HYB_OCI_IMAGE_VALUES_MAX);
	*ret = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	if (!*ret)
		return err_set(c->e, EINVAL, "%s: line %d: %s", c->doc, je.line,
			       text_escape(je.text, why, sizeof(why)));
	return 0;
}

/* --------------------------------------------------------- descriptors */

static int get_descriptor(const struct ctx *c, json_t *o, const char *path,
			  struct oci_descriptor *d)
{
	json_t *platform, *notes;
	int r;

	if (!json_is_object(o))
		return bad(c, path, "is not an object");
	platform = json_object_get(o, "platform");
	notes = json_object_get(o, "annotations");
	r = get_string(c, o, "mediaType", path, &d->media_type);
	if (r == 0)
		r = get_string(c, o, "digest", path, &d->digest);
	if (r == 0)
		r = get_number(c, o, "size", path, &d->size);
	if (r == 0)
		r = get_string(c, platform, "architecture", path,
			       &d->architecture);
	if (r == 0)
		r = get_string(c, platform, "os", path, &d->os);
	if (r == 0)
		r = get_string(c, platform, "variant", path, &d->variant);
	if (r == 0)
		r = get_string(c, notes, "org.opencontainers.image.ref.name",
			       path, &d->ref_name);
	if (r == 0)
		r = get_string(c, notes, "io.containerd.image.name", path,
			       &d->full_name);
	if (r < 0)
		return r;
	d->media = oci_media_parse(d->media_type);
	if (!oci_digest_is_valid(d->digest))
		return bad(c, path,
			   "its digest is not 'sha256:' and 64 "
			   "hexadecimal digits");
	if (d->size > INT64_MAX / 4)
		return bad(c, path, "its size is too large");
	return 0;
}

static int get_descriptors(const struct ctx *c, json_t *o, const char *key,
			   size_t max, struct oci_descriptor **ret,
			   size_t *ret_n)
{
	json_t *v = json_object_get(o, key);
	struct oci_descriptor *list;
	char path[64];
	size_t i, n;
	int r;

	if (!json_is_array(v))
		return bad(c, key, "is not a list");
	n = json_array_size(v);
	if (n > max)
		return err_set(c->e, E2BIG, "%s: %s: more than %zu", c->doc,
			       key, max);
	list = arena_alloc(c->a, n + 1, sizeof(*list));
	if (!list)
		return no_memory(c);
	for (i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s[%zu]", key, i);
		r = get_descriptor(c, json_array_get(v, i), path, &list[i]);
		if (r < 0)
			return r;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

/* schemaVersion 2, and the media type, where it is said, the right one. */
static int check_head(const struct ctx *c, json_t *o, enum oci_media want)
{
	json_t *version = json_object_get(o, "schemaVersion");
	const char *media;
	int r;

	if (!json_is_object(o))
		return err_set(c->e, EINVAL, "%s: is not a JSON object",
			       c->doc);
	if (!json_is_integer(version) || json_integer_value(version) != 2)
		return bad(c, "schemaVersion",
			   "is not 2 (older formats are not supported)");
	r = get_string(c, o, "mediaType", "mediaType", &media);
	if (r < 0)
		return r;
	if (*media && oci_media_parse(media) != want)
		return bad(c, "mediaType", "is of another kind of document");
	return 0;
}

int oci_index_parse(const char *text, size_t len, struct arena *a,
		    struct oci_index *ret, struct err *e)
{
	const struct ctx c = {a, e, "index"};
	struct oci_index index = {0};
	_cleanup_json_ json_t *o = NULL;
	int r = load(&c, text, len, &o);

	if (r == 0)
		r = check_head(&c, o, OCI_MEDIA_INDEX);
	if (r == 0)
		r = get_descriptors(&c, o, "manifests", HYB_OCI_MANIFESTS_MAX,
				    &index.manifests, &index.n_manifests);
	if (r == 0)
		*ret = index;
	return r;
}

int oci_manifest_parse(const char *text, size_t len, struct arena *a,
		       struct oci_manifest *ret, struct err *e)
{
	const struct ctx c = {a, e, "manifest"};
	struct oci_manifest m = {0};
	_cleanup_json_ json_t *o = NULL;
	char path[64];
	size_t i;
	int r = load(&c, text, len, &o);

	if (r == 0)
		r = check_head(&c, o, OCI_MEDIA_MANIFEST);
	if (r == 0)
		r = get_descriptor(&c, json_object_get(o, "config"), "config",
				   &m.config);
	if (r == 0)
		r = get_descriptors(&c, o, "layers", HYB_OCI_LAYERS_MAX,
				    &m.layers, &m.n_layers);
	if (r < 0)
		return r;
	if (m.config.media != OCI_MEDIA_CONFIG)
		return bad(&c, "config",
			   "its media type is not of an image (an artifact "
			   "that is not an image?)");
	for (i = 0; i < m.n_layers; i++) {
		if (m.layers[i].media == OCI_MEDIA_LAYER)
			continue;
		snprintf(path, sizeof(path), "layers[%zu]", i);
		return bad(&c, path, "its media type is not of a layer");
	}
	*ret = m;
	return 0;
}

/* ------------------------------------------------------- configuration */

static int get_health(const struct ctx *c, json_t *o,
		      struct oci_healthcheck **ret)
{
	json_t *v = json_object_get(o, "Healthcheck");
	struct oci_healthcheck *h;
	int r;

	*ret = NULL;
	if (!v || json_is_null(v))
		return 0;
	if (!json_is_object(v))
		return bad(c, "config.Healthcheck", "is not an object");
	h = arena_alloc(c->a, 1, sizeof(*h));
	if (!h)
		return no_memory(c);
	r = get_list(c, v, "Test", "config.Healthcheck.Test", &h->test, NULL);
	if (r == 0)
		r = get_number(c, v, "Interval", "config.Healthcheck.Interval",
			       &h->interval_ns);
	if (r == 0)
		r = get_number(c, v, "Timeout", "config.Healthcheck.Timeout",
			       &h->timeout_ns);
	if (r == 0)
		r = get_number(c, v, "StartPeriod",
			       "config.Healthcheck.StartPeriod",
			       &h->start_period_ns);
	if (r == 0)
		r = get_number(c, v, "Retries", "config.Healthcheck.Retries",
			       &h->retries);
	if (r == 0)
		*ret = h;
	return r;
}

static int get_run(const struct ctx *c, json_t *o, struct oci_image_config *k)
{
	int r = 0;

	if (!o || json_is_null(o))
		o = NULL; /* every member is absent then */
	else if (!json_is_object(o))
		return bad(c, "config", "is not an object");
	r = get_list(c, o, "Env", "config.Env", &k->env, NULL);
	if (r == 0)
		r = get_list(c, o, "Entrypoint", "config.Entrypoint",
			     &k->entrypoint, NULL);
	if (r == 0)
		r = get_list(c, o, "Cmd", "config.Cmd", &k->cmd, NULL);
	if (r == 0)
		r = get_string(c, o, "User", "config.User", &k->user);
	if (r == 0)
		r = get_string(c, o, "WorkingDir", "config.WorkingDir",
			       &k->working_dir);
	if (r == 0)
		r = get_keys(c, o, "Volumes", "config.Volumes", &k->volumes);
	if (r == 0)
		r = get_keys(c, o, "ExposedPorts", "config.ExposedPorts",
			     &k->exposed_ports);
	if (r == 0)
		r = get_string(c, o, "StopSignal", "config.StopSignal",
			       &k->stop_signal);
	if (r == 0)
		r = get_labels(c, o, "Labels", "config.Labels", &k->labels,
			       &k->n_labels);
	return r < 0 ? r : get_health(c, o, &k->healthcheck);
}

static int get_rootfs(const struct ctx *c, json_t *o,
		      struct oci_image_config *k)
{
	const char *type;
	size_t i;
	int r;

	if (!json_is_object(o))
		return bad(c, "rootfs", "is missing");
	r = get_string(c, o, "type", "rootfs.type", &type);
	if (r == 0 && strcmp(type, "layers") != 0)
		r = bad(c, "rootfs.type", "is not 'layers'");
	if (r == 0)
		r = get_list(c, o, "diff_ids", "rootfs.diff_ids", &k->diff_ids,
			     &k->n_diff_ids);
	for (i = 0; r == 0 && i < k->n_diff_ids; i++) {
		if (!oci_digest_is_valid(k->diff_ids[i]))
			r = bad(c, "rootfs.diff_ids",
				"has an item that is not a sha256 digest");
	}
	return r;
}

int oci_image_config_parse(const char *text, size_t len, struct arena *a,
			   struct oci_image_config *ret, struct err *e)
{
	const struct ctx c = {a, e, "image configuration"};
	struct oci_image_config k = {0};
	_cleanup_json_ json_t *o = NULL;
	int r = load(&c, text, len, &o);

	if (r == 0 && !json_is_object(o))
		r = err_set(e, EINVAL, "%s: is not a JSON object", c.doc);
	if (r == 0)
		r = get_string(&c, o, "architecture", "architecture",
			       &k.architecture);
	if (r == 0)
		r = get_string(&c, o, "os", "os", &k.os);
	if (r == 0)
		r = get_string(&c, o, "variant", "variant", &k.variant);
	if (r == 0)
		r = get_string(&c, o, "created", "created", &k.created);
	if (r == 0)
		r = get_string(&c, o, "author", "author", &k.author);
	if (r == 0)
		r = get_run(&c, json_object_get(o, "config"), &k);
	if (r == 0)
		r = get_rootfs(&c, json_object_get(o, "rootfs"), &k);
	if (r == 0)
		*ret = k;
	return r;
}

/* ------------------------------------------------------ docker-archive */

int docker_manifest_parse(const char *text, size_t len, struct arena *a,
			  struct docker_image **ret, size_t *ret_n,
			  struct err *e)
{
	const struct ctx c = {a, e, "manifest.json"};
	_cleanup_json_ json_t *o = NULL;
	struct docker_image *list;
	size_t i, n;
	int r = load(&c, text, len, &o);

	if (r < 0)
		return r;
	n = json_array_size(o);
	if (n == 0)
		return err_set(e, EINVAL, "%s: names no image", c.doc);
	if (n > HYB_OCI_MANIFESTS_MAX)
		return err_set(e, E2BIG, "%s: more than %d images", c.doc,
			       HYB_OCI_MANIFESTS_MAX);
	list = arena_alloc(a, n, sizeof(*list));
	if (!list)
		return no_memory(&c);
	for (i = 0; i < n; i++) {
		json_t *v = json_array_get(o, i);

		if (!json_is_object(v))
			return bad(&c, "an image", "is not an object");
		r = get_string(&c, v, "Config", "Config", &list[i].config);
		if (r == 0)
			r = get_list(&c, v, "RepoTags", "RepoTags",
				     &list[i].repo_tags, NULL);
		if (r == 0)
			r = get_list(&c, v, "Layers", "Layers", &list[i].layers,
				     &list[i].n_layers);
		if (r < 0)
			return r;
		if (list[i].n_layers > HYB_OCI_LAYERS_MAX)
			return err_set(e, E2BIG, "%s: more than %d layers",
				       c.doc, HYB_OCI_LAYERS_MAX);
	}
	*ret = list;
	*ret_n = n;
	return 0;
}
