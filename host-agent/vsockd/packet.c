/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/vsockd/packet.h"

#include "host-agent/vsockd/limits.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

/* As on the wire, little-endian. */
struct wire {
	uint64_t src_cid;
	uint64_t dst_cid;
	uint32_t src_port;
	uint32_t dst_port;
	uint32_t len;
	uint16_t type;
	uint16_t op;
	uint32_t flags;
	uint32_t buf_alloc;
	uint32_t fwd_cnt;
} __attribute__((packed));

_Static_assert(sizeof(struct wire) == PACKET_HEADER_SIZE, "header size");

int packet_parse(const uint8_t raw[PACKET_HEADER_SIZE], size_t payload,
		 uint64_t guest_cid, struct packet *ret)
{
	struct packet p;
	struct wire w;

	memcpy(&w, raw, sizeof(w));
	p.src_cid = le64toh(w.src_cid);
	p.dst_cid = le64toh(w.dst_cid);
	p.src_port = le32toh(w.src_port);
	p.dst_port = le32toh(w.dst_port);
	p.len = le32toh(w.len);
	p.type = le16toh(w.type);
	p.op = le16toh(w.op);
	p.flags = le32toh(w.flags);
	p.buf_alloc = le32toh(w.buf_alloc);
	p.fwd_cnt = le32toh(w.fwd_cnt);
	if (p.src_cid != guest_cid || p.dst_cid != PACKET_HOST_CID ||
	    p.len > payload || p.len > VSOCKD_PACKET_MAX)
		return -EPROTO;
	*ret = p;
	if (p.type != PACKET_TYPE_STREAM || (p.len > 0 && p.op != PACKET_RW))
		return -EPROTOTYPE;
	return 0;
}

void packet_format(const struct packet *p, uint8_t raw[PACKET_HEADER_SIZE])
{
	struct wire w = {
		.src_cid = htole64(p->src_cid),
		.dst_cid = htole64(p->dst_cid),
		.src_port = htole32(p->src_port),
		.dst_port = htole32(p->dst_port),
		.len = htole32(p->len),
		.type = htole16(p->type),
		.op = htole16(p->op),
		.flags = htole32(p->flags),
		.buf_alloc = htole32(p->buf_alloc),
		.fwd_cnt = htole32(p->fwd_cnt),
	};

	memcpy(raw, &w, sizeof(w));
}
