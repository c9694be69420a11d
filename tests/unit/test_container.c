/* SPDX-License-Identifier: Apache-2.0 */
/* The engine on the machine that the tests run on: life and death of real
 * containers in a folder, and that a creation that fails leaves nothing. Needs
 * root and a static busybox. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/container/container.h"
#include "guest-agent/sys/caps.h"

#define BUSYBOX "/usr/bin/busybox"
#define IDS	(HYB_CONTAINER_IDS * 900u)

static char top[64], rootfs[96];
static bool possible;
static const char *reason;

static void copy_busybox(void)
{
	_cleanup_free_ char *data = NULL;
	struct err e = ERR_INIT;
	char path[160];
	size_t len;

	assert_int_equal(
		file_read(AT_FDCWD, BUSYBOX, 64u << 20, &data, &len, &e), 0);
	snprintf(path, sizeof(path), "%s/bin/busybox", rootfs);
	assert_int_equal(file_write_atomic(path, data, len, 0755, &e), 0);
}

static void add(const char *format_path, const char *text, mode_t mode)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", rootfs, format_path);
	assert_int_equal(
		file_write_atomic(path, text, strlen(text), mode, NULL), 0);
}

static int set_up(void **state)
{
	static const char *const dirs[] = {"bin", "etc", "proc", "sys",
					   "dev", "tmp", "sub"};
	static const char *const links[] = {"sh",    "true", "cat",
					    "sleep", "echo", "tty",
					    "id",    "stty", "grep"};
	char path[160];
	size_t i;

	(void)state;
	if (geteuid() != 0)
		reason = "host: not root";
	else if (access(BUSYBOX, X_OK) != 0)
		reason = "host: no busybox";
	if (reason)
		return 0;
	possible = true;
	/* What others mount meanwhile is not counted. */
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	snprintf(top, sizeof(top), "/tmp/hyb-test-box.XXXXXX");
	assert_non_null(mkdtemp(top));
	/* Ids of the container are nobody's here. */
	assert_int_equal(chmod(top, 0755), 0);
	snprintf(rootfs, sizeof(rootfs), "%s/root", top);
	assert_int_equal(mkdir(rootfs, 0755), 0);
	assert_int_equal(chown(rootfs, IDS, IDS), 0);
	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s/%s", rootfs, dirs[i]);
		assert_int_equal(mkdir(path, 0755), 0);
	}
	copy_busybox();
	for (i = 0; i < ARRAY_SIZE(links); i++) {
		snprintf(path, sizeof(path), "%s/bin/%s", rootfs, links[i]);
		assert_int_equal(symlink("busybox", path), 0);
	}
	add("etc/passwd", "root:x:0:0::/root:/bin/sh\nu:x:7:8::/:\n", 0644);
	add("etc/group", "root:x:0:\n", 0644);
	snprintf(path, sizeof(path), "%s/link", rootfs);
	assert_int_equal(symlink("/sub", path), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return possible ? path_remove(top, NULL) : 0;
}

/* --------------------------------------------------------------- machinery */

struct box {
	struct container *c;
	struct container_failure failure;
	struct err e;
	int out; /* what the process writes */
	char text[4096];
};

#define need_machine()                                          \
	do {                                                    \
		if (!possible) {                                \
			print_message("skipped: %s\n", reason); \
			skip();                                 \
		}                                               \
	} while (0)

static struct oci_runtime *config_with(const char *args, const char *namespaces,
				       const char *more)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	struct oci_runtime *c = NULL;
	struct err e = ERR_INIT;

	buf_printf(&b,
		   "{\"ociVersion\":\"1.2.0\",\"process\":{\"cwd\":\"/\","
		   "\"env\":[\"PATH=/bin\"],\"args\":%s},"
		   "\"linux\":{\"namespaces\":[%s]}%s}",
		   args, namespaces, more);
	if (oci_runtime_parse_text(buf_str(&b), b.len, &c, &e) < 0)
		fail_msg("%s", e.msg);
	return c;
}

static struct oci_runtime *config_of(const char *args, const char *more)
{
	return config_with(args, "{\"type\":\"network\"}", more);
}

/* A cgroup's name, too: two runs at once have two. */
static const char *box_id(void)
{
	static char id[32];

	snprintf(id, sizeof(id), "unit-box-%d", (int)getpid());
	return id;
}

static int make_of(struct box *b, struct container_spec *spec)
{
	int pair[2], r;

	memset(b, 0, sizeof(*b));
	b->out = -1;
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	spec->id = box_id();
	spec->rootfs.dir = rootfs;
	spec->search_path = true;
	spec->stdio[1] = pair[1];
	r = container_create(spec, &b->c, &b->failure, &b->e);
	close(pair[1]);
	b->out = pair[0];
	return r;
}

static int make(struct box *b, const struct oci_runtime *config,
		const char *user, bool init)
{
	struct container_spec spec = CONTAINER_SPEC_INIT;

	spec.config = config;
	spec.defaults = true;
	spec.ids_base = IDS;
	spec.user = user;
	spec.init = init;
	return make_of(b, &spec);
}

/* As hyb-runtime makes one: just what is asked for, ids as they are outside. */
static void start_plain(struct box *b, const struct oci_runtime *config)
{
	struct container_spec spec = CONTAINER_SPEC_INIT;

	spec.config = config;
	if (make_of(b, &spec) < 0 || container_start(b->c, NULL, &b->e) < 0)
		fail_msg("%s", b->e.msg);
}

