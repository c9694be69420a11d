/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/cage.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/sandbox.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>

int cage_options(int argc, char **argv, const struct option *options,
		 int (*take)(int c, void *arg), void *arg)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (take(c, arg) < 0)
			return -EINVAL;
	return optind == argc ? 0 : -EINVAL;
}

int cage_main(const struct cage *c)
{
	struct err e = ERR_INIT;
	char byte;
	int r;

	if (c->wait && read(STDIN_FILENO, &byte, 1) != 1)
		return EXIT_SUCCESS;
	r = sandbox_start(3 + c->n_fds, &e);
	if (r == 0)
		r = c->run(c->arg, &e);
	if (c->logs)
		log_error("%s", e.msg);
	else
		fprintf(stderr, "%s: %s\n", c->name, e.msg);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int cage_namespaces(struct err *e)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS) < 0)
		return err_sys(e, errno, "make namespaces");
	if (mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
		return err_sys(e, errno, "make mounts private");
	return 0;
}

int cage_take(int dir, const char *path, uint64_t attrs, struct err *e)
{
	struct mount_attr attr = {.attr_set = attrs, .propagation = MS_PRIVATE};
	_cleanup_close_ int fd = (int)syscall(
		SYS_open_tree, dir, path,
		OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	if (fd < 0 && *path)
		return err_sys(e, errno, "take '%s'", path);
	if (fd < 0)
		return err_sys(e, errno, "take descriptor %d", dir);
	if (syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr,
		    sizeof(attr)) < 0)
		return err_sys(e, errno, "set the flags of '%s'", path);
	return steal_fd(&fd);
}

int cage_put(int tree, int dir, const char *path, struct err *e)
{
	return syscall(SYS_move_mount, tree, "", dir, path,
		       MOVE_MOUNT_F_EMPTY_PATH) < 0
		       ? err_sys(e, errno, "mount '%s'", path)
		       : 0;
}
