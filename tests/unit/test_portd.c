/* SPDX-License-Identifier: Apache-2.0 */
/* hyb-portd's connections against a device and an agent played by the test. */
#include "host-agent/portd/forward.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#define GOOD "{\"parameters\":{}}"

static struct forward forward;
static char sock_path[64];
static int device_fd;
static struct sockaddr_in tcp_addr, guest_addr;
static atomic_bool stop;
static pthread_t thread;
static int tcp_listener;

static void *loop(void *arg)
{
	struct err e = ERR_INIT;

	(void)arg;
	while (!atomic_load(&stop))
		if (forward_turn(&forward, 20, &e) < 0)
			abort();
	return NULL;
}

static int tcp_listen(struct sockaddr_in *ret)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(*ret);

	*ret = (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (struct sockaddr *)ret, sizeof(*ret)), 0);
	assert_int_equal(listen(fd, 512), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret, &len), 0);
	return fd;
}

static int begin(const struct forward_carrier *carrier, uint16_t guest_port)
{
	struct forward_port port = {.guest_port = guest_port};
	struct err e = ERR_INIT;

	tcp_listener = tcp_listen(&tcp_addr);
	fd_set_nonblock(tcp_listener, true);
	port.listen_fd = tcp_listener;
	assert_int_equal(forward_init(&forward, carrier, &port, 1, &e), 0);
	atomic_store(&stop, false);
	assert_int_equal(pthread_create(&thread, NULL, loop, NULL), 0);
	return 0;
}

static int setup(void **state)
{
	struct forward_carrier carrier = {.agent_port = 1024};
	struct err e = ERR_INIT;

	(void)state;
	snprintf(sock_path, sizeof(sock_path), "/tmp/hyb-portd-%d.sock",
		 getpid());
	device_fd = unix_listen(sock_path, 0600, 16, &e);
	assert_true(device_fd >= 0);
	memcpy(carrier.path, sock_path, sizeof(sock_path));
	return begin(&carrier, 80);
}

/* A VM without an agent, at an address: device_fd is its listener. */
static int setup_address(void **state)
{
	struct forward_carrier carrier = {.kind = FORWARD_TCP,
					  .ip.s_addr = htonl(INADDR_LOOPBACK)};
	(void)state;
	device_fd = tcp_listen(&guest_addr);
	return begin(&carrier, ntohs(guest_addr.sin_port));
}

static int teardown(void **state)
{
	(void)state;
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	forward_done(&forward);
	close(tcp_listener);
	close(device_fd);
	if (forward.carrier.kind == FORWARD_UNIX)
		unlink(sock_path);
	return 0;
}

static int tcp_dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(
		connect(fd, (struct sockaddr *)&tcp_addr, sizeof(tcp_addr)), 0);
	return fd;
}

/* The guest's end of the next connection. */
static int guest_accept(void)
{
	int fd;

	assert_int_equal(fd_wait(device_fd, POLLIN, now_ms() + 60000), 0);
	fd = accept(device_fd, NULL, NULL);
	assert_true(fd >= 0);
	return fd;
}

/* The same of a device's, after its CONNECT and call. */
static int device_accept(void)
{
	static const char wanted[] =
		"CONNECT 1024\n{\"method\":\"io.hyb.Agent.Forward\","
		"\"parameters\":{\"port\":80},\"upgrade\":true}";
	char text[sizeof(wanted)];
	int fd = guest_accept();

	assert_int_equal(read_full(fd, text, sizeof(text)), sizeof(text));
	assert_memory_equal(text, wanted, sizeof(text));
	return fd;
}

static void answer(int fd, const char *text, size_t len)
{
	assert_int_equal(write_full(fd, text, len), 0);
}

static void expect(int fd, const char *text)
{
	char got[256];
	size_t len = strlen(text);

	assert_int_equal(fd_wait(fd, POLLIN, now_ms() + 60000), 0);
	assert_int_equal(read_full(fd, got, len), len);
	assert_memory_equal(got, text, len);
}

static void expect_end(int fd)
{
	char c;

	assert_int_equal(fd_wait(fd, POLLIN, now_ms() + 60000), 0);
	assert_int_equal(read(fd, &c, 1), 0);
}

static void expect_reset(int fd)
{
	char c;

	assert_int_equal(fd_wait(fd, POLLIN, now_ms() + 60000), 0);
	assert_int_equal(read(fd, &c, 1), -1);
	assert_int_equal(errno, ECONNRESET);
}

