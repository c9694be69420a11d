/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/vsockd/conn.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "host-agent/vsockd/iov.h"

#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define SLOT_MASK (VSOCKD_CONNS_MAX - 1u)
#define BUF_MASK  (VSOCKD_BUF_SIZE - 1u)
/* Host ports lie above those that anybody gives a meaning to. */
#define PORT_BIT 0x80000000u

static uint32_t slot_of(const struct conn_table *t, const struct conn *c)
{
	return (uint32_t)(c - t->conn);
}

static uint8_t *buf_of(const struct conn_table *t, const struct conn *c)
{
	return t->bufs + (size_t)slot_of(t, c) * VSOCKD_BUF_SIZE;
}

int conn_table_init(struct conn_table *t, uint64_t guest_cid, int epoll_fd,
		    struct err *e)
{
	size_t i;

	memset(t, 0, sizeof(*t));
	t->guest_cid = guest_cid;
	t->epoll_fd = epoll_fd;
	/* A random start: a guest that remembers connections of a device that
	 * died does not mix them up with new ones. */
	random_bytes(&t->next_port, sizeof(t->next_port));
	for (i = 0; i < VSOCKD_CONNS_MAX; i++)
		t->conn[i].fd = -1;
	t->bufs = mmap(NULL, (size_t)VSOCKD_CONNS_MAX * VSOCKD_BUF_SIZE,
		       PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t->bufs == MAP_FAILED) {
		t->bufs = NULL;
		return err_sys(e, errno, "reserve buffers");
	}
	/* Untouched buffers cost nothing, and must not come 2 MiB a touch. */
	(void)madvise(t->bufs, (size_t)VSOCKD_CONNS_MAX * VSOCKD_BUF_SIZE,
		      MADV_NOHUGEPAGE);
	return 0;
}

static void conn_free(struct conn_table *t, struct conn *c)
{
	bool queued = c->queued;

	cleanup_close(&c->fd);
	if (c->buf_used)
		(void)madvise(buf_of(t, c), VSOCKD_BUF_SIZE, MADV_DONTNEED);
	/* An entry in the ready queue stays, and is skipped there. */
	*c = (struct conn){.fd = -1, .queued = queued};
	t->used--;
}

void conn_table_done(struct conn_table *t)
{
	size_t i;

	for (i = 0; i < VSOCKD_CONNS_MAX; i++)
		if (t->conn[i].state != CONN_FREE)
			conn_free(t, &t->conn[i]);
	if (t->bufs)
		munmap(t->bufs, (size_t)VSOCKD_CONNS_MAX * VSOCKD_BUF_SIZE);
	t->bufs = NULL;
}

static void queue(struct conn_table *t, struct conn *c)
{
	if (c->queued)
		return;
	/* Each slot is in it at most once, so there is room. */
	c->queued = true;
	t->ready[(t->ready_at + t->ready_len++) & SLOT_MASK] =
		(uint8_t)slot_of(t, c);
}

static void queue_reset(struct conn_table *t, uint32_t host_port,
			uint32_t guest_port, uint16_t type)
{
	struct conn_reset *r;

	if (t->reset_len == VSOCKD_RESETS_MAX)
		return;
	r = &t->reset[(t->reset_at + t->reset_len++) & (VSOCKD_RESETS_MAX - 1)];
	*r = (struct conn_reset){
		.host_port = host_port, .guest_port = guest_port, .type = type};
}

static void set_deadline(struct conn_table *t, struct conn *c, uint64_t ms)
{
	c->deadline = now_ms() + ms;
	t->timed = true;
}

/* Ends a connection on both sides at once. */
static void conn_reset(struct conn_table *t, struct conn *c)
{
	queue_reset(t, c->host_port, c->guest_port, PACKET_TYPE_STREAM);
	conn_free(t, c);
}

int conn_add(struct conn_table *t, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP |
					   EPOLLET};
	struct conn *c = NULL;
	size_t i;

	for (i = 0; i < VSOCKD_CONNS_MAX && !c; i++)
		if (t->conn[i].state == CONN_FREE)
			c = &t->conn[i];
	if (!c) {
		close(fd);
		return -EMFILE;
	}
	t->next_port += VSOCKD_CONNS_MAX;
	*c = (struct conn){
		.state = CONN_LINE,
		.fd = fd,
		.host_port = ((t->next_port & ~SLOT_MASK) | PORT_BIT) |
			     slot_of(t, c),
		.queued = c->queued,
	};
	t->used++;
	set_deadline(t, c, VSOCKD_LINE_MS);
	ev.data.u64 = c->host_port;
	if (t->epoll_fd >= 0 &&
	    epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		conn_free(t, c);
		return -EMFILE;
	}
	return 0;
}

