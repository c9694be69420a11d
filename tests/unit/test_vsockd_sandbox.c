/* SPDX-License-Identifier: Apache-2.0 */
/* The stages of common/base/sandbox.h, each in a child of its own. */
#include "common/base/sandbox.h"

#include "common/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

#define TEST_ID 64001

/* Runs it in a child: its exit status, or -SIGNAL. */
static int in_child(int (*run)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(run());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int run_start(void)
{
	struct err e = ERR_INIT;
	struct rlimit limit;
	int kept = open("/dev/null", O_RDONLY), stray;

	if (dup2(kept, 3) < 0)
		return 1;
	stray = fcntl(3, F_DUPFD, 20);
	if (sandbox_start(4, &e) < 0)
		return 2;
	if (fcntl(stray, F_GETFD) != -1 || fcntl(3, F_GETFD) != FD_CLOEXEC)
		return 3;
	if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0 ||
	    prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 4;
	getrlimit(RLIMIT_CORE, &limit);
	return limit.rlim_max == 0 ? 0 : 5;
}

static void test_start(void **state)
{
	(void)state;
	assert_int_equal(in_child(run_start), 0);
}

/* Everything that root had is gone. */
static int run_enter(void)
{
	struct sandbox_spec spec = {.drop_ids = true,
				    .uid = TEST_ID,
				    .gid = TEST_ID,
				    .max_fds = 64};
	struct err e = ERR_INIT;
	struct rlimit limit;
	bool confined = false;
	gid_t groups[4];

	if (sandbox_enter(&spec, &confined, &e) < 0 || !confined)
		return 1;
	if (getuid() != TEST_ID || geteuid() != TEST_ID ||
	    getgid() != TEST_ID || getgroups(4, groups) != 0)
		return 2;
	if (setuid(0) == 0 || access("/etc", F_OK) == 0 ||
	    access("/proc", F_OK) == 0)
		return 3;
	if (open("/file", O_CREAT | O_WRONLY, 0600) >= 0 ||
	    mkdir("/d", 0700) == 0)
		return 4;
	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max != 64 || fork() >= 0)
		return 5;
	return prctl(PR_CAPBSET_READ, 21 /* CAP_SYS_ADMIN */) == 0 ? 0 : 6;
}

/* Without privileges there are no namespaces, and all the rest. */
static int run_enter_unprivileged(void)
{
	struct sandbox_spec spec = {.max_fds = 64};
	struct err e = ERR_INIT;
	struct rlimit limit;
	bool confined = true;

	if (getuid() == 0 && setuid(TEST_ID) < 0)
		return 1;
	if (sandbox_enter(&spec, &confined, &e) < 0 || confined)
		return 2;
	getrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_max == 64 && fork() < 0 ? 0 : 3;
}

static void test_enter(void **state)
{
	(void)state;
	if (getuid() == 0)
		assert_int_equal(in_child(run_enter), 0);
	assert_int_equal(in_child(run_enter_unprivileged), 0);
}

static char folder[32];

