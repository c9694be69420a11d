/* SPDX-License-Identifier: Apache-2.0 */
/* What a deployment asks of its images before anything is changed. */
#include "host-agent/api/deploy_image.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "host-agent/image/image_ref.h"

/* Of a deployment: an image says as many, and as long ones, as it likes. */
#define WARNINGS_MAX 64

static void warn(json_t *warnings, json_t *sentence)
{
	if (json_array_size(warnings) < WARNINGS_MAX)
		json_array_append_new(warnings, sentence);
	else
		json_decref(sentence);
}

/* Is it the target, or below it? */
static bool is_below(const char *path, const char *target)
{
	size_t n = strlen(target), len = strlen(path);

	while (n > 0 && target[n - 1] == '/')
		n--;
	while (len > 1 && path[len - 1] == '/')
		len--;
	return len >= n && strncmp(path, target, n) == 0 &&
	       (len == n || path[n] == '/');
}

static bool is_mounted(const struct model_container *c, const char *path)
{
	size_t i;

	for (i = 0; i < c->n_mounts; i++)
		if (is_below(path, c->mounts[i].target))
			return true;
	return false;
}

/* An image says with VOLUME where data is that its users want to keep; here
 * only what is mounted there outlives the container. */
static void warn_of_volumes(const struct model_vm *vm,
			    const struct model_container *c,
			    const struct oci_image_config *image,
			    json_t *warnings)
{
	const char **v;
	char path[256];

	for (v = image->volumes; v && *v && !c->read_only; v++)
		if (!is_mounted(c, *v))
			warn(warnings,
			     json_sprintf("container '%s/%s': what it writes "
					  "to '%s', a VOLUME of its image, is "
					  "gone when it is restarted: give it "
					  "a volume",
					  vm->name, c->name,
					  text_escape(*v, path, sizeof(path))));
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
static int pin_all(const struct wanted_images *w, struct manifest *m,
		   json_t *warnings, struct err *e)
{
	size_t i, k, j, n = 0;

	for (i = 0; i < m->n_stacks; i++) {
		struct model_stack *s = m->stacks[i];

		for (k = 0; k < s->n_vms; k++) {
			const struct model_vm *vm = &s->vms[k];

			for (j = 0; j < vm->n_containers; j++) {
				const struct image_info *info =
					w->list[w->of_container[n++]].info;

				if (!info)
					continue;
				if (model_pin(s, &vm->containers[j],
					      info->digest) < 0)
					return err_sys(e, ENOMEM, "deploy");
				warn_of_volumes(vm, &vm->containers[j],
						&info->config, warnings);
			}
		}
	}
	return 0;
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
