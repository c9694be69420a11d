/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user declared, as plain structs: the only form of a manifest that
 * plan/, reconcile/ and state/ know. Immutable once manifest/ has validated
 * it; every string and array lives in the stack's arena and goes with it.
 */
#ifndef HYB_HOST_AGENT_MODEL_MODEL_H
#define HYB_HOST_AGENT_MODEL_MODEL_H

#include "common/base/arena.h"
#include "common/base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum restart_kind {
	RESTART_NO,
	RESTART_ON_FAILURE,
	RESTART_ALWAYS,
	RESTART_UNLESS_STOPPED, /* containers only */
	RESTART_KIND_MAX
};

struct restart_policy {
	enum restart_kind kind;
	uint32_t max; /* on-failure:N; 0: no limit */
};

enum depends_condition {
	DEPENDS_STARTED,
	DEPENDS_COMPLETED, /* ended with exit code 0 */
	DEPENDS_HEALTHY,   /* ready, where it says when, else healthy */
	DEPENDS_CONDITION_MAX
};

struct model_dependency {
	const char *vm; /* the name of the VM as declared, never NULL */
	const char *container;
	enum depends_condition condition;
};

struct model_port {
	const char *host_ip; /* numeric IPv4 or IPv6, never NULL */
	uint16_t published;
	uint16_t target;
	/* protocol: tcp */
};

struct model_limits {
	uint32_t cpus_milli; /* 500: half a CPU; 0: no limit */
	uint64_t memory;     /* bytes; 0: no limit of its own */
	uint32_t pids;	     /* 0: the default */
};

enum model_mount_kind {
	MODEL_MOUNT_VOLUME,
	MODEL_MOUNT_TMPFS,
	MODEL_MOUNT_BIND,
	MODEL_MOUNT_ANONYMOUS, /* a folder that lasts as long as the VM */
	MODEL_MOUNT_KIND_MAX
};

/* Of a container's `volumes`. */
struct model_mount {
	enum model_mount_kind kind;
	/* The volume's name in the stack; of a bind, the host's path,
	 * check_bind_source(); of others "". */
	const char *source;
	const char *subpath; /* of a volume, check_subpath(); "": all of it */
	const char *target;  /* absolute, check_mount_target() */
	bool read_only;
	bool no_copy;  /* of the image's content into an empty volume */
	uint64_t size; /* tmpfs: bytes */
	uint32_t mode; /* tmpfs: of its root */
};

/* Of a container's `secrets` and `configs`: a file in the guest's memory. */
struct model_file {
	bool config;   /* else a secret */
	bool external; /* set by `hyb secret set`, not the stack's own */
	const char *source;
	const char *target;
	uint32_t mode;
	uint32_t uid, gid;   /* inside the container */
	const char *content; /* of a config: in hexadecimal; a secret: "" */
};

/* Of a stack's `secrets` (and of its `configs`, while it is read). */
struct model_source {
	const char *name;
	bool external;
	/* In hexadecimal; of a secret as long as it comes from a manifest: it
	 * is in no JSON. */
	const char *content;
};

/* Of a stack's `volumes`. */
struct model_volume {
	const char *name;
	uint64_t size; /* bytes; external: 0 */
	bool external; /* made by `hyb volume create`; not the stack's own */
};

#define HYB_DEFAULT_TMPFS_SIZE	  ((uint64_t)64 << 20)
#define HYB_DEFAULT_TMPFS_MODE	  01777
#define HYB_DEFAULT_LAYER_SIZE	  ((uint64_t)1 << 30)
#define HYB_DEFAULT_PIDS_LIMIT	  1024
#define HYB_DEFAULT_STOP_GRACE_NS ((uint64_t)10 * 1000 * 1000 * 1000)
#define HYB_DEFAULT_HOST_IP	  "127.0.0.1"

enum check_how {
	CHECK_EXEC,
	CHECK_HTTP,
	CHECK_TCP,
	CHECK_DISABLED, /* the image's does not count either */
	CHECK_HOW_MAX
};

