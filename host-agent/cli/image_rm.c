/* SPDX-License-Identifier: Apache-2.0 */
/* hyb image rm REF... */
#include "common/base/cleanup.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

static int remove_one(struct vl_conn *c, const char *ref)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	const json_t *removed, *name;
	struct err e = ERR_INIT;
	char what[320];
	size_t i;
	int st;

	st = client_call(c, HOST_IFACE "ImageRemove",
			 json_pack("{s:s}", "reference", ref), CLI_QUICK_MS,
			 &reply, &e);
	if (st) {
		snprintf(what, sizeof(what), "image rm '%.256s'", ref);
		return cli_fail(st, what, &e);
	}
	removed = json_object_get(reply.parameters, "removed");
	json_array_foreach(removed, i, name) {
		if (!json_is_string(name))
			continue;
		fputs("removed ", stdout);
		out_text(stdout, json_string_value(name));
		putchar('\n');
	}
	return 0;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	(void)args;
	return client_each(cli, "image rm", n, words, remove_one);
}

const struct verb cli_verb_image_rm = {
	.name = "image rm",
	.words = "REF...",
	.brief = "Removes images that no stack uses",
	.min_words = 1,
	.max_words = -1,
	.kind = WORDS_IMAGES,
	.run = run,
};
