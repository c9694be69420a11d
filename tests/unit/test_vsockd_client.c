/* SPDX-License-Identifier: Apache-2.0 */
/* vsock_connect() against devices of all manners, played by the test. */
#include "host-agent/guest/vsock.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>

static struct vsock_addr addr;
static int listen_fd;
static char heard[64];

static int setup(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	memset(&addr, 0, sizeof(addr));
	snprintf(addr.path, sizeof(addr.path), "/tmp/hyb-vsockc-%d.sock",
		 getpid());
	listen_fd = unix_listen(addr.path, 0600, 1, &e);
	assert_true(listen_fd >= 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cleanup_close(&listen_fd);
	unlink(addr.path);
	return 0;
}

struct manner {
	const char *says;  /* after the CONNECT line */
	useconds_t slowly; /* between two bytes */
	bool stays;	   /* silent, until the client leaves */
};

/* Hears a client's line, says its piece, closes after a moment. */
static void *device(void *arg)
{
	const struct manner *m = arg;
	int fd = accept(listen_fd, NULL, NULL);
	ssize_t n = read(fd, heard, sizeof(heard) - 1);
	size_t i;
	char c;

	heard[n > 0 ? n : 0] = '\0';
	for (i = 0; i < strlen(m->says); i++) {
		if (write_full(fd, m->says + i, 1) < 0)
			break;
		usleep(m->slowly);
	}
	while (m->stays && read(fd, &c, 1) > 0)
		;
	close(fd);
	return NULL;
}

static int run(struct manner *m, uint64_t ms, int *ret_fd)
{
	struct err e = ERR_INIT;
	pthread_t t;
	int err;

	*ret_fd = -1;
	pthread_create(&t, NULL, device, m);
	err = vsock_connect(&addr, 1024, now_ms() + ms, ret_fd, &e);
	pthread_join(t, NULL);
	if (err < 0)
		assert_true(e.code == -err && e.msg[0]);
	return err;
}

static void test_good(void **state)
{
	struct manner fast = {.says = "OK 77\nguest first"};
	struct manner slow = {.says = "OK 4294967295\nx", .slowly = 500};
	char got[32];
	int fd;

	(void)state;
	assert_int_equal(run(&fast, 60000, &fd), 0);
	assert_string_equal(heard, "CONNECT 1024\n");
	/* Not a byte of the stream is lost, and the socket blocks. */
	assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(read_full(fd, got, sizeof(got)), 11);
	assert_memory_equal(got, "guest first", 11);
	close(fd);
	assert_int_equal(run(&slow, 60000, &fd), 0);
	assert_int_equal(read_full(fd, got, sizeof(got)), 1);
	close(fd);
}

static void test_bad(void **state)
{
	static const struct {
		struct manner m;
		int err;
	} cases[] = {
		{{.says = ""}, -ECONNREFUSED},
		{{.says = "OK 5"}, -ECONNREFUSED},
		{{.says = "", .stays = true}, -ETIMEDOUT},
		{{.says = "OK", .stays = true}, -ETIMEDOUT},
		{{.says = "NO\n"}, -EPROTO},
		{{.says = "\n"}, -EPROTO},
		{{.says = "OK and so on for much longer than that"}, -EPROTO},
	};
	struct manner m;
	size_t i;
	int fd, err;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		m = cases[i].m;
		err = run(&m, m.stays ? 100 : 60000, &fd);
		if (err != cases[i].err)
			fail_msg("'%s': %d", m.says, err);
		assert_int_equal(fd, -1);
	}
}

static void test_owner(void **state)
{
	struct manner m = {.says = "OK 1\n"};
	int fd;

	(void)state;
	addr.check_uid = true;
	addr.uid = getuid();
	assert_int_equal(run(&m, 60000, &fd), 0);
	close(fd);
	addr.uid++;
	assert_int_equal(run(&m, 60000, &fd), -EPERM);
	assert_string_equal(heard, "");
}

static void test_nobody(void **state)
{
	struct err e = ERR_INIT;
	int fd = -1, i;
	uint64_t start;

	(void)state;
	/* The backlog is full of clients that have gone, and nobody accepts. */
	for (i = 0; i < 4; i++)
		vsock_connect(&addr, 1, now_ms() + 20, &fd, NULL);
	start = now_ms();
	assert_int_equal(vsock_connect(&addr, 1, now_ms() + 50, &fd, &e),
			 -ETIMEDOUT);
	assert_in_range(now_ms() - start, 45, 60000);
	cleanup_close(&listen_fd);
	assert_int_equal(vsock_connect(&addr, 1, now_ms() + 50, &fd, &e),
			 -ECONNREFUSED);
	unlink(addr.path);
	assert_int_equal(vsock_connect(&addr, 1, now_ms() + 50, &fd, &e),
			 -ENOENT);
	memset(addr.path, 'a', sizeof(addr.path));
	assert_int_equal(vsock_connect(&addr, 1, now_ms() + 50, &fd, &e),
			 -ENAMETOOLONG);
	addr.path[0] = '\0';
	assert_int_equal(vsock_connect(&addr, 1, now_ms() + 50, &fd, &e),
			 -ENAMETOOLONG);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_good),
		T(test_bad),
		T(test_owner),
		T(test_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
