/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on disks of whole operating systems, and on consoles. */
#include "host-agent/api/api.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/varlink/params.h"
#include "host-agent/state/state_tenant.h"

static int quota_hold(void *arg, const char *tenant, const char *name,
		      uint64_t bytes, bool is_new, struct err *e)
{
	const struct state_holding h = {.tenant = tenant,
					.what = "disk",
					.name = name,
					.bytes = (int64_t)bytes};

	return state_holding_put(arg, &h, is_new ? HOLDING_NEW : HOLDING_SET,
				 e);
}

static int quota_drop(void *arg, const char *tenant, const char *name,
		      struct err *e)
{
	return state_holding_drop(arg, tenant, "disk", name, e);
}

int tenant_disks_open(struct state *s, const struct disk_store_config *config,
		      struct disk_store **ret, struct err *e)
{
	struct disk_store_config c = *config;
	int r = state_holding_clear(s, "disk", e);

	c.quota = (struct disk_quota){quota_hold, quota_drop, s};
	return r < 0 ? r : disk_store_open(&c, ret, e);
}

/* The VMs that are declared to boot it: "stack/vm, stack/vm". */
static void used_by(struct request *q, const char *disk, struct buf *b)
{
	const struct vm *vm;

	world_lock(q->api->world);
	for (vm = q->api->world->vms; vm; vm = vm->next)
		if (!vm->gone && vm->desired &&
		    strcmp(vm->tenant, q->tenant) == 0 &&
		    strcmp(vm->desired->boot_disk, disk) == 0)
			buf_printf(b, "%s%s/%s", b->len ? ", " : "", vm->stack,
				   vm->name);
	world_unlock(q->api->world);
}

static json_t *disk_row(struct request *q, const struct disk_info *d)
{
	_cleanup_buf_ struct buf users = {.max = 4096};

	used_by(q, d->name, &users);
	return json_pack("{s:s,s:s,s:I,s:I,s:o,s:s}", "tenant", d->tenant,
			 "name", d->name, "size", (json_int_t)d->size,
			 "disk_size", (json_int_t)d->allocated, "created",
			 time_json(d->created_at), "used_by", buf_str(&users));
}

struct disk_params {
	const char *name, *format;
};

int on_disk_import(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, offsetof(struct disk_params, name), 0, 256,
		 false},
		{"format", VL_STRING, offsetof(struct disk_params, format), 0,
		 16, false},
	};
	struct request *q = ctx;
	struct bytes_teller teller = {.q = q};
	struct disk_params p = {0};
	enum disk_format format;
	struct disk_info info;
	int fd, r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &p, NULL, e);
	if (r < 0)
		return r;
	if (disk_format_parse(p.format, &format) < 0)
		return err_set(e, EINVAL,
			       "the format must be raw or qcow2, not '%s'",
			       p.format);
	if (vl_conn_take_fds(q->conn, &fd, 1) != 1)
		return err_set(e, EINVAL,
			       "DiskImport: no descriptor came with the call");
	r = disk_import(q->api->disks, q->tenant, p.name, fd, format,
			bytes_tell, &teller, &info, e);
	close(fd);
	if (r < 0)
		return r;
	log_info("disk import '%s': by user %u", p.name, q->uid);
	return request_reply(q, json_pack("{s:o}", "disk", disk_row(q, &info)),
			     false, e);
}

int on_disk_list(void *ctx, struct vl_call *call, struct err *e)
{
	_cleanup_free_ struct disk_info *list = NULL;
	struct request *q = ctx;
	size_t n = 0, i;
	json_t *rows;
	int r;

	(void)call;
	r = disk_list(q->api->disks, q->tenant, &list, &n, e);
	if (r < 0)
		return r;
	rows = json_array();
	for (i = 0; i < n; i++)
		json_array_append_new(rows, disk_row(q, &list[i]));
	return request_reply(q, json_pack("{s:o}", "disks", rows), false, e);
}

static int read_name(const struct vl_call *call, const char **name,
		     struct err *e)
{
	static const struct vl_field field = {"name", VL_STRING, 0,
					      0,      256,	 false};

	return vl_params_read(call->parameters, &field, 1, true, name, NULL, e);
}

int on_disk_remove(void *ctx, struct vl_call *call, struct err *e)
{
	struct request *q = ctx;
	_cleanup_buf_ struct buf users = {.max = 4096};
	const char *name = "";
	int r;

	r = read_name(call, &name, e);
	if (r < 0)
		return r;
	used_by(q, name, &users);
	if (users.len) {
		r = err_set(e, EBUSY, "'%s' is declared to boot it",
			    buf_str(&users));
		err_hint(e, "take it down first");
	} else {
		r = disk_remove(q->api->disks, q->tenant, name, e);
	}
	if (r < 0)
		return r;
	log_info("disk rm '%s': by user %u", name, q->uid);
	return request_reply(q, NULL, false, e);
}

/* ---------------------------------------------------------------- console */

int on_console(void *ctx, struct vl_call *call, struct err *e)
{
	char full[2 * STATE_NAME_MAX], domain[64] = "";
	_cleanup_close_ int fd = -1;
	struct request *q = ctx;
	const char *name = "";
	enum vm_state state = VM_PENDING;
	struct target t;
	struct vm *vm;
	int r;

	r = read_name(call, &name, e);
	if (r == 0)
		r = target_find(q, name, 2, &t, e);
	if (r == 0 && t.container[0]) {
		err_set(e, EINVAL, "a container has no console");
		err_hint(e, "`hyb console %s/%s` is its VM's", t.stack, t.vm);
		r = -EINVAL;
	}
	if (r < 0)
		return r;
	world_lock(q->api->world);
	vm = world_find_vm(q->api->world, q->tenant, t.stack, t.vm);
	if (vm) {
		vm_domain_name(vm, domain);
		state = vm->state;
	}
	world_unlock(q->api->world);
	if (state != VM_RUNNING)
		return err_set(e, ENOTCONN, "VM '%s/%s' is %s, not running",
			       t.stack, t.vm, vm_state_name(state));
	r = virt_vm_console_open(q->api->virt, domain, &fd, e);
	if (r < 0)
		return r;
	snprintf(full, sizeof(full), "%s/%s", t.stack, t.vm);
	return request_reply_fds(q, json_pack("{s:s}", "name", full), &fd, 1,
				 e);
}
