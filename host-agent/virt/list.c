/* SPDX-License-Identifier: Apache-2.0 */
/* What is there: after a restart, and whenever somebody asks. */
#include "host-agent/virt/internal.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "common/base/proc.h"

#include <fcntl.h>
#include <sys/wait.h>

/* Domains of the embedded driver are all ours; one without a record is an
 * entry of which only the name is known. */
static int find_strangers(struct virt *v, struct err *e)
{
	virDomainPtr *doms = NULL;
	struct vm *vm;
	int n, i;

	n = virConnectListAllDomains(v->conn, &doms, 0);
	if (n < 0)
		return virt_error(e, "list the VMs");
	for (i = 0; i < n; i++) {
		const char *name = virDomainGetName(doms[i]);

		vm = name_is_valid(name) ? vm_get(v, name, true) : NULL;
		if (vm) {
			virDomainGetUUID(doms[i], vm->uuid);
			vm_put(v, vm);
		}
		virDomainFree(doms[i]);
	}
	free(doms);
	return 0;
}

/* It runs: hold its processes and listen to its console again. */
static void take_up_running(struct virt *v, struct vm *vm,
			    const struct process *qemu, bool paused)
{
	struct err e = ERR_INIT;

	vm->qemu = *qemu;
	vm->qemu_fd = proc_open(qemu->pid, qemu->start);
	vm->end = VIRT_END_NONE;
	vm->state = paused ? VIRT_PAUSED : VIRT_RUNNING;
	if (vm->vm_dir[0] && console_open(v, vm, &e) < 0)
		virt_warn(v, "%s", e.msg);
	if (vm->vm_dir[0] && vm->carrier == VIRT_VSOCK_UNIX) {
		vm->vsockd_fd = proc_open(vm->vsockd.pid, vm->vsockd.start);
		if (vm->vsockd_fd < 0 && !paused)
			worker_start(v, vm, device_recover);
	}
	if (!shares_take_up(vm))
		worker_start(v, vm, share_lost);
	if (paused)
		worker_start(v, vm, device_unpause);
	record_write(v, vm, NULL);
}

static void kill_process(const struct process *p)
{
	int fd = proc_open(p->pid, p->start);

	if (fd < 0)
		return;
	process_end(fd, 1000);
	close(fd);
}

/* It does not, or its start was cut short: nothing of it may be left. */
static void take_up_gone(struct virt *v, struct vm *vm)
{
	struct process qemu;
	size_t i;

	if (vm_find_qemu(v, vm, &qemu) == 0)
		kill_process(&qemu);
	kill_process(&vm->vsockd);
	for (i = 0; i < vm->n_shares; i++)
		kill_process(&vm->shares[i].process);
	shares_forget(vm);
	vm->state = VIRT_GONE;
	if (vm->end == VIRT_END_NONE) {
		vm->end = VIRT_END_UNKNOWN;
		snprintf(vm->detail, sizeof(vm->detail),
			 "it ended while hybd was not running");
	}
	vm->qemu = vm->vsockd = (struct process){0};
	vm_remove_sockets(vm);
	record_write(v, vm, NULL);
}

static void take_up(struct virt *v, struct vm *vm)
{
	/* virt_vm_start() writes QEMU's pid when all is done. */
	bool whole = vm->qemu.pid > 0 || !vm->vm_dir[0];
	struct process qemu;
	virDomainPtr dom;
	int state = VIR_DOMAIN_SHUTOFF;

	if (virt_lookup(v, vm->name, &dom, NULL) == 0) {
		if (virDomainGetState(dom, &state, NULL, 0) < 0)
			state = VIR_DOMAIN_SHUTOFF;
		virDomainFree(dom);
	}
	pthread_mutex_lock(&v->lock);
	/* A VM that died is listed as running for a moment: ask the kernel. */
	if (whole &&
	    (state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_PAUSED) &&
	    vm_find_qemu(v, vm, &qemu) == 0 && process_is_alive(&qemu))
		take_up_running(v, vm, &qemu, state == VIR_DOMAIN_PAUSED);
	else
		take_up_gone(v, vm);
	pthread_mutex_unlock(&v->lock);
}

int virt_take_up(struct virt *v, struct err *e)
{
	struct vm *vm;
	int r = 0;

	if (v->embedded)
		r = find_strangers(v, e);
	if (r < 0)
		return r;
	/* Nobody else has the table yet but libvirt's events, which only look
	 * at entries that run, and workers for those already taken up. */
	for (vm = v->vms; vm; vm = vm->next)
		take_up(v, vm);
	return 0;
}

void virt_take_up_again(struct virt *v)
{
	struct vm *vm;

	pthread_mutex_lock(&v->lock);
	for (vm = v->vms; vm; vm = vm->next)
		if (vm->state != VIRT_GONE && !vm->starting &&
		    !process_is_alive(&vm->qemu))
			vm_set_gone(v, vm,
				    vm->panicked ? VIRT_END_PANIC
						 : VIRT_END_UNKNOWN,
				    "it ended while libvirt was away");
	pthread_mutex_unlock(&v->lock);
}

