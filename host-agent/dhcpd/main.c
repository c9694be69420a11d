/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hyb-dhcpd: puts a cage around dnsmasq, the DHCP server of one tenant's
 * network, and becomes it (docs/network.md).
 *
 * It is started in the tenant's network namespace, which it keeps. Descriptor 3
 * is the folder with a file for each machine.
 *
 * Theory of operation. dnsmasq reads what guests send, so it gets what it needs
 * for that and nothing else:
 *
 *   ids           root of a user namespace in which there is no other id; on
 *                 the host a reserved one that owns nothing
 *   capabilities  CAP_NET_ADMIN of that user namespace, as dnsmasq refuses to
 *                 start without: the network namespace belongs to the host's,
 *                 so it is good for nothing
 *   files         a root of its own, read-only: libraries, dnsmasq itself, the
 *                 machines, two devices. There is no shell and no /proc
 *   system calls  a list; anything else kills it
 *   network       the tenant's namespace, whose filter lets this id send DHCP
 *                 answers only
 *
 * It writes no file: a machine's address follows from its number.
 */
#include "common/base/cage.h"
#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "common/base/sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define EXIT_USAGE 2
#define HOSTS_FD   3
#define DNSMASQ	   "/usr/sbin/dnsmasq"
/* Where the root is put together, in a mount namespace of ours; sandbox_enter()
 * needs /tmp. */
#define VIEW	  "/run"
#define FDS_MAX	  64
#define LOG_BYTES (1u << 20)
#define MEMORY	  (64u << 20)
#define LEASE	  "12h"
#define ATTRS	  (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

struct options {
	uint32_t uid;
	const char *interface, *range, *mask;
	bool wait;
};

static const char usage_text[] =
	"usage: hyb-dhcpd --uid UID --interface NAME --range NETWORK\n"
	"                 --mask MASK [--wait]\n"
	"3 is the folder of the machines. --wait: goes on once a byte comes on\n"
	"standard input, ends at its end.\n";

static int parse_option(int c, void *arg)
{
	struct options *o = arg;

	switch (c) {
	case 'u':
		return parse_uid(optarg, &o->uid);
	case 'i':
		o->interface = optarg;
		return 0;
	case 'r':
		o->range = optarg;
		return 0;
	case 'm':
		o->mask = optarg;
		return 0;
	case 'w':
		o->wait = true;
		return 0;
	default:
		return -EINVAL;
	}
}

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"uid", required_argument, NULL, 'u'},
		{"interface", required_argument, NULL, 'i'},
		{"range", required_argument, NULL, 'r'},
		{"mask", required_argument, NULL, 'm'},
		{"wait", no_argument, NULL, 'w'},
		{NULL, 0, NULL, 0},
	};
	int r = cage_options(argc, argv, longs, parse_option, o);

	if (r == 0 && (!o->uid || !o->interface || !o->range || !o->mask))
		r = -EINVAL;
	return r;
}

/* ------------------------------------------------------------------- view */

