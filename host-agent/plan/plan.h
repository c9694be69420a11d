/* SPDX-License-Identifier: Apache-2.0 */
/*
 * (desired, observed) → ordered changes. Pure: no I/O, no clock. What
 * `hyb plan` prints is this list, and reconcile/ runs the same list.
 *
 * Order: what goes first (removals free ports and memory), then VMs in the
 * order declared, in each VM its containers in the order of depends_on
 * (a stable topological order: declared order where nothing depends).
 */
#ifndef HYB_HOST_AGENT_PLAN_PLAN_H
#define HYB_HOST_AGENT_PLAN_PLAN_H

#include "host-agent/model/model.h"

enum plan_action {
	PLAN_CREATE,   /* VM: start it; container: create and start it */
	PLAN_REMOVE,   /* VM: with all in it; container: stop and delete */
	PLAN_RECREATE, /* remove and create */
	PLAN_START,    /* a container (or VM) that was stopped by a user */
	PLAN_UPDATE,   /* live: restart policy, stop settings, ports, limits */
	PLAN_ACTION_MAX
};

enum plan_class {
	PLAN_LIVE,
	PLAN_RESTART_CONTAINER,
	PLAN_RESTART_VM,
	PLAN_RECREATE_VM,
	PLAN_DELETES_DATA,
	PLAN_CLASS_MAX
};

struct plan_change {
	enum plan_action action;
	enum plan_class change_class;
	char vm[64];
	char container[64]; /* "": the VM itself */
	char why[192]; /* "image changed: a → b", "new", "not declared" */
};

struct plan {
	struct plan_change *changes;
	size_t n;
};

/* What there is. Strings are the observer's. */
struct observed_container {
	const char *name;
	/* model_container_to_json() of what it was made from; NULL: never
	 * finished being made */
	const json_t *applied;
	const char *applied_digest; /* of the image it was made from, or "" */
	/* digest that its applied image reference has now, or "" unknown:
	 * counts where the desired one is not pinned */
	const char *desired_digest;
	bool user_stopped; /* `hyb stop` on it, or it has failed for good */
	bool failed;	   /* that it is which */
	bool paused;	   /* or `hyb pause` */
};

struct observed_vm {
	const char *name;
	bool exists; /* it has been made (running, or down by its policy) */
	bool user_stopped, failed; /* as with containers */
	/* model_vm_to_json() of what it was made from */
	const json_t *applied;
	const struct observed_container *containers;
	size_t n_containers;
};

struct observed_stack {
	const struct observed_vm *vms;
	size_t n_vms;
};

/* desired NULL: everything goes. `deploy` also starts what a user stopped.
 * 0 or -ENOMEM. */
int plan_make(const struct model_stack *desired,
	      const struct observed_stack *observed, struct plan *ret);
void plan_done(struct plan *p);

const char *plan_action_name(enum plan_action a);
const char *plan_class_name(enum plan_class c);

/* The order in which a VM's containers start: indexes into vm->containers,
 * order[n_containers]. Dependencies on other VMs do not count here. */
void plan_start_order(const struct model_vm *vm, size_t *order);

#endif
