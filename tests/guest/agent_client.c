/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of hyb-agent for tests:
 *
 *   agent_client ADDRESS call METHOD [PARAMETERS]   prints the answer
 *   agent_client ADDRESS events N                   prints N of them
 *   agent_client ADDRESS exec [-i] [-t] ID PROGRAM [ARGUMENT...]
 *   agent_client ADDRESS logs ID [OFFSET [keep]]    output; "keep": no acks
 *   agent_client ADDRESS logcut ID OFFSET N         N bytes, then leaves
 *   agent_client ADDRESS logstat ID                 bytes and seconds
 *   agent_client ADDRESS detach [-t] ID PROGRAM [ARGUMENT...]
 *                                                   leaves after the start
 *   agent_client ADDRESS stall ID SECONDS           reads no output of "yes"
 *   agent_client ADDRESS hold N                     N connections at once
 *   agent_client ADDRESS forward PORT               standard input and output
 *   agent_client ADDRESS ping N                     median of N Hellos, us
 *
 * ADDRESS: unix:PATH, or vsock:PATH (of a hyb-vsockd).
 * Exit status: exec's own; 1 an error answer; 2 anything else.
 */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/logrec.h"
#include "common/base/parse.h"
#include "common/varlink/call.h"
#include "host-agent/guest/vsock.h"

#include <endian.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define CALL_MS 60000
#define BOOT_MS 120000

static const char *address;

static void die(const char *what, const struct err *e)
{
	fprintf(stderr, "agent_client: %s: %s\n", what, e->msg);
	exit(2);
}

static int dial(void)
{
	struct vsock_addr a = {.carrier = VSOCK_UNIX};
	struct err e = ERR_INIT;
	uint64_t deadline = now_ms() + BOOT_MS;
	int fd = -1, r = 0;

	if (strncmp(address, "unix:", 5) == 0) {
		fd = unix_connect(address + 5, &e);
		r = fd;
	} else {
		snprintf(a.path, sizeof(a.path), "%s", address + 6);
		/* Refused while the guest has not come to listen yet. */
		while ((r = vsock_connect(&a, 1024, deadline, &fd, &e)) ==
			       -ECONNREFUSED &&
		       now_ms() < deadline)
			usleep(1000);
	}
	if (r < 0)
		die("connect", &e);
	return fd;
}

/* The reply of a call; exits with 1 when it is an error. */
static void call(struct vl_conn *c, const char *method, json_t *params,
		 unsigned int flags, struct vl_reply *reply)
{
	struct err e = ERR_INIT;
	char name[128];
	int r;

	snprintf(name, sizeof(name), "io.hyb.Agent.%s", method);
	r = vl_call_send(c, name, params, flags, NULL, 0, now_ms() + CALL_MS,
			 &e);
	if (r == 0)
		r = vl_reply_read(c, now_ms() + CALL_MS, reply, &e);
	if (r < 0)
		die(method, &e);
	if (reply->error[0]) {
		char *text = json_dumps(reply->parameters,
					JSON_COMPACT | JSON_SORT_KEYS);

		printf("%s %s\n", strrchr(reply->error, '.') + 1, text);
		exit(1);
	}
}

static void print_reply(const struct vl_reply *reply)
{
	char *text =
		json_dumps(reply->parameters, JSON_COMPACT | JSON_SORT_KEYS);

	puts(text);
	free(text);
}

static int do_call(int argc, char **argv)
{
	struct vl_reply reply = VL_REPLY_INIT;
	struct vl_conn c;
	json_t *params = NULL;

	if (argc > 1) {
		params = json_loads(argv[1], 0, NULL);
		if (!params)
			return 2;
	}
	vl_conn_init(&c, dial(), 0);
	call(&c, argv[0], params, 0, &reply);
	print_reply(&reply);
	return 0;
}

