/* SPDX-License-Identifier: Apache-2.0 */
/*
 * X-mount.subdir=PATH (a word of mount(8)): of what is mounted only the part at
 * PATH is seen in the container.
 *
 * What it is a part of may be written to by an enemy, so the part is opened
 * below it by descriptor, and no link leads out. It must be there.
 */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"
#include "guest-agent/sys/kernel.h"
#include "guest-agent/sys/mnt.h"

/* Where a new mount is while its part is looked up. Only one thread is here. */
#define PLACE "/run/hyb/subdir"

const char *subdir_word(const char *word)
{
	static const char key[] = "X-mount.subdir=";

	return strncmp(word, key, strlen(key)) == 0 ? word + strlen(key) : NULL;
}

int subdir_open(const struct plan_mount *m, int *fd, struct err *e)
{
	int part = sys_openat2(*fd, m->subdir, O_PATH | O_CLOEXEC, 0,
			       RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);

	if (part < 0)
		return err_sys(e, errno, "'%s' of what is mounted on '%s'",
			       m->subdir, m->destination);
	close(*fd);
	*fd = part;
	return 0;
}

/* A copy of the part of what is mounted at dir. */
static int copy_part(const struct plan_mount *m, int dir, struct err *e)
{
	_cleanup_close_ int part = openat(dir, ".", O_PATH | O_CLOEXEC);
	int fd, r;

	if (part < 0)
		return err_sys(e, errno, "mount '%s'", m->destination);
	r = subdir_open(m, &part, e);
	if (r < 0)
		return r;
	fd = mnt_clone_fd(part, false);
	if (fd < 0)
		return err_sys(e, -fd, "mount '%s'", m->destination);
	r = mnt_set(fd, 0, 0, MS_PRIVATE, false);
	if (r < 0) {
		close(fd);
		return err_sys(e, -r, "mount '%s'", m->destination);
	}
	return fd;
}

/* Only of what is attached somewhere a part can be taken. */
int subdir_take(const struct plan_mount *m, int *fd, struct err *e)
{
	_cleanup_close_ int place = -1;
	int part, r;

	if ((mkdir("/run/hyb", 0700) < 0 && errno != EEXIST) ||
	    (mkdir(PLACE, 0700) < 0 && errno != EEXIST))
		return err_sys(e, errno, "make '" PLACE "'");
	place = open(PLACE, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = place < 0 ? -errno : mnt_attach(*fd, place);
	if (r < 0)
		return err_sys(e, -r, "mount '%s'", m->destination);
	part = copy_part(m, *fd, e);
	umount2(PLACE, MNT_DETACH | UMOUNT_NOFOLLOW);
	rmdir(PLACE);
	if (part < 0)
		return part;
	close(*fd);
	*fd = part;
	return 0;
}

int subdir_check(const struct create *cr, const struct plan_mount *m,
		 struct err *e)
{
	if (!m->subdir)
		return 0;
	if (m->bind ? m->remount || m->bind_recursive
		    : !cr->spec->defaults || strcmp(m->type, "virtiofs") != 0)
		return err_set(e, EINVAL,
			       "option 'X-mount.subdir' of '%s' is for binds",
			       m->destination);
	if (!m->subdir[0])
		return err_set(e, EINVAL,
			       "option 'X-mount.subdir' of '%s' is empty",
			       m->destination);
	return 0;
}
