/* SPDX-License-Identifier: Apache-2.0 */
/* depends_on: "container" of the same VM or "vm.container", as a list or as a
 * map with conditions. Whether the target exists is crosscheck.c's matter. */
#include "host-agent/manifest/container.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/parse.h"

/* Compose's words for the same conditions. */
static const struct {
	const char *word, *ours;
} compose_words[] = {
	{"service_started", "started"},
	{"service_healthy", "healthy"},
	{"service_completed_successfully", "completed"},
};

static void on_condition(struct reading *r, const struct node *n, void *out)
{
	struct model_dependency *dep = out;
	const char *s = n->kind == NODE_SCALAR ? n->text : "";
	size_t i;
	int k;

	for (k = 0; k < DEPENDS_CONDITION_MAX; k++) {
		if (strcmp(s, depends_condition_name(
				      (enum depends_condition)k)) == 0) {
			dep->condition = (enum depends_condition)k;
			return;
		}
	}
	for (i = 0; i < ARRAY_SIZE(compose_words); i++) {
		if (strcmp(s, compose_words[i].word) == 0) {
			node_error(r, n, "the condition %s is called '%s' here",
				   node_show(r, n), compose_words[i].ours);
			return;
		}
	}
	node_error(r, n,
		   "'condition' must be started, healthy or completed; it is "
		   "%s",
		   node_show(r, n));
}

static const struct field dependency_fields[] = {
	{"condition", on_condition},
};

const struct field_table fields_dependency = {
	"a dependency",
	dependency_fields,
	ARRAY_SIZE(dependency_fields),
};

static bool target_parse(struct reading *r, const struct node *n,
			 const struct container_draft *d,
			 struct model_dependency *dep)
{
	const char *dot = strchr(n->text, '.');
	char vm[HYB_NAME_MAX + 1];

	dep->vm = d->vm;
	dep->container = n->text;
	if (dot) {
		if ((size_t)(dot - n->text) >= sizeof(vm))
			dot = n->text;
		memcpy(vm, n->text, (size_t)(dot - n->text));
		vm[dot - n->text] = '\0';
		dep->vm = read_strdup(r, vm);
		dep->container = dot + 1;
	}
	if (!name_is_valid(dep->vm) || !name_is_valid(dep->container)) {
		node_error(r, n,
			   "'depends_on' takes the name of a container, or "
			   "VM.CONTAINER; it is %s",
			   node_show(r, n));
		return false;
	}
	dep->container = read_strdup(r, dep->container);
	return true;
}

void depends_read(struct reading *r, const struct node *n, void *draft)
{
	struct container_draft *d = draft;
	struct model_dependency *dep;
	const struct node *item;
	size_t i;

	if (n->kind == NODE_SCALAR) {
		node_error(r, n,
			   "'depends_on' must be a list or a map; it is "
			   "%s",
			   node_show(r, n));
		return;
	}
	d->deps = read_alloc(r, n->n, sizeof(*d->deps));
	d->dep_at = scratch_alloc(r, n->n, sizeof(*d->dep_at));
	if (!d->deps || !d->dep_at)
		return;
	for (i = 0; i < n->n; i++) {
		item = n->kind == NODE_MAP ? n->pairs[i].key : n->items[i];
		dep = &d->deps[d->m.n_depends_on];
		dep->condition = DEPENDS_STARTED;
		if (item->kind != NODE_SCALAR) {
			node_error(r, item,
				   "'depends_on' takes names of containers, "
				   "not %s",
				   node_show(r, item));
			continue;
		}
		if (n->kind == NODE_MAP)
			fields_read(r, n->pairs[i].value, &fields_dependency,
				    dep);
		if (target_parse(r, item, d, dep))
			d->dep_at[d->m.n_depends_on++] = item;
	}
	d->m.depends_on = d->deps;
}
