/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The volumes of one VM: claimed, attached, mounted, grown, given back. Only
 * the VM's actor is here.
 *
 * The order is that of everything that must not be in two hands: the use is
 * written, then the disk attached, then mounted; and the other way round,
 * unmounted, detached, and only then the use taken away.
 */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#define DISK_MS	   10000
#define MOUNT_MS   300000 /* an image's content may have to be copied */
#define UNMOUNT_MS 10000

static struct vm_volume *find_volume(struct vm *vm, const char *source)
{
	size_t i;

	for (i = 0; i < vm->n_volumes; i++)
		if (strcmp(vm->volumes[i].source, source) == 0)
			return &vm->volumes[i];
	return NULL;
}

/* What the model says of a volume: whose it is, and whether this VM writes. */
static bool model_says(struct vm *vm, const char *source, char *stack,
		       size_t size, bool *writes)
{
	const struct model_volume *v = NULL;
	bool uses = false;

	world_lock(vm->world);
	if (vm->ref && vm->desired) {
		v = model_find_volume(vm->ref->model, source);
		uses = model_vm_uses_volume(vm->desired, source, writes);
	}
	if (v)
		snprintf(stack, size, "%s", v->external ? "" : vm->stack);
	world_unlock(vm->world);
	return v && uses;
}

/* ------------------------------------------------------------ attaching */

/* Will the VM that has it give it back? Then it is worth waiting. */
static bool holder_lets_go(struct vm *vm, int64_t holder, const char *source,
			   char *who, size_t size)
{
	const struct vm *other;
	bool lets_go = false;

	world_lock(vm->world);
	snprintf(who, size, "another VM");
	for (other = vm->world->vms; other; other = other->next) {
		if (other->row.id != holder)
			continue;
		snprintf(who, size, "%s/%s", other->stack, other->name);
		lets_go = strcmp(other->tenant, vm->tenant) == 0 &&
			  strcmp(other->stack, vm->stack) == 0 &&
			  (!other->desired ||
			   !model_vm_uses_volume(other->desired, source, NULL));
	}
	world_unlock(vm->world);
	return lets_go;
}

static int on_busy(struct vm *vm, struct ctr *c, const char *source,
		   int64_t holder, struct err *e)
{
	char who[144];

	if (!holder)
		return -EBUSY;
	if (volume_is_copy(holder)) {
		world_lock(vm->world);
		snprintf(c->why, sizeof(c->why),
			 "waits for volume %.48s, of which a copy is made",
			 source);
		world_unlock(vm->world);
		return 1;
	}
	if (holder_lets_go(vm, holder, source, who, sizeof(who))) {
		world_lock(vm->world);
		snprintf(c->why, sizeof(c->why),
			 "waits for volume %.48s, which %.80s has", source,
			 who);
		world_unlock(vm->world);
		return 1;
	}
	err_set(e, EBUSY,
		"volume '%s' is in use by %s: while one VM writes, no other "
		"may use it",
		source, who);
	return -EBUSY;
}

static int attach(struct vm *vm, struct ctr *c, const char *source,
		  struct state_volume *v, bool writes, struct err *e)
{
	char path[VOLUME_PATH_MAX], serial[24], domain[64];
	struct vm_volume *mine;
	int64_t holder = 0;
	int r;

	if (vm->n_volumes == HYB_VM_VOLUMES_MAX)
		return err_set(e, ENOSPC, "a VM has at most %d volumes",
			       HYB_VM_VOLUMES_MAX);
	r = volume_attach(vm->world->volumes, v, vm->row.id, vm_uid(vm), writes,
			  path, &holder, e);
	if (r == -EBUSY)
		return on_busy(vm, c, source, holder, e);
	if (r < 0)
		return r;
	volume_serial(v->id, serial);
	vm_domain_name(vm, domain);
	r = virt_vm_attach_volume(vm->world->virt, domain, path, serial,
				  !writes, e);
	if (r < 0) {
		volume_detached(vm->world->volumes, v->id, vm->row.id, NULL);
		return err_wrap(e, "attach volume '%s'", source);
	}
	mine = &vm->volumes[vm->n_volumes++];
	vm->sizes_seen = 0;
	memset(mine, 0, sizeof(*mine));
	mine->id = v->id;
	snprintf(mine->source, sizeof(mine->source), "%s", source);
	snprintf(mine->stack, sizeof(mine->stack), "%s", v->stack);
	mine->writes = writes;
	mine->size = v->size;
	return 0;
}

