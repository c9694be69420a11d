/* SPDX-License-Identifier: Apache-2.0 */
/* When checks are made, what their results mean, and the calls about them. */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/varlink/params.h"

#include <stdarg.h>
#include <stdio.h>

static struct check *check_of(const struct slot *s, enum check_kind kind)
{
	struct agent *a = s->agent;

	return &a->checks[s - a->slots][kind];
}

/* ------------------------------------------------------------------- words */

const char *health_word(const struct slot *s, enum check_kind kind)
{
	static const char *const words[CHECK_KINDS][3] = {
		[CHECK_HEALTH] = {"starting", "healthy", "unhealthy"},
		[CHECK_READINESS] = {"starting", "ready", "unready"},
	};
	const struct check *c = check_of(s, kind);

	return c->source ? words[kind][c->status] : "";
}

const char *health_note(const struct slot *s, enum check_kind kind,
			struct check_note *n)
{
	const struct check *c = check_of(s, kind);
	_cleanup_buf_ struct buf b = BUF_INIT;
	size_t len = c->last.len;

	n->s[0] = '\0';
	if (!c->source || !c->last.at || c->last.passed)
		return n->s;
	while (len > 0 && strchr("\r\n \t", c->last.text[len - 1]))
		len--;
	if (len > sizeof(n->s))
		len = sizeof(n->s);
	buf_puts(&b, c->last.why);
	buf_puts(&b, len > 0 ? ": " : "");
	buf_put_escaped(&b, c->last.text, len);
	len = b.len < sizeof(n->s) ? b.len : sizeof(n->s) - 1;
	/* Not in the middle of a character. */
	while (len < b.len && len > 0 &&
	       ((unsigned char)b.data[len] & 0xc0) == 0x80)
		len--;
	memcpy(n->s, buf_str(&b), len);
	n->s[len] = '\0';
	return n->s;
}

/* ----------------------------------------------------------------- results */

/* Until the first success failures within it do not count. */
static bool in_start_period(const struct check *c)
{
	uint64_t period = c->spec.start_period_ms;

	if (period < c->spec.interval_ms)
		period = c->spec.interval_ms;
	return !c->passed && now_ms() - c->since_ms < period;
}

static void count(struct check *c, bool passed)
{
	if (passed) {
		c->failures = 0;
		c->passed = true;
		c->status = CHECK_PASSING;
		return;
	}
	if (in_start_period(c))
		return;
	if (c->failures < UINT32_MAX)
		c->failures++;
	if (c->failures >= c->spec.retries)
		c->status = CHECK_FAILING;
}

static uint64_t text_hash(const char *s)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * UINT64_C(0x100000001b3);
	return h;
}

/* Tells the host when there is something new to be told. */
static void tell(struct check *c, enum check_status before)
{
	struct check_note note;
	uint64_t hash = text_hash(health_note(c->slot, c->kind, &note));

	if (c->status == before && hash == c->note_hash)
		return;
	c->note_hash = hash;
	events_changed(c->slot);
}

void check_result(struct check *c, bool passed, const char *why, ...)
{
	enum check_status before = c->status;
	va_list ap;

	c->now.passed = passed;
	c->now.ms = now_ms() - c->began_ms;
	c->now.why[0] = '\0';
	if (why) {
		va_start(ap, why);
		vsnprintf(c->now.why, sizeof(c->now.why), why, ap);
		va_end(ap);
	}
	c->last = c->now;
	count(c, passed);
	tell(c, before);
}

void check_add_text(struct check *c, const char *data, size_t len)
{
	size_t room = sizeof(c->now.text) - c->now.len;

	if (len > room)
		len = room;
	memcpy(c->now.text + c->now.len, data, len);
	c->now.len += len;
}

/* ---------------------------------------------------------------- schedule */

static bool container_runs(const struct slot *s)
{
	struct container_info i;

	container_get_info(s->container, &i);
	return i.status == CONTAINER_RUNNING;
}