/* As a caller reaps who does not tell the engine. */
static int reap_unseen(struct box *b)
{
	struct container_info info;
	int status;

	container_get_info(b->c, &info);
	assert_int_equal(
		fd_wait(container_pidfd(b->c), POLLIN, now_ms() + 60000), 0);
	assert_int_equal(waitpid(info.pid, &status, 0), info.pid);
	return status;
}

static void reap(struct box *b)
{
	container_ended(b->c, reap_unseen(b));
}

static void finish(struct box *b)
{
	ssize_t n;

	n = read_full(b->out, b->text, sizeof(b->text) - 1);
	b->text[n > 0 ? n : 0] = '\0';
	close(b->out);
}

static void run(struct box *b, const char *args, const char *more,
		const char *user, bool init)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *config =
		config_of(args, more);

	if (make(b, config, user, init) < 0)
		fail_msg("%s", b->e.msg);
	if (container_start(b->c, &b->failure, &b->e) < 0)
		fail_msg("%s", b->e.msg);
	reap(b);
	finish(b);
}

static void done(struct box *b)
{
	if (container_delete(b->c, false, &b->e) < 0)
		fail_msg("%s", b->e.msg);
}

static size_t count_lines(const char *path)
{
	FILE *f = fopen(path, "re");
	size_t n = 0;
	int c;

	assert_non_null(f);
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static size_t count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

struct traces {
	size_t fds, mounts;
};

static struct traces look(void)
{
	return (struct traces){count_fds(), count_lines("/proc/self/mounts")};
}

/* Nothing is left but what was there. */
static void assert_unchanged(struct traces before)
{
	static const char *const tops[] = {"/sys/fs/cgroup/unified",
					   "/sys/fs/cgroup"};
	struct traces now = look();
	char path[128];
	size_t i;

	assert_int_equal(now.fds, before.fds);
	assert_int_equal(now.mounts, before.mounts);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	for (i = 0; i < ARRAY_SIZE(tops); i++) {
		snprintf(path, sizeof(path), "%s/hyb/%s", tops[i], box_id());
		assert_int_equal(access(path, F_OK), -1);
	}
}

/* ------------------------------------------------------------------- tests */

static void lives_and_ends(void **state)
{
	struct container_info info;
	struct traces before;
	struct box b;

	(void)state;
	need_machine();
	assert_int_equal(container_engine_setup(NULL), 0);
	run(&b, "[\"echo\",\"hello\"]", "", NULL, false);
	done(&b);
	before = look();
	run(&b, "[\"sh\",\"-c\",\"echo $$; exit 7\"]", "", NULL, false);
	container_get_info(b.c, &info);
	assert_int_equal(info.status, CONTAINER_STOPPED);
	assert_int_equal(info.exit_code, 7);
	assert_int_equal(info.signal, 0);
	assert_int_equal(info.pid, 0);
	assert_string_equal(info.reason, "Error");
	assert_true(info.created_at && info.created_at <= info.started_at &&
		    info.started_at <= info.finished_at);
	assert_string_equal(b.text, "1\n");
	done(&b);
	run(&b, "[\"true\"]", "", NULL, false);
	container_get_info(b.c, &info);
	assert_string_equal(info.reason, "Completed");
	done(&b);
	assert_unchanged(before);
}

static void is_confined(void **state)
{
	struct box b;

	(void)state;
	need_machine();
	run(&b,
	    "[\"sh\",\"-c\",\"id -u; cat /proc/self/uid_map; grep -E "
	    "'^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; ls /proc | "
	    "grep -c ^[0-9]; ls /proc/self/fd\"]",
	    "", NULL, false);
	done(&b);
	assert_non_null(strstr(b.text, "CapEff:\t00000000800405fb"));
	assert_non_null(strstr(b.text, "NoNewPrivs:\t1"));
	assert_non_null(strstr(b.text, "Seccomp:\t2"));
	assert_non_null(strstr(b.text, "58982400      65536"));
	assert_int_equal(strncmp(b.text, "0\n", 2), 0);
	/* Standard streams and the one that lists them. */
	assert_non_null(strstr(b.text, "\n0\n1\n2\n3\n"));
	run(&b, "[\"sh\",\"-c\",\"id; grep CapEff /proc/self/status\"]", "",
	    "u", false);
	done(&b);
	assert_non_null(strstr(b.text, "uid=7(u) gid=8"));
	assert_non_null(strstr(b.text, "CapEff:\t0000000000000000"));
	run(&b, "[\"sh\",\"-c\",\"ulimit -Hc\"]", "", NULL, false);
	done(&b);
	assert_string_equal(b.text, "0\n");
}

static void a_start_can_fail(void **state)
{
	static const struct {
		const char *args, *word;
		int code;
	} cases[] = {
		{"[\"/nothing\"]", "/nothing", 127},
		{"[\"nothing\"]", "nothing", 127},
		{"[\"/etc/passwd\"]", "/etc/passwd", 126},
		{"[\"/etc\"]", "/etc", 126},
		{"[\"/etc/passwd/x\"]", "/etc/passwd/x", 127},
		{"[\"/proc/self/exe\"]", "/proc/self/exe", 126},
	};
	struct container_info info;
	struct traces before;
	struct box b;
	size_t i;

	(void)state;
	need_machine();
	before = look();
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(cleanup_oci_runtime) struct oci_runtime *config =
			config_of(cases[i].args, "");

		/* Both as PID 1 and below a reaper. */
		assert_int_equal(make(&b, config, NULL, i % 2), 0);
		assert_true(container_start(b.c, &b.failure, &b.e) < 0);
		assert_int_equal(b.failure.exit_code, cases[i].code);
		assert_string_equal(b.failure.step, "exec");
		assert_non_null(strstr(b.e.msg, cases[i].word));
		reap(&b);
		container_get_info(b.c, &info);
		assert_string_equal(info.reason, "StartError");
		assert_int_equal(info.exit_code, cases[i].code);
		assert_non_null(strstr(info.message, cases[i].word));
		finish(&b);
		done(&b);
	}
	assert_unchanged(before);
}

