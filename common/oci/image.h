/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON of OCI images (image-spec 1.0 and 1.1) and of Docker's (manifest
 * schema 2, docker-archive) as structs: index, manifest, configuration. Only
 * what a container or a store needs is kept; the rest is ignored, as the
 * specification says. Everything is checked: types, sizes, digests (sha256
 * only), counts; an error names the JSON path of what is wrong.
 *
 * All memory belongs to the arena that the caller passes.
 */
#ifndef HYB_COMMON_OCI_IMAGE_H
#define HYB_COMMON_OCI_IMAGE_H

#include "common/base/arena.h"
#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Largest index, manifest or configuration that is read: containerd's and
 * skopeo's own limit is 4 MiB. */
#define HYB_OCI_IMAGE_JSON_MAX (4u * 1024u * 1024u)
/* An index of all manifests, or the labels and the history of many layers. */
#define HYB_OCI_IMAGE_VALUES_MAX 65536
#define HYB_OCI_LAYERS_MAX	 128
#define HYB_OCI_MANIFESTS_MAX	 1024

/* "sha256:" and 64 digits, without the NUL. */
#define HYB_OCI_DIGEST_LEN 71

enum oci_media {
	OCI_MEDIA_UNKNOWN,
	OCI_MEDIA_INDEX,    /* OCI index, Docker manifest list */
	OCI_MEDIA_MANIFEST, /* OCI manifest, Docker schema 2 */
	OCI_MEDIA_CONFIG,
	OCI_MEDIA_LAYER,
};

struct oci_descriptor {
	enum oci_media media;
	const char *media_type;
	const char *digest; /* "sha256:..." , checked */
	uint64_t size;
	const char *architecture; /* of an index's entry, or "" */
	const char *os;
	const char *variant;
	const char *ref_name;  /* org.opencontainers.image.ref.name, or "" */
	const char *full_name; /* io.containerd.image.name, or "" */
};

struct oci_index {
	struct oci_descriptor *manifests;
	size_t n_manifests;
};

struct oci_manifest {
	struct oci_descriptor config;
	struct oci_descriptor *layers; /* first is the lowest */
	size_t n_layers;
};

struct oci_healthcheck {
	const char **test; /* "CMD", ... or "CMD-SHELL", TEXT or "NONE" */
	uint64_t interval_ns, timeout_ns, start_period_ns; /* 0: default */
	uint64_t retries;
};

struct oci_label {
	const char *key;
	const char *value;
};

/* The configuration: lists end with NULL and are NULL when absent. */
struct oci_image_config {
	const char *architecture;
	const char *os;
	const char *variant;
	const char *created; /* RFC 3339 or "" */
	const char *author;
	const char **env; /* "NAME=VALUE" */
	const char **entrypoint;
	const char **cmd;
	const char *user; /* "", "NAME", "UID:GID", ... as written */
	const char *working_dir;
	const char **volumes;	    /* paths in the container */
	const char **exposed_ports; /* "80/tcp" */
	const char *stop_signal;
	struct oci_label *labels;
	size_t n_labels;
	struct oci_healthcheck *healthcheck;
	const char **diff_ids; /* one per layer, checked */
	size_t n_diff_ids;
};

/* One image of a docker-archive's manifest.json. */
struct docker_image {
	const char *config; /* path in the archive */
	const char **repo_tags;
	const char **layers;
	size_t n_layers;
};

/* Is s "sha256:" and 64 lower-case hexadecimal digits? */
bool oci_digest_is_valid(const char *s);

enum oci_media oci_media_parse(const char *media_type);

/* All parse text[len]; 0, -EINVAL (not such a document), -E2BIG (over a
 * limit) or -ENOMEM. */
int oci_index_parse(const char *text, size_t len, struct arena *a,
		    struct oci_index *ret, struct err *e);
int oci_manifest_parse(const char *text, size_t len, struct arena *a,
		       struct oci_manifest *ret, struct err *e);
int oci_image_config_parse(const char *text, size_t len, struct arena *a,
			   struct oci_image_config *ret, struct err *e);
int docker_manifest_parse(const char *text, size_t len, struct arena *a,
			  struct docker_image **ret, size_t *ret_n,
			  struct err *e);

#endif