void check_over(struct check *c)
{
	uint64_t wait = c->spec.interval_ms;

	c->busy = false;
	c->over = false;
	if (!c->active)
		return;
	if (in_start_period(c) && wait > AGENT_CHECK_QUICK_MS)
		wait = AGENT_CHECK_QUICK_MS;
	poller_timer_set(&c->agent->poller, &c->timer, now_ms() + wait);
}

static void check_begin(struct check *c)
{
	struct err e = ERR_INIT;
	int r;

	/* Paused: it goes on when it is resumed. */
	if (!c->active || !container_runs(c->slot))
		return;
	c->busy = true;
	c->over = false;
	c->began_ms = now_ms();
	c->now.at = now_realtime_ns();
	c->now.exit_code = -1;
	c->now.len = 0;
	poller_timer_set(&c->agent->poller, &c->timer,
			 c->began_ms + c->spec.timeout_ms);
	r = c->spec.how == CHECK_EXEC ? check_exec_begin(c, &e)
				      : check_net_begin(c, &e);
	if (r == 0)
		return;
	check_result(c, false, "%s", e.msg);
	check_over(c);
}

static void on_check_timer(struct timer *t)
{
	struct check *c = container_of(t, struct check, timer);

	if (!c->busy)
		check_begin(c);
	else if (c->spec.how == CHECK_EXEC)
		check_exec_timeout(c);
	else
		check_net_timeout(c);
}

/* What is being done is dropped, without a result. */
static void check_abort(struct check *c)
{
	poller_timer_cancel(&c->agent->poller, &c->timer);
	if (!c->busy)
		return;
	if (c->spec.how == CHECK_EXEC)
		check_exec_abort(c);
	else
		check_net_abort(c);
	c->busy = false;
	c->over = false;
}

static void check_activate(struct check *c)
{
	c->active = true;
	c->status = CHECK_STARTING;
	c->failures = 0;
	c->passed = false;
	c->note_hash = 0;
	c->last.at = 0;
	c->since_ms = now_ms();
	poller_timer_set(&c->agent->poller, &c->timer, c->since_ms);
}

void health_started(struct slot *s)
{
	enum check_kind k;

	for (k = 0; k < CHECK_KINDS; k++)
		if (check_of(s, k)->source)
			check_activate(check_of(s, k));
}

void health_paused(struct slot *s)
{
	enum check_kind k;

	for (k = 0; k < CHECK_KINDS; k++)
		if (check_of(s, k)->source)
			check_abort(check_of(s, k));
}

void health_resumed(struct slot *s)
{
	enum check_kind k;

	for (k = 0; k < CHECK_KINDS; k++) {
		struct check *c = check_of(s, k);

		if (!c->source || c->busy)
			continue;
		if (c->active)
			check_over(c);
		else
			check_activate(c);
	}
}

void health_ended(struct slot *s)
{
	enum check_kind k;

	for (k = 0; k < CHECK_KINDS; k++) {
		struct check *c = check_of(s, k);

		if (!c->source)
			continue;
		check_abort(c);
		c->active = false;
		c->status = CHECK_STARTING;
	}
}

static void check_unset(struct check *c)
{
	if (!c->source)
		return;
	check_abort(c);
	json_decref(c->source);
	c->source = NULL;
	c->n_ports = 0;
	c->active = false;
}

void health_free(struct slot *s)
{
	enum check_kind k;

	for (k = 0; k < CHECK_KINDS; k++)
		check_unset(check_of(s, k));
}

bool health_port_is_open(struct agent *a, uint16_t port)
{
	bool closed = false;
	size_t i, k;

	for (i = 0; i < AGENT_CONTAINERS_MAX; i++) {
		const struct check *c = &a->checks[i][CHECK_READINESS];

		for (k = 0; k < c->n_ports; k++) {
			if (c->ports[k] != port)
				continue;
			if (c->active && c->status == CHECK_PASSING)
				return true;
			closed = true;
		}
	}
	return !closed;
}

/* --------------------------------------------------------------- SetChecks */

struct check_params {
	const char *how, *path;
	json_t *args;
	int64_t port, interval, timeout, retries, start_period;
};

