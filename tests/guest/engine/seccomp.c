/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both sides of a seccomp filter. Inside a container, what became of a call:
 *
 *   seccomp call NR [ARG...]    one word: ok, an error's name, signal-N
 *   seccomp thread NR           the same in a thread of its own
 *   seccomp trap NR             with a handler of SIGSYS
 *   seccomp trace NR            under a tracer
 *   seccomp notified            calls that a supervisor answers, see answer()
 *   seccomp table               what the filter says to every number
 *
 * Outside of it, the supervisor: waits at SOCKET for n states and answers the
 * calls of their listeners until they are gone; state i goes to FILE.i:
 *
 *   seccomp supervise SOCKET FILE n
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

static int die(const char *what)
{
	perror(what);
	return 2;
}

static const char *result(long r)
{
	return r >= 0 ? "ok" : strerrorname_np(errno);
}

static void say_status(int status)
{
	if (WIFSIGNALED(status))
		printf("signal-%d\n", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		printf("exit-%d\n", WEXITSTATUS(status));
}

/* ----------------------------------------------------------------- one call */

static int call(int argc, char **argv)
{
	uint64_t a[6] = {0};
	int status, i;
	pid_t pid;
	long r;

	for (i = 1; i < argc && i < 7; i++)
		a[i - 1] = strtoull(argv[i], NULL, 0);
	pid = fork();
	if (pid == 0) {
		r = syscall(atol(argv[0]), a[0], a[1], a[2], a[3], a[4], a[5]);
		puts(result(r));
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	say_status(status);
	return 0;
}

static void *call_in_thread(void *arg)
{
	syscall(*(long *)arg, 0, 0, 0, 0, 0, 0);
	return arg;
}

/* A thread that is killed ends without a word and leaves the others. */
static int in_thread(long nr)
{
	pthread_t t;
	int status;
	pid_t pid = fork();
	char path[64];

	if (pid == 0) {
		if (pthread_create(&t, NULL, call_in_thread, &nr))
			_exit(9);
		/* Its folder goes with it; joining would wait for ever. */
		snprintf(path, sizeof(path), "/proc/self/task/%d",
			 (int)getpid() + 1);
		for (int i = 0; i < 500 && access(path, F_OK) == 0; i++)
			usleep(10000);
		puts(access(path, F_OK) ? "thread-gone" : "thread-there");
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	say_status(status);
	return 0;
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
	char text[80];
	int n = snprintf(text, sizeof(text), "trapped %d %d %s %d\n", sig,
			 info->si_syscall,
			 info->si_arch == AUDIT_ARCH_X86_64 ? "x86_64" : "?",
			 info->si_errno);

	(void)context;
	if (write(1, text, (size_t)n) < 0)
		_exit(3);
}

static int trap(long nr)
{
	struct sigaction sa = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};

	sigaction(SIGSYS, &sa, NULL);
	syscall(nr, 0, 0, 0, 0, 0, 0);
	return 0;
}

/* The tracer sees the event with its number and gives an answer of its own. */
static int trace(long nr)
{
	struct user_regs_struct regs;
	unsigned long message = 0;
	int status;
	long r;
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		r = syscall(nr, 0, 0, 0, 0, 0, 0);
		printf("got %ld\n", r);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP) < 0)
		return die("PTRACE_SETOPTIONS");
	ptrace(PTRACE_CONT, pid, 0, 0);
	waitpid(pid, &status, 0);
	if (status >> 8 != (SIGTRAP | PTRACE_EVENT_SECCOMP << 8)) {
		printf("status %x\n", status);
		return 1;
	}
	ptrace(PTRACE_GETEVENTMSG, pid, 0, &message);
	printf("event %lu, ", message);
	fflush(stdout);
	ptrace(PTRACE_GETREGS, pid, 0, &regs);
	regs.orig_rax = (unsigned long long)-1;
	regs.rax = 4711;
	ptrace(PTRACE_SETREGS, pid, 0, &regs);
	ptrace(PTRACE_CONT, pid, 0, 0);
	waitpid(pid, &status, 0);
	return 0;
}

