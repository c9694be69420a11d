/* SPDX-License-Identifier: Apache-2.0 */
/* The image stores of several tenants. */
#include <pthread.h>
#include <setjmp.h>

#include "host-agent/image/stores.h"
#include "tests/unit/image_layout.h"

#include <cmocka.h>

static struct image_stores *stores;
static char declared[200]; /* " acme globex " */
static char problem[1024];
static char sharing[200]; /* as declared */

static int find(void *arg, const char *tenant, struct err *err)
{
	char word[80];

	(void)arg;
	snprintf(word, sizeof(word), " %s ", tenant);
	return strstr(declared, word)
		       ? 0
		       : err_set(err, ENOENT, "there is no tenant '%s'",
				 tenant);
}

static int list_sharing(void *arg, char ***ret, struct err *err)
{
	(void)arg;
	return shell_split(sharing, 16, ret) < 0 ? err_sys(err, ENOMEM, "test")
						 : 0;
}

static void on_problem(void *arg, const char *tenant, const struct err *err)
{
	(void)arg;
	snprintf(problem, sizeof(problem), "%s: %s", tenant, err->msg);
}

/* A quota of `limit` bytes, of which `others` are of something else. */
static uint64_t limit = UINT64_MAX, others, held;
static pthread_mutex_t quota_lock = PTHREAD_MUTEX_INITIALIZER;

static int quota_left(void *arg, const char *tenant, uint64_t *most,
		      uint64_t *left, struct err *err)
{
	(void)arg;
	(void)tenant;
	(void)err;
	pthread_mutex_lock(&quota_lock);
	*most = limit;
	*left = limit > others + held ? limit - others - held : 0;
	if (limit == UINT64_MAX)
		*left = limit;
	pthread_mutex_unlock(&quota_lock);
	return 0;
}

static int quota_hold(void *arg, const char *tenant, uint64_t bytes, bool check,
		      struct err *err)
{
	bool over;

	(void)arg;
	if (strcmp(tenant, "acme") != 0)
		return 0;
	pthread_mutex_lock(&quota_lock);
	over = check && bytes > held && others + bytes > limit;
	if (!over)
		held = bytes;
	pthread_mutex_unlock(&quota_lock);
	return over ? err_set(err, EDQUOT, "QuotaExceeded: too much") : 0;
}

static void open_all(void)
{
	const struct image_stores_config c = {
		.operators = {.dir = at("images"),
			      .hyb_image = program(),
			      .uid = 64998,
			      .gid = 64998},
		.tenant = "default",
		.first_uid = 70000,
		.n_uids = 3,
		.quota = {quota_left, quota_hold, NULL},
		.find = find,
		.sharing = list_sharing,
		.on_problem = on_problem,
	};

	image_stores_close(stores);
	stores = NULL;
	problem[0] = '\0';
	err_clear(&e);
	if (image_stores_open(&c, &stores, &e) < 0)
		fail_msg("%s", e.msg);
}

/* One store at a time is `store`, which load_ok() and the like take. */
static int setup_all(void **state)
{
	int r = setup(state);

	image_store_put(store);
	store = NULL;
	snprintf(declared, sizeof(declared), " acme globex ");
	sharing[0] = 0;
	open_all();
	return r;
}

static int teardown_all(void **state)
{
	image_store_put(store);
	store = NULL;
	image_stores_close(stores);
	stores = NULL;
	return teardown(state);
}

static void use(const char *tenant)
{
	image_store_put(store);
	store = NULL;
	err_clear(&e);
	if (image_stores_take(stores, tenant, &store, &e) < 0)
		fail_msg("%s: %s", tenant, e.msg);
}

static void put_image(const char *tenant, const char *dir, const char *ref,
		      const char *lines)
{
	struct layout l;

	use(tenant);
	layout_make(&l, dir, ref, lines, NULL);
	load_ok(l.dir, NULL, l.manifest_digest);
	layout_done(&l);
}

static void drop(const char *tenant, const char *ref)
{
	char **gone = NULL;

	use(tenant);
	assert_int_equal(image_store_remove(store, ref, NULL, NULL, &gone, &e),
			 0);
	strv_free(gone);
}

