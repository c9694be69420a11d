/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hyb logs NAME...
 *
 * Every container's log comes over a connection of its own as records (see
 * io.hyb.Agent.Logs). Of several containers the record with the earliest time
 * is printed first, as far as they are here: without -f exactly, with -f a
 * stream that is silent is waited for only a moment.
 *
 * One container's log is byte-exact where it does not go to a terminal. With
 * several, every line gets its container's name in front, so a line that is
 * not complete is held back until it is.
 */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/logrec.h"
#include "host-agent/cli/verbs.h"

#include <poll.h>
#include <time.h>

/* A connection to hybd each; a user has 128 of them. */
#define STREAMS_MAX 112
#define SILENT_MS   50
#define RETRY_MS    100
/* How long -f waits for another hybd when one has ended. */
#define REOPEN_MS 30000

struct args {
	bool follow, raw;
	const char *since, *tail;
};

#define AT(m) offsetof(struct args, m)

static const struct opt opts[] = {
	{'f', "follow", OPT_FLAG, AT(follow), NULL, "go on as more is written"},
	{'\0', "since", OPT_STRING, AT(since), "TIME",
	 "from then on: 10m ago (\"10m\") or 2026-01-31T12:00:00Z"},
	{'n', "tail", OPT_STRING, AT(tail), "N", "the last N lines only"},
	{'\0', "raw", OPT_FLAG, AT(raw), NULL,
	 "control characters as they are, on a terminal too"},
	{'\0', "source", OPT_LATER, 0, "LIST", NULL},
};

/* One container's log. */
struct stream {
	struct vl_conn conn;
	const char *word; /* as it is asked for */
	char name[200];
	size_t pos;		     /* of the next record in conn.in */
	uint64_t next;		     /* offset behind the last byte that came */
	bool ended;		     /* the connection */
	bool over;		     /* the log */
	struct logrec_writer out[2]; /* stdout, stderr */
};

struct session {
	const struct cli *cli;
	struct stream *streams;
	size_t n;
	int width; /* of the names in front of lines; 0: none */
	bool follow, escape[2];
};

static int parse_tail(const char *s, int64_t *ret, struct err *e)
{
	uint64_t v;

	*ret = -1;
	if (!s || strcmp(s, "all") == 0)
		return 0;
	if (parse_u64(s, 0, 1000000000, &v) < 0)
		return err_set(e, EINVAL, "--tail: '%s' is no number of lines",
			       s);
	*ret = (int64_t)v;
	return 0;
}

/* ----------------------------------------------------------------- opening */

/* The full names that the words mean, each once. */
static int resolve(const struct cli *cli, int n, char **words, json_t *names,
		   struct err *e)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	json_t *seen = json_object(), *name;
	const json_t *found;
	size_t k;
	int i, st;

	st = client_open(cli, CLIENT_START, &c, e);
	for (i = 0; i < n && st == 0; i++) {
		_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;

		st = client_call(&c, HOST_IFACE "Resolve",
				 json_pack("{s:s}", "name", words[i]),
				 CLI_QUICK_MS, &reply, e);
		if (st)
			break;
		found = json_object_get(reply.parameters, "names");
		json_array_foreach(found, k, name) {
			if (!json_is_string(name) ||
			    json_object_get(seen, json_string_value(name)))
				continue;
			json_object_set_new(seen, json_string_value(name),
					    json_true());
			json_array_append(names, name);
		}
	}
	json_decref(seen);
	return st;
}

/* What is wanted of a log. */
struct range {
	bool follow;
	int64_t since, tail;
};

static int open_stream(const struct cli *cli, unsigned int flags,
		       const struct range *want, struct stream *s,
		       struct err *e)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	uint64_t deadline = now_ms() + CLI_QUICK_MS;
	const char *full;
	int st, r;

	st = client_open(cli, flags, &s->conn, e);
	if (st)
		return st;
	r = vl_call_send(&s->conn, HOST_IFACE "Logs",
			 json_pack("{s:s,s:b,s:I,s:I,s:I}", "name", s->word,
				   "follow", want->follow, "since",
				   (json_int_t)want->since, "tail",
				   (json_int_t)want->tail, "from",
				   (json_int_t)s->next),
			 VL_UPGRADE, NULL, 0, deadline, e);
	if (r == 0)
		r = vl_reply_read(&s->conn, deadline, &reply, e);
	if (r < 0)
		return r == -ETIMEDOUT ? CLI_TIMED_OUT : CLI_UNREACHABLE;
	st = client_status(&reply, e);
	if (st)
		return st;
	full = out_str(reply.parameters, "name");
	text_escape(*full ? full : s->word, s->name, sizeof(s->name));
	return 0;
}

/* hybd has ended in the middle of the log. When another is there the log goes
 * on where it was; none is started, for it may have been ended on purpose. */
