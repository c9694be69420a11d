/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities: sets of the kernel as bit masks, CAP_X being bit X. */
#ifndef HYB_GUEST_SYS_CAPS_H
#define HYB_GUEST_SYS_CAPS_H

#include <stdint.h>

struct cap_sets {
	uint64_t bounding, effective, inheritable, permitted, ambient;
};

/* By name ("CAP_CHOWN", or without CAP_, any case): the bit number or
 * -EINVAL. */
int caps_parse(const char *name);

/* "CHOWN" for a bit number; NULL: there is none. */
const char *caps_name(int cap);

/* Highest capability that the running kernel knows. */
int caps_last(void);

/* What a container has for uid 0 where nothing else was said, and what it may
 * never have under `defaults`. */
uint64_t caps_default(void);
uint64_t caps_forbidden(void);

/* Takes all capabilities but `keep` out of the bounding set. 0 or -errno.
 * No allocation, as all below. */
int caps_bound(uint64_t keep, int last);
/* Sets effective, permitted, inheritable, then ambient. */
int caps_apply(const struct cap_sets *sets, int last);

#endif
