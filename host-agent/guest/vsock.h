/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "Connect to port P of VM V": one call over two carriers. VSOCK_UNIX is the
 * socket of a hyb-vsockd (or of any VMM with Firecracker's protocol: "CONNECT
 * PORT\n" is answered with "OK HOST_PORT\n"), VSOCK_KERNEL the host kernel's
 * AF_VSOCK. Either gives a stream with half-close; above it nothing knows
 * which.
 */
#ifndef HYB_HOST_AGENT_GUEST_VSOCK_H
#define HYB_HOST_AGENT_GUEST_VSOCK_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum carrier { VSOCK_UNIX, VSOCK_KERNEL };

struct vsock_addr {
	enum carrier carrier;
	char path[108]; /* VSOCK_UNIX: of the device's socket */
	uint32_t cid;	/* VSOCK_KERNEL */
	/* VSOCK_UNIX: whose socket it must be. The path lies in a folder of
	 * the VM's uid; a QEMU that its guest has taken over could put a link
	 * to another VM's socket there. */
	bool check_uid;
	uint32_t uid;
};

/*
 * Connects; *ret_fd is a blocking CLOEXEC stream socket, the caller's.
 * deadline_ms is a time of CLOCK_MONOTONIC (0: none), for all of it.
 *
 * -ECONNREFUSED: nobody listens on that port (now), or the device has no room;
 * it comes at once, and trying again is up to the caller. -ENOENT: there is no
 * device at that path. -ETIMEDOUT: the deadline. -EPROTO: what answered is no
 * device. While the VM's driver is not up yet, VSOCK_UNIX waits for it;
 * VSOCK_KERNEL fails with -ENODEV or -ECONNRESET until the guest is there.
 */
int vsock_connect(const struct vsock_addr *a, uint32_t port,
		  uint64_t deadline_ms, int *ret_fd, struct err *e);

#endif
