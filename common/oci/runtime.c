/* SPDX-License-Identifier: Apache-2.0 */
#include "common/oci/runtime.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/json.h"
#include "common/base/parse.h"
#include "common/oci/schema.h"

/* Memory that one configuration may take once read. */
#define ARENA_MAX (16u << 20)
/* uid_t and gid_t without the values that mean "none". */
#define ID_MAX	0x7fffffff
#define MAP_MAX 0xfffffffe
#define I64_MIN INT64_MIN
#define I64_MAX INT64_MAX

#define FIELD(s, m, name_, kind_, flags_, min_, max_, sub_)                \
	{                                                                  \
		.name = name_, .kind = kind_, .flags = flags_,             \
		.offset = offsetof(struct s, m), .min = min_, .max = max_, \
		.sub = sub_                                                \
	}
#define MANY(s, m, name_, kind_, max_, sub_)                                   \
	{                                                                      \
		.name = name_, .kind = kind_, .offset = offsetof(struct s, m), \
		.count_offset = offsetof(struct s, n_##m), .max = max_,        \
		.sub = sub_                                                    \
	}
#define BOOL(s, m, name) FIELD(s, m, name, SCHEMA_BOOL, 0, 0, 1, NULL)
#define STR(s, m, name)	 FIELD(s, m, name, SCHEMA_STR, 0, 0, 0, NULL)
#define STR_MUST(s, m, name) \
	FIELD(s, m, name, SCHEMA_STR, SCHEMA_REQUIRED, 0, 0, NULL)
#define STRV(s, m, name) FIELD(s, m, name, SCHEMA_STRV, 0, 0, 0, NULL)
#define OPT(s, m, name, min, max) \
	FIELD(s, m, name, SCHEMA_OPT, 0, min, max, NULL)
#define NUM(s, m, name, kind, flags, min, max) \
	FIELD(s, m, name, kind, flags, min, max, NULL)
#define U64(s, m, name, flags) FIELD(s, m, name, SCHEMA_U64, flags, 0, 0, NULL)
#define OBJ(s, m, name, sub)   FIELD(s, m, name, SCHEMA_OBJECT, 0, 0, 0, sub)
#define LIST(s, m, name, sub)  MANY(s, m, name, SCHEMA_LIST, 0, sub)
#define MAP(s, m, name, sub)   MANY(s, m, name, SCHEMA_MAP, 0, sub)
#define KV(s, m, name)	       MANY(s, m, name, SCHEMA_KV, 0, NULL)
/* Is it there? flags: SCHEMA_EMPTY. */
#define THERE(s, m, name, flags) \
	FIELD(s, m, name, SCHEMA_PRESENT, flags, 0, 0, NULL)

#define SCHEMA(name_, struct_, ...)                                        \
	static const struct schema_field name_##_fields[] = {__VA_ARGS__}; \
	static const struct schema name_ = {                               \
		.size = sizeof(struct struct_),                            \
		.fields = name_##_fields,                                  \
		.n_fields = ARRAY_SIZE(name_##_fields),                    \
	}

/* ---------------------------------------------------------------- process */

SCHEMA(user_schema, oci_user,
       NUM(oci_user, uid, "uid", SCHEMA_U32, SCHEMA_ALWAYS, 0, ID_MAX),
       NUM(oci_user, gid, "gid", SCHEMA_U32, SCHEMA_ALWAYS, 0, ID_MAX),
       OPT(oci_user, umask, "umask", 0, 0777),
       MANY(oci_user, additional_gids, "additionalGids", SCHEMA_NUMS, ID_MAX,
	    NULL),
       STR(oci_user, username, "username"));

SCHEMA(console_schema, oci_console_size,
       NUM(oci_console_size, height, "height", SCHEMA_U16, SCHEMA_REQUIRED, 0,
	   UINT16_MAX),
       NUM(oci_console_size, width, "width", SCHEMA_U16, SCHEMA_REQUIRED, 0,
	   UINT16_MAX));

SCHEMA(rlimit_schema, oci_rlimit, STR_MUST(oci_rlimit, type, "type"),
       U64(oci_rlimit, soft, "soft", SCHEMA_REQUIRED | SCHEMA_INFINITE),
       U64(oci_rlimit, hard, "hard", SCHEMA_REQUIRED | SCHEMA_INFINITE));

SCHEMA(capabilities_schema, oci_capabilities,
       STRV(oci_capabilities, bounding, "bounding"),
       STRV(oci_capabilities, effective, "effective"),
       STRV(oci_capabilities, inheritable, "inheritable"),
       STRV(oci_capabilities, permitted, "permitted"),
       STRV(oci_capabilities, ambient, "ambient"));

SCHEMA(scheduler_schema, oci_scheduler,
       STR_MUST(oci_scheduler, policy, "policy"),
       NUM(oci_scheduler, nice, "nice", SCHEMA_I32, 0, -20, 19),
       NUM(oci_scheduler, priority, "priority", SCHEMA_I32, 0, 0, 99),
       STRV(oci_scheduler, flags, "flags"),
       U64(oci_scheduler, runtime, "runtime", 0),
       U64(oci_scheduler, deadline, "deadline", 0),
       U64(oci_scheduler, period, "period", 0));

SCHEMA(io_priority_schema, oci_io_priority,
       STR_MUST(oci_io_priority, io_class, "class"),
       NUM(oci_io_priority, priority, "priority", SCHEMA_I32, SCHEMA_ALWAYS, 0,
	   7));

SCHEMA(cpu_affinity_schema, oci_cpu_affinity,
       STR(oci_cpu_affinity, initial, "initial"),
       STR(oci_cpu_affinity, final, "final"));

SCHEMA(process_schema, oci_process, BOOL(oci_process, terminal, "terminal"),
       OBJ(oci_process, console_size, "consoleSize", &console_schema),
       FIELD(oci_process, user, "user", SCHEMA_INLINE, 0, 0, 0, &user_schema),
       STRV(oci_process, args, "args"), STRV(oci_process, env, "env"),
       STR_MUST(oci_process, cwd, "cwd"),
       OBJ(oci_process, capabilities, "capabilities", &capabilities_schema),
       LIST(oci_process, rlimits, "rlimits", &rlimit_schema),
       BOOL(oci_process, no_new_privileges, "noNewPrivileges"),
       OPT(oci_process, oom_score_adj, "oomScoreAdj", -1000, 1000),
       STR(oci_process, apparmor_profile, "apparmorProfile"),
       STR(oci_process, selinux_label, "selinuxLabel"),
       OBJ(oci_process, scheduler, "scheduler", &scheduler_schema),
       OBJ(oci_process, io_priority, "ioPriority", &io_priority_schema),
       OBJ(oci_process, exec_cpu_affinity, "execCPUAffinity",
	   &cpu_affinity_schema));

/* ----------------------------------------------------- root, mounts, hooks */

SCHEMA(root_schema, oci_root, STR_MUST(oci_root, path, "path"),
       BOOL(oci_root, readonly, "readonly"));

SCHEMA(id_mapping_schema, oci_id_mapping,
       NUM(oci_id_mapping, container_id, "containerID", SCHEMA_U32,
	   SCHEMA_REQUIRED, 0, MAP_MAX),
       NUM(oci_id_mapping, host_id, "hostID", SCHEMA_U32, SCHEMA_REQUIRED, 0,
	   MAP_MAX),
       NUM(oci_id_mapping, size, "size", SCHEMA_U32, SCHEMA_REQUIRED, 1,
	   UINT32_MAX));

SCHEMA(mount_schema, oci_mount, STR_MUST(oci_mount, destination, "destination"),
       STR(oci_mount, type, "type"), STR(oci_mount, source, "source"),
       STRV(oci_mount, options, "options"),
       LIST(oci_mount, uid_mappings, "uidMappings", &id_mapping_schema),
       LIST(oci_mount, gid_mappings, "gidMappings", &id_mapping_schema));

SCHEMA(hook_schema, oci_hook, STR_MUST(oci_hook, path, "path"),
       STRV(oci_hook, args, "args"), STRV(oci_hook, env, "env"),
       OPT(oci_hook, timeout, "timeout", 1, 86400));

SCHEMA(hooks_schema, oci_hooks,
       LIST(oci_hooks, prestart, "prestart", &hook_schema),
       LIST(oci_hooks, create_runtime, "createRuntime", &hook_schema),
       LIST(oci_hooks, create_container, "createContainer", &hook_schema),
       LIST(oci_hooks, start_container, "startContainer", &hook_schema),
       LIST(oci_hooks, poststart, "poststart", &hook_schema),
       LIST(oci_hooks, poststop, "poststop", &hook_schema));

/* ------------------------------------------------------------------- linux */

SCHEMA(namespace_schema, oci_namespace, STR_MUST(oci_namespace, type, "type"),
       STR(oci_namespace, path, "path"));

SCHEMA(device_schema, oci_device, STR_MUST(oci_device, type, "type"),
       STR_MUST(oci_device, path, "path"),
       OPT(oci_device, major, "major", 0, 4095),
       OPT(oci_device, minor, "minor", 0, 1048575),
       OPT(oci_device, file_mode, "fileMode", 0, 0177777),
       OPT(oci_device, uid, "uid", 0, ID_MAX),
       OPT(oci_device, gid, "gid", 0, ID_MAX));

SCHEMA(device_rule_schema, oci_device_rule,
       FIELD(oci_device_rule, allow, "allow", SCHEMA_BOOL, SCHEMA_REQUIRED, 0,
	     1, NULL),
       STR(oci_device_rule, type, "type"),
       OPT(oci_device_rule, major, "major", -1, 4095),
       OPT(oci_device_rule, minor, "minor", -1, 1048575),
       STR(oci_device_rule, access, "access"));

SCHEMA(memory_schema, oci_memory, OPT(oci_memory, limit, "limit", -1, I64_MAX),
       OPT(oci_memory, reservation, "reservation", -1, I64_MAX),
       OPT(oci_memory, swap, "swap", -1, I64_MAX),
       OPT(oci_memory, kernel, "kernel", -1, I64_MAX),
       OPT(oci_memory, kernel_tcp, "kernelTCP", -1, I64_MAX),
       OPT(oci_memory, swappiness, "swappiness", 0, 100),
       BOOL(oci_memory, disable_oom_killer, "disableOOMKiller"),
       BOOL(oci_memory, use_hierarchy, "useHierarchy"),
       BOOL(oci_memory, check_before_update, "checkBeforeUpdate"));

SCHEMA(cpu_schema, oci_cpu, OPT(oci_cpu, shares, "shares", 0, I64_MAX),
       OPT(oci_cpu, quota, "quota", -1, I64_MAX),
       OPT(oci_cpu, burst, "burst", 0, I64_MAX),
       OPT(oci_cpu, period, "period", 1000, 1000000),
       OPT(oci_cpu, realtime_runtime, "realtimeRuntime", I64_MIN, I64_MAX),
       OPT(oci_cpu, realtime_period, "realtimePeriod", 0, I64_MAX),
       OPT(oci_cpu, idle, "idle", 0, 1), STR(oci_cpu, cpus, "cpus"),
       STR(oci_cpu, mems, "mems"));

SCHEMA(pids_schema, oci_pids, OPT(oci_pids, limit, "limit", -1, I64_MAX));

SCHEMA(weight_device_schema, oci_weight_device,
       NUM(oci_weight_device, major, "major", SCHEMA_I64, SCHEMA_REQUIRED, 0,
	   4095),
       NUM(oci_weight_device, minor, "minor", SCHEMA_I64, SCHEMA_REQUIRED, 0,
	   1048575),
       OPT(oci_weight_device, weight, "weight", 0, 1000),
       OPT(oci_weight_device, leaf_weight, "leafWeight", 0, 1000));

SCHEMA(throttle_device_schema, oci_throttle_device,
       NUM(oci_throttle_device, major, "major", SCHEMA_I64, SCHEMA_REQUIRED, 0,
	   4095),
       NUM(oci_throttle_device, minor, "minor", SCHEMA_I64, SCHEMA_REQUIRED, 0,
	   1048575),
       U64(oci_throttle_device, rate, "rate", SCHEMA_REQUIRED));

SCHEMA(block_io_schema, oci_block_io,
       OPT(oci_block_io, weight, "weight", 0, 1000),
       OPT(oci_block_io, leaf_weight, "leafWeight", 0, 1000),
       LIST(oci_block_io, weight_device, "weightDevice", &weight_device_schema),
       LIST(oci_block_io, read_bps, "throttleReadBpsDevice",
	    &throttle_device_schema),
       LIST(oci_block_io, write_bps, "throttleWriteBpsDevice",
	    &throttle_device_schema),
       LIST(oci_block_io, read_iops, "throttleReadIOPSDevice",
	    &throttle_device_schema),
       LIST(oci_block_io, write_iops, "throttleWriteIOPSDevice",
	    &throttle_device_schema));

SCHEMA(hugepage_schema, oci_hugepage_limit,
       STR_MUST(oci_hugepage_limit, page_size, "pageSize"),
       U64(oci_hugepage_limit, limit, "limit", SCHEMA_REQUIRED));

SCHEMA(net_priority_schema, oci_net_priority,
       STR_MUST(oci_net_priority, name, "name"),
       NUM(oci_net_priority, priority, "priority", SCHEMA_U32, SCHEMA_REQUIRED,
	   0, UINT32_MAX));

SCHEMA(network_schema, oci_network,
       OPT(oci_network, class_id, "classID", 0, UINT32_MAX),
       LIST(oci_network, priorities, "priorities", &net_priority_schema));

SCHEMA(rdma_schema, oci_rdma_limit,
       OPT(oci_rdma_limit, handles, "hcaHandles", 0, UINT32_MAX),
       OPT(oci_rdma_limit, objects, "hcaObjects", 0, UINT32_MAX));

SCHEMA(resources_schema, oci_resources,
       LIST(oci_resources, devices, "devices", &device_rule_schema),
       OBJ(oci_resources, memory, "memory", &memory_schema),
       OBJ(oci_resources, cpu, "cpu", &cpu_schema),
       OBJ(oci_resources, pids, "pids", &pids_schema),
       OBJ(oci_resources, block_io, "blockIO", &block_io_schema),
       LIST(oci_resources, hugepage_limits, "hugepageLimits", &hugepage_schema),
       OBJ(oci_resources, network, "network", &network_schema),
       MAP(oci_resources, rdma, "rdma", &rdma_schema),
       KV(oci_resources, unified, "unified"));

SCHEMA(seccomp_arg_schema, oci_seccomp_arg,
       NUM(oci_seccomp_arg, index, "index", SCHEMA_U32, SCHEMA_REQUIRED, 0, 5),
       U64(oci_seccomp_arg, value, "value", SCHEMA_REQUIRED),
       U64(oci_seccomp_arg, value_two, "valueTwo", 0),
       STR_MUST(oci_seccomp_arg, op, "op"));

SCHEMA(seccomp_rule_schema, oci_seccomp_rule,
       FIELD(oci_seccomp_rule, names, "names", SCHEMA_STRV, SCHEMA_REQUIRED, 0,
	     0, NULL),
       STR_MUST(oci_seccomp_rule, action, "action"),
       OPT(oci_seccomp_rule, errno_ret, "errnoRet", 0, 4095),
       LIST(oci_seccomp_rule, args, "args", &seccomp_arg_schema));

SCHEMA(seccomp_schema, oci_seccomp,
       STR_MUST(oci_seccomp, default_action, "defaultAction"),
       OPT(oci_seccomp, default_errno_ret, "defaultErrnoRet", 0, 4095),
       STRV(oci_seccomp, architectures, "architectures"),
       STRV(oci_seccomp, flags, "flags"),
       STR(oci_seccomp, listener_path, "listenerPath"),
       STR(oci_seccomp, listener_metadata, "listenerMetadata"),
       LIST(oci_seccomp, syscalls, "syscalls", &seccomp_rule_schema));

SCHEMA(personality_schema, oci_personality,
       STR_MUST(oci_personality, domain, "domain"),
       STRV(oci_personality, flags, "flags"));

SCHEMA(time_offset_schema, oci_time_offset,
       NUM(oci_time_offset, secs, "secs", SCHEMA_I64, 0, I64_MIN, I64_MAX),
       NUM(oci_time_offset, nanosecs, "nanosecs", SCHEMA_U32, 0, 0, 999999999));

SCHEMA(time_offsets_schema, oci_time_offsets,
       OBJ(oci_time_offsets, monotonic, "monotonic", &time_offset_schema),
       OBJ(oci_time_offsets, boottime, "boottime", &time_offset_schema));

SCHEMA(linux_schema, oci_linux,
       LIST(oci_linux, namespaces, "namespaces", &namespace_schema),
       LIST(oci_linux, uid_mappings, "uidMappings", &id_mapping_schema),
       LIST(oci_linux, gid_mappings, "gidMappings", &id_mapping_schema),
       OBJ(oci_linux, time_offsets, "timeOffsets", &time_offsets_schema),
       LIST(oci_linux, devices, "devices", &device_schema),
       STR(oci_linux, cgroups_path, "cgroupsPath"),
       STR(oci_linux, rootfs_propagation, "rootfsPropagation"),
       STR(oci_linux, mount_label, "mountLabel"),
       OBJ(oci_linux, resources, "resources", &resources_schema),
       KV(oci_linux, sysctl, "sysctl"),
       OBJ(oci_linux, seccomp, "seccomp", &seccomp_schema),
       STRV(oci_linux, masked_paths, "maskedPaths"),
       STRV(oci_linux, readonly_paths, "readonlyPaths"),
       OBJ(oci_linux, personality, "personality", &personality_schema),
       THERE(oci_linux, intel_rdt, "intelRdt", SCHEMA_EMPTY),
       THERE(oci_linux, memory_policy, "memoryPolicy", SCHEMA_EMPTY),
       THERE(oci_linux, net_devices, "netDevices", 0));

SCHEMA(runtime_schema, oci_runtime,
       STR_MUST(oci_runtime, oci_version, "ociVersion"),
       OBJ(oci_runtime, process, "process", &process_schema),
       OBJ(oci_runtime, root, "root", &root_schema),
       STR(oci_runtime, hostname, "hostname"),
       STR(oci_runtime, domainname, "domainname"),
       LIST(oci_runtime, mounts, "mounts", &mount_schema),
       OBJ(oci_runtime, hooks, "hooks", &hooks_schema),
       KV(oci_runtime, annotations, "annotations"),
       OBJ(oci_runtime, lx, "linux", &linux_schema),
       THERE(oci_runtime, windows, "windows", SCHEMA_EMPTY),
       THERE(oci_runtime, solaris, "solaris", SCHEMA_EMPTY),
       THERE(oci_runtime, freebsd, "freebsd", SCHEMA_EMPTY),
       THERE(oci_runtime, zos, "zos", SCHEMA_EMPTY),
       THERE(oci_runtime, vm, "vm", SCHEMA_EMPTY));

/* --------------------------------------------------------------- the doors */

struct oci_runtime *oci_runtime_new(void)
{
	struct arena *a = arena_new(ARENA_MAX);
	struct oci_runtime *c;

	if (!a)
		return NULL;
	c = arena_alloc(a, 1, sizeof(*c));
	if (!c) {
		arena_free(a);
		return NULL;
	}
	c->arena = a;
	return c;
}

void oci_runtime_free(struct oci_runtime *c)
{
	if (c)
		arena_free(c->arena);
}

int oci_runtime_parse(const json_t *root, struct oci_runtime **ret,
		      struct err *e)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *c = NULL;
	int r;

	c = oci_runtime_new();
	if (!c)
		return err_sys(e, ENOMEM, "read the configuration");
	r = schema_read(&runtime_schema, root, "", c->arena, c, e);
	if (r < 0)
		return r;
	*ret = steal_ptr(c);
	return 0;
}

static int load_text(const char *text, size_t len, json_t **ret, struct err *e)
{
	if (len > HYB_OCI_RUNTIME_MAX)
		return err_set(e, E2BIG, "larger than %u bytes",
			       HYB_OCI_RUNTIME_MAX);
	return schema_load(text, len, ret, e);
}

int oci_runtime_parse_text(const char *text, size_t len,
			   struct oci_runtime **ret, struct err *e)
{
	_cleanup_json_ json_t *json = NULL;
	int r = load_text(text, len, &json, e);

	return r < 0 ? r : oci_runtime_parse(json, ret, e);
}

/* One struct by itself, with an arena for what it points to. */
static int parse_part(const struct schema *s, const char *path,
		      const json_t *root, struct arena **ret_arena, void **ret,
		      struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new(ARENA_MAX);
	void *out = a ? arena_alloc(a, 1, s->size) : NULL;
	int r;

	if (!out)
		return err_sys(e, ENOMEM, "read the %s", path);
	r = schema_read(s, root, path, a, out, e);
	if (r < 0)
		return r;
	*ret = out;
	*ret_arena = steal_ptr(a);
	return 0;
}

int oci_process_parse(const json_t *root, struct arena **ret_arena,
		      struct oci_process **ret, struct err *e)
{
	void *out = NULL;
	int r = parse_part(&process_schema, "process", root, ret_arena, &out,
			   e);

	if (r == 0)
		*ret = out;
	return r;
}

int oci_process_parse_text(const char *text, size_t len,
			   struct arena **ret_arena, struct oci_process **ret,
			   struct err *e)
{
	_cleanup_json_ json_t *json = NULL;
	int r = load_text(text, len, &json, e);

	return r < 0 ? r : oci_process_parse(json, ret_arena, ret, e);
}

int oci_resources_parse(const json_t *root, struct arena **ret_arena,
			struct oci_resources **ret, struct err *e)
{
	void *out = NULL;
	int r = parse_part(&resources_schema, "resources", root, ret_arena,
			   &out, e);

	if (r == 0)
		*ret = out;
	return r;
}

int oci_resources_parse_text(const char *text, size_t len,
			     struct arena **ret_arena,
			     struct oci_resources **ret, struct err *e)
{
	_cleanup_json_ json_t *json = NULL;
	int r = load_text(text, len, &json, e);

	return r < 0 ? r : oci_resources_parse(json, ret_arena, ret, e);
}

/* Digits without a leading zero; what is behind them, or NULL. */
static const char *version_number(const char *s, unsigned int *ret)
{
	char digits[10];
	uint64_t n;
	size_t len = strspn(s, "0123456789");

	if (len == 0 || len >= sizeof(digits) || (len > 1 && s[0] == '0'))
		return NULL;
	memcpy(digits, s, len);
	digits[len] = '\0';
	if (parse_u64(digits, 0, UINT32_MAX, &n) < 0)
		return NULL;
	*ret = (unsigned int)n;
	return s + len;
}

/* Identifiers with dots between them, as behind "-" and "+"; what is behind
 * them, or NULL. numbers: those of digits have no leading zero. */
static const char *version_words(const char *s, bool numbers)
{
	static const char word[] = "0123456789-"
				   "abcdefghijklmnopqrstuvwxyz"
				   "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	size_t len, digits;

	for (;;) {
		len = strspn(s, word);
		digits = strspn(s, "0123456789");
		if (len == 0 ||
		    (numbers && len > 1 && digits == len && s[0] == '0'))
			return NULL;
		s += len;
		if (*s != '.')
			return s;
		s++;
	}
}

int oci_version_parse(const char *text, unsigned int *ret_major,
		      unsigned int *ret_minor)
{
	unsigned int major, minor, patch;
	const char *s = version_number(text, &major);

	s = s && *s == '.' ? version_number(s + 1, &minor) : NULL;
	s = s && *s == '.' ? version_number(s + 1, &patch) : NULL;
	if (s && *s == '-')
		s = version_words(s + 1, true);
	if (s && *s == '+')
		s = version_words(s + 1, false);
	if (!s || *s)
		return -EINVAL;
	*ret_major = major;
	*ret_minor = minor;
	return 0;
}

json_t *oci_runtime_format(const struct oci_runtime *c)
{
	struct oci_runtime copy = *c;

	if (!copy.oci_version)
		copy.oci_version = HYB_OCI_RUNTIME_VERSION;
	return schema_write(&runtime_schema, &copy);
}
