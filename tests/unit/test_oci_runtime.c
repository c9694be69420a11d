/* SPDX-License-Identifier: Apache-2.0 */
/* config.json ↔ structs: what is read, what is refused and where, both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/cleanup.h"
#include "common/oci/runtime.h"

static int parse(const char *text, struct oci_runtime **ret, struct err *e)
{
	return oci_runtime_parse_text(text, strlen(text), ret, e);
}

#define HEAD "{\"ociVersion\":\"1.2.0\""

static const char full[] = HEAD
	",\"process\":{\"terminal\":true,"
	"\"consoleSize\":{\"height\":24,\"width\":80},"
	"\"user\":{\"uid\":1,\"gid\":2,\"umask\":63,\"additionalGids\":[5,6]},"
	"\"args\":[\"sh\",\"\"],\"env\":[\"A=b\"],\"cwd\":\"/\","
	"\"capabilities\":{\"bounding\":[\"CAP_KILL\"],\"ambient\":[]},"
	"\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":0,"
	"\"hard\":18446744073709551615}],"
	"\"noNewPrivileges\":true,\"oomScoreAdj\":-5,"
	"\"scheduler\":{\"policy\":\"SCHED_IDLE\",\"nice\":3},"
	"\"ioPriority\":{\"class\":\"IOPRIO_CLASS_BE\",\"priority\":0}},"
	"\"root\":{\"path\":\"r\",\"readonly\":true},"
	"\"hostname\":\"h\",\"domainname\":\"d\","
	"\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\","
	"\"source\":\"proc\",\"options\":[\"ro\"]}],"
	"\"hooks\":{\"poststop\":[{\"path\":\"/x\",\"args\":[\"x\"],"
	"\"timeout\":3}]},"
	"\"annotations\":{\"k\":\"v\",\"empty\":\"\"},"
	"\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\","
	"\"path\":\"/n\"}],"
	"\"uidMappings\":[{\"containerID\":0,\"hostID\":65536,"
	"\"size\":65536}],"
	"\"devices\":[{\"type\":\"c\",\"path\":\"/dev/x\",\"major\":10,"
	"\"minor\":200,\"fileMode\":432}],"
	"\"cgroupsPath\":\"/a\","
	"\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}],"
	"\"memory\":{\"limit\":1048576,\"swap\":-1},"
	"\"cpu\":{\"shares\":1024,\"quota\":-1,\"cpus\":\"0-1\"},"
	"\"pids\":{\"limit\":10},"
	"\"blockIO\":{\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,"
	"\"rate\":600}]},"
	"\"unified\":{\"memory.high\":\"1\"}},"
	"\"sysctl\":{\"net.core.somaxconn\":\"256\"},"
	"\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\","
	"\"defaultErrnoRet\":38,\"architectures\":[\"SCMP_ARCH_X86_64\"],"
	"\"syscalls\":[{\"names\":[\"read\"],\"action\":\"SCMP_ACT_ALLOW\","
	"\"args\":[{\"index\":0,\"value\":18446744073709551614,"
	"\"op\":\"SCMP_CMP_EQ\"}]}]},"
	"\"maskedPaths\":[\"/proc/kcore\"],\"readonlyPaths\":[]}}";

static void check_full(const struct oci_runtime *c)
{
	const struct oci_process *p = c->process;

	assert_true(p->terminal);
	assert_int_equal(p->console_size->width, 80);
	assert_int_equal(p->user.uid, 1);
	assert_int_equal(p->user.umask.value, 077);
	assert_int_equal(p->user.n_additional_gids, 2);
	assert_int_equal(p->user.additional_gids[1], 6);
	assert_string_equal(p->args[0], "sh");
	assert_string_equal(p->args[1], "");
	assert_null(p->args[2]);
	assert_non_null(p->capabilities->ambient);
	assert_null(p->capabilities->ambient[0]);
	assert_null(p->capabilities->effective);
	assert_true(p->rlimits[0].hard == UINT64_MAX);
	assert_int_equal(p->oom_score_adj.value, -5);
	assert_true(c->root->readonly);
	assert_int_equal(c->hooks->n_poststop, 1);
	assert_int_equal(c->n_annotations, 2);
	assert_int_equal(c->lx->n_namespaces, 2);
	assert_null(c->lx->namespaces[0].path);
	assert_string_equal(c->lx->namespaces[1].path, "/n");
	assert_int_equal(c->lx->uid_mappings[0].host_id, 65536);
	assert_int_equal(c->lx->devices[0].file_mode.value, 0660);
	assert_false(c->lx->resources->devices[0].major.set);
	assert_int_equal(c->lx->resources->memory->swap.value, -1);
	assert_false(c->lx->resources->memory->reservation.set);
	assert_int_equal(c->lx->resources->block_io->read_bps[0].rate, 600);
	assert_string_equal(c->lx->sysctl[0].key, "net.core.somaxconn");
	assert_true(c->lx->seccomp->syscalls[0].args[0].value ==
		    UINT64_MAX - 1);
	assert_string_equal(c->lx->masked_paths[0], "/proc/kcore");
	assert_non_null(c->lx->readonly_paths);
	assert_null(c->lx->gid_mappings);
}

static void reads_everything(void **state)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *c = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(parse(full, &c, &e), 0);
	check_full(c);
}

/* What is written reads as the same, by object and by text. */
static void goes_round(void **state)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *c = NULL;
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *again = NULL;
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *third = NULL;
	_cleanup_free_ char *text = NULL;
	struct err e = ERR_INIT;
	json_t *one, *two;

	(void)state;
	assert_int_equal(parse(full, &c, &e), 0);
	one = oci_runtime_format(c);
	assert_non_null(one);
	assert_int_equal(oci_runtime_parse(one, &again, &e), 0);
	check_full(again);
	two = oci_runtime_format(again);
	assert_true(json_equal(one, two));
	text = json_dumps(one, 0);
	assert_int_equal(parse(text, &third, &e), 0);
	check_full(third);
	json_decref(one);
	json_decref(two);
}

