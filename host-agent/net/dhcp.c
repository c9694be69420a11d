/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DHCP server of a tenant: hyb-dhcpd, which becomes a dnsmasq that is shut
 * in. A machine's address follows from its number, so the server keeps nothing:
 * it reads ROOT/net/TENANT/hosts/, a file for each machine, and sees by itself
 * when one comes. The folder is also our list of machines: a machine's file is
 * the first thing that is made of it and the last that is removed.
 *
 * ROOT/net/TENANT/dhcpd says which process it is. That is written before the
 * process begins, and what it says is believed only of a process that is in
 * the tenant's namespace.
 */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"
#include "host-agent/net/internal.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Until it answers: a loaded machine may take long to load a program. */
#define READY_MS 60000
#define LOOK_MS	 5
#define END_MS	 10000
/* What hyb-dhcpd becomes. */
#define DNSMASQ "/usr/sbin/dnsmasq"

struct dhcpd {
	pid_t pid;
	int fd; /* -1: there is none */
};

static void dhcpd_done(struct dhcpd *d)
{
	cleanup_close(&d->fd);
}
#define _cleanup_dhcpd_ _cleanup_(dhcpd_done)

/* A process that has ended and waits for its parent is none. One of ours is
 * reaped here; with an earlier hybd's init did that. */
static bool has_ended(const struct dhcpd *d)
{
	struct pollfd p = {.fd = d->fd, .events = POLLIN};

	if (poll(&p, 1, 0) == 0)
		return false;
	(void)waitpid(d->pid, NULL, WNOHANG);
	return true;
}

/* The recorded process, if it is alive; else -ESRCH. */
static int find(struct net *n, const char *tenant, struct dhcpd *ret)
{
	_cleanup_dhcpd_ struct dhcpd d = {.fd = -1};
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	uint64_t pid, start;
	char *space;

	net_path(n, tenant, "dhcpd", path);
	if (file_read(AT_FDCWD, path, 64, &text, NULL, NULL) < 0)
		return -ESRCH;
	space = strchr(text, ' ');
	if (!space)
		return -ESRCH;
	*space++ = '\0';
	space[strcspn(space, "\n")] = '\0';
	if (parse_u64(text, 1, INT_MAX, &pid) < 0 ||
	    parse_u64(space, 0, UINT64_MAX, &start) < 0)
		return -ESRCH;
	d.pid = (pid_t)pid;
	d.fd = proc_open(d.pid, start);
	if (d.fd < 0 || has_ended(&d))
		return -ESRCH;
	ret->pid = d.pid;
	ret->fd = steal_fd(&d.fd);
	return 0;
}

static int namespace_of(pid_t pid)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* As find(), of a process that is in the namespace. */
static int find_in(struct net *n, const char *tenant, int ns, struct dhcpd *ret)
{
	_cleanup_dhcpd_ struct dhcpd d = {.fd = -1};
	_cleanup_close_ int its = -1;

	if (find(n, tenant, &d) < 0)
		return -ESRCH;
	its = namespace_of(d.pid);
	if (its < 0 || !pin_same(its, ns))
		return -ESRCH;
	ret->pid = d.pid;
	ret->fd = steal_fd(&d.fd);
	return 0;
}

int dhcp_namespace(struct net *n, const char *tenant)
{
	_cleanup_close_ int ns = -1, own = namespace_of(getpid());
	_cleanup_dhcpd_ struct dhcpd d = {.fd = -1};
	char path[32];
	struct stat st;

	if (own < 0 || find(n, tenant, &d) < 0)
		return -ESRCH;
	/* After a boot of the host a stranger may have its number. */
	snprintf(path, sizeof(path), "/proc/%d", (int)d.pid);
	if (stat(path, &st) < 0 || st.st_uid != n->dhcpd_uid)
		return -ESRCH;
	ns = namespace_of(d.pid);
	if (ns < 0 || pin_same(ns, own) || has_ended(&d))
		return -ESRCH;
	return steal_fd(&ns);
}

/* ------------------------------------------------------------------ start */

struct start {
	struct net *n;
	const char *tenant;
	int hosts; /* the folder */
	int log;
	struct dhcpd d;
};

