/* SPDX-License-Identifier: Apache-2.0 */
/* What PID 1 does to the machine when the host says so. */
#ifndef HYB_GUEST_INIT_MACHINE_H
#define HYB_GUEST_INIT_MACHINE_H

#include "guest-agent/rpc/agent.h"

/* Further than this off, the clock is set at once; nearer, it is sped up or
 * slowed down (500 ppm), so that it never jumps for containers. */
#define HYB_CLOCK_STEP_NS INT64_C(100000000)

/* Host name, machine-id (/run/machine-id), clock, random numbers. */
int machine_claim(const struct claim *c, struct err *e);
int machine_set_time(int64_t time, int64_t *ret_offset, struct err *e);
/* Does not return. */
void machine_power_off(void);
/* The end of PID 1: says why on the console and powers off. */
void machine_die(const char *what, const struct err *e)
	__attribute__((noreturn));

#endif
