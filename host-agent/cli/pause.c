/* SPDX-License-Identifier: Apache-2.0 */
/* hyb pause NAME... */
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

	return change_run(cli, "pause", HOST_IFACE "Pause", "paused",
			  &a->timeout, n, words);
}

const struct verb cli_verb_pause = {
	.name = "pause",
	.words = "NAME...",
	.brief = "Freezes what runs in a stack, a VM or a container",
	.about =
		"Its processes get no CPU time and keep their memory until `hyb resume`. What ends,\nor is stopped, started, restarted or deployed, is not paused any more.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 1,
	.max_words = -1,
	.kind = WORDS_NAMES,
	.run = run,
};
