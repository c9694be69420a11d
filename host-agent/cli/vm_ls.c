/* SPDX-License-Identifier: Apache-2.0 */
/* hyb vm ls [NAME] */
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
	"tenant",	 "stack",  "vm",     "state",
	"reason",	 "vcpus",  "memory", "host_memory",
	"accelerator",	 "cid",	   "uid",    "qemu_pid",
	"agent_version", "kernel", "uptime", "pool",
	"isolation",	 "ip",	   NULL};

static void state_cell(struct out_table *t, const json_t *row)
{
	const char *state = out_str(row, "state");
	const char *reason = out_str(row, "reason");
	char text[128];

	snprintf(text, sizeof(text), "%.40s%s%.40s%s", state,
		 *reason ? " (" : "", reason, *reason ? ")" : "");
	out_table_cell_tone(t, text,
			    strcmp(state, "running") == 0  ? OUT_GOOD
			    : strcmp(state, "failed") == 0 ? OUT_BAD
							   : OUT_BUSY);
}

static void print_row(struct out_table *t, const json_t *row, bool whole)
{
	char text[192];
	int64_t up = out_int(row, "uptime", -1);

	(void)whole;
	snprintf(text, sizeof(text), "%.80s/%.80s", out_str(row, "stack"),
		 out_str(row, "vm"));
	out_table_cell(t, text);
	state_cell(t, row);
	snprintf(text, sizeof(text), "%lld",
		 (long long)out_int(row, "vcpus", 0));
	out_table_cell(t, text);
	out_table_size(t, row, "memory");
	out_table_size(t, row, "host_memory");
	out_table_cell(t, up < 0 ? "" : out_span((uint64_t)up, text));
	out_table_cell(t, out_str(row, "kernel"));
	snprintf(text, sizeof(text), "%.40s%s%.40s", out_str(row, "isolation"),
		 *out_str(row, "accelerator") ? ", " : "",
		 out_str(row, "accelerator"));
	out_table_cell(t, text);
	out_table_cell(t, out_str(row, "pool"));
}

static void print_row_ip(struct out_table *t, const json_t *row, bool whole)
{
	print_row(t, row, whole);
	out_table_cell(t, out_str(row, "ip"));
}

/* Is any VM in its tenant's network? */
static bool has_ip(const json_t *rows)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
		if (*out_str(row, "ip"))
			return true;
	return false;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	const char *headings[] = {"NAME",    "STATE",  "VCPUS",	 "MEMORY",
				  "ON HOST", "UPTIME", "KERNEL", "ISOLATION",
				  "POOL",    NULL,     NULL};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	const struct args *a = args;
	struct err e = ERR_INIT;
	const json_t *rows;
	bool ip;
	int st;

	st = client_one(cli, HOST_IFACE "VmList",
			json_pack("{s:s}", "name", n ? words[0] : ""), &reply,
			&e);
	if (st)
		return cli_fail(st, "vm ls", &e);
	rows = json_object_get(reply.parameters, "rows");
	ip = has_ip(rows);
	headings[9] = ip ? "IP" : NULL;
	out_rows(rows, a->format, a->no_trunc, fields, headings,
		 ip ? print_row_ip : print_row);
	return CLI_DONE;
}

const struct verb cli_verb_vm_ls = {
	.name = "vm ls",
	.words = "[NAME]",
	.brief = "Lists VMs",
	.about = "ON HOST is what the VM really takes of the host's memory: "
		 "QEMU and its device.\nIP is the address in its tenant's "
		 "network, of a VM that boots a disk.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.max_words = 1,
	.kind = WORDS_NAMES,
	.run = run,
};
