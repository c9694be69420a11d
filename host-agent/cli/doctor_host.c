/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/cli/doctor.h"
#include "host-agent/cli/out.h"

#include <fcntl.h>
#include <glob.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#define DISK_LOW   ((uint64_t)2 << 30)
#define DISK_NONE  ((uint64_t)256 << 20)
#define MEMORY_LOW ((uint64_t)512 << 20)

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static bool any_of(const char *pattern)
{
	glob_t g;
	bool found = glob(pattern, 0, NULL, &g) == 0;

	if (found)
		globfree(&g);
	return found;
}

static void check_packages(json_t *checks)
{
	if (exists("/usr/bin/qemu-system-x86_64"))
		doctor_add(checks, "qemu", "ok", "",
			   "/usr/bin/qemu-system-x86_64");
	else
		doctor_add(checks, "qemu", "fail",
			   "apt-get install qemu-system-x86",
			   "/usr/bin/qemu-system-x86_64 is missing");
	if (!any_of("/usr/lib/*/libvirt/connection-driver/"
		    "libvirt_driver_qemu.so"))
		doctor_add(checks, "libvirt", "fail",
			   "apt-get install libvirt-daemon-driver-qemu "
			   "libvirt-daemon-system",
			   "libvirt's QEMU driver is missing");
	else if (!getpwnam("libvirt-qemu"))
		doctor_add(checks, "libvirt", "fail",
			   "apt-get install libvirt-daemon-system",
			   "the user libvirt-qemu is missing: the driver does "
			   "not load without");
	else
		doctor_add(checks, "libvirt", "ok", "",
			   "the QEMU driver is there");
	if (exists("/usr/bin/skopeo"))
		doctor_add(checks, "skopeo", "ok", "", "/usr/bin/skopeo");
	else
		doctor_add(checks, "skopeo", "warn", "apt-get install skopeo",
			   "missing: images cannot be pulled");
}

/* For VMs that boot a disk. */
static void check_network(json_t *checks)
{
	if (!exists("/usr/sbin/dnsmasq"))
		doctor_add(checks, "network", "warn",
			   "apt-get install dnsmasq-base",
			   "/usr/sbin/dnsmasq is missing: VMs that boot a disk "
			   "get no network card");
	else if (!exists("/dev/net/tun"))
		doctor_add(checks, "network", "warn", "modprobe tun",
			   "/dev/net/tun is missing: VMs that boot a disk get "
			   "no network card");
	else
		doctor_add(checks, "network", "ok", "",
			   "/usr/sbin/dnsmasq, /dev/net/tun");
}

static void check_kernel(json_t *checks)
{
	struct utsname u;
	int major = 0, minor = 0;

	if (uname(&u) < 0 || sscanf(u.release, "%d.%d", &major, &minor) != 2) {
		doctor_add(checks, "kernel", "warn", "",
			   "its version is "
			   "unknown");
		return;
	}
	if (major < 5 || (major == 5 && minor < 10))
		doctor_add(checks, "kernel", "fail", "5.10 or later is needed",
			   "%s", u.release);
	else
		doctor_add(checks, "kernel", "ok", "", "%s", u.release);
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1u) < 0)
		doctor_add(checks, "landlock", "warn",
			   "the kernel's lsm= should name landlock",
			   "not there: helper processes are confined by the "
			   "rest only");
	else
		doctor_add(checks, "landlock", "ok", "", "there");
}

static void check_cgroups(json_t *checks)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;

	if (file_read(AT_FDCWD, "/sys/fs/cgroup/cgroup.controllers", 4096,
		      &text, &len, NULL) < 0)
		doctor_add(checks, "cgroups", "warn",
			   "boot with systemd.unified_cgroup_hierarchy=1",
			   "no cgroup v2 at /sys/fs/cgroup: what VMs take of "
			   "the host is not limited (inside VMs it is)");
	else if (!strstr(text, "memory") || !strstr(text, "cpu"))
		doctor_add(checks, "cgroups", "warn", "",
			   "cgroup v2 without the controllers cpu and memory");
	else
		doctor_add(checks, "cgroups", "ok", "", "v2");
}

