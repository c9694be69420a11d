/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring whose every byte the guest chose. Input: one byte with the size of the
 * ring (a power of two) and the direction, two with the index to begin at,
 * and what the guest's memory begins with: descriptors, available ring, used
 * ring.
 */
#include "host-agent/vsockd/vring.h"

#include <stdlib.h>
#include <string.h>

#define MEM_SIZE (256u * 1024)
#define GPA	 0x1000ull

static _Alignas(4096) uint8_t memory[MEM_SIZE];

static void check(const struct vring_chain *c, uint16_t size)
{
	size_t i, total = 0;

	if (c->count == 0 || c->count > size || c->head >= size)
		abort();
	for (i = 0; i < c->count; i++) {
		uint8_t *p = c->iov[i].iov_base;

		if (p < memory || c->iov[i].iov_len == 0 ||
		    c->iov[i].iov_len > MEM_SIZE ||
		    p + c->iov[i].iov_len > memory + MEM_SIZE)
			abort();
		/* Written to, as the device would: also over the ring. */
		p[0] ^= 0x55;
		p[c->iov[i].iov_len - 1] ^= 0xaa;
		total += c->iov[i].iov_len;
	}
	if (total != c->len)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mem m = {
		.count = 1,
		.region[0] = {.at = {.guest_addr = GPA, .size = MEM_SIZE},
			      .map = memory}};
	struct vring_chain c;
	struct vring v;
	bool writable;
	int got, n;

	if (size < 3 || size > MEM_SIZE)
		return 0;
	memset(memory, 0, sizeof(memory));
	memcpy(memory, data + 3, size - 3);
	vring_init(&v);
	v.size = (uint16_t)(1u << (data[0] % 11));
	v.next = (uint16_t)(data[1] | data[2] << 8);
	writable = data[0] & 0x80;
	v.have_addr = v.have_base = v.started = v.enabled = true;
	v.avail_addr = 16u * v.size;
	v.used_addr = (v.avail_addr + 6u + 2u * v.size + 3u) & ~3ull;
	if (vring_map(&v, &m) < 0)
		abort();
	for (n = 0; n < 5000; n++) {
		got = vring_peek(&v, &m, writable, &c);
		if (got < 0 && vring_is_live(&v))
			abort();
		if (got <= 0)
			break;
		check(&c, v.size);
		vring_push(&v, &c, (uint32_t)n);
		if (n % 7 == 0) {
			vring_tell(&v);
			vring_notify_off(&v);
			(void)vring_notify_on(&v);
			vring_tell_late(&v);
		}
	}
	vring_done(&v);
	return 0;
}
