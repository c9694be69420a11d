/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator allows of the host's folders, and how one is reached. */
#include "host-agent/volume/bind.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>

#include <cmocka.h>

#define RESERVED 1878000000u
#define NOBODY	 1878000004u

static char dir[64];

static struct bind_policy policy(void)
{
	return (struct bind_policy){.reserved_first = RESERVED,
				    .reserved_last = RESERVED + 131071,
				    .nobody = NOBODY};
}

static const char *in_dir(const char *name)
{
	static char path[8][PATH_MAX];
	static unsigned int next;
	char *p = path[next++ % 8];

	snprintf(p, PATH_MAX, "%s%s", dir, name);
	return p;
}

static void make_folder(const char *name)
{
	assert_int_equal(mkdir(in_dir(name), 0755), 0);
}

static int setup(void **state)
{
	int fd;

	(void)state;
	strcpy(dir, "/tmp/hyb-bind.XXXXXX");
	assert_non_null(mkdtemp(dir));
	make_folder("/ok");
	make_folder("/ok/sub");
	make_folder("/ok/sub/deep");
	make_folder("/ok-beside");
	make_folder("/ok/priv");
	fd = open(in_dir("/ok/file"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(mkfifo(in_dir("/ok/fifo"), 0644), 0);
	assert_int_equal(symlink("sub", in_dir("/ok/inside")), 0);
	assert_int_equal(symlink("/etc", in_dir("/ok/outside")), 0);
	assert_int_equal(symlink("ok", in_dir("/alias")), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return path_remove(dir, NULL);
}

static void test_allow(void **state)
{
	static const char *const bad[] = {
		"",	    "/",	  "/:rw",   "a",	"./a",
		"/a/",	    "//a",	  "/a/./b", "/a/../b",	"/a/..",
		"/proc",    "/proc/1:ro", "/sys",   "/dev/shm", "~/x",
		"/a//b:rw", ":rw",	  ":",
	};
	struct bind_policy p = policy();
	struct err e = ERR_INIT;
	char longest[BIND_PATH_MAX + 8];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		if (bind_policy_add(&p, bad[i], &e) != -EINVAL)
			fail_msg("'%s' is taken", bad[i]);
		assert_non_null(strstr(e.msg, "allow bind"));
	}
	memset(longest, 'a', sizeof(longest) - 1);
	longest[0] = '/';
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(bind_policy_add(&p, longest, &e), -EINVAL);
	assert_int_equal(p.n, 0);
	assert_int_equal(
		bind_policy_add_all(&p, "/a,/b:ro,,/c:rw,/procs,/d:x", &e), 0);
	assert_int_equal(p.n, 5);
	assert_string_equal(p.allow[1].path, "/b");
	assert_false(p.allow[0].writes || p.allow[1].writes);
	assert_true(p.allow[2].writes);
	/* A colon is a character like others. */
	assert_string_equal(p.allow[4].path, "/d:x");
	assert_int_equal(bind_policy_add_all(&p, "/e,f", &e), -EINVAL);
	while (p.n < BIND_ALLOW_MAX)
		assert_int_equal(bind_policy_add(&p, "/z", &e), 0);
	assert_int_equal(bind_policy_add(&p, "/z", &e), -EINVAL);
}

static int check_root(const char *path, const char *root)
{
	struct bind_policy p = policy();
	struct err e = ERR_INIT;

	assert_int_equal(bind_policy_add(&p, path, &e), 0);
	return bind_policy_check(&p, root, &e);
}

/* Neither hyb's root nor what holds it, by whatever name. */
static void test_root(void **state)
{
	(void)state;
	assert_int_equal(check_root(in_dir("/ok"), in_dir("/ok/sub")), -EINVAL);
	assert_int_equal(check_root(in_dir("/ok/sub"), in_dir("/ok")), -EINVAL);
	assert_int_equal(check_root(in_dir("/ok"), in_dir("/ok")), -EINVAL);
	assert_int_equal(check_root(in_dir("/alias"), in_dir("/ok/sub")),
			 -EINVAL);
	assert_int_equal(check_root(in_dir("/ok"), in_dir("/alias/sub")),
			 -EINVAL);
	assert_int_equal(check_root("/tmp", in_dir("/ok")), -EINVAL);
	assert_int_equal(check_root(in_dir("/ok"), in_dir("/ok-beside")), 0);
	assert_int_equal(check_root(in_dir("/none"), in_dir("/ok")), 0);
}

/* Result, and that the descriptor is the folder. */
static int try(const struct bind_policy *p, const char *path, bool read_only,
	       struct bind_folder *f, struct err *e)
{
	struct stat a, b;
	int r;

	*f = (struct bind_folder){.fd = -1};
	err_clear(e);
	r = bind_open(p, path, read_only, f, e);
	if (r < 0) {
		assert_int_equal(f->fd, -1);
		assert_int_equal(e->code, -r);
		return r;
	}
	assert_int_equal(fstat(f->fd, &a), 0);
	assert_int_equal(stat(path, &b), 0);
	assert_true(a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	close(f->fd);
	return 0;
}

static void test_open(void **state)
{
	static const struct {
		const char *path;
		int r;
		const char *word;
	} cases[] = {
		{"/ok", 0, ""},
		{"/ok/sub", 0, ""},
		{"/ok/sub/deep", 0, ""},
		{"", -EPERM, "does not allow"},
		{"/ok-beside", -EPERM, "does not allow"},
		{"/ok/sub/../../ok-beside", -EPERM, "does not allow"},
		{"/ok/..", -EPERM, "does not allow"},
		{"/ok/", -EPERM, "does not allow"},
		{"/ok/./sub", -EPERM, "does not allow"},
		{"/ok//sub", -EPERM, "does not allow"},
		{"/alias/sub", -EPERM, "does not allow"},
		{"/ok/none", -ENOENT, "No such file"},
		{"/ok/file", 0, ""},
		{"/ok/fifo", -ENOTDIR, "neither a folder nor a regular file"},
		{"/ok/file/x", -ENOTDIR, "Not a directory"},
		{"/ok/inside", -EPERM, "symbolic link"},
		{"/ok/inside/deep", -EPERM, "symbolic link"},
		{"/ok/outside", -EPERM, "symbolic link"},
		{"/ok/outside/ssh", -EPERM, "symbolic link"},
	};
	struct bind_policy p = policy();
	struct err e = ERR_INIT;
	struct bind_folder f;
	size_t i;
	int r;

	(void)state;
	assert_int_equal(bind_policy_add(&p, in_dir("/ok"), &e), 0);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		r = try(&p, in_dir(cases[i].path), true, &f, &e);
		if (r != cases[i].r || !strstr(e.msg, cases[i].word))
			fail_msg("'%s': %d %s", cases[i].path, r, e.msg);
	}
	p.n = 0;
	assert_int_equal(try(&p, in_dir("/ok"), true, &f, &e), -EPERM);
	/* One that was reached through a link of the operator's. */
	assert_int_equal(bind_policy_add(&p, in_dir("/alias"), &e), 0);
	assert_int_equal(try(&p, in_dir("/alias/sub"), true, &f, &e), 0);
	assert_int_equal(try(&p, in_dir("/ok/sub"), true, &f, &e), -EPERM);
	/* A single file may be what is allowed. */
	assert_int_equal(bind_policy_add(&p, in_dir("/ok/file"), &e), 0);
	assert_int_equal(try(&p, in_dir("/ok/file"), true, &f, &e), 0);
	assert_int_equal(try(&p, in_dir("/ok/file/x"), true, &f, &e), -ENOTDIR);
}

/* The longest path counts, in whatever order. */
static void test_longest(void **state)
{
	struct bind_policy p = policy();
	struct err e = ERR_INIT;
	struct bind_folder f;

	(void)state;
	assert_int_equal(bind_policy_add(&p, in_dir("/ok"), &e), 0);
	p.allow[0].writes = true;
	assert_int_equal(bind_policy_add(&p, in_dir("/ok/sub"), &e), 0);
	assert_int_equal(try(&p, in_dir("/ok/sub"), false, &f, &e), -EPERM);
	assert_non_null(strstr(e.msg, "to be read only"));
	assert_int_equal(try(&p, in_dir("/ok/sub/deep"), false, &f, &e),
			 -EPERM);
	assert_non_null(strstr(e.msg, "to be read only"));
	assert_int_equal(try(&p, in_dir("/ok/sub"), true, &f, &e), 0);
}

static void own(uid_t uid, gid_t gid)
{
	assert_int_equal(chown(in_dir("/ok/priv"), uid, gid), 0);
}

/* As whom a VM acts: the owner; never root, nor hyb's own. */
static void test_owner(void **state)
{
	static const struct {
		uid_t uid;
		gid_t gid;
		bool free;
	} cases[] = {
		{1000, 1001, true},
		{0, 1001, false},
		{1000, 0, false},
		{0, 0, false},
		{RESERVED, 1001, false},
		{1000, RESERVED + 16, false},
		{RESERVED + 131071, 1001, false},
		{RESERVED - 1, RESERVED - 1, true},
		{RESERVED + 131072, RESERVED + 131072, true},
	};
	struct bind_policy p = policy();
	struct err e = ERR_INIT;
	struct bind_folder f;
	const char *path;
	size_t i;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(bind_policy_add(&p, in_dir("/ok"), &e), 0);
	p.allow[0].writes = true;
	path = in_dir("/ok/priv");
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		own(cases[i].uid, cases[i].gid);
		assert_int_equal(try(&p, path, true, &f, &e), 0);
		assert_int_equal(f.uid, cases[i].free ? cases[i].uid : NOBODY);
		assert_int_equal(f.gid, cases[i].free ? cases[i].gid : NOBODY);
		assert_int_equal(try(&p, path, false, &f, &e),
				 cases[i].free ? 0 : -EPERM);
		if (!cases[i].free)
			assert_non_null(strstr(e.msg, "as whom no VM acts"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allow), cmocka_unit_test(test_root),
		cmocka_unit_test(test_open),  cmocka_unit_test(test_longest),
		cmocka_unit_test(test_owner),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
