/* SPDX-License-Identifier: Apache-2.0 */
/* OCI and Docker documents as structs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "common/oci/image.h"

#include <cmocka.h>

#define D1 \
	"sha256:1111111111111111111111111111111111111111111111111111111111111111"
#define D2 \
	"sha256:2222222222222222222222222222222222222222222222222222222222222222"

static struct err e;

static void test_config(void **state)
{
	static const char text[] =
		"{\"architecture\":\"amd64\",\"os\":\"linux\",\"variant\":null,"
		"\"created\":\"2026-01-02T03:04:05Z\",\"author\":\"me\","
		"\"config\":{\"Env\":[\"A=b\",\"C=d e\"],"
		"\"Entrypoint\":[\"/bin/x\"],\"Cmd\":null,\"User\":\"www:80\","
		"\"WorkingDir\":\"/srv\",\"Volumes\":{\"/data\":{}},"
		"\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{}},"
		"\"StopSignal\":\"SIGQUIT\",\"Labels\":{\"k\":\"v\"},"
		"\"Healthcheck\":{\"Test\":[\"CMD\",\"/ok\"],"
		"\"Interval\":1000000000,\"Timeout\":5,\"Retries\":3},"
		"\"OnBuild\":[\"x\"],\"Unknown\":{\"a\":[1]}},"
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D1 "\",\"" D2
		"\"]},\"history\":[{}]}";
	struct arena *a = arena_new(0);
	struct oci_image_config c;

	(void)state;
	if (oci_image_config_parse(text, sizeof(text) - 1, a, &c, &e) < 0)
		fail_msg("%s", e.msg);
	assert_string_equal(c.architecture, "amd64");
	assert_string_equal(c.variant, "");
	assert_string_equal(c.created, "2026-01-02T03:04:05Z");
	assert_string_equal(c.env[1], "C=d e");
	assert_null(c.env[2]);
	assert_string_equal(c.entrypoint[0], "/bin/x");
	assert_null(c.cmd);
	assert_string_equal(c.user, "www:80");
	assert_string_equal(c.working_dir, "/srv");
	assert_string_equal(c.volumes[0], "/data");
	assert_null(c.volumes[1]);
	assert_non_null(c.exposed_ports[1]);
	assert_null(c.exposed_ports[2]);
	assert_string_equal(c.stop_signal, "SIGQUIT");
	assert_int_equal(c.n_labels, 1);
	assert_string_equal(c.labels[0].value, "v");
	assert_string_equal(c.healthcheck->test[1], "/ok");
	assert_int_equal(c.healthcheck->interval_ns, 1000000000);
	assert_int_equal(c.healthcheck->start_period_ns, 0);
	assert_int_equal(c.healthcheck->retries, 3);
	assert_int_equal(c.n_diff_ids, 2);
	assert_string_equal(c.diff_ids[1], D2);
	arena_free(a);
}

static void test_small_config(void **state)
{
	static const char *const texts[] = {
		"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}",
		"{\"config\":null,\"rootfs\":{\"type\":\"layers\"}}",
		"{\"config\":{},\"rootfs\":{\"type\":\"layers\"}}\n",
	};
	struct arena *a = arena_new(0);
	struct oci_image_config c;
	size_t i;

	(void)state;
	for (i = 0; i < 3; i++) {
		assert_int_equal(oci_image_config_parse(
					 texts[i], strlen(texts[i]), a, &c, &e),
				 0);
		assert_null(c.env);
		assert_null(c.healthcheck);
		assert_string_equal(c.user, "");
		assert_int_equal(c.n_diff_ids, 0);
	}
	arena_free(a);
}

static void test_index_and_manifest(void **state)
{
	static const char index[] =
		"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":"
		"\"application/vnd.docker.distribution.manifest.v2+json\","
		"\"digest\":\"" D1 "\",\"size\":7,\"platform\":{"
		"\"architecture\":\"arm64\",\"os\":\"linux\",\"variant\":"
		"\"v8\"}},{\"mediaType\":\"text/html\",\"digest\":\"" D2
		"\",\"size\":0}]}";
	static const char manifest[] =
		"{\"schemaVersion\":2,\"mediaType\":"
		"\"application/vnd.docker.distribution.manifest.v2+json\","
		"\"config\":{\"mediaType\":"
		"\"application/vnd.docker.container.image.v1+json\","
		"\"digest\":\"" D1 "\",\"size\":1},\"layers\":[{\"mediaType\":"
		"\"application/vnd.docker.image.rootfs.diff.tar.gzip\","
		"\"digest\":\"" D2 "\",\"size\":2}]}";
	struct arena *a = arena_new(0);
	struct oci_index x;
	struct oci_manifest m;

	(void)state;
	assert_int_equal(oci_index_parse(index, sizeof(index) - 1, a, &x, &e),
			 0);
	assert_int_equal(x.n_manifests, 2);
	assert_int_equal(x.manifests[0].media, OCI_MEDIA_MANIFEST);
	assert_string_equal(x.manifests[0].variant, "v8");
	assert_int_equal(x.manifests[1].media, OCI_MEDIA_UNKNOWN);
	assert_string_equal(x.manifests[1].architecture, "");
	assert_int_equal(
		oci_manifest_parse(manifest, sizeof(manifest) - 1, a, &m, &e),
		0);
	assert_int_equal(m.n_layers, 1);
	assert_string_equal(m.layers[0].digest, D2);
	assert_int_equal(m.layers[0].size, 2);
	/* One is not taken for the other. */
	assert_true(oci_index_parse(manifest, sizeof(manifest) - 1, a, &x, &e) <
		    0);
	assert_true(oci_manifest_parse(index, sizeof(index) - 1, a, &m, &e) <
		    0);
	arena_free(a);
}

