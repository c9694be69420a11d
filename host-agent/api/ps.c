/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that look: Ps, VmList, Inspect, Version. */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/varlink/params.h"

static json_t *int_or_null(int64_t v, bool there)
{
	return there ? json_integer(v) : json_null();
}

struct name_params {
	const char *name;
	bool all;
};

static int read_name(const struct vl_call *call, struct name_params *p,
		     struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, offsetof(struct name_params, name), 0, 256,
		 true},
		{"all", VL_BOOL, offsetof(struct name_params, all), 0, 0, true},
	};

	p->name = "";
	p->all = false;
	return vl_params_read(call->parameters, fields, ARRAY_SIZE(fields),
			      true, p, NULL, e);
}

/* ---------------------------------------------------------------------- ps */

static json_t *ctr_row(const struct vm *vm, const struct ctr *c,
		       const struct model_container *m)
{
	char ports[STATE_PORTS_MAX] = "";
	bool ended = c->state == CTR_EXITED || c->state == CTR_FAILED ||
		     c->state == CTR_STOPPED;

	if (m)
		ports_format(m->ports, m->n_ports, ports, sizeof(ports));
	return json_pack(
		"{s:s,s:s,s:s,s:s,s:s,s:s,s:o,s:s,s:s,s:s,s:i,s:o,s:o,s:s,s:o}",
		"tenant", vm->tenant, "stack", vm->stack, "vm", vm->name,
		"container", c->row.name, "state",
		ctr_is_unhealthy(c) ? "unhealthy" : ctr_state_name(c->state),
		"reason", ctr_is_unhealthy(c) ? "HealthCheck" : c->row.reason,
		"exit_code",
		int_or_null(c->row.exit_code, ended && c->row.exit_code >= 0),
		"image", m ? m->image : "", "digest", c->row.digest, "health",
		ctr_health_word(c), "restarts", (int)c->row.restarts,
		"created_at", time_json(c->row.created_at), "started_at",
		time_json(c->row.started_at), "ports", ports, "pid",
		int_or_null(c->pid, c->pid > 0));
}

/* A container that is declared and not made yet. */
static json_t *pending_row(const struct vm *vm, const struct model_container *m)
{
	struct ctr none = {.state = CTR_PENDING, .row = {.exit_code = -1}};

	snprintf(none.row.name, sizeof(none.row.name), "%s", m->name);
	return ctr_row(vm, &none, m);
}

static bool is_ended(const struct ctr *c)
{
	return c->state == CTR_EXITED || c->state == CTR_STOPPED ||
	       (c->state == CTR_FAILED && !c->restart_at);
}

/* A VM that boots a disk, among the containers: its own name is "". */
static json_t *machine_row(const struct vm *vm)
{
	const struct model_vm *m = vm->desired;
	char image[STATE_NAME_MAX + 8], ports[STATE_PORTS_MAX];

	ports_format(m->ports, m->n_ports, ports, sizeof(ports));
	snprintf(image, sizeof(image), "disk:%s", m->boot_disk);
	return json_pack(
		"{s:s,s:s,s:s,s:s,s:s,s:s,s:n,s:s,s:s,s:s,s:i,s:o,s:o,s:s,s:n}",
		"tenant", vm->tenant, "stack", vm->stack, "vm", vm->name,
		"container", "", "state", vm_state_name(vm->state), "reason",
		vm->row.reason, "exit_code", "image", image, "digest", "",
		"health", "", "restarts", (int)vm->row.restarts, "created_at",
		time_json(vm->row.created_at), "started_at",
		time_json(vm->row.started_at), "ports", ports, "pid");
}

static void vm_rows(json_t *rows, struct vm *vm, const struct target *t,
		    bool all)
{
	const struct model_container *m;
	size_t i;

	if (vm->desired && model_vm_boots_disk(vm->desired) &&
	    !t->container[0] &&
	    (all || (vm->state != VM_STOPPED && vm->state != VM_FAILED)))
		json_array_append_new(rows, machine_row(vm));

	for (i = 0; i < vm->n_ctrs; i++) {
		const struct ctr *c = &vm->ctrs[i];

		m = vm->desired ? model_find_container(vm->desired, c->row.name)
				: NULL;
		if ((t->container[0] &&
		     strcmp(c->row.name, t->container) != 0) ||
		    (!all && is_ended(c)))
			continue;
		json_array_append_new(rows, ctr_row(vm, c, m));
	}
	for (i = 0; vm->desired && i < vm->desired->n_containers; i++) {
		m = &vm->desired->containers[i];
		if (!vm_find_ctr(vm, m->name) &&
		    (!t->container[0] || strcmp(m->name, t->container) == 0))
			json_array_append_new(rows, pending_row(vm, m));
	}
}

static int row_compare(const void *a, const void *b)
{
	static const char *const keys[] = {"stack", "vm", "container"};
	const json_t *const *x = a, *const *y = b;
	size_t i;
	int c = 0;

	for (i = 0; i < ARRAY_SIZE(keys) && c == 0; i++) {
		const char *s = json_string_value(json_object_get(*x, keys[i]));
		const char *t = json_string_value(json_object_get(*y, keys[i]));

		c = s && t ? strcmp(s, t) : 0;
	}
	return c;
}

