/* SPDX-License-Identifier: Apache-2.0 */
/* Events: what happened lately, and what happens. */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/varlink/params.h"

#include <time.h>

struct events_params {
	const char *name;
	bool follow;
	int64_t since;
};

static bool is_below(const char *object, const struct target *t)
{
	char prefix[3 * STATE_NAME_MAX];
	size_t len;

	snprintf(prefix, sizeof(prefix), "%s%s%s%s%s", t->stack,
		 t->vm[0] ? "/" : "", t->vm, t->container[0] ? "/" : "",
		 t->container);
	len = strlen(prefix);
	return len == 0 || (strncmp(object, prefix, len) == 0 &&
			    (object[len] == '\0' || object[len] == '/'));
}

static json_t *event_json(const char *tenant, const struct world_event *ev)
{
	time_t s = (time_t)(ev->time / 1000000000);
	char text[32], stamp[48];
	struct tm tm;

	if (!gmtime_r(&s, &tm))
		return json_object();
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(stamp, sizeof(stamp), "%s.%03dZ", text,
		 (int)(ev->time % 1000000000 / 1000000));
	return json_pack("{s:s,s:s,s:s,s:s,s:s}", "time", stamp, "tenant",
			 tenant, "object", ev->object, "event", ev->event,
			 "message", ev->message);
}

/* The next one that is wanted from *at on; NULL: none within wait_ms. */
static json_t *next_event(struct request *q, const struct target *t,
			  const struct events_params *p, uint64_t *at,
			  uint64_t wait_ms)
{
	struct world *w = q->api->world;
	const struct world_event *ev;
	json_t *found = NULL;

	world_lock(w);
	while (!found && (ev = world_event_next(w, q->tenant, at)))
		if (ev->time >= p->since && is_below(ev->object, t))
			found = event_json(q->tenant, ev);
	if (!found && wait_ms)
		world_wait(w, wait_ms);
	world_unlock(w);
	return found;
}

static int follow(struct request *q, const struct target *t,
		  const struct events_params *p, struct err *e)
{
	uint64_t at = 0;
	json_t *ev;

	while (!request_is_gone(q)) {
		ev = next_event(q, t, p, &at, 500);
		if (ev && request_reply(q, json_pack("{s:o}", "event", ev),
					true, e) < 0)
			return 0;
	}
	q->close = true;
	return 0;
}

int on_events(void *ctx, struct vl_call *call, struct err *e)
{
#define AT(m) offsetof(struct events_params, m)
	static const struct vl_field fields[] = {
		{"name", VL_STRING, AT(name), 0, 256, true},
		{"follow", VL_BOOL, AT(follow), 0, 0, true},
		{"since", VL_INT, AT(since), 0, INT64_MAX, true},
	};
#undef AT
	struct events_params p = {.name = ""};
	struct target t = {"", "", ""};
	struct request *q = ctx;
	json_t *list, *ev;
	uint64_t at = 0;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &p, NULL, e);
	if (r == 0 && p.follow && !(call->flags & VL_MORE))
		r = err_set(e, EINVAL, "follow: needs `more`");
	if (r == 0 && p.name[0])
		r = target_find(q, p.name, 1, &t, e);
	if (r < 0)
		return r;
	if (p.follow)
		return follow(q, &t, &p, e);
	list = json_array();
	while ((ev = next_event(q, &t, &p, &at, 0)))
		json_array_append_new(list, ev);
	return request_reply(q, json_pack("{s:o}", "events", list), false, e);
}
