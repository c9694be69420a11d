/* SPDX-License-Identifier: Apache-2.0 */
/* hyb pause NAME... */
#include "common/base/cleanup.h"
#include "host-agent/cli/change.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

static int run(struct cli *cli, const void *args, int n, char **words)
{
	const struct change_args *a = args;

	return change_run(cli, "pause", HOST_IFACE "Pause", "paused",
			  &a->timeout, n, words);
}

const struct verb cli_verb_pause = {
	.name = "pause",
	.words = "NAME...",
	.brief = "Freezes what runs in a stack, a VM or a container",
	.about =
		"Its processes get no CPU time and keep their memory until `hyb resume`. What ends,\nor is stopped, started, restarted or deployed, is not paused any more.",
	.opts = change_opts,
	.n_opts = ARRAY_SIZE(change_opts),
	.args_size = sizeof(struct change_args),
	.min_words = 1,
	.max_words = -1,
	.kind = WORDS_NAMES,
	.run = run,
};
