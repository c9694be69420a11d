/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections.
 *
 * Theory of operation
 *
 * A connection is in one of three states. With `mode` NULL and `wait`
 * WAIT_NONE it carries calls: messages are taken out of what was received and
 * handed to the handlers, one after the other. A handler answers at once, or
 * defers (`wait`): then nothing more is read of this connection until the
 * answer is there, and the host's leaving ends the call. After an upgrade the
 * bytes belong to a `mode` (a session's stream, ...).
 *
 * What cannot be sent at once is queued in `out`, in front of everything that
 * a mode writes. A host end that does not read fills its own queue, and loses
 * its own connection.
 */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <sys/socket.h>
#include <linux/vm_sockets.h>

static void on_peer(struct watch *w, uint32_t events);

static void on_timer(struct timer *t)
{
	struct peer *p = container_of(t, struct peer, timer);

	switch (p->wait) {
	case WAIT_DISK:
	case WAIT_DELETE:
		create_peer_timeout(p);
		break;
	case WAIT_CONNECT:
		forward_timeout(p);
		break;
	default:
		/* A finished connection that the host does not end. */
		peer_close(p);
		break;
	}
}

/* The connection that was silent longest among those that may be stale. */
static struct peer *stale_peer(struct agent *a)
{
	struct peer *oldest = NULL;
	size_t i;

	for (i = 0; i < AGENT_PEERS_MAX; i++) {
		struct peer *p = &a->peers[i];

		if (!p->mode && (p->wait == WAIT_NONE || p->wait == WAIT_END) &&
		    (!oldest || p->active_ms < oldest->active_ms))
			oldest = p;
	}
	if (!oldest || now_ms() - oldest->active_ms < AGENT_STALE_MS)
		return NULL;
	peer_close(oldest);
	return oldest;
}

struct peer *peer_add(struct agent *a, int fd)
{
	struct peer *p = NULL;
	size_t i;

	for (i = 0; i < AGENT_PEERS_MAX && !p; i++)
		if (!a->peers[i].used)
			p = &a->peers[i];
	if (!p)
		p = stale_peer(a);
	if (!p) {
		close(fd);
		return NULL;
	}
	memset(p, 0, sizeof(*p));
	p->used = true;
	p->agent = a;
	vl_conn_init(&p->conn, fd, AGENT_MESSAGE_MAX);
	p->out.max = AGENT_OUT_MAX;
	p->watch = (struct watch){.fd = fd, .fn = on_peer};
	p->timer.fn = on_timer;
	p->active_ms = now_ms();
	peer_update(p);
	return p->used ? p : NULL;
}

/* Nobody but the host may call: a process in the guest that got hold of an
 * AF_VSOCK socket is not the host. */
static bool is_host(int fd)
{
	struct sockaddr_vm addr = {0};
	socklen_t len = sizeof(addr);

	return getpeername(fd, (struct sockaddr *)(void *)&addr, &len) == 0 &&
	       addr.svm_family == AF_VSOCK && addr.svm_cid == VMADDR_CID_HOST;
}

void peer_accept(struct watch *w, uint32_t events)
{
	struct agent *a = container_of(w, struct agent, listener);
	int fd, i;

	(void)events;
	for (i = 0; i < 16; i++) {
		fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			return;
		if (a->listener_vsock && !is_host(fd)) {
			close(fd);
			continue;
		}
		peer_add(a, fd);
	}
}

void peer_close(struct peer *p)
{
	struct agent *a = p->agent;
	const struct peer_mode *mode = p->mode;

	if (!p->used)
		return;
	p->used = false;
	p->mode = NULL;
	poller_timer_cancel(&a->poller, &p->timer);
	if (mode && mode->gone)
		mode->gone(p);
	volumes_peer_gone(p);
	poller_close(&a->poller, &p->watch);
	p->conn.fd = -1;
	vl_conn_done(&p->conn);
	buf_done(&p->out);
	vl_call_done(&p->call);
	if (a->stop_peer == p)
		a->stop_peer = NULL;
}

static void peer_kick(struct peer *p)
{
	p->kicked = true;
	p->agent->any_kicked = true;
}

void peer_update(struct peer *p)
{
	uint32_t events = 0;

	if (!p->used)
		return;
	if (p->mode ? p->want_in : p->wait == WAIT_NONE && !p->ending)
		events |= EPOLLIN | EPOLLRDHUP;
	else if (!p->mode && !p->ending)
		events |= EPOLLRDHUP;
	if (p->out.len > p->out_at || p->want_out)
		events |= EPOLLOUT;
	/* What came behind an upgrade call is not told by epoll. */
	if (p->mode && p->want_in && p->conn.in.len > 0)
		peer_kick(p);
	if (poller_watch(&p->agent->poller, &p->watch, events) < 0)
		peer_close(p);
}

/* ------------------------------------------------------------ sending */

bool peer_flush(struct peer *p)
{
	ssize_t n;

	while (p->used && p->out.len > p->out_at) {
		n = send(p->watch.fd, p->out.data + p->out_at,
			 p->out.len - p->out_at, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n < 0) {
			peer_close(p);
			return false;
		}
		p->out_at += (size_t)n;
	}
	p->out_at = 0;
	buf_clear(&p->out);
	/* A large answer's memory is not kept. */
	if (p->out.cap > AGENT_EVENTS_HIGH)
		buf_done(&p->out);
	if (p->used && p->ending)
		peer_close(p);
	return p->used;
}

/* Queues a message (reference taken) and sends what goes. */
static void peer_send(struct peer *p, json_t *msg)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;

	if (msg)
		text = vl_format(msg, &len);
	json_decref(msg);
	if (!p->used)
		return;
	if (p->out_at > 0) {
		buf_consume(&p->out, p->out_at);
		p->out_at = 0;
	}
	if (!text || buf_append(&p->out, text, len) < 0) {
		log_warn("a connection is ended: its answers are not taken");
		peer_close(p);
		return;
	}
	if (peer_flush(p))
		peer_update(p);
}

