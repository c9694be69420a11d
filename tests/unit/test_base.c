/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/logrec.h"
#include "common/base/parse.h"
#include "common/base/proc.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

static void test_u64(void **state)
{
	uint64_t v = 7;

	(void)state;
	assert_int_equal(parse_u64("0", 0, 10, &v), 0);
	assert_int_equal(v, 0);
	assert_int_equal(parse_u64("18446744073709551615", 0, UINT64_MAX, &v),
			 0);
	assert_true(v == UINT64_MAX);
	v = 7;
	assert_int_equal(parse_u64("18446744073709551616", 0, UINT64_MAX, &v),
			 -ERANGE);
	assert_int_equal(parse_u64("", 0, 10, &v), -EINVAL);
	assert_int_equal(parse_u64(" 1", 0, 10, &v), -EINVAL);
	assert_int_equal(parse_u64("1 ", 0, 10, &v), -EINVAL);
	assert_int_equal(parse_u64("+1", 0, 10, &v), -EINVAL);
	assert_int_equal(parse_u64("-1", 0, 10, &v), -EINVAL);
	assert_int_equal(parse_u64("0x1", 0, 10, &v), -EINVAL);
	assert_int_equal(parse_u64("11", 0, 10, &v), -ERANGE);
	assert_int_equal(v, 7);
}

static void test_i64(void **state)
{
	int64_t v = 7;

	(void)state;
	assert_int_equal(parse_i64("-9223372036854775808", INT64_MIN, 0, &v),
			 0);
	assert_true(v == INT64_MIN);
	assert_int_equal(parse_i64("-9223372036854775809", INT64_MIN, 0, &v),
			 -ERANGE);
	assert_int_equal(parse_i64("--1", INT64_MIN, 0, &v), -EINVAL);
	assert_int_equal(parse_i64("-", INT64_MIN, 0, &v), -EINVAL);
}

static void test_size(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t value;
	} cases[] = {
		{"0", 0, 0},
		{"512", 0, 512},
		{"1b", 0, 1},
		{"64m", 0, 64u << 20},
		{"64M", 0, 64u << 20},
		{"64MB", 0, 64u << 20},
		{"64MiB", 0, 64u << 20},
		{"1.5g", 0, 3ull << 29},
		{"1t", 0, 1ull << 40},
		{"1048576t", 0, 1ull << 60},
		{"1048577t", -ERANGE, 0},
		{"99999999999999999999", -ERANGE, 0},
		{"", -EINVAL, 0},
		{"m", -EINVAL, 0},
		{"1.", -EINVAL, 0},
		{".5g", -EINVAL, 0},
		{"1.2.3g", -EINVAL, 0},
		{"12q", -EINVAL, 0},
		{"1 m", -EINVAL, 0},
		{"-1m", -EINVAL, 0},
		{"1mi", -EINVAL, 0},
		{"1mm", -EINVAL, 0},
	};
	uint64_t v;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		v = 77;
		assert_int_equal(parse_size(cases[i].text, &v),
				 cases[i].result);
		assert_true(v == (cases[i].result ? 77 : cases[i].value));
	}
}

static void test_duration(void **state)
{
	static const struct {
		const char *text;
		int result;
		uint64_t value;
	} cases[] = {
		{"0", 0, 0},
		{"0s", 0, 0},
		{"10s", 0, 10000000000},
		{"1m30s", 0, 90000000000},
		{"1.5s", 0, 1500000000},
		{"100ms", 0, 100000000},
		{"1h", 0, 3600000000000},
		{"5us", 0, 5000},
		{"7ns", 0, 7},
		{"10", -EINVAL, 0},
		{"s", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"10 s", -EINVAL, 0},
		{"-1s", -EINVAL, 0},
		{"1d", -EINVAL, 0},
		{"999999999h", -ERANGE, 0},
	};
	uint64_t v;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		v = 77;
		assert_int_equal(parse_duration(cases[i].text, &v),
				 cases[i].result);
		assert_true(v == (cases[i].result ? 77 : cases[i].value));
	}
}

static void test_uid(void **state)
{
	uint32_t v = 7;

	(void)state;
	assert_int_equal(parse_uid("2147483647", &v), 0);
	assert_int_equal(v, INT32_MAX);
	assert_int_equal(parse_uid("2147483648", &v), -ERANGE);
	assert_int_equal(parse_uid("4294967296", &v), -ERANGE);
	assert_int_equal(parse_uid("0x0", &v), -EINVAL);
	assert_int_equal(parse_uid("1000x", &v), -EINVAL);
}

