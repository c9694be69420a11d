/* SPDX-License-Identifier: Apache-2.0 */
/* The files. Everything is reached by descriptors of folders that are root's
 * alone; whatever else stands in a file's place is not touched. */
#include "host-agent/volume/volume_int.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "common/base/proc.h"

#include <endian.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define MKFS_MS	   60000
#define TEMPLATE   ".template"
#define EXT4_MAGIC 0xef53
#define SIZE_TEXT  24

static const char *size_text(uint64_t bytes, char out[SIZE_TEXT])
{
	static const char units[] = {'b', 'k', 'm', 'g', 't'};
	size_t i = 0;

	while (bytes >= 10240 || (bytes && bytes % 1024 == 0)) {
		if (i + 1 == sizeof(units))
			break;
		bytes /= 1024;
		i++;
	}
	snprintf(out, SIZE_TEXT, "%llu%c", (unsigned long long)bytes, units[i]);
	return out;
}

void volume_file_name(int64_t id, char out[32])
{
	snprintf(out, 32, "vol-%lld.raw", (long long)id);
}

int volume_dir(struct volume_store *s, const char *tenant, bool make,
	       struct err *e)
{
	char path[VOLUME_PATH_MAX];
	int fd, r;

	snprintf(path, sizeof(path), "%s/%s", s->dir, tenant);
	if (make) {
		r = dir_make(path, 0700, e);
		if (r < 0)
			return r;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "open '%s'", path) : fd;
}

int volume_space(const struct volume_store *s, uint64_t bytes, struct err *e)
{
	char want[SIZE_TEXT], have[SIZE_TEXT];
	struct statvfs vfs;
	uint64_t free_bytes;

	if (statvfs(s->dir, &vfs) < 0)
		return err_sys(e, errno, "'%s'", s->dir);
	free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
	if (bytes <= free_bytes)
		return 0;
	err_set(e, ENOSPC, "it would take %s, and '%s' has %s free",
		size_text(bytes, want), s->dir, size_text(free_bytes, have));
	err_hint(e, "make room there, or declare a smaller size");
	return -ENOSPC;
}

/* ------------------------------------------------------------ mke2fs */

/* A folder with an empty folder "data" in it: what a new volume holds. */
static int open_template(struct volume_store *s, struct err *e)
{
	char path[VOLUME_PATH_MAX];
	int fd, r;

	snprintf(path, sizeof(path), "%s/" TEMPLATE "/data", s->dir);
	r = dir_make(path, 0755, e);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/" TEMPLATE, s->dir);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "open '%s'", path) : fd;
}

int volume_mke2fs(const struct volume_store *s, const char *const *argv,
		  const int *fds, size_t n_fds, struct err *e)
{
	static const char *const env[] = {"PATH=/usr/sbin:/sbin:/usr/bin:/bin",
					  "MKE2FS_CONFIG=/dev/null",
					  "LANG=C.UTF-8", NULL};
	_cleanup_free_ char *said = NULL;
	struct proc_spec spec = {.path = "mke2fs",
				 .argv = argv,
				 .envp = env,
				 .stdin_fd = -1,
				 .stdout_fd = -1,
				 .stderr_fd = -1,
				 .fds = fds,
				 .n_fds = n_fds,
				 .uid = s->mkfs_uid,
				 .gid = s->mkfs_uid,
				 .drop_ids = true,
				 .die_with_parent = false};
	char shown[160];
	int status = 0, r;

	r = proc_run(&spec, now_ms() + MKFS_MS, 2000, NULL, &said, &status, e);
	if (r == -ENOENT)
		err_hint(e, "install e2fsprogs");
	if (r < 0)
		return err_wrap(e, "mke2fs");
	if (status != 0)
		return err_set(
			e, EIO, "mke2fs ended with %d: %s", status,
			text_escape(said ? said : "", shown, sizeof(shown)));
	return 0;
}

/* The options are all given: what the host's mke2fs.conf says about features
 * does not matter, for it is the guest's kernel that must know them. */
