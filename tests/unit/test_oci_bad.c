/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bad config.json, process.json and resources: tests/golden/oci-bad/NAME.txt, one
 * case a line:
 *
 *	PATH = VALUE [ ;; PATH = VALUE ...] => how the error begins
 *
 * The base is good; each case changes it at the JSON paths ("-" as VALUE takes
 * the member away) and must be refused with an error that begins with the path
 * of what is wrong and says the rule. What only the machine can tell (mounts,
 * seccomp) is put to container_create(), which needs root.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <ctype.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/json.h"
#include "guest-agent/container/internal.h"
#include "guest-agent/sys/cgroup.h"

#define DIR_BAD "tests/golden/oci-bad/"

static char rootfs[64];

/* ---------------------------------------------------------------- changes */

/* One step of a path: ".name", "name" or "[3]"; what is behind it. */
static const char *next_step(const char *at, char *name, size_t size, long *i)
{
	size_t n;
	char *end;

	if (*at == '[') {
		*i = strtol(at + 1, &end, 10);
		assert_int_equal(*end, ']');
		return end + 1;
	}
	at += *at == '.';
	n = strcspn(at, ".[");
	assert_true(n > 0 && n < size);
	memcpy(name, at, n);
	name[n] = '\0';
	*i = -1;
	return at + n;
}

static json_t *child_of(json_t *at, const char *name, long i)
{
	return i < 0 ? json_object_get(at, name)
		     : json_array_get(at, (size_t)i);
}

static void put(json_t *at, const char *name, long i, json_t *value)
{
	if (i < 0)
		assert_int_equal(json_object_set_new(at, name, value), 0);
	else if ((size_t)i < json_array_size(at))
		assert_int_equal(json_array_set_new(at, (size_t)i, value), 0);
	else
		assert_int_equal(json_array_append_new(at, value), 0);
}

/* Makes what is missing on the way. */
static void change(json_t *at, const char *path, const char *text)
{
	char name[64];
	json_t *child;
	long i = -1;

	for (path = next_step(path, name, sizeof(name), &i); *path;
	     path = next_step(path, name, sizeof(name), &i)) {
		child = child_of(at, name, i);
		if (!child) {
			child = *path == '[' ? json_array() : json_object();
			put(at, name, i, child);
		}
		at = child;
	}
	if (strcmp(text, "-") == 0) {
		json_object_del(at, name);
		return;
	}
	child = json_loads(text, JSON_DECODE_ANY, NULL);
	if (!child)
		fail_msg("not JSON: %s", text);
	put(at, name, i, child);
}

static char *trim(char *s)
{
	size_t n;

	while (isspace((unsigned char)*s))
		s++;
	n = strlen(s);
	while (n && isspace((unsigned char)s[n - 1]))
		s[--n] = '\0';
	return s;
}

static char *cut(char *s, const char *separator)
{
	char *at = strstr(s, separator);

	if (!at)
		return NULL;
	*at = '\0';
	return at + strlen(separator);
}

/* ------------------------------------------------------------------ trials */

/* What the machine says, with a root file system to say it about. */
static int try_machine(const struct oci_runtime *c, struct err *e)
{
	struct container_spec spec = CONTAINER_SPEC_INIT;
	struct container *made = NULL;
	int r;

	if (geteuid() != 0)
		return -ENOTSUP;
	spec.id = "unit-bad";
	spec.config = c;
	spec.rootfs.dir = rootfs;
	r = container_create(&spec, &made, NULL, e);
	if (r == 0)
		container_delete(made, true, NULL);
	return r;
}

static int try_config(const char *text, size_t len, struct err *e)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *c = NULL;
	int r;

	r = oci_runtime_parse_text(text, len, &c, e);
	if (r == 0)
		r = config_check(c, false, e);
	return r < 0 ? r : try_machine(c, e);
}

/* As exec --process has it: in the place of the configuration's. */
static int try_process(const char *text, size_t len, struct err *e)
{
	static const char base[] =
		"{\"ociVersion\":\"1.2.0\",\"linux\":{\"namespaces\":"
		"[{\"type\":\"mount\"}]}}";
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *c = NULL;
	_cleanup_arena_ struct arena *a = NULL;
	struct oci_process *p;
	int r;

	r = oci_process_parse_text(text, len, &a, &p, e);
	if (r < 0)
		return r;
	assert_int_equal(oci_runtime_parse_text(base, strlen(base), &c, e), 0);
	c->process = p;
	return config_check(c, false, e);
}

