/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One Varlink connection (varlink.org): messages are JSON objects, each ended
 * by one NUL byte. Framing only; what a message means is call.h's.
 *
 * The peer may be an enemy: a message over the limits, broken JSON, duplicate
 * keys or anything that is no object ends the connection (-EMSGSIZE,
 * -EBADMSG). A value in memory takes up to some 200 bytes, "{}," three: their
 * number is limited, too.
 */
#ifndef HYB_COMMON_VARLINK_CONN_H
#define HYB_COMMON_VARLINK_CONN_H

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/fd.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Longest message, without its NUL. */
#define VL_MESSAGE_MAX ((size_t)1 << 20)

struct vl_conn {
	int fd;		      /* owned; -1 after vl_conn_done() */
	size_t max;	      /* longest message accepted */
	size_t max_values;    /* values (and members) in one; may be changed */
	struct buf in;	      /* received, not yet taken */
	size_t seen;	      /* bytes of `in` known to hold no NUL */
	int fds[HYB_FDS_MAX]; /* received descriptors, not yet taken */
	size_t n_fds;
	bool is_unix; /* descriptors may be passed */
};

/* Takes over fd. max 0: VL_MESSAGE_MAX. As many values as bytes / 8. */
void vl_conn_init(struct vl_conn *c, int fd, size_t max);
void vl_conn_done(struct vl_conn *c);
#define _cleanup_vl_conn_ __attribute__((cleanup(vl_conn_done)))

/* One receive: bytes got, 0 at end of file, -EAGAIN or another -errno. */
ssize_t vl_conn_fill(struct vl_conn *c);
/* The next whole message in what was received: 1 and *ret (new reference), 0:
 * more must be received first, or -EMSGSIZE, -EBADMSG. */
int vl_conn_next(struct vl_conn *c, json_t **ret, struct err *e);
/* Waits for a message until deadline_ms of CLOCK_MONOTONIC (0: for ever): 0,
 * -ECONNRESET at end of file, -ETIMEDOUT or as above. */
int vl_conn_read(struct vl_conn *c, uint64_t deadline_ms, json_t **ret,
		 struct err *e);
/* Sends a message, with descriptors (which stay the caller's). */
int vl_conn_write(struct vl_conn *c, const json_t *msg, const int *fds,
		  size_t n_fds, uint64_t deadline_ms, struct err *e);

/* The message as text with its NUL, for a caller with a queue of its own;
 * the caller frees it. NULL: no memory. */
char *vl_format(const json_t *msg, size_t *ret_len);

/* The received descriptors: up to max go to the caller, others are closed. */
size_t vl_conn_take_fds(struct vl_conn *c, int *fds, size_t max);
/* After an upgrade: bytes that came behind the last message. They are the
 * caller's to use first; consume them with buf_consume(&c->in, n). */
const void *vl_conn_leftover(const struct vl_conn *c, size_t *ret_len);

#endif
