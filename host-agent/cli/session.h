/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process in a container, connected to this one's standard streams.
 *
 * Theory of operation. One poll() loop. Guest to terminal: a buffer for each
 * of stdout and stderr; a stream is read only when its buffer is empty and
 * the buffer is written as the reader takes it, so nothing is lost and memory
 * does not grow. Terminal to guest likewise; end of file becomes a half-close.
 * Signals come through a signalfd: without a tty they are sent on as control
 * messages; SIGWINCH becomes a resize. The loop ends when the exit message
 * has come and both output streams have ended, or have been silent for
 * SESSION_DRAIN_MS after it (a grandchild may hold them open for ever).
 *
 * The detach keys ask the guest to keep the session; it ends the streams behind
 * the last byte that it has sent, and all of that is shown before hyb leaves:
 * who attaches later misses nothing.
 */
#ifndef HYB_HOST_AGENT_CLI_SESSION_H
#define HYB_HOST_AGENT_CLI_SESSION_H

#include "common/base/err.h"

#include "host-agent/cli/tty.h"

#include <stdbool.h>
#include <sys/ioctl.h>

#define SESSION_DRAIN_MS 2000
/* A guest that does not answer to the detach keys is left all the same. */
#define SESSION_LEAVE_MS 10000

struct session {
	int control, in, out, errout; /* owned; -1: there is none */
	bool tty;
	bool kept; /* it does not depend on us: attached, not begun */
	char id[33];
	struct tty_detach keys;
};

#define SESSION_INIT                                             \
	{                                                        \
		.control = -1, .in = -1, .out = -1, .errout = -1 \
	}

/* Carries the streams until the process has ended. *ret_status: its exit
 * status, 128 + signal, or 0 when it was left (which has been said). -errno: the session was lost;
 * the terminal is as it was before in every case. An explanation of 126 or
 * 127 is put into e too, with 0 returned. */
int session_run(struct session *s, const char *name, int *ret_status,
		struct err *e);
void session_done(struct session *s);

/* The size of the terminal on standard input, output or error; unchanged
 * where there is none. */
void session_window(struct winsize *ws);

#endif
