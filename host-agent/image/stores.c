/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/stores.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "host-agent/image/store_int.h"

#define GONE	   ".gone-"
#define TENANT_MAX 64
#define FOLDER	   "tenants"

struct tenant_store {
	char tenant[TENANT_MAX];
	struct image_store *store;
};

struct image_stores {
	struct image_stores_config c;
	char dir[4096]; /* ROOT/images/tenants */
	char tenant[TENANT_MAX];
	struct image_store *operators;

	pthread_mutex_t lock; /* of all below */
	struct tenant_store *list;
	size_t n;
	unsigned int next_uid;
};

static int no_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "image stores");
}

static bool is_operators(const struct image_stores *s, const char *tenant)
{
	return strcmp(tenant, s->tenant) == 0;
}

static void path_of(const struct image_stores *s, const char *prefix,
		    const char *tenant, char *out, size_t size)
{
	snprintf(out, size, "%s/%s%s", s->dir, prefix, tenant);
}

/* ------------------------------------------------------------- sharing */

static bool has_name(char *const *names, const char *name)
{
	for (; *names; names++)
		if (strcmp(*names, name) == 0)
			return true;
	return false;
}

static size_t add_peer(struct image_store **list, size_t n,
		       struct image_store *s, char *const *names,
		       const char *tenant)
{
	if (strcmp(s->tenant, tenant) == 0 || !has_name(names, s->tenant))
		return n;
	list[n] = image_store_ref(s);
	return n + 1;
}

/* image_peers of store.h. Called with no store's lock held. */
static int list_peers(void *arg, const char *tenant, struct image_store ***ret,
		      struct err *e)
{
	struct image_store **list = NULL;
	struct image_stores *s = arg;
	char **names = NULL;
	size_t i, n;
	int r = s->c.sharing(s->c.arg, &names, e);

	if (r < 0)
		return r;
	pthread_mutex_lock(&s->lock);
	list = calloc(s->n + 2, sizeof(struct image_store *));
	if (list && has_name(names, tenant)) {
		n = add_peer(list, 0, s->operators, names, tenant);
		for (i = 0; i < s->n; i++)
			n = add_peer(list, n, s->list[i].store, names, tenant);
	}
	pthread_mutex_unlock(&s->lock);
	strv_free(names);
	*ret = list;
	return list ? 0 : no_memory(e);
}

/* --------------------------------------------------------- the table */

static struct tenant_store *find_open(struct image_stores *s,
				      const char *tenant)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		if (strcmp(s->list[i].tenant, tenant) == 0)
			return &s->list[i];
	return NULL;
}

static int add_open(struct image_stores *s, const char *tenant,
		    struct image_store *store)
{
	struct tenant_store *grown =
		reallocarray(s->list, s->n + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	s->list = grown;
	snprintf(grown[s->n].tenant, sizeof(grown[s->n].tenant), "%s", tenant);
	grown[s->n++].store = store;
	return 0;
}

static void drop_open(struct image_stores *s, struct tenant_store *t)
{
	image_store_put(t->store);
	*t = s->list[--s->n];
}

/* One that no open store has; where all are taken it is shared. */
static uid_t take_uid(struct image_stores *s)
{
	uid_t uid = s->c.operators.uid;
	unsigned int tries;
	size_t i;

	for (tries = 0; tries < s->c.n_uids; tries++) {
		uid = s->c.first_uid + s->next_uid++ % s->c.n_uids;
		for (i = 0; i < s->n; i++)
			if (s->list[i].store->c.uid == uid)
				break;
		if (i == s->n)
			break;
	}
	return uid;
}

/* With the lock held. The store stays the table's. */
static int open_one(struct image_stores *s, const char *tenant,
		    struct image_store **ret, struct err *e)
{
	struct image_store_config c = s->c.operators;
	char dir[4096 + TENANT_MAX];
	int r;

