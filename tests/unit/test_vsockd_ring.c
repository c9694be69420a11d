/* SPDX-License-Identifier: Apache-2.0 */
/* hyb-vsockd's rings: whatever the guest writes there, it breaks its own ring
 * and nothing else, and a ring that is started again works. */
#include "tests/unit/vsockd_guest.h"

#include "common/base/log.h"

static struct guest g;
static char data[65536];

static int setup(void **state)
{
	(void)state;
	log_init("test", LOG_LEVEL_ERROR);
	guest_init(&g);
	start_rings(&g, 0, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	guest_done(&g);
	return 0;
}

/* Takes both rings through QEMU's stop and start, as a new driver. */
static void restart(void)
{
	stop_ring(&g, RING_TX);
	stop_ring(&g, RING_RX);
	memset(g.mem, 0, BUF_AT);
	memset(g.avail, 0, sizeof(g.avail));
	memset(g.seen, 0, sizeof(g.seen));
	start_rings(&g, 0, 0);
	assert_int_equal(g.last, 0);
	assert_true(g.device.up);
}

static void check_works(void)
{
	struct packet req;
	int fd;

	offer_rx(&g, 8);
	fd = opened(&g, &req);
	close(fd);
	turn(&g);
}

struct enemy {
	const char *name;
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next, head, jump;
	bool fine; /* not broken: the control */
};

#define GOOD_ADDR (GPA + BUF_AT)

static const struct enemy tx_enemies[] = {
	{.name = "control", .addr = GOOD_ADDR, .len = 44, .fine = true},
	{.name = "head out of range",
	 .addr = GOOD_ADDR,
	 .len = 44,
	 .head = RING_SIZE},
	{.name = "head 65535", .addr = GOOD_ADDR, .len = 44, .head = 65535},
	{.name = "next out of range",
	 .addr = GOOD_ADDR,
	 .len = 44,
	 .flags = F_NEXT,
	 .next = RING_SIZE},
	{.name = "next 65535",
	 .addr = GOOD_ADDR,
	 .len = 44,
	 .flags = F_NEXT,
	 .next = 65535},
	{.name = "a loop of one",
	 .addr = GOOD_ADDR,
	 .len = 44,
	 .flags = F_NEXT,
	 .next = 0},
	{.name = "size 0", .addr = GOOD_ADDR, .len = 0},
	{.name = "for writing", .addr = GOOD_ADDR, .len = 44, .flags = F_WRITE},
	{.name = "indirect", .addr = GOOD_ADDR, .len = 48, .flags = F_INDIRECT},
	{.name = "unknown flag", .addr = GOOD_ADDR, .len = 44, .flags = 8},
	{.name = "address 0", .addr = 0, .len = 44},
	{.name = "below the memory", .addr = GPA - 1, .len = 44},
	{.name = "across the end", .addr = GPA + MEM_SIZE - 43, .len = 44},
	{.name = "at the end", .addr = GPA + MEM_SIZE, .len = 44},
	{.name = "to the end",
	 .addr = GPA + MEM_SIZE - 44,
	 .len = 44,
	 .fine = true},
	{.name = "far away", .addr = 1ull << 63, .len = 44},
	{.name = "wraps", .addr = UINT64_MAX - 20, .len = 44},
	{.name = "long", .addr = GOOD_ADDR, .len = UINT32_MAX},
	{.name = "QEMU's address", .addr = UVA + BUF_AT, .len = 44},
	{.name = "index jumps",
	 .addr = GOOD_ADDR,
	 .len = 44,
	 .jump = RING_SIZE + 1},
	{.name = "index jumps far",
	 .addr = GOOD_ADDR,
	 .len = 44,
	 .jump = 40000},
	{.name = "index goes back",
	 .addr = GOOD_ADDR,
	 .len = 44,
	 .jump = 65535},
};

static void test_tx_enemies(void **state)
{
	const struct enemy *n;
	struct vring *v = &g.device.ring[RING_TX];
	uint16_t used;

	(void)state;
	for (n = tx_enemies; n < tx_enemies + ARRAY_SIZE(tx_enemies); n++) {
		put_desc(&g, RING_TX, 0, n->addr, n->len, n->flags, n->next);
		offer(&g, RING_TX, n->head);
		if (n->jump)
			set_avail_index(&g, RING_TX, n->jump);
		kick(&g, RING_TX);
		assert_int_equal(g.last, 0);
		if (v->broken == n->fine)
			fail_msg("%s: %s", n->name,
				 n->fine ? "broken" : "not broken");
		/* Once broken it is not touched again. */
		used = used_index(&g, RING_TX);
		put_desc(&g, RING_TX, 0, GOOD_ADDR, 44, 0, 0);
		offer(&g, RING_TX, 0);
		kick(&g, RING_TX);
		if (!n->fine)
			assert_int_equal(used_index(&g, RING_TX), used);
		restart();
	}
	check_works();
}

static void test_long_chains(void **state)
{
	uint16_t i;

	(void)state;
	/* All entries of the ring in one chain: within the rules. */
	for (i = 0; i < RING_SIZE; i++)
		put_desc(&g, RING_TX, i, GOOD_ADDR, 8,
			 i < RING_SIZE - 1 ? F_NEXT : 0, (uint16_t)(i + 1));
	offer(&g, RING_TX, 0);
	kick(&g, RING_TX);
	assert_false(g.device.ring[RING_TX].broken);
	assert_int_equal(used_index(&g, RING_TX), 1);
	/* The last one leads back into the middle. */
	put_desc(&g, RING_TX, RING_SIZE - 1, GOOD_ADDR, 8, F_NEXT, 5);
	offer(&g, RING_TX, 0);
	kick(&g, RING_TX);
	assert_true(g.device.ring[RING_TX].broken);
	restart();
	check_works();
}

/* A receive buffer of the wrong kind breaks the ring when it is needed. */
static void test_rx_enemies(void **state)
{
	static const struct {
		const char *name;
		uint32_t len;
		uint16_t flags;
	} cases[] = {{"for reading", 4096, 0},
		     {"below a header", 43, F_WRITE},
		     {"indirect", 4096, F_WRITE | F_INDIRECT},
		     {"loop", 4096, F_WRITE | F_NEXT}};
	size_t i;
	int fd;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		put_desc(&g, RING_RX, 0, GPA + buf_at(0), cases[i].len,
			 cases[i].flags, 0);
		offer(&g, RING_RX, 0);
		kick(&g, RING_RX);
		fd = client(&g, "CONNECT 1\n");
		if (!g.device.ring[RING_RX].broken)
			fail_msg("%s", cases[i].name);
		/* Clients are held again, until a driver works. */
		assert_int_equal(peek(fd), -EAGAIN);
		close(fd);
		restart();
	}
	check_works();
}

