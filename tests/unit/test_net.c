/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host-agent/net in namespaces of the test's own, for the sanitizers and for
 * errors; packets are tests/guest/net-test.sh's. The DHCP server is this
 * program by another name: it has the port, and that is all that is asked.
 */
#include "host-agent/net/net.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#define TEST_ID 64002
#define WAIT_S	120
#define THREADS 6
#define ROUNDS	8

static sem_t restarted;
static char root[] = "/tmp/hyb-net.XXXXXX";

static int dhcp_server(void)
{
	const struct sockaddr_in at = {.sin_family = AF_INET,
				       .sin_port = htons(67)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	char c;

	if (read(STDIN_FILENO, &c, 1) != 1)
		return 0;
	signal(SIGHUP, SIG_IGN);
	if (bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
		return 1;
	fputs("started\n", stderr);
	for (;;)
		pause();
}

static void on_restart(void *arg, const char *tenant, const struct err *e)
{
	(void)arg;
	if (strcmp(tenant, "one") == 0 && !e)
		sem_post(&restarted);
}

static struct net *open_net(const char *dhcpd)
{
	const struct net_config c = {.mnt_fd = -1,
				     .root = root,
				     .dhcpd_path = dhcpd,
				     .dhcpd_uid = TEST_ID,
				     .on_restart = on_restart};
	struct err e = ERR_INIT;
	struct net *n = NULL;

	if (net_open(&c, &n, &e) < 0)
		fail_msg("%s", e.msg);
	return n;
}

/* Namespaces can be had by root only. */
static void need_root(void)
{
	if (geteuid() != 0 || access("/dev/net/tun", R_OK | W_OK) < 0) {
		print_message("# needs root and /dev/net/tun\n");
		skip();
	}
}

static int setup(void **state)
{
	(void)state;
	if (geteuid() == 0 &&
	    (unshare(CLONE_NEWNS | CLONE_NEWNET) < 0 ||
	     mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0))
		return -1;
	sem_init(&restarted, 0, 0);
	return mkdtemp(root) ? 0 : -1;
}

/* With what a test that failed has left. */
static int teardown(void **state)
{
	struct net *n = open_net("/x");
	struct err e = ERR_INIT;
	int r = net_sweep(n, NULL, 0, &e);

	(void)state;
	net_close(n);
	return r < 0 ? r : path_remove(root, &e);
}

static void test_numbers(void **state)
{
	static const struct {
		unsigned int number;
		struct net_machine m;
	} cases[] = {
		{1, {"tap1", "02:68:79:00:00:01", "10.210.0.2"}},
		{254, {"tap254", "02:68:79:00:00:fe", "10.210.0.255"}},
		{255, {"tap255", "02:68:79:00:00:ff", "10.210.1.0"}},
		{65000, {"tap65000", "02:68:79:00:fd:e8", "10.210.253.233"}},
	};
	struct net_machine m;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		net_machine_address(cases[i].number, &m);
		assert_string_equal(m.tap, cases[i].m.tap);
		assert_string_equal(m.mac, cases[i].m.mac);
		assert_string_equal(m.ip, cases[i].m.ip);
	}
}

static void test_refused(void **state)
{
	struct net_config root_id = {
		.mnt_fd = -1, .root = root, .dhcpd_path = "/x"};
	struct err e = ERR_INIT;
	struct net *n = NULL;
	int fd = -1;

	(void)state;
	assert_int_equal(net_open(&root_id, &n, &e), -EINVAL);
	n = open_net("/x");
	assert_int_equal(net_tenant_ensure(n, "a/b", &e), -EINVAL);
	assert_non_null(strstr(e.msg, "'a/b'"));
	assert_int_equal(net_machine_add(n, "a", 0, NULL, NULL, &fd, &e),
			 -ERANGE);
	assert_int_equal(net_machine_add(n, "a", HYB_NET_NUMBER_MAX + 1, NULL,
					 NULL, &fd, &e),
			 -ERANGE);
	assert_int_equal(net_machine_add(n, "a", 1, "a,b", NULL, &fd, &e),
			 -EINVAL);
	assert_int_equal(net_connect(n, "a", 1, 80, &fd, &e), -ENOENT);
	assert_non_null(strstr(e.msg, "network of tenant 'a'"));
	assert_int_equal(net_namespace(n, "a", &fd, &e), -ENOENT);
	assert_int_equal(net_machine_remove(n, "a", 1, &e), 0);
	assert_int_equal(net_tenant_remove(n, "a", &e), 0);
	assert_int_equal(fd, -1);
	net_close(n);
}

/* What fails is told with its tenant; what was made till then is found by the
 * next, or removed. */
static void test_no_server(void **state)
{
	static const struct {
		const char *path, *said;
	} cases[] = {
		{"/nonexistent/hyb-dhcpd",
		 "network of tenant 'one': start the DHCP server: start "
		 "'/nonexistent/hyb-dhcpd': No such file or directory"},
		{"/bin/false",
		 "network of tenant 'one': start the DHCP server: it ended "
		 "with status 1: it did not say why"},
	};
	struct err e = ERR_INIT;
	struct stat st;
	size_t i;

	(void)state;
	need_root();
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct net *n = open_net(cases[i].path);
		int fd = -1;

		err_clear(&e);
		assert_true(net_tenant_ensure(n, "one", &e) < 0);
		assert_string_equal(e.msg, cases[i].said);
		assert_int_equal(net_namespace(n, "one", &fd, &e), 0);
		close(fd);
		if (i == 1)
			assert_int_equal(net_sweep(n, NULL, 0, &e), 0);
		net_close(n);
	}
	assert_int_equal(stat(root, &st), 0);
	assert_int_equal(chdir(root), 0);
	assert_int_equal(access("net/one", F_OK), -1);
}

