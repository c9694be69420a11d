/* SPDX-License-Identifier: Apache-2.0 */
/* The EROFS writer at its edges: sizes about a block, large directories,
 * blocks used again; checked by fsck.erofs and by what it extracts. */
#include <fcntl.h>
#include <setjmp.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/image/convert/erofs.h"
#include "host-agent/image/convert/merge.h"
#include "tests/unit/image_build.h"

#include <cmocka.h>

static char top[64];
static struct err e;

static int setup(void **state)
{
	(void)state;
	strcpy(top, "/tmp/hyb-erofs-test-XXXXXX");
	return mkdtemp(top) ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	return path_remove(top, &e);
}

__attribute__((format(printf, 1, 2))) static int sh(const char *fmt, ...)
{
	char cmd[2000];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	fflush(NULL);
	return system(cmd);
}

struct image {
	int fd;
	struct erofs *w;
	struct merge *m;
	uint64_t bytes;
	struct merge_stats stats;
};

static void image_init(struct image *g, const char *name)
{
	static const uint8_t uuid[16] = "0123456789abcde";
	char path[100];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	g->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	assert_true(g->fd >= 0);
	assert_int_equal(erofs_new(g->fd, 1ull << 40, uuid, &g->w, &e), 0);
	assert_int_equal(merge_new(g->w, 200000, &g->m, &e), 0);
}

static void image_layer(struct image *g, const struct buf *b)
{
	struct mem_source mem = {
		.data = (const uint8_t *)b->data, .len = b->len, .step = 70001};
	struct byte_source src = {.next = mem_next, .arg = &mem};

	if (merge_layer(g->m, &src, &e) < 0)
		fail_msg("%s", e.msg);
}

static void image_done(struct image *g)
{
	assert_int_equal(merge_finish(g->m, &g->stats, &g->bytes, &e), 0);
	merge_free(g->m);
	erofs_free(g->w);
	close(g->fd);
}

static void check(const char *name)
{
	assert_int_equal(sh("fsck.erofs %s/%s >/dev/null 2>&1", top, name), 0);
}

static void extract(const char *name)
{
	assert_int_equal(sh("fsck.erofs --extract=%s/%s.d %s/%s >/dev/null "
			    "2>&1",
			    top, name, top, name),
			 0);
}

static void fill(char *p, size_t len, unsigned int seed)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (char)(rand_r(&seed) >> 8);
}

/* Each size on its own and all together, with and without an attribute. */
static void test_sizes(void **state)
{
	static const size_t sizes[] = {
		0,    1,    31,	  32,	  4000,	  4031,	  4032,	  4033,
		4063, 4064, 4095, 4096,	  4097,	  8127,	  8128,	  8129,
		8191, 8192, 8193, 131071, 131072, 131073, 1500000};
	struct image g;
	struct buf b = BUF_INIT;
	char *data = malloc(1500000), name[64];
	size_t i, k;

	(void)state;
	image_init(&g, "sizes");
	for (k = 0; k < 2; k++) {
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			struct ent t = {.type = '0',
					.name = name,
					.mode = 0644,
					.data = data,
					.len = sizes[i]};

			snprintf(name, sizeof(name), "d%zu/f%zu", k, sizes[i]);
			fill(data, sizes[i], (unsigned int)i + 1);
			if (k)
				tar_pax(&b, "SCHILY.xattr.user.a", "value", -1);
			tar_put(&b, &t);
		}
	}
	tar_end(&b);
	image_layer(&g, &b);
	image_done(&g);
	check("sizes");
	extract("sizes");
	for (k = 0; k < 2; k++) {
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			_cleanup_free_ char *got = NULL;
			char path[200];
			size_t len;

			snprintf(path, sizeof(path), "%s/sizes.d/d%zu/f%zu",
				 top, k, sizes[i]);
			assert_int_equal(file_read(AT_FDCWD, path, 2000000,
						   &got, &len, &e),
					 0);
			fill(data, sizes[i], (unsigned int)i + 1);
			assert_int_equal(len, sizes[i]);
			assert_memory_equal(got, data, len);
		}
	}
	free(data);
	buf_done(&b);
}

