/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child between clone and exec.
 *
 * It has been cloned into new namespaces and its cgroup, holds descriptors of
 * all that the parent prepared, and goes down one column of steps. A failing
 * step sends its name and error to the parent and ends the process; nothing
 * needs undoing, because namespaces and mounts go with it.
 *
 * Rules of this file: no allocation; no path inside the root file system but
 * through rootpath.h; no path of the old root after the pivot; mounts by
 * descriptor only.
 */
#include "guest-agent/container/plan.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/container/notify.h"
#include "guest-agent/container/sync.h"
#include "guest-agent/sys/copyup.h"
#include "guest-agent/sys/kernel.h"
#include "guest-agent/sys/rootpath.h"

struct setup {
	const struct plan *p;
	int join_pidfd, join_namespaces; /* exec only */
	int root;			 /* the root file system's mount */
	int dev, devpts, proc, sysfs;	 /* mounts made on the way, or -1 */
	int console;			 /* the terminal's slave, or -1 */
	int start;			 /* where the start comes from */
	const char *what;		 /* detail of a failure, or NULL */
	char detail[212];		 /* room for one */
	int exit_code;			 /* of a failure; 0: 1 */
	/* Why candidate i is not executed; 0: it is. */
	int refused[HYB_PATH_DIRS_MAX];
	bool undo_root; /* attached in a namespace that outlives us */
};

/* Options of a tmpfs: there are no more of them by far. */
#define MNT_OPTIONS_SMALL 32

struct step {
	const char *name;
	int (*run)(struct setup *s);
};

static void undo_root(const struct setup *s)
{
	if (s->undo_root && fchdir(s->root) == 0)
		umount2(".", MNT_DETACH);
}

/* Ends the process because the parent has given up, and has said why. */
__attribute__((noreturn)) static void give_up(const struct setup *s)
{
	undo_root(s);
	_exit(1);
}

/* Ends the process; err is -errno. */
__attribute__((noreturn)) static void fail(struct setup *s, int sock,
					   const char *step, int err)
{
	struct sync_msg msg = {
		.kind = SYNC_ERROR, .error = -err, .exit_code = s->exit_code};

	snprintf(msg.step, sizeof(msg.step), "%s", step);
	if (s->what)
		snprintf(msg.what, sizeof(msg.what), "%s", s->what);
	undo_root(s);
	sync_send(sock, &msg, -1);
	_exit(s->exit_code ? s->exit_code : 1);
}

/* ------------------------------------------------ beginning, for both ways */

/* CVE-2024-21626, CVE-2016-9962: what the parent had open for others must not
 * be there, not even until exec. */
static int step_descriptors(struct setup *s)
{
	/* 0, 1 and 2 stay until step_session() puts the process's own over
	 * them: no descriptor that comes in between may get their numbers. */
	unsigned int from = STDERR_FILENO + 1;
	size_t i;

	for (i = 0; i < s->p->n_keep; i++) {
		unsigned int keep = (unsigned int)s->p->keep[i];

		if (keep < from)
			continue;
		if (keep > from && close_range(from, keep - 1, 0) < 0)
			return -errno;
		from = keep + 1;
	}
	return close_range(from, ~0U, 0) < 0 ? -errno : 0;
}

static int step_signals(struct setup *s)
{
	sigset_t none;
	int sig;

	(void)s;
	for (sig = 1; sig < NSIG; sig++)
		if (sig != SIGKILL && sig != SIGSTOP)
			signal(sig, SIG_DFL);
	sigemptyset(&none);
	return sigprocmask(SIG_SETMASK, &none, NULL) < 0 ? -errno : 0;
}

/* The parent writes the mappings of the user namespace and puts the overlay
 * together meanwhile. */
static int step_wait_parent(struct setup *s)
{
	struct sync_msg msg;
	int fd = -1, r;

	r = sync_recv(s->p->sync_fd, &msg, &fd, 0);
	if (r == -EPIPE)
		give_up(s);
	if (r < 0)
		return r;
	s->root = s->p->root_fd;
	if (fd >= 0)
		s->root = fd;
	return msg.kind == SYNC_GO ? 0 : -EPROTO;
}