	path_of(s, "", tenant, dir, sizeof(dir));
	c.dir = dir;
	c.tenant = tenant;
	c.uid = take_uid(s);
	c.quota = s->c.quota;
	/* It would be its tenant's to pay for, without being asked. */
	c.layer_cache = IMAGE_NO_LAYER_CACHE;
	r = image_store_open(&c, ret, e);
	if (r == 0 && add_open(s, tenant, *ret) < 0) {
		image_store_put(*ret);
		r = no_memory(e);
	}
	return r < 0 ? err_wrap(e, "tenant '%s'", tenant) : 0;
}

static bool is_there(const struct image_stores *s, const char *tenant)
{
	char dir[4096 + TENANT_MAX];

	path_of(s, "", tenant, dir, sizeof(dir));
	return access(dir, F_OK) == 0;
}

/* With the lock held; *ret NULL: there is none, and none was to be made. */
static int find_locked(struct image_stores *s, const char *tenant, bool make,
		       struct image_store **ret, struct err *e)
{
	struct tenant_store *t = find_open(s, tenant);
	int r;

	*ret = t ? t->store : NULL;
	if (t || (!make && !is_there(s, tenant)))
		return 0;
	r = s->c.find(s->c.arg, tenant, e);
	return r < 0 ? r : open_one(s, tenant, ret, e);
}

static int find_store(struct image_stores *s, const char *tenant, bool make,
		      struct image_store **ret, struct err *e)
{
	struct image_store *store = s->operators;
	int r = 0;

	if (is_operators(s, tenant)) {
		*ret = image_store_ref(store);
		return 0;
	}
	if (!name_is_valid(tenant))
		return err_set(e, EINVAL, "that is no tenant's name");
	pthread_mutex_lock(&s->lock);
	r = find_locked(s, tenant, make, &store, e);
	if (r == 0)
		*ret = store ? image_store_ref(store) : NULL;
	pthread_mutex_unlock(&s->lock);
	return r;
}

int image_stores_take(struct image_stores *s, const char *tenant,
		      struct image_store **ret, struct err *e)
{
	return find_store(s, tenant, true, ret, e);
}

int image_stores_peek(struct image_stores *s, const char *tenant,
		      struct image_store **ret, struct err *e)
{
	return find_store(s, tenant, false, ret, e);
}

struct image_store *image_stores_operators(struct image_stores *s)
{
	return s->operators;
}

/* ------------------------------------------------------------ looking */

/* What is said of an image that is not there, or that may not be known. */
static int not_there(const char *reference, struct err *e)
{
	char text[200];

	err_set(e, ENOENT, "image '%s' is not in the store",
		text_escape(reference, text, sizeof(text)));
	err_hint(e, "`hyb image ls` lists all");
	return -ENOENT;
}

int image_stores_find(struct image_stores *s, const char *tenant,
		      const char *reference, image_shown shown, void *arg,
		      struct image_info **ret, struct err *e)
{
	_cleanup_image_store_ struct image_store *own = NULL;
	_cleanup_image_info_ struct image_info *i = NULL;
	struct err owns = ERR_INIT, err = ERR_INIT;
	int r = image_stores_peek(s, tenant, &own, e);