static int notified(void)
{
	char text[64] = "";
	int fd = open("/answer", O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	printf("open: %s\n", n > 0 ? text : strerrorname_np(errno));
	printf("other: %s\n", result(open("/no/such", O_RDONLY)));
	printf("mkdir: %s\n", result(mkdir("/made", 0755)));
	printf("there: %s\n", result(access("/made", F_OK)));
	return 0;
}

/* --------------------------------------------------------------- the table */

/* No call may be done, for some end the process or the machine. A filter of our
 * own on top has all that the first one allows answered by ourselves: the
 * kernel asks a listener only where no filter refuses (ENOMEDIUM: asked). */
#define NUMBERS 1024
struct table {
	volatile int listener, done;
	short answer[NUMBERS];
};
static struct table *table;
static char stack[65536] __attribute__((aligned(16)));

static long raw(long nr)
{
	register long r10 __asm__("r10") = 0;
	register long r8 __asm__("r8") = 0;
	register long r9 __asm__("r9") = 0;
	long r;

	__asm__ volatile("syscall"
			 : "=a"(r)
			 : "a"(nr), "D"(0), "S"(0), "d"(0), "r"(r10), "r"(r8),
			   "r"(r9)
			 : "rcx", "r11", "memory");
	return r;
}

static int asker(void *arg)
{
	struct sock_filter all[] = {
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)};
	struct sock_fprog prog = {1, all};
	long nr;

	(void)arg;
	table->listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				       SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	for (nr = 0; table->listener >= 0 && nr < NUMBERS; nr++)
		table->answer[nr] = (short)-raw(nr);
	table->done = 1;
	raw(SYS_exit_group);
	return 0;
}

static int answer_all(int listener)
{
	struct seccomp_notif req;
	struct seccomp_notif_resp resp;
	int last;

	do {
		memset(&req, 0, sizeof(req));
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &req) < 0)
			return errno == ENOENT ? 0 : die("RECV");
		/* Once: it may be set as soon as the answer is there. */
		last = table->done;
		memset(&resp, 0, sizeof(resp));
		resp.id = req.id;
		if (last)
			resp.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		else
			resp.error = -ENOMEDIUM;
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp) < 0)
			return die("SEND");
	} while (!last);
	return 0;
}

static int x32(void *arg)
{
	raw(0x40000000 | *(long *)arg);
	return 7;
}

static int i386(void *arg)
{
	long r = *(long *)arg;

	__asm__ volatile("int $0x80" : "+a"(r) : : "memory");
	return 7;
}

/* How many of the numbers did not end the process that called them. */
static int survivors(int (*fn)(void *))
{
	int status, n = 0;
	pid_t pid;
	long nr;

	for (nr = 0; nr < 560; nr++) {
		pid = clone(fn, stack + sizeof(stack), CLONE_VM | SIGCHLD, &nr);
		if (pid < 0 || waitpid(pid, &status, 0) < 0)
			return -1;
		n += !WIFSIGNALED(status);
	}
	return n;
}

static int ask_table(void)
{
	int status, i, err;
	pid_t pid;

	table = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (table == MAP_FAILED)
		return die("mmap");
	pid = clone(asker, stack + sizeof(stack),
		    CLONE_VM | CLONE_FILES | SIGCHLD, NULL);
	if (pid < 0)
		return die("clone");
	while (!table->listener && !table->done)
		sched_yield();
	if (table->listener < 0)
		return die("listener");
	if (answer_all(table->listener))
		return 2;
	waitpid(pid, &status, 0);
	for (i = 0; i < NUMBERS; i++) {
		err = table->answer[i];
		printf("%d\t%s\n", i,
		       err == ENOMEDIUM ? "allowed"
		       : err > 0	? strerrorname_np(err)
					: "answered");
	}
	printf("x32\t%d\n", survivors(x32));
	printf("i386\t%d\n", survivors(i386));
	return 0;
}

