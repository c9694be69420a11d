/* SPDX-License-Identifier: Apache-2.0 */
/* Docker-format profiles: what is taken, what it becomes, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "common/oci/runtime.h"
#include "common/oci/seccomp_profile.h"

#define ALLOW "\"action\":\"SCMP_ACT_ALLOW\""

static json_t *parse(const char *text)
{
	struct err e = ERR_INIT;
	json_t *profile = NULL;

	if (seccomp_profile_parse(text, strlen(text), &profile, &e) < 0)
		fail_msg("%s", e.msg);
	return profile;
}

/* The names of the rules that are left, with blanks between. */
static const char *names(const char *text, const char *const *caps,
			 unsigned int major, unsigned int minor)
{
	const struct seccomp_target t = {.caps = caps,
					 .kernel = {major, minor}};
	json_t *profile = parse(text), *out, *rule, *name;
	static char all[256];
	size_t i, k;

	out = seccomp_profile_convert(profile, &t);
	assert_non_null(out);
	all[0] = '\0';
	json_array_foreach(json_object_get(out, "syscalls"), i, rule)
		json_array_foreach(json_object_get(rule, "names"), k, name) {
			strcat(all, all[0] ? " " : "");
			strcat(all, json_string_value(name));
		}
	json_decref(out);
	json_decref(profile);
	return all;
}

static void conditions(void **state)
{
	static const char text[] =
		"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":["
		"{\"names\":[\"always\",\"too\"]," ALLOW
		",\"comment\":\"c\",\"args\":null,\"includes\":{},"
		"\"excludes\":{}},"
		"{\"name\":\"old_word\",\"names\":null," ALLOW "},"
		"{\"names\":[\"one\"]," ALLOW
		",\"includes\":{\"caps\":[\"CAP_A\"]}},"
		"{\"names\":[\"both\"]," ALLOW
		",\"includes\":{\"caps\":[\"CAP_A\",\"CAP_B\"]}},"
		"{\"names\":[\"neither\"]," ALLOW
		",\"excludes\":{\"caps\":[\"CAP_A\",\"CAP_B\"]}},"
		"{\"names\":[\"ours\"]," ALLOW
		",\"includes\":{\"arches\":[\"arm64\",\"amd64\"]}},"
		"{\"names\":[\"theirs\"]," ALLOW
		",\"includes\":{\"arches\":[\"arm64\"]}},"
		"{\"names\":[\"not_ours\"]," ALLOW
		",\"excludes\":{\"arches\":[\"amd64\"]}},"
		"{\"names\":[\"new\"]," ALLOW
		",\"includes\":{\"minKernel\":\"5.10\"}},"
		"{\"names\":[\"old\"]," ALLOW
		",\"excludes\":{\"minKernel\":\"5.10\"}}]}";
	static const char *const a[] = {"CAP_A", NULL};
	static const char *const ab[] = {"CAP_B", "CAP_A", NULL};

	(void)state;
	assert_string_equal(names(text, NULL, 5, 9),
			    "always too old_word neither ours old");
	assert_string_equal(names(text, a, 5, 10),
			    "always too old_word one ours new");
	assert_string_equal(names(text, ab, 6, 1),
			    "always too old_word one both ours new");
	assert_string_equal(names(text, ab, 0, 0),
			    "always too old_word one both ours old");
}

static void the_rest_is_carried(void **state)
{
	json_t *profile = parse(
		"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,"
		"\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"],\"archMap\":["
		"{\"architecture\":\"SCMP_ARCH_S390X\",\"subArchitectures\":"
		"[\"SCMP_ARCH_S390\"]},{\"architecture\":\"SCMP_ARCH_X86_64\","
		"\"subArchitectures\":[\"SCMP_ARCH_X86\"]}],\"syscalls\":[{"
		"\"names\":[\"a\"],\"action\":\"SCMP_ACT_TRACE\",\"errnoRet\":7,"
		"\"args\":[{\"index\":1,\"value\":2,\"valueTwo\":3,"
		"\"op\":\"SCMP_CMP_MASKED_EQ\"}]}]}");
	const struct seccomp_target t = {.kernel = {6, 12}};
	json_t *out = seccomp_profile_convert(profile, &t), *want, *config;
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *c = NULL;
	struct err e = ERR_INIT;

	(void)state;
	want = json_loads(
		"{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,"
		"\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"],\"architectures\":"
		"[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\"],\"syscalls\":[{"
		"\"names\":[\"a\"],\"action\":\"SCMP_ACT_TRACE\",\"errnoRet\":7,"
		"\"args\":[{\"index\":1,\"value\":2,\"valueTwo\":3,"
		"\"op\":\"SCMP_CMP_MASKED_EQ\"}]}]}",
		0, NULL);
	assert_true(json_equal(out, want));
	config = json_pack("{ss s{so}}", "ociVersion", "1.2.0", "linux",
			   "seccomp", out);
	assert_int_equal(oci_runtime_parse(config, &c, &e), 0);
	json_decref(config);
	json_decref(want);
	json_decref(profile);
}

