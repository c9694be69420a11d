/* SPDX-License-Identifier: Apache-2.0 */
/* Starting and ending VMs. */
#include "host-agent/virt/internal.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "common/base/proc.h"
#include "host-agent/virt/xml.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>

#define MEMORY_MIN  ((uint64_t)32 << 20)
#define MEMORY_STEP ((uint64_t)2 << 20)
#define END_MS	    20000
#define NOTICE_MS   2000

static int check_spec(struct virt *v, const struct virt_vm_spec *s,
		      struct err *e)
{
	if (!s->name || !name_is_valid(s->name))
		return err_set(e, EINVAL, "not a name of a VM");
	if (s->vcpus < 1 || s->vcpus > VIRT_VCPUS_MAX)
		return err_set(e, EINVAL, "%u vCPUs: 1 to %d are possible",
			       s->vcpus, VIRT_VCPUS_MAX);
	if (s->memory < MEMORY_MIN || s->memory % MEMORY_STEP)
		return err_set(e, EINVAL,
			       "%lu bytes of memory: a multiple of 2 MiB, at "
			       "least 32 MiB",
			       s->memory);
	if (s->uid == 0 || s->gid == 0 || s->uid > INT32_MAX ||
	    s->gid > INT32_MAX)
		return err_set(e, EINVAL, "uid %u, gid %u", s->uid, s->gid);
	if (s->cid < 3 || s->cid == UINT32_MAX)
		return err_set(e, EINVAL, "CID %u", s->cid);
	if (s->slots > VIRT_SLOTS_MAX)
		return err_set(e, EINVAL, "%u slots: at most %d", s->slots,
			       VIRT_SLOTS_MAX);
	if (!s->vm_dir || s->vm_dir[0] != '/' ||
	    strlen(s->vm_dir) > VIRT_DIR_MAX)
		return err_set(e, ENAMETOOLONG,
			       "the VM's folder is no absolute path of at most "
			       "%d bytes",
			       VIRT_DIR_MAX);
	if (s->n_shares > VIRT_SHARES_MAX || (s->n_shares && !v->fsd_path))
		return err_set(e, EINVAL, "%zu shared folders: at most %d",
			       s->n_shares, VIRT_SHARES_MAX);
	/* The overlay and the random numbers sit on ports too. */
	if (s->boot && s->slots < 2)
		return err_set(e, EINVAL, "a VM with a disk needs 2 slots");
	if (s->carrier == VIRT_VSOCK_KERNEL && !v->host.kernel_vsock) {
		err_set(e, EOPNOTSUPP, "the host has no /dev/vhost-vsock");
		err_hint(e, "modprobe vhost_vsock, or use the unix carrier");
		return -EOPNOTSUPP;
	}
	return 0;
}

int virt_uefi(const char **ret_vars, struct err *e)
{
	if (access(XML_UEFI_CODE, R_OK) < 0 ||
	    access(XML_UEFI_VARS, R_OK) < 0) {
		err_set(e, ENOPKG, "there is no UEFI firmware (%s)",
			XML_UEFI_CODE);
		err_hint(e, "install the package ovmf");
		return -ENOPKG;
	}
	*ret_vars = XML_UEFI_VARS;
	return 0;
}

/* 0700 and the VM's: nobody else passes, and QEMU's uid needs nothing else. */
static int make_vm_dir(const struct virt_vm_spec *s, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (mkdir(s->vm_dir, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "create '%s'", s->vm_dir);
	fd = open(s->vm_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "open '%s'", s->vm_dir);
	if (st.st_uid != 0 && st.st_uid != s->uid)
		return err_set(e, EPERM, "'%s' belongs to uid %u, not %u",
			       s->vm_dir, st.st_uid, s->uid);
	if (fchown(fd, s->uid, s->gid) < 0 || fchmod(fd, 0700) < 0)
		return err_sys(e, errno, "give '%s' away", s->vm_dir);
	return 0;
}

void vm_remove_sockets(const struct vm *vm)
{
	static const char *const names[] = {XML_VHOST_SOCK, XML_VSOCK_SOCK,
					    XML_CONSOLE_SOCK};
	char path[VIRT_DIR_MAX + 32];
	size_t i;

	if (!vm->vm_dir[0])
		return;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", vm->vm_dir, names[i]);
		unlink(path);
	}
	for (i = 0; i < VIRT_SHARES_MAX; i++) {
		snprintf(path, sizeof(path), "%s/" XML_SHARE_SOCK, vm->vm_dir,
			 (unsigned int)i);
		unlink(path);
	}
}

