/* SPDX-License-Identifier: Apache-2.0 */
/* Images on one base: the second is what differs from the first. */
#include <jansson.h>
#include <setjmp.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/unit/image_layout.h"

#include <cmocka.h>

#define MIB (1u << 20)

/* A layer of one file of noise, and zeros; small things around it. */
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
	memset(data + len / 2, 0, len / 8);
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

/* A layout NAME, of the base `base` and unless 0 a layer `own` upon it. */
static void make_layout(struct layout *l, const char *name, unsigned int base,
			unsigned int own, size_t own_len)
{
	char ref[40];

	layout_init(l, name);
	noise_layer(l, "base", base, 4 * MIB);
	if (own)
		noise_layer(l, "own", own, own_len);
	layout_config(l);
	layout_manifest(l);
	snprintf(ref, sizeof(ref), "%s:1", name);
	layout_index(l, ref);
}

static void make(const char *name, unsigned int base, unsigned int own)
{
	struct layout l;

	make_layout(&l, name, base, own, MIB);
	load_ok(l.dir, NULL, l.manifest_digest);
	layout_done(&l);
}

/* Again, from the layout that make() left. */
static void load_again(const char *name)
{
	load_ok(at(name), NULL, NULL);
}

static void drop(const char *ref)
{
	char **gone = NULL;

	if (image_store_remove(store, ref, NULL, NULL, &gone, &e) < 0)
		fail_msg("remove %s: %s", ref, e.msg);
	strv_free(gone);
}

static struct image_info *info(const char *ref)
{
	struct image_info *i = NULL;

	err_clear(&e);
	if (image_store_get(store, ref, &i, &e) < 0)
		fail_msg("get %s: %s", ref, e.msg);
	return i;
}

static bool is_diff(const char *ref)
{
	_cleanup_image_info_ struct image_info *i = info(ref);

	return i->base_path != NULL;
}

/* Is what a VM sees of `ref` the file at("alone")? */
static void check_same(const char *ref)
{
	_cleanup_image_info_ struct image_info *i = info(ref);

	assert_int_equal(sh("cmp %s %s/alone", whole_of(i), top), 0);
}

/* at("alone"): the whole file of the image that make() makes of these. */
static void make_alone(const char *name, unsigned int base, unsigned int own)
{
	_cleanup_image_info_ struct image_info *i = NULL;
	char ref[40];

	make(name, base, own);
	snprintf(ref, sizeof(ref), "%s:1", name);
	i = info(ref);
	assert_null(i->base_path);
	assert_int_equal(sh("cp %s %s/alone", i->path, top), 0);
	drop(ref);
	check_clean(0);
}

static uint64_t prune_bytes(bool dry_run)
{
	struct image_prune p = {.all = true, .dry_run = dry_run};
	char **gone = NULL;
	uint64_t bytes = 0;

	assert_int_equal(image_store_prune(store, &p, &gone, &bytes, &e), 0);
	strv_free(gone);
	return bytes;
}

static uint64_t dir_bytes(void)
{
	DIR *d = opendir(at("images/erofs"));
	struct dirent *de;
	struct stat st;
	uint64_t n = 0;

	assert_non_null(d);
	while ((de = readdir(d)))
		if (de->d_name[0] != '.' &&
		    fstatat(dirfd(d), de->d_name, &st, 0) == 0)
			n += (uint64_t)st.st_size;
	closedir(d);
	return n;
}

static void test_stored_once(void **state)
{
	_cleanup_image_info_ struct image_info *base = NULL;
	_cleanup_image_info_ struct image_info *one = NULL;
	_cleanup_image_info_ struct image_info *two = NULL;

	(void)state;
	make("base", 1, 0);
	make("other", 7, 0);
	make("one", 1, 2);
	make("two", 1, 3);
	make("three", 9, 3);
	base = info("base:1");
	one = info("one:1");
	two = info("two:1");
	assert_null(base->base_path);
	assert_int_equal(base->file_size, base->erofs_size);
	assert_string_equal(one->base_path, base->path);
	assert_string_equal(one->base_digest, base->digest);
	assert_true(one->file_size < MIB + 64 * 1024);
	assert_true(one->erofs_size > 5 * MIB);
	/* A third one has the same base. */
	assert_string_equal(two->base_path, base->path);
	assert_false(is_diff("three:1"));
	assert_false(is_diff("other:1"));
	/* The file names no other, and is sound. */
	assert_int_equal(
		sh("qemu-img info %s | grep -q 'backing file'", one->path),
		256);
	assert_int_equal(sh("qemu-img check -q -f qcow2 %s", one->path), 0);
	reopen();
	assert_true(is_diff("one:1"));
	check_clean(5);
	assert_int_equal(prune_bytes(true), dir_bytes());
}

