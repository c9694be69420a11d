/* SPDX-License-Identifier: Apache-2.0 */
/* A VM: born blank, claimed, found again, ended. Only its actor is here. */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/parse.h"

#include <time.h>

#define BOOT_MS	    60000 /* until the guest says hello, emulated too */
#define REATTACH_MS VM_REATTACH_MS
#define CLAIM_MS    10000
#define RETRY_NS    3000000
#define CID_BASE    1000
#define SPARE_SLOTS 4
_Static_assert(VIRT_SLOTS_MAX > HYB_VM_VOLUMES_MAX + 1,
	       "there is room for images beside volumes and the scratch disk");

_Static_assert(HYB_VM_BINDS_MAX <= VIRT_SHARES_MAX, "a share for each bind");

void vm_domain_name(const struct vm *vm, char out[64])
{
	snprintf(out, 64, "hyb-%lld", (long long)vm->row.id);
}

uid_t vm_uid(const struct vm *vm)
{
	const struct world_config *c = &vm->world->config;

	return c->uid_base + 1 + (uid_t)(vm->row.id % c->uid_count);
}

uint32_t vm_cid(const struct vm *vm)
{
	return CID_BASE + (uint32_t)(vm->row.id % 1000000000);
}

void vm_set_id(struct vm *vm)
{
	snprintf(vm->dir, sizeof(vm->dir), "%s/vms/%lld",
		 vm->world->config.root, (long long)vm->row.id);
	memset(&vm->addr, 0, sizeof(vm->addr));
	vm->addr.cid = vm_cid(vm);
	/* Whoever answers in the VM's folder must be the VM's own device. */
	vm->addr.check_uid = true;
	vm->addr.uid = vm_uid(vm);
	vm->addr.carrier =
		vm->world->config.kernel_vsock ? VSOCK_KERNEL : VSOCK_UNIX;
	if (virt_vsock_path(vm->dir, vm->addr.path, sizeof(vm->addr.path)) < 0)
		vm->addr.path[0] = '\0';
}

int vm_store(struct vm *vm, struct err *e)
{
	int r;

	world_lock(vm->world);
	r = state_vm_put(vm->world->state, &vm->row, e);
	world_unlock(vm->world);
	return r;
}

void vm_set_state(struct vm *vm, enum vm_state s)
{
	world_lock(vm->world);
	vm->state = s;
	world_changed(vm->world);
	world_unlock(vm->world);
}

/* ------------------------------------------------------------- connection */

bool vm_has_died(struct vm *vm)
{
	bool died;

	world_lock(vm->world);
	died = vm->died;
	world_unlock(vm->world);
	return died;
}

int vm_connect(struct vm *vm, uint64_t deadline_ms, struct err *e)
{
	const struct timespec pause = {.tv_nsec = RETRY_NS};
	int r;

	for (;;) {
		r = agent_open(&vm->agent, &vm->addr, deadline_ms, e);
		if (r == 0 || r == -ETIMEDOUT || r == -EPROTO)
			break;
		if (vm_has_died(vm))
			return err_set(e, ECONNRESET, "the VM has ended");
		if (now_ms() >= deadline_ms)
			break;
		nanosleep(&pause, NULL);
	}
	return r < 0 ? err_wrap(e, "connect to the guest") : 0;
}

int vm_ensure_connected(struct vm *vm, struct err *e)
{
	if (vm->machine || vm->agent.conn.fd >= 0)
		return 0;
	return vm_connect(vm, now_ms() + REATTACH_MS, e);
}

void vm_disconnect(struct vm *vm)
{
	agent_close(&vm->agent);
	agent_close(&vm->events);
}

int vm_open_events(struct vm *vm, struct err *e)
{
	int r;

	r = agent_open(&vm->events, &vm->addr, now_ms() + REATTACH_MS, e);
	if (r == 0)
		r = agent_events_open(&vm->events, now_ms() + REATTACH_MS, e);
	vm->heard_at = now_ms();
	return r;
}

static void on_log_change(void *arg)
{
	struct world *w = arg;

	world_lock(w);
	world_changed(w);
	world_unlock(w);
}

