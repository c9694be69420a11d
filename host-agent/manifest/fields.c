/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/manifest/fields.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "host-agent/model/check.h"

const struct field_table *const fields_all[] = {
	&fields_stack,	      &fields_vm,
	&fields_vm_resources, &fields_container,
	&fields_limits,	      &fields_resources,
	&fields_port,	      &fields_mount,
	&fields_healthcheck,  &fields_boot,
	&fields_storage,      &fields_mount_bind,
	&fields_mount_volume, NULL,
};

/* Words of other tools (or of elsewhere in this file) for what we call
 * otherwise. */
static const struct {
	const char *word, *ours;
} synonyms[] = {
	{"version", "hyb"},
	{"services", "vms.<vm>.containers"},
	{"env", "environment"},
	{"args", "command"},
	{"cmd", "command"},
	{"workdir", "working_dir"},
	{"mem_limit", "resources.limits.memory"},
	{"pids_limit", "resources.limits.pids"},
	{"ephemeral-storage", "storage_opt.size"},
	{"deploy", "resources"},
	{"cpu", "cpus"},
	{"mem", "memory"},
	{"tmpfs", "volumes, with type: tmpfs,"},
	{"stop_timeout", "stop_grace_period"},
	{"restart_policy", "restart"},
	{"livenessProbe", "healthcheck"},
	{"readinessProbe", "readiness"},
	{"disable", "test: [\"NONE\"]"},
	{"container", "containers"},
	{"vm", "vms"},
};

void *read_alloc(struct reading *r, size_t n, size_t size)
{
	void *p = arena_alloc(r->arena, n ? n : 1, size);

	if (!p)
		r->oom = true;
	return p;
}

void *scratch_alloc(struct reading *r, size_t n, size_t size)
{
	void *p = arena_alloc(r->scratch, n ? n : 1, size);

	if (!p)
		r->oom = true;
	return p;
}

const char *read_strdup(struct reading *r, const char *s)
{
	const char *copy = arena_strdup(r->arena, s);

	if (!copy)
		r->oom = true;
	return copy ? copy : "";
}

const char *text_show(struct reading *r, const char *s)
{
	return diag_quote(&r->diags, s, strlen(s));
}

const char *node_show(struct reading *r, const struct node *n)
{
	if (n->kind == NODE_LIST)
		return "a list";
	if (n->kind == NODE_MAP)
		return "a map";
	return text_show(r, n->text);
}

static const struct field *table_find(const struct field_table *t,
				      const char *key)
{
	size_t i;

	for (i = 0; i < t->n; i++)
		if (strcmp(t->fields[i].key, key) == 0)
			return &t->fields[i];
	return NULL;
}

/* Which other part of a manifest knows this key? Rather one of t itself ("a
 * container's 'resources.limits'" of "a container"). */
static const struct field_table *table_of_key(const struct field_table *t,
					      const char *key)
{
	const struct field_table *other = NULL, *f;
	size_t i;

	for (i = 0; (f = fields_all[i]); i++) {
		if (!table_find(f, key))
			continue;
		if (strncmp(f->where, t->where, strlen(t->where)) == 0)
			return f;
		other = other ? other : f;
	}
	return other;
}

static const char *nearest_key(const struct field_table *t, const char *key)
{
	const char *names[48];
	size_t i;

	for (i = 0; i < t->n && i < ARRAY_SIZE(names); i++)
		names[i] = t->fields[i].key;
	return nearest_name(key, names, i);
}

static void unknown_key(struct reading *r, const struct node *key,
			const struct field_table *t)
{
	const char *shown = text_show(r, key->text);
	const char *near = nearest_key(t, key->text);
	const struct field_table *other = table_of_key(t, key->text);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(synonyms); i++) {
		if (strcmp(synonyms[i].word, key->text) == 0 && !other) {
			node_error(r, key,
				   "unknown key %s in %s; here it is called "
				   "'%s'",
				   shown, t->where, synonyms[i].ours);
			return;
		}
	}
	if (other)
		node_error(r, key, "unknown key %s in %s; it belongs in %s",
			   shown, t->where, other->where);
	else if (near)
		node_error(r, key, "unknown key %s in %s; did you mean '%s'?",
			   shown, t->where, near);
	else
		node_error(r, key, "unknown key %s in %s", shown, t->where);
}

void fields_read(struct reading *r, const struct node *map,
		 const struct field_table *t, void *out)
{
	const char *outer = r->key;
	const struct field *f;
	const struct pair *p;
	size_t i;

	if (map->kind != NODE_MAP) {
		node_error(r, map, "%s must be a map of keys, not %s", t->where,
			   node_is_null(map) ? "nothing" : node_show(r, map));
		return;
	}
	for (i = 0; i < map->n; i++) {
		p = &map->pairs[i];
		if (strncmp(p->key->text, "x-", 2) == 0)
			continue;
		f = table_find(t, p->key->text);
		r->key = p->key->text;
		if (!f)
			unknown_key(r, p->key, t);
		else if (!f->read)
			node_error(r, p->key, "'%s' is not supported yet",
				   f->key);
		else if (node_is_null(p->value))
			node_error(r, p->key,
				   "'%s' has no value: give it one, or leave "
				   "the key out",
				   f->key);
		else
			f->read(r, p->value, out);
	}
	r->key = outer;
}

