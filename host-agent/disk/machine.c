/* SPDX-License-Identifier: Apache-2.0 */
/* Machines: a link to the disk that one was made from, the disk's name, the
 * overlay with what it has written, and its UEFI firmware's variables. */
#include "host-agent/disk/disk_int.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <fcntl.h>
#include <sys/stat.h>

/* Of the variables that a machine begins with: OVMF has 528 KiB. */
#define VARS_MAX ((size_t)16 << 20)

struct paths {
	char dir[512], base[560], overlay[560], name[560], nvram[560];
};

static void paths_in(const char *dir, struct paths *p)
{
	snprintf(p->dir, sizeof(p->dir), "%s", dir);
	snprintf(p->base, sizeof(p->base), "%s/base.raw", dir);
	snprintf(p->overlay, sizeof(p->overlay), "%s/disk.qcow2", dir);
	snprintf(p->name, sizeof(p->name), "%s/name", dir);
	snprintf(p->nvram, sizeof(p->nvram), "%s/nvram.fd", dir);
}

static void machine_dir(const struct disk_store *s, const char *prefix,
			const char *machine, char *out, size_t size)
{
	snprintf(out, size, "%s/machines/%s%s", s->root, prefix, machine);
}

static bool is_made_from(const struct paths *p, const char *disk)
{
	_cleanup_free_ char *text = NULL;

	return file_read(AT_FDCWD, p->name, DISK_NAME_MAX, &text, NULL, NULL) ==
		       0 &&
	       strcmp(text, disk) == 0;
}

static int fill(struct disk_store *s, const char *tenant, const char *disk,
		const struct paths *tmp, const struct paths *p, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct disk_info info;
	char from[600];
	int r;

	r = disk_get(s, tenant, disk, &info, e);
	if (r < 0)
		return r;
	disk_path(s, tenant, disk, from, sizeof(from));
	if (mkdir(tmp->dir, 0700) < 0)
		return err_sys(e, errno, "create '%s'", tmp->dir);
	if (link(from, tmp->base) < 0)
		return err_sys(e, errno, "link '%s'", from);
	r = file_write_atomic(tmp->name, disk, strlen(disk), 0600, e);
	if (r == 0)
		r = disk_make_overlay(tmp->overlay, p->base, info.size, e);
	if (r < 0)
		return r;
	fd = open(tmp->overlay, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fsync(fd) < 0)
		return err_sys(e, errno, "write '%s'", tmp->overlay);
	return dir_sync(tmp->dir, e);
}

static int make(struct disk_store *s, const char *tenant, const char *machine,
		const char *disk, const struct paths *p, struct err *e)
{
	char dir[512], parent[300];
	struct paths tmp;
	int r;

	machine_dir(s, DISK_NEW_PREFIX, machine, dir, sizeof(dir));
	paths_in(dir, &tmp);
	r = path_remove(tmp.dir, e);
	if (r == 0)
		r = path_remove(p->dir, e);
	if (r == 0)
		r = fill(s, tenant, disk, &tmp, p, e);
	if (r < 0) {
		(void)path_remove(tmp.dir, NULL);
		return r;
	}
	if (rename(tmp.dir, p->dir) < 0)
		return err_sys(e, errno, "rename '%s'", tmp.dir);
	snprintf(parent, sizeof(parent), "%s/machines", s->root);
	return dir_sync(parent, e);
}

/* Each making of a VM has a uid of its own. */
static int give(const char *path, uid_t uid, gid_t gid, struct err *e)
{
	_cleanup_close_ int fd =
		open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "open '%s'", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "'%s' is no regular file", path);
	if (fchown(fd, uid, gid) < 0 || fchmod(fd, 0600) < 0)
		return err_sys(e, errno, "give '%s' away", path);
	return 0;
}

/* Its variables, as the firmware's package has them if there are none yet. */
static int ensure_nvram(const struct paths *p, const char *vars, uid_t uid,
			gid_t gid, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = 0;

	if (access(p->nvram, F_OK) < 0) {
		r = file_read(AT_FDCWD, vars, VARS_MAX, &text, &len, e);
		if (r == 0)
			r = file_write_atomic(p->nvram, text, len, 0600, e);
	}
	return r < 0 ? r : give(p->nvram, uid, gid, e);
}

int disk_machine_prepare(struct disk_store *s, const char *tenant,
			 const char *machine, const char *disk,
			 const char *vars, uid_t uid, gid_t gid,
			 struct disk_machine *ret, struct err *e)
{
	char dir[512];
	struct paths p;
	int r = 0;

	machine_dir(s, "", machine, dir, sizeof(dir));
	paths_in(dir, &p);
	if (!is_made_from(&p, disk))
		r = make(s, tenant, machine, disk, &p, e);
	if (r == 0)
		r = give(p.overlay, uid, gid, e);
	if (r == 0 && vars)
		r = ensure_nvram(&p, vars, uid, gid, e);
	if (r < 0)
		return err_wrap(e, "disk '%s'", disk);
	snprintf(ret->base, sizeof(ret->base), "%s", p.base);
	snprintf(ret->overlay, sizeof(ret->overlay), "%s", p.overlay);
	snprintf(ret->nvram, sizeof(ret->nvram), "%s", vars ? p.nvram : "");
	return 0;
}

int disk_machine_remove(struct disk_store *s, const char *machine,
			struct err *e)
{
	char dir[512];

	machine_dir(s, "", machine, dir, sizeof(dir));
	return path_remove(dir, e);
}

int disk_machine_each(struct disk_store *s,
		      void (*fn)(void *arg, const char *machine), void *arg,
		      struct err *e)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *ent;
	char dir[300];

	snprintf(dir, sizeof(dir), "%s/machines", s->root);
	d = opendir(dir);
	if (!d)
		return err_sys(e, errno, "open '%s'", dir);
	while ((ent = readdir(d)) != NULL)
		if (ent->d_name[0] != '.')
			fn(arg, ent->d_name);
	return 0;
}
