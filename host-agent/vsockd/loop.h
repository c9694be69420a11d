/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop: one thread, one epoll, nothing in it waits for anything else.
 *
 * Everything but the vhost-user socket and the listening socket is
 * edge-triggered. After the events of a turn the rings are pumped until there
 * is nothing left or the turn's share is used up; then the driver is asked to
 * kick, the rings are looked at once more, and the loop sleeps. For 20 ms
 * after that it looks again twice (limits.h, VSOCKD_LOOK1_MS); after that it
 * sleeps until something happens, with no timer running.
 *
 * The watchdog: a turn that does not end would hang QEMU. While the loop is
 * busy a timer runs (set once in VSOCKD_WATCHDOG_S seconds, not every turn);
 * if it finds the same turn twice, the process ends.
 */
#ifndef HYB_HOST_AGENT_VSOCKD_LOOP_H
#define HYB_HOST_AGENT_VSOCKD_LOOP_H

#include "common/base/err.h"
#include "host-agent/vsockd/device.h"
#include "host-agent/vsockd/vhost_user.h"

/* epoll data of the two sockets; see DEVICE_EVENT_KICK. */
#define LOOP_EVENT_VHOST  (1ULL << 33)
#define LOOP_EVENT_LISTEN ((1ULL << 33) + 1)

struct loop {
	struct device *device;
	struct vhost_user *vhost;
	int epoll_fd;
	int listen_fd;	      /* non-blocking */
	bool full;	      /* the last client found no room */
	int looks;	      /* second looks left */
	uint64_t next_expiry; /* CLOCK_MONOTONIC ms */
};

/* Registers the sockets. */
int loop_init(struct loop *l, struct device *device, struct vhost_user *vhost,
	      int epoll_fd, int listen_fd, struct err *e);
/* One turn, waiting at most max_ms (-1: no limit) for something to do.
 * 0; -ENOTCONN: QEMU has closed its socket; other: see *e. */
int loop_turn(struct loop *l, int max_ms, struct err *e);
/* Installs the watchdog; loop_turn() feeds it from then on. */
int loop_watchdog(struct err *e);

#endif
