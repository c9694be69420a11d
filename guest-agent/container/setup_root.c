/* SPDX-License-Identifier: Apache-2.0 */
/* The root of the container: attached, closed where it must be, and changed to.
 */
#include "guest-agent/container/setup.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "guest-agent/container/sync.h"
#include "guest-agent/sys/kernel.h"
#include "guest-agent/sys/rootpath.h"

/* Does what is mounted at this mount spread to others? mountinfo has the words
 * "shared:N" of the line with its id. */
static int is_shared(int proc, uint64_t id)
{
	static const char word[] = " shared:";
	_cleanup_close_ int fd = -1;
	size_t at = 0, column = 0; /* characters matched of word, and of want */
	char chunk[1024], want[24];
	bool line = true, found = false;
	ssize_t n, i;

	fd = openat(proc, "self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	snprintf(want, sizeof(want), "%llu ", (unsigned long long)id);
	while ((n = read(fd, chunk, sizeof(chunk))) > 0) {
		for (i = 0; i < n; i++) {
			if (chunk[i] == '\n') {
				if (line && !want[column])
					return found;
				column = at = 0;
				line = true;
				found = false;
				continue;
			}
			if (line && want[column])
				line = chunk[i] == want[column++];
			at = chunk[i] == word[at] ? at + 1 : chunk[i] == ' ';
			if (!word[at]) {
				found = true;
				at = 0;
			}
		}
	}
	return n < 0 ? -errno : -ENOENT;
}

/* In a mount namespace of others nothing of theirs is changed: the root is
 * attached at its own path there, provided that it spreads no further. */
static int root_in_joined(struct setup *s)
{
	_cleanup_close_ int proc = -1, target = -1;
	struct statx st;
	int r;

	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (proc < 0)
		return -errno;
	s->what = "join the mount namespace";
	if (setns(s->p->join_mnt_fd, CLONE_NEWNS) < 0)
		return -errno;
	close(s->p->join_mnt_fd);
	s->what = s->p->root_place;
	target = open(s->p->root_place, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (target < 0 ||
	    statx(target, "", AT_EMPTY_PATH, STATX_MNT_ID, &st) < 0)
		return -errno;
	r = is_shared(proc, st.stx_mnt_id);
	if (r != 0) {
		s->what = "a shared mount of the joined namespace";
		return r < 0 ? r : -EINVAL;
	}
	r = mnt_attach(s->root, target);
	if (r < 0)
		return r;
	s->undo_root = true;
	s->what = NULL;
	return 0;
}

/* The new root lies on top of the old one until the pivot: lookups of "/..."
 * still begin at the old root, those by s->root in the new one. */
int step_root(struct setup *s)
{
	_cleanup_close_ int slash = -1;

	if (s->p->chroot)
		return root_in_joined(s);
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
		return -errno;
	slash = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (slash < 0)
		return -errno;
	return mnt_attach(s->root, slash);
}

/* ------------------------------------------------- masked, read-only, pivot */

/* Where a path that begins with /proc/ or /sys/ is looked for: in the file
 * system that was mounted there, whatever the image or a volume does. */
static int path_base(const struct setup *s, const char **path)
{
	if (s->proc >= 0 && strncmp(*path, "/proc/", 6) == 0) {
		*path += 6;
		return s->proc;
	}
	if (s->sysfs >= 0 && strncmp(*path, "/sys/", 5) == 0) {
		*path += 5;
		return s->sysfs;
	}
	return s->root;
}

/* What is not there needs no mask. */
static bool is_absent(int r)
{
	return r == -ENOENT || r == -ENOTDIR || r == -EACCES;
}

static int mask(const char *path, int base)
{
	_cleanup_close_ int target = -1, cover = -1;
	static const struct mnt_option tiny[] = {
		{"size", "4096"}, {"nr_inodes", "2"}, {"mode", "0755"}};
	struct stat st;
	struct stat null;

	target = rootpath_open(base, path, O_PATH);
	if (target < 0)
		return is_absent(target) ? 0 : target;
	if (fstat(target, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode)) {
		cover = mnt_new("tmpfs", NULL, tiny, ARRAY_SIZE(tiny),
				MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
					MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
				NULL);
	} else {
		/* The parent's /dev/null, in the old root still; never that of
		 * the container, which could be anything (CVE-2025-31133). */
		cover = mnt_clone(AT_FDCWD, "/dev/null", false);
		if (cover >= 0 &&
		    (fstat(cover, &null) < 0 || !S_ISCHR(null.st_mode) ||
		     null.st_rdev != makedev(1, 3)))
			return -ENODEV;
	}
	return cover < 0 ? cover : mnt_attach(cover, target);
}

int step_mask(struct setup *s)
{
	const char *const *list = s->p->masked;
	size_t i;
	int base, r;

	for (i = 0; list && list[i]; i++) {
		const char *path = list[i];

		s->what = path;
		base = path_base(s, &path);
		r = mask(path, base);
		if (r < 0)
			return r;
	}
	s->what = NULL;
	return 0;
}

int step_readonly(struct setup *s)
{
	const char *const *list = s->p->readonly;
	_cleanup_close_ int cwd = -1;
	size_t i;
	int base, r = 0;

	for (i = 0; list && list[i]; i++) {
		const char *path = list[i];
		_cleanup_close_ int fd = -1;

		s->what = path;
		base = path_base(s, &path);
		fd = rootpath_open(base, path, O_PATH);
		if (is_absent(fd))
			continue;
		r = fd < 0 ? fd : mnt_make_readonly(fd);
		if (r < 0)
			return r;
	}
	s->what = "/dev";
	if (s->p->dev_readonly && s->dev >= 0)
		r = mnt_set(s->dev, MOUNT_ATTR_RDONLY, 0, 0, false);
	if (r < 0)
		return r;
	s->what = NULL;
	if (!s->p->root_readonly)
		return 0;
	/* While it can be made; what is wrong with it is told later. */
	cwd = rootpath_make_dir(s->root, s->p->process.cwd);
	s->what = "/";
	r = mnt_set(s->root, MOUNT_ATTR_RDONLY, 0, 0, false);
	s->what = NULL;
	return r;
}

/* The parent runs the hooks meanwhile. */
int step_hooks(struct setup *s)
{
	struct sync_msg msg = {.kind = SYNC_READY};
	int r;

	if (!s->p->hooks)
		return 0;
	r = sync_send(s->p->sync_fd, &msg, -1);
	if (r == 0)
		r = sync_recv(s->p->sync_fd, &msg, NULL, 0);
	if (r == -EPIPE)
		setup_give_up(s); /* one failed */
	return r == 0 && msg.kind != SYNC_GO ? -EPROTO : r;
}

static int step_own_hooks(struct setup *s, const struct child_hooks *h)
{
	int r = childhooks_run(h, s->detail, sizeof(s->detail));

	if (r < 0)
		s->what = s->detail;
	return r;
}

/* "/..." is still the runtime's. */
int step_create_hooks(struct setup *s)
{
	return step_own_hooks(s, &s->p->create_hooks);
}

/* With the program's own rights, as the last before it. */
int step_start_hooks(struct setup *s)
{
	return step_own_hooks(s, &s->p->start_hooks);
}

static int set_root_propagation(struct setup *s)
{
	const struct plan *p = s->p;
	int r;

	if (!p->root_propagation)
		return 0;
	s->what = "root propagation";
	r = mnt_set(s->root, 0, 0, p->root_propagation,
		    p->root_propagation_rec);
	s->what = r < 0 ? s->what : NULL;
	return r;
}

/* ".." of the root goes up to what lies over it: nothing may, and the old root
 * least of all. */
static int is_on_top(int root)
{
	struct statx own, top;

	if (statx(root, "", AT_EMPTY_PATH, STATX_MNT_ID, &own) < 0 ||
	    statx(AT_FDCWD, "/..", AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &top) < 0)
		return -errno;
	return own.stx_mnt_id == top.stx_mnt_id ? 0 : -EBUSY;
}

int step_pivot(struct setup *s)
{
	_cleanup_close_ int old = -1;
	int r;

	if (s->p->chroot) {
		s->what = "chroot";
		if (fchdir(s->root) < 0 || chroot(".") < 0)
			return -errno;
		s->what = NULL;
		return set_root_propagation(s);
	}
	old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (old < 0 || fchdir(s->root) < 0)
		return -errno;
	if (sys_pivot_root(".", ".") < 0) {
		s->what = "pivot_root";
		return -errno;
	}
	/* The old root now lies over the new one, at the same place. */
	if (fchdir(old) < 0)
		return -errno;
	if (umount2(".", MNT_DETACH) < 0) {
		s->what = "old root";
		return -errno;
	}
	if (chdir("/") < 0)
		return -errno;
	r = is_on_top(s->root);
	return r < 0 ? r : set_root_propagation(s);
}
