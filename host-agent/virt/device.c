/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hyb-vsockd of a VM: started with it, watched by pidfd (keeper.c), replaced
 * when it dies.
 *
 * QEMU is the server of the vhost-user socket. When the device dies, QEMU
 * goes on without one. The sequence that gives the running guest a new one:
 *   1. suspend the VM (QEMU stops the rings it has no device for)
 *   2. start the new device; wait until QEMU's end is connected
 *   3. resume: QEMU starts the rings at the indices in the guest's memory
 * Streams are lost; listeners in the guest survive.
 */
#include "host-agent/virt/internal.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"
#include "host-agent/virt/xml.h"

#include <fcntl.h>
#include <libvirt/libvirt-qemu.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#define CONNECT_MS 5000
#define END_MS	   5000
/* A device that dies again and again is not replaced for ever. */
#define RETRIES 5

int virt_vsock_path(const char *vm_dir, char *out, size_t size)
{
	int n = snprintf(out, size, "%s/" XML_VSOCK_SOCK, vm_dir);

	return n < 0 || (size_t)n >= size || n > 107 ? -ENAMETOOLONG : 0;
}

static int open_log(struct virt *v, const struct vm *vm)
{
	char path[PATH_MAX];

	if (record_path(v, vm->name, "vsockd.log", path, sizeof(path)) < 0)
		return -1;
	return open(path,
		    O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC |
			    O_NOFOLLOW,
		    0600);
}

int device_start(struct virt *v, struct vm *vm, struct err *e)
{
	char vhost[VIRT_DIR_MAX + 32], listen[VIRT_DIR_MAX + 32];
	char cid[16], uid[16], gid[16];
	const char *const argv[] = {
		"hyb-vsockd", "--vhost", vhost,	       "--listen", listen,
		"--cid",      cid,	 "--peer-uid", uid,	   "--uid",
		uid,	      "--gid",	 gid,	       NULL};
	_cleanup_close_ int log = open_log(v, vm);
	struct proc_spec spec = {.path = v->vsockd_path,
				 .argv = argv,
				 .stdin_fd = -1,
				 .stdout_fd = -1,
				 .stderr_fd = log,
				 .new_session = true};
	uint64_t start;
	pid_t pid;
	int fd, r;

	snprintf(vhost, sizeof(vhost), "%s/" XML_VHOST_SOCK, vm->vm_dir);
	snprintf(cid, sizeof(cid), "%u", vm->cid);
	snprintf(uid, sizeof(uid), "%u", (unsigned int)vm->uid);
	snprintf(gid, sizeof(gid), "%u", (unsigned int)vm->gid);
	r = virt_vsock_path(vm->vm_dir, listen, sizeof(listen));
	if (r < 0)
		return err_sys(e, -r, "vsock of VM '%s'", vm->name);
	r = proc_spawn(&spec, &pid, &fd, e);
	if (r < 0)
		return err_wrap(e, "vsock of VM '%s'", vm->name);
	if (proc_start_time(pid, &start) < 0)
		start = 0; /* it is dead: its pidfd says so */
	pthread_mutex_lock(&v->lock);
	cleanup_close(&vm->vsockd_fd);
	vm->vsockd_fd = fd;
	vm->vsockd = (struct process){pid, start};
	record_write(v, vm, NULL);
	pthread_mutex_unlock(&v->lock);
	keeper_wake(v);
	return 0;
}

int process_end(int pidfd, unsigned int ms)
{
	syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
	return fd_wait(pidfd, POLLIN, now_ms() + ms);
}

void device_stop(struct virt *v, struct vm *vm)
{
	struct process p;
	int fd;

	pthread_mutex_lock(&v->lock);
	p = vm->vsockd;
	vm->vsockd = (struct process){0};
	cleanup_close(&vm->vsockd_fd);
	pthread_mutex_unlock(&v->lock);
	if (p.pid <= 0)
		return;
	fd = proc_open(p.pid, p.start);
	if (fd >= 0) {
		process_end(fd, END_MS);
		close(fd);
	}
	/* Ours, or an earlier hybd's: then this fails. */
	(void)waitpid(p.pid, NULL, WNOHANG);
}

