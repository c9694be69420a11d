/* SPDX-License-Identifier: Apache-2.0 */
/* Users from an image's files, and paths inside an image that wants out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/container/user.h"
#include "guest-agent/sys/rootpath.h"

static char top[64];
static int root = -1;

static void put(const char *path, const char *text)
{
	_cleanup_close_ int fd =
		openat(root, path, O_CREAT | O_TRUNC | O_WRONLY, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write_full(fd, text, strlen(text)), 0);
}

static int make_root(void **state)
{
	char path[96];

	(void)state;
	snprintf(top, sizeof(top), "/tmp/hyb-test-user.XXXXXX");
	assert_non_null(mkdtemp(top));
	snprintf(path, sizeof(path), "%s/root", top);
	assert_int_equal(mkdir(path, 0755), 0);
	root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(root >= 0);
	assert_int_equal(mkdirat(root, "etc", 0755), 0);
	put("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"
			  "\n:::\nbroken\nneg:x:-1:0::/:\nbig:x:4294967296:0::/"
			  ":\nwww:x:33:33:www:/var/www:/sbin/nologin\n"
			  "1000:x:5:5::/five:/bin/sh\n"
			  "short:x:7:8\n"
			  "rel:x:9:9::relative:/bin/sh\n"
			  "last:x:10:10::/last:/bin/sh");
	put("etc/group", "root:x:0:\nwww:x:33:\nadm:x:4:www,last\n"
			 "x:x:44:wwww,ww\nbad:x:y:www\nlog:x:45:a,www\n");
	snprintf(path, sizeof(path), "%s/secret", top);
	return file_write_atomic(path, "secret:x:1:1::/:\n", 17, 0644, NULL);
}

static int remove_root(void **state)
{
	(void)state;
	close(root);
	return path_remove(top, NULL);
}

struct wanted {
	const char *text;
	uid_t uid;
	gid_t gid;
	size_t n_groups;
	const char *home;
};

static void users_are_found(void **state)
{
	static const struct wanted cases[] = {
		{"", 0, 0, 0, "/root"},
		{"root", 0, 0, 0, "/root"},
		{"0", 0, 0, 0, "/root"},
		{"www", 33, 33, 2, "/var/www"},
		{"33", 33, 33, 2, "/var/www"},
		{"0000000033", 33, 33, 2, "/var/www"},
		{"www:adm", 33, 4, 0, "/var/www"},
		{"www:4", 33, 4, 0, "/var/www"},
		{"www:99999", 33, 99999, 0, "/var/www"},
		{"www:", 33, 33, 2, "/var/www"},
		{":adm", 0, 4, 0, "/root"},
		/* a number is never a name */
		{"1000", 1000, 0, 0, ""},
		{"5", 5, 5, 0, "/five"},
		{"2147483647:2147483647", 2147483647, 2147483647, 0, ""},
		{"short", 7, 8, 0, ""},
		{"rel", 9, 9, 0, ""},
		{"last", 10, 10, 1, "/last"},
	};
	struct err e = ERR_INIT;
	struct user u;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct wanted *w = &cases[i];

		if (user_resolve(root, w->text, &u, &e) < 0)
			fail_msg("'%s': %s", w->text, e.msg);
		if (u.uid != w->uid || u.gid != w->gid ||
		    u.n_groups != w->n_groups || strcmp(u.home, w->home) != 0)
			fail_msg("'%s': %u:%u %zu '%s'", w->text, u.uid, u.gid,
				 u.n_groups, u.home);
	}
}

static void users_are_refused(void **state)
{
	static const char *const cases[] = {
		"nobody",
		"-1",
		"+0",
		"0x0",
		" 0",
		"0 ",
		"big",
		"neg",
		"broken",
		"www:nogroup",
		"www:-1",
		"2147483648",
		"4294967295",
		"4294967296",
		"18446744073709551616",
		"0:2147483648",
		"0:4294967296",
		"root:x:0:0",
		"www:adm:x",
		"*",
		"ROOT",
		"www\n",
		"\033[2J",
	};
	struct err e;
	struct user u;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		err_clear(&e);
		if (user_resolve(root, cases[i], &u, &e) != -EINVAL)
			fail_msg("'%s' is taken for %u:%u", cases[i], u.uid,
				 u.gid);
		assert_null(strchr(e.msg, '\033'));
	}
}