static int mount_volume(struct vm *vm, const struct vm_volume *v,
			const struct model_mount *m,
			const struct image_info *image, struct err *e)
{
	char serial[24];
	struct agent_volume a = {
		.serial = serial,
		.read_only = !v->writes,
		/* A part of it is what is in it: nothing is copied. */
		.image_serial =
			m && !m->no_copy && !m->read_only && !*m->subpath
				? image->erofs_serial
				: "",
		.path = m ? m->target : "",
	};
	int r;

	volume_serial(v->id, serial);
	r = agent_mount_volume(&vm->agent, &a, DISK_MS, now_ms() + MOUNT_MS, e);
	return r < 0 ? err_wrap(e, "volume '%s'", v->source) : 0;
}

static int ensure_volume(struct vm *vm, struct ctr *c,
			 const struct model_mount *m,
			 const struct image_info *image, struct err *e)
{
	char stack[STATE_NAME_MAX], serial[24];
	struct vm_volume *mine;
	struct state_volume v;
	bool writes = false;
	int r;

	if (!model_says(vm, m->source, stack, sizeof(stack), &writes))
		return err_set(e, ENOENT, "there is no volume '%s'", m->source);
	writes = writes || !m->read_only;
	r = volume_find(vm->world->volumes, vm->tenant, stack, m->source, &v,
			e);
	if (r < 0)
		return r;
	mine = find_volume(vm, m->source);
	if (mine && writes && !mine->writes) {
		err_set(e, EBUSY,
			"volume '%s' is attached to the VM for reading only",
			m->source);
		err_hint(e, "`hyb restart %s/%s` makes the VM anew", vm->stack,
			 vm->name);
		return -EBUSY;
	}
	if (!mine) {
		r = attach(vm, c, m->source, &v, writes, e);
		if (r != 0)
			return r;
		mine = find_volume(vm, m->source);
	}
	volume_serial(mine->id, serial);
	return mount_volume(vm, mine, m, image, e);
}

int volumes_ensure(struct vm *vm, struct ctr *c,
		   const struct model_container *m,
		   const struct image_info *image, struct err *e)
{
	size_t i;
	int r;

	for (i = 0; i < m->n_mounts; i++) {
		if (m->mounts[i].kind != MODEL_MOUNT_VOLUME)
			continue;
		r = ensure_volume(vm, c, &m->mounts[i], image, e);
		if (r != 0)
			return r;
	}
	return 0;
}

int64_t volumes_id(void *arg, const char *source)
{
	const struct vm_volume *v = find_volume(arg, source);

	return v ? v->id : 0;
}

/* ------------------------------------------------------------ giving back */

static bool is_mounted_in(const char *applied, const char *source)
{
	json_t *j = applied ? json_loads(applied, 0, NULL) : NULL;
	const json_t *list = json_object_get(j, "mounts"), *m;
	const char *s;
	bool found = false;
	size_t i;

	json_array_foreach(list, i, m) {
		s = json_string_value(json_object_get(m, "source"));
		found = found || (s && strcmp(s, source) == 0);
	}
	json_decref(j);
	return found;
}

static bool is_in_guest(const struct vm *vm, const char *source)
{
	size_t i;

	for (i = 0; i < vm->n_ctrs; i++)
		if (vm->ctrs[i].in_guest &&
		    is_mounted_in(vm->ctrs[i].row.applied, source))
			return true;
	return false;
}

static int give_back(struct vm *vm, size_t i, struct err *e)
{
	struct vm_volume *v = &vm->volumes[i];
	char serial[24], domain[64];
	int r;

	volume_serial(v->id, serial);
	vm_domain_name(vm, domain);
	r = agent_unmount_volume(&vm->agent, serial, now_ms() + UNMOUNT_MS, e);
	if (r == 0)
		r = virt_vm_detach_disk(vm->world->virt, domain, serial, e);
	if (r == 0)
		r = volume_detached(vm->world->volumes, v->id, vm->row.id, e);
	if (r < 0)
		return r;
	*v = vm->volumes[--vm->n_volumes];
	return 0;
}

void volumes_give_back(struct vm *vm)
{
	struct err e = ERR_INIT;
	char stack[STATE_NAME_MAX];
	bool writes, wanted;
	size_t i = 0;

	while (i < vm->n_volumes) {
		struct vm_volume *v = &vm->volumes[i];

		writes = false;
		wanted = model_says(vm, v->source, stack, sizeof(stack),
				    &writes) &&
			 strcmp(stack, v->stack) == 0 && writes == v->writes;
		if (wanted || is_in_guest(vm, v->source)) {
			i++;
		} else if (give_back(vm, i, &e) < 0) {
			log_warn("%s/%s: give back volume '%s': %s", vm->stack,
				 vm->name, v->source, e.msg);
			i++;
		}
	}
}