/* "TENANT NAME" of what the reference means, or what went wrong. */
static const char *means(const char *tenant, const char *ref, image_shown shown)
{
	_cleanup_image_info_ struct image_info *i = NULL;
	static char out[200];

	err_clear(&e);
	if (image_stores_find(stores, tenant, ref, shown, NULL, &i, &e) < 0)
		snprintf(out, sizeof(out), "%s", e.msg);
	else
		snprintf(out, sizeof(out), "%s %s", i->tenant,
			 i->found ? i->found : "-");
	return out;
}

static bool none_shown(void *arg, const struct image_info *i)
{
	(void)arg;
	(void)i;
	return false;
}

static bool is_there(const char *path)
{
	return access(at(path), F_OK) == 0;
}

static void test_own_first(void **state)
{
	struct image_store *s = NULL;

	(void)state;
	put_image("default", "a", "web:1", "f x operator");
	put_image("default", "b", "base:1", "f y 1");
	/* Looking makes nothing. */
	assert_string_equal(means("acme", "web:1", NULL),
			    "default docker.io/library/web:1");
	assert_int_equal(image_stores_peek(stores, "acme", &s, &e), 0);
	assert_null(s);
	assert_int_equal(count_files("images/tenants"), 0);
	put_image("acme", "c", "web:1", "f x acme");
	put_image("globex", "d", "web:1", "f x globex");
	assert_string_equal(means("acme", "web:1", NULL),
			    "acme docker.io/library/web:1");
	assert_string_equal(means("globex", "web:1", none_shown),
			    "globex docker.io/library/web:1");
	assert_string_equal(means("default", "web:1", NULL),
			    "default docker.io/library/web:1");
	assert_string_equal(means("acme", "base:1", NULL),
			    "default docker.io/library/base:1");
	/* What is not shown is not there, in the words of what is not. */
	assert_string_equal(means("acme", "base:1", none_shown),
			    "image 'base:1' is not in the store");
	assert_string_equal(means("acme", "nots:1", none_shown),
			    "image 'nots:1' is not in the store");
	assert_string_equal(means("initech", "base:1", none_shown),
			    "image 'base:1' is not in the store");
	assert_null(strstr(e.hint, "base"));
	drop("acme", "web:1");
	assert_string_equal(means("acme", "web:1", NULL),
			    "default docker.io/library/web:1");
	assert_string_equal(means("globex", "web:1", NULL),
			    "globex docker.io/library/web:1");
}

static void test_damaged(void **state)
{
	struct image_store *s = NULL;

	(void)state;
	put_image("default", "a", "web:1", "f x operator");
	put_image("acme", "c", "web:1", "f x acme");
	put_image("globex", "d", "web:1", "f x globex");
	/* Its own that is damaged is not the operator's of that name. */
	sh("rm %s/images/tenants/acme/erofs/*", top);
	assert_non_null(strstr(means("acme", "web:1", NULL), "is gone"));
	/* A store that cannot be opened is its tenant's trouble. */
	write_file(at("images/tenants/acme/names.json"), "x", 1);
	open_all();
	assert_non_null(strstr(problem, "acme: tenant 'acme': image store"));
	assert_int_equal(image_stores_take(stores, "acme", &s, &e), -EUCLEAN);
	assert_string_equal(means("globex", "web:1", NULL),
			    "globex docker.io/library/web:1");
	unlink(at("images/tenants/acme/names.json"));
	use("acme");
}

