/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/plan/diff.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/parse.h"

/* Of one value, in a text of 191 bytes. */
#define VALUE_MAX 60

enum how {
	SHOW_TEXT,  /* a value as it stands */
	SHOW_SIZE,  /* bytes */
	SHOW_TIME,  /* nanoseconds */
	SHOW_CPUS,  /* thousandths */
	SHOW_WORDS, /* a list of texts */
	SHOW_PORTS,
	SHOW_DEPENDS,
	SHOW_MOUNTS,
	SHOW_FILES,
	SHOW_CHECK,
	SHOW_KEYS, /* an object whose values may be secret: only its keys */
};

struct rule {
	const char *key;   /* in the JSON */
	const char *inner; /* of the object there, or NULL */
	const char *name;  /* in the manifest */
	enum plan_class change_class;
	enum how how;
};

/* In the order in which changes are told: what weighs most first. */
static const struct rule container_rules[] = {
	{"image", NULL, "image", PLAN_RESTART_CONTAINER, SHOW_TEXT},
	{"entrypoint", NULL, "entrypoint", PLAN_RESTART_CONTAINER, SHOW_WORDS},
	{"command", NULL, "command", PLAN_RESTART_CONTAINER, SHOW_WORDS},
	{"environment", NULL, "environment", PLAN_RESTART_CONTAINER, SHOW_KEYS},
	{"user", NULL, "user", PLAN_RESTART_CONTAINER, SHOW_TEXT},
	{"working_dir", NULL, "working_dir", PLAN_RESTART_CONTAINER, SHOW_TEXT},
	{"hostname", NULL, "hostname", PLAN_RESTART_CONTAINER, SHOW_TEXT},
	{"init", NULL, "init", PLAN_RESTART_CONTAINER, SHOW_TEXT},
	{"seccomp", NULL, "seccomp", PLAN_RESTART_CONTAINER, SHOW_KEYS},
	{"limits", "cpus_milli", "limits.cpus", PLAN_RESTART_CONTAINER,
	 SHOW_CPUS},
	{"limits", "memory", "limits.memory", PLAN_RESTART_CONTAINER,
	 SHOW_SIZE},
	{"limits", "pids", "limits.pids", PLAN_RESTART_CONTAINER, SHOW_TEXT},
	{"mounts", NULL, "volumes", PLAN_RESTART_CONTAINER, SHOW_MOUNTS},
	{"files", NULL, "secrets and configs", PLAN_RESTART_CONTAINER,
	 SHOW_FILES},
	{"read_only", NULL, "read_only", PLAN_RESTART_CONTAINER, SHOW_TEXT},
	{"shm_size", NULL, "shm_size", PLAN_RESTART_CONTAINER, SHOW_SIZE},
	{"layer_size", NULL, "storage_opt.size", PLAN_RESTART_CONTAINER,
	 SHOW_SIZE},
	{"restart", NULL, "restart", PLAN_LIVE, SHOW_TEXT},
	{"stop_signal", NULL, "stop_signal", PLAN_LIVE, SHOW_TEXT},
	{"stop_grace_ns", NULL, "stop_grace_period", PLAN_LIVE, SHOW_TIME},
	{"healthcheck", NULL, "healthcheck", PLAN_LIVE, SHOW_CHECK},
	{"readiness", NULL, "readiness", PLAN_LIVE, SHOW_CHECK},
	{"depends_on", NULL, "depends_on", PLAN_LIVE, SHOW_DEPENDS},
	{"ports", NULL, "ports", PLAN_LIVE, SHOW_PORTS},
};

void diff_done(struct diff *d)
{
	buf_done(&d->why);
}

void text_fit(const char *text, char *out, size_t size)
{
	size_t n = strlen(text);

	if (n < size) {
		memcpy(out, text, n + 1);
		return;
	}
	n = size - 4;
	while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--; /* not within a character */
	memcpy(out, text, n);
	memcpy(out + n, "...", 4);
}

static bool is_empty(const json_t *j)
{
	return !j || json_is_null(j) || json_is_false(j) ||
	       (json_is_string(j) && json_string_length(j) == 0) ||
	       (json_is_array(j) && json_array_size(j) == 0) ||
	       (json_is_object(j) && json_object_size(j) == 0) ||
	       (json_is_integer(j) && json_integer_value(j) == 0);
}

