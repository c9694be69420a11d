/* SPDX-License-Identifier: Apache-2.0 */
/* hyb volume ls */
#include "common/base/cleanup.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

struct args {
	enum out_format format;
};

static const struct opt opts[] = {
	{'o', "output", OPT_FORMAT, offsetof(struct args, format), "table|json",
	 "how to show it"},
};

/* The objects of `-o json`, promised in docs/cli.md. */
static const char *const fields[] = {"tenant",	  "name",	"size",
				     "allocated", "used_by",	"state",
				     "problem",	  "created_at", NULL};

static void size_cell(struct out_table *t, const json_t *row, const char *key)
{
	int64_t v = out_int(row, key, -1);
	char text[24];

	out_table_cell(t, v < 0 ? "" : out_size((uint64_t)v, text));
}

static void print(const json_t *rows)
{
	static const char *const headings[] = {
		"NAME", "SIZE", "ON DISK", "STATE", "USED BY", "CREATED", NULL};
	_cleanup_out_table_ struct out_table t = {.n = 0};
	const json_t *row;
	char age[32];
	size_t i;

	out_table_init(&t, headings);
	json_array_foreach(rows, i, row) {
		out_table_cell(&t, out_str(row, "name"));
		size_cell(&t, row, "size");
		size_cell(&t, row, "allocated");
		out_table_cell(&t, out_str(row, "state"));
		out_table_cell(&t, out_str(row, "used_by"));
		out_table_cell(&t, out_age(out_str(row, "created_at"), age));
	}
	out_table_print(&t, stdout);
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	const struct args *a = args;
	struct err e = ERR_INIT;
	const json_t *rows;
	int st;

	(void)n;
	(void)words;
	st = client_one(cli, HOST_IFACE "VolumeList", NULL, &reply, &e);
	if (st)
		return cli_fail(st, "volume ls", &e);
	rows = json_object_get(reply.parameters, "volumes");
	if (a->format == OUT_JSON)
		out_json_rows(rows, fields);
	else
		print(rows);
	return CLI_DONE;
}

const struct verb cli_verb_volume_ls = {
	.name = "volume ls",
	.words = "",
	.brief = "Lists volumes",
	.about = "SIZE is what it can hold, ON DISK what it takes on the host.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.run = run,
};
