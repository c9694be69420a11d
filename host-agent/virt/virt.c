/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing, the table of VMs, errors, names. */
#include "host-agent/virt/internal.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"

#include <fcntl.h>
#include <libvirt/virterror.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

static const char *const state_names[] = {"gone", "running", "paused"};
_Static_assert(ARRAY_SIZE(state_names) == VIRT_STATE_MAX, "a name per state");

static const char *const end_names[] = {"none",	  "shutdown",  "reboot",
					"panic",  "destroyed", "killed",
					"unknown"};
_Static_assert(ARRAY_SIZE(end_names) == VIRT_END_MAX, "a name per end");

static const char *const accel_names[] = {"auto", "kvm", "tcg"};
_Static_assert(ARRAY_SIZE(accel_names) == VIRT_ACCEL_MAX, "a name per accel");

const char *virt_state_name(enum virt_state s)
{
	return s < VIRT_STATE_MAX ? state_names[s] : "?";
}

const char *virt_end_name(enum virt_end r)
{
	return r < VIRT_END_MAX ? end_names[r] : "?";
}

const char *virt_accel_name(enum virt_accel a)
{
	return a < VIRT_ACCEL_MAX ? accel_names[a] : "?";
}

int virt_accel_parse(const char *s, enum virt_accel *ret)
{
	size_t i;

	for (i = 0; i < VIRT_ACCEL_MAX; i++)
		if (strcmp(s, accel_names[i]) == 0) {
			*ret = (enum virt_accel)i;
			return 0;
		}
	return -EINVAL;
}

void virt_warn(struct virt *v, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (v->on_warning)
		v->on_warning(text, v->arg);
}

static int error_code(const virErrorPtr ve)
{
	if (!ve)
		return EIO;
	switch (ve->code) {
	case VIR_ERR_NO_DOMAIN:
		return ENOENT;
	case VIR_ERR_DOM_EXIST:
		return EEXIST;
	case VIR_ERR_NO_MEMORY:
		return ENOMEM;
	case VIR_ERR_CONFIG_UNSUPPORTED:
		return EOPNOTSUPP;
	case VIR_ERR_OPERATION_TIMEOUT:
		return ETIMEDOUT;
	case VIR_ERR_OPERATION_FAILED:
		return ve->message && strstr(ve->message, "already exists")
			       ? EEXIST
			       : EIO;
	case VIR_ERR_SYSTEM_ERROR:
		return ve->int1 > 0 ? ve->int1 : EIO;
	default:
		if (ve->message && strstr(ve->message, "available PCI slots"))
			return ENOSPC;
		return EIO;
	}
}

int virt_error(struct err *e, const char *fmt, ...)
{
	virErrorPtr ve = virGetLastError();
	char what[256], *nl;
	va_list ap;
	int r;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	r = err_set(e, error_code(ve), "%s: %s", what,
		    ve && ve->message ? ve->message : "libvirt says nothing");
	/* One line: QEMU's last words come as many. */
	for (nl = e ? strchr(e->msg, '\n') : NULL; nl; nl = strchr(nl, '\n'))
		*nl = ' ';
	virResetLastError();
	return r;
}

static void on_libvirt_error(void *data, virErrorPtr ve)
{
	/* They are returned; nothing goes to standard error. */
	(void)data;
	(void)ve;
}

static struct vm *vm_new(const char *name)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	size_t i;

	if (!vm)
		return NULL;
	snprintf(vm->name, sizeof(vm->name), "%s", name);
	pthread_mutex_init(&vm->op, NULL);
	vm->qemu_fd = vm->vsockd_fd = -1;
	shares_forget(vm);
	vm->console_listen = vm->console_fd = vm->console_log = -1;
	for (i = 0; i < VIRT_CONSOLE_CLIENTS; i++)
		vm->console_clients[i] = -1;
	return vm;
}

