/* SPDX-License-Identifier: Apache-2.0 */
/* Every limit of hyb-portd, each with its reason. */
#ifndef HYB_HOST_AGENT_PORTD_LIMITS_H
#define HYB_HOST_AGENT_PORTD_LIMITS_H

/* Connections carried at once for one VM. A device has 256 (vsockd/limits.h):
 * however many strangers connect to a published port, the host agent keeps 96
 * for itself. More wait in the listening sockets' backlog. */
#define PORTD_CONNS_MAX 160

/* Bytes kept in each direction of a connection: enough for full speed on a
 * local hop; all of them together are 10 MiB. */
#define PORTD_BUF_SIZE (32u * 1024)

/* Published ports of one VM. */
#define PORTD_PORTS_MAX 64

/* The agent's answer to Forward is some fifty bytes. */
#define PORTD_REPLY_MAX 4096

/* From a client's connect to the agent's answer. The guest may still be
 * booting; a client that waits longer than this is told with a reset. */
#define PORTD_OPEN_MS 10000

/* A client that keeps its half open after the guest has closed both and all
 * has been delivered. As long as TCP's own FIN_WAIT2. */
#define PORTD_LINGER_MS 60000

/* Between two tries at a device whose queue of new clients is full. */
#define PORTD_RETRY_MS 2

/* Buffers moved for one connection before the next has its turn. */
#define PORTD_TURN_BUFS 8

/* Seconds until a silent client is asked whether it is still there. */
#define PORTD_KEEPALIVE_S 120

#define PORTD_FDS_MAX (2 * PORTD_CONNS_MAX + PORTD_PORTS_MAX + 16)

#endif
