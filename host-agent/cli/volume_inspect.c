/* SPDX-License-Identifier: Apache-2.0 */
/* hyb volume inspect NAME */
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

static int run(struct cli *cli, const void *args, int n, char **words)
{
	(void)args;
	(void)n;
	return client_inspect(cli, "volume inspect", HOST_IFACE "VolumeInspect",
			      "name", words[0]);
}

const struct verb cli_verb_volume_inspect = {
	.name = "volume inspect",
	.words = "NAME",
	.brief = "Shows all that is known of a volume, as JSON",
	.min_words = 1,
	.max_words = 1,
	.run = run,
};