static void test_users(void **state)
{
	struct image_store *one = NULL, *two = NULL;
	struct stat st;

	(void)state;
	assert_int_equal(image_stores_take(stores, "initech", &one, &e),
			 -ENOENT);
	assert_int_equal(image_stores_take(stores, "../x", &one, &e), -EINVAL);
	assert_int_equal(count_files("images/tenants"), 0);
	assert_int_equal(image_stores_take(stores, "acme", &one, &e), 0);
	assert_int_equal(image_stores_take(stores, "globex", &two, &e), 0);
	assert_ptr_not_equal(one, two);
	assert_int_equal(stat(at("images/tenants"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0710);
	image_store_put(one);
	image_store_put(two);
}

static int result; /* of commit() */

static int commit(void *arg, struct err *err)
{
	(void)arg;
	if (result == 0)
		snprintf(declared, sizeof(declared), " globex ");
	return result == 0 ? 0 : err_set(err, -result, "not now");
}

static void test_remove(void **state)
{
	struct image_info **list = NULL;
	struct layout l;

	(void)state;
	put_image("acme", "c", "web:1", "f x acme");
	assert_int_equal(image_stores_remove(stores, "acme", commit, NULL, &e),
			 -EBUSY);
	assert_string_equal(e.msg, "tenant 'acme' still has images (1)");
	drop("acme", "web:1");
	/* The tenant has something else: it can go on. */
	result = -EBUSY;
	assert_int_equal(image_stores_remove(stores, "acme", commit, NULL, &e),
			 -EBUSY);
	assert_string_equal(e.msg, "not now");
	put_image("acme", "c", "web:1", "f x acme");
	drop("acme", "web:1");
	/* Who was loading meanwhile has it nowhere. */
	result = 0;
	assert_int_equal(image_stores_remove(stores, "acme", commit, NULL, &e),
			 0);
	assert_int_equal(count_files("images/tenants"), 0);
	layout_make(&l, "c", "web:1", "f x acme", NULL);
	assert_true(load(l.dir, NULL, &list) < 0);
	layout_done(&l);
	assert_false(is_there("images/tenants/acme"));
	/* One without a store. */
	assert_int_equal(image_stores_remove(stores, "acme", commit, NULL, &e),
			 0);
	/* A new one of that name begins with nothing. */
	snprintf(declared, sizeof(declared), " acme globex ");
	put_image("acme", "c", "new:1", "f x acme");
	assert_string_equal(means("acme", "web:1", NULL),
			    "image 'web:1' is not in the store");
}

/* kill -9 between the removal's steps, by what it leaves on disk. */
static void test_interrupted(void **state)
{
	(void)state;
	put_image("globex", "d", "web:1", "f x globex");
	put_image("acme", "c", "web:1", "f x acme");
	drop("acme", "web:1");
	use("default");
	/* Before the tenant was removed: it is as it was. */
	sh("cd %s/images/tenants && mv acme .gone-acme", top);
	open_all();
	assert_string_equal(problem, "");
	assert_true(is_there("images/tenants/acme/erofs"));
	put_image("acme", "c", "web:1", "f x acme");
	use("default");
	sh("cd %s/images/tenants && mv acme .gone-acme", top);
	open_all();
	assert_string_equal(means("acme", "web:1", NULL),
			    "acme docker.io/library/web:1");
	/* After: the rest of it goes. */
	sh("cd %s/images/tenants && mv acme .gone-acme", top);
	snprintf(declared, sizeof(declared), " globex ");
	open_all();
	assert_string_equal(problem, "");
	assert_int_equal(count_files("images/tenants"), 1);
	assert_false(is_there("images/tenants/.gone-acme"));
	/* What nobody has declared and has images is not thrown away. */
	snprintf(declared, sizeof(declared), " ");
	open_all();
	assert_non_null(strstr(problem, "globex: there is no such tenant: "
					"tenant 'globex' still has images"));
	assert_true(is_there("images/tenants/globex/erofs"));
	snprintf(declared, sizeof(declared), " globex ");
	open_all();
	assert_string_equal(means("globex", "web:1", NULL),
			    "globex docker.io/library/web:1");
	drop("globex", "web:1");
	use("default");
	snprintf(declared, sizeof(declared), " ");
	open_all();
	assert_string_equal(problem, "");
	assert_int_equal(count_files("images/tenants"), 0);
}

/* What the files of acme's store take. */
static uint64_t on_disk(void)
{
	static const char *const dirs[] = {"erofs", "meta"};
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < 2; i++) {
		char path[200];
		struct dirent *de;
		struct stat st;
		DIR *d;

		snprintf(path, sizeof(path), "%s/images/tenants/acme/%s", top,
			 dirs[i]);
		d = opendir(path);
		assert_non_null(d);
		while ((de = readdir(d)))
			if (de->d_name[0] != '.' &&
			    fstatat(dirfd(d), de->d_name, &st, 0) == 0)
				sum += (uint64_t)st.st_blocks * 512;
		closedir(d);
	}
	return sum;
}

/* A tar of one file of len bytes of noise. */
static void make_noise(const char *name, size_t len)
{
	assert_int_equal(sh("cd %s && mkdir n && head -c %zu /dev/urandom "
			    ">n/%s && tar -C n -cf %s . && rm -r n",
			    top, len, name, name),
			 0);
}

static int import(const char *name, const char *ref, struct err *err)
{
	struct image_input in = {.name = ref};
	struct image_info **list = NULL;
	char path[200];
	int r;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	in.fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(in.fd >= 0);
	r = image_store_import_fd(store, &in, &list, err);
	close(in.fd);
	if (r == 0)
		image_info_free_list(list);
	return r;
}

#define MIB ((uint64_t)1 << 20)

static void test_quota(void **state)
{
	(void)state;
	use("acme");
	make_noise("a.tar", 3 * MIB);
	make_noise("b.tar", 3 * MIB);
	make_noise("c.tar", 40 * MIB);
	make_noise("d.tar", 2 * MIB);
	limit = 8 * MIB;
	others = MIB;
	assert_int_equal(import("a.tar", "a:1", &e), 0);
	assert_int_equal(held, on_disk());
	assert_int_equal(import("b.tar", "b:1", &e), 0);
	assert_int_equal(held, on_disk());
	assert_true(held > 6 * MIB && held < 7 * MIB);
	/* Larger than what is left: while it is converted, or at the end. */
	assert_int_equal(import("c.tar", "c:1", &e), -EDQUOT);
	assert_non_null(strstr(e.msg, "QuotaExceeded"));
	assert_int_equal(import("d.tar", "d:1", &e), -EDQUOT);
	assert_int_equal(held, on_disk());
	/* What is there takes nothing, under another name either. */
	assert_int_equal(import("a.tar", "again:1", &e), 0);
	drop("acme", "b:1");
	assert_int_equal(held, on_disk());
	assert_int_equal(import("d.tar", "d:1", &e), 0);
	/* A limit that is lower than what there is stops nothing there is. */
	limit = MIB;
	assert_int_equal(import("a.tar", "third:1", &e), 0);
	assert_int_equal(import("b.tar", "b:1", &e), -EDQUOT);
	/* What was counted and not put in place is mended at the next start. */
	use("default");
	held = 100 * MIB;
	open_all();
	assert_int_equal(held, on_disk());
	limit = UINT64_MAX;
	others = 0;
}

static void *import_one(void *arg)
{
	struct err err = ERR_INIT;
	const char *name = arg;
	char ref[40];

	snprintf(ref, sizeof(ref), "%.1s:1", name);
	if (import(name, ref, &err) == 0)
		return arg;
	assert_int_equal(err.code, EDQUOT);
	return NULL;
}

/* Of several at once as many pass as there is room for. */
static void test_quota_race(void **state)
{
	static char names[4][8] = {"a.tar", "b.tar", "c.tar", "d.tar"};
	pthread_t threads[4];
	void *won;
	size_t i, n = 0;

	(void)state;
	use("acme");
	held = 0;
	for (i = 0; i < 4; i++)
		make_noise(names[i], 3 * MIB);
	limit = 7 * MIB;
	for (i = 0; i < 4; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, import_one, names[i]),
			0);
	for (i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(threads[i], &won), 0);
		n += won != NULL;
	}
	assert_int_equal(n, 2);
	assert_int_equal(held, on_disk());
	assert_true(held < limit);
	limit = UINT64_MAX;
}