static int reopen_stream(const struct session *l, struct stream *s,
			 struct err *e)
{
	const struct timespec step = {.tv_nsec = RETRY_MS * 1000000L};
	const struct range want = {.follow = l->follow, .tail = -1};
	uint64_t deadline = now_ms() + REOPEN_MS;
	int st = CLI_UNREACHABLE;

	while (l->follow && now_ms() < deadline) {
		vl_conn_done(&s->conn);
		s->conn.fd = -1;
		err_clear(e);
		st = open_stream(l->cli, 0, &want, s, e);
		if (st == 0) {
			s->pos = 0;
			s->ended = false;
			return 0;
		}
		if (st != CLI_UNREACHABLE)
			return st;
		nanosleep(&step, NULL);
	}
	err_set(e, ECONNRESET, "hybd has ended, and the log with it");
	err_hint(e, "the containers go on; any other command starts a hybd");
	return st;
}

/* ---------------------------------------------------------------- printing */

/* The stream whose next record is the earliest; NULL: none has one. */
static struct stream *earliest(struct session *l, bool *ret_all_here,
			       struct logrec *rec, struct err *e)
{
	struct stream *best = NULL;
	struct logrec r;
	size_t i;
	int got;

	*ret_all_here = true;
	for (i = 0; i < l->n; i++) {
		struct stream *s = &l->streams[i];

		got = s->over ? 0
			      : logrec_parse(s->conn.in.data + s->pos,
					     s->conn.in.len - s->pos, &r, e);
		if (got < 0) {
			err_wrap(e, "'%s'", s->name);
			return NULL;
		}
		if (got > 0 && r.stream == 0) {
			s->over = true;
			s->pos += r.size;
			got = 0;
		}
		if (got == 0) {
			*ret_all_here &= s->over;
			continue;
		}
		if (!best || r.time < rec->time) {
			best = s;
			*rec = r;
		}
	}
	return best;
}

static int print_record(struct session *l, struct stream *s,
			const struct logrec *r, struct err *e)
{
	int k = r->stream - 1, st;

	st = logrec_write(&s->out[k], l->width ? s->name : NULL, l->width,
			  l->escape[k], r->data, r->length);
	s->pos += r->size;
	s->next = r->offset + r->length;
	if (st < 0)
		return err_sys(e, -st, "write the log");
	return 0;
}

/* Prints what may be printed. */
static int print_ready(struct session *l, bool silent, struct err *e)
{
	struct logrec rec = {.size = 0};
	struct stream *s;
	bool all_here;
	size_t i;

	for (;;) {
		s = earliest(l, &all_here, &rec, e);
		if (!s && e->code)
			return -e->code;
		if (!s || (!all_here && !(l->follow && silent)))
			break;
		if (print_record(l, s, &rec, e) < 0)
			return -e->code;
	}
	for (i = 0; i < l->n; i++) {
		buf_consume(&l->streams[i].conn.in, l->streams[i].pos);
		l->streams[i].pos = 0;
	}
	return 0;
}

static void fill(struct stream *s)
{
	ssize_t n = vl_conn_fill(&s->conn);

	if (n != -EAGAIN && n <= 0)
		s->ended = true;
}

/* A record is at most this long: more is not read before it is printed. */
#define BACKLOG_MAX ((size_t)1 << 18)

/* Waits for more of any stream and takes it. *ret_silent: nothing came. */
static int receive(struct session *l, int timeout, bool *ret_silent,
		   size_t *ret_open, struct err *e)
{
	struct pollfd fds[STREAMS_MAX];
	size_t i, open = 0;
	int n;

	for (i = 0; i < l->n; i++) {
		bool want = !l->streams[i].over && !l->streams[i].ended &&
			    l->streams[i].conn.in.len < BACKLOG_MAX;

		fds[i] =
			(struct pollfd){.fd = want ? l->streams[i].conn.fd : -1,
					.events = POLLIN};
		open += !l->streams[i].over;
	}
	*ret_open = open;
	if (open == 0)
		return 0;
	n = poll(fds, l->n, timeout);
	if (n < 0 && errno != EINTR)
		return err_sys(e, errno, "wait for logs");
	*ret_silent = n == 0;
	for (i = 0; n > 0 && i < l->n; i++)
		if (fds[i].revents)
			fill(&l->streams[i]);
	return 0;
}

static bool any_backlog(const struct session *l)
{
	size_t i;

	for (i = 0; i < l->n; i++)
		if (l->streams[i].conn.in.len >= LOGREC_HEADER)
			return true;
	return false;
}

/* Streams whose connection ended before their log did. */
static int reopen_cut(struct session *l, struct err *e)
{
	struct logrec rec;
	size_t i;
	int st;

	for (i = 0; i < l->n; i++) {
		struct stream *s = &l->streams[i];

		/* What is whole is printed first. */
		if (!s->ended || s->over ||
		    logrec_parse(s->conn.in.data + s->pos,
				 s->conn.in.len - s->pos, &rec, e) != 0)
			continue;
		st = reopen_stream(l, s, e);
		if (st)
			return st;
	}
	return 0;
}

