/* SPDX-License-Identifier: Apache-2.0 */
/* What holds hyb-image in, work that is watched, cancelled or short of space,
 * and pulling from a registry. */
#include <sched.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/unit/image_layout.h"

/* -------------------------------------------------------- confinement */

struct status {
	char text[4096];
};

static bool read_status(pid_t pid, struct status *s)
{
	_cleanup_free_ char *text = NULL;
	char path[64];
	size_t len;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (file_read(AT_FDCWD, path, sizeof(s->text) - 1, &text, &len, &e) < 0)
		return false;
	memcpy(s->text, text, len + 1);
	return true;
}

static const char *field(const struct status *s, const char *name)
{
	static char value[100];
	const char *p = strstr(s->text, name);

	if (!p)
		return "";
	p += strlen(name);
	p += strspn(p, ":\t ");
	snprintf(value, sizeof(value), "%.*s", (int)strcspn(p, "\n"), p);
	return value;
}

static bool same_link(pid_t pid, const char *what)
{
	char path[64], a[100] = "", b[100] = "";

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, what);
	assert_true(readlink(path, a, sizeof(a) - 1) > 0);
	snprintf(path, sizeof(path), "/proc/self/%s", what);
	assert_true(readlink(path, b, sizeof(b) - 1) > 0);
	return strcmp(a, b) == 0;
}

