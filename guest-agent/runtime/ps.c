/* SPDX-License-Identifier: Apache-2.0 */
/* ps: the container's processes, by ps(1)'s own words where there is one. */
#include "guest-agent/runtime/runtime.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"

/* As many as a cgroup is asked for at once. */
#define PIDS_MAX 32768
#define OUT_MAX	 ((size_t)4 << 20)
#define PS_MS	 10000
#define ARGS_MAX 64

/* Which word of the line is it? -1: none. */
static int find_column(const char *line, const char *name)
{
	size_t len = strlen(name), n;
	int column = 0;

	for (;; column++) {
		line += strspn(line, " \t");
		n = strcspn(line, " \t\n");
		if (n == 0)
			return -1;
		if (n == len && strncmp(line, name, n) == 0)
			return column;
		line += n;
	}
}

static long number_at(const char *line, int column)
{
	for (;; column--) {
		line += strspn(line, " \t");
		if (column == 0)
			return strtol(line, NULL, 10);
		line += strcspn(line, " \t\n");
	}
}

static bool is_ours(long pid, const pid_t *pids, int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

/* The header and the lines of our processes; false: that was no table. */
static bool print_lines(char *text, const pid_t *pids, int n)
{
	char *save = NULL, *line = strtok_r(text, "\n", &save);
	int column = line ? find_column(line, "PID") : -1;

	if (column < 0)
		return false;
	puts(line);
	while ((line = strtok_r(NULL, "\n", &save)))
		if (is_ours(number_at(line, column), pids, n))
			puts(line);
	return true;
}

/* ARGS of ps(1), "-ef" where there are none. */
static bool print_by_ps(char **args, int n_args, const pid_t *pids, int n)
{
	const char *argv[ARGS_MAX + 2] = {"ps", "-ef"};
	const struct proc_spec spec = {.path = "ps",
				       .argv = argv,
				       .stdin_fd = -1,
				       .stdout_fd = -1,
				       .stderr_fd = -1};
	_cleanup_free_ char *out = NULL, *errout = NULL;
	int status, i;

	for (i = 0; i < n_args && i < ARGS_MAX; i++)
		argv[i + 1] = args[i];
	return proc_run(&spec, now_ms() + PS_MS, OUT_MAX, &out, &errout,
			&status, NULL) == 0 &&
	       status == 0 && out && print_lines(out, pids, n);
}

static int print_plain(const pid_t *pids, int n, bool as_json, struct err *e)
{
	json_t *json;
	int i;

	if (!as_json) {
		puts("PID");
		for (i = 0; i < n; i++)
			printf("%d\n", (int)pids[i]);
		return 0;
	}
	json = json_array();
	for (i = 0; i < n; i++)
		json_array_append_new(json, json_integer(pids[i]));
	return print_json_line(json, e);
}

int verb_ps(const struct options *o, int argc, char **argv, struct err *e)
{
	static const struct option options[] = {
		{"format", required_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};
	_cleanup_(loaded_done) struct loaded l = LOADED_INIT;
	_cleanup_free_ pid_t *pids = NULL;
	const struct verb *v = find_verb("ps");
	bool as_json = false;
	int n, r, opt;

	while ((opt = getopt_long(argc, argv, "+f:", options, NULL)) >= 0)
		if (opt != 'f' || parse_format(optarg, &as_json) < 0)
			return usage_error(v, NULL);
	if (argc == optind)
		return usage_error(v, "one container id is needed");
	argv += optind;
	argc -= optind;
	r = load(o, argv[0], false, false, &l, e);
	if (r != 0)
		return r;
	pids = calloc(PIDS_MAX, sizeof(*pids));
	if (!pids)
		return err_sys(e, ENOMEM, "ps");
	n = container_pids(l.c, pids, PIDS_MAX, e);
	if (n < 0)
		return err_wrap(e, "ps '%s'", argv[0]);
	if (n > PIDS_MAX)
		n = PIDS_MAX;
	if (!as_json && print_by_ps(argv + 1, argc - 1, pids, n))
		return 0;
	return print_plain(pids, n, as_json, e);
}
