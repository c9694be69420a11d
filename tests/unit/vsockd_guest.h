/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest and a QEMU for tests of hyb-vsockd: guest memory in a memfd, rings
 * that the test writes as it likes, vhost-user messages over a socket pair,
 * and the device's real loop in between.
 */
#ifndef HYB_TESTS_UNIT_VSOCKD_GUEST_H
#define HYB_TESTS_UNIT_VSOCKD_GUEST_H

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/vsockd/loop.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define CID	  7
#define GPA	  0x100000ull
#define UVA	  0x7f0000000000ull
#define MEM_SIZE  (2u << 20)
#define RING_SIZE 16u
#define BUF_AT	  0x10000u
#define BUF_STEP  0x11000u /* more than a header and 64 KiB */

#define F_NEXT	   1
#define F_WRITE	   2
#define F_INDIRECT 4

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct guest {
	int memfd;
	uint8_t *mem;
	int qemu; /* QEMU's end of the vhost-user socket */
	int device_end;
	int kick[2], call[2];
	uint16_t avail[2], seen[2];
	int epoll_fd, listen_fd;
	char path[64];
	struct device device;
	struct vhost_user vhost;
	struct loop loop;
	int last; /* what the last turn returned */
	struct err e;
};

static inline uint32_t desc_at(int ring)
{
	return ring == RING_RX ? 0x1000 : 0x4000;
}

static inline uint32_t avail_at(int ring)
{
	return desc_at(ring) + 0x1000;
}

static inline uint32_t used_at(int ring)
{
	return desc_at(ring) + 0x2000;
}

static inline void turn(struct guest *g)
{
	int i;

	for (i = 0; i < 4; i++) {
		g->last = loop_turn(&g->loop, 0, &g->e);
		if (g->last < 0)
			return;
	}
}

/* ------------------------------------------------------------ vhost-user */

static inline void message(struct guest *g, uint32_t request, uint32_t flags,
			   const void *data, uint32_t size, const int *fds,
			   size_t n)
{
	uint8_t out[1024];
	const uint32_t head[3] = {request, flags, size};

	memcpy(out, head, sizeof(head));
	if (size)
		memcpy(out + sizeof(head), data, size);
	assert_int_equal(fds_send(g->qemu, out, sizeof(head) + size, fds, n),
			 0);
	turn(g);
}

/* The payload of the answer; how long it is. */
static inline uint32_t answer_of(struct guest *g, uint32_t request, void *data,
				 uint32_t max)
{
	uint32_t head[3];

	assert_int_equal(fd_wait(g->qemu, POLLIN, now_ms() + 60000), 0);
	assert_int_equal(read_full(g->qemu, head, sizeof(head)), sizeof(head));
	assert_int_equal(head[0], request);
	assert_int_equal(head[1], 5);
	assert_in_range(head[2], 0, max);
	assert_int_equal(read_full(g->qemu, data, head[2]), head[2]);
	return head[2];
}

static inline uint64_t ask_u64(struct guest *g, uint32_t request)
{
	uint64_t v = 0;

	message(g, request, 1, NULL, 0, NULL, 0);
	assert_int_equal(answer_of(g, request, &v, sizeof(v)), sizeof(v));
	return v;
}

static inline void tell_u64(struct guest *g, uint32_t request, uint64_t v)
{
	message(g, request, 1, &v, sizeof(v), NULL, 0);
}

static inline void tell_ring(struct guest *g, uint32_t request, uint32_t index,
			     uint32_t num)
{
	const uint32_t s[2] = {index, num};

	message(g, request, 1, s, sizeof(s), NULL, 0);
}

static inline void tell_ring_fd(struct guest *g, uint32_t request,
				uint64_t index, int fd)
{
	message(g, request, 1, &index, sizeof(index), &fd, 1);
}

static inline void tell_memory(struct guest *g)
{
	struct {
		uint32_t n, pad;
		struct mem_entry r;
	} t = {1, 0, {GPA, MEM_SIZE, UVA, 0}};
	uint64_t ack = 1;

	message(g, VHOST_SET_MEM_TABLE, 9, &t, sizeof(t), &g->memfd, 1);
	if (g->last == 0) {
		answer_of(g, VHOST_SET_MEM_TABLE, &ack, sizeof(ack));
		assert_int_equal(ack, 0);
	}
}

static inline void tell_addr(struct guest *g, uint32_t ring)
{
	struct {
		uint32_t index, flags;
		uint64_t desc, used, avail, log;
	} a = {ring,
	       0,
	       UVA + desc_at((int)ring),
	       UVA + used_at((int)ring),
	       UVA + avail_at((int)ring),
	       0};

	message(g, VHOST_SET_VRING_ADDR, 1, &a, sizeof(a), NULL, 0);
}

