/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vhost-user socket: QEMU's side of the device.
 *
 * Theory of operation. QEMU sends a message and waits for the answer, if the
 * message has one, with all of its threads' lock held: a device that does not
 * answer hangs the VM and its monitor. So the socket is never waited on; a
 * message that arrives in parts is kept until it is whole, and an answer that
 * does not fit in the socket ends the device (the kernel's buffer holds
 * hundreds of them, so that QEMU does not read).
 *
 * A table says for each request how long it may be, how many descriptors it
 * may carry, and whether a ring may run meanwhile. Whatever is not in it, or
 * breaks it, ends the session: the device exits, QEMU and the guest go on,
 * and the host agent starts another device (docs/vsockd.md, "Recovery").
 * Descriptors that nobody took are closed.
 *
 * After a reconnect QEMU does not negotiate the protocol features again, yet
 * asks for acknowledgements; so what asks for one always gets one.
 */
#ifndef HYB_HOST_AGENT_VSOCKD_VHOST_USER_H
#define HYB_HOST_AGENT_VSOCKD_VHOST_USER_H

#include "common/base/err.h"
#include "common/base/fd.h"
#include "host-agent/vsockd/device.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VHOST_HEADER_SIZE 12

enum vhost_request {
	VHOST_GET_FEATURES = 1,
	VHOST_SET_FEATURES = 2,
	VHOST_SET_OWNER = 3,
	VHOST_RESET_OWNER = 4,
	VHOST_SET_MEM_TABLE = 5,
	VHOST_SET_VRING_NUM = 8,
	VHOST_SET_VRING_ADDR = 9,
	VHOST_SET_VRING_BASE = 10,
	VHOST_GET_VRING_BASE = 11,
	VHOST_SET_VRING_KICK = 12,
	VHOST_SET_VRING_CALL = 13,
	VHOST_SET_VRING_ERR = 14,
	VHOST_GET_PROTOCOL_FEATURES = 15,
	VHOST_SET_PROTOCOL_FEATURES = 16,
	VHOST_GET_QUEUE_NUM = 17,
	VHOST_SET_VRING_ENABLE = 18,
	VHOST_GET_CONFIG = 24,
	VHOST_REQUEST_COUNT = 25
};

#define VHOST_FLAG_VERSION    1u
#define VHOST_FLAG_REPLY      4u
#define VHOST_FLAG_NEED_REPLY 8u

/* VIRTIO_F_VERSION_1 and VHOST_USER_F_PROTOCOL_FEATURES */
#define VHOST_F_PROTOCOL (1ULL << 30)
#define VHOST_FEATURES	 ((1ULL << 32) | VHOST_F_PROTOCOL)
/* VHOST_USER_PROTOCOL_F_REPLY_ACK and _CONFIG */
#define VHOST_PROTOCOL_FEATURES ((1ULL << 3) | (1ULL << 9))

struct vhost_user {
	int fd;
	struct device *device;
	uint64_t features; /* acknowledged by the driver */
	/* The message that is arriving. */
	uint8_t in[VHOST_HEADER_SIZE + VSOCKD_MESSAGE_MAX];
	size_t in_len;
	int fds[HYB_FDS_MAX];
	size_t n_fds;
};

/* fd stays the caller's, and must be non-blocking. */
void vhost_user_init(struct vhost_user *u, struct device *device, int fd);
/* Closes descriptors of a message that never became whole. */
void vhost_user_done(struct vhost_user *u);

/* Reads and carries out what has come. 0; -ENOTCONN: QEMU closed the socket;
 * other: the session is at its end, *e says why. */
int vhost_user_on_readable(struct vhost_user *u, struct err *e);

#endif
