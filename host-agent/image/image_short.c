/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/image_short.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "common/base/toml.h"
#include "host-agent/image/image_ref.h"

#define FILE_MAX (1u << 20)
/* Written by podman when a user has chosen. */
#define RECORDED "/var/cache/containers/short-name-aliases.conf"

struct search {
	const char *name; /* without tag and digest */
	size_t len;
	char *alias; /* NULL: none */
	char *registries[IMAGE_SHORT_MAX];
	size_t n;
	bool enforced;
};

static void search_done(struct search *s)
{
	size_t i;

	free(s->alias);
	for (i = 0; i < s->n; i++)
		free(s->registries[i]);
}

void image_short_done(struct image_short *s)
{
	strv_free(s->refs);
	s->refs = NULL;
}

static int copy(const char *text, char **ret, struct err *e)
{
	*ret = strdup(text);
	return *ret ? 0 : err_sys(e, ENOMEM, "read a name");
}

/* ---------------------------------------------------------------- reading */

static int on_registry(struct search *s, const char *value, struct err *e)
{
	if (!value) {
		while (s->n > 0)
			free(s->registries[--s->n]);
		return 0;
	}
	if (s->n == IMAGE_SHORT_MAX)
		return err_set(e, E2BIG,
			       "unqualified-search-registries: more than %d",
			       IMAGE_SHORT_MAX);
	return copy(value, &s->registries[s->n++], e);
}

/* An alias says a registry and no tag; an empty one takes it back. */
static int on_alias(struct search *s, const char *value, struct err *e)
{
	const char *last = strrchr(value, '/');
	char text[200];

	free(s->alias);
	s->alias = NULL;
	if (!*value)
		return 0;
	if (image_ref_short_len(value) > 0 ||
	    strpbrk(last ? last : value, ":@"))
		return err_set(e, EINVAL,
			       "alias of '%.*s': '%s' is not REGISTRY/NAME",
			       (int)s->len, s->name,
			       text_escape(value, text, sizeof(text)));
	return copy(value, &s->alias, e);
}

static int on_mode(struct search *s, const char *value, struct err *e)
{
	static const char *const modes[] = {"enforcing", "permissive",
					    "disabled", ""};
	char text[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(modes); i++)
		if (strcmp(value, modes[i]) == 0)
			break;
	if (i == ARRAY_SIZE(modes))
		return err_set(e, EINVAL,
			       "short-name-mode: '%s' is neither enforcing, "
			       "permissive nor disabled",
			       text_escape(value, text, sizeof(text)));
	if (*value)
		s->enforced = i == 0;
	return 0;
}

static int on_string(void *arg, const char *table, const char *key, int index,
		     const char *value, struct err *e)
{
	struct search *s = arg;

	if (strcmp(table, "aliases") == 0 && value && index < 0 &&
	    strlen(key) == s->len && memcmp(key, s->name, s->len) == 0)
		return on_alias(s, value, e);
	if (*table)
		return 0;
	if (strcmp(key, "unqualified-search-registries") == 0 &&
	    (!value || index >= 0))
		return on_registry(s, value, e);
	if (strcmp(key, "short-name-mode") == 0 && value && index < 0)
		return on_mode(s, value, e);
	return 0;
}

static int read_one(struct search *s, const char *path, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, path, FILE_MAX, &text, &len, e);

	if (r == -ENOENT) {
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	r = strlen(text) != len ? err_set(e, EINVAL, "it has a NUL byte")
				: toml_read(text, on_string, s, e);
	return r < 0 ? err_wrap(e, "%s", path) : 0;
}

static int is_conf(const struct dirent *de)
{
	size_t n = strlen(de->d_name);

	return n > 5 && strcmp(de->d_name + n - 5, ".conf") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int read_folder(struct search *s, const char *dir, struct err *e)
{
	struct dirent **list = NULL;
	char path[4096 + 300];
	int n = scandir(dir, &list, is_conf, by_name), i, r = 0;

	if (n < 0)
		return errno == ENOENT ? 0
				       : err_sys(e, errno, "read '%s'", dir);
	for (i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, list[i]->d_name);
		if (r == 0)
			r = read_one(s, path, e);
		free(list[i]);
	}
	free(list);
	return r;
}

static int read_all(struct search *s, const char *dir, struct err *e)
{
	char path[4096];
	int r;

	snprintf(path, sizeof(path), "%s/registries.conf", dir);
	r = read_one(s, path, e);
	snprintf(path, sizeof(path), "%s/registries.conf.d", dir);
	if (r == 0)
		r = read_folder(s, path, e);
	if (r == 0 && strcmp(dir, IMAGE_SHORT_DIR) == 0)
		r = read_one(s, RECORDED, e);
	return r;
}

/* -------------------------------------------------------------- resolving */

/* REGISTRY/NAME or an alias, and what was behind the name. */
static int make_ref(const struct search *s, const char *registry, char **ret)
{
	const char *rest = s->name + s->len;
	int n = registry   ? asprintf(ret, "%s/%.*s%s", registry, (int)s->len,
				      s->name, rest)
		: s->alias ? asprintf(ret, "%s%s", s->alias, rest)
			   : asprintf(ret, "%s", s->name);

	if (n >= 0)
		return 0;
	*ret = NULL;
	return -ENOMEM;
}

int image_short_resolve(const char *dir, const char *reference,
			struct image_short *ret, struct err *e)
{
	_cleanup_(search_done) struct search s = {
		.name = reference, .len = image_ref_short_len(reference)};
	size_t i;
	int r = s.len > 0 ? read_all(&s, dir, e) : 0;

	if (r < 0)
		return r;
	*ret = (struct image_short){.enforced = s.enforced};
	ret->refs = calloc(IMAGE_SHORT_MAX + 1, sizeof(*ret->refs));
	if (!ret->refs)
		return err_sys(e, ENOMEM, "resolve a name");
	if (s.alias || s.n == 0)
		r = make_ref(&s, NULL, &ret->refs[0]);
	for (i = 0; !s.alias && i < s.n && r == 0; i++)
		r = make_ref(&s, s.registries[i], &ret->refs[i]);
	if (r < 0) {
		image_short_done(ret);
		return err_sys(e, ENOMEM, "resolve a name");
	}
	return 0;
}
