/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions that go on without a host.
 *
 * Theory of operation
 *
 * A session is kept from its Exec on (`detach`), or from the moment that its
 * host asks to leave ({"detach":true} on control); it stays so. Its outputs go
 * through a ring each:
 *
 *   nobody is attached   what the process writes is read at once, the oldest
 *                        bytes give way; it never waits
 *   a host is attached   it gets what the ring holds from where the last one
 *                        ended, then what comes; a host that does not read
 *                        makes the process wait, as without a ring
 *
 * When the process has ended the session is told of for AGENT_KEPT_STATUS_MS,
 * or until its container is deleted, or another session needs its place.
 */
#include "guest-agent/rpc/session.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/varlink/params.h"

bool session_is_attached(const struct session *s)
{
	return s->control || s->streams[STREAM_STDOUT].peer ||
	       s->streams[STREAM_STDERR].peer;
}

struct session *session_oldest_ended(struct agent *a, const struct slot *slot)
{
	struct session *oldest = NULL;
	size_t i;

	for (i = 0; i < AGENT_SESSIONS_MAX; i++) {
		struct session *s = &a->sessions[i];

		if (s->used && s->kept && s->ended && !session_is_attached(s) &&
		    (!slot || s->slot == slot) &&
		    (!oldest || s->finished_at < oldest->finished_at))
			oldest = s;
	}
	return oldest;
}

static int make_room(struct session *s, struct err *e)
{
	struct agent *a = s->agent;
	struct session *ended;
	size_t i, n = 0;

	if (!s->slot)
		return err_set(e, ENOENT, "the container has been deleted");
	for (i = 0; i < AGENT_SESSIONS_MAX; i++)
		if (a->sessions[i].used && a->sessions[i].kept &&
		    a->sessions[i].slot == s->slot)
			n++;
	if (n < AGENT_KEPT_MAX)
		return 0;
	ended = session_oldest_ended(a, s->slot);
	if (!ended)
		return err_set(e, EUSERS,
			       "%d detached sessions run in the container, "
			       "which is the limit",
			       AGENT_KEPT_MAX);
	session_free(ended);
	return 0;
}

int session_keep(struct session *s, struct err *e)
{
	size_t i;
	int r;

	r = make_room(s, e);
	for (i = STREAM_STDOUT; r == 0 && i < STREAM_N; i++) {
		r = outring_open(&s->streams[i].ring, AGENT_KEPT_BYTES);
		if (r < 0)
			err_sys(e, -r, "keep what it writes");
	}
	if (r < 0) {
		session_unkeep(s);
		return r;
	}
	s->kept = true;
	return 0;
}

void session_unkeep(struct session *s)
{
	size_t i;

	for (i = 0; i < STREAM_N; i++)
		outring_done(&s->streams[i].ring);
	s->kept = false;
}

/* ----------------------------------------------------------------- streams */

/* false: the connection is broken. */
static bool ring_send(struct outring *r, struct peer *p)
{
	const char *data;
	ssize_t n;
	size_t len;

	while ((len = outring_piece(r, &data)) > 0) {
		n = peer_write(p, data, len);
		if (n == -EAGAIN)
			break;
		if (n < 0)
			return false;
		outring_took(r, (size_t)n);
	}
	return true;
}

/* As a session's stream of a pipe: but what a pipe does not have by now will
 * not come. */
static ssize_t kept_read(struct session_stream *st, char *buf, size_t len)
{
	ssize_t n = copy_fd_read(&st->watch.fd, buf, len);

	return n == -EAGAIN && st->session->cut ? 0 : n;
}

/* Reads as much as there is room for and passes it on; false: the connection
 * is broken. */
