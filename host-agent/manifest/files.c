/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets and configs: what the stack declares, and where containers have them
 * as files. The content of a config goes into the model; that of a secret only
 * beside it, for whoever seals it.
 */
#include "host-agent/manifest/container.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "host-agent/model/check.h"

#define SECRETS_FOLDER "/run/secrets/"

/* ------------------------------------------------------ what is declared */

struct source_draft {
	struct model_source m;
	const struct node *file, *content, *external;
	bool config;
};

static void read_source_file(struct reading *r, const struct node *at,
			     const char *path, struct model_source *m)
{
	struct err e = ERR_INIT;
	char *data = NULL, *hex;
	size_t len = 0;
	int result;

	if (!r->env_reader || !r->env_reader->read_file) {
		node_error(r, at, "%s cannot be read here", node_show(r, at));
		return;
	}
	result = r->env_reader->read_file(r->env_reader->arg, path, &data, &len,
					  &e);
	if (result < 0) {
		node_error(r, at, "%s cannot be read: %s", node_show(r, at),
			   diag_message(&r->diags,
					*e.msg ? e.msg : strerror(-result)));
		return;
	}
	if (len > HYB_FILE_CONTENT_MAX) {
		node_error(r, at, "%s has %zu bytes, more than %zu",
			   node_show(r, at), len, HYB_FILE_CONTENT_MAX);
	} else if (len > HYB_FILES_CONTENT_MAX - r->file_bytes) {
		node_error(r, at,
			   "secrets and configs of more than %zu bytes "
			   "in all",
			   HYB_FILES_CONTENT_MAX);
	} else {
		r->file_bytes += len;
		hex = read_alloc(r, 2 * len + 1, 1);
		if (hex) {
			hex_format(data, len, hex);
			m->content = hex;
		}
	}
	explicit_bzero(data, len);
	free(data);
}

static void on_file(struct reading *r, const struct node *n, void *out)
{
	struct source_draft *d = out;
	const char *path;

	d->file = n;
	if (!read_text(r, n, &path))
		return;
	if (!*path)
		node_error(r, n, "'file' has an empty path");
	else
		read_source_file(r, n, path, &d->m);
}

static void on_content(struct reading *r, const struct node *n, void *out)
{
	struct source_draft *d = out;
	const char *text;
	char *hex;

	d->content = n;
	if (!d->config) {
		node_error(r, n,
			   "a secret does not stand in the manifest; write "
			   "file: or external: true");
		return;
	}
	if (!read_text(r, n, &text))
		return;
	if (strlen(text) > HYB_FILE_CONTENT_MAX) {
		node_error(r, n, "'content' has more than %zu bytes",
			   HYB_FILE_CONTENT_MAX);
		return;
	}
	hex = read_alloc(r, 2 * strlen(text) + 1, 1);
	if (hex) {
		hex_format(text, strlen(text), hex);
		d->m.content = hex;
	}
}

static void on_source_external(struct reading *r, const struct node *n,
			       void *out)
{
	struct source_draft *d = out;

	d->external = n;
	if (d->config)
		node_error(r, n, "an external config is not supported yet");
	else
		read_bool(r, n, &d->m.external);
}

static const struct field source_fields[] = {
	{"file", on_file},
	{"content", on_content},
	{"external", on_source_external},
};

const struct field_table fields_source = {
	"a secret or config",
	source_fields,
	ARRAY_SIZE(source_fields),
};

static void source_read(struct reading *r, const struct node *at,
			const struct node *map, bool config,
			struct model_source *ret)
{
	const char *what = config ? "config" : "secret";
	struct source_draft d = {.m = {.name = "?", .content = ""},
				 .config = config};
	const char *why = check_file_name(at->text);

	if (why)
		node_error(r, at, "the name of a %s must be %s; it is %s", what,
			   why, node_show(r, at));
	else
		d.m.name = read_strdup(r, at->text);
	fields_read(r, map, &fields_source, &d);
	if (d.m.external && (d.file || d.content))
		node_error(r, at,
			   "the %s %s is external: it has neither file nor "
			   "content",
			   what, node_show(r, at));
	else if (d.file && d.content)
		node_error(r, at, "the %s %s has both a file and content", what,
			   node_show(r, at));
	else if (map->kind == NODE_MAP && !d.file && !d.content &&
		 !d.m.external)
		node_error(r, at, "the %s %s has no content; write %s", what,
			   node_show(r, at),
			   config ? "file: PATH or content: TEXT"
				  : "file: PATH or external: true");
	*ret = d.m;
}

