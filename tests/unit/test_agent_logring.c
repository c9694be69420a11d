/* SPDX-License-Identifier: Apache-2.0 */
/* The log ring: records, joining, back-pressure, cutting, and a long random
 * run against a model. */
#include "guest-agent/rpc/logring.h"

#include "common/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)

/* Writes text (as much as there is room for) and says how much went. */
static size_t put(struct logring *r, uint8_t stream, uint64_t now,
		  const char *text, size_t len)
{
	struct iovec iov[2];
	size_t room = logring_reserve(r, stream, now, iov), n;

	n = len < room ? len : room;
	if (n == 0)
		return 0;
	room = n < iov[0].iov_len ? n : iov[0].iov_len;
	memcpy(iov[0].iov_base, text, room);
	memcpy(iov[1].iov_base, text + room, n - room);
	logring_commit(r, stream, now, n);
	return n;
}

/* Takes at most max bytes of what is to be sent. */
static size_t get(struct logring *r, struct logcursor *c, unsigned char *out,
		  size_t max)
{
	struct iovec iov[3];
	size_t n = 0, len;
	int i, n_iov;

	if (logring_peek(r, c, iov, &n_iov) == 0)
		return 0;
	for (i = 0; i < n_iov && n < max; i++) {
		len = iov[i].iov_len < max - n ? iov[i].iov_len : max - n;
		memcpy(out + n, iov[i].iov_base, len);
		n += len;
	}
	logring_advance(r, c, n);
	return n;
}

static void check_record(const unsigned char *p, uint64_t offset,
			 uint8_t stream, const char *text)
{
	struct logrec rec;

	assert_int_equal(logrec_decode(p, &rec), 0);
	assert_int_equal(rec.offset, offset);
	assert_int_equal(rec.stream, stream);
	assert_int_equal(rec.length, strlen(text));
	assert_memory_equal(p + LOGREC_HEADER_SIZE, text, rec.length);
}

static void test_joins(void **state)
{
	unsigned char out[512];
	struct logcursor c;
	struct logring r;

	(void)state;
	assert_int_equal(logring_init(&r, 4096, 5 * MS, NULL), 0);
	assert_int_equal(logring_seek(&r, 0, &c), 0);
	put(&r, 1, 100 * MS, "one", 3);
	put(&r, 1, 104 * MS, "two", 3);	  /* joins */
	put(&r, 2, 104 * MS, "err", 3);	  /* another stream */
	put(&r, 1, 105 * MS, "three", 5); /* not the last any more */
	put(&r, 1, 111 * MS, "late", 4);  /* too late */
	assert_int_equal(get(&r, &c, out, sizeof(out)),
			 4 * LOGREC_HEADER_SIZE + 18);
	check_record(out, 0, 1, "onetwo");
	check_record(out + 30, 6, 2, "err");
	check_record(out + 57, 9, 1, "three");
	check_record(out + 86, 14, 1, "late");
	/* What was handed out does not grow. */
	put(&r, 1, 112 * MS, "next", 4);
	assert_int_equal(get(&r, &c, out, sizeof(out)), LOGREC_HEADER_SIZE + 4);
	check_record(out, 18, 1, "next");
	logring_done(&r);
}

static void test_full(void **state)
{
	static char text[8192];
	unsigned char out[8192];
	struct logcursor c;
	struct logring r;
	size_t n;

	(void)state;
	assert_int_equal(logring_init(&r, 4096, 0, NULL), 0);
	logring_seek(&r, 0, &c);
	memset(text, 'x', sizeof(text));
	n = put(&r, 1, 0, text, sizeof(text));
	assert_int_equal(n, 4096 - LOGREC_HEADER_SIZE);
	assert_int_equal(put(&r, 1, 1, text, 1), 0);
	assert_int_equal(put(&r, 2, 1, text, 1), 0);
	/* Sent is not enough. */
	assert_int_equal(get(&r, &c, out, sizeof(out)), 4096);
	assert_int_equal(put(&r, 1, 1, text, 1), 0);
	/* A part acknowledged makes that much room. */
	assert_int_equal(logring_ack(&r, &c, 2000), 0);
	assert_true(put(&r, 1, 1, text, sizeof(text)) >= 1900);
	assert_int_equal(logring_ack(&r, &c, n), 0);
	assert_int_equal(logring_ack(&r, &c, n + 1), -EBADMSG);
	logring_done(&r);
}

