/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of sessions use of each other. */
#ifndef HYB_GUEST_RPC_SESSION_H
#define HYB_GUEST_RPC_SESSION_H

#include "guest-agent/rpc/agent.h"

/* --------------------------------------------------------------- session.c */

struct session *session_find(struct agent *a, const char *id);
/* Frees it when nothing is left to do. */
void session_look(struct session *s);
void session_free(struct session *s);

/* -------------------------------------------------------- session_stream.c */

extern const struct peer_mode session_stream_mode;

void streams_init(struct session *s);
/* Our end is closed: the stream is over, its connection ends in order. */
void stream_end(struct session_stream *st);
/* Moves what can be moved. */
void stream_run(struct session_stream *st);
/* The host has nothing more to say: end of file for the process. */
void input_end(struct session_stream *st);

/* ------------------------------------------------------- session_control.c */

extern const struct peer_mode session_control_mode;

/* Tells how it ended, to whom is there to be told. message: why the program
 * could not be executed, or NULL. */
void control_send_exit(struct session *s, const char *message);

/* ---------------------------------------------------------- session_keep.c */

/* From now on the session does not depend on its host. -EUSERS: the container
 * has too many of them, -ENOMEM, -ENOENT: it has been deleted. */
int session_keep(struct session *s, struct err *e);
/* Undoes it for a session that has not begun. */
void session_unkeep(struct session *s);
/* Is a host there? */
bool session_is_attached(const struct session *s);
/* Ends the connections of whoever is there, who is told. */
void session_take_over(struct session *s);
/* The kept session that ended first, is not attached, and is slot's (NULL:
 * anybody's). NULL: there is none. */
struct session *session_oldest_ended(struct agent *a, const struct slot *slot);
/* A stream's own work: output through the ring. */
void kept_output_run(struct session_stream *st);
/* The host asks to leave: what it has not got stays in the ring. */
void session_leave(struct session *s);

#endif
