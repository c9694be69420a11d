/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers' output.
 *
 * Theory of operation
 *
 * The container writes into two pipes (or a terminal); the agent reads them
 * into the container's ring as long as there is room, and sends what is in the
 * ring to the reader that the host has opened. Only what the host has
 * acknowledged leaves the ring. A full ring stops the reading, the pipes fill,
 * the container blocks: nothing is lost, and nobody else waits.
 *
 * After the container's end its pipes are read to their end. All its
 * processes have been killed by then; should one hang in the kernel and hold
 * a pipe open, what the pipe has after AGENT_LOG_DRAIN_MS is all.
 */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/varlink/params.h"

#include <endian.h>
#include <fcntl.h>
#include <sys/socket.h>

static void logs_send(struct slot *s);

/* Watches the pipes that may be read now. */
static void watch_taps(struct slot *s)
{
	struct iovec iov[2];
	size_t i;

	for (i = 0; i < 2; i++) {
		struct tap *t = &s->taps[i];
		bool want = t->watch.fd >= 0 && !t->resting &&
			    logring_reserve(&s->ring, t->stream,
					    now_realtime_ns(), iov) > 0;

		poller_watch(&s->agent->poller, &t->watch, want ? EPOLLIN : 0);
	}
}

static void rest_tap(struct slot *s, struct tap *t)
{
	t->resting = true;
	if (!s->rest.armed)
		poller_timer_set(&s->agent->poller, &s->rest,
				 now_ms() + AGENT_LOG_REST_MS);
}

/* One read into the ring: bytes, 0 at the end, -EAGAIN, -ENOSPC. */
static ssize_t tap_read(struct tap *t)
{
	struct slot *s = t->slot;
	uint64_t now = now_realtime_ns();
	struct iovec iov[2];
	size_t room;
	ssize_t n;

	room = logring_reserve(&s->ring, t->stream, now, iov);
	if (room == 0)
		return -ENOSPC;
	do {
		n = readv(t->watch.fd, iov, 2);
	} while (n < 0 && errno == EINTR);
	if (n > 0)
		logring_commit(&s->ring, t->stream, now, (size_t)n);
	if (n >= 0)
		return n;
	/* EIO: the last process has closed the terminal. */
	return errno == EAGAIN ? -EAGAIN : 0;
}

/* Reads what there is, in turns. */
static void tap_drain(struct tap *t)
{
	struct slot *s = t->slot;
	size_t total = 0;
	ssize_t n;

	do {
		n = tap_read(t);
		if (n > 0)
			total += (size_t)n;
	} while (n > AGENT_LOG_REST_LEN && total < AGENT_COPY_TURN);
	if (n == 0 || (n == -EAGAIN && s->cut))
		poller_close(&s->agent->poller, &t->watch);
	else if (n > 0 && n <= AGENT_LOG_REST_LEN && !s->ended)
		rest_tap(s, t);
}

static void on_tap(struct watch *w, uint32_t events)
{
	struct tap *t = container_of(w, struct tap, watch);

	(void)events;
	tap_drain(t);
	logs_send(t->slot);
	watch_taps(t->slot);
}

static void on_rest(struct timer *t)
{
	struct slot *s = container_of(t, struct slot, rest);

	s->taps[0].resting = false;
	s->taps[1].resting = false;
	watch_taps(s);
}

/* Takes what the pipes still have; an empty one has ended. */
static void cut_taps(struct slot *s)
{
	size_t i;

	for (i = 0; i < 2; i++)
		if (s->taps[i].watch.fd >= 0)
			tap_drain(&s->taps[i]);
	logs_send(s);
}

static void on_drain(struct timer *t)
{
	struct slot *s = container_of(t, struct slot, drain);

	s->cut = true;
	cut_taps(s);
	watch_taps(s);
}

static void tap_init(struct slot *s, size_t i, int fd)
{
	s->taps[i] = (struct tap){
		.watch = {.fd = fd, .fn = on_tap},
		.slot = s,
		.stream = i == 0 ? LOGREC_STDOUT : LOGREC_STDERR,
	};
}

int logs_open(struct slot *s, size_t size, int ret_write[2], struct err *e)
{
	int fds[2], i, r;

	tap_init(s, 0, -1);
	tap_init(s, 1, -1);
	s->rest.fn = on_rest;
	s->drain.fn = on_drain;
	r = logring_init(&s->ring, size, AGENT_LOG_JOIN_NS, e);
	if (r < 0)
		return r;
	logring_seek(&s->ring, 0, &s->cursor);
	for (i = 0; i < 2; i++) {
		if (pipe2(fds, O_CLOEXEC) < 0)
			return err_sys(e, errno, "pipe");
		s->taps[i].watch.fd = fds[0];
		ret_write[i] = fds[1];
		r = fd_set_nonblock(fds[0], true);
		if (r < 0)
			return err_sys(e, -r, "pipe");
	}
	return 0;
}