static void answered(struct peer *p)
{
	if (p->wait == WAIT_NONE)
		return;
	p->wait = WAIT_NONE;
	p->slot = NULL;
	poller_timer_cancel(&p->agent->poller, &p->timer);
	/* There may be a further call in what was received. */
	peer_kick(p);
}

void peer_reply(struct peer *p, json_t *params)
{
	answered(p);
	peer_send(p, vl_make_reply(params, false));
}

void peer_error(struct peer *p, const char *name, json_t *params)
{
	answered(p);
	peer_send(p, vl_make_error(name, params));
}

void peer_continue(struct peer *p, json_t *params)
{
	peer_send(p, vl_make_reply(params, true));
}

void peer_defer(struct peer *p, enum peer_wait wait)
{
	p->wait = wait;
	peer_update(p);
}

void peer_upgrade(struct peer *p, const struct peer_mode *mode, void *owner)
{
	peer_upgrade_with(p, mode, owner, NULL);
}

void peer_upgrade_with(struct peer *p, const struct peer_mode *mode,
		       void *owner, json_t *params)
{
	answered(p);
	p->mode = mode;
	p->owner = owner;
	p->want_in = true;
	peer_send(p, vl_make_reply(params, false));
}

const char *wire_text(struct wire_text *t, const char *text)
{
	struct buf b = BUF_INIT;
	size_t n;

	buf_put_escaped(&b, text, strlen(text));
	n = b.len;
	if (n >= sizeof(t->s)) {
		n = sizeof(t->s) - sizeof("...");
		/* Not in the middle of a character. */
		while (n > 0 && ((unsigned char)b.data[n] & 0xc0) == 0x80)
			n--;
	}
	snprintf(t->s, sizeof(t->s), "%.*s%s", (int)n, buf_str(&b),
		 n < b.len ? "..." : "");
	buf_done(&b);
	return t->s;
}

