/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes: ext4 on disks, mounted at VOLUMES/SERIAL, their folder `data` bound
 * into containers.
 *
 * Theory of operation. Mounting may replay a journal, unmounting writes back,
 * copying an image's content takes what it takes: all of it is done by a child
 * process, so that the agent goes on serving and sending its heartbeat. The
 * child says nothing when all went well, and else one line in a pipe. A job is
 * done once for whoever waits: a call whose connection ended is not undone.
 *
 * `data` and not the root of the file system is what containers see: programs
 * take a "lost+found" for foreign data. What an image has where an empty volume
 * is mounted is copied into a folder beside and moved over `data` when it is
 * whole: a VM that ends meanwhile leaves an empty volume. Ids are those inside
 * a container; the mount is mapped to each container's.
 */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/varlink/params.h"
#include "guest-agent/sys/copyup.h"
#include "guest-agent/sys/kernel.h"
#include "guest-agent/sys/mnt.h"

#include <endian.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define VOLUMES "/run/hyb/volumes"
#define DATA	"data"
#define FRESH	"data.new"
/* fs/ext4/ext4.h: the new number of blocks. */
#define IOC_RESIZE_FS _IOW('f', 16, uint64_t)

/* What is asked for; strings are the call's. */
struct volume_params {
	const char *serial;
	bool read_only;
	const char *image; /* "": nothing is copied */
	const char *path;
};

/* ------------------------------------------------------------- the child */

static int open_dir(int dirfd, const char *name)
{
	return openat(dirfd, name,
		      O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int is_empty(int dir)
{
	_cleanup_closedir_ DIR *d = NULL;
	const struct dirent *ent;
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		cleanup_close(&fd);
		return -errno;
	}
	while ((ent = readdir(d)))
		if (strcmp(ent->d_name, ".") && strcmp(ent->d_name, ".."))
			return 0;
	return 1;
}

static bool is_mounted(const char *place)
{
	struct stat here, above;

	return stat(place, &here) == 0 && stat(VOLUMES, &above) == 0 &&
	       here.st_dev != above.st_dev;
}

static int make_place(const char *place, struct err *e)
{
	if ((mkdir("/run/hyb", 0700) < 0 && errno != EEXIST) ||
	    (mkdir(VOLUMES, 0700) < 0 && errno != EEXIST) ||
	    (mkdir(place, 0700) < 0 && errno != EEXIST))
		return err_sys(e, errno, "make '%s'", place);
	return 0;
}

static int mount_disk(const char *dev, const char *place, bool read_only,
		      struct err *e)
{
	struct mnt_option options[] = {{"errors", "remount-ro"},
				       {read_only ? "ro" : "discard", NULL}};
	uint64_t attrs = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
			 (read_only ? MOUNT_ATTR_RDONLY : 0);
	_cleanup_close_ int fd = -1, dir = -1;
	const char *what = "";
	int r;

	fd = mnt_new("ext4", dev, options, ARRAY_SIZE(options), attrs, &what);
	if (fd == -EROFS && read_only)
		return err_set(e, EROFS,
			       "its last writer did not end well: it must be "
			       "mounted for writing once, to be recovered");
	if (fd < 0)
		return err_sys(e, -fd, "mount: %s", what);
	dir = open(place, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = dir < 0 ? -errno : mnt_attach(fd, dir);
	return r < 0 ? err_sys(e, -r, "mount") : 0;
}

/* Blocks of the file system and of the disk, in the file system's size of
 * block. The kernel's own copy of the superblock is in the disk's page cache,
 * which is read here. */
static int count_blocks(const char *dev, uint64_t *fs, uint64_t *disk,
			struct err *e)
{
	_cleanup_close_ int fd = open(dev, O_RDONLY | O_CLOEXEC);
	uint32_t low, high, log;
	unsigned char sb[1024];
	uint64_t bytes = 0;

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes) < 0 ||
	    pread(fd, sb, sizeof(sb), 1024) != sizeof(sb))
		return err_sys(e, errno ? errno : EIO, "read '%s'", dev);
	memcpy(&low, sb + 4, 4);
	memcpy(&high, sb + 0x150, 4);
	memcpy(&log, sb + 24, 4);
	if (le32toh(log) > 6)
		return err_set(e, EUCLEAN, "'%s' has no ext4", dev);
	*fs = (uint64_t)le32toh(high) << 32 | le32toh(low);
	*disk = bytes >> (10 + le32toh(log));
	return 0;
}

