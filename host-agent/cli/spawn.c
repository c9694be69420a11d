/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a hybd for a root. Whoever holds ROOT/hybd.start tries; the others
 * wait for that lock and then find a hybd that serves. hybd gets a session of
 * its own, so that neither the caller's terminal nor its end touches it.
 */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"
#include "host-agent/cli/client.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define READY_MS     60000
#define LOCK_WAIT_MS 75000
#define LOG_TAIL     8192
#define ENV_MAX	     64

extern char **environ;

/* What hybd inherits of the caller's environment: its own settings, proxies
 * for fetching images, libvirt's and the sanitizers' knobs. */
static const char *const env_kept[] = {
	"PATH=",       "HYB_",	       "LIBVIRT_",	"http_proxy=",
	"HTTP_PROXY=", "https_proxy=", "HTTPS_PROXY=",	"no_proxy=",
	"NO_PROXY=",   "SSL_CERT_",    "ASAN_OPTIONS=", "UBSAN_OPTIONS=",
};

static void make_env(const char *env[ENV_MAX])
{
	size_t n = 0, i, k;

	env[n++] = "LANG=C.UTF-8";
	for (i = 0; environ[i] && n + 1 < ENV_MAX; i++) {
		for (k = 0; k < ARRAY_SIZE(env_kept); k++) {
			if (strncmp(environ[i], env_kept[k],
				    strlen(env_kept[k])) == 0) {
				env[n++] = environ[i];
				break;
			}
		}
	}
	env[n] = NULL;
}

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
	       access(path, X_OK) == 0;
}

static bool find_in_path(char out[PATH_MAX])
{
	const char *p = getenv("PATH");
	size_t len;

	for (; p && *p; p += len + (p[len] == ':')) {
		len = strcspn(p, ":");
		if (p[0] != '/')
			continue;
		if (snprintf(out, PATH_MAX, "%.*s/hybd", (int)len, p) <
			    PATH_MAX &&
		    is_program(out))
			return true;
	}
	return false;
}

/* Beside hyb itself, in ../libexec/hyb, in PATH. */
static int find_hybd(char out[PATH_MAX], struct err *e)
{
	static const char *const places[] = {"hybd", "../libexec/hyb/hybd"};
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;
	size_t i;

	self[n < 0 ? 0 : n] = '\0';
	slash = strrchr(self, '/');
	for (i = 0; slash && i < ARRAY_SIZE(places); i++) {
		if (snprintf(out, PATH_MAX, "%.*s/%s", (int)(slash - self),
			     self, places[i]) < PATH_MAX &&
		    is_program(out))
			return 0;
	}
	if (find_in_path(out))
		return 0;
	err_set(e, ENOENT,
		"no hybd serves, and there is no program hybd to start");
	err_hint(e, "install it beside hyb, or put its folder into PATH");
	return -ENOENT;
}

/* ------------------------------------------------------------------- locks */

/* Waits for the start lock; the descriptor holds it. */
static int take_lock(const struct cli *cli, struct err *e)
{
	char path[300];
	_cleanup_close_ int fd = -1;
	uint64_t deadline = now_ms() + LOCK_WAIT_MS;
	const struct timespec nap = {.tv_nsec = 10 * 1000 * 1000};

	snprintf(path, sizeof(path), "%s/hybd.start", cli->root);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_sys(e, errno, "open '%s'", path);
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK && errno != EINTR)
			return err_sys(e, errno, "lock '%s'", path);
		if (now_ms() >= deadline)
			return err_set(e, ETIMEDOUT,
				       "another hyb has been starting hybd for "
				       "too long");
		nanosleep(&nap, NULL);
	}
	return steal_fd(&fd);
}

/* ------------------------------------------------------------ hybd's words */

static int open_log(const struct cli *cli, off_t *ret_end, struct err *e)
{
	char path[300];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/hybd.log", cli->root);
	fd = open(path,
		  O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW |
			  O_NOCTTY,
		  0640);
	if (fd < 0)
		return err_sys(e, errno, "open '%s'", path);
	*ret_end = fstat(fd, &st) < 0 ? 0 : st.st_size;
	return fd;
}

/* The text behind "TIME LEVEL hybd: " or "hybd: ", else the line. */
static char *line_text(char *line)
{
	char *p = strstr(line, "hybd: ");

	return p ? p + strlen("hybd: ") : line;
}

/* What hybd wrote since `begin` that tells why it ended: its last error, or
 * its last line; and its hint. */
