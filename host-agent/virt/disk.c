/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks: files that QEMU opens by a path in the VM's own directory. What lies
 * in a store that only root can enter gets a hard link there.
 */
#include "host-agent/virt/internal.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "host-agent/virt/xml.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#define DETACH_MS 5000

static bool serial_is_valid(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= VIRT_SERIAL_MAX &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

static int get_disks(virDomainPtr dom, struct virt_disk *disks,
		     struct xml_alias *alias, size_t *ret_n, struct err *e)
{
	_cleanup_free_ char *xml = virDomainGetXMLDesc(dom, 0);

	if (!xml)
		return virt_error(e, "ask for the VM's disks");
	*ret_n = xml_disks_parse(xml, disks, alias, VIRT_SLOTS_MAX);
	return 0;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* The directory belongs to QEMU's uid. */
int vm_link_file(const struct vm *vm, const char *path, const char *name,
		 struct err *e)
{
	_cleanup_close_ int dir = -1, fd = -1;
	struct stat st, old;
	char proc[64];

	fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "'%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "'%s' is no regular file", path);
	dir = open(vm->vm_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return err_sys(e, errno, "open '%s'", vm->vm_dir);
	if (fstatat(dir, name, &old, AT_SYMLINK_NOFOLLOW) == 0) {
		if (same_file(&st, &old))
			return 0;
		if (unlinkat(dir, name, 0) < 0)
			return err_sys(e, errno, "remove '%s/%s'", vm->vm_dir,
				       name);
	}
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	if (linkat(AT_FDCWD, proc, dir, name, AT_SYMLINK_FOLLOW) < 0)
		return err_sys(e, errno, "link '%s' to '%s/%s'", path,
			       vm->vm_dir, name);
	return 0;
}

/* Links of a disk in the VM's directory: "disk-SERIAL", "base-SERIAL". */
#define LINK_DISK "disk"
#define LINK_BASE "base"
#define LINK_SIZE (VIRT_DIR_MAX + VIRT_SERIAL_MAX + 16)

static int link_disk(const struct vm *vm, const char *path, const char *prefix,
		     const char *serial, char *out, size_t size, struct err *e)
{
	char name[VIRT_SERIAL_MAX + 8];

	snprintf(name, sizeof(name), "%s-%s", prefix, serial);
	snprintf(out, size, "%s/%s", vm->vm_dir, name);
	return vm_link_file(vm, path, name, e);
}

static int free_target(const struct virt_disk *disks, size_t n, char *out,
		       size_t size)
{
	size_t letter, i;

	for (letter = 0; letter < VIRT_SLOTS_MAX; letter++) {
		snprintf(out, size, "vd%c", (char)('a' + letter));
		for (i = 0; i < n; i++)
			if (strcmp(disks[i].target, out) == 0)
				break;
		if (i == n)
			return 0;
	}
	return -ENOSPC;
}

/* What is done to one disk of one VM, and what it takes. */
struct disk_job {
	int (*run)(virDomainPtr dom, const struct vm *vm,
		   const struct disk_job *job, struct err *e);
	const char *serial;
	const char *path; /* attach */
	const char *base; /* attach: see virt_vm_attach_difference() */
	bool readonly, volume, scratch;
	uint64_t bytes; /* resize */
};

static int attach(virDomainPtr dom, const struct vm *vm,
		  const struct disk_job *job, struct err *e)
{
	char file[LINK_SIZE], base[LINK_SIZE], target[8];
	_cleanup_buf_ struct buf xml = BUF_INIT;
	struct virt_disk disks[VIRT_SLOTS_MAX];
	struct xml_disk d = {.path = file,
			     .target = target,
			     .serial = job->serial,
			     .base = job->base ? base : NULL,
			     .readonly = job->readonly,
			     .volume = job->volume,
			     .scratch = job->scratch};
	size_t n = 0, i;
	int r;

	r = get_disks(dom, disks, NULL, &n, e);
	if (r < 0)
		return r;
	for (i = 0; i < n; i++)
		if (strcmp(disks[i].serial, job->serial) == 0)
			return 0;
	if (n >= vm->slots || free_target(disks, n, target, 8) < 0)
		return err_set(e, ENOSPC, "all %u slots are in use", vm->slots);
	r = link_disk(vm, job->path, LINK_DISK, job->serial, file, sizeof(file),
		      e);
	if (r == 0 && job->base)
		r = link_disk(vm, job->base, LINK_BASE, job->serial, base,
			      sizeof(base), e);
	if (r < 0)
		return r;
	r = xml_disk_format(&xml, &d);
	if (r < 0)
		return err_sys(e, -r, "description of the disk");
	if (virDomainAttachDevice(dom, buf_str(&xml)) < 0)
		return virt_error(e, "attach '%s'", job->path);
	return 0;
}

static int unlink_disk(const struct vm *vm, const char *prefix,
		       const char *serial, struct err *e)
{
	char file[LINK_SIZE];

	snprintf(file, sizeof(file), "%s/%s-%s", vm->vm_dir, prefix, serial);
	if (unlink(file) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove '%s'", file);
	return 0;
}

static int detach(virDomainPtr dom, const struct vm *vm,
		  const struct disk_job *job, struct err *e)
{
	const char *serial = job->serial;
	const struct timespec step = {.tv_nsec = 10000000};
	uint64_t deadline = now_ms() + DETACH_MS;
	struct virt_disk disks[VIRT_SLOTS_MAX];
	struct xml_alias alias[VIRT_SLOTS_MAX];
	bool asked = false;
	size_t n = 0, i;
	int r;

	for (;;) {
		r = get_disks(dom, disks, alias, &n, e);
		if (r < 0)
			return r;
		for (i = 0; i < n && strcmp(disks[i].serial, serial) != 0;)
			i++;
		if (i == n)
			break;
		if (!asked &&
		    virDomainDetachDeviceAlias(dom, alias[i].text, 0) < 0)
			return virt_error(e, "detach disk '%s'", serial);
		asked = true;
		if (now_ms() >= deadline)
			return err_set(e, ETIMEDOUT,
				       "the guest does not let go of disk "
				       "'%s'",
				       serial);
		nanosleep(&step, NULL);
	}
	r = unlink_disk(vm, LINK_DISK, serial, e);
	return r < 0 ? r : unlink_disk(vm, LINK_BASE, serial, e);
}

static int resize(virDomainPtr dom, const struct vm *vm,
		  const struct disk_job *job, struct err *e)
{
	struct virt_disk disks[VIRT_SLOTS_MAX];
	size_t n = 0, i;
	int r;

	(void)vm;
	r = get_disks(dom, disks, NULL, &n, e);
	if (r < 0)
		return r;
	for (i = 0; i < n && strcmp(disks[i].serial, job->serial) != 0;)
		i++;
	if (i == n)
		return err_set(e, ENOENT, "there is no disk '%s'", job->serial);
	if (virDomainBlockResize(dom, disks[i].target, job->bytes,
				 VIR_DOMAIN_BLOCK_RESIZE_BYTES) < 0)
		return virt_error(e, "grow disk '%s'", job->serial);
	return 0;
}

static int disk_run(struct virt *v, const char *name,
		    const struct disk_job *job, struct err *e)
{
	virDomainPtr dom;
	struct vm *vm;
	int r;

	if (!serial_is_valid(job->serial))
		return err_set(e, EINVAL, "not a serial of a disk");
	vm = vm_get(v, name, false);
	if (!vm)
		return err_set(e, ENOENT, "there is no VM '%s'", name);
	pthread_mutex_lock(&vm->op);
	r = virt_lookup(v, name, &dom, e);
	if (r == 0) {
		r = job->run(dom, vm, job, e);
		virDomainFree(dom);
	}
	pthread_mutex_unlock(&vm->op);
	vm_put(v, vm);
	return r < 0 ? err_wrap(e, "VM '%s'", name) : 0;
}

int virt_vm_attach_disk(struct virt *v, const char *name, const char *path,
			const char *serial, bool readonly, struct err *e)
{
	const struct disk_job job = {.run = attach,
				     .serial = serial,
				     .path = path,
				     .readonly = readonly};

	return disk_run(v, name, &job, e);
}

int virt_vm_attach_difference(struct virt *v, const char *name,
			      const char *path, const char *base,
			      const char *serial, struct err *e)
{
	const struct disk_job job = {.run = attach,
				     .serial = serial,
				     .path = path,
				     .base = base,
				     .readonly = true};

	return disk_run(v, name, &job, e);
}

int virt_vm_attach_volume(struct virt *v, const char *name, const char *path,
			  const char *serial, bool readonly, struct err *e)
{
	const struct disk_job job = {.run = attach,
				     .serial = serial,
				     .path = path,
				     .readonly = readonly,
				     .volume = true};

	return disk_run(v, name, &job, e);
}

int virt_vm_attach_scratch(struct virt *v, const char *name, const char *path,
			   const char *serial, struct err *e)
{
	const struct disk_job job = {
		.run = attach, .serial = serial, .path = path, .scratch = true};

	return disk_run(v, name, &job, e);
}

int virt_vm_resize_disk(struct virt *v, const char *name, const char *serial,
			uint64_t bytes, struct err *e)
{
	const struct disk_job job = {
		.run = resize, .serial = serial, .bytes = bytes};

	return disk_run(v, name, &job, e);
}

int virt_vm_detach_disk(struct virt *v, const char *name, const char *serial,
			struct err *e)
{
	const struct disk_job job = {.run = detach, .serial = serial};

	return disk_run(v, name, &job, e);
}

int virt_vm_disks(struct virt *v, const char *name, struct virt_disk **ret,
		  size_t *ret_n, struct err *e)
{
	_cleanup_free_ struct virt_disk *disks = NULL;
	virDomainPtr dom;
	size_t n = 0;
	int r;

	disks = calloc(VIRT_SLOTS_MAX, sizeof(*disks));
	if (!disks)
		return err_sys(e, ENOMEM, "disks of VM '%s'", name);
	r = virt_lookup(v, name, &dom, e);
	if (r < 0)
		return r;
	r = get_disks(dom, disks, NULL, &n, e);
	virDomainFree(dom);
	if (r < 0)
		return r;
	*ret = steal_ptr(disks);
	*ret_n = n;
	return 0;
}
