/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A root in a mount namespace of others.
 *
 * The child attaches it there and changes to it by chroot() (setup.c): what is
 * attached does not go with the container, as it would with a namespace of its
 * own. It is taken away by what cannot be mistaken: the namespace by device and
 * inode, the mount by its id, and never by a path alone, because others live
 * there and may have changed it.
 */
#include "guest-agent/container/internal.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/cleanup.h"

/* Since Linux 6.8; an older kernel leaves it out and answers with an id that
 * may come again. */
#define MNT_ID_UNIQUE 0x4000U

static int mount_id(int fd, uint64_t *ret)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_MNT_ID | MNT_ID_UNIQUE, &st) < 0)
		return -errno;
	*ret = st.stx_mnt_id;
	return 0;
}

static bool is_ns(int fd, const struct container_joined *j)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_dev == j->dev &&
	       st.st_ino == j->ino;
}

/* As long as its descriptors are there. */
int joined_note(struct create *cr, struct err *e)
{
	const struct plan *p = cr->plan;
	struct container_joined *j = &cr->c->joined;
	struct stat st;
	int r;

	if (p->join_mnt_fd < 0)
		return 0;
	if (fstat(p->join_mnt_fd, &st) < 0)
		return err_sys(e, errno, "look at the mount namespace");
	r = mount_id(p->root_fd, &j->mount);
	if (r < 0)
		return err_sys(e, -r, "look at the root's mount");
	j->dev = st.st_dev;
	j->ino = st.st_ino;
	j->path = plan_strdup(cr->plan, cr->mntns_path);
	cr->c->joined_place = plan_strdup(cr->plan, p->root_place);
	return j->path && cr->c->joined_place ? 0 : err_sys(e, ENOMEM, "plan");
}

int joined_keep(struct create *cr, struct err *e)
{
	const struct container_joined *from = &cr->spec->joined;
	struct container *c = cr->c;

	if (!from->path || !cr->spec->rootfs.dir)
		return 0;
	c->joined = *from;
	c->joined.path = plan_strdup(cr->plan, from->path);
	c->joined_place = plan_strdup(cr->plan, cr->spec->rootfs.dir);
	return c->joined.path && c->joined_place ? 0
						 : err_sys(e, ENOMEM, "plan");
}

/* The namespace by the path that it had, or else by a process that lives in
 * it; -ENOENT: neither. */
static int find_ns(const struct container_joined *j)
{
	DIR *proc;
	struct dirent *d;
	char path[300];
	int fd;

	fd = open(j->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd >= 0 && is_ns(fd, j))
		return fd;
	if (fd >= 0)
		close(fd);
	fd = -1;
	proc = opendir("/proc");
	if (!proc)
		return -errno;
	while (fd < 0 && (d = readdir(proc))) {
		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/ns/mnt", d->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && !is_ns(fd, j)) {
			close(fd);
			fd = -1;
		}
	}
	closedir(proc);
	return fd < 0 ? -ENOENT : fd;
}

/* Runs in a process of its own, which ends with the error's number. */
static int remove_there(int ns, const char *place, uint64_t mount)
{
	uint64_t id;
	int fd, r;

	if (setns(ns, CLONE_NEWNS) < 0)
		return errno;
	fd = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : errno;
	r = mount_id(fd, &id);
	if (r < 0)
		return -r;
	if (id != mount)
		return 0; /* taken away by somebody else, or covered */
	return fchdir(fd) < 0 || umount2(".", MNT_DETACH) < 0 ? errno : 0;
}

int child_result(pid_t pid)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (WIFEXITED(status))
		return -WEXITSTATUS(status);
	return WTERMSIG(status) == SIGALRM ? -ETIMEDOUT : -EIO;
}

int joined_remove(const struct container *c, struct err *e)
{
	_cleanup_close_ int ns = -1;
	pid_t pid;
	int r;

	if (!c->joined.path)
		return 0;
	ns = find_ns(&c->joined);
	if (ns == -ENOENT)
		return 0; /* all that was attached there went with it */
	if (ns < 0)
		return err_sys(e, -ns, "find the mount namespace");
	pid = fork();
	if (pid < 0)
		return err_sys(e, errno, "fork");
	if (pid == 0)
		_exit(remove_there(ns, c->joined_place, c->joined.mount));
	r = child_result(pid);
	return r < 0 ? err_sys(e, -r, "take '%s' out of the mount namespace",
			       c->joined_place)
		     : 0;
}

/* By descriptor: what else may lie there is not ours. */
void joined_undo(const struct create *cr)
{
	const struct plan *p = cr->plan;
	pid_t pid;

	if (p->join_mnt_fd < 0 || p->root_fd < 0)
		return;
	pid = fork();
	if (pid == 0)
		_exit(setns(p->join_mnt_fd, CLONE_NEWNS) < 0 ||
		      fchdir(p->root_fd) < 0 || umount2(".", MNT_DETACH) < 0);
	if (pid > 0)
		child_result(pid);
}
