/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees read from a file system into frames, and written from frames into one.
 * The same code on either side; what is the peer's is never trusted.
 */
#ifndef HYB_COMMON_TREE_TREE_H
#define HYB_COMMON_TREE_TREE_H

#include "common/tree/wire.h"

/* Reads what is at path and sends it, but for the TREE_END. A link in the last
 * component is sent as such, unless flags have TREE_FOLLOW or path ends with a
 * slash. Links inside are never followed; of file systems that are no files
 * (proc, sysfs, ...) only the folders are sent; sockets and devices are counted
 * in end->skipped. -ECANCELED: the receiver has said its last word. */
int tree_send(struct tree_wire *w, const char *path, uint32_t flags,
	      struct tree_end *end, struct err *e);

struct tree_target {
	const char *path;
	const char *base; /* name in path where that is a folder */
	uint32_t flags;	  /* TREE_CONTENTS, TREE_STREAM, TREE_OWNERS */
	/* Without TREE_OWNERS: whom it belongs to; -1: left as it is made. */
	int64_t uid, gid;
	bool special; /* set-user-id, set-group-id and sticky are kept */
};

/* Takes frames up to the sender's TREE_END and writes them at target: in it,
 * where it is a folder (unless TREE_CONTENTS), else in its place. Nothing is
 * written but at and below it: no symbolic link below it is followed, whatever
 * was there or came. *end: what was written; *sender: its last word. */
int tree_receive(struct tree_wire *w, const struct tree_target *t,
		 struct tree_end *end, struct tree_end *sender, struct err *e);

/* openat2() below a folder: no link, no "..", no magic link. */
int tree_open_beneath(int dirfd, const char *path, uint64_t flags);

#endif
