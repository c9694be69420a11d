/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images of tenants: each has a store of its own, and of the operator's what
 * its `allow.images` lets it have. That says by name what a tenant may run and
 * bring, and, for pulls, which registries hybd may be sent to on its behalf:
 * those that a pattern names in full, none where there are no patterns.
 */
#include "host-agent/api/api.h"

#include <fnmatch.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "host-agent/image/image_ref.h"
#include "host-agent/state/state_tenant.h"

#define HUB	"docker.io/"
#define LIBRARY HUB "library/"

/* ---------------------------------------------------------------- stores */

static int is_declared(void *arg, const char *tenant, struct err *e)
{
	struct model_tenant *t = NULL;
	int r = tenant_find(arg, tenant, &t, e);

	if (r == 0 && !t)
		r = err_set(e, ENOENT, "there is no tenant '%s'", tenant);
	model_tenant_free(t);
	return r;
}

static void on_problem(void *arg, const char *tenant, const struct err *e)
{
	(void)arg;
	log_error("images of tenant '%s': %s", tenant, e->msg);
}

static int quota_left(void *arg, const char *tenant, uint64_t *ret_most,
		      uint64_t *ret_left, struct err *e)
{
	int64_t most, left;
	int r = state_quota_left(arg, tenant, QUOTA_STORAGE, &most, &left, e);

	if (r == 0 && most != INT64_MAX) {
		*ret_most = (uint64_t)most;
		*ret_left = (uint64_t)left;
	}
	return r;
}

static int quota_hold(void *arg, const char *tenant, uint64_t bytes, bool check,
		      struct err *e)
{
	const struct state_holding h = {
		.tenant = tenant,
		.what = "images",
		.name = "",
		.bytes = (int64_t)bytes,
	};

	return state_holding_put(arg, &h, check ? HOLDING_ASK : HOLDING_SET, e);
}

/* Who does not say so in a declaration does not share, `default` neither. */
static int list_sharing(void *arg, char ***ret, struct err *e)
{
	struct state_tenant *rows = NULL;
	char **names = NULL;
	size_t i, n = 0, n_names = 0;
	int r = state_tenant_list(arg, &rows, &n, e);

	if (r < 0)
		return r;
	names = calloc(n + 1, sizeof(*names));
	for (i = 0; names && i < n; i++) {
		struct model_tenant *t = NULL;

		if (tenant_read_row(&rows[i], &t, NULL) == 0 && t->share_images)
			names[n_names] = strdup(rows[i].name);
		n_names += names[n_names] != NULL;
		model_tenant_free(t);
	}
	state_tenant_free(rows, n);
	*ret = names;
	return names ? 0 : err_sys(e, ENOMEM, "tenants");
}

int tenant_images_open(struct state *s,
		       const struct image_store_config *operators,
		       uid_t first_uid, unsigned int n_uids,
		       struct image_stores **ret, struct err *e)
{
	const struct image_stores_config c = {
		.operators = *operators,
		.tenant = HYB_DEFAULT_TENANT,
		.quota = {.left = quota_left, .hold = quota_hold, .arg = s},
		.first_uid = first_uid,
		.n_uids = n_uids,
		.sharing = list_sharing,
		.find = is_declared,
		.on_problem = on_problem,
		.arg = s,
	};

	return image_stores_open(&c, ret, e);
}

/* ---------------------------------------------------------------- names */

/* By the canonical name, or the short form that people write, with the tag or,
 * where that is "latest", without. */
static bool is_named(const struct model_tenant *t, const char *full)
{
	const char *forms[2] = {full, image_ref_familiar(full)};
	const size_t tail = strlen(":latest");
	char bare[sizeof(((struct image_ref *)0)->full)];
	size_t i, n;

	for (i = 0; i < ARRAY_SIZE(forms); i++) {
		if (access_image(t, forms[i]))
			return true;
		n = strlen(forms[i]);
		if (n <= tail || n >= sizeof(bare) ||
		    strcmp(forms[i] + n - tail, ":latest") != 0)
			continue;
		memcpy(bare, forms[i], n - tail);
		bare[n - tail] = '\0';
		if (access_image(t, bare))
			return true;
	}
	return false;
}

/* What the operator's files make of a short name is the operator's to say: so
 * it may be allowed as it is written, but where it is a digest that counts. */