static void check_userns(json_t *checks)
{
	_cleanup_free_ char *text = NULL;

	if (file_read(AT_FDCWD, "/proc/sys/user/max_user_namespaces", 64, &text,
		      NULL, NULL) < 0 ||
	    atoi(text) == 0)
		doctor_add(checks, "user namespaces", "warn",
			   "sysctl user.max_user_namespaces=15000",
			   "switched off: helper processes are confined less");
	else
		doctor_add(checks, "user namespaces", "ok", "", "switched on");
}

static void check_vsock(json_t *checks)
{
	if (exists("/dev/vhost-vsock"))
		doctor_add(checks, "vsock", "ok", "",
			   "/dev/vhost-vsock is there, and not needed");
	else
		doctor_add(checks, "vsock", "ok", "",
			   "no /dev/vhost-vsock; hyb brings a device of its "
			   "own");
}

/* The folder, or the nearest one above it that there is. */
static int nearest_statvfs(const char *root, struct statvfs *st)
{
	char path[512], *slash;

	snprintf(path, sizeof(path), "%s", root);
	while (statvfs(path, st) < 0) {
		slash = strrchr(path, '/');
		if (errno != ENOENT || !slash || slash == path)
			return statvfs("/", st);
		*slash = '\0';
	}
	return 0;
}

static void check_disk(json_t *checks, const char *root)
{
	struct statvfs st;
	uint64_t left;
	char text[24];

	if (nearest_statvfs(root, &st) < 0) {
		doctor_add(checks, "disk space", "warn", "", "%s: %s", root,
			   strerror(errno));
		return;
	}
	left = (uint64_t)st.f_bavail * st.f_frsize;
	doctor_add(checks, "disk space",
		   left < DISK_NONE  ? "fail"
		   : left < DISK_LOW ? "warn"
				     : "ok",
		   left < DISK_LOW ? "images, logs and state need room" : "",
		   "%s free for '%s'", out_size(left, text), root);
	if (st.f_flag & ST_RDONLY)
		doctor_add(checks, "root", "fail", "use another --root",
			   "'%s' is on a read-only file system", root);
}

static void check_memory(json_t *checks)
{
	_cleanup_free_ char *text = NULL;
	unsigned long long kib = 0;
	char shown[24];
	char *p;

	if (file_read(AT_FDCWD, "/proc/meminfo", 16384, &text, NULL, NULL) < 0)
		return;
	p = strstr(text, "MemAvailable:");
	if (!p || sscanf(p, "MemAvailable: %llu", &kib) != 1)
		return;
	doctor_add(checks, "memory", kib << 10 < MEMORY_LOW ? "warn" : "ok",
		   kib << 10 < MEMORY_LOW ? "few VMs will fit" : "",
		   "%s available", out_size((uint64_t)kib << 10, shown));
}

static void check_nofile(json_t *checks)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0)
		return;
	if (l.rlim_max < 4096)
		doctor_add(checks, "open files", "warn",
			   "raise it: ulimit -Hn 65536",
			   "at most %llu: enough for few VMs only",
			   (unsigned long long)l.rlim_max);
	else
		doctor_add(checks, "open files", "ok", "", "at most %llu",
			   (unsigned long long)l.rlim_max);
}

static void check_user(json_t *checks)
{
	if (geteuid() != 0)
		doctor_add(checks, "user", "warn",
			   "a hybd must be started as root; members of the "
			   "group 'hyb' may use it",
			   "you are not root");
}

void doctor_host(json_t *checks, const char *root)
{
	check_packages(checks);
	check_network(checks);
	check_kernel(checks);
	check_cgroups(checks);
	check_userns(checks);
	check_vsock(checks);
	check_disk(checks, root);
	check_memory(checks);
	check_nofile(checks);
	check_user(checks);
}