/* Directories of one block, of several, and with names of every length. */
static void test_directories(void **state)
{
	struct image g;
	struct buf b = BUF_INIT;
	char name[300];
	size_t i;

	(void)state;
	image_init(&g, "dirs");
	for (i = 0; i < 5000; i++) {
		struct ent t = {.type = '0', .name = name, .mode = 0644};

		snprintf(name, sizeof(name), "many/%zu", i * 7919 % 5000);
		tar_put(&b, &t);
	}
	for (i = 1; i <= 255; i++) {
		char path[320];
		struct ent t = {.type = '5', .name = "x", .mode = 0755};

		memset(name, 'n', i);
		name[i] = '\0';
		snprintf(path, sizeof(path), "names/%s", name);
		tar_pax(&b, "path", path, -1);
		tar_put(&b, &t);
	}
	tar_end(&b);
	image_layer(&g, &b);
	image_done(&g);
	check("dirs");
	extract("dirs");
	assert_int_equal(sh("test $(ls %s/dirs.d/many | wc -l) = 5000", top),
			 0);
	assert_int_equal(sh("test $(ls %s/dirs.d/names | wc -l) = 255", top),
			 0);
	{
		int fd;
		struct buf out = BUF_INIT;
		char path[100];

		snprintf(path, sizeof(path), "%s/dirs", top);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		erofs_list(fd, &out, false); /* asserts the order */
		close(fd);
		buf_done(&out);
	}
	buf_done(&b);
}

/* A layer that replaces all files of the one below costs no space. */
static void test_blocks_used_again(void **state)
{
	struct image one, two;
	struct buf b = BUF_INIT;
	char *data = malloc(100000), name[64];
	size_t i;

	(void)state;
	for (i = 0; i < 300; i++) {
		struct ent t = {.type = '0',
				.name = name,
				.mode = 0644,
				.data = data,
				.len = (i * 331) % 100000};

		snprintf(name, sizeof(name), "d%zu/f%zu", i % 7, i);
		fill(data, t.len, (unsigned int)i);
		tar_put(&b, &t);
	}
	tar_end(&b);
	image_init(&one, "one");
	image_layer(&one, &b);
	image_done(&one);
	image_init(&two, "two");
	for (i = 0; i < 6; i++)
		image_layer(&two, &b);
	image_done(&two);
	check("one");
	check("two");
	extract("one");
	extract("two");
	assert_int_equal(sh("diff -r %s/one.d %s/two.d", top, top), 0);
	assert_int_equal(one.stats.entries, two.stats.entries);
	/* At most a fifth more, for what lies between. */
	assert_true(two.bytes < one.bytes + one.bytes / 5);
	free(data);
	buf_done(&b);
}

/* Over 4 GiB, all holes: the size is right and the file takes no space. */
static void test_large(void **state)
{
	static const char a[] = "34 GNU.sparse.realsize=5000000000\n";
	static const char c[] = "31 GNU.sparse.map=4999999999,1\n";
	struct ent x = {.type = 'x', .name = "x"};
	struct ent t = {
		.type = '0', .name = "s", .mode = 0644, .data = "z", .len = 1};
	struct image g;
	struct buf b = BUF_INIT;

	(void)state;
	/* The lengths that the records claim are theirs. */
	assert_int_equal(sizeof(a) - 1, 34);
	assert_int_equal(sizeof(c) - 1, 31);
	buf_puts(&b, a);
	buf_puts(&b, c);
	x.data = b.data;
	x.len = b.len;
	{
		struct buf tar = BUF_INIT;

		tar_put(&tar, &x);
		tar_put(&tar, &t);
		tar_end(&tar);
		image_init(&g, "large");
		image_layer(&g, &tar);
		image_done(&g);
		buf_done(&tar);
	}
	assert_true(g.bytes > 5000000000ull);
	assert_int_equal(sh("test $(du -m %s/large | cut -f1) -lt 10", top), 0);
	check("large");
	buf_done(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sizes),
		TEST(test_directories),
		TEST(test_blocks_used_again),
		TEST(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
