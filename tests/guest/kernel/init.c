// SPDX-License-Identifier: Apache-2.0
//
// PID 1 of the kernel's test guest: tries what the agent and containers need
// and what the kernel must refuse, and prints a line for each:
//	ok NAME			or	not ok NAME: why
//	figure NAME VALUE UNIT
// The kernel's command line says which part (hyb.test=PART):
//	figures		memory, then off
//	features	all checks, then off
//	disks		disks that are plugged in, then off
//	panic		dies, as PID 1 must not
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/landlock.h>
#include <linux/membarrier.h>
#include <linux/seccomp.h>
#include <linux/vm_sockets.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define HOTPLUG_DEADLINE_MS 10000

static void report(bool good, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void report(bool good, const char *format, ...)
{
	int error = errno;
	va_list args;

	printf("%s ", good ? "ok" : "not ok");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	if (!good)
		printf(": %s", strerror(error));
	printf("\n");
	errno = 0;
}

static size_t read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);

	if (fd >= 0)
		close(fd);
	text[got < 0 ? 0 : got] = '\0';
	return got < 0 ? 0 : (size_t)got;
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | O_CREAT, 0644);
	bool good = fd >= 0 &&
		    write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return good;
}

static bool has_word(const char *text, const char *word)
{
	size_t length = strlen(word);

	for (const char *p = text; (p = strstr(p, word)); p += length) {
		bool begins = p == text || p[-1] == ' ' || p[-1] == '\t';
		char after = p[length];

		if (begins && (after == '\0' || after == ' ' || after == '\n'))
			return true;
	}
	return false;
}

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

// Runs check in a child of its own and says whether it returned true.
static bool in_child(bool (*check)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(check() ? 0 : 1);
	return pid > 0 && waitpid(pid, &status, 0) == pid &&
	       WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// --- Figures --------------------------------------------------------------

static void figure_from(const char *text, const char *key, const char *name)
{
	const char *line = strstr(text, key);

	if (line)
		printf("figure %s %ld KiB\n", name,
		       strtol(line + strlen(key), NULL, 10));
}

static void print_figures(void)
{
	char text[4096];

	read_text("/proc/meminfo", text, sizeof(text));
	figure_from(text, "MemTotal:", "mem_total");
	figure_from(text, "MemFree:", "mem_free");
	figure_from(text, "MemAvailable:", "mem_available");
	figure_from(text, "Slab:", "slab");
	figure_from(text, "SUnreclaim:", "slab_unreclaimable");
	figure_from(text, "KernelStack:", "kernel_stacks");
	figure_from(text, "Percpu:", "percpu");
	printf("figure cpus %ld CPUs\n", sysconf(_SC_NPROCESSORS_ONLN));
}

// --- What must be there -----------------------------------------------------

static void check_file_systems(void)
{
	static const char *const names[] = {
		"proc",	  "sysfs", "tmpfs", "devtmpfs", "cgroup2", "mqueue",
		"devpts", "erofs", "ext4",  "overlay",	"virtiofs"};
	char text[4096];

	read_text("/proc/filesystems", text, sizeof(text));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		report(has_word(text, names[i]), "file system %s", names[i]);
	report(mount("cgroup", "/mnt", "cgroup", 0, "none,name=x") != 0,
	       "no cgroup v1");
	report(!strstr(text, "debugfs") && !strstr(text, "tracefs"),
	       "no debugfs, no tracefs");
}

static void check_cgroups(void)
{
	static const char *const names[] = {"cpuset", "cpu", "io", "memory",
					    "pids"};
	static const char *const files[] = {
		"cpu.max",	 "memory.max", "memory.oom.group",
		"memory.events", "memory.min", "memory.pressure",
		"pids.max",	 "io.max",     "cgroup.freeze",
		"cgroup.kill"};
	char text[256];
	char path[128];

	read_text("/sys/fs/cgroup/cgroup.controllers", text, sizeof(text));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		report(has_word(text, names[i]), "cgroup controller %s",
		       names[i]);
	report(write_text("/sys/fs/cgroup/cgroup.subtree_control",
			  "+cpuset +cpu +io +memory +pids"),
	       "controllers handed down");
	mkdir("/sys/fs/cgroup/a", 0755);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "/sys/fs/cgroup/a/%s", files[i]);
		report(access(path, F_OK) == 0, "cgroup file %s", files[i]);
	}
	report(write_text("/sys/fs/cgroup/a/cpu.max", "50000 100000"),
	       "cpu.max takes a bandwidth");
}