static void test_seek(void **state)
{
	unsigned char out[512];
	struct logcursor c;
	struct logring r;

	(void)state;
	assert_int_equal(logring_init(&r, 4096, 0, NULL), 0);
	put(&r, 1, 1, "hello", 5);
	put(&r, 1, 2, "world", 5);
	assert_int_equal(logring_seek(&r, 11, &c), -ERANGE);
	assert_int_equal(logring_seek(&r, 10, &c), 0);
	assert_int_equal(get(&r, &c, out, sizeof(out)), 0);
	assert_true(logring_all_sent(&r, &c));
	/* In the middle of a record, byte by byte. */
	assert_int_equal(logring_seek(&r, 3, &c), 0);
	assert_int_equal(c.sent, 3);
	for (size_t i = 0; i < LOGREC_HEADER_SIZE * 2 + 7; i++)
		assert_int_equal(get(&r, &c, out + i, 1), 1);
	check_record(out, 3, 1, "lo");
	check_record(out + LOGREC_HEADER_SIZE + 2, 5, 1, "world");
	assert_int_equal(c.sent, 10);
	/* Another reader after a part was acknowledged. */
	assert_int_equal(logring_ack(&r, &c, 4), 0);
	assert_int_equal(logring_seek(&r, 0, &c), 0);
	assert_int_equal(c.sent, 4);
	get(&r, &c, out, sizeof(out));
	check_record(out, 4, 1, "o");
	assert_int_equal(logring_ack(&r, &c, 10), 0);
	assert_true(logring_is_empty(&r));
	assert_int_equal(r.tail, 0);
	assert_int_equal(r.first, 10);
	assert_int_equal(logring_seek(&r, 0, &c), 0);
	assert_int_equal(c.sent, 10);
	logring_done(&r);
}

/* ------------------------------------------------------------- random run */

static uint32_t seed = 12345;

static uint32_t rnd(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* Byte i of the container's output. */
static char byte_at(uint64_t i)
{
	return (char)('a' + (i * 7 + i / 251) % 26);
}

/* The receiving side: an enemy's care for every field. */
struct receiver {
	unsigned char head[LOGREC_HEADER_SIZE];
	size_t have;
	struct logrec rec;
	uint32_t left;
	uint64_t next; /* offset */
	bool fresh;    /* the first record may begin anywhere it was told */
};

static void receive(struct receiver *v, const unsigned char *p, size_t n)
{
	for (; n > 0; n--, p++) {
		if (v->have < LOGREC_HEADER_SIZE) {
			v->head[v->have++] = *p;
			if (v->have < LOGREC_HEADER_SIZE)
				continue;
			assert_int_equal(logrec_decode(v->head, &v->rec), 0);
			assert_int_equal(v->rec.offset, v->next);
			v->left = v->rec.length;
			continue;
		}
		assert_int_equal((char)*p, byte_at(v->next));
		v->next++;
		if (--v->left == 0)
			v->have = 0;
	}
}

static void write_some(struct logring *r, uint64_t *written, uint64_t now)
{
	char text[3000];
	size_t len = 1 + rnd(rnd(4) ? 80 : sizeof(text) - 1), i;

	for (i = 0; i < len; i++)
		text[i] = byte_at(*written + i);
	*written += put(r, (uint8_t)(1 + rnd(2)), now, text, len);
}

static void test_random(void **state)
{
	static const size_t sizes[] = {2048, 4099, 65536, 70001};
	unsigned char out[5000];

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(sizes); k++) {
		struct receiver v = {0};
		uint64_t written = 0, now = 0, acked = 0;
		struct logcursor c;
		struct logring r;

		assert_int_equal(logring_init(&r, sizes[k], 5 * MS, NULL), 0);
		logring_seek(&r, 0, &c);
		for (int i = 0; i < 60000; i++) {
			now += rnd(3) * MS;
			switch (rnd(8)) {
			case 0:
			case 1:
			case 2:
				write_some(&r, &written, now);
				break;
			case 3:
			case 4:
			case 5:
				receive(&v, out,
					get(&r, &c, out, 1 + rnd(5000)));
				break;
			case 6:
				if (c.sent > acked)
					acked += rnd(
						(uint32_t)(c.sent - acked + 1));
				assert_int_equal(logring_ack(&r, &c, acked), 0);
				assert_int_equal(r.first, acked);
				break;
			default:
				if (rnd(20))
					break;
				/* The reader is gone; the next one asks. */
				v = (struct receiver){
					.next = acked +
						rnd((uint32_t)(written - acked +
							       1))};
				assert_int_equal(logring_seek(&r, v.next, &c),
						 0);
			}
			assert_int_equal(r.end, written);
		}
		receive(&v, out, 0);
		assert_true(written > 100000);
		logring_done(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_joins),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_seek),
		cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
