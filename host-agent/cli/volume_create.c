/* SPDX-License-Identifier: Apache-2.0 */
/* hyb volume create NAME --size SIZE */
#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

struct args {
	const char *size;
};

static const struct opt opts[] = {
	{'\0', "size", OPT_STRING, offsetof(struct args, size), "SIZE",
	 "how much it can hold: 512m, 20g"},
};

static int run(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	const struct args *a = args;
	struct err e = ERR_INIT;
	uint64_t size = 0;
	char what[320];
	int st;

	(void)n;
	if (!a->size)
		return cli_usage("volume create", "--size is missing");
	if (parse_size(a->size, &size) < 0)
		return cli_usage("volume create",
				 "'%s' is not a size such as 512m or 20g",
				 a->size);
	st = client_one(cli, HOST_IFACE "VolumeCreate",
			json_pack("{s:s,s:I}", "name", words[0], "size",
				  (json_int_t)size),
			&reply, &e);
	if (st) {
		snprintf(what, sizeof(what), "volume create '%.256s'",
			 words[0]);
		return cli_fail(st, what, &e);
	}
	puts(words[0]);
	return CLI_DONE;
}

const struct verb cli_verb_volume_create = {
	.name = "volume create",
	.words = "NAME",
	.brief = "Makes a volume that belongs to no stack",
	.about = "A manifest uses it as NAME: { external: true }. Made again "
		 "with a larger size,\nit grows.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 1,
	.max_words = 1,
	.run = run,
};