static int run_root(void)
{
	struct sandbox_spec spec = {.root = folder, .max_fds = 64};
	struct err e = ERR_INIT;
	bool confined = false;

	if (sandbox_enter(&spec, &confined, &e) < 0 || !confined)
		return 1;
	if (access("inside", F_OK) < 0 || access("/inside", F_OK) < 0 ||
	    access("/../etc", F_OK) == 0)
		return 2;
	return open("/new", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS ? 0
									    : 3;
}

static void test_root(void **state)
{
	char path[64];
	int fd;

	(void)state;
	if (getuid() != 0)
		return; /* without privileges the root stays */
	strcpy(folder, "/tmp/hyb-sandbox-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/inside", folder);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(in_child(run_root), 0);
	unlink(path);
	assert_int_equal(rmdir(folder), 0);
}

static int run_landlock(void)
{
	struct err e = ERR_INIT;
	int err;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return 1;
	err = sandbox_landlock(&e);
	if (err == -EOPNOTSUPP)
		return 77;
	if (err < 0)
		return 2;
	return open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES ? 0 : 3;
}

static void test_landlock(void **state)
{
	int r = in_child(run_landlock);

	(void)state;
	/* A kernel without it says so, and that is no error. */
	if (r != 77)
		assert_int_equal(r, 0);
}

/* What becomes of a connection to a port of loopback where nobody listens. */
static int errno_of_port(uint16_t port)
{
	const struct sockaddr_in sa = {.sin_family = AF_INET,
				       .sin_port = htons(port),
				       .sin_addr.s_addr =
					       htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int r = connect(fd, (const struct sockaddr *)&sa, sizeof(sa));

	r = r < 0 ? errno : 0;
	close(fd);
	return r;
}

static int run_landlock_tcp(void)
{
	static const uint16_t ports[] = {1, 2};
	struct err e = ERR_INIT;
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, 1);
	int err;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return 1;
	err = sandbox_landlock_tcp(ports, ARRAY_SIZE(ports), &e);
	if (err == -EOPNOTSUPP)
		return 77;
	if (err < 0)
		return 2;
	if (open("/etc/passwd", O_RDONLY) >= 0 || errno != EACCES)
		return 3;
	if (errno_of_port(1) == EACCES || errno_of_port(2) == EACCES)
		return 4;
	/* Only a kernel that knows of ports can refuse them. */
	return abi < 4 || errno_of_port(3) == EACCES ? 0 : 5;
}

static void test_landlock_tcp(void **state)
{
	int r = in_child(run_landlock_tcp);

	(void)state;
	if (r != 77)
		assert_int_equal(r, 0);
}

static const uint32_t families[] = {AF_UNIX, AF_INET};

static const struct sandbox_call calls[] = {
	{.nr = SYS_exit_group},
	{.nr = SYS_getppid},
	{.nr = SYS_mmap, .arg = 2, .forbid = PROT_EXEC},
	{.nr = SYS_socket, .arg = 0, .only = families, .n_only = 2},
	{.nr = SYS_socket, .arg = 1, .forbid = ~(uint32_t)SOCK_STREAM},
	{.nr = SYS_getpid},
};

static int lock(void)
{
	struct err e = ERR_INIT;

	return sandbox_seccomp(calls, ARRAY_SIZE(calls), &e);
}

static int run_allowed(void)
{
	if (lock() < 0)
		return 1;
	if (syscall(SYS_getppid) <= 0 || syscall(SYS_getpid) <= 0)
		return 2;
	if (mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
		return 3;
	return socket(AF_UNIX, SOCK_STREAM, 0) >= 0 &&
			       socket(AF_INET, SOCK_STREAM, 0) >= 0
		       ? 0
		       : 4;
}

static int run_unknown(void)
{
	if (lock() < 0)
		return 1;
	return syscall(SYS_getuid) >= 0 ? 0 : 2;
}

static int run_execmap(void)
{
	if (lock() < 0)
		return 1;
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}

/* Its bits are those of two that are allowed. */
static int run_family(void)
{
	if (lock() < 0)
		return 1;
	return socket(AF_UNIX | AF_INET, SOCK_STREAM, 0) >= 0 ? 0 : 2;
}

/* Of two conditions of one call the second. */
static int run_dgram(void)
{
	if (lock() < 0)
		return 1;
	return socket(AF_UNIX, SOCK_DGRAM, 0) >= 0 ? 0 : 2;
}

#if defined(__x86_64__)
/* The x32 number of a call that is allowed. */
static int run_x32(void)
{
	if (lock() < 0)
		return 1;
	return syscall(0x40000000 | SYS_getppid) >= 0 ? 0 : 2;
}
#endif

static void test_seccomp(void **state)
{
	(void)state;
	assert_int_equal(in_child(run_allowed), 0);
	if (SANITIZED)
		return; /* sandbox_seccomp() does nothing there */
	assert_int_equal(in_child(run_unknown), -SIGSYS);
	assert_int_equal(in_child(run_execmap), -SIGSYS);
	assert_int_equal(in_child(run_family), -SIGSYS);
	assert_int_equal(in_child(run_dgram), -SIGSYS);
#if defined(__x86_64__)
	assert_int_equal(in_child(run_x32), -SIGSYS);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_enter),
		cmocka_unit_test(test_root),
		cmocka_unit_test(test_landlock),
		cmocka_unit_test(test_landlock_tcp),
		cmocka_unit_test(test_seccomp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