static void vm_free(struct vm *vm)
{
	cleanup_close(&vm->qemu_fd);
	cleanup_close(&vm->vsockd_fd);
	shares_close(vm);
	console_close(vm);
	pthread_mutex_destroy(&vm->op);
	free(vm);
}

struct vm *vm_get(struct virt *v, const char *name, bool make)
{
	struct vm **p, *vm;

	pthread_mutex_lock(&v->lock);
	for (p = &v->vms; *p && strcmp((*p)->name, name) != 0;)
		p = &(*p)->next;
	if (!*p && make)
		*p = vm_new(name);
	vm = *p;
	if (vm)
		vm->refs++;
	pthread_mutex_unlock(&v->lock);
	return vm;
}

void vm_put(struct virt *v, struct vm *vm)
{
	bool last;

	pthread_mutex_lock(&v->lock);
	last = --vm->refs == 0 && vm->forgotten;
	pthread_mutex_unlock(&v->lock);
	if (last)
		vm_free(vm);
}

void vm_set_gone(struct virt *v, struct vm *vm, enum virt_end end,
		 const char *detail)
{
	vm->state = VIRT_GONE;
	vm->end = end;
	snprintf(vm->detail, sizeof(vm->detail), "%s", detail);
	event_push(v, VIRT_EVENT_STOPPED, vm);
	vm->qemu = (struct process){0};
	cleanup_close(&vm->qemu_fd);
	record_write(v, vm, NULL);
}

bool process_is_alive(const struct process *p)
{
	int fd = proc_open(p->pid, p->start);
	bool alive;

	if (fd < 0)
		return false;
	/* A pidfd is readable when the process has ended, zombie or not. */
	alive = poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 0;
	close(fd);
	return alive;
}

/* Only one hybd at a time. */
static int lock_root(struct virt *v, struct err *e)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char path[sizeof(v->root) + 16];
	int r;

	snprintf(path, sizeof(path), "%s/virt/lock", v->root);
	v->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (v->lock_fd < 0)
		return err_sys(e, errno, "open '%s'", path);
	r = fd_lock(v->lock_fd);
	if (r == 0)
		return 0;
	if (r != -EBUSY)
		return err_sys(e, -r, "lock '%s'", path);
	fcntl(v->lock_fd, F_GETLK, &fl);
	err_set(e, EBUSY, "another process (pid %d) holds '%s'", (int)fl.l_pid,
		v->root);
	err_hint(e, "stop that one first, or use another root directory");
	return -EBUSY;
}

static int check_installed(struct err *e)
{
	/* Where Debian's multiarch puts it; other systems fail later, in
	 * libvirt's own words. */
	static const char dir[] =
		"/usr/lib/x86_64-linux-gnu/libvirt/connection-driver";

	if (access(VIRT_EMULATOR, X_OK) < 0)
		err_set(e, ENOPKG, "QEMU is not installed (%s)", VIRT_EMULATOR);
	else if (access("/usr/share/qemu/qboot.rom", R_OK) < 0)
		err_set(e, ENOPKG, "QEMU's qboot.rom is not installed");
	else if (access("/usr/lib/x86_64-linux-gnu/libvirt.so.0", F_OK) == 0 &&
		 (access(dir, F_OK) < 0 ||
		  access("/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/"
			 "libvirt_driver_qemu.so",
			 R_OK) < 0))
		err_set(e, ENOPKG, "libvirt's QEMU driver is not installed");
	else
		return 0;
	err_hint(e, "apt-get install qemu-system-x86 "
		    "libvirt-daemon-driver-qemu libvirt-daemon-system");
	return -ENOPKG;
}