/* The process was told to go on and what came back makes no sense to the
 * caller: whatever runs then is killed, and nothing stays "created". */
static void a_start_that_is_not_understood_kills(void **state)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *config =
		config_of("[\"sleep\",\"1000\"]", "");
	struct container_spec spec = CONTAINER_SPEC_INIT;
	struct container_info info;
	struct container *other;
	struct traces before;
	struct box b;
	int pair[2];

	(void)state;
	need_machine();
	before = look();
	assert_int_equal(make(&b, config, NULL, false), 0);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(send(pair[1], "nonsense", 8, 0), 8);
	container_get_info(b.c, &info);
	spec.id = box_id();
	spec.defaults = true;
	spec.ids_base = IDS;
	if (container_attach(&spec, info.pid,
			     fcntl(container_pidfd(b.c), F_DUPFD_CLOEXEC, 3),
			     CONTAINER_CREATED, pair[0], &other, &b.e) < 0)
		fail_msg("%s", b.e.msg);
	assert_int_equal(container_start(other, &b.failure, &b.e), -EPROTO);
	assert_int_equal(container_start(other, NULL, &b.e), -EINVAL);
	container_free_attached(other);
	close(pair[1]);
	reap(&b);
	container_get_info(b.c, &info);
	assert_int_equal(info.status, CONTAINER_STOPPED);
	assert_int_equal(info.signal, SIGKILL);
	finish(&b);
	done(&b);
	assert_unchanged(before);
}

static void is_killed(void **state)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *config =
		config_of("[\"sleep\",\"1000\"]", "");
	struct oci_device_rule rule = {.allow = true};
	const struct oci_resources devices = {.devices = &rule, .n_devices = 1};
	struct container_info info;
	struct traces before;
	struct box b;

	(void)state;
	need_machine();
	before = look();
	assert_int_equal(make(&b, config, NULL, false), 0);
	/* Of a state that it is not in. */
	assert_int_equal(container_pause(b.c, &b.e), -EINVAL);
	assert_int_equal(container_delete(b.c, false, &b.e), -EBUSY);
	assert_int_equal(container_start(b.c, NULL, &b.e), 0);
	assert_int_equal(container_start(b.c, NULL, &b.e), -EINVAL);
	assert_int_equal(container_kill(b.c, 1000, false, &b.e), -EINVAL);
	/* Not ignored: who asks must not believe that it was done. */
	assert_int_equal(container_update(b.c, &devices, &b.e), -ENOTSUP);
	assert_int_equal(container_kill(b.c, SIGKILL, true, &b.e), 0);
	reap(&b);
	container_get_info(b.c, &info);
	assert_int_equal(info.signal, SIGKILL);
	assert_int_equal(info.exit_code, 137);
	assert_string_equal(info.reason, "Stopped");
	assert_int_equal(container_kill(b.c, SIGKILL, true, &b.e), -ESRCH);
	finish(&b);
	done(&b);
	/* By force: created only, and running under a reaper. */
	assert_int_equal(make(&b, config, NULL, false), 0);
	assert_int_equal(container_delete(b.c, true, &b.e), 0);
	finish(&b);
	assert_int_equal(make(&b, config, NULL, true), 0);
	assert_int_equal(container_start(b.c, NULL, &b.e), 0);
	assert_int_equal(container_delete(b.c, true, &b.e), 0);
	finish(&b);
	assert_unchanged(before);
}

/* The first line of what it writes: then it is there. */
static void read_word(struct box *b, const char *want)
{
	size_t len = strlen(want);

	assert_true(len < sizeof(b->text));
	assert_int_equal(fd_wait(b->out, POLLIN, now_ms() + 60000), 0);
	assert_int_equal(read_full(b->out, b->text, len), (int)len);
	assert_memory_equal(b->text, want, len);
}

/* Nobody has its pipe's other end any more. */
static void assert_all_ended(struct box *b)
{
	assert_int_equal(fd_wait(b->out, POLLIN, now_ms() + 60000), 0);
	assert_int_equal(read(b->out, b->text, 1), 0);
	close(b->out);
}

static struct container *attach_stopped(struct box *b)
{
	struct container_spec spec = CONTAINER_SPEC_INIT;
	struct container *c;

	spec.id = box_id();
	if (container_attach(&spec, 0, -1, CONTAINER_STOPPED, -1, &c, &b->e) <
	    0)
		fail_msg("%s", b->e.msg);
	return c;
}

/* Where the pid namespace is not its own the kernel ends nobody with the first
 * process: the engine has to, on every way to an end. */
