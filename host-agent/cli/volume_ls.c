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

static void print_row(struct out_table *t, const json_t *row, bool whole)
{
	char age[32];

	(void)whole;
	out_table_cell(t, out_str(row, "name"));
	out_table_size(t, row, "size");
	out_table_size(t, row, "allocated");
	out_table_cell(t, out_str(row, "state"));
	out_table_cell(t, out_str(row, "used_by"));
	out_table_cell(t, out_age(out_str(row, "created_at"), age));
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	static const char *const headings[] = {
		"NAME", "SIZE", "ON DISK", "STATE", "USED BY", "CREATED", NULL};
	const struct args *a = args;

	(void)n;
	(void)words;
	return client_list(cli, "volume ls", HOST_IFACE "VolumeList", "volumes",
			   a->format, fields, headings, print_row);
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