static int how_parse(const char *s, enum check_how *ret, struct err *e)
{
	static const char *const names[] = {"exec", "http", "tcp"};
	size_t i;

	_Static_assert(ARRAY_SIZE(names) == CHECK_HOW_MAX, "ways of checking");
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(names[i], s) == 0) {
			*ret = (enum check_how)i;
			return 0;
		}
	}
	return err_set(e, EINVAL, "how: must be exec, http or tcp");
}

static int args_check(const json_t *args, struct err *e)
{
	size_t i, total = 0;

	for (i = 0; i < json_array_size(args); i++)
		total += json_string_length(json_array_get(args, i)) + 1;
	if (json_string_length(json_array_get(args, 0)) == 0)
		return err_set(e, EINVAL, "args: no program is named");
	if (total > AGENT_CHECK_ARGS_BYTES)
		return err_set(e, EINVAL, "args: longer than %zu bytes",
			       AGENT_CHECK_ARGS_BYTES);
	return 0;
}

/* It goes into a request line. */
static int path_check(const char *path, struct err *e)
{
	const unsigned char *s = (const unsigned char *)path;

	if (*s != '/')
		return err_set(e, EINVAL, "path: must begin with '/'");
	for (; *s; s++)
		if (*s <= ' ' || *s >= 0x7f)
			return err_set(e, EINVAL,
				       "path: must be of printable ASCII "
				       "characters without blanks");
	return 0;
}

static int check_read(const json_t *j, struct check_spec *ret, struct err *e)
{
#define AT(m) offsetof(struct check_params, m)
	static const struct vl_field fields[] = {
		{"how", VL_STRING, AT(how), 0, 8, false},
		{"args", VL_STRINGS, AT(args), 0, AGENT_CHECK_ARGS_MAX, true},
		{"port", VL_INT, AT(port), 1, 65535, true},
		{"path", VL_STRING, AT(path), 0, AGENT_CHECK_PATH_MAX, true},
		{"interval", VL_INT, AT(interval), AGENT_CHECK_LEAST_MS,
		 AGENT_CHECK_INTERVAL_MAX_MS, false},
		{"timeout", VL_INT, AT(timeout), AGENT_CHECK_LEAST_MS,
		 AGENT_CHECK_TIMEOUT_MAX_MS, false},
		{"retries", VL_INT, AT(retries), 1, AGENT_CHECK_RETRIES_MAX,
		 false},
		{"start_period", VL_INT, AT(start_period), 0,
		 AGENT_CHECK_INTERVAL_MAX_MS, false},
	};
#undef AT
	struct check_params q = {.path = "/"};
	int r;

	r = vl_params_read(j, fields, ARRAY_SIZE(fields), true, &q, NULL, e);
	if (r == 0)
		r = how_parse(q.how, &ret->how, e);
	if (r < 0)
		return r;
	if (ret->how == CHECK_EXEC)
		r = args_check(q.args, e);
	else if (!q.port)
		r = err_set(e, EINVAL, "port: is missing");
	else
		r = path_check(q.path, e);
	ret->args = q.args;
	ret->port = (uint16_t)q.port;
	ret->path = q.path;
	ret->interval_ms = (uint64_t)q.interval;
	ret->timeout_ms = (uint64_t)q.timeout;
	ret->start_period_ms = (uint64_t)q.start_period;
	ret->retries = (uint32_t)q.retries;
	return r;
}

static int ports_check(const json_t *ports, struct err *e)
{
	json_int_t n;
	size_t i;

	for (i = 0; i < json_array_size(ports); i++) {
		n = json_integer_value(json_array_get(ports, i));
		if (n < 1 || n > 65535)
			return err_set(e, EINVAL, "ports: not a port");
	}
	return 0;
}

/* A check that stays as it was goes on with what it knows. */
static void check_set(struct slot *s, enum check_kind kind, json_t *source,
		      const struct check_spec *spec)
{
	struct check *c = check_of(s, kind);

	if (c->source && source && json_equal(c->source, source))
		return;
	check_unset(c);
	if (!source)
		return;
	c->agent = s->agent;
	c->slot = s;
	c->kind = kind;
	c->source = json_incref(source);
	c->spec = *spec;
	c->status = CHECK_STARTING;
	c->last.at = 0;
	c->timer.fn = on_check_timer;
	c->watch.fd = -1;
	if (container_runs(s))
		check_activate(c);
}

