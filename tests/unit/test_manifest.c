/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests → model or errors, against tests/golden/manifest: NAME.yaml gives
 * NAME.json (the model) or NAME.errors. */
#include "tests/unit/golden.h"

#include "common/base/parse.h"
#include "host-agent/manifest/manifest.h"

#define FOLDER "tests/golden/manifest"

/* env_files lie in a folder of their own; no other is found. */
static int read_env(void *arg, const char *path, char **ret, size_t *ret_len,
		    struct err *e)
{
	char full[PATH_MAX];

	(void)arg;
	if (strchr(path, '/'))
		return err_set(e, ENOENT, "no such file");
	snprintf(full, sizeof(full), FOLDER "/env/%s", path);
	return file_read(AT_FDCWD, full, (size_t)2 << 20, ret, ret_len, e);
}

static const struct manifest_reader reader = {
	.read = read_env, .read_file = read_env, .folder = "/srv/app"};

static void stacks_to_text(const struct manifest *m, struct buf *out)
{
	_cleanup_free_ char *text = NULL;
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < m->n_stacks; i++)
		assert_int_equal(
			json_array_append_new(
				list, model_stack_to_json(m->stacks[i])),
			0);
	for (i = 0; i < m->n_tenants; i++)
		json_array_append_new(list,
				      model_tenant_to_json(m->tenants[i]));
	text = json_dumps(list, JSON_INDENT(2) | JSON_SORT_KEYS);
	assert_non_null(text);
	json_decref(list);
	buf_puts(out, text);
	buf_putc(out, '\n');
}

/* What is stored must come back the same. */
static void check_round_trip(const struct manifest *m)
{
	_cleanup_model_stack_ struct model_stack *again = NULL;
	struct err e = ERR_INIT;
	struct model_tenant *t;
	json_t *a, *b;
	size_t i;

	for (i = 0; i < m->n_tenants; i++) {
		a = model_tenant_to_json(m->tenants[i]);
		if (model_tenant_from_json(a, &t, &e) < 0)
			fail_msg("%s", e.msg);
		b = model_tenant_to_json(t);
		assert_true(json_equal(a, b));
		json_decref(a);
		json_decref(b);
		model_tenant_free(t);
	}
	for (i = 0; i < m->n_stacks; i++) {
		a = model_stack_to_json(m->stacks[i]);
		if (model_stack_from_json(a, &again, &e) < 0)
			fail_msg("%s", e.msg);
		b = model_stack_to_json(again);
		assert_true(json_equal(a, b));
		json_decref(a);
		json_decref(b);
		model_stack_free(steal_ptr(again));
	}
}

static void check_file(const char *stem)
{
	_cleanup_manifest_ struct manifest m = {0};
	_cleanup_buf_ struct buf out = BUF_INIT;
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX], shown[PATH_MAX];
	size_t len = 0;
	int r;

	snprintf(path, sizeof(path), "%s.yaml", stem);
	snprintf(shown, sizeof(shown), "%s.yaml", strrchr(stem, '/') + 1);
	text = golden_read(path, &len);
	assert_non_null(text);
	r = manifest_parse(shown, text, len, &reader, &m);
	if (r == 0) {
		assert_int_equal(m.n_diagnostics, 0);
		stacks_to_text(&m, &out);
		check_round_trip(&m);
	} else {
		assert_int_equal(r, -EINVAL);
		assert_int_equal(m.n_stacks, 0);
		assert_true(m.n_diagnostics > 0);
		assert_int_equal(manifest_render_diagnostics(&m, &out), 0);
	}
	snprintf(path, sizeof(path), "%s.%s", stem, r == 0 ? "json" : "errors");
	golden_check(path, buf_str(&out));
	snprintf(path, sizeof(path), "%s.%s", stem, r == 0 ? "errors" : "json");
	if (access(path, F_OK) == 0)
		fail_msg("%s exists, but is not what came out", path);
}

static void test_golden(void **state)
{
	(void)state;
	assert_true(golden_each(FOLDER, ".yaml", check_file) >= 10);
}

/* The examples that we ship must be valid. */
static void check_example(const char *stem)
{
	_cleanup_manifest_ struct manifest m = {0};
	_cleanup_buf_ struct buf out = BUF_INIT;
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	size_t len = 0;

	snprintf(path, sizeof(path), "%s.yaml", stem);
	text = golden_read(path, &len);
	assert_non_null(text);
	if (manifest_parse(path, text, len, NULL, &m) < 0) {
		manifest_render_diagnostics(&m, &out);
		fail_msg("%s", buf_str(&out));
	}
	check_round_trip(&m);
}

static void test_examples(void **state)
{
	(void)state;
	assert_true(golden_each("docs/examples", ".yaml", check_example) >= 1);
}

static void test_env_files(void **state)
{
	static const char text[] = "hyb: 1\n"
				   "name: s\n"
				   "vms:\n"
				   "  v:\n"
				   "    containers:\n"
				   "      a: {image: i, env_file: one.env}\n"
				   "      b: {image: i, env_file: [two.env, "
				   "one.env]}\n"
				   "      c: {image: \"?\", nonsense: 1}\n";
	char **paths = NULL;

	(void)state;
	assert_int_equal(manifest_env_files(text, sizeof(text) - 1, &paths), 0);
	assert_int_equal(strv_len(paths), 2);
	assert_string_equal(paths[0], "one.env");
	assert_string_equal(paths[1], "two.env");
	strv_free(paths);
	paths = NULL;
	assert_int_equal(manifest_env_files("[", 1, &paths), 0);
	assert_int_equal(strv_len(paths), 0);
	strv_free(paths);
}

static void test_stdin_and_file_name(void **state)
{
	_cleanup_manifest_ struct manifest m = {0};
	_cleanup_manifest_ struct manifest n = {0};
	_cleanup_buf_ struct buf out = BUF_INIT;

	(void)state;
	assert_int_equal(manifest_parse("-", "", 0, NULL, &m), -EINVAL);
	manifest_render_diagnostics(&m, &out);
	assert_string_equal(buf_str(&out),
			    "<stdin>:1:1: nothing is declared here\n");
	buf_clear(&out);
	assert_int_equal(manifest_parse("a\033[2Jb", "x", 1, NULL, &n),
			 -EINVAL);
	manifest_render_diagnostics(&n, &out);
	assert_null(strchr(buf_str(&out), '\033'));
}

static void test_stack_can_be_kept(void **state)
{
	static const char text[] = "{hyb: 1, name: s, vms: {v: {containers: "
				   "{c: {image: i}}}}}";
	_cleanup_model_stack_ struct model_stack *kept = NULL;
	struct manifest m;

	(void)state;
	assert_int_equal(manifest_parse("f", text, sizeof(text) - 1, NULL, &m),
			 0);
	kept = m.stacks[0];
	m.stacks[0] = NULL;
	manifest_done(&m);
	assert_string_equal(kept->vms[0].containers[0].image, "i");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_env_files),
		cmocka_unit_test(test_stdin_and_file_name),
		cmocka_unit_test(test_stack_can_be_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
