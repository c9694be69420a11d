/* SPDX-License-Identifier: Apache-2.0 */
/* Images left out, trees imported, images pruned: the store with the real
 * hyb-image. */
#include <setjmp.h>

#include "tests/unit/image_layout.h"

#include <cmocka.h>

/* --------------------------------------------------------- without layers */

/* Adds the image of another layout to the index. */
static void add_to_index(const struct layout *to, const struct layout *from,
			 const char *ref)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	char path[200];

	if (from != to)
		assert_int_equal(sh("cp %s/blobs/sha256/* %s/blobs/sha256/",
				    from->dir, to->dir),
				 0);
	/* In front of what closes the list. */
	buf_append(&b, to->index.data, to->index.len - 2);
	buf_printf(&b,
		   ",{\"mediaType\":\"" MEDIA "manifest.v1+json\",\"digest\":"
		   "\"%s\",\"size\":%zu,\"annotations\":{\"org.opencontainers."
		   "image.ref.name\":\"%s\"}}]}",
		   from->manifest_digest, from->manifest.len, ref);
	snprintf(path, sizeof(path), "%s/index.json", to->dir);
	write_file(path, b.data, b.len);
}

static void make_layerless(struct layout *l, const char *name, const char *ref)
{
	layout_init(l, name);
	layout_config(l);
	layout_manifest(l);
	layout_index(l, ref);
}

static int load_dir(const char *path, const char *name,
		    struct image_info ***ret)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int r;

	assert_true(fd >= 0);
	r = load_fd(fd, name, 0, ret);
	close(fd);
	return r;
}

static void test_layerless_in_layout(void **state)
{
	_cleanup_image_info_list_ struct image_info **list = NULL;
	struct layout good, none;

	(void)state;
	layout_make(&good, "good", "good:1", "f x 1", NULL);
	make_layerless(&none, "none", "none:1");
	add_to_index(&good, &none, "none:1");
	if (load_dir(good.dir, NULL, &list) < 0)
		fail_msg("%s", e.msg);
	assert_non_null(list[0]);
	assert_null(list[1]);
	assert_string_equal(list[0]->digest, good.manifest_digest);
	assert_non_null(skipped[0]);
	assert_null(skipped[1]);
	assert_string_equal(skipped[0], "'none:1': the image has no layers");
	check_clean(1);
	/* What is left is one image, which may be given a name. */
	image_info_free_list(steal_ptr(list));
	assert_int_equal(load_dir(good.dir, "other:1", &list), 0);
	get_ok("other:1", good.manifest_digest);
	/* Alone, and beside its like, it is an error. */
	image_info_free_list(steal_ptr(list));
	assert_int_equal(load_dir(none.dir, NULL, &list), -EINVAL);
	assert_non_null(strstr(e.msg, "'none:1': the image has no layers"));
	add_to_index(&none, &none, "none:2");
	assert_int_equal(load_dir(none.dir, NULL, &list), -EINVAL);
	assert_non_null(strstr(e.msg, "none of its 2 images has a layer"));
	check_clean(1);
	layout_done(&good);
	layout_done(&none);
}

static void test_layerless_in_archive(void **state)
{
	_cleanup_image_info_list_ struct image_info **list = NULL;
	static const char manifest[] =
		"[{\"Config\":\"none.json\",\"RepoTags\":[\"none:1\"],"
		"\"Layers\":[]},{\"Config\":\"c.json\",\"RepoTags\":[\"a:1\"],"
		"\"Layers\":[\"l.tar\"]}]";
	struct layout l;

	(void)state;
	layout_make(&l, "lay", "x:1", "f x 1", NULL);
	sh("mkdir %s && cd %s && cp ../lay/blobs/sha256/%s l.tar && cp "
	   "../lay/blobs/sha256/%s c.json && echo '{}' >none.json",
	   at("dock"), at("dock"), l.layer[0] + 7, l.config_digest + 7);
	write_file(at("dock/manifest.json"), manifest, strlen(manifest));
	sh("cd %s && tar cf ../dock.tar *", at("dock"));
	if (load_dir(at("dock.tar"), NULL, &list) < 0)
		fail_msg("%s", e.msg);
	assert_string_equal(skipped[0], "'none:1': the image has no layers");
	get_ok("a:1", NULL);
	check_clean(1);
	layout_done(&l);
}

