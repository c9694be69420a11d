/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/portd/forward.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <jansson.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

/* epoll data: a listening socket by index, or slot, side and serial. */
#define EVENT_LISTEN (1ULL << 63)

static uint64_t event_of(uint32_t serial, size_t slot, int side)
{
	return (uint64_t)serial << 24 | (uint64_t)slot << 1 | (uint64_t)side;
}

static size_t slot_of(const struct forward *f, const struct forward_conn *c)
{
	return (size_t)(c - f->conn);
}

static uint8_t *buf_of(const struct forward *f, const struct forward_conn *c,
		       int side)
{
	return f->bufs +
	       (slot_of(f, c) * SIDE_COUNT + (size_t)side) * PORTD_BUF_SIZE;
}

static void queue(struct forward *f, struct forward_conn *c)
{
	size_t at = (f->ready_at + f->ready_len) % PORTD_CONNS_MAX;

	if (c->queued)
		return;
	c->queued = true;
	f->ready[at] = (uint16_t)slot_of(f, c);
	f->ready_len++;
}

static void conn_close(struct forward *f, struct forward_conn *c)
{
	bool queued = c->queued;

	cleanup_close(&c->fd[SIDE_TCP]);
	cleanup_close(&c->fd[SIDE_VM]);
	if (c->touched)
		(void)madvise(buf_of(f, c, 0),
			      (size_t)SIDE_COUNT * PORTD_BUF_SIZE,
			      MADV_DONTNEED);
	*c = (struct forward_conn){.fd = {-1, -1}, .queued = queued};
	f->used--;
}

/* Ends it so that the client sees a reset, not an end of data. */
static void conn_abort(struct forward *f, struct forward_conn *c)
{
	const struct linger l = {.l_onoff = 1, .l_linger = 0};

	(void)setsockopt(c->fd[SIDE_TCP], SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	conn_close(f, c);
}

static int watch(struct forward *f, struct forward_conn *c, int side)
{
	struct epoll_event ev = {
		.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
		.data.u64 = event_of(c->serial, slot_of(f, c), side)};

	return epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, c->fd[side], &ev) < 0
		       ? -errno
		       : 0;
}

/* From now on every byte is the client's or the guest's. */
static void streams(struct forward_conn *c)
{
	c->state = FORWARD_STREAM;
	c->deadline = 0;
}

/* Puts what is to be said first into the buffer of the TCP side's flow, so
 * that it goes out like data, before any of the client's. */
static void say_hello(struct forward *f, struct forward_conn *c)
{
	struct forward_flow *flow = &c->flow[SIDE_TCP];
	char *buf = (char *)buf_of(f, c, SIDE_TCP);
	int n = 0;

	if (f->carrier.kind == FORWARD_UNIX)
		n = snprintf(buf, PORTD_BUF_SIZE, "CONNECT %u\n",
			     f->carrier.agent_port);
	n += snprintf(buf + n, PORTD_BUF_SIZE - (size_t)n,
		      "{\"method\":\"io.hyb.Agent.Forward\",\"parameters\":"
		      "{\"port\":%u},\"upgrade\":true}",
		      c->guest_port);
	flow->at = 0;
	flow->len = (uint32_t)n + 1; /* with the NUL */
	c->got_ok = f->carrier.kind == FORWARD_VSOCK;
}

static int dial_unix(const struct forward *f, int fd)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	_Static_assert(sizeof(sa.sun_path) == sizeof(f->carrier.path), "path");
	memcpy(sa.sun_path, f->carrier.path, sizeof(sa.sun_path));
	return connect(fd, (struct sockaddr *)&sa, sizeof(sa));
}

static int dial_kernel(const struct forward *f, int fd)
{
	const struct sockaddr_vm sa = {.svm_family = AF_VSOCK,
				       .svm_cid = f->carrier.cid,
				       .svm_port = f->carrier.agent_port};

	return connect(fd, (const struct sockaddr *)&sa, sizeof(sa));
}

static void set_tcp_options(int fd)
{
	const int on = 1, idle = PORTD_KEEPALIVE_S;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
}

/* Asked again of a connection that is on its way, it says how far that is. */
static int dial_tcp(const struct forward *f, int fd, uint16_t port)
{
	const struct sockaddr_in sa = {.sin_family = AF_INET,
				       .sin_port = htons(port),
				       .sin_addr = f->carrier.ip};

	return connect(fd, (const struct sockaddr *)&sa, sizeof(sa));
}

