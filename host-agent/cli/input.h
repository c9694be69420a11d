/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests and what they name, read with the caller's rights. */
#ifndef HYB_HOST_AGENT_CLI_INPUT_H
#define HYB_HOST_AGENT_CLI_INPUT_H

#include "common/base/err.h"

#include <jansson.h>
#include <stddef.h>

struct input {
	const char *file; /* as given; "-" is standard input */
	char *text;
	size_t len;
	/* By the path as the manifest has it: of env_files and profiles, and, in
	 * hexadecimal, of secrets and configs. */
	json_t *env_files, *files;
	char *folder; /* the manifest's, absolute; NULL: not known */
	size_t n_stacks, n_tenants;
};

void input_done(struct input *in);

/* Reads a manifest and its env_files, and checks it all. 0, or an exit status:
 * what is wrong has been printed. */
int input_load(const char *verb, const char *file, struct input *in);
/* n of them; an array to be freed with inputs_free(). Every file is read, so
 * that the errors of all are shown. *ret_status as above. */
struct input *inputs_load(const char *verb, int n, char **files,
			  int *ret_status);
void inputs_free(struct input *inputs, int n);

/* {file, text, env_files}: what Deploy and Plan begin with. NULL: no memory. */
json_t *input_params(const struct input *in);

#endif
