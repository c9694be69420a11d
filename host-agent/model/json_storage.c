/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/model/json_storage.h"

#include <string.h>

static json_t *mount_to_json(const struct model_mount *m)
{
	if (m->kind == MODEL_MOUNT_TMPFS)
		return json_pack("{s:s,s:s,s:b,s:I,s:I}", "type", "tmpfs",
				 "target", m->target, "read_only",
				 (int)m->read_only, "size", (json_int_t)m->size,
				 "mode", (json_int_t)m->mode);
	if (m->kind == MODEL_MOUNT_BIND)
		return json_pack("{s:s,s:s,s:s,s:b}", "type", "bind", "source",
				 m->source, "target", m->target, "read_only",
				 (int)m->read_only);
	if (m->kind == MODEL_MOUNT_ANONYMOUS)
		return json_pack("{s:s,s:s,s:b,s:b}", "type", "anonymous",
				 "target", m->target, "read_only",
				 (int)m->read_only, "no_copy", (int)m->no_copy);
	/* Rows of earlier versions have no subpath. */
	return json_pack("{s:s,s:s,s:s,s:b,s:b,s:s*}", "type", "volume",
			 "source", m->source, "target", m->target, "read_only",
			 (int)m->read_only, "no_copy", (int)m->no_copy,
			 "subpath", *m->subpath ? m->subpath : NULL);
}

static json_t *file_to_json(const struct model_file *f)
{
	return json_pack("{s:b,s:b,s:s,s:s,s:I,s:I,s:I,s:s}", "config",
			 (int)f->config, "external", (int)f->external, "source",
			 f->source, "target", f->target, "mode",
			 (json_int_t)f->mode, "uid", (json_int_t)f->uid, "gid",
			 (json_int_t)f->gid, "content", f->content);
}

static bool files_to_json(json_t *o, const struct model_container *c)
{
	json_t *list = json_array();
	bool ok = list;
	size_t i;

	for (i = 0; ok && i < c->n_files; i++)
		ok = json_array_append_new(list, file_to_json(&c->files[i])) ==
		     0;
	ok = ok && json_object_set(o, "files", list) == 0;
	json_decref(list);
	return ok;
}

bool storage_to_json(json_t *o, const struct model_container *c)
{
	json_t *list = json_array();
	bool ok = list;
	size_t i;

	for (i = 0; ok && i < c->n_mounts; i++)
		ok = json_array_append_new(list,
					   mount_to_json(&c->mounts[i])) == 0;
	ok = ok && json_object_set(o, "mounts", list) == 0;
	json_decref(list);
	return ok && files_to_json(o, c) &&
	       json_object_set_new(o, "read_only",
				   json_boolean(c->read_only)) == 0 &&
	       json_object_set_new(o, "shm_size",
				   json_integer((json_int_t)c->shm_size)) ==
		       0 &&
	       /* Rows of earlier versions have none. */
	       (!c->layer_size ||
		json_object_set_new(o, "layer_size",
				    json_integer((json_int_t)c->layer_size)) ==
			0);
}

