/* SPDX-License-Identifier: Apache-2.0 */
/* hyb port-forward: connections, half-closes, many at once, its end; relay. */
#include "tests/unit/cli_fake.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>

#include "host-agent/cli/relay.h"

/* The guest's end: what comes is sent back, until the end of file; then "bye".
 */
static void *echo(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char data[4096];
	ssize_t n;

	while ((n = read(fd, data, sizeof(data))) > 0)
		if (write_full(fd, data, (size_t)n) < 0)
			break;
	write_full(fd, "bye", 3);
	close(fd);
	return NULL;
}

static bool answer_forward(struct vl_conn *c, const struct vl_call *call)
{
	json_t *port = json_object_get(call->parameters, "port");
	pthread_t t;
	int p[2];

	if (json_integer_value(port) == 81) {
		fake_send(c,
			  "{\"error\":\"io.hyb.Host.Failed\",\"message\":"
			  "\"port 81: Connection refused\",\"hint\":\"\"}",
			  false, NULL, 0);
		return true;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0 ||
	    pthread_create(&t, NULL, echo, (void *)(intptr_t)p[0]) != 0)
		abort();
	pthread_detach(t);
	fake_send(c, "{}", false, &p[1], 1);
	close(p[1]);
	return true;
}

static const struct answer answers[] = {
	{.method = "VmList", .replies = {"{\"rows\":[]}"}},
	{.method = "Forward", .answer = answer_forward},
	{0}};

static int setup(void **state)
{
	(void)state;
	fake_start(answers);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_stop();
	return 0;
}

/* The local port that it says it listens on. */
static int start_forward(struct hyb *h, const char *mapping)
{
	char line[128] = "", *colon;
	size_t n = 0;

	hyb_start_fds(h, -1, -1, -1, WORDS("port-forward", "s/v", mapping));
	while (n < sizeof(line) - 1 && !strchr(line, '\n')) {
		if (fd_wait(h->out, POLLIN, now_ms() + 60000) < 0 ||
		    read(h->out, line + n, 1) != 1)
			fail_msg("it does not listen: '%s'", line);
		n++;
	}
	assert_memory_equal(line, "127.0.0.1:", 10);
	colon = strchr(line, ':');
	return atoi(colon + 1);
}

static int dial(int port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		fail_msg("connect to port %d: %s", port, strerror(errno));
	return fd;
}

#define MANY 12
#define SIZE ((size_t)200000)

static void *feed(void *arg)
{
	int fd = (int)(intptr_t)arg;
	static char block[SIZE];

	write_full(fd, block, sizeof(block));
	shutdown(fd, SHUT_WR);
	return NULL;
}

static void test_forward(void **state)
{
	pthread_t t[MANY];
	int port, fds[MANY], i;
	size_t len;
	struct hyb h;
	struct ran r;
	char *got;

	(void)state;
	port = start_forward(&h, "0:80");
	for (i = 0; i < MANY; i++) {
		fds[i] = dial(port);
		assert_int_equal(pthread_create(&t[i], NULL, feed,
						(void *)(intptr_t)fds[i]),
				 0);
	}
	for (i = 0; i < MANY; i++) {
		got = read_all(dup(fds[i]), &len);
		assert_int_equal(len, SIZE + 3);
		assert_string_equal(got + SIZE, "bye");
		free(got);
		pthread_join(t[i], NULL);
		close(fds[i]);
	}
	kill(h.pid, SIGINT);
	r = hyb_wait(&h);
	assert_int_equal(r.status, 0);
	assert_string_equal(r.err, "");
	ran_done(&r);
	assert_string_equal(fake_call(1),
			    "Forward {\"name\":\"s/v\",\"port\":80}");
}

static void test_refused(void **state)
{
	struct hyb h;
	struct ran r;
	int fd;
	char c;

	(void)state;
	fd = dial(start_forward(&h, "0:81"));
	assert_int_equal(read_full(fd, &c, 1), 0);
	close(fd);
	kill(h.pid, SIGTERM);
	r = hyb_wait(&h);
	assert_int_equal(r.status, 0);
	assert_string_equal(r.err, "hyb: port-forward 's/v' port 81: port 81: "
				   "Connection refused\n");
	ran_done(&r);
}

static void test_usage(void **state)
{
	static const char *const bad[] = {
		"80",  ":80",	"80:",	 "0:0",	  "80:0",  "1:65536",
		"a:b", "1:2:3", "-1:80", "1:+80", " 1:80", "123456:80"};
	struct sockaddr_in sa = {.sin_family = AF_INET};
	socklen_t len = sizeof(sa);
	char mapping[32];
	struct ran r;
	size_t i;
	int fd;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		r = HYB("port-forward", "--", "s/v", bad[i]);
		assert_int_equal(r.status, CLI_USAGE);
		ran_done(&r);
	}
	r = HYB("port-forward", "--address", "localhost", "s/v", "0:80");
	assert_int_equal(r.status, CLI_USAGE);
	ran_done(&r);
	/* A port in use. */
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
	snprintf(mapping, sizeof(mapping), "%u:80", ntohs(sa.sin_port));
	r = HYB("port-forward", "s/v", mapping);
	assert_int_equal(r.status, CLI_FAILED);
	assert_non_null(strstr(r.err, "Address already in use\nhint: "));
	ran_done(&r);
	close(fd);
}

struct relay_args {
	int a, b;
};

static void *run_relay(void *arg)
{
	const struct relay_args *x = arg;

	relay_run(x->a, x->b);
	return NULL;
}

/* One direction ends; the other goes on; then it is over. */
static void test_relay(void **state)
{
	struct relay_args x;
	pthread_t t;
	int a[2], b[2];
	char c;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, a), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, b), 0);
	x = (struct relay_args){a[1], b[1]};
	assert_int_equal(pthread_create(&t, NULL, run_relay, &x), 0);
	shutdown(a[0], SHUT_WR);
	assert_int_equal(read(b[0], &c, 1), 0);
	assert_int_equal(write(b[0], "z", 1), 1);
	assert_int_equal(read(a[0], &c, 1), 1);
	assert_int_equal(c, 'z');
	close(b[0]);
	pthread_join(t, NULL);
	close(a[0]);
	close(a[1]);
	close(b[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_forward),
		T(test_refused),
		T(test_usage),
		cmocka_unit_test(test_relay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
