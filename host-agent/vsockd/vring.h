/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue (virtio 1.2, 2.7), the device's side.
 *
 * Theory of operation. The ring lies in memory that the guest writes while we
 * read it. So whatever decides anything is read once, into a local copy, and
 * only the copy is checked and used: the available index, an entry of the
 * available ring, a descriptor. What goes out (used ring) is computed from
 * our own counters and never read back.
 *
 * A ring that breaks a rule - an index that jumps by more than the ring, a
 * head or next out of range, a chain longer than the ring or than
 * VSOCKD_SEGS_MAX, a buffer outside of the memory or in the wrong direction,
 * an indirect descriptor (never offered) - is marked broken and not looked at
 * again until QEMU has stopped and started it. There is no loop over the
 * guest's data without a bound of ours.
 *
 * One chain at a time is taken and given back, in order; so the used index is
 * at all times also the index of the next chain to take, which is what lets a
 * new device go on where a dead one stopped.
 *
 * Notifications: while we look at a ring its NO_NOTIFY flag is set; before
 * sleeping it is cleared and the index looked at once more
 * (vring_notify_on()). Interrupts are held back while the driver says
 * NO_INTERRUPT; that one was held back is remembered, for the second look
 * that makes up for a lost barrier (limits.h, VSOCKD_LOOK1_MS).
 */
#ifndef HYB_HOST_AGENT_VSOCKD_VRING_H
#define HYB_HOST_AGENT_VSOCKD_VRING_H

#include "host-agent/vsockd/limits.h"
#include "host-agent/vsockd/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct vring {
	/* From QEMU. */
	uint16_t size;
	uint64_t desc_addr, avail_addr, used_addr; /* QEMU's addresses */
	bool have_addr, have_base;
	bool started, enabled;
	int kick_fd, call_fd;
	/* Where the three parts are mapped; NULL while not started. */
	void *desc, *avail, *used;
	/* Our counters, modulo 2^16. */
	uint16_t next; /* chains taken */
	uint16_t done; /* chains given back, not necessarily told */
	uint16_t told; /* used index that the driver sees */
	bool broken;
	bool notify;	/* does the driver kick? */
	bool held_back; /* an interrupt was suppressed */
};

struct vring_chain {
	struct iovec iov[VSOCKD_SEGS_MAX];
	size_t count;
	size_t len; /* of all segments, below 2^37 */
	uint16_t head;
};

void vring_init(struct vring *v);
/* Closes the descriptors. */
void vring_done(struct vring *v);

/* Finds the parts in the memory and the counters in the used ring; size,
 * addresses and base must have been set. -EPROTO when an address is bad. */
int vring_map(struct vring *v, const struct mem *m);
void vring_unmap(struct vring *v);

/* May it be looked at? */
bool vring_is_live(const struct vring *v);

/* The next chain: 1; 0: none; -EPROTO: the ring is broken from now on. All
 * segments are to be written by us (writable) or none is. The chain stays the
 * next one until vring_push(). */
int vring_peek(struct vring *v, const struct mem *m, bool writable,
	       struct vring_chain *ret);
/* Gives the chain of the last vring_peek() back with this many bytes
 * written. */
void vring_push(struct vring *v, const struct vring_chain *c, uint32_t len);
/* Tells the driver what has been pushed and interrupts it when it wants. */
void vring_tell(struct vring *v);
/* Interrupts after all, when one was held back and the driver wants it now. */
void vring_tell_late(struct vring *v);
/* Interrupts in any case. */
void vring_call(struct vring *v);

/* From now on the driver need not, must, kick. The latter says whether chains
 * have come meanwhile. */
void vring_notify_off(struct vring *v);
bool vring_notify_on(struct vring *v);
bool vring_has_chain(struct vring *v);

#endif