static void test_docker(void **state)
{
	static const char text[] =
		"[{\"Config\":\"a.json\",\"RepoTags\":[\"x:1\",\"y:2\"],"
		"\"Layers\":[\"l/layer.tar\"]},{\"Config\":\"b.json\","
		"\"RepoTags\":null,\"Layers\":null}]";
	struct arena *a = arena_new(0);
	struct docker_image *d;
	size_t n;

	(void)state;
	assert_int_equal(
		docker_manifest_parse(text, sizeof(text) - 1, a, &d, &n, &e),
		0);
	assert_int_equal(n, 2);
	assert_string_equal(d[0].repo_tags[1], "y:2");
	assert_int_equal(d[0].n_layers, 1);
	assert_null(d[1].repo_tags);
	assert_int_equal(d[1].n_layers, 0);
	arena_free(a);
}

static void test_bad(void **state)
{
	static const struct {
		char kind; /* c, i, m, d */
		const char *text;
		const char *want;
	} cases[] = {
		{'c', "", "line"},
		{'c', "[]", "is not a JSON object"},
		{'c', "5", "line 1"},
		{'c', "{}", "rootfs: is missing"},
		{'c', "{\"rootfs\":{}}", "rootfs.type"},
		{'c', "{\"os\":5,\"rootfs\":{}}", "os: is not a string"},
		{'c', "{\"config\":[],\"rootfs\":{}}", "config: is not an"},
		{'c', "{\"config\":{\"Env\":{}}}", "config.Env"},
		{'c', "{\"config\":{\"Labels\":{\"a\":5}}}", "config.Labels"},
		{'c', "{\"config\":{\"Volumes\":[]}}", "config.Volumes"},
		{'c', "{\"config\":{\"Healthcheck\":5}}", "Healthcheck"},
		{'c', "{\"config\":{\"Healthcheck\":{\"Interval\":-1}}}",
		 "Healthcheck.Interval"},
		{'c', "{\"config\":{\"Healthcheck\":{\"Interval\":1.5}}}",
		 "Healthcheck.Interval"},
		{'c', "{\"config\":{\"User\":\"a\\u0000b\"}}", "line 1"},
		{'c', "{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"x\"]}}",
		 "rootfs.diff_ids"},
		{'c', "{\"a\":1,\"a\":2}", "duplicate"},
		{'c', "{\"a\":1", "line 1"},
		{'c', "{\"a\":\"\xff\"}", "line 1"},
		{'i', "{\"schemaVersion\":1}", "schemaVersion"},
		{'i', "{\"schemaVersion\":2}", "manifests"},
		{'i', "{\"schemaVersion\":2,\"manifests\":{}}", "manifests"},
		{'i', "{\"schemaVersion\":2,\"manifests\":[5]}",
		 "manifests[0]"},
		{'i',
		 "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" D1
		 "x\"}]}",
		 "manifests[0]: its digest"},
		{'i',
		 "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"" D1
		 "\",\"size\":9223372036854775807}]}",
		 "size is too large"},
		{'m', "{\"schemaVersion\":2,\"layers\":[]}", "config"},
		{'m', "{\"schemaVersion\":\"2\"}", "schemaVersion"},
		{'d', "{}", "names no image"},
		{'d', "[]", "names no image"},
		{'d', "[5]", "is not an object"},
		{'d', "[{\"Config\":5}]", "Config"},
		{'d', "[{\"Layers\":\"x\"}]", "Layers"},
	};
	struct oci_index x;
	struct oci_manifest m;
	struct oci_image_config c;
	struct docker_image *d;
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *t = cases[i].text;
		struct arena *a = arena_new(0);
		int r;

		memset(&e, 0, sizeof(e));
		if (cases[i].kind == 'c')
			r = oci_image_config_parse(t, strlen(t), a, &c, &e);
		else if (cases[i].kind == 'i')
			r = oci_index_parse(t, strlen(t), a, &x, &e);
		else if (cases[i].kind == 'm')
			r = oci_manifest_parse(t, strlen(t), a, &m, &e);
		else
			r = docker_manifest_parse(t, strlen(t), a, &d, &n, &e);
		if (r >= 0 || !strstr(e.msg, cases[i].want))
			fail_msg("%s: expected '%s', got %d '%s'", t,
				 cases[i].want, r, e.msg);
		arena_free(a);
	}
}

