/* SPDX-License-Identifier: Apache-2.0 */
/* What virt/ does without libvirt: records, consoles, orphans, checks. */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"
#include "host-agent/virt/internal.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

struct fixture {
	struct virt v;
	char warning[512];
};

static void on_warning(const char *text, void *arg)
{
	struct fixture *f = arg;

	snprintf(f->warning, sizeof(f->warning), "%s", text);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[128];

	if (!f)
		return -1;
	snprintf(f->v.root, sizeof(f->v.root), "/tmp/hyb-v.XXXXXX");
	if (!mkdtemp(f->v.root))
		return -1;
	snprintf(path, sizeof(path), "%s/virt", f->v.root);
	mkdir(path, 0700);
	pthread_mutex_init(&f->v.lock, NULL);
	f->v.events_end = &f->v.events;
	f->v.wake_fd = -1;
	f->v.on_warning = on_warning;
	f->v.arg = f;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	path_remove(f->v.root, NULL);
	free(f);
	return 0;
}

static struct vm *make_vm(struct fixture *f, const char *name)
{
	struct vm *vm = vm_get(&f->v, name, true);
	char path[128];

	assert_non_null(vm);
	vm->uid = 700001;
	vm->gid = 700002;
	vm->cid = 99;
	vm->slots = 8;
	vm->qemu = (struct process){1234, 5678};
	vm->vsockd = (struct process){1235, 5679};
	vm->end = VIRT_END_PANIC;
	snprintf(vm->vm_dir, sizeof(vm->vm_dir), "%s/dir", f->v.root);
	snprintf(vm->detail, sizeof(vm->detail), "a \"word\"");
	memset(vm->uuid, 0xab, sizeof(vm->uuid));
	assert_int_equal(record_path(&f->v, name, "", path, sizeof(path)), 0);
	mkdir(path, 0700);
	return vm;
}

static void drop_vm(struct fixture *f, struct vm *vm)
{
	f->v.vms = NULL;
	vm->forgotten = true;
	vm_put(&f->v, vm);
}

static void test_record(void **state)
{
	struct fixture *f = *state;
	struct err e = ERR_INIT;
	struct vm *vm = make_vm(f, "web-0");

	assert_int_equal(record_write(&f->v, vm, &e), 0);
	drop_vm(f, vm);
	assert_int_equal(record_load_all(&f->v, &e), 0);
	vm = vm_get(&f->v, "web-0", false);
	assert_non_null(vm);
	assert_int_equal(vm->uid, 700001);
	assert_int_equal(vm->gid, 700002);
	assert_int_equal(vm->cid, 99);
	assert_int_equal(vm->slots, 8);
	assert_int_equal(vm->qemu.pid, 1234);
	assert_int_equal(vm->qemu.start, 5678);
	assert_int_equal(vm->vsockd.pid, 1235);
	assert_int_equal(vm->end, VIRT_END_PANIC);
	assert_string_equal(vm->detail, "a \"word\"");
	assert_int_equal(vm->uuid[15], 0xab);
	assert_string_equal(f->warning, "");
	drop_vm(f, vm);
}

/* Cut anywhere, any byte changed: never a crash, and either the same or
 * refused with a warning. */
static void test_record_damaged(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *text = NULL;
	struct vm *vm = make_vm(f, "web-0");
	char path[128];
	size_t len, i;

	assert_int_equal(record_write(&f->v, vm, NULL), 0);
	drop_vm(f, vm);
	record_path(&f->v, "web-0", "record", path, sizeof(path));
	assert_int_equal(file_read(AT_FDCWD, path, 8192, &text, &len, NULL), 0);
	for (i = 0; i < len; i++) {
		_cleanup_close_ int fd = open(path, O_WRONLY | O_TRUNC);

		f->warning[0] = '\0';
		assert_int_equal(write_full(fd, text, i), 0);
		assert_int_equal(record_load_all(&f->v, NULL), 0);
		vm = vm_get(&f->v, "web-0", false);
		assert_non_null(vm);
		assert_int_equal(vm->uid, 0);
		assert_string_not_equal(f->warning, "");
		drop_vm(f, vm);
	}
	for (i = 0; i < len; i++) {
		_cleanup_close_ int fd = open(path, O_WRONLY | O_TRUNC);

		text[i] ^= 0x15;
		assert_int_equal(write_full(fd, text, len), 0);
		text[i] ^= 0x15;
		assert_int_equal(record_load_all(&f->v, NULL), 0);
		vm = vm_get(&f->v, "web-0", false);
		assert_non_null(vm);
		assert_true(strlen(vm->vm_dir) <= VIRT_DIR_MAX);
		drop_vm(f, vm);
	}
}

