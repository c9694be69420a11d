/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The OCI runtime configuration (config.json, runtime-spec 1.0.2 ... 1.2) as
 * structs, both ways.
 *
 * Reading checks types and ranges, and names the JSON path of what breaks a
 * rule; keys that this file does not know are ignored, as the specification
 * says. What a configuration asks for and the engine cannot do is not refused
 * here but by the engine.
 *
 * Every string is a C string without NUL or is refused. All memory belongs to
 * the struct oci_runtime and goes with it.
 */
#ifndef HYB_COMMON_OCI_RUNTIME_H
#define HYB_COMMON_OCI_RUNTIME_H

#include "common/base/arena.h"
#include "common/base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Largest config.json that is read. */
#define HYB_OCI_RUNTIME_MAX (1024u * 1024u)
/* What oci_runtime_format() writes where oci_version is NULL, and the minor
 * version of it: the latest that is known whole. */
#define HYB_OCI_RUNTIME_VERSION "1.2.0"
#define HYB_OCI_RUNTIME_MINOR	2

/* A number that may be absent. */
struct oci_opt {
	bool set;
	int64_t value;
};

struct oci_kv {
	const char *key, *value;
};

struct oci_user {
	uint32_t uid, gid;
	struct oci_opt umask;
	uint32_t *additional_gids;
	size_t n_additional_gids;
	const char *username; /* Windows only; kept for the round trip */
};

struct oci_console_size {
	uint16_t height, width;
};

struct oci_rlimit {
	const char *type;    /* "RLIMIT_NOFILE" */
	uint64_t soft, hard; /* UINT64_MAX: no limit */
};

struct oci_capabilities {
	const char **bounding, **effective, **inheritable, **permitted,
		**ambient; /* "CAP_CHOWN", NULL-terminated, or NULL */
};

struct oci_scheduler {
	const char *policy;
	int32_t nice, priority;
	const char **flags;
	uint64_t runtime, deadline, period;
};

struct oci_io_priority {
	const char *io_class;
	int32_t priority;
};

/* Lists of CPUs ("0-3,7") for what exec runs; NULL: as it is. */
struct oci_cpu_affinity {
	const char *initial, *final;
};

struct oci_process {
	bool terminal;
	struct oci_console_size *console_size;
	struct oci_user user;
	const char **args; /* NULL-terminated, or NULL */
	const char **env;
	const char *cwd;
	struct oci_capabilities *capabilities;
	struct oci_rlimit *rlimits;
	size_t n_rlimits;
	bool no_new_privileges;
	struct oci_opt oom_score_adj;
	const char *apparmor_profile, *selinux_label;
	struct oci_scheduler *scheduler;
	struct oci_io_priority *io_priority;
	struct oci_cpu_affinity *exec_cpu_affinity;
};

struct oci_root {
	const char *path;
	bool readonly;
};

struct oci_id_mapping {
	uint32_t container_id, host_id, size;
};

struct oci_mount {
	const char *destination, *type, *source;
	const char **options;
	struct oci_id_mapping *uid_mappings, *gid_mappings;
	size_t n_uid_mappings, n_gid_mappings;
};

struct oci_hook {
	const char *path;
	const char **args, **env;
	struct oci_opt timeout;
};

struct oci_hooks {
	struct oci_hook *prestart, *create_runtime, *create_container,
		*start_container, *poststart, *poststop;
	size_t n_prestart, n_create_runtime, n_create_container,
		n_start_container, n_poststart, n_poststop;
};

struct oci_namespace {
	const char *type, *path; /* path NULL: a new one */
};

struct oci_device {
	const char *type, *path;
	struct oci_opt major, minor, file_mode, uid, gid;
};

struct oci_device_rule {
	bool allow;
	const char *type; /* NULL: "a" */
	struct oci_opt major, minor;
	const char *access;
};

struct oci_memory {
	/* bytes; -1: no limit */
	struct oci_opt limit, reservation, swap, kernel, kernel_tcp, swappiness;
	bool disable_oom_killer, use_hierarchy, check_before_update;
};

struct oci_cpu {
	struct oci_opt shares, quota, burst, period, realtime_runtime,
		realtime_period, idle;
	const char *cpus, *mems;
};

struct oci_pids {
	struct oci_opt limit;
};

struct oci_weight_device {
	int64_t major, minor;
	struct oci_opt weight, leaf_weight;
};

struct oci_throttle_device {
	int64_t major, minor;
	uint64_t rate;
};

struct oci_block_io {
	struct oci_opt weight, leaf_weight;
	struct oci_weight_device *weight_device;
	struct oci_throttle_device *read_bps, *write_bps, *read_iops,
		*write_iops;
	size_t n_weight_device, n_read_bps, n_write_bps, n_read_iops,
		n_write_iops;
};

struct oci_hugepage_limit {
	const char *page_size;
	uint64_t limit;
};

