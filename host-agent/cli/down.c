/* SPDX-License-Identifier: Apache-2.0 */
/* hyb down NAME... */
#include "common/base/cleanup.h"
#include "host-agent/cli/change.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

struct args {
	struct opt_duration timeout;
	bool volumes;
};

static const struct opt opts[] = {
	CHANGE_OPT_TIMEOUT(struct args),
	{'\0', "volumes", OPT_FLAG, offsetof(struct args, volumes), NULL,
	 "delete its volumes, with all that is in them"},
};

static int run(struct cli *cli, const void *args, int n, char **words)
{
	const struct args *a = args;

	return change_run(cli, "down",
			  a->volumes ? HOST_IFACE "DownVolumes"
				     : HOST_IFACE "Down",
			  "taken down", &a->timeout, n, words);
}

const struct verb cli_verb_down = {
	.name = "down",
	.words = "NAME...",
	.brief = "Takes a stack down, for good",
	.about = "Containers and VMs are removed; images stay, and so do "
		 "volumes, unless\n--volumes is given.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 1,
	.max_words = -1,
	.kind = WORDS_NAMES,
	.run = run,
};