static void null_is_absent(void **state)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *c = NULL;
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(parse(HEAD ",\"process\":{\"cwd\":\"/\",\"args\":null,"
				    "\"capabilities\":null},\"mounts\":null,"
				    "\"linux\":null,\"unknown\":[{}]}",
			       &c, &e),
			 0);
	assert_null(c->process->args);
	assert_null(c->process->capabilities);
	assert_null(c->lx);
}

#define PROC(x) HEAD ",\"process\":{\"cwd\":\"/\"," x "}}"
#define LX(x)	HEAD ",\"linux\":{" x "}}"
#define RES(x)	LX("\"resources\":{" x "}")

static const struct {
	const char *text, *message;
} bad[] = {
	{"", "line"},
	{"[]", "config: must be an object"},
	{"{}", "ociVersion: is missing"},
	{"{\"ociVersion\":1}", "ociVersion: must be a string"},
	{"{\"ociVersion\":\"\"}", "ociVersion: must not be empty"},
	{HEAD ",\"ociVersion\":\"1\"}", "duplicate"},
	{HEAD ",\"hostname\":\"a\\u0000b\"}", "line"},
	{HEAD ",\"hostname\":\"\\u0001\"}", "hostname: must be printable"},
	{HEAD ",\"process\":[]}", "process: must be an object"},
	{HEAD ",\"process\":{}}", "process.cwd: is missing"},
	{PROC("\"args\":\"sh\""), "process.args: must be an array"},
	{PROC("\"args\":[\"a\",1]"), "process.args[1]: must be a string"},
	{PROC("\"terminal\":1"), "process.terminal: must be true or false"},
	{PROC("\"user\":{\"uid\":-1}"), "process.user.uid: must be from 0"},
	{PROC("\"user\":{\"uid\":2147483648}"),
	 "process.user.uid: must be from 0 to 2147483647"},
	{PROC("\"user\":{\"uid\":4294967296}"), "process.user.uid"},
	{PROC("\"user\":{\"uid\":\"0\"}"),
	 "process.user.uid: must be an integer"},
	{PROC("\"user\":{\"uid\":0.5}"),
	 "process.user.uid: must be an integer"},
	{PROC("\"user\":{\"gid\":99999999999999999999}"),
	 "process.user.gid: must be an integer"},
	{PROC("\"user\":{\"additionalGids\":[0,-1]}"),
	 "process.user.additionalGids[1]: must be from 0"},
	{PROC("\"user\":{\"umask\":512}"), "process.user.umask"},
	{PROC("\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":0}]"),
	 "process.rlimits[0].hard: is missing"},
	{PROC("\"rlimits\":[{\"type\":\"x\",\"soft\":-1,\"hard\":0}]"),
	 "process.rlimits[0].soft: must be a number"},
	{PROC("\"rlimits\":[{\"type\":\"x\",\"soft\":0,"
	      "\"hard\":18446744073709551616}]"),
	 "process.rlimits[0].hard: must be a number"},
	{PROC("\"oomScoreAdj\":1001"), "process.oomScoreAdj: must be from"},
	{PROC("\"consoleSize\":{\"height\":65536,\"width\":1}"),
	 "process.consoleSize.height"},
	{HEAD ",\"root\":{}}", "root.path: is missing"},
	{HEAD ",\"mounts\":[{}]}", "mounts[0].destination: is missing"},
	{HEAD ",\"mounts\":{}}", "mounts: must be an array"},
	{HEAD ",\"annotations\":{\"a\":1}}", "annotations.a: must be a string"},
	{HEAD ",\"annotations\":{\"a\\u001b[2J\":1}}",
	 "annotations.a\\x1b[2J: must be a string"},
	{LX("\"namespaces\":[{\"path\":\"x\"}]"),
	 "linux.namespaces[0].type: is missing"},
	{LX("\"uidMappings\":[{\"containerID\":0,\"hostID\":0,\"size\":0}]"),
	 "linux.uidMappings[0].size: must be from 1"},
	{LX("\"uidMappings\":[{\"hostID\":0,\"size\":1}]"),
	 "linux.uidMappings[0].containerID: is missing"},
	{LX("\"devices\":[{\"type\":\"c\",\"path\":\"x\",\"major\":4096}]"),
	 "linux.devices[0].major"},
	{RES("\"devices\":[{}]"),
	 "linux.resources.devices[0].allow: is missing"},
	{RES("\"memory\":{\"limit\":-2}"), "linux.resources.memory.limit"},
	{RES("\"memory\":{\"limit\":\"1g\"}"), "linux.resources.memory.limit"},
	{RES("\"pids\":{\"limit\":1e3}"), "linux.resources.pids.limit"},
	{LX("\"seccomp\":{}"), "linux.seccomp.defaultAction: is missing"},
	{LX("\"seccomp\":{\"defaultAction\":\"x\",\"syscalls\":[{\"names\":[],"
	    "\"action\":\"x\",\"args\":[{\"index\":6,\"value\":0,"
	    "\"op\":\"x\"}]}]}"),
	 "linux.seccomp.syscalls[0].args[0].index: must be from 0 to 5"},
	{LX("\"personality\":{}"), "linux.personality.domain: is missing"},
};