	if (r < 0)
		return r;
	if (own) {
		r = image_store_get(own, reference, ret, &owns);
		if (r == 0)
			return 0;
	}
	/* A damaged image of its own is not the operator's of that name. */
	if (own && (r != -ENOENT || own == s->operators)) {
		if (e)
			*e = owns;
		return r;
	}
	r = image_store_get(s->operators, reference, &i, &err);
	if (shown && (r < 0 || !shown(arg, i))) {
		if (!own)
			return not_there(reference, e);
		if (e)
			*e = owns;
		return -ENOENT;
	}
	if (r < 0 && e)
		*e = err;
	if (r == 0)
		*ret = steal_ptr(i);
	return r;
}

int image_stores_get(struct image_stores *s, const char *tenant,
		     const char *reference, struct image_info **ret,
		     struct err *e)
{
	return image_stores_find(s, tenant, reference, NULL, NULL, ret, e);
}

/* ----------------------------------------------------------- removing */

static int sync_dir(const struct image_stores *s, struct err *e)
{
	_cleanup_close_ int fd =
		open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_sys(e, errno, "write '%s'", s->dir);
	return 0;
}

static int move(const struct image_stores *s, const char *tenant,
		const char *from, const char *to, struct err *e)
{
	char a[4096 + TENANT_MAX], b[4096 + TENANT_MAX];

	path_of(s, from, tenant, a, sizeof(a));
	path_of(s, to, tenant, b, sizeof(b));
	if (rename(a, b) < 0 && errno != ENOENT)
		return err_sys(e, errno, "rename '%s'", a);
	return sync_dir(s, e);
}

static int remove_gone(const struct image_stores *s, const char *tenant,
		       struct err *e)
{
	char dir[4096 + TENANT_MAX];

	path_of(s, GONE, tenant, dir, sizeof(dir));
	return path_remove(dir, e);
}

/* From then on nothing is put in. */
static int retire(struct image_store *store, struct err *e)
{
	size_t n;

	pthread_mutex_lock(&store->lock);
	n = store->n_images;
	store->gone = n == 0;
	pthread_mutex_unlock(&store->lock);
	if (n == 0)
		return 0;
	err_set(e, EBUSY, "tenant '%s' still has images (%zu)", store->tenant,
		n);
	err_hint(e, "`hyb --tenant %s image prune -a` removes them",
		 store->tenant);
	return -EBUSY;
}

static void bring_back(struct image_store *store)
{
	pthread_mutex_lock(&store->lock);
	store->gone = false;
	pthread_mutex_unlock(&store->lock);
}

/* The folder's other name comes first: it says that the store is to go when its
 * tenant has gone, and that it is to come back while the tenant is there. */
static int remove_locked(struct image_stores *s, const char *tenant,
			 int (*commit)(void *arg, struct err *e), void *arg,
			 struct err *e)
{
	struct image_store *store = NULL;
	struct err ignored = ERR_INIT;
	int r = find_locked(s, tenant, false, &store, e);

	if (r < 0)
		return r;
	if (!store)
		return commit(arg, e);
	r = retire(store, e);
	if (r < 0)
		return r;
	r = move(s, tenant, "", GONE, e);
	if (r == 0)
		r = commit(arg, e);
	if (r < 0) {
		(void)move(s, tenant, GONE, "", &ignored);
		bring_back(store);
		return r;
	}
	drop_open(s, find_open(s, tenant));
	/* What stays, the next start removes. */
	(void)remove_gone(s, tenant, &ignored);
	return 0;
}

int image_stores_remove(struct image_stores *s, const char *tenant,
			int (*commit)(void *arg, struct err *e), void *arg,
			struct err *e)
{
	int r;

	if (is_operators(s, tenant) || !name_is_valid(tenant))
		return commit(arg, e);
	pthread_mutex_lock(&s->lock);
	r = remove_locked(s, tenant, commit, arg, e);
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* ------------------------------------------------------------ opening */

/* A removal that was interrupted: back, or to its end. */
static int finish_removal(struct image_stores *s, const char *tenant,
			  struct err *e)
{
	int r = s->c.find(s->c.arg, tenant, e);

