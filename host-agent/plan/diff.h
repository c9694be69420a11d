/* SPDX-License-Identifier: Apache-2.0 */
/* What changed between two canonical JSON forms, in words, and what it takes
 * to bring it about. */
#ifndef HYB_HOST_AGENT_PLAN_DIFF_H
#define HYB_HOST_AGENT_PLAN_DIFF_H

#include "common/base/buf.h"
#include "host-agent/plan/plan.h"

struct diff {
	bool changed;
	enum plan_class change_class; /* the heaviest of the changed fields */
	struct buf why; /* "user changed: a → b, init changed: ..." */
};

void diff_done(struct diff *d);
#define _cleanup_diff_ __attribute__((cleanup(diff_done)))

/* Of two containers (model_container_to_json()). A field that one side lacks
 * (made by another version of hyb) counts as changed only where the other has
 * something in it. 0 or -ENOMEM. */
int diff_container(const json_t *applied, const json_t *desired,
		   struct diff *ret);
/* Of two VMs (model_vm_to_json()), their containers aside except for what they
 * add to the memory of a VM whose memory is auto. */
int diff_vm(const json_t *applied, const struct model_vm *desired,
	    struct diff *ret);

/* The text into out[size], cut at a character with "..." when it is longer. */
void text_fit(const char *text, char *out, size_t size);

#endif