/*
 * Reads "CONNECT PORT\n" and not one byte of what a client may have written
 * behind it.
 */
static void read_line(struct conn_table *t, struct conn *c)
{
	char line[VSOCKD_LINE_MAX + 1];
	static const char verb[] = "CONNECT ";
	const char *end;
	uint64_t port;
	ssize_t n;

	n = recv(c->fd, line, VSOCKD_LINE_MAX, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	end = n > 0 ? memchr(line, '\n', (size_t)n) : NULL;
	if (!end) {
		if (n <= 0 || n == VSOCKD_LINE_MAX)
			conn_free(t, c);
		return;
	}
	n = end - line;
	if (recv(c->fd, line, (size_t)n + 1, MSG_DONTWAIT) != n + 1) {
		conn_free(t, c);
		return;
	}
	line[n] = '\0';
	if (strncmp(line, verb, sizeof(verb) - 1) != 0 ||
	    parse_u64(line + sizeof(verb) - 1, 1, UINT32_MAX - 1, &port) < 0) {
		conn_free(t, c);
		return;
	}
	c->guest_port = (uint32_t)port;
	c->state = CONN_HELD;
	c->deadline = 0;
	queue(t, c);
}

/* The client takes no more: what the guest sends is dropped from now on. */
static void stop_client_input(struct conn_table *t, struct conn *c)
{
	c->discard = true;
	c->forwarded += c->buf_len;
	c->buf_at = c->buf_len = 0;
	c->want_shut |= PACKET_SHUT_RCV;
	if (c->hangup && !c->readable)
		c->want_shut = PACKET_SHUT_BOTH;
	queue(t, c);
}

/* Has the guest been told too little of what we have passed on? */
static void consider_credit(struct conn_table *t, struct conn *c)
{
	if (c->forwarded - c->announced >= VSOCKD_BUF_SIZE / 4) {
		c->owe_credit = true;
		queue(t, c);
	}
}

/* What is left to do once all that the guest sent has reached the client. */
static void on_drained(struct conn_table *t, struct conn *c)
{
	if (c->state == CONN_DRAIN)
		conn_free(t, c);
	else if (c->guest_shut & PACKET_SHUT_SEND)
		shutdown(c->fd, SHUT_WR);
}

/* Sends kept bytes to the client, as many as it takes. */
static void flush_buf(struct conn_table *t, struct conn *c)
{
	uint8_t *buf = buf_of(t, c);
	uint32_t part;
	ssize_t n;

	while (c->buf_len > 0) {
		part = VSOCKD_BUF_SIZE - c->buf_at;
		if (part > c->buf_len)
			part = c->buf_len;
		n = send(c->fd, buf + c->buf_at, part,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) {
			stop_client_input(t, c);
			break;
		}
		c->buf_at = (c->buf_at + (uint32_t)n) & BUF_MASK;
		c->buf_len -= (uint32_t)n;
		c->forwarded += (uint32_t)n;
	}
	consider_credit(t, c);
	on_drained(t, c);
}

void conn_on_client(struct conn_table *t, uint32_t host_port, uint32_t events)
{
	struct conn *c = &t->conn[host_port & SLOT_MASK];

	/* An event of this turn for a client that has just been closed. */
	if (c->state == CONN_FREE || c->host_port != host_port || c->fd < 0)
		return;
	if (c->state == CONN_LINE && (events & (EPOLLIN | EPOLLHUP)))
		read_line(t, c);
	if (events & (EPOLLHUP | EPOLLERR)) {
		switch (c->state) {
		case CONN_LINE:
		case CONN_HELD:
		case CONN_REQUEST:
		case CONN_DRAIN:
			/* A late RESPONSE is answered as for a stranger. */
			conn_free(t, c);
			return;
		default:
			break;
		}
	}
	if (c->state == CONN_OPEN &&
	    (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {
		if (events & (EPOLLHUP | EPOLLERR)) {
			c->hangup = true;
			set_deadline(t, c, VSOCKD_ORPHAN_MS);
		}
		c->readable = true;
		queue(t, c);
	}
	if ((c->state == CONN_OPEN || c->state == CONN_DRAIN) &&
	    (events & EPOLLOUT) && c->buf_len > 0)
		flush_buf(t, c);
}

void conn_driver_up(struct conn_table *t, bool up)
{
	t->driver_up = up;
}

void conn_drop_all(struct conn_table *t)
{
	size_t i;

	for (i = 0; i < VSOCKD_CONNS_MAX; i++)
		switch (t->conn[i].state) {
		case CONN_REQUEST:
		case CONN_OPEN:
		case CONN_LINGER:
			conn_free(t, &t->conn[i]);
			break;
		default:
			break;
		}
	t->reset_len = 0;
}

/* Keeps payload from byte `from` of the segments on. There is room: the
 * caller has checked the credit, which is the buffer. */
static void keep(struct conn_table *t, struct conn *c, const struct iovec *iov,
		 size_t n, size_t from, size_t len)
{
	uint32_t end = (c->buf_at + c->buf_len) & BUF_MASK;
	size_t part = VSOCKD_BUF_SIZE - end;

	if (part > len)
		part = len;
	c->buf_used = true;
	iov_read(iov, n, from, buf_of(t, c) + end, part);
	iov_read(iov, n, from + part, buf_of(t, c), len - part);
	c->buf_len += (uint32_t)len;
}

static int on_data(struct conn_table *t, struct conn *c, const struct packet *p,
		   const struct iovec *iov, size_t n)
{
	struct iovec part[VSOCKD_SEGS_MAX];
	struct msghdr msg = {.msg_iov = part};
	ssize_t sent = 0;

	/* forwarded never passes received: buf_len is their difference. */
	if (p->len > VSOCKD_BUF_SIZE - c->buf_len ||
	    (c->guest_shut & PACKET_SHUT_SEND)) {
		conn_reset(t, c);
		return 0;
	}
	if (p->len == 0)
		return 0;
	c->received += p->len;
	if (c->discard) {
		c->forwarded += p->len;
		consider_credit(t, c);
		return 0;
	}
	if (c->buf_len == 0) {
		msg.msg_iovlen = iov_cut(iov, n, 0, p->len, part);
		do {
			sent = sendmsg(c->fd, &msg,
				       MSG_DONTWAIT | MSG_NOSIGNAL);
		} while (sent < 0 && errno == EINTR);
		if (sent < 0 && errno == EFAULT)
			return -EFAULT;
		if (sent < 0 && errno != EAGAIN) {
			c->forwarded += p->len;
			stop_client_input(t, c);
			return 0;
		}
		if (sent < 0)
			sent = 0;
		c->forwarded += (uint32_t)sent;
	}
	if ((size_t)sent < p->len)
		keep(t, c, iov, n, (size_t)sent, p->len - (size_t)sent);
	consider_credit(t, c);
	return 0;
}

static void on_accepted(struct conn_table *t, struct conn *c)
{
	char line[32];
	int n = snprintf(line, sizeof(line), "OK %u\n", c->host_port);

	c->state = CONN_OPEN;
	c->deadline = 0;
	/* Nothing has been written to this socket yet, so it has room. */
	if (send(c->fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) != n) {
		conn_reset(t, c);
		return;
	}
	c->readable = true;
	queue(t, c);
}

/* The guest has ended the stream: its last bytes still reach the client. */
static void drain(struct conn_table *t, struct conn *c)
{
	if (c->state == CONN_LINGER || c->buf_len == 0) {
		conn_free(t, c);
		return;
	}
	c->state = CONN_DRAIN;
	c->deadline = 0;
}

static void on_shutdown(struct conn_table *t, struct conn *c, uint32_t flags)
{
	uint8_t was = c->guest_shut;

	c->guest_shut |= (uint8_t)(flags & PACKET_SHUT_BOTH);
	if (c->guest_shut == PACKET_SHUT_BOTH) {
		queue_reset(t, c->host_port, c->guest_port, PACKET_TYPE_STREAM);
		drain(t, c);
		return;
	}
	if (c->state != CONN_OPEN || c->guest_shut == was)
		return;
	if (c->guest_shut & PACKET_SHUT_RCV) {
		c->readable = false;
		shutdown(c->fd, SHUT_RD);
	}
	if ((c->guest_shut & PACKET_SHUT_SEND) && c->buf_len == 0)
		on_drained(t, c);
}

/*
 * Takes over the credit of a packet. The guest cannot have consumed more than
 * was sent, nor less than it said before: safe because both differences are
 * taken modulo 2^32 from the same `sent`, and sent - peer_fwd never exceeds
 * VSOCKD_CREDIT_MAX.
 */
static bool take_credit(struct conn_table *t, struct conn *c,
			const struct packet *p)
{
	if (c->sent - p->fwd_cnt > c->sent - c->peer_fwd)
		return false;
	if (c->peer_fwd != p->fwd_cnt && c->deadline && c->state == CONN_OPEN)
		set_deadline(t, c, VSOCKD_ORPHAN_MS);
	c->peer_fwd = p->fwd_cnt;
	c->peer_alloc = p->buf_alloc < VSOCKD_CREDIT_MAX ? p->buf_alloc
							 : VSOCKD_CREDIT_MAX;
	return true;
}

static uint32_t credit_of(const struct conn *c)
{
	uint32_t under_way = c->sent - c->peer_fwd;

	/* The guest may have made its buffer smaller. */
	return under_way < c->peer_alloc ? c->peer_alloc - under_way : 0;
}

static struct conn *find(struct conn_table *t, const struct packet *p)
{
	struct conn *c = &t->conn[p->dst_port & SLOT_MASK];

	if (c->host_port != p->dst_port || c->guest_port != p->src_port)
		return NULL;
	return c->state == CONN_REQUEST || c->state == CONN_OPEN ||
			       c->state == CONN_LINGER
		       ? c
		       : NULL;
}

void conn_refuse(struct conn_table *t, const struct packet *p)
{
	/* Never a reset for a reset. */
	if (p->op != PACKET_RST)
		queue_reset(t, p->dst_port, p->src_port, p->type);
}

int conn_on_packet(struct conn_table *t, const struct packet *p,
		   const struct iovec *iov, size_t n)
{
	struct conn *c = find(t, p);

	if (!c) {
		conn_refuse(t, p);
		return 0;
	}
	if (p->op == PACKET_RST) {
		drain(t, c);
		return 0;
	}
	if (!take_credit(t, c, p) ||
	    (c->state == CONN_REQUEST) != (p->op == PACKET_RESPONSE)) {
		conn_reset(t, c);
		return 0;
	}
	switch (p->op) {
	case PACKET_RESPONSE:
		on_accepted(t, c);
		return 0;
	case PACKET_RW:
		queue(t, c);
		return on_data(t, c, p, iov, n);
	case PACKET_SHUTDOWN:
		queue(t, c);
		on_shutdown(t, c, p->flags);
		return 0;
	case PACKET_CREDIT_REQUEST:
		c->owe_credit = true;
		break;
	case PACKET_CREDIT_UPDATE:
		break;
	default: /* INVALID, REQUEST, unknown */
		conn_reset(t, c);
		return 0;
	}
	queue(t, c);
	return 0;
}

bool conn_has_work(const struct conn_table *t)
{
	return t->driver_up && (t->reset_len > 0 || t->ready_len > 0);
}

static ssize_t emit(struct conn_table *t, struct conn *c, uint16_t op,
		    uint32_t flags, uint32_t len, const struct vring_chain *to)
{
	uint8_t raw[PACKET_HEADER_SIZE];
	const struct packet p = {
		.src_cid = PACKET_HOST_CID,
		.dst_cid = t->guest_cid,
		.src_port = c->host_port,
		.dst_port = c->guest_port,
		.len = len,
		.type = PACKET_TYPE_STREAM,
		.op = op,
		.flags = flags,
		.buf_alloc = VSOCKD_BUF_SIZE,
		.fwd_cnt = c->forwarded,
	};

	/* Every packet tells the credit. */
	c->announced = c->forwarded;
	c->owe_credit = false;
	packet_format(&p, raw);
	iov_write(to->iov, to->count, 0, raw, sizeof(raw));
	return PACKET_HEADER_SIZE + (ssize_t)len;
}

/* Reads from the client into the chain: bytes, 0: none now, or -errno. */
static ssize_t receive(struct conn *c, const struct vring_chain *to)
{
	size_t max = to->len - PACKET_HEADER_SIZE;
	struct iovec part[VSOCKD_SEGS_MAX];
	struct msghdr msg = {.msg_iov = part};
	ssize_t n;

	if (max > credit_of(c))
		max = credit_of(c);
	if (max > VSOCKD_PACKET_MAX)
		max = VSOCKD_PACKET_MAX;
	if (max == 0)
		return 0; /* readable stays: more credit continues it */
	msg.msg_iovlen =
		iov_cut(to->iov, to->count, PACKET_HEADER_SIZE, max, part);
	do {
		n = recvmsg(c->fd, &msg, MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	if (n < 0 && errno != EAGAIN)
		return -errno;
	c->readable = false;
	if (n == 0)
		c->want_shut |= PACKET_SHUT_SEND;
	if (c->hangup)
		c->want_shut = PACKET_SHUT_BOTH;
	return 0;
}

/* The client is gone and the guest knows: wait for its RST. */
static void linger(struct conn_table *t, struct conn *c)
{
	cleanup_close(&c->fd);
	c->forwarded += c->buf_len;
	c->buf_at = c->buf_len = 0;
	c->discard = true;
	c->state = CONN_LINGER;
	set_deadline(t, c, VSOCKD_LINGER_MS);
	consider_credit(t, c);
}

/* One packet of an open connection, or 0. */
static ssize_t produce_open(struct conn_table *t, struct conn *c,
			    const struct vring_chain *to)
{
	ssize_t n;

	if (c->readable && !(c->sent_shut & PACKET_SHUT_SEND)) {
		n = receive(c, to);
		if (n == -EFAULT)
			return n;
		if (n < 0) {
			conn_reset(t, c);
			return 0;
		}
		if (n > 0) {
			c->sent += (uint32_t)n;
			/* There may be more; the queue is fair. */
			queue(t, c);
			return emit(t, c, PACKET_RW, 0, (uint32_t)n, to);
		}
	}
	if (c->hangup && !c->readable)
		c->want_shut = PACKET_SHUT_BOTH;
	if (c->want_shut & ~c->sent_shut) {
		c->sent_shut |= c->want_shut;
		n = emit(t, c, PACKET_SHUTDOWN, c->sent_shut, 0, to);
		if (c->sent_shut == PACKET_SHUT_BOTH)
			linger(t, c);
		return n;
	}
	if (c->owe_credit)
		return emit(t, c, PACKET_CREDIT_UPDATE, 0, 0, to);
	return 0;
}

static ssize_t produce_reset(struct conn_table *t, const struct vring_chain *to)
{
	const struct conn_reset *r = &t->reset[t->reset_at];
	uint8_t raw[PACKET_HEADER_SIZE];
	const struct packet p = {
		.src_cid = PACKET_HOST_CID,
		.dst_cid = t->guest_cid,
		.src_port = r->host_port,
		.dst_port = r->guest_port,
		.type = r->type,
		.op = PACKET_RST,
	};

	t->reset_at = (t->reset_at + 1) & (VSOCKD_RESETS_MAX - 1);
	t->reset_len--;
	packet_format(&p, raw);
	iov_write(to->iov, to->count, 0, raw, sizeof(raw));
	return PACKET_HEADER_SIZE;
}

ssize_t conn_produce(struct conn_table *t, const struct vring_chain *to)
{
	struct conn *c;
	ssize_t n = 0;

	if (t->reset_len > 0)
		return produce_reset(t, to);
	while (n == 0 && t->ready_len > 0) {
		c = &t->conn[t->ready[t->ready_at]];
		t->ready_at = (t->ready_at + 1) & SLOT_MASK;
		t->ready_len--;
		c->queued = false;
		switch (c->state) {
		case CONN_HELD:
			n = emit(t, c, PACKET_REQUEST, 0, 0, to);
			c->state = CONN_REQUEST;
			set_deadline(t, c, VSOCKD_REQUEST_MS);
			break;
		case CONN_OPEN:
			n = produce_open(t, c, to);
			break;
		case CONN_LINGER:
			if (c->owe_credit)
				n = emit(t, c, PACKET_CREDIT_UPDATE, 0, 0, to);
			break;
		default:
			break;
		}
	}
	return n;
}

bool conn_expire(struct conn_table *t, uint64_t now)
{
	struct conn *c;

	t->timed = false;
	for (c = t->conn; c < t->conn + VSOCKD_CONNS_MAX; c++) {
		if (c->state == CONN_FREE || c->deadline == 0)
			continue;
		if (c->deadline > now) {
			t->timed = true;
		} else if (c->state == CONN_LINE) {
			conn_free(t, c);
		} else {
			conn_reset(t, c);
		}
	}
	return t->timed;
}
