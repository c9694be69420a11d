/* SPDX-License-Identifier: Apache-2.0 */
/* What is mounted in the new root, its device nodes and its sysctls. */
#include "guest-agent/container/setup.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/sys/copyup.h"
#include "guest-agent/sys/kernel.h"
#include "guest-agent/sys/rootpath.h"

/* Options of a tmpfs: there are no more of them by far. */
#define MNT_OPTIONS_SMALL 32

/* The destination itself, though it be a link: to cover one needs no lookup of
 * where it leads. But not the kernel's own: who covers /proc/self tells the
 * programs of the container lies. */
static int open_nofollow(const struct setup *s, const struct plan_mount *m)
{
	_cleanup_close_ int fd = -1;
	struct statfs fs;
	struct stat st;

	fd = rootpath_make_nofollow(s->root, m->destination, !m->is_file);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return -errno;
	if (S_ISLNK(st.st_mode) && fs.f_type == PROC_SUPER_MAGIC)
		return -ELOOP;
	return steal_fd(&fd);
}

/* What the kernel's own file systems are mounted on must be a folder of the
 * image itself: a link would lead the masking below astray (CVE-2019-19921).
 * Everything else may be reached by links, as long as they stay inside. */
static int open_target(struct setup *s, const struct plan_mount *m)
{
	struct stat st;
	int fd;

	if (m->special != MOUNT_PLAIN) {
		fd = sys_openat2(s->root, m->destination, O_PATH | O_CLOEXEC, 0,
				 RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);
		if (fd >= 0)
			return fd;
		if (errno != ENOENT)
			return -errno;
	}
	if (!m->destination[1])
		return fcntl(s->root, F_DUPFD_CLOEXEC, 0);
	if (m->target_nofollow)
		return open_nofollow(s, m);
	if (!m->is_file)
		return rootpath_make_dir(s->root, m->destination);
	fd = rootpath_make_file(s->root, m->destination);
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISLNK(st.st_mode)) {
		close(fd);
		return -ELOOP;
	}
	return fd;
}

static void remember(struct setup *s, enum mount_special special, int fd)
{
	int *slot = special == MOUNT_DEV      ? &s->dev
		    : special == MOUNT_DEVPTS ? &s->devpts
		    : special == MOUNT_PROC   ? &s->proc
		    : special == MOUNT_SYSFS  ? &s->sysfs
					      : NULL;

	if (slot)
		*slot = fd;
	else
		close(fd);
}

/* Names the option, or the call, that a mount failed at. */
static int blame(struct setup *s, const struct plan_mount *m, const char *what,
		 int r)
{
	snprintf(s->detail, sizeof(s->detail), "%.150s: %.50s", m->destination,
		 what);
	s->what = s->detail;
	return r;
}

/* The attributes and options of what an earlier mount put there. */
static int do_remount(struct setup *s, const struct plan_mount *m)
{
	const char *what = "";
	_cleanup_close_ int fd = rootpath_open(s->root, m->destination, O_PATH);
	int r = fd < 0 ? fd : 0;
	size_t i;

	if (r == 0 && (m->set || m->clear))
		r = mnt_set(fd, m->set, m->clear, 0, false);
	if (r == 0 && (m->rec_set || m->rec_clear))
		r = mnt_set(fd, m->rec_set, m->rec_clear, 0, true);
	if (r == 0 && m->n_options && !m->bind) {
		r = mnt_reconfigure(fd, m->options, m->n_options, &what);
		if (r < 0)
			return blame(s, m, what, r);
	}
	for (i = 0; r == 0 && i < m->n_propagation; i++)
		r = mnt_set(fd, 0, 0, m->propagation[i], m->propagation_rec[i]);
	return r;
}

static bool has_mode(const struct plan_mount *m)
{
	size_t i;

	for (i = 0; i < m->n_options; i++)
		if (strcmp(m->options[i].key, "mode") == 0)
			return true;
	return false;
}

/* The options but "gid", which a devpts refuses where the namespace has no such
 * group; terminals are then of the group of whoever opens them. */
