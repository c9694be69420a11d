/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/virt/tsc.h"

#include <stdbool.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

/* A reading is off by a microsecond or two: so it is 20 ppm at the most. */
#define WINDOW_MIN_NS UINT64_C(100000000)
#define KHZ_MIN	      100000
#define KHZ_MAX	      20000000
/* One of so many tries is not interrupted. */
#define TRIES 5

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t = {0};

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

#if defined(__x86_64__)
static uint64_t ticks_now(void)
{
	return __rdtsc();
}

/* CPUID 0x80000007: the same pace in all states of power. */
static bool is_steady(void)
{
	unsigned int a, b, c, d;

	return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 1u << 8);
}
#else
static uint64_t ticks_now(void)
{
	return 0;
}

static bool is_steady(void)
{
	return false;
}
#endif

void tsc_mark(struct tsc_mark *m)
{
	uint64_t best = UINT64_MAX, before, after, ns;
	int i;

	for (i = 0; i < TRIES; i++) {
		before = ticks_now();
		ns = clock_ns(CLOCK_MONOTONIC_RAW);
		after = ticks_now();
		if (after - before < best) {
			best = after - before;
			m->ticks = before + best / 2;
			m->ns = ns;
		}
	}
	m->asleep = clock_ns(CLOCK_BOOTTIME) - clock_ns(CLOCK_MONOTONIC);
}

uint32_t tsc_khz(const struct tsc_mark *m)
{
	struct tsc_mark now = {0};
	uint64_t khz;

	if (!is_steady())
		return 0;
	tsc_mark(&now);
	/* Two clocks that are read one after the other: a moment apart. */
	if (now.ns - m->ns < WINDOW_MIN_NS ||
	    (int64_t)(now.asleep - m->asleep) > (int64_t)WINDOW_MIN_NS ||
	    now.ticks <= m->ticks)
		return 0;
	khz = (uint64_t)((double)(now.ticks - m->ticks) * 1e6 /
			 (double)(now.ns - m->ns));
	return khz < KHZ_MIN || khz > KHZ_MAX ? 0 : (uint32_t)khz;
}