static int do_events(int n)
{
	struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;
	struct vl_conn c;

	vl_conn_init(&c, dial(), 0);
	call(&c, "Events", NULL, VL_MORE, &reply);
	for (;;) {
		print_reply(&reply);
		fflush(stdout);
		if (--n <= 0)
			return 0;
		if (vl_reply_read(&c, now_ms() + CALL_MS, &reply, &e) < 0)
			die("events", &e);
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int do_ping(int n)
{
	struct vl_reply reply = VL_REPLY_INIT;
	uint64_t *t = calloc((size_t)n, sizeof(*t)), at;
	struct vl_conn c;
	int i;

	vl_conn_init(&c, dial(), 0);
	for (i = 0; i < n; i++) {
		at = now_ns();
		call(&c, "Hello", NULL, 0, &reply);
		t[i] = now_ns() - at;
	}
	qsort(t, (size_t)n, sizeof(*t), by_value);
	printf("%llu\n", (unsigned long long)t[n / 2] / 1000);
	return 0;
}

/* ---------------------------------------------------------------- streams */

struct pipe {
	int from, to;
	char buf[65536];
	size_t at, len;
	bool done;
};

/* What came behind an upgrade's reply. */
static void take_leftover(struct vl_conn *c, struct pipe *p)
{
	size_t len;
	const void *data = vl_conn_leftover(c, &len);

	memcpy(p->buf, data ? data : "", len);
	p->len = len;
}

static void pipe_end(struct pipe *p)
{
	p->done = true;
	if (shutdown(p->to, SHUT_WR) < 0 && p->to > STDERR_FILENO)
		close(p->to);
}

/* Reads, or writes what was read: to the guest as much as it takes, since it
 * may wait itself until its output is read. */
static void pipe_turn(struct pipe *p)
{
	ssize_t n;

	if (p->at == p->len) {
		n = read(p->from, p->buf, sizeof(p->buf));
		if (n <= 0) {
			pipe_end(p);
			return;
		}
		p->at = 0;
		p->len = (size_t)n;
	}
	n = send(p->to, p->buf + p->at, p->len - p->at,
		 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0 && errno == ENOTSOCK)
		n = write(p->to, p->buf + p->at, p->len - p->at);
	if (n < 0 && errno != EAGAIN) {
		p->done = true;
		return;
	}
	p->at += n > 0 ? (size_t)n : 0;
}

static void attach(const char *session, const char *stream, struct vl_conn *ret)
{
	struct vl_reply reply = VL_REPLY_INIT;

	vl_conn_init(ret, dial(), 0);
	call(ret, "Attach",
	     json_pack("{s:s,s:s}", "session", session, "stream", stream),
	     VL_UPGRADE, &reply);
}

/* Relays until the outputs (all but the first pipe) have ended. */
static void relay(struct pipe *pipes, size_t n, size_t first_output)
{
	struct pollfd fds[3];
	size_t i, left;

	for (;;) {
		left = 0;
		for (i = 0; i < n; i++) {
			bool full = pipes[i].at < pipes[i].len;

			fds[i] = (struct pollfd){
				.fd = full ? pipes[i].to : pipes[i].from,
				.events = full ? POLLOUT : POLLIN};
			if (pipes[i].done)
				fds[i].fd = -1;
			if (i >= first_output && !pipes[i].done)
				left++;
		}
		if (left == 0)
			return;
		poll(fds, (nfds_t)n, -1);
		for (i = 0; i < n; i++)
			if (fds[i].revents && !pipes[i].done)
				pipe_turn(&pipes[i]);
	}
}

static int read_exit(struct vl_conn *c)
{
	struct err e = ERR_INIT;
	const char *message;
	json_t *msg, *ex;

	if (vl_conn_read(c, now_ms() + CALL_MS, &msg, &e) < 0)
		die("exit", &e);
	ex = json_object_get(msg, "exit");
	message = json_string_value(json_object_get(ex, "message"));
	if (message)
		fprintf(stderr, "%s\n", message);
	if (json_is_true(json_object_get(ex, "oom_killed")))
		fprintf(stderr, "OOM\n");
	return (int)json_integer_value(json_object_get(ex, "code"));
}

struct exec {
	char session[33];
	struct vl_conn c;
	bool in, tty;
};

static void exec_start(struct exec *x, int argc, char **argv)
{
	struct vl_reply reply = VL_REPLY_INIT;
	json_t *args = json_array();
	unsigned char raw[16];
	int i = 0;

	for (; i < argc && argv[i][0] == '-'; i++) {
		x->in |= strcmp(argv[i], "-i") == 0;
		x->tty |= strcmp(argv[i], "-t") == 0;
	}
	if (i + 1 >= argc)
		exit(2);
	random_bytes(raw, sizeof(raw));
	hex_format(raw, sizeof(raw), x->session);
	vl_conn_init(&x->c, dial(), 0);
	for (int j = i + 1; j < argc; j++)
		json_array_append_new(args, json_string(argv[j]));
	call(&x->c, "Exec",
	     json_pack("{s:s,s:s,s:o,s:[],s:s,s:s,s:b,s:i,s:i,s:b}", "session",
		       x->session, "id", argv[i], "args", args, "env", "cwd",
		       "", "user", "", "tty", (int)x->tty, "rows", 24, "cols",
		       80, "stdin", (int)x->in),
	     VL_UPGRADE, &reply);
}

static int do_exec(int argc, char **argv)
{
	static struct pipe pipes[3];
	struct vl_conn streams[3];
	struct exec x = {.in = false};
	size_t n = 0, first;
	int i;

	exec_start(&x, argc, argv);
	if (x.in) {
		attach(x.session, "stdin", &streams[0]);
		pipes[n].from = 0;
		pipes[n++].to = streams[0].fd;
	}
	first = n;
	for (i = 1; i < (x.tty ? 2 : 3); i++) {
		attach(x.session, i == 1 ? "stdout" : "stderr", &streams[i]);
		pipes[n].from = streams[i].fd;
		pipes[n].to = i;
		take_leftover(&streams[i], &pipes[n++]);
	}
	relay(pipes, n, first);
	return read_exit(&x.c);
}

static int do_detach(int argc, char **argv)
{
	struct exec x = {.in = false};

	exec_start(&x, argc, argv);
	return 0;
}

static int do_stall(char *id, int seconds)
{
	char yes[] = "yes", *argv[] = {id, yes};
	struct exec x = {.in = false};
	struct vl_conn out;

	exec_start(&x, 2, argv);
	attach(x.session, "stdout", &out);
	sleep((unsigned int)seconds);
	return 0;
}

static int do_hold(int n)
{
	struct vl_reply reply = VL_REPLY_INIT;
	struct vl_conn c;
	int i;

	for (i = 0; i < n; i++) {
		vl_conn_init(&c, dial(), 0);
		call(&c, "Hello", NULL, 0, &reply);
	}
	printf("%d\n", i);
	return 0;
}

static int do_forward(int port)
{
	static struct pipe pipes[2];
	struct vl_reply reply = VL_REPLY_INIT;
	struct vl_conn c;

	vl_conn_init(&c, dial(), 0);
	call(&c, "Forward", json_pack("{s:i}", "port", port), VL_UPGRADE,
	     &reply);
	pipes[0] = (struct pipe){.from = 0, .to = c.fd};
	pipes[1] = (struct pipe){.from = c.fd, .to = 1};
	take_leftover(&c, &pipes[1]);
	relay(pipes, 2, 1);
	return 0;
}

/* ------------------------------------------------------------------- logs */

static bool take(struct vl_conn *c, void *buf, size_t len)
{
	char *p = buf;
	size_t n = c->in.len < len ? c->in.len : len;

	if (n > 0) {
		memcpy(p, c->in.data, n);
		buf_consume(&c->in, n);
	}
	return n == len ||
	       read_full(c->fd, p + n, len - n) == (ssize_t)(len - n);
}

static int do_logs(const char *id, int64_t offset, bool ack, bool stat,
		   uint64_t max)
{
	static unsigned char payload[LOGREC_LENGTH_MAX];
	unsigned char head[LOGREC_HEADER_SIZE];
	struct vl_reply reply = VL_REPLY_INIT;
	uint64_t next = UINT64_MAX, le, n = 0, began = now_ns();
	struct logrec rec;
	struct vl_conn c;

	vl_conn_init(&c, dial(), 0);
	call(&c, "Logs",
	     json_pack("{s:s,s:I}", "id", id, "offset", (json_int_t)offset),
	     VL_UPGRADE, &reply);
	while ((next == UINT64_MAX || next - (uint64_t)offset < max) &&
	       take(&c, head, sizeof(head))) {
		if (logrec_decode(head, &rec) < 0 ||
		    (next != UINT64_MAX && rec.offset != next) ||
		    !take(&c, payload, rec.length)) {
			fprintf(stderr, "agent_client: broken record\n");
			return 2;
		}
		if (!stat && write_full(rec.stream, payload, rec.length) < 0)
			return 2;
		next = rec.offset + rec.length;
		n++;
		le = htole64(next);
		if (ack && write_full(c.fd, &le, sizeof(le)) < 0)
			return 2;
	}
	if (stat)
		printf("%llu bytes %llu records %.3f s\n",
		       (unsigned long long)(next == UINT64_MAX ? 0 : next),
		       (unsigned long long)n, (double)(now_ns() - began) / 1e9);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 3 ? argv[2] : "";

	signal(SIGPIPE, SIG_IGN);
	if (argc < 4)
		return 2;
	address = argv[1];
	if (strcmp(verb, "call") == 0)
		return do_call(argc - 3, argv + 3);
	if (strcmp(verb, "events") == 0)
		return do_events(atoi(argv[3]));
	if (strcmp(verb, "ping") == 0)
		return do_ping(atoi(argv[3]));
	if (strcmp(verb, "exec") == 0)
		return do_exec(argc - 3, argv + 3);
	if (strcmp(verb, "forward") == 0)
		return do_forward(atoi(argv[3]));
	if (strcmp(verb, "logs") == 0)
		return do_logs(argv[3], argc > 4 ? atoll(argv[4]) : 0,
			       argc <= 5, false, UINT64_MAX);
	if (strcmp(verb, "logcut") == 0 && argc > 5)
		return do_logs(argv[3], atoll(argv[4]), true, false,
			       (uint64_t)atoll(argv[5]));
	if (strcmp(verb, "detach") == 0)
		return do_detach(argc - 3, argv + 3);
	if (strcmp(verb, "stall") == 0 && argc > 4)
		return do_stall(argv[3], atoi(argv[4]));
	if (strcmp(verb, "hold") == 0)
		return do_hold(atoi(argv[3]));
	if (strcmp(verb, "logstat") == 0)
		return do_logs(argv[3], 0, true, true, UINT64_MAX);
	return 2;
}
