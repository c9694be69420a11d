/* SPDX-License-Identifier: Apache-2.0 */
/* hyb volume rm NAME... */
#include "common/base/cleanup.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

static int remove_one(struct vl_conn *c, const char *name)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;
	char what[320];
	int st;

	st = client_call(c, HOST_IFACE "VolumeRemove",
			 json_pack("{s:s}", "name", name), CLI_QUICK_MS, &reply,
			 &e);
	if (st) {
		snprintf(what, sizeof(what), "volume rm '%.256s'", name);
		return cli_fail(st, what, &e);
	}
	fputs("removed ", stdout);
	out_text(stdout, out_str(reply.parameters, "name"));
	putchar('\n');
	return 0;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	(void)args;
	return client_each(cli, "volume rm", n, words, remove_one);
}

const struct verb cli_verb_volume_rm = {
	.name = "volume rm",
	.words = "NAME...",
	.brief = "Deletes volumes that nobody uses, with all that is in them",
	.min_words = 1,
	.max_words = -1,
	.run = run,
};
