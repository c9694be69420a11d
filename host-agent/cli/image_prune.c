/* SPDX-License-Identifier: Apache-2.0 */
/* hyb image prune */
#include "common/base/cleanup.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

struct args {
	bool all, dry_run;
	enum out_format format;
};

#define AT(m) offsetof(struct args, m)

static const struct opt opts[] = {
	{'a', "all", OPT_FLAG, AT(all), NULL, "also images that have a name"},
	{'\0', "dry-run", OPT_FLAG, AT(dry_run), NULL,
	 "say what would go, and remove nothing"},
	{'o', "output", OPT_FORMAT, AT(format), "table|json", "how to show it"},
};

static void print(const struct args *a, const json_t *reply)
{
	const json_t *name, *removed = json_object_get(reply, "removed");
	int64_t bytes = out_int(reply, "bytes", 0);
	int64_t layers = out_int(reply, "layers", 0);
	char text[24];
	size_t i;

	if (a->format == OUT_JSON) {
		out_json(reply);
		return;
	}
	json_array_foreach(removed, i, name) {
		if (!json_is_string(name))
			continue;
		fputs(a->dry_run ? "would remove " : "removed ", stdout);
		out_text(stdout, json_string_value(name));
		putchar('\n');
	}
	if (layers > 0)
		printf("%s %lld layer%s kept for pulls\n",
		       a->dry_run ? "would remove" : "removed",
		       (long long)layers, layers == 1 ? "" : "s");
	printf("%s %s\n", out_size(bytes < 0 ? 0 : (uint64_t)bytes, text),
	       a->dry_run ? "would be freed" : "freed");
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	const struct args *a = args;
	struct err e = ERR_INIT;
	int st;

	(void)n;
	(void)words;
	st = client_one(
		cli, HOST_IFACE "ImagePrune",
		json_pack("{s:b,s:b}", "all", a->all, "dry_run", a->dry_run),
		&reply, &e);
	if (st)
		return cli_fail(st, "image prune", &e);
	print(a, reply.parameters);
	return CLI_DONE;
}

const struct verb cli_verb_image_prune = {
	.name = "image prune",
	.words = "",
	.brief = "Removes images that no container uses",
	.about = "Without -a: those that no name leads to any more.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 0,
	.max_words = 0,
	.kind = WORDS_NONE,
	.run = run,
};
