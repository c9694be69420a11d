/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread that sees DHCP servers end, and has them started again: at once
 * the first time, then ever more slowly, as one that a guest knows how to kill
 * would be for ever started and killed.
 */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/net/internal.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

/* Who has lived so long is started again at once. */
#define SETTLED_MS   60000u
#define RETRY_MS     1000u
#define RETRY_MS_MAX 60000u

struct watched {
	struct watched *next;
	char tenant[HYB_NAME_MAX + 1];
	int pidfd; /* -1: it has ended */
	uint64_t since;
	uint64_t retry;	      /* when it is tried again */
	unsigned int retries; /* since it has last lived for long */
};

static void wake(struct net *n)
{
	const uint64_t one = 1;

	if (write(n->wake_fd, &one, sizeof(one)) < 0)
		return;
}

static struct watched **find(struct net *n, const char *tenant)
{
	struct watched **w;

	for (w = &n->watched; *w; w = &(*w)->next)
		if (strcmp((*w)->tenant, tenant) == 0)
			break;
	return w;
}

int watch_add(struct net *n, const char *tenant, int pidfd, struct err *e)
{
	_cleanup_close_ int fd = fcntl(pidfd, F_DUPFD_CLOEXEC, 3);
	struct watched **w;
	int r = 0;

	if (fd < 0)
		return err_sys(e, errno, "watch the DHCP server");
	pthread_mutex_lock(&n->watch_lock);
	w = find(n, tenant);
	if (!*w && (*w = calloc(1, sizeof(**w)))) {
		snprintf((*w)->tenant, sizeof((*w)->tenant), "%s", tenant);
		(*w)->pidfd = -1;
	}
	if (!*w) {
		r = err_sys(e, ENOMEM, "watch the DHCP server");
	} else if ((*w)->pidfd < 0) {
		(*w)->pidfd = steal_fd(&fd);
		(*w)->since = now_ms();
	}
	pthread_mutex_unlock(&n->watch_lock);
	wake(n);
	return r;
}

void watch_drop(struct net *n, const char *tenant)
{
	struct watched **w, *old;

	pthread_mutex_lock(&n->watch_lock);
	w = find(n, tenant);
	old = *w;
	if (old) {
		*w = old->next;
		cleanup_close(&old->pidfd);
		free(old);
	}
	pthread_mutex_unlock(&n->watch_lock);
}

/* -------------------------------------------------------------- the thread */

/* It has ended: when it is tried again. */
static void on_end(struct watched *w, uint64_t now)
{
	uint64_t wait;

	cleanup_close(&w->pidfd);
	if (now - w->since >= SETTLED_MS)
		w->retries = 0;
	wait = w->retries ? (uint64_t)RETRY_MS << (w->retries - 1) : 0;
	if (w->retries < 16)
		w->retries++;
	w->retry = now + (wait > RETRY_MS_MAX ? RETRY_MS_MAX : wait);
}

/* Those that have ended are told so; *ret: one that is to be started now. */
static bool next_due(struct net *n, char ret[HYB_NAME_MAX + 1])
{
	uint64_t now = now_ms();
	struct watched *w;
	bool due = false;

	pthread_mutex_lock(&n->watch_lock);
	for (w = n->watched; w; w = w->next) {
		struct pollfd p = {.fd = w->pidfd, .events = POLLIN};

		if (w->pidfd >= 0 && poll(&p, 1, 0) > 0)
			on_end(w, now);
		if (!due && w->pidfd < 0 && w->retry <= now) {
			memcpy(ret, w->tenant, HYB_NAME_MAX + 1);
			due = true;
		}
	}
	pthread_mutex_unlock(&n->watch_lock);
	return due;
}

/* Unless it was removed, or started by somebody else, meanwhile: that is done
 * under the tenant's lock. */
static void revive(struct net *n, const char *tenant)
{
	_cleanup_unlock_ pthread_mutex_t *lock = tenant_lock(n, tenant);
	_cleanup_close_ int ns = -1;
	struct err e = ERR_INIT;
	struct watched *w;
	bool ended;
	int r;

	pthread_mutex_lock(&n->watch_lock);
	w = *find(n, tenant);
	ended = w && w->pidfd < 0;
	pthread_mutex_unlock(&n->watch_lock);
	if (!ended)
		return;
	r = tenant_ensure(n, tenant, &ns, &e);
	if (r < 0) {
		pthread_mutex_lock(&n->watch_lock);
		w = *find(n, tenant);
		if (w)
			on_end(w, now_ms());
		pthread_mutex_unlock(&n->watch_lock);
	}
	if (n->on_restart)
		n->on_restart(n->arg, tenant, r < 0 ? &e : NULL);
}

/* What is waited for, and for how long: -1 without an end. */
static int gather(struct net *n, struct pollfd **fds, size_t *ret)
{
	uint64_t now = now_ms(), first = UINT64_MAX;
	struct watched *w;
	size_t count = 1;
	struct pollfd *p;

	for (w = n->watched; w; w = w->next)
		count++;
	p = realloc(*fds, count * sizeof(*p));
	if (!p) {
		*ret = 0;
		return (int)RETRY_MS;
	}
	*fds = p;
	*ret = count;
	*p++ = (struct pollfd){.fd = n->wake_fd, .events = POLLIN};
	for (w = n->watched; w; w = w->next) {
		*p++ = (struct pollfd){.fd = w->pidfd, .events = POLLIN};
		if (w->pidfd < 0 && w->retry < first)
			first = w->retry;
	}
	if (first == UINT64_MAX)
		return -1;
	return first <= now ? 0 : (int)(first - now);
}

/* A descriptor that was closed while the thread slept wakes it at worst: what
 * has ended is asked again. */
static void *watch_main(void *arg)
{
	struct net *n = arg;
	char tenant[HYB_NAME_MAX + 1];
	struct pollfd *fds = NULL;
	bool closing = false;
	uint64_t count;
	size_t n_fds;
	int timeout;

	while (!closing) {
		pthread_mutex_lock(&n->watch_lock);
		timeout = gather(n, &fds, &n_fds);
		pthread_mutex_unlock(&n->watch_lock);
		if (poll(fds, (nfds_t)n_fds, timeout) < 0 && errno != EINTR)
			break;
		if (read(n->wake_fd, &count, sizeof(count)) < 0 &&
		    errno != EAGAIN)
			break;
		while (next_due(n, tenant))
			revive(n, tenant);
		pthread_mutex_lock(&n->watch_lock);
		closing = n->closing;
		pthread_mutex_unlock(&n->watch_lock);
	}
	free(fds);
	return NULL;
}

int watch_start(struct net *n, struct err *e)
{
	int r;

	n->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (n->wake_fd < 0)
		return err_sys(e, errno, "make an eventfd");
	pthread_mutex_init(&n->watch_lock, NULL);
	r = pthread_create(&n->watcher, NULL, watch_main, n);
	if (r) {
		pthread_mutex_destroy(&n->watch_lock);
		cleanup_close(&n->wake_fd);
		return err_sys(e, r, "start a thread");
	}
	return 0;
}

void watch_stop(struct net *n)
{
	pthread_mutex_lock(&n->watch_lock);
	n->closing = true;
	pthread_mutex_unlock(&n->watch_lock);
	wake(n);
	pthread_join(n->watcher, NULL);
	while (n->watched)
		watch_drop(n, n->watched->tenant);
	pthread_mutex_destroy(&n->watch_lock);
	cleanup_close(&n->wake_fd);
}
