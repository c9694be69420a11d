/* SPDX-License-Identifier: Apache-2.0 */
/* What only the whole stack, or the whole file, can tell. */
#include "host-agent/manifest/container.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "host-agent/model/check.h"

/* ------------------------------------------------------------ resources */

static unsigned long long mib(uint64_t bytes)
{
	return (unsigned long long)((bytes + (1 << 20) - 1) >> 20);
}

static void check_container_resources(struct reading *r,
				      const struct vm_draft *vm,
				      const struct container_draft *c)
{
	if (c->cpus && c->m.limits.cpus_milli > vm->m.vcpus * 1000)
		node_error(r, c->cpus,
			   "'cpus' is %s, but the VM %s has %u vcpus",
			   node_show(r, c->cpus), text_show(r, vm->m.name),
			   vm->m.vcpus);
	if (c->memory && vm->memory &&
	    c->m.limits.memory + HYB_GUEST_LEAST_MEMORY > vm->m.memory)
		node_error(r, c->memory,
			   "'memory' is %s, but the VM %s has %llum, of which "
			   "its kernel and agent need %llum",
			   node_show(r, c->memory), text_show(r, vm->m.name),
			   mib(vm->m.memory), mib(HYB_GUEST_LEAST_MEMORY));
}

static void check_resources(struct reading *r, const struct vm_draft *vm)
{
	size_t i;

	for (i = 0; i < vm->n; i++)
		check_container_resources(r, vm, &vm->containers[i]);
	if (!vm->m.memory && model_vm_memory(&vm->m) > HYB_VM_MEMORY_MAX)
		node_error(r, vm->at,
			   "the containers' memory adds up to %llum, more than "
			   "a VM can have (%llum)",
			   mib(model_vm_memory(&vm->m)),
			   mib(HYB_VM_MEMORY_MAX));
}

/* --------------------------------------------------------- dependencies */

/* The containers of a stack, numbered, so that edges are indexes. */
struct graph {
	const struct container_draft **nodes;
	size_t n;
	unsigned char *state; /* of each: enum visit */
	size_t *path;	      /* the walk down from where it began */
	size_t *next;	      /* the edge to take next, of each on the path */
};

enum visit { UNSEEN, ON_PATH, DONE };

static const struct vm_draft *draft_find_vm(const struct stack_draft *s,
					    const char *name)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		if (strcmp(s->vms[i].m.name, name) == 0)
			return &s->vms[i];
	return NULL;
}

static const struct container_draft *
draft_find_container(const struct vm_draft *vm, const char *name)
{
	size_t i;

	for (i = 0; i < vm->n; i++)
		if (strcmp(vm->containers[i].m.name, name) == 0)
			return &vm->containers[i];
	return NULL;
}

static const struct container_draft *
dependency_target(const struct stack_draft *s,
		  const struct model_dependency *dep)
{
	const struct vm_draft *vm = draft_find_vm(s, dep->vm);

	return vm ? draft_find_container(vm, dep->container) : NULL;
}

static const char *suggest_container(const struct vm_draft *vm,
				     const char *name)
{
	const char *names[64];
	size_t i;

	for (i = 0; i < vm->n && i < ARRAY_SIZE(names); i++)
		names[i] = vm->containers[i].m.name;
	return nearest_name(name, names, i);
}

static const char *suggest_vm(const struct stack_draft *s, const char *name)
{
	const char *names[64];
	size_t i;

	for (i = 0; i < s->n && i < ARRAY_SIZE(names); i++)
		names[i] = s->vms[i].m.name;
	return nearest_name(name, names, i);
}

static void unknown_target(struct reading *r, const struct stack_draft *s,
			   const struct model_dependency *dep,
			   const struct node *at)
{
	const struct vm_draft *vm = draft_find_vm(s, dep->vm);
	const char *near = vm ? suggest_container(vm, dep->container)
			      : suggest_vm(s, dep->vm);
	const char *meant = near ? text_show(r, near) : "";
	const char *ask = near ? "; did you mean " : "";
	const char *end = near ? "?" : "";

	if (vm)
		node_error(r, at, "the VM %s has no container %s%s%s%s",
			   text_show(r, dep->vm), text_show(r, dep->container),
			   ask, meant, end);
	else
		node_error(r, at, "there is no VM %s%s%s%s",
			   text_show(r, dep->vm), ask, meant, end);
}

