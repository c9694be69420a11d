/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image stores of all tenants: the operator's in ROOT/images, which is
 * that of the tenant `default` too, and one for each other tenant.
 *
 * Thread-safe.
 */
#ifndef HYB_HOST_IMAGE_STORES_H
#define HYB_HOST_IMAGE_STORES_H

#include "host-agent/image/store.h"

struct image_stores;

/* operators: of the operator's store, the others are like it. */
int image_stores_open(const struct image_store_config *operators,
		      struct image_stores **ret, struct err *e);
void image_stores_close(struct image_stores *s);

/* The store in which the tenant's images are put, and changed. It stays open
 * until it is given back with image_store_put(). */
int image_stores_take(struct image_stores *s, const char *tenant,
		      struct image_store **ret, struct err *e);

/* What the reference means for the tenant: an image of its own, else one of the
 * operator's. Errors are those of image_store_get(). */
int image_stores_get(struct image_stores *s, const char *tenant,
		     const char *reference, struct image_info **ret,
		     struct err *e);

#endif
