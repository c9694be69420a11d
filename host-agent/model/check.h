/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules that single values and a whole model must keep, in one place:
 * manifest/ applies them to what a user wrote, model_stack_from_json() to what
 * comes back from the state store.
 *
 * Each check returns NULL when the text is fine, or says what it must be, as
 * the rest of a sentence that begins "... must be".
 */
#ifndef HYB_HOST_AGENT_MODEL_CHECK_H
#define HYB_HOST_AGENT_MODEL_CHECK_H

#include "host-agent/model/model.h"

/* As many as a guest takes (HYB_AGENT_CONTAINERS_MAX). */
#define HYB_VM_CONTAINERS_MAX 128
#define HYB_STACK_VMS_MAX     256
#define HYB_VM_VCPUS_MAX      32
#define HYB_VM_MEMORY_MIN     ((uint64_t)48 << 20)
#define HYB_VM_MEMORY_MAX     ((uint64_t)1 << 40)
/* cpu.max takes no quota under 1 ms, of a period of 100 ms. */
#define HYB_LIMIT_CPUS_MILLI_MIN 10
/* A process needs some pages before it can say what it lacks. */
#define HYB_LIMIT_MEMORY_MIN  ((uint64_t)4 << 20)
#define HYB_LIMIT_MEMORY_MAX  HYB_VM_MEMORY_MAX
#define HYB_LIMIT_PIDS_MAX    4194304 /* the kernel's PID_MAX_LIMIT */
#define HYB_RESTART_MAX	      1000000
#define HYB_STOP_GRACE_MAX_NS ((uint64_t)24 * 3600 * 1000 * 1000 * 1000)
/* What a VM whose memory is declared must have beyond the largest limit of a
 * container in it: the kernel, the agent and its reserve. Less than
 * HYB_GUEST_OWN_MEMORY, which `auto` grants. */
#define HYB_GUEST_LEAST_MEMORY ((uint64_t)32 << 20)
/* Of one container: each is a mount, and a line in its configuration. */
#define HYB_MOUNTS_PER_CONTAINER_MAX 64
/* Each is a folder that the guest has in a table. */
#define HYB_VM_ANONYMOUS_MAX 256
/* Each takes a slot of the VM's, which has images in the others. */
#define HYB_VM_VOLUMES_MAX    8
#define HYB_STACK_VOLUMES_MAX 64
/* An ext4 with a journal needs some MiB for itself. */
#define HYB_VOLUME_SIZE_MIN ((uint64_t)16 << 20)
/* ext4's limit with 4 KiB blocks and 32 bits of them. */
#define HYB_VOLUME_SIZE_MAX ((uint64_t)16 << 40)
#define HYB_TMPFS_SIZE_MIN  ((uint64_t)4096)
#define HYB_TMPFS_SIZE_MAX  HYB_VM_MEMORY_MAX
#define HYB_LAYER_SIZE_MIN  ((uint64_t)16 << 20)
/* 64 containers' are less than the largest file of an ext4 of the host's. */
#define HYB_LAYER_SIZE_MAX ((uint64_t)64 << 30)
/* execve() takes no longer string (MAX_ARG_STRLEN). */
#define HYB_ENV_ENTRY_MAX 131071

/* A name of a tenant, stack, VM or container. */
const char *check_name(const char *s);
/* NAME[:TAG][@sha256:DIGEST], as the OCI distribution specification spells
 * repositories and tags, with an optional registry host in front. */
const char *check_image(const char *s);
/* "UID", "UID:GID", "user", "user:group", or mixed. A number is never a name:
 * text that begins with a digit must be a number 0 ... 2^31-1. */
const char *check_user(const char *s);
/* An absolute path without "..", at most 4095 bytes. */
const char *check_working_dir(const char *s);
/* RFC 1123, at most 64 characters (the kernel's limit). */
const char *check_hostname(const char *s);
/* The name of an environment variable. */
const char *check_env_name(const char *s, size_t len);

/* A numeric address to listen on; canonical text into out[HYB_IP_MAX]. */
#define HYB_IP_MAX 46
const char *check_host_ip(const char *s, char *out);
/* Do listeners on the two (canonical) addresses get into each other's way:
 * equal, or one of them every address of the other's family. */
bool check_ips_overlap(const char *a, const char *b);

/* Secrets and configs: one, all of a manifest (the messages that carry them,
 * in hexadecimal, end at 1 MiB), and how many. */
#define HYB_FILE_CONTENT_MAX	((size_t)64 * 1024)
#define HYB_FILES_CONTENT_MAX	((size_t)192 * 1024)
#define HYB_CONTAINER_FILES_MAX 32
#define HYB_STACK_SOURCES_MAX	64
/* The name of a secret or config: 1 to 63 letters, digits, "_", "." and "-",
 * beginning with a letter or digit. */
const char *check_file_name(const char *s);

/* Where something may be mounted: an absolute path of at most 1023 bytes in
 * its plainest form ("/a/b"), neither the root nor one of the kernel's own
 * places (/proc, /sys, /dev but for /dev/shm). */
const char *check_mount_target(const char *s);
/* What may be bound: an absolute path of the host, as plain as a target and as
 * long. */
const char *check_bind_source(const char *s);
/* A part of a volume: "a/b", as plain and as long. */
const char *check_subpath(const char *s);
/* check_storage.c: volumes, and what is mounted in containers. */
int check_storage(const struct model_stack *s, struct err *e);
/* Its part for what images bring into a VM later. */
int check_anonymous(const struct model_vm *vm, struct err *e);

/* Everything of a stack that can be checked without the text it came from;
 * 0 or -EINVAL. */
int check_stack(const struct model_stack *s, struct err *e);

#endif