/* null and an empty list differ: an empty command replaces the image's. */
static bool is_same(const json_t *a, const json_t *b)
{
	if (a && b)
		return json_equal(a, b);
	return is_empty(a) && is_empty(b);
}

/* ----------------------------------------------------------- in words */

static void show_size(struct buf *b, json_int_t bytes)
{
	static const char units[] = {'b', 'k', 'm', 'g', 't'};
	size_t i = 0;

	while (bytes && bytes % 1024 == 0 && i + 1 < sizeof(units)) {
		bytes /= 1024;
		i++;
	}
	buf_printf(b, "%lld%c", (long long)bytes, units[i]);
}

static void show_time(struct buf *b, json_int_t ns)
{
	if (ns % 1000000000 == 0)
		buf_printf(b, "%llds", (long long)(ns / 1000000000));
	else if (ns % 1000000 == 0)
		buf_printf(b, "%lldms", (long long)(ns / 1000000));
	else
		buf_printf(b, "%lldns", (long long)ns);
}

static void show_cpus(struct buf *b, json_int_t milli)
{
	int digits = milli % 1000 == 0 ? 0 : milli % 100 == 0 ? 1 : 3;
	json_int_t part = milli % 1000;

	buf_printf(b, "%lld", (long long)(milli / 1000));
	if (digits)
		buf_printf(b, ".%0*lld", digits,
			   (long long)(digits == 1 ? part / 100 : part));
}

static bool has_type(const json_t *mount, const char *wanted)
{
	const char *type = json_string_value(json_object_get(mount, "type"));

	return type && strcmp(type, wanted) == 0;
}

static void show_escaped(struct buf *b, const char *s)
{
	buf_put_escaped(b, s ? s : "", s ? strlen(s) : 0);
}

static void show_list(struct buf *b, const json_t *j, enum how how);
static void show_check(struct buf *b, const json_t *j);

static void show_value(struct buf *b, const json_t *j, enum how how)
{
	if (how == SHOW_WORDS && json_is_null(j))
		buf_puts(b, "(the image's)");
	else if (how == SHOW_CHECK && json_is_object(j))
		show_check(b, j);
	else if (json_is_array(j))
		show_list(b, j, how);
	else if (is_empty(j) && !json_is_boolean(j))
		buf_puts(b, how == SHOW_TIME ? "0s" : "(none)");
	else if (json_is_integer(j) && how == SHOW_SIZE)
		show_size(b, json_integer_value(j));
	else if (json_is_integer(j) && how == SHOW_TIME)
		show_time(b, json_integer_value(j));
	else if (json_is_integer(j) && how == SHOW_CPUS)
		show_cpus(b, json_integer_value(j));
	else if (json_is_integer(j))
		buf_printf(b, "%lld", (long long)json_integer_value(j));
	else if (json_is_boolean(j))
		buf_puts(b, json_is_true(j) ? "true" : "false");
	else
		show_escaped(b, json_string_value(j));
}

static void show_port(struct buf *b, const json_t *j)
{
	const char *ip = json_string_value(json_object_get(j, "host_ip"));
	bool v6 = ip && strchr(ip, ':');

	buf_puts(b, v6 ? "[" : "");
	show_escaped(b, ip);
	buf_printf(
		b, "%s:%lld:%lld", v6 ? "]" : "",
		(long long)json_integer_value(json_object_get(j, "published")),
		(long long)json_integer_value(json_object_get(j, "target")));
}

static void show_dependency(struct buf *b, const json_t *j)
{
	const char *condition =
		json_string_value(json_object_get(j, "condition"));

	show_escaped(b, json_string_value(json_object_get(j, "vm")));
	buf_putc(b, '.');
	show_escaped(b, json_string_value(json_object_get(j, "container")));
	if (condition && strcmp(condition, "started") != 0) {
		buf_puts(b, " (");
		show_escaped(b, condition);
		buf_putc(b, ')');
	}
}

