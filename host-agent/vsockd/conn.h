/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections: a client's unix socket on one side, a vsock stream on the
 * other.
 *
 * Theory of operation. A client writes "CONNECT PORT\n"; we send a REQUEST to
 * the guest's port and answer "OK HOST_PORT\n" when the guest has accepted.
 *
 *   LINE ──line read──▶ HELD ──REQUEST sent──▶ REQUEST ──RESPONSE──▶ OPEN
 *                                                 OPEN ──guest is done──▶ DRAIN
 *                                                 OPEN ──client is gone─▶ LINGER
 *
 * HELD: the driver is not up yet (or has no receive buffer): the client waits
 * as long as it likes, so a caller can connect the moment it starts the VM.
 * When the driver is up and nobody listens on the port, the guest answers RST
 * and the client's socket is closed at once, without an "OK": trying again is
 * the caller's decision. DRAIN: the guest has ended or reset the stream; what
 * it sent before still goes to the client. LINGER: the client is gone; what
 * the guest still sends is dropped, until its RST or a deadline.
 *
 * Data to the guest waits in the client's socket until there are credit and a
 * receive buffer: read from there straight into the guest's memory. Data from
 * the guest goes straight from its memory into the client's socket; what does
 * not fit is kept in the connection's buffer, which is as large as the credit
 * that we grant, so there is always room, and a guest that sends more is
 * reset. A packet leaves its ring at once, whatever its client does: no
 * connection can hold up another.
 *
 * Events come edge-triggered: `readable` says that the socket may have data.
 * A connection with something for the guest is in the ready queue; a reset
 * for a connection that does not exist (any more) is in the reset queue. Both
 * have fixed sizes. A host port is made of a running number and the slot, so
 * a late packet or event never meets the next user of a slot.
 *
 * The guest opens no connection: its REQUEST is answered with RST.
 */
#ifndef HYB_HOST_AGENT_VSOCKD_CONN_H
#define HYB_HOST_AGENT_VSOCKD_CONN_H

#include "common/base/err.h"
#include "host-agent/vsockd/limits.h"
#include "host-agent/vsockd/packet.h"
#include "host-agent/vsockd/vring.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conn_state {
	CONN_FREE,
	CONN_LINE,
	CONN_HELD,
	CONN_REQUEST,
	CONN_OPEN,
	CONN_DRAIN,
	CONN_LINGER,
	CONN_STATE_COUNT
};

struct conn {
	enum conn_state state;
	int fd; /* -1 when the client is gone */
	uint32_t host_port, guest_port;
	uint64_t deadline; /* CLOCK_MONOTONIC ms; 0: none */

	/* To the guest; counters modulo 2^32. */
	uint32_t sent;	     /* bytes */
	uint32_t peer_fwd;   /* of them, consumed by the guest */
	uint32_t peer_alloc; /* the guest's buffer, capped */

	/* From the guest. */
	uint32_t received;
	uint32_t forwarded; /* to the client, or dropped */
	uint32_t announced; /* the last `forwarded` that the guest was told */
	uint32_t buf_at, buf_len; /* what is kept, in a ring of bytes */
	bool buf_used;

	bool readable;	 /* the client's socket may have data or its end */
	bool hangup;	 /* the client has closed, or both sides have ended */
	bool queued;	 /* in the ready queue */
	bool owe_credit; /* a CREDIT_UPDATE is due */
	bool discard;	 /* the client takes no more */
	uint8_t want_shut, sent_shut, guest_shut; /* PACKET_SHUT_* */
};

struct conn_reset {
	uint32_t host_port, guest_port;
	uint16_t type;
};

struct conn_table {
	uint64_t guest_cid;
	int epoll_fd; /* clients are registered here; -1: nowhere */
	bool driver_up;
	uint32_t next_port;
	size_t used; /* slots not free */
	bool timed;  /* some connection has a deadline */
	struct conn conn[VSOCKD_CONNS_MAX];
	uint8_t *bufs; /* VSOCKD_CONNS_MAX * VSOCKD_BUF_SIZE */
	uint8_t ready[VSOCKD_CONNS_MAX];
	uint32_t ready_at, ready_len;
	struct conn_reset reset[VSOCKD_RESETS_MAX];
	uint32_t reset_at, reset_len;
};

_Static_assert((VSOCKD_CONNS_MAX & (VSOCKD_CONNS_MAX - 1)) == 0 &&
		       VSOCKD_CONNS_MAX <= 256,
	       "a slot is the low bits of a port and fits the ready queue");
_Static_assert((VSOCKD_RESETS_MAX & (VSOCKD_RESETS_MAX - 1)) == 0 &&
		       (VSOCKD_BUF_SIZE & (VSOCKD_BUF_SIZE - 1)) == 0,
	       "indices are masked");

int conn_table_init(struct conn_table *t, uint64_t guest_cid, int epoll_fd,
		    struct err *e);
/* Closes every client and frees the buffers. */
void conn_table_done(struct conn_table *t);

/* Takes fd (non-blocking, stream) as a new client. -EMFILE when the table is
 * full; fd is closed then. */
int conn_add(struct conn_table *t, int fd);
/* Events (EPOLL*) of the client with this host port. */
void conn_on_client(struct conn_table *t, uint32_t host_port, uint32_t events);

/* The driver is up (rings run), or not (paused or gone): held connections
 * go on only while it is. */
void conn_driver_up(struct conn_table *t, bool up);
/* The guest has forgotten everything: connections that it had accepted, or
 * was asked for, end. */
void conn_drop_all(struct conn_table *t);

/* A packet from the guest, with its payload (p->len bytes in the segments).
 * -EFAULT: the guest's memory could not be read. */
int conn_on_packet(struct conn_table *t, const struct packet *p,
		   const struct iovec *iov, size_t n);
/* Answers a packet of a kind that we do not speak. */
void conn_refuse(struct conn_table *t, const struct packet *p);

/* Is there something for the guest? */
bool conn_has_work(const struct conn_table *t);
/* Writes the next packet for the guest into a receive chain of at least
 * PACKET_HEADER_SIZE bytes: its size, 0 when there is nothing to send after
 * all, -EFAULT when the guest's memory could not be written. */
ssize_t conn_produce(struct conn_table *t, const struct vring_chain *c);

/* Ends what is over its time; true: there are deadlines left. */
bool conn_expire(struct conn_table *t, uint64_t now_ms);

#endif
