/* SPDX-License-Identifier: Apache-2.0 */
/* registries.conf: how TOML is read, and what a short name means by it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/toml.h"
#include "host-agent/image/image_short.h"

/* ------------------------------------------------------------------- TOML */

static int note(void *arg, const char *table, const char *key, int index,
		const char *value, struct err *e)
{
	(void)e;
	buf_printf(arg, "%s/%s", table, key);
	if (index >= 0)
		buf_printf(arg, "[%d]", index);
	buf_printf(arg, "=%s\n", value ? value : "[]");
	return 0;
}

static void test_toml(void **state)
{
	static const char text[] =
		"# a comment\r\n"
		"a = \"x\\t\\\"\\u00e9\\U0001F600\" # behind it\n"
		"b.'c d'.e='raw\\n'\n"
		"n = 12\nt = 2020-01-01T00:00:00Z\nyes = true\n"
		"list = [ \"1\", # one\n  '2', [\"in\"], 3,\n]\n"
		"empty = []\n"
		"m = \"\"\"\nfirst \\\n   more\nlast\"\"\"\n"
		"l = '''it's'''\n"
		"in = { k = \"v\", o = { p = \"q\" } }\n"
		"[ aliases ]\n\"a/b\" = \"r.io/a/b\"\n"
		"[[registry]]\nlocation=\"x\"\n[[registry.mirror]]\n"
		"location = \"y\"";
	_cleanup_buf_ struct buf got = BUF_INIT;
	struct err e = ERR_INIT;

	(void)state;
	if (toml_read(text, note, &got, &e) < 0)
		fail_msg("%s", e.msg);
	assert_string_equal(buf_str(&got), "/a=x\t\"\xc3\xa9\xf0\x9f\x98\x80\n"
					   "b.c d/e=raw\\n\n"
					   "/list=[]\n/list[0]=1\n/list[1]=2\n"
					   "/list=[]\n/list[0]=in\n"
					   "/empty=[]\n"
					   "/m=first more\nlast\n"
					   "/l=it's\n"
					   "in/k=v\nin.o/p=q\n"
					   "aliases/a/b=r.io/a/b\n"
					   "registry/location=x\n"
					   "registry.mirror/location=y\n");
}

static void test_toml_bad(void **state)
{
	static const struct {
		const char *text, *error;
	} bad[] = {
		{"a", "line 1: '='"},
		{"\na = ", "line 2: a value is missing"},
		{"a = \"x", "line 1: a string has no end"},
		{"a = \"x\ny\"", "line 1: a string has no end"},
		{"a = \"\"\"x", "line 1: a string has no end"},
		{"a = \"\\q\"", "line 1: a wrong escape"},
		{"a = \"\\", "line 1: a wrong escape"},
		{"a = [\"\\", "line 1: a wrong escape"},
		{"a = {b = \"\\", "line 1: a wrong escape"},
		{"a = \"\\u12\"", "line 1: a wrong escape"},
		{"a = \"\\ud800\"", "line 1: a wrong escape"},
		{"a = [1 2", "line 1: an array has no end"},
		{"a = [\n\"x\"\n\"y\"]", "line 3: an array has no end"},
		{"a = [", "line 1: a value is missing"},
		{"a = { b = 1", "line 1: an inline table has no end"},
		{"a = {, }", "line 1: a key is missing"},
		{"[t", "line 1: ']' is missing"},
		{"[[t]", "line 1: ']' is missing"},
		{"[]", "line 1: a key is missing"},
		{"a = \"x\" y", "line 1: something stands behind"},
		{"a = what", "line 1: a value is missing"},
		{"= 1", "line 1: a key is missing"},
	};
	char deep[200], longer[HYB_TOML_TEXT_MAX + 20];
	struct err e = ERR_INIT;
	struct buf out = BUF_INIT;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		err_clear(&e);
		assert_int_equal(toml_read(bad[i].text, note, &out, &e),
				 -EINVAL);
		if (strncmp(e.msg, bad[i].error, strlen(bad[i].error)) != 0)
			fail_msg("%s: %s", bad[i].text, e.msg);
	}
	snprintf(deep, sizeof(deep), "a = %.*s", 150,
		 "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[");
	assert_int_equal(toml_read(deep, note, &out, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "too deep"));
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(toml_read(longer, note, &out, &e), -EINVAL);
	memcpy(longer, "a = \"", 5);
	assert_int_equal(toml_read(longer, note, &out, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "too long"));
	buf_done(&out);
}