/* ----------------------------------------------------------------- import */

static int import_file(const char *path, const char *name,
		       struct image_info ***ret)
{
	struct image_input in = {.source_name = "root", .name = name};
	int r;

	in.fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(in.fd >= 0);
	err_clear(&e);
	r = image_store_import_fd(store, &in, ret, &e);
	close(in.fd);
	return r;
}

static int nobody_waits(void *arg, const char *phase, uint64_t done,
			uint64_t total)
{
	(void)arg;
	(void)phase;
	(void)done;
	(void)total;
	return -ECONNRESET;
}

/* A pipe that nobody writes to: whoever gave it may have gone. */
static void test_idle_pipe(void **state)
{
	_cleanup_close_ int from = -1, to = -1;
	struct image_info **list = NULL;
	int p[2];

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	from = p[0];
	to = p[1];
	assert_int_equal(
		image_store_import_fd(
			store,
			&(struct image_input){.fd = from,
					      .source_name = "pipe",
					      .progress = nobody_waits},
			&list, &e),
		-ECANCELED);
	assert_int_equal(count_files("images/tmp"), 0);
}

static void expect_no_import(const char *path, const char *name,
			     const char *part)
{
	struct image_info **list = NULL;
	int r = import_file(path, name, &list);

	if (r == 0 || !strstr(e.msg, part))
		fail_msg("%s: wanted '%s', got %d '%s'", path, part, r, e.msg);
	assert_int_equal(count_files("images/tmp"), 0);
}

static void test_import(void **state)
{
	_cleanup_image_info_list_ struct image_info **list = NULL;
	_cleanup_buf_ struct buf tar = BUF_INIT, got = BUF_INIT;
	char digest[72];
	int fd, i;

	(void)state;
	tar_lines(&tar, "d bin\nf bin/x hello\nl y bin/x");
	write_file(at("r.tar"), tar.data, tar.len);
	sh("cd %s && gzip -k r.tar && zstd -q r.tar", top);
	if (import_file(at("r.tar"), "root:1", &list) < 0)
		fail_msg("%s", e.msg);
	assert_null(list[1]);
	assert_string_equal(list[0]->names[0], "root:1");
	assert_string_equal(list[0]->os, "linux");
	assert_null(list[0]->config.cmd);
	memcpy(digest, list[0]->digest, sizeof(digest));
	fd = open(list[0]->path, O_RDONLY | O_CLOEXEC);
	erofs_list(fd, &got, false);
	close(fd);
	assert_string_equal(buf_str(&got),
			    "d /bin\nf /bin/x hello\nl /y bin/x\n");
	/* Compressed it is the same image; without a name it has none. */
	for (i = 0; i < 2; i++) {
		image_info_free_list(steal_ptr(list));
		assert_int_equal(import_file(at(i ? "r.tar.gz" : "r.tar.zst"),
					     NULL, &list),
				 0);
		assert_string_equal(list[0]->digest, digest);
	}
	check_clean(1);
	/* More entries than an archive of images may have. */
	buf_clear(&got);
	for (i = 0; i < 5000; i++)
		buf_printf(&got, "f f%d x\n", i);
	buf_clear(&tar);
	tar_lines(&tar, buf_str(&got));
	write_file(at("r.tar"), tar.data, tar.len);
	image_info_free_list(steal_ptr(list));
	if (import_file(at("r.tar"), "root:2", &list) < 0)
		fail_msg("%s", e.msg);
	check_clean(2);
}

