/* SPDX-License-Identifier: Apache-2.0 */
/* The errors of one manifest, collected while it is read. */
#ifndef HYB_HOST_AGENT_MANIFEST_DIAG_H
#define HYB_HOST_AGENT_MANIFEST_DIAG_H

#include "host-agent/manifest/manifest.h"

struct diags {
	struct arena *arena; /* of messages and source lines */
	struct manifest_diagnostic *items;
	size_t n;
	bool truncated; /* more than HYB_MANIFEST_ERRORS_MAX */
	bool no_memory;
};

/* items in the arena. 0 or -ENOMEM. */
int diags_init(struct diags *d, struct arena *arena);

/* Adds an error; text from the manifest in it has gone through diag_quote(). */
void diag_add(struct diags *d, uint32_t line, uint32_t col, const char *fmt,
	      ...) __attribute__((format(printf, 4, 5)));

/* 'text', safe for a terminal and not too long; never NULL. */
const char *diag_quote(struct diags *d, const char *text, size_t len);
/* Somebody else's error message, as above, longer and without quotes. */
const char *diag_message(struct diags *d, const char *text);

/* At the end: sorts by position, drops repetitions (a faulty node that is used
 * by several aliases) and adds the source lines. */
void diags_finish(struct diags *d, const char *text, size_t len);

#endif
