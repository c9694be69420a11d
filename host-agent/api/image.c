/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on images. */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/base/json.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "common/varlink/params.h"

#include <fcntl.h>
#include <sys/stat.h>

static json_t *strings_json(const char *const *v)
{
	json_t *a = json_array();

	for (; v && *v; v++)
		json_array_append_new(a, json_string(*v));
	return a;
}

static json_t *image_row(const struct image_info *i, const char *name)
{
	uint64_t shared = i->base_path ? i->erofs_size - i->file_size : 0;

	return json_pack("{s:s,s:s,s:I,s:I,s:I,s:s,s:s,s:s}", "name", name,
			 "digest", i->digest, "size", (json_int_t)i->size,
			 "disk_size", (json_int_t)i->disk_size, "shared_size",
			 (json_int_t)shared, "architecture", i->architecture,
			 "created", i->created, "tenant", i->tenant);
}

void image_rows_add(json_t *rows, const struct image_info *i)
{
	size_t k;

	if (!i->names || !i->names[0])
		json_array_append_new(rows, image_row(i, ""));
	for (k = 0; i->names && i->names[k]; k++)
		json_array_append_new(rows, image_row(i, i->names[k]));
}

struct load_params {
	const char *name, *source;
};

static int take_images(struct request *q, const struct vl_call *call,
		       bool is_tree, struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, offsetof(struct load_params, name), 0, 512,
		 true},
		{"source", VL_STRING, offsetof(struct load_params, source), 0,
		 4096, true},
	};
	char source[512];
	_cleanup_image_rights_ struct image_rights *rights = NULL;
	_cleanup_image_store_ struct image_store *store = NULL;
	_cleanup_image_info_list_ struct image_info **list = NULL;
	struct load_params p = {.name = NULL};
	struct bytes_teller teller = {.q = q};
	char **skipped = NULL;
	struct image_input in = {
		.source_name = source,
		.caller_uid = q->uid,
		.caller_gid = q->gid,
		.progress = bytes_tell,
		.arg = &teller,
		.ret_skipped = &skipped,
	};
	json_t *rows, *words;
	size_t i;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &p, NULL, e);
	if (r == 0)
		r = tenant_image_rights(q, q->tenant, &rights, e);
	if (r == 0)
		r = image_stores_take(q->api->images, q->tenant, &store, e);
	if (r < 0)
		return r;
	text_escape(p.source && p.source[0] ? p.source : "image", source,
		    sizeof(source));
	in.name = p.name;
	in.may = image_may_load;
	in.may_arg = rights;
	if (vl_conn_take_fds(q->conn, &in.fd, 1) != 1)
		return err_set(e, EINVAL,
			       "%s: no descriptor came with the call",
			       is_tree ? "ImageImport" : "ImageLoad");
	r = is_tree ? image_store_import_fd(store, &in, &list, e)
		    : image_store_load_fd(store, &in, &list, e);
	close(in.fd);
	if (r < 0)
		return r;
	rows = json_array();
	for (i = 0; list[i]; i++)
		image_rows_add(rows, list[i]);
	words = strings_json((const char *const *)skipped);
	strv_free(skipped);
	log_info("image %s: %zu images, by user %u",
		 is_tree ? "import" : "load", i, q->uid);
	return request_reply(
		q, json_pack("{s:o,s:o}", "images", rows, "skipped", words),
		false, e);
}

int on_image_load(void *ctx, struct vl_call *call, struct err *e)
{
	return take_images(ctx, call, false, e);
}

int on_image_import(void *ctx, struct vl_call *call, struct err *e)
{
	return take_images(ctx, call, true, e);
}

#define AUTH_MAX (1u << 20)

/* The caller's credentials: a sealed memfd, so that reading it waits for nobody
 * (a file of FUSE is regular too) and finds what was looked at. */