/* Folders that are no VM's are left alone. */
static void test_record_strangers(void **state)
{
	struct fixture *f = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/virt/Not A Name", f->v.root);
	mkdir(path, 0700);
	snprintf(path, sizeof(path), "%s/virt/empty", f->v.root);
	mkdir(path, 0700);
	assert_int_equal(record_load_all(&f->v, NULL), 0);
	assert_null(f->v.vms);
}

static void test_console(void **state)
{
	struct fixture *f = *state;
	struct vm *vm = make_vm(f, "web-0");
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	char path[128], block[4096];
	struct err e = ERR_INIT;
	struct stat st;
	size_t i;

	vm->uid = getuid();
	vm->gid = getgid();
	mkdir(vm->vm_dir, 0700);
	assert_int_equal(console_open(&f->v, vm, &e), 0);
	snprintf(path, sizeof(path), "%s/console.sock", vm->vm_dir);
	fd = unix_connect(path, &e);
	assert_true(fd >= 0);
	console_on_listen(vm);
	assert_true(vm->console_fd >= 0);
	memset(block, 'x', sizeof(block));
	for (i = 0; i < 3 * VIRT_CONSOLE_MAX / sizeof(block); i++) {
		assert_int_equal(write_full(fd, block, sizeof(block)), 0);
		console_on_data(&f->v, vm);
	}
	assert_int_equal(write_full(fd, "\r\nlast \x1b[31m line\r\n", 19), 0);
	console_on_data(&f->v, vm);
	/* Bounded, whatever it says. */
	record_path(&f->v, "web-0", "console.log", path, sizeof(path));
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size <= (off_t)VIRT_CONSOLE_MAX + 32768);
	record_path(&f->v, "web-0", "console.log.1", path, sizeof(path));
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size <= (off_t)VIRT_CONSOLE_MAX + 32768);
	assert_int_equal(virt_vm_console(&f->v, "web-0", 100, &text, &e), 0);
	assert_non_null(strstr(text, "xxx\nlast \\x1b[31m line\n"));
	/* QEMU asks again: the newest connection counts. */
	close(fd);
	snprintf(path, sizeof(path), "%s/console.sock", vm->vm_dir);
	fd = unix_connect(path, &e);
	assert_true(fd >= 0);
	console_on_listen(vm);
	close(steal_fd(&fd));
	console_on_data(&f->v, vm);
	assert_int_equal(vm->console_fd, -1);
	console_close(vm);
	drop_vm(f, vm);
}

static void nap_ms(long ms)
{
	const struct timespec t = {.tv_nsec = ms * 1000000};

	nanosleep(&t, NULL);
}

/* A daemon's second fork, as libvirt does it: its pid comes over a pipe. */
static pid_t make_orphan(int status)
{
	pid_t pid, orphan = -1;
	int p[2];

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		setsid();
		pid = fork();
		if (pid == 0) {
			pid = getpid();
			if (write(p[1], &pid, sizeof(pid)) < 0)
				_exit(99);
			nap_ms(30);
			_exit(status);
		}
		_exit(0);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(read(p[0], &orphan, sizeof(orphan)), sizeof(orphan));
	close(p[0]);
	close(p[1]);
	return orphan;
}

static void test_reap(void **state)
{
	struct err e = ERR_INIT;
	pid_t orphan, child;
	int status, i;

	(void)state;
	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	/* A direct child that nobody waits for yet, in the way of others. */
	child = fork();
	if (child == 0)
		_exit(7);
	assert_int_equal(reap_start(&e), 0);
	reap_busy(true);
	for (i = 0; i < 5; i++) {
		int tries = 12000;

		orphan = make_orphan(40 + i);
		while (!reap_status(orphan, &status) && tries--)
			nap_ms(5);
		assert_true(tries > 0);
		assert_int_equal(WEXITSTATUS(status), 40 + i);
		assert_int_equal(kill(orphan, 0), -1);
		assert_false(reap_status(orphan, &status));
	}
	reap_busy(false);
	reap_stop();
	/* It is still ours to wait for. */
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WEXITSTATUS(status), 7);
}