static int bridge_of(void *arg, struct err *e)
{
	unsigned int *ret = arg;

	(void)e;
	*ret = if_nametoindex("br0");
	return 0;
}

/* The process that the file names. */
static pid_t server(void)
{
	_cleanup_free_ char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "%s/net/one/dhcpd", root);
	assert_int_equal(file_read(AT_FDCWD, path, 64, &text, NULL, NULL), 0);
	return (pid_t)strtol(text, NULL, 10);
}

static void test_whole(void **state)
{
	struct net *n;
	struct err e = ERR_INIT;
	struct net_machine m;
	const struct net_wanted wanted[] = {{"one", 0}, {"one", 2}};
	struct timespec end;
	unsigned int bridge = 0;
	int tap = -1, other = -1, s = -1;

	(void)state;
	need_root();
	n = open_net("/proc/self/exe");
	if (net_machine_add(n, "one", 2, "two", &m, &tap, &e) < 0)
		fail_msg("%s", e.msg);
	assert_string_equal(m.tap, "tap2");
	assert_int_equal(net_machine_add(n, "one", 2, NULL, NULL, &other, &e),
			 -EBUSY);
	assert_non_null(strstr(e.msg, "tenant 'one': machine 2"));
	assert_int_equal(net_machine_add(n, "one", 3, NULL, NULL, &other, &e),
			 0);
	assert_int_equal(net_inside(n, "one", bridge_of, &bridge, &e), 0);
	assert_true(bridge > 0);
	assert_int_equal(if_nametoindex("br0"), 0);
	assert_int_equal(net_connect(n, "one", 2, 80, &s, &e), 0);
	kill(server(), SIGKILL);
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += WAIT_S;
	assert_int_equal(sem_timedwait(&restarted, &end), 0);
	net_close(n);
	n = open_net("/proc/self/exe");
	assert_int_equal(net_sweep(n, wanted, ARRAY_SIZE(wanted), &e), 0);
	assert_int_equal(net_machine_remove(n, "one", 2, &e), 0);
	assert_int_equal(net_machine_remove(n, "one", 2, &e), 0);
	assert_true(write(tap, "0123456789012345678901234567890", 31) < 0);
	assert_int_equal(net_tenant_remove(n, "one", &e), 0);
	close(s);
	close(tap);
	close(other);
	net_close(n);
}

struct tenant {
	struct net *n;
	char name[8];
	struct err e;
	int result;
};

/* A tenant's life, again and again. */
static void *live(void *arg)
{
	struct tenant *t = arg;
	unsigned int i;
	int r = 0;

	for (i = 0; r == 0 && i < ROUNDS; i++) {
		struct err busy = ERR_INIT;
		int tap = -1;

		r = net_machine_add(t->n, t->name, i + 1, NULL, NULL, &tap,
				    &t->e);
		if (r == 0 && net_machine_add(t->n, t->name, i + 1, NULL, NULL,
					      &tap, &busy) != -EBUSY)
			r = err_set(&t->e, EEXIST, "not busy: %s", busy.msg);
		if (r == 0)
			r = net_machine_remove(t->n, t->name, i + 1, &t->e);
		if (r == 0 && i % 2)
			r = net_tenant_remove(t->n, t->name, &t->e);
		cleanup_close(&tap);
	}
	t->result = r;
	return NULL;
}

static void test_many(void **state)
{
	static struct tenant tenants[THREADS];
	pthread_t threads[THREADS];
	struct err e = ERR_INIT;
	struct net *n;
	size_t i;

	(void)state;
	need_root();
	n = open_net("/proc/self/exe");
	for (i = 0; i < THREADS; i++) {
		tenants[i].n = n;
		snprintf(tenants[i].name, sizeof(tenants[i].name), "t%zu", i);
		assert_int_equal(
			pthread_create(&threads[i], NULL, live, &tenants[i]),
			0);
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	for (i = 0; i < THREADS; i++)
		if (tenants[i].result < 0)
			fail_msg("%s: %s", tenants[i].name, tenants[i].e.msg);
	assert_int_equal(net_sweep(n, NULL, 0, &e), 0);
	net_close(n);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_no_server),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_many),
	};

	if (argc > 1 && strcmp(argv[0], "hyb-dhcpd") == 0)
		return dhcp_server();
	return cmocka_run_group_tests(tests, setup, teardown);
}
