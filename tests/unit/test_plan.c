/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans against tests/golden/plan: NAME.before.yaml is what runs (no file:
 * nothing), NAME.after.yaml what is wanted (no file: nothing), NAME.state what
 * else was observed, one line each:
 *
 *	stopped VM[/CONTAINER]		by a user
 *	missing VM[/CONTAINER]		gone
 *	unfinished VM[/CONTAINER]	never made to its end
 *	digest VM/CONTAINER APPLIED DESIRED
 *
 * NAME.plan is the list of changes.
 */
#include "tests/unit/golden.h"

#include "host-agent/manifest/manifest.h"
#include "host-agent/plan/plan.h"

#define FOLDER "tests/golden/plan"
#define MANY   16

/* What observed_stack points to. */
struct world {
	struct observed_stack stack;
	struct observed_vm vms[MANY];
	struct observed_container containers[MANY][MANY];
	char digests[2 * MANY][80];
	size_t n_digests;
};

/* The one stack of a file, or NULL when there is no such file. */
static struct model_stack *load(const char *stem, const char *suffix)
{
	_cleanup_manifest_ struct manifest m = {0};
	_cleanup_buf_ struct buf out = BUF_INIT;
	_cleanup_free_ char *text = NULL;
	struct model_stack *s;
	char path[PATH_MAX];
	size_t len = 0;

	snprintf(path, sizeof(path), "%s.%s.yaml", stem, suffix);
	text = golden_read(path, &len);
	if (!text)
		return NULL;
	if (manifest_parse(path, text, len, NULL, &m) < 0) {
		manifest_render_diagnostics(&m, &out);
		fail_msg("%s", buf_str(&out));
	}
	s = m.stacks[0];
	m.stacks[0] = NULL;
	return s;
}

static void observe(struct world *w, const struct model_stack *s)
{
	const struct model_container *c;
	struct observed_vm *vm;
	size_t i, k;

	memset(w, 0, sizeof(*w));
	w->stack.vms = w->vms;
	for (i = 0; s && i < s->n_vms; i++) {
		assert_true(i < MANY && s->vms[i].n_containers <= MANY);
		vm = &w->vms[w->stack.n_vms++];
		vm->name = s->vms[i].name;
		vm->exists = true;
		vm->applied = model_vm_to_json(&s->vms[i]);
		vm->containers = w->containers[i];
		vm->n_containers = s->vms[i].n_containers;
		for (k = 0; k < vm->n_containers; k++) {
			c = &s->vms[i].containers[k];
			w->containers[i][k].name = c->name;
			w->containers[i][k].applied =
				model_container_to_json(c);
		}
	}
}

static void drop(const json_t **j)
{
	json_t *mutable;

	memcpy(&mutable, j, sizeof(mutable));
	json_decref(mutable);
	*j = NULL;
}

static void forget(struct world *w)
{
	size_t i, k;

	for (i = 0; i < MANY; i++) {
		drop(&w->vms[i].applied);
		for (k = 0; k < MANY; k++)
			drop(&w->containers[i][k].applied);
	}
}

static void apply_vm(struct observed_vm *vm, const char *word)
{
	if (strcmp(word, "stopped") == 0)
		vm->user_stopped = true;
	else if (strcmp(word, "missing") == 0)
		vm->exists = false;
	else
		drop(&vm->applied);
}

static void apply_container(struct world *w, struct observed_vm *vm,
			    struct observed_container *c, const char *word,
			    const char *a, const char *b)
{
	struct observed_container *list = w->containers[vm - w->vms];

	if (strcmp(word, "stopped") == 0) {
		c->user_stopped = true;
	} else if (strcmp(word, "missing") == 0) {
		drop(&c->applied);
		*c = list[--vm->n_containers];
		memset(&list[vm->n_containers], 0, sizeof(*list));
	} else if (strcmp(word, "digest") == 0) {
		c->applied_digest = strcpy(w->digests[w->n_digests++], a);
		c->desired_digest = strcpy(w->digests[w->n_digests++], b);
	} else {
		drop(&c->applied);
	}
}

