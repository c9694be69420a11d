/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names without a registry, as registries.conf of the host has them: an alias,
 * or the registries to search. The files are registries.conf and those of
 * registries.conf.d, the later over the earlier, and over them the aliases that
 * podman has written down for root.
 */
#ifndef HYB_HOST_IMAGE_IMAGE_SHORT_H
#define HYB_HOST_IMAGE_IMAGE_SHORT_H

#include "common/base/err.h"

#include <stdbool.h>

#define IMAGE_SHORT_DIR "/etc/containers"
#define IMAGE_SHORT_MAX 16 /* registries to search */

struct image_short {
	char **refs;   /* in the order of preference; at least one */
	bool enforced; /* short-name-mode: several are too many for a pull */
};

void image_short_done(struct image_short *s);
#define _cleanup_image_short_ __attribute__((cleanup(image_short_done)))

/* What the reference may mean, its tag and digest kept: itself, where it names
 * a registry or where the files say nothing of it. Errors name the file. */
int image_short_resolve(const char *dir, const char *reference,
			struct image_short *ret, struct err *e);

#endif
