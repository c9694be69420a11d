/* SPDX-License-Identifier: Apache-2.0 */
/* hyb stop NAME... */
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

	return change_run(cli, "stop", HOST_IFACE "Stop", "stopped",
			  &a->timeout, n, words);
}

const struct verb cli_verb_stop = {
	.name = "stop",
	.words = "NAME...",
	.brief = "Stops a stack, a VM or a container, until it is started",
	.about =
		"Its processes get their stop signal, and after their grace period they are killed.\nA stopped VM keeps its place in the stack; `hyb start` or `hyb deploy` starts it.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 1,
	.max_words = -1,
	.kind = WORDS_NAMES,
	.run = run,
};
