/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/sandbox.h"

#include "common/base/cleanup.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#if defined(__x86_64__)
#define ARCH	AUDIT_ARCH_X86_64
#define X32_BIT 0x40000000u
#elif defined(__aarch64__)
#define ARCH AUDIT_ARCH_AARCH64
#else
#error "sandbox.c does not know this architecture"
#endif

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Bytes that a log in a regular file may grow by. */
#define LOG_GROWTH (1u << 20)

/* Where the new root is put together, in a mount namespace of our own. Any
 * folder that every system has will do. */
#define ROOT_POINT "/tmp"

static int set_limit(__rlimit_resource_t what, rlim_t value, struct err *e)
{
	const struct rlimit limit = {.rlim_cur = value, .rlim_max = value};

	if (setrlimit(what, &limit) < 0)
		return err_sys(e, errno, "set a resource limit");
	return 0;
}

static int open_std(struct err *e)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return err_sys(e, errno, "open /dev/null");
	} while (fd <= STDERR_FILENO);
	close(fd);
	return 0;
}

int sandbox_start(unsigned int first, struct err *e)
{
	int err = open_std(e);

	if (err < 0)
		return err;
	if (first < 3)
		first = 3;
	if (close_range(first, UINT_MAX, 0) < 0 ||
	    (first > 3 && close_range(3, first - 1, CLOSE_RANGE_CLOEXEC) < 0))
		return err_sys(e, errno, "close descriptors");
	umask(077);
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, errno, "give up privileges to come");
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	return set_limit(RLIMIT_CORE, 0, e);
}

/* Makes the new root at ROOT_POINT and turns to it. */
static int change_root(const char *root, bool tree, struct err *e)
{
	const unsigned long flags =
		MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;

	if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
		return err_sys(e, errno, "make mounts private");
	if (!root) {
		if (mount("none", ROOT_POINT, "tmpfs", flags,
			  "nr_inodes=2,nr_blocks=1,mode=0555") < 0)
			return err_sys(e, errno, "mount an empty root");
	} else if (mount(root, ROOT_POINT, NULL, MS_BIND | (tree ? MS_REC : 0),
			 NULL) < 0 ||
		   mount(NULL, ROOT_POINT, NULL, flags | MS_BIND | MS_REMOUNT,
			 NULL) < 0) {
		return err_sys(e, errno, "make '%s' the root", root);
	}
	if (chdir(ROOT_POINT) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return err_sys(e, errno, "change the root");
	return 0;
}

/* Before the ids change, with which CAP_SETPCAP goes. Without it the set
 * stays, and no_new_privs makes it moot. */
static void drop_bounding_set(uint64_t keep)
{
	int cap;

	for (cap = 0; cap < 64; cap++)
		if (!(keep >> cap & 1) &&
		    prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return;
}

static int drop_capabilities(uint64_t keep, struct err *e)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];

	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	memset(data, 0, sizeof(data));
	data[0].effective = data[0].permitted = (uint32_t)keep;
	data[1].effective = data[1].permitted = (uint32_t)(keep >> 32);
	if (syscall(SYS_capset, &head, data) < 0)
		return err_sys(e, errno, "drop capabilities");
	return 0;
}

static int drop_ids(const struct sandbox_spec *s, struct err *e)
{
	if (!s->drop_ids)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(s->gid, s->gid, s->gid) < 0 ||
	    setresuid(s->uid, s->uid, s->uid) < 0)
		return err_sys(e, errno, "become uid %u, gid %u", s->uid,
			       s->gid);
	return 0;
}

static int set_limits(const struct sandbox_spec *s, struct err *e)
{
	rlim_t size = s->max_file;
	struct stat st;
	int err;

	/* A log that is a regular file may grow a little; nothing else is
	 * written to a file, unless the program asked for it. */
	if (size == 0 && fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode))
		size = (rlim_t)st.st_size + LOG_GROWTH;
	err = set_limit(RLIMIT_FSIZE, size, e);
	if (err == 0)
		err = set_limit(RLIMIT_NOFILE, s->max_fds, e);
	if (err == 0)
		err = set_limit(RLIMIT_NPROC, s->max_tasks, e);
	return err;
}

int sandbox_enter(const struct sandbox_spec *spec, bool *ret_confined,
		  struct err *e)
{
	const int flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS |
			  (spec->keep_net ? 0 : CLONE_NEWNET);
	int err;