enum check_action {
	CHECK_RESTART, /* by the container's restart policy */
	CHECK_RESTART_VM,
	CHECK_NOTHING,
	CHECK_ACTION_MAX
};

/* A health or readiness check. */
struct model_check {
	enum check_how how;
	const char *const *args; /* CHECK_EXEC; never NULL */
	uint16_t port;		 /* CHECK_HTTP, CHECK_TCP */
	const char *path;	 /* CHECK_HTTP; never NULL */
	uint64_t interval_ns, timeout_ns, start_period_ns;
	uint32_t retries;
	enum check_action on_failure; /* readiness: CHECK_NOTHING */
};

/* When a deployment fetches an image. */
enum pull_policy {
	PULL_MISSING, /* where it is not in the store */
	PULL_ALWAYS,  /* where the registry has another one */
	PULL_NEVER,
	PULL_POLICY_MAX
};

struct model_container {
	const char *name;
	const char *image; /* as the user wrote it */
	/* Of the image that it was when it was deployed, model_pin(); "": not
	 * known yet. */
	const char *digest;
	/* Of the deployment, and of no JSON: what runs does not depend on it. */
	enum pull_policy pull;
	uint32_t image_line, image_col; /* in the manifest; 0: not from one */
	bool has_entrypoint; /* then it replaces the image's, even when empty */
	const char *const *entrypoint; /* NULL-terminated, never NULL */
	bool has_command;
	const char *const *command;
	const char *const *environment; /* "K=V", env_file's first; last one
					   of a key wins and is the only one;
					   sorted by key */
	const char *user;		/* "" : the image's */
	const char *working_dir;	/* "" : the image's */
	const char *hostname;		/* "" : the VM's */
	const struct model_port *ports;
	size_t n_ports;
	struct restart_policy restart; /* default: no */
	const struct model_dependency *depends_on;
	size_t n_depends_on;
	struct model_limits limits;
	const struct model_mount *mounts; /* sorted by target: what holds
					     another mount comes before it */
	size_t n_mounts;
	const struct model_file *files;
	size_t n_files;
	bool read_only;	     /* the root file system */
	uint64_t shm_size;   /* bytes of /dev/shm; 0: the default, 64 MiB */
	uint64_t layer_size; /* bytes it may write to its root; 0: the default;
				always 0 when read_only */
	const char *seccomp; /* a Docker-format profile as JSON; "": default */
	bool init;
	const struct model_check *healthcheck; /* NULL: the image's */
	const struct model_check *readiness;   /* NULL: none */
	int stop_signal; /* 0: the image's, else SIGTERM */
	uint64_t stop_grace_ns;
};

struct model_vm {
	const char *name;
	/* A whole operating system from this disk, without containers; "": none,
	 * the VM runs containers. */
	const char *boot_disk;
	bool boot_uefi;		       /* by UEFI firmware, else by BIOS */
	uint32_t vcpus;		       /* 1 … ; default 1 */
	uint64_t memory;	       /* bytes; 0: auto */
	struct restart_policy restart; /* default: always */
	const struct model_container *containers; /* in the order declared */
	size_t n_containers;
	/* Of a VM that boots a disk: of its own system. In one with containers
	 * they are the containers'. */
	const struct model_port *ports;
	size_t n_ports;
};

struct model_stack {
	struct arena *arena;
	const char *tenant; /* "" : the caller's own */
	const char *name;
	const struct model_vm *vms;
	size_t n_vms;
	const struct model_volume *volumes;
	size_t n_volumes;
	const struct model_source *secrets;
	size_t n_secrets;
};

void model_stack_free(struct model_stack *s);
static inline void cleanup_model_stack(struct model_stack **s)
{
	if (*s)
		model_stack_free(*s);
}
#define _cleanup_model_stack_ __attribute__((cleanup(cleanup_model_stack)))

/* The canonical JSON of a stack, a VM and a container: every field, sorted
 * keys; what state/ stores and what is compared to tell whether something
 * changed. New reference. NULL: no memory. */
