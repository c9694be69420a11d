/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/vsockd/vring.h"

#include "common/base/cleanup.h"

#include <endian.h>

#define DESC_F_NEXT	     1u
#define DESC_F_WRITE	     2u
#define DESC_F_KNOWN	     (DESC_F_NEXT | DESC_F_WRITE)
#define AVAIL_F_NO_INTERRUPT 1u
#define USED_F_NO_NOTIFY     1u

/* Layout of the three parts; 16, 2 and 4 bytes of alignment. */
struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};
_Static_assert(sizeof(struct desc) == 16, "descriptor size");

#define DESC_BYTES(size)  (16u * (uint64_t)(size))
#define AVAIL_BYTES(size) (6u + 2u * (uint64_t)(size))
#define USED_BYTES(size)  (6u + 8u * (uint64_t)(size))

static uint16_t load16(const void *base, size_t offset)
{
	const uint16_t *p =
		(const uint16_t *)(const void *)((const uint8_t *)base +
						 offset);

	return le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE));
}

static void store16(void *base, size_t offset, uint16_t value)
{
	uint16_t *p = (uint16_t *)(void *)((uint8_t *)base + offset);

	__atomic_store_n(p, htole16(value), __ATOMIC_RELEASE);
}

static void store32(void *base, size_t offset, uint32_t value)
{
	uint32_t *p = (uint32_t *)(void *)((uint8_t *)base + offset);

	__atomic_store_n(p, htole32(value), __ATOMIC_RELAXED);
}

/* One descriptor, each byte read once: two aligned loads of 64 bits. */
static struct desc load_desc(const void *base, uint16_t index)
{
	const uint64_t *p = (const uint64_t *)base + 2u * index;
	uint64_t lo = le64toh(__atomic_load_n(p, __ATOMIC_RELAXED));
	uint64_t hi = le64toh(__atomic_load_n(p + 1, __ATOMIC_RELAXED));

	return (struct desc){.addr = lo,
			     .len = (uint32_t)hi,
			     .flags = (uint16_t)(hi >> 32),
			     .next = (uint16_t)(hi >> 48)};
}

void vring_init(struct vring *v)
{
	*v = (struct vring){.kick_fd = -1, .call_fd = -1};
}

void vring_done(struct vring *v)
{
	cleanup_close(&v->kick_fd);
	cleanup_close(&v->call_fd);
	vring_init(v);
}

static void *part(const struct mem *m, uint64_t addr, uint64_t len,
		  uintptr_t align)
{
	void *p = mem_user(m, addr, len);

	return (uintptr_t)p % align ? NULL : p;
}

int vring_map(struct vring *v, const struct mem *m)
{
	vring_unmap(v);
	if (v->size == 0 || !v->have_addr || !v->have_base)
		return -EPROTO;
	v->desc = part(m, v->desc_addr, DESC_BYTES(v->size), 16);
	v->avail = part(m, v->avail_addr, AVAIL_BYTES(v->size), 2);
	v->used = part(m, v->used_addr, USED_BYTES(v->size), 4);
	if (!v->desc || !v->avail || !v->used) {
		vring_unmap(v);
		return -EPROTO;
	}
	/* Every chain is given back before the next one is taken, so the used
	 * index says where the ring stands, also after a device that died.
	 * The guest can have written anything there; a wrong value breaks its
	 * own ring, no more. */
	v->done = v->told = load16(v->used, 2);
	v->notify = true;
	store16(v->used, 0, 0);
	return 0;
}

void vring_unmap(struct vring *v)
{
	v->desc = v->avail = v->used = NULL;
	v->held_back = false;
}

bool vring_is_live(const struct vring *v)
{
	return v->started && v->enabled && v->desc && !v->broken;
}

static int broken(struct vring *v)
{
	v->broken = true;
	return -EPROTO;
}

bool vring_has_chain(struct vring *v)
{
	return vring_is_live(v) && load16(v->avail, 2) != v->next;
}

int vring_peek(struct vring *v, const struct mem *m, bool writable,
	       struct vring_chain *ret)
{
	uint16_t ready, index;
	struct desc d;
	void *p;

	if (!vring_is_live(v))
		return 0;
	ready = (uint16_t)(load16(v->avail, 2) - v->next);
	if (ready == 0)
		return 0;
	if (ready > v->size)
		return broken(v);
	/* size is a power of two. */
	index = load16(v->avail, 4 + 2u * (v->next & (v->size - 1u)));
	ret->head = index;
	ret->count = 0;
	ret->len = 0;
	for (;;) {
		if (index >= v->size || ret->count == v->size ||
		    ret->count == VSOCKD_SEGS_MAX)
			return broken(v);
		d = load_desc(v->desc, index);
		if ((d.flags & ~DESC_F_KNOWN) || d.len == 0 ||
		    !(d.flags & DESC_F_WRITE) == writable)
			return broken(v);
		p = mem_guest(m, d.addr, d.len);
		if (!p)
			return broken(v);
		ret->iov[ret->count++] =
			(struct iovec){.iov_base = p, .iov_len = d.len};
		ret->len += d.len;
		if (!(d.flags & DESC_F_NEXT))
			return 1;
		index = d.next;
	}
}

void vring_push(struct vring *v, const struct vring_chain *c, uint32_t len)
{
	size_t at = 4 + 8u * (v->done & (v->size - 1u));

	store32(v->used, at, c->head);
	store32(v->used, at + 4, len);
	v->next++;
	v->done++;
}

void vring_call(struct vring *v)
{
	static const uint64_t one = 1;

	v->held_back = false;
	/* An eventfd that is full has told already; a bad one is QEMU's. */
	if (v->call_fd >= 0 && write(v->call_fd, &one, sizeof(one)) < 0)
		return;
}

void vring_tell(struct vring *v)
{
	if (!v->used || v->told == v->done)
		return;
	store16(v->used, 2, v->done);
	v->told = v->done;
	/* The index must be visible before the flag is read: the driver
	 * clears the flag and then looks at the index. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (load16(v->avail, 0) & AVAIL_F_NO_INTERRUPT)
		v->held_back = true;
	else
		vring_call(v);
}

void vring_tell_late(struct vring *v)
{
	if (v->held_back && v->avail &&
	    !(load16(v->avail, 0) & AVAIL_F_NO_INTERRUPT))
		vring_call(v);
}

void vring_notify_off(struct vring *v)
{
	if (!v->notify || !vring_is_live(v))
		return;
	v->notify = false;
	store16(v->used, 0, USED_F_NO_NOTIFY);
}

bool vring_notify_on(struct vring *v)
{
	if (!vring_is_live(v))
		return false;
	if (!v->notify) {
		v->notify = true;
		store16(v->used, 0, 0);
	}
	/* The mirror image of vring_tell(): flag first, then the index. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return vring_has_chain(v);
}
