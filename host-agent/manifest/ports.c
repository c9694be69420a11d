/* SPDX-License-Identifier: Apache-2.0 */
/* ports: "[[HOST_IP:]PUBLISHED:]TARGET[/tcp]" or a map. */
#include "host-agent/manifest/container.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "host-agent/model/check.h"

#define EPHEMERAL                                                             \
	"a published port that the host chooses is not supported yet; write " \
	"PUBLISHED:TARGET, such as 8080:80"

static bool host_ip_parse(struct reading *r, const struct node *at,
			  const char *s, const char **ret)
{
	char canonical[HYB_IP_MAX];
	const char *why = check_host_ip(s, canonical);

	if (why) {
		node_error(r, at,
			   "the host address of a port must be %s; it "
			   "is %s",
			   why, text_show(r, s));
		return false;
	}
	*ret = read_strdup(r, canonical);
	return true;
}

static bool port_parse(struct reading *r, const struct node *at,
		       const char *what, const char *s, uint16_t *ret)
{
	const char *dash = strchr(s, '-');
	uint16_t port;

	if (text_is_number(s) && parse_port(s, &port) == 0) {
		*ret = port;
		return true;
	}
	if (dash && dash > s && dash[1] &&
	    strspn(s, "0123456789-") == strlen(s))
		node_error(r, at, "a range of ports (%s) is not supported yet",
			   text_show(r, s));
	else
		node_error(r, at, "%s must be a port from 1 to 65535; it is %s",
			   what, text_show(r, s));
	return false;
}

static bool protocol_parse(struct reading *r, const struct node *at,
			   const char *s)
{
	if (strcmp(s, "tcp") == 0)
		return true;
	if (strcmp(s, "udp") == 0)
		node_error(r, at, "the protocol udp is not supported yet");
	else
		node_error(r, at,
			   "the protocol of a port must be tcp; it is "
			   "%s",
			   text_show(r, s));
	return false;
}

/* Cuts the last ":"-separated part off s and returns it; NULL when there is no
 * colon outside brackets. */
static char *cut_last(char *s)
{
	char *colon = strrchr(s, ':'), *bracket = strrchr(s, ']');

	if (!colon || (bracket && colon < bracket))
		return NULL;
	*colon = '\0';
	return colon + 1;
}

/* An IPv6 address in the short form stands in brackets, for its colons. */
static bool short_ip(struct reading *r, const struct node *at, char *s,
		     const char **ret)
{
	size_t n = strlen(s);

	if (s[0] == '[' && s[n - 1] == ']') {
		s[n - 1] = '\0';
		if (strchr(++s, ':'))
			return host_ip_parse(r, at, s, ret);
	} else if (strchr(s, ':')) {
		node_error(r, at,
			   "an IPv6 address in a port stands in "
			   "brackets: \"[::1]:8080:80\"");
		return false;
	}
	return host_ip_parse(r, at, s, ret);
}

static bool port_short(struct reading *r, const struct node *at,
		       struct model_port *p)
{
	char text[128], *slash, *target, *published;

	if (at->len >= sizeof(text)) {
		node_error(r, at, "this is too long for a port");
		return false;
	}
	memcpy(text, at->text, at->len + 1);
	slash = strchr(text, '/');
	if (slash) {
		*slash++ = '\0';
		if (!protocol_parse(r, at, slash))
			return false;
	}
	target = cut_last(text);
	if (!target) {
		if (port_parse(r, at, "the target", text, &p->target))
			node_error(r, at, EPHEMERAL);
		return false;
	}
	published = cut_last(text);
	if (published && !short_ip(r, at, text, &p->host_ip))
		return false;
	if (!published)
		published = text;
	if (!*published) {
		node_error(r, at, EPHEMERAL);
		return false;
	}
	return port_parse(r, at, "the published port", published,
			  &p->published) &&
	       port_parse(r, at, "the target", target, &p->target);
}

/* The long form while it is read. */
struct port_draft {
	struct model_port m;
	bool bad;
};

static void port_number(struct reading *r, const struct node *n, uint16_t *ret,
			bool *bad)
{
	if (n->kind != NODE_SCALAR) {
		node_error(r, n, "'%s' must be a port, not %s", r->key,
			   node_show(r, n));
		*bad = true;
	} else if (!port_parse(r, n,
			       strcmp(r->key, "target") == 0 ? "'target'"
							     : "'published'",
			       n->text, ret)) {
		*bad = true;
	}
}

static void on_target(struct reading *r, const struct node *n, void *out)
{
	struct port_draft *p = out;

	port_number(r, n, &p->m.target, &p->bad);
}

static void on_published(struct reading *r, const struct node *n, void *out)
{
	struct port_draft *p = out;

	port_number(r, n, &p->m.published, &p->bad);
}

static void on_host_ip(struct reading *r, const struct node *n, void *out)
{
	struct port_draft *p = out;
	const char *s;

	if (!read_text(r, n, &s) || !host_ip_parse(r, n, s, &p->m.host_ip))
		p->bad = true;
}

static void on_protocol(struct reading *r, const struct node *n, void *out)
{
	struct port_draft *p = out;
	const char *s;

	if (!read_text(r, n, &s) || !protocol_parse(r, n, s))
		p->bad = true;
}

static const struct field port_fields[] = {
	{"target", on_target},
	{"published", on_published},
	{"host_ip", on_host_ip},
	{"protocol", on_protocol},
};

const struct field_table fields_port = {
	"a port",
	port_fields,
	ARRAY_SIZE(port_fields),
};

static bool port_long(struct reading *r, const struct node *at,
		      struct model_port *ret)
{
	struct port_draft p = {.m.host_ip = HYB_DEFAULT_HOST_IP};

	fields_read(r, at, &fields_port, &p);
	if (!node_get(at, "target")) {
		node_error(r, at, "a port has no 'target'");
		p.bad = true;
	}
	if (!node_get(at, "published")) {
		node_error(r, at, "a port has no 'published': %s", EPHEMERAL);
		p.bad = true;
	}
	*ret = p.m;
	return !p.bad && p.m.target && p.m.published;
}

void ports_read(struct reading *r, const struct node *n,
		struct ports_draft *ret)
{
	struct model_port *ports, *p;
	const struct node *item;
	size_t i;

	if (n->kind != NODE_LIST) {
		node_error(r, n, "'ports' must be a list; it is %s",
			   node_show(r, n));
		return;
	}
	ports = read_alloc(r, n->n, sizeof(*ports));
	ret->at = scratch_alloc(r, n->n, sizeof(*ret->at));
	if (!ports || !ret->at)
		return;
	for (i = 0; i < n->n; i++) {
		item = n->items[i];
		p = &ports[ret->n];
		p->host_ip = HYB_DEFAULT_HOST_IP;
		if (item->kind == NODE_LIST || node_is_null(item)) {
			node_error(r, item,
				   "a port must be text such as "
				   "\"8080:80\" or a map, not %s",
				   item->kind == NODE_LIST ? "a list"
							   : "nothing");
			continue;
		}
		if (item->kind == NODE_MAP ? port_long(r, item, p)
					   : port_short(r, item, p))
			ret->at[ret->n++] = item;
	}
	ret->v = ports;
}