static void sources_read(struct reading *r, const struct node *n, bool config,
			 struct model_source **ret, size_t *ret_n)
{
	size_t i;

	if (n->kind != NODE_MAP) {
		node_error(r, n, "'%s' must be a map; it is %s", r->key,
			   node_show(r, n));
		return;
	}
	if (n->n > HYB_STACK_SOURCES_MAX) {
		node_error(r, n, "a stack can have at most %d %s",
			   HYB_STACK_SOURCES_MAX, r->key);
		return;
	}
	*ret = read_alloc(r, n->n, sizeof(**ret));
	for (i = 0; *ret && i < n->n; i++)
		source_read(r, n->pairs[i].key, n->pairs[i].value, config,
			    &(*ret)[i]);
	*ret_n = *ret ? n->n : 0;
}

void secrets_read(struct reading *r, const struct node *n, void *draft)
{
	struct stack_draft *d = draft;

	sources_read(r, n, false, &d->secrets, &d->m->n_secrets);
	d->m->secrets = d->secrets;
}

void configs_read(struct reading *r, const struct node *n, void *draft)
{
	struct stack_draft *d = draft;

	sources_read(r, n, true, &d->configs, &d->n_configs);
}

/* ----------------------------------------------------- of a container */

struct file_draft {
	struct model_file m;
	bool bad;
};

static void on_file_source(struct reading *r, const struct node *n, void *out)
{
	struct file_draft *d = out;

	d->bad |= !read_checked(r, n, check_file_name, &d->m.source);
}

static void on_file_target(struct reading *r, const struct node *n, void *out)
{
	struct file_draft *d = out;

	d->bad |= !read_text(r, n, &d->m.target);
}

static void on_file_mode(struct reading *r, const struct node *n, void *out)
{
	struct file_draft *d = out;

	if (!read_mode(r, n, &d->m.mode)) {
		d->bad = true;
	} else if (d->m.mode & ~0777u) {
		node_error(r, n, "'mode' must be from 0 to 0777; it is %s",
			   node_show(r, n));
		d->bad = true;
	}
}

static void read_id(struct reading *r, const struct node *n, uint32_t *ret,
		    bool *bad)
{
	uint32_t id = 0;

	/* Compose has them in quotes. */
	if (n->kind == NODE_SCALAR && parse_uid(n->text, &id) == 0 &&
	    id < 65536) {
		*ret = id;
		return;
	}
	node_error(r, n, "'%s' must be a number from 0 to 65535; it is %s",
		   r->key, node_show(r, n));
	*bad = true;
}

static void on_file_uid(struct reading *r, const struct node *n, void *out)
{
	struct file_draft *d = out;

	read_id(r, n, &d->m.uid, &d->bad);
}

static void on_file_gid(struct reading *r, const struct node *n, void *out)
{
	struct file_draft *d = out;

	read_id(r, n, &d->m.gid, &d->bad);
}

static const struct field file_fields[] = {
	{"source", on_file_source}, {"target", on_file_target},
	{"mode", on_file_mode},	    {"uid", on_file_uid},
	{"gid", on_file_gid},
};

const struct field_table fields_file = {
	"a secret or config of a container",
	file_fields,
	ARRAY_SIZE(file_fields),
};

/* Where it is when nothing is said: Compose's places. A name alone is one in
 * /run/secrets. */
static bool file_target(struct reading *r, const struct node *at, bool config,
			struct model_file *m)
{
	const char *why, *name = m->target ? m->target : m->source;

	if (!m->target || m->target[0] != '/') {
		m->target = arena_printf(r->arena, "%s%s",
					 config ? "/" : SECRETS_FOLDER, name);
		if (!m->target) {
			r->oom = true;
			return false;
		}
	}
	why = check_mount_target(m->target);
	if (why)
		node_error(r, at, "the target of a file must be %s; it is %s",
			   why, text_show(r, m->target));
	return !why;
}

static bool target_is_taken(struct reading *r, const struct container_draft *d,
			    const struct node *at, const char *target)
{
	size_t i;

	for (i = 0; i < d->m.n_files; i++) {
		if (strcmp(d->files[i].target, target) == 0) {
			node_error(r, at,
				   "there is something at %s already, from "
				   "line %u",
				   text_show(r, target), d->file_at[i]->line);
			return true;
		}
	}
	return false;
}