static int try_resources(const char *text, size_t len, struct err *e)
{
	_cleanup_arena_ struct arena *a = NULL;
	struct oci_resources *res;
	int r;

	r = oci_resources_parse_text(text, len, &a, &res, e);
	return r < 0 ? r : resources_check(res, "resources", e);
}

typedef int (*trial)(const char *text, size_t len, struct err *e);

static json_t *load_base(const char *name)
{
	char path[96];
	json_error_t why;
	json_t *json;

	snprintf(path, sizeof(path), DIR_BAD "%s.json", name);
	json = json_load_file(path, 0, &why);
	if (!json)
		fail_msg("%s: %s", path, why.text);
	return json;
}

/* 1: it is as wanted. */
static int run_case(const json_t *base, trial try, char *line, size_t number)
{
	_cleanup_json_ json_t *json = json_deep_copy(base);
	_cleanup_free_ char *text = NULL;
	char *want = cut(line, " => "), *rest = line, *one, *value;
	struct err e = ERR_INIT;
	int r;

	assert_non_null(want);
	want = trim(want);
	while ((one = rest)) {
		rest = cut(one, " ;; ");
		value = cut(one, " = ");
		assert_non_null(value);
		change(json, trim(one), trim(value));
	}
	text = json_dumps(json, JSON_COMPACT);
	r = try(text, strlen(text), &e);
	if (r == -ENOTSUP && !e.msg[0])
		return 1;
	if (r < 0 && strncmp(e.msg, want, strlen(want)) == 0)
		return 1;
	print_error("line %zu: wanted '%s', got '%s'\n", number, want,
		    r < 0 ? e.msg : "nothing wrong");
	return 0;
}

static void run_table(const char *name, trial try, size_t at_least)
{
	_cleanup_json_ json_t *base = load_base(name);
	size_t number = 0, cases = 0, good = 0;
	char path[96], line[2048], *s;
	struct err e = ERR_INIT;
	char *text;
	FILE *f;

	/* A base that is refused itself would prove nothing. */
	text = json_dumps(base, 0);
	if (try(text, strlen(text), &e) < 0 && e.msg[0] &&
	    !strstr(e.msg, "No such file or directory"))
		fail_msg("the base is refused: %s", e.msg);
	free(text);
	snprintf(path, sizeof(path), DIR_BAD "%s.txt", name);
	f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		number++;
		s = trim(line);
		if (!*s || *s == '#')
			continue;
		cases++;
		good += (size_t)run_case(base, try, s, number);
	}
	fclose(f);
	print_message("%s: %zu of %zu cases\n", name, good, cases);
	assert_int_equal(good, cases);
	assert_true(cases >= at_least);
}

static void configs_are_refused(void **state)
{
	(void)state;
	run_table("config", try_config, 200);
}

static void processes_are_refused(void **state)
{
	(void)state;
	run_table("process", try_process, 100);
}

static void resources_are_refused(void **state)
{
	(void)state;
	run_table("resources", try_resources, 120);
}

/* Text that is no JSON: the line and the column. */
static void syntax_names_its_place(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"", "line 1, column 0: "},
		{"{\n\"a\": tru\n}", "line 2, column 8: "},
		{"{\"ociVersion\":\"1.2.0\"} x", "line 1, column 24: "},
		{"{\"a\":1,\n\"a\":2}", "line 2, column 3: duplicate"},
		{"{\"a\":\"\\u0000\"}", "line 1, column 13: "},
		{"[", "line 1, column 1: "},
	};
	struct oci_runtime *c = NULL;
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		err_clear(&e);
		assert_int_equal(oci_runtime_parse_text(cases[i].text,
							strlen(cases[i].text),
							&c, &e),
				 -EINVAL);
		if (strncmp(e.msg, cases[i].want, strlen(cases[i].want)) != 0)
			fail_msg("wanted '%s', got '%s'", cases[i].want, e.msg);
	}
}

