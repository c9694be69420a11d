/* SPDX-License-Identifier: Apache-2.0 */
/* hyb-vsockd's connections: the normal course, every op in every state, and
 * games with credit. */
#include "tests/unit/vsockd_guest.h"

#include "common/base/log.h"

static struct guest g;
static char data[65536];

static int setup(void **state)
{
	(void)state;
	guest_init(&g);
	start_rings(&g, 0, 0);
	offer_rx(&g, 8);
	assert_int_equal(g.last, 0);
	assert_true(g.device.up);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	guest_done(&g);
	return 0;
}

static void expect_op(uint16_t op, struct packet *p)
{
	assert_true(next_packet(&g, p, data, sizeof(data)));
	assert_int_equal(p->op, op);
}

static void expect_nothing(void)
{
	struct packet p;

	assert_false(next_packet(&g, &p, data, sizeof(data)));
}

static void test_whole_life(void **state)
{
	struct packet req, p, q;
	int fd = opened(&g, &req);

	(void)state;
	/* To the guest. */
	assert_int_equal(write(fd, "hello", 5), 5);
	expect_op(PACKET_RW, &p);
	assert_int_equal(p.len, 5);
	assert_memory_equal(data, "hello", 5);
	assert_int_equal(p.buf_alloc, VSOCKD_BUF_SIZE);
	/* From the guest. */
	q = reply_to(&req, PACKET_RW);
	q.len = 5;
	q.fwd_cnt = 5;
	memcpy(g.mem + buf_at(8) + PACKET_HEADER_SIZE, "world", 5);
	send_packet(&g, &q, 5);
	assert_int_equal(read(fd, data, sizeof(data)), 5);
	assert_memory_equal(data, "world", 5);
	/* The client ends its direction. */
	shutdown(fd, SHUT_WR);
	expect_op(PACKET_SHUTDOWN, &p);
	assert_int_equal(p.flags, PACKET_SHUT_SEND);
	assert_int_equal(p.fwd_cnt, 5);
	/* The guest's direction still works, then it closes. */
	send_packet(&g, &q, 5);
	q.op = PACKET_SHUTDOWN;
	q.len = 0;
	q.flags = PACKET_SHUT_BOTH;
	send_packet(&g, &q, 0);
	assert_int_equal(read(fd, data, sizeof(data)), 5);
	assert_int_equal(read(fd, data, sizeof(data)), 0);
	expect_op(PACKET_RST, &p);
	expect_nothing();
	assert_int_equal(g.device.conns.used, 0);
	close(fd);
}

static void test_client_closes(void **state)
{
	struct packet req, p, q;
	int fd = opened(&g, &req);

	(void)state;
	assert_int_equal(write(fd, "bye", 3), 3);
	close(fd);
	expect_op(PACKET_RW, &p);
	assert_memory_equal(data, "bye", 3);
	expect_op(PACKET_SHUTDOWN, &p);
	assert_int_equal(p.flags, PACKET_SHUT_BOTH);
	assert_int_equal(g.device.conns.used, 1);
	q = reply_to(&req, PACKET_RST);
	send_packet(&g, &q, 0);
	assert_int_equal(g.device.conns.used, 0);
	expect_nothing();
}

static void test_guest_half_closes(void **state)
{
	struct packet req, p, q;
	int fd = opened(&g, &req);

	(void)state;
	q = reply_to(&req, PACKET_SHUTDOWN);
	q.flags = PACKET_SHUT_SEND;
	send_packet(&g, &q, 0);
	assert_int_equal(peek(fd), 0);
	assert_int_equal(write(fd, "x", 1), 1);
	expect_op(PACKET_RW, &p);
	/* Data after that is a breach. */
	q.op = PACKET_RW;
	q.len = 1;
	send_packet(&g, &q, 1);
	expect_op(PACKET_RST, &p);
	assert_int_equal(g.device.conns.used, 0);
	close(fd);
	/* The other half: the client's writes fail. */
	fd = opened(&g, &req);
	q = reply_to(&req, PACKET_SHUTDOWN);
	q.flags = PACKET_SHUT_RCV;
	send_packet(&g, &q, 0);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	assert_int_equal(peek(fd), -EAGAIN);
	close(fd);
	expect_op(PACKET_SHUTDOWN, &p);
}

static void test_refused(void **state)
{
	struct packet req, q;
	int fd = requested(&g, &req);

	(void)state;
	q = reply_to(&req, PACKET_RST);
	send_packet(&g, &q, 0);
	assert_int_equal(peek(fd), 0);
	assert_int_equal(g.device.conns.used, 0);
	close(fd);
}