/* lock is held. */
static void get_info(const struct vm *vm, struct virt_vm_info *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->name, vm->name, sizeof(ret->name));
	memcpy(ret->uuid, vm->uuid, sizeof(ret->uuid));
	memcpy(ret->detail, vm->detail, sizeof(ret->detail));
	memcpy(ret->vm_dir, vm->vm_dir, sizeof(ret->vm_dir));
	ret->state = vm->state;
	ret->end = vm->end;
	ret->uid = vm->uid;
	ret->cid = vm->cid;
	ret->carrier = vm->carrier;
	ret->share_lost = !shares_are_whole(vm);
	if (process_is_alive(&vm->vsockd)) {
		ret->vsockd_pid = vm->vsockd.pid;
		ret->vsockd_start = vm->vsockd.start;
	}
	if (process_is_alive(&vm->qemu)) {
		ret->qemu_pid = vm->qemu.pid;
		ret->qemu_start = vm->qemu.start;
	} else if (vm->state != VIRT_GONE) {
		/* libvirt will say why in a moment. */
		ret->state = VIRT_GONE;
		ret->end = vm->panicked ? VIRT_END_PANIC : VIRT_END_UNKNOWN;
	}
}

int virt_vm_info(struct virt *v, const char *name, struct virt_vm_info *ret,
		 struct err *e)
{
	struct vm *vm = vm_get(v, name, false);

	(void)e;
	memset(ret, 0, sizeof(*ret));
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	if (!vm)
		return 0;
	pthread_mutex_lock(&v->lock);
	get_info(vm, ret);
	pthread_mutex_unlock(&v->lock);
	vm_put(v, vm);
	return 0;
}

int virt_list(struct virt *v, struct virt_vm_info **ret, size_t *ret_n,
	      struct err *e)
{
	struct virt_vm_info *list;
	size_t n = 0;
	struct vm *vm;

	pthread_mutex_lock(&v->lock);
	for (vm = v->vms; vm; vm = vm->next)
		n++;
	list = calloc(n + 1, sizeof(*list));
	for (vm = v->vms, n = 0; list && vm; vm = vm->next)
		if (!vm->starting)
			get_info(vm, &list[n++]);
	pthread_mutex_unlock(&v->lock);
	if (!list)
		return err_sys(e, ENOMEM, "list the VMs");
	*ret = list;
	*ret_n = n;
	return 0;
}

/* "KEY:   123 kB" of /proc/PID/FILE in bytes. */
static uint64_t read_kb(const char *text, const char *key)
{
	const char *p = strstr(text, key);
	unsigned long kb;

	if (!p || sscanf(p + strlen(key), " %lu", &kb) != 1)
		return 0;
	return (uint64_t)kb << 10;
}

static int read_proc(const struct process *p, const char *file, char **ret,
		     struct err *e)
{
	char path[64];

	if (p->pid <= 0 || !process_is_alive(p))
		return err_set(e, ENOENT, "it does not run");
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)p->pid, file);
	return file_read(AT_FDCWD, path, 65536, ret, NULL, e);
}

int virt_vm_memory(struct virt *v, const char *name, struct virt_memory *ret,
		   struct err *e)
{
	_cleanup_free_ char *q = NULL, *d = NULL, *ds = NULL;
	struct vm *vm = vm_get(v, name, false);
	struct process qemu, device;
	int r;

	if (!vm)
		return err_set(e, ENOENT, "there is no VM '%s'", name);
	pthread_mutex_lock(&v->lock);
	qemu = vm->qemu;
	device = vm->vsockd;
	pthread_mutex_unlock(&v->lock);
	vm_put(v, vm);
	r = read_proc(&qemu, "smaps_rollup", &q, e);
	if (r < 0)
		return err_wrap(e, "memory of VM '%s'", name);
	memset(ret, 0, sizeof(*ret));
	ret->guest_touched = read_kb(q, "\nPss_Shmem:");
	ret->qemu_pss = read_kb(q, "\nPss:") - ret->guest_touched;
	if (device.pid <= 0 ||
	    read_proc(&device, "smaps_rollup", &d, NULL) < 0 ||
	    read_proc(&device, "status", &ds, NULL) < 0)
		return 0;
	/* Pages that both have mapped count half in each. */
	ret->guest_touched += read_kb(d, "\nPss_Shmem:");
	ret->vsockd_pss = read_kb(d, "\nPss:") - read_kb(d, "\nPss_Shmem:");
	ret->vsockd_rss = read_kb(ds, "\nRssAnon:") + read_kb(ds, "\nRssFile:");
	return 0;
}
