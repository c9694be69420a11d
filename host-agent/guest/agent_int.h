/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to the agent: what the files of this folder share. */
#ifndef HYB_HOST_GUEST_AGENT_INT_H
#define HYB_HOST_GUEST_AGENT_INT_H

#include <stddef.h>

#include "common/base/cleanup.h"
#include "common/varlink/params.h"
#include "host-agent/guest/agent.h"

#define IFACE "io.hyb.Agent."

#define AT(type, member) offsetof(struct type, member)

struct one_object {
	json_t *value;
};

/* One call whose answer is read by a table (n 0: nothing is read). params are
 * taken, NULL: none. What is read points into *reply. An answer that makes no
 * sense ends the connection. */
int agent_call_read(struct agent *a, const char *method, json_t *params,
		    uint64_t deadline_ms, const struct vl_field *fields,
		    size_t n, void *out, struct vl_reply *reply, struct err *e);

/* One whose answer says nothing. */
int agent_call(struct agent *a, const char *method, json_t *params,
	       uint64_t deadline_ms, struct err *e);

/* One that answers with the container that it is about. */
int agent_call_one(struct agent *a, const char *method, json_t *params,
		   const char *id, uint64_t deadline_ms,
		   struct agent_container *ret, struct err *e);

/* The `containers` of a method that asks for all; *ret is the reply's. */
int agent_call_all(struct agent *a, const char *method, uint64_t deadline_ms,
		   struct vl_reply *reply, json_t **ret, struct err *e);

#endif
