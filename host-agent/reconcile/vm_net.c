/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network card of a VM that boots a disk. Its number in its tenant's
 * network is in its row before anything is made with it and stays as long as
 * the VM is declared: an operating system knows its card by the address. The
 * network is there while any VM is in it.
 */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(WORLD_VMS_MAX <= HYB_NET_NUMBER_MAX, "a number for each VM");

/* Has another VM of the tenant this number? With the lock held. */
static bool number_is_taken(const struct vm *vm, uint32_t number)
{
	const struct vm *o;

	for (o = vm->world->vms; o; o = o->next)
		if (o != vm && o->row.net_number == number &&
		    strcmp(o->tenant, vm->tenant) == 0)
			return true;
	return false;
}

void vm_take_number(struct vm *vm)
{
	uint32_t number = 1;

	if (vm->row.net_number)
		return;
	while (number_is_taken(vm, number))
		number++;
	vm->row.net_number = number;
}

/* One that hangs does not keep another tenant's VMs waiting. */
static pthread_mutex_t *lock_network(const struct vm *vm)
{
	const char *c;
	unsigned int sum = 0;

	for (c = vm->tenant; *c; c++)
		sum = sum * 31 + (unsigned char)*c;
	pthread_mutex_lock(&vm->world->networks[sum % WORLD_NETWORK_LOCKS]);
	return &vm->world->networks[sum % WORLD_NETWORK_LOCKS];
}

int vm_plug(struct vm *vm, struct net_machine *ret, int *ret_tap, struct err *e)
{
	struct world *w = vm->world;
	pthread_mutex_t *network = lock_network(vm);
	int r;

	world_lock(w);
	vm->plugged = true;
	world_unlock(w);
	r = net_machine_add(w->net, vm->tenant, vm->row.net_number, vm->name,
			    ret, ret_tap, e);
	pthread_mutex_unlock(network);
	return r;
}

/* With the lock held. */
static bool is_plugged(const struct world *w, const char *tenant)
{
	const struct vm *vm;

	for (vm = w->vms; vm; vm = vm->next)
		if (vm->plugged && strcmp(vm->tenant, tenant) == 0)
			return true;
	return false;
}

int vm_unplug(struct vm *vm, struct err *e)
{
	struct world *w = vm->world;
	pthread_mutex_t *network;
	bool last;
	int r;

	if (!vm->plugged)
		return 0;
	network = lock_network(vm);
	r = net_machine_remove(w->net, vm->tenant, vm->row.net_number, e);
	if (r == 0) {
		world_lock(w);
		vm->plugged = false;
		last = !is_plugged(w, vm->tenant);
		world_unlock(w);
		/* What is left of it the next sweep removes. */
		if (last && net_tenant_remove(w->net, vm->tenant, e) < 0)
			log_warn("network of tenant '%s': %s", vm->tenant,
				 e->msg);
	}
	pthread_mutex_unlock(network);
	return r;
}

void networks_sweep(struct world *w)
{
	_cleanup_free_ struct net_wanted *wanted =
		calloc(WORLD_VMS_MAX, sizeof(*wanted));
	struct err e = ERR_INIT;
	const struct vm *vm;
	size_t n = 0;

	for (vm = w->vms; wanted && vm && n < WORLD_VMS_MAX; vm = vm->next)
		if (vm->plugged)
			wanted[n++] = (struct net_wanted){vm->tenant,
							  vm->row.net_number};
	if (wanted && net_sweep(w->net, wanted, n, &e) < 0)
		log_warn("look after the tenants' networks: %s", e.msg);
}

int vm_dial(struct world *w, const char *tenant, uint32_t number, uint16_t port,
	    uint64_t deadline_ms, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = -1;
	socklen_t len = sizeof(int);
	int r, why = 0;

	r = net_connect(w->net, tenant, number, port, &fd, e);
	if (r < 0)
		return r;
	r = fd_wait(fd, POLLOUT, deadline_ms);
	if (r < 0)
		return err_sys(e, -r, "connect");
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &len) < 0)
		why = errno;
	if (why)
		return err_sys(e, why, "connect");
	r = fd_set_nonblock(fd, false);
	if (r < 0)
		return err_sys(e, -r, "connect");
	*ret_fd = steal_fd(&fd);
	return 0;
}
