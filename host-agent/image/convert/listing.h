/* SPDX-License-Identifier: Apache-2.0 */
/* What an archive that holds images (oci-archive, docker-archive) is made of. */
#ifndef HYB_IMAGE_CONVERT_LISTING_H
#define HYB_IMAGE_CONVERT_LISTING_H

#include "common/base/err.h"

#include <jansson.h>

/* The plain tar in fd as a JSON array of {name, offset, size} for files and
 * {name, link} for links, in order; names cleaned, links from the archive's
 * root. Names that are not printable ASCII are left out: nothing in an image
 * is called so. At most HYB_IMAGE_INDEX_MAX entries. */
int listing_make(int fd, json_t **ret, struct err *e);

#endif