static void one_file(struct reading *r, struct container_draft *d,
		     const struct node *item, bool config)
{
	struct file_draft f = {
		.m = {.config = config, .mode = 0444, .content = ""}};
	const struct node *source;

	if (item->kind == NODE_LIST || node_is_null(item)) {
		node_error(r, item, "a %s must be a name or a map, not %s",
			   config ? "config" : "secret",
			   item->kind == NODE_LIST ? "a list" : "nothing");
		return;
	}
	if (item->kind == NODE_MAP) {
		fields_read(r, item, &fields_file, &f);
		source = node_get(item, "source");
		if (!source)
			node_error(r, item, "a %s has no 'source'",
				   config ? "config" : "secret");
		/* That one without a value is none is told already. */
		if (!source || node_is_null(source))
			return;
	} else {
		f.bad = !read_checked(r, item, check_file_name, &f.m.source);
	}
	if (f.bad || r->oom || !file_target(r, item, config, &f.m) ||
	    target_is_taken(r, d, item, f.m.target))
		return;
	d->file_at[d->m.n_files] = item;
	d->files[d->m.n_files++] = f.m;
}

static void files_read(struct reading *r, const struct node *n, bool config,
		       struct container_draft *d)
{
	size_t i;

	if (n->kind != NODE_LIST) {
		node_error(r, n, "'%s' must be a list; it is %s", r->key,
			   node_show(r, n));
		return;
	}
	if (!d->files) {
		d->files = read_alloc(r, HYB_CONTAINER_FILES_MAX,
				      sizeof(*d->files));
		d->file_at = scratch_alloc(r, HYB_CONTAINER_FILES_MAX,
					   sizeof(*d->file_at));
	}
	if (!d->files || !d->file_at)
		return;
	d->m.files = d->files;
	for (i = 0; i < n->n; i++) {
		if (d->m.n_files == HYB_CONTAINER_FILES_MAX) {
			node_error(r, n,
				   "a container can have at most %d secrets "
				   "and configs",
				   HYB_CONTAINER_FILES_MAX);
			return;
		}
		one_file(r, d, n->items[i], config);
	}
}

void container_secrets_read(struct reading *r, const struct node *n,
			    void *draft)
{
	files_read(r, n, false, draft);
}

void container_configs_read(struct reading *r, const struct node *n,
			    void *draft)
{
	files_read(r, n, true, draft);
}

/* --------------------------------------------------------- cross checks */

static const struct model_source *find_source(const struct model_source *v,
					      size_t n, const char *name)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strcmp(v[i].name, name) == 0)
			return &v[i];
	return NULL;
}

static void resolve(struct reading *r, const struct stack_draft *s,
		    struct model_file *f, const struct node *at)
{
	const struct model_source *list = f->config ? s->configs : s->secrets;
	size_t n = f->config ? s->n_configs : s->m->n_secrets, i;
	const char *names[HYB_STACK_SOURCES_MAX], *near;
	const struct model_source *found = find_source(list, n, f->source);
	const char *what = f->config ? "config" : "secret";

	if (found) {
		f->external = found->external;
		if (f->config)
			f->content = found->content;
		return;
	}
	for (i = 0; i < n; i++)
		names[i] = list[i].name;
	near = nearest_name(f->source, names, n);
	if (near)
		node_error(r, at, "there is no %s %s; did you mean %s?", what,
			   text_show(r, f->source), text_show(r, near));
	else
		node_error(r, at,
			   "there is no %s %s; declare it in the stack's '%ss'",
			   what, text_show(r, f->source), what);
}

void files_crosscheck(struct reading *r, struct stack_draft *s)
{
	struct container_draft *c;
	size_t i, k, f, m;

	for (i = 0; i < s->n; i++) {
		for (k = 0; k < s->vms[i].n; k++) {
			c = &s->vms[i].containers[k];
			for (f = 0; f < c->m.n_files; f++) {
				resolve(r, s, &c->files[f], c->file_at[f]);
				for (m = 0; m < c->m.n_mounts; m++)
					if (strcmp(c->mounts[m].target,
						   c->files[f].target) == 0)
						node_error(
							r, c->file_at[f],
							"there is something at "
							"%s already, from line "
							"%u",
							text_show(
								r,
								c->files[f]
									.target),
							c->mount_at[m]->line);
			}
		}
	}
}
