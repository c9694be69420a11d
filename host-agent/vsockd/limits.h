/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every limit of the device, each with its reason. All tables are of these
 * sizes from the start; nothing is allocated afterwards.
 */
#ifndef HYB_HOST_AGENT_VSOCKD_LIMITS_H
#define HYB_HOST_AGENT_VSOCKD_LIMITS_H

/* Connections of one VM, those that wait for its driver included. A running
 * container needs about four (log, exec and its three streams), hyb-portd
 * takes at most 160 (portd/limits.h), so the host agent always keeps 96. A
 * power of two: the low bits of a host port are the index of its slot. */
#define VSOCKD_CONNS_MAX 256

/* Entries of a ring. QEMU asks for 128 for a vsock device; 1024 is the most
 * that vhost-user devices commonly take, and bounds the work of one chain. */
#define VSOCKD_RING_MAX 1024

/* Descriptors of one chain. Linux uses one for a receive buffer and at most
 * 2 + MAX_SKB_FRAGS (17) for a packet that it sends. */
#define VSOCKD_SEGS_MAX 32

/* Regions of guest memory: the most a vhost-user front end sends when memory
 * slots are not negotiated. */
#define VSOCKD_REGIONS_MAX 8

/* All guest memory of one VM: 2^44 bytes. Keeps every sum of an address and a
 * length far from overflow. */
#define VSOCKD_MEMORY_MAX (1ULL << 44)

/* Bytes that the guest may have on the way to one host-side client: the
 * credit that we grant, and exactly the buffer that we have. 128 KiB carry
 * full speed (the guest sends 64 KiB a packet); 256 slow readers cost 32 MiB,
 * which is given back when their connections end. */
#define VSOCKD_BUF_SIZE (128u * 1024)

/* Payload of one packet, as in Linux (VIRTIO_VSOCK_MAX_PKT_BUF_SIZE). */
#define VSOCKD_PACKET_MAX (64u * 1024)

/* Credit of the guest that we honour. It costs us nothing (data waits in the
 * client's socket), but the arithmetic is kept far from 2^32. */
#define VSOCKD_CREDIT_MAX (16u * 1024 * 1024)

/* Resets that wait for a receive buffer. Packets to connections that do not
 * exist cost one each; when the queue is full the guest goes without an
 * answer (it has a timeout of its own), so that it cannot fill our memory. A
 * power of two. */
#define VSOCKD_RESETS_MAX 512

/* "CONNECT 4294967295\n" has 19 bytes. */
#define VSOCKD_LINE_MAX 24

/* Packets of one direction in one turn of the loop, so that the other
 * direction and the vhost-user socket get theirs, and after how many of them
 * the other side is told. */
#define VSOCKD_TURN_PACKETS  512
#define VSOCKD_BATCH_PACKETS 16

/* vhost-user messages in one turn: more than QEMU sends for a start. */
#define VSOCKD_TURN_MESSAGES 32

/* New clients in one turn. */
#define VSOCKD_TURN_ACCEPTS 32

/* Payload of a vhost-user message; the largest that we take is a memory table
 * (8 + 8 * 32) or a device configuration (12 + 256). */
#define VSOCKD_MESSAGE_MAX 280

/* A client has this long to write its CONNECT line: it writes it at once. */
#define VSOCKD_LINE_MS 5000
/* The guest has this long to answer a REQUEST. A driver answers without any
 * program's help, but a stopped or swamped VM may be slow. */
#define VSOCKD_REQUEST_MS 20000
/* ... and this long for its RST after both sides have shut down. Linux waits
 * 8 s the other way round. */
#define VSOCKD_LINGER_MS 8000
/* Data of a client that is gone is kept for a guest that takes none of it for
 * this long. */
#define VSOCKD_ORPHAN_MS 60000

/* A turn of the loop takes microseconds; one that takes this long hangs, and
 * with it QEMU: between one and two such times later the device ends. */
#define VSOCKD_WATCHDOG_S 3

/* Second looks at the rings after the loop has gone idle, for a kick that got
 * lost (QEMU's software emulation leaves out memory barriers for a VM of one
 * vCPU): the race is nanoseconds wide, so two looks are enough and an idle
 * device sleeps. */
#define VSOCKD_LOOK1_MS 2
#define VSOCKD_LOOK2_MS 20

/* Log lines in any ten seconds: the guest can cause some. */
#define VSOCKD_LOG_LINES 20

/* Descriptors: clients, and a handful of the device's own with those of one
 * message. */
#define VSOCKD_FDS_MAX (VSOCKD_CONNS_MAX + 40)

#endif
