/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a hyb-vsockd and a VM (guest.c) and tests one against the other. TAP
 * on standard output; figures as diagnostics.
 *
 * usage: host DEVICE PORTD KERNEL INITRAMFS DIR
 */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/guest/vsock.h"
#include "tests/guest/vsock/ports.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define VM_UID	 "64000"
#define MIB	 (1024ull * 1024)
#define PING_N	 2000
#define SHORT_N	 10000
#define PARALLEL 200

static const char *device_path, *portd_path, *kernel, *initramfs, *dir;
static char vhost_sock[100], listen_sock[100], qmp_sock[100];
static struct vsock_addr addr;
static pid_t device_pid, qemu_pid, portd_pid;
static struct sockaddr_in tcp_addr;
static int tests, failures;

static void report(bool ok, const char *name)
{
	printf("%sok %d - %s\n", ok ? "" : "not ", ++tests, name);
	fflush(stdout);
	failures += !ok;
}

static double seconds(void)
{
	return (double)now_ns() / 1e9;
}

static pid_t spawn(const char *const argv[], const char *log)
{
	pid_t pid = fork();
	int fd;

	if (pid == 0) {
		fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
		dup2(fd, 1);
		dup2(fd, 2);
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	return pid;
}

static void start_device(void)
{
	char log[120];
	const char *const argv[] = {
		device_path, "--vhost", vhost_sock,   "--listen", listen_sock,
		"--cid",     "3",	"--peer-uid", VM_UID,	  "--uid",
		VM_UID,	     "--gid",	VM_UID,	      NULL};

	snprintf(log, sizeof(log), "%s/device.log", dir);
	unlink(listen_sock);
	device_pid = spawn(argv, log);
	while (access(listen_sock, F_OK) < 0 &&
	       waitpid(device_pid, NULL, WNOHANG) == 0)
		usleep(500);
}

static void start_qemu(void)
{
	char log[120], chardev[160], qmp[160];
	const char *const argv[] = {
		"setpriv",
		"--reuid",
		VM_UID,
		"--regid",
		VM_UID,
		"--clear-groups",
		"qemu-system-x86_64",
		"-nodefaults",
		"-no-user-config",
		"-display",
		"none",
		"-accel",
		"tcg",
		"-machine",
		"q35,memory-backend=mem,usb=off",
		"-m",
		"256",
		"-object",
		"memory-backend-memfd,id=mem,size=256M,share=on",
		"-smp",
		"1,maxcpus=2",
		"-bios",
		"/usr/share/qemu/qboot.rom",
		"-kernel",
		kernel,
		"-initrd",
		initramfs,
		"-append",
		"console=ttyS0 quiet panic=-1 reboot=t rdinit=/init",
		"-serial",
		"stdio",
		"-no-reboot",
		"-chardev",
		chardev,
		"-device",
		"vhost-user-vsock-pci,chardev=vs",
		"-qmp",
		qmp,
		NULL};

	snprintf(chardev, sizeof(chardev),
		 "socket,id=vs,path=%s,server=on,wait=on", vhost_sock);
	snprintf(qmp, sizeof(qmp), "unix:%s,server=on,wait=off", qmp_sock);
	snprintf(log, sizeof(log), "%s/qemu.log", dir);
	qemu_pid = spawn(argv, log);
}

static int dial(uint32_t port, uint64_t timeout_ms)
{
	struct err e = ERR_INIT;
	int fd, err;

	err = vsock_connect(&addr, port, now_ms() + timeout_ms, &fd, &e);
	return err < 0 ? err : fd;
}

/* As dial(), again every 5 ms while nobody listens. */
static int dial_retry(uint32_t port, uint64_t timeout_ms)
{
	uint64_t deadline = now_ms() + timeout_ms;
	int fd;

	for (;;) {
		fd = dial(port, timeout_ms);
		if (fd >= 0 || now_ms() > deadline ||
		    (fd != -ECONNREFUSED && fd != -ENOENT))
			return fd;
		usleep(5000);
	}
}

static bool echo_once(int fd, size_t len)
{
	char out[4096], in[4096];

	memset(out, 'x', len);
	return write_full(fd, out, len) == 0 &&
	       read_full(fd, in, len) == (ssize_t)len &&
	       memcmp(in, out, len) == 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void test_start(void)
{
	double t0 = seconds(), t1;
	int fd, tries = 0;

	/* One connect at once: held until the driver is up, then either
	 * accepted or, where the guest does not listen yet, refused. */
	do {
		tries++;
		fd = dial(PORT_ECHO, 60000);
		if (fd == -ECONNREFUSED)
			usleep(5000);
	} while (fd == -ECONNREFUSED && tries < 2000);
	t1 = seconds();
	report(fd >= 0 && echo_once(fd, 64),
	       "a client that came before the VM");
	printf("# boot to first echo %.2f s, %d tries\n", t1 - t0, tries);
	if (fd < 0)
		exit(1);
	close(fd);
	addr.uid++;
	fd = dial(PORT_ECHO, 60000);
	addr.uid--;
	report(fd == -EPERM, "a socket of another uid is not talked to");
	fd = dial(PORT_NOBODY, 60000);
	report(fd == -ECONNREFUSED, "nobody listens: refused");
}

static void test_ping(void)
{
	static double t[PING_N];
	int fd = dial(PORT_ECHO, 60000), i;
	bool ok = fd >= 0;
	double t0;

	for (i = 0; i < PING_N && ok; i++) {
		t0 = seconds();
		ok = echo_once(fd, 64);
		t[i] = seconds() - t0;
	}
	close(fd);
	report(ok, "ping");
	qsort(t, PING_N, sizeof(t[0]), by_value);
	printf("# ping 64 B: median %.0f us, p99 %.0f us, max %.0f us\n",
	       t[PING_N / 2] * 1e6, t[PING_N * 99 / 100] * 1e6,
	       t[PING_N - 1] * 1e6);
}

static void test_short(void)
{
	static double t[SHORT_N];
	bool ok = true;
	double t0;
	int i, fd;

	for (i = 0; i < SHORT_N && ok; i++) {
		t0 = seconds();
		fd = dial(PORT_ECHO, 60000);
		ok = fd >= 0 && echo_once(fd, 16);
		if (fd >= 0)
			close(fd);
		else
			printf("# connect %d: %s\n", i, strerror(-fd));
		t[i] = seconds() - t0;
	}
	report(ok, "10,000 connections one after another");
	qsort(t, SHORT_N, sizeof(t[0]), by_value);
	printf("# connect + echo: median %.2f ms, p99 %.2f ms, max %.1f ms\n",
	       t[SHORT_N / 2] * 1e3, t[SHORT_N * 99 / 100] * 1e3,
	       t[SHORT_N - 1] * 1e3);
}

static char *pattern(void)
{
	static char buf[256 * 1024 + 251];
	size_t i;

	for (i = 0; i < sizeof(buf); i++)
		buf[i] = (char)(uint8_t)(i % 251);
	return buf;
}

static void test_to_guest(uint64_t size)
{
	const char *data = pattern();
	uint64_t done = 0, answer[2] = {0, 1}, part;
	int fd = dial(PORT_SINK, 60000);
	double t0 = seconds();
	bool ok = fd >= 0;

	while (ok && done < size) {
		part = size - done < 256 * 1024 ? size - done : 256 * 1024;
		ok = write_full(fd, data + done % 251, part) == 0;
		done += part;
	}
	if (ok)
		shutdown(fd, SHUT_WR);
	ok = ok && read_full(fd, answer, sizeof(answer)) == sizeof(answer) &&
	     answer[0] == size && answer[1] == 0;
	report(ok, "bulk to the guest, half-close, its count comes back");
	printf("# to the guest %.0f MB/s\n",
	       (double)size / 1e6 / (seconds() - t0));
	close(fd);
}

static bool pull(uint64_t size, uint64_t slow_from, uint64_t *ret_done)
{
	static char buf[256 * 1024];
	uint64_t done = 0;
	int fd = dial(PORT_SOURCE, 60000);
	bool ok = fd >= 0 && write_full(fd, &size, sizeof(size)) == 0;
	ssize_t n, i;

	if (ok && slow_from)
		usleep(300000); /* everything is full by now */
	while (ok && (n = read(fd, buf, sizeof(buf))) > 0) {
		for (i = 0; i < n; i += 509)
			ok = ok &&
			     (uint8_t)buf[i] == (done + (uint64_t)i) % 251;
		done += (uint64_t)n;
	}
	close(fd);
	*ret_done = done;
	return ok && done == size;
}

static void test_from_guest(uint64_t size)
{
	double t0 = seconds();
	uint64_t done;

	report(pull(size, 0, &done), "bulk from the guest to its end");
	printf("# from the guest %.0f MB/s\n",
	       (double)done / 1e6 / (seconds() - t0));
	report(pull(8 * MIB, 1, &done), "a reader that begins late loses "
					"nothing");
}

static void test_parallel(void)
{
	static int fd[PARALLEL];
	bool ok = true;
	int i, k;

	for (i = 0; i < PARALLEL; i++) {
		fd[i] = dial(PORT_ECHO, 60000);
		ok = ok && fd[i] >= 0;
	}
	for (k = 0; k < 5 && ok; k++) {
		for (i = 0; i < PARALLEL; i++)
			ok = ok && write_full(fd[i], &i, sizeof(i)) == 0;
		for (i = 0; i < PARALLEL; i++) {
			int v = -1;

			ok = ok &&
			     read_full(fd[i], &v, sizeof(v)) == sizeof(v) &&
			     v == i;
		}
	}
	for (i = 0; i < PARALLEL; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	report(ok, "200 connections at once");
}

static void test_limit(void)
{
	static int fd[400];
	int i, good = 0, bad = 0;

	for (i = 0; i < 400; i++) {
		fd[i] = dial(PORT_ECHO, 60000);
		good += fd[i] >= 0;
		bad += fd[i] == -ECONNREFUSED;
	}
	/* Connections of the tests before may still linger. */
	report(good <= 256 && good > 200 && bad == 400 - good,
	       "more than 256 connections are refused");
	printf("# %d of 400\n", good);
	for (i = 0; i < 400; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	i = dial_retry(PORT_ECHO, 60000);
	report(i >= 0 && echo_once(i, 64),
	       "and there is room again afterwards");
	close(i);
}

/* Writers to a guest that never reads, and readers that never read: others
 * are not slowed down, memory stays flat. */
static void test_stuck(void)
{
	int fd[40], i;
	char junk[65536] = {0};
	uint64_t huge = 1ull << 40;
	bool ok;

	for (i = 0; i < 40; i++) {
		fd[i] = dial(i % 2 ? PORT_STUCK : PORT_SOURCE, 60000);
		if (fd[i] < 0)
			continue;
		if (i % 2) {
			fd_set_nonblock(fd[i], true);
			while (write(fd[i], junk, sizeof(junk)) > 0)
				;
		} else if (write(fd[i], &huge, sizeof(huge)) < 0) {
			continue;
		}
	}
	usleep(200000);
	i = dial(PORT_ECHO, 60000);
	ok = i >= 0;
	for (int k = 0; k < 200 && ok; k++)
		ok = echo_once(i, 64);
	report(ok, "40 stuck streams do not hold up another");
	close(i);
	for (i = 0; i < 40; i++)
		if (fd[i] >= 0)
			close(fd[i]);
}

static void test_dial_out(void)
{
	int fd = dial(PORT_DIAL, 60000);
	int32_t err = 0;

	report(fd >= 0 && read_full(fd, &err, 4) == 4 && err == ECONNRESET,
	       "a connection from the guest is reset");
	close(fd);
}

static void start_portd(void)
{
	static char log[120];
	const char *const argv[] = {portd_path,	 "--port", "3:80", "--vsock",
				    listen_sock, "--uid",  VM_UID, "--gid",
				    VM_UID,	 NULL};
	socklen_t len = sizeof(tcp_addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(log, sizeof(log), "%s/portd.log", dir);
	tcp_addr =
		(struct sockaddr_in){.sin_family = AF_INET,
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (bind(fd, (struct sockaddr *)&tcp_addr, len) < 0 ||
	    listen(fd, 128) < 0 ||
	    getsockname(fd, (struct sockaddr *)&tcp_addr, &len) < 0)
		exit(1);
	portd_pid = fork();
	if (portd_pid == 0) {
		dup2(open(log, O_WRONLY | O_CREAT | O_APPEND, 0600), 2);
		if (fd == 3)
			fd_set_cloexec(fd, false);
		else
			dup2(fd, 3);
		execv(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	close(fd);
}

static int tcp_dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const int on = 1;

	if (connect(fd, (struct sockaddr *)&tcp_addr, sizeof(tcp_addr)) < 0) {
		close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

static void test_portd(void)
{
	static double t[500];
	bool ok = true;
	double t0;
	int i, fd;

	start_portd();
	for (i = 0; i < 500 && ok; i++) {
		t0 = seconds();
		fd = tcp_dial();
		ok = fd >= 0 && echo_once(fd, 64);
		t[i] = seconds() - t0;
		close(fd);
	}
	report(ok, "a published port: connect and echo");
	qsort(t, 500, sizeof(t[0]), by_value);
	printf("# published port, connect + echo: median %.2f ms, p99 %.2f ms\n",
	       t[250] * 1e3, t[495] * 1e3);
	fd = tcp_dial();
	for (i = 0; i < 500 && ok; i++) {
		t0 = seconds();
		ok = echo_once(fd, 64);
		t[i] = seconds() - t0;
	}
	close(fd);
	qsort(t, 500, sizeof(t[0]), by_value);
	report(ok && waitpid(portd_pid, NULL, WNOHANG) == 0,
	       "a published port: ping");
	printf("# published port, ping 64 B: median %.0f us\n", t[250] * 1e6);
}

static long proc_number(pid_t pid, const char *file, const char *key)
{
	char path[64], line[256];
	_cleanup_fclose_ FILE *f = NULL;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, key, strlen(key)) == 0)
			return strtol(line + strlen(key), NULL,
				      strstr(key, "Cap") ? 16 : 10);
	return -1;
}

static void test_confinement(pid_t pid, const char *who)
{
	char name[128];
	static const char *const spaces[] = {"mnt", "net", "ipc", "uts"};
	char path[64], ours[64] = "", theirs[64] = "";
	bool ok = true;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(spaces); i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", spaces[i]);
		ok = ok && readlink(path, ours, sizeof(ours) - 1) > 0;
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, spaces[i]);
		ok = ok && readlink(path, theirs, sizeof(theirs) - 1) > 0 &&
		     strcmp(ours, theirs) != 0;
	}
	snprintf(name, sizeof(name), "%s has namespaces of its own", who);
	report(ok, name);
	snprintf(name, sizeof(name),
		 "%s: no capabilities, no new privileges, a filter, the uid",
		 who);
	report(proc_number(pid, "status", "CapEff:") == 0 &&
		       proc_number(pid, "status", "CapBnd:") == 0 &&
		       proc_number(pid, "status", "NoNewPrivs:") == 1 &&
		       proc_number(pid, "status", "Seccomp:") == 2 &&
		       proc_number(pid, "status", "Uid:") ==
			       strtol(VM_UID, NULL, 10),
	       name);
}

static void test_footprint(void)
{
	long anon, file, ticks0, ticks1, i;
	char path[64], text[512];
	int fd;

	anon = proc_number(device_pid, "status", "RssAnon:");
	file = proc_number(device_pid, "status", "RssFile:");
	report(anon > 0 && anon + file <= 3 * 1024, "at most 3 MiB resident");
	printf("# resident: %ld KiB of its own, %ld KiB of files\n", anon,
	       file);
	for (i = 0, ticks0 = ticks1 = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/proc/%d/schedstat", device_pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		memset(text, 0, sizeof(text));
		if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
			break;
		close(fd);
		(i ? &ticks1 : &ticks0)[0] = strtol(text, NULL, 10);
		if (i == 0)
			sleep(3);
	}
	report(ticks1 - ticks0 < 2000000, "no CPU when idle");
	printf("# %ld us of CPU in 3 s\n", (ticks1 - ticks0) / 1000);
}

/* Runs a command; true when its answer came and holds `wanted`. */
static bool qmp(const char *command, const char *wanted)
{
	_cleanup_close_ int fd = -1;
	char buf[8192], line[128], *first, *second;
	uint64_t deadline = now_ms() + 60000;
	size_t have = 0;
	ssize_t n;

	fd = unix_connect(qmp_sock, NULL);
	if (fd < 0)
		return false;
	snprintf(line, sizeof(line),
		 "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"%s\"}\n",
		 command);
	if (write_full(fd, line, strlen(line)) < 0)
		return false;
	while (have < sizeof(buf) - 1 && fd_wait(fd, POLLIN, deadline) == 0) {
		n = read(fd, buf + have, sizeof(buf) - 1 - have);
		if (n <= 0)
			return false;
		have += (size_t)n;
		buf[have] = '\0';
		first = strstr(buf, "\"return\"");
		second = first ? strstr(first + 8, "\"return\"") : NULL;
		if (second && strchr(second, '\n'))
			return strstr(second, wanted) != NULL;
	}
	return false;
}

/* QEMU has taken the new device's connection: its name of the character
 * device no longer begins with "disconnected:". */
static bool wait_connected(void)
{
	uint64_t deadline = now_ms() + 60000;
	char wanted[160];

	snprintf(wanted, sizeof(wanted), "\"filename\": \"unix:%s", vhost_sock);
	while (now_ms() < deadline)
		if (qmp("query-chardev", wanted))
			return true;
	return false;
}

static void test_recovery(void)
{
	int fd = dial(PORT_ECHO, 60000), fd2;
	bool ok = fd >= 0 && echo_once(fd, 64);
	double t0, t1;
	char c;

	t0 = seconds();
	kill(device_pid, SIGKILL);
	waitpid(device_pid, NULL, 0);
	ok = ok && read(fd, &c, 1) <= 0;
	report(ok, "the device dies: its clients see the end");
	close(fd);
	report(qmp("query-status", "running"), "QEMU's monitor still answers");
	ok = qmp("stop", "");
	start_device();
	ok = ok && wait_connected() && qmp("cont", "");
	fd2 = dial_retry(PORT_ECHO, 60000);
	t1 = seconds();
	report(ok && fd2 >= 0 && echo_once(fd2, 64),
	       "stop, a new device, cont: listeners have survived");
	printf("# recovered after %.0f ms\n", (t1 - t0) * 1e3);
	close(fd2);
}

/* A device that hangs is ended by its watchdog only in its own loop; here:
 * the VM is paused and goes on with the same connections. */
static void test_pause(void)
{
	int fd = dial(PORT_ECHO, 60000);
	bool ok = fd >= 0 && echo_once(fd, 64);

	ok = qmp("stop", "") && ok;
	ok = ok && write_full(fd, "pause", 5) == 0;
	usleep(100000);
	ok = qmp("cont", "") && ok;
	char in[5];

	ok = ok && read_full(fd, in, 5) == 5 && memcmp(in, "pause", 5) == 0;
	report(ok, "a connection survives pause and resume");
	close(fd);
}

static void test_off(void)
{
	int status = -1, fd = dial(PORT_OFF, 60000);
	uint64_t deadline = now_ms() + 60000;

	while (waitpid(qemu_pid, NULL, WNOHANG) == 0 && now_ms() < deadline)
		usleep(5000);
	qemu_pid = 0;
	while (waitpid(device_pid, &status, WNOHANG) == 0 &&
	       now_ms() < deadline)
		usleep(5000);
	report(WIFEXITED(status) && WEXITSTATUS(status) == 0,
	       "the VM ends: the device ends with status 0");
	device_pid = 0;
	close(fd);
}

static void clean_up(void)
{
	if (qemu_pid > 0)
		kill(qemu_pid, SIGKILL);
	if (device_pid > 0)
		kill(device_pid, SIGKILL);
	if (portd_pid > 0)
		kill(portd_pid, SIGKILL);
}

int main(int argc, char **argv)
{
	if (argc != 6) {
		fprintf(stderr,
			"usage: host DEVICE PORTD KERNEL INITRAMFS DIR\n");
		return 2;
	}
	device_path = argv[1];
	portd_path = argv[2];
	kernel = argv[3];
	initramfs = argv[4];
	dir = argv[5];
	snprintf(vhost_sock, sizeof(vhost_sock), "%s/vhost.sock", dir);
	snprintf(listen_sock, sizeof(listen_sock), "%s/vsock.sock", dir);
	snprintf(qmp_sock, sizeof(qmp_sock), "%s/qmp.sock", dir);
	addr.carrier = VSOCK_UNIX;
	memcpy(addr.path, listen_sock, sizeof(listen_sock));
	addr.check_uid = true;
	addr.uid = (uint32_t)strtoul(VM_UID, NULL, 10);
	signal(SIGPIPE, SIG_IGN);
	atexit(clean_up);

	start_device();
	start_qemu();
	test_start();
	test_ping();
	test_to_guest(256 * MIB);
	test_from_guest(256 * MIB);
	test_parallel();
	test_limit();
	test_stuck();
	test_dial_out();
	test_portd();
	test_confinement(device_pid, "the device");
	test_confinement(portd_pid, "portd");
	test_footprint();
	test_pause();
	test_recovery();
	test_short();
	test_ping();
	test_off();
	printf("1..%d\n", tests);
	return failures > 0;
}
