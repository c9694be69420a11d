/* SPDX-License-Identifier: Apache-2.0 */
/* hyb top [NAME] */
#include "common/base/cleanup.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

struct args {
	bool no_trunc;
	enum out_format format;
};

static const struct opt opts[] = {
	{'o', "output", OPT_FORMAT, offsetof(struct args, format), "table|json",
	 "how to show it"},
	{'\0', "no-trunc", OPT_FLAG, offsetof(struct args, no_trunc), NULL,
	 "nothing is shortened"},
};

/* The objects of `-o json`, promised in docs/cli.md. */
static const char *const fields[] = {
	"tenant",	 "stack", "vm",	      "container", "pid",     "uid",
	"process_state", "rss",	  "cpu_usec", "threads",   "command", NULL};

static void print_row(struct out_table *t, const json_t *row, bool whole)
{
	int64_t ms = out_int(row, "cpu_usec", 0) / 1000;
	char text[192];

	snprintf(text, sizeof(text), "%.60s/%.60s/%.60s", out_str(row, "stack"),
		 out_str(row, "vm"), out_str(row, "container"));
	out_table_cell(t, text);
	snprintf(text, sizeof(text), "%lld", (long long)out_int(row, "pid", 0));
	out_table_cell(t, text);
	snprintf(text, sizeof(text), "%lld", (long long)out_int(row, "uid", 0));
	out_table_cell(t, text);
	out_table_cell(t, out_str(row, "process_state"));
	out_table_cell(t, out_size((uint64_t)out_int(row, "rss", 0), text));
	out_table_cell(t, out_elapsed((uint64_t)ms, text));
	snprintf(text, sizeof(text), "%.*s", whole ? 191 : 60,
		 out_str(row, "command"));
	out_table_cell(t, whole ? out_str(row, "command") : text);
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	static const char *const headings[] = {"NAME",	  "PID", "UID",
					       "STATE",	  "RSS", "CPU TIME",
					       "COMMAND", NULL};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	const struct args *a = args;
	struct err e = ERR_INIT;
	int st;

	st = client_one(cli, HOST_IFACE "Top",
			json_pack("{s:s}", "name", n ? words[0] : ""), &reply,
			&e);
	if (st)
		return cli_fail(st, "top", &e);
	out_rows(json_object_get(reply.parameters, "rows"), a->format,
		 a->no_trunc, fields, headings, print_row);
	return CLI_DONE;
}

const struct verb cli_verb_top = {
	.name = "top",
	.words = "[NAME]",
	.brief = "Lists the processes of what runs",
	.about = "Process and user ids are the container's own.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.max_words = 1,
	.kind = WORDS_NAMES,
	.run = run,
};
