/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Image references as users write them, in one canonical form:
 *
 *   busybox                      docker.io/library/busybox:latest
 *   acme/web:1.2                 docker.io/acme/web:1.2
 *   localhost:5000/x@sha256:...  localhost:5000/x@sha256:...
 *
 * A reference with both tag and digest means the digest; the tag is kept for
 * people. Lengths and characters are those of the distribution specification.
 */
#ifndef HYB_HOST_IMAGE_IMAGE_REF_H
#define HYB_HOST_IMAGE_IMAGE_REF_H

#include "common/base/err.h"

#include <stddef.h>

#define IMAGE_REF_NAME_MAX 255
#define IMAGE_REF_TAG_MAX  128

struct image_ref {
	char name[IMAGE_REF_NAME_MAX + 1]; /* registry and path */
	char tag[IMAGE_REF_TAG_MAX + 1];   /* "" where there is a digest only */
	char digest[72];		   /* "sha256:..." or "" */
	/* NAME:TAG, or NAME@DIGEST where there is a digest: the store's key */
	char full[IMAGE_REF_NAME_MAX + 1 + 128 + 1];
};

/* -EINVAL with a reason. */
int image_ref_parse(const char *s, struct image_ref *ret, struct err *e);

/* How long the name in it is, without tag and digest, where it names no
 * registry; 0 where it does. */
size_t image_ref_short_len(const char *s);

/* The short form of a canonical reference, in place of which people write it:
 * a pointer into full. */
const char *image_ref_familiar(const char *full);

#endif
