/* SPDX-License-Identifier: Apache-2.0 */
/* The disks of a VM's images: attached, and given back when it has no room. */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"

/* Is the disk the image of a container that is in the guest? */
static bool disk_is_used(struct vm *vm, const char *serial)
{
	bool used = false;
	size_t i;

	for (i = 0; i < vm->n_ctrs && !used; i++) {
		_cleanup_image_info_ struct image_info *image = NULL;

		if (!vm->ctrs[i].in_guest)
			continue;
		/* What cannot be told is taken for used. */
		used = image_stores_get(vm->world->images, vm->tenant,
					vm->ctrs[i].row.digest, &image,
					NULL) < 0 ||
		       strcmp(image->erofs_serial, serial) == 0;
	}
	return used;
}

/* Gives back the ports of images that earlier deployments brought and nobody
 * uses any more. */
static void release_disks(struct vm *vm, const char *domain)
{
	struct err e = ERR_INIT;
	size_t i = 0;

	while (i < vm->n_disks) {
		if (disk_is_used(vm, vm->disks[i])) {
			i++;
			continue;
		}
		if (virt_vm_detach_disk(vm->world->virt, domain, vm->disks[i],
					&e) < 0) {
			log_warn("%s/%s: detach image disk: %s", vm->stack,
				 vm->name, e.msg);
			i++;
			continue;
		}
		vm->n_disks--;
		memmove(vm->disks[i], vm->disks[vm->n_disks],
			sizeof(vm->disks[0]));
	}
}

static int attach_to(struct vm *vm, const char *domain,
		     const struct image_info *i, struct err *e)
{
	struct virt *v = vm->world->virt;

	return i->base_path ? virt_vm_attach_difference(v, domain, i->path,
							i->base_path,
							i->erofs_serial, e)
			    : virt_vm_attach_disk(v, domain, i->path,
						  i->erofs_serial, true, e);
}

static int attach_disk(struct vm *vm, const struct image_info *image,
		       struct err *e)
{
	char domain[64];
	int r;

	vm_domain_name(vm, domain);
	r = attach_to(vm, domain, image, e);
	if (r != -ENOSPC)
		return r;
	release_disks(vm, domain);
	return attach_to(vm, domain, image, e);
}

int vm_attach_image(struct vm *vm, const struct model_container *m,
		    struct image_info **ret_image, struct err *e)
{
	_cleanup_image_info_ struct image_info *image = NULL;
	size_t i;
	int r;

	r = image_stores_get(vm->world->images, vm->tenant, model_image(m),
			     &image, e);
	if (r < 0)
		return model_image(m) == m->image
			       ? r
			       : err_wrap(e, "image '%s'", m->image);
	for (i = 0; i < vm->n_disks; i++)
		if (strcmp(vm->disks[i], image->erofs_serial) == 0)
			break;
	if (i == vm->n_disks) {
		r = attach_disk(vm, image, e);
		if (r < 0)
			return err_wrap(e, "attach image '%s'", m->image);
		snprintf(vm->disks[vm->n_disks++], sizeof(vm->disks[0]), "%s",
			 image->erofs_serial);
	}
	*ret_image = steal_ptr(image);
	return 0;
}

void vm_attach_images(struct vm *vm, const struct model_vm *m)
{
	struct image_info *image;
	struct err e = ERR_INIT;
	size_t i;

	if (scratch_ensure(vm, &e) < 0)
		log_debug("%s/%s: %s", vm->stack, vm->name, e.msg);
	for (i = 0; i < m->n_containers; i++) {
		image = NULL;
		if (vm_attach_image(vm, &m->containers[i], &image, &e) < 0)
			log_debug("%s/%s: %s", vm->stack, vm->name, e.msg);
		image_info_free(image);
	}
}