/* A broken ring ends what was open. */
static void test_broken_ends_connections(void **state)
{
	struct packet req;
	int fd;

	(void)state;
	offer_rx(&g, 8);
	fd = opened(&g, &req);
	offer(&g, RING_TX, 99);
	kick(&g, RING_TX);
	assert_int_equal(peek(fd), 0);
	close(fd);
}

/* The header of a receive chain in pieces, the payload too. */
static void test_pieces(void **state)
{
	static const uint32_t sizes[] = {1, 7, 30, 5, 4, 1, 9};
	uint8_t got[57];
	uint32_t at = 0, i;
	int fd;

	(void)state;
	fd = client(&g, "CONNECT 3\n");
	for (i = 0; i < ARRAY_SIZE(sizes); i++)
		put_desc(&g, RING_RX, (uint16_t)i, GPA + buf_at(i), sizes[i],
			 F_WRITE | (i + 1 < ARRAY_SIZE(sizes) ? F_NEXT : 0),
			 (uint16_t)(i + 1));
	offer(&g, RING_RX, 0);
	kick(&g, RING_RX);
	for (i = 0; i < ARRAY_SIZE(sizes); at += sizes[i++])
		memcpy(got + at, g.mem + buf_at(i), sizes[i]);
	assert_int_equal(got[30], PACKET_REQUEST);
	assert_int_equal(got[20], 3);
	close(fd);
}

/* QEMU stops and starts (the VM is paused): connections stay. A driver that
 * begins anew: they end. */
