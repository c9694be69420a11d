/* SPDX-License-Identifier: Apache-2.0 */
/* Raw mode of the caller's terminal, given back however the process ends. */
#ifndef HYB_HOST_AGENT_CLI_TTY_H
#define HYB_HOST_AGENT_CLI_TTY_H

#include <stdbool.h>
#include <stddef.h>

/* 0 or -errno. From then on tty_restore() runs at exit and at fatal signals
 * too. */
int tty_raw(int fd);
void tty_restore(void);

/* Finds ctrl-p ctrl-q in what is typed. */
struct tty_detach {
	bool held; /* a ctrl-p that has not been passed on yet */
};
/* Copies in[0 ... n) to out (room for n + 1) without the sequence; the length.
 * *ret_detach: it was there; what came behind it is dropped. */
size_t tty_filter(struct tty_detach *d, const char *in, size_t n, char *out,
		  bool *ret_detach);

#endif