static void nobody_outlives_it(void **state)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *leaves =
		config_with("[\"sh\",\"-c\",\"sleep 1000 & echo here\"]",
			    "{\"type\":\"mount\"}", "");
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *stays = config_with(
		"[\"sh\",\"-c\",\"sleep 1000 & echo here; exec sleep 1000\"]",
		"{\"type\":\"mount\"}", "");
	struct traces before;
	struct container *other;
	struct box b;

	(void)state;
	need_machine();
	before = look();
	start_plain(&b, stays);
	if (!container_has_cgroup(b.c)) {
		container_delete(b.c, true, NULL);
		close(b.out);
		print_message("skipped: host: no cgroup v2\n");
		skip();
	}
	read_word(&b, "here\n");
	assert_int_equal(container_delete(b.c, true, &b.e), 0);
	assert_all_ended(&b);
	start_plain(&b, stays);
	read_word(&b, "here\n");
	assert_int_equal(container_kill(b.c, SIGKILL, true, &b.e), 0);
	assert_all_ended(&b);
	reap(&b);
	done(&b);
	/* The first process's end is all that happens. */
	start_plain(&b, leaves);
	read_word(&b, "here\n");
	reap(&b);
	assert_all_ended(&b);
	done(&b);
	/* Nobody saw that end: a later call finds what lives on. */
	start_plain(&b, leaves);
	read_word(&b, "here\n");
	reap_unseen(&b);
	other = attach_stopped(&b);
	assert_int_equal(container_kill(other, SIGKILL, true, &b.e), 0);
	assert_all_ended(&b);
	assert_int_equal(container_delete(other, false, &b.e), 0);
	container_free_attached(b.c);
	start_plain(&b, leaves);
	read_word(&b, "here\n");
	reap_unseen(&b);
	if (container_delete(attach_stopped(&b), false, &b.e) < 0)
		fail_msg("%s", b.e.msg);
	assert_all_ended(&b);
	container_free_attached(b.c);
	assert_unchanged(before);
}

static void freezes(void **state)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *config =
		config_of("[\"sleep\",\"1000\"]", "");
	const char *const args[] = {"true", NULL};
	struct container_exec_spec spec = {
		.args = args, .search_path = true, .stdio = {-1, -1, -1}};
	struct container_process p;
	struct container_info info;
	struct box b;

	(void)state;
	need_machine();
	assert_int_equal(make(&b, config, NULL, false), 0);
	assert_int_equal(container_start(b.c, NULL, &b.e), 0);
	if (container_pause(b.c, &b.e) == -ENOTSUP) {
		container_delete(b.c, true, NULL);
		finish(&b);
		print_message("skipped: host: no cgroup v2\n");
		skip();
	}
	container_get_info(b.c, &info);
	assert_int_equal(info.status, CONTAINER_PAUSED);
	assert_int_equal(container_exec(b.c, &spec, &p, NULL, &b.e), -EINVAL);
	assert_int_equal(container_pause(b.c, &b.e), 0);
	assert_int_equal(container_resume(b.c, &b.e), 0);
	container_get_info(b.c, &info);
	assert_int_equal(info.status, CONTAINER_RUNNING);
	/* A frozen one can be killed. */
	assert_int_equal(container_pause(b.c, &b.e), 0);
	assert_int_equal(container_delete(b.c, true, &b.e), 0);
	finish(&b);
}

static int exec_status(struct box *b, const char *const *args, const char *user,
		       char *out, size_t size)
{
	struct container_exec_spec spec = {.args = args,
					   .user = user,
					   .search_path = true,
					   .stdio = {-1, -1, -1}};
	struct container_process p;
	int pair[2], status;
	ssize_t n;

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	spec.stdio[1] = pair[1];
	memset(&b->failure, 0, sizeof(b->failure));
	if (container_exec(b->c, &spec, &p, &b->failure, &b->e) < 0) {
		close(pair[0]);
		close(pair[1]);
		return -b->failure.exit_code;
	}
	close(pair[1]);
	n = read_full(pair[0], out, size - 1);
	out[n > 0 ? n : 0] = '\0';
	close(pair[0]);
	assert_int_equal(p.console, -1);
	assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
	close(p.pidfd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Some that nobody has, whatever is asked for; and another user of an exec has
 * none. */
static void some_capabilities_nobody_has(void **state)
{
	const char *args[] = {"sh", "-c",
			      "grep -E '^Cap(Prm|Bnd)' "
			      "/proc/self/status",
			      NULL};
	const char *caps[] = {"CAP_SYS_ADMIN", "CAP_MKNOD", "CAP_KILL", NULL};
	struct oci_capabilities all = {
		.bounding = caps, .effective = caps, .permitted = caps};
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *config =
		config_of("[\"sleep\",\"1000\"]", "");
	char out[256] = "";
	struct box b;

	(void)state;
	need_machine();
	config->process->capabilities = &all;
	if (make(&b, config, NULL, false) < 0)
		fail_msg("%s", b.e.msg);
	assert_int_equal(container_start(b.c, NULL, &b.e), 0);
	assert_int_equal(exec_status(&b, args, NULL, out, sizeof(out)), 0);
	assert_string_equal(out, "CapPrm:\t0000000000000020\n"
				 "CapBnd:\t0000000000000020\n");
	assert_int_equal(exec_status(&b, args, "u", out, sizeof(out)), 0);
	assert_string_equal(out, "CapPrm:\t0000000000000000\n"
				 "CapBnd:\t0000000000000000\n");
	assert_int_equal(container_delete(b.c, true, &b.e), 0);
	finish(&b);
}

/* What this process has, without any that an exec would inherit. */
static struct cap_sets own_capabilities(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];

	assert_int_equal(syscall(SYS_capget, &header, d), 0);
	return (struct cap_sets){
		.effective = (uint64_t)d[1].effective << 32 | d[0].effective,
		.permitted = (uint64_t)d[1].permitted << 32 | d[0].permitted};
}

/* Its own only, not those that the engine may have been started with. */
static void ambient_capabilities_are_not_inherited(void **state)
{
	const char *caps[] = {"CAP_KILL", NULL};
	struct oci_capabilities some = {.bounding = caps,
					.effective = caps,
					.permitted = caps,
					.inheritable = caps};
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *config = config_with(
		"[\"grep\",\"-E\",\"^Cap(Inh|Amb)\",\"/proc/self/status\"]",
		"{\"type\":\"mount\"}",
		",\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\"}]");
	struct cap_sets sets;
	struct box b;

	(void)state;
	need_machine();
	sets = own_capabilities();
	sets.inheritable = sets.ambient = UINT64_C(1) << CAP_KILL;
	assert_int_equal(caps_apply(&sets, caps_last()), 0);
	config->process->capabilities = &some;
	start_plain(&b, config);
	sets.inheritable = sets.ambient = 0;
	assert_int_equal(caps_apply(&sets, caps_last()), 0);
	reap(&b);
	finish(&b);
	done(&b);
	assert_string_equal(b.text, "CapInh:\t0000000000000020\n"
				    "CapAmb:\t0000000000000000\n");
}

static bool make_node(const char *name, unsigned int minor)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", rootfs, name);
	return mknod(path, S_IFCHR | 0666, makedev(1, minor)) == 0 &&
	       chmod(path, 0666) == 0;
}