static int dial_by_kind(const struct forward *f, int fd, uint16_t guest_port)
{
	switch (f->carrier.kind) {
	case FORWARD_VSOCK:
		return dial_kernel(f, fd);
	case FORWARD_TCP:
		set_tcp_options(fd);
		return dial_tcp(f, fd, guest_port);
	default:
		return dial_unix(f, fd);
	}
}

/* 0: on its way; -EAGAIN: the device is busy, later; else: it failed. */
static int dial(struct forward *f, struct forward_conn *c)
{
	static const int families[] = {[FORWARD_UNIX] = AF_UNIX,
				       [FORWARD_VSOCK] = AF_VSOCK,
				       [FORWARD_TCP] = AF_INET};
	int err;

	c->fd[SIDE_VM] = socket(families[f->carrier.kind],
				SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd[SIDE_VM] < 0)
		return -errno;
	err = dial_by_kind(f, c->fd[SIDE_VM], c->guest_port);
	if (err < 0 && errno != EINPROGRESS) {
		err = -errno;
		cleanup_close(&c->fd[SIDE_VM]);
		return err;
	}
	err = watch(f, c, SIDE_VM);
	if (err < 0)
		return err;
	c->touched = true;
	c->state = FORWARD_OPENING;
	if (f->carrier.kind != FORWARD_TCP)
		say_hello(f, c);
	return 0;
}

static void conn_start(struct forward *f, int fd, uint16_t guest_port)
{
	struct forward_conn *c = f->conn;
	int err;

	while (c->state != FORWARD_FREE)
		c++; /* there is one: f->used says so */
	f->used++;
	*c = (struct forward_conn){.state = FORWARD_DIAL,
				   .serial = ++f->next_serial,
				   .fd = {fd, -1},
				   .guest_port = guest_port,
				   .queued = c->queued,
				   .deadline = now_ms() + PORTD_OPEN_MS};
	set_tcp_options(fd);
	err = watch(f, c, SIDE_TCP);
	if (err == 0)
		err = dial(f, c);
	if (err < 0 && err != -EAGAIN)
		conn_abort(f, c);
	else
		queue(f, c);
}

static void accept_clients(struct forward *f, const struct forward_port *p)
{
	int fd;

	while (f->used < PORTD_CONNS_MAX) {
		fd = accept4(p->listen_fd, NULL, NULL,
			     SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0)
			return;
		conn_start(f, fd, p->guest_port);
	}
	f->waiting = true;
}

bool forward_reply_is_good(const char *text, size_t len)
{
	json_t *msg = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	bool good = json_is_object(msg) && !json_object_get(msg, "error");

	json_decref(msg);
	return good;
}

/* Takes the carrier's line off what has come: 1 done, 0 more is needed,
 * -EPROTO. */
static int take_line(struct forward_conn *c, struct forward_flow *flow,
		     const uint8_t *buf)
{
	const uint8_t *end;

	if (c->got_ok)
		return 1;
	end = memchr(buf, '\n', flow->len);
	if (!end)
		return flow->len < 32 ? 0 : -EPROTO;
	if (end - buf > 32 || end - buf < 4 || memcmp(buf, "OK ", 3) != 0)
		return -EPROTO;
	flow->at = (uint32_t)(end - buf) + 1;
	flow->len -= flow->at;
	c->got_ok = true;
	return 1;
}

/* Takes the agent's reply; what is behind it is the stream's. */
static int take_reply(struct forward_conn *c, struct forward_flow *flow,
		      const uint8_t *buf)
{
	const uint8_t *text = buf + flow->at, *end;
	uint32_t len;

	end = memchr(text, 0, flow->len);
	if (!end)
		return flow->len < PORTD_REPLY_MAX ? 0 : -EPROTO;
	len = (uint32_t)(end - text);
	if (len > PORTD_REPLY_MAX ||
	    !forward_reply_is_good((const char *)text, len))
		return -EPROTO;
	flow->at += len + 1;
	flow->len -= len + 1;
	if (flow->len == 0)
		flow->at = 0;
	streams(c);
	return 1;
}

/* Reads the VM's first bytes: 0 (more is needed, or done: see c->state) or an
 * error. */
static int read_opening(struct forward *f, struct forward_conn *c)
{
	struct forward_flow *flow = &c->flow[SIDE_VM];
	uint8_t *buf = buf_of(f, c, SIDE_VM);
	ssize_t n;
	int err;

	while (c->state == FORWARD_OPENING && flow->readable) {
		/* At most the line and the reply are kept unparsed, so there
		 * is room. */
		n = recv(c->fd[SIDE_VM], buf + flow->at + flow->len,
			 PORTD_BUF_SIZE - flow->at - flow->len, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			flow->readable = false;
			return 0;
		}
		if (n <= 0)
			return -ECONNREFUSED;
		flow->len += (uint32_t)n;
		err = take_line(c, flow, buf);
		if (err > 0)
			err = take_reply(c, flow, buf);
		if (err < 0)
			return err;
	}
	return 0;
}