/* Is QEMU's end of the vhost-user socket connected? */
static bool is_connected(virDomainPtr dom)
{
	_cleanup_free_ char *text = NULL;
	const char *p, *dis;

	if (virDomainQemuMonitorCommand(dom, "{\"execute\":\"query-chardev\"}",
					&text, 0) < 0 ||
	    !text)
		return false;
	/* {"label":"hybvsock", ... "filename":"disconnected:unix:..."}, the
	 * two in either order within one object. */
	dis = strstr(text, "disconnected:unix:");
	while (dis) {
		p = strstr(dis, "/" XML_VHOST_SOCK);
		if (p && !memchr(dis, '"', (size_t)(p - dis)))
			return false;
		dis = strstr(dis + 1, "disconnected:unix:");
	}
	return true;
}

static bool wait_connected(struct virt *v, struct vm *vm, virDomainPtr dom)
{
	const struct timespec step = {.tv_nsec = 2000000};
	uint64_t deadline = now_ms() + CONNECT_MS;
	struct process p;

	for (;;) {
		if (is_connected(dom))
			return true;
		pthread_mutex_lock(&v->lock);
		p = vm->vsockd;
		pthread_mutex_unlock(&v->lock);
		if (now_ms() >= deadline || !process_is_alive(&p))
			return false;
		nanosleep(&step, NULL);
	}
}

static int recover_once(struct virt *v, struct vm *vm, virDomainPtr dom,
			struct err *e)
{
	int r;

	if (virDomainSuspend(dom) < 0)
		return virt_error(e, "suspend VM '%s'", vm->name);
	r = device_start(v, vm, e);
	if (r == 0 && !wait_connected(v, vm, dom)) {
		device_stop(v, vm);
		r = err_set(e, EIO, "the new device does not connect");
	}
	if (virDomainResume(dom) < 0 && r == 0)
		r = virt_error(e, "resume VM '%s'", vm->name);
	return r;
}

/* op is held. Whether there is anything to recover is asked again: the VM may
 * have ended, which ends its device too. */
static int recover(struct virt *v, struct vm *vm, struct err *e)
{
	const struct timespec pause = {.tv_nsec = 200000000};
	virDomainPtr dom;
	int r, i;

	r = virt_lookup(v, vm->name, &dom, e);
	if (r < 0)
		return r;
	for (i = 0, r = -EIO; i < RETRIES && r < 0; i++) {
		if (i)
			nanosleep(&pause, NULL);
		if (virDomainIsActive(dom) != 1) {
			r = -ENOENT;
			break;
		}
		r = recover_once(v, vm, dom, e);
	}
	virDomainFree(dom);
	return r;
}

void device_recover(struct virt *v, struct vm *vm)
{
	/* QEMU's end closes the device too: let libvirt's word come first. */
	const struct timespec settle = {.tv_nsec = 20000000};
	struct err e = ERR_INIT;
	bool wanted;
	int r;

	nanosleep(&settle, NULL);
	pthread_mutex_lock(&vm->op);
	pthread_mutex_lock(&v->lock);
	wanted = vm->state != VIRT_GONE && !vm->forgotten &&
		 vm->carrier == VIRT_VSOCK_UNIX && vm->vsockd_fd < 0 &&
		 process_is_alive(&vm->qemu);
	if (wanted)
		event_push(v, VIRT_EVENT_VSOCK_LOST, vm);
	pthread_mutex_unlock(&v->lock);
	if (wanted) {
		r = recover(v, vm, &e);
		pthread_mutex_lock(&v->lock);
		if (r == 0)
			event_push(v, VIRT_EVENT_VSOCK_RECOVERED, vm);
		else if (vm->state != VIRT_GONE)
			event_push(v, VIRT_EVENT_VSOCK_FAILED, vm);
		pthread_mutex_unlock(&v->lock);
		if (r < 0 && r != -ENOENT)
			virt_warn(v,
				  "the vsock device of VM '%s' cannot be "
				  "replaced: %s",
				  vm->name, e.msg);
	}
	pthread_mutex_unlock(&vm->op);
}

void device_unpause(struct virt *v, struct vm *vm)
{
	struct err e = ERR_INIT;
	int r = 0;

	pthread_mutex_lock(&vm->op);
	if (vm->carrier == VIRT_VSOCK_UNIX) {
		device_stop(v, vm);
		r = recover(v, vm, &e);
	}
	if (r < 0)
		virt_warn(v, "VM '%s' was found suspended: %s", vm->name,
			  e.msg);
	pthread_mutex_unlock(&vm->op);
}
