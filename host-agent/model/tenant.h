/* SPDX-License-Identifier: Apache-2.0 */
/* A tenant as the operator declared it (`kind: tenant`): how much it may have,
 * what it may use, and which users of the host act for it. */
#ifndef HYB_HOST_AGENT_MODEL_TENANT_H
#define HYB_HOST_AGENT_MODEL_TENANT_H

#include "host-agent/model/model.h"

/* The tenant of whoever is in no other; it need not be declared. */
#define HYB_DEFAULT_TENANT "default"
/* Entries of each list. */
#define HYB_TENANT_LIST_MAX 256
/* Largest quota: what sums of any stacks stay below. */
#define HYB_QUOTA_MAX ((uint64_t)1 << 50)

enum quota_kind {
	QUOTA_VMS,
	QUOTA_VCPUS,
	QUOTA_MEMORY,  /* bytes of all VMs */
	QUOTA_STORAGE, /* bytes: volumes, snapshots, VMs' own disks */
	QUOTA_VOLUMES,
	QUOTA_PORTS, /* published */
	QUOTA_KIND_MAX
};

/* "vms", as a manifest calls it. */
const char *quota_kind_name(enum quota_kind kind);
/* Is it counted in bytes? */
bool quota_kind_is_bytes(enum quota_kind kind);

struct quota_use {
	int64_t n[QUOTA_KIND_MAX];
};

struct model_tenant {
	struct arena *arena;
	const char *name;
	int64_t quota[QUOTA_KIND_MAX]; /* -1: no limit */
	bool limits_images;	       /* to what these globs match */
	const char *const *images;
	bool share_images; /* files of equal images, with others who do */
	/* Of the host; NULL-ended, never NULL. */
	const char *const *users, *const *groups;
};

void model_tenant_free(struct model_tenant *t);

/* Canonical JSON; NULL: no memory. */
json_t *model_tenant_to_json(const struct model_tenant *t);
/* -EBADMSG: it is none. *ret is freed with model_tenant_free(). */
int model_tenant_from_json(const json_t *j, struct model_tenant **ret,
			   struct err *e);

/* What a stack takes of its tenant's quota. Volumes are counted where they
 * are made, and what a VM writes that boots a disk by who knows the disk. */
void model_stack_use(const struct model_stack *s, struct quota_use *ret);

/* The name of a user or group of the host, as useradd takes it. */
const char *check_account(const char *s);

#endif
