/* SPDX-License-Identifier: Apache-2.0 */
/* hyb plan FILE... */
#include "common/base/cleanup.h"
#include "host-agent/cli/changes.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/input.h"
#include "host-agent/cli/verbs.h"

struct args {
	enum out_format format;
};

static const struct opt opts[] = {
	{'o', "output", OPT_FORMAT, offsetof(struct args, format), "table|json",
	 "how to show it"},
};

/* Adds the changes of one file to `all`. */
static int plan_one(struct vl_conn *c, const struct input *in, json_t *all)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;
	char what[320];
	int st;

	st = client_call(c, HOST_IFACE "Plan", input_params(in), CLI_QUICK_MS,
			 &reply, &e);
	if (st) {
		snprintf(what, sizeof(what), "plan '%.300s'", in->file);
		return cli_fail(st, what, &e);
	}
	warnings_print(reply.parameters);
	json_array_extend(all, json_object_get(reply.parameters, "changes"));
	return 0;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	const struct args *a = args;
	json_t *all = json_array();
	struct err e = ERR_INIT;
	struct input *in;
	int i, st;

	in = inputs_load("plan", n, words, &st);
	if (in) {
		st = client_open(cli, CLIENT_START, &c, &e);
		if (st)
			cli_fail(st, "plan", &e);
	}
	for (i = 0; i < n && st == 0; i++)
		st = plan_one(&c, &in[i], all);
	inputs_free(in, n);
	if (st == 0) {
		st = json_array_size(all) ? CLI_CHANGES : CLI_DONE;
		if (a->format == OUT_JSON)
			changes_json(all);
		else if (st == CLI_DONE)
			puts("nothing to do");
		else
			changes_print(all);
	}
	json_decref(all);
	return st;
}

const struct verb cli_verb_plan = {
	.name = "plan",
	.words = "FILE...",
	.brief = "Shows what deploy would do, and does nothing",
	.about = "Exit status 0: nothing to do; 8: there are changes.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 1,
	.max_words = -1,
	.kind = WORDS_FILES,
	.run = run,
};
