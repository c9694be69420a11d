/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/proc.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PROC_FDS_MAX 64
#define LOG_SIZE     4096

static const char *const default_env[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"LANG=C.UTF-8", NULL};

static int pidfd_open_(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* The absolute path of a program: as given, or found in the default PATH. */
static int find_program(const char *name, char out[PATH_MAX])
{
	static const char *const dirs[] = {"/usr/local/sbin", "/usr/local/bin",
					   "/usr/sbin",	      "/usr/bin",
					   "/sbin",	      "/bin"};
	size_t i;

	if (strchr(name, '/')) {
		if (snprintf(out, PATH_MAX, "%s", name) >= PATH_MAX)
			return -ENAMETOOLONG;
		return 0;
	}
	for (i = 0; i < ARRAY_SIZE(dirs); i++) {
		if (snprintf(out, PATH_MAX, "%s/%s", dirs[i], name) >= PATH_MAX)
			return -ENAMETOOLONG;
		if (access(out, X_OK) == 0)
			return 0;
	}
	return -ENOENT;
}

/* The child's descriptors: all those wanted are first moved out of the way of
 * 0 ... n, then put in their places. Async-signal-safe only. */
static int child_fds(const struct proc_spec *s, int report_fd)
{
	int want[PROC_FDS_MAX + 4], n = (int)s->n_fds, i;
	const int base = PROC_FDS_MAX + 16;

	want[0] = s->stdin_fd;
	want[1] = s->stdout_fd;
	want[2] = s->stderr_fd;
	for (i = 0; i < n; i++)
		want[3 + i] = s->fds[i];
	want[3 + n] = report_fd;
	for (i = 0; i < n + 4; i++) {
		if (want[i] < 0 && i < 2)
			want[i] = open("/dev/null", O_RDWR | O_CLOEXEC);
		else if (want[i] < 0 && i == 2)
			want[i] = STDERR_FILENO;
		want[i] = fcntl(want[i], F_DUPFD_CLOEXEC, base);
		if (want[i] < 0)
			return -errno;
	}
	for (i = 0; i < n + 4; i++)
		if (dup3(want[i], i, i == n + 3 ? O_CLOEXEC : 0) != i &&
		    errno != EINVAL)
			return -errno;
	if (close_range((unsigned int)n + 4, ~0u, 0) < 0)
		return -errno;
	return n + 3;
}

__attribute__((noreturn)) static void child_run(const struct proc_spec *s,
						const char *path, int report_fd,
						pid_t parent)
{
	int r = child_fds(s, report_fd), error;
	struct sigaction dfl = {.sa_handler = SIG_DFL};
	sigset_t none;
	int i;

	if (r < 0)
		_exit(127);
	report_fd = r;
	for (i = 1; i < 32; i++)
		sigaction(i, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	errno = 0;
	if (s->new_session)
		setsid();
	if (s->drop_ids &&
	    (setgroups(0, NULL) < 0 || setresgid(s->gid, s->gid, s->gid) < 0 ||
	     setresuid(s->uid, s->uid, s->uid) < 0))
		goto fail;
	if (s->die_with_parent &&
	    (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent))
		goto fail;
	execve(path, (char *const *)(uintptr_t)s->argv,
	       (char *const *)(uintptr_t)(s->envp ? s->envp : default_env));
fail:
	error = errno ? errno : ESRCH;
	if (write(report_fd, &error, sizeof(error)) < 0)
		_exit(126);
	_exit(127);
}

int proc_spawn(const struct proc_spec *spec, pid_t *ret_pid, int *ret_pidfd,
	       struct err *e)
{
	_cleanup_close_ int rd = -1, wr = -1, pidfd = -1;
	char path[PATH_MAX];
	int p[2], r, error;
	pid_t pid, parent = getpid();

	if (spec->n_fds > PROC_FDS_MAX)
		return err_sys(e, E2BIG, "start '%s'", spec->path);
	r = find_program(spec->path, path);
	if (r < 0)
		return err_sys(e, -r, "start '%s'", spec->path);
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "start '%s'", spec->path);
	rd = p[0];
	wr = p[1];
	pid = fork();
	if (pid < 0)
		return err_sys(e, errno, "start '%s'", spec->path);
	if (pid == 0)
		child_run(spec, path, wr, parent);
	cleanup_close(&wr);
	pidfd = pidfd_open_(pid);
	if (pidfd < 0) {
		r = errno;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return err_sys(e, r, "start '%s': pidfd", spec->path);
	}
	if (read_full(rd, &error, sizeof(error)) == (ssize_t)sizeof(error)) {
		waitpid(pid, NULL, 0);
		return err_sys(e, error, "start '%s'", path);
	}
	*ret_pid = pid;
	*ret_pidfd = steal_fd(&pidfd);
	return 0;
}

int proc_wait(pid_t pid, int pidfd, uint64_t deadline_ms, int *ret_status,
	      struct err *e)
{
	int r, status;

	r = fd_wait(pidfd, POLLIN, deadline_ms);
	if (r < 0)
		return err_sys(e, -r, "wait for process %d", (int)pid);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_sys(e, errno, "wait for process %d",
				       (int)pid);
	*ret_status = WIFSIGNALED(status) ? 128 + WTERMSIG(status)
					  : WEXITSTATUS(status);
	return 0;
}

/* One read into b; false at the end of the stream. Bytes over the buffer's
 * limit are dropped, so that the child never blocks. */
static bool drain(int fd, struct buf *b)
{
	char tmp[16384];
	ssize_t n = read(fd, tmp, sizeof(tmp));
	size_t room;

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if (n == 0)
		return false;
	room = b->max - b->len;
	buf_append(b, tmp, (size_t)n < room ? (size_t)n : room);
	return true;
}

static int poll_timeout(uint64_t deadline_ms)
{
	uint64_t now = now_ms();

	if (!deadline_ms)
		return -1;
	if (now >= deadline_ms)
		return 0;
	return deadline_ms - now > INT_MAX ? INT_MAX : (int)(deadline_ms - now);
}

int proc_run(const struct proc_spec *spec, uint64_t deadline_ms, size_t max,
	     char **ret_out, char **ret_errout, int *ret_status, struct err *e)
{
	_cleanup_buf_ struct buf out = {.max = max}, errout = {.max = max};
	_cleanup_close_ int or = -1, ow = -1, er = -1, ew = -1, pidfd = -1;
	struct proc_spec s = *spec;
	struct pollfd fds[2];
	bool late = false;
	int p[2], r;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "start '%s'", spec->path);
	or = p[0];
	ow = p[1];
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "start '%s'", spec->path);
	er = p[0];
	ew = p[1];
	s.stdout_fd = ow;
	s.stderr_fd = ew;
	r = proc_spawn(&s, &pid, &pidfd, e);
	if (r < 0)
		return r;
	cleanup_close(&ow);
	cleanup_close(&ew);
	fds[0] = (struct pollfd){.fd = or, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = er, .events = POLLIN};
	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		r = poll(fds, 2, poll_timeout(deadline_ms));
		if (r < 0 && errno != EINTR)
			break;
		if (r == 0) {
			late = true;
			break;
		}
		if (fds[0].revents && !drain(or, &out))
			fds[0].fd = -1;
		if (fds[1].revents && !drain(er, &errout))
			fds[1].fd = -1;
	}
	if (late || fd_wait(pidfd, POLLIN, deadline_ms) == -ETIMEDOUT) {
		syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
		proc_wait(pid, pidfd, 0, &r, NULL);
		return err_sys(e, ETIMEDOUT, "run '%s'", spec->path);
	}
	r = proc_wait(pid, pidfd, 0, ret_status, e);
	if (r < 0)
		return r;
	if (ret_out && !(*ret_out = buf_steal(&out)))
		return err_sys(e, ENOMEM, "run '%s'", spec->path);
	if (ret_errout && !(*ret_errout = buf_steal(&errout)))
		return err_sys(e, ENOMEM, "run '%s'", spec->path);
	return 0;
}