/* ------------------------------------------------------------- sharing */

static ino_t inode(const char *tenant, const char *ref, bool base)
{
	_cleanup_image_info_ struct image_info *i = NULL;
	struct stat st;

	use(tenant);
	if (image_store_get(store, ref, &i, &e) < 0)
		fail_msg("%s: %s", ref, e.msg);
	if (base)
		assert_non_null(i->base_path);
	assert_int_equal(stat(base ? i->base_path : i->path, &st), 0);
	return st.st_ino;
}

static bool is_diff(const char *tenant, const char *ref)
{
	_cleanup_image_info_ struct image_info *i = NULL;

	use(tenant);
	assert_int_equal(image_store_get(store, ref, &i, &e), 0);
	return i->base_path != NULL;
}

/* Is what a VM sees of the one what it sees of the other? */
static void same_bytes(const char *a, const char *b, const char *ref)
{
	_cleanup_image_info_ struct image_info *x = NULL, *y = NULL;

	use(a);
	assert_int_equal(image_store_get(store, ref, &x, &e), 0);
	assert_int_equal(sh("cp %s %s/one", whole_of(x), top), 0);
	use(b);
	assert_int_equal(image_store_get(store, ref, &y, &e), 0);
	assert_int_equal(sh("cmp %s/one %s", top, whole_of(y)), 0);
}