int request_take_auth(struct request *q, char **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;
	ssize_t n;
	int seals;

	if (vl_conn_take_fds(q->conn, &fd, 1) != 1)
		return 0;
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || !(seals & F_SEAL_WRITE) || !(seals & F_SEAL_SHRINK))
		return err_set(e, EINVAL,
			       "the credentials are no sealed memfd");
	if (fstat(fd, &st) < 0 || st.st_size > AUTH_MAX ||
	    lseek(fd, 0, SEEK_SET) < 0)
		return err_set(e, EINVAL,
			       "the credentials are more than 1 MiB");
	text = calloc(1, (size_t)st.st_size + 1);
	if (!text)
		return err_sys(e, ENOMEM, "read credentials");
	n = read_full(fd, text, (size_t)st.st_size);
	if (n < 0)
		return err_sys(e, (int)-n, "read credentials");
	*ret = steal_ptr(text);
	return 0;
}

struct pull_params {
	const char *reference, *platform;
	bool tls_verify;
};

int on_image_pull(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"reference", VL_STRING,
		 offsetof(struct pull_params, reference), 0, 512, false},
		{"platform", VL_STRING, offsetof(struct pull_params, platform),
		 0, 64, true},
		{"tls_verify", VL_BOOL,
		 offsetof(struct pull_params, tls_verify), 0, 0, true},
	};
	_cleanup_image_rights_ struct image_rights *rights = NULL;
	_cleanup_image_store_ struct image_store *store = NULL;
	_cleanup_image_info_ struct image_info *image = NULL;
	struct pull_params p = {.tls_verify = true};
	struct request *q = ctx;
	struct bytes_teller teller = {.q = q};
	_cleanup_free_ char *auth = NULL;
	struct image_pull pull;
	json_t *rows;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &p, NULL, e);
	if (r == 0)
		r = tenant_pull(q, q->tenant, &store, &rights, e);
	if (r < 0)
		return r;
	r = request_take_auth(q, &auth, e);
	if (r < 0)
		return err_wrap(e, "pull '%s'", p.reference);
	pull = (struct image_pull){.reference = p.reference,
				   .auth = auth,
				   .platform = p.platform,
				   .no_tls_verify = !p.tls_verify};
	image_rights_pull(rights, &pull);
	r = image_store_pull(store, &pull, bytes_tell, &teller, &image, e);
	if (auth)
		explicit_bzero(auth, strlen(auth));
	if (r < 0)
		return r;
	log_info("image pull '%s': by user %u", p.reference, q->uid);
	rows = json_array();
	image_rows_add(rows, image);
	return request_reply(q, json_pack("{s:o}", "images", rows), false, e);
}

int on_image_list(void *ctx, struct vl_call *call, struct err *e)
{
	_cleanup_image_store_ struct image_store *own = NULL;
	struct request *q = ctx;
	struct image_usage usage = {.layers = 0};
	json_t *rows = json_array();
	int r = tenant_image_rows(q, rows, e);

	(void)call;
	if (r == 0)
		r = image_stores_peek(q->api->images, q->tenant, &own, e);
	if (r == 0 && own)
		image_store_usage(own, &usage);
	if (r < 0) {
		json_decref(rows);
		return r;
	}
	return request_reply(q,
			     json_pack("{s:o,s:I,s:I}", "images", rows,
				       "layers", (json_int_t)usage.n_layers,
				       "layers_size", (json_int_t)usage.layers),
			     false, e);
}

struct ref_params {
	const char *reference;
};

static int read_ref(const struct vl_call *call, struct ref_params *p,
		    struct err *e)
{
	static const struct vl_field fields[] = {
		{"reference", VL_STRING, offsetof(struct ref_params, reference),
		 0, 512, false},
	};

	return vl_params_read(call->parameters, fields, 1, true, p, NULL, e);
}

static json_t *string_json(const char *s)
{
	return json_string(s ? s : "");
}

static json_t *labels_json(const struct oci_image_config *c)
{
	json_t *o = json_object();
	size_t i;

	for (i = 0; i < c->n_labels; i++)
		json_object_set_new(o, c->labels[i].key,
				    json_string(c->labels[i].value));
	return o;
}

static json_t *health_json(const struct oci_healthcheck *h)
{
	if (!h)
		return json_null();
	return json_pack("{s:o,s:I,s:I,s:I,s:I}", "test",
			 strings_json((const char *const *)h->test),
			 "interval_ns", (json_int_t)h->interval_ns,
			 "timeout_ns", (json_int_t)h->timeout_ns,
			 "start_period_ns", (json_int_t)h->start_period_ns,
			 "retries", (json_int_t)h->retries);
}