/* Whether its image has a check is known when it is deployed only. */
static void check_healthy(struct reading *r, const struct container_draft *t,
			  const struct node *at)
{
	if (!t->m.readiness && t->m.healthcheck &&
	    t->m.healthcheck->how == CHECK_DISABLED)
		node_error(r, at,
			   "%s can never be healthy: its 'healthcheck' is "
			   "[\"NONE\"] and it has no 'readiness'",
			   node_show(r, at));
}

static void check_targets(struct reading *r, const struct stack_draft *s,
			  const struct container_draft *c)
{
	const struct container_draft *target;
	const struct model_dependency *dep;
	size_t i, k;

	for (i = 0; i < c->m.n_depends_on; i++) {
		dep = &c->deps[i];
		target = dependency_target(s, dep);
		if (!target) {
			unknown_target(r, s, dep, c->dep_at[i]);
			continue;
		}
		if (dep->condition == DEPENDS_HEALTHY)
			check_healthy(r, target, c->dep_at[i]);
		for (k = 0; k < i; k++) {
			if (strcmp(c->deps[k].vm, dep->vm) != 0 ||
			    strcmp(c->deps[k].container, dep->container) != 0)
				continue;
			node_error(r, c->dep_at[i], "%s is named twice",
				   node_show(r, c->dep_at[i]));
			break;
		}
	}
}

/* "web.a → web.b → web.a", from the place on the path where it closes. */
static void report_circle(struct reading *r, const struct graph *g,
			  size_t depth, size_t closes, const struct node *at)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	const struct container_draft *c;
	size_t i, from = depth;

	while (from > 0 && g->path[from - 1] != closes)
		from--;
	from = from ? from - 1 : 0;
	for (i = from; i < depth; i++) {
		c = g->nodes[g->path[i]];
		if (i - from == 8 && depth - i > 2) {
			buf_puts(&b, "... → ");
			i = depth - 1;
			c = g->nodes[g->path[i]];
		}
		buf_printf(&b, "%s.%s → ", c->vm, c->m.name);
	}
	c = g->nodes[closes];
	buf_printf(&b, "%s.%s", c->vm, c->m.name);
	if (buf_error(&b))
		r->oom = true;
	else if (depth - from == 1)
		node_error(r, at, "%s.%s depends on itself", c->vm, c->m.name);
	else
		node_error(r, at, "'depends_on' goes in a circle: %s",
			   buf_str(&b));
}

static size_t graph_index(const struct graph *g,
			  const struct container_draft *c)
{
	size_t i;

	for (i = 0; i < g->n && g->nodes[i] != c; i++)
		;
	return i;
}

/* Depth first, with the path in an array and not on the stack: a manifest may
 * have thousands of containers in a row. */
static void graph_walk(struct reading *r, const struct stack_draft *s,
		       struct graph *g, size_t start)
{
	const struct container_draft *c, *target;
	size_t depth = 1, at, to, edge;

	g->path[0] = start;
	g->next[0] = 0;
	g->state[start] = ON_PATH;
	while (depth > 0) {
		at = g->path[depth - 1];
		c = g->nodes[at];
		edge = g->next[depth - 1]++;
		if (edge == c->m.n_depends_on) {
			g->state[at] = DONE;
			depth--;
			continue;
		}
		target = dependency_target(s, &c->deps[edge]);
		to = target ? graph_index(g, target) : at;
		if (!target || g->state[to] == DONE)
			continue;
		if (g->state[to] == ON_PATH) {
			report_circle(r, g, depth, to, c->dep_at[edge]);
			continue;
		}
		g->state[to] = ON_PATH;
		g->path[depth] = to;
		g->next[depth++] = 0;
	}
}

static void check_circles(struct reading *r, const struct stack_draft *s)
{
	struct graph g = {0};
	size_t i, k, n = 0;

	for (i = 0; i < s->n; i++)
		n += s->vms[i].n;
	g.nodes = scratch_alloc(r, n, sizeof(*g.nodes));
	g.state = scratch_alloc(r, n, sizeof(*g.state));
	g.path = scratch_alloc(r, n, sizeof(*g.path));
	g.next = scratch_alloc(r, n, sizeof(*g.next));
	if (r->oom)
		return;
	for (i = 0; i < s->n; i++)
		for (k = 0; k < s->vms[i].n; k++)
			g.nodes[g.n++] = &s->vms[i].containers[k];
	for (i = 0; i < g.n; i++)
		if (g.state[i] == UNSEEN)
			graph_walk(r, s, &g, i);
}

