/* SPDX-License-Identifier: Apache-2.0 */
/* Text that is made to hurt: each ends with a clear word, and soon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <time.h>

#include "common/base/cleanup.h"
#include "host-agent/manifest/manifest.h"

#define HEAD "hyb: 1\nname: s\n"
#define TAIL "vms:\n  v:\n    containers:\n      c: {image: i}\n"

static uint64_t slowest;

/* Of the processor, since the machine may be busy with something else. */
static uint64_t cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Reads it in under a second and finds `error` in what is said; NULL: it is
 * valid. */
static void check(struct buf *text, const char *error)
{
	_cleanup_manifest_ struct manifest m = {0};
	_cleanup_buf_ struct buf out = BUF_INIT;
	uint64_t start = cpu_ms(), took;
	int r;

	assert_int_equal(buf_error(text), 0);
	r = manifest_parse("bomb", buf_str(text), text->len, NULL, &m);
	manifest_render_diagnostics(&m, &out);
	took = cpu_ms() - start;
	slowest = took > slowest ? took : slowest;
	if (took >= 1000)
		fail_msg("took %llu ms of CPU", (unsigned long long)took);
	if (r != (error ? -EINVAL : 0))
		fail_msg("returned %d: %s", r, buf_str(&out));
	if (error && !strstr(buf_str(&out), error))
		fail_msg("'%s' is not in: %s", error, buf_str(&out));
	assert_true(m.n_diagnostics <= HYB_MANIFEST_ERRORS_MAX);
	assert_true(out.len < (size_t)256 * 1024);
	buf_done(text);
}

static void repeat(struct buf *b, const char *s, size_t n)
{
	while (n-- > 0)
		buf_puts(b, s);
}

static void test_brackets(void **state)
{
	static const char *const one[] = {"[",	"{",  "{a: ",	 "- ",
					  "? ", "[{", "!!seq [", "&a ["};
	struct buf b = BUF_INIT;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(one); i++) {
		repeat(&b, one[i], 100 * 1024 / strlen(one[i]));
		check(&b, "nested more than 32 deep");
	}
}

static void test_closing_brackets(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	repeat(&b, "]", 100 * 1024);
	check(&b, "not YAML");
	repeat(&b, "}", 100 * 1024);
	check(&b, "not YAML");
}

static void test_deep_block(void **state)
{
	struct buf b = BUF_INIT;
	size_t i;

	(void)state;
	for (i = 0; i < 1000; i++) {
		repeat(&b, " ", i);
		buf_puts(&b, "a:\n");
	}
	check(&b, "nested more than 32 deep");
}

static void test_depth_32_is_fine(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	buf_puts(&b, HEAD "x-deep: ");
	repeat(&b, "[", 31);
	repeat(&b, "]", 31);
	buf_puts(&b, "\n" TAIL);
	check(&b, NULL);
	buf_puts(&b, HEAD "x-deep: ");
	repeat(&b, "[", 32);
	repeat(&b, "]", 32);
	buf_puts(&b, "\n" TAIL);
	check(&b, "nested more than 32 deep");
}

static void test_depth_by_aliases(void **state)
{
	struct buf b = BUF_INIT;
	int i;

	(void)state;
	buf_puts(&b, HEAD "x-0: &a0 [x]\n");
	for (i = 1; i < 100; i++)
		buf_printf(&b, "x-%d: &a%d [*a%d]\n", i, i, i - 1);
	buf_puts(&b, TAIL);
	check(&b, "nested more than 32 deep, with what the alias 'a30'");
}

