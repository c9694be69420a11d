/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/rpc/poller.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

int poller_init(struct poller *l, struct err *e)
{
	memset(l, 0, sizeof(*l));
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (l->epfd < 0)
		return err_sys(e, errno, "epoll");
	return 0;
}

void poller_done(struct poller *l)
{
	cleanup_close(&l->epfd);
}

/* An event of the batch in hand must not reach what is no longer watched: its
 * memory may be another's by then. */
static void forget_pending(struct poller *l, const struct watch *w)
{
	int i;

	for (i = l->at; i < l->n; i++)
		if (l->batch[i].data.ptr == w)
			l->batch[i].data.ptr = NULL;
}

int poller_watch(struct poller *l, struct watch *w, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = w};
	int op = EPOLL_CTL_MOD;

	if (events == w->events || w->fd < 0)
		return 0;
	if (events == 0) {
		op = EPOLL_CTL_DEL;
		forget_pending(l, w);
	} else if (w->events == 0) {
		op = EPOLL_CTL_ADD;
	}
	if (epoll_ctl(l->epfd, op, w->fd, &ev) < 0)
		return -errno;
	w->events = events;
	return 0;
}

void poller_close(struct poller *l, struct watch *w)
{
	if (w->fd < 0)
		return;
	poller_watch(l, w, 0);
	forget_pending(l, w);
	w->events = 0;
	cleanup_close(&w->fd);
}

void poller_timer_cancel(struct poller *l, struct timer *t)
{
	struct timer **p;

	if (!t->armed)
		return;
	for (p = &l->timers; *p; p = &(*p)->next) {
		if (*p == t) {
			*p = t->next;
			break;
		}
	}
	t->armed = false;
	t->next = NULL;
}

void poller_timer_set(struct poller *l, struct timer *t, uint64_t at_ms)
{
	struct timer **p = &l->timers;

	poller_timer_cancel(l, t);
	while (*p && (*p)->at_ms <= at_ms)
		p = &(*p)->next;
	t->at_ms = at_ms;
	t->next = *p;
	t->armed = true;
	*p = t;
}

static void run_timers(struct poller *l)
{
	uint64_t now;
	struct timer *t;

	if (!l->timers)
		return;
	now = now_ms();
	while ((t = l->timers) && t->at_ms <= now) {
		poller_timer_cancel(l, t);
		t->fn(t);
	}
}

static int wait_ms(const struct poller *l, int max_ms)
{
	uint64_t now, left;

	if (!l->timers)
		return max_ms;
	now = now_ms();
	if (l->timers->at_ms <= now)
		return 0;
	left = l->timers->at_ms - now;
	if (left > 60000)
		left = 60000;
	return max_ms >= 0 && (uint64_t)max_ms < left ? max_ms : (int)left;
}

int poller_step(struct poller *l, int max_ms)
{
	int n;

	n = epoll_wait(l->epfd, l->batch, POLLER_BATCH, wait_ms(l, max_ms));
	if (n < 0 && errno != EINTR)
		return -errno;
	l->n = n < 0 ? 0 : n;
	for (l->at = 0; l->at < l->n;) {
		const struct epoll_event *ev = &l->batch[l->at++];
		struct watch *w = ev->data.ptr;

		if (w)
			w->fn(w, ev->events);
	}
	l->n = 0;
	l->at = 0;
	run_timers(l);
	return 0;
}