static void import_ok(const char *tenant, const char *tar, const char *ref)
{
	use(tenant);
	err_clear(&e);
	if (import(tar, ref, &e) < 0)
		fail_msg("%s: %s", ref, e.msg);
}

static void test_twins(void **state)
{
	(void)state;
	make_noise("a.tar", MIB);
	snprintf(sharing, sizeof(sharing), " default acme ");
	import_ok("default", "a.tar", "a:1");
	import_ok("acme", "a.tar", "a:1");
	import_ok("globex", "a.tar", "a:1");
	assert_int_equal(inode("acme", "a:1", false),
			 inode("default", "a:1", false));
	/* Who does not say so has its own. */
	assert_int_not_equal(inode("globex", "a:1", false),
			     inode("acme", "a:1", false));
	assert_int_equal(held, on_disk());
	assert_true(held > MIB);
	/* The one that goes takes nothing from the other. */
	drop("default", "a:1");
	same_bytes("acme", "globex", "a:1");
	/* What is stored keeps its file, whatever is said later. */
	snprintf(sharing, sizeof(sharing), " globex acme ");
	import_ok("globex", "a.tar", "a:1");
	assert_int_not_equal(inode("globex", "a:1", false),
			     inode("acme", "a:1", false));
	drop("globex", "a:1");
	import_ok("globex", "a.tar", "a:1");
	assert_int_equal(inode("globex", "a:1", false),
			 inode("acme", "a:1", false));
	sharing[0] = '\0';
	open_all();
	assert_int_equal(inode("globex", "a:1", false),
			 inode("acme", "a:1", false));
}

/* A file that is not what its key says, though nothing shows it, is nobody
 * else's. */
static void test_poisoned(void **state)
{
	char path[300];

	(void)state;
	make_noise("a.tar", MIB);
	snprintf(sharing, sizeof(sharing), " acme globex ");
	import_ok("acme", "a.tar", "a:1");
	snprintf(path, sizeof(path), "%s/images/tenants/acme/erofs/*.erofs",
		 top);
	assert_int_equal(sh("cp -p %s %s/was && printf X | dd of=$(echo %s) "
			    "bs=1 seek=500000 conv=notrunc 2>/dev/null && "
			    "touch -r %s/was %s",
			    path, top, path, top, path),
			 0);
	import_ok("globex", "a.tar", "a:1");
	assert_int_not_equal(inode("globex", "a:1", false),
			     inode("acme", "a:1", false));
	assert_int_equal(sh("cmp -s %s/images/tenants/globex/erofs/*.erofs "
			    "%s/was",
			    top, top),
			 0);
}

/* An image of the layers base.tar and, unless NULL, another. */
static void put_layers(const char *tenant, const char *name, const char *upper)
{
	const char *const tars[] = {"base.tar", upper};
	struct layout l;
	size_t i;

	use(tenant);
	layout_init(&l, name);
	for (i = 0; i < 2 && tars[i]; i++) {
		_cleanup_free_ char *tar = NULL;
		size_t len;

		assert_int_equal(file_read(AT_FDCWD, at(tars[i]), 64 * MIB,
					   &tar, &len, &e),
				 0);
		blob(l.dir, tar, len, l.layer[l.n]);
		l.layer_len[l.n++] = len;
	}
	layout_config(&l);
	layout_manifest(&l);
	layout_index(&l, "x:1");
	load_ok(l.dir, NULL, l.manifest_digest);
	layout_done(&l);
}

