/* SPDX-License-Identifier: Apache-2.0 */
/* hyb logs: records into bytes, several containers, what a terminal is spared;
 * records that are broken. */
#include "tests/unit/cli_fake.h"

#include <endian.h>
#include <pty.h>

#include "host-agent/cli/logrec.h"

static void put_record(int fd, uint64_t time, int stream, const char *data,
		       size_t len)
{
	unsigned char head[24] = {0};
	uint64_t t = htole64(time);
	uint32_t n = htole32((uint32_t)len);

	memcpy(head + 8, &t, 8);
	memcpy(head + 16, &n, 4);
	head[20] = (unsigned char)stream;
	write_full(fd, head, sizeof(head));
	write_full(fd, data, len);
}

static void put(int fd, uint64_t time, int stream, const char *text)
{
	put_record(fd, time, stream, text, strlen(text));
}

/* The log's own end. */
static void put_end(int fd)
{
	static const char end[24];

	write_full(fd, end, sizeof(end));
}

static const char *name_of(const struct vl_call *call)
{
	return json_string_value(json_object_get(call->parameters, "name"));
}

static void reply_name(struct vl_conn *c, const struct vl_call *call)
{
	char text[200];

	snprintf(text, sizeof(text), "{\"name\":\"%s\"}", name_of(call));
	fake_send(c, text, false, NULL, 0);
}

#define BYTES "a\0b\x1b[31m\xff\r\n\ttail without end"

static bool answer_logs(struct vl_conn *c, const struct vl_call *call)
{
	const char *name = name_of(call);

	reply_name(c, call);
	if (strcmp(name, "s/v/bytes") == 0) {
		put_record(c->fd, 1, 1, BYTES, sizeof(BYTES) - 1);
		put(c->fd, 2, 2, "to stderr\n");
	} else if (strcmp(name, "s/v/a") == 0) {
		put(c->fd, 10, 1, "first\nthi");
		put(c->fd, 30, 1, "rd\n");
	} else if (strcmp(name, "s/v/long-name") == 0) {
		put(c->fd, 20, 1, "second\n");
		put(c->fd, 40, 2, "fourth");
	} else if (strcmp(name, "s/v/stream") == 0) {
		put_record(c->fd, 1, 3, "x", 1);
	} else if (strcmp(name, "s/v/empty") == 0) {
		put_record(c->fd, 1, 1, "x", 0);
		return false;
	} else if (strcmp(name, "s/v/huge") == 0) {
		write_full(c->fd,
			   "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\1\0\1\0\0\0",
			   24);
	} else if (strcmp(name, "s/v/cut") == 0) {
		put(c->fd, 1, 1, "whole\n");
		write_full(c->fd, "\0\0\0", 3);
		return false;
	} else if (strcmp(name, "s/v/again") == 0) {
		if (json_integer_value(
			    json_object_get(call->parameters, "from")) == 0) {
			put(c->fd, 1, 1, "one\ntw");
			return false;
		}
		put(c->fd, 2, 1, "o\n");
	}
	put_end(c->fd);
	return false;
}

static const struct answer answers[] = {
	{.method = "Resolve",
	 .replies = {"{\"names\":[\"s/v/a\",\"s/v/long-name\"]}"}},
	{.method = "Logs", .answer = answer_logs},
	{0}};

static int setup(void **state)
{
	(void)state;
	fake_start(answers);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_stop();
	return 0;
}

static void test_exact(void **state)
{
	struct ran r = HYB("logs", "s/v/bytes");

	(void)state;
	assert_int_equal(r.status, 0);
	assert_int_equal(r.out_len, sizeof(BYTES) - 1);
	assert_memory_equal(r.out, BYTES, sizeof(BYTES) - 1);
	assert_string_equal(r.err, "to stderr\n");
	assert_string_equal(fake_call(0), "Logs {\"follow\":false,\"from\":0,"
					  "\"name\":\"s/v/bytes\","
					  "\"since\":0,\"tail\":-1}");
	ran_done(&r);
}

static void test_several(void **state)
{
	struct ran r = HYB("logs", "s");

	(void)state;
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "s/v/a         | first\n"
				   "s/v/long-name | second\n"
				   "s/v/a         | third\n");
	assert_string_equal(r.err, "s/v/long-name | fourth\n");
	ran_done(&r);
}

