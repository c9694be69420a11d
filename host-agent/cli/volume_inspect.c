/* SPDX-License-Identifier: Apache-2.0 */
/* hyb volume inspect NAME */
#include "common/base/cleanup.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

static int run(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;
	char what[320];
	int st;

	(void)args;
	(void)n;
	st = client_one(cli, HOST_IFACE "VolumeInspect",
			json_pack("{s:s}", "name", words[0]), &reply, &e);
	if (st == 0) {
		out_json(json_object_get(reply.parameters, "object"));
		return CLI_DONE;
	}
	snprintf(what, sizeof(what), "volume inspect '%.256s'", words[0]);
	return cli_fail(st, what, &e);
}

const struct verb cli_verb_volume_inspect = {
	.name = "volume inspect",
	.words = "NAME",
	.brief = "Shows all that is known of a volume, as JSON",
	.min_words = 1,
	.max_words = 1,
	.run = run,
};