/* Reads "Uid:" of /proc/PID/status and looks for libvirt's "guest=NAME,". */
static bool is_qemu_of(pid_t pid, const struct vm *vm)
{
	_cleanup_free_ char *status = NULL, *args = NULL;
	char path[64], want[VIRT_NAME_SIZE + 16], *p, *end;
	unsigned int uid;
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (file_read(AT_FDCWD, path, 65536, &status, NULL, NULL) < 0)
		return false;
	p = strstr(status, "\nUid:");
	if (!p || sscanf(p, "\nUid: %u", &uid) != 1 ||
	    (vm->uid && uid != vm->uid))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	if (file_read(AT_FDCWD, path, 1 << 20, &args, &len, NULL) < 0)
		return false;
	snprintf(want, sizeof(want), "guest=%s,", vm->name);
	for (p = args, end = args + len; p < end; p += strlen(p) + 1)
		if (strncmp(p, want, strlen(want)) == 0)
			return true;
	return false;
}

int vm_find_qemu(struct virt *v, struct vm *vm, struct process *ret)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	struct process p;
	uint64_t pid;

	if (v->embedded)
		snprintf(path, sizeof(path), "%s/libvirt/run/qemu/%s.pid",
			 v->root, vm->name);
	else
		snprintf(path, sizeof(path), "/run/libvirt/qemu/%s.pid",
			 vm->name);
	if (file_read(AT_FDCWD, path, 64, &text, NULL, NULL) < 0)
		return -ESRCH;
	text[strcspn(text, "\n")] = '\0';
	if (parse_u64(text, 2, INT32_MAX, &pid) < 0)
		return -ESRCH;
	p.pid = (pid_t)pid;
	/* Start time first: a process that takes the pid afterwards has
	 * another one. */
	if (proc_start_time(p.pid, &p.start) < 0 || !is_qemu_of(p.pid, vm))
		return -ESRCH;
	*ret = p;
	return 0;
}

/* Until libvirt has let go of the name. Where QEMU is known to be dead, it is
 * given a moment to see that by itself: asked to end a VM that it is just
 * taking up again, it can wait 30 s for its own lock. */
static int destroy_domain(struct virt *v, const char *name, bool dead,
			  struct err *e)
{
	const struct timespec step = {.tv_nsec = 1000000};
	uint64_t ask = now_ms() + (dead ? NOTICE_MS : 0);
	uint64_t deadline = now_ms() + END_MS;
	virDomainPtr dom;
	int r;

	for (;;) {
		r = virt_lookup(v, name, &dom, e);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		/* It says that there was none when its own eyes were faster,
		 * and right after a re-attach: what counts is the lookup. */
		if (now_ms() >= ask && virDomainDestroy(dom) < 0)
			r = virt_error(e, "end VM '%s'", name);
		virDomainFree(dom);
		if (now_ms() >= deadline)
			return r < 0 ? r : -ETIMEDOUT;
		nanosleep(&step, NULL);
	}
}

/* What the helper thread gets and gives. */
struct creation {
	struct virt *v;
	const char *xml;
	const struct virt_nic *nic;
	int done_fd;
	int result;
	struct err e;
};

/* A VM with a network card gets it before its CPUs run. */
static int create(virConnectPtr conn, struct creation *c, struct err *e)
{
	virDomainPtr d = virDomainCreateXML(
		conn, c->xml, c->nic ? VIR_DOMAIN_START_PAUSED : 0);
	int r = 0;

	if (!d)
		return virt_error(e, "start QEMU");
	if (c->nic) {
		r = nic_attach(d, c->nic, e);
		if (r == 0 && virDomainResume(d) < 0)
			r = virt_error(e, "start QEMU's CPUs");
		if (r < 0)
			virDomainDestroy(d);
	}
	virDomainFree(d);
	return r;
}