static void kernels(void **state)
{
	static const struct {
		const char *text;
		unsigned int want[2];
	} cases[] = {{"6.12.9-hyb", {6, 12}},
		     {"5.4", {5, 4}},
		     {"6.1.0-37-cloud", {6, 1}},
		     {"", {0, 0}},
		     {"6", {0, 0}},
		     {"6.", {0, 0}},
		     {"-6.1", {0, 0}},
		     {"6.99999", {0, 0}},
		     {"x6.1", {0, 0}}};
	unsigned int got[2];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		seccomp_kernel_parse(cases[i].text, got);
		assert_memory_equal(got, cases[i].want, sizeof(got));
	}
}

#define P(rest) "{\"defaultAction\":\"SCMP_ACT_ALLOW\"," rest "}"
#define R(rest) P("\"syscalls\":[{\"names\":[\"a\"]," rest "}]")
#define A(rest) R("\"action\":\"SCMP_ACT_ERRNO\"," rest)

static void what_is_wrong_is_named(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"", "line 1"},
		{"{", "line 1"},
		{"[]", "must be an object"},
		{"{\"a\":1,\"a\":2}", "duplicate"},
		{"{}", "defaultAction: is missing"},
		{"{\"defaultAction\":\"x\"}",
		 "defaultAction: is not an action"},
		{"{\"defaultAction\":1}", "defaultAction: is missing or not"},
		{P("\"x\":1"), "'x': unknown member"},
		{P("\"defaultErrnoRet\":1"), "defaultErrnoRet: the action"},
		{P("\"listenerPath\":\"/x\""), "listenerPath: there is no"},
		{"{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}", "no supervisor"},
		{P("\"flags\":[\"x\"]"), "flags[0]: is not valid"},
		{P("\"architectures\":[\"amd64\"]"), "architectures[0]"},
		{P("\"archMap\":1"), "archMap: must be a list"},
		{P("\"archMap\":[1]"), "archMap[0]: must be an object"},
		{P("\"archMap\":[{}]"), "archMap[0].architecture"},
		{P("\"archMap\":[{\"architecture\":\"SCMP_ARCH_X86_64\","
		   "\"subArchitectures\":[1]}]"),
		 "archMap[0].subArchitectures[0]"},
		{P("\"archMap\":[],\"architectures\":[\"SCMP_ARCH_X86\"]"),
		 "beside architectures"},
		{P("\"syscalls\":{}"), "syscalls: must be a list"},
		{P("\"syscalls\":[1]"), "syscalls[0]: must be an object"},
		{P("\"syscalls\":[{}]"), "syscalls[0].names: is missing"},
		{P("\"syscalls\":[{\"names\":[\"A B\"]}]"),
		 "syscalls[0].names[0]"},
		{P("\"syscalls\":[{\"name\":\"a/b\"}]"), "syscalls[0].name:"},
		{R("\"name\":\"b\""), "syscalls[0].name: beside names"},
		{R("\"args\":[]"), "syscalls[0].action: is missing"},
		{R("\"action\":\"SCMP_ACT_NOTIFY\""), "no supervisor"},
		{R("\"action\":\"SCMP_ACT_KILL\",\"errnoRet\":1"),
		 "syscalls[0].errnoRet: the action"},
		{A("\"errnoRet\":4096"), "syscalls[0].errnoRet: is not"},
		{A("\"errnoRet\":-1"), "syscalls[0].errnoRet: is not"},
		{A("\"comment\":1"), "syscalls[0].comment"},
		{A("\"op\":1"), "syscalls[0].'op': unknown member"},
		{A("\"args\":1"), "syscalls[0].args: must be"},
		{A("\"args\":[{},{},{},{},{},{},{}]"), "at most 6"},
		{A("\"args\":[{}]"), "syscalls[0].args[0].index: is missing"},
		{A("\"args\":[{\"index\":6}]"), "syscalls[0].args[0].index"},
		{A("\"args\":[{\"index\":0}]"), "args[0].value: is missing"},
		{A("\"args\":[{\"index\":0,\"value\":-1}]"), "args[0].value"},
		{A("\"args\":[{\"index\":0,\"value\":18446744073709551616}]"),
		 "too big"},
		{A("\"args\":[{\"index\":0,\"value\":1,\"op\":\"==\"}]"),
		 "syscalls[0].args[0].op: is not an operator"},
		{A("\"includes\":1"), "syscalls[0].includes: must be"},
		{A("\"includes\":{\"x\":1}"), "includes.'x': unknown member"},
		{A("\"includes\":{\"caps\":[\"CHOWN\"]}"), "includes.caps[0]"},
		{A("\"excludes\":{\"arches\":[1]}"), "excludes.arches[0]"},
		{A("\"excludes\":{\"minKernel\":\"4\"}"), "excludes.minKernel"},
		{A("\"excludes\":{\"minKernel\":4.8}"), "excludes.minKernel"},
		{A("\"excludes\":{\"minKernel\":\"4.8.1\"}"), "minKernel"},
		{A("\"excludes\":{\"minKernel\":\"\"}"), "minKernel"},
	};
	json_t *profile = NULL;
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		err_clear(&e);
		if (seccomp_profile_parse(cases[i].text, strlen(cases[i].text),
					  &profile, &e) == 0)
			fail_msg("case %zu was taken", i);
		if (!strstr(e.msg, cases[i].want))
			fail_msg("case %zu: wanted '%s', got '%s'", i,
				 cases[i].want, e.msg);
		assert_null(profile);
	}
}

