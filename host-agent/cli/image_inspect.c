/* SPDX-License-Identifier: Apache-2.0 */
/* hyb image inspect REF */
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

static int run(struct cli *cli, const void *args, int n, char **words)
{
	(void)args;
	(void)n;
	return client_inspect(cli, "image inspect", HOST_IFACE "ImageInspect",
			      "reference", words[0]);
}

const struct verb cli_verb_image_inspect = {
	.name = "image inspect",
	.words = "REF",
	.brief = "Shows all that is known of an image, as JSON",
	.min_words = 1,
	.max_words = 1,
	.kind = WORDS_IMAGES,
	.run = run,
};
