/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device: memory, two rings, connections, and the pumps between them. The
 * third ring of a vsock device, for events, stays in QEMU.
 */
#ifndef HYB_HOST_AGENT_VSOCKD_DEVICE_H
#define HYB_HOST_AGENT_VSOCKD_DEVICE_H

#include "common/base/err.h"
#include "host-agent/vsockd/conn.h"
#include "host-agent/vsockd/mem.h"
#include "host-agent/vsockd/vring.h"

#include <stdbool.h>
#include <stdint.h>

enum { RING_RX, RING_TX, RING_COUNT }; /* as the driver sees them */

struct device {
	uint64_t cid;
	int epoll_fd; /* kicks are registered here; -1: nowhere */
	struct mem mem;
	struct vring ring[RING_COUNT];
	struct conn_table conns;
	bool up;      /* both rings are live */
	bool starved; /* something to send, and no receive buffer */
	uint64_t bad_packets;
	uint64_t log_since; /* CLOCK_MONOTONIC ms */
	unsigned int log_lines;
};

/* epoll data of the kick descriptor of ring i. Clients have their host port,
 * which is below 2^32. */
#define DEVICE_EVENT_KICK(i) ((1ULL << 32) + (i))

int device_init(struct device *d, uint64_t cid, int epoll_fd, struct err *e);
void device_done(struct device *d);

/* Takes (and registers) the kick descriptor of ring i; -1: none. */
int device_set_kick(struct device *d, unsigned int i, int fd);

/* To be called after any change of memory or rings: maps the rings that are
 * started, finds out whether the driver is up, and forgets the guest's
 * connections where a driver has begun anew. -EPROTO: an address is bad. */
int device_update(struct device *d);
/* All rings are unmapped, before the memory changes. */
void device_unmap(struct device *d);

/* Moves packets in both directions; true when it stopped with work left. */
bool device_pump(struct device *d);
/* Before sleeping: asks the driver to kick. True when there is work after
 * all. */
bool device_before_sleep(struct device *d);
/* The second look, for what a lost barrier has hidden: true when there is
 * work. */
bool device_look_again(struct device *d);

/* A log line, at most VSOCKD_LOG_LINES in ten seconds. */
void device_log(struct device *d, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