static int record(const struct start *s, struct err *e)
{
	char path[PATH_MAX], text[64];
	uint64_t start;
	int len;

	if (proc_start_time(s->d.pid, &start) < 0)
		return err_set(e, ECHILD, "hyb-dhcpd ended at once");
	net_path(s->n, s->tenant, "dhcpd", path);
	len = snprintf(text, sizeof(text), "%d %llu\n", (int)s->d.pid,
		       (unsigned long long)start);
	return file_write_atomic(path, text, (size_t)len, 0600, e);
}

/* It goes on once it is on record, and ends should we be killed before. */
static int spawn(struct start *s, struct err *e)
{
	char uid[16];
	const char *argv[] = {"hyb-dhcpd",   "--wait",	 "--uid",   uid,
			      "--interface", NET_BRIDGE, "--range", NET_RANGE,
			      "--mask",	     NET_MASK,	 NULL};
	_cleanup_close_ int in = -1, go = -1;
	const int fds[] = {s->hosts};
	struct proc_spec spec = {.path = s->n->dhcpd_path,
				 .argv = argv,
				 .stdout_fd = -1,
				 .stderr_fd = s->log,
				 .fds = fds,
				 .n_fds = ARRAY_SIZE(fds),
				 .new_session = true};
	int p[2], r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "make a pipe");
	spec.stdin_fd = in = p[0];
	go = p[1];
	snprintf(uid, sizeof(uid), "%u", (unsigned int)s->n->dhcpd_uid);
	r = proc_spawn(&spec, &s->d.pid, &s->d.fd, e);
	if (r == 0)
		r = record(s, e);
	if (r == 0 && write(go, "", 1) != 1)
		r = err_sys(e, errno, "start it");
	return r;
}

/* Whether somebody has UDP port 67 in the thread's namespace. */
static bool answers(void)
{
	_cleanup_free_ char *text = NULL;

	return file_read(AT_FDCWD, "/proc/thread-self/net/udp", 65536, &text,
			 NULL, NULL) == 0 &&
	       strstr(text, ":0043 ");
}

static int wait_ready(const struct start *s, struct err *e)
{
	uint64_t deadline = now_ms() + READY_MS;
	char said[256];
	int r, status;

	for (;;) {
		/* It has the port before it is sure of all else; then it says
		 * that it has started. */
		proc_log_line(s->log, said, sizeof(said));
		if (fd_wait(s->d.fd, POLLIN, now_ms() + LOOK_MS) == 0)
			break;
		if (said[0] && answers())
			return 0;
		if (now_ms() > deadline)
			return err_sys(e, ETIMEDOUT, "wait until it answers");
	}
	r = proc_wait(s->d.pid, s->d.fd, 0, &status, e);
	return r < 0 ? r
		     : err_set(e, ECHILD, "it ended with status %d: %s", status,
			       said[0] ? said : "it did not say why");
}

static void end(struct dhcpd *d)
{
	syscall(SYS_pidfd_send_signal, d->fd, SIGKILL, NULL, 0);
	if (fd_wait(d->fd, POLLIN, now_ms() + END_MS) == 0)
		(void)has_ended(d);
}

/* In the tenant's namespace, which the process inherits. */
static int do_start(void *arg, struct err *e)
{
	struct start *s = arg;
	int r = spawn(s, e);

	if (r == 0)
		r = wait_ready(s, e);
	if (r < 0 && s->d.fd >= 0)
		end(&s->d);
	return r;
}

int dhcp_ensure(struct net *n, const char *tenant, int ns, struct err *e)
{
	_cleanup_close_ int hosts = -1, log = -1;
	_cleanup_dhcpd_ struct dhcpd d = {.fd = -1};
	struct start s = {.n = n, .tenant = tenant, .d.fd = -1};
	char path[PATH_MAX];
	int r;

	if (find_in(n, tenant, ns, &d) == 0)
		return watch_add(n, tenant, d.fd, e);
	net_path(n, tenant, "hosts", path);
	hosts = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (hosts < 0)
		return err_sys(e, errno, "open '%s'", path);
	log = proc_log_make("hyb-dhcpd");
	if (log < 0)
		return err_sys(e, -log, "make a memfd");
	s.hosts = hosts;
	s.log = log;
	r = pin_inside(ns, do_start, &s, e);
	if (r == 0)
		r = watch_add(n, tenant, s.d.fd, e);
	cleanup_close(&s.d.fd);
	if (r == 0)
		return 0;
	if (access(DNSMASQ, X_OK) < 0)
		err_hint(e, "hyb needs '" DNSMASQ
			    "': `apt-get install dnsmasq-base`");
	return err_wrap(e, "start the DHCP server");
}