static void test_bad_imports(void **state)
{
	_cleanup_buf_ struct buf tar = BUF_INIT;

	(void)state;
	tar_lines(&tar, "f ok 1\nf ../evil 1");
	write_file(at("up.tar"), tar.data, tar.len);
	expect_no_import(at("up.tar"), "x:1",
			 "import 'root': layer 1 (sha256:");
	assert_non_null(strstr(e.msg, "entry '../evil'"));
	write_file(at("text"), "hello\n", 6);
	expect_no_import(at("text"), "x:1", "the tar stream is cut");
	write_file(at("empty"), "", 0);
	expect_no_import(at("empty"), "x:1", "the file is empty");
	expect_no_import(top, "x:1", "a tar is needed, not a folder");
	expect_no_import("/dev/null", "x:1", "a file, a pipe or a folder");
	expect_no_import(at("text"), "A B", "not a name");
	expect_no_import(at("text"), "a@sha256:1", "sha256");
	sh("cd %s && gzip -c up.tar | head -c 60 >cut.gz", top);
	expect_no_import(at("cut.gz"), "x:1", "gzip: the data are cut");
	check_clean(0);
}

/* ------------------------------------------------------------------ prune */

static bool is_that(void *arg, const char *digest)
{
	return strcmp(arg, digest) == 0;
}

static size_t prune(bool all, bool dry_run, const char *used, uint64_t *bytes)
{
	struct image_prune p = {.all = all,
				.dry_run = dry_run,
				.in_use = used ? is_that : NULL,
				.arg = (void *)(uintptr_t)used};
	char **gone = NULL;
	size_t n;

	if (image_store_prune(store, &p, &gone, bytes, &e) < 0)
		fail_msg("%s", e.msg);
	n = strv_len(gone);
	strv_free(gone);
	return n;
}

static void test_prune(void **state)
{
	struct layout a, b, c;
	uint64_t bytes = 1, again;

	(void)state;
	assert_int_equal(prune(true, false, NULL, &bytes), 0);
	assert_int_equal(bytes, 0);
	layout_make(&a, "a", "a:1", "f x 1", NULL);
	layout_make(&b, "b", "b:1", "f x 2", NULL);
	layout_make(&c, "c", "c:1", "f x 3", NULL);
	load_ok(a.dir, NULL, NULL);
	load_ok(b.dir, NULL, NULL);
	/* Its only name goes to another. */
	load_ok(c.dir, "b:1", NULL);
	check_clean(3);
	assert_int_equal(prune(false, true, NULL, &bytes), 1);
	assert_true(bytes > 0);
	check_clean(3);
	/* Used: it stays. */
	assert_int_equal(prune(false, false, b.manifest_digest, &again), 0);
	assert_int_equal(again, 0);
	assert_int_equal(prune(false, false, NULL, &again), 1);
	assert_int_equal(again, bytes);
	check_clean(2);
	get_ok("a:1", a.manifest_digest);
	get_ok("b:1", c.manifest_digest);
	/* All: names and digests are told. */
	assert_int_equal(prune(true, true, a.manifest_digest, &bytes), 2);
	assert_int_equal(prune(true, false, a.manifest_digest, &again), 2);
	assert_int_equal(again, bytes);
	check_clean(1);
	reopen();
	check_clean(1);
	get_ok("a:1", a.manifest_digest);
	layout_done(&a);
	layout_done(&b);
	layout_done(&c);
}

/* A file that an image shares which stays is not freed. */
static void test_prune_shared(void **state)
{
	struct layout a, b;
	uint64_t bytes;

	(void)state;
	layout_make(&a, "a", "a:1", "f x 1", NULL);
	layout_init(&b, "b");
	layout_layer(&b, "f x 1");
	layout_config(&b);
	b.config.data[b.config.len - 1] = ' ';
	buf_puts(&b.config, "}");
	layout_manifest(&b);
	layout_index(&b, "b:1");
	load_ok(a.dir, NULL, NULL);
	load_ok(b.dir, NULL, NULL);
	assert_int_equal(prune(true, false, a.manifest_digest, &bytes), 2);
	assert_int_equal(bytes, 0);
	get_ok("a:1", NULL);
	check_clean(1);
	assert_int_equal(prune(true, false, NULL, &bytes), 2);
	assert_true(bytes > 0);
	check_clean(0);
	layout_done(&a);
	layout_done(&b);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_layerless_in_layout),
		TEST(test_layerless_in_archive),
		TEST(test_import),
		TEST(test_idle_pipe),
		TEST(test_bad_imports),
		TEST(test_prune),
		TEST(test_prune_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
