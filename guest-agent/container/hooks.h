/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hooks that run in the caller's own namespaces: prestart and createRuntime
 * (container_create() calls them), poststart and poststop (its callers do,
 * because the container may be gone by then). Those that run in the container's
 * are in childhooks.h.
 */
#ifndef HYB_GUEST_CONTAINER_HOOKS_H
#define HYB_GUEST_CONTAINER_HOOKS_H

#include "common/base/err.h"
#include "common/oci/runtime.h"

#include <sys/types.h>

/* What a hook reads on its standard input, as `state` prints it. */
struct hook_state {
	const char *id, *status, *bundle;
	pid_t pid;			  /* 0: left out */
	const struct oci_runtime *config; /* for its annotations */
};

/* The state as JSON, for the caller to free; NULL: no memory. */
char *hooks_state_text(const struct hook_state *s);

/* Runs them in order, each to its end or until its timeout, when it is killed;
 * the first that fails ends it: -EIO or -ETIMEDOUT, with "hooks.KIND[i]: ...".
 * Their standard error is the caller's. */
int hooks_run(const char *kind, const struct oci_hook *hooks, size_t n,
	      const struct hook_state *state, struct err *e);

#endif