/* What is not a regular file is not opened, what leads out leads nowhere. */
static void traps_are_empty(void **state)
{
	struct err e = ERR_INIT;
	struct user u;
	size_t i;
	static const char *const targets[] = {
		"../../secret", "../../../../../../../../../secret",
		"/proc/self/environ", "/dev/zero", "/etc/passwd"};

	(void)state;
	for (i = 0; i < ARRAY_SIZE(targets); i++) {
		unlinkat(root, "etc/passwd", 0);
		assert_int_equal(symlinkat(targets[i], root, "etc/passwd"), 0);
		assert_int_equal(user_resolve(root, "secret", &u, &e), -EINVAL);
		assert_int_equal(user_resolve(root, "0", &u, &e), 0);
		assert_string_equal(u.home, "");
	}
	unlinkat(root, "etc/passwd", 0);
	assert_int_equal(mkfifoat(root, "etc/passwd", 0644), 0);
	assert_int_equal(user_resolve(root, "secret", &u, &e), -EINVAL);
	unlinkat(root, "etc/passwd", 0);
	assert_int_equal(mkdirat(root, "etc/passwd", 0755), 0);
	assert_int_equal(user_resolve(root, "secret", &u, &e), -EINVAL);
}

static void a_link_inside_is_followed(void **state)
{
	struct err e = ERR_INIT;
	struct user u;

	(void)state;
	put("etc/real", "in:x:12:13::/in:/bin/sh\n");
	unlinkat(root, "etc/passwd", AT_REMOVEDIR);
	assert_int_equal(symlinkat("../../../etc/real", root, "etc/passwd"), 0);
	assert_int_equal(user_resolve(root, "in", &u, &e), 0);
	assert_int_equal(u.uid, 12);
	assert_string_equal(u.home, "/in");
}

static bool outside_has(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	return access(path, F_OK) == 0;
}

static void folders_are_made_inside(void **state)
{
	struct stat st;
	int fd;

	(void)state;
	fd = rootpath_make_dir(root, "/a/b//c/./d/");
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(fstatat(root, "a/b/c/d", &st, 0), 0);
	assert_int_equal(symlinkat("../..", root, "up"), 0);
	fd = rootpath_make_dir(root, "/up/x/y");
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(fstatat(root, "x/y", &st, 0), 0);
	assert_false(outside_has("x"));
	fd = rootpath_make_dir(root, "/../../z");
	assert_true(fd >= 0);
	close(fd);
	assert_false(outside_has("z"));
	assert_int_equal(symlinkat("/nowhere/x", root, "dangling"), 0);
	assert_true(rootpath_make_dir(root, "/dangling") < 0);
	assert_true(rootpath_make_dir(root, "/etc/real/x") < 0);
	assert_true(rootpath_make_dir(root, "/etc/real") < 0);
}

static void files_are_made_inside(void **state)
{
	struct stat st, opened;
	int fd;

	(void)state;
	fd = rootpath_make_file(root, "/f/g/file");
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(fstatat(root, "f/g/file", &st, 0), 0);
	assert_true(S_ISREG(st.st_mode));
	fd = rootpath_make_file(root, "/up/made");
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(fstatat(root, "made", &st, 0), 0);
	assert_false(outside_has("made"));
	assert_int_equal(rootpath_make_file(root, "/f/g"), -EISDIR);
	assert_true(rootpath_make_file(root, "/dangling") < 0);
	assert_int_equal(rootpath_make_file(root, "/"), -EISDIR);
	/* A link is followed inside only; what it leads to is not made. */
	assert_int_equal(symlinkat("/f/g/file", root, "to-file"), 0);
	fd = rootpath_make_file(root, "/to-file");
	assert_true(fd >= 0);
	assert_int_equal(fstatat(root, "f/g/file", &st, 0), 0);
	assert_int_equal(fstat(fd, &opened), 0);
	close(fd);
	assert_true(S_ISREG(opened.st_mode) && opened.st_ino == st.st_ino);
	assert_int_equal(symlinkat("../../secret", root, "to-secret"), 0);
	assert_int_equal(rootpath_make_file(root, "/to-secret"), -ENOENT);
	assert_int_equal(symlinkat("../late", root, "to-late"), 0);
	assert_int_equal(rootpath_make_file(root, "/to-late"), -ENOENT);
	assert_false(outside_has("late"));
	assert_int_equal(fstatat(root, "late", &st, 0), -1);
	/* Magic links are refused, wherever they are. */
	fd = open("/", O_PATH | O_CLOEXEC);
	assert_int_equal(rootpath_open(fd, "/proc/self/root/etc", O_PATH),
			 -ELOOP);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(users_are_found),
		cmocka_unit_test(users_are_refused),
		cmocka_unit_test(traps_are_empty),
		cmocka_unit_test(a_link_inside_is_followed),
		cmocka_unit_test(folders_are_made_inside),
		cmocka_unit_test(files_are_made_inside),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