/* 0: connected, or still on its way (see c->state); or an error. */
static int await_tcp(struct forward *f, struct forward_conn *c)
{
	if (dial_tcp(f, c->fd[SIDE_VM], c->guest_port) == 0 || errno == EISCONN)
		streams(c);
	else if (errno != EALREADY && errno != EINTR)
		return -errno;
	return 0;
}

_Static_assert(PORTD_BUF_SIZE >= 2 * (PORTD_REPLY_MAX + 64),
	       "room for the answers, unparsed");

/* Writes what is kept of a flow: 0 all, 1 the other side is full, -errno. */
static int write_kept(struct forward *f, struct forward_conn *c, int side)
{
	struct forward_flow *flow = &c->flow[side];
	const uint8_t *buf = buf_of(f, c, side);
	ssize_t n;

	while (flow->len > 0) {
		n = send(c->fd[!side], buf + flow->at, flow->len,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		/* ENOTCONN: the kernel's vsock is still connecting. */
		if (n < 0 && (errno == EAGAIN || (errno == ENOTCONN &&
						  c->state == FORWARD_OPENING)))
			return 1;
		if (n < 0)
			return -errno;
		flow->at += (uint32_t)n;
		flow->len -= (uint32_t)n;
	}
	flow->at = 0;
	return 0;
}

/* Moves one flow on. *ret_more: it stopped because of its share. */
static int move(struct forward *f, struct forward_conn *c, int side,
		bool *ret_more)
{
	struct forward_flow *flow = &c->flow[side];
	int turn, err;
	ssize_t n;

	for (turn = 0; turn < PORTD_TURN_BUFS; turn++) {
		err = write_kept(f, c, side);
		if (err)
			return err < 0 ? err : 0;
		/* What the client writes waits in its socket until the agent
		 * has answered. */
		if (c->state != FORWARD_STREAM)
			return 0;
		if (flow->ended && !flow->passed_on) {
			flow->passed_on = true;
			shutdown(c->fd[!side], SHUT_WR);
		}
		if (flow->ended || !flow->readable)
			return 0;
		n = recv(c->fd[side], buf_of(f, c, side), PORTD_BUF_SIZE,
			 MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN)
			return -errno;
		if (n < 0)
			flow->readable = false;
		else if (n == 0)
			flow->ended = true;
		else
			flow->len = (uint32_t)n;
	}
	*ret_more = true;
	return 0;
}

/* The VM has ended its direction, and all of it has been delivered. */
static bool vm_is_done(const struct forward_conn *c)
{
	return c->state == FORWARD_STREAM && c->flow[SIDE_VM].passed_on;
}

static void conn_run(struct forward *f, struct forward_conn *c)
{
	bool more = false;
	int err = 0, err2;

	if (c->state == FORWARD_DIAL) {
		err = dial(f, c);
		if (err == -EAGAIN)
			return; /* the timer comes back to it */
	}
	if (err == 0 && c->state == FORWARD_OPENING)
		err = f->carrier.kind == FORWARD_TCP ? await_tcp(f, c)
						     : read_opening(f, c);
	if (err < 0) {
		conn_abort(f, c);
		return;
	}
	/* Both flows get their chance before an error of one ends both: the
	 * guest's last words reach a client that is still writing. */
	err2 = c->state == FORWARD_STREAM ? move(f, c, SIDE_VM, &more) : 0;
	err = move(f, c, SIDE_TCP, &more);
	if (err2 < 0) {
		conn_abort(f, c);
	} else if (err < 0) {
		/* The guest takes no more. If it has also ended, this is
		 * an ordinary close whose other half is still on its way. */
		if (vm_is_done(c))
			conn_close(f, c);
		else if (c->flow[SIDE_VM].len == 0)
			conn_abort(f, c);
		else
			c->flow[SIDE_TCP] = (struct forward_flow){
				.ended = true, .passed_on = true};
	} else if (c->flow[SIDE_TCP].passed_on && c->flow[SIDE_VM].passed_on) {
		conn_close(f, c);
	} else {
		if (c->vm_hung && vm_is_done(c) && !c->deadline)
			c->deadline = now_ms() + PORTD_LINGER_MS;
		if (more)
			queue(f, c);
	}
}

static void on_conn_event(struct forward *f, const struct epoll_event *ev)
{
	size_t slot = (ev->data.u64 >> 1) & 0x7fffff;
	int side = ev->data.u64 & 1;
	struct forward_conn *c = &f->conn[slot];

	/* An event of this turn for a connection that has just ended. */
	if (c->state == FORWARD_FREE || c->serial != ev->data.u64 >> 24)
		return;
	if (ev->events & ~(uint32_t)EPOLLOUT)
		c->flow[side].readable = true;
	if (side == SIDE_TCP && c->state != FORWARD_STREAM &&
	    (ev->events & (EPOLLHUP | EPOLLERR))) {
		conn_abort(f, c);
		return;
	}
	if (side == SIDE_VM && (ev->events & EPOLLHUP))
		c->vm_hung = true;
	queue(f, c);
}

int forward_init(struct forward *f, const struct forward_carrier *carrier,
		 const struct forward_port *ports, size_t n_ports,
		 struct err *e)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};
	size_t i;

	memset(f, 0, sizeof(*f));
	f->carrier = *carrier;
	f->n_ports = n_ports;
	for (i = 0; i < PORTD_CONNS_MAX; i++)
		f->conn[i].fd[0] = f->conn[i].fd[1] = -1;
	f->bufs = mmap(NULL,
		       (size_t)PORTD_CONNS_MAX * SIDE_COUNT * PORTD_BUF_SIZE,
		       PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (f->bufs == MAP_FAILED || f->epoll_fd < 0)
		return err_sys(e, errno, "start");
	(void)madvise(f->bufs,
		      (size_t)PORTD_CONNS_MAX * SIDE_COUNT * PORTD_BUF_SIZE,
		      MADV_NOHUGEPAGE);
	for (i = 0; i < n_ports; i++) {
		f->port[i] = ports[i];
		ev.data.u64 = EVENT_LISTEN | i;
		if (epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, ports[i].listen_fd,
			      &ev) < 0)
			return err_sys(e, errno, "watch descriptor %d",
				       ports[i].listen_fd);
	}
	return 0;
}