/* QEMU inherits the network namespace of the thread that starts it: an empty
 * one of its own. */
static void *create_main(void *arg)
{
	struct creation *c = arg;
	uint64_t one = 1;
	virConnectPtr conn = conn_get(c->v);

	if (unshare(CLONE_NEWNET) < 0)
		c->result = err_sys(&c->e, errno,
				    "make a network namespace for QEMU");
	else
		c->result = create(conn, c, &c->e);
	virConnectClose(conn);
	if (write(c->done_fd, &one, sizeof(one)) < 0)
		return NULL;
	return NULL;
}

/* QEMU waits for its vsock device before it says anything to libvirt: when
 * the device has died, QEMU must go, or libvirt would wait for long. */
static void watch_creation(struct virt *v, struct vm *vm, int done_fd,
			   int device_fd)
{
	struct pollfd p[2] = {{.fd = done_fd, .events = POLLIN},
			      {.fd = device_fd, .events = POLLIN}};
	struct process qemu;
	int fd, wait = -1;

	while (poll(p, 2, wait) >= 0 || errno == EINTR) {
		if (p[0].revents)
			return;
		if (!p[1].revents && p[1].fd >= 0)
			continue;
		p[1].fd = -1;
		wait = 20;
		if (vm_find_qemu(v, vm, &qemu) < 0)
			continue;
		fd = proc_open(qemu.pid, qemu.start);
		if (fd >= 0) {
			process_end(fd, 100);
			close(fd);
		}
	}
}

static int create_domain(struct virt *v, struct vm *vm, const char *xml,
			 const struct virt_nic *nic, struct err *e)
{
	_cleanup_close_ int done = eventfd(0, EFD_CLOEXEC), device = -1;
	struct creation c = {.v = v, .xml = xml, .nic = nic, .done_fd = done};
	pthread_t t;
	int r;

	if (done < 0)
		return err_sys(e, errno, "make an eventfd");
	pthread_mutex_lock(&v->lock);
	if (vm->vsockd_fd >= 0)
		device = fcntl(vm->vsockd_fd, F_DUPFD_CLOEXEC, 3);
	pthread_mutex_unlock(&v->lock);
	reap_busy(true);
	r = pthread_create(&t, NULL, create_main, &c);
	if (r) {
		reap_busy(false);
		return err_sys(e, r, "start a thread");
	}
	watch_creation(v, vm, done, device);
	pthread_join(t, NULL);
	reap_busy(false);
	if (c.result < 0 && e)
		*e = c.e;
	return c.result;
}

static void fill(struct virt *v, struct vm *vm, const struct virt_vm_spec *s)
{
	pthread_mutex_lock(&v->lock);
	memcpy(vm->uuid, s->uuid, sizeof(vm->uuid));
	vm->uid = s->uid;
	vm->gid = s->gid;
	vm->cid = s->cid;
	vm->slots = s->slots;
	vm->carrier = s->carrier;
	snprintf(vm->vm_dir, sizeof(vm->vm_dir), "%s", s->vm_dir);
	vm->qemu = vm->vsockd = (struct process){0};
	shares_close(vm);
	shares_forget(vm);
	vm->end = VIRT_END_NONE;
	vm->detail[0] = '\0';
	vm->starting = true;
	vm->early_end = -1;
	vm->panicked = vm->rebooted = vm->destroying = false;
	pthread_mutex_unlock(&v->lock);
}

static int prepare(struct virt *v, struct vm *vm, const struct virt_vm_spec *s,
		   struct err *e)
{
	char path[PATH_MAX];
	int r;

	r = record_path(v, vm->name, "", path, sizeof(path));
	if (r < 0)
		return err_sys(e, -r, "record of VM '%s'", vm->name);
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(e, errno, "create '%s'", path);
	vm_remove_sockets(vm);
	pthread_mutex_lock(&v->lock);
	r = record_write(v, vm, e);
	if (r == 0)
		r = console_open(v, vm, e);
	pthread_mutex_unlock(&v->lock);
	keeper_wake(v);
	if (r == 0 && vm->carrier == VIRT_VSOCK_UNIX)
		r = device_start(v, vm, e);
	if (r == 0)
		r = shares_start(v, vm, s, e);
	return r;
}

