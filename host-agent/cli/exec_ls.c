/* SPDX-License-Identifier: Apache-2.0 */
/* hyb exec --ls [NAME] */
#include "common/base/cleanup.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/exec.h"

/* The objects of `-o json`, promised in docs/cli.md. */
static const char *const fields[] = {
	"tenant",    "stack",	   "vm",	  "container",	   "session",
	"pid",	     "tty",	   "stdin",	  "attached",	   "detached",
	"exit_code", "started_at", "finished_at", "session_state", "waiting",
	"command",   NULL};

/* "running", "attached", "exited (3)". */
static void state_of(const json_t *row, char *ret, size_t size)
{
	if (json_is_integer(json_object_get(row, "exit_code")))
		snprintf(ret, size, "exited (%lld)",
			 (long long)out_int(row, "exit_code", 0));
	else
		snprintf(ret, size, "%s",
			 json_is_true(json_object_get(row, "attached"))
				 ? "attached"
				 : "running");
}

static void print_row(struct out_table *t, const json_t *row, bool whole)
{
	char text[192];

	snprintf(text, sizeof(text), "%.*s", whole ? 32 : 12,
		 out_str(row, "session"));
	out_table_cell(t, text);
	snprintf(text, sizeof(text), "%.60s/%.60s/%.60s", out_str(row, "stack"),
		 out_str(row, "vm"), out_str(row, "container"));
	out_table_cell(t, text);
	text[0] = '\0';
	if (json_is_integer(json_object_get(row, "pid")))
		snprintf(text, sizeof(text), "%lld",
			 (long long)out_int(row, "pid", 0));
	out_table_cell(t, text);
	state_of(row, text, sizeof(text));
	out_table_cell(t, text);
	out_table_cell(t, out_age(out_str(row, "started_at"), text));
	out_table_size(t, row, "waiting");
	snprintf(text, sizeof(text), "%.*s", whole ? 191 : 40,
		 out_str(row, "command"));
	out_table_cell(t, whole ? out_str(row, "command") : text);
}

int exec_ls(struct cli *cli, const struct exec_args *a, const char *name)
{
	static const char *const headings[] = {"SESSION", "NAME",    "PID",
					       "STATE",	  "STARTED", "WAITING",
					       "COMMAND", NULL};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;
	int st;

	st = client_one(cli, HOST_IFACE "ExecList",
			json_pack("{s:s}", "name", name), &reply, &e);
	if (st)
		return cli_fail(st, "exec", &e);
	out_rows(json_object_get(reply.parameters, "rows"), a->format,
		 a->no_trunc, fields, headings, print_row);
	return CLI_DONE;
}
