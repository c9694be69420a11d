/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree of files as a stream of frames: what `hyb cp` and the process that
 * the agent runs inside a container say to each other. docs/protocol.md has
 * the format.
 *
 * The peer may be an enemy: a frame over its limit, a name that leads out of
 * the tree, data that goes backwards or beyond its file end the stream
 * (-EBADMSG); memory is bounded by one frame.
 */
#ifndef HYB_COMMON_TREE_WIRE_H
#define HYB_COMMON_TREE_WIRE_H

#include "common/base/buf.h"
#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* PATH_MAX and NAME_MAX of Linux without their NULs. */
#define TREE_PATH_MAX 4095
#define TREE_NAME_MAX 255
/* Folders inside one another: a descriptor each while they are read. */
#define TREE_DEPTH_MAX 255
/* Of one file. */
#define TREE_XATTRS_MAX 65536
/* A write and a new owner take it away: it is set last. */
#define TREE_XATTR_CAPS "security.capability"
/* Data of one frame, and the largest frame. */
#define TREE_DATA_MAX  ((size_t)65536)
#define TREE_FRAME_MAX ((size_t)131072)

enum tree_frame {
	TREE_REQUEST = 1,
	TREE_ENTRY,
	TREE_DATA,
	TREE_END,
};

enum tree_type {
	TREE_FILE = 1,
	TREE_DIR,
	TREE_SYMLINK,
	TREE_LINK, /* to a file that came before */
	TREE_FIFO,
	TREE_TYPE_MAX
};

/* One file; strings end with NUL and are valid until the next frame. */
struct tree_entry {
	enum tree_type type;
	uint32_t mode; /* 07777 */
	uint32_t uid, gid;
	int64_t mtime;
	uint32_t mtime_nsec;
	uint64_t size;	  /* of a file, holes included */
	const char *name; /* below the root; "": the root itself */
	const char *link; /* a symbolic link's text; a link's earlier name */
	/* name NUL, u32 length (little-endian), value; one after another */
	const unsigned char *xattrs;
	size_t xattrs_len;
};

/* What the host asks for, before all else. */
enum {
	TREE_IN = 1,	   /* the host sends; else the guest does */
	TREE_FOLLOW = 2,   /* a symbolic link at `path` is followed */
	TREE_CONTENTS = 4, /* what is in the folder, not the folder */
	TREE_STREAM = 8,   /* into the folder `path`, which is there */
	TREE_OWNERS = 16,  /* owners as they are sent; else 0:0 */
	/* All that a file is: its capabilities and ACLs, what the root itself
	 * is; what cannot be kept is an error, what is written is on disk. */
	TREE_WHOLE = 32,
};
struct tree_request {
	uint32_t flags;
	const char *path; /* absolute */
	const char *base; /* the name in a folder that is there */
};

/* The last word of either side. */
struct tree_end {
	int code; /* 0: all done; ENOENT, ENOSPC, EIO */
	uint64_t entries, bytes;
	uint32_t skipped; /* sockets and devices */
	char text[512];	  /* escaped; what went wrong */
};

struct tree_wire {
	int fd;		  /* a socket; not owned */
	uint64_t idle_ms; /* without a byte moved: -ETIMEDOUT; 0: for ever */
	struct buf out;
	unsigned char *in; /* received, TREE_FRAME_MAX + 8 */
	size_t in_at, in_len;
	char *name, *link; /* of the last entry */
	bool watch;	   /* while sending: an early TREE_END stops it */
	/* May be set: told of every piece of a stream that goes by. */
	void (*on_moved)(void *arg, size_t bytes);
	void *moved_arg;
};

int tree_wire_init(struct tree_wire *w, int fd, uint64_t idle_ms,
		   struct err *e);
void tree_wire_done(struct tree_wire *w);
#define _cleanup_tree_wire_ __attribute__((cleanup(tree_wire_done)))

/* Bytes that were received before. At most TREE_FRAME_MAX. */
int tree_wire_preload(struct tree_wire *w, const void *data, size_t len);

/* Queues and sends; -ECANCELED: the other side has said its last word. */
int tree_put_request(struct tree_wire *w, const struct tree_request *q,
		     struct err *e);
int tree_put_entry(struct tree_wire *w, const struct tree_entry *t,
		   struct err *e);
int tree_put_data(struct tree_wire *w, uint64_t offset, const void *data,
		  size_t len, struct err *e);
int tree_put_end(struct tree_wire *w, const struct tree_end *end,
		 struct err *e);
/* Sends what is queued. */
int tree_flush(struct tree_wire *w, struct err *e);

/* A frame: its kind and payload (valid until the next one), or -errno:
 * -ECONNRESET where the stream ends before its TREE_END. */
int tree_get(struct tree_wire *w, const unsigned char **ret, size_t *ret_len,
	     struct err *e);
/* The payloads, checked. */
int tree_parse_request(struct tree_wire *w, const unsigned char *p, size_t len,
		       struct tree_request *ret, struct err *e);
int tree_parse_entry(struct tree_wire *w, const unsigned char *p, size_t len,
		     struct tree_entry *ret, struct err *e);
int tree_parse_data(const unsigned char *p, size_t len, uint64_t *ret_offset,
		    const unsigned char **ret_data, size_t *ret_len,
		    struct err *e);
int tree_parse_end(const unsigned char *p, size_t len, struct tree_end *ret,
		   struct err *e);

/* Is it an attribute that is kept: a user's, and with TREE_WHOLE what decides
 * who may do what? */
bool tree_xattr_is_kept(const char *name, uint32_t flags);
/* Is it a name below a root: relative, no "", "." or ".." in it, no more and
 * no longer components than the limits say? "" is the root. */
bool tree_name_is_valid(const char *name);
/* The next attribute of e behind *at: true, and name and value. */
bool tree_xattr_next(const struct tree_entry *t, size_t *at, const char **name,
		     const void **value, size_t *len);
/* Fills an end from an error (e->code 0: none). */
void tree_end_from(struct tree_end *end, const struct err *e);

#endif