	*ret_confined = unshare(flags) == 0;
	if (!*ret_confined && errno != EPERM)
		return err_sys(e, errno, "make namespaces");
	if (*ret_confined)
		err = change_root(spec->root, spec->root_tree, e);
	else
		err = spec->root && chdir(spec->root) < 0
			      ? err_sys(e, errno, "go to '%s'", spec->root)
			      : 0;
	drop_bounding_set(spec->keep_caps);
	if (err == 0)
		err = drop_ids(spec, e);
	if (err == 0)
		err = set_limits(spec, e);
	if (err == 0)
		err = drop_capabilities(spec->keep_caps, e);
	/* A change of ids may have set it again. */
	if (err == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		err = err_sys(e, errno, "become non-dumpable");
	return err;
}

static int write_map(pid_t pid, const char *file, const char *text)
{
	char path[48];
	size_t n = strlen(text);
	int fd;
	bool ok;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok = fd >= 0 && write(fd, text, n) == (ssize_t)n;
	if (fd >= 0)
		close(fd);
	return ok ? 0 : -errno;
}

/* Outside of the namespace, where the ids of the host can be given: once it is
 * told that there is one. */
__attribute__((noreturn)) static void
mapper(pid_t pid, int go, const char *uid_map, const char *gid_map)
{
	char c;
	int r;

	if (read(go, &c, 1) != 1)
		_exit(EIO);
	r = write_map(pid, "uid_map", uid_map);
	if (r == 0)
		r = write_map(pid, "gid_map", gid_map);
	_exit(-r);
}

int sandbox_user_namespace(const char *uid_map, const char *gid_map,
			   struct err *e)
{
	int p[2], status = 0, r = 0;
	pid_t self = getpid(), pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	pid = fork();
	if (pid < 0) {
		r = errno;
		close(p[0]);
		close(p[1]);
		return err_sys(e, r, "fork");
	}
	if (pid == 0) {
		close(p[1]);
		mapper(self, p[0], uid_map, gid_map);
	}
	close(p[0]);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		r = err_sys(e, errno, "make a user namespace");
	else if (write(p[1], "", 1) != 1)
		r = err_sys(e, errno, "pipe");
	close(p[1]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	if (r < 0)
		return r;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return err_sys(e,
			       WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD,
			       "map its ids");
	if (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 ||
	    setresuid(0, 0, 0) < 0)
		return err_sys(e, errno, "take its ids");
	return 0;
}

/* Rights by ABI version, for headers that are older than the kernel. */
#define FS_ABI1	    0x1fffULL	 /* execute ... make_sym */
#define FS_ABI2	    (1ULL << 13) /* refer */
#define FS_ABI3	    (1ULL << 14) /* truncate */
#define FS_ABI5	    (1ULL << 15) /* ioctl_dev */
#define NET_BIND    1ULL	 /* ABI 4 */
#define NET_CONNECT 2ULL
#define SCOPE_ABI6  3ULL /* abstract unix sockets, signals */

#define RULE_NET_PORT 2

static int allow_connect(int ruleset, uint16_t port, struct err *e)
{
	const struct {
		uint64_t access, port;
	} rule = {NET_CONNECT, port};

	if (syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0) <
	    0)
		return err_sys(e, errno, "allow connections to port %u", port);
	return 0;
}

int sandbox_landlock(struct err *e)
{
	return sandbox_landlock_tcp(NULL, 0, e);
}

int sandbox_landlock_tcp(const uint16_t *ports, size_t n, struct err *e)
{
	struct {
		uint64_t fs, net, scope;
	} rules = {.fs = FS_ABI1};
	_cleanup_close_ int fd = -1;
	size_t size = sizeof(rules.fs);
	size_t i;
	long abi;
	int r;

	abi = syscall(SYS_landlock_create_ruleset, NULL, 0,
		      LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1)
		return -EOPNOTSUPP;
	rules.fs |= (abi >= 2 ? FS_ABI2 : 0) | (abi >= 3 ? FS_ABI3 : 0) |
		    (abi >= 5 ? FS_ABI5 : 0);
	if (abi >= 4) {
		rules.net = NET_BIND | NET_CONNECT;
		size += sizeof(rules.net);
	}
	if (abi >= 6) {
		rules.scope = SCOPE_ABI6;
		size += sizeof(rules.scope);
	}
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
	if (fd < 0)
		return err_sys(e, errno, "make a Landlock ruleset");
	for (i = 0; i < n && rules.net; i++) {
		r = allow_connect(fd, ports[i], e);
		if (r < 0)
			return r;
	}
	if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return err_sys(e, errno, "enforce Landlock");
	return 0;
}

#define LOAD(field) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define KILL  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* Fixed head, at most five instructions a call, three and its values for each
 * list of them, and the last word. */
#define PROGRAM_MAX (8 + 5 * SANDBOX_CALLS_MAX + 3 * SANDBOX_VALUES_MAX + 1)

static size_t put(struct sock_filter *prog, size_t at, struct sock_filter insn)
{
	prog[at] = insn;
	return at + 1;
}

/* Arguments are stored little-endian on what we run on: the lower half comes
 * first. */
static size_t put_load(struct sock_filter *prog, size_t at, unsigned int arg)
{
	const uint32_t low =
		(uint32_t)offsetof(struct seccomp_data, args) + 8 * arg;

	return put(prog, at,
		   (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low));
}

static size_t put_only(struct sock_filter *prog, size_t at,
		       const struct sandbox_call *c)
{
	size_t i;

	at = put_load(prog, at, c->arg);
	for (i = 0; i < c->n_only; i++)
		at = put(prog, at,
			 (struct sock_filter)BPF_JUMP(
				 BPF_JMP | BPF_JEQ | BPF_K, c->only[i],
				 (uint8_t)(c->n_only - i), 0));
	return put(prog, at, (struct sock_filter)KILL);
}

static size_t put_forbid(struct sock_filter *prog, size_t at,
			 const struct sandbox_call *c)
{
	at = put_load(prog, at, c->arg);
	at = put(prog, at,
		 (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K,
					      c->forbid, 0, 1));
	return put(prog, at, (struct sock_filter)KILL);
}

/* "This call?", with its n entries, with the number in the accumulator, which
 * stays there for the next question. */
static size_t put_call(struct sock_filter *prog, size_t at,
		       const struct sandbox_call *c, size_t n)
{
	uint8_t over = 1;
	size_t i;

	for (i = 0; i < n; i++)
		over = (uint8_t)(over + (c[i].forbid ? 3u : 0u) +
				 (c[i].only ? 2u + c[i].n_only : 0u));
	at = put(prog, at,
		 (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
					      (uint32_t)c->nr, 0, over));
	for (i = 0; i < n; i++) {
		if (c[i].forbid)
			at = put_forbid(prog, at, &c[i]);
		if (c[i].only)
			at = put_only(prog, at, &c[i]);
	}
	return put(prog, at, (struct sock_filter)ALLOW);
}

int sandbox_seccomp(const struct sandbox_call *calls, size_t n, struct err *e)
{
	static struct sock_filter prog[PROGRAM_MAX];
	struct sock_fprog fprog = {.filter = prog};
	const time_t now = 0;
	struct tm tm;
	size_t i, same, at = 0, values = 0;

	for (i = 0; i < n; i++)
		values += calls[i].n_only;
	if (n > SANDBOX_CALLS_MAX || values > SANDBOX_VALUES_MAX)
		return err_set(e, E2BIG, "too many system calls");
	if (SANITIZED)
		return 0;
	/* The C library opens the time zone at its first use, for the log. */
	(void)gmtime_r(&now, &tm);
	at = put(prog, at, (struct sock_filter)LOAD(arch));
	at = put(prog, at,
		 (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH,
					      1, 0));
	at = put(prog, at, (struct sock_filter)KILL);
	at = put(prog, at, (struct sock_filter)LOAD(nr));
#ifdef X32_BIT
	at = put(prog, at,
		 (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K,
					      X32_BIT, 0, 1));
	at = put(prog, at, (struct sock_filter)KILL);
#endif
	for (i = 0; i < n; i += same) {
		for (same = 1;
		     i + same < n && calls[i + same].nr == calls[i].nr;)
			same++;
		at = put_call(prog, at, &calls[i], same);
	}
	at = put(prog, at, (struct sock_filter)KILL);
	fprog.len = (unsigned short)at;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &fprog, 0, 0) < 0)
		return err_sys(e, errno, "install the system call filter");
	return 0;
}
