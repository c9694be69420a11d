/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hooks that run in the container's own namespaces: createContainer (before
 * the pivot, their paths are the runtime's) and startContainer (right before
 * the program, their paths are the container's). The parent prepares them, the
 * child, which allocates nothing, runs them.
 */
#ifndef HYB_GUEST_CONTAINER_CHILDHOOKS_H
#define HYB_GUEST_CONTAINER_CHILDHOOKS_H

#include "common/base/arena.h"
#include "common/base/err.h"
#include "guest-agent/container/hooks.h"

#include <stddef.h>
#include <stdint.h>

struct child_hook {
	const char *path;
	char **argv, **envp;
	uint64_t timeout_ms; /* 0: none */
};

/* All hooks of one kind. The pid that they read is the container's own word
 * for its first process, which only the child knows: it goes between head and
 * tail of the state. */
struct child_hooks {
	const char *kind;
	struct child_hook *hooks;
	size_t n;
	const char *head, *tail;
};

/* Prepares n hooks of `kind` in the arena, with the state that they read (its
 * pid is left to the child). -EINVAL: a path that is not absolute. */
int childhooks_plan(struct arena *a, const char *kind,
		    const struct oci_hook *hooks, size_t n,
		    const struct hook_state *state, struct child_hooks *ret,
		    struct err *e);

/* The child's side: runs them in order until one fails. 0, or -errno with
 * "KIND[i]: PATH" in what[size]. -EIO: it ended with another status than 0. */
int childhooks_run(const struct child_hooks *h, char *what, size_t size);

#endif
