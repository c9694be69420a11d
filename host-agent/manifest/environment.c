/* SPDX-License-Identifier: Apache-2.0 */
/*
 * environment and env_file → "K=V", sorted, each key once.
 *
 * Who wins: environment over env_file, a later env_file over an earlier one, a
 * later line of a file over an earlier one. A key without a value would take
 * it from the caller's environment in Compose; hyb has no caller's environment
 * where this is read, so it is refused.
 */
#include "host-agent/manifest/container.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "host-agent/manifest/text.h"
#include "host-agent/model/check.h"

struct variable {
	const char *text; /* "K=V" */
	size_t key_len;
	size_t order; /* the later one wins */
};

/* Variables of one container, growing; freed at the end of its reading. */
struct variables {
	struct variable *v;
	size_t n, cap;
};

static void variables_add(struct reading *r, struct variables *vars,
			  const char *key, size_t key_len, const char *value,
			  size_t value_len)
{
	struct variable *grown;
	size_t cap;
	char *text;

	if (vars->n == vars->cap) {
		cap = vars->cap ? vars->cap * 2 : 32;
		grown = reallocarray(vars->v, cap, sizeof(*grown));
		if (!grown) {
			r->oom = true;
			return;
		}
		vars->v = grown;
		vars->cap = cap;
	}
	text = read_alloc(r, key_len + value_len + 2, 1);
	if (!text)
		return;
	memcpy(text, key, key_len);
	text[key_len] = '=';
	if (value_len)
		memcpy(text + key_len + 1, value, value_len);
	vars->v[vars->n].text = text;
	vars->v[vars->n].key_len = key_len;
	vars->v[vars->n].order = vars->n;
	vars->n++;
}

static int compare_keys(const struct variable *x, const struct variable *y)
{
	size_t n = x->key_len < y->key_len ? x->key_len : y->key_len;
	int c = memcmp(x->text, y->text, n);

	if (c || x->key_len == y->key_len)
		return c;
	return x->key_len < y->key_len ? -1 : 1;
}

static int compare_variables(const void *a, const void *b)
{
	const struct variable *x = a, *y = b;
	int c = compare_keys(x, y);

	if (c)
		return c;
	return x->order < y->order ? -1 : x->order > y->order;
}

static int compare_strings(const void *a, const void *b)
{
	const char *const *x = a, *const *y = b;

	return strcmp(*x, *y);
}

static const char *const *variables_finish(struct reading *r,
					   struct variables *vars)
{
	const char **out = read_alloc(r, vars->n + 1, sizeof(*out));
	size_t i, n = 0;

	if (!out)
		return NULL;
	if (vars->n)
		qsort(vars->v, vars->n, sizeof(*vars->v), compare_variables);
	for (i = 0; i < vars->n; i++)
		if (i + 1 == vars->n ||
		    compare_keys(&vars->v[i], &vars->v[i + 1]) != 0)
			out[n++] = vars->v[i].text;
	qsort(out, n, sizeof(*out), compare_strings);
	return out;
}

static bool pair_is_ok(struct reading *r, const struct node *at,
		       const char *key, size_t key_len, size_t value_len)
{
	const char *why = check_env_name(key, key_len);

	if (why) {
		node_error(r, at, "the name of a variable must be %s; it is %s",
			   why, diag_quote(&r->diags, key, key_len));
		return false;
	}
	if (key_len + 1 + value_len > HYB_ENV_ENTRY_MAX) {
		node_error(r, at, "the variable %s is longer than %d bytes",
			   diag_quote(&r->diags, key, key_len),
			   HYB_ENV_ENTRY_MAX);
		return false;
	}
	return true;
}

static void no_value(struct reading *r, const struct node *at, const char *key)
{
	node_error(r, at,
		   "the variable %s has no value, and taking it from the "
		   "caller's environment is not supported; write %s for an "
		   "empty one",
		   text_show(r, key),
		   at->kind == NODE_SCALAR && strcmp(at->text, key) == 0
			   ? "KEY=, or KEY: \"\" in a map,"
			   : "\"\"");
}

static void environment_map(struct reading *r, const struct node *n,
			    struct variables *vars)
{
	const struct pair *p;
	size_t i;

