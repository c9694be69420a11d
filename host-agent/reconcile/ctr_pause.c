/* SPDX-License-Identifier: Apache-2.0 */
/* The freezer of one container. Only the VM's actor is here. */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#define CALL_MS 10000

/* Not by events: one of these may be older than what was done meanwhile, and
 * nobody but the actor freezes. Only what is taken up asks the guest. */
void ctr_take_pause(struct vm *vm, struct ctr *c,
		    const struct agent_container *a)
{
	if (!vm->taking_up || !ctr_is_live(c->state))
		return;
	ctr_set(vm, c, a->status == AGENT_PAUSED ? CTR_PAUSED : CTR_RUNNING, "",
		"");
}

int ctr_apply_pause(struct vm *vm, struct ctr *c, struct err *e)
{
	bool wanted, paused;
	int r;

	world_lock(vm->world);
	wanted = c->row.user_paused;
	paused = c->state == CTR_PAUSED;
	world_unlock(vm->world);
	if (wanted == paused)
		return 0;
	r = (wanted ? agent_pause : agent_resume)(&vm->agent, c->id,
						  now_ms() + CALL_MS, e);
	if (r < 0)
		return err_wrap(e, "%s container '%s/%s'",
				wanted ? "pause" : "resume", vm->name,
				c->row.name);
	ctr_set(vm, c, wanted ? CTR_PAUSED : CTR_RUNNING, "", "");
	ctr_store(vm, c);
	vm_tell(vm, c->row.name, wanted ? "paused" : "running", "%s",
		wanted ? "" : "resumed");
	return 0;
}
