/* SPDX-License-Identifier: Apache-2.0 */
/* Tenants: who the caller acts for, and the operator's calls on them. */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "common/varlink/params.h"
#include "host-agent/manifest/manifest.h"
#include "host-agent/state/state_tenant.h"

struct tenants {
	struct state_tenant *list;
	size_t n;
};

static void tenants_done(struct tenants *t)
{
	state_tenant_free(t->list, t->n);
}

#define _cleanup_tenants_ __attribute__((cleanup(tenants_done)))

int tenant_read_row(const struct state_tenant *row, struct model_tenant **ret,
		    struct err *e)
{
	json_t *j = row->doc ? json_loads(row->doc, 0, NULL) : NULL;
	int r = model_tenant_from_json(j, ret, e);

	json_decref(j);
	return r < 0 ? err_wrap(e, "tenant '%s'", row->name) : 0;
}

/* The row of that name, in t; *ret NULL: there is none. */
static int find_row(struct state *s, const char *name, struct tenants *t,
		    const struct state_tenant **ret, struct err *e)
{
	size_t i;
	int r = state_tenant_list(s, &t->list, &t->n, e);

	*ret = NULL;
	for (i = 0; r == 0 && i < t->n; i++)
		if (strcmp(t->list[i].name, name) == 0)
			*ret = &t->list[i];
	return r;
}

int tenant_find(struct state *s, const char *name, struct model_tenant **ret,
		struct err *e)
{
	_cleanup_tenants_ struct tenants t = {NULL, 0};
	const struct state_tenant *row;
	int r = find_row(s, name, &t, &row, e);

	*ret = NULL;
	return r == 0 && row ? tenant_read_row(row, ret, e) : r;
}

/* Is it named by the declaration of one that the caller may act for? */
static int row_names(const struct request *q, const struct state_tenant *row)
{
	struct model_tenant *t = NULL;
	struct err e = ERR_INIT;
	int r = tenant_read_row(row, &t, &e);

	if (r < 0) {
		log_error("%s", e.msg);
		return r;
	}
	r = access_names(t, q->peer);
	if (r < 0)
		log_error("tenant '%s': who is of it: %s", row->name,
			  strerror(-r));
	model_tenant_free(t);
	return r;
}

struct mine {
	size_t n;
	bool wanted; /* one of them is what was asked for */
	char only[STATE_NAME_MAX];
	struct buf names;
};

static int find_mine(struct request *q, const char *want, struct mine *m,
		     struct err *e)
{
	_cleanup_tenants_ struct tenants t = {NULL, 0};
	size_t i;
	int r = state_tenant_list(q->api->state, &t.list, &t.n, e);

	for (i = 0; r >= 0 && i < t.n; i++) {
		bool is_wanted = strcmp(t.list[i].name, want) == 0;

		r = q->peer->uid == 0 ? is_wanted : row_names(q, &t.list[i]);
		if (r < 0)
			return err_set(e, EIO, "tenants cannot be read");
		if (r == 0)
			continue;
		m->wanted |= is_wanted;
		buf_printf(&m->names, "%s%s", m->n++ ? ", " : "",
			   t.list[i].name);
		snprintf(m->only, sizeof(m->only), "%s", t.list[i].name);
	}
	if (r < 0)
		return r;
	/* Root, and who is in no other. */
	if (q->peer->uid == 0 || m->n == 0) {
		snprintf(m->only, sizeof(m->only), "%s", HYB_DEFAULT_TENANT);
		m->wanted |= strcmp(want, HYB_DEFAULT_TENANT) == 0;
		m->n = 1;
	}
	return 0;
}

int tenant_default(struct request *q, struct err *e)
{
	struct mine m = {.names.max = 300};
	int r = find_mine(q, "", &m, e);

	if (r == 0 && m.n == 1)
		snprintf(q->tenant, sizeof(q->tenant), "%s", m.only);
	if (r == 0 && m.n > 1) {
		r = err_set(e, EINVAL, "you act for several tenants");
		err_hint(e, "say which with --tenant: %s", buf_str(&m.names));
	}
	buf_done(&m.names);
	return r;
}

int tenant_check(struct request *q, const char *name, struct err *e)
{
	struct mine m = {.names.max = 300};
	char shown[96];
	int r = find_mine(q, name, &m, e);

	buf_done(&m.names);
	if (r < 0 || m.wanted)
		return r;
	text_escape(name, shown, sizeof(shown));
	if (q->peer->uid == 0) {
		err_set(e, ENOENT, "there is no tenant '%s'", shown);
		err_hint(e, "`hyb tenant apply FILE` declares one");
		return -ENOENT;
	}
	/* The same words whether there is one or not. */
	return err_set(e, EPERM, "you may not act for tenant '%s'", shown);
}

/* ------------------------------------------------------------------- calls */

static int only_root(const struct request *q, struct err *e)
{
	return q->peer->uid == 0
		       ? 0
		       : err_set(e, EPERM, "only root may look after tenants");
}

struct name_params {
	const char *name;
};

static int read_name(const struct vl_call *call, const char **ret,
		     struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, offsetof(struct name_params, name), 0, 256,
		 false},
	};
	struct name_params p;
	int r = vl_params_read(call->parameters, fields, 1, true, &p, NULL, e);

	if (r == 0)
		*ret = p.name;
	return r;
}

