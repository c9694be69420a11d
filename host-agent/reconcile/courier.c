/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/reconcile/courier.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <time.h>

#define COURIERS_MAX 4
/* A client may take as long as it likes: one tenant does not have them all. */
#define COURIERS_OF_TENANT_MAX 2
#define MEMORY		       (HYB_GUEST_OWN_MEMORY + ((uint64_t)64 << 20))
#define BOOT_MS		       60000
#define DISK_MS		       10000
#define MOUNT_MS	       120000 /* a journal may have to be replayed */
#define UNMOUNT_MS	       120000 /* what is dirty is written back */
#define RETRY_NS	       20000000

struct courier {
	struct vm vm;	 /* not one of the world's */
	char serial[24]; /* of what is mounted */
	size_t place;
	bool started;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	char tenant[STATE_NAME_MAX]; /* "": free */
	char domain[64];
} places[COURIERS_MAX];

static int take_place(const char *tenant, size_t *ret, struct err *e)
{
	size_t i, own = 0, place = COURIERS_MAX;

	pthread_mutex_lock(&lock);
	for (i = 0; i < COURIERS_MAX; i++) {
		own += strcmp(places[i].tenant, tenant) == 0;
		if (!places[i].tenant[0])
			place = i;
	}
	if (place < COURIERS_MAX && own < COURIERS_OF_TENANT_MAX)
		snprintf(places[place].tenant, STATE_NAME_MAX, "%s", tenant);
	pthread_mutex_unlock(&lock);
	*ret = place;
	if (own >= COURIERS_OF_TENANT_MAX)
		return err_set(e, EBUSY,
			       "%d volumes of the tenant are being exported or "
			       "imported: no more at once",
			       COURIERS_OF_TENANT_MAX);
	if (place == COURIERS_MAX)
		return err_set(e, EBUSY,
			       "%d volumes are being exported or imported: no "
			       "more at once",
			       COURIERS_MAX);
	return 0;
}

static void give_place(size_t place)
{
	pthread_mutex_lock(&lock);
	places[place].tenant[0] = '\0';
	places[place].domain[0] = '\0';
	pthread_mutex_unlock(&lock);
}

bool courier_is(const char *domain)
{
	bool found = false;
	size_t i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < COURIERS_MAX; i++)
		found |= strcmp(places[i].domain, domain) == 0;
	pthread_mutex_unlock(&lock);
	return found;
}

int courier_new(struct world *w, const char *tenant, struct courier **ret,
		struct err *e)
{
	struct courier *c;
	size_t place;
	int r;

	r = take_place(tenant, &place, e);
	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	r = c ? state_vm_number(w->state, &c->vm.row, e)
	      : err_sys(e, ENOMEM, "make a VM");
	if (r < 0) {
		give_place(place);
		free(c);
		return r;
	}
	c->place = place;
	c->vm.world = w;
	c->vm.agent.conn.fd = -1;
	c->vm.events.conn.fd = -1;
	snprintf(c->vm.name, sizeof(c->vm.name), "courier");
	vm_set_id(&c->vm);
	pthread_mutex_lock(&lock);
	vm_domain_name(&c->vm, places[place].domain);
	pthread_mutex_unlock(&lock);
	*ret = c;
	return 0;
}

uid_t courier_uid(const struct courier *c)
{
	return vm_uid(&c->vm);
}

static int claim(struct courier *c, uint64_t deadline, struct err *e)
{
	char machine_id[33];
	const struct agent_claim how = {
		.instance = c->vm.row.instance,
		.hostname = c->vm.name,
		.machine_id = machine_id,
	};
	size_t i, n = 0;

	for (i = 0; c->vm.row.uuid[i] && n < 32; i++)
		if (c->vm.row.uuid[i] != '-')
			machine_id[n++] = c->vm.row.uuid[i];
	machine_id[n] = '\0';
	return agent_claim(&c->vm.agent, &how, deadline, e);
}

int courier_start(struct courier *c, struct err *e)
{
	const struct model_vm m = {.vcpus = 1, .memory = MEMORY};
	uint64_t deadline = now_ms() + BOOT_MS;
	struct virt_vm_spec spec = {
		.carrier = c->vm.addr.carrier == VSOCK_KERNEL
				   ? VIRT_VSOCK_KERNEL
				   : VIRT_VSOCK_UNIX,
		.slots = 1,
	};
	int r;

	if (!c->vm.addr.path[0])
		return err_set(e, ENAMETOOLONG,
			       "'%s' is too long a path for a socket",
			       c->vm.dir);
	c->started = true;
	r = vm_start_domain(&c->vm, &m, &spec, e);
	if (r == 0)
		r = vm_connect(&c->vm, deadline, e);
	if (r == 0)
		r = claim(c, deadline, e);
	return r < 0 ? err_wrap(e, "start a VM for the volume") : 0;
}

int courier_open(struct courier *c, const char *path, const char *serial,
		 bool writes, int *ret_fd, struct err *e)
{
	const struct agent_volume v = {
		.serial = serial,
		.read_only = !writes,
		.image_serial = "",
		.path = "",
	};
	char domain[64];
	int r;

	vm_domain_name(&c->vm, domain);
	r = virt_vm_attach_volume(c->vm.world->virt, domain, path, serial,
				  !writes, e);
	if (r == 0)
		r = agent_mount_volume(&c->vm.agent, &v, DISK_MS,
				       now_ms() + MOUNT_MS, e);
	if (r < 0)
		return r;
	snprintf(c->serial, sizeof(c->serial), "%s", serial);
	return agent_copy_volume(&c->vm.addr, serial, now_ms() + DISK_MS,
				 ret_fd, e);
}

int courier_close(struct courier *c, struct err *e)
{
	const struct timespec pause = {.tv_nsec = RETRY_NS};
	uint64_t deadline = now_ms() + UNMOUNT_MS;
	int r;

	/* Whoever wrote to it may not have ended yet. */
	for (;;) {
		r = agent_unmount_volume(&c->vm.agent, c->serial, deadline, e);
		if (r == 0 || r == -ETIMEDOUT || r == -ECONNRESET ||
		    now_ms() >= deadline)
			return r;
		err_clear(e);
		nanosleep(&pause, NULL);
	}
}

int courier_free(struct courier *c, struct err *e)
{
	char domain[64];
	int r = 0;

	vm_domain_name(&c->vm, domain);
	vm_disconnect(&c->vm);
	if (c->started) {
		r = virt_vm_destroy(c->vm.world->virt, domain, e);
		if (r == 0)
			r = path_remove(c->vm.dir, e);
		if (r == 0)
			r = virt_vm_forget(c->vm.world->virt, domain, e);
	}
	if (r < 0)
		log_warn("take down VM %s: %s", domain, e->msg);
	give_place(c->place);
	free(c);
	return r;
}