static bool is_written(const struct model_tenant *t, const char *reference)
{
	return !strchr(reference, '@') && access_image(t, reference);
}

static bool has_allowed_name(const struct model_tenant *t,
			     const struct image_info *i)
{
	const char **v;
	struct image_ref ref;

	if (!t->limits_images)
		return true;
	for (v = i->names; *v; v++)
		if (image_ref_parse(*v, &ref, NULL) == 0 &&
		    is_named(t, ref.full))
			return true;
	return false;
}

static bool may_run(const struct model_tenant *t, const char *reference,
		    const struct image_info *i)
{
	if (!i->found)
		return has_allowed_name(t, i);
	return is_named(t, i->found) || is_written(t, reference);
}

/* Of an image that is not there: would its name be one that is allowed? */
static bool may_name(const struct model_tenant *t, const char *reference)
{
	struct image_ref ref;

	return access_image(t, reference) ||
	       (image_ref_parse(reference, &ref, NULL) == 0 &&
		is_named(t, ref.full));
}

/* -------------------------------------------------------------- looking */

struct look {
	const struct model_tenant *t;
	const char *reference;
};

static bool is_shown(void *arg, const struct image_info *i)
{
	const struct look *l = arg;

	return may_run(l->t, l->reference, i);
}

static int look(struct request *q, const struct model_tenant *t,
		const char *tenant, const char *reference,
		struct image_info **ret, struct err *e)
{
	struct look l = {t, reference};

	return image_stores_find(q->api->images, tenant, reference,
				 t && t->limits_images ? is_shown : NULL, &l,
				 ret, e);
}

int tenant_image_look(struct request *q, const char *tenant,
		      const char *reference, struct image_info **ret,
		      struct err *e)
{
	struct model_tenant *t = NULL;
	int r = tenant_find(q->api->state, tenant, &t, e);

	if (r == 0)
		r = look(q, t, tenant, reference, ret, e);
	model_tenant_free(t);
	return r;
}

static int refuse(const char *tenant, const char *reference, struct err *e)
{
	char text[200];

	err_set(e, EPERM, "tenant '%s' may not use image '%s'", tenant,
		text_escape(reference, text, sizeof(text)));
	err_hint(e, "`allow.images` of the tenant lists what it may");
	return -EPERM;
}

int tenant_image(struct request *q, const char *tenant, const char *reference,
		 struct image_info **ret, struct err *e)
{
	_cleanup_image_info_ struct image_info *i = NULL;
	struct model_tenant *t = NULL;
	int r = tenant_find(q->api->state, tenant, &t, e);

	if (r == 0)
		r = look(q, t, tenant, reference, &i, e);
	if (t && t->limits_images &&
	    ((r == 0 && !may_run(t, reference, i)) ||
	     (r == -ENOENT && !may_name(t, reference))))
		r = refuse(tenant, reference, e);
	model_tenant_free(t);
	if (r == 0)
		*ret = steal_ptr(i);
	return r;
}

static int add_list(struct image_store *s, const struct model_tenant *t,
		    json_t *rows, struct err *e)
{
	_cleanup_image_info_list_ struct image_info **list = NULL;
	size_t i;
	int r = image_store_list(s, &list, e);

	for (i = 0; r == 0 && list[i]; i++)
		if (!t || has_allowed_name(t, list[i]))
			image_rows_add(rows, list[i]);
	return r;
}

int tenant_image_rows(struct request *q, json_t *rows, struct err *e)
{
	struct image_store *operators = image_stores_operators(q->api->images);
	_cleanup_image_store_ struct image_store *own = NULL;
	struct model_tenant *t = NULL;
	int r = image_stores_peek(q->api->images, q->tenant, &own, e);

	if (r == 0)
		r = tenant_find(q->api->state, q->tenant, &t, e);
	if (r == 0 && own)
		r = add_list(own, NULL, rows, e);
	if (r == 0 && own != operators)
		r = add_list(operators, t, rows, e);
	model_tenant_free(t);
	return r;
}

/* ------------------------------------------------------------- bringing */

struct image_rights {
	char tenant[STATE_NAME_MAX];
	struct model_tenant *t; /* NULL: all */
};

void image_rights_free(struct image_rights *r)
{
	if (r)
		model_tenant_free(r->t);
	free(r);
}

