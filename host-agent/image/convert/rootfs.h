/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The merged tree in memory: names and what they lead to. Nodes are names,
 * inodes are what they name; several names of one inode are hard links. Both
 * are numbers into tables, 0 for none; node 1 is the root.
 *
 * No recursion anywhere: depth is what an enemy chooses.
 */
#ifndef HYB_IMAGE_CONVERT_ROOTFS_H
#define HYB_IMAGE_CONVERT_ROOTFS_H

#include "common/base/err.h"
#include "host-agent/image/convert/erofs.h"

#include <stddef.h>
#include <stdint.h>

#define ROOTFS_ROOT 1u

struct rootfs_node {
	uint32_t parent;
	uint32_t next, prev; /* sisters */
	uint32_t child;	     /* first, of a directory */
	uint32_t hash_next;
	uint32_t inode;
	uint32_t name_at;
	uint8_t name_len;
	uint8_t layer;	 /* the last that named it or something below it */
	uint8_t depth;	 /* of the root 0 */
	uint8_t cleared; /* layer that hid all below that is older */
};

struct rootfs_inode {
	struct erofs_loc loc; /* not yet of a directory */
	uint32_t nlink;	      /* names */
	uint16_t mode;	      /* 0: not in use */
	uint8_t layer;	      /* that gave it its attributes */
	/* Of a directory, whose inode is written at the end. */
	uint32_t uid, gid, mtime_nsec;
	int64_t mtime;
	uint32_t xattrs_at, xattrs_len; /* in the pool */
	/* Of a symbolic link: its target, in the pool. */
	uint32_t link_at, link_len;
};

struct rootfs {
	struct rootfs_node *nodes;
	uint32_t n_nodes, cap_nodes, free_node, live_nodes;
	struct rootfs_inode *inodes;
	uint32_t n_inodes, cap_inodes, free_inode;
	uint32_t *buckets;
	uint32_t n_buckets; /* a power of two */
	uint64_t seed;
	char *pool; /* names, targets, attributes */
	size_t pool_len, pool_cap;
	uint32_t max_entries;
	/* Called when the last name of something that is not a directory goes.
	 */
	void (*released)(void *arg, const struct rootfs_inode *i);
	void *arg;
};

int rootfs_init(struct rootfs *t, uint32_t max_entries, struct err *e);
void rootfs_done(struct rootfs *t);

static inline struct rootfs_node *rootfs_node(const struct rootfs *t,
					      uint32_t n)
{
	return &t->nodes[n];
}
static inline struct rootfs_inode *rootfs_inode(const struct rootfs *t,
						uint32_t n)
{
	return &t->inodes[t->nodes[n].inode];
}
static inline const char *rootfs_name(const struct rootfs *t, uint32_t n)
{
	return t->pool + t->nodes[n].name_at;
}
/* 0: no such name. */
uint32_t rootfs_lookup(const struct rootfs *t, uint32_t dir, const char *name,
		       size_t len);
/* A new inode without a name; *ret is its number. */
int rootfs_new_inode(struct rootfs *t, uint32_t *ret, struct err *e);
/* A new name, which must not exist yet, for an inode. */
int rootfs_add(struct rootfs *t, uint32_t dir, const char *name, size_t len,
	       uint32_t inode, uint8_t layer, uint32_t *ret, struct err *e);
/* Bytes into the pool. */
int rootfs_store(struct rootfs *t, const void *data, size_t len, uint32_t *ret,
		 struct err *e);
/* Gives the name back, with all below it. Not for the root. */
void rootfs_remove(struct rootfs *t, uint32_t node);
/* Removes what is below the directory and comes from layers before this one;
 * a second time in one layer there is nothing left to remove. A directory that this layer reached into without naming it loses its
 * attributes. */
void rootfs_clear(struct rootfs *t, uint32_t dir, uint8_t layer);
/* Puts the children of dir in order of their bytes. */
void rootfs_sort(struct rootfs *t, uint32_t dir);
/* The node behind n in a walk of the whole tree below top, parents before
 * children; 0 at the end. */
uint32_t rootfs_walk(const struct rootfs *t, uint32_t top, uint32_t n);
/* Attributes of a directory that no layer describes: 0755, root's, time 0. */
void rootfs_plain_dir(struct rootfs_inode *i);

#endif
