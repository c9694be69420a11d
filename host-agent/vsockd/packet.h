/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a virtio-vsock packet (virtio 1.2, 5.10.6). */
#ifndef HYB_HOST_AGENT_VSOCKD_PACKET_H
#define HYB_HOST_AGENT_VSOCKD_PACKET_H

#include <stddef.h>
#include <stdint.h>

#define PACKET_HEADER_SIZE 44
#define PACKET_HOST_CID	   2

#define PACKET_TYPE_STREAM 1

enum packet_op {
	PACKET_INVALID = 0,
	PACKET_REQUEST = 1,
	PACKET_RESPONSE = 2,
	PACKET_RST = 3,
	PACKET_SHUTDOWN = 4,
	PACKET_RW = 5,
	PACKET_CREDIT_UPDATE = 6,
	PACKET_CREDIT_REQUEST = 7,
};

/* Flags of SHUTDOWN: the sender will receive, or send, no more. */
#define PACKET_SHUT_RCV	 1u
#define PACKET_SHUT_SEND 2u
#define PACKET_SHUT_BOTH 3u

struct packet {
	uint64_t src_cid;
	uint64_t dst_cid;
	uint32_t src_port;
	uint32_t dst_port;
	uint32_t len; /* payload behind the header */
	uint16_t type;
	uint16_t op;
	uint32_t flags;
	uint32_t buf_alloc;
	uint32_t fwd_cnt;
};

/*
 * The header of a packet that the guest with this CID has sent, in a chain
 * with `payload` bytes behind the header. 0: well formed (op, flags and
 * credit are still the guest's word). -EPROTO: not from this guest, not to
 * the host, or longer than its chain: it is dropped, nobody can be answered.
 * -EPROTOTYPE: not a stream, or an op with a payload that has none: *ret is
 * filled in, and the answer is a reset.
 */
int packet_parse(const uint8_t raw[PACKET_HEADER_SIZE], size_t payload,
		 uint64_t guest_cid, struct packet *ret);
void packet_format(const struct packet *p, uint8_t raw[PACKET_HEADER_SIZE]);

#endif
