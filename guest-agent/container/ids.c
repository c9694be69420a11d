/* SPDX-License-Identifier: Apache-2.0 */
/* The ids of user namespaces: the container's, new or joined, and those that
 * map the ids of a mount. */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/sys/kernel.h"

/* The kernel takes less than a page in its one write. */
#define MAP_TEXT_MAX 4096

int64_t map_id(const struct id_map *maps, size_t n, uint32_t inside)
{
	size_t i;

	if (n == 0)
		return inside;
	for (i = 0; i < n; i++)
		if (inside >= maps[i].inside &&
		    inside - maps[i].inside < maps[i].count)
			return (int64_t)maps[i].outside +
			       (inside - maps[i].inside);
	return -1;
}

static bool overlap(uint32_t a, uint32_t b, uint32_t a_count, uint32_t b_count)
{
	return a < (uint64_t)b + b_count && b < (uint64_t)a + a_count;
}

/* The kernel's rules (user_namespaces(7)), whose word for all of them is
 * "Invalid argument". */
int id_maps_check(const struct oci_id_mapping *m, size_t n, const char *path,
		  struct err *e)
{
	size_t i, j;

	if (n > HYB_ID_MAPS_MAX)
		return err_set(e, E2BIG, "%s: more than %d id mappings", path,
			       HYB_ID_MAPS_MAX);
	for (i = 0; i < n; i++) {
		if ((uint64_t)m[i].container_id + m[i].size > UINT32_MAX ||
		    (uint64_t)m[i].host_id + m[i].size > UINT32_MAX)
			return err_set(e, EINVAL,
				       "%s[%zu].size: %u ids from %u and %u on "
				       "go beyond the last id",
				       path, i, m[i].size, m[i].container_id,
				       m[i].host_id);
		for (j = 0; j < i; j++)
			if (overlap(m[i].container_id, m[j].container_id,
				    m[i].size, m[j].size) ||
			    overlap(m[i].host_id, m[j].host_id, m[i].size,
				    m[j].size))
				return err_set(e, EINVAL,
					       "%s[%zu]: overlaps %s[%zu]",
					       path, i, path, j);
	}
	return 0;
}

int id_maps_copy(struct plan *p, const struct oci_id_mapping *from, size_t n,
		 const char *path, struct id_maps *ret, struct err *e)
{
	struct id_map *maps;
	size_t i;
	int r;

	r = id_maps_check(from, n, path, e);
	if (r < 0)
		return r;
	maps = arena_alloc(p->arena, n + 1, sizeof(*maps));
	if (!maps)
		return err_sys(e, ENOMEM, "%s", path);
	for (i = 0; i < n; i++)
		maps[i] = (struct id_map){from[i].container_id, from[i].host_id,
					  from[i].size};
	*ret = (struct id_maps){maps, n};
	return 0;
}

static int write_map(pid_t pid, const char *file, const struct id_maps *m,
		     struct err *e)
{
	_cleanup_close_ int fd = -1;
	char text[HYB_ID_MAPS_MAX * 36], path[48];
	size_t i, len = 0;

	for (i = 0; i < m->n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"%u %u %u\n", m->maps[i].inside,
					m->maps[i].outside, m->maps[i].count);
	if (len >= MAP_TEXT_MAX)
		return err_set(e, E2BIG,
			       "%s: %zu mappings are more than the kernel "
			       "takes",
			       file, m->n);
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	/* One write: the kernel takes no second one. */
	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		return err_sys(e, errno, "write %s", file);
	return 0;
}

int id_maps_write(pid_t pid, const struct id_maps *uids,
		  const struct id_maps *gids, struct err *e)
{
	int r = write_map(pid, "uid_map", uids, e);

	return r < 0 ? r : write_map(pid, "gid_map", gids, e);
}

static int read_map(struct plan *p, pid_t pid, const char *file,
		    struct id_maps *ret, struct err *e)
{
	struct id_map *maps =
		arena_alloc(p->arena, HYB_ID_MAPS_MAX, sizeof(*maps));
	char path[48];
	size_t n = 0;
	FILE *f;

	if (!maps)
		return err_sys(e, ENOMEM, "%s", file);
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	f = fopen(path, "re");
	if (!f)
		return err_sys(e, errno, "open '%s'", path);
	while (n < HYB_ID_MAPS_MAX &&
	       fscanf(f, "%u %u %u", &maps[n].inside, &maps[n].outside,
		      &maps[n].count) == 3)
		n++;
	fclose(f);
	if (n == 0)
		return err_set(e, EINVAL, "'%s' is empty", path);
	*ret = (struct id_maps){maps, n};
	return 0;
}

int id_maps_read(struct plan *p, pid_t pid, struct id_maps *uids,
		 struct id_maps *gids, struct err *e)
{
	int r = read_map(p, pid, "uid_map", uids, e);

	return r < 0 ? r : read_map(p, pid, "gid_map", gids, e);
}

/* ---------------------------------------------------- a process to look at */

/* Lives in a user namespace so that its /proc can be used, and ends with the
 * struct. Non-dumpable before it is there: nobody in it can trace it. */
struct dweller {
	pid_t pid;
	int pidfd;
};

static void dweller_done(struct dweller *d)
{
	siginfo_t info;

	if (d->pidfd < 0)
		return;
	pidfd_send_signal(d->pidfd, SIGKILL, NULL, 0);
	while (waitid(P_PIDFD, (id_t)d->pidfd, &info, WEXITED) < 0 &&
	       errno == EINTR)
		continue;
	close(d->pidfd);
}

/* join_fd: the user namespace to join; -1: a new one. */
static int dweller_make(struct dweller *d, int join_fd, struct err *e)
{
	_cleanup_close_ int there = -1, told = -1;
	struct clone_args args = {
		.flags = CLONE_PIDFD | (join_fd < 0 ? CLONE_NEWUSER : 0),
		.pidfd = (uint64_t)(uintptr_t)&d->pidfd,
		.exit_signal = SIGCHLD,
	};
	int pair[2], error = 0;
	pid_t pid;

	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	there = pair[0];
	told = pair[1];
	pid = sys_clone3(&args);
	if (pid == 0) {
		if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
		    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 ||
		    (join_fd >= 0 && setns(join_fd, CLONE_NEWUSER) < 0))
			error = errno;
		if (write(told, &error, sizeof(error)) < 0 || error)
			_exit(1);
		for (;;)
			pause();
	}
	if (pid < 0) {
		error = errno;
		d->pidfd = -1;
		return err_sys(e, error, "clone");
	}
	d->pid = pid;
	close(steal_fd(&told));
	if (read_full(there, &error, sizeof(error)) != sizeof(error))
		return err_set(e, EIO, "a process for its ids died");
	return error ? err_sys(e, error, "join") : 0;
}

int id_maps_of_ns(struct plan *p, int userns_fd, struct id_maps *uids,
		  struct id_maps *gids, struct err *e)
{
	_cleanup_(dweller_done) struct dweller d = {.pidfd = -1};
	int r = dweller_make(&d, userns_fd, e);

	return r < 0 ? r : id_maps_read(p, d.pid, uids, gids, e);
}

int userns_make(const struct id_maps *uids, const struct id_maps *gids,
		struct err *e)
{
	_cleanup_(dweller_done) struct dweller d = {.pidfd = -1};
	char path[48];
	int r, fd;

	r = dweller_make(&d, -1, e);
	if (r == 0)
		r = id_maps_write(d.pid, uids, gids, e);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)d.pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "open '%s'", path) : fd;
}