int volumes_grow_fs(const char *dev, int root, struct err *e)
{
	uint64_t fs = 0, disk = 0;
	int r = count_blocks(dev, &fs, &disk, e);

	if (r < 0 || disk <= fs)
		return r;
	if (ioctl(root, IOC_RESIZE_FS, &disk) < 0)
		return err_sys(e, errno, "grow");
	return 0;
}

int volumes_open_image(const char *dev, const char *path)
{
	const struct mnt_option ro = {"ro", NULL};
	_cleanup_close_ int image = -1;
	int fd;

	image = mnt_new("erofs", dev, &ro, 1,
			MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, NULL);
	if (image < 0)
		return image;
	fd = sys_openat2(image, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0,
			 RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
	if (fd < 0)
		return errno == ENOTDIR || errno == ELOOP ? -ENOENT : -errno;
	return fd;
}

static int remove_fresh(const char *place)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/" FRESH, place);
	return path_remove(path, NULL);
}

static int copy_image(const char *place, int root, const char *image,
		      const char *path, struct err *e)
{
	_cleanup_close_ int from = volumes_open_image(image, path), to = -1;
	int r;

	if (from < 0)
		return from == -ENOENT
			       ? 0
			       : err_sys(e, -from, "open '%s' of the image",
					 path);
	r = remove_fresh(place);
	if (r == 0 && mkdirat(root, FRESH, 0755) < 0)
		r = -errno;
	to = r == 0 ? open_dir(root, FRESH) : -1;
	if (r == 0)
		r = to < 0 ? -errno : copyup_dir(from, to, false);
	/* Whole on the disk before it takes its name. */
	if (r == 0 && syncfs(root) < 0)
		r = -errno;
	if (r == 0 && renameat(root, FRESH, root, DATA) < 0)
		r = -errno;
	if (r == 0 && syncfs(root) < 0)
		r = -errno;
	if (r < 0) {
		remove_fresh(place);
		return err_sys(e, -r, "copy '%s' of the image", path);
	}
	return 0;
}

static int fill(const char *place, int root, const struct volume_params *q,
		const char *image, struct err *e)
{
	_cleanup_close_ int data = open_dir(root, DATA);
	int r;

	if (data < 0)
		return err_sys(e, errno, "it has no folder '" DATA "'");
	if (q->read_only || !q->image[0])
		return 0;
	r = is_empty(data);
	if (r < 0)
		return err_sys(e, -r, "read");
	return r ? copy_image(place, root, image, q->path, e) : 0;
}

static int child_mount(const struct volume_params *q, const char *place,
		       const char *dev, const char *image, struct err *e)
{
	_cleanup_close_ int root = -1;
	bool first;
	int r;

	r = make_place(place, e);
	/* Filled when it is mounted only: later a container may be in it. */
	first = !is_mounted(place);
	if (r == 0 && first)
		r = mount_disk(dev, place, q->read_only, e);
	if (r < 0)
		return r;
	root = open_dir(AT_FDCWD, place);
	if (root < 0)
		return err_sys(e, errno, "open '%s'", place);
	if (!q->read_only)
		r = volumes_grow_fs(dev, root, e);
	if (r == 0 && first)
		r = fill(place, root, q, image, e);
	cleanup_close(&root);
	if (r < 0 && first)
		umount2(place, UMOUNT_NOFOLLOW);
	return r;
}

static int child_unmount(const char *place, struct err *e)
{
	if (is_mounted(place) && umount2(place, UMOUNT_NOFOLLOW) < 0)
		return err_sys(e, errno, "unmount");
	rmdir(place);
	return 0;
}

static int child_freeze(const char *place, struct err *e)
{
	_cleanup_close_ int root = -1;

	if (!is_mounted(place))
		return err_set(e, ENOENT, "it is not mounted");
	root = open_dir(AT_FDCWD, place);
	if (root < 0 || ioctl(root, FIFREEZE, 0) < 0)
		return err_sys(e, errno, "freeze");
	return 0;
}

/* ------------------------------------------------------------- the agent */

enum job_kind { JOB_MOUNT, JOB_UNMOUNT, JOB_FREEZE };

static void place_of(const char *serial, char out[96])
{
	snprintf(out, 96, VOLUMES "/%s", serial);
}

int volumes_open_data(const char *serial)
{
	_cleanup_close_ int root = -1;
	char place[96];
	int fd;

	place_of(serial, place);
	root = is_mounted(place) ? open_dir(AT_FDCWD, place) : -1;
	fd = root < 0 ? -1 : open_dir(root, DATA);
	return fd < 0 ? -ENOENT : fd;
}

