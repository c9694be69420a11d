/* SPDX-License-Identifier: Apache-2.0 */
#include "common/varlink/params.h"

#include "common/base/buf.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int bad(struct err *e, const struct vl_field *f, const char *rule)
{
	return err_set(e, EINVAL, "%s: %s", f->name, rule);
}

static int read_string(const json_t *v, const struct vl_field *f, void *dst,
		       struct err *e)
{
	const char *s = json_string_value(v);
	size_t len;

	if (!s)
		return bad(e, f, "must be a string");
	len = json_string_length(v);
	if (strlen(s) != len)
		return bad(e, f, "must not hold a NUL byte");
	if (len > (size_t)f->max)
		return err_set(e, EINVAL, "%s: longer than %" PRId64 " bytes",
			       f->name, f->max);
	memcpy(dst, &s, sizeof(s));
	return 0;
}

static int read_int(const json_t *v, const struct vl_field *f, void *dst,
		    struct err *e)
{
	int64_t i;

	if (!json_is_integer(v))
		return bad(e, f, "must be an integer");
	i = json_integer_value(v);
	if (i < f->min || i > f->max)
		return err_set(e, EINVAL,
			       "%s: %" PRId64 " is not in %" PRId64
			       " … %" PRId64,
			       f->name, i, f->min, f->max);
	memcpy(dst, &i, sizeof(i));
	return 0;
}

static int read_array(const json_t *v, const struct vl_field *f, void *dst,
		      struct err *e)
{
	const json_t *item;
	size_t i;

	if (!json_is_array(v))
		return bad(e, f, "must be an array");
	if (json_array_size(v) > (size_t)f->max)
		return err_set(e, EINVAL, "%s: more than %" PRId64 " elements",
			       f->name, f->max);
	if (f->type == VL_STRINGS) {
		json_array_foreach(v, i, item) {
			if (!json_is_string(item) ||
			    json_string_length(item) > VL_STRINGS_ITEM_MAX ||
			    strlen(json_string_value(item)) !=
				    json_string_length(item))
				return bad(e, f, "must be an array of strings");
		}
	}
	memcpy(dst, &v, sizeof(v));
	return 0;
}

static int read_field(const json_t *v, const struct vl_field *f, void *dst,
		      struct err *e)
{
	bool b;

	switch (f->type) {
	case VL_STRING:
		return read_string(v, f, dst, e);
	case VL_INT:
		return read_int(v, f, dst, e);
	case VL_BOOL:
		if (!json_is_boolean(v))
			return bad(e, f, "must be true or false");
		b = json_is_true(v);
		memcpy(dst, &b, sizeof(b));
		return 0;
	case VL_OBJECT:
		if (!json_is_object(v))
			return bad(e, f, "must be an object");
		memcpy(dst, &v, sizeof(v));
		return 0;
	case VL_ARRAY:
	case VL_STRINGS:
		return read_array(v, f, dst, e);
	}
	return bad(e, f, "has no known type");
}

static int check_unknown(const json_t *params, const struct vl_field *fields,
			 size_t n, const char **ret_field, struct err *e)
{
	char shown[64];
	const char *key;
	json_t *v;
	size_t i;

	json_object_foreach((json_t *)(uintptr_t)params, key, v) {
		for (i = 0; i < n; i++)
			if (strcmp(fields[i].name, key) == 0)
				break;
		if (i < n)
			continue;
		*ret_field = key;
		return err_set(e, EINVAL, "%s: unknown parameter",
			       text_escape(key, shown, sizeof(shown)));
	}
	return 0;
}

int vl_params_read(const json_t *params, const struct vl_field *fields,
		   size_t n, bool strict, void *out, const char **ret_field,
		   struct err *e)
{
	const char *ignored;
	const json_t *v;
	size_t i;
	int r;

	if (!ret_field)
		ret_field = &ignored;
	*ret_field = "";
	if (params && !json_is_object(params))
		return err_set(e, EINVAL, "parameters must be an object");
	for (i = 0; i < n; i++) {
		*ret_field = fields[i].name;
		v = params ? json_object_get(params, fields[i].name) : NULL;
		if (!v || json_is_null(v)) {
			if (fields[i].optional)
				continue;
			return bad(e, &fields[i], "is missing");
		}
		r = read_field(v, &fields[i], (char *)out + fields[i].offset,
			       e);
		if (r < 0)
			return r;
	}
	if (strict && params)
		return check_unknown(params, fields, n, ret_field, e);
	return 0;
}

const char **vl_strings(const json_t *array)
{
	size_t i, n = json_array_size(array);
	const char **v = calloc(n + 1, sizeof(*v));

	for (i = 0; v && i < n; i++)
		v[i] = json_string_value(json_array_get(array, i));
	return v;
}