/* The array in the order of its rows' names. Takes the reference. */
static json_t *sorted(json_t *rows)
{
	size_t i, n = json_array_size(rows);
	json_t **v = calloc(n + 1, sizeof(*v)), *out;

	if (!v)
		return rows;
	for (i = 0; i < n; i++)
		v[i] = json_incref(json_array_get(rows, i));
	qsort(v, n, sizeof(*v), row_compare);
	out = json_array();
	for (i = 0; i < n; i++)
		json_array_append_new(out, v[i]);
	free(v);
	json_decref(rows);
	return out;
}

int on_ps(void *ctx, struct vl_call *call, struct err *e)
{
	struct target t = {"", "", ""};
	struct request *q = ctx;
	struct name_params p;
	struct vm *vm;
	json_t *rows;
	int r;

	r = read_name(call, &p, e);
	if (r == 0 && p.name[0])
		r = target_find(q, p.name, 1, &t, e);
	if (r < 0)
		return r;
	rows = json_array();
	world_lock(q->api->world);
	for (vm = q->api->world->vms; vm; vm = vm->next)
		if (target_has(q, &t, vm))
			vm_rows(rows, vm, &t, p.all || t.container[0]);
	world_unlock(q->api->world);
	return request_reply(q, json_pack("{s:o}", "rows", sorted(rows)), false,
			     e);
}

/* --------------------------------------------------------------------- VMs */

/* What must be asked of virt, after the lock is given back. */
static void add_host_facts(struct request *q, json_t *row, const char *domain)
{
	struct virt_vm_info info;
	struct virt_memory memory;
	struct virt_host host;

	virt_host_info(q->api->virt, &host);
	json_object_set_new(row, "accelerator",
			    json_string(virt_accel_name(host.accel)));
	json_object_set_new(row, "isolation",
			    json_string(virt_isolation(q->api->virt)));
	if (virt_vm_info(q->api->virt, domain, &info, NULL) == 0 &&
	    info.qemu_pid)
		json_object_set_new(row, "qemu_pid",
				    json_integer(info.qemu_pid));
	if (virt_vm_memory(q->api->virt, domain, &memory, NULL) == 0)
		json_object_set_new(
			row, "host_memory",
			json_integer((json_int_t)(memory.qemu_pss +
						  memory.vsockd_pss)));
}

/* In its tenant's network, while it is off too; null: it never had a card. */
static json_t *vm_address(const struct vm *vm)
{
	struct net_machine net;

	if (!vm->row.net_number)
		return json_null();
	net_machine_address(vm->row.net_number, &net);
	return json_string(net.ip);
}

static json_t *vm_row(const struct vm *vm)
{
	uint64_t up =
		vm->state == VM_RUNNING ? (now_ms() - vm->booted_at) / 1000 : 0;
	uint64_t memory = vm->desired ? model_vm_memory(vm->desired) : 0;

	return json_pack(
		"{s:s,s:s,s:s,s:s,s:s,s:i,s:I,s:n,s:s,s:s,s:I,s:I,s:n,s:s,s:s,"
		"s:o,s:s,s:o}",
		"tenant", vm->tenant, "stack", vm->stack, "vm", vm->name,
		"state", vm_state_name(vm->state), "reason", vm->row.reason,
		"vcpus", vm->desired ? (int)vm->desired->vcpus : 0, "memory",
		(json_int_t)memory, "host_memory", "accelerator", "",
		"isolation", "", "cid", (json_int_t)vm_cid(vm), "uid",
		(json_int_t)vm_uid(vm), "qemu_pid", "agent_version",
		vm->agent_version, "kernel", vm->kernel, "uptime",
		int_or_null((json_int_t)up, vm->state == VM_RUNNING), "pool",
		"cold", "ip", vm_address(vm));
}

/* The rows, and beside each the domain to ask virt for. */
static json_t *collect_vms(struct request *q, const struct target *t,
			   json_t *domains)
{
	json_t *rows = json_array(), *row;
	const struct vm *vm;
	char domain[64];

	world_lock(q->api->world);
	for (vm = q->api->world->vms; vm; vm = vm->next) {
		if (!target_has(q, t, vm))
			continue;
		row = vm_row(vm);
		vm_domain_name(vm, domain);
		json_array_append_new(rows, row);
		json_array_append_new(domains, json_string(domain));
	}
	world_unlock(q->api->world);
	return rows;
}

int on_vm_list(void *ctx, struct vl_call *call, struct err *e)
{
	struct target t = {"", "", ""};
	struct request *q = ctx;
	struct name_params p;
	json_t *rows, *domains, *row;
	size_t i;
	int r;

	r = read_name(call, &p, e);
	if (r == 0 && p.name[0])
		r = target_find(q, p.name, 1, &t, e);
	if (r < 0)
		return r;
	domains = json_array();
	rows = collect_vms(q, &t, domains);
	json_array_foreach(rows, i, row)
		add_host_facts(q, row,
			       json_string_value(json_array_get(domains, i)));
	json_decref(domains);
	return request_reply(q, json_pack("{s:o}", "rows", sorted(rows)), false,
			     e);
}