static void test_pause(void **state)
{
	struct packet req, p;
	uint32_t rx, tx;
	int fd;

	(void)state;
	offer_rx(&g, 8);
	fd = opened(&g, &req);
	tx = stop_ring(&g, RING_TX);
	rx = stop_ring(&g, RING_RX);
	assert_int_equal(tx, used_index(&g, RING_TX));
	assert_int_equal(rx, used_index(&g, RING_RX));
	assert_int_equal(write(fd, "x", 1), 1);
	turn(&g);
	assert_int_equal(used_index(&g, RING_RX), rx);
	start_rings(&g, rx, tx);
	assert_true(next_packet(&g, &p, data, sizeof(data)));
	assert_int_equal(p.op, PACKET_RW);
	restart();
	assert_int_equal(peek(fd), 0);
	close(fd);
}

/* A new device goes on where a dead one stopped: the used index says where. */
static void test_take_over(void **state)
{
	struct packet req, p, q;
	int fd, i;

	(void)state;
	offer_rx(&g, 8);
	for (i = 0; i < 5; i++) {
		fd = opened(&g, &req);
		close(fd);
		while (next_packet(&g, &p, data, sizeof(data)))
			;
	}
	/* As after kill -9: the same memory, another device. */
	device_done(&g.device);
	assert_int_equal(device_init(&g.device, CID, g.epoll_fd, &g.e), 0);
	start_rings(&g, used_index(&g, RING_RX), used_index(&g, RING_TX));
	assert_int_equal(g.last, 0);
	/* A connection of the old one is reset ... */
	q = reply_to(&req, PACKET_RW);
	send_packet(&g, &q, 0);
	assert_true(next_packet(&g, &p, data, sizeof(data)));
	assert_int_equal(p.op, PACKET_RST);
	/* ... and a new one works. */
	fd = opened(&g, &req);
	close(fd);
}

/* Interrupts: told when wanted, held back when not, and made up for later. */
static void test_interrupts(void **state)
{
	const uint16_t no_interrupt = 1, none = 0;
	struct packet q = {.src_cid = CID, .dst_cid = 2, .type = 1, .op = 3};
	const uint64_t one = 1;
	uint64_t n;

	(void)state;
	while (read(g.call[RING_TX], &n, 8) == 8)
		;
	send_packet(&g, &q, 0);
	assert_int_equal(read(g.call[RING_TX], &n, 8), 8);
	memcpy(g.mem + avail_at(RING_TX), &no_interrupt, 2);
	send_packet(&g, &q, 0);
	assert_int_equal(read(g.call[RING_TX], &n, 8), -1);
	memcpy(g.mem + avail_at(RING_TX), &none, 2);
	/* Something else wakes the loop; it looks again 2 ms later. */
	assert_int_equal(write(g.kick[RING_RX], &one, 8), 8);
	assert_int_equal(loop_turn(&g.loop, 1000, &g.e), 0);
	assert_int_equal(loop_turn(&g.loop, 1000, &g.e), 0);
	assert_int_equal(read(g.call[RING_TX], &n, 8), 8);
}

/* A kick that never came: the second look finds the chain. */
static void test_lost_kick(void **state)
{
	struct packet q = {.src_cid = CID, .dst_cid = 2, .type = 1, .op = 3};
	const uint64_t one = 1;
	uint64_t start;
	uint16_t before;

	(void)state;
	send_packet(&g, &q, 0);
	before = used_index(&g, RING_TX);
	assert_int_equal(write(g.kick[RING_RX], &one, 8), 8);
	assert_int_equal(loop_turn(&g.loop, 1000, &g.e), 0);
	offer(&g, RING_TX, 0);
	start = now_ms();
	assert_int_equal(loop_turn(&g.loop, 60000, &g.e), 0);
	assert_int_equal(loop_turn(&g.loop, 0, &g.e), 0);
	assert_int_equal(used_index(&g, RING_TX), before + 1);
	assert_in_range(now_ms() - start, 0, 30000);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_tx_enemies), T(test_long_chains),
		T(test_rx_enemies), T(test_broken_ends_connections),
		T(test_pieces),	    T(test_pause),
		T(test_take_over),  T(test_interrupts),
		T(test_lost_kick),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
