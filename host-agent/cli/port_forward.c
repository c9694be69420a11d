/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hyb port-forward NAME LOCAL:REMOTE...
 *
 * A thread a connection: it asks hybd for a stream to the port in the VM and
 * copies both ways until both sides have ended.
 */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/relay.h"
#include "host-agent/cli/verbs.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

#define PORTS_MAX	16
#define CONNECTIONS_MAX 128
#define STACK_SIZE	((size_t)256 * 1024)

struct args {
	const char *address;
};

static const struct opt opts[] = {
	{'\0', "address", OPT_STRING, offsetof(struct args, address), "IP",
	 "listen there instead of on 127.0.0.1"},
};

struct mapping {
	uint16_t local, remote; /* local 0: any free port */
	int fd;
};

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

struct connection {
	const struct cli *cli;
	const char *name;
	uint16_t port;
	int fd;
};

static _Atomic int connections;

/* ---------------------------------------------------------------- a listener */

static int parse_mapping(const char *word, struct mapping *m)
{
	char local[8];
	const char *colon = strchr(word, ':');
	uint64_t port;

	if (!colon || colon - word >= (ptrdiff_t)sizeof(local))
		return -EINVAL;
	snprintf(local, sizeof(local), "%.*s", (int)(colon - word), word);
	if (parse_u64(local, 0, 65535, &port) < 0 ||
	    parse_port(colon + 1, &m->remote) < 0)
		return -EINVAL;
	m->local = (uint16_t)port;
	m->fd = -1;
	return 0;
}

static socklen_t make_address(const char *ip, uint16_t port, union address *a)
{
	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, ip, &a->v4.sin_addr) == 1) {
		a->v4.sin_family = AF_INET;
		a->v4.sin_port = htons(port);
		return sizeof(a->v4);
	}
	if (inet_pton(AF_INET6, ip, &a->v6.sin6_addr) == 1) {
		a->v6.sin6_family = AF_INET6;
		a->v6.sin6_port = htons(port);
		return sizeof(a->v6);
	}
	return 0;
}

static int listen_on(const char *ip, struct mapping *m, struct err *e)
{
	_cleanup_close_ int fd = -1;
	union address a;
	socklen_t len = make_address(ip, m->local, &a);
	int on = 1;

	fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
		    0);
	if (fd < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    bind(fd, &a.any, len) < 0 || listen(fd, 128) < 0 ||
	    getsockname(fd, &a.any, &len) < 0) {
		err_sys(e, errno, "listen on %s port %u", ip, m->local);
		if (e->code == EADDRINUSE)
			err_hint(e, "take another LOCAL port, or 0 for any");
		return -e->code;
	}
	/* Where the port is in both structures. */
	m->local = ntohs(a.v4.sin_port);
	m->fd = steal_fd(&fd);
	return 0;
}

/* -------------------------------------------------------------- a connection */

static int open_forward(const struct connection *c, struct err *e)
{
	_cleanup_vl_conn_ struct vl_conn conn = {.fd = -1};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	int fd = -1;

	if (client_open(c->cli, 0, &conn, e))
		return -1;
	if (client_call(
		    &conn, HOST_IFACE "Forward",
		    json_pack("{s:s,s:i}", "name", c->name, "port", c->port),
		    CLI_QUICK_MS, &reply, e))
		return -1;
	if (vl_conn_take_fds(&conn, &fd, 1) != 1)
		err_set(e, EBADMSG, "hybd sent no stream");
	return fd;
}

static void *serve(void *arg)
{
	struct connection *c = arg;
	struct err e = ERR_INIT;
	int fd = open_forward(c, &e);

	if (fd < 0)
		out_note("port-forward '%s' port %u: %s", c->name, c->port,
			 e.msg);
	else
		relay_run(c->fd, fd);
	if (fd >= 0)
		close(fd);
	close(c->fd);
	free(c);
	connections--;
	return NULL;
}