/* Root, and who is in `default`, whose images the operator's are, may bring
 * any. */
int tenant_image_rights(struct request *q, const char *tenant,
			struct image_rights **ret, struct err *e)
{
	_cleanup_image_rights_ struct image_rights *x = calloc(1, sizeof(*x));
	int r = 0;

	if (!x)
		return err_sys(e, ENOMEM, "image");
	snprintf(x->tenant, sizeof(x->tenant), "%s", tenant);
	if (q->peer->uid != 0 && strcmp(tenant, HYB_DEFAULT_TENANT) != 0) {
		r = tenant_find(q->api->state, tenant, &x->t, e);
		if (r == 0 && !x->t)
			r = err_set(e, ENOENT, "there is no tenant '%s'",
				    tenant);
	}
	if (r == 0)
		*ret = steal_ptr(x);
	return r;
}

int image_may_load(void *arg, const char *full, struct err *e)
{
	const struct image_rights *r = arg;

	if (!r->t || !r->t->limits_images || (full && is_named(r->t, full)))
		return 0;
	if (full)
		err_set(e, EPERM,
			"tenant '%s' may not have an image called '%s'",
			r->tenant, image_ref_familiar(full));
	else
		err_set(e, EPERM,
			"tenant '%s' may not have an image without a name",
			r->tenant);
	err_hint(e, "`allow.images` of the tenant lists what it may: --name");
	return -EPERM;
}

/* A pattern as the canonical names that it stands for: its registry in full.
 * false: it leaves open which, and so lets hybd be sent nowhere. */
static bool is_of_registry(const char *glob, char *out, size_t size)
{
	size_t n = strcspn(glob, "/");
	const char *prefix = "";

	if (image_ref_short_len(glob))
		prefix = glob[n] ? HUB : LIBRARY;
	else if (strcspn(glob, "*?") < n)
		return false;
	return (size_t)snprintf(out, size, "%s%s", prefix, glob) < size;
}

static bool may_fetch(const struct model_tenant *t, const char *full)
{
	const size_t tail = strlen(":latest"), n = strlen(full);
	char glob[300], bare[sizeof(((struct image_ref *)0)->full)];
	size_t i;

	snprintf(bare, sizeof(bare), "%s", full);
	if (n > tail && strcmp(full + n - tail, ":latest") == 0)
		bare[n - tail] = '\0';
	for (i = 0; t->limits_images && t->images[i]; i++)
		if (is_of_registry(t->images[i], glob, sizeof(glob)) &&
		    (fnmatch(glob, full, 0) == 0 ||
		     fnmatch(glob, bare, 0) == 0))
			return true;
	return false;
}

static int may_pull(void *arg, const char *full, struct err *e)
{
	const struct image_rights *r = arg;

	if (!r->t || may_fetch(r->t, full))
		return 0;
	err_set(e, EPERM, "tenant '%s' may not pull '%s'", r->tenant,
		image_ref_familiar(full));
	err_hint(e, "a tenant pulls from registries that its `allow.images` "
		    "names in full: ask the operator");
	return -EPERM;
}

void image_rights_pull(struct image_rights *r, struct image_pull *p)
{
	p->may = may_pull;
	p->may_arg = r;
	p->strict = r->t != NULL;
}

static bool names_registry(const struct model_tenant *t)
{
	char glob[300];
	size_t i;

	for (i = 0; t->limits_images && t->images[i]; i++)
		if (is_of_registry(t->images[i], glob, sizeof(glob)))
			return true;
	return false;
}

int tenant_pull(struct request *q, const char *tenant, struct image_store **ret,
		struct image_rights **ret_rights, struct err *e)
{
	_cleanup_image_rights_ struct image_rights *rights = NULL;
	int r = tenant_image_rights(q, tenant, &rights, e);

	if (r < 0)
		return r;
	if (rights->t && !names_registry(rights->t)) {
		err_set(e, EPERM, "tenant '%s' may not pull images", tenant);
		err_hint(e, "a tenant pulls from registries that its "
			    "`allow.images` names in full: ask the operator");
		return -EPERM;
	}
	r = image_stores_take(q->api->images, tenant, ret, e);
	if (r == 0)
		*ret_rights = steal_ptr(rights);
	return r;
}