static bool opens_zero_in_cgroup(void)
{
	if (!write_text("/sys/fs/cgroup/a/cgroup.procs", "0"))
		return false;
	return open("/dev/zero", O_RDONLY | O_CLOEXEC) >= 0;
}

// Loads a device program that returns verdict and attaches it to a cgroup.
static bool attach_device_program(int verdict)
{
	struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = verdict},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
			       .insns = (uintptr_t)code,
			       .insn_cnt = 2,
			       .license = (uintptr_t) "Apache-2.0"};
	union bpf_attr attach = {.attach_type = BPF_CGROUP_DEVICE};
	int prog = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load));
	int group = open("/sys/fs/cgroup/a", O_RDONLY | O_DIRECTORY);

	if (prog < 0 || group < 0)
		return false;
	attach.target_fd = (uint32_t)group;
	attach.attach_bpf_fd = (uint32_t)prog;
	return syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof(attach)) == 0;
}

static void check_device_rules(void)
{
	report(attach_device_program(1), "BPF device program is attached");
	report(in_child(opens_zero_in_cgroup), "it lets a device through");
	report(attach_device_program(0), "BPF device program is replaced");
	report(!in_child(opens_zero_in_cgroup), "it keeps a device away");
}

static bool unshares_all(void)
{
	return unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID |
		       CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET |
		       CLONE_NEWCGROUP | CLONE_NEWTIME) == 0 &&
	       write_text("/proc/self/setgroups", "deny") &&
	       write_text("/proc/self/uid_map", "0 0 1") &&
	       write_text("/proc/self/gid_map", "0 0 1") &&
	       sethostname("inner", 5) == 0;
}

static bool filters_calls(void)
{
	struct sock_filter code[] = {
		{BPF_LD | BPF_W | BPF_ABS, 0, 0,
		 offsetof(struct seccomp_data, nr)},
		{BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_getppid},
		{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EXDEV},
		{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
	};
	struct sock_fprog program = {4, code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		    SECCOMP_FILTER_FLAG_NEW_LISTENER, &program) < 0)
		return false;
	errno = 0;
	return syscall(SYS_getppid) == -1 && errno == EXDEV;
}

static void check_sockets(void)
{
	static const struct {
		int family;
		int type;
		const char *name;
		bool wanted;
	} kinds[] = {
		{AF_UNIX, SOCK_STREAM, "AF_UNIX", true},
		{AF_INET, SOCK_STREAM, "AF_INET", true},
		{AF_INET6, SOCK_STREAM, "AF_INET6", true},
		{AF_NETLINK, SOCK_RAW, "AF_NETLINK", true},
		{AF_VSOCK, SOCK_STREAM, "AF_VSOCK", true},
		{AF_PACKET, SOCK_RAW, "AF_PACKET", false},
		{AF_ALG, SOCK_SEQPACKET, "AF_ALG", false},
		{AF_KEY, SOCK_RAW, "AF_KEY", false},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		int fd = socket(kinds[i].family, kinds[i].type, 0);

		report((fd >= 0) == kinds[i].wanted, "%s%s",
		       kinds[i].wanted ? "" : "no ", kinds[i].name);
		if (fd >= 0)
			close(fd);
	}
}

