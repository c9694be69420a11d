/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scratch disk of one VM. Only the VM's actor is here.
 *
 * The file lies in the VM's own folder, so whatever removes that (the VM's end,
 * or the next hybd, which finds a folder that no row speaks of) removes it: no
 * row of its own is needed. It is made and attached while the guest boots; one
 * that was made and not attached is made again.
 */
#include "host-agent/reconcile/world.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* As virt/ calls the file of a disk with this serial. */
#define FILE_NAME "disk-" SCRATCH_SERIAL

static uint64_t wanted_size(struct vm *vm)
{
	uint64_t size = 0;

	world_lock(vm->world);
	if (vm->desired)
		size = model_vm_scratch(vm->desired);
	world_unlock(vm->world);
	return size;
}

static int make(struct vm *vm, const char *domain, uint64_t size, struct err *e)
{
	char path[sizeof(vm->dir) + sizeof(FILE_NAME) + 1];
	int r;

	r = volume_scratch_make(vm->world->volumes, vm->dir, FILE_NAME, size,
				vm_uid(vm), e);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/" FILE_NAME, vm->dir);
	r = virt_vm_attach_scratch(vm->world->virt, domain, path,
				   SCRATCH_SERIAL, e);
	return r < 0 ? err_wrap(e, "attach the scratch disk") : 0;
}

int scratch_ensure(struct vm *vm, struct err *e)
{
	uint64_t size = wanted_size(vm);
	char domain[64];
	int r;

	if (size <= vm->scratch)
		return 0;
	vm_domain_name(vm, domain);
	if (!vm->scratch) {
		r = make(vm, domain, size, e);
	} else {
		/* The guest's file system follows when the next container is
		 * made. */
		r = virt_vm_resize_disk(vm->world->virt, domain, SCRATCH_SERIAL,
					size, e);
		if (r < 0)
			err_wrap(e, "grow the scratch disk");
	}
	if (r == 0)
		vm->scratch = size;
	return r;
}

void scratch_take(struct vm *vm, const struct virt_disk *disks, size_t n)
{
	char path[sizeof(vm->dir) + sizeof(FILE_NAME) + 1];
	struct stat st;
	size_t i;

	vm->scratch = 0;
	for (i = 0; i < n && strcmp(disks[i].serial, SCRATCH_SERIAL) != 0;)
		i++;
	if (i == n)
		return;
	/* QEMU's uid could have made this any number: then its own disk is not
	 * grown, or is cut, and that is all. */
	snprintf(path, sizeof(path), "%s/" FILE_NAME, vm->dir);
	if (lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0)
		vm->scratch = (uint64_t)st.st_size;
	else
		vm->scratch = UINT64_MAX;
}