static void test_lines(void **state)
{
	static const char *const bad[] = {
		"CONNECT 0\n",	  "CONNECT 4294967295\n",
		"CONNECT -1\n",	  "CONNECT  1\n",
		"CONNECT 1 \n",	  "connect 1\n",
		"CONNECT\n",	  "\n",
		"CONNECT 1\r\n",  "CONNECT 99999999999999999\n",
		"CONNECT 0x10\n", "GET / HTTP/1.1 and so on and on"};
	struct packet req;
	ssize_t r;
	size_t i;
	int fd;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		fd = client(&g, bad[i]);
		r = peek(fd); /* once: an error is told once */
		if (r != 0 && r != -ECONNRESET)
			fail_msg("'%s': %zd", bad[i], r);
		close(fd);
	}
	turn(&g);
	assert_int_equal(g.device.conns.used, 0);
	expect_nothing();
	/* In parts, and with data behind it. */
	fd = client(&g, "CONN");
	assert_int_equal(g.device.conns.used, 1);
	assert_int_equal(write(fd, "ECT 77\nmore", 11), 11);
	expect_op(PACKET_REQUEST, &req);
	assert_int_equal(req.dst_port, 77);
	expect_nothing();
	struct packet q = reply_to(&req, PACKET_RESPONSE);

	send_packet(&g, &q, 0);
	expect_op(PACKET_RW, &req);
	assert_memory_equal(data, "more", 4);
	close(fd);
}

/* Before the driver is up a client waits; one that goes away leaves nothing. */
static void test_held(void **state)
{
	struct packet req;
	int a, b;

	(void)state;
	stop_ring(&g, RING_TX);
	stop_ring(&g, RING_RX);
	a = client(&g, "CONNECT 5\n");
	b = client(&g, "CONNECT 6\n");
	assert_int_equal(g.device.conns.used, 2);
	close(a);
	turn(&g);
	assert_int_equal(g.device.conns.used, 1);
	start_rings(&g, 0, 0);
	expect_op(PACKET_REQUEST, &req);
	assert_int_equal(req.dst_port, 6);
	expect_nothing();
	close(b);
}

static void test_full(void **state)
{
	int fd[VSOCKD_CONNS_MAX], i, extra;

	(void)state;
	log_init("test", LOG_LEVEL_ERROR);
	for (i = 0; i < VSOCKD_CONNS_MAX; i++) {
		fd[i] = unix_connect(g.path, NULL);
		turn(&g);
	}
	assert_int_equal(g.device.conns.used, VSOCKD_CONNS_MAX);
	extra = unix_connect(g.path, NULL);
	turn(&g);
	assert_int_equal(peek(extra), 0);
	close(extra);
	close(fd[17]);
	turn(&g);
	fd[17] = client(&g, "CONNECT 1\n");
	assert_int_equal(g.device.conns.used, VSOCKD_CONNS_MAX);
	for (i = 0; i < VSOCKD_CONNS_MAX; i++)
		close(fd[i]);
	turn(&g);
	assert_int_equal(g.device.conns.used, 0);
}

/* Deadlines, told an hour's worth of time at once. */
static void test_deadlines(void **state)
{
	struct packet req, p;
	int line = unix_connect(g.path, NULL), fd = requested(&g, &req);

	(void)state;
	assert_int_equal(g.device.conns.used, 2);
	assert_false(conn_expire(&g.device.conns, now_ms() + 3600000));
	assert_int_equal(g.device.conns.used, 0);
	assert_int_equal(peek(line), 0);
	assert_int_equal(peek(fd), 0);
	expect_op(PACKET_RST, &p);
	close(line);
	close(fd);
}

enum outcome { KEPT, RESET, GONE };

static void check_outcome(enum outcome o, int fd, const char *where,
			  unsigned int op)
{
	bool reset = false;
	struct packet p;

	while (next_packet(&g, &p, data, sizeof(data)))
		reset = reset || p.op == PACKET_RST;
	if (reset != (o == RESET) || (g.device.conns.used == 0) != (o != KEPT))
		fail_msg("%s, op %u: %s, %zu connections", where, op,
			 reset ? "reset" : "no reset", g.device.conns.used);
	close(fd);
	conn_drop_all(&g.device.conns);
	turn(&g);
	while (next_packet(&g, &p, data, sizeof(data)))
		;
}