static int run_mke2fs(struct volume_store *s, const struct state_volume *v,
		      int fd, struct err *e)
{
	const char *const argv[] = {
		"mke2fs",
		"-q",
		"-F",
		"-t",
		"ext4",
		"-b",
		"4096",
		"-I",
		"256",
		"-m",
		"0",
		"-U",
		v->uuid,
		"-O",
		"none,has_journal,ext_attr,resize_inode,dir_index,filetype,"
		"extent,64bit,flex_bg,sparse_super,large_file,huge_file,"
		"dir_nlink,extra_isize,metadata_csum",
		"-E",
		"nodiscard,lazy_itable_init=1,"
		"lazy_journal_init=1",
		"-d",
		"/proc/self/fd/4",
		"/proc/self/fd/3",
		NULL};
	_cleanup_close_ int template = open_template(s, e);
	int fds[2];

	if (template <0)
		return template;
	fds[0] = fd;
	fds[1] = template;
	return volume_mke2fs(s, argv, fds, 2, e);
}

/* What an interrupted making may have left; anything else stays, and is told.
 */
static int remove_half_made(struct volume_store *s, int dir, const char *name,
			    struct err *e)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "'%s'", name);
	if (!S_ISREG(st.st_mode) ||
	    (st.st_uid != 0 && st.st_uid != s->mkfs_uid))
		return err_set(e, EEXIST,
			       "something that is not hyb's is in the place "
			       "of its disk '%s'",
			       name);
	return unlinkat(dir, name, 0) < 0 ? err_sys(e, errno, "'%s'", name) : 0;
}

static int fill_file(struct volume_store *s, const struct state_volume *v,
		     int fd, struct err *e)
{
	int r;

	if (ftruncate(fd, v->size) < 0 ||
	    fchown(fd, s->mkfs_uid, s->mkfs_uid) < 0)
		return err_sys(e, errno, "make its disk");
	r = run_mke2fs(s, v, fd, e);
	if (r < 0)
		return r;
	if (fchown(fd, 0, 0) < 0 || fsync(fd) < 0)
		return err_sys(e, errno, "make its disk");
	return 0;
}

int volume_file_make(struct volume_store *s, const struct state_volume *v,
		     struct err *e)
{
	_cleanup_close_ int dir = volume_dir(s, v->tenant, true, e), fd = -1;
	char name[32];
	int r;

	if (dir < 0)
		return dir;
	r = volume_space(s, (uint64_t)v->size, e);
	volume_file_name(v->id, name);
	if (r == 0)
		r = remove_half_made(s, dir, name, e);
	if (r < 0)
		return r;
	fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_sys(e, errno, "make its disk '%s'", name);
	r = fill_file(s, v, fd, e);
	if (r == 0 && fsync(dir) < 0)
		r = err_sys(e, errno, "make its disk");
	if (r < 0)
		unlinkat(dir, name, 0);
	return r;
}

/* ---------------------------------------------------------- checking */

static bool owner_is_ours(const struct volume_store *s, uid_t uid)
{
	return uid == 0 || (uid > s->vm_uid_base &&
			    uid <= s->vm_uid_base + s->vm_uid_count);
}

static int check_stat(const struct volume_store *s,
		      const struct state_volume *v, int fd, const char *name,
		      struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "its disk '%s'", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EEXIST,
			       "what is in the place of its disk '%s' is no "
			       "regular file",
			       name);
	if (!owner_is_ours(s, st.st_uid))
		return err_set(e, EEXIST,
			       "its disk '%s' belongs to the user %u: it is "
			       "not the file that hyb made",
			       name, st.st_uid);
	/* Growing may have been interrupted on either side, and not only once. */
	if (st.st_size < v->made || st.st_size > v->size)
		return err_set(e, EEXIST,
			       "its disk '%s' has %lld bytes and should have "
			       "%lld",
			       name, (long long)st.st_size, (long long)v->made);
	return 0;
}

/* Is it the file system that was made there? */
int volume_file_check_super(const struct state_volume *v, int fd,
			    const char *name, struct err *e)
{
	unsigned char sb[1024], uuid[16];
	char hex[33];
	size_t i, n = 0;
	uint16_t magic;

	for (i = 0; v->uuid[i] && n < 32; i++)
		if (v->uuid[i] != '-')
			hex[n++] = v->uuid[i];
	hex[n] = '\0';
	if (hex_parse(hex, uuid, sizeof(uuid)) < 0)
		return err_set(e, EINVAL, "its row is damaged");
	if (pread(fd, sb, sizeof(sb), 1024) != (ssize_t)sizeof(sb))
		return err_set(e, EIO, "its disk '%s' cannot be read", name);
	memcpy(&magic, sb + 0x38, sizeof(magic));
	if (le16toh(magic) != EXT4_MAGIC || memcmp(sb + 0x68, uuid, 16) != 0)
		return err_set(e, EEXIST,
			       "its disk '%s' does not hold the file system "
			       "that hyb made",
			       name);
	return 0;
}

