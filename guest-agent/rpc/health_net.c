/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A check that is a connection in the containers' network namespace: with tcp
 * it is enough that it is taken, with http a GET must be answered with a status
 * of 200 to 399. Of the answer no more than AGENT_CHECK_TEXT bytes are read.
 */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

static void on_socket(struct watch *w, uint32_t events);

int http_status(const char *text, size_t len)
{
	/* "HTTP/1.1 200" and what ends the number */
	static const char head[] = "HTTP/1.";
	const size_t n = sizeof(head) - 1;
	size_t i;

	if (memcmp(text, head, len < n ? len : n) != 0)
		return -EPROTO;
	if (len < n + 6)
		return memchr(text, '\n', len) ? -EPROTO : -EAGAIN;
	if ((text[n] != '0' && text[n] != '1') || text[n + 1] != ' ' ||
	    (text[n + 5] != ' ' && text[n + 5] != '\r' && text[n + 5] != '\n'))
		return -EPROTO;
	for (i = n + 2; i < n + 5; i++)
		if (text[i] < '0' || text[i] > '9')
			return -EPROTO;
	return (text[n + 2] - '0') * 100 + (text[n + 3] - '0') * 10 +
	       (text[n + 4] - '0');
}

static void net_close(struct check *c)
{
	poller_close(&c->agent->poller, &c->watch);
	c->connecting = false;
}

static void net_done(struct check *c)
{
	net_close(c);
	check_over(c);
}

/* Of an answer only the body is kept to be shown. */
static void keep_body(struct check *c)
{
	struct check_result *r = &c->now;
	const char *end = memmem(r->text, r->len, "\r\n\r\n", 4);
	size_t skip = end ? (size_t)(end - r->text) + 4 : r->len;

	memmove(r->text, r->text + skip, r->len - skip);
	r->len -= skip;
}

/* The answer, as far as it has come. final: no more will. */
static void http_look(struct check *c, bool final)
{
	int status = http_status(c->now.text, c->now.len);

	if (status == -EAGAIN && !final)
		return;
	if (status == -EAGAIN || status == -EPROTO) {
		check_result(c, false, "port %u: %s", c->spec.port,
			     c->now.len ? "the answer is not HTTP"
					: "closed without an answer");
		net_done(c);
		return;
	}
	if (status >= 200 && status < 400) {
		c->now.len = 0;
		check_result(c, true, NULL);
		net_done(c);
		return;
	}
	/* What it says may tell why. */
	if (!final && c->now.len < sizeof(c->now.text))
		return;
	keep_body(c);
	check_result(c, false, "HTTP status %d", status);
	net_done(c);
}

static void http_read(struct check *c)
{
	char buf[AGENT_CHECK_TEXT];
	ssize_t n;

	do {
		n = recv(c->watch.fd, buf, sizeof(buf) - c->now.len,
			 MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n > 0)
		check_add_text(c, buf, (size_t)n);
	http_look(c, n <= 0);
}

static int http_send(struct check *c, struct err *e)
{
	char request[AGENT_CHECK_PATH_MAX + 160];
	int n;

	n = snprintf(request, sizeof(request),
		     "GET %s HTTP/1.1\r\nHost: localhost:%u\r\n"
		     "User-Agent: hyb-agent\r\nAccept: */*\r\n"
		     "Connection: close\r\n\r\n",
		     c->spec.path, c->spec.port);
	/* Less than a fresh connection's buffer. */
	if (send(c->watch.fd, request, (size_t)n,
		 MSG_DONTWAIT | MSG_NOSIGNAL) != n)
		return err_set(e, EPIPE, "port %u: the request is not taken",
			       c->spec.port);
	return poller_watch(&c->agent->poller, &c->watch, EPOLLIN);
}

/* -------------------------------------------------------------- connecting */

static int net_connect(struct check *c, struct err *e)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET,
				  .sin_port = htons(c->spec.port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
				   .sin6_port = htons(c->spec.port),
				   .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	const struct sockaddr *addr = c->v6 ? (const struct sockaddr *)&in6
					    : (const struct sockaddr *)&in4;
	int fd, r;

	fd = forward_socket(c->agent, c->v6 ? AF_INET6 : AF_INET, e);
	if (fd < 0)
		return fd;
	poller_close(&c->agent->poller, &c->watch);
	c->watch = (struct watch){.fd = fd, .fn = on_socket};
	c->connecting = true;
	if (connect(fd, addr, c->v6 ? sizeof(in6) : sizeof(in4)) < 0 &&
	    errno != EINPROGRESS)
		return err_sys(e, errno, "port %u", c->spec.port);
	r = poller_watch(&c->agent->poller, &c->watch, EPOLLOUT);
	return r < 0 ? err_sys(e, -r, "epoll") : 0;
}

/* The other address, or else the reason that the first one gave. */
static int net_next(struct check *c, int error, struct err *e)
{
	if (!c->v6) {
		c->v6 = true;
		c->error = error;
		if (net_connect(c, e) == 0)
			return 0;
	}
	net_close(c);
	return err_set(e, c->error, "port %u: %s", c->spec.port,
		       strerror(c->error));
}

static void on_connected(struct check *c)
{
	struct err e = ERR_INIT;
	socklen_t len = sizeof(int);
	int error = 0, r = 0;

	getsockopt(c->watch.fd, SOL_SOCKET, SO_ERROR, &error, &len);
	if (error != 0) {
		r = net_next(c, error, &e);
		if (r == 0)
			return;
	}
	c->connecting = false;
	if (r == 0 && c->spec.how == CHECK_HTTP)
		r = http_send(c, &e);
	if (r == 0 && c->spec.how == CHECK_HTTP)
		return;
	if (r < 0)
		check_result(c, false, "%s", e.msg);
	else
		check_result(c, true, NULL);
	net_done(c);
}

static void on_socket(struct watch *w, uint32_t events)
{
	struct check *c = container_of(w, struct check, watch);

	(void)events;
	if (c->connecting)
		on_connected(c);
	else
		http_read(c);
}

int check_net_begin(struct check *c, struct err *e)
{
	int r;

	c->v6 = false;
	c->error = 0;
	r = net_connect(c, e);
	return r < 0 ? net_next(c, -r, e) : 0;
}

void check_net_timeout(struct check *c)
{
	/* With a status that is bad enough only its body was waited for. */
	if (!c->connecting && http_status(c->now.text, c->now.len) >= 0) {
		http_look(c, true);
		return;
	}
	check_result(c, false, "port %u: %s within %llu ms", c->spec.port,
		     c->connecting ? "not connected" : "no answer",
		     (unsigned long long)c->spec.timeout_ms);
	net_done(c);
}

void check_net_abort(struct check *c)
{
	net_close(c);
}
