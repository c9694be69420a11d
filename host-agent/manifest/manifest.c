/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/manifest/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "host-agent/manifest/container.h"

/* The stacks of one file while they are read. */
struct stacks {
	struct stack_draft **drafts;
	size_t n;
	struct model_tenant **tenants;
	size_t n_tenants;
};

static int read_tenant(struct reading *r, const struct node *root,
		       struct stacks *s)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct model_tenant *t;

	if (!arena)
		return -ENOMEM;
	r->arena = arena;
	t = tenant_read(r, root);
	r->arena = NULL;
	if (r->oom || !t)
		return -ENOMEM;
	t->arena = steal_ptr(arena);
	s->tenants[s->n_tenants++] = t;
	return 0;
}

static int read_document(struct reading *r, const struct node *root,
			 struct stacks *s)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct stack_draft *d;

	if (kind_is_tenant(root))
		return read_tenant(r, root, s);
	if (!arena)
		return -ENOMEM;
	r->arena = arena;
	d = stack_read(r, root);
	if (d && !r->oom)
		crosscheck_stack(r, d);
	r->arena = NULL;
	if (r->oom)
		return -ENOMEM;
	if (d) {
		d->m->arena = steal_ptr(arena);
		s->drafts[s->n++] = d;
	}
	return 0;
}

static int read_stacks(struct reading *r, const struct documents *docs,
		       struct stacks *s)
{
	size_t i;
	int result = 0;

	s->drafts = scratch_alloc(r, docs->n, sizeof(struct stack_draft *));
	s->tenants = scratch_alloc(r, docs->n, sizeof(struct model_tenant *));
	if (!s->drafts || !s->tenants)
		return -ENOMEM;
	for (i = 0; result == 0 && i < docs->n; i++)
		/* "---" at the end of a file is no document to speak of. */
		if (!node_is_null(docs->roots[i]))
			result = read_document(r, docs->roots[i], s);
	if (result == 0 && s->n + s->n_tenants == 0 && r->diags.n == 0)
		diag_add(&r->diags, 1, 1, "nothing is declared here");
	if (result == 0)
		crosscheck_file(r, s->drafts, s->n);
	return r->oom ? -ENOMEM : result;
}

static int read_all(struct reading *r, const char *text, size_t len,
		    struct stacks *s)
{
	struct documents docs;
	int result;

	if (len > HYB_MANIFEST_SIZE_MAX) {
		diag_add(&r->diags, 1, 1,
			 "the manifest is larger than %zu bytes",
			 HYB_MANIFEST_SIZE_MAX);
		return 0;
	}
	result = tree_read(text, len, r->scratch, &r->diags, &docs);
	if (result == -ENOMEM)
		return result;
	/* Text that is no YAML from some place on: what comes before is not
	 * looked at, since it may well be cut in the middle. */
	if (result < 0 && docs.n == 0)
		return 0;
	return read_stacks(r, &docs, s);
}

static int stacks_deliver(struct stacks *s, struct manifest *ret)
{
	size_t i;

	ret->stacks = arena_alloc(ret->arena, s->n ? s->n : 1,
				  sizeof(struct model_stack *));
	if (!ret->stacks)
		return -ENOMEM;
	for (i = 0; i < s->n; i++)
		ret->stacks[i] = s->drafts[i]->m;
	ret->n_stacks = s->n;
	ret->tenants = s->tenants;
	ret->n_tenants = s->n_tenants;
	s->n = 0;
	s->n_tenants = 0;
	return 0;
}

static const char *show_file(struct arena *a, const char *file)
{
	char shown[256];

	if (strcmp(file, "-") == 0)
		return "<stdin>";
	return arena_strdup(a, text_escape(file, shown, sizeof(shown)));
}

/* An editor's byte order mark is no part of the first line. */
static const char *skip_mark(const char *text, size_t *len)
{
	if (*len < 3 || memcmp(text, "\xef\xbb\xbf", 3) != 0)
		return text;
	*len -= 3;
	return text + 3;
}

int manifest_parse(const char *file, const char *text, size_t len,
		   const struct manifest_reader *env_reader,
		   struct manifest *ret)
{
	struct reading r = {.env_reader = env_reader, .key = ""};
	struct stacks s = {0};
	size_t i;
	int result;

