/* SPDX-License-Identifier: Apache-2.0 */
/* hyb restart NAME... */
#include "common/base/cleanup.h"
#include "host-agent/cli/change.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

struct args {
	struct opt_duration timeout;
};

static const struct opt opts[] = {
	{'\0', "timeout", OPT_DURATION, offsetof(struct args, timeout), "TIME",
	 "give up waiting after this (default 120s)"},
};

static int run(struct cli *cli, const void *args, int n, char **words)
{
	const struct args *a = args;

	return change_run(cli, "restart", HOST_IFACE "Restart", "restarted",
			  &a->timeout, n, words);
}

const struct verb cli_verb_restart = {
	.name = "restart",
	.words = "NAME...",
	.brief = "Stops what runs and starts it again",
	.about =
		"As `hyb stop` and `hyb start` do; what does not run is started. A VM is made anew.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 1,
	.max_words = -1,
	.kind = WORDS_NAMES,
	.run = run,
};
