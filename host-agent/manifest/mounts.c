/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's volumes: "VOLUME:TARGET[:ro,nocopy]", "PATH:TARGET[:ro]" or a
 * map.
 */
#include "host-agent/manifest/container.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "host-agent/model/check.h"

/* One while it is read. */
struct mount_draft {
	struct model_mount m;
	const char *type;
	const struct node *size, *mode, *nocopy, *source, *bind, *volume;
	bool bad;
};

/* Is it a path, and not a volume's name? */
static bool is_path(const char *source)
{
	return source[0] == '.' || source[0] == '/' || source[0] == '~';
}

/* "./a//b/../c" of a folder: by the text alone, as Compose has it. NULL: no
 * memory. */
static char *join_path(struct reading *r, const char *folder, const char *rest)
{
	size_t len = strlen(folder), n;
	char *out = read_alloc(r, len + strlen(rest) + 2, 1);

	if (!out)
		return NULL;
	memcpy(out, folder, len);
	for (; *rest; rest += n) {
		rest += strspn(rest, "/");
		n = strcspn(rest, "/");
		if (n == 0 || (n == 1 && rest[0] == '.'))
			continue;
		if (n == 2 && rest[0] == '.' && rest[1] == '.') {
			while (len > 0 && out[--len] != '/')
				continue;
			continue;
		}
		if (len == 0 || out[len - 1] != '/')
			out[len++] = '/';
		memcpy(out + len, rest, n);
		len += n;
	}
	if (len == 0)
		out[len++] = '/';
	out[len] = '\0';
	return out;
}

/* The absolute path that is meant, as far as it can be told without the host:
 * hybd knows what is allowed there. NULL: it has been told what is wrong. */
static const char *bind_source(struct reading *r, const struct node *at,
			       const char *source)
{
	const char *folder = r->env_reader ? r->env_reader->folder : NULL;
	const char *why;

	if (source[0] == '~') {
		node_error(
			r, at,
			"'~' in a path of the host is not expanded, as it is "
			"not the same for everybody; write an absolute path "
			"instead of %s",
			text_show(r, source));
		return NULL;
	}
	if (source[0] == '.' && !folder) {
		node_error(r, at,
			   "%s is relative to the manifest's folder, which is "
			   "not known here",
			   text_show(r, source));
		return NULL;
	}
	if (source[0] == '.')
		source = join_path(r, folder, source);
	else
		source = read_strdup(r, source);
	if (!source)
		return NULL;
	why = check_bind_source(source);
	if (why)
		node_error(r, at,
			   "the path of the host that is bound must be %s; it "
			   "is %s",
			   why, text_show(r, source));
	return why ? NULL : source;
}

static bool target_is_good(struct reading *r, const struct node *at,
			   const char *s)
{
	const char *why = check_mount_target(s);

	if (why)
		node_error(r, at, "the target of a volume must be %s; it is %s",
			   why, text_show(r, s));
	return !why;
}

static bool source_is_good(struct reading *r, const struct node *at,
			   const char *s)
{
	const char *why;

	if (is_path(s)) {
		node_error(r, at,
			   "%s is a path of the host, not a volume; write "
			   "type: bind",
			   text_show(r, s));
		return false;
	}
	why = check_name(s);
	if (why)
		node_error(r, at, "the name of a volume must be %s; it is %s",
			   why, text_show(r, s));
	return !why;
}

/* ------------------------------------------------------------ short form */

static bool mount_option(struct reading *r, const struct node *at,
			 const char *word, struct model_mount *m)
{
	if (strcmp(word, "ro") == 0) {
		m->read_only = true;
	} else if (strcmp(word, "nocopy") == 0) {
		m->no_copy = true;
	} else if (strcmp(word, "rw") != 0) {
		node_error(r, at,
			   "the option of a volume must be ro, rw or nocopy; "
			   "it is %s",
			   text_show(r, word));
		return false;
	}
	return true;
}

static bool mount_options(struct reading *r, const struct node *at, char *s,
			  struct model_mount *m)
{
	char *comma;
	bool good = true;