void peer_error_err(struct peer *p, const struct err *e)
{
	struct wire_text text;

	peer_error(p, IFACE "Failed",
		   json_pack("{s:s}", "message",
			     e->msg[0] ? wire_text(&text, e->msg)
				       : "no reason known"));
}

void peer_error_invalid(struct peer *p, const char *field, const char *rule)
{
	struct wire_text name, text;

	peer_error(p, IFACE "InvalidConfig",
		   json_pack("{s:s,s:s}", "field", wire_text(&name, field),
			     "message", wire_text(&text, rule)));
}

void peer_error_not_found(struct peer *p, const char *what)
{
	peer_error(p, IFACE "NotFound", json_pack("{s:s}", "what", what));
}

void peer_error_limit(struct peer *p, const char *what, int limit)
{
	peer_error(p, IFACE "LimitReached",
		   json_pack("{s:s,s:i}", "what", what, "limit", limit));
}

void peer_error_state(struct peer *p, const char *status, const char *msg)
{
	peer_error(p, IFACE "WrongState",
		   json_pack("{s:s,s:s}", "status", status, "message", msg));
}

/* --------------------------------------------------------- dispatching */

/* What a handler could not do: "field: rule" for -EINVAL. */
void peer_error_failure(struct peer *p, int r, const struct err *e)
{
	char field[128];
	const char *colon = strstr(e->msg, ": ");

	if (r != -EINVAL || !colon) {
		peer_error_err(p, e);
		return;
	}
	snprintf(field, sizeof(field), "%.*s", (int)(colon - e->msg), e->msg);
	peer_error_invalid(p, field, colon + 2);
}

static void dispatch(struct peer *p, struct vl_call *call)
{
	const struct vl_method *m;
	struct err e = ERR_INIT;
	json_t *reply;
	int r;

	reply = vl_service_reply(call, "hyb-agent", HYB_VERSION, "io.hyb.Agent",
				 idl_io_hyb_Agent);
	if (reply) {
		peer_send(p, reply);
		return;
	}
	m = vl_method_find(agent_methods, agent_methods_n, call, &reply);
	if (!m) {
		peer_send(p, reply);
		return;
	}
	if (!(m->permit & agent_permits(p->agent))) {
		peer_error_state(p, p->agent->stopping ? "stopping" : "blank",
				 p->agent->stopping
					 ? "the VM is shutting down"
					 : "the VM has not been claimed");
		return;
	}
	r = m->handler(p, call, &e);
	if (r < 0 && p->used)
		peer_error_failure(p, r, &e);
}

/* Is this one large receive buffer too many? */
static bool too_large(const struct peer *p)
{
	const struct agent *a = p->agent;
	size_t i, n = 0;

	if (p->conn.in.cap <= AGENT_IN_LARGE)
		return false;
	for (i = 0; i < AGENT_PEERS_MAX; i++)
		if (a->peers[i].used && &a->peers[i] != p &&
		    a->peers[i].conn.in.cap > AGENT_IN_LARGE)
			n++;
	return n >= AGENT_IN_LARGES;
}

/* The calls that have come whole, as far as they may be looked at. */
static void peer_calls(struct peer *p)
{
	struct err e = ERR_INIT;
	struct vl_call call;
	json_t *msg;
	int r;

	while (p->used && !p->mode && p->wait == WAIT_NONE && !p->ending) {
		r = vl_conn_next(&p->conn, &msg, &e);
		if (r == 0)
			break;
		if (r > 0)
			r = vl_call_parse(msg, &call, &e);
		if (r < 0) {
			log_debug("a connection is ended: %s", e.msg);
			peer_close(p);
			return;
		}
		p->active_ms = now_ms();
		dispatch(p, &call);
		vl_call_done(&call);
	}
	/* The memory of a large call is not kept. */
	if (p->used && p->conn.in.len == 0 && p->conn.in.cap > AGENT_IN_LARGE)
		buf_done(&p->conn.in);
	peer_update(p);
}