static void test_limits(void **state)
{
	struct arena *a = arena_new(0);
	size_t len = HYB_OCI_IMAGE_JSON_MAX + 1, i;
	char *text = malloc(len);
	struct oci_image_config c;
	struct oci_manifest m;
	char many[20000] = "{\"schemaVersion\":2,\"config\":{\"mediaType\":"
			   "\"application/vnd.oci.image.config.v1+json\","
			   "\"digest\":\"" D1 "\"},\"layers\":[";

	(void)state;
	memset(text, ' ', len);
	assert_int_equal(oci_image_config_parse(text, len, a, &c, &e), -E2BIG);
	/* Nested as deep as it goes. */
	memset(text, '[', len - 1);
	assert_true(oci_image_config_parse(text, len - 1, a, &c, &e) < 0);
	/* A million of the smallest, each a hundred times larger in memory. */
	for (i = 0; i < len - 4; i += 3)
		memcpy(text + i, "{},", 3);
	text[0] = '[';
	assert_int_equal(oci_image_config_parse(text, len - 1, a, &c, &e),
			 -E2BIG);
	assert_non_null(strstr(e.msg, "more than 65536 values"));
	free(text);
	for (i = 0; i < 129; i++)
		strcat(many, i ? ",{}" : "{}");
	strcat(many, "]}");
	assert_int_equal(oci_manifest_parse(many, strlen(many), a, &m, &e),
			 -E2BIG);
	assert_non_null(strstr(e.msg, "more than 128"));
	arena_free(a);
}

static void test_digest(void **state)
{
	(void)state;
	assert_true(oci_digest_is_valid(D1));
	assert_false(oci_digest_is_valid(""));
	assert_false(oci_digest_is_valid("sha256:"));
	assert_false(oci_digest_is_valid(D1 "1"));
	assert_false(oci_digest_is_valid(&D1[1]));
	assert_false(oci_digest_is_valid(
		"sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		"AAAAAAAAA"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_small_config),
		cmocka_unit_test(test_index_and_manifest),
		cmocka_unit_test(test_docker),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_digest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
