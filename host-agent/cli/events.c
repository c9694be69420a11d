/* SPDX-License-Identifier: Apache-2.0 */
/* hyb events [-f] [NAME] */
#include "common/base/cleanup.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

struct args {
	bool follow;
	const char *since;
	enum out_format format;
};

#define AT(m) offsetof(struct args, m)

static const struct opt opts[] = {
	{'f', "follow", OPT_FLAG, AT(follow), NULL, "go on as more happens"},
	{'\0', "since", OPT_STRING, AT(since), "TIME",
	 "from then on: 10m ago (\"10m\") or 2026-01-31T12:00:00Z"},
	{'o', "output", OPT_FORMAT, AT(format), "table|json",
	 "how to show it; json with -f: an object a line"},
};

/* The objects of `-o json`, promised in docs/cli.md. */
static const char *const fields[] = {"time",  "tenant",	 "object",
				     "event", "message", NULL};

static void print_line(const json_t *ev)
{
	const char *message = out_str(ev, "message");
	char text[900];

	snprintf(text, sizeof(text), "%.30s  %-24.160s %.32s%s%.520s",
		 out_str(ev, "time"), out_str(ev, "object"),
		 out_str(ev, "event"), *message ? ": " : "", message);
	out_text(stdout, text);
	putchar('\n');
}

static void on_event(void *ctx, const json_t *ev)
{
	const struct args *a = ctx;

	if (!ev)
		return;
	if (a->format == OUT_JSON) {
		json_dumpf(ev, stdout, JSON_COMPACT);
		putchar('\n');
	} else {
		print_line(ev);
	}
	fflush(stdout);
}

static int run_follow(struct cli *cli, const struct args *a, json_t *params)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;
	struct args own = *a;
	int st;

	st = client_open(cli, CLIENT_START, &c, &e);
	if (st) {
		json_decref(params);
		return cli_fail(st, "events", &e);
	}
	st = client_call_more(&c, HOST_IFACE "Events", params, NULL, 0, 0,
			      on_event, &own, &reply, &e);
	return st ? cli_fail(st, "events", &e) : st;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	const struct args *a = args;
	struct err e = ERR_INIT;
	const json_t *list, *ev;
	json_t *params;
	int64_t since;
	size_t i;
	int st;

	if (out_parse_since(a->since, &since, &e) < 0)
		return cli_fail(CLI_USAGE, "events", &e);
	params = json_pack("{s:s,s:b,s:I}", "name", n ? words[0] : "", "follow",
			   (int)a->follow, "since", (json_int_t)since);
	if (a->follow)
		return run_follow(cli, a, params);
	st = client_one(cli, HOST_IFACE "Events", params, &reply, &e);
	if (st)
		return cli_fail(st, "events", &e);
	list = json_object_get(reply.parameters, "events");
	if (a->format == OUT_JSON) {
		out_json_rows(list, fields);
		return CLI_DONE;
	}
	json_array_foreach(list, i, ev)
		print_line(ev);
	return CLI_DONE;
}

const struct verb cli_verb_events = {
	.name = "events",
	.words = "[NAME]",
	.brief = "Shows what happened to stacks, VMs and containers, and why",
	.about = "The last 512 events since hybd began; they are not kept when "
		 "it ends.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.max_words = 1,
	.kind = WORDS_NAMES,
	.run = run,
};
