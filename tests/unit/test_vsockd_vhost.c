/* SPDX-License-Identifier: Apache-2.0 */
/* hyb-vsockd's vhost-user socket: QEMU's messages in order, in parts, and as
 * an enemy would send them. */
#include "tests/unit/vsockd_guest.h"

#include <sys/wait.h>

static struct guest g;

static int setup(void **state)
{
	(void)state;
	guest_init(&g);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	guest_done(&g);
	return 0;
}

static size_t count_fds(void)
{
	_cleanup_closedir_ DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	while (readdir(d))
		n++;
	return n;
}

static void test_realize(void **state)
{
	struct {
		uint32_t offset, size, flags;
		uint8_t cid[8];
	} __attribute__((packed)) c = {0, 8, 0, {0}};
	uint64_t cid;

	(void)state;
	assert_int_equal(ask_u64(&g, VHOST_GET_FEATURES), VHOST_FEATURES);
	assert_int_equal(ask_u64(&g, VHOST_GET_PROTOCOL_FEATURES),
			 VHOST_PROTOCOL_FEATURES);
	tell_u64(&g, VHOST_SET_PROTOCOL_FEATURES, VHOST_PROTOCOL_FEATURES);
	assert_int_equal(ask_u64(&g, VHOST_GET_QUEUE_NUM), 2);
	message(&g, VHOST_SET_OWNER, 1, NULL, 0, NULL, 0);
	message(&g, VHOST_GET_CONFIG, 1, &c, sizeof(c), NULL, 0);
	assert_int_equal(answer_of(&g, VHOST_GET_CONFIG, &c, sizeof(c)),
			 sizeof(c));
	memcpy(&cid, c.cid, sizeof(cid));
	assert_int_equal(cid, CID);
	tell_ring_fd(&g, VHOST_SET_VRING_CALL, 0, g.call[0]);
	tell_ring_fd(&g, VHOST_SET_VRING_ERR, 1, g.call[1]);
	start_rings(&g, 0, 0);
	assert_true(g.device.up);
	assert_int_equal(g.last, 0);
}

/* A start byte by byte, and all of it at once. */
static void test_parts(void **state)
{
	const uint32_t get[3] = {VHOST_GET_FEATURES, 1, 0};
	const uint32_t num[5] = {VHOST_SET_VRING_NUM, 9, 8, 1, 64};
	uint8_t all[200];
	uint64_t v;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(num); i++) {
		assert_int_equal(g.device.ring[1].size, 0);
		assert_int_equal(write(g.qemu, (const uint8_t *)num + i, 1), 1);
		turn(&g);
	}
	assert_int_equal(g.device.ring[1].size, 64);
	answer_of(&g, VHOST_SET_VRING_NUM, &v, sizeof(v));
	assert_int_equal(v, 0);
	for (i = 0; i + sizeof(get) <= sizeof(all); i += sizeof(get))
		memcpy(all + i, get, sizeof(get));
	assert_int_equal(write(g.qemu, all, i), i);
	turn(&g);
	for (; i > 0; i -= sizeof(get)) {
		answer_of(&g, VHOST_GET_FEATURES, &v, sizeof(v));
		assert_int_equal(v, VHOST_FEATURES);
	}
}

static void test_end(void **state)
{
	(void)state;
	shutdown(g.qemu, SHUT_RDWR);
	turn(&g);
	assert_int_equal(g.last, -ENOTCONN);
}

/* One message that ends the session. A table cannot hold descriptors, so it
 * says how many (of an eventfd) go along. */
struct enemy {
	const char *name;
	uint32_t request, flags, size;
	uint64_t data[5];
	size_t fds;
	bool running; /* sent while the rings run */
};

