/* SPDX-License-Identifier: Apache-2.0 */
/* hyb stop NAME... */
#include "common/base/cleanup.h"
#include "host-agent/cli/change.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

static int run(struct cli *cli, const void *args, int n, char **words)
{
	const struct change_args *a = args;

	return change_run(cli, "stop", HOST_IFACE "Stop", "stopped",
			  &a->timeout, n, words);
}

const struct verb cli_verb_stop = {
	.name = "stop",
	.words = "NAME...",
	.brief = "Stops a stack, a VM or a container, until it is started",
	.about =
		"Its processes get their stop signal, and after their grace period they are killed.\nA stopped VM keeps its place in the stack; `hyb start` or `hyb deploy` starts it.",
	.opts = change_opts,
	.n_opts = ARRAY_SIZE(change_opts),
	.args_size = sizeof(struct change_args),
	.min_words = 1,
	.max_words = -1,
	.kind = WORDS_NAMES,
	.run = run,
};