	for (i = 0; i < n->n; i++) {
		p = &n->pairs[i];
		if (p->value->kind != NODE_SCALAR)
			node_error(r, p->value,
				   "the variable %s must be text, not %s",
				   text_show(r, p->key->text),
				   node_show(r, p->value));
		else if (node_is_null(p->value))
			no_value(r, p->key, p->key->text);
		else if (pair_is_ok(r, p->key, p->key->text, p->key->len,
				    p->value->len))
			variables_add(r, vars, p->key->text, p->key->len,
				      p->value->text, p->value->len);
	}
}

/* Two entries of one list that set the same key contradict each other. */
static void list_duplicates(struct reading *r, const struct node *n,
			    const struct variables *vars, size_t first)
{
	size_t i, count = vars->n - first;
	struct variable *sorted = scratch_alloc(r, count, sizeof(*sorted));

	if (!sorted || count < 2)
		return;
	memcpy(sorted, vars->v + first, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), compare_variables);
	for (i = 1; i < count; i++)
		if (compare_keys(&sorted[i - 1], &sorted[i]) == 0)
			node_error(r, n, "the variable %s is set twice",
				   diag_quote(&r->diags, sorted[i].text,
					      sorted[i].key_len));
}

static void environment_list(struct reading *r, const struct node *n,
			     struct variables *vars)
{
	size_t i, key_len, first = vars->n;
	const struct node *item;
	const char *equals;

	for (i = 0; i < n->n; i++) {
		item = n->items[i];
		if (item->kind != NODE_SCALAR || node_is_null(item)) {
			node_error(r, item,
				   "'environment' takes KEY=VALUE, not %s",
				   node_is_null(item) ? "nothing"
						      : node_show(r, item));
			continue;
		}
		equals = strchr(item->text, '=');
		if (!equals) {
			no_value(r, item, item->text);
			continue;
		}
		key_len = (size_t)(equals - item->text);
		if (pair_is_ok(r, item, item->text, key_len,
			       item->len - key_len - 1))
			variables_add(r, vars, item->text, key_len, equals + 1,
				      item->len - key_len - 1);
	}
	list_duplicates(r, n, vars, first);
}

/* ---------------------------------------------------------- env_file */

struct env_text {
	const char *p, *end;
	unsigned line;
	const struct node *at; /* the path in the manifest */
};

static void env_complain(struct reading *r, const struct env_text *t,
			 unsigned line, const char *what)
{
	node_error(r, t->at, "%s, line %u: %s", node_show(r, t->at), line,
		   what);
}

static void skip_blanks(struct env_text *t)
{
	while (t->p < t->end && (*t->p == ' ' || *t->p == '\t'))
		t->p++;
}

static void skip_line(struct env_text *t)
{
	while (t->p < t->end && *t->p != '\n')
		t->p++;
	if (t->p < t->end) {
		t->p++;
		t->line++;
	}
}

/* What stands to the end of the line: without a comment (that a blank goes
 * before) and without blanks at its end. */
static void env_plain_value(struct env_text *t, struct buf *value)
{
	const char *start = t->p, *p = start, *last = start;

	for (; p < t->end && *p != '\n'; p++) {
		if (*p == '#' && (p == start || p[-1] == ' ' || p[-1] == '\t'))
			break;
		if (!strchr(" \t\r", *p))
			last = p + 1;
	}
	buf_append(value, start, (size_t)(last - start));
	skip_line(t);
}

static char env_unescape(char c)
{
	static const char from[] = "nrt", to[] = "\n\r\t";
	const char *at = strchr(from, c);

	return at && c ? to[at - from] : c;
}

/* 'literal' or "with \n escapes"; may go over several lines. Only a comment
 * may follow. */
static void env_quoted_value(struct reading *r, struct env_text *t,
			     struct buf *value)
{
	unsigned line = t->line;
	char quote = *t->p++;

	while (t->p < t->end && *t->p != quote) {
		t->line += *t->p == '\n';
		if (quote == '"' && *t->p == '\\' && t->p + 1 < t->end &&
		    strchr("nrt\"\\$", t->p[1]))
			buf_putc(value, env_unescape(*++t->p));
		else
			buf_putc(value, *t->p);
		t->p++;
	}
	if (t->p == t->end) {
		env_complain(r, t, line, "a quote that is not closed");
		return;
	}
	t->p++;
	skip_blanks(t);
	if (t->p < t->end && !strchr("#\r\n", *t->p))
		env_complain(r, t, t->line, "text behind the closing quote");
	skip_line(t);
}