static int devpts_without_group(const struct plan_mount *m, const char **what)
{
	struct mnt_option options[MNT_OPTIONS_SMALL];
	size_t n = 0, i;

	for (i = 0; i < m->n_options && n < MNT_OPTIONS_SMALL; i++)
		if (strcmp(m->options[i].key, "gid") != 0)
			options[n++] = m->options[i];
	return mnt_new(m->type, m->source, options, n, m->set, what);
}

/* The one that is there, with all below it, read-only. */
static int copy_sysfs(const struct plan_mount *m)
{
	_cleanup_close_ int fd = mnt_clone(AT_FDCWD, "/sys", true);
	int r;

	if (fd < 0)
		return fd;
	r = mnt_set(fd,
		    m->set | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
			    MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
		    0, MS_PRIVATE, true);
	return r < 0 ? r : steal_fd(&fd);
}

/* What an ordinary user may have in the place of what was refused. */
static int instead_of(struct setup *s, const struct plan_mount *m, int r,
		      const char **what)
{
	if (!s->p->confined)
		return r;
	if (r == -EINVAL && strcmp(m->type, "devpts") == 0)
		return devpts_without_group(m, what);
	if (r == -EPERM && strcmp(m->type, "sysfs") == 0)
		return copy_sysfs(m);
	return r;
}

/* A tmpfs whose mode nobody says has that of the folder which it covers. */
static int new_mount(struct setup *s, const struct plan_mount *m,
		     const char **what)
{
	struct mnt_option options[MNT_OPTIONS_SMALL];
	_cleanup_close_ int covered = -1;
	size_t n = m->n_options;
	struct stat st;
	char mode[16];

	if (!has_mode(m) && n < MNT_OPTIONS_SMALL &&
	    m->special == MOUNT_PLAIN && strcmp(m->type, "tmpfs") == 0)
		covered = rootpath_open(s->root, m->destination, O_PATH);
	if (covered < 0 || fstat(covered, &st) < 0 || !S_ISDIR(st.st_mode))
		return mnt_new(m->type, m->source, m->options, n, m->set, what);
	if (n)
		memcpy(options, m->options, n * sizeof(*options));
	snprintf(mode, sizeof(mode), "%04o", (unsigned int)st.st_mode & 07777);
	options[n] = (struct mnt_option){"mode", mode};
	return mnt_new(m->type, m->source, options, n + 1, m->set, what);
}

/* A link in the place of a mount. One that is there already and says the same
 * will do. */
static int make_link(const struct setup *s, const struct plan_mount *m)
{
	char text[PATH_MAX];
	_cleanup_close_ int fd = -1;
	ssize_t n;
	int r;

	r = rootpath_make_link(s->root, m->destination, m->link);
	if (r != -EEXIST)
		return r;
	fd = rootpath_open_nofollow(s->root, m->destination);
	n = fd < 0 ? -1 : readlinkat(fd, "", text, sizeof(text) - 1);
	if (n < 0)
		return r;
	text[n] = '\0';
	return strcmp(text, m->link) == 0 ? 0 : r;
}

/* In the place of the root, which is taken away: on top of it, it would be left
 * between the new root and the old one when that goes after the pivot. Nothing
 * is mounted below it yet. */
static int replace_root(struct setup *s, int fd)
{
	_cleanup_close_ int slash = -1;

	if (fchdir(s->root) < 0 || umount2(".", MNT_DETACH) < 0)
		return -errno;
	slash = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (slash < 0 || fchdir(slash) < 0)
		return -errno;
	s->root = fd;
	return mnt_attach(fd, slash);
}

