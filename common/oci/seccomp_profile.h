/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Seccomp profiles as Docker has them (defaultAction, archMap, syscalls with
 * includes and excludes), from anybody, to linux.seccomp of the OCI runtime
 * specification. What a profile says under a condition is decided here, by the
 * container's capabilities, its architecture and its kernel.
 */
#ifndef HYB_COMMON_OCI_SECCOMP_PROFILE_H
#define HYB_COMMON_OCI_SECCOMP_PROFILE_H

#include "common/base/err.h"
#include "common/base/json.h"

#include <stddef.h>

/* Docker's own is 17 KiB with 400 names in 60 rules. */
#define HYB_SECCOMP_PROFILE_MAX ((size_t)256 << 10) /* bytes */
#define HYB_SECCOMP_RULES_MAX	1024
#define HYB_SECCOMP_NAMES_MAX	8192 /* of all rules */
#define HYB_SECCOMP_ARCHES_MAX	64

/* What the conditions are about. */
struct seccomp_target {
	const char *const *caps; /* "CAP_CHOWN" ..., ends with NULL */
	unsigned int kernel[2];	 /* 6, 12 */
};

/* Checks the whole profile: *ret, a new reference, is what it says, for
 * seccomp_profile_convert(). -EINVAL: an error that names the member;
 * -ENOTSUP: one with a listener; -EFBIG. */
int seccomp_profile_parse(const char *text, size_t len, json_t **ret,
			  struct err *e);
/* A profile that seccomp_profile_parse() has taken, for x86_64. New reference,
 * NULL: no memory. */
json_t *seccomp_profile_convert(const json_t *profile,
				const struct seccomp_target *t);

/* "6.12.9-x" to 6, 12; what is no such text is 0, 0. */
void seccomp_kernel_parse(const char *release, unsigned int ret[2]);

#endif