	memset(ret, 0, sizeof(*ret));
	ret->file = "";
	ret->arena = arena_new(0);
	if (!ret->arena || diags_init(&r.diags, ret->arena) < 0)
		return -ENOMEM;
	ret->file = show_file(ret->arena, file);
	r.scratch = ret->arena;
	text = skip_mark(text, &len);
	result = read_all(&r, text, len, &s);
	if (result == 0 && r.diags.n == 0 && !r.diags.no_memory)
		result = stacks_deliver(&s, ret);
	for (i = 0; i < s.n; i++)
		model_stack_free(s.drafts[i]->m);
	for (i = 0; i < s.n_tenants; i++)
		model_tenant_free(s.tenants[i]);
	diags_finish(&r.diags, text, len);
	if (r.diags.no_memory || !ret->file)
		result = -ENOMEM;
	if (result < 0)
		return result;
	ret->diagnostics = r.diags.items;
	ret->n_diagnostics = r.diags.n;
	ret->truncated = r.diags.truncated;
	return r.diags.n ? -EINVAL : 0;
}

void manifest_done(struct manifest *m)
{
	size_t i;

	for (i = 0; i < m->n_stacks; i++)
		model_stack_free(m->stacks[i]);
	for (i = 0; i < m->n_tenants; i++)
		model_tenant_free(m->tenants[i]);
	arena_free(m->arena);
	memset(m, 0, sizeof(*m));
}

int manifest_render_diagnostics(const struct manifest *m, struct buf *out)
{
	const struct manifest_diagnostic *d;
	size_t i;

	for (i = 0; i < m->n_diagnostics; i++) {
		d = &m->diagnostics[i];
		buf_printf(out, "%s:%u:%u: %s\n", m->file, d->line, d->col,
			   d->message);
		if (*d->source)
			buf_printf(out, "    %s\n    %*s^\n", d->source,
				   (int)d->caret, "");
	}
	if (m->truncated)
		buf_printf(out, "%s: there are more errors than these %d\n",
			   m->file, HYB_MANIFEST_ERRORS_MAX);
	return buf_error(out);
}

int manifest_render_place(const struct manifest *m, const char *text,
			  uint32_t line, uint32_t col, const char *message,
			  struct buf *out)
{
	_cleanup_arena_ struct arena *arena = arena_new(0);
	struct manifest one = {.file = m->file};
	size_t len = strlen(text);
	struct diags d;

	if (!arena || diags_init(&d, arena) < 0)
		return -ENOMEM;
	text = skip_mark(text, &len);
	diag_add(&d, line, col, "%s", message);
	diags_finish(&d, text, len);
	one.diagnostics = d.items;
	one.n_diagnostics = d.n;
	return d.no_memory ? -ENOMEM : manifest_render_diagnostics(&one, out);
}

/* ------------------------------------------------------------ env_files */

struct path_list {
	char **v;
	size_t n;
};

/* Stands in for the reader of env_files: notes the path, and the file is
 * empty. */
static int note_path(void *arg, const char *path, char **ret, size_t *ret_len,
		     struct err *e)
{
	struct path_list *l = arg;
	char **grown;
	size_t i;

	(void)e;
	*ret = NULL;
	*ret_len = 0;
	for (i = 0; i < l->n; i++)
		if (strcmp(l->v[i], path) == 0)
			return 0;
	grown = reallocarray(l->v, l->n + 2, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	l->v = grown;
	l->v[l->n + 1] = NULL;
	l->v[l->n] = strdup(path);
	if (!l->v[l->n])
		return -ENOMEM;
	l->n++;
	return 0;
}

int manifest_env_files(const char *text, size_t len, char ***ret)
{
	_cleanup_manifest_ struct manifest m = {0};
	struct path_list list = {0};
	const struct manifest_reader reader = {.read = note_path, .arg = &list};
	int r;

	r = manifest_parse("", text, len, &reader, &m);
	if (!list.v && r != -ENOMEM)
		list.v = calloc(1, sizeof(*list.v));
	if (!list.v || r == -ENOMEM) {
		strv_free(list.v);
		return -ENOMEM;
	}
	*ret = list.v;
	return 0;
}