/* "data:/var/lib:ro", "tmpfs:/tmp (64m)", "/var/lib" */
static void show_mount(struct buf *b, const json_t *j)
{
	const char *source = json_string_value(json_object_get(j, "source"));
	json_int_t size = json_integer_value(json_object_get(j, "size"));
	bool tmpfs = has_type(j, "tmpfs");

	if (tmpfs || source) {
		show_escaped(b, source ? source : "tmpfs");
		buf_putc(b, ':');
	}
	show_escaped(b, json_string_value(json_object_get(j, "target")));
	if (json_is_true(json_object_get(j, "read_only")))
		buf_puts(b, ":ro");
	if (tmpfs) {
		buf_puts(b, " (");
		show_size(b, size);
		buf_putc(b, ')');
	}
}

/* "tls:/run/secrets/tls": never what is in it. */
static void show_file(struct buf *b, const json_t *j)
{
	show_escaped(b, json_string_value(json_object_get(j, "source")));
	buf_putc(b, ':');
	show_escaped(b, json_string_value(json_object_get(j, "target")));
}

static void show_period(struct buf *b, const json_t *o, const char *key,
			const char *name)
{
	json_int_t ns = json_integer_value(json_object_get(o, key));

	if (ns == 0)
		return;
	buf_puts(b, name);
	buf_putc(b, ' ');
	show_time(b, ns);
	buf_putc(b, ' ');
}

/* "every 10s timeout 2s x3 restart: http :80/" */
static void show_check(struct buf *b, const json_t *j)
{
	const char *how = json_string_value(json_object_get(j, "how"));
	const json_t *retries = json_object_get(j, "retries");

	if (!how || strcmp(how, "none") == 0) {
		buf_puts(b, "disabled");
		return;
	}
	show_period(b, j, "interval_ns", "every");
	show_period(b, j, "timeout_ns", "timeout");
	show_period(b, j, "start_period_ns", "start");
	buf_printf(b, "x%lld ", (long long)json_integer_value(retries));
	show_escaped(b, json_string_value(json_object_get(j, "on_failure")));
	buf_puts(b, ": ");
	if (strcmp(how, "exec") == 0) {
		show_list(b, json_object_get(j, "args"), SHOW_WORDS);
		return;
	}
	show_escaped(b, how);
	buf_printf(b, " :%lld",
		   (long long)json_integer_value(json_object_get(j, "port")));
	if (strcmp(how, "http") == 0)
		show_escaped(b, json_string_value(json_object_get(j, "path")));
}

static void show_list(struct buf *b, const json_t *list, enum how how)
{
	const json_t *j;
	size_t i, n = json_array_size(list);

	if (n == 0)
		buf_puts(b, how == SHOW_WORDS ? "(empty)" : "(none)");
	for (i = 0; i < n && b->len <= VALUE_MAX; i++) {
		j = json_array_get(list, i);
		buf_puts(b, i == 0 ? "" : how == SHOW_WORDS ? " " : ", ");
		if (how == SHOW_PORTS)
			show_port(b, j);
		else if (how == SHOW_DEPENDS)
			show_dependency(b, j);
		else if (how == SHOW_FILES)
			show_file(b, j);
		else if (how == SHOW_MOUNTS)
			show_mount(b, j);
		else
			show_escaped(b, json_string_value(j));
	}
}

static void add_value(struct buf *why, const json_t *j, enum how how)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	char cut[VALUE_MAX + 1];

	show_value(&b, j, how);
	text_fit(buf_str(&b), cut, sizeof(cut));
	buf_puts(why, cut);
	if (buf_error(&b))
		why->error = buf_error(&b);
}

/* "A, +B, -C": what is set otherwise, anew, and no more. */
static void add_keys(struct buf *why, json_t *from, json_t *to)
{
	const char *key, *sep = "";
	json_t *value, *before;

	json_object_foreach(to, key, value) {
		before = json_object_get(from, key);
		if (before && json_equal(before, value))
			continue;
		buf_puts(why, sep);
		buf_puts(why, before ? "" : "+");
		show_escaped(why, key);
		sep = ", ";
	}
	json_object_foreach(from, key, value) {
		if (json_object_get(to, key))
			continue;
		buf_puts(why, sep);
		buf_putc(why, '-');
		show_escaped(why, key);
		sep = ", ";
	}
}

static const json_t *rule_get(const struct rule *r, const json_t *o)
{
	json_t *j = json_object_get(o, r->key);

	return r->inner ? json_object_get(j, r->inner) : j;
}

