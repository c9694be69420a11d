/* SPDX-License-Identifier: Apache-2.0 */
/* One direction of a byte stream: from a reader to a writer, neither of which
 * blocks. What was read and not yet taken is kept; nothing else is. */
#ifndef HYB_GUEST_RPC_COPY_H
#define HYB_GUEST_RPC_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct copy {
	char *rest; /* malloc()ed, read and not yet written; NULL: nothing */
	size_t at, len;
	bool eof; /* the reader has ended */
};

/* As read() and write(), but -errno; a reader's 0 is its end. */
typedef ssize_t copy_read_fn(void *arg, void *buf, size_t len);
typedef ssize_t copy_write_fn(void *arg, const void *buf, size_t len);

enum copy_state {
	COPY_READ,   /* call again when the reader has something */
	COPY_WRITE,  /* call again when the writer takes something */
	COPY_DONE,   /* all was written, and the reader has ended */
	COPY_BROKEN, /* the writer (or memory) failed */
};

/* Moves what can be moved, at most about AGENT_COPY_TURN bytes. A reader's
 * error is its end. */
enum copy_state copy_run(struct copy *c, copy_read_fn *rd, void *rd_arg,
			 copy_write_fn *wr, void *wr_arg);
void copy_done(struct copy *c);

/* Reader and writer of a descriptor; arg points to the int. */
ssize_t copy_fd_read(void *fd, void *buf, size_t len);
ssize_t copy_fd_write(void *fd, const void *buf, size_t len);

#endif
