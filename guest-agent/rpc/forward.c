/* SPDX-License-Identifier: Apache-2.0 */
/* Forward: TCP connections into the containers' network namespace. */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/varlink/params.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>

static void on_tcp(struct watch *w, uint32_t events);

/* A socket of the containers' network namespace: a socket belongs to the
 * namespace that it was made in. */
int forward_socket(const struct agent *a, int family, struct err *e)
{
	/* Where there is no other (yet), this one is it. */
	bool other = a->own_netns >= 0;
	int fd, error;

	if (other && setns(a->pod_netns, CLONE_NEWNET) < 0)
		return err_sys(e, errno, "enter the network namespace");
	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	error = errno;
	/* Going back to where one came from does not fail. */
	if (other && setns(a->own_netns, CLONE_NEWNET) < 0) {
		error = errno;
		cleanup_close(&fd);
	}
	return fd < 0 ? err_sys(e, error, "socket") : fd;
}

static void forward_free(struct forward *f)
{
	struct peer *p = f->peer;

	if (!f->used)
		return;
	f->used = false;
	poller_close(&p->agent->poller, &f->watch);
	copy_done(&f->up);
	copy_done(&f->down);
	f->peer = NULL;
}

/* Both directions have ended, or one has broken. */
static void forward_close(struct forward *f)
{
	struct peer *p = f->peer;

	/* A broken one is told as such: closing with bytes unread, or an abort
	 * by the container, must not look like a good end. */
	peer_close(p);
}

static struct forward *forward_of(struct peer *p)
{
	struct agent *a = p->agent;
	size_t i;

	for (i = 0; i < AGENT_FORWARDS_MAX; i++)
		if (a->forwards[i].used && a->forwards[i].peer == p)
			return &a->forwards[i];
	return NULL;
}

/* ---------------------------------------------------------------- relaying */

/* Moves what goes in either direction, and watches for what does not. */
static void relay(struct forward *f)
{
	struct peer *p = f->peer;
	enum copy_state up = COPY_DONE, down = COPY_DONE;
	uint32_t events = 0;

	if (!f->up_done)
		up = copy_run(&f->up, peer_read, p, copy_fd_write,
			      &f->watch.fd);
	if (!f->down_done)
		down = copy_run(&f->down, copy_fd_read, &f->watch.fd,
				peer_write, p);
	if (up == COPY_BROKEN || down == COPY_BROKEN) {
		forward_close(f);
		return;
	}
	if (up == COPY_DONE && !f->up_done) {
		f->up_done = true;
		shutdown(f->watch.fd, SHUT_WR);
	}
	if (down == COPY_DONE && !f->down_done) {
		f->down_done = true;
		shutdown(p->watch.fd, SHUT_WR);
	}
	if (f->up_done && f->down_done) {
		forward_close(f);
		return;
	}
	events |= up == COPY_WRITE ? EPOLLOUT : 0;
	events |= down == COPY_READ ? EPOLLIN : 0;
	p->want_in = up == COPY_READ;
	p->want_out = down == COPY_WRITE;
	if (poller_watch(&p->agent->poller, &f->watch, events) < 0)
		forward_close(f);
	else
		peer_update(p);
}

static void peer_relay(struct peer *p)
{
	relay(p->owner);
}

static void peer_gone(struct peer *p)
{
	forward_free(p->owner);
}

static const struct peer_mode forward_mode = {
	.readable = peer_relay,
	.writable = peer_relay,
	.gone = peer_gone,
};

/* -------------------------------------------------------------- connecting */

static int forward_connect(struct forward *f, struct err *e)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET,
				  .sin_port = htons(f->port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
				   .sin6_port = htons(f->port),
				   .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr *addr = f->v6 ? (struct sockaddr *)(void *)&in6
				      : (struct sockaddr *)(void *)&in4;
	struct agent *a = f->peer->agent;
	int fd, r, one = 1;

	fd = forward_socket(a, f->v6 ? AF_INET6 : AF_INET, e);
	if (fd < 0)
		return fd;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	poller_close(&a->poller, &f->watch);
	f->watch = (struct watch){.fd = fd, .fn = on_tcp};
	if (connect(fd, addr, f->v6 ? sizeof(in6) : sizeof(in4)) < 0 &&
	    errno != EINPROGRESS)
		return err_sys(e, errno, "connect to %s:%u",
			       f->v6 ? "[::1]" : "127.0.0.1", f->port);
	r = poller_watch(&a->poller, &f->watch, EPOLLOUT);
	return r < 0 ? err_sys(e, -r, "epoll") : 0;
}