/* That at VIEW/name. */
static int put(int tree, const char *name, bool folder, struct err *e)
{
	char at[128];
	int fd;

	snprintf(at, sizeof(at), VIEW "/%s", name);
	if (folder && mkdir(at, 0755) < 0)
		return err_sys(e, errno, "make '%s'", at);
	if (!folder) {
		fd = open(at, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
		if (fd < 0)
			return err_sys(e, errno, "make '%s'", at);
		close(fd);
	}
	return cage_put(tree, AT_FDCWD, at, e);
}

static int show(const char *source, const char *name, bool folder,
		uint64_t attrs, struct err *e)
{
	_cleanup_close_ int tree = cage_take(AT_FDCWD, source, attrs, e);

	return tree < 0 ? tree : put(tree, name, folder, e);
}

static int make_folder(const char *name, struct err *e)
{
	char at[128];

	snprintf(at, sizeof(at), VIEW "/%s", name);
	return mkdir(at, 0755) < 0 ? err_sys(e, errno, "make '%s'", at) : 0;
}

/* A folder of libraries: as the host has it, which may be a link to another. */
static int show_libraries(const char *name, struct err *e)
{
	char path[128], target[128], at[128];
	struct stat st;
	ssize_t n;

	snprintf(path, sizeof(path), "/%s", name);
	if (lstat(path, &st) < 0)
		return errno == ENOENT
			       ? 0
			       : err_sys(e, errno, "look at '%s'", path);
	if (!S_ISLNK(st.st_mode))
		return show(path, name, true, ATTRS, e);
	n = readlink(path, target, sizeof(target) - 1);
	if (n < 0)
		return err_sys(e, errno, "read the link '%s'", path);
	target[n] = '\0';
	snprintf(at, sizeof(at), VIEW "/%s", name);
	return symlink(target, at) < 0 ? err_sys(e, errno, "make '%s'", at) : 0;
}

/* The view's root, writable still. */
static int make_root(struct err *e)
{
	int r = cage_namespaces(e);

	if (r < 0)
		return r;
	/* The ids that will read it are not those that make it. */
	umask(022);
	if (mount("tmpfs", VIEW, "tmpfs", MS_NOSUID | MS_NODEV,
		  "size=64k,nr_inodes=32,mode=0755") < 0)
		return err_sys(e, errno, "mount a tmpfs");
	return 0;
}

static int make_view(struct err *e)
{
	static const char *const libraries[] = {"usr/lib", "usr/lib64", "lib",
						"lib64"};
	static const char *const folders[] = {"usr", "etc", "dev"};
	static const char *const devices[] = {"/dev/null", "/dev/urandom"};
	/* Before there is another mount namespace than its own. */
	_cleanup_close_ int hosts = cage_take(HOSTS_FD, "", ATTRS, e);
	size_t i;
	int r;

	if (hosts < 0)
		return hosts;
	close(HOSTS_FD);
	r = make_root(e);
	for (i = 0; r == 0 && i < ARRAY_SIZE(folders); i++)
		r = make_folder(folders[i], e);
	for (i = 0; r == 0 && i < ARRAY_SIZE(libraries); i++)
		r = show_libraries(libraries[i], e);
	/* Where libraries are, if in no folder that every loader knows. */
	if (r == 0 && access("/etc/ld.so.cache", R_OK) == 0)
		r = show("/etc/ld.so.cache", "etc/ld.so.cache", false, ATTRS,
			 e);
	for (i = 0; r == 0 && i < ARRAY_SIZE(devices); i++)
		r = show(devices[i], devices[i] + 1, false, MOUNT_ATTR_NOSUID,
			 e);
	if (r == 0)
		r = show(DNSMASQ, "dnsmasq", false, ATTRS, e);
	return r < 0 ? r : put(hosts, "hosts", true, e);
}

/* ----------------------------------------------------------------- filter */

/* What the loader, the C library and dnsmasq need. No process is made, none is
 * signalled, nothing is mounted, no namespace entered. */
static int filter(struct err *e)
{
	/* Not AF_VSOCK, which knows no network namespaces. */
	static const uint32_t families[] = {AF_UNIX, AF_INET, AF_INET6,
					    AF_NETLINK};
	static const struct sandbox_call calls[] = {
		{.nr = SYS_execve},
		{.nr = SYS_openat},
		{.nr = SYS_close},
		{.nr = SYS_read},
		{.nr = SYS_pread64},
		{.nr = SYS_write},
		{.nr = SYS_writev},
		{.nr = SYS_lseek},
		{.nr = SYS_fstat},
		{.nr = SYS_newfstatat},
		{.nr = SYS_fstatfs},
		{.nr = SYS_access},
		{.nr = SYS_readlink},
		{.nr = SYS_getdents64},
		{.nr = SYS_mmap},
		{.nr = SYS_mprotect},
		{.nr = SYS_munmap},
		{.nr = SYS_mremap},
		{.nr = SYS_madvise},
		{.nr = SYS_brk},
		{.nr = SYS_futex},
		{.nr = SYS_arch_prctl},
		{.nr = SYS_set_tid_address},
		{.nr = SYS_set_robust_list},
		{.nr = SYS_rseq},
		{.nr = SYS_prlimit64},
		{.nr = SYS_getrandom},
		{.nr = SYS_rt_sigaction},
		{.nr = SYS_rt_sigprocmask},
		{.nr = SYS_rt_sigreturn},
		{.nr = SYS_restart_syscall},
		{.nr = SYS_alarm},
		{.nr = SYS_prctl},
		{.nr = SYS_capget},
		{.nr = SYS_capset},
		{.nr = SYS_umask},
		{.nr = SYS_uname},
		{.nr = SYS_getpid},
		{.nr = SYS_getuid},
		{.nr = SYS_geteuid},
		{.nr = SYS_getgid},
		{.nr = SYS_getegid},
		{.nr = SYS_fcntl},
		{.nr = SYS_dup},
		{.nr = SYS_dup2},
		{.nr = SYS_pipe2},
		{.nr = SYS_poll},
		{.nr = SYS_ppoll},
		{.nr = SYS_ioctl},
		{.nr = SYS_socket,
		 .arg = 0,
		 .only = families,
		 .n_only = ARRAY_SIZE(families)},
		{.nr = SYS_bind},
		{.nr = SYS_connect},
		{.nr = SYS_setsockopt},
		{.nr = SYS_getsockopt},
		{.nr = SYS_getsockname},
		{.nr = SYS_sendto},
		{.nr = SYS_sendmsg},
		{.nr = SYS_recvmsg},
		{.nr = SYS_recvfrom},
		{.nr = SYS_inotify_init1},
		{.nr = SYS_inotify_add_watch},
		{.nr = SYS_clock_gettime},
		{.nr = SYS_clock_nanosleep},
		{.nr = SYS_time},
		{.nr = SYS_times},
		{.nr = SYS_sysinfo},
		{.nr = SYS_exit_group},
	};

	return sandbox_seccomp(calls, ARRAY_SIZE(calls), e);
}

/* Some five times what it takes. */
static int limit_memory(struct err *e)
{
	const struct rlimit l = {.rlim_cur = MEMORY, .rlim_max = MEMORY};

	return setrlimit(RLIMIT_AS, &l) < 0
		       ? err_sys(e, errno, "limit its memory")
		       : 0;
}

static int cage(const struct options *o, struct err *e)
{
	const struct sandbox_spec spec = {
		.root = VIEW,
		.root_tree = true,
		.keep_net = true,
		.keep_caps = 1ULL << CAP_NET_ADMIN,
		.max_fds = FDS_MAX,
		.max_file = LOG_BYTES,
	};
	char map[32];
	bool confined;
	int r = make_view(e);

	snprintf(map, sizeof(map), "0 %u 1\n", o->uid);
	if (r == 0)
		r = sandbox_user_namespace(map, map, e);
	if (r == 0)
		r = sandbox_enter(&spec, &confined, e);
	if (r == 0 && !confined)
		r = err_sys(e, EPERM, "make namespaces");
	if (r == 0)
		r = limit_memory(e);
	return r < 0 ? r : filter(e);
}

static int run(void *arg, struct err *e)
{
	const struct options *o = arg;
	char interface[64], range[64];
	const char *const argv[] = {
		"dnsmasq",
		/* In the foreground, with no process but this one. */
		"--no-daemon",
		"--conf-file=/dev/null",
		"--user=",
		"--group=",
		"--pid-file",
		"--log-facility=-",
		"--quiet-dhcp",
		"--port=0", /* no DNS */
		"--no-hosts",
		"--no-resolv",
		"--no-poll",
		interface,
		"--except-interface=lo",
		"--bind-interfaces",
		range,
		"--dhcp-hostsdir=/hosts",
		"--dhcp-ignore=tag:!known",
		"--dhcp-authoritative",
		"--dhcp-lease-max=65000",
		"--leasefile-ro",
		"--no-ping",
		/* An answer to a guest that has no address yet would need an
		 * entry in the kernel's table of neighbours. */
		"--dhcp-broadcast",
		/* No router, no DNS server: there is no way out. */
		"--dhcp-option=3",
		"--dhcp-option=6",
		NULL,
	};
	static const char *const env[] = {"LANG=C", "TZ=UTC0", NULL};
	int r;

	snprintf(interface, sizeof(interface), "--interface=%s", o->interface);
	snprintf(range, sizeof(range), "--dhcp-range=%s,static,%s," LEASE,
		 o->range, o->mask);
	r = cage(o, e);
	if (r < 0)
		return r;
	execve("/dnsmasq", (char *const *)(uintptr_t)argv,
	       (char *const *)(uintptr_t)env);
	return err_sys(e, errno, "start '" DNSMASQ "'");
}

int main(int argc, char **argv)
{
	struct options o = {.uid = 0};
	struct cage c = {
		.name = "hyb-dhcpd", .n_fds = 1, .run = run, .arg = &o};

	if (parse_options(argc, argv, &o) < 0) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	c.wait = o.wait;
	return cage_main(&c);
}