static void accept_one(const struct cli *cli, const char *name,
		       const struct mapping *m)
{
	struct connection *c;
	pthread_attr_t attr;
	pthread_t thread;
	int fd, r = -1;

	fd = accept4(m->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	c = calloc(1, sizeof(*c));
	if (!c || connections >= CONNECTIONS_MAX) {
		out_note("port-forward: too many connections, one was closed");
		free(c);
		close(fd);
		return;
	}
	*c = (struct connection){cli, name, m->remote, fd};
	connections++;
	if (pthread_attr_init(&attr) == 0) {
		pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		pthread_attr_setstacksize(&attr, STACK_SIZE);
		r = pthread_create(&thread, &attr, serve, c);
		pthread_attr_destroy(&attr);
	}
	if (r != 0) {
		connections--;
		close(fd);
		free(c);
	}
}

/* ---------------------------------------------------------------------- verb */

static void loop(const struct cli *cli, const char *name,
		 const struct mapping *maps, int n, int signals)
{
	struct pollfd p[PORTS_MAX + 1];
	int i;

	for (;;) {
		p[0] = (struct pollfd){.fd = signals, .events = POLLIN};
		for (i = 0; i < n; i++)
			p[i + 1] = (struct pollfd){.fd = maps[i].fd,
						   .events = POLLIN};
		if (poll(p, (nfds_t)n + 1, -1) < 0 && errno != EINTR)
			return;
		if (p[0].revents)
			return;
		for (i = 0; i < n; i++)
			if (p[i + 1].revents)
				accept_one(cli, name, &maps[i]);
	}
}

/* Is there such a VM? Better told now than at the first connection. */
static int check_name(const struct cli *cli, const char *name, struct err *e)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;

	return client_one(cli, HOST_IFACE "VmList",
			  json_pack("{s:s}", "name", name), &reply, e);
}

static int forward(struct cli *cli, const char *ip, const char *name,
		   struct mapping *maps, int n, struct err *e)
{
	_cleanup_close_ int signals = -1;
	int i, st;

	st = check_name(cli, name, e);
	if (st)
		return st;
	signals = cli_end_signals();
	if (signals < 0) {
		err_sys(e, errno, "catch signals");
		return CLI_FAILED;
	}
	for (i = 0; i < n; i++)
		if (listen_on(ip, &maps[i], e) < 0)
			return CLI_FAILED;
	for (i = 0; i < n; i++)
		printf("%s%s%s:%u -> %s port %u\n", strchr(ip, ':') ? "[" : "",
		       ip, strchr(ip, ':') ? "]" : "", maps[i].local, name,
		       maps[i].remote);
	fflush(stdout);
	loop(cli, name, maps, n, signals);
	return CLI_DONE;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	const struct args *a = args;
	const char *ip = a->address ? a->address : "127.0.0.1";
	struct mapping maps[PORTS_MAX];
	struct err e = ERR_INIT;
	union address probe;
	char what[320];
	int i, st;

	if (n - 1 > PORTS_MAX)
		return cli_usage("port-forward", "at most %d ports", PORTS_MAX);
	if (make_address(ip, 0, &probe) == 0)
		return cli_usage("port-forward",
				 "--address: '%s' is no IP address", ip);
	for (i = 1; i < n; i++)
		if (parse_mapping(words[i], &maps[i - 1]) < 0)
			return cli_usage("port-forward",
					 "'%s' is not LOCAL:REMOTE, two ports",
					 words[i]);
	st = forward(cli, ip, words[0], maps, n - 1, &e);
	for (i = 0; i < n - 1; i++)
		cleanup_close(&maps[i].fd);
	if (st == CLI_DONE)
		return st;
	snprintf(what, sizeof(what), "port-forward '%.256s'", words[0]);
	return cli_fail(st, what, &e);
}

const struct verb cli_verb_port_forward = {
	.name = "port-forward",
	.words = "NAME LOCAL:REMOTE...",
	.brief = "Carries TCP connections from here to a port in a VM",
	.about = "Over vsock: the VM needs no network. REMOTE is a port on the "
		 "VM's loopback,\nor of one that boots a disk a port at its "
		 "address. LOCAL 0 takes any free port.\nCtrl-C ends it.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 2,
	.max_words = -1,
	.kind = WORDS_NAMES,
	.run = run,
};