static void diff_rule(const struct rule *r, const json_t *applied,
		      const json_t *desired, struct diff *d)
{
	const json_t *from = rule_get(r, applied), *to = rule_get(r, desired);

	if (is_same(from, to))
		return;
	if (!d->changed || r->change_class > d->change_class)
		d->change_class = r->change_class;
	buf_puts(&d->why, d->changed ? "; " : "");
	d->changed = true;
	buf_printf(&d->why, "%s changed: ", r->name);
	if (r->how == SHOW_KEYS) {
		add_keys(&d->why, json_object_get(applied, r->key),
			 json_object_get(desired, r->key));
		return;
	}
	add_value(&d->why, from, r->how);
	buf_puts(&d->why, " → ");
	add_value(&d->why, to, r->how);
}

static bool has_target(const json_t *container, const json_t *mount)
{
	const json_t *list = json_object_get(container, "mounts"), *m;
	size_t i;

	json_array_foreach(list, i, m)
		if (json_equal(json_object_get(m, "target"),
			       json_object_get(mount, "target")))
			return true;
	return false;
}

/* Of a desired container whose image is not there it is not known which volumes
 * that brings: those that the applied one had from its image are no change. */
static json_t *without_images(const json_t *applied, const json_t *desired)
{
	json_t *o = json_copy((json_t *)(uintptr_t)applied);
	json_t *list = json_array(), *m;
	size_t i;

	json_array_foreach(json_object_get(applied, "mounts"), i, m)
		if (!has_type(m, "anonymous") || has_target(desired, m))
			json_array_append(list, m);
	if (o && json_object_set(o, "mounts", list) < 0) {
		json_decref(o);
		o = NULL;
	}
	json_decref(list);
	return o;
}

int diff_container(const json_t *applied, const json_t *desired,
		   struct diff *ret)
{
	size_t i;

	json_t *known = NULL;

	memset(ret, 0, sizeof(*ret));
	if (!json_object_get(desired, "digest") &&
	    json_object_get(applied, "digest")) {
		known = without_images(applied, desired);
		if (!known)
			return -ENOMEM;
		applied = known;
	}
	for (i = 0; i < ARRAY_SIZE(container_rules); i++)
		diff_rule(&container_rules[i], applied, desired, ret);
	json_decref(known);
	return buf_error(&ret->why);
}

/* ------------------------------------------------------------------ VMs */

/* model_vm_memory() of a VM that is known by its JSON only. */
static uint64_t applied_memory(const json_t *vm)
{
	const json_t *list = json_object_get(vm, "containers"), *limits;
	json_int_t one, memory;
	struct model_vm sum = {0};
	size_t i, n = json_array_size(list);

	memory = json_integer_value(json_object_get(vm, "memory"));
	if (memory <= 0 && json_object_get(vm, "boot_disk"))
		memory = (json_int_t)HYB_AUTO_BOOT_MEMORY;
	if (memory > 0) {
		sum.memory = (uint64_t)memory;
		return model_vm_memory(&sum);
	}
	sum.memory = HYB_GUEST_OWN_MEMORY;
	for (i = 0; i < n; i++) {
		limits = json_object_get(json_array_get(list, i), "limits");
		one = json_integer_value(json_object_get(limits, "memory"));
		sum.memory +=
			one > 0 ? (uint64_t)one : HYB_AUTO_CONTAINER_MEMORY;
	}
	return model_vm_memory(&sum);
}

static void note(struct diff *d, enum plan_class c, const char *name)
{
	if (!d->changed || c > d->change_class)
		d->change_class = c;
	buf_printf(&d->why, "%s%s changed: ", d->changed ? "; " : "", name);
	d->changed = true;
}

/* What the VM has written to its disk goes with the disk. */
static void diff_boot(const json_t *applied, const struct model_vm *desired,
		      struct diff *ret)
{
	const char *from =
		json_string_value(json_object_get(applied, "boot_disk"));
	const char *to = model_vm_boots_disk(desired) ? desired->boot_disk : "";

	bool was = json_is_true(json_object_get(applied, "boot_uefi"));