static const struct enemy enemies[] = {
	{.name = "request 0", .request = 0, .flags = 1},
	{.name = "unknown request", .request = 200, .flags = 1},
	{.name = "largest request", .request = UINT32_MAX, .flags = 1},
	{.name = "not offered: logging", .request = 6, .flags = 1, .size = 16},
	{.name = "version 0", .request = 1, .flags = 0},
	{.name = "version 2", .request = 1, .flags = 2},
	{.name = "an answer", .request = 1, .flags = 5},
	{.name = "unknown flag", .request = 1, .flags = 0x11},
	{.name = "payload where none is", .request = 1, .flags = 1, .size = 8},
	{.name = "short", .request = VHOST_SET_FEATURES, .flags = 1, .size = 7},
	{.name = "long", .request = VHOST_SET_FEATURES, .flags = 1, .size = 9},
	{.name = "descriptor where none is",
	 .request = VHOST_GET_FEATURES,
	 .flags = 1,
	 .fds = 1},
	{.name = "features not offered",
	 .request = VHOST_SET_FEATURES,
	 .flags = 1,
	 .size = 8,
	 .data = {1ull << 28}},
	{.name = "protocol features not offered",
	 .request = VHOST_SET_PROTOCOL_FEATURES,
	 .flags = 1,
	 .size = 8,
	 .data = {1}},
	{.name = "features while running",
	 .request = VHOST_SET_FEATURES,
	 .flags = 1,
	 .size = 8,
	 .data = {1ull << 32},
	 .running = true},
	{.name = "ring 2",
	 .request = VHOST_SET_VRING_NUM,
	 .flags = 1,
	 .size = 8,
	 .data = {2 | 16ull << 32}},
	{.name = "ring 2^32-1",
	 .request = VHOST_SET_VRING_NUM,
	 .flags = 1,
	 .size = 8,
	 .data = {UINT64_MAX}},
	{.name = "0 entries",
	 .request = VHOST_SET_VRING_NUM,
	 .flags = 1,
	 .size = 8,
	 .data = {0}},
	{.name = "3 entries",
	 .request = VHOST_SET_VRING_NUM,
	 .flags = 1,
	 .size = 8,
	 .data = {3ull << 32}},
	{.name = "2048 entries",
	 .request = VHOST_SET_VRING_NUM,
	 .flags = 1,
	 .size = 8,
	 .data = {2048ull << 32}},
	{.name = "65536 entries",
	 .request = VHOST_SET_VRING_NUM,
	 .flags = 1,
	 .size = 8,
	 .data = {65536ull << 32}},
	{.name = "entries while running",
	 .request = VHOST_SET_VRING_NUM,
	 .flags = 1,
	 .size = 8,
	 .data = {32ull << 32},
	 .running = true},
	{.name = "base too large",
	 .request = VHOST_SET_VRING_BASE,
	 .flags = 1,
	 .size = 8,
	 .data = {65536ull << 32}},
	{.name = "base while running",
	 .request = VHOST_SET_VRING_BASE,
	 .flags = 1,
	 .size = 8,
	 .running = true},
	{.name = "address with logging",
	 .request = VHOST_SET_VRING_ADDR,
	 .flags = 1,
	 .size = 40,
	 .data = {1ull << 32}},
	{.name = "address while running",
	 .request = VHOST_SET_VRING_ADDR,
	 .flags = 1,
	 .size = 40,
	 .running = true},
	{.name = "base of a ring never seen",
	 .request = VHOST_GET_VRING_BASE,
	 .flags = 1,
	 .size = 8},
	{.name = "kick without a descriptor",
	 .request = VHOST_SET_VRING_KICK,
	 .flags = 1,
	 .size = 8},
	{.name = "kick, says none, has one",
	 .request = VHOST_SET_VRING_KICK,
	 .flags = 1,
	 .size = 8,
	 .data = {0x100},
	 .fds = 1},
	{.name = "kick, polled",
	 .request = VHOST_SET_VRING_KICK,
	 .flags = 1,
	 .size = 8,
	 .data = {0x100}},
	{.name = "kick with two",
	 .request = VHOST_SET_VRING_KICK,
	 .flags = 1,
	 .size = 8,
	 .fds = 2},
	{.name = "kick before features",
	 .request = VHOST_SET_VRING_KICK,
	 .flags = 1,
	 .size = 8,
	 .fds = 1},
	{.name = "kick while running",
	 .request = VHOST_SET_VRING_KICK,
	 .flags = 1,
	 .size = 8,
	 .fds = 1,
	 .running = true},
	{.name = "unknown bits of a kick",
	 .request = VHOST_SET_VRING_CALL,
	 .flags = 1,
	 .size = 8,
	 .data = {1ull << 40},
	 .fds = 1},
	{.name = "call with eight",
	 .request = VHOST_SET_VRING_CALL,
	 .flags = 1,
	 .size = 8,
	 .fds = 8},
	{.name = "enable 2",
	 .request = VHOST_SET_VRING_ENABLE,
	 .flags = 1,
	 .size = 8,
	 .data = {2ull << 32}},
	{.name = "configuration beyond",
	 .request = VHOST_GET_CONFIG,
	 .flags = 1,
	 .size = 20,
	 .data = {1 | 8ull << 32}},
	{.name = "configuration, other size",
	 .request = VHOST_GET_CONFIG,
	 .flags = 1,
	 .size = 20,
	 .data = {4ull << 32}},
	{.name = "configuration far",
	 .request = VHOST_GET_CONFIG,
	 .flags = 1,
	 .size = 20,
	 .data = {UINT32_MAX | 8ull << 32}},
	{.name = "empty memory table",
	 .request = VHOST_SET_MEM_TABLE,
	 .flags = 1,
	 .size = 40,
	 .fds = 1},
	{.name = "memory table of 9",
	 .request = VHOST_SET_MEM_TABLE,
	 .flags = 1,
	 .size = 40,
	 .data = {9},
	 .fds = 1},
	{.name = "memory without descriptor",
	 .request = VHOST_SET_MEM_TABLE,
	 .flags = 1,
	 .size = 40,
	 .data = {1, GPA, 4096, UVA, 0}},
	{.name = "memory with two",
	 .request = VHOST_SET_MEM_TABLE,
	 .flags = 1,
	 .size = 40,
	 .data = {1, GPA, 4096, UVA, 0},
	 .fds = 2},
	{.name = "memory in an eventfd",
	 .request = VHOST_SET_MEM_TABLE,
	 .flags = 1,
	 .size = 40,
	 .data = {1, GPA, 4096, UVA, 0},
	 .fds = 1},
	{.name = "memory in an eventfd while running",
	 .request = VHOST_SET_MEM_TABLE,
	 .flags = 1,
	 .size = 40,
	 .data = {1, GPA, 4096, UVA, 0},
	 .fds = 1,
	 .running = true},
};

