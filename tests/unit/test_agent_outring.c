/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of detached sessions against a model that keeps everything. */
#include "guest-agent/rpc/outring.h"

#include "common/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* The byte at an offset of all that is ever written. */
static char byte_at(uint64_t at)
{
	return (char)(at * 131 + at / 251);
}

static void put(struct outring *r, size_t n)
{
	char data[256];
	size_t i;

	assert_true(n <= sizeof(data));
	for (i = 0; i < n; i++)
		data[i] = byte_at(r->end + i);
	outring_put(r, data, n);
}

/* Takes at most max bytes, which must be those from *at on. */
static void take(struct outring *r, uint64_t *at, size_t max)
{
	const char *data;
	size_t n, i;

	while (max > 0 && (n = outring_piece(r, &data)) > 0) {
		if (n > max)
			n = max;
		for (i = 0; i < n; i++)
			assert_int_equal(data[i], byte_at(*at + i));
		outring_took(r, n);
		*at += n;
		max -= n;
	}
}

static void test_empty(void **state)
{
	struct outring r = {0};
	const char *data;

	(void)state;
	assert_int_equal(outring_waiting(&r), 0);
	assert_int_equal(outring_piece(&r, &data), 0);
	assert_int_equal(outring_open(&r, 64), 0);
	assert_int_equal(outring_seek(&r, true), 0);
	assert_int_equal(outring_room(&r), 64);
	outring_done(&r);
}

static void test_lost(void **state)
{
	struct outring r = {0};
	uint64_t at = 0;

	(void)state;
	assert_int_equal(outring_open(&r, 64), 0);
	put(&r, 40);
	take(&r, &at, 10);
	assert_int_equal(outring_room(&r), 34);
	/* Over itself at once. */
	put(&r, 200);
	assert_int_equal(outring_begin(&r), 176);
	assert_int_equal(outring_seek(&r, false), 166);
	at += 166;
	assert_int_equal(outring_waiting(&r), 64);
	take(&r, &at, 64);
	assert_int_equal(outring_waiting(&r), 0);
	assert_int_equal(outring_seek(&r, false), 0);
	/* All that is kept, once more. */
	assert_int_equal(outring_seek(&r, true), 176);
	at = 176;
	take(&r, &at, 64);
	assert_int_equal(at, 240);
	outring_done(&r);
}

static void test_random(void **state)
{
	struct outring r = {0};
	unsigned int seed = 7;
	uint64_t at = 0, lost;
	int i;

	(void)state;
	assert_int_equal(outring_open(&r, 61), 0);
	for (i = 0; i < 100000; i++) {
		seed = seed * 1103515245 + 12345;
		if (seed >> 16 & 1)
			put(&r, seed >> 20 & 127);
		lost = outring_seek(&r, (seed >> 17 & 31) == 0);
		if ((seed >> 17 & 31) == 0)
			at = lost;
		else
			at += lost;
		assert_int_equal(at, r.sent);
		assert_int_equal(outring_waiting(&r) + at, r.end);
		take(&r, &at, seed >> 24 & 63);
	}
	outring_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