	if (r == 0 && !is_there(s, tenant))
		return move(s, tenant, GONE, "", e);
	if (r == 0 || r == -ENOENT)
		r = remove_gone(s, tenant, e);
	return r;
}

static int take_up(struct image_stores *s, const char *name, struct err *e)
{
	struct image_store *store;
	bool is_gone = strncmp(name, GONE, strlen(GONE)) == 0;
	const char *tenant = is_gone ? name + strlen(GONE) : name;
	int r;

	if (!name_is_valid(tenant))
		return 0;
	if (is_gone) {
		r = finish_removal(s, tenant, e);
		if (r < 0 || !is_there(s, tenant))
			return r;
	}
	/* It may be there by now. */
	r = find_open(s, tenant) ? 0 : s->c.find(s->c.arg, tenant, e);
	if (r == 0)
		return find_locked(s, tenant, false, &store, e);
	if (r != -ENOENT)
		return r;
	/* What is left of one that had no images; images are nothing to
	 * throw away unasked. */
	r = open_one(s, tenant, &store, e);
	if (r == 0)
		r = retire(store, e);
	if (r == 0)
		r = move(s, tenant, "", GONE, e);
	if (find_open(s, tenant))
		drop_open(s, find_open(s, tenant));
	return r < 0 ? err_wrap(e, "there is no such tenant")
		     : remove_gone(s, tenant, e);
}

/* Names first: taking up renames. */
static int list_names(const struct image_stores *s, char ***ret, struct err *e)
{
	_cleanup_closedir_ DIR *d = opendir(s->dir);
	char **list = calloc(1, sizeof(*list)), **grown;
	struct dirent *de = NULL;
	size_t n = 0;

	while (d && list && (de = readdir(d))) {
		if (strcmp(de->d_name, ".") == 0 ||
		    strcmp(de->d_name, "..") == 0)
			continue;
		grown = reallocarray(list, n + 2, sizeof(*list));
		if (!grown)
			break;
		list = grown;
		list[n] = strdup(de->d_name);
		if (!list[n])
			break;
		list[++n] = NULL;
	}
	if (!d || !list || de) {
		strv_free(list);
		return d ? no_memory(e)
			 : err_sys(e, errno, "open '%s'", s->dir);
	}
	*ret = list;
	return 0;
}

static int take_up_all(struct image_stores *s, struct err *e)
{
	char **names = NULL, **v;
	int r = list_names(s, &names, e);

	if (r < 0)
		return r;
	for (v = names; *v; v++) {
		struct err err = ERR_INIT;

		if (take_up(s, *v, &err) < 0)
			s->c.on_problem(s->c.arg, *v, &err);
	}
	strv_free(names);
	return 0;
}

static int make_folder(struct image_stores *s, struct err *e)
{
	int r;

	if ((size_t)snprintf(s->dir, sizeof(s->dir), "%s/" FOLDER,
			     s->c.operators.dir) >= sizeof(s->dir))
		return err_set(e, ENAMETOOLONG, "image stores: '%s'",
			       s->c.operators.dir);
	r = dir_make(s->dir, 0710, e);
	if (r < 0)
		return err_wrap(e, "image stores");
	if (chmod(s->dir, 0710) < 0 ||
	    (geteuid() == 0 && chown(s->dir, 0, s->c.operators.gid) < 0))
		return err_sys(e, errno, "image stores '%s'", s->dir);
	return 0;
}

int image_stores_open(const struct image_stores_config *c,
		      struct image_stores **ret, struct err *e)
{
	struct image_stores *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return no_memory(e);
	pthread_mutex_init(&s->lock, NULL);
	s->c = *c;
	snprintf(s->tenant, sizeof(s->tenant), "%s", c->tenant);
	s->c.operators.tenant = s->tenant;
	if (s->c.sharing)
		s->c.operators.peers = (struct image_peers){list_peers, s};
	r = image_store_open(&s->c.operators, &s->operators, e);
	if (r == 0)
		r = make_folder(s, e);
	if (r == 0)
		r = take_up_all(s, e);
	if (r < 0) {
		image_stores_close(s);
		return r;
	}
	/* What it points to is the caller's. */
	s->c.operators = s->operators->c;
	*ret = s;
	return 0;
}

void image_stores_close(struct image_stores *s)
{
	if (!s)
		return;
	while (s->n)
		drop_open(s, &s->list[0]);
	free(s->list);
	image_store_put(s->operators);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