static struct volume_job *job_new(struct agent *a)
{
	size_t i;

	for (i = 0; i < AGENT_VOLUME_JOBS_MAX; i++)
		if (!a->volume_jobs[i].pid)
			return &a->volume_jobs[i];
	return NULL;
}

/* In the child: nothing but the pipe is kept, so that connections end when the
 * agent ends them. */
static void child_begin(int *out)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (*out != 3) {
		dup2(*out, 3);
		*out = 3;
	}
	close_range(4, ~0U, 0);
}

struct child {
	enum job_kind kind;
	const struct volume_params *q;
	const char *dev, *image;
};

static int run_child(void *arg, struct err *e)
{
	const struct child *c = arg;
	char place[96];

	place_of(c->q->serial, place);
	switch (c->kind) {
	case JOB_MOUNT:
		return child_mount(c->q, place, c->dev, c->image, e);
	case JOB_UNMOUNT:
		return child_unmount(place, e);
	case JOB_FREEZE:
		return child_freeze(place, e);
	}
	return -EINVAL;
}

struct volume_job *volumes_start(struct peer *p, const char *serial,
				 int (*fn)(void *arg, struct err *e), void *arg,
				 struct err *e)
{
	struct volume_job *job = job_new(p->agent);
	struct err why = ERR_INIT;
	int ends[2], r;
	pid_t pid;

	if (!job) {
		err_set(e, EBUSY, "too many volumes at once");
		return NULL;
	}
	if (pipe2(ends, O_CLOEXEC) < 0) {
		err_sys(e, errno, "pipe");
		return NULL;
	}
	pid = fork();
	if (pid < 0) {
		err_sys(e, errno, "fork");
		close(ends[0]);
		close(ends[1]);
		return NULL;
	}
	if (pid == 0) {
		child_begin(&ends[1]);
		r = fn(arg, &why);
		if (r < 0)
			write_full(ends[1], why.msg, strlen(why.msg));
		_exit(r < 0);
	}
	close(ends[1]);
	*job = (struct volume_job){.pid = pid, .out = ends[0], .peer = p};
	snprintf(job->serial, sizeof(job->serial), "%s", serial);
	peer_defer(p, WAIT_VOLUME);
	return job;
}

static int start_job(struct peer *p, enum job_kind kind,
		     const struct volume_params *q, const char *dev,
		     const char *image, struct err *e)
{
	struct child c = {kind, q, dev, image};
	struct volume_job *job = volumes_start(p, q->serial, run_child, &c, e);

	if (!job)
		return -e->code;
	job->freezes = kind == JOB_FREEZE;
	return 0;
}

/* -------------------------------------------------------------- freezing */

static int thaw(struct agent *a)
{
	_cleanup_close_ int root = -1;
	char place[96];

	place_of(a->frozen, place);
	a->frozen[0] = '\0';
	a->freezer = NULL;
	poller_timer_cancel(&a->poller, &a->thaw);
	root = open_dir(AT_FDCWD, place);
	return root < 0 || ioctl(root, FITHAW, 0) < 0 ? -errno : 0;
}

static void on_thaw(struct timer *t)
{
	struct agent *a = container_of(t, struct agent, thaw);

	if (a->frozen[0])
		thaw(a);
}

/* For who asked, as long as he is there: a host that ends in the middle of a
 * copy does not leave writers standing. */
static void on_frozen(struct agent *a, const struct volume_job *job)
{
	snprintf(a->frozen, sizeof(a->frozen), "%s", job->serial);
	a->freezer = job->peer;
	a->thaw.fn = on_thaw;
	poller_timer_set(&a->poller, &a->thaw, now_ms() + AGENT_FREEZE_MS);
	if (!job->peer)
		thaw(a);
}

/* Tells who waits for it, if anybody does. */
static void tell_end(struct volume_job *job, int status, const char *text)
{
	struct err e = ERR_INIT;

	if (!job->peer || !job->peer->used || job->peer->wait != WAIT_VOLUME)
		return;
	if (status == 0) {
		peer_reply(job->peer, job->reply);
		job->reply = NULL;
		return;
	}
	err_set(&e, EIO, "%s", text[0] ? text : "the helper for volumes ended");
	peer_error_err(job->peer, &e);
}

