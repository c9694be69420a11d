/* SPDX-License-Identifier: Apache-2.0 */
/* Removing what a container has written: any tree that one can make. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/fd.h"
#include "guest-agent/rpc/agent.h"

static char dir[64];
static int top;

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/hyb-unit.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return top < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	close(top);
	return path_remove(dir, NULL);
}

static void put(int at, const char *name)
{
	int fd = openat(at, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	close(fd);
}

/* Nothing is left, and the folder can go. */
static void sweep(void)
{
	assert_int_equal(scratch_sweep(top), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(mkdir(dir, 0700), 0);
	close(top);
	top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(top >= 0);
}

static void test_empty(void **state)
{
	(void)state;
	sweep();
}

/* Far deeper than a path can be, or a process has descriptors or stack for. */
static void test_deep(void **state)
{
	int at = dup(top), next, i;

	(void)state;
	for (i = 0; i < 20000; i++) {
		assert_int_equal(mkdirat(at, "d", 0700), 0);
		if (i % 100 == 0)
			put(at, "f");
		next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(at);
		at = next;
	}
	close(at);
	sweep();
}

/* Names that the moved ones get are taken; kinds of every sort. */
static void test_wide(void **state)
{
	char name[300], long_name[256];
	int i, sub;

	(void)state;
	memset(long_name, 'x', 255);
	long_name[255] = '\0';
	for (i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "%d", i);
		assert_int_equal(mkdirat(top, name, 0700), 0);
		sub = openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(sub >= 0);
		put(sub, "file");
		put(sub, long_name);
		assert_int_equal(symlinkat("/", sub, "link"), 0);
		assert_int_equal(linkat(sub, "file", sub, "hard", 0), 0);
		assert_int_equal(mkfifoat(sub, "fifo", 0600), 0);
		assert_int_equal(mkdirat(sub, "empty", 0700), 0);
		assert_int_equal(mkdirat(sub, "7", 0700), 0);
		put(sub, "7/in");
		assert_int_equal(mkdirat(sub, "7/0", 0700), 0);
		put(sub, "7/0/in");
		close(sub);
	}
	sweep();
}

/* A link to elsewhere goes, what it leads to stays. */
static void test_link(void **state)
{
	char other[] = "/tmp/hyb-unit.XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(other));
	snprintf(path, sizeof(path), "%s/kept", other);
	put(AT_FDCWD, path);
	assert_int_equal(symlinkat(other, top, "out"), 0);
	assert_int_equal(mkdirat(top, "d", 0700), 0);
	assert_int_equal(symlinkat(other, top, "d/out"), 0);
	sweep();
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(path_remove(other, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_empty, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_deep, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_wide, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_link, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
