/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML text → tree, with the place of every node. Aliases and merges are
 * resolved: an alias is the same node again (so the tree is a graph without
 * cycles, and its size is counted as if it were copied).
 */
#ifndef HYB_HOST_AGENT_MANIFEST_TREE_H
#define HYB_HOST_AGENT_MANIFEST_TREE_H

#include "host-agent/manifest/diag.h"

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct pair;

struct node {
	enum node_kind kind;
	bool plain; /* a scalar without quotes: may stand for null, a number */
	uint32_t line, col;
	uint32_t size;	 /* nodes of the tree that begins here */
	uint32_t height; /* levels of lists and maps in it; 0: a scalar */
	/* of a scalar: UTF-8, a NUL behind it and none in it */
	const char *text;
	size_t len;
	/* of a list or a map: n entries */
	const struct node *const *items;
	const struct pair *pairs; /* keys are scalars, each once */
	size_t n;
};

struct pair {
	const struct node *key, *value;
};

struct documents {
	const struct node **roots;
	size_t n;
};

/* Reads all documents. 0, -EINVAL (errors were added to d; the documents that
 * could be read whole are in *ret) or -ENOMEM. */
int tree_read(const char *text, size_t len, struct arena *arena,
	      struct diags *d, struct documents *ret);

/* Is it an empty value: nothing, ~ or null? */
bool node_is_null(const struct node *n);
/* The value of a key, or NULL. */
const struct node *node_get(const struct node *map, const char *key);

#endif