void forward_done(struct forward *f)
{
	size_t i;

	for (i = 0; i < PORTD_CONNS_MAX; i++)
		if (f->conn[i].state != FORWARD_FREE)
			conn_abort(f, &f->conn[i]);
	cleanup_close(&f->epoll_fd);
	munmap(f->bufs, (size_t)PORTD_CONNS_MAX * SIDE_COUNT * PORTD_BUF_SIZE);
}

/* Ends what is over its time and says when to look again: -1: never. */
static int expire(struct forward *f)
{
	struct forward_conn *c;
	uint64_t now;
	int next = -1;

	if (f->used == 0)
		return -1;
	now = now_ms();
	for (c = f->conn; c < f->conn + PORTD_CONNS_MAX; c++) {
		if (c->state == FORWARD_FREE || !c->deadline)
			continue;
		if (now >= c->deadline) {
			if (vm_is_done(c))
				conn_close(f, c);
			else
				conn_abort(f, c);
			continue;
		}
		if (c->state == FORWARD_DIAL) {
			queue(f, c);
			next = PORTD_RETRY_MS;
		} else if (next < 0) {
			next = 1000;
		}
	}
	return next;
}

/* The share of one turn of every connection that has something to do. */
static void run_ready(struct forward *f)
{
	size_t n = f->ready_len;
	struct forward_conn *c;

	while (n-- > 0) {
		c = &f->conn[f->ready[f->ready_at]];
		f->ready_at = (f->ready_at + 1) % PORTD_CONNS_MAX;
		f->ready_len--;
		c->queued = false;
		if (c->state != FORWARD_FREE)
			conn_run(f, c);
	}
}

int forward_turn(struct forward *f, int max_ms, struct err *e)
{
	struct epoll_event ev[64];
	int i, n, timeout;

	timeout = f->ready_len > 0 ? 0 : expire(f);
	if (max_ms >= 0 && (timeout < 0 || timeout > max_ms))
		timeout = max_ms;
	n = epoll_wait(f->epoll_fd, ev, ARRAY_SIZE(ev), timeout);
	if (n < 0 && errno != EINTR)
		return err_sys(e, errno, "wait for events");
	for (i = 0; i < n; i++) {
		if (ev[i].data.u64 & EVENT_LISTEN)
			f->waiting = true;
		else
			on_conn_event(f, &ev[i]);
	}
	run_ready(f);
	if (f->waiting && f->used < PORTD_CONNS_MAX) {
		f->waiting = false;
		for (i = 0; i < (int)f->n_ports; i++)
			accept_clients(f, &f->port[i]);
	}
	return 0;
}