static void test_options(void **state)
{
	struct ran r;

	(void)state;
	r = HYB("logs", "-f", "-n", "5", "--since=2026-01-31T12:00:00.5Z",
		"s/v/bytes");
	assert_int_equal(r.status, 0);
	assert_string_equal(fake_call(0),
			    "Logs {\"follow\":true,\"from\":0,"
			    "\"name\":\"s/v/bytes\","
			    "\"since\":1769860800500000000,\"tail\":5}");
	ran_done(&r);
	r = HYB("logs", "--since", "10m", "s/v/bytes");
	assert_int_equal(r.status, 0);
	ran_done(&r);
	r = HYB("logs", "--since", "yesterday", "s/v/bytes");
	assert_int_equal(r.status, CLI_USAGE);
	assert_non_null(strstr(r.err, "hint: like 10m"));
	ran_done(&r);
	r = HYB("logs", "--tail", "-1", "s/v/bytes");
	assert_int_equal(r.status, CLI_USAGE);
	ran_done(&r);
	r = HYB("logs", "--source", "app", "s/v/bytes");
	assert_int_equal(r.status, CLI_USAGE);
	assert_non_null(strstr(r.err, "not supported yet"));
	ran_done(&r);
}

static void test_broken(void **state)
{
	static const char *const names[] = {"s/v/stream", "s/v/empty",
					    "s/v/huge", "s/v/cut"};
	struct ran r;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		r = HYB("logs", names[i]);
		assert_int_equal(r.status,
				 i == 3 ? CLI_UNREACHABLE : CLI_FAILED);
		assert_string_equal(r.out, i == 3 ? "whole\n" : "");
		assert_non_null(
			strstr(r.err, i == 3 ? "hybd has ended" : "broken"));
		ran_done(&r);
	}
}

/* hybd ends in the middle of a log that is followed: the next goes on. */
static void test_goes_on(void **state)
{
	struct ran r = HYB("logs", "-f", "s/v/again");

	(void)state;
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "one\ntwo\n");
	assert_string_equal(fake_call(1), "Logs {\"follow\":true,\"from\":6,"
					  "\"name\":\"s/v/again\","
					  "\"since\":0,\"tail\":-1}");
	ran_done(&r);
}

static void test_terminal(void **state)
{
	char shown[256] = "";
	int master, slave;
	struct hyb h;
	struct ran r;
	ssize_t n;

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	hyb_start_fds(&h, -1, slave, -1, WORDS("logs", "s/v/bytes"));
	r = hyb_wait(&h);
	n = read(master, shown, sizeof(shown) - 1);
	assert_true(n > 0);
	assert_memory_equal(shown, "a\\x00b\\x1b[31m\\xff\r\r\n", 21);
	assert_string_equal(r.err, "to stderr\n");
	ran_done(&r);
	hyb_start_fds(&h, -1, slave, -1, WORDS("logs", "--raw", "s/v/bytes"));
	r = hyb_wait(&h);
	n = read(master, shown, sizeof(shown) - 1);
	assert_true(n > 0);
	assert_memory_equal(shown, "a\0b\x1b[31m\xff\r\r\n", 12);
	ran_done(&r);
	close(master);
	close(slave);
}

/* A character in two records is whole on a terminal. */
static void test_split_character(void **state)
{
	struct logrec_writer w;
	struct buf b = BUF_INIT;
	char got[16] = "";
	int p[2], saved;

	(void)state;
	buf_done(&b);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	fflush(stdout);
	saved = dup(STDOUT_FILENO);
	dup2(p[1], STDOUT_FILENO);
	logrec_writer_init(&w, STDOUT_FILENO);
	logrec_write(&w, NULL, 0, true, "x\xe2\x82", 3);
	logrec_write(&w, NULL, 0, true, "\xac!\xc3", 3);
	logrec_finish(&w, NULL, 0, true);
	logrec_flush();
	logrec_writer_done(&w);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	assert_true(read(p[0], got, sizeof(got) - 1) > 0);
	assert_string_equal(got, "x\xe2\x82\xac!\\xc3");
	close(p[0]);
	close(p[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_exact),
		T(test_several),
		T(test_options),
		T(test_broken),
		T(test_terminal),
		T(test_goes_on),
		cmocka_unit_test(test_split_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
