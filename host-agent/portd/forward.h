/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP connections carried to a port inside a VM.
 *
 * Theory of operation. For each client that a listening socket accepts, the
 * agent of the VM is dialled over vsock and asked to Forward (Varlink, an
 * upgrade call); its answer ends in a NUL, and every byte behind that is the
 * stream's. With the hybrid unix carrier the CONNECT line and the call go out
 * in one write, and the answers come back behind each other: "OK N\n", the
 * reply, NUL, stream. A VM without an agent is dialled by TCP, at its address
 * in the network namespace that this process is in; there is nothing to be
 * asked.
 *
 *   OPENING  dialled; waiting for the answers (by TCP: for the connection), at
 *            most PORTD_OPEN_MS. Whatever
 *            fails here resets the client: to it the port looks closed.
 *   STREAM   bytes both ways. The end of one direction is passed on as a
 *            half-close; the connection ends when both have ended, or at an
 *            error on either side, which resets the client.
 *
 * Each direction has one buffer: it is filled only when it is empty, so a
 * reader that stops stops the writer, and memory is fixed. Events come
 * edge-triggered; a connection that may have more to do than its turn allows
 * goes to the end of the ready queue.
 */
#ifndef HYB_HOST_AGENT_PORTD_FORWARD_H
#define HYB_HOST_AGENT_PORTD_FORWARD_H

#include "common/base/err.h"
#include "host-agent/portd/limits.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum forward_kind { FORWARD_UNIX, FORWARD_VSOCK, FORWARD_TCP };

struct forward_carrier {
	enum forward_kind kind;
	char path[108];	     /* FORWARD_UNIX */
	uint32_t cid;	     /* FORWARD_VSOCK */
	uint32_t agent_port; /* of both */
	struct in_addr ip;   /* FORWARD_TCP */
};

struct forward_port {
	int listen_fd; /* non-blocking */
	uint16_t guest_port;
};

/* One direction of a stream, named by where it comes from. */
struct forward_flow {
	uint32_t at, len; /* what is kept in the buffer */
	bool readable;	  /* the source may have data or its end */
	bool ended;	  /* the source has ended */
	bool passed_on;	  /* ... and the other side knows */
};

enum forward_state {
	FORWARD_FREE,
	FORWARD_DIAL, /* the device is busy: tried again */
	FORWARD_OPENING,
	FORWARD_STREAM
};

/* Sides, and the flows that come from them. */
enum { SIDE_TCP, SIDE_VM, SIDE_COUNT };

struct forward_conn {
	enum forward_state state;
	uint32_t serial; /* tells a slot's users apart */
	int fd[SIDE_COUNT];
	uint16_t guest_port;
	bool queued;
	bool touched;	   /* its buffers hold memory */
	bool got_ok;	   /* the carrier's line has been read */
	bool vm_hung;	   /* the VM's side is closed as a whole */
	uint64_t deadline; /* CLOCK_MONOTONIC ms; 0: none */
	struct forward_flow flow[SIDE_COUNT];
};

struct forward {
	struct forward_carrier carrier;
	struct forward_port port[PORTD_PORTS_MAX];
	size_t n_ports;
	int epoll_fd;
	uint32_t next_serial;
	size_t used;
	bool waiting; /* clients may wait in a backlog for a free slot */
	struct forward_conn conn[PORTD_CONNS_MAX];
	uint8_t *bufs;
	uint16_t ready[PORTD_CONNS_MAX];
	size_t ready_at, ready_len;
};

/* Registers the listening sockets; they stay the caller's. */
int forward_init(struct forward *f, const struct forward_carrier *carrier,
		 const struct forward_port *ports, size_t n_ports,
		 struct err *e);
void forward_done(struct forward *f);
/* One turn, waiting at most max_ms (-1: no limit). */
int forward_turn(struct forward *f, int max_ms, struct err *e);

/* Is this (len bytes, without the NUL) a Varlink reply without an error? */
bool forward_reply_is_good(const char *text, size_t len);

#endif