static void test_process_alive(void **state)
{
	struct process p = {.pid = getpid()};
	pid_t child;

	(void)state;
	assert_int_equal(proc_start_time(p.pid, &p.start), 0);
	assert_true(process_is_alive(&p));
	p.start++;
	assert_false(process_is_alive(&p));
	p.pid = 0;
	assert_false(process_is_alive(&p));
	child = fork();
	if (child == 0)
		_exit(0);
	p.pid = child;
	while (proc_start_time(child, &p.start) == 0 && process_is_alive(&p))
		nap_ms(1);
	/* A zombie is not alive. */
	assert_int_equal(waitpid(child, NULL, 0), child);
}

static void test_names(void **state)
{
	enum virt_accel a = VIRT_ACCEL_TCG;

	(void)state;
	assert_int_equal(virt_accel_parse("kvm", &a), 0);
	assert_int_equal(a, VIRT_ACCEL_KVM);
	assert_int_equal(virt_accel_parse("KVM", &a), -EINVAL);
	assert_int_equal(a, VIRT_ACCEL_KVM);
	assert_string_equal(virt_end_name(VIRT_END_PANIC), "panic");
	assert_string_equal(virt_state_name(VIRT_GONE), "gone");
	assert_string_equal(virt_end_name(VIRT_END_MAX), "?");
}

static void test_vsock_path(void **state)
{
	char out[128], dir[128];

	(void)state;
	assert_int_equal(virt_vsock_path("/v", out, sizeof(out)), 0);
	assert_string_equal(out, "/v/vsock.sock");
	memset(dir, 'a', sizeof(dir));
	dir[97] = '\0';
	assert_int_equal(virt_vsock_path(dir, out, sizeof(out)), -ENAMETOOLONG);
	dir[96] = '\0';
	assert_int_equal(virt_vsock_path(dir, out, sizeof(out)), 0);
	assert_int_equal(virt_vsock_path("/v", out, 4), -ENAMETOOLONG);
}

static void expect_open(struct virt_config *c, int want, const char *word)
{
	struct err e = ERR_INIT;
	struct virt *v = NULL;

	assert_int_equal(virt_open(c, &v, &e), want);
	assert_null(v);
	assert_non_null(strstr(e.msg, word));
}

static void test_open_refused(void **state)
{
	struct virt_config c = {.root = "/tmp",
				.kernel = "/proc/self/exe",
				.initramfs = "/proc/self/exe",
				.vsockd_path = "/proc/self/exe",
				.cmdline = "",
				.uid_base = 700000};
	char root[VIRT_ROOT_MAX + 2];

	(void)state;
	memset(root, 'r', sizeof(root));
	root[0] = '/';
	root[VIRT_ROOT_MAX + 1] = '\0';
	c.root = root;
	expect_open(&c, -ENAMETOOLONG, "at most");
	c.root = "tmp";
	expect_open(&c, -EINVAL, "absolute");
	c.root = "/tmp/a b";
	expect_open(&c, -EINVAL, "letters");
	c.root = "/tmp";
	c.kernel = "/no/such/kernel";
	expect_open(&c, -ENOENT, "/no/such/kernel");
	c.kernel = "/proc/self/exe";
	c.uid_base = 0;
	expect_open(&c, -EINVAL, "uid");
}

static void test_cgroups(void **state)
{
	struct virt_host h = {.hardware = false};

	(void)state;
	conf_detect_cgroups(&h);
	assert_true(h.cgroups || h.cgroups_reason[0]);
}

static void test_conf(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *text = NULL;
	char path[128];

	assert_int_equal(conf_write(&f->v, NULL), 0);
	snprintf(path, sizeof(path), "%s/libvirt/etc/qemu.conf", f->v.root);
	assert_int_equal(file_read(AT_FDCWD, path, 8192, &text, NULL, NULL), 0);
	assert_non_null(strstr(text, "dynamic_ownership = 0\n"));
	assert_non_null(strstr(text, "seccomp_sandbox = 1\n"));
	assert_null(strstr(text, "/dev/kvm"));
	free(steal_ptr(text));
	f->v.host.hardware = true;
	assert_int_equal(conf_write(&f->v, NULL), 0);
	assert_int_equal(file_read(AT_FDCWD, path, 8192, &text, NULL, NULL), 0);
	assert_non_null(strstr(text, "/dev/kvm"));
}

#define FIXTURE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FIXTURE(test_record),
		FIXTURE(test_record_damaged),
		FIXTURE(test_record_strangers),
		FIXTURE(test_console),
		FIXTURE(test_conf),
		cmocka_unit_test(test_reap),
		cmocka_unit_test(test_process_alive),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_vsock_path),
		cmocka_unit_test(test_open_refused),
		cmocka_unit_test(test_cgroups),
	};

	return cmocka_run_group_tests_name("virt/host", tests, NULL, NULL);
}
