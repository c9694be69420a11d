/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks a map along a table of the keys it may have, and reads single values
 * strictly. Whatever is wrong becomes a diagnostic, and the reading goes on;
 * `oom` is the only error that is carried along.
 */
#ifndef HYB_HOST_AGENT_MANIFEST_FIELDS_H
#define HYB_HOST_AGENT_MANIFEST_FIELDS_H

#include "host-agent/manifest/manifest.h"
#include "host-agent/manifest/tree.h"

/* One reading of one manifest. */
struct reading {
	struct diags diags;
	struct arena *scratch; /* what only the reading needs; diagnostics */
	struct arena *arena;   /* of the stack that is being read */
	const struct manifest_reader *env_reader;
	size_t env_bytes;  /* of env_files and profiles so far */
	size_t file_bytes; /* of secrets and configs so far */
	const char *key;   /* whose value is being read, for messages */
	bool oom;
};

typedef void (*field_fn)(struct reading *r, const struct node *value,
			 void *out);

struct field {
	const char *key;
	field_fn read; /* NULL: a key of the design that is not built yet */
};

struct field_table {
	const char *where; /* "a container" */
	const struct field *fields;
	size_t n;
};

/* Reads the keys of a map in the order they stand there; `out` goes to the
 * field functions. A value that is not a map is an error. */
void fields_read(struct reading *r, const struct node *map,
		 const struct field_table *t, void *out);

/* All tables, to tell where a misplaced key belongs; ends with NULL. */
extern const struct field_table *const fields_all[];
extern const struct field_table fields_stack, fields_vm, fields_vm_resources,
	fields_container, fields_resources, fields_limits, fields_port,
	fields_dependency, fields_healthcheck, fields_mount, fields_volume,
	fields_source, fields_file, fields_boot, fields_storage,
	fields_mount_bind, fields_mount_volume, fields_tenant, fields_quota,
	fields_allow, fields_access;

/* An error at a node; the printf arguments come from diag_quote() where the
 * text is the user's. */
#define node_error(r, node, ...) \
	diag_add(&(r)->diags, (node)->line, (node)->col, __VA_ARGS__)
/* The node's text in quotes, or "a list" ..., for messages. */
const char *node_show(struct reading *r, const struct node *n);
const char *text_show(struct reading *r, const char *s);

/* arena_alloc() in the stack's arena (or the scratch one) with the error kept
 * in r->oom. */
void *read_alloc(struct reading *r, size_t n, size_t size);
void *scratch_alloc(struct reading *r, size_t n, size_t size);
const char *read_strdup(struct reading *r, const char *s);

/* Single values. Each returns whether *ret was set; false means that the error
 * has been told. */
bool read_text(struct reading *r, const struct node *n, const char **ret);
/* With one of the rules of model/check.h. */
bool read_checked(struct reading *r, const struct node *n,
		  const char *(*check)(const char *), const char **ret);
bool read_int(struct reading *r, const struct node *n, uint64_t min,
	      uint64_t max, uint64_t *ret);
bool read_size(struct reading *r, const struct node *n, uint64_t min,
	       uint64_t max, uint64_t *ret);
bool read_bool(struct reading *r, const struct node *n, bool *ret);
/* A duration with its unit, as ns; range: "at most 1h", for messages. */
bool read_duration(struct reading *r, const struct node *n, uint64_t min,
		   uint64_t max, const char *range, uint64_t *ret);
/* Octal digits: a file's mode. */
bool read_mode(struct reading *r, const struct node *n, uint32_t *ret);
bool read_restart(struct reading *r, const struct node *n,
		  enum restart_kind most, struct restart_policy *ret);
/* environment.c: the contents of a file that the manifest names, from the
 * reader; the caller frees. false: the error has been told. NULL: the reader
 * only notes the paths. */
bool read_file(struct reading *r, const struct node *n, const char *path,
	       char **ret, size_t *ret_len);
/* Decimal digits without a sign or needless zeros? */
bool text_is_number(const char *s);

/* The name among n nearest to s by spelling, or NULL when none is near. */
const char *nearest_name(const char *s, const char *const *names, size_t n);

#endif