json_t *volumes_to_json(const struct model_stack *s)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; list && i < s->n_volumes; i++) {
		const struct model_volume *v = &s->volumes[i];
		json_t *o = json_pack("{s:s,s:I,s:b}", "name", v->name, "size",
				      (json_int_t)v->size, "external",
				      (int)v->external);

		if (json_array_append_new(list, o) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static const char *text_of(struct arena *arena, const json_t *o,
			   const char *key)
{
	const json_t *j = json_object_get(o, key);
	const char *s = json_string_value(j);

	if (!s || strlen(s) != json_string_length(j))
		return NULL;
	return arena_strdup(arena, s);
}

static bool whole(const json_t *o, const char *key, uint64_t *ret)
{
	const json_t *j = json_object_get(o, key);
	json_int_t v = json_integer_value(j);

	if (j && (!json_is_integer(j) || v < 0))
		return false;
	*ret = (uint64_t)v;
	return true;
}

static bool flag(const json_t *o, const char *key, bool *ret)
{
	const json_t *j = json_object_get(o, key);

	*ret = json_is_true(j);
	return !j || json_is_boolean(j);
}

static bool mount_from_json(struct arena *arena, const json_t *o,
			    struct model_mount *m)
{
	const char *type = json_string_value(json_object_get(o, "type"));
	uint64_t mode = 0;

	m->target = text_of(arena, o, "target");
	m->source = m->subpath = "";
	if (!flag(o, "read_only", &m->read_only) ||
	    !flag(o, "no_copy", &m->no_copy) || !type || !m->target ||
	    !whole(o, "size", &m->size) || !whole(o, "mode", &mode) ||
	    mode > 07777)
		return false;
	m->mode = (uint32_t)mode;
	if (strcmp(type, "tmpfs") == 0) {
		m->kind = MODEL_MOUNT_TMPFS;
		return true;
	}
	if (strcmp(type, "anonymous") == 0) {
		m->kind = MODEL_MOUNT_ANONYMOUS;
		return true;
	}
	m->kind = strcmp(type, "bind") == 0 ? MODEL_MOUNT_BIND
					    : MODEL_MOUNT_VOLUME;
	m->source = text_of(arena, o, "source");
	if (json_object_get(o, "subpath"))
		m->subpath = text_of(arena, o, "subpath");
	return m->subpath &&
	       (m->kind == MODEL_MOUNT_BIND || strcmp(type, "volume") == 0) &&
	       m->source;
}

static bool file_from_json(struct arena *arena, const json_t *o,
			   struct model_file *f)
{
	uint64_t mode, uid, gid;

	f->source = text_of(arena, o, "source");
	f->target = text_of(arena, o, "target");
	f->content = text_of(arena, o, "content");
	if (!f->source || !f->target || !f->content ||
	    !flag(o, "config", &f->config) ||
	    !flag(o, "external", &f->external) || !whole(o, "mode", &mode) ||
	    !whole(o, "uid", &uid) || !whole(o, "gid", &gid) || mode > 0777 ||
	    uid > 65535 || gid > 65535)
		return false;
	f->mode = (uint32_t)mode;
	f->uid = (uint32_t)uid;
	f->gid = (uint32_t)gid;
	return true;
}

static bool files_from_json(struct arena *arena, const json_t *o,
			    struct model_container *c)
{
	const json_t *list = json_object_get(o, "files");
	size_t i, n = json_array_size(list);
	struct model_file *f = arena_alloc(arena, n ? n : 1, sizeof(*f));

	if (!f || (list && !json_is_array(list)))
		return false;
	for (i = 0; i < n; i++)
		if (!file_from_json(arena, json_array_get(list, i), &f[i]))
			return false;
	c->files = f;
	c->n_files = n;
	return true;
}

static int broken(struct err *e, const char *key)
{
	return err_set(e, EINVAL, "'%s' is not valid", key);
}

int storage_from_json(struct arena *arena, const json_t *o,
		      struct model_container *c, struct err *e)
{
	const json_t *list = json_object_get(o, "mounts");
	size_t i, n = json_array_size(list);
	struct model_mount *m;

	if (!flag(o, "read_only", &c->read_only))
		return broken(e, "read_only");
	if (!whole(o, "shm_size", &c->shm_size))
		return broken(e, "shm_size");
	if (!whole(o, "layer_size", &c->layer_size))
		return broken(e, "layer_size");
	if (!files_from_json(arena, o, c))
		return broken(e, "files");
	if (list && !json_is_array(list))
		return broken(e, "mounts");
	m = arena_alloc(arena, n ? n : 1, sizeof(*m));
	if (!m)
		return err_set(e, ENOMEM, "no memory");
	for (i = 0; i < n; i++)
		if (!mount_from_json(arena, json_array_get(list, i), &m[i]))
			return broken(e, "mounts");
	c->mounts = m;
	c->n_mounts = n;
	return 0;
}

int volumes_from_json(struct arena *arena, const json_t *o,
		      struct model_stack *s, struct err *e)
{
	const json_t *list = json_object_get(o, "volumes"), *j;
	size_t i, n = json_array_size(list);
	struct model_volume *v;

	if (list && !json_is_array(list))
		return broken(e, "volumes");
	v = arena_alloc(arena, n ? n : 1, sizeof(*v));
	if (!v)
		return err_set(e, ENOMEM, "no memory");
	for (i = 0; i < n; i++) {
		j = json_array_get(list, i);
		v[i].name = text_of(arena, j, "name");
		if (!flag(j, "external", &v[i].external) || !v[i].name ||
		    !whole(j, "size", &v[i].size))
			return broken(e, "volumes");
	}
	s->volumes = v;
	s->n_volumes = n;
	return 0;
}
