/* SPDX-License-Identifier: Apache-2.0 */
/* healthcheck and readiness: how a container is checked, how often, and what
 * follows. */
#include "host-agent/manifest/container.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "host-agent/model/health.h"

/* One while it is read. */
struct check_draft {
	struct model_check m;
	/* With `test: [NONE]` they would say nothing. */
	const struct node *other;
};

static const char *const no_words[] = {NULL};

/* -------------------------------------------------------------------- test */

/* The words behind "CMD", or a shell's command line. */
static void test_words(struct reading *r, const struct node *n, size_t skip,
		       bool shell, struct check_draft *d)
{
	size_t i, k = 0, count = n->kind == NODE_LIST ? n->n - skip : 1;
	const char **v, *why;

	if (count > HYB_CHECK_WORDS_MAX) {
		node_error(r, n, "'%s' has more than %d words", r->key,
			   HYB_CHECK_WORDS_MAX);
		return;
	}
	v = read_alloc(r, count + 3, sizeof(*v));
	if (!v)
		return;
	if (shell) {
		v[k++] = "/bin/sh";
		v[k++] = "-c";
	}
	for (i = 0; i < count; i++)
		if (!read_text(r, n->kind == NODE_LIST ? n->items[skip + i] : n,
			       &v[k++]))
			return;
	why = check_words(v + (shell ? 2 : 0));
	if (why)
		node_error(r, n, "'%s' must have %s", r->key, why);
	d->m.how = CHECK_EXEC;
	d->m.args = v;
}

static void test_list(struct reading *r, const struct node *n,
		      struct check_draft *d)
{
	const struct node *first = n->n ? n->items[0] : NULL;
	const char *word =
		first && first->kind == NODE_SCALAR ? first->text : "";

	if (strcmp(word, "NONE") == 0 && n->n == 1) {
		d->m.how = CHECK_DISABLED;
	} else if (strcmp(word, "CMD") == 0 && n->n > 1) {
		test_words(r, n, 1, false, d);
	} else if (strcmp(word, "CMD-SHELL") == 0 && n->n == 2) {
		test_words(r, n, 1, true, d);
	} else {
		node_error(r, first ? first : n,
			   "'%s' must be [\"CMD\", WORD...], [\"CMD-SHELL\", "
			   "TEXT], [\"NONE\"] or a text for a shell",
			   r->key);
		d->m.how = CHECK_EXEC;
	}
}

static void on_test(struct reading *r, const struct node *n, void *out)
{
	struct check_draft *d = out;

	if (n->kind == NODE_LIST)
		test_list(r, n, d);
	else if (n->kind == NODE_SCALAR)
		test_words(r, n, 0, true, d);
	else
		node_error(r, n,
			   "'%s' must be a list of words or one text, "
			   "not a map",
			   r->key);
}

/* ------------------------------------------------------------ http and tcp */

static void on_port(struct reading *r, const struct node *n, void *out)
{
	struct check_draft *d = out;
	uint64_t v;

	if (read_int(r, n, 1, 65535, &v))
		d->m.port = (uint16_t)v;
	else
		d->m.port = 1; /* told */
}

static void on_path(struct reading *r, const struct node *n, void *out)
{
	struct check_draft *d = out;

	read_checked(r, n, check_http_path, &d->m.path);
}

static const struct field http_fields[] = {
	{"port", on_port},
	{"path", on_path},
};

static const struct field_table fields_http = {
	"'http' of a check",
	http_fields,
	ARRAY_SIZE(http_fields),
};

static const struct field tcp_fields[] = {
	{"port", on_port},
};

static const struct field_table fields_tcp = {
	"'tcp' of a check",
	tcp_fields,
	ARRAY_SIZE(tcp_fields),
};

static void read_net(struct reading *r, const struct node *n,
		     const struct field_table *t, struct check_draft *d)
{
	fields_read(r, n, t, d);
	if (n->kind == NODE_MAP && !node_get(n, "port"))
		node_error(r, n, "'%s' has no 'port'", r->key);
}

static void on_http(struct reading *r, const struct node *n, void *out)
{
	struct check_draft *d = out;

	d->m.how = CHECK_HTTP;
	read_net(r, n, &fields_http, d);
}

static void on_tcp(struct reading *r, const struct node *n, void *out)
{
	struct check_draft *d = out;

	d->m.how = CHECK_TCP;
	read_net(r, n, &fields_tcp, d);
}

/* ------------------------------------------------------------------- times */

static void on_interval(struct reading *r, const struct node *n, void *out)
{
	struct check_draft *d = out;

	d->other = n;
	read_duration(r, n, HYB_CHECK_LEAST_NS, HYB_CHECK_INTERVAL_NS,
		      "from 100ms to 24h", &d->m.interval_ns);
}

static void on_timeout(struct reading *r, const struct node *n, void *out)
{
	struct check_draft *d = out;

	d->other = n;
	read_duration(r, n, HYB_CHECK_LEAST_NS, HYB_CHECK_TIMEOUT_NS,
		      "from 100ms to 1h", &d->m.timeout_ns);
}