static void test_enemies(void **state)
{
	int fds[8] = {0}, i;
	const struct enemy *n;
	size_t before;

	(void)state;
	guest_done(&g);
	before = count_fds();
	for (n = enemies; n < enemies + ARRAY_SIZE(enemies); n++) {
		guest_init(&g);
		if (n->running)
			start_rings(&g, 0, 0);
		assert_int_equal(g.last, 0);
		for (i = 0; i < 8; i++)
			fds[i] = g.kick[0];
		message(&g, n->request, n->flags, n->data, n->size, fds,
			n->fds);
		if (g.last != -EPROTO || !g.e.msg[0])
			fail_msg("%s: %d", n->name, g.last);
		guest_done(&g);
		/* Whatever came along has been closed. */
		assert_int_equal(count_fds(), before);
	}
	guest_init(&g);
}

/* A length that no message has ends the session before its payload comes. */
static void test_length(void **state)
{
	const uint32_t head[3] = {1, 1, VSOCKD_MESSAGE_MAX + 1};

	(void)state;
	assert_int_equal(write(g.qemu, head, sizeof(head)), sizeof(head));
	turn(&g);
	assert_int_equal(g.last, -EPROTO);
}

static int make_memory(off_t size, int seals)
{
	int fd = memfd_create("m", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void test_memory(void **state)
{
	static const struct {
		const char *name;
		struct mem_entry r[2];
		size_t n;
		bool good;
	} cases[] = {
		{"one", {{GPA, 8192, UVA, 0}}, 1, true},
		{"at an offset", {{GPA, 4096, UVA, 4096}}, 1, true},
		{"two",
		 {{0, 4096, UVA, 0}, {4096, 4096, UVA + 4096, 4096}},
		 2,
		 true},
		{"size 0", {{GPA, 0, UVA, 0}}, 1, false},
		{"beyond the file", {{GPA, 8193, UVA, 0}}, 1, false},
		{"offset beyond", {{GPA, 1, UVA, 8192}}, 1, false},
		{"offset wraps",
		 {{GPA, 4096, UVA, UINT64_MAX - 4095}},
		 1,
		 false},
		{"offset not of a page", {{GPA, 4096, UVA, 100}}, 1, false},
		{"guest address wraps",
		 {{UINT64_MAX - 100, 4096, UVA, 0}},
		 1,
		 false},
		{"user address wraps",
		 {{GPA, 4096, UINT64_MAX - 100, 0}},
		 1,
		 false},
		{"size wraps", {{GPA, UINT64_MAX, UVA, 0}}, 1, false},
		{"size too large", {{0, 1ull << 60, 0, 0}}, 1, false},
		{"guest addresses overlap",
		 {{0, 4096, UVA, 0}, {4095, 4096, UVA + 8192, 4096}},
		 2,
		 false},
		{"user addresses overlap",
		 {{0, 4096, UVA, 0}, {8192, 4096, UVA + 1, 4096}},
		 2,
		 false},
		{"the same twice",
		 {{0, 4096, UVA, 0}, {0, 4096, UVA, 0}},
		 2,
		 false},
	};
	struct mem m = {.count = 0};
	struct err e = ERR_INIT;
	int fds[2], i, err;
	size_t k;

	(void)state;
	fds[0] = fds[1] = make_memory(8192, F_SEAL_SHRINK);
	for (k = 0; k < ARRAY_SIZE(cases); k++) {
		err = mem_set(&m, cases[k].r, fds, cases[k].n, &e);
		if ((err == 0) != cases[k].good)
			fail_msg("%s: %s", cases[k].name, e.msg);
		assert_int_equal(m.count, cases[k].good ? cases[k].n : 0);
	}
	/* Without the seal QEMU could take it away under our feet. */
	i = make_memory(8192, F_SEAL_GROW);
	assert_int_equal(mem_set(&m, cases[0].r, &i, 1, &e), -EPROTO);
	close(i);
	i = make_memory(8192, F_SEAL_SHRINK | F_SEAL_WRITE);
	assert_true(mem_set(&m, cases[0].r, &i, 1, &e) < 0);
	close(i);
	close(fds[0]);
	mem_done(&m);
}

static void test_addresses(void **state)
{
	const struct mem_entry r[2] = {{GPA, 4096, UVA, 0},
				       {GPA + 4096, 4096, UVA + 8192, 4096}};
	struct mem m = {.count = 0};
	struct err e = ERR_INIT;
	int fds[2];

	(void)state;
	fds[0] = fds[1] = make_memory(8192, F_SEAL_SHRINK);
	assert_int_equal(mem_set(&m, r, fds, 2, &e), 0);
	assert_ptr_equal(mem_guest(&m, GPA, 4096), m.region[0].map);
	assert_ptr_equal(mem_guest(&m, GPA + 4096, 1), m.region[1].map);
	assert_ptr_equal(mem_user(&m, UVA + 8192 + 4095, 1),
			 m.region[1].map + 4095);
	/* Not across two, though they are neighbours. */
	assert_null(mem_guest(&m, GPA + 4000, 200));
	assert_null(mem_guest(&m, GPA, UINT64_MAX));
	assert_null(mem_guest(&m, GPA - 1, 2));
	assert_null(mem_guest(&m, UINT64_MAX, 2));
	assert_null(mem_user(&m, UVA + 4096, 1));
	mem_done(&m);
	close(fds[0]);
}

/* The memory changes while the rings run, as when a disk is plugged in. */
static void test_memory_again(void **state)
{
	struct packet req;
	int fd;

	(void)state;
	start_rings(&g, 0, 0);
	offer_rx(&g, 8);
	fd = opened(&g, &req);
	close(fd);
	assert_true(next_packet(&g, &req, NULL, 0));
	assert_int_equal(req.op, PACKET_SHUTDOWN);
	tell_memory(&g);
	assert_int_equal(g.last, 0);
	assert_true(g.device.up);
	fd = opened(&g, &req);
	close(fd);
}

/* Rings whose addresses are not in the memory, or not aligned. */
static void test_ring_addresses(void **state)
{
	static const uint64_t bad[][3] = {
		{UVA + 0x1008, UVA + 0x2000, UVA + 0x3000},
		{UVA + 0x1000, UVA + 0x2001, UVA + 0x3000},
		{UVA + 0x1000, UVA + 0x2000, UVA + 0x3002},
		{UVA + MEM_SIZE - 16, UVA + 0x2000, UVA + 0x3000},
		{UVA + 0x1000, UVA + MEM_SIZE - 2, UVA + 0x3000},
		{UVA + 0x1000, UVA + 0x2000, UVA + MEM_SIZE - 4},
		{GPA + 0x1000, UVA + 0x2000, UVA + 0x3000},
		{0, 0, 0},
		{UINT64_MAX - 15, UINT64_MAX - 1, UINT64_MAX - 3}};
	struct {
		uint32_t index, flags;
		uint64_t desc, used, avail, log;
	} a = {.index = 0};
	size_t i;

	(void)state;
	guest_done(&g);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		guest_init(&g);
		tell_u64(&g, VHOST_SET_FEATURES, VHOST_FEATURES);
		tell_memory(&g);
		tell_ring(&g, VHOST_SET_VRING_NUM, 0, RING_SIZE);
		tell_ring(&g, VHOST_SET_VRING_BASE, 0, 0);
		a.desc = bad[i][0];
		a.avail = bad[i][1];
		a.used = bad[i][2];
		message(&g, VHOST_SET_VRING_ADDR, 1, &a, sizeof(a), NULL, 0);
		tell_ring_fd(&g, VHOST_SET_VRING_KICK, 0, g.kick[0]);
		if (g.last != -EPROTO)
			fail_msg("case %zu: %d", i, g.last);
		guest_done(&g);
	}
	guest_init(&g);
}

/* QEMU that reads no answers ends the device, and does not hang it. */
static void test_no_reader(void **state)
{
	const uint32_t get[3] = {VHOST_GET_FEATURES, 1, 0};
	int i;

	(void)state;
	fd_set_nonblock(g.qemu, true);
	for (i = 0; i < 100000 && g.last == 0; i++) {
		if (write(g.qemu, get, sizeof(get)) < 0)
			break;
		turn(&g);
	}
	assert_int_equal(g.last, -EPROTO);
}

/* A turn that does not end is ended. */
static void test_watchdog(void **state)
{
	struct err e = ERR_INIT;
	uint64_t start = now_ms();
	int status, out[2];
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(out[1], STDERR_FILENO);
		if (loop_watchdog(&e) < 0 || loop_turn(&g.loop, 0, &g.e) < 0)
			_exit(99);
		for (;;)
			pause();
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 3);
	assert_in_range(now_ms() - start, VSOCKD_WATCHDOG_S * 1000 - 100,
			2 * VSOCKD_WATCHDOG_S * 1000 + 60000);
	close(out[0]);
	close(out[1]);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_realize),   T(test_parts),	 T(test_end),
		T(test_enemies),   T(test_length),	 T(test_memory),
		T(test_addresses), T(test_memory_again), T(test_ring_addresses),
		T(test_no_reader), T(test_watchdog),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
