/* SPDX-License-Identifier: Apache-2.0 */
/* Images on one base share blocks: the store on a btrfs of its own. */
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "tests/unit/image_layout.h"

#include <cmocka.h>

#define MIB (1u << 20)

static bool no_btrfs;

/* A mount namespace of its own, so that nothing is left if this is killed. */
static int setup_btrfs(void **state)
{
	(void)state;
	strcpy(top, "/tmp/hyb-image-test-XXXXXX");
	if (!mkdtemp(top) || chmod(top, 0755) < 0)
		return -1;
	memset(&e, 0, sizeof(e));
	store = NULL;
	no_btrfs = geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
		   mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
		   sh("mkdir %s/images && truncate -s 256M %s/disk && "
		      "mkfs.btrfs -q %s/disk && "
		      "mount -o loop %s/disk %s/images",
		      top, top, top, top, top) != 0;
	return no_btrfs ? 0 : try_open(&store);
}

static int teardown_btrfs(void **state)
{
	image_store_close(store);
	store = NULL;
	if (!no_btrfs && umount(at("images")) < 0)
		return -1;
	return teardown(state);
}

/* Bytes of the image's file whose blocks another file has too. */
static uint64_t shared_bytes(const char *ref)
{
	_cleanup_image_info_ struct image_info *i = NULL;
	_cleanup_free_ struct fiemap *m = NULL;
	_cleanup_close_ int fd = -1;
	uint64_t n = 0;
	unsigned int k;

	assert_int_equal(image_store_get(store, ref, &i, &e), 0);
	fd = open(i->erofs_path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	m = calloc(1, sizeof(*m) + 512 * sizeof(struct fiemap_extent));
	assert_non_null(m);
	m->fm_length = FIEMAP_MAX_OFFSET;
	m->fm_flags = FIEMAP_FLAG_SYNC;
	m->fm_extent_count = 512;
	assert_int_equal(ioctl(fd, FS_IOC_FIEMAP, m), 0);
	for (k = 0; k < m->fm_mapped_extents; k++)
		if (m->fm_extents[k].fe_flags & FIEMAP_EXTENT_SHARED)
			n += m->fm_extents[k].fe_length;
	return n;
}

/* Bytes of the file system in use. */
static uint64_t used_bytes(void)
{
	_cleanup_close_ int fd = open(at("images"), O_RDONLY | O_CLOEXEC);
	struct statvfs v;

	assert_true(fd >= 0);
	assert_int_equal(syncfs(fd), 0);
	assert_int_equal(fstatvfs(fd, &v), 0);
	return (uint64_t)(v.f_blocks - v.f_bfree) * v.f_frsize;
}

/* A layer of one file of noise; small things around it. */
static void noise_layer(struct layout *l, const char *name, unsigned int seed,
			size_t len)
{
	_cleanup_free_ char *data = malloc(len);
	_cleanup_free_ char *tar = NULL;
	size_t i;

	assert_non_null(data);
	for (i = 0; i < len; i++) {
		seed = seed * 1103515245 + 12345;
		data[i] = (char)(seed >> 16);
	}
	write_file(at("noise"), data, len);
	assert_int_equal(sh("cd %s && mkdir -p t && mv noise t/%s && echo %u "
			    ">t/small-%s && tar --sort=name --mtime=@0 -C t "
			    "-cf layer.tar . && rm -r t",
			    top, name, seed, name),
			 0);
	assert_int_equal(
		file_read(AT_FDCWD, at("layer.tar"), 64 * MIB, &tar, &len, &e),
		0);
	blob(l->dir, tar, len, l->layer[l->n]);
	l->layer_len[l->n++] = len;
}

static void make(struct layout *l, const char *name, unsigned int base,
		 unsigned int own)
{
	char ref[40];

	layout_init(l, name);
	noise_layer(l, "base", base, 4 * MIB);
	if (own)
		noise_layer(l, "own", own, MIB);
	layout_config(l);
	layout_manifest(l);
	snprintf(ref, sizeof(ref), "%s:1", name);
	layout_index(l, ref);
	load_ok(l->dir, NULL, l->manifest_digest);
	layout_done(l);
}

static void test_base_is_shared(void **state)
{
	struct layout l;
	uint64_t used;
	char **gone;

	(void)state;
	if (no_btrfs) {
		print_message("# host: no btrfs\n");
		skip();
	}
	make(&l, "base", 1, 0);
	make(&l, "other", 7, 0);
	assert_int_equal(shared_bytes("base:1"), 0);
	/* On the base, another on it, and one on what is not there. */
	make(&l, "one", 1, 2);
	assert_true(shared_bytes("one:1") >= 4 * MIB - 128 * 1024);
	assert_true(shared_bytes("one:1") < 5 * MIB);
	used = used_bytes();
	make(&l, "two", 1, 3);
	assert_true(shared_bytes("two:1") >= 4 * MIB - 128 * 1024);
	/* Its own layer, and what the file system notes of it. */
	assert_true(used_bytes() < used + 3 * MIB);
	make(&l, "three", 9, 3);
	assert_int_equal(shared_bytes("three:1"), 0);
	assert_int_equal(shared_bytes("other:1"), 0);
	/* The base goes, the others are whole. */
	assert_int_equal(
		image_store_remove(store, "base:1", NULL, NULL, &gone, &e), 0);
	strv_free(gone);
	reopen();
	get_ok("one:1", NULL);
	get_ok("two:1", NULL);
	check_clean(4);
}

/* The files have the bytes that they have where nothing is shared. */
static void test_same_bytes(void **state)
{
	_cleanup_image_info_ struct image_info *i = NULL;
	_cleanup_image_info_ struct image_info *k = NULL;
	struct layout l;
	char **gone;

	(void)state;
	if (no_btrfs) {
		print_message("# host: no btrfs\n");
		skip();
	}
	make(&l, "one", 1, 2);
	assert_int_equal(image_store_get(store, "one:1", &i, &e), 0);
	assert_int_equal(sh("cp %s %s/alone", i->erofs_path, top), 0);
	assert_int_equal(
		image_store_remove(store, "one:1", NULL, NULL, &gone, &e), 0);
	strv_free(gone);
	check_clean(0);
	make(&l, "two", 1, 3);
	make(&l, "one", 1, 2);
	assert_true(shared_bytes("one:1") > 3 * MIB);
	assert_int_equal(image_store_get(store, "one:1", &k, &e), 0);
	assert_int_equal(sh("cmp %s %s/alone", k->erofs_path, top), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_btrfs, teardown_btrfs)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_base_is_shared),
		TEST(test_same_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
