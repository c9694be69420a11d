/* SPDX-License-Identifier: Apache-2.0 */
/* The last results of health and readiness checks, for Inspect. */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

/* For all of a VM: whoever inspects does not wait for a guest that hangs. */
#define CHECKS_MS 2000

static bool find_guest(struct request *q, const json_t *o,
		       struct vsock_addr *addr, char id[80])
{
	const char *stack = json_string_value(json_object_get(o, "stack"));
	const char *name = json_string_value(json_object_get(o, "vm"));
	const char *ctr = json_string_value(json_object_get(o, "container"));
	const struct ctr *c = NULL;
	struct vm *vm;

	world_lock(q->api->world);
	vm = world_find_vm(q->api->world, q->tenant, stack, name);
	if (vm && vm->state == VM_RUNNING)
		c = vm_find_ctr(vm, ctr);
	if (c && (!c->in_guest || !ctr_health_word(c)[0]))
		c = NULL;
	if (c) {
		*addr = vm->addr;
		snprintf(id, 80, "%s", c->id);
	}
	world_unlock(q->api->world);
	return c != NULL;
}

static json_t *checks_of(struct agent *a, const struct vsock_addr *addr,
			 const char *id, uint64_t deadline)
{
	json_t *checks = NULL;

	if (a->conn.fd < 0 && agent_open(a, addr, deadline, NULL) < 0)
		return json_null();
	if (agent_checks(a, id, deadline, &checks, NULL) < 0)
		return json_null();
	return checks;
}

void checks_add(struct request *q, json_t *vm)
{
	_cleanup_agent_ struct agent a = {.conn.fd = -1};
	uint64_t deadline = now_ms() + CHECKS_MS;
	struct vsock_addr addr;
	json_t *o;
	char id[80];
	size_t i;

	json_array_foreach(json_object_get(vm, "containers"), i, o) {
		json_t *checks = find_guest(q, o, &addr, id)
					 ? checks_of(&a, &addr, id, deadline)
					 : json_null();

		json_object_set_new(o, "checks", checks);
	}
}