/* Answers that it cannot be had. */
static void forward_fail(struct forward *f, const struct err *e)
{
	struct peer *p = f->peer;

	forward_free(f);
	p->mode = NULL;
	peer_error_err(p, e);
}

/* Connects to the next address that may answer; where none does, the reason
 * that the first one gave is told. */
static void forward_next(struct forward *f, int error)
{
	struct err e = ERR_INIT;

	if (!f->v6 && error != EMFILE && error != ENFILE) {
		f->v6 = true;
		f->error = error;
		if (forward_connect(f, &e) == 0)
			return;
	}
	if (f->error == 0)
		f->error = error;
	err_set(&e, f->error, "connect to port %u: %s", f->port,
		strerror(f->error));
	forward_fail(f, &e);
}

static void on_connected(struct forward *f)
{
	int error = 0;
	socklen_t len = sizeof(error);

	getsockopt(f->watch.fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error != 0) {
		forward_next(f, error);
		return;
	}
	f->connecting = false;
	peer_upgrade(f->peer, &forward_mode, f);
	if (f->used)
		relay(f);
}

static void on_tcp(struct watch *w, uint32_t events)
{
	struct forward *f = container_of(w, struct forward, watch);

	(void)events;
	if (f->connecting)
		on_connected(f);
	else
		relay(f);
}

void forward_timeout(struct peer *p)
{
	struct forward *f = forward_of(p);
	struct err e = ERR_INIT;

	err_set(&e, ETIMEDOUT, "connect to port %u: %s", f ? f->port : 0,
		strerror(ETIMEDOUT));
	if (f)
		forward_fail(f, &e);
	else
		peer_error_err(p, &e);
}

/* The host has left before it was connected. */
static const struct peer_mode connecting_mode = {
	.gone = peer_gone,
};

struct forward_params {
	int64_t port;
	bool unready;
};

/* A place for one more; NULL: there is none. *ret_max: how many there are. */
static struct forward *forward_new(struct agent *a, int *ret_max)
{
	struct forward *f = NULL;
	int max = AGENT_PEERS_MAX - AGENT_CALLS_MIN, n = 0;
	size_t i;

	for (i = 0; i < AGENT_CONTAINERS_MAX; i++)
		max -= a->slots[i].used;
	if (max > AGENT_FORWARDS_MAX)
		max = AGENT_FORWARDS_MAX;
	*ret_max = max;
	for (i = 0; i < AGENT_FORWARDS_MAX; i++) {
		if (a->forwards[i].used)
			n++;
		else if (!f)
			f = &a->forwards[i];
	}
	return n < max ? f : NULL;
}

int method_forward(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"port", VL_INT, offsetof(struct forward_params, port), 1,
		 65535, false},
		{"unready", VL_BOOL, offsetof(struct forward_params, unready),
		 0, 0, true},
	};
	struct forward_params q = {0};
	struct forward *f = NULL;
	struct peer *p = ctx;
	int max, r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &q, NULL, e);
	if (r < 0)
		return r;
	if (!q.unready && !health_port_is_open(p->agent, (uint16_t)q.port)) {
		err_set(e, EAGAIN, "port %d: its container is not ready",
			(int)q.port);
		peer_error_err(p, e);
		return 0;
	}
	f = forward_new(p->agent, &max);
	if (!f) {
		peer_error_limit(p, "forwarded connections", max);
		return 0;
	}
	memset(f, 0, sizeof(*f));
	f->used = true;
	f->peer = p;
	f->port = (uint16_t)q.port;
	f->connecting = true;
	f->watch.fd = -1;
	p->mode = &connecting_mode;
	p->owner = f;
	p->want_in = false;
	poller_timer_set(&p->agent->poller, &p->timer,
			 now_ms() + AGENT_CONNECT_MS);
	peer_defer(p, WAIT_CONNECT);
	r = forward_connect(f, e);
	if (r < 0)
		forward_next(f, -r);
	return 0;
}

void forwards_done(struct agent *a)
{
	size_t i;

	for (i = 0; i < AGENT_FORWARDS_MAX; i++)
		if (a->forwards[i].used)
			peer_close(a->forwards[i].peer);
}
