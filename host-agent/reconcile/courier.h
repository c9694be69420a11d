/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Couriers: VMs of our own kernel and agent, without containers, that carry the
 * files of one volume in or out, for no kernel of the host's ever mounts one.
 *
 * A courier has no row: what a hybd that was killed leaves of it is nobody's, and
 * is removed at the next start, before volumes are looked at. Its uid, CID and
 * folder are numbered as those of all VMs. All of this blocks.
 */
#ifndef HYB_HOST_AGENT_RECONCILE_COURIER_H
#define HYB_HOST_AGENT_RECONCILE_COURIER_H

#include "host-agent/reconcile/world.h"

struct courier;

/* -EBUSY: too many at once, or of this tenant. */
int courier_new(struct world *w, const char *tenant, struct courier **ret,
		struct err *e);
/* Is this domain one that works? */
bool courier_is(const char *domain);
/* Whom its files must belong to. */
uid_t courier_uid(const struct courier *c);
/* Boots it. */
int courier_start(struct courier *c, struct err *e);
/* Attaches and mounts the volume; *ret_fd: the stream that
 * io.hyb.Agent.CopyVolume speaks of. */
int courier_open(struct courier *c, const char *path, const char *serial,
		 bool writes, int *ret_fd, struct err *e);
/* Unmounts it: all of it is on the host's disk. */
int courier_close(struct courier *c, struct err *e);
/* Takes the VM down. On failure (logged) something may still have its disk
 * open. */
int courier_free(struct courier *c, struct err *e);

#endif