int logs_set_console(struct slot *s, int fd, struct err *e)
{
	int r;

	poller_close(&s->agent->poller, &s->taps[0].watch);
	poller_close(&s->agent->poller, &s->taps[1].watch);
	s->taps[0].watch.fd = fd;
	r = fd_set_nonblock(fd, true);
	return r < 0 ? err_sys(e, -r, "console") : 0;
}

int logs_begin(struct slot *s, struct err *e)
{
	size_t i;
	int r;

	for (i = 0; i < 2; i++) {
		r = poller_watch(&s->agent->poller, &s->taps[i].watch, EPOLLIN);
		if (r < 0)
			return err_sys(e, -r, "watch the output");
	}
	return 0;
}

void logs_ended(struct slot *s)
{
	poller_timer_cancel(&s->agent->poller, &s->rest);
	s->taps[0].resting = false;
	s->taps[1].resting = false;
	poller_timer_set(&s->agent->poller, &s->drain,
			 now_ms() + AGENT_LOG_DRAIN_MS);
	logs_send(s);
	watch_taps(s);
}

void logs_close(struct slot *s)
{
	struct poller *l = &s->agent->poller;

	if (s->reader)
		peer_close(s->reader);
	poller_timer_cancel(l, &s->rest);
	poller_timer_cancel(l, &s->drain);
	poller_close(l, &s->taps[0].watch);
	poller_close(l, &s->taps[1].watch);
	logring_done(&s->ring);
}

/* ----------------------------------------------------------- to the host */

static bool is_complete(const struct slot *s)
{
	return s->ended && s->taps[0].watch.fd < 0 && s->taps[1].watch.fd < 0;
}

bool logs_are_taken(const struct slot *s)
{
	return !s->reader || (is_complete(s) && logring_is_empty(&s->ring));
}

static void logs_send(struct slot *s)
{
	struct peer *p = s->reader;
	struct msghdr msg = {0};
	struct iovec iov[3];
	size_t turn = 0;
	ssize_t n;
	int n_iov;

	if (!p || p->out.len > p->out_at)
		return;
	msg.msg_iov = iov;
	while (turn < AGENT_COPY_TURN &&
	       logring_peek(&s->ring, &s->cursor, iov, &n_iov) > 0) {
		msg.msg_iovlen = (size_t)n_iov;
		n = sendmsg(p->watch.fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			peer_close(p);
			return;
		}
		logring_advance(&s->ring, &s->cursor, (size_t)n);
		turn += (size_t)n;
	}
	p->want_out = !logring_all_sent(&s->ring, &s->cursor);
	/* The end of it; acknowledgements still come. */
	if (!p->want_out && is_complete(s))
		shutdown(p->watch.fd, SHUT_WR);
	peer_update(p);
}

/* The last of the acknowledgements that have come is what counts. */
static int take_ack(struct peer *p, const unsigned char *data, size_t len,
		    uint64_t *ret)
{
	int got = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		p->ack[p->ack_len++] = data[i];
		if (p->ack_len == sizeof(p->ack)) {
			memcpy(ret, p->ack, sizeof(*ret));
			*ret = le64toh(*ret);
			p->ack_len = 0;
			got = 1;
		}
	}
	return got;
}

static void reader_readable(struct peer *p)
{
	struct slot *s = p->owner;
	unsigned char data[1024];
	uint64_t offset;
	ssize_t n;

	n = peer_read(p, data, sizeof(data));
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		peer_close(p);
		return;
	}
	if (!take_ack(p, data, (size_t)n, &offset))
		return;
	if (logring_ack(&s->ring, &s->cursor, offset) < 0) {
		peer_close(p);
		return;
	}
	if (s->cut)
		cut_taps(s);
	watch_taps(s);
	shutdown_look(s->agent);
}

static void reader_writable(struct peer *p)
{
	logs_send(p->owner);
}

static void reader_gone(struct peer *p)
{
	struct slot *s = p->owner;

	if (s->reader == p)
		s->reader = NULL;
}

static const struct peer_mode reader_mode = {
	.readable = reader_readable,
	.writable = reader_writable,
	.gone = reader_gone,
};

struct logs_params {
	const char *id;
	int64_t offset;
};

int method_logs(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"id", VL_STRING, offsetof(struct logs_params, id), 0,
		 AGENT_ID_MAX, false},
		{"offset", VL_INT, offsetof(struct logs_params, offset), 0,
		 INT64_MAX, false},
	};
	struct logs_params q = {0};
	struct logcursor cursor;
	struct peer *p = ctx;
	struct slot *s;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &q, NULL, e);
	if (r < 0)
		return r;
	s = peer_slot(p, q.id);
	if (!s)
		return 0;
	if (logring_seek(&s->ring, (uint64_t)q.offset, &cursor) < 0)
		return err_set(e, EINVAL, "offset: beyond what was written");
	if (s->reader)
		peer_close(s->reader);
	s->cursor = cursor;
	s->reader = p;
	peer_upgrade(p, &reader_mode, s);
	if (!p->used)
		return 0;
	p->want_out = true;
	logs_send(s);
	return 0;
}
