/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What parent and child say to each other over a SOCK_SEQPACKET pair while the
 * child sets itself up:
 *
 *   parent → child   GO, with the root file system's descriptor where the
 *                    child could not inherit it
 *   child → parent   READY, where there are hooks to run before the pivot;
 *                    answered by a second GO
 *   child → parent   CONSOLE with the terminal's master side, where there is
 *                    one; READY when all but the program is in place; or
 *                    ERROR, after which the child exits
 *   starter → child  one byte, on the same socket or on a connection to a
 *                    listening one
 *   child → starter  LISTENER with the seccomp filter's, where it has one;
 *                    answered by GO once the supervisor has it
 *   child → starter  ERROR, or end of file once the program runs
 *
 * The child may turn into an enemy only after the program runs, when its end
 * is closed; still the parent takes messages of exactly one size and copies
 * text with a bound.
 */
#ifndef HYB_GUEST_CONTAINER_SYNC_H
#define HYB_GUEST_CONTAINER_SYNC_H

#include <stddef.h>
#include <stdint.h>

enum sync_kind {
	SYNC_GO = 1,
	SYNC_CONSOLE,
	SYNC_READY,
	SYNC_ERROR,
	SYNC_LISTENER,
};

struct sync_msg {
	uint32_t kind;
	int32_t error; /* positive errno */
	int32_t exit_code;
	char step[32];
	char what[212];
};

/* 0 or -errno; fd may be -1. Allocates nothing. */
int sync_send(int sock, const struct sync_msg *msg, int fd);
/* 0, -errno, -EPIPE at end of file, -ETIMEDOUT after deadline_ms of
 * CLOCK_MONOTONIC (0: none). *ret_fd (may be NULL): a descriptor that came
 * along, or -1. Texts end with NUL. */
int sync_recv(int sock, struct sync_msg *msg, int *ret_fd,
	      uint64_t deadline_ms);

#endif
