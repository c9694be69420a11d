/* SPDX-License-Identifier: Apache-2.0 */
/* Log records (io.hyb.Agent.Logs): reading them out of a stream of bytes that
 * is not trusted, and writing what they hold. */
#ifndef HYB_HOST_AGENT_CLI_LOGREC_H
#define HYB_HOST_AGENT_CLI_LOGREC_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOGREC_HEADER ((size_t)24)
#define LOGREC_LENGTH ((size_t)65536)

struct logrec {
	uint64_t offset, time;
	int stream; /* 1 stdout, 2 stderr, 0 the end of the log */
	const char *data;
	size_t length;
	size_t size; /* header and data */
};

/* The first record in data[0 ... len): 1 and *ret (pointing into data), 0:
 * it is not whole yet, or -EBADMSG. */
int logrec_parse(const char *data, size_t len, struct logrec *ret,
		 struct err *e);

/* Where one stream of one container goes. */
struct logrec_writer {
	int fd;
	struct buf pending; /* a line, or a character, that is not whole yet */
};

void logrec_writer_init(struct logrec_writer *w, int fd);
void logrec_writer_done(struct logrec_writer *w);

/* Writes a record's bytes. name NULL: as they are (with escape: control
 * characters as \xNN). Else whole lines, each behind the name, padded to
 * width. 0 or -errno. */
int logrec_write(struct logrec_writer *w, const char *name, int width,
		 bool escape, const char *data, size_t len);
/* At the end: what is still held back. */
int logrec_finish(struct logrec_writer *w, const char *name, int width,
		  bool escape);
/* Everything written reaches the descriptors. 0 or -errno. */
int logrec_flush(void);

#endif
