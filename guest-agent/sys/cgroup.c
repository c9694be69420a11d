/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/sys/cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"

static const struct {
	const char *name;
	enum cgroup_controller bit;
} controllers[] = {
	{"memory", CGROUP_MEMORY}, {"pids", CGROUP_PIDS},
	{"cpu", CGROUP_CPU},	   {"io", CGROUP_IO},
	{"cpuset", CGROUP_CPUSET}, {"hugetlb", CGROUP_HUGETLB},
	{"rdma", CGROUP_RDMA},
};

/* Nested folders that are removed: a container makes its own only where it
 * was given the right to. */
#define REMOVE_DEPTH 16

const char *cgroup_controller_name(enum cgroup_controller c)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(controllers); i++)
		if (controllers[i].bit == c)
			return controllers[i].name;
	return "";
}

static bool is_cgroup2(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;
}

int cgroup_root_open(struct err *e)
{
	static const char *const places[] = {"/sys/fs/cgroup",
					     "/sys/fs/cgroup/unified"};
	_cleanup_close_ int fd = -1;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		cleanup_close(&fd);
		fd = open(places[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 && is_cgroup2(fd))
			return steal_fd(&fd);
	}
	return err_set(e, ENOENT, "cgroup v2 is not mounted");
}

static ssize_t read_small(int fd, const char *file, char *buf, size_t size)
{
	_cleanup_close_ int f = openat(fd, file, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (f < 0)
		return -errno;
	n = read_full(f, buf, size - 1);
	if (n >= 0)
		buf[n] = '\0';
	return n;
}

int cgroup_write(int fd, const char *file, const char *value)
{
	_cleanup_close_ int f = openat(fd, file, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(value);

	if (f < 0)
		return -errno;
	return write(f, value, len) == (ssize_t)len ? 0 : -errno;
}

int cgroup_write_u64(int fd, const char *file, uint64_t value)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return cgroup_write(fd, file, text);
}

int cgroup_read_u64(int fd, const char *file, uint64_t *ret)
{
	char buf[64];
	ssize_t n;

	n = read_small(fd, file, buf, sizeof(buf));
	if (n < 0)
		return (int)n;
	buf[strcspn(buf, "\n")] = '\0';
	if (strcmp(buf, "max") == 0) {
		*ret = UINT64_MAX;
		return 0;
	}
	return parse_u64(buf, 0, UINT64_MAX, ret);
}

int cgroup_read_key(int fd, const char *file, const char *key, uint64_t *ret)
{
	size_t len = strlen(key);
	char buf[8192], *line, *save = NULL;
	ssize_t n;

	n = read_small(fd, file, buf, sizeof(buf));
	if (n < 0)
		return (int)n;
	for (line = strtok_r(buf, "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save))
		if (strncmp(line, key, len) == 0 && line[len] == ' ')
			return parse_u64(line + len + 1, 0, UINT64_MAX, ret);
	return -ENOENT;
}

int cgroup_read_io(int fd, uint64_t *ret_read, uint64_t *ret_written)
{
	uint64_t v, in = 0, out = 0;
	char buf[8192], *word, *save = NULL;
	ssize_t n;

	n = read_small(fd, "io.stat", buf, sizeof(buf));
	if (n < 0)
		return (int)n;
	for (word = strtok_r(buf, " \n", &save); word;
	     word = strtok_r(NULL, " \n", &save)) {
		if (strncmp(word, "rbytes=", 7) == 0 &&
		    parse_u64(word + 7, 0, INT64_MAX, &v) == 0)
			in += v;
		else if (strncmp(word, "wbytes=", 7) == 0 &&
			 parse_u64(word + 7, 0, INT64_MAX, &v) == 0)
			out += v;
	}
	*ret_read = in;
	*ret_written = out;
	return 0;
}

int cgroup_read_pressure(int fd, const char *file, uint64_t *ret)
{
	unsigned int whole, part;
	char buf[256];
	ssize_t n;

	n = read_small(fd, file, buf, sizeof(buf));
	if (n < 0)
		return (int)n;
	if (sscanf(buf, "some avg10=%3u.%2u", &whole, &part) != 2)
		return -EINVAL;
	*ret = (uint64_t)whole * 100 + part;
	return 0;
}

static unsigned int read_controllers(int fd, const char *file)
{
	unsigned int have = 0;
	char buf[512], *word, *save = NULL;
	size_t i;

	if (read_small(fd, file, buf, sizeof(buf)) < 0)
		return 0;
	for (word = strtok_r(buf, " \n", &save); word;
	     word = strtok_r(NULL, " \n", &save))
		for (i = 0; i < ARRAY_SIZE(controllers); i++)
			if (strcmp(word, controllers[i].name) == 0)
				have |= controllers[i].bit;
	return have;
}

/* One that holds processes, and is not the real root, gives its children no
 * controller; taking those that threads may have would make the children
 * unfit for processes. */
static bool holds_processes(int fd)
{
	char buf[32];

	return faccessat(fd, "cgroup.type", F_OK, 0) == 0 &&
	       read_small(fd, "cgroup.procs", buf, sizeof(buf)) > 0;
}

/* Enables for the children of fd what fd itself has. One write a controller
 * where all at once is refused: what cannot be (processes in fd, a realtime
 * task) must not stand in the way of the rest. */
static void enable_controllers(int fd)
{
	unsigned int missing = read_controllers(fd, "cgroup.controllers") &
			       ~read_controllers(fd, "cgroup.subtree_control");
	char all[128] = "", one[24];
	size_t i, len = 0;

	if (!missing || holds_processes(fd))
		return;
	for (i = 0; i < ARRAY_SIZE(controllers); i++)
		if (missing & controllers[i].bit)
			len += (size_t)snprintf(all + len, sizeof(all) - len,
						"+%s ", controllers[i].name);
	if (cgroup_write(fd, "cgroup.subtree_control", all) == 0)
		return;
	for (i = 0; i < ARRAY_SIZE(controllers); i++) {
		if (!(missing & controllers[i].bit))
			continue;
		snprintf(one, sizeof(one), "+%s", controllers[i].name);
		cgroup_write(fd, "cgroup.subtree_control", one);
	}
}

int cgroup_open(int root_fd, const char *path)
{
	int fd = openat(root_fd, path,
			O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

int cgroup_make(int root_fd, const char *path, unsigned int *ret_have,
		struct err *e)
{
	_cleanup_close_ int fd = -1;
	char copy[HYB_CGROUP_PATH_MAX], *part, *save = NULL;
	int next;

	if (strlen(path) >= sizeof(copy))
		return err_sys(e, ENAMETOOLONG, "cgroup '%s'", path);
	memcpy(copy, path, strlen(path) + 1);
	fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
	if (fd < 0)
		return err_sys(e, errno, "cgroup '%s'", path);
	for (part = strtok_r(copy, "/", &save); part;
	     part = strtok_r(NULL, "/", &save)) {
		if (strcmp(part, ".") == 0 || strcmp(part, "..") == 0)
			return err_set(e, EINVAL,
				       "cgroup '%s': must not have '%s'", path,
				       part);
		enable_controllers(fd);
		if (mkdirat(fd, part, 0755) < 0 && errno != EEXIST)
			return err_sys(e, errno, "make cgroup '%s'", path);
		next = cgroup_open(fd, part);
		if (next < 0)
			return err_sys(e, -next, "open cgroup '%s'", path);
		close(fd);
		fd = next;
	}
	*ret_have = read_controllers(fd, "cgroup.controllers");
	return steal_fd(&fd);
}

int cgroup_kill(int fd)
{
	int r = cgroup_write(fd, "cgroup.kill", "1");

	if (r != -ENOENT)
		return r;
	r = cgroup_signal(fd, SIGKILL);
	return r < 0 ? r : 0;
}

/* What is done with every process of a tree: signalled, or with pids listed. */
struct visit {
	int sig;
	pid_t *pids;
	size_t n, max;
};

static int visit_one(struct visit *v, pid_t pid)
{
	_cleanup_close_ int pidfd = -1;

	if (v->max) {
		if (v->n < v->max)
			v->pids[v->n++] = pid;
		return 1;
	}
	pidfd = pidfd_open(pid, 0);
	if (pidfd < 0)
		return 0;
	return pidfd_send_signal(pidfd, v->sig, NULL, 0) < 0 ? 0 : 1;
}

static int visit_procs(int fd, struct visit *v)
{
	_cleanup_fclose_ FILE *f = NULL;
	int procs = openat(fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	char line[32];
	uint64_t pid;
	int n = 0;

	if (procs < 0)
		return -errno;
	f = fdopen(procs, "re");
	if (!f) {
		close(procs);
		return -ENOMEM;
	}
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		if (parse_u64(line, 1, INT32_MAX, &pid) == 0)
			n += visit_one(v, (pid_t)pid);
	}
	return n;
}

/* Calls itself at most depth deep. */
static int visit_tree(int fd, struct visit *v, int depth)
{
	_cleanup_closedir_ DIR *d = NULL;
	int total = visit_procs(fd, v), child, n;
	struct dirent *entry;

	if (total < 0 || depth == 0)
		return total;
	child = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (child < 0)
		return total;
	d = fdopendir(child);
	if (!d) {
		close(child);
		return total;
	}
	while ((entry = readdir(d))) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		child = cgroup_open(fd, entry->d_name);
		if (child < 0)
			continue;
		n = visit_tree(child, v, depth - 1);
		close(child);
		if (n > 0)
			total += n;
	}
	return total;
}

int cgroup_signal(int fd, int sig)
{
	struct visit v = {.sig = sig};

	return visit_tree(fd, &v, REMOVE_DEPTH);
}

int cgroup_pids(int fd, pid_t *pids, size_t max)
{
	struct visit v = {.pids = pids, .max = max};

	return visit_tree(fd, &v, REMOVE_DEPTH);
}

/* Waits until "key" of cgroup.events is value; the kernel raises POLLPRI on
 * every change. */
static int wait_event(int fd, const char *key, uint64_t value,
		      unsigned int timeout_ms)
{
	_cleanup_close_ int events = -1;
	uint64_t deadline = now_ms() + timeout_ms, now, have;
	char buf[128];
	struct pollfd p;
	int r;

	events = openat(fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	if (events < 0)
		return -errno;
	for (;;) {
		/* Read through this descriptor, so that poll() tells of
		 * changes since then. */
		if (pread(events, buf, sizeof(buf), 0) < 0)
			return -errno;
		r = cgroup_read_key(fd, "cgroup.events", key, &have);
		if (r < 0)
			return r;
		if (have == value)
			return 0;
		now = now_ms();
		if (now >= deadline)
			return -ETIMEDOUT;
		p = (struct pollfd){.fd = events, .events = POLLPRI};
		if (poll(&p, 1, (int)(deadline - now)) < 0 && errno != EINTR)
			return -errno;
	}
}

int cgroup_freeze(int fd, bool frozen, unsigned int timeout_ms)
{
	int r = cgroup_write(fd, "cgroup.freeze", frozen ? "1" : "0");

	return r < 0 ? r : wait_event(fd, "frozen", frozen, timeout_ms);
}

static void remove_children(int fd, int depth)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *entry;
	int child;

	child = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (child < 0)
		return;
	d = fdopendir(child);
	if (!d) {
		close(child);
		return;
	}
	while ((entry = readdir(d))) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		child = depth > 0 ? cgroup_open(fd, entry->d_name) : -1;
		if (child >= 0) {
			remove_children(child, depth - 1);
			close(child);
		}
		unlinkat(fd, entry->d_name, AT_REMOVEDIR);
	}
}

int cgroup_remove(int root_fd, const char *path, unsigned int timeout_ms,
		  struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (unlinkat(root_fd, path, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	fd = cgroup_open(root_fd, path);
	if (fd < 0)
		return err_sys(e, -fd, "open cgroup '%s'", path);
	r = wait_event(fd, "populated", 0, timeout_ms);
	if (r < 0 && r != -ENOENT)
		return err_sys(e, -r, "empty cgroup '%s'", path);
	remove_children(fd, REMOVE_DEPTH);
	if (unlinkat(root_fd, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return err_sys(e, errno, "remove cgroup '%s'", path);
	return 0;
}