/* Others ask the pump under the lock: it is taken from them first. */
static void end_pump(struct vm *vm)
{
	struct logpump *p;

	world_lock(vm->world);
	p = vm->pump;
	vm->pump = NULL;
	world_unlock(vm->world);
	logpump_free(p);
}

int vm_start_pump(struct vm *vm, struct err *e)
{
	struct logpump *p;
	int r;

	end_pump(vm);
	r = logpump_new(vm->logs, &vm->addr, on_log_change, vm->world, &p, e);
	if (r < 0)
		return r;
	world_lock(vm->world);
	vm->pump = p;
	world_unlock(vm->world);
	return 0;
}

int vm_greet(struct vm *vm, uint64_t deadline_ms, struct agent_hello *h,
	     struct err *e)
{
	int r = vm_connect(vm, deadline_ms, e);

	if (r == 0)
		r = agent_hello(&vm->agent, deadline_ms, h, e);
	if (r < 0)
		return r;
	if (h->protocol != HYB_AGENT_PROTOCOL)
		return err_set(
			e, EPROTO,
			"the guest's agent speaks protocol %lld, hybd %d",
			(long long)h->protocol, HYB_AGENT_PROTOCOL);
	world_lock(vm->world);
	snprintf(vm->agent_version, sizeof(vm->agent_version), "%s",
		 h->version);
	snprintf(vm->kernel, sizeof(vm->kernel), "%s", h->kernel);
	world_unlock(vm->world);
	return 0;
}

/* ------------------------------------------------------------------- birth */

/* Containers that ran when the VM ended run again in the next one. */
static void revive_containers(struct vm *vm)
{
	size_t i;

	world_lock(vm->world);
	for (i = 0; i < vm->n_ctrs; i++) {
		struct ctr *c = &vm->ctrs[i];

		c->in_guest = false;
		if (c->lost) {
			c->state = CTR_PENDING;
			/* A user's stop and start is no restart, as it is none
			 * with a single container. */
			if (strcmp(c->row.reason, "Stopped") != 0)
				c->row.restarts++;
		}
		c->lost = false;
	}
	world_unlock(vm->world);
}

/* The row that says: from now on there may be such a VM. */
static int announce(struct vm *vm, const struct model_vm *m, struct err *e)
{
	char *applied;
	int r;

	if (vm->row.created_at) {
		/* Under the lock: others write rows by this id. */
		world_lock(vm->world);
		r = state_vm_renew(vm->world->state, &vm->row, e);
		if (r == 0)
			vm_set_id(vm);
		world_unlock(vm->world);
		if (r < 0)
			return r;
	}
	if (!vm->addr.path[0])
		return err_set(e, ENAMETOOLONG,
			       "'%s' is too long a path for a socket", vm->dir);
	applied = model_text(model_vm_to_json(m));
	if (!applied)
		return err_sys(e, ENOMEM, "write state");
	world_lock(vm->world);
	free(vm->row.applied);
	vm->row.applied = applied;
	vm->row.exists = true;
	vm->machine = model_vm_boots_disk(m);
	if (vm->machine)
		vm_take_number(vm);
	vm->row.created_at = (int64_t)now_realtime_ns();
	vm->row.started_at = 0; /* until its guest has been claimed */
	vm->row.reason[0] = '\0';
	vm->row.message[0] = '\0';
	vm->n_disks = 0;
	vm->n_volumes = 0;
	vm->scratch = 0;
	vm->died = false;
	vm->state = VM_STARTING;
	world_changed(vm->world);
	world_unlock(vm->world);
	return vm_store(vm, e);
}

static size_t count_volumes(const struct model_vm *m)
{
	const char *seen[HYB_VM_VOLUMES_MAX];
	size_t i, k, j, n = 0;

	for (i = 0; i < m->n_containers; i++) {
		for (k = 0; k < m->containers[i].n_mounts; k++) {
			const struct model_mount *mm =
				&m->containers[i].mounts[k];

			if (mm->kind != MODEL_MOUNT_VOLUME)
				continue;
			for (j = 0; j < n && strcmp(seen[j], mm->source);)
				j++;
			if (j == n && n < HYB_VM_VOLUMES_MAX)
				seen[n++] = mm->source;
		}
	}
	return n;
}

