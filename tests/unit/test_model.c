/* SPDX-License-Identifier: Apache-2.0 */
/* The model as it comes back from the state store: whatever stands there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "host-agent/model/check.h"
#include "host-agent/model/tenant.h"

static const char good[] =
	"{\"name\":\"s\",\"tenant\":\"\",\"vms\":[{\"name\":\"v\",\"vcpus\":2,"
	"\"memory\":0,\"restart\":\"always\",\"containers\":[{\"name\":\"c\","
	"\"image\":\"i\",\"digest\":\"sha256:"
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","
	"\"entrypoint\":null,\"command\":[\"a\"],"
	"\"environment\":{\"A\":\"1\",\"B\":\"\"},\"user\":\"\","
	"\"working_dir\":\"\",\"hostname\":\"\",\"ports\":[{\"host_ip\":"
	"\"127.0.0.1\",\"published\":80,\"target\":80}],\"restart\":\"no\","
	"\"depends_on\":[{\"vm\":\"v\",\"container\":\"c\",\"condition\":"
	"\"started\"}],\"limits\":{\"cpus_milli\":500,\"memory\":0,\"pids\":0},"
	"\"healthcheck\":{\"how\":\"exec\",\"args\":[\"a\"],\"port\":0,"
	"\"path\":\"/\",\"interval_ns\":100000000,\"timeout_ns\":100000000,"
	"\"start_period_ns\":0,\"retries\":3,\"on_failure\":\"restart\"},"
	"\"readiness\":{\"how\":\"http\",\"args\":[],\"port\":80,"
	"\"path\":\"/\",\"interval_ns\":100000000,\"timeout_ns\":100000000,"
	"\"start_period_ns\":0,\"retries\":3,\"on_failure\":\"none\"},"
	"\"init\":false,\"stop_signal\":\"SIGTERM\",\"stop_grace_ns\":0,"
	"\"read_only\":true,\"shm_size\":8192,\"mounts\":["
	"{\"type\":\"volume\",\"source\":\"d\",\"target\":\"/a\","
	"\"read_only\":false,\"no_copy\":false},{\"type\":\"tmpfs\","
	"\"target\":\"/b\",\"read_only\":false,\"size\":4096,"
	"\"mode\":1023}],\"files\":[{\"config\":true,"
	"\"external\":false,\"source\":\"f\",\"target\":\"/f\","
	"\"mode\":292,\"uid\":0,\"gid\":1,\"content\":\"00ff\"}]}]},"
	"{\"name\":\"os\",\"vcpus\":1,\"memory\":0,\"restart\":\"no\","
	"\"boot_disk\":\"d\",\"containers\":[],\"ports\":[{\"host_ip\":"
	"\"::1\",\"published\":81,\"target\":80}]}],\"volumes\":[{\"name\":\"d\","
	"\"size\":16777216,\"external\":false}]}";

/* What stands at this path of `good`, in JSON, in its place; NULL: nothing. */
struct bad {
	const char *path; /* keys and indexes, separated by "." */
	const char *value;
};