/* What differs by more than half is a file of its own. */
static void test_not_worth_it(void **state)
{
	struct layout l;

	(void)state;
	make("base", 1, 0);
	make_layout(&l, "large", 1, 2, 7 * MIB);
	load_ok(l.dir, NULL, NULL);
	layout_done(&l);
	assert_false(is_diff("large:1"));
	/* And is a base itself, being more alike. */
	make_layout(&l, "larger", 1, 2, 7 * MIB);
	noise_layer(&l, "top", 5, MIB);
	buf_clear(&l.config);
	buf_clear(&l.manifest);
	buf_clear(&l.index);
	layout_config(&l);
	layout_manifest(&l);
	layout_index(&l, "larger:1");
	load_ok(l.dir, NULL, NULL);
	layout_done(&l);
	assert_true(is_diff("larger:1"));
	{
		_cleanup_image_info_ struct image_info *x = info("large:1");
		_cleanup_image_info_ struct image_info *y = info("larger:1");

		assert_string_equal(x->path, y->base_path);
	}
}

static void test_same_bytes(void **state)
{
	(void)state;
	make_alone("one", 1, 2);
	make("two", 1, 3);
	load_again("one");
	assert_true(is_diff("one:1"));
	check_same("one:1");
	/* And from a base without a layer above. */
	drop("one:1");
	drop("two:1");
	make("base", 1, 0);
	load_again("one");
	assert_true(is_diff("one:1"));
	check_same("one:1");
}

/* The base's image goes, its file stays as long as it is needed. */
static void test_base_removed(void **state)
{
	uint64_t whole, all;

	(void)state;
	make("base", 1, 0);
	whole = dir_bytes();
	make("one", 1, 2);
	all = dir_bytes();
	drop("base:1");
	assert_int_equal(dir_bytes(), all);
	reopen();
	assert_int_equal(dir_bytes(), all);
	assert_true(is_diff("one:1"));
	/* Still a base for others, and it can have an image again. */
	make("two", 1, 3);
	assert_true(is_diff("two:1"));
	load_again("base");
	assert_false(is_diff("base:1"));
	drop("base:1");
	drop("one:1");
	assert_int_equal(count_files("images/erofs"), 2);
	all = dir_bytes();
	assert_true(all > whole);
	assert_int_equal(prune_bytes(true), all);
	assert_int_equal(prune_bytes(false), all);
	check_clean(0);
}

static void get_fails(const char *ref, const char *text, const char *text2)
{
	struct image_info *i = NULL;

	err_clear(&e);
	assert_int_equal(image_store_get(store, ref, &i, &e), -EUCLEAN);
	if (!strstr(e.msg, text) || !strstr(e.msg, text2))
		fail_msg("%s", e.msg);
}

static void test_base_damaged(void **state)
{
	_cleanup_image_info_ struct image_info *base = NULL;

	(void)state;
	make_alone("one", 1, 2);
	make("base", 1, 0);
	load_again("one");
	base = info("base:1");
	/* Gone: the base again heals both, byte for byte. */
	assert_int_equal(unlink(base->path), 0);
	get_fails("one:1", "'one:1'", "'base:1', whose file in the store is ");
	get_fails("base:1", "'base:1': its file", "is gone");
	load_again("base");
	assert_true(is_diff("one:1"));
	check_same("one:1");
	reopen();
	check_same("one:1");
	/* Changed: so does the difference, for itself. */
	assert_int_equal(sh("echo >>%s", base->path), 0);
	get_fails("one:1", "'base:1'", "was changed");
	load_again("one");
	assert_false(is_diff("one:1"));
	check_same("one:1");
	get_fails("base:1", "'base:1': its file", "was changed");
	drop("one:1");
	load_again("base");
	load_again("one");
	check_clean(2);
	/* The base without an image: still one to be named. */
	assert_true(is_diff("one:1"));
	drop("base:1");
	assert_int_equal(unlink(base->path), 0);
	get_fails("one:1", "'one:1'", base->digest);
	load_again("one");
	check_same("one:1");
	check_clean(1);
	/* The difference itself. */
	drop("one:1");
	load_again("base");
	load_again("one");
	assert_int_equal(sh("rm %s/images/erofs/*.diff", top), 0);
	get_fails("one:1", "'one:1': its file", "is gone");
	load_again("one");
	assert_true(is_diff("one:1"));
	check_same("one:1");
}

