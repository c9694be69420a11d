/* SPDX-License-Identifier: Apache-2.0 */
/* A VM that an earlier hybd made, found again. */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#define REATTACH_MS VM_REATTACH_MS

static int take_disks(struct vm *vm, const char *domain, struct err *e)
{
	_cleanup_free_ struct virt_disk *disks = NULL;
	size_t i, n = 0;
	int r;

	r = virt_vm_disks(vm->world->virt, domain, &disks, &n, e);
	if (r < 0)
		return r;
	vm->n_disks = 0;
	for (i = 0; i < n && vm->n_disks < WORLD_DISKS_MAX; i++)
		if (strncmp(disks[i].serial, VOLUME_SERIAL_PREFIX,
			    strlen(VOLUME_SERIAL_PREFIX)) != 0 &&
		    strcmp(disks[i].serial, SCRATCH_SERIAL) != 0)
			snprintf(vm->disks[vm->n_disks++], sizeof(vm->disks[0]),
				 "%s", disks[i].serial);
	scratch_take(vm, disks, n);
	return volumes_take(vm, disks, n, e);
}

/* One container of ours, and what the guest says of it (NULL: it has none). */
static int take_container(struct vm *vm, struct ctr *c,
			  const struct agent_container *a, struct err *e)
{
	int r = 0;

	world_lock(vm->world);
	c->in_guest = a != NULL;
	world_unlock(vm->world);
	if (a) {
		r = logpump_add(vm->pump, c->row.name, c->id, c->row.log_base,
				e);
		if (r < 0)
			return r;
		ctr_observe(vm, a);
	}
	world_lock(vm->world);
	/* Killed between its making and its start: once more. */
	if (c->state == CTR_STARTING || (ctr_is_live(c->state) && !a))
		c->state = CTR_PENDING;
	if (c->state == CTR_STOPPING)
		c->state = !a			       ? CTR_PENDING
			   : a->status == AGENT_PAUSED ? CTR_PAUSED
						       : CTR_RUNNING;
	world_unlock(vm->world);
	/* Ended, and its restart was not done yet. */
	if (c->state == CTR_FAILED || c->state == CTR_EXITED)
		ctr_plan_restart(vm, c);
	return 0;
}

/* What the guest has, and what of ours it does not have any more. */
static int take_containers(struct vm *vm, struct err *e)
{
	struct agent_container *list;
	size_t n = 0, i, k;
	int r;

	list = calloc(HYB_AGENT_CONTAINERS_MAX, sizeof(*list));
	if (!list)
		return err_sys(e, ENOMEM, "list containers");
	r = agent_list(&vm->agent, now_ms() + REATTACH_MS, list, &n, e);
	for (i = 0; r == 0 && i < vm->n_ctrs; i++) {
		for (k = 0; k < n && strcmp(list[k].id, vm->ctrs[i].id) != 0;
		     k++)
			;
		r = take_container(vm, &vm->ctrs[i], k < n ? &list[k] : NULL,
				   e);
	}
	free(list);
	return r;
}

int vm_reattach(struct vm *vm, struct err *e)
{
	struct virt_vm_info info;
	struct agent_hello hello;
	char domain[64];
	int r;

	vm_disconnect(vm);
	vm_domain_name(vm, domain);
	r = virt_vm_info(vm->world->virt, domain, &info, e);
	if (r < 0)
		return r;
	if (info.state == VIRT_GONE)
		return err_set(e, ESRCH, "the VM is gone: %s",
			       virt_end_name(info.end));
	if (info.share_lost)
		return err_set(e, EOWNERDEAD,
			       "the process behind a bind has ended");
	if (vm->machine)
		return machine_reattach(vm, e);
	r = vm_greet(vm, now_ms() + REATTACH_MS, &hello, e);
	if (r < 0)
		return r;
	if (strcmp(hello.instance, vm->row.instance) != 0)
		r = err_set(e, EBADMSG, "the guest is not the one we made");
	if (r == 0)
		r = take_disks(vm, domain, e);
	if (r == 0 && !vm->pump)
		r = vm_start_pump(vm, e);
	if (r == 0)
		r = take_containers(vm, e);
	if (r == 0)
		r = vm_open_events(vm, e);
	if (r < 0)
		return r;
	world_lock(vm->world);
	if (!vm->booted_at)
		vm->booted_at = now_ms() - (uint64_t)hello.uptime_ns / 1000000;
	world_unlock(vm->world);
	vm_set_state(vm, VM_RUNNING);
	return 0;
}
