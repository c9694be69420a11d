/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's output on the host: records (common/base/logrec.h) in
 * DIR/NAME.log, rotated to NAME.log.1, NAME.log.2 ... . Offsets count the
 * container's whole output, across its restarts. One writer, any number of
 * readers, which open the files by themselves.
 */
#ifndef HYB_HOST_AGENT_RECONCILE_LOGFILE_H
#define HYB_HOST_AGENT_RECONCILE_LOGFILE_H

#include "common/base/err.h"
#include "common/base/logrec.h"

#include <stdbool.h>
#include <sys/types.h>

#define LOGFILE_ROTATE_BYTES ((off_t)10 << 20)
#define LOGFILE_KEEP	     3 /* files, with the current one */

struct logfile {
	char path[512];
	int fd;
	off_t size;
	uint64_t end; /* offset behind the last byte that is there */
};

/* Opens or makes it. A last record that is not whole (the writer was killed)
 * is cut off; one that is damaged ends the file before it. */
int logfile_open(const char *dir, const char *name, struct logfile *ret,
		 struct err *e);
void logfile_close(struct logfile *f);
/* Appends records that follow each other, whole; rotates when the file has
 * become large enough. */
int logfile_append(struct logfile *f, const void *records, size_t len,
		   uint64_t end, struct err *e);
/* Removes the log and what was rotated. */
int logfile_remove(const char *dir, const char *name, struct err *e);

/* ------------------------------------------------------------- reading */

struct logreader {
	char path[512];
	int fd;
	uint64_t
		next; /* offset that comes next; what is before is passed over */
	uint64_t since;
};

/* Reads from the oldest record that is kept, or so that `tail` lines (-1: all)
 * are left; records older than `since` are passed over. */
int logreader_open(const char *dir, const char *name, int64_t tail,
		   uint64_t since, struct logreader *ret, struct err *e);
void logreader_close(struct logreader *r);
/* The next record with its bytes into buf (LOGREC_HEADER_SIZE +
 * LOGREC_LENGTH_MAX): its whole length; 0: no more for now. */
ssize_t logreader_next(struct logreader *r, unsigned char *buf, struct err *e);

#endif