static void last_words(int log_fd, off_t begin, struct err *e)
{
	char text[LOG_TAIL + 1], *line, *next, *why = NULL, *hint = NULL;
	bool is_error = false, error;
	struct stat st;
	ssize_t n;

	if (fstat(log_fd, &st) == 0 && st.st_size - begin > LOG_TAIL)
		begin = st.st_size - LOG_TAIL;
	n = pread(log_fd, text, LOG_TAIL, begin);
	text[n > 0 ? n : 0] = '\0';
	for (line = text; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		error = strstr(line, " error ") != NULL;
		line = line_text(line);
		if (error && strncmp(line, "hint: ", 6) == 0) {
			hint = line + 6;
		} else if (*line && (error || !is_error)) {
			why = line;
			is_error = error;
			hint = NULL;
		}
	}
	err_set(e, EIO, "hybd ended: %s", why ? why : "without a word");
	if (hint)
		err_hint(e, "%s", hint);
	else
		err_hint(e, "its log is hybd.log in the root");
}

/* ------------------------------------------------------------------- start */

static int spawn(const struct cli *cli, int log_fd, int ready_fd,
		 pid_t *ret_pid, int *ret_pidfd, struct err *e)
{
	const char *argv[12], *env[ENV_MAX];
	char path[PATH_MAX];
	size_t n = 0;
	struct proc_spec spec = {.path = path,
				 .argv = argv,
				 .envp = env,
				 .stdin_fd = -1,
				 .stdout_fd = log_fd,
				 .stderr_fd = log_fd,
				 .fds = &ready_fd,
				 .n_fds = 1,
				 .new_session = true};
	int r;

	r = find_hybd(path, e);
	if (r < 0)
		return r;
	argv[n++] = "hybd";
	argv[n++] = "--root";
	argv[n++] = cli->root;
	if (cli->connect) {
		argv[n++] = "--connect";
		argv[n++] = cli->connect;
	}
	if (cli->accel) {
		argv[n++] = "--accel";
		argv[n++] = cli->accel;
	}
	argv[n++] = "--daemon-ready-fd";
	argv[n++] = "3";
	argv[n] = NULL;
	make_env(env);
	return proc_spawn(&spec, ret_pid, ret_pidfd, e);
}

/* Waits for hybd's byte. -EPIPE: it ended before. */
static int wait_ready(int fd)
{
	char byte;
	ssize_t n;
	int r;

	r = fd_wait(fd, POLLIN, now_ms() + READY_MS);
	if (r < 0)
		return r;
	n = read_full(fd, &byte, 1);
	if (n < 0)
		return (int)n;
	return n == 1 ? 0 : -EPIPE;
}

/* Another hybd may have got the root between our look and our start. */
static bool somebody_serves(const struct cli *cli)
{
	_cleanup_close_ int fd = unix_connect(cli->socket, NULL);

	return fd >= 0;
}

/* Does a hybd hold the root? It takes that lock first of all. */
static bool somebody_holds(const struct cli *cli)
{
	_cleanup_close_ int fd = -1;
	char path[300];

	snprintf(path, sizeof(path), "%s/hybd.lock", cli->root);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	return fd >= 0 && fd_locked(fd);
}

/* As above, while that other one may still be coming up. */
static bool somebody_will_serve(const struct cli *cli)
{
	uint64_t deadline = now_ms() + READY_MS;
	const struct timespec nap = {.tv_nsec = 50 * 1000 * 1000};

	while (!somebody_serves(cli)) {
		if (!somebody_holds(cli) || now_ms() >= deadline)
			return false;
		nanosleep(&nap, NULL);
	}
	return true;
}

static int start_locked(const struct cli *cli, struct err *e)
{
	_cleanup_close_ int log_fd = -1, ready_r = -1, ready_w = -1, pidfd = -1;
	uint64_t begin = now_ms();
	off_t log_end = 0;
	char took[24];
	int p[2], r, status;
	pid_t pid;

	log_fd = open_log(cli, &log_end, e);
	if (log_fd < 0)
		return log_fd;
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "start hybd");
	ready_r = p[0];
	ready_w = p[1];
	out_note("no hybd serves '%s': starting one", cli->root);
	r = spawn(cli, log_fd, ready_w, &pid, &pidfd, e);
	if (r < 0)
		return r;
	cleanup_close(&ready_w);
	r = wait_ready(ready_r);
	if (r == 0) {
		out_note("hybd is up after %s",
			 out_elapsed(now_ms() - begin, took));
		return 0;
	}
	if (r != -EPIPE) {
		err_sys(e, -r, "wait until hybd is up");
		err_hint(e,
			 "it goes on starting; '%s/hybd.log' tells what it "
			 "does",
			 cli->root);
		return r;
	}
	proc_wait(pid, pidfd, now_ms() + 2000, &status, NULL);
	if (somebody_will_serve(cli))
		return 0;
	last_words(log_fd, log_end, e);
	return -EIO;
}

int client_start(const struct cli *cli, struct err *e)
{
	_cleanup_close_ int lock = -1;
	int r;

	r = dir_make(cli->root, 0711, e);
	if (r < 0)
		return r;
	lock = take_lock(cli, e);
	if (lock < 0)
		return lock;
	if (somebody_serves(cli))
		return 0;
	return start_locked(cli, e);
}