/* A conversion of 4 GiB of zeros, which takes long enough to look at it. */
static pid_t start_child(int *sock)
{
	static const char zeros64[] = "0000000000000000000000000000000000000000"
				      "000000000000000000000000";
	int pair[2], out, layer;
	char line[300];
	pid_t pid;

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	out = open(at("out"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	layer = open(at("layer"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(out >= 0 && layer >= 0);
	assert_int_equal(ftruncate(layer, 4ll << 30), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(pair[1], 0);
		dup2(null, 1);
		dup2(null, 2);
		execl(program(), "hyb-image", "convert", "--uid", "64997",
		      "--gid", "64996", NULL);
		_exit(127);
	}
	close(pair[1]);
	snprintf(line, sizeof(line), "out %.32s 0", zeros64);
	assert_int_equal(fds_send(pair[0], line, strlen(line), &out, 1), 0);
	snprintf(line, sizeof(line), "layer 0 %lld %s -", 4ll << 30, zeros64);
	assert_int_equal(fds_send(pair[0], line, strlen(line), &layer, 1), 0);
	assert_int_equal(fds_send(pair[0], "go", 2, NULL, 0), 0);
	close(out);
	close(layer);
	*sock = pair[0];
	return pid;
}

static void test_confined(void **state)
{
	uint64_t deadline = now_ms() + 60000;
	struct status s;
	int sock, st;
	pid_t pid;

	(void)state;
	if (geteuid() != 0) {
		print_message("# host: not root\n");
		skip();
	}
	pid = start_child(&sock);
	do {
		const struct timespec tick = {0, 1000000};

		assert_true(now_ms() < deadline);
		nanosleep(&tick, NULL);
		assert_true(read_status(pid, &s));
	} while (strcmp(field(&s, "Seccomp"), "2") != 0);
	assert_string_equal(field(&s, "Uid"), "64997\t64997\t64997\t64997");
	assert_string_equal(field(&s, "Gid"), "64996\t64996\t64996\t64996");
	assert_string_equal(field(&s, "Groups"), "");
	assert_string_equal(field(&s, "CapPrm"), "0000000000000000");
	assert_string_equal(field(&s, "CapEff"), "0000000000000000");
	assert_string_equal(field(&s, "CapBnd"), "0000000000000000");
	assert_string_equal(field(&s, "NoNewPrivs"), "1");
	assert_false(same_link(pid, "ns/net"));
	assert_false(same_link(pid, "ns/mnt"));
	assert_false(same_link(pid, "ns/ipc"));
	assert_false(same_link(pid, "root") && same_link(pid, "ns/mnt"));
	/* Its descriptors: standard output and error, output, layer. */
	assert_true(sh("test $(ls /proc/%d/fd | wc -l) -le 4", (int)pid) == 0);
	assert_true(sh("grep -q 'Max core file size  *0 ' /proc/%d/limits",
		       (int)pid) == 0);
	/* Every thread is filtered. */
	assert_true(sh("! grep -L 'Seccomp:.2' /proc/%d/task/*/status | grep .",
		       (int)pid) == 0);
	kill(pid, SIGKILL);
	waitpid(pid, &st, 0);
	close(sock);
}

/* --------------------------------------------------- work that is watched */

static int look_up(void *arg, const char *phase, uint64_t done, uint64_t total)
{
	struct image_info *info = NULL;
	int *calls = arg;

	assert_true(total == 0 || done <= total);
	assert_non_null(phase);
	(*calls)++;
	/* Would hang, were the store's lock held meanwhile. */
	assert_int_equal(image_store_get(store, "none:1", &info, NULL),
			 -ENOENT);
	return 0;
}

static int cancel(void *arg, const char *phase, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)done;
	(void)total;
	return strcmp(phase, "convert") == 0;
}

static void test_progress(void **state)
{
	struct image_info **list = NULL;
	struct layout l;
	int calls = 0;

	(void)state;
	make_big(&l);
	assert_int_equal(
		image_store_load(store, l.dir, NULL, cancel, NULL, &list, &e),
		-ECANCELED);
	check_clean(0);
	assert_int_equal(image_store_load(store, l.dir, NULL, look_up, &calls,
					  &list, &e),
			 0);
	image_info_free_list(list);
	assert_true(calls > 1);
	check_clean(1);
	layout_done(&l);
}

/* A store of 1 MB: the image does not fit, the error says so, and what was
 * there stays. */
static void test_disk_full(void **state)
{
	struct layout small, big;
	struct image_info **list = NULL;
	pid_t pid;
	int st;

	(void)state;
	if (geteuid() != 0) {
		print_message("# host: not root\n");
		skip();
	}
	layout_make(&small, "small", "small:1", "f x 1", NULL);
	make_big(&big);
	image_store_close(store);
	store = NULL;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int r;

		/* In a mount namespace that goes with this process. */
		if (unshare(CLONE_NEWNS) < 0 ||
		    sh("mount --make-rprivate / && mount -t tmpfs -o size=1m "
		       "none %s/images",
		       top) != 0)
			_exit(99);
		reopen();
		load_ok(small.dir, NULL, NULL);
		r = load(big.dir, NULL, &list);
		if (r != -ENOSPC || !strstr(e.msg, "No space left")) {
			print_message("# %d %s\n", r, e.msg);
			_exit(1);
		}
		check_clean(1);
		reopen();
		_exit(image_store_get(store, "small:1",
				      &(struct image_info *){NULL}, &e) != 0);
	}
	waitpid(pid, &st, 0);
	assert_int_equal(st, 0);
	layout_done(&small);
	layout_done(&big);
}

/* --------------------------------------------------------------- registry */

static pid_t registry;
static char host[64];

static void start_registry(const char *layout)
{
	_cleanup_free_ char *port = NULL;
	uint64_t deadline = now_ms() + 60000;
	char file[200];
	size_t len;

	snprintf(file, sizeof(file), "%s", at("port"));
	fflush(NULL);
	registry = fork();
	if (registry == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execlp("python3", "python3", "tests/unit/image_registry.py",
		       layout, file, NULL);
		_exit(127);
	}
	while (file_read(AT_FDCWD, file, 100, &port, &len, &e) < 0) {
		const struct timespec tick = {0, 10000000};

		assert_true(now_ms() < deadline);
		nanosleep(&tick, NULL);
	}
	snprintf(host, sizeof(host), "localhost:%s", port);
}

static image_progress on_pull;

static int pull(const char *what, uint64_t timeout_ms, struct image_info **ret)
{
	char ref[200];
	struct image_pull p = {.reference = ref,
			       .no_tls_verify = true,
			       .timeout_ms = timeout_ms};

	snprintf(ref, sizeof(ref), "%s/%s", host, what);
	err_clear(&e);
	return image_store_pull(store, &p, on_pull, NULL, ret, &e);
}

static void expect_pull_error(const char *what, int code, const char *part)
{
	struct image_info *i = NULL;
	int r = pull(what, code == -ETIMEDOUT ? 5000 : 120000, &i);

	if (r != code || !strstr(e.msg, part))
		fail_msg("pull %s: expected %d '%s', got %d '%s'", what, code,
			 part, r, e.msg);
	assert_null(strchr(e.msg, '\n'));
	assert_int_equal(count_files("images/tmp"), 0);
}

static void forget_layers(void)
{
	assert_int_equal(sh("rm -f %s/images/layers/*", top), 0);
}

static void test_pull(void **state)
{
	_cleanup_image_info_ struct image_info *i = NULL;
	struct layout l;
	char ref[200];

	(void)state;
	layout_make(&l, "web", "web:1", "d bin\nf bin/x hello", NULL);
	start_registry(l.dir);
	if (pull("good", 0, &i) < 0)
		fail_msg("%s", e.msg);
	assert_string_equal(i->digest, l.manifest_digest);
	snprintf(ref, sizeof(ref), "%s/good:latest", host);
	get_ok(ref, l.manifest_digest);
	check_clean(1);
	expect_pull_error("good:other", -ENOENT, "manifest unknown");
	forget_layers();
	expect_pull_error("broken", -EIO, "igest did not match");
	expect_pull_error("locked", -EACCES, "pull '");
	assert_non_null(strstr(e.hint, "skopeo login"));
	expect_pull_error("stalled", -ETIMEDOUT, "in time");
	kill(registry, SIGKILL);
	waitpid(registry, NULL, 0);
	expect_pull_error("good", -EIO, "refused");
	check_clean(1);
	expect_pull_error("-option", -EINVAL, "not a name");
	layout_done(&l);
}

/* Puts a member of this name into the layer of the manifest. */
static void lead_away(struct layout *l, const char *key)
{
	static const char at_end[] = "}]}";
	_cleanup_buf_ struct buf b = BUF_INIT;

	layout_manifest(l);
	assert_true(l->manifest.len > strlen(at_end));
	buf_append(&b, l->manifest.data, l->manifest.len - strlen(at_end));
	buf_printf(&b, ",\"%s\":[\"http://%s/v2/elsewhere/x/y\"]%s", key, host,
		   at_end);
	buf_clear(&l->manifest);
	buf_append(&l->manifest, b.data, b.len);
	buf_clear(&l->index);
	layout_index(l, "web:1");
}

static int may_any(void *arg, const char *full, struct err *err)
{
	(void)err;
	*(int *)arg += strstr(full, "/good:latest") != NULL;
	return 0;
}

/* A strict pull goes nowhere but to the registry, whatever the manifest says
 * and however it writes that. */
static void test_pull_strict(void **state)
{
	static const char *const keys[] = {"urls", "URLs", "url\xc5\xbf"};
	_cleanup_image_info_ struct image_info *i = NULL;
	char ref[200];
	int asked = 0;
	struct image_pull p = {.reference = ref,
			       .no_tls_verify = true,
			       .may = may_any,
			       .may_arg = &asked,
			       .strict = true};
	struct layout l;
	size_t k;

	(void)state;
	layout_make(&l, "web", "web:1", "d bin\nf bin/x hello", NULL);
	start_registry(l.dir);
	snprintf(ref, sizeof(ref), "%s/good", host);
	if (image_store_pull(store, &p, NULL, NULL, &i, &e) < 0)
		fail_msg("%s", e.msg);
	assert_string_equal(i->digest, l.manifest_digest);
	get_ok(ref, l.manifest_digest);
	assert_int_equal(asked, 1);
	for (k = 0; k < ARRAY_SIZE(keys); k++) {
		lead_away(&l, keys[k]);
		image_info_free(steal_ptr(i));
		forget_layers();
		p.strict = true;
		assert_int_equal(
			image_store_pull(store, &p, NULL, NULL, &i, &e),
			-EPERM);
		assert_non_null(strstr(e.msg, "`urls`"));
		assert_int_equal(access(at("port.elsewhere"), F_OK), -1);
		/* It is what skopeo would do. */
		p.strict = false;
		assert_true(image_store_pull(store, &p, NULL, NULL, &i, &e) <
			    0);
		assert_int_equal(unlink(at("port.elsewhere")), 0);
	}
	snprintf(ref, sizeof(ref), "%s/good:other", host);
	p.strict = true;
	assert_int_equal(image_store_pull(store, &p, NULL, NULL, &i, &e),
			 -ENOENT);
	snprintf(ref, sizeof(ref), "%s/locked", host);
	assert_int_equal(image_store_pull(store, &p, NULL, NULL, &i, &e),
			 -EACCES);
	kill(registry, SIGKILL);
	waitpid(registry, NULL, 0);
	layout_done(&l);
}

/* Credentials are a stranger's: they name no program for skopeo to run. */
static void test_pull_auth(void **state)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{\"auths\":[]}",
		"{\"auths\":{},\"credsStore\":\"x\"}",
		"{\"credHelpers\":{\"localhost\":\"x\"}}",
		"{\"auths\":{}} {\"credsStore\":\"x\"}",
	};
	struct image_pull p = {.reference = "localhost:1/web"};
	struct image_info *i = NULL;
	size_t k;

	(void)state;
	for (k = 0; k < ARRAY_SIZE(bad); k++) {
		p.auth = bad[k];
		err_clear(&e);
		assert_int_equal(
			image_store_pull(store, &p, NULL, NULL, &i, &e),
			-EINVAL);
		assert_non_null(strstr(e.msg, "\"auths\" alone"));
	}
	check_clean(0);
}

/* Only the manifest says how much there is to come. */
static uint64_t told_total;

static int until_total(void *arg, const char *phase, uint64_t done,
		       uint64_t total)
{
	(void)arg;
	assert_string_equal(phase, "fetch");
	assert_true(!total || done <= total);
	told_total = total;
	return total != 0;
}

/* A registry whose layers do not come: the size is told meanwhile. */
static void test_pull_size(void **state)
{
	struct image_info *i = NULL;
	uint64_t size;
	struct layout l;

	(void)state;
	layout_make(&l, "web", "web:1", "d bin\nf bin/x hello", NULL);
	start_registry(l.dir);
	assert_int_equal(pull("good", 0, &i), 0);
	size = i->size + l.config.len;
	image_info_free(i);
	forget_layers();
	on_pull = until_total;
	assert_int_equal(pull("stalled", 60000, &i), -ECANCELED);
	on_pull = NULL;
	assert_int_equal(told_total, size);
	check_clean(1);
	kill(registry, SIGKILL);
	waitpid(registry, NULL, 0);
	layout_done(&l);
}

struct puller {
	pthread_t thread;
	struct image_pull p;
	image_progress progress;
	struct image_info *info;
	struct err err;
	int r;
};

static void *on_puller(void *arg)
{
	struct puller *u = arg;

	u->r = image_store_pull(store, &u->p, u->progress, NULL, &u->info,
				&u->err);
	return NULL;
}

static int give_up(void *arg, const char *phase, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)phase;
	(void)done;
	(void)total;
	return 1;
}

