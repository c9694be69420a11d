/* SPDX-License-Identifier: Apache-2.0 */
/* Who acts for a tenant, and what it may use. */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/tenant/access.h"
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static const char *const none[] = {NULL};
static const char *const root[] = {"nosuchuser", "root", NULL};
static const char *const daemon_group[] = {"nosuchgroup", "daemon", NULL};

static void test_names(void **state)
{
	struct model_tenant t = {.users = none, .groups = none};
	struct peer p = {.uid = 0, .groups = {12345, 1}, .n_groups = 2};

	(void)state;
	assert_int_equal(access_names(&t, &p), 0);
	t.users = root;
	assert_int_equal(access_names(&t, &p), 1);
	p.uid = 4242;
	assert_int_equal(access_names(&t, &p), 0);
	/* daemon is group 1 on Debian: the second that the peer has. */
	t.groups = daemon_group;
	assert_int_equal(getgrnam("daemon")->gr_gid, 1);
	assert_int_equal(access_names(&t, &p), 1);
	assert_true(peer_is_in(&p, "daemon"));
	p.n_groups = 1;
	assert_int_equal(access_names(&t, &p), 0);
	assert_false(peer_is_in(&p, "nosuchgroup"));
	/* Who has dropped it is of it all the same, by the host's lists. */
	p.uid = 1;
	assert_false(peer_is_in(&p, "daemon"));
	assert_int_equal(access_names(&t, &p), 1);
}

static void test_images(void **state)
{
	static const char *const globs[] = {"registry.example/acme/*",
					    "busy?ox", NULL};
	struct model_tenant t = {.images = globs};

	(void)state;
	assert_true(access_image(&t, "anything"));
	t.limits_images = true;
	assert_true(access_image(&t, "registry.example/acme/a:1"));
	assert_true(access_image(&t, "busybox"));
	assert_false(access_image(&t, "busybox:latest"));
	assert_false(access_image(&t, "registry.example/acm/a"));
	assert_false(access_image(&t, "x/registry.example/acme/a"));
	t.images = none;
	assert_false(access_image(&t, "busybox"));
}

/* What the kernel says of a peer is this process. */
static void test_peer(void **state)
{
	static struct peer p;
	gid_t groups[ACCESS_GROUPS_MAX];
	int fds[2], n = getgroups(ACCESS_GROUPS_MAX, groups);

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(peer_of_socket(fds[0], &p), 0);
	assert_int_equal(p.uid, geteuid());
	assert_int_equal(p.groups[0], getegid());
	assert_int_equal(p.n_groups, n + 1);
	assert_memory_equal(&p.groups[1], groups,
			    (size_t)n * sizeof(groups[0]));
	close(fds[0]);
	close(fds[1]);
	assert_int_equal(peer_of_socket(-1, &p), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_images),
		cmocka_unit_test(test_peer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
