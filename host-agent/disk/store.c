/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/disk/disk_int.h"

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"

#include <fcntl.h>
#include <sys/stat.h>

#define SUFFIX ".raw"

static const char *const format_names[] = {
	[DISK_RAW] = "raw",
	[DISK_QCOW2] = "qcow2",
};
_Static_assert(ARRAY_SIZE(format_names) == DISK_FORMAT_MAX,
	       "a name for each format");

const char *disk_format_name(enum disk_format f)
{
	return format_names[f];
}

int disk_format_parse(const char *s, enum disk_format *ret)
{
	int i;

	for (i = 0; i < DISK_FORMAT_MAX; i++) {
		if (strcmp(s, format_names[i]) != 0)
			continue;
		*ret = (enum disk_format)i;
		return 0;
	}
	return -EINVAL;
}

void disk_path(const struct disk_store *s, const char *tenant, const char *name,
	       char *out, size_t size)
{
	snprintf(out, size, "%s/disks/%s/%s" SUFFIX, s->root, tenant, name);
}

int dir_sync(const char *path, struct err *e)
{
	_cleanup_close_ int fd =
		open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fsync(fd) < 0)
		return err_sys(e, errno, "write '%s'", path);
	return 0;
}

/* Removes what begins with `prefix`: it was never finished. */
static int sweep(const char *dir, const char *prefix, struct err *e)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *ent;
	char path[600];
	int r = 0;

	if (!d)
		return err_sys(e, errno, "open '%s'", dir);
	while (r == 0 && (ent = readdir(d)) != NULL) {
		if (strncmp(ent->d_name, prefix, strlen(prefix)) != 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, ent->d_name);
		r = path_remove(path, e);
	}
	return r;
}

/* What was counted of an import that was interrupted is no more. */
static int tell_all(struct disk_store *s, const char *dir, struct err *e)
{
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *ent;
	int r = 0;

	if (!d)
		return err_sys(e, errno, "open '%s'", dir);
	while (r == 0 && (ent = readdir(d)) != NULL) {
		_cleanup_free_ struct disk_info *list = NULL;
		size_t i, n = 0;

		if (!name_is_valid(ent->d_name))
			continue;
		r = disk_list(s, ent->d_name, &list, &n, e);
		for (i = 0; r == 0 && i < n; i++)
			r = s->quota.hold(s->quota.arg, ent->d_name,
					  list[i].name, list[i].size, false, e);
	}
	return r;
}

int disk_store_open(const struct disk_store_config *c, struct disk_store **ret,
		    struct err *e)
{
	_cleanup_free_ struct disk_store *s = calloc(1, sizeof(*s));
	char disks[300], machines[300];
	int r;

	if (!s)
		return err_sys(e, ENOMEM, "open the disks");
	s->uid = c->uid;
	s->n_uids = c->n_uids ? c->n_uids : 1;
	s->quota = c->quota;
	s->gid = c->gid;
	snprintf(s->root, sizeof(s->root), "%s", c->root);
	snprintf(disks, sizeof(disks), "%s/disks", s->root);
	snprintf(machines, sizeof(machines), "%s/machines", s->root);
	/* qemu-img's uid passes to its own folder; tenants' are root's. */
	r = dir_make(disks, 0711, e);
	if (r == 0)
		r = dir_make(machines, 0700, e);
	if (r == 0)
		r = sweep(disks, DISK_IMPORT_PREFIX, e);
	if (r == 0)
		r = sweep(machines, DISK_NEW_PREFIX, e);
	if (r == 0 && s->quota.hold)
		r = tell_all(s, disks, e);
	if (r == 0)
		*ret = steal_ptr(s);
	return r;
}

void disk_store_close(struct disk_store *s)
{
	free(s);
}

static int info_at(int dir, const char *file, const char *tenant,
		   struct disk_info *ret)
{
	size_t len = strlen(file), tail = strlen(SUFFIX);
	struct stat st;

	if (len <= tail || len - tail >= DISK_NAME_MAX ||
	    strcmp(file + len - tail, SUFFIX) != 0)
		return -EINVAL;
	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->name, file, len - tail);
	if (!S_ISREG(st.st_mode) || !name_is_valid(ret->name))
		return -EINVAL;
	snprintf(ret->tenant, sizeof(ret->tenant), "%s", tenant);
	ret->size = (uint64_t)st.st_size;
	ret->allocated = (uint64_t)st.st_blocks * 512;
	ret->created_at =
		(int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	return 0;
}

int disk_get(struct disk_store *s, const char *tenant, const char *name,
	     struct disk_info *ret, struct err *e)
{
	char dir[400], file[DISK_NAME_MAX + 8];
	_cleanup_close_ int fd = -1;
	int r = -ENOENT;

	snprintf(dir, sizeof(dir), "%s/disks/%s", s->root, tenant);
	snprintf(file, sizeof(file), "%s" SUFFIX, name);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		r = info_at(fd, file, tenant, ret);
	if (r == 0)
		return 0;
	err_set(e, ENOENT, "there is no disk '%s'", name);
	err_hint(e, "`hyb disk ls` lists them, `hyb disk import` takes one in");
	return -ENOENT;
}

static int compare_info(const void *a, const void *b)
{
	const struct disk_info *x = a, *y = b;

	return strcmp(x->name, y->name);
}

int disk_list(struct disk_store *s, const char *tenant, struct disk_info **ret,
	      size_t *ret_n, struct err *e)
{
	_cleanup_free_ struct disk_info *list = calloc(1, sizeof(*list));
	_cleanup_closedir_ DIR *d = NULL;
	struct disk_info *grown;
	struct dirent *ent;
	char dir[400];
	size_t n = 0;

	if (!list)
		return err_sys(e, ENOMEM, "list disks");
	snprintf(dir, sizeof(dir), "%s/disks/%s", s->root, tenant);
	d = opendir(dir);
	if (!d && errno != ENOENT)
		return err_sys(e, errno, "open '%s'", dir);
	while (d && (ent = readdir(d)) != NULL) {
		if (info_at(dirfd(d), ent->d_name, tenant, &list[n]) < 0)
			continue;
		grown = reallocarray(list, ++n + 1, sizeof(*list));
		if (!grown)
			return err_sys(e, ENOMEM, "list disks");
		list = grown;
	}
	qsort(list, n, sizeof(*list), compare_info);
	*ret = steal_ptr(list);
	*ret_n = n;
	return 0;
}

int disk_remove(struct disk_store *s, const char *tenant, const char *name,
		struct err *e)
{
	struct disk_info info;
	char path[600];
	int r = disk_get(s, tenant, name, &info, e);

	if (r < 0)
		return r;
	disk_path(s, tenant, name, path, sizeof(path));
	if (unlink(path) < 0)
		return err_sys(e, errno, "remove '%s'", path);
	/* What stays counted, the next start mends. */
	if (s->quota.drop)
		(void)s->quota.drop(s->quota.arg, tenant, name, NULL);
	return 0;
}
