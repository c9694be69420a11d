/* SPDX-License-Identifier: Apache-2.0 */
/* A document of kind tenant. */
#include "host-agent/manifest/container.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "host-agent/model/check.h"

static void on_count(struct reading *r, const struct node *n, int64_t *ret)
{
	uint64_t v;

	if (read_int(r, n, 0, 1000000, &v))
		*ret = (int64_t)v;
}

static void on_bytes(struct reading *r, const struct node *n, int64_t *ret)
{
	uint64_t v;

	if (read_size(r, n, 0, HYB_QUOTA_MAX, &v))
		*ret = (int64_t)v;
}

static void on_quota(struct reading *r, const struct node *n, void *out)
{
	struct model_tenant *t = out;
	unsigned int i;

	for (i = 0; i < QUOTA_KIND_MAX; i++)
		if (strcmp(r->key, quota_kind_name(i)) == 0)
			break;
	if (quota_kind_is_bytes(i))
		on_bytes(r, n, &t->quota[i]);
	else
		on_count(r, n, &t->quota[i]);
}

static const struct field quota_fields[] = {
	{"vms", on_quota},     {"vcpus", on_quota},
	{"memory", on_quota},  {"storage", on_quota},
	{"volumes", on_quota}, {"published_ports", on_quota},
	{"networks", NULL},
};

const struct field_table fields_quota = {
	"'quota'",
	quota_fields,
	ARRAY_SIZE(quota_fields),
};

static void quota_read(struct reading *r, const struct node *n, void *out)
{
	fields_read(r, n, &fields_quota, out);
}

/* A glob of image names: what fnmatch() takes, and what a name may have. */
static const char *check_glob(const char *s)
{
	static const char chars[] = "abcdefghijklmnopqrstuvwxyz0123456789"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ._-/:@*?";
	size_t n = strlen(s);

	return n == 0 || n > 255 || strspn(s, chars) != n
		       ? "the name of an image, in which * and ? stand for "
			 "any text and any character"
		       : NULL;
}

static void read_list(struct reading *r, const struct node *n,
		      const char *(*check)(const char *),
		      const char *const **ret)
{
	const char **v;
	size_t i;

	if (n->kind != NODE_LIST || n->n > HYB_TENANT_LIST_MAX) {
		node_error(r, n, "'%s' must be a list of at most %d; it is %s",
			   r->key, HYB_TENANT_LIST_MAX,
			   n->kind == NODE_LIST ? "longer" : node_show(r, n));
		return;
	}
	v = read_alloc(r, n->n + 1, sizeof(*v));
	for (i = 0; v && i < n->n; i++) {
		v[i] = "?";
		read_checked(r, n->items[i], check, &v[i]);
	}
	if (v)
		*ret = v;
}

static void on_images(struct reading *r, const struct node *n, void *out)
{
	struct model_tenant *t = out;

	t->limits_images = true;
	read_list(r, n, check_glob, &t->images);
}

static const struct field allow_fields[] = {
	{"images", on_images},
	{"bind_mounts", NULL},
	{"host_ips", NULL},
	{"privileged", NULL},
};

const struct field_table fields_allow = {
	"'allow'",
	allow_fields,
	ARRAY_SIZE(allow_fields),
};

static void allow_read(struct reading *r, const struct node *n, void *out)
{
	fields_read(r, n, &fields_allow, out);
}

static void on_users(struct reading *r, const struct node *n, void *out)
{
	struct model_tenant *t = out;

	read_list(r, n, check_account, &t->users);
}

static void on_groups(struct reading *r, const struct node *n, void *out)
{
	struct model_tenant *t = out;

	read_list(r, n, check_account, &t->groups);
}

static const struct field access_fields[] = {
	{"users", on_users},
	{"groups", on_groups},
};

const struct field_table fields_access = {
	"'access'",
	access_fields,
	ARRAY_SIZE(access_fields),
};

static void access_read(struct reading *r, const struct node *n, void *out)
{
	fields_read(r, n, &fields_access, out);
}

static void on_share(struct reading *r, const struct node *n, void *out)
{
	struct model_tenant *t = out;

	read_bool(r, n, &t->share_images);
}

static void on_name(struct reading *r, const struct node *n, void *out)
{
	struct model_tenant *t = out;

	read_checked(r, n, check_name, &t->name);
}

static void on_kind(struct reading *r, const struct node *n, void *out)
{
	(void)r;
	(void)n;
	(void)out;
}

static const struct field tenant_fields[] = {
	{"hyb", version_read},	 {"kind", on_kind},
	{"name", on_name},	 {"quota", quota_read},
	{"allow", allow_read},	 {"share_images", on_share},
	{"access", access_read},
};

const struct field_table fields_tenant = {
	"a tenant",
	tenant_fields,
	ARRAY_SIZE(tenant_fields),
};

struct model_tenant *tenant_read(struct reading *r, const struct node *root)
{
	static const char *const none[] = {NULL};
	struct model_tenant *t = read_alloc(r, 1, sizeof(*t));
	size_t i;

	if (!t)
		return NULL;
	*t = (struct model_tenant){
		.name = "", .images = none, .users = none, .groups = none};
	for (i = 0; i < QUOTA_KIND_MAX; i++)
		t->quota[i] = -1;
	fields_read(r, root, &fields_tenant, t);
	if (!node_get(root, "hyb"))
		node_error(r, root, "'hyb' is missing; write hyb: 1");
	if (!node_get(root, "name"))
		node_error(r, root, "'name' is missing; write name: NAME");
	if (strcmp(t->name, HYB_DEFAULT_TENANT) == 0 &&
	    node_get(root, "access"))
		node_error(r, node_get(root, "access"),
			   "the tenant '%s' is whoever is in no other: it has "
			   "no 'access'",
			   HYB_DEFAULT_TENANT);
	return t;
}