/* Ports for disks: what the model needs, and some for what later
 * deployments bring. Each costs the guest's boot some 5 ms. */
static uint32_t slots_for(const struct model_vm *m)
{
	size_t others = count_volumes(m) + (model_vm_scratch(m) > 0);
	size_t i, k, distinct = 0;

	for (i = 0; i < m->n_containers; i++) {
		for (k = 0; k < i; k++)
			if (strcmp(model_image(&m->containers[k]),
				   model_image(&m->containers[i])) == 0)
				break;
		distinct += k == i;
	}
	distinct += SPARE_SLOTS;
	if (distinct > WORLD_DISKS_MAX)
		distinct = WORLD_DISKS_MAX;
	if (distinct > VIRT_SLOTS_MAX - others)
		distinct = VIRT_SLOTS_MAX - others;
	return (uint32_t)(distinct + others);
}

/* The 32 digits of the VM's UUID. */
static void uuid_digits(const struct vm *vm, char out[33])
{
	size_t i, n = 0;

	for (i = 0; vm->row.uuid[i] && n < 32; i++)
		if (vm->row.uuid[i] != '-')
			out[n++] = vm->row.uuid[i];
	out[n] = '\0';
}

int vm_start_domain(struct vm *vm, const struct model_vm *m,
		    struct virt_vm_spec *spec, struct err *e)
{
	char name[64], hex[33];

	spec->name = name;
	spec->vcpus = m->vcpus ? m->vcpus : 1;
	spec->memory = model_vm_memory(m);
	spec->uid = spec->gid = vm_uid(vm);
	spec->cid = vm_cid(vm);
	spec->vm_dir = vm->dir;
	vm_domain_name(vm, name);
	uuid_digits(vm, hex);
	if (hex_parse(hex, spec->uuid, sizeof(spec->uuid)) < 0)
		return err_set(e, EINVAL, "VM '%s' has no valid UUID",
			       vm->name);
	spec->memory =
		(spec->memory + (2u << 20) - 1) / (2u << 20) * (2u << 20);
	return virt_vm_start(vm->world->virt, spec, e);
}

static int claim(struct vm *vm, struct err *e)
{
	char machine_id[33];
	struct agent_claim c = {
		.instance = vm->row.instance,
		.hostname = vm->name,
		.machine_id = machine_id,
	};

	uuid_digits(vm, machine_id);
	return agent_claim(&vm->agent, &c, now_ms() + CLAIM_MS, e);
}

static void close_binds(struct virt_share *shares, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		cleanup_close(&shares[i].folder_fd);
}

/* Each is looked at again whenever a VM is made: what is allowed may have
 * changed, and so may what lies there. */
static int open_binds(struct vm *vm, const struct model_vm *m,
		      struct virt_share shares[HYB_VM_BINDS_MAX], size_t *ret_n,
		      struct err *e)
{
	struct model_bind binds[HYB_VM_BINDS_MAX];
	size_t i, n = model_vm_binds(m, binds);
	struct bind_folder folder = {.fd = -1};
	int r;

	for (i = 0; i < n; i++) {
		r = bind_open(vm->world->config.binds, binds[i].source,
			      binds[i].read_only, &folder, e);
		if (r < 0) {
			close_binds(shares, i);
			return r;
		}
		shares[i] = (struct virt_share){
			.folder_fd = folder.fd,
			.read_only = binds[i].read_only,
			.uid = folder.uid,
			.gid = folder.gid,
			.ids_base = AGENT_IDS_BASE(binds[i].ids),
		};
	}
	*ret_n = n;
	return 0;
}

static int start_blank(struct vm *vm, const struct model_vm *m,
		       struct virt_vm_spec *spec, struct err *e)
{
	struct virt_share shares[HYB_VM_BINDS_MAX];
	int r;

	spec->shares = shares;
	r = open_binds(vm, m, shares, &spec->n_shares, e);
	if (r < 0)
		return r;
	r = vm_start_domain(vm, m, spec, e);
	close_binds(shares, spec->n_shares);
	return r;
}