void crosscheck_stack(struct reading *r, struct stack_draft *s)
{
	size_t i, k;

	for (i = 0; i < s->n; i++) {
		check_resources(r, &s->vms[i]);
		for (k = 0; k < s->vms[i].n; k++)
			check_targets(r, s, &s->vms[i].containers[k]);
	}
	mounts_crosscheck(r, s);
	files_crosscheck(r, s);
	if (!r->oom)
		check_circles(r, s);
}

/* ------------------------------------------------------------- the file */

struct listener {
	const struct model_port *port;
	const struct node *at;
	const char *vm, *container; /* "": the VM's own */
	size_t order;
};

static int compare_listeners(const void *a, const void *b)
{
	const struct listener *x = a, *y = b;

	if (x->port->published != y->port->published)
		return x->port->published < y->port->published ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static void check_listeners(struct reading *r, struct listener *l, size_t n)
{
	size_t i, k;

	qsort(l, n, sizeof(*l), compare_listeners);
	for (i = 1; i < n; i++) {
		for (k = i; k-- > 0;) {
			if (l[k].port->published != l[i].port->published)
				break;
			if (!check_ips_overlap(l[k].port->host_ip,
					       l[i].port->host_ip))
				continue;
			node_error(r, l[i].at,
				   "port %u of %s is published already, by "
				   "%s%s%s in line %u",
				   l[i].port->published,
				   text_show(r, l[i].port->host_ip), l[k].vm,
				   *l[k].container ? "." : "", l[k].container,
				   l[k].at->line);
			break;
		}
	}
}

static size_t add_listeners(const struct ports_draft *p, const char *vm,
			    const char *container, struct listener *l, size_t n,
			    size_t max)
{
	size_t i;

	for (i = 0; i < p->n && n < max; i++, n++)
		l[n] = (struct listener){.port = &p->v[i],
					 .at = p->at[i],
					 .vm = vm,
					 .container = container,
					 .order = n};
	return n;
}

static size_t collect_listeners(const struct stack_draft *s, struct listener *l,
				size_t n, size_t max)
{
	const struct container_draft *c;
	const struct vm_draft *vm;
	size_t i, k;

	for (i = 0; i < s->n; i++) {
		vm = &s->vms[i];
		n = add_listeners(&vm->ports, vm->m.name, "", l, n, max);
		for (k = 0; k < vm->n; k++) {
			c = &vm->containers[k];
			n = add_listeners(&c->ports, vm->m.name, c->m.name, l,
					  n, max);
		}
	}
	return n;
}

/* Two stacks with one name would take turns in replacing each other. */
static void check_stack_names(struct reading *r,
			      struct stack_draft *const *stacks, size_t n)
{
	const struct node *at;
	size_t i, k;

	for (i = 1; i < n; i++) {
		for (k = 0; k < i; k++) {
			if (!*stacks[i]->m->name ||
			    strcmp(stacks[i]->m->name, stacks[k]->m->name) ||
			    strcmp(stacks[i]->m->tenant, stacks[k]->m->tenant))
				continue;
			at = node_get(stacks[i]->root, "name");
			node_error(r, at,
				   "the stack %s is there already, in line %u",
				   text_show(r, stacks[i]->m->name),
				   stacks[k]->root->line);
			break;
		}
	}
}

void crosscheck_file(struct reading *r, struct stack_draft *const *stacks,
		     size_t n)
{
	const size_t max = HYB_MANIFEST_PORTS_MAX + 1;
	struct listener *l = scratch_alloc(r, max, sizeof(*l));
	size_t i, count = 0;

	if (!l)
		return;
	for (i = 0; i < n; i++)
		count = collect_listeners(stacks[i], l, count, max);
	if (count == max)
		node_error(r, l[max - 1].at, "more than %d published ports",
			   HYB_MANIFEST_PORTS_MAX);
	else if (count > 1)
		check_listeners(r, l, count);
	check_stack_names(r, stacks, n);
}
