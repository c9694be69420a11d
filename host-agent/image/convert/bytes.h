/* SPDX-License-Identifier: Apache-2.0 */
/* Where bytes come from: a pull interface between decoder and parser. */
#ifndef HYB_IMAGE_CONVERT_BYTES_H
#define HYB_IMAGE_CONVERT_BYTES_H

#include "common/base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct byte_source {
	/* The next piece: *ret points to return-value bytes that stay valid
	 * until the next call. 0 at the end, -errno on failure. */
	ssize_t (*next)(void *arg, const uint8_t **ret, struct err *e);
	/* Leaves out up to n bytes behind the last piece without reading them;
	 * how many, perhaps 0. May be NULL. */
	uint64_t (*skip)(void *arg, uint64_t n);
	void *arg;
};

#endif
