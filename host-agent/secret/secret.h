/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets at rest: sealed with AES-256-GCM by a key that is the host's,
 * ROOT/secret.key (0600), in the state store. What a secret is bound to (its
 * tenant, stack, name and version) is authenticated along: a row that was moved
 * or put back does not open. In the clear a secret is in memory only, of the
 * command line, of hybd and of the guests that have it.
 */
#ifndef HYB_HOST_AGENT_SECRET_SECRET_H
#define HYB_HOST_AGENT_SECRET_SECRET_H

#include "host-agent/state/state_secret.h"

#include <stddef.h>

/* Of one secret, and of one config: what a call and the guest's messages
 * hold. */
#define HYB_FILE_MAX ((size_t)64 * 1024)

struct secret_store;

/* Makes the key where there is none, and removes what is left of stacks that are
 * gone. -ENOKEY: it is gone, and sealed secrets
 * are there. */
int secret_store_open(const char *root, struct state *state,
		      struct secret_store **ret, struct err *e);

/* *ret_changed (may be NULL): 1 new, 2 another content, 0 the same. */
int secret_set(struct secret_store *s, const char *tenant, const char *stack,
	       const char *name, const void *data, size_t len, int *ret_changed,
	       struct err *e);
/* What secret_set() would do. */
int secret_would(struct secret_store *s, const char *tenant, const char *stack,
		 const char *name, const void *data, size_t len,
		 int *ret_changed, struct err *e);
/* Opens it: *ret is to be given to secret_free(). -ENOENT: there is none. */
int secret_get(struct secret_store *s, const char *tenant, const char *stack,
	       const char *name, char **ret, size_t *ret_len,
	       int64_t *ret_version, struct err *e);
/* Wipes it first. */
void secret_free(char *data, size_t len);
int secret_remove(struct secret_store *s, const char *tenant, const char *stack,
		  const char *name, struct err *e);
/* Raised with every change of any secret. */
uint64_t secret_generation(struct secret_store *s);

#endif
