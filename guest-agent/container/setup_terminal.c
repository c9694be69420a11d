/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal of the process, on the container's own devpts. */
#include "guest-agent/container/setup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "guest-agent/container/sync.h"
#include "guest-agent/sys/rootpath.h"

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

int step_console(struct setup *s)
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

int step_exec_console(struct setup *s)
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
