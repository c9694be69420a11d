/* SPDX-License-Identifier: Apache-2.0 */
/* hyb console NAME: a VM's serial console on this terminal. */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/tty.h"
#include "host-agent/cli/verbs.h"

#include <poll.h>
#include <sys/socket.h>

#define CHUNK ((size_t)4096)

struct console {
	int sock, signals;
	bool typing; /* standard input has not ended */
	bool tty;
	struct tty_detach detach;
};

/* true: the user is done. */
static bool on_typed(struct console *c)
{
	char in[CHUNK], out[CHUNK + TTY_KEYS_MAX];
	ssize_t n = read(STDIN_FILENO, in, sizeof(in));
	bool detach = false;
	size_t len;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return false;
	if (n <= 0) {
		/* The console goes on; what is at its other end decides. */
		c->typing = false;
		return c->tty;
	}
	len = c->tty ? tty_filter(&c->detach, in, (size_t)n, out, &detach)
		     : (size_t)n;
	(void)write_full(c->sock, c->tty ? out : in, len);
	return detach;
}

/* true: it is over. */
static bool on_shown(const struct console *c)
{
	char buf[CHUNK];
	ssize_t n = recv(c->sock, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return false;
	return n <= 0 || write_full(STDOUT_FILENO, buf, (size_t)n) < 0;
}

/* 0: the user left, 1: the console's end. */
static int relay(struct console *c)
{
	struct pollfd p[3];

	for (;;) {
		p[0] = (struct pollfd){.fd = c->sock, .events = POLLIN};
		p[1] = (struct pollfd){.fd = c->signals, .events = POLLIN};
		p[2] = (struct pollfd){.fd = c->typing ? STDIN_FILENO : -1,
				       .events = POLLIN};
		if (poll(p, 3, -1) < 0) {
			if (errno == EINTR)
				continue;
			return 1;
		}
		if (p[1].revents)
			return 0;
		if (p[0].revents && on_shown(c))
			return 1;
		if (p[2].revents && on_typed(c))
			return 0;
	}
}

static int open_console(struct cli *cli, const char *name, int *ret,
			struct err *e)
{
	_cleanup_vl_conn_ struct vl_conn conn = {.fd = -1};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	int st;

	st = client_open(cli, 0, &conn, e);
	if (st == 0)
		st = client_call(&conn, HOST_IFACE "Console",
				 json_pack("{s:s}", "name", name), CLI_QUICK_MS,
				 &reply, e);
	if (st)
		return st;
	if (vl_conn_take_fds(&conn, ret, 1) == 1)
		return CLI_DONE;
	err_set(e, EBADMSG, "hybd sent no stream");
	return CLI_FAILED;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_close_ int sock = -1, signals = -1;
	struct console c = {.typing = true, .tty = isatty(STDIN_FILENO)};
	struct err e = ERR_INIT;
	char what[320];
	int st, over;

	(void)args;
	(void)n;
	snprintf(what, sizeof(what), "console '%.256s'", words[0]);
	st = open_console(cli, words[0], &sock, &e);
	if (st)
		return cli_fail(st, what, &e);
	c.sock = sock;
	c.signals = signals = cli_end_signals();
	if (c.tty) {
		fprintf(stderr, "hyb: console of %s; ctrl-p ctrl-q leaves it\n",
			words[0]);
		tty_raw(STDIN_FILENO);
	}
	over = relay(&c);
	tty_restore();
	if (over)
		fputs("\nhyb: the console has ended\n", stderr);
	return CLI_DONE;
}

const struct verb cli_verb_console = {
	.name = "console",
	.words = "NAME",
	.brief = "Connects this terminal to a VM's serial console",
	.about = "What the VM writes from now on is shown, what is typed goes "
		 "to it. ctrl-p ctrl-q\nleaves; so does the end of a VM.",
	.min_words = 1,
	.max_words = 1,
	.kind = WORDS_NAMES,
	.run = run,
};