static const struct bad bad[] = {
	{"name", NULL},
	{"name", "1"},
	{"name", "\"\""},
	{"name", "\"A\""},
	{"name", "\"../x\""},
	{"name", "\"a\\u0000b\""},
	{"name", "null"},
	{"tenant", NULL},
	{"tenant", "\"/\""},
	{"vms", NULL},
	{"vms", "{}"},
	{"vms", "[]"},
	{"vms", "[1]"},
	{"vms", "[[]]"},
	{"vms.0.name", "\"V\""},
	{"vms.0.vcpus", "0"},
	{"vms.0.vcpus", "33"},
	{"vms.0.vcpus", "-1"},
	{"vms.0.vcpus", "1.5"},
	{"vms.0.vcpus", "\"1\""},
	{"vms.0.memory", "1"},
	{"vms.0.memory", "-1"},
	{"vms.0.memory", "9223372036854775807"},
	{"vms.0.restart", "\"unless-stopped\""},
	{"vms.0.restart", "\"\""},
	{"vms.0.restart", "false"},
	{"vms.0.containers", "[]"},
	{"vms.0.containers", "null"},
	{"vms.0.containers.0", "null"},
	{"vms.0.containers.0.name", "\"a b\""},
	{"vms.0.containers.0.image", "\"\""},
	{"vms.0.containers.0.image", "\"A\""},
	{"vms.0.containers.0.image", NULL},
	{"vms.0.containers.0.digest", "\"sha256:01\""},
	{"vms.0.containers.0.digest", "null"},
	{"vms.0.containers.0.entrypoint", "\"a\""},
	{"vms.0.containers.0.entrypoint", NULL},
	{"vms.0.containers.0.command", "{}"},
	{"vms.0.containers.0.command", "[1]"},
	{"vms.0.containers.0.command", "[\"a\\u0000\"]"},
	{"vms.0.containers.0.environment", "[]"},
	{"vms.0.containers.0.environment", "null"},
	{"vms.0.containers.0.environment", "{\"A\":1}"},
	{"vms.0.containers.0.environment", "{\"\":\"1\"}"},
	{"vms.0.containers.0.environment", "{\"A B\":\"1\"}"},
	{"vms.0.containers.0.user", "\"-1\""},
	{"vms.0.containers.0.user", "0"},
	{"vms.0.containers.0.working_dir", "\"a\""},
	{"vms.0.containers.0.working_dir", "\"/../a\""},
	{"vms.0.containers.0.hostname", "\"-\""},
	{"vms.0.containers.0.ports", "{}"},
	{"vms.0.containers.0.ports", "[1]"},
	{"vms.0.containers.0.ports.0.host_ip", "\"localhost\""},
	{"vms.0.containers.0.ports.0.host_ip", "\"0:0::1\""},
	{"vms.0.containers.0.ports.0.published", "0"},
	{"vms.0.containers.0.ports.0.published", "65536"},
	{"vms.0.containers.0.ports.0.target", "-1"},
	{"vms.0.containers.0.ports.0.target", NULL},
	{"vms.0.containers.0.restart", "\"on-failure:0\""},
	{"vms.0.containers.0.depends_on", "{}"},
	{"vms.0.containers.0.depends_on.0.vm", "\"w\""},
	{"vms.0.containers.0.depends_on.0.container", "\"d\""},
	{"vms.0.containers.0.depends_on.0.condition", "\"well\""},
	{"vms.0.containers.0.healthcheck", "1"},
	{"vms.0.containers.0.healthcheck", "[]"},
	{"vms.0.containers.0.healthcheck", "{}"},
	{"vms.0.containers.0.healthcheck.how", "\"icmp\""},
	{"vms.0.containers.0.healthcheck.args", "[]"},
	{"vms.0.containers.0.healthcheck.args", "[1]"},
	{"vms.0.containers.0.healthcheck.interval_ns", "1"},
	{"vms.0.containers.0.healthcheck.timeout_ns", "3600000000001"},
	{"vms.0.containers.0.healthcheck.start_period_ns", "-1"},
	{"vms.0.containers.0.healthcheck.retries", "0"},
	{"vms.0.containers.0.healthcheck.retries", NULL},
	{"vms.0.containers.0.healthcheck.on_failure", "\"kill\""},
	{"vms.0.containers.0.readiness.how", "\"none\""},
	{"vms.0.containers.0.readiness.port", "0"},
	{"vms.0.containers.0.readiness.port", "65536"},
	{"vms.0.containers.0.readiness.path", "\"a\""},
	{"vms.0.containers.0.limits", "null"},
	{"vms.0.containers.0.limits.cpus_milli", "1"},
	{"vms.0.containers.0.limits.cpus_milli", "2001"},
	{"vms.0.containers.0.limits.memory", "1"},
	{"vms.0.containers.0.limits.memory", "1099511627777"},
	{"vms.0.containers.0.limits.pids", "4194305"},
	{"vms.0.containers.0.init", "0"},
	{"vms.0.containers.0.init", NULL},
	{"vms.0.containers.0.stop_signal", "\"SIGX\""},
	{"vms.0.containers.0.stop_signal", "15"},
	{"vms.0.containers.0.stop_grace_ns", "-1"},
	{"vms.0.containers.0.stop_grace_ns", "86400000000001"},
	{"vms.0.containers.0.read_only", "1"},
	{"vms.0.containers.0.shm_size", "1"},
	{"vms.0.containers.0.shm_size", "\"1m\""},
	{"vms.0.containers.0.shm_size", "-4096"},
	/* It is read_only. */
	{"vms.0.containers.0.layer_size", "16777216"},
	{"vms.0.containers.0.layer_size", "\"1g\""},
	{"vms.0.containers.0.mounts", "{}"},
	{"vms.0.containers.0.mounts", "[1]"},
	{"vms.0.containers.0.mounts.0.type", "\"bind\""},
	{"vms.0.containers.0.mounts.0.type", NULL},
	{"vms.0.containers.0.mounts.0.source", "\"e\""},
	{"vms.0.containers.0.mounts.0.source", "\"../d\""},
	{"vms.0.containers.0.mounts.0.source", NULL},
	{"vms.0.containers.0.mounts.0.target", "\"/b\""},
	{"vms.0.containers.0.mounts.0.target", "\"/c\""},
	{"vms.0.containers.0.mounts.0.target", "\"/proc/1\""},
	{"vms.0.containers.0.mounts.0.target", "\"/../a\""},
	{"vms.0.containers.0.mounts.0.target", "1"},
	{"vms.0.containers.0.mounts.0.read_only", "0"},
	{"vms.0.containers.0.mounts.0.subpath", "\"../a\""},
	{"vms.0.containers.0.mounts.0.subpath", "\"/a\""},
	{"vms.0.containers.0.mounts.0.subpath", "1"},
	{"vms.0.containers.0.mounts.1.size", "1"},
	{"vms.0.containers.0.mounts.1.mode", "4096"},
	{"vms.0.containers.0.files", "{}"},
	{"vms.0.containers.0.files", "[1]"},
	{"vms.0.containers.0.files.0.config", "1"},
	{"vms.0.containers.0.files.0.config", "false"},
	{"vms.0.containers.0.files.0.source", "\"../f\""},
	{"vms.0.containers.0.files.0.source", NULL},
	{"vms.0.containers.0.files.0.target", "\"f\""},
	{"vms.0.containers.0.files.0.target", "\"/sys/f\""},
	{"vms.0.containers.0.files.0.mode", "512"},
	{"vms.0.containers.0.files.0.uid", "65536"},
	{"vms.0.containers.0.files.0.gid", "-1"},
	{"vms.0.containers.0.files.0.content", "\"0\""},
	{"vms.0.containers.0.files.0.content", "\"0G\""},
	{"vms.0.containers.0.files.0.content", NULL},
	{"vms.1.boot_disk", NULL},
	{"vms.1.boot_disk", "\"../d\""},
	{"vms.1.boot_uefi", "1"},
	{"vms.1.ports", "{}"},
	{"vms.1.ports", "[1]"},
	{"vms.1.ports.0.host_ip", "\"localhost\""},
	{"vms.1.ports.0.published", "0"},
	{"vms.1.ports.0.target", "65536"},
	/* It has containers. */
	{"vms.0.ports", "[{\"host_ip\":\"::1\",\"published\":1,\"target\":1}]"},
	{"volumes", "{}"},
	{"volumes", "[null]"},
	{"volumes", NULL},
	{"volumes.0.name", "\"D\""},
	{"volumes.0.size", "1"},
	{"volumes.0.size", "\"1g\""},
	{"volumes.0.external", "true"},
};