static void test_billion_laughs(void **state)
{
	struct buf b = BUF_INIT;
	int i;

	(void)state;
	buf_puts(&b, HEAD "x-0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n");
	for (i = 1; i < 10; i++)
		buf_printf(
			&b, "x-%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n",
			i, i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
	buf_puts(&b, TAIL);
	check(&b, "more than 20000 values");
}

static void test_merge_bomb(void **state)
{
	struct buf b = BUF_INIT;
	int i;

	(void)state;
	buf_puts(&b, HEAD "x-0: &a0 {k: v, l: v, m: v}\n");
	for (i = 1; i < 26; i++)
		buf_printf(&b, "x-%d: &a%d {<<: [*a%d, *a%d], k%d: v}\n", i, i,
			   i - 1, i - 1, i);
	buf_puts(&b, TAIL);
	check(&b, "more than 20000 values");
}

static void test_circles(void **state)
{
	static const char *const texts[] = {
		"a: &a [*a]\n",	    "a: &a {b: *a}\n",
		"a: &a {<<: *a}\n", "a: &a [[[{b: [*a]}]]]\n",
		"&a [*a]\n",	    "&a {<<: [*a]}\n",
	};
	struct buf b = BUF_INIT;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		buf_puts(&b, texts[i]);
		check(&b, "it is itself a part of");
	}
}

static void test_size(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	buf_puts(&b, HEAD TAIL);
	repeat(&b, "#", HYB_MANIFEST_SIZE_MAX - b.len);
	check(&b, NULL);
	buf_puts(&b, HEAD TAIL);
	repeat(&b, "#", HYB_MANIFEST_SIZE_MAX + 1 - b.len);
	check(&b, "the manifest is larger than 1048576 bytes");
}

/* 20,000 values and not one more: 19 are in the rest of the text. */
static void test_node_count(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	buf_puts(&b, HEAD TAIL "x-list: [");
	repeat(&b, "x,", 20000 - 17);
	buf_puts(&b, "]\n");
	check(&b, NULL);
	buf_puts(&b, HEAD TAIL "x-list: [");
	repeat(&b, "x,", 20000 - 16);
	buf_puts(&b, "]\n");
	check(&b, "more than 20000 values");
}

static void test_many_keys(void **state)
{
	struct buf b = BUF_INIT;
	int i;

	(void)state;
	buf_puts(&b, HEAD TAIL);
	for (i = 0; i < 9990; i++)
		buf_printf(&b, "key%d: 1\n", i);
	check(&b, "there are more errors than these 100");
	buf_puts(&b, HEAD TAIL "x-same:\n");
	for (i = 0; i < 9990; i++)
		buf_puts(&b, "  key: 1\n");
	check(&b, "there are more errors than these 100");
}

static void test_long_lines(void **state)
{
	struct buf b = BUF_INIT;
	int i;

	(void)state;
	/* 100 errors, all in one line of nearly 1 MiB */
	buf_puts(&b, "{hyb: 1, name: s, ");
	for (i = 0; i < 200; i++) {
		buf_printf(&b, "bad%d: ", i);
		repeat(&b, "a", 5000);
		buf_puts(&b, ", ");
	}
	buf_puts(&b, "vms: 1}");
	check(&b, "unknown key 'bad99'");
	repeat(&b, "a", 1000000);
	check(&b, "must be a map of keys");
	buf_puts(&b, HEAD TAIL);
	repeat(&b, "k", 100000);
	buf_puts(&b, ": 1\n");
	check(&b, "not YAML");
}

static void test_anchors(void **state)
{
	struct buf b = BUF_INIT;
	int i;

	(void)state;
	buf_puts(&b, HEAD TAIL "x-a:\n");
	for (i = 0; i < 1001; i++)
		buf_printf(&b, "  - &a%d x\n", i);
	check(&b, "more than 1000 anchors");
	/* long names that begin alike, used often */
	buf_puts(&b, HEAD TAIL "x-a:\n");
	for (i = 0; i < 900; i++) {
		buf_puts(&b, "  - &");
		repeat(&b, "a", 500);
		buf_printf(&b, "%04d x\n  - *", i);
		repeat(&b, "a", 500);
		buf_printf(&b, "%04d\n", i);
	}
	check(&b, NULL);
}

static void test_directives(void **state)
{
	struct buf b = BUF_INIT;
	int i;

	(void)state;
	for (i = 0; i < 50000; i++)
		buf_printf(&b, "%%TAG !a%d! b\n", i);
	check(&b, "%TAG directives are not supported");
	buf_puts(&b, "%YAML 1.1\n---\n" HEAD TAIL);
	check(&b, NULL);
	repeat(&b, "%YAML 1.1\n", 1000);
	check(&b, "not YAML");
}