int on_use(void *ctx, struct vl_call *call, struct err *e)
{
	struct request *q = ctx;
	const char *name;
	int r = read_name(call, &name, e);

	if (r == 0)
		r = tenant_check(q, name, e);
	if (r < 0)
		return r;
	snprintf(q->chosen, STATE_NAME_MAX, "%s", name);
	return request_reply(q, json_object(), false, e);
}

struct apply_params {
	const char *file, *text;
};

static int apply_all(struct request *q, const struct manifest *m,
		     json_t *applied, struct err *e)
{
	size_t i;
	int r = 0;

	if (m->n_stacks)
		return err_set(e, EINVAL,
			       "stack '%s' is no tenant: `hyb deploy` takes it",
			       m->stacks[0]->name);
	for (i = 0; r == 0 && i < m->n_tenants; i++) {
		r = state_tenant_put(q->api->state, m->tenants[i], e);
		if (r == 0)
			log_info("tenant apply '%s': by user %u",
				 m->tenants[i]->name, q->peer->uid);
		json_array_append_new(applied,
				      json_string(m->tenants[i]->name));
	}
	return r;
}

int on_tenant_apply(void *ctx, struct vl_call *call, struct err *e)
{
#define AT(m) offsetof(struct apply_params, m)
	static const struct vl_field fields[] = {
		{"file", VL_STRING, AT(file), 0, 4096, false},
		{"text", VL_STRING, AT(text), 0, (int64_t)HYB_MANIFEST_SIZE_MAX,
		 false},
	};
#undef AT
	_cleanup_manifest_ struct manifest m = {.stacks = NULL};
	struct request *q = ctx;
	struct apply_params p;
	json_t *applied;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &p, NULL, e);
	if (r == 0)
		r = only_root(q, e);
	if (r < 0)
		return r;
	r = manifest_parse(p.file, p.text, strlen(p.text), NULL, &m);
	if (r == -EINVAL) {
		send_diagnostics(q, &m);
		return 0;
	}
	if (r < 0)
		return err_sys(e, -r, "read the manifest");
	applied = json_array();
	r = apply_all(q, &m, applied, e);
	if (r < 0) {
		json_decref(applied);
		return r;
	}
	return request_reply(q, json_pack("{s:o}", "applied", applied), false,
			     e);
}

static json_t *tenant_row(struct request *q, const struct state_tenant *row,
			  struct err *e)
{
	struct quota_use use;
	json_t *o, *used;
	unsigned int i;

	if (state_tenant_use(q->api->state, row->name, &use, e) < 0)
		return NULL;
	o = json_loads(row->doc ? row->doc : "", 0, NULL);
	used = json_object();
	for (i = 0; i < QUOTA_KIND_MAX; i++)
		json_object_set_new(used, quota_kind_name(i),
				    json_integer(use.n[i]));
	json_object_set_new(o, "used", used);
	if (!o)
		err_set(e, EIO, "tenant '%s': its stored form is damaged",
			row->name);
	return o;
}

int on_tenant_list(void *ctx, struct vl_call *call, struct err *e)
{
	_cleanup_tenants_ struct tenants t = {NULL, 0};
	struct request *q = ctx;
	json_t *rows, *o;
	size_t i;
	int r = only_root(q, e);

	(void)call;
	if (r == 0)
		r = state_tenant_list(q->api->state, &t.list, &t.n, e);
	if (r < 0)
		return r;
	rows = json_array();
	for (i = 0; i < t.n; i++) {
		o = tenant_row(q, &t.list[i], e);
		if (!o) {
			json_decref(rows);
			return -EIO;
		}
		json_array_append_new(rows, o);
	}
	return request_reply(q, json_pack("{s:o}", "tenants", rows), false, e);
}

int on_tenant_inspect(void *ctx, struct vl_call *call, struct err *e)
{
	_cleanup_tenants_ struct tenants t = {NULL, 0};
	const struct state_tenant *row = NULL;
	struct request *q = ctx;
	const char *name = "";
	json_t *o;
	int r = read_name(call, &name, e);

	if (r == 0)
		r = only_root(q, e);
	if (r == 0)
		r = find_row(q->api->state, name, &t, &row, e);
	if (r < 0)
		return r;
	if (!row) {
		r = tenant_check(q, name, e);
		return r < 0 ? r
			     : err_set(e, ENOENT,
				       "tenant '%s' is not declared: it has no "
				       "limits",
				       name);
	}
	o = tenant_row(q, row, e);
	return o ? request_reply(q, json_pack("{s:o}", "object", o), false, e)
		 : -EIO;
}

struct removal {
	struct state *state;
	const char *name;
};

static int remove_row(void *arg, struct err *e)
{
	const struct removal *m = arg;

	return state_tenant_remove(m->state, m->name, e);
}

int on_tenant_remove(void *ctx, struct vl_call *call, struct err *e)
{
	struct request *q = ctx;
	struct removal m = {.state = q->api->state};
	const char *name = "";
	int r = read_name(call, &name, e);

	if (r == 0)
		r = only_root(q, e);
	if (r == 0)
		r = tenant_check(q, name, e);
	m.name = name;
	if (r == 0)
		r = image_stores_remove(q->api->images, name, remove_row, &m,
					e);
	if (r < 0)
		return r;
	log_info("tenant rm '%s': by user %u", name, q->peer->uid);
	return request_reply(q, json_pack("{s:s}", "name", name), false, e);
}
