/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON object into a plain struct by a table, each field checked for
 * presence, type and bounds: how every parameter of a call and every answer
 * that an enemy may have written is read.
 */
#ifndef HYB_COMMON_VARLINK_PARAMS_H
#define HYB_COMMON_VARLINK_PARAMS_H

#include "common/base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum vl_type {
	VL_STRING, /* const char *; max: bytes; no NUL inside */
	VL_INT,	   /* int64_t; min ... max */
	VL_BOOL,   /* bool */
	VL_OBJECT, /* json_t * (borrowed) */
	VL_ARRAY,  /* json_t * (borrowed); max: elements */
	VL_STRINGS /* json_t * (borrowed), all strings; max: elements */
};

struct vl_field {
	const char *name;
	enum vl_type type;
	size_t offset; /* in the struct that is filled */
	int64_t min;
	int64_t max;
	/* May be missing or null: the struct keeps what it held. */
	bool optional;
};

/* Longest string inside a VL_STRINGS array. */
#define VL_STRINGS_ITEM_MAX ((size_t)131072)

/* Fills *out from params, which must outlive it (strings are borrowed). With
 * `strict` a key that is in no field is an error. NULL params is {}. Error
 * -EINVAL; e names the field and the rule; ret_field (may be NULL) gets the
 * field's name, borrowed from the table or params. */
int vl_params_read(const json_t *params, const struct vl_field *fields,
		   size_t n, bool strict, void *out, const char **ret_field,
		   struct err *e);

/* Elements of a VL_STRINGS array as a NULL-terminated vector whose strings are
 * borrowed; the caller frees the vector. NULL: no memory. */
const char **vl_strings(const json_t *array);

#endif
