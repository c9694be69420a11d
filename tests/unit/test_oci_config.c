/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/reconcile/oci_config.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const image_env[] = {"A=image", "B=image", NULL};
static const char *const image_entry[] = {"/entry", NULL};
static const char *const image_cmd[] = {"one", "two", NULL};
static const char *const none[] = {NULL};

static const struct image_defaults image = {
	.env = image_env,
	.entrypoint = image_entry,
	.cmd = image_cmd,
	.working_dir = "/srv",
	.stop_signal = "SIGQUIT",
};

static struct model_container container(void)
{
	return (struct model_container){.name = "c",
					.image = "img",
					.entrypoint = none,
					.command = none,
					.environment = none,
					.working_dir = "",
					.hostname = "",
					.seccomp = "",
					.user = ""};
}

static char *joined(const json_t *array)
{
	static char out[512];
	const json_t *v;
	size_t i;

	out[0] = '\0';
	json_array_foreach(array, i, v) {
		strcat(out, json_string_value(v));
		strcat(out, ";");
	}
	return out;
}

static int64_t volume_id(void *arg, const char *source)
{
	(void)arg;
	return strcmp(source, "data") == 0 ? 7 : 0;
}

static const struct oci_place place = {.vm_name = "vm",
				       .kernel = "6.12.9",
				       .id = "c.1",
				       .volume_id = volume_id};

static json_t *make(const struct model_container *c,
		    const struct image_defaults *defaults)
{
	struct err e = ERR_INIT;
	json_t *config = NULL;

	assert_int_equal(oci_config_make(c, defaults, &place, &config, &e), 0);
	return config;
}

static void expect_args(const struct model_container *c, const char *want)
{
	json_t *config = make(c, &image);

	assert_string_equal(
		joined(json_object_get(json_object_get(config, "process"),
				       "args")),
		want);
	json_decref(config);
}

static void test_args(void **state)
{
	static const char *const entry[] = {"/mine", NULL};
	static const char *const command[] = {"x", NULL};
	struct model_container c = container();

	(void)state;
	expect_args(&c, "/entry;one;two;");
	c.has_command = true;
	c.command = command;
	expect_args(&c, "/entry;x;");
	c.has_entrypoint = true;
	c.entrypoint = entry;
	expect_args(&c, "/mine;x;");
	c.has_command = false;
	expect_args(&c, "/mine;");
	c.entrypoint = none;
	expect_args(&c, "one;two;");
}

