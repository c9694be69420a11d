/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shutdown: SIGTERM to every container, SIGKILL after the grace, then the
 * output that a host is reading is waited for a moment, then the answer, then
 * the power goes off, whether the host has stayed or not.
 */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/varlink/params.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

static void kill_all(struct agent *a, int sig)
{
	size_t i;

	for (i = 0; i < AGENT_CONTAINERS_MAX; i++) {
		struct slot *s = &a->slots[i];

		if (!s->used || s->ended)
			continue;
		health_ended(s);
		/* A frozen process does not see SIGTERM. */
		container_resume(s->container, NULL);
		container_kill(s->container, sig, sig == SIGKILL, NULL);
	}
}

static bool all_ended(const struct agent *a)
{
	size_t i;

	for (i = 0; i < AGENT_CONTAINERS_MAX; i++)
		if (a->slots[i].used && !a->slots[i].ended)
			return false;
	return true;
}

static bool all_taken(const struct agent *a)
{
	size_t i;

	for (i = 0; i < AGENT_CONTAINERS_MAX; i++)
		if (a->slots[i].used && !logs_are_taken(&a->slots[i]))
			return false;
	return true;
}

static void power_off(struct agent *a)
{
	struct peer *p = a->stop_peer;
	uint64_t deadline = now_ms() + 200;

	sync();
	if (p) {
		peer_reply(p, NULL);
		p = a->stop_peer;
	}
	/* The answer must be out of the guest before the guest is. */
	if (p && p->used) {
		shutdown(p->watch.fd, SHUT_WR);
		fd_wait(p->watch.fd, POLLRDHUP, deadline);
	}
	a->ops->power_off();
}

static void on_stop_timer(struct timer *t)
{
	struct agent *a = container_of(t, struct agent, stop_timer);

	if (!a->killed && !all_ended(a)) {
		a->killed = true;
		kill_all(a, SIGKILL);
		poller_timer_set(&a->poller, t, now_ms() + AGENT_KILL_MS);
		return;
	}
	power_off(a);
}

void shutdown_look(struct agent *a)
{
	if (!a->stopping || !all_ended(a))
		return;
	if (all_taken(a)) {
		poller_timer_set(&a->poller, &a->stop_timer, 0);
	} else if (!a->flushing) {
		a->flushing = true;
		poller_timer_set(&a->poller, &a->stop_timer,
				 now_ms() + AGENT_FLUSH_MS);
	}
}

int method_shutdown(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"grace", VL_INT, 0, 0, AGENT_GRACE_MAX_MS, false},
	};
	struct peer *p = ctx;
	struct agent *a = p->agent;
	int64_t grace = 0;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &grace, NULL, e);
	if (r < 0)
		return r;
	a->stopping = true;
	a->stop_peer = p;
	a->stop_timer.fn = on_stop_timer;
	peer_defer(p, WAIT_SHUTDOWN);
	kill_all(a, grace > 0 ? SIGTERM : SIGKILL);
	a->killed = grace == 0;
	poller_timer_set(&a->poller, &a->stop_timer,
			 now_ms() +
				 (grace > 0 ? (uint64_t)grace : AGENT_KILL_MS));
	shutdown_look(a);
	return 0;
}
