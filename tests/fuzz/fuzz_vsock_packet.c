/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets of a guest's, mixed with what three clients do. Input: records of
 * one byte (what: low four bits; which client: high four) and what follows it:
 *   0  a packet: op, type, flags, u16 len, u32 buf_alloc, u32 fwd_cnt for that
 *      client's connection
 *   1  a packet: 44 bytes as they are
 *   2  the client writes that many bytes (one byte, times 64)
 *   3  the client reads          4  shuts its writing down
 *   5  closes, and comes again   6  the device sends into a chain (u16 bytes)
 *   7  time passes               8  the driver begins anew
 */
#include "host-agent/vsockd/conn.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS 3
#define CID	3

static struct conn_table table;
static int client[CLIENTS];
static uint32_t port[CLIENTS];
static uint8_t scratch[70000];

struct input {
	const uint8_t *data;
	size_t len;
};

static uint32_t take(struct input *in, size_t n)
{
	uint32_t v = 0;

	if (n > in->len)
		n = in->len;
	memcpy(&v, in->data, n);
	in->data += n;
	in->len -= n;
	return v;
}

static void come(int i)
{
	static const char line[] = "CONNECT 9\n";
	int s[2], slot;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s) < 0)
		abort();
	client[i] = s[0];
	port[i] = 0;
	if (conn_add(&table, s[1]) < 0)
		return;
	for (slot = 0; slot < VSOCKD_CONNS_MAX; slot++)
		if (table.conn[slot].fd == s[1])
			port[i] = table.conn[slot].host_port;
	if (write(s[0], line, sizeof(line) - 1) < 0)
		abort();
	conn_on_client(&table, port[i], EPOLLIN | EPOLLOUT);
}

static void packet(const uint8_t raw[PACKET_HEADER_SIZE])
{
	struct iovec iov[2] = {{scratch, 100}, {scratch + 100, 69000}};
	struct packet p;
	int err = packet_parse(raw, 69100, CID, &p);

	if (err == -EPROTOTYPE)
		conn_refuse(&table, &p);
	if (err == 0) {
		/* As in the device, the segments hold the payload exactly. */
		iov[1].iov_len = p.len > 100 ? p.len - 100 : 0;
		iov[0].iov_len = p.len < 100 ? p.len : 100;
		if (conn_on_packet(&table, &p, iov, p.len > 100 ? 2 : 1) < 0)
			abort();
	}
}

static void short_packet(struct input *in, int i)
{
	uint8_t raw[PACKET_HEADER_SIZE];
	struct packet p = {.src_cid = CID,
			   .dst_cid = 2,
			   .src_port = 9,
			   .dst_port = port[i]};

	p.op = (uint16_t)take(in, 1);
	p.type = (uint16_t)take(in, 1);
	p.flags = take(in, 1);
	p.len = take(in, 2);
	p.buf_alloc = take(in, 4);
	p.fwd_cnt = take(in, 4);
	packet_format(&p, raw);
	packet(raw);
}

static void long_packet(struct input *in)
{
	uint8_t raw[PACKET_HEADER_SIZE];
	size_t i;

	for (i = 0; i < sizeof(raw); i++)
		raw[i] = (uint8_t)take(in, 1);
	packet(raw);
}

static void produce(uint32_t len)
{
	struct vring_chain c = {.count = 2};

	len = PACKET_HEADER_SIZE + len % 65000;
	c.iov[0] = (struct iovec){scratch, 20};
	c.iov[1] = (struct iovec){scratch + 20, len - 20};
	c.len = len;
	if (conn_has_work(&table) && conn_produce(&table, &c) > (ssize_t)len)
		abort();
}

static void check_conn(const struct conn *c)
{
	if (c->buf_len > VSOCKD_BUF_SIZE ||
	    c->received - c->forwarded != c->buf_len ||
	    c->sent - c->peer_fwd > VSOCKD_CREDIT_MAX ||
	    (c->state == CONN_FREE && c->fd >= 0))
		abort();
}

static void check_all(void)
{
	const struct conn *c;
	size_t used = 0;

	for (c = table.conn; c < table.conn + VSOCKD_CONNS_MAX; c++) {
		used += c->state != CONN_FREE;
		check_conn(c);
	}
	if (used != table.used)
		abort();
}

/* After every step: what the step can have touched. */
static void check(void)
{
	int i;

	for (i = 0; i < CLIENTS; i++)
		check_conn(&table.conn[port[i] % VSOCKD_CONNS_MAX]);
	if (table.ready_len > VSOCKD_CONNS_MAX ||
	    table.reset_len > VSOCKD_RESETS_MAX)
		abort();
}

static void step(struct input *in)
{
	uint32_t what = take(in, 1);
	int i = (int)(what >> 4) % CLIENTS;

	switch (what & 15) {
	case 0:
		short_packet(in, i);
		break;
	case 1:
		long_packet(in);
		break;
	case 2:
		if (send(client[i], scratch, 64 * take(in, 1), MSG_NOSIGNAL) >=
		    0)
			conn_on_client(&table, port[i], EPOLLIN);
		break;
	case 3:
		if (recv(client[i], scratch, sizeof(scratch), 0) > 0)
			conn_on_client(&table, port[i], EPOLLOUT);
		break;
	case 4:
		shutdown(client[i], SHUT_WR);
		conn_on_client(&table, port[i], EPOLLIN | EPOLLRDHUP);
		break;
	case 5:
		close(client[i]);
		conn_on_client(&table, port[i],
			       EPOLLIN | EPOLLRDHUP | EPOLLHUP);
		come(i);
		break;
	case 6:
		produce(take(in, 2));
		break;
	case 7:
		(void)conn_expire(&table, UINT64_MAX / 2);
		break;
	case 8:
		conn_drop_all(&table);
		break;
	default:
		break;
	}
	check();
}

/* Empties the table without giving its buffers back, which is slow under a
 * sanitizer. */
static void empty(void)
{
	struct conn_table old;
	int i;

	for (i = 0; i < CLIENTS; i++) {
		close(client[i]);
		conn_on_client(&table, port[i], EPOLLHUP);
	}
	check_all();
	conn_drop_all(&table);
	check_all();
	if (table.used != 0)
		abort();
	old = table;
	memset(&table, 0, sizeof(table));
	table.guest_cid = CID;
	table.epoll_fd = -1;
	table.bufs = old.bufs;
	for (i = 0; i < VSOCKD_CONNS_MAX; i++)
		table.conn[i].fd = -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};
	int i;

	if (!table.bufs && conn_table_init(&table, CID, -1, NULL) < 0)
		abort();
	table.next_port = 0;
	conn_driver_up(&table, true);
	for (i = 0; i < CLIENTS; i++)
		come(i);
	while (in.len > 0)
		step(&in);
	empty();
	return 0;
}