static void test_base_of_another(void **state)
{
	_cleanup_image_info_ struct image_info *i = NULL, *base = NULL;

	(void)state;
	make_noise("base.tar", 4 * MIB);
	make_noise("mine.tar", MIB);
	make_noise("theirs.tar", MIB);
	snprintf(sharing, sizeof(sharing), " default acme globex ");
	/* What has a layer more is open to its owner alone. */
	put_layers("acme", "a", "theirs.tar");
	put_layers("globex", "b", "mine.tar");
	assert_false(is_diff("globex", "x:1"));
	drop("globex", "x:1");
	put_layers("default", "c", NULL);
	put_layers("globex", "b", "mine.tar");
	assert_true(is_diff("globex", "x:1"));
	assert_int_equal(inode("globex", "x:1", true),
			 inode("default", "x:1", false));
	use("globex");
	assert_int_equal(image_store_get(store, "x:1", &i, &e), 0);
	assert_non_null(strstr(i->base_path, "/tenants/globex/erofs/"));
	use("default");
	assert_int_equal(image_store_get(store, "x:1", &base, &e), 0);
	assert_string_not_equal(i->base_digest, base->digest);
	/* Both parts are the tenant's own, as long as it needs them. */
	drop("default", "x:1");
	open_all();
	sharing[0] = '\0';
	put_layers("default", "b", "mine.tar");
	assert_false(is_diff("default", "x:1"));
	same_bytes("globex", "default", "x:1");
	assert_int_equal(count_files("images/tenants/globex/erofs"), 2);
	drop("globex", "x:1");
	assert_int_equal(count_files("images/tenants/globex/erofs"), 0);
}

static int load_shared(void *arg)
{
	struct image_info **list = NULL;

	open_all();
	use("globex");
	return image_store_load(store, at(arg), NULL, NULL, NULL, &list, &e) <
	       0;
}

/* Nothing but what n images need is in globex's store. */
static void check_globex(size_t n)
{
	assert_string_equal(problem, "");
	assert_int_equal(count_files("images/tenants/globex/tmp"), 0);
	assert_int_equal(count_files("images/tenants/globex/meta"), n);
	assert_int_equal(count_files("images/tenants/globex/erofs"), 2 * n);
}

/* Killed before each of its calls in turn, a load that takes another's file as
 * its base leaves a whole image or none, and the other's as it was. */
static void test_killed(void **state)
{
	struct image_prune p = {.all = false};
	char name[] = "b", **gone = NULL;
	unsigned int n, seen = 0;
	uint64_t bytes;

	(void)state;
	make_noise("base.tar", 2 * MIB);
	make_noise("mine.tar", MIB / 2);
	snprintf(sharing, sizeof(sharing), " acme globex ");
	put_layers("acme", "a", NULL);
	put_layers("default", "b", "mine.tar");
	use("globex");
	for (n = 0;; n++) {
		bool ended;

		image_store_put(store);
		store = NULL;
		image_stores_close(stores);
		stores = NULL;
		ended = run_killed(load_shared, name, n);
		open_all();
		use("globex");
		if (ended)
			break;
		if (count_files("images/tenants/globex/meta")) {
			check_globex(1);
			seen++;
		}
		assert_int_equal(
			image_store_prune(store, &p, &gone, &bytes, &e), 0);
		strv_free(gone);
		if (strncmp(means("globex", "x:1", NULL), "globex", 6) == 0) {
			same_bytes("default", "globex", "x:1");
			drop("globex", "x:1");
		}
		check_globex(0);
	}
	print_message("# killed before %u calls, done after %u\n", n, seen);
	assert_true(n > 10 && seen > 0);
	check_globex(1);
	assert_int_equal(inode("globex", "x:1", true),
			 inode("acme", "x:1", false));
	same_bytes("default", "globex", "x:1");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup_all, teardown_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_own_first),	TEST(test_damaged),
		TEST(test_users),	TEST(test_remove),
		TEST(test_interrupted), TEST(test_quota),
		TEST(test_quota_race),	TEST(test_twins),
		TEST(test_poisoned),	TEST(test_base_of_another),
		TEST(test_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