/* Nodes of the machine's memory and its log, which an image may come with. */
static void other_devices_do_not_open(void **state)
{
	static const char args[] =
		"[\"sh\",\"-c\",\"for d in mem kmsg mine; do m=$( (exec "
		"3>>/$d) 2>&1 ); echo $d${m##*:}; done\"]";
	static const char want[] = "mem Operation not permitted\n"
				   "kmsg Operation not permitted\nmine\n";
	const char *caps[] = {"CAP_SYS_RAWIO", "CAP_SYSLOG", NULL};
	struct oci_capabilities some = {
		.bounding = caps, .effective = caps, .permitted = caps};
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *plain =
		config_with(args, "{\"type\":\"mount\"}", "");
	struct box b;

	(void)state;
	need_machine();
	if (!make_node("mem", 1) || !make_node("kmsg", 11) ||
	    !make_node("mine", 3)) {
		print_message("skipped: host: no device nodes can be made\n");
		skip();
	}
	run(&b, args, "", NULL, false);
	if (!container_has_cgroup(b.c)) {
		done(&b);
		print_message("skipped: host: no cgroup v2\n");
		skip();
	}
	done(&b);
	assert_string_equal(b.text, want);
	plain->process->capabilities = &some;
	start_plain(&b, plain);
	reap(&b);
	finish(&b);
	done(&b);
	assert_string_equal(b.text, want);
}

/* A mask lies over what a link leads to; what is read-only is so to its
 * depths, which can be seen still. */
static void paths_are_masked_and_read_only(void **state)
{
	const char *masked[] = {"/link", NULL};
	const char *readonly[] = {"/ro", NULL};
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *config = config_of(
		"[\"sh\",\"-c\",\"ls -A /sub; for d in ro ro/in; do ls -ld "
		"/$d | cut -c1-10; echo x >/$d/x && echo written; done\"]",
		",\"mounts\":[{\"destination\":\"/ro\",\"type\":\"tmpfs\","
		"\"options\":[\"mode=711\"]},{\"destination\":\"/ro/in\","
		"\"type\":\"tmpfs\",\"options\":[\"mode=701\"]}]");
	struct box b;

	(void)state;
	need_machine();
	add("sub/secret", "x", 0644);
	config->lx->masked_paths = masked;
	config->lx->readonly_paths = readonly;
	if (make(&b, config, NULL, false) < 0 ||
	    container_start(b.c, NULL, &b.e) < 0)
		fail_msg("%s", b.e.msg);
	reap(&b);
	finish(&b);
	done(&b);
	assert_string_equal(b.text, "drwx--x--x\ndrwx-----x\n");
}

static void others_run_in_it(void **state)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *config =
		config_of("[\"sleep\",\"1000\"]", "");
	const char *const seven[] = {"sh", "-c", "cat /proc/1/cmdline; exit 7",
				     NULL};
	const char *const nothing[] = {"nothing", NULL};
	const char *const folder[] = {"/etc", NULL};
	const char *const who[] = {"id", "-u", NULL};
	struct traces before;
	char out[256];
	struct box b;

	(void)state;
	need_machine();
	before = look();
	assert_int_equal(make(&b, config, NULL, false), 0);
	assert_int_equal(exec_status(&b, seven, NULL, out, sizeof(out)), 0);
	assert_int_equal(b.e.code, EINVAL); /* it does not run yet */
	assert_int_equal(container_start(b.c, NULL, &b.e), 0);
	assert_int_equal(exec_status(&b, seven, NULL, out, sizeof(out)), 7);
	assert_string_equal(out, "sleep");
	assert_int_equal(exec_status(&b, nothing, NULL, out, sizeof(out)),
			 -127);
	assert_int_equal(exec_status(&b, folder, NULL, out, sizeof(out)), -126);
	assert_int_equal(exec_status(&b, who, "u", out, sizeof(out)), 0);
	assert_string_equal(out, "7\n");
	assert_int_equal(exec_status(&b, who, "nobody", out, sizeof(out)), 0);
	assert_int_equal(b.e.code, EINVAL);
	assert_int_equal(exec_status(&b, who, "65536", out, sizeof(out)), 0);
	assert_non_null(strstr(b.e.msg, "no mapping"));
	assert_int_equal(container_delete(b.c, true, &b.e), 0);
	finish(&b);
	assert_unchanged(before);
}

