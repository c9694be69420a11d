/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/tty.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static const unsigned char default_keys[] = {0x10, 0x11}; /* ctrl-p ctrl-q */

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

/* "x" or "ctrl-x" of len characters; -EINVAL. */
static int parse_key(const char *text, size_t len)
{
	unsigned char c = (unsigned char)text[len ? len - 1 : 0];

	if (len == 1)
		return c;
	if (len != 6 || strncmp(text, "ctrl-", 5) != 0)
		return -EINVAL;
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 1;
	if (c == '@' || (c >= '[' && c <= '_'))
		return c - '@';
	return -EINVAL;
}

int tty_detach_parse(struct tty_detach *d, const char *text)
{
	struct tty_detach t = {.off = !*text};
	size_t len;
	int key;

	while (!t.off) {
		len = strcspn(text, ",");
		key = parse_key(text, len);
		if (key < 0 || t.n == TTY_KEYS_MAX)
			return -EINVAL;
		t.keys[t.n++] = (unsigned char)key;
		if (!text[len])
			break;
		text += len + 1;
	}
	*d = t;
	return 0;
}

/* The held keys turn out to be no sequence: as many as cannot begin one are
 * passed on. */
static size_t let_go(struct tty_detach *d, char *out)
{
	size_t n = 1;

	while (n < d->held && memcmp(d->keys + n, d->keys, d->held - n) != 0)
		n++;
	memcpy(out, d->keys, n);
	d->held -= n;
	return n;
}

size_t tty_filter(struct tty_detach *d, const char *in, size_t n, char *out,
		  bool *ret_detach)
{
	size_t i, len = 0;

	*ret_detach = false;
	if (d->n == 0 && !d->off) {
		memcpy(d->keys, default_keys, sizeof(default_keys));
		d->n = sizeof(default_keys);
	}
	for (i = 0; i < n; i++) {
		unsigned char c = (unsigned char)in[i];

		while (d->held > 0 && c != d->keys[d->held])
			len += let_go(d, out + len);
		if (d->off || c != d->keys[d->held]) {
			out[len++] = in[i];
		} else if (++d->held == d->n) {
			*ret_detach = true;
			return len;
		}
	}
	return len;
}