static void env_assignment(struct reading *r, struct env_text *t,
			   struct variables *vars)
{
	_cleanup_buf_ struct buf value = BUF_INIT;
	const char *key, *why;
	unsigned line = t->line;
	size_t key_len;

	if (t->end - t->p > 7 && memcmp(t->p, "export", 6) == 0 &&
	    (t->p[6] == ' ' || t->p[6] == '\t')) {
		t->p += 7;
		skip_blanks(t);
	}
	key = t->p;
	while (t->p < t->end && !strchr("= \t\r\n", *t->p))
		t->p++;
	key_len = (size_t)(t->p - key);
	skip_blanks(t);
	why = check_env_name(key, key_len);
	if (t->p == t->end || *t->p != '=' || why) {
		env_complain(r, t, line,
			     "not KEY=VALUE (a value is never taken from the "
			     "caller's environment)");
		skip_line(t);
		return;
	}
	t->p++;
	skip_blanks(t);
	if (t->p < t->end && (*t->p == '"' || *t->p == '\''))
		env_quoted_value(r, t, &value);
	else
		env_plain_value(t, &value);
	if (buf_error(&value))
		r->oom = true;
	else if (pair_is_ok(r, t->at, key, key_len, value.len))
		variables_add(r, vars, key, key_len, buf_str(&value),
			      value.len);
}

static void env_text_read(struct reading *r, const struct node *at,
			  const char *text, size_t len, struct variables *vars)
{
	struct env_text t = {text, text + len, 1, at};

	if (!text_is_clean(text, len)) {
		node_error(r, at, "%s is not UTF-8 text", node_show(r, at));
		return;
	}
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		t.p += 3;
	while (t.p < t.end) {
		skip_blanks(&t);
		if (t.p == t.end || strchr("#\r\n", *t.p))
			skip_line(&t);
		else
			env_assignment(r, &t, vars);
	}
}

bool read_file(struct reading *r, const struct node *at, const char *path,
	       char **ret, size_t *ret_len)
{
	_cleanup_free_ char *text = NULL;
	struct err e = ERR_INIT;
	size_t len = 0;
	int result;

	if (!r->env_reader) {
		node_error(r, at, "%s cannot be read here", node_show(r, at));
		return false;
	}
	result = r->env_reader->read(r->env_reader->arg, path, &text, &len, &e);
	if (result == -ENOMEM) {
		r->oom = true;
		return false;
	}
	if (result < 0) {
		node_error(r, at, "%s cannot be read: %s", node_show(r, at),
			   diag_message(&r->diags,
					*e.msg ? e.msg : strerror(-result)));
		return false;
	}
	if (len > HYB_MANIFEST_ENV_MAX - r->env_bytes) {
		node_error(r, at, "env_files of more than %zu bytes in all",
			   HYB_MANIFEST_ENV_MAX);
		return false;
	}
	r->env_bytes += len;
	*ret = steal_ptr(text);
	*ret_len = len;
	return true;
}

static void env_file_one(struct reading *r, const struct node *at,
			 struct variables *vars)
{
	_cleanup_free_ char *text = NULL;
	const char *path;
	size_t len = 0;

	if (at->kind == NODE_MAP) {
		node_error(r, at,
			   "'env_file' with a map in it is not supported yet; "
			   "write the path alone");
		return;
	}
	r->key = "env_file";
	if (!read_text(r, at, &path))
		return;
	if (!*path) {
		node_error(r, at, "'env_file' has an empty path");
		return;
	}
	if (read_file(r, at, path, &text, &len) && len)
		env_text_read(r, at, text, len, vars);
}

void environment_read(struct reading *r, struct container_draft *d)
{
	const struct node *env = d->environment, *files = d->env_file;
	struct variables vars = {0};
	const char *const *v;
	const char *outer = r->key;
	size_t i;

	if (files && files->kind == NODE_LIST)
		for (i = 0; i < files->n; i++)
			env_file_one(r, files->items[i], &vars);
	else if (files)
		env_file_one(r, files, &vars);
	r->key = outer;
	if (env && env->kind == NODE_MAP)
		environment_map(r, env, &vars);
	else if (env && env->kind == NODE_LIST)
		environment_list(r, env, &vars);
	else if (env)
		node_error(r, env,
			   "'environment' must be a map or a list of "
			   "KEY=VALUE; it is %s",
			   node_show(r, env));
	v = variables_finish(r, &vars);
	if (v)
		d->m.environment = v;
	free(vars.v);
}
