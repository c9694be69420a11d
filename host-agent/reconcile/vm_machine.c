/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs with an operating system of their own, from a disk. hybd has no agent in
 * them: it starts them, presses their power button, and sees them end. What one
 * has written lies in its machine (disk/), which outlives the VM's folder and
 * goes when the VM is not declared any more.
 */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <stdio.h>
#include <string.h>

/* An operating system takes longer to end than a container does. */
#define SHUTDOWN_MS 60000
/* For its disk and its source of random numbers. */
#define OWN_SLOTS 2

/* No part of it has a dot. */
static void machine_name(const struct vm *vm, char *out, size_t size)
{
	snprintf(out, size, "%s.%s.%s", vm->tenant, vm->stack, vm->name);
}

/* Its card is there before its ports: they lead to its address. */
static int connect_and_start(struct vm *vm, const struct model_vm *m,
			     struct virt_vm_spec *spec, struct err *e)
{
	_cleanup_close_ int tap = -1;
	struct net_machine net;
	struct virt_nic nic;
	int r = vm_plug(vm, &net, &tap, e);

	if (r == 0)
		r = ports_publish(vm, m, e);
	if (r < 0)
		return r;
	vm_tell(vm, "", "starting", "%s", "");
	nic = (struct virt_nic){.tap_fd = tap, .mac = net.mac};
	spec->nic = &nic;
	r = vm_start_domain(vm, m, spec, e);
	spec->nic = NULL;
	return r;
}

int machine_boot(struct vm *vm, const struct model_vm *m,
		 struct virt_vm_spec *spec, struct err *e)
{
	struct disk_machine machine;
	struct virt_boot boot = {.base = machine.base,
				 .overlay = machine.overlay};
	char name[3 * STATE_NAME_MAX];
	const char *vars = NULL;
	int r = 0;

	machine_name(vm, name, sizeof(name));
	if (m->boot_uefi)
		r = virt_uefi(&vars, e);
	if (r == 0)
		r = disk_machine_prepare(vm->world->disks, vm->tenant, name,
					 m->boot_disk, vars, vm_uid(vm),
					 vm_uid(vm), &machine, e);
	if (r < 0)
		return r;
	boot.nvram = vars ? machine.nvram : NULL;
	spec->carrier = VIRT_VSOCK_NONE;
	spec->slots += OWN_SLOTS;
	spec->boot = &boot;
	r = connect_and_start(vm, m, spec, e);
	spec->boot = NULL;
	if (r < 0)
		return r;
	world_lock(vm->world);
	vm->booted_at = now_ms();
	vm->agent_version[0] = '\0';
	vm->kernel[0] = '\0';
	world_unlock(vm->world);
	return 0;
}

int machine_reattach(struct vm *vm, struct err *e)
{
	(void)e;
	world_lock(vm->world);
	if (!vm->booted_at)
		vm->booted_at = now_ms();
	vm->state = VM_RUNNING;
	world_changed(vm->world);
	world_unlock(vm->world);
	return 0;
}

void machine_shutdown(struct vm *vm)
{
	struct err e = ERR_INIT;
	char domain[64];
	int r;

	world_lock(vm->world);
	vm->state = VM_STOPPING;
	world_changed(vm->world);
	world_unlock(vm->world);
	vm_domain_name(vm, domain);
	r = vm_announce_end(vm, "Stopped", &e);
	if (r == 0)
		vm_tell(vm, "", "stopping", "%s", "");
	if (r == 0)
		r = virt_vm_shutdown(vm->world->virt, domain, SHUTDOWN_MS, &e);
	if (r < 0)
		log_warn("%s/%s: %s: it is ended", vm->stack, vm->name, e.msg);
}

int machine_forget(struct vm *vm, struct err *e)
{
	char name[3 * STATE_NAME_MAX];

	machine_name(vm, name, sizeof(name));
	return disk_machine_remove(vm->world->disks, name, e);
}

static void check_machine(void *arg, const char *machine)
{
	char name[3 * STATE_NAME_MAX];
	struct world *w = arg;
	struct err e = ERR_INIT;
	const struct vm *vm;

	for (vm = w->vms; vm; vm = vm->next) {
		machine_name(vm, name, sizeof(name));
		if (strcmp(name, machine) == 0)
			return;
	}
	log_warn("machine '%s' is nobody's: removed", machine);
	if (disk_machine_remove(w->disks, machine, &e) < 0)
		log_warn("%s", e.msg);
}

void machine_orphans(struct world *w)
{
	struct err e = ERR_INIT;

	if (disk_machine_each(w->disks, check_machine, w, &e) < 0)
		log_warn("look for machines that are nobody's: %s", e.msg);
}
