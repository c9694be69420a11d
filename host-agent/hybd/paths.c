/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/hybd/paths.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#define CMDLINE_MAX 2000

/* The first of the places (relative to our own folder) that has the file. */
static int find(const char *dir, const char *const *places, const char *name,
		char out[PATH_MAX], struct err *e)
{
	char path[PATH_MAX];

	for (; *places; places++) {
		if (snprintf(path, sizeof(path), "%s/%s/%s", dir, *places,
			     name) >= (int)sizeof(path))
			continue;
		if (access(path, R_OK) == 0 && realpath(path, out))
			return 0;
	}
	err_set(e, ENOENT, "'%s' is not found near '%s'", name, dir);
	err_hint(e, "build it with `make`, or install hyb again");
	return -ENOENT;
}

static int find_guest_file(const char *dir, const char *variable,
			   const char *name, char out[PATH_MAX], struct err *e)
{
	static const char *const places[] = {"../../guest", "../../lib/hyb",
					     "../lib/hyb", NULL};
	const char *given = getenv(variable);

	if (!given || !given[0])
		return find(dir, places, name, out, e);
	if (!realpath(given, out))
		return err_sys(e, errno, "%s: '%s'", variable, given);
	return 0;
}

int paths_find(struct paths *ret, struct err *e)
{
	static const char *const beside[] = {".", "../libexec/hyb", NULL};
	static const char *const config[] = {
		"../../../kernel-config", "../../lib/hyb", "../lib/hyb", NULL};
	char dir[PATH_MAX];
	ssize_t n;
	char *slash;
	int r;

	n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	if (n < 0)
		return err_sys(e, errno, "read /proc/self/exe");
	dir[n] = '\0';
	slash = strrchr(dir, '/');
	if (slash)
		*slash = '\0';
	r = find(dir, beside, "hyb-image", ret->image, e);
	if (r == 0)
		r = find(dir, beside, "hyb-vsockd", ret->vsockd, e);
	if (r == 0)
		r = find(dir, beside, "hyb-portd", ret->portd, e);
	if (r == 0)
		r = find(dir, beside, "hyb-fsd", ret->fsd, e);
	if (r == 0)
		r = find(dir, beside, "hyb-dhcpd", ret->dhcpd, e);
	if (r == 0)
		r = find_guest_file(dir, "HYB_KERNEL", "vmlinux", ret->kernel,
				    e);
	if (r == 0)
		r = find_guest_file(dir, "HYB_INITRAMFS", "initramfs.cpio",
				    ret->initramfs, e);
	if (r == 0)
		r = find(dir, config, "cmdline", ret->cmdline, e);
	return r;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* All of one file into another: the copy has its time, and is 0444. */
static int copy_into(int from, const struct stat *st, int to)
{
	const struct timespec times[2] = {st->st_mtim, st->st_mtim};
	ssize_t n;

	do {
		n = sendfile(to, from, NULL, 1 << 24);
	} while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0 || fchmod(to, 0444) < 0 || futimens(to, times) < 0 ||
	    fsync(to) < 0)
		return -errno;
	return 0;
}

/* path becomes DIR/NAME, a copy of what it was. */
static int publish_one(char path[PATH_MAX], const char *dir, const char *name,
		       struct err *e)
{
	_cleanup_close_ int from = -1, to = -1;
	char final[PATH_MAX], tmp[PATH_MAX + 8];
	struct stat st, old;
	int r;

	if (snprintf(final, sizeof(final), "%s/%s", dir, name) >=
	    (int)sizeof(final))
		return err_sys(e, ENAMETOOLONG, "copy '%s'", path);
	from = open(path, O_RDONLY | O_CLOEXEC);
	if (from < 0 || fstat(from, &st) < 0)
		return err_sys(e, errno, "open '%s'", path);
	if (stat(final, &old) < 0 || !is_same(&st, &old)) {
		snprintf(tmp, sizeof(tmp), "%s.tmp", final);
		unlink(tmp);
		to = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (to < 0)
			return err_sys(e, errno, "create '%s'", tmp);
		r = copy_into(from, &st, to);
		if (r == 0 && rename(tmp, final) < 0)
			r = -errno;
		if (r < 0) {
			unlink(tmp);
			return err_sys(e, -r, "copy '%s' to '%s'", path, final);
		}
	}
	snprintf(path, PATH_MAX, "%s", final);
	return 0;
}

int paths_publish(struct paths *p, const char *root, struct err *e)
{
	char dir[PATH_MAX];
	int r;

	snprintf(dir, sizeof(dir), "%s/guest", root);
	r = dir_make(dir, 0755, e);
	if (r == 0)
		r = publish_one(p->kernel, dir, "vmlinux", e);
	if (r == 0)
		r = publish_one(p->initramfs, dir, "initramfs.cpio", e);
	return r;
}

int paths_cmdline(const struct paths *p, char **ret, struct err *e)
{
	size_t len;
	int r;

	r = file_read(AT_FDCWD, p->cmdline, CMDLINE_MAX, ret, &len, e);
	if (r < 0)
		return r;
	while (len > 0 && ((*ret)[len - 1] == '\n' || (*ret)[len - 1] == ' '))
		(*ret)[--len] = '\0';
	return 0;
}