/* n times the text between a head and a tail, with commas. */
static int many(const char *head, const char *one, size_t n, const char *tail,
		struct err *e)
{
	size_t size = strlen(head) + (strlen(one) + 1) * n + strlen(tail) + 1;
	_cleanup_free_ char *text = malloc(size);
	json_t *profile = NULL;
	char *p = text;
	size_t i;
	int r;

	assert_non_null(text);
	p = stpcpy(p, head);
	for (i = 0; i < n; i++) {
		p = stpcpy(p, one);
		if (i + 1 < n)
			*p++ = ',';
	}
	p = stpcpy(p, tail);
	err_clear(e);
	r = seccomp_profile_parse(text, (size_t)(p - text), &profile, e);
	json_decref(profile);
	return r;
}

static void it_is_bounded(void **state)
{
	static const char head[] = "{\"defaultAction\":\"SCMP_ACT_ALLOW\","
				   "\"syscalls\":[",
			  one[] = "{\"names\":[\"a\"]," ALLOW "}",
			  list[] = "{\"defaultAction\":\"SCMP_ACT_ALLOW\","
				   "\"syscalls\":[{" ALLOW ",\"names\":[";
	struct err e;

	(void)state;
	assert_int_equal(many(head, one, 1024, "]}", &e), 0);
	assert_int_equal(many(head, one, 1025, "]}", &e), -EINVAL);
	assert_non_null(strstr(e.msg, "too many rules"));
	assert_int_equal(many(list, "\"a\"", 8192, "]}]}", &e), 0);
	assert_int_equal(many(list, "\"a\"", 8193, "]}]}", &e), -EINVAL);
	assert_int_equal(many("", "[", 100000, "", &e), -EINVAL);
	assert_int_equal(many(" ", " ", 200000, "", &e), -EFBIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conditions),
		cmocka_unit_test(the_rest_is_carried),
		cmocka_unit_test(kernels),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(it_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