/* What QEMU says when the driver says DRIVER_OK. */
static inline void start_rings(struct guest *g, uint32_t rx_base,
			       uint32_t tx_base)
{
	uint32_t i;

	tell_u64(g, VHOST_SET_FEATURES, VHOST_FEATURES);
	tell_memory(g);
	for (i = 0; i < 2; i++) {
		tell_ring(g, VHOST_SET_VRING_NUM, i, RING_SIZE);
		tell_ring(g, VHOST_SET_VRING_BASE, i, i ? tx_base : rx_base);
		tell_addr(g, i);
		tell_ring_fd(g, VHOST_SET_VRING_KICK, i, g->kick[i]);
	}
	for (i = 0; i < 2; i++)
		tell_ring(g, VHOST_SET_VRING_ENABLE, i, 1);
	for (i = 0; i < 2; i++)
		tell_ring_fd(g, VHOST_SET_VRING_CALL, i, g->call[i]);
}

static inline uint32_t stop_ring(struct guest *g, uint32_t ring)
{
	uint32_t s[2] = {0, 0};

	tell_ring(g, VHOST_SET_VRING_ENABLE, ring, 0);
	tell_ring(g, VHOST_GET_VRING_BASE, ring, 0);
	assert_int_equal(answer_of(g, VHOST_GET_VRING_BASE, s, sizeof(s)), 8);
	assert_int_equal(s[0], ring);
	return s[1];
}

/* ------------------------------------------------------------------ rings */

static inline void put_desc(struct guest *g, int ring, uint16_t i,
			    uint64_t addr, uint32_t len, uint16_t flags,
			    uint16_t next)
{
	const struct desc d = {addr, len, flags, next};

	memcpy(g->mem + desc_at(ring) + 16u * i, &d, sizeof(d));
}

static inline void set_avail_index(struct guest *g, int ring, uint16_t index)
{
	memcpy(g->mem + avail_at(ring) + 2, &index, 2);
}

static inline void offer(struct guest *g, int ring, uint16_t head)
{
	memcpy(g->mem + avail_at(ring) + 4 + 2u * (g->avail[ring] % RING_SIZE),
	       &head, 2);
	set_avail_index(g, ring, ++g->avail[ring]);
}

static inline void kick(struct guest *g, int ring)
{
	const uint64_t one = 1;

	assert_int_equal(write(g->kick[ring], &one, 8), 8);
	turn(g);
}

static inline uint16_t used_index(struct guest *g, int ring)
{
	uint16_t v;

	memcpy(&v, g->mem + used_at(ring) + 2, 2);
	return v;
}

/* Buffers: 0-7 for receiving, 8 and 9 for what is sent. */
static inline uint32_t buf_at(unsigned int i)
{
	return BUF_AT + i * BUF_STEP;
}

static inline void offer_rx(struct guest *g, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		uint16_t d = g->avail[RING_RX] % 8;

		put_desc(g, RING_RX, d, GPA + buf_at(d), 4096, F_WRITE, 0);
		offer(g, RING_RX, d);
	}
	kick(g, RING_RX);
}

/* The next packet that the device has sent; false: none. The buffer is
 * offered again. */
static inline bool next_packet(struct guest *g, struct packet *p, void *data,
			       size_t max)
{
	uint32_t elem[2];

	turn(g);
	if (used_index(g, RING_RX) == g->seen[RING_RX])
		return false;
	memcpy(elem,
	       g->mem + used_at(RING_RX) + 4 +
		       8u * (g->seen[RING_RX]++ % RING_SIZE),
	       8);
	assert_in_range(elem[0], 0, 7);
	assert_in_range(elem[1], PACKET_HEADER_SIZE, 4096);
	/* From the other side the parser works as well. */
	assert_int_equal(packet_parse(g->mem + buf_at(elem[0]),
				      elem[1] - PACKET_HEADER_SIZE, 2, p),
			 -EPROTO);
	memcpy(&p->src_cid, g->mem + buf_at(elem[0]), 8);
	memcpy(&p->dst_cid, g->mem + buf_at(elem[0]) + 8, 8);
	memcpy(&p->src_port, g->mem + buf_at(elem[0]) + 16, 4);
	memcpy(&p->dst_port, g->mem + buf_at(elem[0]) + 20, 4);
	memcpy(&p->len, g->mem + buf_at(elem[0]) + 24, 4);
	memcpy(&p->type, g->mem + buf_at(elem[0]) + 28, 2);
	memcpy(&p->op, g->mem + buf_at(elem[0]) + 30, 2);
	memcpy(&p->flags, g->mem + buf_at(elem[0]) + 32, 4);
	memcpy(&p->buf_alloc, g->mem + buf_at(elem[0]) + 36, 4);
	memcpy(&p->fwd_cnt, g->mem + buf_at(elem[0]) + 40, 4);
	assert_int_equal(p->src_cid, 2);
	assert_int_equal(p->dst_cid, CID);
	assert_int_equal(p->len, elem[1] - PACKET_HEADER_SIZE);
	assert_in_range(p->len, 0, max);
	if (data && p->len)
		memcpy(data, g->mem + buf_at(elem[0]) + PACKET_HEADER_SIZE,
		       p->len);
	offer(g, RING_RX, (uint16_t)elem[0]);
	return true;
}