/* The stream's first bytes come behind the reply in the same write; both
 * directions end by half-closes. */
static void test_stream(void **state)
{
	static const char first[] = "OK 5\n" GOOD "\0first";
	int tcp, vm;

	(void)state;
	tcp = tcp_dial();
	answer(tcp, "early", 5);
	vm = device_accept();
	answer(vm, first, sizeof(first) - 1);
	expect(tcp, "first");
	expect(vm, "early");
	answer(vm, "more", 4);
	expect(tcp, "more");
	shutdown(tcp, SHUT_WR);
	expect_end(vm);
	answer(vm, "last", 4);
	close(vm);
	expect(tcp, "last");
	expect_end(tcp);
	close(tcp);
}

/* Byte by byte the answers are understood as well. */
static void test_slow_answer(void **state)
{
	static const char text[] = "OK 123\n" GOOD "\0x";
	int tcp, vm;
	size_t i;

	(void)state;
	tcp = tcp_dial();
	vm = device_accept();
	for (i = 0; i < sizeof(text) - 1; i++) {
		answer(vm, text + i, 1);
		usleep(200);
	}
	expect(tcp, "x");
	close(vm);
	expect_end(tcp);
	close(tcp);
}

static void test_bad_answers(void **state)
{
	static char huge[8192];
	static const struct {
		const char *text;
		size_t len;
	} cases[] = {
		{"", 0},
		{"NO\n", 3},
		{"OK 1", 4},
		{"OK 1\n{", 6},
		{"OK 1\n\0", 6},
		{"OK 1\n[]\0", 8},
		{"OK 1\n{\"error\":\"io.hyb.Agent.Refused\"}\0", 39},
		{"OK 1\n{\"error\":null}\0", 20},
		{"OK 1\n{}{}\0", 10},
		{"OK 1\n\xff\xfe\0", 8},
		{huge, sizeof(huge)},
	};
	size_t i;
	int tcp, vm;

	(void)state;
	memset(huge, 'a', sizeof(huge));
	memcpy(huge, "OK 1\n", 5);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		tcp = tcp_dial();
		vm = device_accept();
		if (cases[i].len)
			answer(vm, cases[i].text, cases[i].len);
		shutdown(vm, SHUT_WR);
		expect_reset(tcp);
		close(vm);
		close(tcp);
	}
}

/* Its reset may be quicker than our connect(). */
static void expect_refusal(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&tcp_addr, sizeof(tcp_addr)) < 0)
		assert_int_equal(errno, ECONNRESET);
	else
		expect_reset(fd);
	close(fd);
}