/* In a user namespace that somebody made without privileges setgroups() may be
 * forbidden for good. Where no groups are asked for, that is no error: the
 * process that entered it dropped them before, or is an ordinary user's, who
 * can drop none. */
static int set_groups(const struct setup *s, size_t n, const gid_t *groups)
{
	if (setgroups(n, groups) == 0)
		return 0;
	if (errno == EPERM && n == 0 &&
	    (s->p->joined_userns || s->p->no_setgroups))
		return 0;
	return -errno;
}

/* Root of the user namespace, and of no use outside of it. Non-dumpable, so
 * that nobody who shares a namespace later can trace this process or read its
 * memory, which is a copy of the parent's. */
static int step_ids(struct setup *s)
{
	uid_t uid = s->p->setup_uid;
	gid_t gid = s->p->setup_gid;
	int r;

	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	if (!s->p->userns)
		return 0;
	r = set_groups(s, 0, NULL);
	if (r < 0)
		return r;
	if (setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	/* The change of ids may have made it dumpable again. */
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0;
}

/* ------------------------------------------------------------- namespaces */

static int step_namespaces(struct setup *s)
{
	const struct plan *p = s->p;

	if ((p->namespaces & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
		return -errno;
	if (p->hostname && sethostname(p->hostname, strlen(p->hostname)) < 0) {
		s->what = "hostname";
		return -errno;
	}
	if (p->domainname &&
	    setdomainname(p->domainname, strlen(p->domainname)) < 0) {
		s->what = "domainname";
		return -errno;
	}
	return 0;
}

static int step_loopback(struct setup *s)
{
	_cleanup_close_ int fd = -1;
	struct ifreq ifr = {.ifr_name = "lo"};

	if (!s->p->loopback)
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
		return -errno;
	ifr.ifr_flags = (short)(ifr.ifr_flags | IFF_UP);
	return ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? -errno : 0;
}

/* ------------------------------------------------------------------ mounts */

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
static int step_root(struct setup *s)
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

static int do_mount(struct setup *s, const struct plan_mount *m)
{
	_cleanup_close_ int fd = m->fd, target = -1;
	const char *what = "";
	size_t i;
	int r;

	s->what = m->destination;
	if (m->remount)
		return do_remount(s, m);
	if (fd < 0) {
		fd = new_mount(s, m, &what);
		if (fd < 0)
			fd = instead_of(s, m, fd, &what);
		if (fd < 0)
			return blame(s, m, what, fd);
	}
	target = open_target(s, m);
	if (target < 0)
		return target;
	r = m->copy_up ? copyup_dir(target, fd, has_mode(m)) : 0;
	if (r == 0)
		r = mnt_attach(fd, target);
	if (r < 0)
		return r;
	for (i = 0; i < m->n_propagation; i++) {
		r = mnt_set(fd, 0, 0, m->propagation[i], m->propagation_rec[i]);
		if (r < 0)
			return r;
	}
	remember(s, m->special, steal_fd(&fd));
	return 0;
}

static int step_mounts(struct setup *s)
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

static int step_devices(struct setup *s)
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
static int step_sysctls(struct setup *s)
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

/* -------------------------------------------------------------- the terminal */

/* Makes a terminal on the devpts at dirfd and sends its master away. */
static int make_terminal(struct setup *s, int dirfd)
{
	_cleanup_close_ int master = -1;
	struct sync_msg msg = {.kind = SYNC_CONSOLE};
	const struct plan_process *pp = &s->p->process;
	struct winsize size = {.ws_row = pp->rows, .ws_col = pp->cols};
	struct statfs fs;
	struct termios t;
	int unlock = 0;

	master = openat(dirfd, "ptmx",
			O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW);
	if (master < 0)
		return -errno;
	if (fstatfs(master, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC)
		return -ENODEV;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return -errno;
	/* The slave by its master, not by a name. */
	s->console = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (s->console < 0)
		return -errno;
	if (size.ws_row && size.ws_col)
		ioctl(s->console, TIOCSWINSZ, &size);
	if (pp->plain_lines && tcgetattr(s->console, &t) == 0) {
		t.c_oflag &= ~(tcflag_t)ONLCR;
		tcsetattr(s->console, TCSANOW, &t);
	}
	if (fchown(s->console, pp->uid, (gid_t)-1) < 0)
		return -errno;
	return sync_send(s->p->sync_fd, &msg, master);
}

static int bind_console(struct setup *s)
{
	_cleanup_close_ int tree = -1, target = -1, made = -1;

	made = openat(s->dev, "console",
		      O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	target = openat(s->dev, "console", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (target < 0)
		return -errno;
	tree = mnt_clone_fd(s->console, false);
	return tree < 0 ? tree : mnt_attach(tree, target);
}

static int step_console(struct setup *s)
{
	int r;

	if (!s->p->process.terminal)
		return 0;
	if (s->devpts < 0) {
		s->what = "no devpts is mounted";
		return -ENODEV;
	}
	r = make_terminal(s, s->devpts);
	if (r < 0 || s->dev < 0)
		return r;
	s->what = "/dev/console";
	r = bind_console(s);
	s->what = NULL;
	return r;
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

static int step_mask(struct setup *s)
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

static int step_readonly(struct setup *s)
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
static int step_hooks(struct setup *s)
{
	struct sync_msg msg = {.kind = SYNC_READY};
	int r;

	if (!s->p->hooks)
		return 0;
	r = sync_send(s->p->sync_fd, &msg, -1);
	if (r == 0)
		r = sync_recv(s->p->sync_fd, &msg, NULL, 0);
	if (r == -EPIPE)
		give_up(s); /* one failed */
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
static int step_create_hooks(struct setup *s)
{
	return step_own_hooks(s, &s->p->create_hooks);
}

/* With the program's own rights, as the last before it. */
static int step_start_hooks(struct setup *s)
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

static int step_pivot(struct setup *s)
{
	_cleanup_close_ int old = -1;

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
	return chdir("/") < 0 ? -errno : set_root_propagation(s);
}

/* -------------------------------------------------------------- the process */

static int step_session(struct setup *s)
{
	const struct plan_process *pp = &s->p->process;
	int i, fd;

	if (setsid() < 0 && errno != EPERM)
		return -errno;
	if (s->console >= 0 && ioctl(s->console, TIOCSCTTY, 0) < 0)
		return -errno;
	for (i = 0; i < 3; i++) {
		fd = s->console >= 0 ? s->console : pp->stdio[i];
		if (fd == i) {
			if (fcntl(fd, F_SETFD, 0) < 0)
				return -errno;
		} else if (dup2(fd, i) < 0) {
			return -errno;
		}
	}
	return 0;
}

/* By descriptor, so that no link leads out; made when missing, as other
 * engines do; and checked to be below "/", whatever happened (CVE-2024-21626). */
static int step_cwd(struct setup *s)
{
	_cleanup_close_ int fd = -1;
	char cwd[4096];

	s->what = s->p->process.cwd;
	fd = rootpath_make_dir(s->root, s->p->process.cwd);
	if (fd < 0)
		return fd;
	if (fchdir(fd) < 0)
		return -errno;
	/* The kernel says "(unreachable)..." for what is outside. */
	if (!getcwd(cwd, sizeof(cwd)) || cwd[0] != '/')
		return -ENOENT;
	s->what = NULL;
	return 0;
}

/* What is not there is told when the container is made, as runc and crun do. */
static int step_present(struct setup *s)
{
	const struct plan_process *pp = &s->p->process;
	size_t i;

	for (i = 0; s->p->early && pp->candidates[i]; i++)
		if (faccessat(AT_FDCWD, pp->candidates[i], F_OK, 0) == 0)
			return 0;
	if (!s->p->early)
		return 0;
	s->what = pp->argv[0];
	s->exit_code = 127;
	return -ENOENT;
}

static int drop_privileges(struct setup *s)
{
	const struct plan_process *pp = &s->p->process;
	int r;

	if (pp->set_caps) {
		s->what = "bounding set";
		r = caps_bound(pp->caps.bounding, pp->last_cap);
		if (r < 0)
			return r;
	}
	s->what = "groups";
	r = set_groups(s, pp->n_groups, pp->groups);
	if (r < 0)
		return r;
	s->what = "user and group";
	if (setresgid(pp->gid, pp->gid, pp->gid) < 0)
		return -errno;
	if (pp->set_caps && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return -errno;
	if (setresuid(pp->uid, pp->uid, pp->uid) < 0)
		return -errno;
	s->what = "capabilities";
	if (pp->set_caps) {
		r = caps_apply(&pp->caps, pp->last_cap);
		if (r < 0)
			return r;
	}
	/* setresuid() may have made the process dumpable again. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	s->what = NULL;
	return 0;
}

static int step_process(struct setup *s)
{
	const struct plan_process *pp = &s->p->process;

	umask(pp->umask);
	if (pp->personality != ~0UL && personality(pp->personality) < 0) {
		s->what = "personality";
		return -errno;
	}
	if (!pp->no_new_privs)
		return 0; /* the filter needs a privilege: see step_filter */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		s->what = "no_new_privs";
		return -errno;
	}
	return drop_privileges(s);
}

static int step_ready(struct setup *s)
{
	struct sync_msg msg = {.kind = SYNC_READY};

	return sync_send(s->p->sync_fd, &msg, -1);
}

/* Waits for the starter; what fails from here on is told to it. */
static int step_start(struct setup *s)
{
	char go;
	ssize_t n;

	s->start = s->p->sync_fd;
	if (s->p->start_fd >= 0) {
		s->start = accept4(s->p->start_fd, NULL, NULL, SOCK_CLOEXEC);
		if (s->start < 0)
			return -errno;
		close(s->p->start_fd);
	}
	n = recv(s->start, &go, 1, 0);
	if (n == 0)
		_exit(1); /* deleted before it was started */
	return n < 0 ? -errno : 0;
}

/* sock: to hand a listener over. */
static int install_filters(const struct plan_process *pp, int sock)
{
	int r = 0;

	if (pp->floor)
		r = seccomp_filter_install(pp->floor);
	if (r < 0 || !pp->seccomp)
		return r;
	return pp->seccomp->listener ? notify_install(pp->seccomp, sock)
				     : seccomp_filter_install(pp->seccomp);
}

static void run_reaper(struct setup *s)
{
	pid_t child;

	/* Before the fork: the program's orphans are to find it. */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	child = fork();
	if (child < 0) {
		s->what = "reaper";
		fail(s, s->start, "process", -errno);
	}
	if (child == 0) {
		if (s->console >= 0) {
			setpgid(0, 0);
			signal(SIGTTOU, SIG_IGN);
			tcsetpgrp(0, getpid());
			signal(SIGTTOU, SIG_DFL);
		}
		return;
	}
	/* A listener's filter is the program's alone: this process would have
	 * none to answer for it. */
	if (s->p->process.no_new_privs &&
	    !(s->p->process.seccomp && s->p->process.seccomp->listener))
		install_filters(&s->p->process, -1);
	/* Its ends of the sockets must go, or nobody would see the program
	 * start. Descriptors 0-2 stay: a terminal's hang-up is for it, too. */
	close_range(3, ~0U, 0);
	reaper_run(child);
}

/* What must not be executed, found out while no filter is in the way.
 * CVE-2019-5736: /proc/self/exe is still the engine's binary. Whoever else
 * holds it (it is not writable for a container) shall not even run it. */
static int step_program(struct setup *s)
{
	char **candidates = s->p->process.candidates;
	size_t i;
	int fd;

	for (i = 0; i < HYB_PATH_DIRS_MAX && candidates[i]; i++) {
		fd = sys_openat2(AT_FDCWD, candidates[i], O_PATH | O_CLOEXEC, 0,
				 RESOLVE_NO_MAGICLINKS);
		s->refused[i] = fd < 0 ? errno : 0;
		if (fd >= 0)
			close(fd);
	}
	return 0;
}

/* Last before the program, so that the filter need not allow what the set-up
 * does. Without no_new_privs the kernel wants CAP_SYS_ADMIN for it; then the
 * privileges go after it. */
static int step_filter(struct setup *s)
{
	const struct plan_process *pp = &s->p->process;
	int r = 0;

	if (pp->reaper)
		run_reaper(s);
	s->what = "seccomp";
	r = install_filters(pp, s->start);
	if (r == 0 && !pp->no_new_privs)
		r = drop_privileges(s);
	if (r == 0)
		s->what = NULL;
	return r;
}

/* Tries what PATH gave, as execvp() would: goes on where there is nothing or
 * no permission, and remembers that there was something. */
static int step_exec(struct setup *s)
{
	const struct plan_process *pp = &s->p->process;
	int err = ENOENT;
	size_t i;

	for (i = 0; i < HYB_PATH_DIRS_MAX && pp->candidates[i]; i++) {
		errno = s->refused[i];
		if (errno == 0)
			execve(pp->candidates[i], pp->argv, pp->envp);
		if (errno == EACCES || errno == EPERM)
			err = EACCES;
		else if (errno != ENOENT && errno != ENOTDIR)
			err = errno;
		if (err != ENOENT && err != EACCES)
			break;
	}
	s->what = pp->argv[0];
	s->exit_code = err == ENOENT ? 127 : 126;
	return -err;
}

/* -------------------------------------------------------------- the columns */

static void run_steps(struct setup *s, const struct step *steps, size_t n)
{
	size_t i;
	int r;

	for (i = 0; i < n; i++) {
		r = steps[i].run(s);
		if (r < 0)
			fail(s, s->start >= 0 ? s->start : s->p->sync_fd,
			     steps[i].name, r);
	}
	_exit(1); /* not reached: the last step executes the program */
}

static const struct step create_steps[] = {
	{"descriptors", step_descriptors},
	{"signals", step_signals},
	{"parent", step_wait_parent},
	{"user namespace", step_ids},
	{"namespaces", step_namespaces},
	{"loopback", step_loopback},
	{"root", step_root},
	{"mount", step_mounts},
	{"device", step_devices},
	{"sysctl", step_sysctls},
	{"terminal", step_console},
	{"masked path", step_mask},
	{"read-only path", step_readonly},
	{"hooks", step_hooks},
	{"hooks", step_create_hooks},
	{"pivot", step_pivot},
	{"session", step_session},
	{"working directory", step_cwd},
	{"exec", step_present},
	{"process", step_process},
	{"ready", step_ready},
	{"start", step_start},
	{"hooks", step_start_hooks},
	{"program", step_program},
	{"filter", step_filter},
	{"exec", step_exec},
};

void setup_run(const struct plan *p)
{
	struct setup s = {.p = p,
			  .root = -1,
			  .dev = -1,
			  .devpts = -1,
			  .proc = -1,
			  .sysfs = -1,
			  .console = -1,
			  .start = -1};

	run_steps(&s, create_steps, ARRAY_SIZE(create_steps));
	_exit(1);
}

/* ---------------------------------------------------------------- exec only */

/* In one call, so that there is no moment in half of them. */
static int step_join(struct setup *s)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	if (s->join_namespaces && setns(s->join_pidfd, s->join_namespaces) < 0)
		return -errno;
	close(s->join_pidfd);
	s->root = s->p->root_fd;
	if (s->root >= 0)
		return fchdir(s->root) < 0 || chroot(".") < 0 ? -errno : 0;
	s->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return s->root < 0 ? -errno : 0;
}

static int step_exec_console(struct setup *s)
{
	_cleanup_close_ int pts = -1;

	if (!s->p->process.terminal)
		return 0;
	pts = rootpath_open(s->root, "/dev/pts", O_PATH | O_DIRECTORY);
	if (pts < 0) {
		s->what = "/dev/pts";
		return pts;
	}
	return make_terminal(s, pts);
}

static const struct step exec_steps[] = {
	{"descriptors", step_descriptors},
	{"signals", step_signals},
	{"join", step_join},
	{"user namespace", step_ids},
	{"terminal", step_exec_console},
	{"session", step_session},
	{"working directory", step_cwd},
	{"process", step_process},
	{"ready", step_ready},
	{"start", step_start},
	{"program", step_program},
	{"filter", step_filter},
	{"exec", step_exec},
};

void setup_run_exec(const struct plan *p, int target_pidfd, int namespaces)
{
	struct setup s = {.p = p,
			  .join_pidfd = target_pidfd,
			  .join_namespaces = namespaces,
			  .root = -1,
			  .dev = -1,
			  .devpts = -1,
			  .proc = -1,
			  .sysfs = -1,
			  .console = -1,
			  .start = -1};

	run_steps(&s, exec_steps, ARRAY_SIZE(exec_steps));
	_exit(1);
}