static int make_xml(struct virt *v, const struct virt_vm_spec *s, struct buf *b,
		    struct err *e)
{
	struct xml_domain d = {.vm = s,
			       .kvm = v->host.hardware,
			       .emulator = VIRT_EMULATOR,
			       .kernel = v->kernel,
			       .initramfs = v->initramfs,
			       .cmdline = v->cmdline,
			       .tsc_khz = tsc_khz(&v->tsc),
			       .cgroups = v->host.cgroups};
	int r = xml_domain_format(b, &d);

	return r < 0 ? err_sys(e, -r, "description of VM '%s'", s->name) : 0;
}

static void on_started(struct virt *v, struct vm *vm)
{
	struct process qemu = {0};

	/* It may be dead already. */
	(void)vm_find_qemu(v, vm, &qemu);
	pthread_mutex_lock(&v->lock);
	vm->state = VIRT_RUNNING;
	vm->starting = false;
	vm->qemu = qemu;
	cleanup_close(&vm->qemu_fd);
	vm->qemu_fd = proc_open(qemu.pid, qemu.start);
	record_write(v, vm, NULL);
	event_push(v, VIRT_EVENT_STARTED, vm);
	if (vm->early_end >= 0)
		vm_on_stopped(v, vm, vm->early_end);
	else if (vm->carrier == VIRT_VSOCK_UNIX && vm->vsockd_fd < 0)
		worker_start(v, vm, device_recover);
	if (vm->early_end < 0 && !shares_are_whole(vm))
		worker_start(v, vm, share_lost);
	pthread_mutex_unlock(&v->lock);
	keeper_wake(v);
}

static void undo(struct virt *v, struct vm *vm)
{
	device_stop(v, vm);
	shares_stop(v, vm);
	pthread_mutex_lock(&v->lock);
	console_close(vm);
	vm->starting = false;
	vm->state = VIRT_GONE;
	record_write(v, vm, NULL);
	pthread_mutex_unlock(&v->lock);
	vm_remove_sockets(vm);
}

static int start(struct virt *v, struct vm *vm, const struct virt_vm_spec *s,
		 struct err *e)
{
	_cleanup_buf_ struct buf xml = BUF_INIT;
	virDomainPtr old;
	int r;

	r = virt_lookup(v, s->name, &old, NULL);
	if (r == 0) {
		virDomainFree(old);
		if (vm->state != VIRT_GONE || process_is_alive(&vm->qemu))
			return err_set(e, EEXIST, "a VM '%s' is there already",
				       s->name);
		/* libvirt is about to see that the last one is gone. */
		r = destroy_domain(v, s->name, true, e);
		if (r < 0)
			return r;
	}
	r = make_xml(v, s, &xml, e);
	if (r == 0)
		r = make_vm_dir(s, e);
	if (r < 0)
		return r;
	fill(v, vm, s);
	if (s->boot)
		r = vm_link_file(vm, s->boot->base, XML_BOOT_BASE, e);
	if (r == 0 && s->boot)
		r = vm_link_file(vm, s->boot->overlay, XML_BOOT_OVERLAY, e);
	if (r == 0 && s->boot && s->boot->nvram)
		r = vm_link_file(vm, s->boot->nvram, XML_BOOT_NVRAM, e);
	if (r == 0)
		r = prepare(v, vm, s, e);
	if (r == 0)
		r = create_domain(v, vm, buf_str(&xml), s->nic, e);
	if (r < 0)
		shares_explain(v, vm, e);
	if (r < 0)
		undo(v, vm);
	else
		on_started(v, vm);
	return r;
}

int virt_vm_start(struct virt *v, const struct virt_vm_spec *spec,
		  struct err *e)
{
	struct vm *vm;
	int r;

	r = check_spec(v, spec, e);
	if (r < 0)
		return r;
	vm = vm_get(v, spec->name, true);
	if (!vm)
		return err_sys(e, ENOMEM, "start VM '%s'", spec->name);
	pthread_mutex_lock(&vm->op);
	r = start(v, vm, spec, e);
	pthread_mutex_unlock(&vm->op);
	vm_put(v, vm);
	return r < 0 ? err_wrap(e, "start VM '%s'", spec->name) : 0;
}

