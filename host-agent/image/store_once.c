/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What several pull at once is fetched once. The first one works; those that
 * come meanwhile wait for it and have its result, good or bad. Who cancels
 * cancels for themselves only: when the first one does, one of those who wait
 * begins anew.
 *
 * Only calls with the same credentials are the same: nobody gets an image by
 * another's password.
 */
#include "host-agent/image/store_load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/image/image_ref.h"
#include "host-agent/image/image_short.h"

#define TICK_MS 250

/* A pull under way. The worker's call lasts as long as it is in the list, so
 * that what p points to does. All belongs to the store's lock. */
struct pulling {
	struct pulling *next;
	char full[sizeof(((struct image_ref *)0)->full)];
	const struct image_pull *p;
	unsigned int refs; /* the worker and those who wait */
	bool done;
	int result;
	char phase[16]; /* what the worker tells, for those who wait */
	uint64_t bytes, total;
	char digest[72];
	struct err err;
};

void store_pull_init(struct image_store *s)
{
	pthread_condattr_t a;

	pthread_condattr_init(&a);
	pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	pthread_cond_init(&s->pulled, &a);
	pthread_condattr_destroy(&a);
}

static bool is_same_call(const struct image_pull *a, const struct image_pull *b)
{
	if (strcmp(a->platform ? a->platform : "",
		   b->platform ? b->platform : "") != 0 ||
	    strcmp(a->have ? a->have : "", b->have ? b->have : "") != 0)
		return false;
	if (a->no_tls_verify != b->no_tls_verify || a->strict != b->strict ||
	    !a->auth != !b->auth)
		return false;
	return !a->auth || strcmp(a->auth, b->auth) == 0;
}

static struct pulling *find(const struct image_store *s, const char *full,
			    const struct image_pull *p)
{
	struct pulling *x;

	for (x = s->pulls; x; x = x->next) {
		if (strcmp(x->full, full) == 0 && is_same_call(x->p, p))
			return x;
	}
	return NULL;
}

static void put(struct pulling *x)
{
	if (--x->refs == 0)
		free(x);
}

static void leave_list(struct image_store *s, const struct pulling *x)
{
	struct pulling **at = &s->pulls;

	while (*at != x)
		at = &(*at)->next;
	*at = x->next;
}

struct waiter {
	uint64_t deadline_ms;
	image_progress progress;
	void *arg;
};

/* With the lock held. 0: it has ended. */
static int wait_for(struct image_store *s, const struct pulling *x,
		    const struct waiter *w, struct err *e)
{
	while (!x->done) {
		uint64_t until = now_ms() + TICK_MS;
		const struct timespec ts = {
			.tv_sec = (time_t)(until / 1000),
			.tv_nsec = (long)(until % 1000) * 1000000,
		};
		uint64_t bytes, total;
		char phase[16];
		int r = 0;

		pthread_cond_timedwait(&s->pulled, &s->lock, &ts);
		if (x->done)
			break;
		if (now_ms() > w->deadline_ms)
			return err_set(e, ETIMEDOUT,
				       "the registry did not deliver in time");
		memcpy(phase, x->phase, sizeof(phase));
		bytes = x->bytes;
		total = x->total;
		pthread_mutex_unlock(&s->lock);
		if (w->progress)
			r = w->progress(w->arg, phase, bytes, total);
		pthread_mutex_lock(&s->lock);
		if (r != 0)
			return err_set(e, ECANCELED, "cancelled");
	}
	return 0;
}

/* Another pulls the same: 1 where they gave up, and it is to be begun anew. */
static int follow(struct image_store *s, struct pulling *x,
		  const struct waiter *w, char digest[72], struct err *e)
{
	int r;

	x->refs++;
	r = wait_for(s, x, w, e);
	if (r < 0) {
		err_wrap(e, "pull '%s'", image_ref_familiar(x->full));
	} else if (x->result == -ECANCELED) {
		r = 1;
	} else {
		r = x->result;
		if (r < 0 && e)
			*e = x->err;
		memcpy(digest, x->digest, sizeof(x->digest));
	}
	put(x);
	return r;
}

struct worker {
	struct image_store *s;
	struct pulling *x;
	const struct waiter *w;
};

static int on_progress(void *arg, const char *phase, uint64_t done,
		       uint64_t total)
{
	const struct worker *k = arg;

	pthread_mutex_lock(&k->s->lock);
	snprintf(k->x->phase, sizeof(k->x->phase), "%s", phase);
	k->x->bytes = done;
	k->x->total = total;
	pthread_mutex_unlock(&k->s->lock);
	return k->w->progress ? k->w->progress(k->w->arg, phase, done, total)
			      : 0;
}