/* Reads a terminal until its last holder is gone (which is EIO). */
static void read_terminal(int fd, char *out, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size - 1) {
		n = read(fd, out + len, size - 1 - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	out[len] = '\0';
	close(fd);
}

static void terminals_are_its_own(void **state)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *config =
		config_of("[\"sh\",\"-c\",\"tty; stty size; echo x > "
			  "/dev/console; exec sleep 1000\"]",
			  "");
	const char *const tty[] = {"sh", "-c", "tty; echo $TERM", NULL};
	struct container_exec_spec spec = {.args = tty,
					   .search_path = true,
					   .terminal = true,
					   .rows = 10,
					   .cols = 20};
	struct oci_console_size size = {.height = 25, .width = 99};
	struct container_process p;
	char out[512] = "";
	struct box b;
	int console, status;
	ssize_t n;

	(void)state;
	need_machine();
	config->process->terminal = true;
	config->process->console_size = &size;
	if (make(&b, config, "u", false) < 0)
		fail_msg("%s", b.e.msg);
	console = container_take_console(b.c);
	assert_true(console >= 0);
	assert_int_equal(container_take_console(b.c), -1);
	assert_int_equal(container_start(b.c, NULL, &b.e), 0);
	while (!strstr(out, "x\r\n")) {
		assert_int_equal(fd_wait(console, POLLIN, now_ms() + 60000), 0);
		n = read(console, out + strlen(out),
			 sizeof(out) - strlen(out) - 1);
		assert_true(n > 0);
	}
	assert_string_equal(out, "/dev/pts/0\r\n25 99\r\nx\r\n");
	if (container_exec(b.c, &spec, &p, NULL, &b.e) < 0)
		fail_msg("%s", b.e.msg);
	read_terminal(p.console, out, sizeof(out));
	assert_string_equal(out, "/dev/pts/1\r\nxterm\r\n");
	assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
	close(p.pidfd);
	close(console);
	assert_int_equal(container_delete(b.c, true, &b.e), 0);
	finish(&b);
}

/* What the container put where its terminals were made is asked for none. */
static void a_terminal_is_of_a_devpts(void **state)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *config = config_with(
		"[\"sh\",\"-c\",\"echo >/dev/pts/ptmx; echo here; exec sleep "
		"1000\"]",
		"{\"type\":\"mount\"}",
		",\"mounts\":[{\"destination\":\"/dev/pts\",\"type\":"
		"\"tmpfs\"}]");
	const char *const args[] = {"tty", NULL};
	struct container_exec_spec spec = {
		.args = args, .search_path = true, .terminal = true};
	struct container_process p;
	struct box b;

	(void)state;
	need_machine();
	start_plain(&b, config);
	read_word(&b, "here\n");
	assert_int_equal(container_exec(b.c, &spec, &p, NULL, &b.e), -ENODEV);
	assert_int_equal(container_delete(b.c, true, &b.e), 0);
	assert_all_ended(&b);
}

/* ----------------------------------------------------- creations that fail */

#define PROCESS(x) ",\"process\":{\"cwd\":\"/\",\"args\":[\"true\"]" x "}"
#define LINUX(x)   PROCESS("") ",\"linux\":{" x "}"
#define MOUNTS(x)  PROCESS("") ",\"linux\":{},\"mounts\":[" x "]"

