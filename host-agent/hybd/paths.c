/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/hybd/paths.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <fcntl.h>

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
		r = find_guest_file(dir, "HYB_KERNEL", "vmlinux", ret->kernel,
				    e);
	if (r == 0)
		r = find_guest_file(dir, "HYB_INITRAMFS", "initramfs.cpio",
				    ret->initramfs, e);
	if (r == 0)
		r = find(dir, config, "cmdline", ret->cmdline, e);
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
