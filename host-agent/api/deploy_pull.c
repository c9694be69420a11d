/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetches the images of a deployment: a few threads pull, the call's own tells
 * the client how far they are and looks whether it is still there. Who leaves
 * ends the pulls; what others wait for goes on (image/store_once.c).
 */
#include "host-agent/api/deploy_image.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "host-agent/image/image_ref.h"

#include <pthread.h>

#define THREADS_MAX 3
#define STACK_SIZE  ((size_t)512 * 1024)
#define TICK_MS	    100

struct team {
	struct request *q;
	struct wanted_images *w;
	const struct image_pulls *p;
	pthread_mutex_t lock;
	size_t next;	      /* of w->list, to be begun */
	unsigned int at_work; /* threads */
	bool cancelled;
};

struct worker {
	struct team *t;
	struct wanted_image *i;
};

static int on_progress(void *arg, const char *phase, uint64_t done,
		       uint64_t total)
{
	struct worker *k = arg;
	bool cancelled;

	pthread_mutex_lock(&k->t->lock);
	snprintf(k->i->phase, sizeof(k->i->phase), "%s", phase);
	k->i->done = done;
	k->i->total = total;
	cancelled = k->t->cancelled;
	pthread_mutex_unlock(&k->t->lock);
	return cancelled ? -ECANCELED : 0;
}

static int pull_one(struct team *t, struct wanted_image *i,
		    struct image_info **ret)
{
	struct worker k = {t, i};
	struct image_pull pull = {.reference = i->reference,
				  .auth = t->p->auth};
	uint64_t now = now_ms(), until = t->p->deadline_ms;
	int r;

	image_rights_pull(i->rights, &pull);
	if (until && now >= until)
		return err_set(&i->err, ETIMEDOUT,
			       "pull '%s': the time was over before it began",
			       i->reference);
	pull.timeout_ms = until ? until - now : 0;
	pull.have = i->info ? i->info->digest : NULL;
	r = image_store_pull(i->store, &pull, on_progress, &k, ret, &i->err);
	if (r == -EALREADY)
		err_clear(&i->err);
	return r;
}

static struct wanted_image *next_image(struct team *t)
{
	struct wanted_image *i;

	while (!t->cancelled && t->next < t->w->n) {
		i = &t->w->list[t->next++];
		if (i->to_pull)
			return i;
	}
	return NULL;
}

static void *work(void *arg)
{
	struct team *t = arg;
	struct wanted_image *i;

	pthread_mutex_lock(&t->lock);
	while ((i = next_image(t))) {
		struct image_info *info = NULL;
		int r;

		snprintf(i->phase, sizeof(i->phase), "fetch");
		pthread_mutex_unlock(&t->lock);
		r = pull_one(t, i, &info);
		pthread_mutex_lock(&t->lock);
		if (r == 0) {
			i->pulled = !i->info ||
				    strcmp(i->info->digest, info->digest) != 0;
			image_info_free(i->info);
			i->info = info;
		}
		i->ended = true;
	}
	t->at_work--;
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

/* ---------------------------------------------------------------- telling */

/* "sha256:0123456789ab": enough for people. */
#define DIGEST_SHOWN 19

/* What there is to tell of it, or NULL. With the lock held. */
static json_t *event_of(struct team *t, struct wanted_image *i)
{
	const char *phase =
		i->ended ? i->err.code ? "failed" : "pulled" : i->phase;
	const char *name = image_ref_familiar(i->full);
	uint64_t now = now_ms();
	json_int_t elapsed = (json_int_t)(now - t->p->begin);
	char message[120] = "";

	if (!*phase || (strcmp(phase, i->told_phase) == 0 &&
			(i->ended || now - i->told_at < TICK_MS)))
		return NULL;
	snprintf(i->told_phase, sizeof(i->told_phase), "%s", phase);
	i->told_at = now;
	if (!i->ended)
		return json_pack("{s:{s:s,s:s,s:I,s:I,s:I}}", "event", "object",
				 name, "phase", phase, "done",
				 (json_int_t)i->done, "total",
				 (json_int_t)i->total, "elapsed_ms", elapsed);
	if (!i->err.code)
		snprintf(message, sizeof(message), "%.*s%s", DIGEST_SHOWN,
			 i->info->digest,
			 i->pulled ? "" : ", which was here already");
	return json_pack("{s:{s:s,s:s,s:s,s:I}}", "event", "object", name,
			 "phase", phase, "message", message, "elapsed_ms",
			 elapsed);
}

static void cancel(struct team *t)
{
	pthread_mutex_lock(&t->lock);
	t->cancelled = true;
	pthread_mutex_unlock(&t->lock);
}

static void tell_all(struct team *t)
{
	struct err e = ERR_INIT;
	json_t *event;
	size_t i;

	for (i = 0; i < t->w->n && !t->q->close; i++) {
		if (!t->w->list[i].to_pull)
			continue;
		pthread_mutex_lock(&t->lock);
		event = event_of(t, &t->w->list[i]);
		pthread_mutex_unlock(&t->lock);
		if (!event)
			continue;
		if (!(t->q->call->flags & VL_MORE))
			json_decref(event);
		else if (request_reply(t->q, event, true, &e) < 0)
			cancel(t);
	}
	if (request_is_gone(t->q))
		cancel(t);
}

/* Until all threads have ended. */
static void attend(struct team *t)
{
	bool over = false;

	while (!over) {
		const struct timespec tick = {.tv_nsec = TICK_MS * 1000000L};

		pthread_mutex_lock(&t->lock);
		over = t->at_work == 0;
		pthread_mutex_unlock(&t->lock);
		tell_all(t);
		if (!over)
			nanosleep(&tick, NULL);
	}
}

static size_t start(struct team *t, size_t n, pthread_t *threads)
{
	pthread_attr_t attr;
	size_t i;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	for (i = 0; i < n; i++) {
		pthread_mutex_lock(&t->lock);
		t->at_work++;
		pthread_mutex_unlock(&t->lock);
		if (pthread_create(&threads[i], &attr, work, t) == 0)
			continue;
		pthread_mutex_lock(&t->lock);
		t->at_work--;
		pthread_mutex_unlock(&t->lock);
		break;
	}
	pthread_attr_destroy(&attr);
	return i;
}

int images_pull(struct request *q, struct wanted_images *w,
		const struct image_pulls *p, struct err *e)
{
	struct team t = {
		.q = q, .w = w, .p = p, .lock = PTHREAD_MUTEX_INITIALIZER};
	pthread_t threads[THREADS_MAX];
	size_t i, n = 0, started;

	for (i = 0; i < w->n; i++)
		n += w->list[i].to_pull;
	if (n == 0)
		return 0;
	started = start(&t, n < THREADS_MAX ? n : THREADS_MAX, threads);
	if (started == 0)
		return err_set(e, EAGAIN, "pull images: no thread for it");
	attend(&t);
	for (i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	pthread_mutex_destroy(&t.lock);
	if (!t.cancelled)
		return 0;
	q->close = true;
	log_info("deploy: user %u left while images were pulled", q->uid);
	return err_set(e, ECANCELED, "the images are not all pulled");
}
