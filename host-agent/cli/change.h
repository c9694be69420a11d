/* SPDX-License-Identifier: Apache-2.0 */
/* What start, stop and down have in common: one call a name, with progress. */
#ifndef HYB_HOST_AGENT_CLI_CHANGE_H
#define HYB_HOST_AGENT_CLI_CHANGE_H

#include "host-agent/cli/cli.h"

/* done: what is said when it worked ("stopped"). Exit status; every name is
 * tried, the first failure counts. */
int change_run(struct cli *cli, const char *verb, const char *method,
	       const char *done, const struct opt_duration *timeout, int n,
	       char **names);

#endif