bool volumes_reaped(struct agent *a, pid_t pid, int status)
{
	struct volume_job *job = NULL;
	char text[256];
	ssize_t n;
	size_t i;

	for (i = 0; i < AGENT_VOLUME_JOBS_MAX; i++)
		if (a->volume_jobs[i].pid == pid)
			job = &a->volume_jobs[i];
	if (!job)
		return false;
	n = read_full(job->out, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = '\0';
	cleanup_close(&job->out);
	job->pid = 0;
	if (job->freezes && status == 0)
		on_frozen(a, job);
	if (job->fills)
		folders_filled(a, job, status == 0);
	tell_end(job, status, text);
	json_decref(job->reply);
	job->reply = NULL;
	job->peer = NULL;
	return true;
}

void volumes_peer_gone(struct peer *p)
{
	size_t i;

	for (i = 0; i < AGENT_VOLUME_JOBS_MAX; i++)
		if (p->agent->volume_jobs[i].peer == p)
			p->agent->volume_jobs[i].peer = NULL;
	if (p->agent->frozen[0] && p->agent->freezer == p)
		thaw(p->agent);
}

static int check_params(const struct volume_params *q, struct err *e)
{
	if (!serial_is_valid(q->serial))
		return err_set(e, EINVAL, "serial: not a disk's serial");
	if (q->image[0] && !serial_is_valid(q->image))
		return err_set(e, EINVAL, "image: not a disk's serial");
	if (q->image[0] && q->path[0] != '/')
		return err_set(e, EINVAL, "path: not absolute");
	return 0;
}

int method_mount_volume(void *ctx, struct vl_call *call, struct err *e)
{
#define AT(m) offsetof(struct volume_params, m)
	static const struct vl_field fields[] = {
		{"serial", VL_STRING, AT(serial), 0, AGENT_SERIAL_MAX, false},
		{"read_only", VL_BOOL, AT(read_only), 0, 0, false},
		{"image", VL_STRING, AT(image), 0, AGENT_SERIAL_MAX, false},
		{"path", VL_STRING, AT(path), 0, PATH_MAX - 1, false},
	};
#undef AT
	struct volume_params q = {.image = "", .path = ""};
	char dev[64], image[64] = "";
	struct peer *p = ctx;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &q, NULL, e);
	if (r == 0)
		r = check_params(&q, e);
	if (r < 0)
		return r;
	if (disks_find(q.serial, dev, sizeof(dev)) < 0 ||
	    (q.image[0] && disks_find(q.image, image, sizeof(image)) < 0)) {
		disks_expect(p->agent);
		peer_error_not_found(p, q.serial);
		return 0;
	}
	return start_job(p, JOB_MOUNT, &q, dev, image, e);
}

static int read_serial(const struct vl_call *call, struct volume_params *q,
		       struct err *e)
{
	static const struct vl_field fields[] = {
		{"serial", VL_STRING, offsetof(struct volume_params, serial), 0,
		 AGENT_SERIAL_MAX, false},
	};
	int r;

	*q = (struct volume_params){.image = "", .path = ""};
	r = vl_params_read(call->parameters, fields, 1, true, q, NULL, e);
	return r < 0 ? r : check_params(q, e);
}

int method_unmount_volume(void *ctx, struct vl_call *call, struct err *e)
{
	struct volume_params q;
	struct peer *p = ctx;
	char place[96];
	int r;

	r = read_serial(call, &q, e);
	if (r < 0)
		return r;
	place_of(q.serial, place);
	if (is_mounted(place))
		return start_job(p, JOB_UNMOUNT, &q, NULL, NULL, e);
	peer_reply(p, NULL);
	return 0;
}

int method_freeze_volume(void *ctx, struct vl_call *call, struct err *e)
{
	struct volume_params q;
	struct peer *p = ctx;
	size_t i;
	int r;

	r = read_serial(call, &q, e);
	if (r < 0)
		return r;
	for (i = 0; i < AGENT_VOLUME_JOBS_MAX; i++)
		if (p->agent->volume_jobs[i].pid &&
		    p->agent->volume_jobs[i].freezes)
			return err_set(e, EBUSY, "another is being frozen");
	if (p->agent->frozen[0])
		return err_set(e, EBUSY, "another is frozen");
	return start_job(p, JOB_FREEZE, &q, NULL, NULL, e);
}

int method_thaw_volume(void *ctx, struct vl_call *call, struct err *e)
{
	struct volume_params q;
	struct peer *p = ctx;
	int r;

	r = read_serial(call, &q, e);
	if (r < 0)
		return r;
	if (strcmp(p->agent->frozen, q.serial) != 0)
		return err_set(e, ENOENT, "it is not frozen any more");
	r = thaw(p->agent);
	if (r < 0)
		return err_sys(e, -r, "thaw");
	peer_reply(p, NULL);
	return 0;
}