/* ------------------------------------------------------------ short names */

static char dir[64];

static void conf(const char *name, const char *text)
{
	struct err e = ERR_INIT;
	char path[200];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	if (text)
		assert_int_equal(
			file_write_atomic(path, text, strlen(text), 0644, &e),
			0);
	else
		unlink(path);
}

static int setup(void **state)
{
	char path[100];

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/test-short.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/registries.conf.d", dir);
	return mkdir(path, 0755);
}

static int teardown(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	return path_remove(dir, &e);
}

/* want: the references, with blanks between them. */
static void expect(const char *reference, const char *want, bool enforced)
{
	_cleanup_image_short_ struct image_short s = {.refs = NULL};
	_cleanup_buf_ struct buf got = BUF_INIT;
	struct err e = ERR_INIT;
	size_t i;

	if (image_short_resolve(dir, reference, &s, &e) < 0)
		fail_msg("%s: %s", reference, e.msg);
	for (i = 0; s.refs[i]; i++)
		buf_printf(&got, "%s%s", i ? " " : "", s.refs[i]);
	assert_string_equal(buf_str(&got), want);
	assert_int_equal(s.enforced, enforced);
}

static void expect_error(const char *text, const char *error)
{
	struct image_short s = {.refs = NULL};
	struct err e = ERR_INIT;

	conf("registries.conf", text);
	assert_true(image_short_resolve(dir, "web:1", &s, &e) < 0);
	assert_null(s.refs);
	assert_non_null(strstr(e.msg, dir));
	if (!strstr(e.msg, error))
		fail_msg("expected '%s', got '%s'", error, e.msg);
}

static void test_short(void **state)
{
	(void)state;
	expect("web:1", "web:1", false);
	conf("registries.conf", "unqualified-search-registries = [\"a.io\"]\n"
				"[aliases]\n\"web\" = \"quay.io/acme/web\"\n"
				"\"acme/x\" = \"a.io/y\"\n");
	expect("web:1", "quay.io/acme/web:1", false);
	expect("web", "quay.io/acme/web", false);
	expect("web@sha256:0", "quay.io/acme/web@sha256:0", false);
	expect("acme/x:2", "a.io/y:2", false);
	expect("webs", "a.io/webs", false);
	expect("acme/web", "a.io/acme/web", false);
	expect("docker.io/web", "docker.io/web", false);
	expect("localhost/web", "localhost/web", false);
	expect("h:5000/web", "h:5000/web", false);
	/* Later files go over earlier ones; others are none of them. */
	conf("registries.conf.d/2.conf",
	     "short-name-mode = \"enforcing\"\n"
	     "unqualified-search-registries = [\n \"b.io:1\",\n \"c.io\" ]\n"
	     "[aliases]\nweb = \"\"\n");
	conf("registries.conf.d/1.conf", "[aliases]\nweb = \"d.io/w\"\n");
	conf("registries.conf.d/9.conf~", "[aliases]\nweb = \"e.io/w\"\n");
	expect("web:1", "b.io:1/web:1 c.io/web:1", true);
	conf("registries.conf.d/3.conf", "short-name-mode = \"disabled\"");
	expect("web:1", "b.io:1/web:1 c.io/web:1", false);
	conf("registries.conf.d/4.conf", "unqualified-search-registries = []");
	expect("web:1", "web:1", false);
}

static void test_short_bad(void **state)
{
	char many[1000] = "unqualified-search-registries = [";
	int i;

	(void)state;
	expect_error("a = 1\nb", "registries.conf: line 2: '='");
	expect_error("[aliases]\nweb = \"acme/web\"", "not REGISTRY/NAME");
	expect_error("[aliases]\nweb = \"a.io/web:1\"", "not REGISTRY/NAME");
	expect_error("short-name-mode = \"x\"", "'x' is neither");
	for (i = 0; i <= IMAGE_SHORT_MAX; i++)
		strcat(many, "\"a.io\",");
	strcat(many, "]");
	expect_error(many, "more than 16");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_toml),
		cmocka_unit_test(test_toml_bad),
		TEST(test_short),
		TEST(test_short_bad),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
