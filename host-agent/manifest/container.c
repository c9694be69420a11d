/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/manifest/container.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "host-agent/model/check.h"

static const char *const no_words[] = {NULL};

static void on_image(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	read_checked(r, n, check_image, &d->m.image);
	d->m.image_line = n->line;
	d->m.image_col = n->col;
}

static void on_pull_policy(struct reading *r, const struct node *n, void *out)
{
	static const struct {
		const char *name;
		enum pull_policy policy;
	} all[] = {
		{"missing", PULL_MISSING},
		{"if_not_present", PULL_MISSING},
		{"always", PULL_ALWAYS},
		{"never", PULL_NEVER},
	};
	struct container_draft *d = out;
	const char *s;
	size_t i;

	if (!read_text(r, n, &s))
		return;
	for (i = 0; i < ARRAY_SIZE(all); i++)
		if (strcmp(s, all[i].name) == 0)
			break;
	if (i < ARRAY_SIZE(all))
		d->m.pull = all[i].policy;
	else
		node_error(r, n,
			   "'%s' must be always, missing or never; it is %s",
			   r->key, node_show(r, n));
}

static const char *const *words_of_list(struct reading *r, const struct node *n)
{
	const char **v;
	size_t i;

	if (n->n > HYB_MANIFEST_WORDS_MAX) {
		node_error(r, n, "'%s' has more than %d words", r->key,
			   HYB_MANIFEST_WORDS_MAX);
		return no_words;
	}
	v = read_alloc(r, n->n + 1, sizeof(*v));
	for (i = 0; v && i < n->n; i++)
		if (!read_text(r, n->items[i], &v[i]))
			v[i] = "";
	return v ? v : no_words;
}

static const char *const *words_of_text(struct reading *r, const struct node *n)
{
	const char **v = NULL;
	char **words;
	size_t i, count;
	int result;

	result = shell_split(n->text, HYB_MANIFEST_WORDS_MAX, &words);
	if (result == -EINVAL)
		node_error(r, n, "'%s' has a quote that is not closed", r->key);
	else if (result == -E2BIG)
		node_error(r, n, "'%s' has more than %d words", r->key,
			   HYB_MANIFEST_WORDS_MAX);
	else if (result < 0)
		r->oom = true;
	if (result < 0)
		return no_words;
	count = strv_len(words);
	v = read_alloc(r, count + 1, sizeof(*v));
	for (i = 0; v && i < count; i++)
		v[i] = read_strdup(r, words[i]);
	strv_free(words);
	return v ? v : no_words;
}

static const char *const *words_read(struct reading *r, const struct node *n)
{
	if (n->kind == NODE_LIST)
		return words_of_list(r, n);
	if (n->kind == NODE_SCALAR)
		return words_of_text(r, n);
	node_error(r, n, "'%s' must be a list of words or one text, not a map",
		   r->key);
	return no_words;
}

static void on_entrypoint(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	d->m.entrypoint = words_read(r, n);
	d->m.has_entrypoint = true;
}

static void on_command(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	d->m.command = words_read(r, n);
	d->m.has_command = true;
}

/* Both are read when all keys are known: environment wins over env_file,
 * wherever it stands. */
static void on_environment(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	(void)r;
	d->environment = n;
}

static void on_env_file(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	(void)r;
	d->env_file = n;
}

static void on_user(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	read_checked(r, n, check_user, &d->m.user);
}

static void on_working_dir(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	read_checked(r, n, check_working_dir, &d->m.working_dir);
}

static void on_hostname(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	read_checked(r, n, check_hostname, &d->m.hostname);
}

static void on_restart(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	read_restart(r, n, RESTART_UNLESS_STOPPED, &d->m.restart);
}

static void on_init(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	read_bool(r, n, &d->m.init);
}

static void on_read_only(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	read_bool(r, n, &d->m.read_only);
}

static void on_shm_size(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	if (read_size(r, n, HYB_TMPFS_SIZE_MIN, HYB_TMPFS_SIZE_MAX,
		      &d->m.shm_size))
		d->shm_size = n;
}

static void on_layer_size(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	if (read_size(r, n, HYB_LAYER_SIZE_MIN, HYB_LAYER_SIZE_MAX,
		      &d->m.layer_size))
		d->layer_size = n;
}

static const struct field storage_fields[] = {
	{"size", on_layer_size},
};

const struct field_table fields_storage = {
	"a container's 'storage_opt'",
	storage_fields,
	ARRAY_SIZE(storage_fields),
};

static void on_storage_opt(struct reading *r, const struct node *n, void *out)
{
	fields_read(r, n, &fields_storage, out);
}

static void on_stop_signal(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	if (n->kind != NODE_SCALAR ||
	    parse_signal(n->text, &d->m.stop_signal) < 0)
		node_error(r, n,
			   "'%s' must be a signal such as SIGTERM or 15; it is "
			   "%s",
			   r->key, node_show(r, n));
}

static void on_stop_grace(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	read_duration(r, n, 0, HYB_STOP_GRACE_MAX_NS, "at most 24h",
		      &d->m.stop_grace_ns);
}