static int check_config(const struct virt_config *c, struct err *e)
{
	const char *files[] = {c->kernel, c->initramfs, c->vsockd_path};
	struct stat st;
	size_t i;

	if (c->root[0] != '/')
		return err_set(e, EINVAL, "root '%s' is not absolute", c->root);
	if (strlen(c->root) > VIRT_ROOT_MAX) {
		err_set(e, ENAMETOOLONG,
			"the path of the root directory has %zu bytes, at "
			"most %d are possible: '%s'",
			strlen(c->root), VIRT_ROOT_MAX, c->root);
		err_hint(e, "sockets lie below it, and their paths end at 107 "
			    "bytes");
		return -ENAMETOOLONG;
	}
	if (strspn(c->root, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUV"
			    "WXYZ0123456789/._-") != strlen(c->root))
		return err_set(e, EINVAL,
			       "root '%s': letters, digits, '/', '.', '_' and "
			       "'-' only",
			       c->root);
	for (i = 0; i < ARRAY_SIZE(files); i++)
		if (!files[i] || files[i][0] != '/' ||
		    stat(files[i], &st) < 0 || !S_ISREG(st.st_mode))
			return err_set(e, ENOENT, "'%s' is not there",
				       files[i] ? files[i] : "(no path)");
	if (c->uid_base == 0 || c->uid_base > INT32_MAX)
		return err_set(e, EINVAL, "uid base %u", c->uid_base);
	return 0;
}

static int make_folders(struct virt *v, struct err *e)
{
	static const struct {
		const char *name;
		mode_t mode;
	} dirs[] = {{"/virt", 0700}, {"/libvirt", 0755}};
	char path[sizeof(v->root) + 16];
	size_t i;
	int r = 0;

	for (i = 0; i < ARRAY_SIZE(dirs) && r == 0; i++) {
		snprintf(path, sizeof(path), "%s%s", v->root, dirs[i].name);
		r = dir_make(path, dirs[i].mode, e);
	}
	return r;
}

static struct virt *virt_new(const struct virt_config *c)
{
	struct virt *v = calloc(1, sizeof(*v));
	char uri[sizeof(v->root) + 64];

	if (!v)
		return NULL;
	snprintf(v->root, sizeof(v->root), "%s", c->root);
	v->embedded = !c->uri || !*c->uri;
	snprintf(uri, sizeof(uri), "qemu:///embed?root=%s/libvirt", c->root);
	v->uri = strdup(v->embedded ? uri : c->uri);
	v->kernel = strdup(c->kernel);
	v->initramfs = strdup(c->initramfs);
	v->cmdline = strdup(c->cmdline ? c->cmdline : "");
	v->vsockd_path = strdup(c->vsockd_path);
	v->fsd_path = c->fsd_path ? strdup(c->fsd_path) : NULL;
	v->share_id = c->share_id;
	v->share_range = c->share_range;
	v->uid_base = c->uid_base;
	v->on_event = c->on_event;
	v->on_warning = c->on_warning;
	v->arg = c->arg;
	v->events_end = &v->events;
	v->lock_fd = -1;
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->idle, NULL);
	v->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	v->callback = v->qemu_callback = -1;
	tsc_mark(&v->tsc);
	return v;
}

static void read_versions(struct virt *v)
{
	unsigned long n;

	if (virGetVersion(&n, NULL, NULL) == 0)
		snprintf(v->host.libvirt, sizeof(v->host.libvirt),
			 "%lu.%lu.%lu", n / 1000000, n / 1000 % 1000, n % 1000);
	if (virConnectGetVersion(v->conn, &n) == 0)
		snprintf(v->host.qemu, sizeof(v->host.qemu), "%lu.%lu.%lu",
			 n / 1000000, n / 1000 % 1000, n % 1000);
}

static int connect_libvirt(struct virt *v, struct err *e)
{
	reap_busy(true);
	v->conn = virConnectOpen(v->uri);
	reap_busy(false);
	if (!v->conn) {
		virErrorPtr ve = virGetLastError();
		bool held =
			ve && ve->message && strstr(ve->message, "driver.pid");
		int r = virt_error(e, "open libvirt at '%s'", v->uri);

		if (!held)
			return r;
		if (e)
			e->code = EBUSY;
		return -EBUSY;
	}
	read_versions(v);
	return 0;
}