/* ---------------------------------------------------- resources, in files */

static int cgroup = -1;
static char cgroup_dir[64];

static void file(const char *name, const char *text)
{
	_cleanup_close_ int fd = openat(
		cgroup, name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
}

static void reads(const char *name, const char *want)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	assert_int_equal(file_read(cgroup, name, 4096, &text, &len, NULL), 0);
	assert_string_equal(text, want);
}

static int apply(const char *text, bool defaults, bool update, struct err *e)
{
	_cleanup_arena_ struct arena *a = NULL;
	struct oci_resources *res;

	err_clear(e);
	assert_int_equal(
		oci_resources_parse_text(text, strlen(text), &a, &res, e), 0);
	assert_int_equal(resources_check(res, "resources", e), 0);
	return resources_apply(cgroup, ~0u, res, defaults, update, e);
}

/* Each rule's figures, in files that stand for the kernel's. */
static void resources_are_converted(void **state)
{
	static const struct {
		const char *text, *file, *want;
		bool defaults, update;
	} cases[] = {
		{"{\"memory\":{\"limit\":100,\"swap\":150}}", "memory.swap.max",
		 "50", false, false},
		{"{\"memory\":{\"limit\":100,\"swap\":100}}", "memory.swap.max",
		 "0", false, false},
		{"{\"memory\":{\"limit\":100,\"swap\":0}}", "memory.swap.max",
		 "0", false, false},
		{"{\"memory\":{\"limit\":100,\"swap\":-1}}", "memory.swap.max",
		 "max", false, false},
		{"{\"memory\":{\"limit\":-1}}", "memory.swap.max", "max", false,
		 false},
		{"{\"memory\":{\"limit\":100}}", "memory.swap.max", "?", false,
		 false},
		{"{\"memory\":{\"limit\":100}}", "memory.swap.max", "0", true,
		 false},
		{"{\"memory\":{\"limit\":100}}", "memory.swap.max", "?", true,
		 true},
		{"{\"memory\":{\"limit\":100}}", "memory.oom.group", "1", true,
		 false},
		{"{\"memory\":{\"limit\":100}}", "memory.oom.group", "?", true,
		 true},
		{"{\"memory\":{\"limit\":100}}", "memory.oom.group", "?", false,
		 false},
		{"{\"pids\":{\"limit\":7}}", "pids.max", "7", true, false},
		{"{\"pids\":{\"limit\":7}}", "pids.max", "7", false, true},
		{"{\"pids\":{\"limit\":0}}", "pids.max", "max", false, false},
		{"{\"pids\":{\"limit\":-1}}", "pids.max", "max", false, false},
		{"{\"cpu\":{\"shares\":2}}", "cpu.weight", "1", false, false},
		{"{\"cpu\":{\"shares\":1024}}", "cpu.weight", "39", false,
		 false},
		{"{\"cpu\":{\"shares\":262145}}", "cpu.weight", "10000", false,
		 false},
		{"{\"blockIO\":{\"weight\":10}}", "io.weight", "default 1",
		 false, false},
		{"{\"blockIO\":{\"weight\":1000}}", "io.weight",
		 "default 10000", false, false},
		{"{\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":7}]}",
		 "hugetlb.2MB.rsvd.max", "7", false, false},
		{"{\"rdma\":{\"m_0\":{\"hcaHandles\":3,\"hcaObjects\":4}}}",
		 "rdma.max", "m_0 hca_handle=3 hca_object=4", false, false},
		{"{\"unified\":{\"io.max\":\"8:0 rbps=1\\n8:1 rbps=2\"}}",
		 "io.max", "8:1 rbps=2", false, false},
	};
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		file("memory.max", "");
		file("memory.oom.group", "?");
		file("pids.max", "");
		file("memory.swap.max", "?");
		file("cpu.weight", "");
		file("io.weight", "");
		file("io.max", "");
		file("hugetlb.2MB.max", "");
		file("hugetlb.2MB.rsvd.max", "");
		file("rdma.max", "");
		if (apply(cases[i].text, cases[i].defaults, cases[i].update,
			  &e) < 0)
			fail_msg("%s: %s", cases[i].text, e.msg);
		reads(cases[i].file, cases[i].want);
	}
}

