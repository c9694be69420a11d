/* SPDX-License-Identifier: Apache-2.0 */
/* Runs inside a container and tries what must not work: probe NAME [ARG].
 * Prints one word: what came of it. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* "ok" or the name of the error. */
static int say(long r)
{
	puts(r >= 0 ? "ok" : strerrorname_np(errno));
	return 0;
}

static int family(int domain)
{
	return say(socket(domain, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

/* getpid() by the i386 entry: the filter kills the process. */
static int int80(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		long r = 20;

		__asm__ volatile("int $0x80" : "+a"(r) : : "memory");
		_exit(r > 0 ? 0 : 7);
	}
	waitpid(pid, &status, 0);
	puts(WIFSIGNALED(status) ? "signal" : "answered");
	return 0;
}

static int x32(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(syscall(0x40000000 | 39) > 0 ? 0 : 7);
	waitpid(pid, &status, 0);
	printf(WIFSIGNALED(status) ? "signal-%d\n" : "exit-%d\n",
	       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	return 0;
}

static int eat(void)
{
	size_t step = 1 << 20, i;
	char *p;

	for (i = 0; i < 4096; i++) {
		p = malloc(step);
		if (p)
			memset(p, 1, step);
	}
	puts("ate-4g");
	return 0;
}

static int forks(void)
{
	int n = 0;
	pid_t pid;

	for (;;) {
		pid = fork();
		if (pid < 0)
			break;
		if (pid == 0) {
			pause();
			_exit(0);
		}
		n++;
	}
	printf("%d\n", n);
	fflush(stdout);
	kill(0, SIGKILL);
	return 0;
}

static int open_write(const char *path)
{
	return say(open(path, O_WRONLY | O_CLOEXEC));
}

static int bound(const char *path, int type)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, type, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		say(-1);
		exit(1);
	}
	return fd;
}

/* As a service manager: n datagrams, a line each. */
static int notify_listen(const char *path, int n)
{
	int fd = bound(path, SOCK_DGRAM);
	char text[4096];
	ssize_t len;

	while (n-- > 0 && (len = recv(fd, text, sizeof(text), 0)) >= 0) {
		printf("%.*s\n", (int)len, text);
		fflush(stdout);
	}
	return 0;
}

static int notify(const char *text)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path ? path : "");
	return say(sendto(fd, text, strlen(text), 0, (struct sockaddr *)&sa,
			  sizeof(sa)));
}

/* One connection with a pidfd: whose it is. */
static int pidfd_listen(const char *path)
{
	char name[32], file[48], line[128];
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = name, .iov_len = sizeof(name)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control.space,
			     .msg_controllen = sizeof(control.space)};
	int fd = bound(path, SOCK_STREAM), got = -1;
	FILE *f;

	if (listen(fd, 1) < 0 || (fd = accept(fd, NULL, NULL)) < 0 ||
	    recvmsg(fd, &msg, 0) < 0 || !CMSG_FIRSTHDR(&msg))
		return say(-1);
	memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(got));
	snprintf(file, sizeof(file), "/proc/self/fdinfo/%d", got);
	f = fopen(file, "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, "Pid:", 4))
			printf("%d\n", atoi(line + 4));
	return 0;
}

/* Another program, with these supplementary groups. */
static int with_groups(const char *list, char **argv)
{
	gid_t groups[8];
	size_t n = 0;
	char *end;

	for (; n < 8 && *list; list = *end ? end + 1 : end)
		groups[n++] = (gid_t)strtoul(list, &end, 10);
	if (setgroups(n, groups) == 0)
		execvp(argv[0], argv);
	return say(-1);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	const char *arg = argc > 2 ? argv[2] : "";

	if (!strcmp(what, "socket"))
		return family(atoi(arg));
	if (!strcmp(what, "int80"))
		return int80();
	if (!strcmp(what, "x32"))
		return x32();
	if (!strcmp(what, "syscall"))
		return say(syscall(atoi(arg), 0, 0, 0, 0, 0, 0));
	if (!strcmp(what, "unshare"))
		return say(unshare(atoi(arg)));
	if (!strcmp(what, "hold")) { /* namespaces, for others to join */
		say(unshare(atoi(arg)));
		fflush(stdout);
		for (;;)
			pause();
	}
	if (!strcmp(what, "clone"))
		return say(syscall(SYS_clone, atol(arg) | SIGCHLD, 0, 0, 0, 0));
	if (!strcmp(what, "mount"))
		return say(mount("none", "/tmp", "tmpfs", 0, ""));
	if (!strcmp(what, "ptrace"))
		return say(ptrace(PTRACE_TRACEME, 0, 0, 0));
	if (!strcmp(what, "mknod"))
		return say(
			mknod("/tmp/node", S_IFBLK | 0600,
			      makedev((unsigned)atoi(arg),
				      argc > 3 ? (unsigned)atoi(argv[3]) : 0)));
	if (!strcmp(what, "open-write"))
		return open_write(arg);
	if (!strcmp(what, "open-read"))
		return say(open(arg, O_RDONLY | O_CLOEXEC));
	if (!strcmp(what, "eat"))
		return eat();
	if (!strcmp(what, "forks"))
		return forks();
	if (!strcmp(what, "notify-listen"))
		return notify_listen(arg, argc > 3 ? atoi(argv[3]) : 1);
	if (!strcmp(what, "notify"))
		return notify(arg);
	if (!strcmp(what, "pidfd-listen"))
		return pidfd_listen(arg);
	if (!strcmp(what, "groups") && argc > 3)
		return with_groups(arg, argv + 3);
	if (!strcmp(what, "chroot"))
		return say(chroot(arg));
	fprintf(stderr, "probe: what is '%s'?\n", what);
	return 2;
}