/* net_cls and net_prio, which only cgroup v1 has. */
struct oci_net_priority {
	const char *name;
	uint32_t priority;
};

struct oci_network {
	struct oci_opt class_id;
	struct oci_net_priority *priorities;
	size_t n_priorities;
};

struct oci_rdma_limit {
	const char *device;
	struct oci_opt handles, objects;
};

struct oci_resources {
	struct oci_device_rule *devices;
	size_t n_devices;
	struct oci_memory *memory;
	struct oci_cpu *cpu;
	struct oci_pids *pids;
	struct oci_block_io *block_io;
	struct oci_hugepage_limit *hugepage_limits;
	size_t n_hugepage_limits;
	struct oci_network *network;
	struct oci_rdma_limit *rdma;
	size_t n_rdma;
	struct oci_kv *unified;
	size_t n_unified;
};

struct oci_seccomp_arg {
	uint32_t index;
	uint64_t value, value_two;
	const char *op;
};

struct oci_seccomp_rule {
	const char **names;
	const char *action;
	struct oci_opt errno_ret;
	struct oci_seccomp_arg *args;
	size_t n_args;
};

struct oci_seccomp {
	const char *default_action;
	struct oci_opt default_errno_ret;
	const char **architectures, **flags;
	const char *listener_path, *listener_metadata;
	struct oci_seccomp_rule *syscalls;
	size_t n_syscalls;
};

struct oci_personality {
	const char *domain;
	const char **flags;
};

struct oci_time_offset {
	int64_t secs;
	uint32_t nanosecs;
};

struct oci_time_offsets {
	struct oci_time_offset *monotonic, *boottime;
};

struct oci_linux {
	struct oci_namespace *namespaces;
	size_t n_namespaces;
	struct oci_id_mapping *uid_mappings, *gid_mappings;
	size_t n_uid_mappings, n_gid_mappings;
	struct oci_time_offsets *time_offsets;
	struct oci_device *devices;
	size_t n_devices;
	const char *cgroups_path, *rootfs_propagation, *mount_label;
	struct oci_resources *resources;
	struct oci_kv *sysctl;
	size_t n_sysctl;
	struct oci_seccomp *seccomp;
	const char **masked_paths, **readonly_paths;
	struct oci_personality *personality;
	/* Only that they are there: nothing of them can be done. */
	bool intel_rdt, memory_policy, net_devices;
};

struct oci_runtime {
	struct arena *arena;
	const char *oci_version;
	struct oci_process *process; /* NULL: absent, as all pointers here */
	struct oci_root *root;
	const char *hostname, *domainname;
	struct oci_mount *mounts;
	size_t n_mounts;
	struct oci_hooks *hooks;
	struct oci_kv *annotations;
	size_t n_annotations;
	struct oci_linux *lx; /* "linux" in JSON (in C that word is 1) */
	/* Only that they are there: they are of other platforms. */
	bool windows, solaris, freebsd, zos, vm;
};

/* From JSON: 0 and *ret, or -EINVAL (the message begins with the JSON path,
 * "process.args[2]: ..."), -E2BIG, -ENOMEM. */
int oci_runtime_parse(const json_t *root, struct oci_runtime **ret,
		      struct err *e);
/* From text of len bytes. */
int oci_runtime_parse_text(const char *text, size_t len,
			   struct oci_runtime **ret, struct err *e);
/* A process alone (process.json), its memory from *ret_arena. */
int oci_process_parse(const json_t *root, struct arena **ret_arena,
		      struct oci_process **ret, struct err *e);
int oci_process_parse_text(const char *text, size_t len,
			   struct arena **ret_arena, struct oci_process **ret,
			   struct err *e);
/* A "linux.resources" alone, as `update` takes it; the same way. */
int oci_resources_parse(const json_t *root, struct arena **ret_arena,
			struct oci_resources **ret, struct err *e);
int oci_resources_parse_text(const char *text, size_t len,
			     struct arena **ret_arena,
			     struct oci_resources **ret, struct err *e);
/* An empty one for a caller that fills it in, its strings and arrays being
 * arena_alloc'ed from ->arena. NULL: no memory. */
struct oci_runtime *oci_runtime_new(void);
void oci_runtime_free(struct oci_runtime *c);
static inline void cleanup_oci_runtime(struct oci_runtime **c)
{
	if (*c)
		oci_runtime_free(*c);
}

/* An ociVersion: SemVer 2.0.0 ("1.2.0", "1.0.2-dev", "1.2.0+dev"), major and
 * minor of it. -EINVAL: not of that form. */
int oci_version_parse(const char *text, unsigned int *ret_major,
		      unsigned int *ret_minor);

/* To JSON: what is absent, empty or false is left out (but root.path,
 * process.cwd and user, which the specification requires), and so is what only
 * a bool tells of. NULL: no memory. */
json_t *oci_runtime_format(const struct oci_runtime *c);

#endif