/* ----------------------------------------------------------------- inspect */

static json_t *ctr_object(const struct vm *vm, const struct ctr *c)
{
	const struct model_container *m =
		vm->desired ? model_find_container(vm->desired, c->row.name)
			    : NULL;
	json_t *o = ctr_row(vm, c, m);

	json_object_set_new(o, "message", json_string(c->row.message));
	json_object_set_new(o, "finished_at", time_json(c->row.finished_at));
	json_object_set_new(o, "waits_for", json_string(c->why));
	json_object_set_new(o, "health_note", json_string(c->health_note));
	json_object_set_new(o, "readiness_note",
			    json_string(c->readiness_note));
	json_object_set_new(o, "user_stopped",
			    json_boolean(c->row.user_stopped));
	json_object_set_new(o, "incarnation", json_integer(c->row.incarnation));
	if (c->row.applied)
		json_object_set_new(o, "applied",
				    json_loads(c->row.applied, 0, NULL));
	if (m)
		json_object_set_new(o, "desired", model_container_to_json(m));
	return o;
}

static json_t *vm_object(struct vm *vm, const struct target *t)
{
	json_t *o = vm_row(vm), *list = json_array();
	size_t i;

	for (i = 0; i < vm->n_ctrs; i++)
		if (!t->container[0] ||
		    strcmp(t->container, vm->ctrs[i].row.name) == 0)
			json_array_append_new(list,
					      ctr_object(vm, &vm->ctrs[i]));
	json_object_set_new(o, "containers", list);
	json_object_set_new(o, "message", json_string(vm->row.message));
	json_object_set_new(o, "uuid", json_string(vm->row.uuid));
	json_object_set_new(o, "restarts", json_integer(vm->row.restarts));
	json_object_set_new(o, "created_at", time_json(vm->row.created_at));
	json_object_set_new(o, "started_at", time_json(vm->row.started_at));
	json_object_set_new(o, "directory", json_string(vm->dir));
	json_object_set_new(o, "logs", json_string(vm->logs));
	json_object_set_new(o, "published", json_string(vm->portd.ports));
	json_object_set_new(o, "portd_pid",
			    int_or_null(vm->portd.pid, vm->portd.pid > 0));
	return o;
}

static void add_console(struct request *q, json_t *o, const char *domain)
{
	char *text = NULL;

	if (virt_vm_console(q->api->virt, domain, 4096, &text, NULL) == 0)
		json_object_set_new(o, "console", json_string(text));
	free(text);
}

int on_inspect(void *ctx, struct vl_call *call, struct err *e)
{
	struct request *q = ctx;
	json_t *vms = json_array(), *domains = json_array(), *o;
	struct name_params p;
	struct target t;
	char domain[64];
	struct vm *vm;
	size_t i;
	int r;

	r = read_name(call, &p, e);
	if (r == 0)
		r = target_find(q, p.name, 1, &t, e);
	if (r < 0)
		goto out;
	world_lock(q->api->world);
	for (vm = q->api->world->vms; vm; vm = vm->next) {
		if (!target_has(q, &t, vm))
			continue;
		vm_domain_name(vm, domain);
		json_array_append_new(vms, vm_object(vm, &t));
		json_array_append_new(domains, json_string(domain));
	}
	world_unlock(q->api->world);
	json_array_foreach(vms, i, o) {
		const char *d = json_string_value(json_array_get(domains, i));

		add_host_facts(q, o, d);
		checks_add(q, o);
		if (!t.container[0])
			add_console(q, o, d);
	}
	if (t.container[0])
		o = json_incref(json_array_get(
			json_object_get(json_array_get(vms, 0), "containers"),
			0));
	else if (t.vm[0])
		o = json_incref(json_array_get(vms, 0));
	else
		o = json_pack("{s:s,s:s,s:O}", "tenant", q->tenant, "stack",
			      t.stack, "vms", vms);
	r = request_reply(q, json_pack("{s:o}", "object", o), false, e);
out:
	json_decref(vms);
	json_decref(domains);
	return r;
}

int on_version(void *ctx, struct vl_call *call, struct err *e)
{
	struct request *q = ctx;
	struct virt_host host;

	(void)call;
	virt_host_info(q->api->virt, &host);
	return request_reply(
		q,
		json_pack("{s:s,s:i,s:s,s:s,s:s,s:s,s:s,s:s,s:i}", "version",
			  HYB_VERSION, "protocol", API_PROTOCOL, "root",
			  q->api->root, "connect", q->api->connect, "libvirt",
			  host.libvirt, "qemu", host.qemu, "accelerator",
			  virt_accel_name(host.accel), "isolation",
			  virt_isolation(q->api->virt), "pid", (int)getpid()),
		false, e);
}
