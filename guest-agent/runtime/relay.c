/* SPDX-License-Identifier: Apache-2.0 */
/* A program in the foreground: its terminal is joined to ours, what would end
 * us is handed on, and its end is ours. */
#include "guest-agent/runtime/runtime.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"

/* What one direction holds. */
struct pipe_buf {
	char data[8192];
	size_t len;
};

struct relay {
	int pidfd, console, signals;
	bool in_open, out_open;
	struct pipe_buf in, out; /* to the program, from it */
	bool raw;
	struct termios saved;
};

static void copy_size(int console)
{
	struct winsize size;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
		ioctl(console, TIOCSWINSZ, &size);
}

static void go_raw(struct relay *r)
{
	struct termios raw;

	if (tcgetattr(STDIN_FILENO, &r->saved) < 0)
		return;
	raw = r->saved;
	cfmakeraw(&raw);
	/* Lines end here as this terminal wants it: see end_lines_plainly(). */
	raw.c_oflag |= OPOST;
	r->raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

void end_lines_plainly(int console)
{
	struct termios t;

	if (tcgetattr(console, &t) == 0) {
		t.c_oflag &= ~(tcflag_t)ONLCR;
		tcsetattr(console, TCSANOW, &t);
	}
}

static void on_signal(const struct relay *r)
{
	struct signalfd_siginfo info;

	if (read(r->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGWINCH && r->console >= 0)
		copy_size(r->console);
	else
		pidfd_send_signal(r->pidfd, (int)info.ssi_signo, NULL, 0);
}

/* Fills an empty buffer; false: there is no more. */
static bool fill(int fd, struct pipe_buf *b)
{
	ssize_t n = read(fd, b->data, sizeof(b->data));

	if (n > 0)
		b->len = (size_t)n;
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool drain(int fd, struct pipe_buf *b)
{
	ssize_t n = write(fd, b->data, b->len);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	b->len -= (size_t)n;
	memmove(b->data, b->data + n, b->len);
	return true;
}

/* One round; false: the program has ended and its output is out. */
static bool turn(struct relay *r, bool *ended)
{
	struct pollfd fds[] = {
		{.fd = *ended ? -1 : r->pidfd, .events = POLLIN},
		{.fd = r->signals, .events = POLLIN},
		{.fd = r->in_open && !r->in.len ? STDIN_FILENO : -1,
		 .events = POLLIN},
		{.fd = r->out_open ? r->console : -1,
		 .events = (short)((r->out.len ? 0 : POLLIN) |
				   (r->in.len ? POLLOUT : 0))},
	};

	if (poll(fds, ARRAY_SIZE(fds), *ended ? 0 : -1) < 0)
		return errno == EINTR;
	if (fds[1].revents)
		on_signal(r);
	if (fds[2].revents)
		r->in_open = fill(STDIN_FILENO, &r->in);
	if (fds[3].revents & POLLOUT && r->in.len)
		r->out_open &= drain(r->console, &r->in);
	if (fds[3].revents & (POLLIN | POLLHUP | POLLERR) && !r->out.len)
		r->out_open &= fill(r->console, &r->out);
	if (r->out.len)
		r->out_open &=
			write_full(STDOUT_FILENO, r->out.data, r->out.len) == 0;
	r->out.len = 0;
	if (*ended && !fds[3].revents)
		return false;
	*ended |= fds[0].revents != 0;
	return !*ended || r->out_open;
}

int attend(int pidfd, int console)
{
	static const int handed_on[] = {SIGTERM, SIGINT,  SIGHUP,  SIGQUIT,
					SIGUSR1, SIGUSR2, SIGWINCH};
	struct relay r = {.pidfd = pidfd,
			  .console = console,
			  .in_open = console >= 0,
			  .out_open = console >= 0};
	bool ended = false;
	sigset_t set;
	size_t i;

	sigemptyset(&set);
	for (i = 0; i < ARRAY_SIZE(handed_on); i++)
		sigaddset(&set, handed_on[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	r.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (console >= 0) {
		copy_size(console);
		go_raw(&r);
	}
	while (turn(&r, &ended))
		continue;
	if (r.raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &r.saved);
	cleanup_close(&r.signals);
	return wait_exit(pidfd);
}