	for (; s && good; s = comma) {
		comma = strchr(s, ',');
		if (comma)
			*comma++ = '\0';
		good = mount_option(r, at, s, m);
	}
	return good;
}

/* "/var/lib/data" alone. */
static bool mount_anonymous(struct reading *r, const struct node *at,
			    const char *target, struct model_mount *m)
{
	if (target[0] != '/') {
		node_error(r, at,
			   "a volume is NAME:TARGET, such as "
			   "data:/var/lib/data, or, without a name, a TARGET "
			   "that begins with '/'; it is %s",
			   text_show(r, target));
		return false;
	}
	if (!target_is_good(r, at, target))
		return false;
	m->kind = MODEL_MOUNT_ANONYMOUS;
	m->target = read_strdup(r, target);
	return !r->oom;
}

static bool mount_short(struct reading *r, const struct node *at,
			struct model_mount *m)
{
	char *text, *target, *options;

	if (at->len > 2048) {
		node_error(r, at, "this is too long for a volume");
		return false;
	}
	text = arena_strdup(r->scratch, at->text);
	if (!text) {
		r->oom = true;
		return false;
	}
	target = strchr(text, ':');
	if (!target)
		return mount_anonymous(r, at, text, m);
	*target++ = '\0';
	options = strchr(target, ':');
	if (options)
		*options++ = '\0';
	m->kind = is_path(text) ? MODEL_MOUNT_BIND : MODEL_MOUNT_VOLUME;
	if (m->kind == MODEL_MOUNT_BIND)
		m->source = bind_source(r, at, text);
	else
		m->source = source_is_good(r, at, text) ? read_strdup(r, text)
							: NULL;
	if (!m->source || !target_is_good(r, at, target) ||
	    !mount_options(r, at, options, m))
		return false;
	if (m->kind == MODEL_MOUNT_BIND && m->no_copy) {
		node_error(r, at, "'nocopy' says nothing to a bind");
		return false;
	}
	m->target = read_strdup(r, target);
	return !r->oom;
}

/* ------------------------------------------------------------- long form */

static void on_type(struct reading *r, const struct node *n, void *out)
{
	struct mount_draft *d = out;

	if (!read_text(r, n, &d->type)) {
		d->bad = true;
	} else if (strcmp(d->type, "volume") && strcmp(d->type, "tmpfs") &&
		   strcmp(d->type, "bind")) {
		node_error(r, n,
			   "the type of a volume must be volume, tmpfs or "
			   "bind; it is %s",
			   node_show(r, n));
		d->bad = true;
	}
}

static void on_source(struct reading *r, const struct node *n, void *out)
{
	struct mount_draft *d = out;

	if (read_text(r, n, &d->m.source))
		d->source = n;
	else
		d->bad = true;
}

static void on_mount_target(struct reading *r, const struct node *n, void *out)
{
	struct mount_draft *d = out;

	if (!read_text(r, n, &d->m.target) ||
	    !target_is_good(r, n, d->m.target))
		d->bad = true;
}

static void on_mount_read_only(struct reading *r, const struct node *n,
			       void *out)
{
	struct mount_draft *d = out;

	if (!read_bool(r, n, &d->m.read_only))
		d->bad = true;
}

static void on_mount_size(struct reading *r, const struct node *n, void *out)
{
	struct mount_draft *d = out;

	d->size = n;
	if (!read_size(r, n, HYB_TMPFS_SIZE_MIN, HYB_TMPFS_SIZE_MAX,
		       &d->m.size))
		d->bad = true;
}

/* Octal, as everybody writes modes: 1777, 01777, 0o1777. */
static bool mode_parse(const char *s, uint32_t *ret)
{
	unsigned long v;

	if (s[0] == '0' && s[1] == 'o')
		s += 2;
	if (!*s || strlen(s) > 5 || s[strspn(s, "01234567")])
		return false;
	v = strtoul(s, NULL, 8);
	*ret = (uint32_t)v;
	return v <= 07777;
}