static void peer_fill(struct peer *p)
{
	ssize_t n;
	int i;

	for (i = 0; i < 8; i++) {
		n = vl_conn_fill(&p->conn);
		if (n == -EAGAIN)
			break;
		/* A last call before it left is still done. */
		if (n == 0)
			peer_calls(p);
		if (n <= 0 || p->conn.n_fds > 0 || too_large(p)) {
			peer_close(p);
			return;
		}
	}
	peer_calls(p);
}

static void peer_readable(struct peer *p)
{
	if (p->mode)
		p->mode->readable(p);
	else if (p->wait == WAIT_NONE)
		peer_fill(p);
	else
		/* The host has left a call that is not answered yet. */
		peer_close(p);
}

static void on_peer(struct watch *w, uint32_t events)
{
	struct peer *p = container_of(w, struct peer, watch);

	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
		if (!peer_flush(p))
			return;
		if (p->out.len == 0 && p->mode && p->want_out &&
		    p->mode->writable)
			p->mode->writable(p);
		else if (p->out.len == 0 && p->wait == WAIT_EVENTS &&
			 events_pending(p))
			events_flush(p);
	}
	if (p->used && (events & ~(uint32_t)EPOLLOUT)) {
		if (!p->mode || p->want_in)
			peer_readable(p);
		else if (!p->want_out)
			peer_close(p);
	}
	peer_update(p);
}

/* Connections that have something to do that epoll does not tell of. */
static void run_kicked(struct agent *a)
{
	size_t i;

	while (a->any_kicked) {
		a->any_kicked = false;
		for (i = 0; i < AGENT_PEERS_MAX; i++) {
			struct peer *p = &a->peers[i];

			if (!p->used || !p->kicked)
				continue;
			p->kicked = false;
			if (!p->mode)
				peer_calls(p);
			else if (p->want_in && p->mode->readable)
				p->mode->readable(p);
		}
	}
}

int agent_step(struct agent *a, int max_ms)
{
	int r = poller_step(&a->poller, max_ms);

	run_kicked(a);
	return r;
}

/* --------------------------------------------------- upgraded connections */

ssize_t peer_read(void *peer, void *buf, size_t len)
{
	struct peer *p = peer;
	ssize_t n;

	if (p->conn.in.len > 0) {
		if (len > p->conn.in.len)
			len = p->conn.in.len;
		memcpy(buf, p->conn.in.data, len);
		buf_consume(&p->conn.in, len);
		if (p->conn.in.len == 0)
			buf_done(&p->conn.in);
		return (ssize_t)len;
	}
	do {
		n = recv(p->watch.fd, buf, len, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t peer_write(void *peer, const void *buf, size_t len)
{
	struct peer *p = peer;
	ssize_t n;

	/* The reply goes first. */
	if (p->out.len > p->out_at)
		return -EAGAIN;
	do {
		n = send(p->watch.fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static void finish_readable(struct peer *p)
{
	char drop[4096];
	ssize_t n = peer_read(p, drop, sizeof(drop));

	if (n == 0 || (n < 0 && n != -EAGAIN))
		peer_close(p);
}

static void finish_writable(struct peer *p)
{
	/* The reply and all else is out. */
	p->want_out = false;
	shutdown(p->watch.fd, SHUT_WR);
}

static const struct peer_mode finish_mode = {
	.readable = finish_readable,
	.writable = finish_writable,
};

void peer_finish(struct peer *p)
{
	p->mode = &finish_mode;
	p->owner = NULL;
	p->want_in = true;
	p->want_out = p->out.len > p->out_at;
	if (!p->want_out)
		shutdown(p->watch.fd, SHUT_WR);
	poller_timer_set(&p->agent->poller, &p->timer,
			 now_ms() + AGENT_LINGER_MS);
	peer_update(p);
}
