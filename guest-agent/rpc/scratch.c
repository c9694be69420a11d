/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scratch disk: an ext4 that is the VM's, on which each container has a
 * folder for what it writes to its root. The disk came empty and goes with the
 * VM; a folder goes with its container.
 *
 * Theory of operation. The folder of the container in slot N is SCRATCH/N, and
 * it and all that comes to be in it belong to the project N + 1, whose quota is
 * the container's limit: of bytes, and of files, so that none takes the inodes
 * of all. Ids of projects can be changed in the first user namespace only, where
 * no container is. overlayfs writes as the agent, but leaves it the capability
 * that would lift quotas.
 *
 * Removing what a container wrote takes as long as it takes, so a child does it.
 * Until it is done the slot is given to nobody: the next container would pay for
 * what is still there. The tree is as its writer left it, a million folders deep
 * if that was to his mind: what is in a folder is moved up before that is
 * removed, so nothing here is as deep as the tree is.
 */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "guest-agent/sys/kernel.h"
#include "guest-agent/sys/mnt.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* As the host makes the file system: one inode for so many bytes. */
#define BYTES_PER_FILE 8192
/* linux/quota.h's QCMD() wants a signed type. */
#define SET_PROJECT_QUOTA (((unsigned int)Q_SETQUOTA << 8) | PRJQUOTA)

static int slot_index(const struct slot *s)
{
	return (int)(s - s->agent->slots);
}

