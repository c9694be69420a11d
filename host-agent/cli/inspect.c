/* SPDX-License-Identifier: Apache-2.0 */
/* hyb inspect NAME */
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

static int run(struct cli *cli, const void *args, int n, char **words)
{
	(void)args;
	(void)n;
	return client_inspect(cli, "inspect", HOST_IFACE "Inspect", "name",
			      words[0]);
}

const struct verb cli_verb_inspect = {
	.name = "inspect",
	.words = "NAME",
	.brief = "Shows all that is known of a stack, VM or container, as JSON",
	.min_words = 1,
	.max_words = 1,
	.kind = WORDS_NAMES,
	.run = run,
};
