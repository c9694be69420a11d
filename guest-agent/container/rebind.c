/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another file in the place of one that is bound into a container.
 *
 * A bind is of the file itself: one renamed over it at its source is not seen.
 * So the new file is bound beneath the old one, and the old one is taken off:
 * whoever looks the name up gets the old file before that and the new one after
 * it, whole either way; who has the old one open keeps it. Over the old one it
 * could be bound at once, but the old one would stay below it for ever.
 *
 * A process of its own does it, in the container's mount namespace with the
 * agent's rights: it opens one path there, for nothing but its place, and ends
 * by an alarm when that is one of a file system that does not answer.
 */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"
#include "guest-agent/sys/kernel.h"
#include "guest-agent/sys/mnt.h"
#include "guest-agent/sys/rootpath.h"

#define REBIND_SECONDS 5

/* Is what is at the place a file of this file system? What else is there now is
 * not ours to take away. No path of the container's own leads to one of those
 * but the binds that it was given. */
static bool is_of(int place, dev_t dev)
{
	struct stat st;

	return fstat(place, &st) == 0 && S_ISREG(st.st_mode) &&
	       st.st_dev == dev;
}

/* By its descriptor: a path could lead elsewhere meanwhile. `fds` is our own
 * /proc/self/fd, for the container has another. */
static int take_off(int fds, int place)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", place);
	if (fchdir(fds) < 0 || umount2(name, MNT_DETACH) < 0)
		return -errno;
	return 0;
}

static int swap(const struct container *c, const char *destination, int tree,
		dev_t dev)
{
	_cleanup_close_ int fds = -1, root = -1, place = -1;
	sigset_t none;
	int r;

	sigemptyset(&none);
	if (sigprocmask(SIG_SETMASK, &none, NULL) < 0)
		return -errno;
	alarm(REBIND_SECONDS);
	fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fds < 0 || setns(c->pidfd, CLONE_NEWNS) < 0)
		return -errno;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	place = rootpath_open(root, destination, O_PATH);
	if (place < 0)
		return place;
	if (!is_of(place, dev))
		return -ENOENT;
	r = mnt_attach_beneath(tree, place);
	return r < 0 ? r : take_off(fds, place);
}

static int run(const struct container *c, const char *destination, int tree,
	       dev_t dev)
{
	struct clone_args args = {
		.flags = CLONE_CLEAR_SIGHAND,
		.exit_signal = SIGCHLD,
	};
	pid_t pid = sys_clone3(&args);

	if (pid < 0)
		return -errno;
	if (pid == 0)
		_exit(-swap(c, destination, tree, dev));
	return child_result(pid);
}

static int rebind_one(const struct container *c, const struct plan_mount *m,
		      int file, struct err *e)
{
	_cleanup_close_ int tree = mnt_clone_fd(file, false);
	struct stat st;
	int r;

	if (tree < 0 || fstat(tree, &st) < 0)
		return err_sys(e, tree < 0 ? -tree : errno, "bind '%s'",
			       m->source);
	r = mnt_set(tree, m->set, m->clear, 0, false);
	if (r == 0)
		r = run(c, m->destination, tree, st.st_dev);
	if (r == -ESRCH)
		return 0; /* the container has ended */
	if (r == -ENOENT)
		return err_set(e, ENOENT,
			       "'%s' is not mounted on '%s' any more",
			       m->source, m->destination);
	return r < 0 ? err_sys(e, -r, "replace what is mounted on '%s'",
			       m->destination)
		     : 0;
}

int container_rebind(struct container *c, const char *source, int file,
		     struct err *e)
{
	const struct plan *p = c->plan;
	size_t i;
	int r = 0;

	if (c->status == CONTAINER_STOPPED)
		return 0;
	for (i = 0; r == 0 && i < p->n_mounts; i++) {
		const struct plan_mount *m = &p->mounts[i];

		if (!m->bind || !m->source || strcmp(m->source, source) != 0)
			continue;
		if (!(c->namespaces & CLONE_NEWNS) || p->chroot)
			return err_set(e, ENOTSUP,
				       "the container has no mount namespace "
				       "of its own");
		r = rebind_one(c, m, file, e);
	}
	return r;
}
