/* SPDX-License-Identifier: Apache-2.0 */
/* hyb image ls */
#include "common/base/cleanup.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/image.h"
#include "host-agent/cli/verbs.h"

struct args {
	bool no_trunc;
	enum out_format format;
};

static const struct opt opts[] = {
	{'o', "output", OPT_FORMAT, offsetof(struct args, format), "table|json",
	 "how to show it"},
	{'\0', "no-trunc", OPT_FLAG, offsetof(struct args, no_trunc), NULL,
	 "whole digests"},
};

static int run(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	const struct args *a = args;
	struct err e = ERR_INIT;
	int st;

	(void)n;
	(void)words;
	st = client_one(cli, HOST_IFACE "ImageList", NULL, &reply, &e);
	if (st)
		return cli_fail(st, "image ls", &e);
	image_print(json_object_get(reply.parameters, "images"), a->format,
		    a->no_trunc);
	return CLI_DONE;
}

const struct verb cli_verb_image_ls = {
	.name = "image ls",
	.words = "",
	.brief = "Lists the store's images",
	.about = "SIZE is what was loaded, ON DISK what the converted image "
		 "takes.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.run = run,
};
