/* SPDX-License-Identifier: Apache-2.0 */
/* The changes of a plan, as a list. */
#ifndef HYB_HOST_AGENT_CLI_CHANGES_H
#define HYB_HOST_AGENT_CLI_CHANGES_H

#include "host-agent/cli/out.h"

/* As a table (nothing for an empty list) on standard output. */
void changes_print(const json_t *changes);
/* As an array of flat objects: action object class why. */
int changes_json(const json_t *changes);
/* The sentences of `warnings` in a reply, on standard error. */
void warnings_print(const json_t *reply);

#endif