	/* Each disk is written for one firmware: no data goes for the other. */
	if (was != desired->boot_uefi && from && *to) {
		note(ret, PLAN_RECREATE_VM, "boot.firmware");
		buf_printf(&ret->why, "%s → %s", was ? "uefi" : "bios",
			   desired->boot_uefi ? "uefi" : "bios");
	}
	if (strcmp(from ? from : "", to) == 0)
		return;
	note(ret, from ? PLAN_DELETES_DATA : PLAN_RECREATE_VM, "boot.disk");
	show_escaped(&ret->why, from ? from : "(none)");
	buf_puts(&ret->why, " → ");
	show_escaped(&ret->why, *to ? to : "(none)");
}

/* Has the container this bind, at whatever target? */
static bool has_bind(const json_t *container, const json_t *bind)
{
	const json_t *list = json_object_get(container, "mounts"), *m;
	size_t i;

	json_array_foreach(list, i, m)
		if (has_type(m, "bind") &&
		    json_equal(json_object_get(m, "source"),
			       json_object_get(bind, "source")) &&
		    json_equal(json_object_get(m, "read_only"),
			       json_object_get(bind, "read_only")))
			return true;
	return false;
}

static const json_t *find_named(const json_t *vm, const json_t *name)
{
	const json_t *list = json_object_get(vm, "containers"), *c;
	size_t i;

	json_array_foreach(list, i, c)
		if (json_equal(json_object_get(c, "name"), name))
			return c;
	return NULL;
}

/* The first bind of a container of `a` that the one of `b` has not. */
static const json_t *find_other_bind(const json_t *a, const json_t *b)
{
	const json_t *list = json_object_get(a, "containers"), *c, *m;
	size_t i, k;

	json_array_foreach(list, i, c)
		json_array_foreach(json_object_get(c, "mounts"), k, m)
			if (has_type(m, "bind") &&
			    !has_bind(find_named(b, json_object_get(c, "name")),
				      m))
				return m;
	return NULL;
}

/* Binds are devices that a VM is made with. */
static void diff_binds(const json_t *applied, const json_t *desired,
		       struct diff *ret)
{
	const json_t *gone = find_other_bind(applied, desired);
	const json_t *new = find_other_bind(desired, applied);

	if (!gone && !new)
		return;
	note(ret, PLAN_RECREATE_VM, "binds");
	if (gone)
		show_mount(&ret->why, gone);
	else
		buf_puts(&ret->why, "(none)");
	buf_puts(&ret->why, " → ");
	if (new)
		show_mount(&ret->why, new);
	else
		buf_puts(&ret->why, "(none)");
}

/* What is compared as JSON. */
static int diff_vm_json(const json_t *applied, const struct model_vm *desired,
			struct diff *ret)
{
	static const struct rule ports = {"ports", NULL, "ports", PLAN_LIVE,
					  SHOW_PORTS};
	json_t *to = model_vm_to_json(desired);

	if (!to)
		return -ENOMEM;
	diff_binds(applied, to, ret);
	diff_rule(&ports, applied, to, ret);
	json_decref(to);
	return 0;
}

int diff_vm(const json_t *applied, const struct model_vm *desired,
	    struct diff *ret)
{
	json_int_t vcpus =
		json_integer_value(json_object_get(applied, "vcpus"));
	const char *restart =
		json_string_value(json_object_get(applied, "restart"));
	uint64_t from = applied_memory(applied);
	uint64_t to = model_vm_memory(desired);
	char text[32];

	memset(ret, 0, sizeof(*ret));
	diff_boot(applied, desired, ret);
	if (vcpus != desired->vcpus) {
		note(ret, PLAN_RECREATE_VM, "vcpus");
		buf_printf(&ret->why, "%lld → %u", (long long)vcpus,
			   desired->vcpus);
	}
	if (from != to) {
		note(ret, PLAN_RECREATE_VM, "memory");
		show_size(&ret->why, (json_int_t)from);
		buf_puts(&ret->why, " → ");
		show_size(&ret->why, (json_int_t)to);
		if (!desired->memory)
			buf_puts(&ret->why, " (auto)");
	}
	if (diff_vm_json(applied, desired, ret) < 0)
		return -ENOMEM;
	restart_policy_format(&desired->restart, text, sizeof(text));
	if (!restart || strcmp(restart, text) != 0) {
		note(ret, PLAN_LIVE, "restart");
		show_escaped(&ret->why, restart ? restart : "(none)");
		buf_printf(&ret->why, " → %s", text);
	}
	return buf_error(&ret->why);
}
