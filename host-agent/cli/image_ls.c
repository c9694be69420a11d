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

static void tell_layers(const json_t *reply)
{
	int64_t n = out_int(reply, "layers", 0);
	int64_t bytes = out_int(reply, "layers_size", 0);
	char text[24];

	if (n > 0 && bytes >= 0)
		printf("%lld layer%s kept for pulls: %s\n", (long long)n,
		       n == 1 ? "" : "s", out_size((uint64_t)bytes, text));
}

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
	if (a->format == OUT_TABLE)
		tell_layers(reply.parameters);
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