static int boot_steps(struct vm *vm, const struct model_vm *m, struct err *e)
{
	struct virt_vm_spec spec = {
		.carrier = vm->addr.carrier == VSOCK_KERNEL ? VIRT_VSOCK_KERNEL
							    : VIRT_VSOCK_UNIX,
		.slots = slots_for(m),
	};
	struct agent_hello hello;
	int r;

	if (model_vm_boots_disk(m))
		return machine_boot(vm, m, &spec, e);
	r = ports_publish(vm, m, e);
	if (r < 0)
		return r;
	vm_tell(vm, "", "starting", "%s", "");
	r = start_blank(vm, m, &spec, e);
	if (r < 0)
		return r;
	world_lock(vm->world);
	vm->booted_at = now_ms();
	world_unlock(vm->world);
	vm_tell(vm, "", "booting", "%s", "");
	vm_attach_images(vm, m);
	r = vm_greet(vm, now_ms() + BOOT_MS, &hello, e);
	if (r == 0)
		r = claim(vm, e);
	if (r == 0)
		r = vm_open_events(vm, e);
	if (r == 0)
		r = vm_start_pump(vm, e);
	return r;
}

int vm_boot(struct vm *vm, const struct model_vm *m, struct err *e)
{
	struct err ignored = ERR_INIT;
	int r;

	revive_containers(vm);
	r = announce(vm, m, e);
	if (r == 0)
		r = boot_steps(vm, m, e);
	if (r < 0) {
		err_wrap(e, "VM '%s'", vm->name);
		if (vm_destroy(vm, "Error", &ignored) < 0)
			log_warn("%s/%s: %s", vm->stack, vm->name, ignored.msg);
		return r;
	}
	vm->time_set_at = now_ms();
	world_lock(vm->world);
	vm->row.started_at = (int64_t)now_realtime_ns();
	vm->restart_at = 0;
	world_unlock(vm->world);
	vm_set_state(vm, VM_RUNNING);
	if (vm->machine)
		vm_tell(vm, "", "running", "from disk %s", m->boot_disk);
	else
		vm_tell(vm, "", "running", "kernel %s", vm->kernel);
	return vm_store(vm, e);
}

/* --------------------------------------------------------------------- end */

/* On disk before it is done: a VM that is taken down on purpose has not died,
 * should the next hybd find it gone or half gone. */
int vm_announce_end(struct vm *vm, const char *reason, struct err *e)
{
	if (strcmp(reason, "Stopped") != 0 || !vm->row.started_at)
		return 0;
	world_lock(vm->world);
	vm->row.started_at = 0;
	world_unlock(vm->world);
	return vm_store(vm, e);
}

int vm_destroy(struct vm *vm, const char *reason, struct err *e)
{
	char domain[64];
	int r;

	if (!vm->row.exists)
		return 0;
	vm_set_state(vm, VM_STOPPING);
	r = vm_announce_end(vm, reason, e);
	if (r < 0)
		return r;
	ports_unpublish(vm);
	vm_domain_name(vm, domain);
	if (strcmp(reason, "Stopped") == 0)
		volumes_unmount(vm);
	vm_disconnect(vm);
	r = virt_vm_destroy(vm->world->virt, domain, e);
	end_pump(vm);
	/* Not before its QEMU is gone. */
	if (r == 0)
		r = vm_unplug(vm, e);
	if (r == 0)
		r = volume_release_vm(vm->world->volumes, vm->row.id, e);
	if (r == 0)
		r = path_remove(vm->dir, e);
	if (r == 0)
		r = virt_vm_forget(vm->world->virt, domain, e);
	if (r < 0)
		return err_wrap(e, "take down VM '%s'", vm->name);
	ctr_all_gone(vm, reason);
	world_lock(vm->world);
	vm->row.exists = false;
	vm->row.portd_pid = 0;
	vm->row.ports[0] = '\0';
	vm->n_disks = 0;
	vm->n_volumes = 0;
	vm->scratch = 0;
	vm->died = false;
	snprintf(vm->row.reason, sizeof(vm->row.reason), "%s", reason);
	vm->state = VM_PENDING;
	world_changed(vm->world);
	world_unlock(vm->world);
	return vm_store(vm, e);
}