static void test_seccomp(void **state)
{
	struct model_container c = container();
	json_t *config, *seccomp;

	(void)state;
	config = make(&c, &image);
	assert_null(
		json_object_get(json_object_get(config, "linux"), "seccomp"));
	json_decref(config);
	/* The guest gives CAP_CHOWN, not CAP_SYS_ADMIN; the kernel is 6.12. */
	c.seccomp = "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":["
		    "{\"names\":[\"a\"],\"action\":\"SCMP_ACT_ALLOW\","
		    "\"includes\":{\"caps\":[\"CAP_CHOWN\"]}},"
		    "{\"names\":[\"b\"],\"action\":\"SCMP_ACT_ALLOW\","
		    "\"includes\":{\"caps\":[\"CAP_SYS_ADMIN\"]}},"
		    "{\"names\":[\"c\"],\"action\":\"SCMP_ACT_ALLOW\","
		    "\"includes\":{\"minKernel\":\"6.12\"}}]}";
	config = make(&c, &image);
	seccomp = json_object_get(json_object_get(config, "linux"), "seccomp");
	assert_string_equal(
		json_string_value(json_object_get(seccomp, "defaultAction")),
		"SCMP_ACT_ERRNO");
	assert_int_equal(json_array_size(json_object_get(seccomp, "syscalls")),
			 2);
	json_decref(config);
}

static void test_nothing_to_run(void **state)
{
	struct model_container c = container();
	struct image_defaults bare = {.user = NULL};
	struct err e = ERR_INIT;
	json_t *config = NULL;

	(void)state;
	assert_int_equal(oci_config_make(&c, &bare, &place, &config, &e),
			 -EINVAL);
	assert_non_null(strstr(e.msg, "nothing to run"));
	assert_null(config);
}

static void test_rest(void **state)
{
	static const char *const mine[] = {"B=mine", "PATH=/bin", NULL};
	struct model_container c = container();
	json_t *config, *process, *resources;

	(void)state;
	c.environment = mine;
	c.limits.memory = 1 << 20;
	c.limits.cpus_milli = 1500;
	config = make(&c, &image);
	process = json_object_get(config, "process");
	assert_string_equal(joined(json_object_get(process, "env")),
			    "A=image;B=mine;PATH=/bin;");
	assert_string_equal(json_string_value(json_object_get(process, "cwd")),
			    "/srv");
	assert_string_equal(
		json_string_value(json_object_get(config, "hostname")), "vm");
	resources =
		json_object_get(json_object_get(config, "linux"), "resources");
	assert_int_equal(json_integer_value(json_object_get(
				 json_object_get(resources, "cpu"), "quota")),
			 150000);
	assert_int_equal(json_integer_value(json_object_get(
				 json_object_get(resources, "pids"), "limit")),
			 HYB_DEFAULT_PIDS_LIMIT);
	json_decref(config);
	assert_int_equal(oci_config_stop_signal(&c, &image), SIGQUIT);
	c.stop_signal = SIGUSR1;
	assert_int_equal(oci_config_stop_signal(&c, &image), SIGUSR1);
}

static void test_storage(void **state)
{
	static const struct model_mount mounts[] = {
		{.kind = MODEL_MOUNT_TMPFS,
		 .subpath = "",
		 .source = "",
		 .target = "/run",
		 .size = 8192,
		 .mode = 0700,
		 .read_only = true},
		{.kind = MODEL_MOUNT_VOLUME,
		 .subpath = "",
		 .source = "data",
		 .target = "/srv",
		 .read_only = true},
		{.kind = MODEL_MOUNT_VOLUME,
		 .source = "data",
		 .subpath = "a/b",
		 .target = "/tmp/x"},
	};
	struct model_container c = container();
	json_t *config, *m;

	(void)state;
	config = make(&c, &image);
	assert_int_equal(json_array_size(json_object_get(config, "mounts")), 1);
	m = json_array_get(json_object_get(config, "mounts"), 0);
	assert_string_equal(
		json_string_value(json_object_get(m, "destination")),
		"/etc/hosts");
	assert_true(json_is_false(
		json_object_get(json_object_get(config, "root"), "readonly")));
	json_decref(config);
	c.read_only = true;
	c.shm_size = 4096;
	c.mounts = mounts;
	c.n_mounts = 3;
	config = make(&c, &image);
	assert_true(json_is_true(
		json_object_get(json_object_get(config, "root"), "readonly")));
	m = json_array_get(json_object_get(config, "mounts"), 0);
	assert_string_equal(
		json_string_value(json_object_get(m, "destination")),
		"/dev/shm");
	assert_string_equal(joined(json_object_get(m, "options")),
			    "nosuid;nodev;size=4096;mode=1777;noexec;");
	m = json_array_get(json_object_get(config, "mounts"), 1);
	assert_string_equal(json_string_value(json_object_get(m, "type")),
			    "tmpfs");
	assert_string_equal(
		json_string_value(json_object_get(m, "destination")), "/run");
	assert_string_equal(joined(json_object_get(m, "options")),
			    "nosuid;nodev;ro;size=8192;mode=0700;");
	m = json_array_get(json_object_get(config, "mounts"), 2);
	assert_string_equal(json_string_value(json_object_get(m, "source")),
			    "/run/hyb/volumes/vol-7/data");
	assert_string_equal(joined(json_object_get(m, "options")),
			    "bind;idmap;nosuid;nodev;ro;");
	m = json_array_get(json_object_get(config, "mounts"), 3);
	assert_string_equal(joined(json_object_get(m, "options")),
			    "bind;idmap;nosuid;nodev;X-mount.subdir=a/b;");
	json_decref(config);
}

static void test_anonymous(void **state)
{
	static const struct model_mount mounts[] = {
		{.kind = MODEL_MOUNT_TMPFS, .target = "/1", .subpath = ""},
		{.kind = MODEL_MOUNT_ANONYMOUS, .target = "/2", .subpath = ""},
	};
	static const char folders[2][AGENT_PLACE_MAX] = {"", "/run/x/data"};
	struct model_container c = container();
	struct oci_place with = place;
	struct err e = ERR_INIT;
	json_t *config = NULL, *m;

	(void)state;
	c.mounts = mounts;
	c.n_mounts = 2;
	with.folders = folders;
	assert_int_equal(oci_config_make(&c, &image, &with, &config, &e), 0);
	m = json_array_get(json_object_get(config, "mounts"), 1);
	assert_string_equal(json_string_value(json_object_get(m, "source")),
			    "/run/x/data");
	assert_string_equal(joined(json_object_get(m, "options")),
			    "bind;idmap;nosuid;nodev;");
	json_decref(config);
}

/* Each by the number of the VM's folder; who has none gets none. */
static void test_binds(void **state)
{
	static const struct model_mount mounts[] = {
		{.kind = MODEL_MOUNT_BIND,
		 .subpath = "",
		 .source = "/b",
		 .target = "/1"},
		{.kind = MODEL_MOUNT_BIND,
		 .subpath = "",
		 .source = "/b",
		 .target = "/2",
		 .read_only = true},
		{.kind = MODEL_MOUNT_BIND,
		 .subpath = "",
		 .source = "/a",
		 .target = "/3"},
	};
	static const char *const want[] = {"bind2", "bind3", "bind1"};
	struct model_container c[2] = {container(), container()};
	struct model_vm vm = {.name = "vm", .containers = c, .n_containers = 2};
	struct model_bind binds[HYB_VM_BINDS_MAX];
	struct oci_place with = place;
	struct err e = ERR_INIT;
	json_t *config = NULL, *m;
	size_t i;

	(void)state;
	c[0].name = "z";
	c[1].name = "b";
	c[0].mounts = mounts;
	c[0].n_mounts = 3;
	c[1].mounts = mounts;
	c[1].n_mounts = 1;
	with.binds = binds;
	with.n_binds = model_vm_binds(&vm, binds);
	assert_int_equal(with.n_binds, 4);
	assert_int_equal(binds[0].ids, 1);
	assert_int_equal(binds[1].ids, 2);
	assert_int_equal(binds[3].ids, 2);
	assert_int_equal(oci_config_make(&c[0], &image, &with, &config, &e), 0);
	for (i = 0; i < 3; i++) {
		m = json_array_get(json_object_get(config, "mounts"), i);
		assert_string_equal(
			json_string_value(json_object_get(m, "type")),
			"virtiofs");
		assert_string_equal(
			json_string_value(json_object_get(m, "source")),
			want[i]);
		assert_string_equal(joined(json_object_get(m, "options")),
				    i == 1 ? "nosuid;nodev;"
					     "X-mount.subdir=shared;ro;"
					   : "nosuid;nodev;"
					     "X-mount.subdir=shared;");
	}
	json_decref(config);
}

/* "localhost" has an address, unless the manifest has its own say there. */
static void test_hosts(void **state)
{
	static const struct model_file own = {.source = "x",
					      .target = "/etc/hosts",
					      .config = true,
					      .content = ""};
	struct model_container c = container();
	char *text;

	(void)state;
	c.hostname = "web";
	text = oci_config_hosts(&c, "vm");
	assert_non_null(text);
	assert_non_null(strstr(text, "127.0.0.1\tlocalhost\n"));
	assert_non_null(strstr(text, "\tweb\n"));
	free(text);
	c.files = &own;
	c.n_files = 1;
	assert_null(oci_config_hosts(&c, "vm"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_args),
		cmocka_unit_test(test_nothing_to_run),
		cmocka_unit_test(test_seccomp),
		cmocka_unit_test(test_binds),
		cmocka_unit_test(test_anonymous),
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_rest),
		cmocka_unit_test(test_storage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