int dhcp_stop(struct net *n, const char *tenant, struct err *e)
{
	_cleanup_dhcpd_ struct dhcpd d = {.fd = -1};
	_cleanup_close_ int ns = -1;
	char path[PATH_MAX];

	watch_drop(n, tenant);
	/* Without a namespace only a process counts that has one. */
	if (pin_open(n, tenant, &ns, NULL) < 0)
		ns = dhcp_namespace(n, tenant);
	if (ns >= 0 && find_in(n, tenant, ns, &d) == 0)
		end(&d);
	net_path(n, tenant, "dhcpd", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove '%s'", path);
	return 0;
}

/* --------------------------------------------------------------- machines */

static void host_path(const struct net *n, const char *tenant,
		      unsigned int number, char out[PATH_MAX])
{
	char name[24];

	snprintf(name, sizeof(name), "hosts/%u", number);
	net_path(n, tenant, name, out);
}

/* It sees what comes by itself; what is gone or changed it must be told. */
static void tell(struct net *n, const char *tenant)
{
	_cleanup_dhcpd_ struct dhcpd d = {.fd = -1};
	_cleanup_close_ int ns = -1;

	if (pin_open(n, tenant, &ns, NULL) == 0 &&
	    find_in(n, tenant, ns, &d) == 0)
		syscall(SYS_pidfd_send_signal, d.fd, SIGHUP, NULL, 0);
}

/* Of a machine's line dnsmasq takes some words for something else: that it is
 * to be left without an address, or how long that is its own ("7d"). A machine
 * of such a name is not told it. */
static bool is_told(const char *name)
{
	size_t digits = strspn(name, "0123456789");
	const char *unit = name + digits;

	if (strcmp(name, "ignore") == 0 || strcmp(name, "infinite") == 0)
		return false;
	return !digits || (*unit && (!strchr("smhdw", *unit) || unit[1]));
}

/* Written beside the folder, which is watched, and moved into it. */
int dhcp_add(struct net *n, const char *tenant, unsigned int number,
	     const char *host_name, struct err *e)
{
	char path[PATH_MAX], fresh[PATH_MAX], text[128];
	_cleanup_free_ char *old = NULL;
	struct net_machine m;
	int len, r;

	if (host_name && !is_told(host_name))
		host_name = NULL;
	net_machine_address(number, &m);
	len = snprintf(text, sizeof(text), "%s,%s%s%s\n", m.mac, m.ip,
		       host_name ? "," : "", host_name ? host_name : "");
	host_path(n, tenant, number, path);
	if (file_read(AT_FDCWD, path, sizeof(text), &old, NULL, NULL) == 0 &&
	    strcmp(old, text) == 0)
		return 0;
	net_path(n, tenant, "host.new", fresh);
	r = file_write_atomic(fresh, text, (size_t)len, 0644, e);
	if (r < 0)
		return r;
	if (rename(fresh, path) < 0)
		return err_sys(e, errno, "make '%s'", path);
	if (old)
		tell(n, tenant);
	return 0;
}

int dhcp_remove(struct net *n, const char *tenant, unsigned int number,
		struct err *e)
{
	char path[PATH_MAX];

	host_path(n, tenant, number, path);
	if (unlink(path) < 0)
		return errno == ENOENT ? 0
				       : err_sys(e, errno, "remove '%s'", path);
	tell(n, tenant);
	return 0;
}

int dhcp_each(struct net *n, const char *tenant,
	      int (*fn)(void *arg, unsigned int number), void *arg,
	      struct err *e)
{
	_cleanup_closedir_ DIR *dir = NULL;
	char path[PATH_MAX];
	struct dirent *d;
	uint64_t number;
	int r = 0;

	net_path(n, tenant, "hosts", path);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? 0
				       : err_sys(e, errno, "open '%s'", path);
	while (r == 0 && (d = readdir(dir)))
		if (parse_u64(d->d_name, 1, HYB_NET_NUMBER_MAX, &number) == 0)
			r = fn(arg, (unsigned int)number);
	return r;
}