static json_t *parse(const char *text)
{
	json_t *j = json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

	if (!j)
		fail_msg("not JSON: %s", text);
	return j;
}

static void put(json_t *j, const char *path, const char *value)
{
	char part[64];
	size_t n;

	for (;; path += n + 1) {
		n = strcspn(path, ".");
		assert_true(n < sizeof(part));
		memcpy(part, path, n);
		part[n] = '\0';
		if (!path[n])
			break;
		j = json_is_array(j)
			    ? json_array_get(j, strtoul(part, NULL, 10))
			    : json_object_get(j, part);
		assert_non_null(j);
	}
	if (!value)
		json_object_del(j, part);
	else if (json_is_array(j))
		json_array_set_new(j, strtoul(part, NULL, 10), parse(value));
	else
		json_object_set_new(j, part, parse(value));
}

static void test_good(void **state)
{
	_cleanup_model_stack_ struct model_stack *s = NULL;
	json_t *j = parse(good), *again;
	struct err e = ERR_INIT;
	struct quota_use use;

	(void)state;
	if (model_stack_from_json(j, &s, &e) < 0)
		fail_msg("%s", e.msg);
	assert_string_equal(s->vms[0].containers[0].environment[0], "A=1");
	assert_string_equal(s->vms[0].containers[0].environment[1], "B=");
	assert_null(s->vms[0].containers[0].environment[2]);
	assert_false(s->vms[0].containers[0].has_entrypoint);
	assert_true(s->vms[0].containers[0].has_command);
	assert_int_equal(model_vm_port(&s->vms[0], 0)->published, 80);
	assert_null(model_vm_port(&s->vms[0], 1));
	assert_int_equal(model_vm_port(&s->vms[1], 0)->published, 81);
	assert_null(model_vm_port(&s->vms[1], 1));
	model_stack_use(s, &use);
	assert_int_equal(use.n[QUOTA_PORTS], 2);
	again = model_stack_to_json(s);
	assert_true(json_equal(j, again));
	json_decref(again);
	json_decref(j);
}

