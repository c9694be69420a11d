/* SPDX-License-Identifier: Apache-2.0 */
/* hyb resume NAME... */
#include "common/base/cleanup.h"
#include "host-agent/cli/change.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

static int run(struct cli *cli, const void *args, int n, char **words)
{
	const struct change_args *a = args;

	return change_run(cli, "resume", HOST_IFACE "Resume", "resumed",
			  &a->timeout, n, words);
}

const struct verb cli_verb_resume = {
	.name = "resume",
	.words = "NAME...",
	.brief = "Lets go on what was paused",
	.about = "A whole stack, a VM or a container.",
	.opts = change_opts,
	.n_opts = ARRAY_SIZE(change_opts),
	.args_size = sizeof(struct change_args),
	.min_words = 1,
	.max_words = -1,
	.kind = WORDS_NAMES,
	.run = run,
};
