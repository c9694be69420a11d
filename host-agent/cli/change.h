/* SPDX-License-Identifier: Apache-2.0 */
/* What start, stop, restart, pause, resume and down have in common: one call a
 * name, with progress. */
#ifndef HYB_HOST_AGENT_CLI_CHANGE_H
#define HYB_HOST_AGENT_CLI_CHANGE_H

#include "host-agent/cli/cli.h"

/* Their options, where they have no other. */
struct change_args {
	struct opt_duration timeout;
};
#define CHANGE_OPT_TIMEOUT(args)                                            \
	{                                                                   \
		'\0', "timeout", OPT_DURATION, offsetof(args, timeout),     \
			"TIME", "give up waiting after this (default 120s)" \
	}
extern const struct opt change_opts[1];

/* done: what is said when it worked ("stopped"). Exit status; every name is
 * tried, the first failure counts. */
int change_run(struct cli *cli, const char *verb, const char *method,
	       const char *done, const struct opt_duration *timeout, int n,
	       char **names);

#endif