/* Every op in every state. */
static void test_ops(void **state)
{
	static const uint16_t ops[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 255, 65535};
	/* In REQUEST, in OPEN, in LINGER (the client is gone). */
	static const enum outcome wanted[][3] = {
		{RESET, RESET, RESET}, /* INVALID */
		{RESET, RESET, RESET}, /* REQUEST */
		{KEPT, RESET, RESET},  /* RESPONSE */
		{GONE, GONE, GONE},    /* RST */
		{RESET, KEPT, KEPT},   /* SHUTDOWN without flags */
		{RESET, KEPT, KEPT},   /* RW */
		{RESET, KEPT, KEPT},   /* CREDIT_UPDATE */
		{RESET, KEPT, KEPT},   /* CREDIT_REQUEST */
		{RESET, RESET, RESET}, {RESET, RESET, RESET},
		{RESET, RESET, RESET},
	};
	struct packet req, q, p;
	size_t i;
	int fd;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		fd = requested(&g, &req);
		q = reply_to(&req, ops[i]);
		send_packet(&g, &q, 0);
		check_outcome(wanted[i][0], fd, "REQUEST", ops[i]);

		fd = opened(&g, &req);
		q = reply_to(&req, ops[i]);
		send_packet(&g, &q, 0);
		check_outcome(wanted[i][1], fd, "OPEN", ops[i]);

		fd = opened(&g, &req);
		close(fd);
		expect_op(PACKET_SHUTDOWN, &p);
		q = reply_to(&req, ops[i]);
		send_packet(&g, &q, 0);
		check_outcome(wanted[i][2], -1, "LINGER", ops[i]);

		/* No such connection: a reset, but never for a reset. */
		q.dst_port ^= 1;
		send_packet(&g, &q, 0);
		check_outcome(ops[i] == PACKET_RST ? GONE : RESET, -1,
			      "nothing", ops[i]);
	}
}

static void test_bad_packets(void **state)
{
	struct packet req, q;
	int fd = opened(&g, &req);
	uint64_t before = g.device.bad_packets;

	(void)state;
	/* Dropped: wrong addresses, longer than its chain, or than any. */
	q = reply_to(&req, PACKET_RW);
	q.src_cid = CID + 1;
	send_packet(&g, &q, 0);
	q = reply_to(&req, PACKET_RW);
	q.dst_cid = 1;
	send_packet(&g, &q, 0);
	q = reply_to(&req, PACKET_RW);
	q.len = 9;
	send_packet(&g, &q, 8);
	q.len = UINT32_MAX;
	send_packet(&g, &q, 8);
	q.len = VSOCKD_PACKET_MAX + 1;
	send_packet(&g, &q, VSOCKD_PACKET_MAX + 1);
	/* A chain shorter than a header. */
	put_desc(&g, RING_TX, 0, GPA + buf_at(8), 43, 0, 0);
	offer(&g, RING_TX, 0);
	kick(&g, RING_TX);
	assert_int_equal(g.device.bad_packets - before, 6);
	expect_nothing();
	assert_int_equal(peek(fd), -EAGAIN);
	/* Shorter than its chain is fine. */
	q = reply_to(&req, PACKET_RW);
	q.len = 3;
	send_packet(&g, &q, 100);
	assert_int_equal(recv(fd, data, sizeof(data), MSG_DONTWAIT), 3);
	/* Reset: another type; a payload where there is none. */
	q = reply_to(&req, PACKET_RW);
	q.type = 2;
	send_packet(&g, &q, 0);
	expect_op(PACKET_RST, &q);
	assert_int_equal(q.type, 2);
	close(fd);
}

static void test_credit_of_guest(void **state)
{
	static const struct {
		uint32_t sent, fwd;
		bool good;
	} cases[] = {{10, 0, true},	{10, 10, true},
		     {10, 11, false},	{10, UINT32_MAX, false},
		     {0, 1, false},	{0, 0x80000000u, false},
		     {4000, 4000, true}};
	struct packet req, q, p;
	size_t i;
	int fd;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		fd = opened(&g, &req);
		if (cases[i].sent) {
			assert_int_equal(write(fd, data, cases[i].sent),
					 cases[i].sent);
			expect_op(PACKET_RW, &p);
		}
		q = reply_to(&req, PACKET_CREDIT_UPDATE);
		q.fwd_cnt = cases[i].fwd;
		send_packet(&g, &q, 0);
		check_outcome(cases[i].good ? KEPT : RESET, fd, "credit",
			      (unsigned int)i);
	}
	/* It may not go back. */
	fd = opened(&g, &req);
	assert_int_equal(write(fd, data, 10), 10);
	expect_op(PACKET_RW, &p);
	q = reply_to(&req, PACKET_CREDIT_UPDATE);
	q.fwd_cnt = 8;
	send_packet(&g, &q, 0);
	q.fwd_cnt = 7;
	send_packet(&g, &q, 0);
	check_outcome(RESET, fd, "credit goes back", 0);
}

