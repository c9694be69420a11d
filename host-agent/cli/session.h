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
 */
#ifndef HYB_HOST_AGENT_CLI_SESSION_H
#define HYB_HOST_AGENT_CLI_SESSION_H

#include "common/base/err.h"

#include <stdbool.h>
#include <sys/ioctl.h>

#define SESSION_DRAIN_MS 2000

struct session {
	int control, in, out, errout; /* owned; -1: there is none */
	bool tty;
};

#define SESSION_INIT                                             \
	{                                                        \
		.control = -1, .in = -1, .out = -1, .errout = -1 \
	}

/* Carries the streams until the process has ended. *ret_status: its exit
 * status, 128 + signal, or 0 after a detach. -errno: the session was lost;
 * the terminal is as it was before in every case. An explanation of 126 or
 * 127 is put into e too, with 0 returned. */
int session_run(struct session *s, const char *name, int *ret_status,
		struct err *e);
void session_done(struct session *s);

/* The size of the terminal on standard input, output or error; unchanged
 * where there is none. */
void session_window(struct winsize *ws);

#endif