struct set_params {
	const char *id;
	json_t *checks[CHECK_KINDS];
	json_t *ports;
};

static int set_read(const struct vl_call *call, struct set_params *q,
		    struct check_spec specs[CHECK_KINDS], struct err *e)
{
	static const struct vl_field fields[] = {
		{"id", VL_STRING, offsetof(struct set_params, id), 0,
		 AGENT_ID_MAX, false},
		{"health", VL_OBJECT,
		 offsetof(struct set_params, checks[CHECK_HEALTH]), 0, 0, true},
		{"readiness", VL_OBJECT,
		 offsetof(struct set_params, checks[CHECK_READINESS]), 0, 0,
		 true},
		{"ports", VL_ARRAY, offsetof(struct set_params, ports), 0,
		 AGENT_CHECK_PORTS_MAX, true},
	};
	enum check_kind k;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   q, NULL, e);
	for (k = 0; r == 0 && k < CHECK_KINDS; k++)
		if (q->checks[k])
			r = check_read(q->checks[k], &specs[k], e);
	return r == 0 ? ports_check(q->ports, e) : r;
}

int method_set_checks(void *ctx, struct vl_call *call, struct err *e)
{
	struct check_spec specs[CHECK_KINDS] = {0};
	struct set_params q = {0};
	struct peer *p = ctx;
	struct check *ready;
	struct slot *s;
	enum check_kind k;
	size_t i;
	int r;

	r = set_read(call, &q, specs, e);
	if (r < 0)
		return r;
	s = peer_slot(p, q.id);
	if (!s)
		return 0;
	for (k = 0; k < CHECK_KINDS; k++)
		check_set(s, k, q.checks[k], &specs[k]);
	ready = check_of(s, CHECK_READINESS);
	ready->n_ports = 0;
	for (i = 0; ready->source && i < json_array_size(q.ports); i++)
		ready->ports[ready->n_ports++] = (uint16_t)json_integer_value(
			json_array_get(q.ports, i));
	peer_reply(p, json_pack("{s:o}", "container", slot_json(s)));
	events_changed(s);
	return 0;
}

/* ------------------------------------------------------------------ Checks */

/* What a container wrote, as text that JSON can hold. */
static json_t *text_json(const char *s, size_t len)
{
	_cleanup_free_ char *copy = malloc(len + 1);
	json_t *j;
	size_t i;

	if (!copy)
		return NULL;
	memcpy(copy, s, len);
	j = json_stringn(copy, len);
	if (j && !memchr(copy, '\0', len))
		return j;
	json_decref(j);
	for (i = 0; i < len; i++)
		if ((unsigned char)copy[i] >= 0x80 || copy[i] == '\0')
			copy[i] = '?';
	return json_stringn(copy, len);
}

static json_t *check_json(const struct slot *s, enum check_kind kind)
{
	const struct check *c = check_of(s, kind);

	if (!c->source)
		return json_null();
	return json_pack("{s:s,s:I,s:b,s:I,s:I,s:i,s:s,s:o}", "status",
			 health_word(s, kind), "failures",
			 (json_int_t)c->failures, "passed",
			 (int)(c->last.at && c->last.passed), "at",
			 (json_int_t)c->last.at, "duration",
			 (json_int_t)(c->last.at ? c->last.ms : 0), "exit_code",
			 c->last.at ? c->last.exit_code : -1, "message",
			 c->last.at ? c->last.why : "", "output",
			 text_json(c->last.text, c->last.at ? c->last.len : 0));
}

int method_checks(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"id", VL_STRING, 0, 0, AGENT_ID_MAX, false},
	};
	const char *id = NULL;
	struct peer *p = ctx;
	struct slot *s;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &id, NULL, e);
	if (r < 0)
		return r;
	s = peer_slot(p, id);
	if (!s)
		return 0;
	peer_reply(p,
		   json_pack("{s:o,s:o}", "health", check_json(s, CHECK_HEALTH),
			     "readiness", check_json(s, CHECK_READINESS)));
	return 0;
}
