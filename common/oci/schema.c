/* SPDX-License-Identifier: Apache-2.0 */
#include "common/oci/schema.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "common/oci/runtime.h"

/* Stands in front of the digits of an integer that jansson cannot hold. No
 * text has it by accident: it is a control character. */
#define BIG_MARK "\001"

/* Most items of one array. */
#define ITEMS_MAX 65536

struct reader {
	struct arena *arena;
	struct err *e;
	char path[256];
	size_t len;
};

static int bad(struct reader *r, const char *what)
{
	char escaped[sizeof(r->path)];

	text_escape(r->path, escaped, sizeof(escaped));
	return err_set(r->e, EINVAL, "%s: %s", escaped[0] ? escaped : "config",
		       what);
}

/* Appends ".name", or "[index]" where name is NULL; what path_pop() takes. */
static size_t path_push(struct reader *r, const char *name, size_t index)
{
	size_t old = r->len, room = sizeof(r->path) - old;
	char *at = r->path + old;
	int n;

	n = name ? snprintf(at, room, "%s%s", old ? "." : "", name)
		 : snprintf(at, room, "[%zu]", index);
	if (n > 0)
		r->len = (size_t)n < room ? old + (size_t)n
					  : sizeof(r->path) - 1;
	return old;
}

static void path_pop(struct reader *r, size_t old)
{
	r->len = old;
	r->path[old] = '\0';
}

static int no_memory(struct reader *r)
{
	return err_set(r->e, E2BIG, "%s: the configuration is too large",
		       r->path);
}

static int read_object(struct reader *r, const struct schema *s,
		       const json_t *json, void *out);

static int read_u64(struct reader *r, const struct schema_field *f,
		    const json_t *v, uint64_t *ret)
{
	const char *s = json_string_value(v);

	if (json_is_integer(v) && json_integer_value(v) >= 0) {
		*ret = (uint64_t)json_integer_value(v);
	} else if (!s || s[0] != BIG_MARK[0] ||
		   parse_u64(s + 1, 0, UINT64_MAX, ret) < 0) {
		return bad(r, "must be a number from 0 to 2^64-1");
	}
	if ((f->flags & SCHEMA_INFINITE) && *ret >= INT64_MAX)
		*ret = UINT64_MAX;
	return 0;
}

static int read_number(struct reader *r, const struct schema_field *f,
		       const json_t *v, int64_t *ret)
{
	char text[96];
	int64_t n = json_integer_value(v);

	if (!json_is_integer(v))
		return bad(r, "must be an integer");
	if (n < f->min || n > f->max) {
		snprintf(text, sizeof(text), "must be from %lld to %lld",
			 (long long)f->min, (long long)f->max);
		return bad(r, text);
	}
	*ret = n;
	return 0;
}

static int read_string(struct reader *r, const json_t *v, const char **ret)
{
	if (!json_is_string(v))
		return bad(r, "must be a string");
	if (json_string_value(v)[0] == BIG_MARK[0])
		return bad(r, "must be printable text");
	*ret = arena_strdup(r->arena, json_string_value(v));
	return *ret ? 0 : no_memory(r);
}

static int read_strv(struct reader *r, const json_t *v, const char ***ret)
{
	size_t i, old, n = json_array_size(v);
	const char **list;
	int rc;

	if (!json_is_array(v))
		return bad(r, "must be an array of strings");
	if (n > ITEMS_MAX)
		return bad(r, "has too many items");
	list = arena_alloc(r->arena, n + 1, sizeof(*list));
	if (!list)
		return no_memory(r);
	for (i = 0; i < n; i++) {
		old = path_push(r, NULL, i);
		rc = read_string(r, json_array_get(v, i), &list[i]);
		if (rc < 0)
			return rc;
		path_pop(r, old);
	}
	*ret = list;
	return 0;
}