/* All that came has been printed, but for a line without an end. */
static int finish_stream(const struct session *l, struct stream *s,
			 struct err *e)
{
	const char *name = l->width ? s->name : NULL;
	int k, r = 0;

	for (k = 0; k < 2 && r == 0; k++)
		r = logrec_finish(&s->out[k], name, l->width, l->escape[k]);
	return r < 0 ? err_sys(e, -r, "write the log") : 0;
}

/* Prints all streams to their ends. 0 or an exit status. */
static int pump(struct session *l, struct err *e)
{
	bool silent = false;
	size_t open = 1, i;
	int r, st = 0;

	while (open > 0 && st == 0) {
		if (print_ready(l, silent, e) < 0)
			return CLI_FAILED;
		r = logrec_flush();
		if (r < 0) {
			err_sys(e, -r, "write the log");
			return CLI_FAILED;
		}
		st = reopen_cut(l, e);
		if (st == 0 &&
		    receive(l, l->follow && any_backlog(l) ? SILENT_MS : -1,
			    &silent, &open, e) < 0)
			return CLI_FAILED;
	}
	for (i = 0; i < l->n; i++)
		if (finish_stream(l, &l->streams[i], e) < 0)
			return CLI_FAILED;
	r = logrec_flush();
	if (r < 0) {
		err_sys(e, -r, "write the log");
		return CLI_FAILED;
	}
	return st;
}

/* -------------------------------------------------------------------- verb */

static int open_all(struct cli *cli, const struct args *a, const json_t *names,
		    struct session *l, struct err *e)
{
	struct range want = {.follow = a->follow};
	const json_t *name;
	size_t i;
	int st, len;

	if (out_parse_since(a->since, &want.since, e) < 0 ||
	    parse_tail(a->tail, &want.tail, e) < 0)
		return CLI_USAGE;
	json_array_foreach(names, i, name) {
		struct stream *s = &l->streams[i];

		s->conn.fd = -1;
		logrec_writer_init(&s->out[0], STDOUT_FILENO);
		logrec_writer_init(&s->out[1], STDERR_FILENO);
		l->n = i + 1;
		s->word = json_string_value(name);
		st = open_stream(cli, CLIENT_START, &want, s, e);
		if (st)
			return st;
		len = (int)strlen(s->name);
		if (json_array_size(names) > 1 && len > l->width)
			l->width = len;
	}
	return 0;
}

static void close_all(struct session *l)
{
	size_t i;

	for (i = 0; i < l->n; i++) {
		logrec_writer_done(&l->streams[i].out[0]);
		logrec_writer_done(&l->streams[i].out[1]);
		vl_conn_done(&l->streams[i].conn);
	}
	free(l->streams);
}

static int show(struct cli *cli, const struct args *a, const json_t *names,
		struct err *e)
{
	struct session l = {.cli = cli, .follow = a->follow};
	int st;

	if (json_array_size(names) == 0) {
		err_set(e, ENOENT, "no container is meant");
		return CLI_NOT_FOUND;
	}
	if (json_array_size(names) > STREAMS_MAX) {
		err_set(e, E2BIG,
			"%zu containers are meant; at most %d at once",
			json_array_size(names), STREAMS_MAX);
		return CLI_USAGE;
	}
	l.escape[0] = !a->raw && isatty(STDOUT_FILENO);
	l.escape[1] = !a->raw && isatty(STDERR_FILENO);
	l.streams = calloc(json_array_size(names) + 1, sizeof(*l.streams));
	if (!l.streams) {
		err_sys(e, ENOMEM, "show logs");
		return CLI_FAILED;
	}
	st = open_all(cli, a, names, &l, e);
	if (st == 0)
		st = pump(&l, e);
	close_all(&l);
	return st;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	json_t *names = json_array();
	struct err e = ERR_INIT;
	bool whole = n == 1 && strchr(words[0], '/') &&
		     strchr(strchr(words[0], '/') + 1, '/');
	int st = 0;

	/* A full name needs no question first. */
	if (whole)
		json_array_append_new(names, json_string(words[0]));
	else
		st = resolve(cli, n, words, names, &e);
	if (st == 0)
		st = show(cli, args, names, &e);
	if (st)
		cli_fail(st, "logs", &e);
	json_decref(names);
	return st;
}

const struct verb cli_verb_logs = {
	.name = "logs",
	.words = "NAME...",
	.brief = "Shows what containers wrote, byte for byte",
	.about = "What a container wrote to standard error goes to standard "
		 "error. With more than\none container every line begins with "
		 "its name. On a terminal control characters\nare shown as "
		 "\\xNN.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 1,
	.max_words = -1,
	.kind = WORDS_NAMES,
	.run = run,
};