/* Sends a packet: header and payload in one descriptor each, as Linux does. */
static inline void send_packet(struct guest *g, const struct packet *p,
			       size_t payload)
{
	packet_format(p, g->mem + buf_at(8));
	put_desc(g, RING_TX, 0, GPA + buf_at(8), PACKET_HEADER_SIZE,
		 payload ? F_NEXT : 0, 1);
	if (payload)
		put_desc(g, RING_TX, 1, GPA + buf_at(8) + PACKET_HEADER_SIZE,
			 (uint32_t)payload, 0, 0);
	offer(g, RING_TX, 0);
	kick(g, RING_TX);
}

/* ------------------------------------------------------------------- life */

static inline void guest_init(struct guest *g)
{
	int s[2], i;

	memset(g, 0, sizeof(*g));
	g->memfd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(g->memfd, MEM_SIZE), 0);
	assert_int_equal(fcntl(g->memfd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	g->mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		      g->memfd, 0);
	assert_ptr_not_equal(g->mem, MAP_FAILED);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s),
			 0);
	g->qemu = s[0];
	g->device_end = s[1];
	fd_set_nonblock(g->device_end, true);
	for (i = 0; i < 2; i++) {
		g->kick[i] = eventfd(0, EFD_CLOEXEC);
		g->call[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
	snprintf(g->path, sizeof(g->path), "/tmp/hyb-vsockd-%d.sock", getpid());
	g->listen_fd = unix_listen(g->path, 0600, 300, &g->e);
	assert_true(g->listen_fd >= 0);
	fd_set_nonblock(g->listen_fd, true);
	g->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	assert_int_equal(device_init(&g->device, CID, g->epoll_fd, &g->e), 0);
	vhost_user_init(&g->vhost, &g->device, g->device_end);
	assert_int_equal(loop_init(&g->loop, &g->device, &g->vhost, g->epoll_fd,
				   g->listen_fd, &g->e),
			 0);
}

static inline void guest_done(struct guest *g)
{
	int i;

	vhost_user_done(&g->vhost);
	device_done(&g->device);
	close(g->epoll_fd);
	close(g->listen_fd);
	close(g->qemu);
	close(g->device_end);
	for (i = 0; i < 2; i++) {
		close(g->kick[i]);
		close(g->call[i]);
	}
	munmap(g->mem, MEM_SIZE);
	close(g->memfd);
	unlink(g->path);
}

static inline int client(struct guest *g, const char *line)
{
	int fd = unix_connect(g->path, NULL);

	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, line, strlen(line)), 0);
	turn(g);
	return fd;
}

/* Has the client's socket nothing (-EAGAIN), an end (0), or bytes? */
static inline ssize_t peek(int fd)
{
	char c;
	ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT | MSG_PEEK);

	return n < 0 ? -errno : n;
}

/* A client whose connection the guest has been asked for: *req is the
 * REQUEST. */
static inline int requested(struct guest *g, struct packet *req)
{
	int fd = client(g, "CONNECT 1024\n");

	assert_true(next_packet(g, req, NULL, 0));
	assert_int_equal(req->op, PACKET_REQUEST);
	assert_int_equal(req->dst_port, 1024);
	return fd;
}

/* What the guest sends back on a connection. */
static inline struct packet reply_to(const struct packet *req, uint16_t op)
{
	return (struct packet){.src_cid = CID,
			       .dst_cid = 2,
			       .src_port = req->dst_port,
			       .dst_port = req->src_port,
			       .type = 1,
			       .op = op,
			       .buf_alloc = 65536};
}

/* A client with an open connection, its OK line read. */
static inline int opened(struct guest *g, struct packet *req)
{
	int fd = requested(g, req);
	struct packet p = reply_to(req, PACKET_RESPONSE);
	char want[32], got[32];
	int n;

	send_packet(g, &p, 0);
	n = snprintf(want, sizeof(want), "OK %u\n", req->src_port);
	assert_int_equal(read_full(fd, got, (size_t)n), n);
	assert_memory_equal(want, got, (size_t)n);
	return fd;
}

#endif