static json_t *config_json(const struct oci_image_config *c)
{
	static const struct {
		const char *key;
		size_t at;
	} lists[] = {
		{"env", offsetof(struct oci_image_config, env)},
		{"entrypoint", offsetof(struct oci_image_config, entrypoint)},
		{"cmd", offsetof(struct oci_image_config, cmd)},
		{"volumes", offsetof(struct oci_image_config, volumes)},
		{"exposed_ports",
		 offsetof(struct oci_image_config, exposed_ports)},
	};
	json_t *o = json_object();
	size_t i;

	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		const char *const *const *v =
			(const void *)((const char *)c + lists[i].at);

		json_object_set_new(o, lists[i].key, strings_json(*v));
	}
	json_object_set_new(o, "user", string_json(c->user));
	json_object_set_new(o, "working_dir", string_json(c->working_dir));
	json_object_set_new(o, "stop_signal", string_json(c->stop_signal));
	json_object_set_new(o, "labels", labels_json(c));
	json_object_set_new(o, "healthcheck", health_json(c->healthcheck));
	return o;
}

int on_image_inspect(void *ctx, struct vl_call *call, struct err *e)
{
	_cleanup_image_info_ struct image_info *i = NULL;
	struct request *q = ctx;
	struct ref_params p;
	json_t *o;
	int r;

	r = read_ref(call, &p, e);
	if (r == 0)
		r = tenant_image_look(q, q->tenant, p.reference, &i, e);
	if (r < 0)
		return r;
	o = image_row(i, i->names && i->names[0] ? i->names[0] : "");
	json_object_set_new(o, "names",
			    strings_json((const char *const *)i->names));
	json_object_set_new(o, "config_digest", string_json(i->config_digest));
	json_object_set_new(o, "os", string_json(i->os));
	json_object_set_new(o, "serial", string_json(i->erofs_serial));
	json_object_set_new(o, "base",
			    i->base_digest ? json_string(i->base_digest)
					   : json_null());
	json_object_set_new(o, "config", config_json(&i->config));
	return request_reply(q, json_pack("{s:o}", "object", o), false, e);
}

struct use {
	struct api *api;
	const char *tenant; /* whose store it is */
	json_t *declared;   /* images_declared() */
};

/* Does the tenant have an image of its own that has this digest? Then its
 * containers are not of the operator's. */
static bool has_own(struct api *api, const char *tenant, const char *digest)
{
	_cleanup_image_store_ struct image_store *own = NULL;
	_cleanup_image_info_ struct image_info *i = NULL;

	return strcmp(tenant, HYB_DEFAULT_TENANT) != 0 &&
	       image_stores_peek(api->images, tenant, &own, NULL) == 0 && own &&
	       image_store_get(own, digest, &i, NULL) == 0;
}

/* Has it a container made from it, or one that is to be? */
static bool vm_uses_image(const struct vm *vm, const char *digest)
{
	size_t i;

	for (i = 0; i < vm->n_ctrs; i++)
		if (strcmp(vm->ctrs[i].row.digest, digest) == 0)
			return true;
	for (i = 0; vm->desired && i < vm->desired->n_containers; i++)
		if (strcmp(model_image(&vm->desired->containers[i]), digest) ==
		    0)
			return true;
	return false;
}

/* The next tenant by name that has a container made from it, or one that is to
 * be; false: there is none. */
static bool next_user(struct world *w, const char *digest,
		      char tenant[STATE_NAME_MAX])
{
	char best[STATE_NAME_MAX] = "";
	const struct vm *vm;

	world_lock(w);
	for (vm = w->vms; vm; vm = vm->next) {
		if (vm->gone || strcmp(vm->tenant, tenant) <= 0 ||
		    (best[0] && strcmp(vm->tenant, best) >= 0))
			continue;
		if (vm_uses_image(vm, digest))
			snprintf(best, sizeof(best), "%s", vm->tenant);
	}
	world_unlock(w);
	memcpy(tenant, best, sizeof(best));
	return best[0] != '\0';
}

