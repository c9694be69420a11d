/* SPDX-License-Identifier: Apache-2.0 */
/* Where no hybd answers hyb starts one: once, however many ask. This program
 * plays that hybd too. */
#include "tests/unit/cli_fake.h"

#include <limits.h>
#include <sys/stat.h>

static const struct answer answers[] = {
	{.method = "Ps", .replies = {"{\"rows\":[]}"}}, {0}};

static char self[PATH_MAX];

/* ---------------------------------------------------------------- its hybd */

static void note_start(const char *root, int argc, char **argv)
{
	char path[256], text[512] = "";
	int fd, i;

	snprintf(path, sizeof(path), "%s/starts", root);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	for (i = 2; i < argc; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "%s ", argv[i]);
	snprintf(text + strlen(text), sizeof(text) - strlen(text),
		 "sid=%d pid=%d\n", getsid(0) == getpid(), (int)getpid());
	if (write(fd, text, strlen(text)) < 0)
		abort();
	close(fd);
}

static int play_hybd(int argc, char **argv)
{
	const char *mode = getenv("HYB_FAKE"), *root = "";
	const struct timespec nap = {.tv_nsec = 200 * 1000 * 1000};
	int ready = -1, i;

	for (i = 2; i + 1 < argc; i++) {
		if (strcmp(argv[i], "--root") == 0)
			root = argv[i + 1];
		if (strcmp(argv[i], "--daemon-ready-fd") == 0)
			ready = atoi(argv[i + 1]);
	}
	note_start(root, argc, argv);
	if (mode && strcmp(mode, "fail") == 0) {
		fputs("2026-01-01T00:00:00.000Z info hybd: looking\n"
		      "2026-01-01T00:00:00.000Z error hybd: no \x1b[1m luck\n"
		      "2026-01-01T00:00:00.000Z error hybd: hint: try more\n",
		      stderr);
		return 1;
	}
	nanosleep(&nap, NULL);
	fake.answers = answers;
	snprintf(fake.socket, sizeof(fake.socket), "%s/hybd.sock", root);
	fake.listen_fd = unix_listen(fake.socket, 0600, 16, NULL);
	if (fake.listen_fd < 0 || write(ready, "1", 1) != 1)
		return 1;
	close(ready);
	/* Serves until it is killed, or for a minute. */
	alarm(60);
	fake_accept(NULL);
	return 0;
}

/* --------------------------------------------------------------------- tests */

static int setup(void **state)
{
	char path[128], text[PATH_MAX + 64], search[256];
	struct err e = ERR_INIT;

	(void)state;
	fake_root();
	snprintf(path, sizeof(path), "%s/bin", fake.root);
	mkdir(path, 0755);
	snprintf(search, sizeof(search), "%s:/usr/bin:/bin", path);
	setenv("PATH", search, 1);
	snprintf(path, sizeof(path), "%s/bin/hybd", fake.root);
	snprintf(text, sizeof(text),
		 "#!/bin/sh\nexec '%s' --play-hybd \"$@\"\n", self);
	if (file_write_atomic(path, text, strlen(text), 0755, &e) < 0)
		fail_msg("%s", e.msg);
	unsetenv("HYB_FAKE");
	return 0;
}

static char *starts(void)
{
	char path[128], *text = NULL;

	snprintf(path, sizeof(path), "%s/starts", fake.root);
	if (file_read(AT_FDCWD, path, 65536, &text, NULL, NULL) < 0)
		return strdup("");
	return text;
}

static size_t count_lines(const char *s)
{
	size_t n = 0;

	for (; *s; s++)
		n += *s == '\n';
	return n;
}

/* Ends the hybd that was started: the last field of each line is its pid. */
static int teardown(void **state)
{
	char *text = starts(), *p = text;
	int pid;

	(void)state;
	while ((p = strstr(p, "pid="))) {
		pid = atoi(p + 4);
		if (pid > 1)
			kill(pid, SIGKILL);
		p += 4;
	}
	free(text);
	fake.n_calls = 0;
	fake_stop();
	return 0;
}

static void test_start(void **state)
{
	char want[256], *text;
	struct ran r;

	(void)state;
	r = HYB("ps", "-ojson", "--accel=tcg", "--connect", "qemu:///x");
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "[]\n");
	assert_non_null(strstr(r.err, "': starting one\nhyb: hybd is up"));
	ran_done(&r);
	text = starts();
	snprintf(want, sizeof(want),
		 "--root %s --connect qemu:///x --accel tcg --daemon-ready-fd "
		 "3 sid=1 ",
		 fake.root);
	assert_memory_equal(text, want, strlen(want));
	free(text);
	/* It is there now. */
	r = HYB("ps", "-ojson");
	assert_int_equal(r.status, 0);
	assert_string_equal(r.err, "");
	ran_done(&r);
	text = starts();
	assert_int_equal(count_lines(text), 1);
	free(text);
}

#define RACERS 6

static void test_race(void **state)
{
	struct hyb h[RACERS];
	struct ran r;
	char *text;
	size_t i;

	(void)state;
	for (i = 0; i < RACERS; i++)
		hyb_start_fds(&h[i], -1, -1, -1, WORDS("ps", "-ojson"));
	for (i = 0; i < RACERS; i++) {
		r = hyb_wait(&h[i]);
		assert_int_equal(r.status, 0);
		assert_string_equal(r.out, "[]\n");
		ran_done(&r);
	}
	text = starts();
	assert_int_equal(count_lines(text), 1);
	free(text);
}

static void test_stale_socket(void **state)
{
	struct ran r;
	int fd;

	(void)state;
	fd = unix_listen(fake.socket, 0600, 1, NULL);
	assert_true(fd >= 0);
	close(fd); /* its file stays, as after a kill -9 */
	r = HYB("ps", "-ojson");
	assert_int_equal(r.status, 0);
	ran_done(&r);
}

static void test_fails(void **state)
{
	struct ran r;

	(void)state;
	setenv("HYB_FAKE", "fail", 1);
	r = HYB("ps");
	assert_int_equal(r.status, CLI_UNREACHABLE);
	assert_non_null(strstr(r.err, "hyb: ps: hybd ended: no \\x1b[1m luck\n"
				      "hint: try more\n"));
	ran_done(&r);
}

static void test_no_program(void **state)
{
	struct ran r;

	(void)state;
	setenv("PATH", "/nonexistent", 1);
	r = HYB("ps");
	assert_int_equal(r.status, CLI_UNREACHABLE);
	assert_non_null(strstr(r.err, "no program hybd"));
	ran_done(&r);
	/* What needs no hybd does not look for one. */
	r = HYB("version", "--client");
	assert_int_equal(r.status, 0);
	assert_string_equal(r.err, "");
	ran_done(&r);
}

static void test_root_too_long(void **state)
{
	char root[160];
	struct ran r;

	(void)state;
	memset(root, 'x', sizeof(root) - 1);
	root[0] = '/';
	root[sizeof(root) - 1] = '\0';
	r = HYB("ps", "--root", root);
	assert_int_equal(r.status, CLI_USAGE);
	assert_non_null(strstr(r.err, "at most 107 bytes"));
	ran_done(&r);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_start), T(test_race),	   T(test_stale_socket),
		T(test_fails), T(test_no_program), T(test_root_too_long),
	};

	if (argc > 1 && strcmp(argv[1], "--play-hybd") == 0)
		return play_hybd(argc, argv);
	if (!realpath("/proc/self/exe", self))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