static void on_start_period(struct reading *r, const struct node *n, void *out)
{
	struct check_draft *d = out;

	d->other = n;
	read_duration(r, n, 0, HYB_CHECK_INTERVAL_NS, "at most 24h",
		      &d->m.start_period_ns);
}

static void on_retries(struct reading *r, const struct node *n, void *out)
{
	struct check_draft *d = out;
	uint64_t v;

	d->other = n;
	if (read_int(r, n, 1, HYB_CHECK_RETRIES_MAX, &v))
		d->m.retries = (uint32_t)v;
}

static void on_failure(struct reading *r, const struct node *n, void *out)
{
	struct check_draft *d = out;
	int i;

	d->other = n;
	for (i = 0; n->kind == NODE_SCALAR && i < CHECK_ACTION_MAX; i++) {
		if (strcmp(n->text, check_action_name((enum check_action)i)) ==
		    0) {
			d->m.on_failure = (enum check_action)i;
			return;
		}
	}
	node_error(r, n, "'%s' must be restart, restart_vm or none; it is %s",
		   r->key, node_show(r, n));
}

/* A container that is not ready is left alone. */
static void not_of_readiness(struct reading *r, const struct node *n, void *out)
{
	(void)out;
	node_error(r, n,
		   "'%s' belongs in 'healthcheck': 'readiness' only tells when "
		   "a container may be sent work, and until then waits for it",
		   r->key);
}

static const struct field healthcheck_fields[] = {
	{"test", on_test},
	{"http", on_http},
	{"tcp", on_tcp},
	{"interval", on_interval},
	{"timeout", on_timeout},
	{"retries", on_retries},
	{"start_period", on_start_period},
	{"on_failure", on_failure},
};

const struct field_table fields_healthcheck = {
	"a container's 'healthcheck'",
	healthcheck_fields,
	ARRAY_SIZE(healthcheck_fields),
};

static const struct field readiness_fields[] = {
	{"test", on_test},
	{"http", on_http},
	{"tcp", on_tcp},
	{"interval", on_interval},
	{"timeout", on_timeout},
	{"retries", on_retries},
	{"start_period", not_of_readiness},
	{"on_failure", not_of_readiness},
};

static const struct field_table fields_readiness = {
	"a container's 'readiness'",
	readiness_fields,
	ARRAY_SIZE(readiness_fields),
};

/* ------------------------------------------------------------- the checks */

/* Exactly one way of checking. */
static void check_ways(struct reading *r, const struct node *n,
		       const struct check_draft *d)
{
	const struct node *ways[] = {node_get(n, "test"), node_get(n, "http"),
				     node_get(n, "tcp")};
	const struct node *last = NULL;
	size_t i, count = 0;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		if (!ways[i])
			continue;
		count++;
		last = ways[i];
	}
	if (count == 0)
		node_error(r, n, "'%s' needs one of 'test', 'http' and 'tcp'",
			   r->key);
	else if (count > 1)
		node_error(r, last,
			   "'%s' has more than one of 'test', 'http' and "
			   "'tcp'",
			   r->key);
	else if (d->m.how == CHECK_DISABLED && d->other)
		node_error(r, d->other,
			   "this says nothing beside test: [\"NONE\"], which "
			   "is no check");
}

static const struct model_check *check_read(struct reading *r,
					    const struct node *n,
					    const struct field_table *t,
					    const struct model_check *defaults)
{
	struct check_draft d = {.m = *defaults};
	struct model_check *c;

	fields_read(r, n, t, &d);
	if (n->kind != NODE_MAP)
		return NULL;
	check_ways(r, n, &d);
	c = read_alloc(r, 1, sizeof(*c));
	if (c)
		*c = d.m;
	return c;
}

void healthcheck_read(struct reading *r, const struct node *n, void *draft)
{
	const struct model_check defaults = {
		.args = no_words,
		.path = "/",
		.interval_ns = HYB_HEALTH_INTERVAL_NS,
		.timeout_ns = HYB_HEALTH_TIMEOUT_NS,
		.retries = HYB_CHECK_RETRIES,
	};
	struct container_draft *d = draft;

	d->m.healthcheck = check_read(r, n, &fields_healthcheck, &defaults);
}

void readiness_read(struct reading *r, const struct node *n, void *draft)
{
	const struct model_check defaults = {
		.args = no_words,
		.path = "/",
		.interval_ns = HYB_READINESS_INTERVAL_NS,
		.timeout_ns = HYB_READINESS_TIMEOUT_NS,
		.retries = HYB_CHECK_RETRIES,
		.on_failure = CHECK_NOTHING,
	};
	struct container_draft *d = draft;

	d->m.readiness = check_read(r, n, &fields_readiness, &defaults);
	if (d->m.readiness && d->m.readiness->how == CHECK_DISABLED)
		node_error(r, n,
			   "'readiness' cannot be [\"NONE\"]: leave the key "
			   "out, images have none");
}