static void refuses_with_the_path(void **state)
{
	struct oci_runtime *c = NULL;
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		err_clear(&e);
		if (parse(bad[i].text, &c, &e) != -EINVAL ||
		    !strstr(e.msg, bad[i].message))
			fail_msg("case %zu: wanted '%s', got '%s'", i,
				 bad[i].message, e.msg);
		assert_null(c);
	}
}

static void refuses_what_is_large(void **state)
{
	_cleanup_free_ char *text = malloc(HYB_OCI_RUNTIME_MAX + 2);
	struct oci_runtime *c = NULL;
	struct err e = ERR_INIT;
	size_t n;

	(void)state;
	memset(text, ' ', HYB_OCI_RUNTIME_MAX + 1);
	assert_int_equal(
		oci_runtime_parse_text(text, HYB_OCI_RUNTIME_MAX + 1, &c, &e),
		-E2BIG);
	/* Many items: "[0,0,0...]" */
	n = (size_t)sprintf(text, PROC("\"user\":{\"additionalGids\":["));
	n = (size_t)(strstr(text, "[") - text) + 1;
	memset(text + n, '0', 1);
	for (n++; n < 400000; n += 2)
		memcpy(text + n, ",0", 2);
	n += (size_t)sprintf(text + n, "]}}}");
	assert_int_equal(oci_runtime_parse_text(text, n, &c, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "too many items"));
}

static void reads_a_process(void **state)
{
	struct oci_process *p = NULL;
	struct arena *a = NULL;
	struct err e = ERR_INIT;
	json_t *json = json_loads("{\"cwd\":\"/x\",\"args\":[\"a\"]}", 0, NULL);

	(void)state;
	assert_int_equal(oci_process_parse(json, &a, &p, &e), 0);
	assert_string_equal(p->cwd, "/x");
	arena_free(a);
	json_decref(json);
	json = json_loads("{\"cwd\":7}", 0, NULL);
	assert_int_equal(oci_process_parse(json, &a, &p, &e), -EINVAL);
	assert_non_null(strstr(e.msg, "process.cwd: must be a string"));
	json_decref(json);
}

/* What hybd does: an empty one filled in by hand. */
static void writes_what_is_required(void **state)
{
	struct oci_runtime *c = oci_runtime_new();
	struct oci_process *p = arena_alloc(c->arena, 1, sizeof(*p));
	json_t *json;

	(void)state;
	p->cwd = "/";
	c->process = p;
	json = oci_runtime_format(c);
	assert_string_equal(
		json_string_value(json_object_get(json, "ociVersion")),
		HYB_OCI_RUNTIME_VERSION);
	assert_true(json_is_integer(json_object_get(
		json_object_get(json_object_get(json, "process"), "user"),
		"uid")));
	assert_null(json_object_get(json, "linux"));
	json_decref(json);
	oci_runtime_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_everything),
		cmocka_unit_test(goes_round),
		cmocka_unit_test(null_is_absent),
		cmocka_unit_test(refuses_with_the_path),
		cmocka_unit_test(refuses_what_is_large),
		cmocka_unit_test(reads_a_process),
		cmocka_unit_test(writes_what_is_required),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