bool read_text(struct reading *r, const struct node *n, const char **ret)
{
	const char *s;

	if (n->kind != NODE_SCALAR) {
		node_error(r, n, "'%s' must be text, not %s", r->key,
			   node_show(r, n));
		return false;
	}
	if (node_is_null(n)) {
		node_error(r, n,
			   "'%s' has an entry without a value; write \"\" "
			   "for an empty text",
			   r->key);
		return false;
	}
	s = read_strdup(r, n->text);
	if (r->oom)
		return false;
	*ret = s;
	return true;
}

bool read_checked(struct reading *r, const struct node *n,
		  const char *(*check)(const char *), const char **ret)
{
	const char *s, *why;

	if (!read_text(r, n, &s))
		return false;
	why = check(s);
	if (why) {
		node_error(r, n, "'%s' must be %s; it is %s", r->key, why,
			   node_show(r, n));
		return false;
	}
	*ret = s;
	return true;
}

bool text_is_number(const char *s)
{
	size_t n = strspn(s, "0123456789");

	return n > 0 && !s[n] && (s[0] != '0' || n == 1);
}

bool read_int(struct reading *r, const struct node *n, uint64_t min,
	      uint64_t max, uint64_t *ret)
{
	if (n->kind != NODE_SCALAR || !n->plain || !text_is_number(n->text)) {
		node_error(r, n, "'%s' must be a whole number, not %s%s",
			   r->key, node_show(r, n),
			   n->kind == NODE_SCALAR && !n->plain &&
					   text_is_number(n->text)
				   ? " in quotes"
				   : "");
		return false;
	}
	if (parse_u64(n->text, min, max, ret) < 0) {
		node_error(r, n, "'%s' must be from %llu to %llu; it is %s",
			   r->key, (unsigned long long)min,
			   (unsigned long long)max, node_show(r, n));
		return false;
	}
	return true;
}

/* Whole units where there are any: bounds are. */
static void format_size(uint64_t bytes, char *out, size_t size)
{
	static const char units[] = {'\0', 'k', 'm', 'g', 't'};
	size_t i = 0;

	while (bytes && bytes % 1024 == 0 && i + 1 < sizeof(units)) {
		bytes /= 1024;
		i++;
	}
	snprintf(out, size, "%llu%c", (unsigned long long)bytes, units[i]);
}

bool read_size(struct reading *r, const struct node *n, uint64_t min,
	       uint64_t max, uint64_t *ret)
{
	char low[32], high[32];
	uint64_t v;
	int result;

	result = n->kind == NODE_SCALAR ? parse_size(n->text, &v) : -EINVAL;
	if (result == -EINVAL) {
		node_error(r, n,
			   "'%s' must be a size such as 512k, 128m or 1g; it "
			   "is %s",
			   r->key, node_show(r, n));
		return false;
	}
	if (result < 0 || v < min || v > max) {
		format_size(min, low, sizeof(low));
		format_size(max, high, sizeof(high));
		node_error(r, n, "'%s' must be from %s to %s; it is %s", r->key,
			   low, high, node_show(r, n));
		return false;
	}
	*ret = v;
	return true;
}

bool read_duration(struct reading *r, const struct node *n, uint64_t min,
		   uint64_t max, const char *range, uint64_t *ret)
{
	uint64_t v = 0;
	int result;

	result = n->kind == NODE_SCALAR ? parse_duration(n->text, &v) : -EINVAL;
	if (result == -EINVAL) {
		node_error(r, n,
			   "'%s' must be a duration with its unit, such as "
			   "500ms, 10s or 1m30s; it is %s",
			   r->key, node_show(r, n));
		return false;
	}
	if (result < 0 || v < min || v > max) {
		node_error(r, n, "'%s' must be %s; it is %s", r->key, range,
			   node_show(r, n));
		return false;
	}
	*ret = v;
	return true;
}

bool read_bool(struct reading *r, const struct node *n, bool *ret)
{
	if (n->kind == NODE_SCALAR && n->plain && parse_bool(n->text, ret) == 0)
		return true;
	node_error(r, n, "'%s' must be true or false; it is %s%s", r->key,
		   node_show(r, n),
		   n->kind == NODE_SCALAR && !n->plain ? " in quotes" : "");
	return false;
}

bool read_restart(struct reading *r, const struct node *n,
		  enum restart_kind most, struct restart_policy *ret)
{
	struct restart_policy p;
	int result;

	/* A plain `no` is text here, whatever YAML 1.1 makes of it. */
	result = n->kind == NODE_SCALAR ? restart_policy_parse(n->text, &p)
					: -EINVAL;
	if (result == -ERANGE) {
		node_error(r, n,
			   "'%s': the N of on-failure:N must be from 1 to %d; "
			   "it is %s",
			   r->key, HYB_RESTART_MAX, node_show(r, n));
		return false;
	}
	if (result < 0 || p.kind > most) {
		node_error(r, n,
			   "'%s' must be no, on-failure, on-failure:N%s; it is "
			   "%s",
			   r->key,
			   most == RESTART_ALWAYS
				   ? " or always"
				   : ", always or unless-stopped",
			   node_show(r, n));
		return false;
	}
	*ret = p;
	return true;
}
