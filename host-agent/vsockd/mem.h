/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's memory, as QEMU hands it over: regions of memfds, mapped here.
 *
 * Every address in a descriptor is written by the guest, every region by
 * QEMU; neither is believed. A range is good when it lies in one region as a
 * whole. Regions do not overlap, do not wrap, and lie within a memfd that is
 * sealed against shrinking, so a mapped page cannot vanish (SIGBUS) later.
 */
#ifndef HYB_HOST_AGENT_VSOCKD_MEM_H
#define HYB_HOST_AGENT_VSOCKD_MEM_H

#include "common/base/err.h"
#include "host-agent/vsockd/limits.h"

#include <stddef.h>
#include <stdint.h>

/* A region on the wire (vhost-user, "Memory region description"). */
struct mem_entry {
	uint64_t guest_addr;
	uint64_t size;
	uint64_t user_addr; /* in QEMU's address space; rings are named by it */
	uint64_t offset;    /* in the descriptor */
};

struct mem_region {
	struct mem_entry at;
	uint8_t *map;
};

struct mem {
	struct mem_region region[VSOCKD_REGIONS_MAX];
	size_t count;
};

/* Replaces all regions by n new ones of these descriptors (which stay the
 * caller's). On failure none is left. */
int mem_set(struct mem *m, const struct mem_entry *entry, const int *fds,
	    size_t n, struct err *e);
void mem_done(struct mem *m);

/* Where [addr, addr + len) of the guest's, or of QEMU's, address space is
 * mapped here, or NULL when it does not lie in one region. len may be 0. */
void *mem_guest(const struct mem *m, uint64_t addr, uint64_t len);
void *mem_user(const struct mem *m, uint64_t addr, uint64_t len);

#endif