/* What a store has of a whole file is what it had before there were others. */
static void test_old_store(void **state)
{
	_cleanup_image_info_ struct image_info *i = NULL;
	char path[300];
	json_t *o;

	(void)state;
	make("base", 1, 0);
	i = info("base:1");
	snprintf(path, sizeof(path), "%s/images/meta/%s.json", top,
		 i->digest + 7);
	o = json_load_file(path, 0, NULL);
	assert_int_equal(json_object_size(o), 11);
	assert_null(json_object_get(o, "base"));
	assert_null(json_object_get(o, "file_size"));
	/* An older one does not name the layers. */
	assert_int_equal(json_object_del(o, "layers"), 0);
	assert_int_equal(json_dump_file(o, path, 0), 0);
	json_decref(o);
	reopen();
	image_info_free(i);
	i = info("base:1");
	/* A description that is not whole counts for nothing. */
	make("one", 1, 2);
	image_info_free(i);
	i = info("one:1");
	assert_int_equal(sh("sed -i '/\"mtime_ns\"/d' %s/images/meta/%s.json",
			    top, i->digest + 7),
			 0);
	reopen();
	check_clean(1);
	load_again("one");
	assert_true(is_diff("one:1"));
}

/* ----------------------------------------------------------------- kill -9 */

static int load_one(void *arg)
{
	struct image_info **list = NULL;

	return try_open(&store) < 0 ||
	       image_store_load(store, at(arg), NULL, NULL, NULL, &list, &e) <
		       0;
}

/* Loads the layout in a process that is killed before call number n that
 * changes a file. True: it ended before that. */
static bool load_killed(const char *name, unsigned int n)
{
	char copy[40];
	bool ended;

	image_store_close(store);
	store = NULL;
	snprintf(copy, sizeof(copy), "%s", name);
	ended = run_killed(load_one, copy, n);
	reopen();
	return ended;
}

static bool is_there(const char *ref)
{
	_cleanup_image_info_ struct image_info *i = NULL;

	err_clear(&e);
	if (image_store_get(store, ref, &i, &e) == 0)
		return true;
	assert_int_equal(e.code, ENOENT);
	return false;
}

/* An image that was described and not named yet. */
static void prune_unnamed(void)
{
	struct image_prune p = {.all = false};
	char **gone = NULL;
	uint64_t bytes = 0;

	assert_int_equal(image_store_prune(store, &p, &gone, &bytes, &e), 0);
	strv_free(gone);
}

/* Killed before each of its calls in turn, the load leaves an image that is
 * right, or none; and nothing else. */
static void test_killed_at_each_step(void **state)
{
	unsigned int n, seen = 0;

	(void)state;
	make_alone("one", 1, 2);
	make("base", 1, 0);
	for (n = 0; !load_killed("one", n); n++) {
		assert_int_equal(count_files("images/tmp"), 0);
		assert_false(is_diff("base:1"));
		if (is_there("one:1")) {
			check_same("one:1");
			assert_true(is_diff("one:1"));
			drop("one:1");
			seen++;
		}
		prune_unnamed();
		check_clean(1);
	}
	print_message("# killed before %u calls, done after %u\n", n, seen);
	assert_true(n > 10);
	check_same("one:1");
	check_clean(2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stored_once),		TEST(test_not_worth_it),
		TEST(test_same_bytes),		TEST(test_base_removed),
		TEST(test_base_damaged),	TEST(test_old_store),
		TEST(test_killed_at_each_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
