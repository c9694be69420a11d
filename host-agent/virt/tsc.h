/* SPDX-License-Identifier: Apache-2.0 */
/* How fast this machine's time stamp counter runs. */
#ifndef HYB_HOST_VIRT_TSC_H
#define HYB_HOST_VIRT_TSC_H

#include <stdint.h>

struct tsc_mark {
	uint64_t ticks;
	uint64_t ns;	 /* CLOCK_MONOTONIC_RAW */
	uint64_t asleep; /* what the machine has been suspended, ns */
};

void tsc_mark(struct tsc_mark *m);

/* In kHz, by what went by since m was set; 0 when that cannot be told: m is too
 * young, the machine was suspended since, or its counter has no steady pace. */
uint32_t tsc_khz(const struct tsc_mark *m);

#endif