bool read_mode(struct reading *r, const struct node *n, uint32_t *ret)
{
	if (n->kind == NODE_SCALAR && mode_parse(n->text, ret))
		return true;
	node_error(r, n, "'%s' must be octal, such as 0755; it is %s", r->key,
		   node_show(r, n));
	return false;
}

static void on_mount_mode(struct reading *r, const struct node *n, void *out)
{
	struct mount_draft *d = out;

	d->mode = n;
	if (!read_mode(r, n, &d->m.mode))
		d->bad = true;
}

static void on_nocopy(struct reading *r, const struct node *n, void *out)
{
	struct mount_draft *d = out;

	d->nocopy = n;
	if (!read_bool(r, n, &d->m.no_copy))
		d->bad = true;
}

/* Compose's default makes it. Here a path that is not there is an error: a
 * mistyped one would be an empty folder, of hybd's making. */
static void on_create_host_path(struct reading *r, const struct node *n,
				void *out)
{
	struct mount_draft *d = out;
	bool create = false;

	if (!read_bool(r, n, &create)) {
		d->bad = true;
	} else if (create) {
		node_error(r, n,
			   "hyb makes no folder on the host; make it before, "
			   "and write create_host_path: false");
		d->bad = true;
	}
}

static void on_subpath(struct reading *r, const struct node *n, void *out)
{
	struct mount_draft *d = out;

	d->bad |= !read_checked(r, n, check_subpath, &d->m.subpath);
}

static const struct field bind_fields[] = {
	{"create_host_path", on_create_host_path},
	{"propagation", NULL},
	{"selinux", NULL},
};

static const struct field of_volume_fields[] = {
	{"nocopy", on_nocopy},
	{"subpath", on_subpath},
};

const struct field_table fields_mount_bind = {
	"a bind's 'bind'",
	bind_fields,
	ARRAY_SIZE(bind_fields),
};

const struct field_table fields_mount_volume = {
	"a volume's 'volume'",
	of_volume_fields,
	ARRAY_SIZE(of_volume_fields),
};

static void on_mount_bind(struct reading *r, const struct node *n, void *out)
{
	struct mount_draft *d = out;

	d->bind = n;
	fields_read(r, n, &fields_mount_bind, d);
}

static void on_mount_volume(struct reading *r, const struct node *n, void *out)
{
	struct mount_draft *d = out;

	d->volume = n;
	fields_read(r, n, &fields_mount_volume, d);
}

static const struct field mount_fields[] = {
	{"type", on_type},	     {"source", on_source},
	{"target", on_mount_target}, {"read_only", on_mount_read_only},
	{"size", on_mount_size},     {"mode", on_mount_mode},
	{"nocopy", on_nocopy},	     {"bind", on_mount_bind},
	{"volume", on_mount_volume},
};

const struct field_table fields_mount = {
	"a volume of a container",
	mount_fields,
	ARRAY_SIZE(mount_fields),
};

/* Keys that say nothing to this type. */
static void misplaced(struct reading *r, struct mount_draft *d,
		      const struct node *at, const char *key)
{
	if (!at)
		return;
	node_error(r, at, "'%s' says nothing to a volume of type %s", key,
		   d->type);
	d->bad = true;
}

static bool tmpfs_long(struct reading *r, struct mount_draft *d)
{
	misplaced(r, d, d->source, "source");
	misplaced(r, d, d->nocopy, "nocopy");
	misplaced(r, d, d->bind, "bind");
	misplaced(r, d, d->volume, "volume");
	d->m.kind = MODEL_MOUNT_TMPFS;
	d->m.source = "";
	if (!d->size)
		d->m.size = HYB_DEFAULT_TMPFS_SIZE;
	if (!d->mode)
		d->m.mode = HYB_DEFAULT_TMPFS_MODE;
	return !d->bad;
}