static int do_mount(struct setup *s, const struct plan_mount *m)
{
	_cleanup_close_ int fd = m->fd, target = -1;
	const char *what = "";
	size_t i;
	int r;

	s->what = m->destination;
	if (m->remount)
		return do_remount(s, m);
	if (m->link)
		return make_link(s, m);
	if (fd < 0) {
		fd = new_mount(s, m, &what);
		if (fd < 0)
			fd = instead_of(s, m, fd, &what);
		if (fd < 0)
			return blame(s, m, what, fd);
	}
	target = open_target(s, m);
	if (m->special != MOUNT_PLAIN &&
	    (target == -ELOOP || target == -ENOTDIR))
		return blame(s, m, "must be mounted on ordinary directory",
			     target);
	if (target < 0)
		return target;
	r = m->copy_up ? copyup_dir(target, fd, has_mode(m)) : 0;
	if (r == 0)
		r = m->destination[1] ? mnt_attach(fd, target)
				      : replace_root(s, fd);
	if (r < 0)
		return r;
	for (i = 0; i < m->n_propagation; i++) {
		r = mnt_set(fd, 0, 0, m->propagation[i], m->propagation_rec[i]);
		if (r < 0)
			return r;
	}
	if (m->destination[1])
		remember(s, m->special, steal_fd(&fd));
	else
		steal_fd(&fd);
	return 0;
}

int step_mounts(struct setup *s)
{
	size_t i;
	int r;

	for (i = 0; i < s->p->n_mounts; i++) {
		r = do_mount(s, &s->p->mounts[i]);
		if (r < 0)
			return r;
	}
	s->what = NULL;
	return 0;
}

/* A user namespace may make no nodes: the machine's own, where it has the
 * same. */
static int bind_device(struct setup *s, const struct plan_device *d)
{
	_cleanup_close_ int tree = -1, target = -1;
	struct stat st;

	tree = mnt_clone(AT_FDCWD, d->path, false);
	if (tree < 0)
		return d->bind ? tree : -EPERM;
	if (fstat(tree, &st) < 0 || st.st_rdev != d->rdev ||
	    (st.st_mode & S_IFMT) != (d->mode & S_IFMT))
		return -EPERM;
	target = rootpath_make_file(s->root, d->path);
	return target < 0 ? target : mnt_attach(tree, target);
}

static int make_device(struct setup *s, const struct plan_device *d)
{
	const char *slash = strrchr(d->path, '/'), *name = slash + 1;
	_cleanup_close_ int up = -1;
	char parent[256];

	if ((size_t)(slash - d->path) >= sizeof(parent))
		return -ENAMETOOLONG;
	memcpy(parent, d->path, (size_t)(slash - d->path));
	parent[slash - d->path] = '\0';
	up = rootpath_make_dir(s->root, parent);
	if (up < 0)
		return up;
	if (mknodat(up, name, d->mode, d->rdev) < 0) {
		if (errno == EPERM)
			return bind_device(s, d);
		if (errno != EEXIST || unlinkat(up, name, 0) < 0 ||
		    mknodat(up, name, d->mode, d->rdev) < 0)
			return -errno;
	}
	/* mknodat() applies the umask. */
	if (fchownat(up, name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(up, name, d->mode & 07777, 0) < 0)
		return -errno;
	return 0;
}

int step_devices(struct setup *s)
{
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < s->p->n_devices; i++) {
		s->what = s->p->devices[i].path;
		r = s->p->devices[i].bind ? bind_device(s, &s->p->devices[i])
					  : make_device(s, &s->p->devices[i]);
	}
	s->what = r < 0 ? s->what : NULL;
	return r;
}

/* Through the procfs that was just mounted: no path can be in between. */
int step_sysctls(struct setup *s)
{
	char path[256];
	size_t i;
	int r;

	for (i = 0; i < s->p->n_sysctls; i++) {
		const struct plan_sysctl *ctl = &s->p->sysctls[i];
		_cleanup_close_ int fd = -1;

		s->what = ctl->path;
		if (s->proc < 0)
			return -ENOENT;
		snprintf(path, sizeof(path), "sys/%s", ctl->path);
		fd = sys_openat2(s->proc, path, O_WRONLY | O_CLOEXEC, 0,
				 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS |
					 RESOLVE_NO_XDEV);
		if (fd < 0)
			return -errno;
		r = write_full(fd, ctl->value, strlen(ctl->value));
		if (r < 0)
			return r;
	}
	s->what = NULL;
	return 0;
}