static void test_name(void **state)
{
	static const char *const good[] = {
		"a",	   "0",
		"web-0",   "a1",
		"x-----y", "a23456789012345678901234567890123456789012345678"};
	static const char *const bad[] = {
		"",
		"-",
		"a-",
		"-a",
		"A",
		"a_b",
		"a.b",
		"a/b",
		"..",
		"a b",
		"a\n",
		"ä",
		"a234567890123456789012345678901234567890123456789"};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(name_is_valid(good[i]));
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(name_is_valid(bad[i]));
}

static void test_hex(void **state)
{
	unsigned char raw[4] = {0, 0x1f, 0xab, 0xff}, back[4];
	char text[9];

	(void)state;
	hex_format(raw, sizeof(raw), text);
	assert_string_equal(text, "001fabff");
	assert_int_equal(hex_parse("001FABff", back, 4), 0);
	assert_memory_equal(raw, back, 4);
	assert_int_equal(hex_parse("001fabf", back, 4), -EINVAL);
	assert_int_equal(hex_parse("001fabff0", back, 4), -EINVAL);
	assert_int_equal(hex_parse("001fabfg", back, 4), -EINVAL);
}

static void test_signal(void **state)
{
	int s = 0;

	(void)state;
	assert_int_equal(parse_signal("SIGQUIT", &s), 0);
	assert_int_equal(s, SIGQUIT);
	assert_int_equal(parse_signal("term", &s), 0);
	assert_int_equal(s, SIGTERM);
	assert_int_equal(parse_signal("9", &s), 0);
	assert_int_equal(s, SIGKILL);
	assert_int_equal(parse_signal("0", &s), -EINVAL);
	assert_int_equal(parse_signal("65", &s), -EINVAL);
	assert_int_equal(parse_signal("NOPE", &s), -EINVAL);
	assert_string_equal(signal_name(SIGHUP), "SIGHUP");
	assert_null(signal_name(0));
}

static void check_split(const char *text, int want, const char *joined)
{
	struct buf b = BUF_INIT;
	char **v = NULL;
	size_t i;

	assert_int_equal(shell_split(text, 8, &v), want);
	for (i = 0; v && v[i]; i++)
		buf_printf(&b, "<%s>", v[i]);
	if (want == 0)
		assert_string_equal(buf_str(&b), joined);
	buf_done(&b);
	strv_free(v);
}

static void test_split(void **state)
{
	(void)state;
	check_split("", 0, "");
	check_split("  a  b ", 0, "<a><b>");
	check_split("sh -c 'echo $X \"y\"'", 0, "<sh><-c><echo $X \"y\">");
	check_split("a\\ b \"c\\\"d\" ''", 0, "<a b><c\"d><>");
	check_split("\"a\\n\"", 0, "<a\\n>");
	check_split("'open", -EINVAL, NULL);
	check_split("\"open", -EINVAL, NULL);
	check_split("a\\", -EINVAL, NULL);
	check_split("1 2 3 4 5 6 7 8 9", -E2BIG, NULL);
}

static void test_escape(void **state)
{
	char out[64];

	(void)state;
	assert_string_equal(text_escape("plain äö€", out, sizeof(out)),
			    "plain äö€");
	assert_string_equal(text_escape("\x1b[2J\n\\", out, sizeof(out)),
			    "\\x1b[2J\\x0a\\x5c");
	/* C1, bidirectional override, broken and overlong UTF-8 */
	assert_string_equal(text_escape("\xc2\x9b", out, sizeof(out)),
			    "\\xc2\\x9b");
	assert_string_equal(text_escape("\xe2\x80\xae", out, sizeof(out)),
			    "\\xe2\\x80\\xae");
	assert_string_equal(text_escape("\xff", out, sizeof(out)), "\\xff");
	assert_string_equal(text_escape("\xc0\x80", out, sizeof(out)),
			    "\\xc0\\x80");
	assert_string_equal(text_escape("0123456789", out, 8), "0123...");
}