static void test_client_resets(void **state)
{
	const struct linger l = {.l_onoff = 1};
	int tcp, vm;

	(void)state;
	tcp = tcp_dial();
	vm = device_accept();
	answer(vm, "OK 1\n" GOOD "\0", 6 + strlen(GOOD));
	answer(vm, "x", 1);
	expect(tcp, "x");
	setsockopt(tcp, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(tcp);
	expect_end(vm);
	close(vm);
}

static void *write_much(void *arg)
{
	static char junk[1 << 20];
	int i;

	for (i = 0; i < 32; i++)
		if (write_full(*(int *)arg, junk, sizeof(junk)) < 0)
			break;
	shutdown(*(int *)arg, SHUT_WR);
	return NULL;
}

static size_t read_all(int fd)
{
	static char buf[65536];
	size_t total = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		total += (size_t)n;
	return total;
}

/* Both ways at once, with a reader that begins late; closes both. */
static void exchange_much(int tcp, int vm)
{
	pthread_t a, b;

	pthread_create(&a, NULL, write_much, &tcp);
	pthread_create(&b, NULL, write_much, &vm);
	usleep(50000);
	assert_int_equal(read_all(tcp), 32u << 20);
	assert_int_equal(read_all(vm), 32u << 20);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	close(tcp);
	close(vm);
}

static void test_bulk(void **state)
{
	int tcp, vm;

	(void)state;
	tcp = tcp_dial();
	vm = device_accept();
	answer(vm, "OK 1\n" GOOD "\0", 6 + strlen(GOOD));
	exchange_much(tcp, vm);
}

/* A client says which one it is; the device's end that hears it. The order
 * may change: the device's queue is shorter than the number of clients. */
static int device_accept_id(int *ret_id)
{
	int fd = device_accept();

	answer(fd, "OK 1\n" GOOD "\0", 6 + strlen(GOOD));
	assert_int_equal(fd_wait(fd, POLLIN, now_ms() + 60000), 0);
	assert_int_equal(read_full(fd, ret_id, sizeof(*ret_id)),
			 sizeof(*ret_id));
	return fd;
}

/* More clients than slots: the rest wait and are served when there is room. */
static void test_full(void **state)
{
	enum { EXTRA = 20, N = PORTD_CONNS_MAX + EXTRA };
	static int tcp[N], vm[N];
	struct pollfd p = {.fd = device_fd, .events = POLLIN};
	int i, id, fd;

	(void)state;
	for (i = 0; i < N; i++) {
		tcp[i] = tcp_dial();
		answer(tcp[i], (char *)&i, sizeof(i));
	}
	for (i = 0; i < PORTD_CONNS_MAX; i++) {
		fd = device_accept_id(&id);
		assert_in_range(id, 0, PORTD_CONNS_MAX - 1);
		vm[id] = fd;
	}
	assert_int_equal(poll(&p, 1, 50), 0);
	for (i = 0; i < EXTRA; i++) {
		close(tcp[i]);
		expect_end(vm[i]);
		close(vm[i]);
	}
	for (i = 0; i < EXTRA; i++) {
		fd = device_accept_id(&id);
		assert_in_range(id, PORTD_CONNS_MAX, N - 1);
		vm[id] = fd;
	}
	for (i = EXTRA; i < N; i++) {
		close(tcp[i]);
		close(vm[i]);
	}
}

static void test_no_device(void **state)
{
	(void)state;
	unlink(sock_path);
	expect_refusal();
}

/* Nothing is asked and nothing said: the first byte is the client's, or the
 * guest's. Both directions end by half-closes. */
static void test_address(void **state)
{
	int tcp, vm;

	(void)state;
	tcp = tcp_dial();
	answer(tcp, "early", 5);
	vm = guest_accept();
	expect(vm, "early");
	shutdown(tcp, SHUT_WR);
	expect_end(vm);
	answer(vm, "last", 4);
	close(vm);
	expect(tcp, "last");
	expect_end(tcp);
	close(tcp);
	/* The guest speaks first, and ends first. */
	tcp = tcp_dial();
	vm = guest_accept();
	answer(vm, "220", 3);
	shutdown(vm, SHUT_WR);
	expect(tcp, "220");
	expect_end(tcp);
	answer(tcp, "late", 4);
	close(tcp);
	expect(vm, "late");
	expect_end(vm);
	close(vm);
}

/* Nobody listens in the guest: at once the client is told so. What breaks later
 * is told the same way, in both directions. */
static void test_address_resets(void **state)
{
	const struct linger l = {.l_onoff = 1};
	int tcp, vm;

	(void)state;
	tcp = tcp_dial();
	vm = guest_accept();
	setsockopt(vm, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(vm);
	expect_reset(tcp);
	close(tcp);
	tcp = tcp_dial();
	vm = guest_accept();
	setsockopt(tcp, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(tcp);
	expect_end(vm);
	close(vm);
	/* It listens no more, and nobody else can have the port. */
	shutdown(device_fd, SHUT_RD);
	assert_int_equal(bind(device_fd, (struct sockaddr *)&guest_addr,
			      sizeof(guest_addr)),
			 0);
	expect_refusal();
}

static void test_address_bulk(void **state)
{
	int tcp, vm;

	(void)state;
	tcp = tcp_dial();
	vm = guest_accept();
	exchange_much(tcp, vm);
}

/* A thousand, some of them at once, in fewer slots: none is lost or kept. */
static void test_address_many(void **state)
{
	enum { ROUNDS = 10, N = 100 };
	int tcp[N], vm[N], i, k;

	(void)state;
	for (i = 0; i < ROUNDS; i++) {
		for (k = 0; k < N; k++)
			tcp[k] = tcp_dial();
		for (k = 0; k < N; k++) {
			vm[k] = guest_accept();
			answer(vm[k], "x", 1);
			close(vm[k]);
		}
		for (k = 0; k < N; k++) {
			expect(tcp[k], "x");
			expect_end(tcp[k]);
			close(tcp[k]);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_answer, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_bad_answers, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_client_resets, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_bulk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_device, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_address, setup_address,
						teardown),
		cmocka_unit_test_setup_teardown(test_address_resets,
						setup_address, teardown),
		cmocka_unit_test_setup_teardown(test_address_bulk,
						setup_address, teardown),
		cmocka_unit_test_setup_teardown(test_address_many,
						setup_address, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