static void test_many_documents(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	repeat(&b, "---\n", 200000);
	check(&b, "more than 20000 values");
	repeat(&b, "--- 1\n", 10000);
	check(&b, "there are more errors than these 100");
}

static void test_many_ports(void **state)
{
	struct buf b = BUF_INIT;
	int i;

	(void)state;
	buf_puts(&b, "hyb: 1\nname: s\nvms: {v: {containers: {c: {image: i, "
		     "ports: [");
	for (i = 0; i < 1024; i++)
		buf_printf(&b, "\"127.%d.%d.1:80:80\",", i / 256, i % 256);
	buf_puts(&b, "]}}}}\n");
	check(&b, NULL);
	buf_puts(&b, "hyb: 1\nname: s\nvms: {v: {containers: {c: {image: i, "
		     "ports: [");
	for (i = 0; i < 15000; i++)
		buf_puts(&b, "\"80:80\",");
	buf_puts(&b, "]}}}}\n");
	check(&b, "more than 1024 published ports");
}

static void test_many_dependencies(void **state)
{
	struct buf b = BUF_INIT;
	int i, k;

	(void)state;
	buf_puts(&b, "hyb: 1\nname: s\nvms:\n");
	for (i = 0; i < 40; i++) {
		buf_printf(&b, "  v%d:\n    containers:\n", i);
		for (k = 0; k < 60; k++)
			buf_printf(&b,
				   "      c%d: {image: i, depends_on: "
				   "[v%d.c%d]}\n",
				   k, k == 59 ? (i + 1) % 40 : i, (k + 1) % 60);
	}
	check(&b, "'depends_on' goes in a circle: v0.c0 → v0.c1");
	buf_puts(&b, "hyb: 1\nname: s\nvms:\n  v:\n    containers:\n");
	for (i = 0; i < 129; i++)
		buf_printf(&b, "      c%d: {image: i}\n", i);
	check(&b, "a VM can have at most 128 containers");
	buf_puts(&b, "hyb: 1\nname: s\nvms:\n");
	for (i = 0; i < 257; i++)
		buf_printf(&b, "  v%d: {containers: {c: {image: i}}}\n", i);
	check(&b, "a stack can have at most 256 VMs");
}

static void test_long_values(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	buf_puts(&b, "hyb: 1\nname: s\nvms: {v: {containers: {c: {image: i, "
		     "environment: {A: ");
	repeat(&b, "x", 131069);
	buf_puts(&b, "}}}}}\n");
	check(&b, NULL);
	buf_puts(&b, "hyb: 1\nname: s\nvms: {v: {containers: {c: {image: i, "
		     "environment: {A: ");
	repeat(&b, "x", 131070);
	buf_puts(&b, "}}}}}\n");
	check(&b, "is longer than 131071 bytes");
	buf_puts(&b, "hyb: 1\nname: s\nvms: {v: {containers: {c: {image: i, "
		     "command: ");
	repeat(&b, "x ", 400000);
	buf_puts(&b, "}}}}\n");
	check(&b, "more than 4096 words");
}

static void test_slowest(void **state)
{
	(void)state;
	print_message("slowest: %llu ms\n", (unsigned long long)slowest);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_brackets),
		cmocka_unit_test(test_closing_brackets),
		cmocka_unit_test(test_deep_block),
		cmocka_unit_test(test_depth_32_is_fine),
		cmocka_unit_test(test_depth_by_aliases),
		cmocka_unit_test(test_billion_laughs),
		cmocka_unit_test(test_merge_bomb),
		cmocka_unit_test(test_circles),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_node_count),
		cmocka_unit_test(test_many_keys),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_anchors),
		cmocka_unit_test(test_directives),
		cmocka_unit_test(test_many_documents),
		cmocka_unit_test(test_many_ports),
		cmocka_unit_test(test_many_dependencies),
		cmocka_unit_test(test_long_values),
		cmocka_unit_test(test_slowest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