static bool kept_move(struct session_stream *st)
{
	static char scratch[AGENT_COPY_SIZE];
	size_t moved = 0, room;
	ssize_t n;

	while (!st->peer || ring_send(&st->ring, st->peer)) {
		room = st->peer ? outring_room(&st->ring) : sizeof(scratch);
		if (room > sizeof(scratch))
			room = sizeof(scratch);
		if (st->watch.fd < 0 || room == 0 || moved >= AGENT_COPY_TURN)
			return true;
		n = kept_read(st, scratch, room);
		if (n == -EAGAIN)
			return true;
		if (n <= 0) {
			poller_close(&st->session->agent->poller, &st->watch);
			return true;
		}
		outring_put(&st->ring, scratch, (size_t)n);
		moved += (size_t)n;
	}
	return false;
}

void kept_output_run(struct session_stream *st)
{
	struct poller *poller = &st->session->agent->poller;
	struct peer *p = st->peer;
	bool waits;

	if (!kept_move(st)) {
		peer_close(p);
		return;
	}
	waits = p && outring_waiting(&st->ring) > 0;
	if (p && !waits && st->watch.fd < 0) {
		st->peer = NULL;
		st->attached = false;
		peer_finish(p);
		return;
	}
	if (st->watch.fd >= 0)
		poller_watch(poller, &st->watch,
			     p && outring_room(&st->ring) == 0 ? 0 : EPOLLIN);
	if (p) {
		p->want_out = waits;
		peer_update(p);
	}
}

/* ----------------------------------------------------------------- leaving */

void session_leave(struct session *s)
{
	size_t i;

	for (i = STREAM_STDOUT; s->used && i < STREAM_N; i++) {
		struct session_stream *st = &s->streams[i];
		struct peer *p = st->peer;

		if (st->copy.rest)
			outring_put(&st->ring, st->copy.rest + st->copy.at,
				    st->copy.len - st->copy.at);
		copy_done(&st->copy);
		st->peer = NULL;
		st->attached = false;
		st->discard = false;
		if (p)
			peer_finish(p);
		kept_output_run(st);
	}
}

void session_take_over(struct session *s)
{
	static const char taken[] = "{\"taken\":{}}";
	struct peer *p = s->control;
	size_t i;

	s->control = NULL;
	if (p && buf_append(&p->out, taken, sizeof(taken)) < 0)
		peer_close(p);
	else if (p && peer_flush(p))
		peer_finish(p);
	for (i = 0; i < STREAM_N; i++)
		if (s->streams[i].peer)
			peer_close(s->streams[i].peer);
}

/* ---------------------------------------------------------------- Sessions */

static json_t *session_json(const struct session *s)
{
	const struct session_stream *out = &s->streams[STREAM_STDOUT],
				    *err = &s->streams[STREAM_STDERR];
	struct wire_text text;

	return json_pack(
		"{s:s,s:i,s:b,s:b,s:b,s:b,s:b,s:i,s:i,s:b,s:I,s:I,s:I,s:s}",
		"session", s->id, "pid", s->pid ? (int)pid_inside(s->pid) : 0,
		"tty", (int)s->tty, "stdin", (int)s->in, "attached",
		(int)session_is_attached(s), "detached", (int)s->kept,
		"running", (int)!s->ended, "exit_code",
		s->ended ? s->exit.code : -1, "signal", s->exit.sig,
		"oom_killed", (int)s->exit.oom, "started_at",
		(json_int_t)s->started_at, "finished_at",
		(json_int_t)s->finished_at, "waiting",
		(json_int_t)(outring_waiting(&out->ring) +
			     outring_waiting(&err->ring)),
		"command", wire_text(&text, s->command));
}

int method_sessions(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"id", VL_STRING, 0, 0, AGENT_ID_MAX, false},
	};
	const char *id = NULL;
	struct peer *p = ctx;
	struct slot *slot;
	json_t *list;
	size_t i;
	int r;

	r = vl_params_read(call->parameters, fields, 1, true, &id, NULL, e);
	if (r < 0)
		return r;
	slot = peer_slot(p, id);
	if (!slot)
		return 0;
	list = json_array();
	for (i = 0; i < AGENT_SESSIONS_MAX; i++) {
		const struct session *s = &p->agent->sessions[i];

		if (s->used && s->slot == slot)
			json_array_append_new(list, session_json(s));
	}
	peer_reply(p, json_pack("{s:o}", "sessions", list));
	return 0;
}
