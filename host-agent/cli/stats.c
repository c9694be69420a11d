/* SPDX-License-Identifier: Apache-2.0 */
/* hyb stats [NAME] [--watch] */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

#include <time.h>

/* CPU time is told by two looks so far apart. */
#define SAMPLE_MS 1000

struct args {
	bool watch;
	enum out_format format;
	struct opt_duration interval;
};

#define AT(m) offsetof(struct args, m)

static const struct opt opts[] = {
	{'w', "watch", OPT_FLAG, AT(watch), NULL, "again and again"},
	{'\0', "interval", OPT_DURATION, AT(interval), "TIME",
	 "between two looks (default 1s)"},
	{'o', "output", OPT_FORMAT, AT(format), "table|json",
	 "how to show it; json with --watch: an array each time"},
};

/* The objects of `-o json`, promised in docs/cli.md. */
static const char *const fields[] = {"tenant",
				     "stack",
				     "vm",
				     "container",
				     "state",
				     "cpu_percent",
				     "cpu_usec",
				     "memory",
				     "memory_reclaimable",
				     "memory_max",
				     "memory_peak",
				     "pids",
				     "io_read",
				     "io_written",
				     "oom_kills",
				     "memory_pressure",
				     "cpu_pressure",
				     "io_pressure",
				     NULL};

static bool same(const json_t *a, const json_t *b, const char *key)
{
	return strcmp(out_str(a, key), out_str(b, key)) == 0;
}

/* cpu_percent of every row, by what the one before says: a whole CPU is 100. */
static void add_percent(json_t *rows, const json_t *before)
{
	json_t *row;
	const json_t *old;
	size_t i, k;
	int64_t usec, ns;

	json_array_foreach(rows, i, row) {
		json_array_foreach(before, k, old) {
			if (!same(row, old, "stack") || !same(row, old, "vm") ||
			    !same(row, old, "container"))
				continue;
			usec = out_int(row, "cpu_usec", -1) -
			       out_int(old, "cpu_usec", 0);
			ns = out_int(row, "at", 0) - out_int(old, "at", 0);
			/* Another incarnation counts from 0. */
			if (usec >= 0 && ns > 0 && out_has(row, "cpu_usec"))
				json_object_set_new(
					row, "cpu_percent",
					json_real((double)(usec * 100000 /
							   (ns / 1000)) /
						  1000));
		}
	}
}

static void print_row(struct out_table *t, const json_t *row)
{
	const json_t *cpu = json_object_get(row, "cpu_percent");
	char text[192];

	snprintf(text, sizeof(text), "%.60s/%.60s/%.60s", out_str(row, "stack"),
		 out_str(row, "vm"), out_str(row, "container"));
	out_table_cell(t, text);
	snprintf(text, sizeof(text), "%.1f%%", json_number_value(cpu));
	out_table_cell(t, cpu ? text : "");
	out_table_size(t, row, "memory");
	out_table_size(t, row, "memory_reclaimable");
	out_table_size(t, row, "memory_max");
	snprintf(text, sizeof(text), "%lld",
		 (long long)out_int(row, "pids", 0));
	out_table_cell(t, out_int(row, "pids", -1) < 0 ? "" : text);
	out_table_size(t, row, "io_read");
	out_table_size(t, row, "io_written");
	snprintf(text, sizeof(text), "%.2f/%.2f/%.2f",
		 (double)out_int(row, "cpu_pressure", 0) / 100,
		 (double)out_int(row, "memory_pressure", 0) / 100,
		 (double)out_int(row, "io_pressure", 0) / 100);
	out_table_cell(t, out_int(row, "cpu_pressure", -1) < 0 ? "" : text);
}

static void show(const struct args *a, const json_t *rows)
{
	static const char *const headings[] = {
		"NAME", "CPU",	"MEMORY",  "RECLAIMABLE",     "LIMIT",
		"PIDS", "READ", "WRITTEN", "PRESSURE C/M/IO", NULL};
	_cleanup_out_table_ struct out_table t = {.n = 0};
	const json_t *row;
	size_t i;

	if (a->format == OUT_JSON) {
		out_json_rows(rows, fields);
	} else {
		out_table_init(&t, headings);
		json_array_foreach(rows, i, row)
			print_row(&t, row);
		if (a->watch && isatty(STDOUT_FILENO))
			fputs("\x1b[H\x1b[2J", stdout);
		out_table_print(&t, stdout);
	}
	fflush(stdout);
}

static int look(struct vl_conn *c, const char *name, json_t **ret,
		struct err *e)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	json_t *params = json_pack("{s:s}", "name", name);
	int st;

	st = client_call(c, HOST_IFACE "Stats", params, CLI_QUICK_MS, &reply,
			 e);
	if (st == 0)
		*ret = json_incref(json_object_get(reply.parameters, "rows"));
	return st;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	const struct args *a = args;
	struct err e = ERR_INIT;
	uint64_t ms = a->interval.given ? a->interval.ms : SAMPLE_MS;
	struct timespec pause = {.tv_sec = (time_t)(ms / 1000),
				 .tv_nsec = (long)(ms % 1000) * 1000000};
	json_t *before = NULL, *rows = NULL;
	int st;

	if (ms < 100)
		return cli_usage("stats", "--interval: at least 100ms");
	st = client_open(cli, CLIENT_START, &c, &e);
	if (st == 0)
		st = look(&c, n ? words[0] : "", &before, &e);
	while (st == 0) {
		/* Where nothing runs there is nothing to wait for. */
		if (a->watch || json_array_size(before) > 0)
			nanosleep(&pause, NULL);
		st = look(&c, n ? words[0] : "", &rows, &e);
		if (st)
			break;
		add_percent(rows, before);
		show(a, rows);
		json_decref(before);
		before = rows;
		if (!a->watch)
			break;
	}
	json_decref(before);
	return e.code ? cli_fail(st, "stats", &e) : st;
}

const struct verb cli_verb_stats = {
	.name = "stats",
	.words = "[NAME]",
	.brief =
		"Shows what runs takes: CPU, memory, processes, disks, pressure",
	.about =
		"CPU: 100% is one CPU, over the interval. RECLAIMABLE is the part of MEMORY that the\nguest's kernel would give back. PRESSURE: the share of the last ten seconds in which\nsomething waited for CPU, memory, disks.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.max_words = 1,
	.kind = WORDS_NAMES,
	.run = run,
};