/* The locks of tenants' stores are taken below that of the operator's, and the
 * world's below none of another store's. */
static bool in_use(void *arg, const char *digest)
{
	const struct use *u = arg;
	char tenant[STATE_NAME_MAX] = "";
	bool all = strcmp(u->tenant, HYB_DEFAULT_TENANT) == 0;

	if (json_object_get(u->declared, digest))
		return true;
	while (next_user(u->api->world, digest, tenant))
		if (all ? !has_own(u->api, tenant, digest)
			: strcmp(tenant, u->tenant) == 0)
			return true;
	return false;
}

/* What the tenant sees and has no store for is the operator's. */
static int remove_image(struct request *q, const char *reference, char ***ret,
			struct err *e)
{
	_cleanup_image_store_ struct image_store *own = NULL;
	_cleanup_image_info_ struct image_info *i = NULL;
	_cleanup_json_ json_t *declared = images_declared(q->api, q->tenant);
	struct use u = {q->api, q->tenant, declared};
	int r = image_stores_peek(q->api->images, q->tenant, &own, e);

	if (r == 0)
		r = tenant_image_look(q, q->tenant, reference, &i, e);
	/* A damaged one can be removed, too. */
	if (own && (r == 0 ? strcmp(i->tenant, q->tenant) == 0 : r != -ENOENT))
		return image_store_remove(own, reference, in_use, &u, ret, e);
	if (r < 0)
		return r;
	err_set(e, EPERM,
		"image '%s' is the operator's: tenant '%s' may not "
		"remove it",
		reference, q->tenant);
	err_hint(e, "ask the operator: root may");
	return -EPERM;
}

int on_image_remove(void *ctx, struct vl_call *call, struct err *e)
{
	struct request *q = ctx;
	struct ref_params p;
	char **removed = NULL;
	json_t *names;
	int r;

	r = read_ref(call, &p, e);
	if (r < 0)
		return r;
	pthread_rwlock_wrlock(&q->api->removals);
	r = remove_image(q, p.reference, &removed, e);
	pthread_rwlock_unlock(&q->api->removals);
	if (r < 0)
		return r;
	log_info("image rm '%s': by user %u", p.reference, q->uid);
	names = strings_json((const char *const *)removed);
	strv_free(removed);
	return request_reply(q, json_pack("{s:o}", "removed", names), false, e);
}

struct prune_params {
	bool all, dry_run;
};

static int prune_images(struct request *q, struct image_prune *prune,
			char ***ret, uint64_t *ret_bytes, struct err *e)
{
	_cleanup_image_store_ struct image_store *store = NULL;
	_cleanup_json_ json_t *declared = images_declared(q->api, q->tenant);
	struct use u = {q->api, q->tenant, declared};
	int r = image_stores_take(q->api->images, q->tenant, &store, e);

	if (r < 0)
		return r;
	prune->in_use = in_use;
	prune->arg = &u;
	return image_store_prune(store, prune, ret, ret_bytes, e);
}

int on_image_prune(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"all", VL_BOOL, offsetof(struct prune_params, all), 0, 0,
		 true},
		{"dry_run", VL_BOOL, offsetof(struct prune_params, dry_run), 0,
		 0, true},
	};
	struct prune_params p = {.all = false};
	struct request *q = ctx;
	struct image_prune prune;
	char **removed = NULL;
	uint64_t bytes, layers;
	json_t *names;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &p, NULL, e);
	if (r < 0)
		return r;
	prune = (struct image_prune){
		.all = p.all, .dry_run = p.dry_run, .ret_layers = &layers};
	pthread_rwlock_wrlock(&q->api->removals);
	r = prune_images(q, &prune, &removed, &bytes, e);
	pthread_rwlock_unlock(&q->api->removals);
	if (r < 0)
		return r;
	log_info("image prune: %llu bytes, by user %u%s",
		 (unsigned long long)bytes, q->uid,
		 p.dry_run ? " (asked only)" : "");
	names = strings_json((const char *const *)removed);
	strv_free(removed);
	return request_reply(q,
			     json_pack("{s:o,s:I,s:I}", "removed", names,
				       "layers", (json_int_t)layers, "bytes",
				       (json_int_t)bytes),
			     false, e);
}
