/* SPDX-License-Identifier: Apache-2.0 */
/* libvirt's event loop on a thread of its own, and its lifecycle events. */
#include "host-agent/virt/internal.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"

#include <libvirt/libvirt-qemu.h>
#include <stdatomic.h>

/* libvirt has one event loop a process. */
static struct {
	_Atomic bool stop;
	int timer;
} loop = {.timer = -1};

static void on_timer(int timer, void *opaque)
{
	(void)opaque;
	virEventUpdateTimeout(timer, -1);
}

static void *loop_main(void *arg)
{
	(void)arg;
	while (!loop.stop)
		if (virEventRunDefaultImpl() < 0)
			break;
	return NULL;
}

int loop_start(struct virt *v, struct err *e)
{
	int r;

	if (loop.timer < 0)
		loop.timer = virEventAddTimeout(-1, on_timer, NULL, NULL);
	loop.stop = false;
	r = pthread_create(&v->loop_thread, NULL, loop_main, NULL);
	if (r)
		return err_sys(e, r, "start a thread");
	v->loop_runs = true;
	return 0;
}

void loop_stop(struct virt *v)
{
	if (!v->loop_runs)
		return;
	loop.stop = true;
	virEventUpdateTimeout(loop.timer, 0);
	pthread_join(v->loop_thread, NULL);
	v->loop_runs = false;
}

static enum virt_end end_of(const struct vm *vm, int detail)
{
	if (vm->destroying)
		return VIRT_END_DESTROYED;
	switch (detail) {
	case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN:
		return vm->rebooted ? VIRT_END_REBOOT : VIRT_END_SHUTDOWN;
	case VIR_DOMAIN_EVENT_STOPPED_DESTROYED:
		return vm->panicked   ? VIRT_END_PANIC
		       : vm->rebooted ? VIRT_END_REBOOT
				      : VIRT_END_DESTROYED;
	case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
		return VIRT_END_PANIC;
	default:
		return VIRT_END_KILLED;
	}
}

void vm_on_stopped(struct virt *v, struct vm *vm, int detail)
{
	static const char *const words[VIRT_END_MAX] = {
		[VIRT_END_PANIC] = "the guest's kernel panicked",
		[VIRT_END_SHUTDOWN] = "the guest powered itself off",
		[VIRT_END_REBOOT] = "the guest reset itself",
	};
	enum virt_end end = end_of(vm, detail);

	if (vm->starting)
		vm->early_end = detail; /* virt_vm_start() looks at it */
	/* libvirt says so when QEMU is dead: if ours lives, this is about its
	 * predecessor. */
	if (vm->state == VIRT_GONE || vm->starting ||
	    process_is_alive(&vm->qemu))
		return;
	vm_set_gone(v, vm, end, words[end] ? words[end] : "");
}

static int on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event,
			int detail, void *opaque)
{
	struct virt *v = opaque;
	struct vm *vm = vm_get(v, virDomainGetName(dom), false);
	unsigned char uuid[VIR_UUID_BUFLEN];

	(void)conn;
	if (!vm)
		return 0;
	pthread_mutex_lock(&v->lock);
	/* An old VM's last word must not be taken for its successor's. */
	if (virDomainGetUUID(dom, uuid) < 0 ||
	    memcmp(uuid, vm->uuid, sizeof(uuid)) != 0)
		goto out;
	switch (event) {
	case VIR_DOMAIN_EVENT_CRASHED:
		vm->panicked = true;
		break;
	case VIR_DOMAIN_EVENT_STOPPED:
		vm_on_stopped(v, vm, detail);
		break;
	case VIR_DOMAIN_EVENT_SUSPENDED:
		if (vm->state == VIRT_RUNNING)
			vm->state = VIRT_PAUSED;
		break;
	case VIR_DOMAIN_EVENT_RESUMED:
		if (vm->state == VIRT_PAUSED)
			vm->state = VIRT_RUNNING;
		break;
	default:
		break;
	}
out:
	pthread_mutex_unlock(&v->lock);
	vm_put(v, vm);
	return 0;
}

/* QEMU's own SHUTDOWN event tells a reset from a power-off, which libvirt's
 * lifecycle event, coming after it, does not. */
static void on_qemu_event(virConnectPtr conn, virDomainPtr dom,
			  const char *event, long long seconds,
			  unsigned int micros, const char *details,
			  void *opaque)
{
	struct virt *v = opaque;
	struct vm *vm;

	(void)conn;
	(void)event;
	(void)seconds;
	(void)micros;
	if (!details || !strstr(details, "guest-reset"))
		return;
	vm = vm_get(v, virDomainGetName(dom), false);
	if (!vm)
		return;
	pthread_mutex_lock(&v->lock);
	vm->rebooted = true;
	pthread_mutex_unlock(&v->lock);
	vm_put(v, vm);
}

int events_register(struct virt *v, virConnectPtr conn, struct err *e)
{
	v->callback = virConnectDomainEventRegisterAny(
		conn, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
		VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), v, NULL);
	v->qemu_callback = virConnectDomainQemuMonitorEventRegister(
		conn, NULL, "SHUTDOWN", on_qemu_event, v, NULL, 0);
	if (v->callback < 0 || v->qemu_callback < 0)
		return virt_error(e, "ask libvirt for events");
	if (!v->embedded &&
	    virConnectRegisterCloseCallback(conn, on_conn_closed, v, NULL) < 0)
		return virt_error(e, "ask libvirt for its end");
	return 0;
}

void events_unregister(struct virt *v)
{
	if (!v->embedded)
		virConnectUnregisterCloseCallback(v->conn, on_conn_closed);
	if (v->callback >= 0)
		virConnectDomainEventDeregisterAny(v->conn, v->callback);
	if (v->qemu_callback >= 0)
		virConnectDomainQemuMonitorEventDeregister(v->conn,
							   v->qemu_callback);
}
