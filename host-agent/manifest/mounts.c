/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's volumes: "VOLUME:TARGET[:ro,nocopy]", "/PATH:TARGET[:ro]" or a
 * map; a stack's
 * volumes; and what only the whole can tell: is each declared, does one VM at
 * most write.
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
	const struct node *size, *mode, *nocopy, *source;
	bool bad;
};

/* Is it a path, and not a volume's name? */
static bool is_path(const char *source)
{
	return source[0] == '.' || source[0] == '/' || source[0] == '~';
}

/* What of it can be told without the host: hybd knows what is allowed there. */
static bool bind_is_good(struct reading *r, const struct node *at,
			 const char *source)
{
	const char *why = check_bind_source(source);

	if (why)
		node_error(r, at,
			   "the path of the host that is bound must be %s; it "
			   "is %s",
			   why, text_show(r, source));
	return !why;
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
	if (!target) {
		node_error(r, at,
			   "a volume without a name is not supported yet; "
			   "write NAME:TARGET, such as data:/var/lib/data");
		return false;
	}
	*target++ = '\0';
	options = strchr(target, ':');
	if (options)
		*options++ = '\0';
	m->kind = is_path(text) ? MODEL_MOUNT_BIND : MODEL_MOUNT_VOLUME;
	if (!(m->kind == MODEL_MOUNT_BIND ? bind_is_good(r, at, text)
					  : source_is_good(r, at, text)) ||
	    !target_is_good(r, at, target) || !mount_options(r, at, options, m))
		return false;
	if (m->kind == MODEL_MOUNT_BIND && m->no_copy) {
		node_error(r, at, "'nocopy' says nothing to a bind");
		return false;
	}
	m->source = read_strdup(r, text);
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

static const struct field mount_fields[] = {
	{"type", on_type},	     {"source", on_source},
	{"target", on_mount_target}, {"read_only", on_mount_read_only},
	{"size", on_mount_size},     {"mode", on_mount_mode},
	{"nocopy", on_nocopy},
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
	d->m.kind = MODEL_MOUNT_BIND;
	if (!d->source) {
		node_error(r, at, "a bind has no 'source'");
		return false;
	}
	return bind_is_good(r, d->source, d->m.source) && !d->bad;
}

static bool volume_long(struct reading *r, const struct node *at,
			struct mount_draft *d)
{
	misplaced(r, d, d->size, "size");
	misplaced(r, d, d->mode, "mode");
	d->m.kind = MODEL_MOUNT_VOLUME;
	if (!d->source) {
		node_error(r, at,
			   "a volume has no 'source'; a volume without a name "
			   "is not supported yet");
		return false;
	}
	return source_is_good(r, d->source, d->m.source) && !d->bad;
}

static bool mount_long(struct reading *r, const struct node *at,
		       struct model_mount *ret)
{
	struct mount_draft d = {.type = "volume"};

	fields_read(r, at, &fields_mount, &d);
	if (!node_get(at, "target")) {
		node_error(r, at, "a volume has no 'target'");
		d.bad = true;
	}
	if (d.bad || r->oom)
		return false;
	if (!(strcmp(d.type, "tmpfs") == 0  ? tmpfs_long(r, &d)
	      : strcmp(d.type, "bind") == 0 ? bind_long(r, at, &d)
					    : volume_long(r, at, &d)))
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
	struct model_mount m = {.source = ""};
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

/* ------------------------------------------------------ a stack's volumes */

struct volume_draft {
	struct model_volume m;
	const struct node *size;
};

static void on_volume_size(struct reading *r, const struct node *n, void *out)
{
	struct volume_draft *d = out;

	d->size = n;
	if (read_size(r, n, HYB_VOLUME_SIZE_MIN, HYB_VOLUME_SIZE_MAX,
		      &d->m.size) &&
	    d->m.size % 4096 != 0)
		node_error(r, n, "'%s' must be a multiple of 4k; it is %s",
			   r->key, node_show(r, n));
}

static void on_external(struct reading *r, const struct node *n, void *out)
{
	struct volume_draft *d = out;

	read_bool(r, n, &d->m.external);
}

static const struct field volume_fields[] = {
	{"size", on_volume_size},
	{"external", on_external},
};

const struct field_table fields_volume = {
	"a volume",
	volume_fields,
	ARRAY_SIZE(volume_fields),
};

static void volume_read(struct reading *r, const struct node *at,
			const struct node *map, struct model_volume *ret)
{
	struct volume_draft d = {.m.name = "?"};
	const char *why = check_name(at->text);

	if (why)
		node_error(r, at, "the name of a volume must be %s; it is %s",
			   why, node_show(r, at));
	else
		d.m.name = read_strdup(r, at->text);
	fields_read(r, map, &fields_volume, &d);
	if (d.m.external && d.size) {
		node_error(r, d.size,
			   "'size' says nothing to an external volume: it has "
			   "the one it was made with");
	} else if (map->kind == NODE_MAP && !d.m.external && !d.size) {
		node_error(r, at,
			   "the volume %s has no 'size'; write size: 1g, or "
			   "external: true for one that `hyb volume create` "
			   "has made",
			   node_show(r, at));
	}
	*ret = d.m;
}

void volumes_read(struct reading *r, const struct node *n, void *draft)
{
	struct stack_draft *d = draft;
	size_t i;

	if (n->kind != NODE_MAP) {
		node_error(r, n, "'volumes' must be a map of volumes; it is %s",
			   node_show(r, n));
		return;
	}
	if (n->n > HYB_STACK_VOLUMES_MAX) {
		node_error(r, n, "a stack can have at most %d volumes",
			   HYB_STACK_VOLUMES_MAX);
		return;
	}
	d->volumes = read_alloc(r, n->n, sizeof(*d->volumes));
	d->volume_at = scratch_alloc(r, n->n, sizeof(*d->volume_at));
	if (!d->volumes || !d->volume_at)
		return;
	for (i = 0; i < n->n; i++) {
		d->volume_at[i] = n->pairs[i].key;
		volume_read(r, n->pairs[i].key, n->pairs[i].value,
			    &d->volumes[i]);
	}
	d->m->volumes = d->volumes;
	d->m->n_volumes = n->n;
}

/* --------------------------------------------------------- cross checks */

static void check_declared(struct reading *r, const struct stack_draft *s,
			   const struct container_draft *c)
{
	const char *names[HYB_STACK_VOLUMES_MAX], *near;
	size_t i, k;

	for (k = 0; k < s->m->n_volumes; k++)
		names[k] = s->volumes[k].name;
	for (i = 0; i < c->m.n_mounts; i++) {
		if (c->mounts[i].kind != MODEL_MOUNT_VOLUME ||
		    model_find_volume(s->m, c->mounts[i].source))
			continue;
		near = nearest_name(c->mounts[i].source, names, k);
		node_error(r, c->mount_at[i], "there is no volume %s%s%s%s",
			   text_show(r, c->mounts[i].source),
			   near ? "; did you mean "
				: "; declare it in the stack's 'volumes'",
			   near ? text_show(r, near) : "", near ? "?" : "");
	}
}

static void check_shm(struct reading *r, const struct container_draft *c)
{
	size_t i;

	for (i = 0; c->shm_size && i < c->m.n_mounts; i++)
		if (strcmp(c->mounts[i].target, "/dev/shm") == 0)
			node_error(r, c->shm_size,
				   "'shm_size' says nothing: a volume is at "
				   "/dev/shm");
}

/* How a VM uses a volume. */
static bool vm_uses(const struct vm_draft *vm, const char *name, bool *writes,
		    const struct node **at)
{
	const struct container_draft *c;
	bool uses = false;
	size_t i, k;

	*writes = false;
	for (i = 0; i < vm->n; i++) {
		c = &vm->containers[i];
		for (k = 0; k < c->m.n_mounts; k++) {
			if (c->mounts[k].kind != MODEL_MOUNT_VOLUME ||
			    strcmp(c->mounts[k].source, name) != 0)
				continue;
			if (!uses || (!*writes && !c->mounts[k].read_only))
				*at = c->mount_at[k];
			uses = true;
			*writes = *writes || !c->mounts[k].read_only;
		}
	}
	return uses;
}

/* A file system is either one kernel's, or nobody writes to it. */
static void check_one_writer(struct reading *r, const struct stack_draft *s,
			     const char *name)
{
	const struct node *at = NULL, *first_at = NULL;
	const struct vm_draft *first = NULL;
	bool writes, first_writes = false;
	size_t i;

	for (i = 0; i < s->n; i++) {
		if (!vm_uses(&s->vms[i], name, &writes, &at))
			continue;
		if (first && (writes || first_writes)) {
			node_error(r, at,
				   "the volume %s is mounted in the VM %s too "
				   "(line %u): while one VM writes, no other "
				   "may use it; only reading (:ro) is shared",
				   text_show(r, name),
				   text_show(r, first->m.name), first_at->line);
			return;
		}
		first = &s->vms[i];
		first_writes = writes;
		first_at = at;
	}
}

static void check_count(struct reading *r, const struct stack_draft *s,
			const struct vm_draft *vm)
{
	const struct node *at;
	size_t i, n = 0;
	bool writes;

	for (i = 0; i < s->m->n_volumes; i++)
		if (vm_uses(vm, s->volumes[i].name, &writes, &at) &&
		    ++n == HYB_VM_VOLUMES_MAX + 1)
			node_error(r, at, "a VM can have at most %d volumes",
				   HYB_VM_VOLUMES_MAX);
}

/* Each is a device of the VM, and a process on the host. */
static void check_binds(struct reading *r, const struct vm_draft *vm)
{
	const struct container_draft *c;
	size_t i, k, n = 0;

	for (i = 0; i < vm->n; i++) {
		c = &vm->containers[i];
		for (k = 0; k < c->m.n_mounts; k++)
			if (c->mounts[k].kind == MODEL_MOUNT_BIND &&
			    ++n == HYB_VM_BINDS_MAX + 1)
				node_error(r, c->mount_at[k],
					   "a VM can have at most %d binds",
					   HYB_VM_BINDS_MAX);
	}
}

void mounts_crosscheck(struct reading *r, const struct stack_draft *s)
{
	size_t i, k;

	for (i = 0; i < s->n; i++) {
		for (k = 0; k < s->vms[i].n; k++) {
			check_declared(r, s, &s->vms[i].containers[k]);
			check_shm(r, &s->vms[i].containers[k]);
		}
		check_count(r, s, &s->vms[i]);
		check_binds(r, &s->vms[i]);
	}
	for (i = 0; i < s->m->n_volumes; i++)
		check_one_writer(r, s, s->volumes[i].name);
}