int proc_log_make(const char *name)
{
	_cleanup_close_ int fd =
		memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, LOG_SIZE) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0)
		return -errno;
	return steal_fd(&fd);
}

void proc_log_line(int log, char *out, size_t size)
{
	ssize_t n = log >= 0 ? pread(log, out, size - 1, 0) : 0;
	size_t i;

	out[n > 0 ? n : 0] = '\0';
	i = strspn(out, "\n");
	memmove(out, out + i, strlen(out + i) + 1);
	out[strcspn(out, "\n")] = '\0';
	for (i = 0; out[i]; i++)
		if ((unsigned char)out[i] < ' ' || (unsigned char)out[i] > '~')
			out[i] = '?';
}

int proc_start_time(pid_t pid, uint64_t *ret)
{
	_cleanup_free_ char *text = NULL;
	char path[64], *p;
	int field;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (file_read(AT_FDCWD, path, 8192, &text, NULL, NULL) < 0)
		return -ESRCH;
	/* The name in field 2 may hold anything: count from its last ')'. */
	p = strrchr(text, ')');
	for (field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (!p || sscanf(p, " %lu", ret) != 1)
		return -ESRCH;
	return 0;
}

int proc_open(pid_t pid, uint64_t start_time)
{
	_cleanup_close_ int fd = -1;
	uint64_t t;

	if (pid <= 0)
		return -ESRCH;
	fd = pidfd_open_(pid);
	if (fd < 0)
		return -ESRCH;
	/* Checked after the pidfd is held: it cannot change any more. */
	if (proc_start_time(pid, &t) < 0 || t != start_time)
		return -ESRCH;
	return steal_fd(&fd);
}
