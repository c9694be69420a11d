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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_layerless_in_layout),
		TEST(test_layerless_in_archive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