static void test_bad(void **state)
{
	struct model_stack *s = NULL;
	struct err e;
	json_t *j;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		err_clear(&e);
		j = parse(good);
		put(j, bad[i].path, bad[i].value);
		if (model_stack_from_json(j, &s, &e) != -EINVAL)
			fail_msg("%s = %s is taken", bad[i].path,
				 bad[i].value ? bad[i].value : "(none)");
		assert_null(s);
		assert_int_equal(e.code, EINVAL);
		assert_true(*e.msg);
		json_decref(j);
	}
	assert_int_equal(model_stack_from_json(NULL, &s, NULL), -EINVAL);
}

static void test_duplicates(void **state)
{
	json_t *j = parse(good), *list;
	struct model_stack *s = NULL;
	struct err e = ERR_INIT;

	(void)state;
	list = json_object_get(j, "vms");
	json_array_append(list, json_array_get(list, 0));
	assert_int_equal(model_stack_from_json(j, &s, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "declared twice"));
	json_decref(j);
}

static void test_memory(void **state)
{
	struct model_container c[2] = {{.name = "a"}, {.name = "b"}};
	struct model_vm vm = {.containers = c, .n_containers = 2};
	const uint64_t mib = 1 << 20;

	(void)state;
	assert_int_equal(model_vm_memory(&vm), (64 + 2 * 128) * mib);
	c[0].limits.memory = 10 * mib;
	assert_int_equal(model_vm_memory(&vm), (64 + 10 + 128) * mib);
	c[0].limits.memory = 10 * mib + 1;
	assert_int_equal(model_vm_memory(&vm), (64 + 12 + 128) * mib);
	vm.memory = 100 * mib;
	assert_int_equal(model_vm_memory(&vm), 100 * mib);
	vm.memory = 101 * mib;
	assert_int_equal(model_vm_memory(&vm), 102 * mib);
}

static void test_scratch(void **state)
{
	struct model_container c[2] = {{.name = "a", .read_only = true},
				       {.name = "b", .read_only = true}};
	struct model_vm vm = {.containers = c, .n_containers = 2};
	const uint64_t mib = 1 << 20, gib = 1 << 30;
	uint64_t sum, last = 0, sizes = 0;

	(void)state;
	assert_int_equal(model_layer_size(&c[0]), 0);
	assert_int_equal(model_vm_scratch(&vm), 0);
	c[0].read_only = false;
	assert_int_equal(model_layer_size(&c[0]), gib);
	assert_int_equal(model_vm_scratch(&vm), 1280 * mib);
	c[1].read_only = false;
	c[1].layer_size = 16 * mib;
	assert_int_equal(model_layer_size(&c[1]), 16 * mib);
	/* Never less than what is promised and a 32nd for inodes; few sizes. */
	c[0].read_only = true;
	for (sum = 16 * mib; sum < 64 * gib; sum += 16 * mib) {
		uint64_t size;

		c[1].layer_size = sum;
		size = model_vm_scratch(&vm);
		assert_true(size - size / 32 >= sum + 24 * mib);
		assert_true(size < 4 * sum);
		assert_true(size >= last);
		sizes += size != last;
		last = size;
	}
	assert_true(sizes < 64);
}

static void test_restart(void **state)
{
	static const char *const same[] = {"no",	   "on-failure",
					   "on-failure:7", "on-failure:1000000",
					   "always",	   "unless-stopped"};
	struct restart_policy p = {RESTART_ALWAYS, 0};
	char text[32];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(same); i++) {
		assert_int_equal(restart_policy_parse(same[i], &p), 0);
		assert_string_equal(
			restart_policy_format(&p, text, sizeof(text)), same[i]);
	}
	assert_int_equal(restart_policy_parse("", &p), -EINVAL);
	assert_int_equal(restart_policy_parse("on-failure:0", &p), -ERANGE);
	assert_int_equal(p.kind, RESTART_UNLESS_STOPPED);
}

static void test_overlap(void **state)
{
	(void)state;
	assert_true(check_ips_overlap("127.0.0.1", "127.0.0.1"));
	assert_true(check_ips_overlap("127.0.0.1", "0.0.0.0"));
	assert_true(check_ips_overlap("::", "::1"));
	assert_false(check_ips_overlap("127.0.0.1", "127.0.0.2"));
	assert_false(check_ips_overlap("0.0.0.0", "::"));
	assert_false(check_ips_overlap("::1", "::2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_duplicates),
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_scratch),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_overlap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