static void test_buf(void **state)
{
	struct buf b = {.max = 10};

	(void)state;
	assert_string_equal(buf_str(&b), "");
	assert_int_equal(buf_puts(&b, "12345"), 0);
	assert_int_equal(buf_printf(&b, "%d", 67890), 0);
	assert_int_equal(buf_putc(&b, 'x'), -EMSGSIZE);
	assert_int_equal(buf_error(&b), -EMSGSIZE);
	assert_int_equal(buf_puts(&b, ""), -EMSGSIZE);
	assert_string_equal(buf_str(&b), "1234567890");
	buf_consume(&b, 4);
	assert_string_equal(buf_str(&b), "567890");
	buf_done(&b);
}

static void test_err(void **state)
{
	struct err e = ERR_INIT;
	char long_text[2000];

	(void)state;
	assert_int_equal(err_sys(&e, ENOSPC, "write '%s'", "x"), -ENOSPC);
	assert_string_equal(e.msg, "write 'x': No space left on device");
	assert_int_equal(err_wrap(&e, "VM '%s'", "v"), -ENOSPC);
	assert_string_equal(e.msg,
			    "VM 'v': write 'x': No space left on device");
	memset(long_text, 'y', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	err_set(&e, EIO, "%s", long_text);
	assert_int_equal(strlen(e.msg), HYB_ERR_MSG_MAX - 1);
	assert_string_equal(e.msg + HYB_ERR_MSG_MAX - 4, "...");
	assert_int_equal(err_set(NULL, EIO, "nobody"), -EIO);
}

static void test_arena(void **state)
{
	struct arena *a = arena_new(100000);
	char *s;

	(void)state;
	assert_non_null(a);
	s = arena_printf(a, "%s-%d", "x", 5);
	assert_string_equal(s, "x-5");
	assert_null(arena_alloc(a, SIZE_MAX, 2));
	assert_null(arena_alloc(a, 200000, 1));
	assert_non_null(arena_alloc(a, 50000, 1));
	assert_null(arena_alloc(a, 60000, 1));
	arena_free(a);
}

static void test_files(void **state)
{
	char dir[] = "/tmp/hyb-unit.XXXXXX", path[300], link[300];
	struct err e = ERR_INIT;
	struct stat st;
	char *text = NULL;
	size_t len;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a/b/c", dir);
	assert_int_equal(dir_make(path, 0755, &e), 0);
	assert_int_equal(dir_make(path, 0755, &e), 0);
	snprintf(path, sizeof(path), "%s/a/file", dir);
	assert_int_equal(file_write_atomic(path, "hello", 5, 0640, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(file_read(AT_FDCWD, path, 5, &text, &len, &e), 0);
	assert_int_equal(len, 5);
	assert_string_equal(text, "hello");
	free(text);
	assert_int_equal(file_read(AT_FDCWD, path, 4, &text, &len, &e), -EFBIG);
	/* What a link points at is not removed. */
	snprintf(link, sizeof(link), "%s/a/b/link", dir);
	assert_int_equal(symlink("/etc", link), 0);
	assert_int_equal(path_remove(dir, &e), 0);
	assert_int_equal(access(dir, F_OK), -1);
	assert_int_equal(access("/etc/passwd", F_OK), 0);
	assert_int_equal(path_remove(dir, &e), 0);
}

static void test_fds(void **state)
{
	int sv[2], got[2], p[2], extra[3];
	char buf[16];
	size_t n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(pipe(p), 0);
	extra[0] = p[0];
	extra[1] = p[1];
	extra[2] = p[0];
	assert_int_equal(fds_send(sv[0], "x", 1, extra, 3), 0);
	/* One over what is wanted is closed. */
	assert_int_equal(fds_recv(sv[1], buf, sizeof(buf), got, 2, &n), 1);
	assert_int_equal(n, 2);
	assert_true(fcntl(got[0], F_GETFD) & FD_CLOEXEC);
	assert_int_equal(write(got[1], "z", 1), 1);
	assert_int_equal(read(p[0], buf, 1), 1);
	close(got[0]);
	close(got[1]);
	close(p[0]);
	close(p[1]);
	close(sv[0]);
	close(sv[1]);
}

static void test_logrec(void **state)
{
	struct logrec r = {.offset = 1ull << 40,
			   .time = 5,
			   .length = 65536,
			   .stream = LOGREC_STDERR},
		      back;
	unsigned char raw[LOGREC_HEADER_SIZE];

	(void)state;
	logrec_encode(&r, raw);
	assert_int_equal(logrec_decode(raw, &back), 0);
	assert_true(back.offset == r.offset && back.length == r.length &&
		    back.stream == r.stream && back.time == r.time);
	raw[23] = 1;
	assert_int_equal(logrec_decode(raw, &back), -EBADMSG);
	r.length = 65537;
	logrec_encode(&r, raw);
	assert_int_equal(logrec_decode(raw, &back), -EBADMSG);
	r.length = 0;
	logrec_encode(&r, raw);
	assert_int_equal(logrec_decode(raw, &back), -EBADMSG);
	r.length = 1;
	r.stream = 3;
	logrec_encode(&r, raw);
	assert_int_equal(logrec_decode(raw, &back), -EBADMSG);
}

static void test_proc(void **state)
{
	const char *argv[] = {"sh", "-c", "cat; echo err >&2; exit 3", NULL};
	struct proc_spec spec = {.path = "sh",
				 .argv = argv,
				 .stdin_fd = -1,
				 .stdout_fd = -1,
				 .stderr_fd = -1};
	struct err e = ERR_INIT;
	char *out = NULL, *errout = NULL;
	uint64_t start;
	int status, fd;

	(void)state;
	assert_int_equal(proc_run(&spec, now_ms() + 60000, 100, &out, &errout,
				  &status, &e),
			 0);
	assert_int_equal(status, 3);
	assert_string_equal(out, "");
	assert_string_equal(errout, "err\n");
	free(out);
	free(errout);
	argv[2] = "sleep 100";
	assert_int_equal(
		proc_run(&spec, now_ms() + 200, 100, NULL, NULL, &status, &e),
		-ETIMEDOUT);
	spec.path = "/no/such/program";
	assert_int_equal(proc_run(&spec, 0, 100, NULL, NULL, &status, &e),
			 -ENOENT);
	assert_int_equal(proc_start_time(getpid(), &start), 0);
	fd = proc_open(getpid(), start);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(proc_open(getpid(), start + 1), -ESRCH);
	assert_int_equal(proc_open(0, 0), -ESRCH);
}

/* Lines as many as anybody likes: two files, of a limited size. */
static void test_log(void **state)
{
	char dir[] = "/tmp/hyb-test-XXXXXX", log[64], old[64];
	int err = dup(STDERR_FILENO), out = dup(STDOUT_FILENO), fd, i;
	struct stat a, b, self, std;
	struct rlimit many, few;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &many), 0);
	few = (struct rlimit){.rlim_cur = 3, .rlim_max = many.rlim_max};
	snprintf(log, sizeof(log), "%s/log", dir);
	snprintf(old, sizeof(old), "%s/log.1", dir);
	fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	fflush(stdout);
	dup2(fd, STDERR_FILENO);
	log_limit(log, 4096);
	/* At first there is no descriptor for a new file. */
	setrlimit(RLIMIT_NOFILE, &few);
	for (i = 0; i < 1000; i++) {
		if (i == 200)
			setrlimit(RLIMIT_NOFILE, &many);
		log_error("a line of some length, number %d", i);
	}
	fstat(STDERR_FILENO, &self);
	fstat(STDOUT_FILENO, &std);
	/* Another file is left alone. */
	log_limit(old, 10);
	log_error("the last");
	dup2(err, STDERR_FILENO);
	dup2(out, STDOUT_FILENO);
	log_limit(log, 0);
	assert_int_equal(stat(log, &a), 0);
	assert_int_equal(stat(old, &b), 0);
	assert_true(a.st_ino == self.st_ino && a.st_ino != std.st_ino);
	assert_in_range(a.st_size, 1, 4096 + 200);
	assert_in_range(b.st_size, 4096, 4096 + 200);
	unlink(log);
	unlink(old);
	rmdir(dir);
	close(fd);
	close(err);
	close(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_u64),   cmocka_unit_test(test_i64),
		cmocka_unit_test(test_size),  cmocka_unit_test(test_duration),
		cmocka_unit_test(test_uid),   cmocka_unit_test(test_name),
		cmocka_unit_test(test_hex),   cmocka_unit_test(test_signal),
		cmocka_unit_test(test_split), cmocka_unit_test(test_escape),
		cmocka_unit_test(test_buf),   cmocka_unit_test(test_err),
		cmocka_unit_test(test_arena), cmocka_unit_test(test_files),
		cmocka_unit_test(test_fds),   cmocka_unit_test(test_logrec),
		cmocka_unit_test(test_proc),  cmocka_unit_test(test_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