static bool bind_long(struct reading *r, const struct node *at,
		      struct mount_draft *d)
{
	misplaced(r, d, d->size, "size");
	misplaced(r, d, d->mode, "mode");
	misplaced(r, d, d->nocopy, "nocopy");
	misplaced(r, d, d->volume, "volume");
	d->m.kind = MODEL_MOUNT_BIND;
	if (!d->source) {
		node_error(r, at, "a bind has no 'source'");
		return false;
	}
	d->m.source = bind_source(r, d->source, d->m.source);
	return d->m.source && !d->bad;
}

static bool volume_long(struct reading *r, struct mount_draft *d)
{
	misplaced(r, d, d->size, "size");
	misplaced(r, d, d->mode, "mode");
	misplaced(r, d, d->bind, "bind");
	d->m.kind = MODEL_MOUNT_VOLUME;
	if (!d->source) {
		d->m.kind = MODEL_MOUNT_ANONYMOUS;
		d->m.source = "";
		if (*d->m.subpath) {
			node_error(r, d->volume,
				   "'subpath' says nothing to a volume without "
				   "a name: nothing is in it");
			d->bad = true;
		}
		return !d->bad;
	}
	return source_is_good(r, d->source, d->m.source) && !d->bad;
}

static bool mount_long(struct reading *r, const struct node *at,
		       struct model_mount *ret)
{
	struct mount_draft d = {.type = "volume", .m.subpath = ""};

	fields_read(r, at, &fields_mount, &d);
	if (!node_get(at, "target")) {
		node_error(r, at, "a volume has no 'target'");
		d.bad = true;
	}
	if (d.bad || r->oom)
		return false;
	if (!(strcmp(d.type, "tmpfs") == 0  ? tmpfs_long(r, &d)
	      : strcmp(d.type, "bind") == 0 ? bind_long(r, at, &d)
					    : volume_long(r, &d)))
		return false;
	*ret = d.m;
	return true;
}

/* ---------------------------------------------------------- the list */

/* Keeps both arrays in the order of the targets. */
static void insert(struct container_draft *d, const struct model_mount *m,
		   const struct node *at)
{
	size_t i = d->m.n_mounts++;

	for (; i > 0 && strcmp(d->mounts[i - 1].target, m->target) > 0; i--) {
		d->mounts[i] = d->mounts[i - 1];
		d->mount_at[i] = d->mount_at[i - 1];
	}
	d->mounts[i] = *m;
	d->mount_at[i] = at;
}

static void one_mount(struct reading *r, struct container_draft *d,
		      const struct node *item)
{
	struct model_mount m = {.source = "", .subpath = ""};
	size_t i;

	if (item->kind == NODE_LIST || node_is_null(item)) {
		node_error(r, item,
			   "a volume must be text such as \"data:/srv\" or a "
			   "map, not %s",
			   item->kind == NODE_LIST ? "a list" : "nothing");
		return;
	}
	if (item->kind == NODE_MAP ? !mount_long(r, item, &m)
				   : !mount_short(r, item, &m))
		return;
	for (i = 0; i < d->m.n_mounts; i++) {
		if (strcmp(d->mounts[i].target, m.target) == 0) {
			node_error(r, item,
				   "there is something at %s already, from "
				   "line %u",
				   text_show(r, m.target),
				   d->mount_at[i]->line);
			return;
		}
	}
	insert(d, &m, item);
}

void mounts_read(struct reading *r, const struct node *n, void *draft)
{
	struct container_draft *d = draft;
	size_t i;

	if (n->kind != NODE_LIST) {
		node_error(r, n, "'volumes' must be a list; it is %s",
			   node_show(r, n));
		return;
	}
	if (n->n > HYB_MOUNTS_PER_CONTAINER_MAX) {
		node_error(r, n, "a container can have at most %d volumes",
			   HYB_MOUNTS_PER_CONTAINER_MAX);
		return;
	}
	d->mounts = read_alloc(r, n->n, sizeof(*d->mounts));
	d->mount_at = scratch_alloc(r, n->n, sizeof(*d->mount_at));
	for (i = 0; d->mounts && d->mount_at && i < n->n; i++)
		one_mount(r, d, n->items[i]);
	d->m.mounts = d->mounts;
}