static int open_dir(int dirfd, const char *name)
{
	return openat(dirfd, name,
		      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* --------------------------------------------------------------- mounting */

static int mount_disk(const char *dev, struct err *e)
{
	/* noinit_itable: writing zeroes to inode tables that are holes of the
	 * host's file would make a fortieth of it real. discard: what is
	 * removed is the host's again. nobarrier: nothing here must survive. */
	const struct mnt_option options[] = {
		{"errors", "remount-ro"}, {"discard", NULL},
		{"noinit_itable", NULL},  {"nobarrier", NULL},
		{"prjquota", NULL},
	};
	_cleanup_close_ int fd = -1, dir = -1;
	const char *what = "";
	int r;

	if ((mkdir("/run/hyb", 0700) < 0 && errno != EEXIST) ||
	    (mkdir(SCRATCH, 0700) < 0 && errno != EEXIST))
		return err_sys(e, errno, "make '" SCRATCH "'");
	fd = mnt_new("ext4", dev, options, ARRAY_SIZE(options),
		     MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME,
		     &what);
	if (fd < 0)
		return err_sys(e, -fd, "scratch disk: mount: %s", what);
	dir = open(SCRATCH, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = dir < 0 ? -errno : mnt_attach(fd, dir);
	return r < 0 ? err_sys(e, -r, "scratch disk: mount") : 0;
}

int scratch_mount(struct agent *a, const char *serial, struct err *e)
{
	_cleanup_close_ int root = -1;
	char dev[64];
	int r;

	if (a->scratch[0] && strcmp(a->scratch, serial) != 0)
		return err_set(e, EBUSY, "scratch: the disk is '%s'",
			       a->scratch);
	if (disks_find(serial, dev, sizeof(dev)) < 0)
		return 1;
	if (!a->scratch[0]) {
		r = mount_disk(dev, e);
		if (r < 0)
			return r;
		snprintf(a->scratch, sizeof(a->scratch), "%s", serial);
	}
	root = open_dir(AT_FDCWD, SCRATCH);
	if (root < 0)
		return err_sys(e, errno, "open '" SCRATCH "'");
	return volumes_grow_fs(dev, root, e);
}

/* ---------------------------------------------------------- the folders */

/* Before anything is in it: all that comes inherits the project. */
static int set_project(int dir, uint32_t project, struct err *e)
{
	struct fsxattr fx;

	if (ioctl(dir, FS_IOC_FSGETXATTR, &fx) < 0)
		return err_sys(e, errno, "scratch: project");
	fx.fsx_projid = project;
	fx.fsx_xflags |= FS_XFLAG_PROJINHERIT;
	if (ioctl(dir, FS_IOC_FSSETXATTR, &fx) < 0)
		return err_sys(e, errno, "scratch: project");
	return 0;
}

static int set_quota(int root, uint32_t project, uint64_t bytes, struct err *e)
{
	struct if_dqblk dq = {
		.dqb_bhardlimit = bytes / QIF_DQBLKSIZE,
		.dqb_ihardlimit = bytes / BYTES_PER_FILE,
		.dqb_valid = QIF_LIMITS,
	};

	if (sys_quotactl_fd(root, SET_PROJECT_QUOTA, project, &dq) < 0)
		return err_sys(e, errno, "scratch: quota");
	return 0;
}

int scratch_make(const char *name, uint32_t project, uint64_t bytes,
		 bool *ret_made, struct err *e)
{
	_cleanup_close_ int root = open_dir(AT_FDCWD, SCRATCH), dir = -1;
	int r;

	if (root < 0 || mkdirat(root, name, 0700) < 0)
		return err_sys(e, errno, "scratch: folder '%s'", name);
	*ret_made = true;
	dir = open_dir(root, name);
	if (dir < 0)
		return err_sys(e, errno, "scratch: folder '%s'", name);
	r = set_project(dir, project, e);
	return r < 0 ? r : set_quota(root, project, bytes, e);
}

int scratch_set_room(uint32_t project, uint64_t bytes, struct err *e)
{
	_cleanup_close_ int root = open_dir(AT_FDCWD, SCRATCH);

	return root < 0 ? err_sys(e, errno, "open '" SCRATCH "'")
			: set_quota(root, project, bytes, e);
}

int scratch_make_folder(struct slot *s, uint64_t bytes,
			char path[SCRATCH_PATH_MAX], struct err *e)
{
	char name[16];

	if (bytes < AGENT_SCRATCH_MIN)
		return err_set(e, EINVAL, "scratch_size: too small");
	snprintf(name, sizeof(name), "%d", slot_index(s));
	snprintf(path, SCRATCH_PATH_MAX, SCRATCH "/%s", name);
	return scratch_make(name, (uint32_t)slot_index(s) + 1, bytes,
			    &s->on_scratch, e);
}

/* --------------------------------------------------------------- removing */

/* Goes over what is in dir but itself and the one above; fn's first error. */
static int each_entry(int dir, int (*fn)(int dir, const char *name, void *arg),
		      void *arg)
{
	_cleanup_closedir_ DIR *d = NULL;
	const struct dirent *ent;
	int fd = open_dir(dir, "."), r = 0;

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		r = -errno;
		cleanup_close(&fd);
		return r;
	}
	while (r == 0 && (ent = readdir(d)))
		if (strcmp(ent->d_name, ".") && strcmp(ent->d_name, ".."))
			r = fn(dir, ent->d_name, arg);
	return r;
}

struct sweep {
	int top;
	uint64_t moved; /* the next name */
	bool found;
};

/* 0: it is gone; 1: a folder that is not empty. */
static int remove_simply(int dir, const char *name)
{
	if (unlinkat(dir, name, 0) == 0)
		return 0;
	if (errno != EISDIR)
		return -errno;
	if (unlinkat(dir, name, AT_REMOVEDIR) == 0)
		return 0;
	return errno == ENOTEMPTY ? 1 : -errno;
}

static int lift_entry(int dir, const char *name, void *arg)
{
	struct sweep *s = arg;
	char up[32];
	int r = remove_simply(dir, name);

	if (r <= 0)
		return r;
	do {
		snprintf(up, sizeof(up), "%llu",
			 (unsigned long long)s->moved++);
		r = renameat2(dir, name, s->top, up, RENAME_NOREPLACE);
	} while (r < 0 && errno == EEXIST);
	return r < 0 ? -errno : 0;
}

static int sweep_entry(int dir, const char *name, void *arg)
{
	_cleanup_close_ int sub = -1;
	struct sweep *s = arg;
	int r = remove_simply(dir, name);

	s->found = true;
	if (r <= 0)
		return r;
	sub = open_dir(dir, name);
	if (sub < 0)
		return -errno;
	r = each_entry(sub, lift_entry, s);
	if (r == 0 && unlinkat(dir, name, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}

int scratch_sweep(int top)
{
	struct sweep s = {.top = top};
	int r;

	do {
		s.found = false;
		r = each_entry(top, sweep_entry, &s);
	} while (r == 0 && s.found);
	return r;
}

/* In the child: nothing of the agent's is kept open. */
static int child_remove(const char *name)
{
	_cleanup_close_ int root = -1, top = -1;
	sigset_t none;
	int r;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	close_range(3, ~0U, 0);
	root = open_dir(AT_FDCWD, SCRATCH);
	top = root < 0 ? -1 : open_dir(root, name);
	if (top < 0)
		return -errno;
	r = scratch_sweep(top);
	if (r == 0 && unlinkat(root, name, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}

pid_t scratch_begin_removal(const char *name)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(child_remove(name) < 0);
	if (pid < 0)
		log_warn("scratch: remove '%s': fork: %s", name,
			 strerror(errno));
	return pid < 0 ? 0 : pid;
}

void scratch_remove_folder(struct slot *s)
{
	int i = slot_index(s);
	char name[16];

	if (!s->on_scratch)
		return;
	s->on_scratch = false;
	snprintf(name, sizeof(name), "%d", i);
	s->agent->sweeps[i] = scratch_begin_removal(name);
}

bool scratch_is_busy(const struct slot *s)
{
	return s->agent->sweeps[slot_index(s)] != 0;
}

bool scratch_reaped(struct agent *a, pid_t pid, int status)
{
	size_t i, k;

	for (i = 0; i < AGENT_CONTAINERS_MAX && a->sweeps[i] != pid;)
		i++;
	if (i == AGENT_CONTAINERS_MAX)
		return false;
	a->sweeps[i] = 0;
	if (status != 0)
		log_warn("scratch: what is in '%zu' cannot be removed", i);
	for (k = 0; k < AGENT_PEERS_MAX; k++) {
		struct peer *p = &a->peers[k];

		if (p->used && p->wait == WAIT_SCRATCH &&
		    p->slot == &a->slots[i])
			peer_reply(p, NULL);
	}
	return true;
}