static int read_nums(struct reader *r, const struct schema_field *f,
		     const json_t *v, uint32_t **ret, size_t *ret_n)
{
	size_t i, old, n = json_array_size(v);
	uint32_t *list;
	int64_t x;
	int rc;

	if (!json_is_array(v))
		return bad(r, "must be an array of numbers");
	if (n > ITEMS_MAX)
		return bad(r, "has too many items");
	list = arena_alloc(r->arena, n + 1, sizeof(*list));
	if (!list)
		return no_memory(r);
	for (i = 0; i < n; i++) {
		old = path_push(r, NULL, i);
		rc = read_number(r, f, json_array_get(v, i), &x);
		if (rc < 0)
			return rc;
		list[i] = (uint32_t)x;
		path_pop(r, old);
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

static int read_kv(struct reader *r, const json_t *v, struct oci_kv **ret,
		   size_t *ret_n)
{
	size_t i = 0, old, n = json_object_size(v);
	struct oci_kv *list;
	const char *key;
	json_t *item;
	int rc;

	if (!json_is_object(v))
		return bad(r, "must be an object of strings");
	if (n > ITEMS_MAX)
		return bad(r, "has too many members");
	list = arena_alloc(r->arena, n + 1, sizeof(*list));
	if (!list)
		return no_memory(r);
	json_object_foreach((json_t *)(uintptr_t)v, key, item) {
		old = path_push(r, key, 0);
		rc = read_string(r, item, &list[i].value);
		if (rc < 0)
			return rc;
		list[i].key = arena_strdup(r->arena, key);
		if (!list[i].key)
			return no_memory(r);
		path_pop(r, old);
		i++;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

static int read_list(struct reader *r, const struct schema_field *f,
		     const json_t *v, void **ret, size_t *ret_n)
{
	size_t i, old, n = json_array_size(v);
	char *list;
	int rc;

	if (!json_is_array(v))
		return bad(r, "must be an array of objects");
	if (n > ITEMS_MAX)
		return bad(r, "has too many items");
	list = arena_alloc(r->arena, n + 1, f->sub->size);
	if (!list)
		return no_memory(r);
	for (i = 0; i < n; i++) {
		old = path_push(r, NULL, i);
		rc = read_object(r, f->sub, json_array_get(v, i),
				 list + i * f->sub->size);
		if (rc < 0)
			return rc;
		path_pop(r, old);
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

static int read_map(struct reader *r, const struct schema_field *f,
		    const json_t *v, void **ret, size_t *ret_n)
{
	size_t i = 0, old, n = json_object_size(v);
	const char *key, *copy;
	json_t *item;
	char *list;
	int rc;

	if (!json_is_object(v))
		return bad(r, "must be an object of objects");
	if (n > ITEMS_MAX)
		return bad(r, "has too many members");
	list = arena_alloc(r->arena, n + 1, f->sub->size);
	if (!list)
		return no_memory(r);
	json_object_foreach((json_t *)(uintptr_t)v, key, item) {
		old = path_push(r, key, 0);
		rc = read_object(r, f->sub, item, list + i * f->sub->size);
		if (rc < 0)
			return rc;
		copy = arena_strdup(r->arena, key);
		if (!copy)
			return no_memory(r);
		memcpy(list + i * f->sub->size, &copy, sizeof(copy));
		path_pop(r, old);
		i++;
	}
	*ret = list;
	*ret_n = n;
	return 0;
}

static int read_present(struct reader *r, const struct schema_field *f,
			const json_t *v, bool *ret)
{
	if (!json_is_object(v))
		return bad(r, "must be an object");
	*ret = json_object_size(v) > 0 || (f->flags & SCHEMA_EMPTY);
	return 0;
}

static int read_scalar(struct reader *r, const struct schema_field *f,
		       const json_t *v, char *at)
{
	struct oci_opt opt = {.set = true};
	int64_t n = 0;
	int rc;

	rc = read_number(r, f, v, &n);
	if (rc < 0)
		return rc;
	switch (f->kind) {
	case SCHEMA_U16:
		*(uint16_t *)(void *)at = (uint16_t)n;
		break;
	case SCHEMA_U32:
		*(uint32_t *)(void *)at = (uint32_t)n;
		break;
	case SCHEMA_I32:
		*(int32_t *)(void *)at = (int32_t)n;
		break;
	case SCHEMA_I64:
		*(int64_t *)(void *)at = n;
		break;
	default:
		opt.value = n;
		*(struct oci_opt *)(void *)at = opt;
		break;
	}
	return 0;
}

static int read_field(struct reader *r, const struct schema_field *f,
		      const json_t *v, char *out)
{
	char *at = out + f->offset;
	size_t *count = (size_t *)(void *)(out + f->count_offset);
	void *sub;

	switch (f->kind) {
	case SCHEMA_BOOL:
		if (!json_is_boolean(v))
			return bad(r, "must be true or false");
		*(bool *)(void *)at = json_is_true(v);
		return 0;
	case SCHEMA_U64:
		return read_u64(r, f, v, (uint64_t *)(void *)at);
	case SCHEMA_STR:
		if (json_is_string(v) && !(f->flags & SCHEMA_EMPTY) &&
		    !json_string_value(v)[0]) {
			if (f->flags & SCHEMA_REQUIRED)
				return bad(r, "must not be empty");
			return 0;
		}
		return read_string(r, v, (const char **)(void *)at);
	case SCHEMA_STRV:
		return read_strv(r, v, (const char ***)(void *)at);
	case SCHEMA_NUMS:
		return read_nums(r, f, v, (uint32_t **)(void *)at, count);
	case SCHEMA_KV:
		return read_kv(r, v, (struct oci_kv **)(void *)at, count);
	case SCHEMA_LIST:
		return read_list(r, f, v, (void **)(void *)at, count);
	case SCHEMA_MAP:
		return read_map(r, f, v, (void **)(void *)at, count);
	case SCHEMA_PRESENT:
		return read_present(r, f, v, (bool *)(void *)at);
	case SCHEMA_INLINE:
		return read_object(r, f->sub, v, at);
	case SCHEMA_OBJECT:
		sub = arena_alloc(r->arena, 1, f->sub->size);
		if (!sub)
			return no_memory(r);
		*(void **)(void *)at = sub;
		return read_object(r, f->sub, v, sub);
	default:
		return read_scalar(r, f, v, at);
	}
}

static int read_object(struct reader *r, const struct schema *s,
		       const json_t *json, void *out)
{
	const struct schema_field *f;
	const json_t *v;
	size_t i, old;
	int rc;

	if (!json_is_object(json))
		return bad(r, "must be an object");
	for (i = 0; i < s->n_fields; i++) {
		f = &s->fields[i];
		v = json_object_get(json, f->name);
		old = path_push(r, f->name, 0);
		if (v && !json_is_null(v)) {
			rc = read_field(r, f, v, out);
			if (rc < 0)
				return rc;
		} else if (f->flags & SCHEMA_REQUIRED) {
			return bad(r, "is missing");
		}
		path_pop(r, old);
	}
	return 0;
}

int schema_read(const struct schema *s, const json_t *json, const char *path,
		struct arena *a, void *out, struct err *e)
{
	struct reader r = {.arena = a, .e = e};

	snprintf(r.path, sizeof(r.path), "%s", path);
	r.len = strlen(r.path);
	return read_object(&r, s, json, out);
}

/* ---------------------------------------------------------------- writing */

static json_t *write_strv(const char *const *list)
{
	json_t *array = json_array();
	size_t i;

	for (i = 0; array && list[i]; i++) {
		if (json_array_append_new(array, json_string(list[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *write_nums(const uint32_t *list, size_t n)
{
	json_t *array = json_array();
	size_t i;

	for (i = 0; array && i < n; i++) {
		if (json_array_append_new(array, json_integer(list[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *write_kv(const struct oci_kv *list, size_t n)
{
	json_t *object = json_object();
	size_t i;

	for (i = 0; object && i < n; i++) {
		if (json_object_set_new(object, list[i].key,
					json_string(list[i].value)) < 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

static json_t *write_list(const struct schema *s, const char *list, size_t n)
{
	json_t *array = json_array();
	size_t i;

	for (i = 0; array && i < n; i++) {
		if (json_array_append_new(array, schema_write(s, list)) < 0) {
			json_decref(array);
			return NULL;
		}
		list += s->size;
	}
	return array;
}

static json_t *write_map(const struct schema *s, const char *list, size_t n)
{
	json_t *object = json_object();
	const char *key;
	size_t i;

	for (i = 0; object && i < n; i++) {
		memcpy(&key, list, sizeof(key));
		if (json_object_set_new(object, key, schema_write(s, list)) <
		    0) {
			json_decref(object);
			return NULL;
		}
		list += s->size;
	}
	return object;
}

static json_t *write_u64(const struct schema_field *f, uint64_t v)
{
	char text[32];

	if (v <= INT64_MAX)
		return json_integer((json_int_t)v);
	if (f->flags & SCHEMA_INFINITE)
		return json_integer(INT64_MAX);
	snprintf(text, sizeof(text), BIG_MARK "%llu", (unsigned long long)v);
	return json_string(text);
}

static int64_t scalar_value(const struct schema_field *f, const char *at)
{
	switch (f->kind) {
	case SCHEMA_U16:
		return *(const uint16_t *)(const void *)at;
	case SCHEMA_U32:
		return *(const uint32_t *)(const void *)at;
	case SCHEMA_I32:
		return *(const int32_t *)(const void *)at;
	default:
		return *(const int64_t *)(const void *)at;
	}
}

static const void *pointer_at(const char *at)
{
	const void *p;

	memcpy(&p, at, sizeof(p));
	return p;
}

/* A member that is an array with its count; NULL: nothing to write. */
static json_t *write_counted(const struct schema_field *f, const char *in)
{
	const void *p = pointer_at(in + f->offset);
	size_t n;

	memcpy(&n, in + f->count_offset, sizeof(n));
	if (n == 0)
		return NULL;
	if (f->kind == SCHEMA_NUMS)
		return write_nums(p, n);
	if (f->kind == SCHEMA_KV)
		return write_kv(p, n);
	if (f->kind == SCHEMA_MAP)
		return write_map(f->sub, p, n);
	return write_list(f->sub, p, n);
}

static json_t *write_number(const struct schema_field *f, const char *at)
{
	bool always = f->flags & (SCHEMA_REQUIRED | SCHEMA_ALWAYS);
	uint64_t u;
	int64_t i;

	if (f->kind == SCHEMA_U64) {
		memcpy(&u, at, sizeof(u));
		return u || always ? write_u64(f, u) : NULL;
	}
	i = scalar_value(f, at);
	return i || always ? json_integer(i) : NULL;
}

/* NULL: nothing to write (or no memory, which the reader of a document that
 * lacks a part will tell as a missing member). */
static json_t *write_field(const struct schema_field *f, const char *in)
{
	const char *at = in + f->offset;
	const struct oci_opt *opt;
	const void *p;

	switch (f->kind) {
	case SCHEMA_BOOL:
		if (!*(const bool *)(const void *)at &&
		    !(f->flags & SCHEMA_REQUIRED))
			return NULL;
		return json_boolean(*(const bool *)(const void *)at);
	case SCHEMA_OPT:
		opt = (const void *)at;
		return opt->set ? json_integer(opt->value) : NULL;
	case SCHEMA_STR:
		p = pointer_at(at);
		return p ? json_string(p) : NULL;
	case SCHEMA_STRV:
		p = pointer_at(at);
		return p ? write_strv(p) : NULL;
	case SCHEMA_INLINE:
		return schema_write(f->sub, at);
	case SCHEMA_OBJECT:
		p = pointer_at(at);
		return p ? schema_write(f->sub, p) : NULL;
	case SCHEMA_NUMS:
	case SCHEMA_KV:
	case SCHEMA_LIST:
	case SCHEMA_MAP:
		return write_counted(f, in);
	case SCHEMA_PRESENT:
		return NULL;
	default:
		return write_number(f, at);
	}
}

json_t *schema_write(const struct schema *s, const void *in)
{
	json_t *object = json_object(), *v;
	size_t i;

	for (i = 0; object && i < s->n_fields; i++) {
		v = write_field(&s->fields[i], in);
		if (v &&
		    json_object_set_new(object, s->fields[i].name, v) < 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}

/* ---------------------------------------------------------------- loading */

/* Does the run of n digits stand for more than INT64_MAX? */
static bool digits_are_big(const char *s, size_t n)
{
	return n > 19 || (n == 19 && memcmp(s, "9223372036854775807", 19) > 0);
}

/* Copies text, putting integers that jansson would refuse into marked
 * strings. Only whole, positive integers outside of strings are touched; all
 * else, errors included, is left for jansson to judge. */
static int rewrite_big(const char *text, size_t len, struct buf *out)
{
	bool in_string = false, fraction;
	size_t i = 0, start, n;

	while (i < len) {
		start = i;
		if (in_string || text[i] < '0' || text[i] > '9') {
			if (in_string && text[i] == '\\' && i + 1 < len)
				i++;
			else if (text[i] == '"')
				in_string = !in_string;
			i++;
			buf_append(out, text + start, i - start);
			continue;
		}
		while (i < len && text[i] >= '0' && text[i] <= '9')
			i++;
		n = i - start;
		fraction = (i < len && (text[i] == '.' || text[i] == 'e' ||
					text[i] == 'E')) ||
			   (start > 0 &&
			    (text[start - 1] == '-' || text[start - 1] == '+' ||
			     text[start - 1] == '.' || text[start - 1] == 'e' ||
			     text[start - 1] == 'E'));
		if (!fraction && digits_are_big(text + start, n))
			buf_printf(out, "\"\\u0001%.*s\"", (int)n,
				   text + start);
		else
			buf_append(out, text + start, n);
	}
	return buf_error(out);
}

/* Is there a run of 19 digits at all? Hardly ever. */
static bool may_have_big(const char *text, size_t len)
{
	size_t i, n = 0;

	for (i = 0; i < len; i++) {
		n = text[i] >= '0' && text[i] <= '9' ? n + 1 : 0;
		if (n == 19)
			return true;
	}
	return false;
}

int schema_load(const char *text, size_t len, json_t **ret, struct err *e)
{
	_cleanup_buf_ struct buf copy = BUF_INIT;
	char escaped[160];
	json_error_t je;
	json_t *json;
	int r;

	if (len > INT_MAX / 2)
		return err_set(e, E2BIG, "the configuration is too large");
	if (may_have_big(text, len)) {
		r = rewrite_big(text, len, &copy);
		if (r < 0)
			return err_sys(e, -r, "read the configuration");
		text = buf_str(&copy);
		len = copy.len;
	}
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	if (!json)
		return err_set(e, EINVAL, "line %d, column %d: %s", je.line,
			       je.column,
			       text_escape(je.text, escaped, sizeof(escaped)));
	*ret = json;
	return 0;
}