/* "0.5" → 500; at most three decimals. */
static bool parse_milli(const char *s, uint64_t *ret)
{
	size_t whole = strspn(s, "0123456789"), frac, i;
	uint64_t v = 0;

	if (whole == 0 || whole > 6)
		return false;
	frac = s[whole] == '.' ? strspn(s + whole + 1, "0123456789") : 0;
	if (s[whole] && (frac == 0 || s[whole + 1 + frac]))
		return false;
	for (i = 0; i < whole; i++)
		v = v * 10 + (uint64_t)(s[i] - '0');
	for (i = 0; i < 3; i++)
		v = v * 10 +
		    (i < frac ? (uint64_t)(s[whole + 1 + i] - '0') : 0);
	for (i = 3; i < frac; i++)
		if (s[whole + 1 + i] != '0')
			return false;
	*ret = v;
	return true;
}

static void on_cpus(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;
	uint64_t v;

	if (n->kind != NODE_SCALAR || !parse_milli(n->text, &v)) {
		node_error(r, n,
			   "'%s' must be a number of CPUs such as 0.5 or 2, "
			   "with at most three decimals; it is %s",
			   r->key, node_show(r, n));
		return;
	}
	if (v < HYB_LIMIT_CPUS_MILLI_MIN || v > HYB_VM_VCPUS_MAX * 1000) {
		node_error(r, n, "'%s' must be from 0.01 to %d; it is %s",
			   r->key, HYB_VM_VCPUS_MAX, node_show(r, n));
		return;
	}
	d->m.limits.cpus_milli = (uint32_t)v;
	d->cpus = n;
}

static void on_memory(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	if (read_size(r, n, HYB_LIMIT_MEMORY_MIN, HYB_LIMIT_MEMORY_MAX,
		      &d->m.limits.memory))
		d->memory = n;
}

static void on_pids(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;
	uint64_t v;

	if (read_int(r, n, 1, HYB_LIMIT_PIDS_MAX, &v))
		d->m.limits.pids = (uint32_t)v;
}

static void on_limits(struct reading *r, const struct node *n, void *out)
{
	fields_read(r, n, &fields_limits, out);
}

static void on_resources(struct reading *r, const struct node *n, void *out)
{
	fields_read(r, n, &fields_resources, out);
}

static const struct field limits_fields[] = {
	{"cpus", on_cpus},
	{"memory", on_memory},
	{"pids", on_pids},
	{"io", NULL},
};

const struct field_table fields_limits = {
	"a container's 'resources.limits'",
	limits_fields,
	ARRAY_SIZE(limits_fields),
};

static const struct field resources_fields[] = {
	{"limits", on_limits},
	{"reservations", NULL},
};

const struct field_table fields_resources = {
	"a container's 'resources'",
	resources_fields,
	ARRAY_SIZE(resources_fields),
};

static void on_ports(struct reading *r, const struct node *n, void *out)
{
	struct container_draft *d = out;

	ports_read(r, n, &d->ports);
	d->m.ports = d->ports.v;
	d->m.n_ports = d->ports.n;
}

static const struct field container_fields[] = {
	{"image", on_image},
	{"pull_policy", on_pull_policy},
	{"entrypoint", on_entrypoint},
	{"command", on_command},
	{"environment", on_environment},
	{"env_file", on_env_file},
	{"user", on_user},
	{"working_dir", on_working_dir},
	{"hostname", on_hostname},
	{"ports", on_ports},
	{"restart", on_restart},
	{"depends_on", depends_read},
	{"resources", on_resources},
	{"healthcheck", healthcheck_read},
	{"readiness", readiness_read},
	{"init", on_init},
	{"volumes", mounts_read},
	{"secrets", container_secrets_read},
	{"configs", container_configs_read},
	{"read_only", on_read_only},
	{"shm_size", on_shm_size},
	{"storage_opt", on_storage_opt},
	{"seccomp", seccomp_read},
	{"stop_signal", on_stop_signal},
	{"stop_grace_period", on_stop_grace},
	{"tty", NULL},
	{"expose", NULL},
	{"cap_add", NULL},
	{"cap_drop", NULL},
	{"no_new_privileges", NULL},
	{"userns", NULL},
	{"ulimits", NULL},
	{"sysctls", NULL},
	{"devices", NULL},
	{"labels", NULL},
	{"logging", NULL},
};

const struct field_table fields_container = {
	"a container",
	container_fields,
	ARRAY_SIZE(container_fields),
};

static void container_defaults(struct model_container *m)
{
	m->image = "";
	m->digest = "";
	m->entrypoint = no_words;
	m->command = no_words;
	m->environment = no_words;
	m->user = "";
	m->working_dir = "";
	m->hostname = "";
	m->seccomp = "";
	m->stop_grace_ns = HYB_DEFAULT_STOP_GRACE_NS;
}

void container_read(struct reading *r, const struct node *map,
		    struct container_draft *d)
{
	container_defaults(&d->m);
	fields_read(r, map, &fields_container, d);
	if (map->kind != NODE_MAP)
		return;
	if (!node_get(map, "image"))
		node_error(r, d->at, "the container %s has no 'image'",
			   text_show(r, d->m.name));
	if (d->m.has_entrypoint && d->m.has_command && !*d->m.entrypoint &&
	    !*d->m.command)
		node_error(r, d->at,
			   "the container %s has nothing to run: 'entrypoint' "
			   "and 'command' are empty",
			   text_show(r, d->m.name));
	if (d->layer_size && d->m.read_only)
		node_error(r, d->layer_size,
			   "'storage_opt.size' says nothing: with 'read_only' "
			   "nothing is written to the container's root");
	environment_read(r, d);
}
