/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives host-agent/net for net_test.py: net-ctl ROOT DHCPD UID takes one
 * command a message from the socket that is its standard input, and answers
 * "ok ..." or "error ERRNO TEXT", with a descriptor where there is one.
 *
 *   ensure TENANT | remove TENANT
 *   add TENANT NUMBER [NAME]         the tap
 *   forget TENANT NUMBER
 *   sweep [TENANT:NUMBER]...
 *   connect TENANT NUMBER PORT       a socket
 *   sniff TENANT                     a packet socket of the bridge
 *   open TENANT                      the namespace
 *   kill N COMMAND...                the command in a process that is killed
 *                                    before its Nth step, by a ptracer
 *
 * Like hybd it has a mount namespace of its own.
 */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "host-agent/net/net.h"

#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <fcntl.h>

#define WORDS_MAX 24

static struct net_config config;
static struct net *net;

static int do_sniff(void *arg, struct err *e)
{
	struct sockaddr_ll at = {.sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = (int)if_nametoindex("br0")};
	int *ret = arg;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
		return err_sys(e, errno, "sniff");
	*ret = fd;
	return 0;
}

static unsigned int number_of(const char *s)
{
	uint64_t n = 0;

	return parse_u64(s, 0, UINT32_MAX, &n) < 0 ? UINT32_MAX
						   : (unsigned int)n;
}

static int sweep(char **w, int n, struct err *e)
{
	struct net_wanted wanted[WORDS_MAX];
	int i;

	for (i = 0; i < n; i++) {
		char *colon = strchr(w[i], ':');

		if (!colon)
			return err_set(e, EINVAL, "sweep %s", w[i]);
		*colon = '\0';
		wanted[i] = (struct net_wanted){w[i], number_of(colon + 1)};
	}
	return net_sweep(net, wanted, (size_t)n, e);
}

static int command(char **w, int n, char *said, size_t size, int *fd,
		   struct err *e)
{
	struct net_machine m;
	int r;

	if (n == 2 && strcmp(w[0], "ensure") == 0)
		return net_tenant_ensure(net, w[1], e);
	if (n == 2 && strcmp(w[0], "remove") == 0)
		return net_tenant_remove(net, w[1], e);
	if (n == 3 && strcmp(w[0], "forget") == 0)
		return net_machine_remove(net, w[1], number_of(w[2]), e);
	if (n >= 1 && strcmp(w[0], "sweep") == 0)
		return sweep(w + 1, n - 1, e);
	if (n == 2 && strcmp(w[0], "open") == 0)
		return net_namespace(net, w[1], fd, e);
	if (n == 2 && strcmp(w[0], "sniff") == 0)
		return net_inside(net, w[1], do_sniff, fd, e);
	if (n == 4 && strcmp(w[0], "connect") == 0)
		return net_connect(net, w[1], number_of(w[2]),
				   (uint16_t)number_of(w[3]), fd, e);
	if (n < 3 || strcmp(w[0], "add") != 0)
		return err_set(e, EINVAL, "no such command");
	r = net_machine_add(net, w[1], number_of(w[2]), n > 3 ? w[3] : NULL, &m,
			    fd, e);
	if (r == 0)
		snprintf(said, size, "%s %s %s", m.tap, m.mac, m.ip);
	return r;
}

/* ------------------------------------------------------------------ kill */

/* What changes something, of files, namespaces, links and processes. (Not mkdir:
 * most of them find a folder that is there.) */
static bool is_step(const struct __ptrace_syscall_info *i)
{
	static const int steps[] = {

		SYS_unshare, SYS_setns,	 SYS_mount,    SYS_umount2,
		SYS_rename,  SYS_unlink, SYS_unlinkat, SYS_rmdir,
		SYS_sendmsg, SYS_sendto, SYS_clone,    SYS_pidfd_send_signal,
	};
	size_t k;

	if (i->entry.nr == SYS_ioctl)
		return i->entry.args[1] == TUNSETIFF;
	for (k = 0; k < ARRAY_SIZE(steps); k++)
		if (i->entry.nr == (uint64_t)steps[k])
			return true;
	return false;
}

