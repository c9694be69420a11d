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

#define TTY_KEYS_MAX 16

/* Finds the keys that leave in what is typed. Zeroed: ctrl-p ctrl-q. */
struct tty_detach {
	unsigned char keys[TTY_KEYS_MAX];
	size_t n; /* 0: the default */
	bool off;
	size_t held; /* of them were typed and have not been passed on yet */
};
/* Keys as Docker writes them: "ctrl-p,ctrl-q", "a,b"; "": none leave. -EINVAL. */
int tty_detach_parse(struct tty_detach *d, const char *text);
/* Copies in[0 ... n) to out (room for n + TTY_KEYS_MAX) without the sequence;
 * the length. *ret_detach: it was there; what came behind it is dropped. */
size_t tty_filter(struct tty_detach *d, const char *in, size_t n, char *out,
		  bool *ret_detach);

#endif
