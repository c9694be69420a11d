/* SPDX-License-Identifier: Apache-2.0 */
/* hyb restart NAME... */
#include "common/base/cleanup.h"
#include "host-agent/cli/change.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

static int run(struct cli *cli, const void *args, int n, char **words)
{
	const struct change_args *a = args;

	return change_run(cli, "restart", HOST_IFACE "Restart", "restarted",
			  &a->timeout, n, words);
}

const struct verb cli_verb_restart = {
	.name = "restart",
	.words = "NAME...",
	.brief = "Stops what runs and starts it again",
	.about =
		"As `hyb stop` and `hyb start` do; what does not run is started. A VM is made anew.",
	.opts = change_opts,
	.n_opts = ARRAY_SIZE(change_opts),
	.args_size = sizeof(struct change_args),
	.min_words = 1,
	.max_words = -1,
	.kind = WORDS_NAMES,
	.run = run,
};