static int work(struct image_store *s, struct pulling *x,
		const struct waiter *w, struct image_info **ret, struct err *e)
{
	struct worker k = {s, x, w};
	struct err err = ERR_INIT;
	int r = store_enter(s, &err);

	if (r == 0) {
		r = store_pull_now(s, x->p, w->deadline_ms, on_progress, &k,
				   ret, &err);
		store_leave(s);
	}
	pthread_mutex_lock(&s->lock);
	x->done = true;
	x->result = r;
	x->err = err;
	if (r == 0)
		memcpy(x->digest, (*ret)->digest, sizeof(x->digest));
	leave_list(s, x);
	pthread_cond_broadcast(&s->pulled);
	put(x);
	pthread_mutex_unlock(&s->lock);
	if (r < 0 && e)
		*e = err;
	return r;
}

static int pull_one(struct image_store *s, const struct image_pull *p,
		    const struct waiter *w, struct image_info **ret,
		    struct err *e)
{
	struct pulling *x;
	struct image_ref ref;
	char digest[72];
	int r = image_ref_parse(p->reference, &ref, e);

	if (r < 0)
		return r;
	pthread_mutex_lock(&s->lock);
	do {
		x = find(s, ref.full, p);
		r = x ? follow(s, x, w, digest, e) : 0;
	} while (r > 0);
	if (x || r < 0) {
		pthread_mutex_unlock(&s->lock);
		return r < 0 ? r : image_store_get(s, digest, ret, e);
	}
	x = calloc(1, sizeof(*x));
	if (x) {
		memcpy(x->full, ref.full, sizeof(x->full));
		memcpy(x->phase, "fetch", sizeof("fetch"));
		x->p = p;
		x->refs = 1;
		x->next = s->pulls;
		s->pulls = x;
	}
	pthread_mutex_unlock(&s->lock);
	return x ? work(s, x, w, ret, e) : err_sys(e, ENOMEM, "image store");
}

static int is_ambiguous(const struct image_pull *p,
			const struct image_short *names, struct err *e)
{
	err_set(e, EINVAL,
		"pull '%s': it may be any of several, such as '%s' and '%s', "
		"and registries.conf wants one (short-name-mode)",
		p->reference, names->refs[0], names->refs[1]);
	err_hint(e, "name the registry, or give it an alias there");
	return -EINVAL;
}

/* The next one is asked where a registry says that it does not give such an
 * image, not where one gives no answer: it could have another's of that name. */
static int pull_each(struct image_store *s, const struct image_pull *p,
		     const struct image_short *names, const struct waiter *w,
		     struct image_info **ret, struct err *e)
{
	_cleanup_buf_ struct buf why = BUF_INIT;
	struct err err = ERR_INIT;
	int r = -ENOENT;
	size_t i;

	for (i = 0; names->refs[i] && (r == -ENOENT || r == -EACCES); i++) {
		struct image_pull one = *p;

		one.reference = names->refs[i];
		err_clear(&err);
		r = pull_one(s, &one, w, ret, &err);
		buf_printf(&why, "%s%s", i ? "; " : "", err.msg);
	}
	if (r == 0 || i == 1) {
		if (r < 0 && e)
			*e = err;
		return r;
	}
	err_set(e, -r, "'%s' of registries.conf: %s", p->reference,
		buf_str(&why));
	if (names->refs[i])
		err_hint(e, "those behind it were not asked: name the registry "
			    "to have the image of another");
	return r;
}

static int check_may(const struct image_pull *p,
		     const struct image_short *names, struct err *e)
{
	struct image_ref ref;
	size_t i;
	int r = 0;

	for (i = 0; p->may && r == 0 && names->refs[i]; i++) {
		r = image_ref_parse(names->refs[i], &ref, e);
		if (r == 0)
			r = p->may(p->may_arg, ref.full, e);
	}
	return r < 0 ? err_wrap(e, "pull '%s'", p->reference) : 0;
}

int image_store_pull(struct image_store *s, const struct image_pull *p,
		     image_progress progress, void *arg,
		     struct image_info **ret, struct err *e)
{
	const uint64_t ms = p->timeout_ms ? p->timeout_ms : s->c.timeout_ms;
	const struct waiter w = {now_ms() + ms, progress, arg};
	_cleanup_image_short_ struct image_short names = {.refs = NULL};
	struct image_ref ref;
	int r = image_ref_parse(p->reference, &ref, e);

	if (r == 0)
		r = image_short_resolve(s->c.registries, p->reference, &names,
					e);
	if (r == 0)
		r = check_may(p, &names, e);
	if (r < 0)
		return r;
	if (names.refs[1] && names.enforced)
		return is_ambiguous(p, &names, e);
	return pull_each(s, p, &names, &w, ret, e);
}