static int open_all(struct virt *v, enum virt_accel accel, struct err *e)
{
	int r;

	if ((r = make_folders(v, e)) < 0 || (r = lock_root(v, e)) < 0 ||
	    (r = reap_start(e)) < 0 || (r = probe_accel(v, accel, e)) < 0)
		return r;
	conf_detect_cgroups(&v->host);
	if (!v->host.cgroups)
		virt_warn(v, "CPU limits of VMs are not enforced: %s",
			  v->host.cgroups_reason);
	v->host.kernel_vsock = access("/dev/vhost-vsock", R_OK | W_OK) == 0;
	if (v->embedded && (r = conf_write(v, e)) < 0)
		return r;
	if (v->embedded)
		leftover_clear(v);
	if ((r = record_load_all(v, e)) < 0 || (r = loop_start(v, e)) < 0 ||
	    (r = connect_libvirt(v, e)) < 0 ||
	    (r = events_register(v, v->conn, e)) < 0 ||
	    (r = virt_take_up(v, e)) < 0)
		return r;
	return keeper_start(v, e);
}

int virt_open(const struct virt_config *cfg, struct virt **ret, struct err *e)
{
	struct virt *v;
	int r;

	r = check_config(cfg, e);
	if (r == 0)
		r = check_installed(e);
	if (r < 0)
		return r;
	virSetErrorFunc(NULL, on_libvirt_error);
	v = virt_new(cfg);
	if (!v || !v->uri || !v->kernel || !v->initramfs || !v->cmdline ||
	    !v->vsockd_path || (cfg->fsd_path && !v->fsd_path) ||
	    v->wake_fd < 0)
		r = err_sys(e, ENOMEM, "open virt");
	else
		r = open_all(v, cfg->accel, e);
	if (r < 0) {
		virt_close(v);
		return r;
	}
	*ret = v;
	return 0;
}

void virt_close(struct virt *v)
{
	struct event *ev;
	struct vm *vm;

	if (!v)
		return;
	keeper_stop(v);
	pthread_mutex_lock(&v->lock);
	while (v->workers)
		pthread_cond_wait(&v->idle, &v->lock);
	pthread_mutex_unlock(&v->lock);
	if (v->conn) {
		events_unregister(v);
		virConnectClose(v->conn);
	}
	loop_stop(v);
	reap_stop();
	while ((ev = v->events) != NULL) {
		v->events = ev->next;
		free(ev);
	}
	while ((vm = v->vms) != NULL) {
		v->vms = vm->next;
		vm_free(vm);
	}
	cleanup_close(&v->lock_fd);
	cleanup_close(&v->wake_fd);
	pthread_mutex_destroy(&v->lock);
	pthread_cond_destroy(&v->idle);
	free(v->uri);
	free(v->kernel);
	free(v->initramfs);
	free(v->cmdline);
	free(v->vsockd_path);
	free(v->fsd_path);
	free(v);
}

void virt_host_info(struct virt *v, struct virt_host *ret)
{
	*ret = v->host;
}

const char *virt_isolation(struct virt *v)
{
	return v->host.hardware ? "hardware" : "emulated";
}

virConnectPtr conn_get(struct virt *v)
{
	virConnectPtr conn;

	pthread_mutex_lock(&v->lock);
	conn = v->conn;
	virConnectRef(conn);
	pthread_mutex_unlock(&v->lock);
	return conn;
}

int virt_lookup(struct virt *v, const char *name, virDomainPtr *ret,
		struct err *e)
{
	virConnectPtr conn = conn_get(v);
	virDomainPtr d = virDomainLookupByName(conn, name);
	int r = d ? 0 : virt_error(e, "VM '%s'", name);

	virConnectClose(conn);
	if (d)
		*ret = d;
	return r;
}
