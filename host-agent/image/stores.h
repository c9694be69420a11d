/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image stores of all tenants: the operator's in ROOT/images, which is
 * that of the tenant `default` too, and one for each other tenant.
 *
 *   ROOT/images/tenants/         0710, of the group that fetches and converts
 *     TENANT/                    a store, as store.h has it
 *     .gone-TENANT/              one that goes with its tenant
 *
 * What is fetched and converted for a tenant is so by a user of the host of its
 * own, so that what it becomes there cannot touch another tenant's.
 *
 * Thread-safe. One lock, under which stores are opened and removed; the stores'
 * own are taken below it.
 */
#ifndef HYB_HOST_IMAGE_STORES_H
#define HYB_HOST_IMAGE_STORES_H

#include "host-agent/image/store.h"

struct image_stores;

struct image_stores_config {
	struct image_store_config operators; /* the others are like it */
	const char *tenant;	  /* to whom the operator's store belongs */
	struct image_quota quota; /* of the others */
	/* The tenants whose stores share files with each other: *ret is freed
	 * with strv_free(). NULL: there are none. */
	int (*sharing)(void *arg, char ***ret, struct err *e);
	/* Of the programs of tenants' stores, one each. */
	uid_t first_uid;
	unsigned int n_uids;
	/* Is there such a tenant? -ENOENT. Called with the lock held, as is
	 * what follows. */
	int (*find)(void *arg, const char *tenant, struct err *e);
	/* While opening: what is the matter with one tenant's store. */
	void (*on_problem)(void *arg, const char *tenant, const struct err *e);
	void *arg;
};

/* Opens all stores that there are. One that cannot be is a problem of its
 * tenant alone, and is tried again when it is asked for. Finishes removals that
 * were interrupted. */
int image_stores_open(const struct image_stores_config *c,
		      struct image_stores **ret, struct err *e);
void image_stores_close(struct image_stores *s);

/* The store in which the tenant's images are put, and changed, made where it is
 * missing. It stays open until it is given back with image_store_put(). -ENOENT:
 * there is no such tenant. */
int image_stores_take(struct image_stores *s, const char *tenant,
		      struct image_store **ret, struct err *e);
/* The same, but *ret is NULL where the tenant has no store yet. */
int image_stores_peek(struct image_stores *s, const char *tenant,
		      struct image_store **ret, struct err *e);
/* The operator's: lasts as long as s. */
struct image_store *image_stores_operators(struct image_stores *s);

/* What the reference means for the tenant: an image of its own, else one of the
 * operator's. Errors are those of image_store_get(). */
int image_stores_get(struct image_stores *s, const char *tenant,
		     const char *reference, struct image_info **ret,
		     struct err *e);

/* May the tenant have this image of the operator's? */
typedef bool (*image_shown)(void *arg, const struct image_info *i);

/* The same, as far as that may be known to the tenant: what it may not have is
 * not there, in the same words. shown NULL: all. */
int image_stores_find(struct image_stores *s, const char *tenant,
		      const char *reference, image_shown shown, void *arg,
		      struct image_info **ret, struct err *e);

/* Removes the tenant's store when commit() has removed the tenant: both, or
 * neither, whenever this process is killed. -EBUSY: it has images. */
int image_stores_remove(struct image_stores *s, const char *tenant,
			int (*commit)(void *arg, struct err *e), void *arg,
			struct err *e);

#endif
