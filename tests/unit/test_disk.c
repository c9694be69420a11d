/* SPDX-License-Identifier: Apache-2.0 */
/* What an import tells whoever counts, and when. */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/disk/disk.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#define SIZE DISK_SIZE_MIN

static char root[] = "/tmp/hyb-test-XXXXXX";

/* Who counts: what is told of a disk that can be removed already comes too
 * late, for it may be gone by then. */
struct counter {
	uint64_t bytes; /* 0: there is none */
	unsigned int holds, drops, late;
};

static bool is_there(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/disks/shop/root.raw", root);
	return access(path, F_OK) == 0;
}

static int hold(void *arg, const char *tenant, const char *name, uint64_t bytes,
		bool is_new, struct err *e)
{
	struct counter *c = arg;

	assert_string_equal(tenant, "shop");
	assert_string_equal(name, "root");
	if (is_new && c->bytes)
		return err_set(e, EEXIST, "it is counted already");
	c->late += is_there();
	c->bytes = bytes;
	c->holds++;
	return 0;
}

static int drop(void *arg, const char *tenant, const char *name, struct err *e)
{
	struct counter *c = arg;

	(void)tenant, (void)name, (void)e;
	c->bytes = 0;
	c->drops++;
	return 0;
}

static int import(struct disk_store *s, struct err *e)
{
	_cleanup_close_ int fd = open(root, O_TMPFILE | O_RDWR, 0600);
	struct disk_info info;

	assert_true(fd >= 0 && ftruncate(fd, SIZE) == 0);
	return disk_import(s, "shop", "root", fd, DISK_RAW, NULL, NULL, &info,
			   e);
}

static void test_counted(void **state)
{
	struct counter c = {.bytes = 0};
	const struct disk_store_config config = {.root = root,
						 .quota = {hold, drop, &c}};
	struct err e = ERR_INIT;
	struct disk_store *s;

	(void)state;
	if (geteuid() != 0) {
		print_message("# needs root, whose disks are\n");
		skip();
	}
	assert_int_equal(disk_store_open(&config, &s, &e), 0);
	assert_int_equal(import(s, &e), 0);
	assert_int_equal(c.bytes, SIZE);
	assert_int_equal(c.late, 0);
	assert_int_equal(import(s, &e), -EEXIST);
	assert_int_equal(c.drops, 0);
	assert_int_equal(disk_remove(s, "shop", "root", &e), 0);
	assert_int_equal(c.bytes, 0);
	/* One that is refused leaves nothing, and is not dropped for another. */
	c.bytes = 1;
	assert_int_equal(import(s, &e), -EEXIST);
	assert_false(is_there());
	assert_int_equal(c.bytes, 1);
	disk_store_close(s);
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(root) ? 0 : -1;
}

static int teardown(void **state)
{
	struct err e = ERR_INIT;

	(void)state;
	return path_remove(root, &e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_counted)};

	return cmocka_run_group_tests(tests, setup, teardown);
}
