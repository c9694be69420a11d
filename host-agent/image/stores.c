/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/stores.h"

#include <errno.h>
#include <stdlib.h>

struct image_stores {
	struct image_store *operators;
};

int image_stores_open(const struct image_store_config *operators,
		      struct image_stores **ret, struct err *e)
{
	struct image_stores *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return err_sys(e, ENOMEM, "image stores");
	r = image_store_open(operators, &s->operators, e);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void image_stores_close(struct image_stores *s)
{
	if (!s)
		return;
	image_store_put(s->operators);
	free(s);
}

int image_stores_take(struct image_stores *s, const char *tenant,
		      struct image_store **ret, struct err *e)
{
	(void)tenant;
	(void)e;
	*ret = image_store_ref(s->operators);
	return 0;
}

int image_stores_get(struct image_stores *s, const char *tenant,
		     const char *reference, struct image_info **ret,
		     struct err *e)
{
	_cleanup_image_store_ struct image_store *own = NULL;
	int r = image_stores_take(s, tenant, &own, e);

	return r < 0 ? r : image_store_get(own, reference, ret, e);
}