static const struct {
	const char *rest, *user, *message;
} bad[] = {
	{"", NULL, "process: is missing"},
	{PROCESS(""), NULL, "linux: is missing"},
	{",\"linux\":{},\"process\":{\"cwd\":\"/\",\"args\":[]}", NULL,
	 "process.args: is missing"},
	{",\"linux\":{},\"process\":{\"cwd\":\"/\",\"args\":[\"\"]}", NULL,
	 "process.args[0]: must not be empty"},
	{",\"linux\":{},\"process\":{\"cwd\":\"x\",\"args\":[\"a\"]}", NULL,
	 "process.cwd: must be absolute"},
	{",\"linux\":{}" PROCESS(",\"apparmorProfile\":\"x\""), NULL,
	 "process.apparmorProfile: not supported yet"},
	{",\"linux\":{}" PROCESS(",\"selinuxLabel\":\"x\""), NULL,
	 "process.selinuxLabel: not supported yet"},
	{",\"linux\":{}" PROCESS(",\"scheduler\":{\"policy\":\"SCHED_FLY\"}"),
	 NULL, "process.scheduler.policy: unknown 'SCHED_FLY'"},
	{",\"linux\":{}" PROCESS(
		 ",\"ioPriority\":{\"class\":\"FLY\",\"priority\":1}"),
	 NULL, "process.ioPriority.class: unknown 'FLY'"},
	{",\"linux\":{}" PROCESS(",\"rlimits\":[{\"type\":\"RLIMIT_X\","
				 "\"soft\":0,\"hard\":0}]"),
	 NULL, "process.rlimits[0].type: unknown"},
	{",\"linux\":{}" PROCESS(",\"rlimits\":[{\"type\":\"RLIMIT_CPU\","
				 "\"soft\":2,\"hard\":1}]"),
	 NULL, "process.rlimits[0].soft: must not be above hard"},
	{",\"linux\":{}" PROCESS(",\"user\":{\"uid\":65536}"), NULL,
	 "process.user: 65536:0 has no mapping"},
	{",\"linux\":{}" PROCESS(",\"user\":{\"additionalGids\":[70000]}"),
	 NULL, "process.user.additionalGids: 70000 has no mapping"},
	{",\"linux\":{}" PROCESS(""), "nobody", "user 'nobody' is not in"},
	{",\"linux\":{}" PROCESS("") ",\"hooks\":{\"prestart\":[{\"path\":"
				     "\"/x\"}]}",
	 NULL, "hooks: not in a VM's container"},
	{",\"linux\":{}" PROCESS(
		 "") ",\"hostname\":\"xxxxxxxxxxxxxxxxxxxxxxxxxx"
		     "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
		     "xxxxxxxxxxx\"",
	 NULL, "hostname: longer than"},
	{LINUX("\"namespaces\":[{\"type\":\"moon\"}]"), NULL,
	 "linux.namespaces[0].type: unknown type 'moon'"},
	{LINUX("\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"pid\"}]"), NULL,
	 "linux.namespaces[1].type: 'pid' is there twice"},
	{LINUX("\"timeOffsets\":{\"monotonic\":{\"secs\":1}}"), NULL,
	 "linux.timeOffsets: there is no new time namespace"},
	{LINUX("\"namespaces\":[{\"type\":\"time\"}],\"timeOffsets\":"
	       "{\"boottime\":{\"secs\":-9000000000}}"),
	 NULL, "linux.timeOffsets: Numerical result out of range"},
	{LINUX("\"namespaces\":[{\"type\":\"ipc\",\"path\":"
	       "\"/proc/self/ns/ipc\"}]"),
	 NULL, "linux.namespaces[0].path: not allowed here"},
	{LINUX("\"sysctl\":{\"kernel.panic\":\"1\"}"), NULL,
	 "linux.sysctl: 'kernel.panic' is not of a namespace"},
	{LINUX("\"sysctl\":{\"net.../../kernel.panic\":\"1\"}"), NULL,
	 "linux.sysctl"},
	{LINUX("\"sysctl\":{\"net.no.such\":\"1\"}"), NULL,
	 "sysctl: 'net/no/such'"},
	{LINUX("\"rootfsPropagation\":\"up\""), NULL,
	 "linux.rootfsPropagation: unknown 'up'"},
	{LINUX("\"resources\":{\"unified\":{\"../x\":\"1\"}}"), NULL,
	 "linux.resources.unified"},
	{LINUX("\"resources\":{\"memory\":{\"disableOOMKiller\":true}}"), NULL,
	 "disableOOMKiller"},
	{LINUX("\"devices\":[{\"type\":\"c\",\"path\":\"etc/x\"}]"), NULL,
	 "linux.devices[0].path: 'etc/x' is not the path of a node"},
	{LINUX("\"devices\":[{\"type\":\"z\",\"path\":\"/dev/x\"}]"), NULL,
	 "linux.devices[0].type: must be c, u, b or p"},
	{LINUX("\"seccomp\":{\"defaultAction\":\"x\"}"), NULL,
	 "linux.seccomp.defaultAction: unknown action"},
	{LINUX("\"personality\":{\"domain\":\"BSD\"}"), NULL,
	 "linux.personality.domain: unknown"},
	{MOUNTS("{\"destination\":\"/\",\"type\":\"tmpfs\"}"), NULL,
	 "mounts[0]: cannot mount over '/'"},
	{MOUNTS("{\"destination\":\"/x\",\"type\":\"bind\"}"), NULL,
	 "mounts[0]: bind on '/x' needs a source"},
	{MOUNTS("{\"destination\":\"/x\",\"type\":\"bind\",\"source\":"
		"\"/no/such\"}"),
	 NULL, "mounts[0]: bind '/no/such': No such file"},
	{MOUNTS("{\"destination\":\"/x\",\"type\":\"bind\",\"source\":"
		"\"/proc/self/cwd\"}"),
	 NULL, "mounts[0]: bind '/proc/self/cwd': Too many levels"},
	{MOUNTS("{\"destination\":\"/x\",\"type\":\"nofs\"}"), NULL,
	 "mounts[0]: 'nofs' on '/x': fsopen"},
	{MOUNTS("{\"destination\":\"/x\",\"type\":\"tmpfs\",\"options\":"
		"[\"nonsense\"]}"),
	 NULL, "mount: '/x: nonsense': Invalid argument"},
	{MOUNTS("{\"destination\":\"/x\",\"type\":\"tmpfs\",\"options\":"
		"[\"copy-symlink\"]}"),
	 NULL, "mounts[0]: option 'copy-symlink' of '/x' is for a bind"},
	/* A remount's options would be those of a file system outside. */
	{MOUNTS("{\"destination\":\"/x\",\"type\":\"bind\",\"source\":"
		"\"/\"},{\"destination\":\"x/\",\"type\":\"none\","
		"\"options\":[\"remount\",\"size=1m\"]}"),
	 NULL, "mounts[1]: option 'size' of '/x' would change a file system"},
	{MOUNTS("{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"options\":"
		"[\"remount\",\"size=1m\"]}"),
	 NULL, "mounts[0]: option 'size' of '/dev' would change"},
	{MOUNTS("{\"destination\":\"/usr\",\"type\":\"none\",\"options\":"
		"[\"remount\",\"sync\"]}"),
	 NULL, "mounts[0]: option 'sync' of '/usr' would change"},
	{MOUNTS("{\"destination\":\"/usr\",\"type\":\"none\",\"options\":"
		"[\"remount\",\"ro\"]}"),
	 NULL, "mount: '/usr': "},
	{MOUNTS("{\"destination\":\"/x\",\"type\":\"tmpfs\",\"options\":"
		"[\"bind\",\"tmpcopyup\"],\"source\":\"/\"}"),
	 NULL, "mounts[0]: option 'tmpcopyup' of '/x' is for a tmpfs"},
	{MOUNTS("{\"destination\":\"/etc/passwd\",\"type\":\"tmpfs\"}"), NULL,
	 "mount: '/etc/passwd': Not a directory"},
};

