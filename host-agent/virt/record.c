/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ROOT/virt/NAME/record: what a new hybd must know of a VM and libvirt cannot
 * tell it. Written whole and renamed, not fsynced: after a crash of the host
 * there is no VM to have it for. One that cannot be read is as good as none.
 */
#include "host-agent/virt/internal.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>

#define RECORD_MAX 8192

int record_path(const struct virt *v, const char *name, const char *file,
		char *out, size_t size)
{
	int n = snprintf(out, size, "%s/virt/%s%s%s", v->root, name,
			 *file ? "/" : "", file);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static json_t *shares_to_json(const struct vm *vm)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < vm->n_shares; i++)
		json_array_append_new(
			list,
			json_pack("[I,I]",
				  (json_int_t)vm->shares[i].process.pid,
				  (json_int_t)vm->shares[i].process.start));
	return list;
}

static int shares_from_json(json_t *list, struct vm *vm)
{
	json_int_t pid, start;
	size_t i, n = json_array_size(list);

	if (n > VIRT_SHARES_MAX)
		return -EINVAL;
	for (i = 0; i < n; i++) {
		if (json_unpack(json_array_get(list, i), "[I,I]", &pid,
				&start) < 0 ||
		    pid < 0 || pid > INT32_MAX)
			return -EINVAL;
		vm->shares[i].process =
			(struct process){(pid_t)pid, (uint64_t)start};
	}
	vm->n_shares = n;
	return 0;
}

static json_t *record_to_json(const struct vm *vm)
{
	char uuid[33];

	hex_format(vm->uuid, sizeof(vm->uuid), uuid);
	return json_pack("{s:s s:s s:I s:I s:I s:I s:b s:b s:s s:I s:I s:I s:I "
			 "s:i s:s s:o}",
			 "name", vm->name, "uuid", uuid, "uid",
			 (json_int_t)vm->uid, "gid", (json_int_t)vm->gid, "cid",
			 (json_int_t)vm->cid, "slots", (json_int_t)vm->slots,
			 "kernel_vsock", vm->carrier == VIRT_VSOCK_KERNEL,
			 "no_vsock", vm->carrier == VIRT_VSOCK_NONE, "vm_dir",
			 vm->vm_dir, "qemu_pid", (json_int_t)vm->qemu.pid,
			 "qemu_start", (json_int_t)vm->qemu.start, "vsockd_pid",
			 (json_int_t)vm->vsockd.pid, "vsockd_start",
			 (json_int_t)vm->vsockd.start, "end", (int)vm->end,
			 "detail", vm->detail, "shares", shares_to_json(vm));
}

int record_write(struct virt *v, const struct vm *vm, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX], tmp[PATH_MAX];
	json_t *j = record_to_json(vm);
	int r;

	text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	json_decref(j);
	if (!text)
		return err_sys(e, ENOMEM, "record of VM '%s'", vm->name);
	r = record_path(v, vm->name, "record", path, sizeof(path));
	if (r == 0)
		r = record_path(v, vm->name, "record.new", tmp, sizeof(tmp));
	if (r < 0)
		return err_sys(e, -r, "record of VM '%s'", vm->name);
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		  0600);
	if (fd < 0)
		return err_sys(e, errno, "create '%s'", tmp);
	r = write_full(fd, text, strlen(text));
	if (r == 0 && rename(tmp, path) < 0)
		r = -errno;
	return r < 0 ? err_sys(e, -r, "write '%s'", path) : 0;
}

static int record_from_json(json_t *j, struct vm *vm)
{
	json_int_t uid, gid, cid, slots, qp, qs, vp, vs;
	const char *name, *uuid, *dir, *detail;
	json_t *shares = NULL;
	int kernel, none = 0, end;

	if (json_unpack(j,
			"{s:s s:s s:I s:I s:I s:I s:b s?b s:s s:I s:I s:I s:I "
			"s:i s:s s?o}",
			"name", &name, "uuid", &uuid, "uid", &uid, "gid", &gid,
			"cid", &cid, "slots", &slots, "kernel_vsock", &kernel,
			"no_vsock", &none, "vm_dir", &dir, "qemu_pid", &qp,
			"qemu_start", &qs, "vsockd_pid", &vp, "vsockd_start",
			&vs, "end", &end, "detail", &detail, "shares",
			&shares) < 0)
		return -EINVAL;
	if (strcmp(name, vm->name) != 0 || strlen(dir) > VIRT_DIR_MAX ||
	    hex_parse(uuid, vm->uuid, sizeof(vm->uuid)) < 0 || end < 0 ||
	    end >= VIRT_END_MAX || uid <= 0 || uid > INT32_MAX || gid <= 0 ||
	    gid > INT32_MAX || cid < 3 || cid >= UINT32_MAX || qp < 0 ||
	    qp > INT32_MAX || vp < 0 || vp > INT32_MAX || slots < 0 ||
	    slots > VIRT_SLOTS_MAX || shares_from_json(shares, vm) < 0)
		return -EINVAL;
	vm->uid = (uid_t)uid;
	vm->gid = (gid_t)gid;
	vm->cid = (uint32_t)cid;
	vm->slots = (uint32_t)slots;
	vm->carrier = none     ? VIRT_VSOCK_NONE
		      : kernel ? VIRT_VSOCK_KERNEL
			       : VIRT_VSOCK_UNIX;
	vm->qemu = (struct process){(pid_t)qp, (uint64_t)qs};
	vm->vsockd = (struct process){(pid_t)vp, (uint64_t)vs};
	vm->end = (enum virt_end)end;
	snprintf(vm->vm_dir, sizeof(vm->vm_dir), "%s", dir);
	snprintf(vm->detail, sizeof(vm->detail), "%s", detail);
	return 0;
}

static void record_load(struct virt *v, const char *name)
{
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	struct vm *vm;
	json_t *j;

	if (record_path(v, name, "record", path, sizeof(path)) < 0 ||
	    file_read(AT_FDCWD, path, RECORD_MAX, &text, NULL, NULL) < 0)
		return;
	vm = vm_get(v, name, true);
	if (!vm)
		return;
	j = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	if (!j || record_from_json(j, vm) < 0)
		virt_warn(v,
			  "the record of VM '%s' cannot be read: what it "
			  "was is not known any more",
			  name);
	json_decref(j);
	vm_put(v, vm);
}

int record_load_all(struct virt *v, struct err *e)
{
	_cleanup_closedir_ DIR *d = NULL;
	char path[PATH_MAX];
	struct dirent *entry;

	snprintf(path, sizeof(path), "%s/virt", v->root);
	d = opendir(path);
	if (!d)
		return err_sys(e, errno, "open '%s'", path);
	while ((entry = readdir(d)) != NULL)
		if (name_is_valid(entry->d_name))
			record_load(v, entry->d_name);
	return 0;
}
