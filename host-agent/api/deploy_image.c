/* SPDX-License-Identifier: Apache-2.0 */
/* What a deployment asks of its images before anything is changed. */
#include "host-agent/api/deploy_image.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "host-agent/image/image_ref.h"

/* Of a deployment. What is beyond is counted. */
#define WARNINGS_MAX 64

static void warn(json_t *warnings, json_t *sentence)
{
	json_array_append_new(warnings, sentence);
}

static void cut_warnings(json_t *warnings)
{
	size_t n = json_array_size(warnings);

	if (n <= WARNINGS_MAX)
		return;
	while (json_array_size(warnings) >= WARNINGS_MAX)
		json_array_remove(warnings, WARNINGS_MAX - 1);
	warn(warnings, json_sprintf("and %zu more", n - WARNINGS_MAX + 1));
}

static bool is_mounted(const struct model_container *c, const char *path)
{
	size_t i;

	for (i = 0; i < c->n_mounts; i++)
		if (path_is_below(path, c->mounts[i].target))
			return true;
	return false;
}

/* Without what a path may have behind it and says nothing. */
static bool plain_path(const char *v, char path[1024])
{
	size_t n = strlen(v);

	while (n > 1 && v[n - 1] == '/')
		n--;
	if (n >= 1024)
		return false;
	memcpy(path, v, n);
	path[n] = '\0';
	return true;
}

/* "'/a', '/b', '/c' and 2 others" */
static void add_shown(struct buf *b, size_t n, const char *path)
{
	char shown[128];

	if (n < 3)
		buf_printf(b, "%s'%s'", n ? ", " : "",
			   text_escape(path, shown, sizeof(shown)));
}

static void warn_of_volumes(const struct model_vm *vm,
			    const struct model_container *c,
			    const struct buf *b, size_t n, json_t *warnings)
{
	char more[48] = "";

	if (n == 0)
		return;
	if (n > 3)
		snprintf(more, sizeof(more), " and %zu other%s", n - 3,
			 n == 4 ? "" : "s");
	warn(warnings,
	     json_sprintf(
		     "container '%s/%s': what it writes to %s%s, VOLUME of "
		     "its image, lives as long as its VM: a volume with a "
		     "name keeps it longer",
		     vm->name, c->name, buf_str(b), more));
}

/* An image says with VOLUME where data is that is to outlive the container: where
 * the manifest has nothing it gets an anonymous volume. */
static int add_volumes(struct model_stack *s, const struct model_vm *vm,
		       const struct model_container *c,
		       const struct oci_image_config *image, json_t *warnings,
		       struct err *e)
{
	_cleanup_buf_ struct buf shown = {.max = 1024};
	const char **v, *why;
	char path[1024], text[128];
	size_t n = 0;

	for (v = image->volumes; v && *v; v++) {
		why = plain_path(*v, path) ? check_mount_target(path)
					   : "shorter";
		if (why) {
			warn(warnings,
			     json_sprintf("container '%s/%s': '%s', a VOLUME "
					  "of its image, is none here: it "
					  "must be %s",
					  vm->name, c->name,
					  text_escape(*v, text, sizeof(text)),
					  why));
			continue;
		}
		if (is_mounted(c, path))
			continue;
		if (c->n_mounts == HYB_MOUNTS_PER_CONTAINER_MAX)
			return err_set(e, E2BIG,
				       "container '%s/%s': with those of its "
				       "image it has more than %d volumes",
				       vm->name, c->name,
				       HYB_MOUNTS_PER_CONTAINER_MAX);
		if (model_add_anonymous(s, c, path) < 0)
			return err_sys(e, ENOMEM, "deploy");
		add_shown(&shown, n++, path);
	}
	warn_of_volumes(vm, c, &shown, n, warnings);
	return 0;
}

/* ------------------------------------------------------ which are wanted */

static void wanted_done(struct wanted_images *w)
{
	size_t i;

	for (i = 0; i < w->n; i++) {
		image_info_free(w->list[i].info);
		cleanup_image_store(&w->list[i].store);
		cleanup_image_rights(&w->list[i].rights);
	}
	free(w->list);
	free(w->of_container);
}

/* always before missing before never */
static unsigned int rank(enum pull_policy p)
{
	return p == PULL_ALWAYS ? 2 : p == PULL_MISSING ? 1 : 0;
}

/* A name that is none is an error of its own: check_image() allows digits of a
 * digest, which only the store knows. */
static struct wanted_image *want(struct wanted_images *w, const char *tenant,
				 const struct model_container *c)
{
	struct image_ref ref = {.full = ""};
	struct err ignored = ERR_INIT;
	struct wanted_image *i;
	const char *full;

	full = image_ref_parse(c->image, &ref, &ignored) < 0 ? c->image
							     : ref.full;
	for (i = w->list; i < w->list + w->n; i++)
		if (strcmp(i->full, full) == 0 &&
		    strcmp(i->tenant, tenant) == 0)
			break;
	if (i == w->list + w->n) {
		w->n++;
		i->tenant = tenant;
		i->reference = c->image;
		i->policy = c->pull;
		snprintf(i->full, sizeof(i->full), "%s", full);
		return i;
	}
	i->others++;
	if (rank(c->pull) > rank(i->policy))
		i->policy = c->pull;
	return i;
}