/* ----------------------------------------------------------- the supervisor */

static int take_state(int sock, const char *file, int i)
{
	char control[CMSG_SPACE(sizeof(int))], path[256];
	static char text[1 << 20];
	struct iovec iov = {text, sizeof(text) - 1};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	struct cmsghdr *c;
	ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC), more;
	int fd = -1;
	FILE *f;

	if (n <= 0)
		return -1;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	/* One state, then the end. */
	while ((more = read(sock, text + n, sizeof(text) - 1 - (size_t)n)) > 0)
		n += more;
	snprintf(path, sizeof(path), "%s.%d~", file, i);
	f = fopen(path, "w");
	if (!f || more < 0)
		return -1;
	fprintf(f, "%.*s\n", (int)n, text);
	fclose(f);
	path[strlen(path) - 1] = '\0';
	snprintf(text, sizeof(text), "%s~", path);
	rename(text, path);
	return fd;
}

static void read_path(const struct seccomp_notif *req, int arg, char *out,
		      size_t size)
{
	char path[64];
	int fd;
	ssize_t n = -1;

	snprintf(path, sizeof(path), "/proc/%u/mem", req->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = pread(fd, out, size - 1, (off_t)req->data.args[arg]);
	out[n > 0 ? n : 0] = '\0';
	close(fd);
}

/* "/answer" opens as a text of ours, no folder is made but it looks so, all else
 * goes on. */
static void answer(int listener, const struct seccomp_notif *req)
{
	struct seccomp_notif_resp resp = {
		.id = req->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
	struct seccomp_notif_addfd add = {.id = req->id,
					  .flags = SECCOMP_ADDFD_FLAG_SEND};
	char path[256];
	int nr = req->data.nr, fd;

	if (nr == SYS_mkdir || nr == SYS_mkdirat)
		resp.flags = 0;
	read_path(req, nr == SYS_openat ? 1 : 0, path, sizeof(path));
	if (nr == SYS_openat && strcmp(path, "/answer") == 0) {
		fd = memfd_create("answer", MFD_CLOEXEC);
		if (write(fd, "of the supervisor", 17) < 0 ||
		    lseek(fd, 0, SEEK_SET) < 0)
			_exit(3);
		add.srcfd = (unsigned)fd;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
		close(fd);
		return;
	}
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
}

static void serve(int listener)
{
	struct pollfd p = {listener, POLLIN, 0};
	struct seccomp_notif req;

	for (;;) {
		if (poll(&p, 1, -1) < 0 || (p.revents & POLLHUP))
			_exit(0);
		memset(&req, 0, sizeof(req));
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &req) == 0)
			answer(listener, &req);
	}
}

static int supervise(const char *path, const char *file, int n)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), one, fd, i;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	unlink(path);
	if (bind(sock, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(sock, 4) < 0)
		return die(path);
	for (i = 0; i < n; i++) {
		one = accept4(sock, NULL, NULL, SOCK_CLOEXEC);
		fd = one < 0 ? -1 : take_state(one, file, i);
		if (fd < 0)
			return die("state");
		close(one);
		if (fork() == 0) {
			close(sock);
			serve(fd);
		}
		close(fd);
	}
	while (wait(NULL) > 0)
		continue;
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "call") && argc > 2)
		return call(argc - 2, argv + 2);
	if (!strcmp(what, "thread") && argc > 2)
		return in_thread(atol(argv[2]));
	if (!strcmp(what, "trap") && argc > 2)
		return trap(atol(argv[2]));
	if (!strcmp(what, "trace") && argc > 2)
		return trace(atol(argv[2]));
	if (!strcmp(what, "notified"))
		return notified();
	if (!strcmp(what, "table"))
		return ask_table();
	if (!strcmp(what, "supervise") && argc > 4)
		return supervise(argv[2], argv[3], atoi(argv[4]));
	fprintf(stderr, "seccomp: what is '%s'?\n", what);
	return 2;
}
