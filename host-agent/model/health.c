/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/model/health.h"

#include <string.h>

static const char *const how_names[] = {
	[CHECK_EXEC] = "exec",
	[CHECK_HTTP] = "http",
	[CHECK_TCP] = "tcp",
	[CHECK_DISABLED] = "none",
};
_Static_assert(sizeof(how_names) / sizeof(how_names[0]) == CHECK_HOW_MAX,
	       "a name for each way of checking");

static const char *const action_names[] = {
	[CHECK_RESTART] = "restart",
	[CHECK_RESTART_VM] = "restart_vm",
	[CHECK_NOTHING] = "none",
};
_Static_assert(sizeof(action_names) / sizeof(action_names[0]) ==
		       CHECK_ACTION_MAX,
	       "a name for each action");

static const char *const no_words[] = {NULL};

const char *check_how_name(enum check_how h)
{
	return h < CHECK_HOW_MAX ? how_names[h] : "?";
}

const char *check_action_name(enum check_action a)
{
	return a < CHECK_ACTION_MAX ? action_names[a] : "?";
}

/* ------------------------------------------------------------------- rules */

const char *check_http_path(const char *s)
{
	static const char why[] =
		"a path that begins with '/', of at most 1024 printable ASCII "
		"characters without blanks";
	const unsigned char *p = (const unsigned char *)s;

	if (*p != '/' || strlen(s) > HYB_CHECK_PATH_MAX)
		return why;
	for (; *p; p++)
		if (*p <= ' ' || *p >= 0x7f)
			return why;
	return NULL;
}

const char *check_words(const char *const *words)
{
	size_t n, bytes = 0;

	for (n = 0; words[n]; n++)
		bytes += strlen(words[n]) + 1;
	if (n == 0 || !words[0][0])
		return "a command";
	if (n > HYB_CHECK_WORDS_MAX || bytes > HYB_CHECK_BYTES_MAX)
		return "a command of at most 256 words and 16 KiB";
	return NULL;
}

static bool check_is_good(const struct model_check *c)
{
	if (c->how == CHECK_DISABLED)
		return true;
	if (c->interval_ns < HYB_CHECK_LEAST_NS ||
	    c->interval_ns > HYB_CHECK_INTERVAL_NS ||
	    c->timeout_ns < HYB_CHECK_LEAST_NS ||
	    c->timeout_ns > HYB_CHECK_TIMEOUT_NS ||
	    c->start_period_ns > HYB_CHECK_INTERVAL_NS || c->retries < 1 ||
	    c->retries > HYB_CHECK_RETRIES_MAX)
		return false;
	if (c->how == CHECK_EXEC)
		return !check_words(c->args);
	return c->port && (c->how == CHECK_TCP || !check_http_path(c->path));
}

int check_health(const struct model_container *c, struct err *e)
{
	if (c->healthcheck && !check_is_good(c->healthcheck))
		return err_set(e, EINVAL, "healthcheck is not valid");
	if (c->readiness && (c->readiness->how == CHECK_DISABLED ||
			     !check_is_good(c->readiness)))
		return err_set(e, EINVAL, "readiness is not valid");
	return 0;
}

/* ----------------------------------------------------------------- to JSON */

static json_t *check_to_json(const struct model_check *c)
{
	if (!c)
		return json_null();
	return json_pack("{s:s,s:o,s:i,s:s,s:I,s:I,s:I,s:I,s:s}", "how",
			 check_how_name(c->how), "args",
			 strings_to_json(c->args), "port", (int)c->port, "path",
			 c->path, "interval_ns", (json_int_t)c->interval_ns,
			 "timeout_ns", (json_int_t)c->timeout_ns,
			 "start_period_ns", (json_int_t)c->start_period_ns,
			 "retries", (json_int_t)c->retries, "on_failure",
			 check_action_name(c->on_failure));
}

bool health_to_json(json_t *o, const struct model_container *c)
{
	json_t *health = check_to_json(c->healthcheck);
	json_t *ready = check_to_json(c->readiness);
	bool ok = health && ready;

	ok = ok && json_object_set(o, "healthcheck", health) == 0 &&
	     json_object_set(o, "readiness", ready) == 0;
	json_decref(health);
	json_decref(ready);
	return ok;
}

/* --------------------------------------------------------------- from JSON */

static bool number(const json_t *o, const char *key, uint64_t *ret)
{
	const json_t *j = json_object_get(o, key);

	if (!json_is_integer(j) || json_integer_value(j) < 0)
		return false;
	*ret = (uint64_t)json_integer_value(j);
	return true;
}

static int name_index(const json_t *o, const char *key,
		      const char *const *names, int n)
{
	const char *s = json_string_value(json_object_get(o, key));
	int i;

	for (i = 0; s && i < n; i++)
		if (strcmp(s, names[i]) == 0)
			return i;
	return -1;
}

/* NULL: it is none, or there is no memory. */
static const char *text(struct arena *a, const json_t *j)
{
	const char *s = json_string_value(j);

	if (!s || strlen(s) != json_string_length(j))
		return NULL;
	return arena_strdup(a, s);
}

static const char *const *words(struct arena *a, const json_t *o)
{
	const json_t *list = json_object_get(o, "args");
	size_t i, n = json_array_size(list);
	const char **v;

	if (n == 0)
		return no_words;
	if (n > HYB_CHECK_WORDS_MAX)
		return NULL;
	v = arena_alloc(a, n + 1, sizeof(*v));
	for (i = 0; v && i < n; i++) {
		v[i] = text(a, json_array_get(list, i));
		if (!v[i])
			return NULL;
	}
	return v;
}

static const struct model_check *check_from_json(struct arena *a,
						 const json_t *o)
{
	int how = name_index(o, "how", how_names, CHECK_HOW_MAX);
	int action =
		name_index(o, "on_failure", action_names, CHECK_ACTION_MAX);
	struct model_check *c = arena_alloc(a, 1, sizeof(*c));
	uint64_t port, retries;

	if (!c || how < 0 || action < 0)
		return NULL;
	c->how = (enum check_how)how;
	c->on_failure = (enum check_action)action;
	c->args = words(a, o);
	c->path = text(a, json_object_get(o, "path"));
	if (!c->args || !c->path || !number(o, "port", &port) ||
	    port > UINT16_MAX || !number(o, "retries", &retries) ||
	    retries > UINT32_MAX ||
	    !number(o, "interval_ns", &c->interval_ns) ||
	    !number(o, "timeout_ns", &c->timeout_ns) ||
	    !number(o, "start_period_ns", &c->start_period_ns))
		return NULL;
	c->port = (uint16_t)port;
	c->retries = (uint32_t)retries;
	return c;
}

static int member(struct arena *a, const json_t *o, const char *key,
		  const struct model_check **ret, struct err *e)
{
	const json_t *j = json_object_get(o, key);

	if (!j || json_is_null(j))
		return 0;
	*ret = check_from_json(a, j);
	return *ret ? 0 : err_set(e, EINVAL, "'%s' is not valid", key);
}

int health_from_json(struct arena *arena, const json_t *o,
		     struct model_container *c, struct err *e)
{
	int r = member(arena, o, "healthcheck", &c->healthcheck, e);

	return r < 0 ? r : member(arena, o, "readiness", &c->readiness, e);
}