static void want_all(struct wanted_images *w, const struct manifest *m)
{
	size_t i, k, j, n = 0;

	for (i = 0; i < m->n_stacks; i++) {
		const struct model_stack *s = m->stacks[i];

		for (k = 0; k < s->n_vms; k++) {
			for (j = 0; j < s->vms[k].n_containers; j++) {
				const struct model_container *c =
					&s->vms[k].containers[j];
				struct wanted_image *x = want(w, s->tenant, c);

				if (!x->container) {
					x->stack = s->name;
					x->vm = s->vms[k].name;
					x->container = c;
				}
				w->of_container[n++] = (size_t)(x - w->list);
			}
		}
	}
}

static size_t count_containers(const struct manifest *m)
{
	size_t i, k, n = 0;

	for (i = 0; i < m->n_stacks; i++)
		for (k = 0; k < m->stacks[i]->n_vms; k++)
			n += m->stacks[i]->vms[k].n_containers;
	return n;
}

/* ---------------------------------------------------- what is to be done */

static bool has_digest(const struct wanted_image *i)
{
	return strchr(i->full, '@');
}

/* Who may not have it fetched is told that it is not there. */
static int may_pull(struct request *q, struct wanted_image *i, struct err *e)
{
	int r;

	err_clear(e);
	r = tenant_pull(q, i->tenant, &i->store, &i->rights, e);
	if (r == 0)
		return 0;
	if (i->info)
		err_set(&i->err, e->code, "image '%s', always to be pulled: %s",
			i->reference, e->msg);
	else
		err_set(&i->err, r == -EPERM ? ENOENT : e->code,
			"image '%s' is not in the store, and %s", i->reference,
			e->msg);
	err_hint(&i->err, "%s", e->hint);
	return r;
}

/* What can be told without a registry. */
static void look(struct request *q, struct wanted_image *i,
		 const struct image_pulls *p)
{
	struct err e = ERR_INIT;
	int r = tenant_image(q, i->tenant, i->reference, &i->info, &e);

	if (r < 0 && r != -ENOENT) {
		i->err = e;
		return;
	}
	i->to_pull = r < 0 ? i->policy != PULL_NEVER
			   : i->policy == PULL_ALWAYS && !has_digest(i);
	if (r < 0 && !i->to_pull) {
		err_set(&i->err, ENOENT,
			"image '%s' is not in the store, and its pull_policy "
			"is never",
			i->reference);
		err_hint(&i->err, "%s", e.hint);
	}
	if (i->to_pull)
		r = may_pull(q, i, &e);
	if (i->to_pull && r == 0 && p->auth_error)
		err_set(&i->err, EIO, "pull '%s': %s", i->reference,
			p->auth_error);
}

/* ------------------------------------------------------------- failures */

/* What the image store says, with what may help where it does not know. */
static void add_hint(struct err *e)
{
	if (e->hint[0])
		return;
	if (e->code == ENOENT)
		err_hint(e, "is the name right, and its tag? `hyb image ls` "
			    "shows what is here");
	else if (strstr(e->msg, "dial tcp"))
		err_hint(e, "can this host reach the registry? What is in the "
			    "store (`hyb image load FILE`) needs none");
	else if (e->code == ETIMEDOUT)
		err_hint(e, "give it a longer --timeout; deploying again goes "
			    "on with what is missing");
}

static void add_place(const struct manifest *m, const char *text,
		      const struct wanted_image *i, struct buf *out)
{
	char more[48] = "", message[HYB_ERR_MSG_MAX + 256];

	if (i->others)
		snprintf(more, sizeof(more), " (and %zu other%s)", i->others,
			 i->others == 1 ? "" : "s");
	snprintf(message, sizeof(message), "container '%s/%s/%s'%s: %s",
		 i->stack, i->vm, i->container->name, more, i->err.msg);
	manifest_render_place(m, text, i->container->image_line,
			      i->container->image_col, message, out);
	if (i->err.hint[0])
		buf_printf(out, "hint: %s\n", i->err.hint);
}

/* Says of every image that cannot be had why; 0: there is none. Several that
 * fail for different reasons are no one's exit status. */
static int fail_all(struct request *q, const struct manifest *m,
		    const char *text, struct wanted_images *w, struct err *e)
{
	_cleanup_buf_ struct buf out = {.max = (size_t)256 << 10};
	struct wanted_image *i;
	const char *first = "";
	size_t n = 0;
	int code = 0;

	for (i = w->list; i < w->list + w->n; i++) {
		if (!i->err.code)
			continue;
		/* The call was right; what it names is not to be had. */
		if (i->err.code == EINVAL)
			i->err.code = ENOEXEC;
		code = n == 0 || code == i->err.code ? i->err.code : EIO;
		first = n == 0 ? i->reference : first;
		n++;
		add_hint(&i->err);
		add_place(m, text, i, &out);
	}
	if (n == 0)
		return 0;
	q->diagnostics = buf_steal(&out);
	if (n == 1)
		return err_set(e, code, "image '%s' is not to be had", first);
	return err_set(e, code, "%zu of %zu images are not to be had", n, w->n);
}

