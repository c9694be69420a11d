/* SPDX-License-Identifier: Apache-2.0 */
/* Images of containers that are declared, and not made of them yet. */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/base/json.h"

/* What has been made keeps the digest, whatever its name means by now. */
static void add_references(json_t *of, struct vm *vm)
{
	const struct model_container *m;
	const struct ctr *c;
	size_t i;

	for (i = 0; i < vm->desired->n_containers; i++) {
		m = &vm->desired->containers[i];
		c = vm_find_ctr(vm, m->name);
		if (!c || !c->row.digest[0])
			json_object_set_new(of, m->image, json_null());
	}
}

/* tenant -> reference -> null. */
static json_t *references(struct world *w)
{
	json_t *all = json_object(), *of;
	struct vm *vm;

	world_lock(w);
	for (vm = w->vms; vm; vm = vm->next) {
		if (vm->gone || !vm->desired)
			continue;
		of = json_object_get(all, vm->tenant);
		if (!of) {
			of = json_object();
			json_object_set_new(all, vm->tenant, of);
		}
		add_references(of, vm);
	}
	world_unlock(w);
	return all;
}

json_t *images_declared(struct api *api, const char *owner)
{
	_cleanup_json_ json_t *all = references(api->world);
	json_t *ret = json_object(), *of, *none;
	const char *tenant, *reference;

	json_object_foreach(all, tenant, of) {
		json_object_foreach(of, reference, none) {
			_cleanup_image_info_ struct image_info *i = NULL;

			if (image_stores_get(api->images, tenant, reference, &i,
					     NULL) == 0 &&
			    strcmp(i->tenant, owner) == 0)
				json_object_set_new(ret, i->digest,
						    json_null());
		}
	}
	return ret;
}