/* Half frozen is neither: one that does not get there goes on. */
static void a_freeze_that_fails_is_undone(void **state)
{
	struct container c = {.status = CONTAINER_RUNNING};
	struct err e = ERR_INIT;

	(void)state;
	c.cgroup_fd = cgroup;
	file("cgroup.freeze", "?");
	unlinkat(cgroup, "cgroup.events", 0);
	assert_int_equal(container_pause(&c, &e), -ENOENT);
	assert_int_equal(c.status, CONTAINER_RUNNING);
	reads("cgroup.freeze", "0");
	file("cgroup.events", "populated 1\nfrozen 1\n");
	assert_int_equal(container_pause(&c, &e), 0);
	assert_int_equal(c.status, CONTAINER_PAUSED);
	reads("cgroup.freeze", "1");
}

/* No part of a cgroup's path leads up. */
static void cgroups_are_made_below(void **state)
{
	static const char *const bad[] = {"a/../../x", "..", "./x", "a/b/.."};
	unsigned int have;
	struct err e;
	size_t i;
	int fd;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		err_clear(&e);
		fd = cgroup_make(cgroup, bad[i], &have, &e);
		if (fd != -EINVAL)
			fail_msg("'%s': %d", bad[i], fd);
		assert_non_null(strstr(e.msg, bad[i]));
	}
	fd = cgroup_make(cgroup, "a/b", &have, &e);
	assert_true(fd >= 0);
	close(fd);
}

/* Nothing is written when it is refused. */
static void usage_is_checked_before(void **state)
{
	struct err e;

	(void)state;
	file("memory.max", "500");
	file("memory.swap.max", "0");
	file("memory.current", "300\n");
	file("memory.swap.current", "50\n");
	assert_int_equal(
		apply("{\"memory\":{\"limit\":299,\"checkBeforeUpdate\":true}}",
		      false, true, &e),
		-EBUSY);
	assert_non_null(strstr(e.msg, "resources.memory.limit: 299 is below"));
	reads("memory.max", "500");
	assert_int_equal(apply("{\"memory\":{\"limit\":300,\"swap\":349,"
			       "\"checkBeforeUpdate\":true}}",
			       false, true, &e),
			 -EBUSY);
	assert_non_null(strstr(e.msg, "resources.memory.swap: 349 is below"));
	reads("memory.max", "500");
	assert_int_equal(apply("{\"memory\":{\"limit\":300,\"swap\":350,"
			       "\"checkBeforeUpdate\":true}}",
			       false, true, &e),
			 0);
	reads("memory.max", "300");
	assert_int_equal(apply("{\"memory\":{\"limit\":100}}", false, true, &e),
			 0);
	reads("memory.max", "100");
}

static void versions_are_semver(void **state)
{
	static const char *const good[] = {"1.0.0", "1.0.2-dev", "1.2.0+dev",
					   "1.1.0-rc.1", "1.2.1-rc.1+b.007"};
	unsigned int major, minor;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(oci_version_parse(good[i], &major, &minor), 0);
	assert_int_equal(oci_version_parse("1.17.3", &major, &minor), 0);
	assert_int_equal(minor, 17);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(rootfs, sizeof(rootfs), "/tmp/hyb-test-bad.XXXXXX");
	assert_non_null(mkdtemp(rootfs));
	snprintf(cgroup_dir, sizeof(cgroup_dir), "/tmp/hyb-test-cg.XXXXXX");
	assert_non_null(mkdtemp(cgroup_dir));
	cgroup = open(cgroup_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(cgroup >= 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(cgroup);
	path_remove(cgroup_dir, NULL);
	return path_remove(rootfs, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configs_are_refused),
		cmocka_unit_test(processes_are_refused),
		cmocka_unit_test(resources_are_refused),
		cmocka_unit_test(syntax_names_its_place),
		cmocka_unit_test(versions_are_semver),
		cmocka_unit_test(resources_are_converted),
		cmocka_unit_test(usage_is_checked_before),
		cmocka_unit_test(a_freeze_that_fails_is_undone),
		cmocka_unit_test(cgroups_are_made_below),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
