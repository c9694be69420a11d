/* SPDX-License-Identifier: Apache-2.0 */
/* hyb ps [NAME] */
#include "common/base/cleanup.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

struct args {
	bool all, no_trunc;
	enum out_format format;
};

#define AT(m) offsetof(struct args, m)

static const struct opt opts[] = {
	{'a', "all", OPT_FLAG, AT(all), NULL, "ended containers too"},
	{'o', "output", OPT_FORMAT, AT(format), "table|json", "how to show it"},
	{'\0', "no-trunc", OPT_FLAG, AT(no_trunc), NULL,
	 "whole digests; nothing is shortened"},
};

/* The objects of `-o json`, promised in docs/cli.md. */
static const char *const fields[] = {
	"tenant",     "stack", "vm",	 "container", "state",	  "reason",
	"exit_code",  "image", "digest", "health",    "restarts", "created_at",
	"started_at", "ports", "pid",	 NULL};

static enum out_tone state_tone(const char *state)
{
	if (strcmp(state, "running") == 0)
		return OUT_GOOD;
	if (strcmp(state, "failed") == 0 || strcmp(state, "unhealthy") == 0)
		return OUT_BAD;
	if (strcmp(state, "exited") == 0 || strcmp(state, "stopped") == 0)
		return OUT_FAINT;
	return OUT_BUSY;
}

/* "exited (Error, 3)" */
static void state_cell(struct out_table *t, const json_t *row)
{
	const char *state = out_str(row, "state");
	const char *reason = out_str(row, "reason");
	char text[128], code[32] = "";

	if (out_has(row, "exit_code"))
		snprintf(code, sizeof(code), "%lld",
			 (long long)out_int(row, "exit_code", 0));
	if (*reason || code[0])
		snprintf(text, sizeof(text), "%.40s (%.40s%s%s)", state, reason,
			 *reason && code[0] ? ", " : "", code);
	else
		snprintf(text, sizeof(text), "%.40s", state);
	out_table_cell_tone(t, text, state_tone(state));
}

/* The image's name, with 12 digits of its digest or all of them. */
static void image_cell(struct out_table *t, const json_t *row, bool whole)
{
	const char *image = out_str(row, "image");
	const char *digest = out_str(row, "digest");
	const char *hex = strchr(digest, ':');
	char text[512];

	if (whole && *digest)
		snprintf(text, sizeof(text), "%.300s@%.150s", image, digest);
	else if (hex)
		snprintf(text, sizeof(text), "%.300s@%.12s", image, hex + 1);
	else
		snprintf(text, sizeof(text), "%.300s", image);
	out_table_cell(t, text);
}

/* Is any container checked? */
static bool has_health(const json_t *rows)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
		if (*out_str(row, "health"))
			return true;
	return false;
}

static enum out_tone health_tone(const char *health)
{
	if (strcmp(health, "healthy") == 0)
		return OUT_GOOD;
	return strcmp(health, "unhealthy") == 0 ? OUT_BAD : OUT_BUSY;
}

/* Is any row another tenant's than "default"? */
static bool has_tenants(const json_t *rows)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) {
		if (*out_str(row, "tenant") &&
		    strcmp(out_str(row, "tenant"), "default") != 0)
			return true;
	}
	return false;
}

static void print_table(const json_t *rows, bool whole)
{
	static const char *const more[] = {"RESTARTS", "STARTED", "PORTS",
					   "IMAGE"};
	const char *headings[9] = {"TENANT", "NAME", "STATE"};
	bool health = has_health(rows);
	bool tenants = has_tenants(rows);
	_cleanup_out_table_ struct out_table t;
	char text[256];
	const json_t *row;
	size_t i, n = 3;

	if (health)
		headings[n++] = "HEALTH";
	for (i = 0; i < ARRAY_SIZE(more); i++)
		headings[n++] = more[i];
	out_table_init(&t, headings + !tenants);
	json_array_foreach(rows, i, row) {
		if (tenants)
			out_table_cell(&t, out_str(row, "tenant"));
		/* A VM that boots a disk has no container. */
		snprintf(text, sizeof(text), "%.80s/%.80s%s%.80s",
			 out_str(row, "stack"), out_str(row, "vm"),
			 *out_str(row, "container") ? "/" : "",
			 out_str(row, "container"));
		out_table_cell(&t, text);
		state_cell(&t, row);
		if (health)
			out_table_cell_tone(
				&t, out_str(row, "health"),
				health_tone(out_str(row, "health")));
		snprintf(text, sizeof(text), "%lld",
			 (long long)out_int(row, "restarts", 0));
		out_table_cell(&t, text);
		out_table_cell(&t, out_age(out_str(row, "started_at"), text));
		out_table_cell(&t, out_str(row, "ports"));
		image_cell(&t, row, whole);
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

	st = client_one(cli, HOST_IFACE "Ps",
			json_pack("{s:s,s:b}", "name", n ? words[0] : "", "all",
				  a->all),
			&reply, &e);
	if (st)
		return cli_fail(st, "ps", &e);
	rows = json_object_get(reply.parameters, "rows");
	if (a->format == OUT_JSON)
		out_json_rows(rows, fields);
	else
		print_table(rows, a->no_trunc);
	return CLI_DONE;
}

const struct verb cli_verb_ps = {
	.name = "ps",
	.words = "[NAME]",
	.brief = "Lists containers",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.max_words = 1,
	.kind = WORDS_NAMES,
	.run = run,
};
