/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Varlink calls and replies: the client's side as blocking functions, the
 * server's side as parsing, a table of methods with what they need, and
 * messages to answer with. Which loop or thread serves a connection is the
 * program's own matter.
 */
#ifndef HYB_COMMON_VARLINK_CALL_H
#define HYB_COMMON_VARLINK_CALL_H

#include "common/varlink/conn.h"

/* Flags of a call, as in the Varlink specification. */
enum vl_flags {
	VL_MORE = 1,
	VL_ONEWAY = 2,
	VL_UPGRADE = 4,
};

/* ------------------------------------------------------------- client */

struct vl_reply {
	json_t *msg;	    /* owned */
	json_t *parameters; /* inside msg; an empty object when absent */
	bool continues;
	/* "" or the error's full name, at most 127 bytes of [A-Za-z0-9.-] */
	char error[128];
};

void vl_reply_done(struct vl_reply *r);
#define _cleanup_vl_reply_ __attribute__((cleanup(vl_reply_done)))
#define VL_REPLY_INIT       \
	{                   \
		.msg = NULL \
	}

/* Sends a call. params: reference is taken; NULL: none. */
int vl_call_send(struct vl_conn *c, const char *method, json_t *params,
		 unsigned int flags, const int *fds, size_t n_fds,
		 uint64_t deadline_ms, struct err *e);
/* Receives one reply and checks its form. An error reply is no failure here:
 * look at reply->error. */
int vl_reply_read(struct vl_conn *c, uint64_t deadline_ms,
		  struct vl_reply *reply, struct err *e);
/* As vl_reply_read() with a message that is there already; takes msg over. */
int vl_reply_parse(json_t *msg, struct vl_reply *reply, struct err *e);
/* Both. An error reply makes this -EREMOTEIO with e->msg "NAME: message", the
 * peer's text escaped; the reply is there to look at. */
int vl_call(struct vl_conn *c, const char *method, json_t *params,
	    unsigned int flags, uint64_t deadline_ms, struct vl_reply *reply,
	    struct err *e);
/* -EREMOTEIO and the text for an error reply (0 for a good one). */
int vl_reply_check(const struct vl_reply *reply, struct err *e);

/* ------------------------------------------------------------- server */

struct vl_call {
	json_t *msg; /* owned */
	const char *method;
	json_t *parameters; /* inside msg; may be NULL: none */
	unsigned int flags;
};

void vl_call_done(struct vl_call *call);

/* Takes over msg. -EBADMSG when it is not a call. */
int vl_call_parse(json_t *msg, struct vl_call *ret, struct err *e);

/* One row of a server's table. */
struct vl_method {
	const char *name;    /* full: "io.hyb.Agent.Hello" */
	unsigned int needs;  /* flags that must be there (VL_UPGRADE) */
	unsigned int allows; /* flags that may be there */
	unsigned int permit; /* the program's own "permitted when" bits */
	int (*handler)(void *ctx, struct vl_call *call, struct err *e);
};

/* The row of call's method when its flags fit; else NULL and *ret_reply is the
 * error message to send (org.varlink.service.MethodNotFound, ...). */
const struct vl_method *vl_method_find(const struct vl_method *table, size_t n,
				       const struct vl_call *call,
				       json_t **ret_reply);

/* Messages to answer with; params' reference is taken, NULL: {}. NULL: no
 * memory. */
json_t *vl_make_reply(json_t *params, bool continues);
json_t *vl_make_error(const char *name, json_t *params);
/* org.varlink.service.InvalidParameter */
json_t *vl_make_invalid_parameter(const char *name);

/* Answers org.varlink.service.GetInfo and GetInterfaceDescription: the message
 * to send, or NULL where the call is neither. idl is the interface's text, as
 * idl.h names it. */
json_t *vl_service_reply(const struct vl_call *call, const char *product,
			 const char *version, const char *interface,
			 const char *idl);

/* Texts of common/idl/, built in. */
extern const char idl_io_hyb_Agent[];
extern const char idl_io_hyb_Host[];

#endif
