/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Declared tenants in the store, and what counts against their quota: stacks
 * as they are declared (running or not), volumes and snapshots that have a
 * row, and holdings, which are files that others than the state know of. What would take a tenant over its quota is refused in the transaction
 * that would store it, so two at once cannot both pass. Where a quota was
 * lowered below what is there, nothing is taken away, and what does not grow
 * goes on.
 */
#ifndef HYB_HOST_AGENT_STATE_STATE_TENANT_H
#define HYB_HOST_AGENT_STATE_STATE_TENANT_H

#include "host-agent/model/tenant.h"
#include "host-agent/state/state.h"

struct state_tenant {
	char name[STATE_NAME_MAX];
	char *doc; /* JSON of a model_tenant; owned */
};

/* Declares it, or changes what was declared. */
int state_tenant_put(struct state *s, const struct model_tenant *t,
		     struct err *e);
/* -ENOENT: there is none. -EBUSY: it has stacks, VMs, volumes or secrets. */
int state_tenant_remove(struct state *s, const char *name, struct err *e);
/* All, by name; freed with state_tenant_free(). */
int state_tenant_list(struct state *s, struct state_tenant **ret, size_t *ret_n,
		      struct err *e);
void state_tenant_free(struct state_tenant *list, size_t n);
int state_tenant_use(struct state *s, const char *name, struct quota_use *ret,
		     struct err *e);
/* Would the stack be within the quota, in place of the one of its name?
 * -EDQUOT. */
int state_quota_ask_stack(struct state *s, const char *tenant, const char *name,
			  const struct quota_use *use, struct err *e);
/* Of what is limited, and what is not used of that; INT64_MAX: no limit. */
int state_quota_left(struct state *s, const char *tenant, enum quota_kind kind,
		     int64_t *ret_most, int64_t *ret_left, struct err *e);

/* Bytes of QUOTA_STORAGE: put before there are more of them, and after there
 * are less. */
struct state_holding {
	const char *tenant, *what, *name;
	int64_t bytes;
};
enum holding_how {
	HOLDING_NEW, /* the same, and -EEXIST where it is there */
	HOLDING_ASK, /* -EDQUOT; -ENOENT: there is no such tenant */
	HOLDING_SET, /* nobody is asked */
};
int state_holding_put(struct state *s, const struct state_holding *h,
		      enum holding_how how, struct err *e);
/* All of that kind, of all tenants: before they are counted anew. */
int state_holding_clear(struct state *s, const char *what, struct err *e);
int state_holding_drop(struct state *s, const char *tenant, const char *what,
		       const char *name, struct err *e);
/* What a stack takes that was stored before it was counted. */
int state_stack_count(struct state *s, const char *tenant, const char *name,
		      const struct quota_use *use, struct err *e);

#endif
