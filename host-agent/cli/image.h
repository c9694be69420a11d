/* SPDX-License-Identifier: Apache-2.0 */
/* What the image verbs have in common. */
#ifndef HYB_HOST_AGENT_CLI_IMAGE_H
#define HYB_HOST_AGENT_CLI_IMAGE_H

#include "host-agent/cli/out.h"

struct cli;

/* Rows of images as a table or as JSON on standard output. */
void image_print(const json_t *rows, enum out_format format, bool whole);

/* The archive becomes an image of this name, which is shown: 0, or the status
 * with *e set. */
int image_take(struct cli *cli, const char *name, enum out_format format,
	       const char *file, struct err *e);

/* The sentences about what was left out, on standard error. */
void image_print_skipped(const json_t *reply);

/* Says that `hyb image VERB WORD` has failed; returns the status. What hybd
 * says begins with VERB and WORD too: that is said once. */
int image_fail(int status, const char *verb, const char *word, struct err *e);

/* The caller's credentials of registries as a descriptor for ImagePull and Deploy,
 * -1 where there are none. file: in place of $REGISTRY_AUTH_FILE and the usual files. */
int image_auth_open(const char *file, int *ret, struct err *e);

#endif
