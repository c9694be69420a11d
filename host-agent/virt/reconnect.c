/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libvirtd (not the embedded driver) can be restarted under us. VMs do not
 * notice. We open a new connection, register for events again, look what has
 * ended meanwhile, and tell the caller.
 */
#include "host-agent/virt/internal.h"

#include <time.h>

#define STEP_MS 250

static bool is_closing(struct virt *v)
{
	bool closing;

	pthread_mutex_lock(&v->lock);
	closing = v->closing;
	pthread_mutex_unlock(&v->lock);
	return closing;
}

static void reconnect(struct virt *v, struct vm *none)
{
	const struct timespec step = {.tv_nsec = STEP_MS * 1000000};
	virConnectPtr conn = NULL, old;
	struct err e = ERR_INIT;

	(void)none;
	while (!is_closing(v)) {
		conn = virConnectOpen(v->uri);
		if (conn)
			break;
		nanosleep(&step, NULL);
	}
	if (!conn)
		return;
	pthread_mutex_lock(&v->lock);
	old = v->conn;
	v->conn = conn;
	pthread_mutex_unlock(&v->lock);
	/* Threads that are in a call hold references of their own. */
	virConnectClose(old);
	if (events_register(v, conn, &e) < 0)
		virt_warn(v, "libvirt is back, but: %s", e.msg);
	virt_take_up_again(v);
	pthread_mutex_lock(&v->lock);
	event_push(v, VIRT_EVENT_RECONNECTED, NULL);
	pthread_mutex_unlock(&v->lock);
}

void on_conn_closed(virConnectPtr conn, int reason, void *opaque)
{
	struct virt *v = opaque;

	(void)conn;
	if (reason == VIR_CONNECT_CLOSE_REASON_CLIENT)
		return;
	virt_warn(v, "the connection to libvirt was lost; trying again");
	pthread_mutex_lock(&v->lock);
	worker_start(v, NULL, reconnect);
	pthread_mutex_unlock(&v->lock);
}
