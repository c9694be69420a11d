/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orphans. libvirt starts QEMU as a daemon: its intermediate parent ends, and
 * QEMU becomes ours (PR_SET_CHILD_SUBREAPER). libvirt then looks at pids, and
 * takes a zombie for a process that is still there, so zombies must go at
 * once. But only those that nobody waits for: a child that some thread of
 * ours has started itself must be left for that thread.
 *
 * An orphan is told by its session: a daemon has left ours with setsid() in a
 * process that has since ended, so its session is neither ours nor its own
 * pid. A direct child is in our session, or leads one (proc_spawn() with
 * new_session). But a leader called as QEMU is one: QEMU's own way of becoming
 * a daemon, which libvirt uses to learn what it can do, leaves the process
 * between. (The accelerator's probe is called so as well; nobody asks for its
 * status.)
 */
#include "host-agent/virt/internal.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <time.h>

/* How often to look while nothing is expected (another library may make
 * daemons too), and while libvirt forks. */
#define IDLE_MS 500
#define BUSY_MS 5
/* Wait statuses remembered. */
#define ENDED_MAX 256

static struct {
	pthread_t thread;
	bool runs;
	_Atomic bool stop;
	_Atomic int busy;
	int wake_fd;
	pthread_mutex_t lock;
	struct {
		pid_t pid;
		int status;
	} ended[ENDED_MAX];
	unsigned int next;
} reaper = {.wake_fd = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

struct stat_line {
	char state;
	int ppid, pgrp, session;
	bool is_qemu; /* by its name */
};

/* Of /proc/PID/stat. */
static int read_stat(pid_t pid, struct stat_line *ret)
{
	_cleanup_free_ char *text = NULL;
	char path[64], *name, *p;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (file_read(AT_FDCWD, path, 8192, &text, NULL, NULL) < 0)
		return -ESRCH;
	name = strchr(text, '(');
	p = strrchr(text, ')');
	if (!name || !p ||
	    sscanf(p, ") %c %d %d %d", &ret->state, &ret->ppid, &ret->pgrp,
		   &ret->session) != 4)
		return -ESRCH;
	ret->is_qemu = strncmp(name + 1, "qemu-system-", 12) == 0;
	return 0;
}

/* Whether the zombie is nobody's. */
static bool is_orphan(pid_t pid)
{
	struct stat_line s;

	if (read_stat(pid, &s) < 0 || s.state != 'Z' || s.ppid != getpid() ||
	    s.session == getsid(0))
		return false;
	return s.session != pid || s.is_qemu;
}

static void reap_one(pid_t pid)
{
	int status;

	if (!is_orphan(pid) || waitpid(pid, &status, WNOHANG) != pid)
		return;
	pthread_mutex_lock(&reaper.lock);
	reaper.ended[reaper.next].pid = pid;
	reaper.ended[reaper.next].status = status;
	reaper.next = (reaper.next + 1) % ENDED_MAX;
	pthread_mutex_unlock(&reaper.lock);
}

/* All children: the kernel keeps them by the thread that has them. */
static void reap_all(void)
{
	_cleanup_closedir_ DIR *tasks = opendir("/proc/self/task");
	struct dirent *d;

	while (tasks && (d = readdir(tasks)) != NULL) {
		_cleanup_free_ char *text = NULL;
		char path[PATH_MAX], *p, *save = NULL;

		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/children",
			 d->d_name);
		if (file_read(AT_FDCWD, path, 1 << 20, &text, NULL, NULL) < 0)
			continue;
		for (p = strtok_r(text, " ", &save); p;
		     p = strtok_r(NULL, " ", &save))
			reap_one((pid_t)strtol(p, NULL, 10));
	}
}

static void nap(unsigned int ms)
{
	struct pollfd p = {.fd = reaper.wake_fd, .events = POLLIN};
	uint64_t n;

	if (poll(&p, 1, (int)ms) > 0 && read(reaper.wake_fd, &n, sizeof(n)) < 0)
		return;
}

static void *reaper_main(void *arg)
{
	unsigned int wait = BUSY_MS;
	siginfo_t si;

	(void)arg;
	while (!reaper.stop) {
		memset(&si, 0, sizeof(si));
		/* Only looks whether any child has ended. */
		if (waitid(P_ALL, 0, &si, WEXITED | WNOWAIT | WNOHANG) == 0 &&
		    si.si_pid)
			reap_all();
		if (reaper.busy)
			wait = BUSY_MS;
		else if (wait < IDLE_MS)
			wait *= 2;
		nap(wait < IDLE_MS ? wait : IDLE_MS);
	}
	return NULL;
}

int reap_start(struct err *e)
{
	int r;

	reaper.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (reaper.wake_fd < 0)
		return err_sys(e, errno, "make an eventfd");
	reaper.stop = false;
	r = pthread_create(&reaper.thread, NULL, reaper_main, NULL);
	if (r)
		return err_sys(e, r, "start a thread");
	reaper.runs = true;
	return 0;
}

void reap_kick(void)
{
	uint64_t one = 1;

	if (write(reaper.wake_fd, &one, sizeof(one)) < 0)
		return;
}

void reap_stop(void)
{
	if (reaper.runs) {
		reaper.stop = true;
		reap_busy(true);
		pthread_join(reaper.thread, NULL);
		reap_busy(false);
		reaper.runs = false;
	}
	cleanup_close(&reaper.wake_fd);
}

void reap_busy(bool on)
{
	reaper.busy += on ? 1 : -1;
	if (on)
		reap_kick();
}

bool reap_status(pid_t pid, int *ret)
{
	bool found = false;
	size_t i;

	pthread_mutex_lock(&reaper.lock);
	for (i = 0; i < ENDED_MAX && !found; i++) {
		found = reaper.ended[i].pid == pid;
		if (!found)
			continue;
		*ret = reaper.ended[i].status;
		reaper.ended[i].pid = 0; /* the pid may be used again */
	}
	pthread_mutex_unlock(&reaper.lock);
	return found;
}