/* -------------------------------------------------------------- results */

static void add_pull(json_t *changes, const struct wanted_image *i,
		     const char *why)
{
	json_array_append_new(changes,
			      json_pack("{s:s,s:s,s:s,s:s}", "action", "pull",
					"object", image_ref_familiar(i->full),
					"class", "live", "why", why));
}

/* Of a plan, which asks no registry. */
static void tell_plan(const struct wanted_images *w, json_t *changes,
		      json_t *warnings)
{
	const struct wanted_image *i;

	for (i = w->list; i < w->list + w->n; i++) {
		if (i->to_pull && !i->info)
			add_pull(
				changes, i,
				"not in the store: what is in it is not known");
		else if (i->to_pull)
			warn(warnings,
			     json_sprintf(
				     "image '%s': its pull_policy is always, "
				     "and the registry was not asked: deploy "
				     "may find another one there",
				     i->reference));
	}
}

static void tell_deployment(const struct request *q,
			    const struct wanted_images *w, json_t *changes)
{
	const struct wanted_image *i;

	for (i = w->list; i < w->list + w->n; i++) {
		if (!i->pulled)
			continue;
		log_info("image pull '%s': by user %u", i->reference, q->uid);
		add_pull(changes, i, i->info->digest);
	}
}

/* Every container gets the image that its name means now, and keeps it. */
static int pin(const struct wanted_image *i, struct model_stack *s,
	       const struct model_vm *vm, const struct model_container *c,
	       json_t *warnings, struct err *e)
{
	if (!i->info)
		return 0;
	if (model_pin(s, c, i->info->digest) < 0)
		return err_sys(e, ENOMEM, "deploy");
	return add_volumes(s, vm, c, &i->info->config, warnings, e);
}

static int pin_all(const struct wanted_images *w, struct manifest *m,
		   json_t *warnings, struct err *e)
{
	size_t i, k, j, n = 0;
	int r = 0;

	for (i = 0; r == 0 && i < m->n_stacks; i++) {
		struct model_stack *s = m->stacks[i];

		for (k = 0; r == 0 && k < s->n_vms; k++) {
			const struct model_vm *vm = &s->vms[k];

			for (j = 0; r == 0 && j < vm->n_containers; j++)
				r = pin(&w->list[w->of_container[n++]], s, vm,
					&vm->containers[j], warnings, e);
			if (r == 0)
				r = check_anonymous(vm, e);
		}
	}
	cut_warnings(warnings);
	return r;
}

static int admit(struct request *q, struct manifest *m, const char *text,
		 struct wanted_images *w, const struct image_admission *a,
		 struct err *e)
{
	size_t i;
	int r;

	want_all(w, m);
	for (i = 0; i < w->n; i++)
		look(q, &w->list[i], &a->pulls);
	r = fail_all(q, m, text, w, e);
	if (r == 0 && a->dry_run)
		tell_plan(w, a->changes, a->warnings);
	if (r == 0 && !a->dry_run) {
		r = images_pull(q, w, &a->pulls, e);
		if (r == 0)
			r = fail_all(q, m, text, w, e);
		if (r == 0)
			tell_deployment(q, w, a->changes);
	}
	return r < 0 ? r : pin_all(w, m, a->warnings, e);
}

static int check_vm(struct request *q, const struct model_stack *s,
		    const struct model_vm *vm, struct err *e)
{
	size_t i;
	int r;

	for (i = 0; i < vm->n_containers; i++) {
		_cleanup_image_info_ struct image_info *info = NULL;
		const struct model_container *c = &vm->containers[i];

		r = image_stores_get(q->api->images, s->tenant, model_image(c),
				     &info, e);
		if (r == 0)
			continue;
		if (r != -ENOENT)
			return err_wrap(e, "container '%s/%s/%s'", s->name,
					vm->name, c->name);
		err_set(e, ENOENT,
			"container '%s/%s/%s': image '%s' was removed "
			"meanwhile",
			s->name, vm->name, c->name, c->image);
		err_hint(e, "deploy again");
		return r;
	}
	return 0;
}

int images_check(struct request *q, const struct manifest *m, struct err *e)
{
	size_t i, k;
	int r = 0;

	for (i = 0; r == 0 && i < m->n_stacks; i++)
		for (k = 0; r == 0 && k < m->stacks[i]->n_vms; k++)
			r = check_vm(q, m->stacks[i], &m->stacks[i]->vms[k], e);
	return r;
}

int images_admit(struct request *q, struct manifest *m, const char *text,
		 const struct image_admission *a, struct err *e)
{
	struct wanted_images w = {.n = 0};
	size_t n = count_containers(m);
	int r;

	w.list = calloc(n + 1, sizeof(*w.list));
	w.of_container = calloc(n + 1, sizeof(*w.of_container));
	r = w.list && w.of_container ? admit(q, m, text, &w, a, e)
				     : err_sys(e, ENOMEM, "deploy");
	wanted_done(&w);
	return r;
}