/* One stop of a tracee; whether it is at a step's beginning. */
static bool on_stop(pid_t tid, int status)
{
	struct __ptrace_syscall_info info;
	int sig = WSTOPSIG(status);

	if (sig == (SIGTRAP | 0x80))
		return ptrace(PTRACE_GET_SYSCALL_INFO, tid, sizeof(info),
			      &info) > 0 &&
		       info.op == PTRACE_SYSCALL_INFO_ENTRY && is_step(&info);
	/* The tracer's own stops are no signals of its. */
	ptrace(PTRACE_SYSCALL, tid, NULL,
	       sig == SIGTRAP || sig == SIGSTOP ? 0L : (long)sig);
	return false;
}

/* 0: it ended by itself; 1: it was killed. */
static int trace(pid_t pid, unsigned int limit)
{
	unsigned int step = 0;
	int status;
	pid_t tid;

	while ((tid = waitpid(-1, &status, __WALL)) > 0) {
		if (!WIFSTOPPED(status)) {
			if (tid == pid)
				return WIFSIGNALED(status);
			continue;
		}
		if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			on_stop(tid, status);
			continue;
		}
		if (on_stop(tid, status) && ++step == limit)
			kill(pid, SIGKILL);
		else
			ptrace(PTRACE_SYSCALL, tid, NULL, 0L);
	}
	return 0;
}

static int kill_at(char **w, int n, char *said, size_t size, struct err *e)
{
	pid_t pid = fork();
	int status, fd = -1;

	if (pid == 0) {
		/* With threads of its own: the other's are not in it. */
		if (net_open(&config, &net, e) < 0)
			_exit(1);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(command(w + 1, n - 1, said, size, &fd, NULL) < 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid ||
	    ptrace(PTRACE_SETOPTIONS, pid, NULL,
		   (long)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE |
			  PTRACE_O_EXITKILL)) < 0 ||
	    ptrace(PTRACE_SYSCALL, pid, NULL, 0L) < 0)
		return err_sys(e, errno, "trace");
	snprintf(said, size, trace(pid, number_of(w[0])) ? "killed" : "done");
	return 0;
}

/* ------------------------------------------------------------------ main */

static void serve(char *line)
{
	char *words[WORDS_MAX], *save = NULL, *p, said[256] = "";
	char answer[HYB_ERR_MSG_MAX + 64];
	_cleanup_close_ int fd = -1;
	struct err e = ERR_INIT;
	int n = 0, r;

	for (p = strtok_r(line, " ", &save); p && n < WORDS_MAX;
	     p = strtok_r(NULL, " ", &save))
		words[n++] = p;
	if (n > 2 && strcmp(words[0], "kill") == 0)
		r = kill_at(words + 1, n - 1, said, sizeof(said), &e);
	else
		r = command(words, n, said, sizeof(said), &fd, &e);
	if (r < 0)
		snprintf(answer, sizeof(answer), "error %d %s", -r, e.msg);
	else
		snprintf(answer, sizeof(answer), "ok %s", said);
	if (fds_send(STDIN_FILENO, answer, strlen(answer), &fd, fd >= 0) < 0)
		exit(1);
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	char line[512];
	uint32_t uid;
	ssize_t n;

	config.mnt_fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	if (argc != 4 || parse_uid(argv[3], &uid) < 0 || config.mnt_fd < 0)
		return 2;
	config.root = argv[1];
	config.dhcpd_path = argv[2];
	config.dhcpd_uid = uid;
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ||
	    net_open(&config, &net, &e) < 0) {
		fprintf(stderr, "net-ctl: %s\n", e.msg);
		return 1;
	}
	while ((n = recv(STDIN_FILENO, line, sizeof(line) - 1, 0)) > 0) {
		line[n] = '\0';
		serve(line);
	}
	net_close(net);
	return 0;
}
