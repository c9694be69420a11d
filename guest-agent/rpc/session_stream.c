/* SPDX-License-Identifier: Apache-2.0 */
/* The streams of sessions: our ends of the process's pipes or terminal, and the
 * connections that they are carried over. */
#include "guest-agent/rpc/session.h"

#include "common/base/cleanup.h"

static bool is_output(const struct session_stream *st)
{
	return st != &st->session->streams[STREAM_STDIN];
}

void stream_end(struct session_stream *st)
{
	struct peer *p = st->peer;

	poller_close(&st->session->agent->poller, &st->watch);
	copy_done(&st->copy);
	st->peer = NULL;
	if (p)
		peer_finish(p);
}

static ssize_t discard_write(void *arg, const void *buf, size_t len)
{
	(void)arg;
	(void)buf;
	return (ssize_t)len;
}

/* As a descriptor; but what a pipe does not have by now will not come. */
static ssize_t output_read(void *arg, void *buf, size_t len)
{
	struct session_stream *st = arg;
	ssize_t n = copy_fd_read(&st->watch.fd, buf, len);

	return n == -EAGAIN && st->session->cut ? 0 : n;
}

static void output_run(struct session_stream *st)
{
	struct peer *p = st->peer;
	uint32_t events = EPOLLIN;

	if (!p && !st->discard) {
		poller_watch(&st->session->agent->poller, &st->watch, 0);
		return;
	}
	switch (copy_run(&st->copy, output_read, st,
			 p ? peer_write : discard_write, p)) {
	case COPY_READ:
		break;
	case COPY_WRITE:
		events = 0;
		break;
	case COPY_DONE:
		stream_end(st);
		return;
	case COPY_BROKEN:
		/* The connection is gone: see stream_gone(). */
		if (p)
			peer_close(p);
		return;
	}
	if (p) {
		p->want_out = events == 0;
		peer_update(p);
	}
	poller_watch(&st->session->agent->poller, &st->watch, events);
}

void input_end(struct session_stream *st)
{
	static const char eot = 4; /* what a terminal takes for the end */

	if (st->session->tty && st->watch.fd >= 0 &&
	    write(st->watch.fd, &eot, 1) < 0 && errno != EAGAIN)
		errno = 0;
	stream_end(st);
}

/* Of a kept session: its host may have been killed, another one will go on. */
static void input_leave(struct session_stream *st)
{
	struct peer *p = st->peer;

	st->session->in_closed = true;
	st->peer = NULL;
	poller_watch(&st->session->agent->poller, &st->watch, 0);
	peer_finish(p);
}

static void input_run(struct session_stream *st)
{
	struct peer *p = st->peer;
	uint32_t events = 0;

	if (!p)
		return;
	switch (copy_run(&st->copy, peer_read, p, copy_fd_write,
			 &st->watch.fd)) {
	case COPY_READ:
		p->want_in = true;
		break;
	case COPY_WRITE:
		p->want_in = false;
		events = EPOLLOUT;
		break;
	case COPY_DONE:
		if (st->session->kept && !st->session->in_eof)
			input_leave(st);
		else
			input_end(st);
		return;
	case COPY_BROKEN:
		stream_end(st);
		return;
	}
	peer_update(p);
	poller_watch(&st->session->agent->poller, &st->watch, events);
}

void stream_run(struct session_stream *st)
{
	struct session *s = st->session;

	if (is_output(st) && s->kept)
		kept_output_run(st);
	else if (st->watch.fd < 0)
		return;
	else if (is_output(st))
		output_run(st);
	else
		input_run(st);
	session_look(s);
}

static void on_stream(struct watch *w, uint32_t events)
{
	(void)events;
	stream_run(container_of(w, struct session_stream, watch));
}

static void stream_readable(struct peer *p)
{
	struct session_stream *st = p->owner;
	char drop[512];
	ssize_t n;

	if (!is_output(st)) {
		stream_run(st);
		return;
	}
	/* The host has nothing to say here. Its end of file may be a half
	 * close; that it does not listen either is seen when writing. */
	n = peer_read(p, drop, sizeof(drop));
	if (n == 0) {
		p->want_in = false;
		peer_update(p);
	} else if (n < 0 && n != -EAGAIN) {
		peer_close(p);
	}
}

static void stream_writable(struct peer *p)
{
	struct session_stream *st = p->owner;

	p->want_out = false;
	stream_run(st);
}

static void stream_gone(struct peer *p)
{
	struct session_stream *st = p->owner;
	struct session *s = st->session;

	st->peer = NULL;
	copy_done(&st->copy);
	if (s->kept) {
		st->attached = false;
		poller_watch(&s->agent->poller, &st->watch, 0);
		if (is_output(st))
			kept_output_run(st);
	} else if (is_output(st)) {
		st->discard = true;
		poller_watch(&s->agent->poller, &st->watch, EPOLLIN);
	} else {
		input_end(st);
	}
	session_look(s);
}

const struct peer_mode session_stream_mode = {
	.readable = stream_readable,
	.writable = stream_writable,
	.gone = stream_gone,
};

void streams_init(struct session *s)
{
	size_t i;

	for (i = 0; i < STREAM_N; i++) {
		s->streams[i].session = s;
		s->streams[i].watch = (struct watch){.fd = -1, .fn = on_stream};
	}
}