/* Killed by us and not by libvirt, which asks politely and looks again only
 * after 200 ms. Nothing is lost: QEMU keeps no data of a raw disk to itself.
 * libvirt sees the end by itself, and virt_vm_start() waits for that. 0: it
 * is gone; -ESRCH: there is none that we know. */
static int end_qemu(const struct process *qemu, struct err *e)
{
	_cleanup_close_ int fd = proc_open(qemu->pid, qemu->start);

	if (fd < 0)
		return -ESRCH;
	if (process_end(fd, END_MS) == 0) {
		reap_kick();
		return 0;
	}
	return err_set(e, EBUSY, "QEMU (pid %d) does not end", (int)qemu->pid);
}

static int destroy(struct virt *v, struct vm *vm, struct err *e)
{
	struct process qemu;
	int r;

	pthread_mutex_lock(&v->lock);
	vm->destroying = true;
	qemu = vm->qemu;
	pthread_mutex_unlock(&v->lock);
	if (qemu.pid <= 0)
		(void)vm_find_qemu(v, vm, &qemu);
	reap_busy(true);
	r = end_qemu(&qemu, e);
	if (r == -ESRCH)
		r = destroy_domain(v, vm->name, false, e);
	reap_busy(false);
	if (r < 0)
		return r;
	device_stop(v, vm);
	shares_stop(v, vm);
	pthread_mutex_lock(&v->lock);
	if (vm->state != VIRT_GONE)
		vm_set_gone(v, vm, VIRT_END_DESTROYED, "");
	else
		record_write(v, vm, NULL);
	console_close(vm);
	vm->destroying = false;
	pthread_mutex_unlock(&v->lock);
	vm_remove_sockets(vm);
	return 0;
}

int virt_vm_shutdown(struct virt *v, const char *name, uint64_t ms,
		     struct err *e)
{
	const struct timespec step = {.tv_nsec = 50000000};
	uint64_t deadline = now_ms() + ms;
	struct virt_vm_info info;
	virDomainPtr dom;
	int r;

	r = virt_lookup(v, name, &dom, e);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (virDomainShutdownFlags(dom, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) < 0)
		r = virt_error(e, "press the power button of VM '%s'", name);
	virDomainFree(dom);
	while (r == 0) {
		if (virt_vm_info(v, name, &info, NULL) < 0 ||
		    info.state == VIRT_GONE)
			return 0;
		if (now_ms() >= deadline)
			r = err_set(e, ETIMEDOUT,
				    "VM '%s' does not shut itself down", name);
		nanosleep(&step, NULL);
	}
	return r;
}

int virt_vm_destroy(struct virt *v, const char *name, struct err *e)
{
	struct vm *vm;
	int r;

	if (!name_is_valid(name))
		return err_set(e, EINVAL, "not a name of a VM");
	vm = vm_get(v, name, false);
	if (!vm)
		return v->embedded ? destroy_domain(v, name, false, e) : 0;
	pthread_mutex_lock(&vm->op);
	r = destroy(v, vm, e);
	pthread_mutex_unlock(&vm->op);
	vm_put(v, vm);
	return r;
}

int virt_vm_forget(struct virt *v, const char *name, struct err *e)
{
	char path[PATH_MAX];
	struct vm *vm, **p;
	int r = 0;

	if (!name_is_valid(name))
		return err_set(e, EINVAL, "not a name of a VM");
	vm = vm_get(v, name, false);
	if (vm) {
		pthread_mutex_lock(&vm->op);
		pthread_mutex_lock(&v->lock);
		if (vm->state != VIRT_GONE)
			r = err_set(e, EBUSY, "VM '%s' runs", name);
		for (p = &v->vms; r == 0 && *p; p = &(*p)->next)
			if (*p == vm) {
				*p = vm->next;
				vm->forgotten = true;
				break;
			}
		pthread_mutex_unlock(&v->lock);
	}
	if (r == 0 && record_path(v, name, "", path, sizeof(path)) == 0)
		r = path_remove(path, e);
	if (vm) {
		pthread_mutex_unlock(&vm->op);
		vm_put(v, vm);
	}
	return r;
}