void volumes_unmount(struct vm *vm)
{
	struct err e = ERR_INIT;
	char serial[24];
	size_t i;

	for (i = 0; i < vm->n_volumes && vm->agent.conn.fd >= 0; i++) {
		volume_serial(vm->volumes[i].id, serial);
		/* What is not unmounted has its journal replayed. */
		if (agent_unmount_volume(&vm->agent, serial,
					 now_ms() + UNMOUNT_MS, &e) < 0)
			log_info("%s/%s: volume '%s': %s", vm->stack, vm->name,
				 vm->volumes[i].source, e.msg);
	}
}

/* ---------------------------------------------------------------- growing */

int volumes_grow(struct vm *vm, struct err *e)
{
	char serial[24], domain[64];
	uint64_t generation;
	struct state_volume v;
	size_t i;
	int r;

	generation = volume_generation(vm->world->volumes);
	if (vm->sizes_seen == generation)
		return 0;
	vm_domain_name(vm, domain);
	for (i = 0; i < vm->n_volumes; i++) {
		struct vm_volume *mine = &vm->volumes[i];

		if (!mine->writes)
			continue;
		r = volume_find(vm->world->volumes, vm->tenant, mine->stack,
				mine->source, &v, e);
		if (r < 0)
			return r;
		if (v.id != mine->id || v.size <= mine->size)
			continue;
		volume_serial(v.id, serial);
		r = virt_vm_resize_disk(vm->world->virt, domain, serial,
					(uint64_t)v.size, e);
		if (r == 0)
			r = volume_grown(vm->world->volumes, &v, e);
		if (r == 0)
			r = mount_volume(vm, mine, NULL, NULL, e);
		if (r < 0)
			return err_wrap(e, "grow volume '%s'", mine->source);
		mine->size = v.size;
		vm_tell(vm, "", "volume grown", "%s: %lldm", mine->source,
			(long long)(v.size >> 20));
	}
	vm->sizes_seen = generation;
	return 0;
}

/* ------------------------------------------------------------ taking it up */

static void take_one(struct vm *vm, const struct state_volume_use *use,
		     const struct virt_disk *disks, size_t n,
		     const struct state_volume *v)
{
	struct err e = ERR_INIT;
	struct vm_volume *mine;
	char serial[24];
	size_t i;

	volume_serial(v->id, serial);
	for (i = 0; i < n && strcmp(disks[i].serial, serial) != 0;)
		i++;
	/* Killed before it was attached, or after it was detached. */
	if (i == n || vm->n_volumes == HYB_VM_VOLUMES_MAX) {
		if (volume_detached(vm->world->volumes, v->id, vm->row.id, &e) <
		    0)
			log_warn("%s/%s: %s", vm->stack, vm->name, e.msg);
		return;
	}
	mine = &vm->volumes[vm->n_volumes++];
	vm->sizes_seen = 0;
	memset(mine, 0, sizeof(*mine));
	mine->id = v->id;
	mine->writes = use->writes;
	/* Growing may have been interrupted: asked for once more. */
	mine->size = 0;
	snprintf(mine->source, sizeof(mine->source), "%s", v->name);
	snprintf(mine->stack, sizeof(mine->stack), "%s", v->stack);
}

int volumes_take(struct vm *vm, const struct virt_disk *disks, size_t n,
		 struct err *e)
{
	_cleanup_free_ struct state_volume_use *uses = NULL;
	_cleanup_free_ struct state_volume *list = NULL;
	size_t n_uses = 0, n_list = 0, i, k;
	int r;

	vm->n_volumes = 0;
	r = state_volume_uses(vm->world->state, 0, &uses, &n_uses, e);
	if (r == 0)
		r = state_volume_list(vm->world->state, &list, &n_list, e);
	for (i = 0; r == 0 && i < n_uses; i++)
		for (k = 0; uses[i].vm_id == vm->row.id && k < n_list; k++)
			if (list[k].id == uses[i].volume_id)
				take_one(vm, &uses[i], disks, n, &list[k]);
	return r;
}

static bool vm_exists(struct world *w, int64_t id)
{
	const struct vm *vm;

	for (vm = w->vms; vm; vm = vm->next)
		if (vm->row.id == id && vm->row.exists)
			return true;
	return false;
}

void volumes_purge(struct world *w)
{
	_cleanup_free_ struct state_volume_use *uses = NULL;
	struct err e = ERR_INIT;
	size_t n = 0, i;

	if (state_volume_uses(w->state, 0, &uses, &n, &e) < 0)
		log_warn("volumes: %s", e.msg);
	for (i = 0; i < n; i++)
		if (!vm_exists(w, uses[i].vm_id) &&
		    volume_detached(w->volumes, uses[i].volume_id,
				    uses[i].vm_id, &e) < 0)
			log_warn("volumes: %s", e.msg);
	volume_purge(w->volumes);
}