static void test_no_credit(void **state)
{
	struct packet req, q, p;
	int fd = requested(&g, &req);
	uint32_t total = 0;

	(void)state;
	q = reply_to(&req, PACKET_RESPONSE);
	q.buf_alloc = 100;
	send_packet(&g, &q, 0);
	assert_int_equal(write(fd, data, 1000), 1000);
	expect_op(PACKET_RW, &p);
	assert_int_equal(p.len, 100);
	expect_nothing();
	/* The buffer shrinks below what is under way: nothing, no underflow. */
	q = reply_to(&req, PACKET_CREDIT_UPDATE);
	q.buf_alloc = 50;
	q.fwd_cnt = 10;
	send_packet(&g, &q, 0);
	expect_nothing();
	q.buf_alloc = UINT32_MAX;
	q.fwd_cnt = 100;
	send_packet(&g, &q, 0);
	while (next_packet(&g, &p, data, sizeof(data)))
		total += p.len;
	assert_int_equal(total, 900);
	close(fd);
}

/* A guest that ignores the credit it was given is reset, and until then all
 * that was taken is what the client can read. */
static void test_credit_overrun(void **state)
{
	struct packet req, q, p;
	int fd = opened(&g, &req);
	size_t sent = 0, got = 0;
	ssize_t n;

	(void)state;
	q = reply_to(&req, PACKET_RW);
	q.len = 60000;
	while (g.device.conns.used == 1 && sent < (4u << 20)) {
		send_packet(&g, &q, q.len);
		sent += q.len;
	}
	assert_int_equal(g.device.conns.used, 0);
	do {
		assert_true(next_packet(&g, &p, data, sizeof(data)));
	} while (p.op == PACKET_CREDIT_UPDATE);
	assert_int_equal(p.op, PACKET_RST);
	while ((n = recv(fd, data, sizeof(data), MSG_DONTWAIT)) > 0)
		got += (size_t)n;
	assert_true(got < sent && got > 100000);
	close(fd);
}

/* A client that reads late gets all, in order, and the guest its credit. */
static void test_slow_client(void **state)
{
	struct packet req, q, p;
	int fd = opened(&g, &req);
	uint32_t sent = 0, got = 0, fwd = 0;
	ssize_t n, i;

	(void)state;
	q = reply_to(&req, PACKET_RW);
	while (sent < (2u << 20)) {
		q.len = VSOCKD_BUF_SIZE - (sent - fwd);
		if (q.len > 5000)
			q.len = 5000;
		for (i = 0; i < (ssize_t)q.len; i++)
			g.mem[buf_at(8) + PACKET_HEADER_SIZE + i] =
				(uint8_t)((sent + (uint32_t)i) % 251);
		if (q.len) {
			send_packet(&g, &q, q.len);
			sent += q.len;
		} else {
			n = recv(fd, data, sizeof(data), MSG_DONTWAIT);
			assert_true(n > 0);
			for (i = 0; i < n; i++)
				assert_int_equal((uint8_t)data[i], got++ % 251);
		}
		while (next_packet(&g, &p, data, sizeof(data))) {
			assert_int_equal(p.op, PACKET_CREDIT_UPDATE);
			fwd = p.fwd_cnt;
			assert_in_range(sent - fwd, 0, VSOCKD_BUF_SIZE);
		}
	}
	/* The guest closes: what is kept still arrives. */
	q.op = PACKET_SHUTDOWN;
	q.len = 0;
	q.flags = PACKET_SHUT_BOTH;
	send_packet(&g, &q, 0);
	while (got < sent) {
		n = recv(fd, data, sizeof(data), MSG_DONTWAIT);
		assert_true(n > 0);
		for (i = 0; i < n; i++)
			assert_int_equal((uint8_t)data[i], got++ % 251);
		turn(&g);
	}
	assert_int_equal(peek(fd), 0);
	assert_int_equal(g.device.conns.used, 0);
	close(fd);
}

/* Resets for strangers have a queue with an end, and keep no memory. */
static void test_flood(void **state)
{
	struct packet q = {.src_cid = CID, .dst_cid = 2, .type = 1, .op = 5};
	struct packet p;
	int i, n = 0;

	(void)state;
	for (i = 0; i < 2000; i++) {
		q.src_port = (uint32_t)i;
		send_packet(&g, &q, 0);
	}
	assert_int_equal(g.device.conns.reset_len, VSOCKD_RESETS_MAX);
	while (next_packet(&g, &p, data, sizeof(data)))
		n++;
	assert_in_range(n, VSOCKD_RESETS_MAX, VSOCKD_RESETS_MAX + 8);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_whole_life),
		T(test_client_closes),
		T(test_guest_half_closes),
		T(test_refused),
		T(test_lines),
		T(test_held),
		T(test_full),
		T(test_deadlines),
		T(test_ops),
		T(test_bad_packets),
		T(test_credit_of_guest),
		T(test_no_credit),
		T(test_credit_overrun),
		T(test_slow_client),
		T(test_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