static void failures_leave_nothing(void **state)
{
	struct container_spec spec = CONTAINER_SPEC_INIT;
	struct container *c = NULL;
	struct traces before;
	struct err e;
	size_t i;

	(void)state;
	need_machine();
	spec.id = box_id();
	spec.rootfs.dir = rootfs;
	spec.defaults = true;
	spec.ids_base = IDS;
	before = look();
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(cleanup_oci_runtime) struct oci_runtime *config =
			NULL;
		_cleanup_buf_ struct buf b = BUF_INIT;

		err_clear(&e);
		buf_printf(&b, "{\"ociVersion\":\"1.2.0\"%s}", bad[i].rest);
		if (oci_runtime_parse_text(buf_str(&b), b.len, &config, &e) < 0)
			fail_msg("case %zu: %s", i, e.msg);
		spec.config = config;
		spec.user = bad[i].user;
		if (container_create(&spec, &c, NULL, &e) >= 0)
			fail_msg("case %zu is accepted: %s", i, bad[i].message);
		if (!strstr(e.msg, bad[i].message))
			fail_msg("case %zu: wanted '%s', got '%s'", i,
				 bad[i].message, e.msg);
		assert_null(c);
	}
	assert_unchanged(before);
}

static void specs_are_checked(void **state)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *config =
		config_of("[\"true\"]", "");
	struct container_spec spec = CONTAINER_SPEC_INIT;
	struct container *c = NULL;
	struct err e = ERR_INIT;

	(void)state;
	need_machine();
	spec.config = config;
	spec.defaults = true;
	spec.id = "../x";
	assert_int_equal(container_create(&spec, &c, NULL, &e), -EINVAL);
	spec.id = "x";
	spec.ids_base = 0;
	spec.rootfs.dir = rootfs;
	assert_int_equal(container_create(&spec, &c, NULL, &e), -EINVAL);
	spec.ids_base = 1000;
	assert_int_equal(container_create(&spec, &c, NULL, &e), -EINVAL);
	spec.ids_base = IDS;
	spec.rootfs.erofs = "/dev/null";
	assert_int_equal(container_create(&spec, &c, NULL, &e), -EINVAL);
	spec.rootfs.dir = NULL;
	assert_true(container_create(&spec, &c, NULL, &e) < 0);
	assert_non_null(strstr(e.msg, "erofs on '/dev/null'"));
	assert_null(c);
}

static void ids_are_checked(void **state)
{
	char longest[HYB_CONTAINER_ID_MAX + 2];

	(void)state;
	assert_true(container_id_is_valid("a"));
	assert_true(container_id_is_valid("A_b-c.9+"));
	assert_false(container_id_is_valid(""));
	assert_false(container_id_is_valid("."));
	assert_false(container_id_is_valid(".."));
	assert_false(container_id_is_valid("a/b"));
	assert_false(container_id_is_valid("a b"));
	assert_false(container_id_is_valid("a\n"));
	assert_false(container_id_is_valid("\xc3\xa4"));
	memset(longest, 'a', sizeof(longest));
	longest[HYB_CONTAINER_ID_MAX] = '\0';
	assert_true(container_id_is_valid(longest));
	longest[HYB_CONTAINER_ID_MAX] = 'a';
	longest[HYB_CONTAINER_ID_MAX + 1] = '\0';
	assert_false(container_id_is_valid(longest));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_are_checked),
		cmocka_unit_test(lives_and_ends),
		cmocka_unit_test(is_confined),
		cmocka_unit_test(a_start_can_fail),
		cmocka_unit_test(a_start_that_is_not_understood_kills),
		cmocka_unit_test(is_killed),
		cmocka_unit_test(nobody_outlives_it),
		cmocka_unit_test(freezes),
		cmocka_unit_test(some_capabilities_nobody_has),
		cmocka_unit_test(ambient_capabilities_are_not_inherited),
		cmocka_unit_test(other_devices_do_not_open),
		cmocka_unit_test(paths_are_masked_and_read_only),
		cmocka_unit_test(others_run_in_it),
		cmocka_unit_test(terminals_are_its_own),
		cmocka_unit_test(a_terminal_is_of_a_devpts),
		cmocka_unit_test(failures_leave_nothing),
		cmocka_unit_test(specs_are_checked),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
