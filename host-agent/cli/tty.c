/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/tty.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define CTRL_P 0x10
#define CTRL_Q 0x11

static struct termios before;
static volatile sig_atomic_t raw_fd = -1;

void tty_restore(void)
{
	int fd = raw_fd;

	if (fd < 0)
		return;
	raw_fd = -1;
	tcsetattr(fd, TCSANOW, &before);
}

static void on_fatal(int sig)
{
	tty_restore();
	/* SA_RESETHAND: the default action, now. */
	raise(sig);
}

int tty_raw(int fd)
{
	static const int fatal[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE};
	struct sigaction sa = {.sa_handler = on_fatal,
			       .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};
	static bool registered;
	struct termios raw;
	size_t i;

	if (tcgetattr(fd, &before) < 0)
		return -errno;
	raw = before;
	cfmakeraw(&raw);
	if (!registered) {
		atexit(tty_restore);
		registered = true;
	}
	for (i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		sigaction(fatal[i], &sa, NULL);
	raw_fd = fd;
	if (tcsetattr(fd, TCSANOW, &raw) < 0) {
		raw_fd = -1;
		return -errno;
	}
	return 0;
}

size_t tty_filter(struct tty_detach *d, const char *in, size_t n, char *out,
		  bool *ret_detach)
{
	size_t i, len = 0;

	*ret_detach = false;
	for (i = 0; i < n; i++) {
		if (d->held) {
			if (in[i] == CTRL_Q) {
				*ret_detach = true;
				return len;
			}
			out[len++] = CTRL_P;
			d->held = false;
		}
		if (in[i] == CTRL_P)
			d->held = true;
		else
			out[len++] = in[i];
	}
	return len;
}