static void apply_line(struct world *w, const char *line)
{
	char word[16], what[128], a[80] = "", b[80] = "", *container;
	struct observed_vm *vm = NULL;
	size_t i;

	assert_true(sscanf(line, "%15s %127s %79s %79s", word, what, a, b) >=
		    2);
	container = strchr(what, '/');
	if (container)
		*container++ = '\0';
	for (i = 0; i < w->stack.n_vms; i++)
		if (strcmp(w->vms[i].name, what) == 0)
			vm = &w->vms[i];
	assert_non_null(vm);
	if (!container) {
		apply_vm(vm, word);
		return;
	}
	for (i = 0; i < vm->n_containers; i++) {
		if (strcmp(vm->containers[i].name, container) != 0)
			continue;
		apply_container(w, vm, &w->containers[vm - w->vms][i], word, a,
				b);
		return;
	}
	fail_msg("no container in: %s", line);
}

static void apply_state(struct world *w, const char *stem)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX], *line, *save = NULL;
	size_t len = 0;

	snprintf(path, sizeof(path), "%s.state", stem);
	text = golden_read(path, &len);
	if (!text)
		return;
	for (line = strtok_r(text, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		apply_line(w, line);
}

static void plan_to_text(const struct plan *p, struct buf *out)
{
	const struct plan_change *c;
	size_t i;

	for (i = 0; i < p->n; i++) {
		c = &p->changes[i];
		assert_true(strlen(c->why) < sizeof(c->why));
		buf_printf(out, "%s %s%s%s (%s): %s\n",
			   plan_action_name(c->action), c->vm,
			   *c->container ? "/" : "", c->container,
			   plan_class_name(c->change_class), c->why);
	}
	if (p->n == 0)
		buf_puts(out, "nothing to do\n");
}

static void check_plan(const char *plan_stem)
{
	_cleanup_model_stack_ struct model_stack *before = NULL;
	_cleanup_model_stack_ struct model_stack *after = NULL;
	_cleanup_buf_ struct buf out = BUF_INIT;
	struct plan p = {0};
	struct world w;
	char path[PATH_MAX];

	before = load(plan_stem, "before");
	after = load(plan_stem, "after");
	observe(&w, before);
	apply_state(&w, plan_stem);
	assert_int_equal(plan_make(after, &w.stack, &p), 0);
	plan_to_text(&p, &out);
	plan_done(&p);
	forget(&w);
	snprintf(path, sizeof(path), "%s.plan", plan_stem);
	golden_check(path, buf_str(&out));
}

static void test_golden(void **state)
{
	(void)state;
	assert_true(golden_each(FOLDER, ".plan", check_plan) >= 8);
}

/* Any manifest against itself is nothing to do; against nothing it is creates
 * only; and nothing against it removals only. */
static void check_self(const char *stem)
{
	_cleanup_model_stack_ struct model_stack *s = NULL;
	struct plan p = {0};
	struct world w;
	char base[PATH_MAX];
	size_t i;

	snprintf(base, sizeof(base), "%s", stem);
	s = load(base, "after");
	if (!s)
		return;
	observe(&w, s);
	assert_int_equal(plan_make(s, &w.stack, &p), 0);
	assert_int_equal(p.n, 0);
	assert_int_equal(plan_make(s, NULL, &p), 0);
	assert_true(p.n > s->n_vms);
	for (i = 0; i < p.n; i++)
		assert_int_equal(p.changes[i].action, PLAN_CREATE);
	plan_done(&p);
	assert_int_equal(plan_make(NULL, &w.stack, &p), 0);
	assert_int_equal(p.n, s->n_vms);
	for (i = 0; i < p.n; i++)
		assert_int_equal(p.changes[i].action, PLAN_REMOVE);
	plan_done(&p);
	forget(&w);
}

static void test_idempotent(void **state)
{
	(void)state;
	golden_each(FOLDER, ".plan", check_self);
}

static void check_order(const char *yaml, const char *expected)
{
	_cleanup_manifest_ struct manifest m = {0};
	char got[64] = "";
	size_t order[MANY], i;

	assert_int_equal(manifest_parse("f", yaml, strlen(yaml), NULL, &m), 0);
	plan_start_order(&m.stacks[0]->vms[0], order);
	for (i = 0; i < m.stacks[0]->vms[0].n_containers; i++)
		strcat(got, m.stacks[0]->vms[0].containers[order[i]].name);
	assert_string_equal(got, expected);
}

#define ORDER(containers)                                             \
	"{hyb: 1, name: s, vms: {v: {containers: {" containers "}}, " \
	"w: {containers: {z: {image: i}}}}}"

static void test_start_order(void **state)
{
	(void)state;
	check_order(ORDER("b: {image: i}, a: {image: i}, c: {image: i}"),
		    "bac");
	check_order(ORDER("a: {image: i, depends_on: [c]}, "
			  "b: {image: i}, c: {image: i}"),
		    "bca");
	check_order(ORDER("a: {image: i, depends_on: [b]}, "
			  "b: {image: i, depends_on: [c]}, "
			  "c: {image: i, depends_on: [d]}, d: {image: i}"),
		    "dcba");
	/* other VMs do not count */
	check_order(ORDER("a: {image: i, depends_on: [w.z]}, b: {image: i}"),
		    "ab");
	/* a diamond */
	check_order(ORDER("a: {image: i, depends_on: [b, c]}, "
			  "b: {image: i, depends_on: [d]}, "
			  "c: {image: i, depends_on: [d]}, d: {image: i}"),
		    "dbca");
}

/* Long and hostile text in a reason is cut at a character, and escaped. */
static void test_why_is_cut(void **state)
{
	_cleanup_model_stack_ struct model_stack *s = NULL;
	_cleanup_manifest_ struct manifest m = {0};
	struct buf yaml = BUF_INIT;
	struct plan p = {0};
	struct world w;
	json_t *c;
	int i;

	(void)state;
	buf_puts(&yaml, "{hyb: 1, name: s, vms: {v: {containers: {c: {image: "
			"i, command: [\"\\e[31m");
	for (i = 0; i < 400; i++)
		buf_puts(&yaml, "é");
	buf_puts(&yaml, "\"], environment: {");
	for (i = 0; i < 400; i++)
		buf_printf(&yaml, "KEY%d: secret, ", i);
	buf_puts(&yaml, "}}}}}}");
	assert_int_equal(
		manifest_parse("f", buf_str(&yaml), yaml.len, NULL, &m), 0);
	buf_done(&yaml);
	s = m.stacks[0];
	m.stacks[0] = NULL;
	observe(&w, s);
	memcpy(&c, &w.containers[0][0].applied, sizeof(c));
	json_object_set_new(c, "command", json_null());
	json_object_set_new(c, "environment", json_object());
	assert_int_equal(plan_make(s, &w.stack, &p), 0);
	assert_int_equal(p.n, 1);
	assert_null(strchr(p.changes[0].why, '\033'));
	assert_null(strstr(p.changes[0].why, "secret"));
	assert_non_null(strstr(p.changes[0].why, "\\x1b[31m"));
	assert_non_null(strstr(p.changes[0].why, "environment changed: +KEY0"));
	assert_string_equal(p.changes[0].why + strlen(p.changes[0].why) - 3,
			    "...");
	plan_done(&p);
	forget(&w);
}

/* What an older version stored lacks what it did not know. */
static void test_missing_fields(void **state)
{
	static const char yaml[] = "{hyb: 1, name: s, vms: {v: {containers: "
				   "{c: {image: i}}}}}";
	_cleanup_manifest_ struct manifest m = {0};
	struct plan p = {0};
	struct world w;
	json_t *c;

	(void)state;
	assert_int_equal(manifest_parse("f", yaml, sizeof(yaml) - 1, NULL, &m),
			 0);
	observe(&w, m.stacks[0]);
	memcpy(&c, &w.containers[0][0].applied, sizeof(c));
	json_object_del(c, "hostname");
	json_object_del(c, "init");
	json_object_del(c, "depends_on");
	assert_int_equal(plan_make(m.stacks[0], &w.stack, &p), 0);
	assert_int_equal(p.n, 0);
	json_object_clear(c);
	assert_int_equal(plan_make(m.stacks[0], &w.stack, &p), 0);
	assert_int_equal(p.n, 1);
	assert_int_equal(p.changes[0].action, PLAN_RECREATE);
	plan_done(&p);
	forget(&w);
}

/* What an image brings is not known as long as it is not there. */
static void test_unknown_image(void **state)
{
	static const char yaml[] = "{hyb: 1, name: s, vms: {v: {containers: "
				   "{c: {image: i, volumes: [/a]}}}}}";
	_cleanup_manifest_ struct manifest m = {0}, had = {0};
	const struct model_container *c;
	struct plan p = {0};
	struct world w;

	(void)state;
	assert_int_equal(
		manifest_parse("f", yaml, sizeof(yaml) - 1, NULL, &had), 0);
	assert_int_equal(manifest_parse("f", yaml, sizeof(yaml) - 1, NULL, &m),
			 0);
	c = &had.stacks[0]->vms[0].containers[0];
	assert_int_equal(model_pin(had.stacks[0], c, "sha256:0"), 0);
	assert_int_equal(model_add_anonymous(had.stacks[0], c, "/b"), 0);
	assert_int_equal(c->n_mounts, 2);
	assert_string_equal(c->mounts[1].target, "/b");
	assert_int_equal(model_add_anonymous(had.stacks[0], c, "/A"), 0);
	assert_string_equal(c->mounts[0].target, "/A");
	observe(&w, had.stacks[0]);
	assert_int_equal(plan_make(m.stacks[0], &w.stack, &p), 0);
	assert_int_equal(p.n, 0);
	c = &m.stacks[0]->vms[0].containers[0];
	assert_int_equal(model_pin(m.stacks[0], c, "sha256:0"), 0);
	assert_int_equal(plan_make(m.stacks[0], &w.stack, &p), 0);
	assert_int_equal(p.n, 1);
	assert_string_equal(p.changes[0].why,
			    "volumes changed: /A, /a, /b → /a");
	plan_done(&p);
	forget(&w);
}

#define DIGEST(c) "sha256:" c c c c c c c c c c c c c c c c
/* What was resolved counts, not what the name means to the store. */
static void test_pinned(void **state)
{
	static const char yaml[] = "{hyb: 1, name: s, vms: {v: {containers: "
				   "{c: {image: i}}}}}";
	_cleanup_manifest_ struct manifest m = {0};
	struct observed_container *o;
	struct plan p = {0};
	struct world w;

	(void)state;
	assert_int_equal(manifest_parse("f", yaml, sizeof(yaml) - 1, NULL, &m),
			 0);
	observe(&w, m.stacks[0]);
	o = &w.containers[0][0];
	o->applied_digest = DIGEST("0000");
	o->desired_digest = DIGEST("1111");
	assert_int_equal(model_pin(m.stacks[0],
				   &m.stacks[0]->vms[0].containers[0],
				   DIGEST("0000")),
			 0);
	assert_int_equal(plan_make(m.stacks[0], &w.stack, &p), 0);
	assert_int_equal(p.n, 0);
	o->desired_digest = DIGEST("0000");
	assert_int_equal(model_pin(m.stacks[0],
				   &m.stacks[0]->vms[0].containers[0],
				   DIGEST("2222")),
			 0);
	assert_int_equal(plan_make(m.stacks[0], &w.stack, &p), 0);
	assert_int_equal(p.n, 1);
	assert_string_equal(p.changes[0].why,
			    "image i is another now: sha256:000000000000 → "
			    "sha256:222222222222");
	plan_done(&p);
	forget(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_idempotent),
		cmocka_unit_test(test_start_order),
		cmocka_unit_test(test_why_is_cut),
		cmocka_unit_test(test_missing_fields),
		cmocka_unit_test(test_pinned),
		cmocka_unit_test(test_unknown_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
