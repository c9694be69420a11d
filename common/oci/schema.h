/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON objects ↔ C structs by table: one `struct schema` describes a struct,
 * one `struct schema_field` a member. Reading names the JSON path of what is
 * wrong. Used by common/oci only.
 */
#ifndef HYB_COMMON_OCI_SCHEMA_H
#define HYB_COMMON_OCI_SCHEMA_H

#include "common/base/arena.h"
#include "common/base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The type of the member. */
enum schema_kind {
	SCHEMA_BOOL, /* bool */
	SCHEMA_U16,
	SCHEMA_U32,
	SCHEMA_U64,
	SCHEMA_I32,
	SCHEMA_I64,
	SCHEMA_OPT,    /* struct oci_opt */
	SCHEMA_STR,    /* const char * */
	SCHEMA_STRV,   /* const char **, NULL-terminated */
	SCHEMA_NUMS,   /* uint32_t * and a count */
	SCHEMA_KV,     /* struct oci_kv * and a count: an object of strings */
	SCHEMA_INLINE, /* a struct */
	SCHEMA_OBJECT, /* a pointer to a struct */
	SCHEMA_LIST,   /* a pointer to structs and a count */
	/* As SCHEMA_LIST from an object of objects; the key is in the first
	 * member, a const char *. */
	SCHEMA_MAP,
	/* bool: is there an object that has members? Not written. */
	SCHEMA_PRESENT,
};

enum {
	/* Reading: must be there. Writing: written even when zero. */
	SCHEMA_REQUIRED = 1,
	/* Written even when zero. */
	SCHEMA_ALWAYS = 2,
	/* INT64_MAX and above read as UINT64_MAX, written as INT64_MAX (JSON
	 * in many programs, jansson's among them, ends there). */
	SCHEMA_INFINITE = 4,
	/* A string that may be empty, a SCHEMA_PRESENT that counts even so. */
	SCHEMA_EMPTY = 8,
};

struct schema;

struct schema_field {
	const char *name;
	enum schema_kind kind;
	unsigned int flags;
	size_t offset;
	size_t count_offset;
	int64_t min, max; /* of numbers */
	const struct schema *sub;
};

struct schema {
	size_t size;
	const struct schema_field *fields;
	size_t n_fields;
};

/* Reads the object json into *out, zeroed before. path: what messages begin
 * with, "" for the document itself. */
int schema_read(const struct schema *s, const json_t *json, const char *path,
		struct arena *a, void *out, struct err *e);
/* NULL: no memory. */
json_t *schema_write(const struct schema *s, const void *in);
/* Parses JSON text; integers above INT64_MAX, which jansson cannot hold, are
 * kept for SCHEMA_U64 members. */
int schema_load(const char *text, size_t len, json_t **ret, struct err *e);

#endif