bool volume_file_is_unclean(int fd)
{
	uint32_t incompat = 0;

	/* EXT4_FEATURE_INCOMPAT_RECOVER */
	return pread(fd, &incompat, sizeof(incompat), 1024 + 0x60) !=
		       (ssize_t)sizeof(incompat) ||
	       (le32toh(incompat) & 4);
}

/* Looked at before it is opened: to open a device may do something. */
static int open_file(struct volume_store *s, const struct state_volume *v,
		     int dir, const char *name, struct err *e)
{
	struct stat st;
	int fd;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT
			       ? err_set(e, ENXIO,
					 "its disk '%s/%s/%s' is gone: it is "
					 "not made again, for it would be empty",
					 s->dir, v->tenant, name)
			       : err_sys(e, errno, "its disk '%s'", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EEXIST,
			       "what is in the place of its disk '%s' is no "
			       "regular file",
			       name);
	fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "open its disk '%s'", name) : fd;
}

int volume_file_open(struct volume_store *s, const struct state_volume *v,
		     struct err *e)
{
	_cleanup_close_ int dir = volume_dir(s, v->tenant, false, e), fd = -1;
	char name[32], full[136];
	int r;

	if (dir < 0)
		return dir;
	volume_file_name(v->id, name);
	fd = open_file(s, v, dir, name, e);
	r = fd < 0 ? fd : check_stat(s, v, fd, name, e);
	if (r == 0)
		r = volume_file_check_super(v, fd, name, e);
	if (r == -EEXIST || r == -ENXIO)
		err_hint(e,
			 "put the volume's own file back%s, or `hyb volume "
			 "restore %s@SNAPSHOT`",
			 r == -EEXIST ? ", or take this one away" : "",
			 volume_format(v, full));
	return r < 0 ? r : steal_fd(&fd);
}

/* QEMU's locks are open file description locks, shared ones on bytes that say
 * what it does; to have it alone, none may be there. Readers get along: with
 * them QEMU's own check decides. */
int volume_file_is_free(int fd, bool writes, struct err *e)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (!writes)
		return 0;
	if (fcntl(fd, F_OFD_GETLK, &l) < 0)
		return err_sys(e, errno, "ask for its lock");
	if (l.l_type != F_UNLCK)
		return err_set(e, EBUSY, "a process still has its disk open");
	return 0;
}

int volume_file_grow(struct volume_store *s, int fd, uint64_t size,
		     struct err *e)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "grow");
	if ((uint64_t)st.st_size >= size)
		return 0;
	r = volume_space(s, size - (uint64_t)st.st_size, e);
	if (r == 0 && (ftruncate(fd, (off_t)size) < 0 || fsync(fd) < 0))
		r = err_sys(e, errno, "grow");
	return r;
}

bool volume_file_is_larger(struct volume_store *s, const struct state_volume *v,
			   int64_t size)
{
	_cleanup_close_ int dir = volume_dir(s, v->tenant, false, NULL);
	struct stat st;
	char name[32];

	volume_file_name(v->id, name);
	return dir >= 0 && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_size > size;
}

int volume_file_remove(struct volume_store *s, const struct state_volume *v,
		       struct err *e)
{
	_cleanup_close_ int dir = volume_dir(s, v->tenant, false, e);
	struct stat st;
	char name[32];

	if (dir == -ENOENT)
		return 0;
	if (dir < 0)
		return dir;
	volume_file_name(v->id, name);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "'%s'", name);
	/* A folder in its place is nothing that hyb made. */
	if (S_ISDIR(st.st_mode))
		return err_set(e, EISDIR,
			       "what is in the place of its disk '%s' is no "
			       "regular file",
			       name);
	if (unlinkat(dir, name, 0) < 0 || fsync(dir) < 0)
		return err_sys(e, errno, "remove '%s'", name);
	return 0;
}