static size_t layers_asked(void)
{
	struct stat st;

	if (stat(at("port.count"), &st) < 0)
		return 0;
	return (size_t)st.st_size / 6;
}

/* first_gives_up: the first one starts alone, and cancels. */
static void pull_at_once(const char *what, bool first_gives_up, int want)
{
	struct puller u[4] = {{.r = 1}};
	char ref[200];
	size_t i;

	snprintf(ref, sizeof(ref), "%s/%s", host, what);
	for (i = 0; i < ARRAY_SIZE(u); i++) {
		const struct timespec tick = {0, 50000000};

		u[i].p = (struct image_pull){.reference = ref,
					     .no_tls_verify = true,
					     .timeout_ms = 120000};
		u[i].progress = first_gives_up && i == 0 ? give_up : NULL;
		assert_int_equal(
			pthread_create(&u[i].thread, NULL, on_puller, &u[i]),
			0);
		if (i == 0)
			nanosleep(&tick, NULL);
	}
	for (i = 0; i < ARRAY_SIZE(u); i++) {
		int wanted = first_gives_up && i == 0 ? -ECANCELED : want;

		pthread_join(u[i].thread, NULL);
		if (u[i].r != wanted)
			fail_msg("pull %zu: %d '%s'", i, u[i].r, u[i].err.msg);
		if (u[i].r == 0)
			image_info_free(u[i].info);
	}
	assert_int_equal(count_files("images/tmp"), 0);
}

static void test_pull_once(void **state)
{
	struct layout l;
	char ref[200];

	(void)state;
	layout_make(&l, "web", "web:1", "d bin\nf bin/x hello", NULL);
	start_registry(l.dir);
	pull_at_once("counted", false, 0);
	assert_int_equal(layers_asked(), 1);
	snprintf(ref, sizeof(ref), "%s/counted:latest", host);
	get_ok(ref, l.manifest_digest);
	pull_at_once("counted:none", false, -ENOENT);
	pull_at_once("counted", true, 0);
	assert_true(layers_asked() <= 3);
	check_clean(1);
	kill(registry, SIGKILL);
	waitpid(registry, NULL, 0);
	layout_done(&l);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_confined),	TEST(test_progress),
		TEST(test_disk_full),	TEST(test_pull),
		TEST(test_pull_strict), TEST(test_pull_once),
		TEST(test_pull_size),	TEST(test_pull_auth),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