static void check_calls(void)
{
	unsigned int word = 0;
	void *shared;
	unsigned long aio = 0;
	sigset_t signals;
	int fd;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	report(signalfd(-1, &signals, SFD_CLOEXEC) >= 0, "signalfd");
	report(timerfd_create(CLOCK_MONOTONIC, 0) >= 0, "timerfd");
	report(eventfd(0, EFD_CLOEXEC) >= 0, "eventfd");
	report(epoll_create1(EPOLL_CLOEXEC) >= 0, "epoll");
	report(inotify_init1(IN_CLOEXEC) >= 0, "inotify");
	fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	report(fd >= 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) == 0,
	       "memfd with seals");
	report(syscall(SYS_io_setup, 8, &aio) == 0, "AIO");
	report(syscall(SYS_futex, &word, FUTEX_LOCK_PI, 0, NULL) == 0,
	       "futex with priority inheritance");
	report(syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) > 0,
	       "membarrier");
	errno = 0;
	report(syscall(SYS_rseq, NULL, 0, 0, 0) < 0 && errno == EINVAL, "rseq");
	report(syscall(SYS_pidfd_open, getpid(), 0) >= 0, "pidfd_open");
	report(syscall(SYS_landlock_create_ruleset, NULL, 0,
		       LANDLOCK_CREATE_RULESET_VERSION) >= 4,
	       "Landlock with rules for TCP");
	report(syscall(SYS_fsopen, "overlay", 0) >= 0, "fsopen");
	report(mq_open("/q", O_CREAT | O_RDWR, 0600, NULL) >= 0, "mqueue");
	report(shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600) >= 0, "SysV shm");
	shared = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	report(madvise(shared, 4 << 20, MADV_HUGEPAGE) == 0, "madvise huge");
	munmap(shared, 4 << 20);
	fd = open("/tmp/lock", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	report(setxattr("/tmp/lock", "trusted.overlay.opaque", "y", 1, 0) == 0,
	       "trusted xattr on tmpfs");
	report(setxattr("/tmp/lock", "user.x", "y", 1, 0) == 0,
	       "user xattr on tmpfs");
	report(flock(fd, LOCK_EX) == 0, "flock");
	report(posix_openpt(O_RDWR | O_NOCTTY) >= 0, "pseudo terminal");
	report(access("/proc/pressure/memory", R_OK) == 0, "PSI");
	report(open("/dev/kmsg", O_RDONLY | O_CLOEXEC) >= 0, "/dev/kmsg");
}

static void check_sysctls(void)
{
	static const char *const names[] = {
		"kernel/kptr_restrict",
		"kernel/dmesg_restrict",
		"kernel/unprivileged_bpf_disabled",
		"net/core/bpf_jit_harden",
		"kernel/yama/ptrace_scope",
		"kernel/randomize_va_space",
		"kernel/perf_event_paranoid",
		"fs/protected_fifos",
		"fs/protected_hardlinks",
		"fs/protected_regular",
		"fs/protected_symlinks",
		"fs/suid_dumpable",
		"vm/overcommit_memory",
		"user/max_user_namespaces",
		"net/ipv4/ip_unprivileged_port_start",
	};
	char path[128];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "/proc/sys/%s", names[i]);
		report(access(path, W_OK) == 0, "sysctl %s", names[i]);
	}
}

// --- What must not be there -------------------------------------------------

static bool runs_32_bit_call(void)
{
	long result = 20; // getpid by its 32-bit number

	__asm__ volatile("int $0x80" : "+a"(result) : : "memory");
	return true;
}

static void check_absent(void)
{
	static const struct {
		long number;
		const char *name;
	} calls[] = {
		{SYS_io_uring_setup, "io_uring_setup"},
		{SYS_userfaultfd, "userfaultfd"},
		{SYS_kexec_load, "kexec_load"},
		{SYS_kexec_file_load, "kexec_file_load"},
		{SYS_init_module, "init_module"},
		{SYS_finit_module, "finit_module"},
		{SYS_delete_module, "delete_module"},
		{SYS_modify_ldt, "modify_ldt"},
		{SYS_iopl, "iopl"},
		{SYS_ioperm, "ioperm"},
		{SYS_keyctl, "keyctl"},
		{SYS_add_key, "add_key"},
		{SYS_fanotify_init, "fanotify_init"},
		{SYS_process_vm_readv, "process_vm_readv"},
		{SYS_kcmp, "kcmp"},
		{SYS_swapon, "swapon"},
		{0x40000000 | SYS_getpid, "x32 getpid"},
	};
	static const char *const files[] = {
		"/dev/mem",
		"/dev/kmem",
		"/dev/port",
		"/proc/kcore",
		"/proc/kallsyms",
		"/proc/modules",
		"/proc/sysrq-trigger",
		"/proc/vmcore",
		"/proc/config.gz",
		"/sys/kernel/debug",
		"/sys/kernel/tracing",
		"/sys/fs/bpf/x",
		"/proc/sys/kernel/sysrq",
		"/dev/cpu/0/msr",
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		errno = 0;
		report(syscall(calls[i].number, 0, 0, 0, 0, 0) == -1 &&
			       errno == ENOSYS,
		       "no %s", calls[i].name);
	}
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		report(access(files[i], F_OK) != 0, "no %s", files[i]);
	report(!in_child(runs_32_bit_call), "no 32-bit system calls");
}

