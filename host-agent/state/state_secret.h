/* SPDX-License-Identifier: Apache-2.0 */
/* Sealed secrets in the store: what the seal is, secret/ knows. */
#ifndef HYB_HOST_AGENT_STATE_STATE_SECRET_H
#define HYB_HOST_AGENT_STATE_STATE_SECRET_H

#include "host-agent/state/state.h"

struct state_secret {
	char tenant[STATE_NAME_MAX];
	char stack[STATE_NAME_MAX]; /* "": set by hand */
	char name[STATE_NAME_MAX];
	int64_t version; /* never used twice */
	int64_t created_at;
	char *sealed; /* hexadecimal; owned; NULL in lists */
};

/* -ENOENT (without a message): none. sealed is to be freed. */
int state_secret_find(struct state *s, const char *tenant, const char *stack,
		      const char *name, struct state_secret *ret,
		      struct err *e);
/* A version that no secret has had. */
int state_secret_version(struct state *s, int64_t *ret, struct err *e);
int state_secret_put(struct state *s, const struct state_secret *v,
		     struct err *e);
int state_secret_remove(struct state *s, const char *tenant, const char *stack,
			const char *name, struct err *e);
/* Removes those of stacks that are not there: what ended in the middle of a
 * deployment, or of taking one down, has left them. */
int state_secret_purge(struct state *s, struct err *e);
/* Without what is sealed; the caller frees *ret. */
int state_secret_list(struct state *s, struct state_secret **ret, size_t *ret_n,
		      struct err *e);

#endif