json_t *model_stack_to_json(const struct model_stack *s);
json_t *model_vm_to_json(const struct model_vm *vm); /* with its containers */
json_t *model_container_to_json(const struct model_container *c);
/* One of these as text, which it takes over; the caller frees it. NULL: no
 * memory. */
char *model_text(json_t *j);
/* A NULL-ended list; NULL: no memory. */
json_t *strings_to_json(const char *const *v);
/* The other way, checking everything again (the text comes from the state
 * store). */
int model_stack_from_json(const json_t *j, struct model_stack **ret,
			  struct err *e);

/* The VM or container of that name, or NULL. */
const struct model_vm *model_find_vm(const struct model_stack *s,
				     const char *name);
const struct model_container *model_find_container(const struct model_vm *vm,
						   const char *name);

/* From here on the container's image is the one of this digest. The stack is
 * one that nobody else has yet. 0 or -ENOMEM. */
int model_pin(struct model_stack *s, const struct model_container *c,
	      const char *digest);
/* And at this place is an anonymous volume, where nothing is yet. */
int model_add_anonymous(struct model_stack *s, const struct model_container *c,
			const char *target);
/* What the image store is to be asked for. */
static inline const char *model_image(const struct model_container *c)
{
	return c->digest && c->digest[0] ? c->digest : c->image;
}

const struct model_volume *model_find_volume(const struct model_stack *s,
					     const char *name);
/* Is the volume mounted in the VM, and does one of its containers write? */
bool model_vm_uses_volume(const struct model_vm *vm, const char *name,
			  bool *ret_writes);

/* A folder of the host's as one container of a VM has it. */
struct model_bind {
	const char *container, *source;
	bool read_only;
	uint32_t ids; /* of the VM's containers with binds it is this, from 1 */
};
/* A VM's, each once, in an order that does not depend on the one in which they
 * were declared: sorted. Each is a device of the VM. */
#define HYB_VM_BINDS_MAX 8
size_t model_vm_binds(const struct model_vm *vm,
		      struct model_bind ret[HYB_VM_BINDS_MAX]);

/* Published port number i of all that the VM and its containers have, or NULL. */
const struct model_port *model_vm_port(const struct model_vm *vm, size_t i);

/* Memory of the VM in bytes: what is declared, or for auto the sum of the
 * containers' limits (HYB_AUTO_CONTAINER_MEMORY for one without) plus the
 * guest's own need (HYB_GUEST_OWN_MEMORY), rounded up to 2 MiB. */
#define HYB_GUEST_OWN_MEMORY	  ((uint64_t)64 << 20)
#define HYB_AUTO_CONTAINER_MEMORY ((uint64_t)128 << 20)
/* auto, of a VM that boots a disk. */
#define HYB_AUTO_BOOT_MEMORY ((uint64_t)1 << 30)
uint64_t model_vm_memory(const struct model_vm *vm);

/* What a container may write to its root: 0 for one that is read-only. */
uint64_t model_layer_size(const struct model_container *c);
/* What it may write to each of its anonymous volumes. */
uint64_t model_anonymous_size(const struct model_container *c);
/* And to its root and all of these together: 0, it needs no scratch disk. */
uint64_t model_scratch_size(const struct model_container *c);
size_t model_count_anonymous(const struct model_container *c);
/* Bytes of the scratch disk that has room for what all containers of the VM may
 * write and for its file system; 0: they write nothing, there is none. It takes
 * one of few sizes, so that few templates of file systems are needed. */
uint64_t model_vm_scratch(const struct model_vm *vm);

/* "no", "on-failure", "on-failure:3", ... */
const char *restart_policy_format(const struct restart_policy *p, char *out,
				  size_t size);
/* The other way, for what a container may have (a VM may not have
 * unless-stopped). 0, -EINVAL or -ERANGE (N of on-failure:N). */
int restart_policy_parse(const char *s, struct restart_policy *ret);

/* "started", "completed", "healthy". */
const char *depends_condition_name(enum depends_condition c);

/* Does it boot a disk of its own? */
static inline bool model_vm_boots_disk(const struct model_vm *vm)
{
	return vm->boot_disk && vm->boot_disk[0];
}

#endif