// --- Disks that come later --------------------------------------------------

// Finds the disk with this serial; the path of its node is in *ret.
static bool find_disk(const char *serial, char *ret, size_t size)
{
	char path[64];
	char text[64];

	for (char letter = 'a'; letter <= 'h'; letter++) {
		snprintf(path, sizeof(path), "/sys/block/vd%c/serial", letter);
		read_text(path, text, sizeof(text));
		if (strcmp(text, serial) == 0) {
			snprintf(ret, size, "/dev/vd%c", letter);
			return true;
		}
	}
	return false;
}

static bool wait_for_disk(const char *serial, char *ret, size_t size)
{
	long long end = now_ms() + HOTPLUG_DEADLINE_MS;

	while (!find_disk(serial, ret, size)) {
		if (now_ms() > end)
			return false;
		usleep(1000);
	}
	return true;
}

static void check_disks(void)
{
	char image[32] = "";
	char scratch[32] = "";
	char text[64];

	printf("ready\n");
	report(wait_for_disk("image", image, sizeof(image)),
	       "image disk is seen");
	printf("seen\n");
	report(wait_for_disk("scratch", scratch, sizeof(scratch)),
	       "scratch disk is seen");
	mkdir("/run/lower", 0755);
	mkdir("/run/volume", 0755);
	mkdir("/run/root", 0755);
	report(mount(image, "/run/lower", "erofs", MS_RDONLY, NULL) == 0,
	       "EROFS is mounted");
	read_text("/run/lower/greeting", text, sizeof(text));
	report(strcmp(text, "hello\n") == 0, "a file of the image reads right");
	report(getxattr("/run/lower/greeting", "user.note", text,
			sizeof(text)) == 4,
	       "xattr of the image");
	report(mount(scratch, "/run/volume", "ext4", 0, NULL) == 0,
	       "ext4 is mounted");
	mkdir("/run/volume/upper", 0755);
	mkdir("/run/volume/work", 0755);
	report(mount("overlay", "/run/root", "overlay", 0,
		     "lowerdir=/run/lower,upperdir=/run/volume/upper,"
		     "workdir=/run/volume/work") == 0,
	       "overlay of EROFS and ext4 is mounted");
	report(write_text("/run/root/greeting", "HELLO"), "a file is changed");
	report(unlink("/run/root/other") == 0 &&
		       access("/run/root/other", F_OK) != 0,
	       "a file is whited out");
	report(umount("/run/root") == 0 && umount("/run/volume") == 0,
	       "overlay and ext4 are unmounted");
}

static bool mount_basics(void)
{
	mkdir("/mnt", 0755);
	return mount("proc", "/proc", "proc", 0, NULL) == 0 &&
	       mount("sysfs", "/sys", "sysfs", 0, NULL) == 0 &&
	       mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) == 0 &&
	       mount("tmpfs", "/tmp", "tmpfs", 0, NULL) == 0 &&
	       mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL) == 0 &&
	       mkdir("/dev/pts", 0755) == 0 &&
	       mount("devpts", "/dev/pts", "devpts", 0, "ptmxmode=666") == 0;
}

static void check_features(void)
{
	check_file_systems();
	check_cgroups();
	check_device_rules();
	report(in_child(unshares_all), "all eight namespaces, with a user map");
	report(in_child(filters_calls), "seccomp filter and listener");
	check_sockets();
	check_calls();
	check_sysctls();
	check_absent();
	check_disks();
}

int main(void)
{
	char text[1024];

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("init\n");
	report(mount_basics(), "proc, sys, dev, tmp, cgroup2 and pts mounted");
	read_text("/proc/cmdline", text, sizeof(text));
	if (strstr(text, "hyb.test=panic"))
		return 1;
	print_figures();
	if (strstr(text, "hyb.test=features"))
		check_features();
	else if (strstr(text, "hyb.test=disks"))
		check_disks();
	printf("done\n");
	reboot(RB_POWER_OFF);
	return 1;
}
