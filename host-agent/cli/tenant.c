/* SPDX-License-Identifier: Apache-2.0 */
/* hyb tenant apply, ls, show, rm: root only. */
#include "common/base/cleanup.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/input.h"
#include "host-agent/cli/verbs.h"

static int run_apply(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;
	const json_t *name;
	struct input in;
	size_t i;
	int st;

	(void)args;
	(void)n;
	st = input_load("tenant apply", words[0], &in);
	if (st)
		return st;
	st = client_one(cli, HOST_IFACE "TenantApply",
			json_pack("{s:s,s:s%}", "file", in.file, "text",
				  in.text, in.len),
			&reply, &e);
	input_done(&in);
	if (st)
		return cli_fail(st, "tenant apply", &e);
	json_array_foreach(json_object_get(reply.parameters, "applied"), i,
			   name) {
		fputs("applied ", stdout);
		out_text(stdout, json_string_value(name));
		putchar('\n');
	}
	return CLI_DONE;
}

const struct verb cli_verb_tenant_apply = {
	.name = "tenant apply",
	.words = "FILE",
	.brief = "Declares tenants, or changes what was declared (root)",
	.about = "FILE has documents of `kind: tenant`.",
	.min_words = 1,
	.max_words = 1,
	.kind = WORDS_FILES,
	.run = run_apply,
};

struct ls_args {
	enum out_format format;
};

static const struct opt ls_opts[] = {
	{'o', "output", OPT_FORMAT, offsetof(struct ls_args, format),
	 "table|json", "how to show it"},
};

/* The objects of `-o json`, promised in docs/cli.md. */
static const char *const fields[] = {"name",   "quota",	       "used", "allow",
				     "access", "share_images", NULL};

/* "3/20": used, and the limit where there is one. */
static void cell(struct out_table *t, const json_t *row, const char *key)
{
	int64_t most = out_int(json_object_get(row, "quota"), key, -1);
	char text[64];
	int n;

	n = snprintf(text, sizeof(text), "%lld",
		     (long long)out_int(json_object_get(row, "used"), key, 0));
	if (most >= 0)
		snprintf(text + n, sizeof(text) - (size_t)n, "/%lld",
			 (long long)most);
	out_table_cell(t, text);
}

/* The same of bytes, in MiB. */
static void cell_bytes(struct out_table *t, const json_t *row, const char *key)
{
	int64_t most = out_int(json_object_get(row, "quota"), key, -1);
	int64_t used = out_int(json_object_get(row, "used"), key, 0);
	char text[64];
	int n;

	n = snprintf(text, sizeof(text), "%lld", (long long)(used >> 20));
	if (most >= 0)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "/%lld",
			      (long long)(most >> 20));
	snprintf(text + n, sizeof(text) - (size_t)n, " MiB");
	out_table_cell(t, text);
}

static void print_row(struct out_table *t, const json_t *row, bool whole)
{
	(void)whole;
	out_table_cell(t, out_str(row, "name"));
	cell(t, row, "vms");
	cell(t, row, "vcpus");
	cell_bytes(t, row, "memory");
	cell_bytes(t, row, "storage");
	cell(t, row, "volumes");
	cell(t, row, "published_ports");
}

static int run_ls(struct cli *cli, const void *args, int n, char **words)
{
	static const char *const headings[] = {"NAME",	 "VMS",	    "VCPUS",
					       "MEMORY", "STORAGE", "VOLUMES",
					       "PORTS",	 NULL};
	const struct ls_args *a = args;

	(void)n;
	(void)words;
	return client_list(cli, "tenant ls", HOST_IFACE "TenantList", "tenants",
			   a->format, fields, headings, print_row);
}

const struct verb cli_verb_tenant_ls = {
	.name = "tenant ls",
	.words = "",
	.brief = "Lists tenants with what they use of their quota (root)",
	.opts = ls_opts,
	.n_opts = ARRAY_SIZE(ls_opts),
	.args_size = sizeof(struct ls_args),
	.run = run_ls,
};

static int run_show(struct cli *cli, const void *args, int n, char **words)
{
	(void)args;
	(void)n;
	return client_inspect(cli, "tenant show", HOST_IFACE "TenantInspect",
			      "name", words[0]);
}

const struct verb cli_verb_tenant_show = {
	.name = "tenant show",
	.words = "NAME",
	.brief =
		"Shows a tenant: its quota, its use, its users, as JSON (root)",
	.min_words = 1,
	.max_words = 1,
	.run = run_show,
};

static int remove_one(struct vl_conn *c, const char *name)
{
	return client_remove(c, "tenant rm", HOST_IFACE "TenantRemove", name);
}

static int run_rm(struct cli *cli, const void *args, int n, char **words)
{
	(void)args;
	return client_each(cli, "tenant rm", n, words, remove_one);
}

const struct verb cli_verb_tenant_rm = {
	.name = "tenant rm",
	.words = "NAME...",
	.brief = "Removes tenants that have nothing any more (root)",
	.min_words = 1,
	.max_words = -1,
	.run = run_rm,
};
