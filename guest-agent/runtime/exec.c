/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/runtime/runtime.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#define ENV_MAX 256

struct exec_args {
	struct container_exec_spec spec;
	const char *id, *pid_file, *console_socket;
	const char *env[ENV_MAX + 1];
	size_t n_env;
	bool detach;
	const char *process_file;
	struct arena *arena; /* of process */
	struct oci_process *process;
};

static void exec_args_done(struct exec_args *a)
{
	arena_free(a->arena);
}

/* The file says all that the options could. */
static int read_process(struct exec_args *a, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	json_t *json = NULL;
	size_t len;
	int r;

	r = file_read(AT_FDCWD, a->process_file, HYB_OCI_RUNTIME_MAX, &text,
		      &len, e);
	if (r < 0)
		return r;
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	r = json ? oci_process_parse(json, &a->arena, &a->process, e)
		 : err_set(e, EINVAL, "not JSON");
	json_decref(json);
	if (r < 0)
		return err_wrap(e, "process '%s'", a->process_file);
	if (!a->process->args || !a->process->args[0])
		return err_set(e, EINVAL, "process.args: is missing");
	a->spec.args = (const char *const *)a->process->args;
	a->spec.terminal = a->process->terminal;
	if (a->process->console_size) {
		a->spec.rows = a->process->console_size->height;
		a->spec.cols = a->process->console_size->width;
	}
	return 0;
}

static int parse_args(int argc, char **argv, struct exec_args *a, struct err *e)
{
	static const struct option options[] = {
		{"cwd", required_argument, NULL, 'w'},
		{"env", required_argument, NULL, 'e'},
		{"user", required_argument, NULL, 'u'},
		{"tty", no_argument, NULL, 't'},
		{"detach", no_argument, NULL, 'd'},
		{"pid-file", required_argument, NULL, 'p'},
		{"console-socket", required_argument, NULL, 'c'},
		{"process", required_argument, NULL, 'P'},
		{NULL, 0, NULL, 0},
	};
	const struct verb *v = find_verb("exec");
	int opt, r;

	while ((opt = getopt_long(argc, argv, "+e:u:tdp:", options, NULL)) >=
	       0) {
		switch (opt) {
		case 'w':
			a->spec.cwd = optarg;
			break;
		case 'e':
			if (a->n_env == ENV_MAX)
				return usage_error(v, "too many --env");
			a->env[a->n_env++] = optarg;
			break;
		case 'u':
			a->spec.user = optarg;
			break;
		case 't':
			a->spec.terminal = true;
			break;
		case 'd':
			a->detach = true;
			break;
		case 'c':
			a->console_socket = optarg;
			break;
		case 'P':
			a->process_file = optarg;
			break;
		case 'p':
			a->pid_file = optarg;
			break;
		default:
			return usage_error(v, NULL);
		}
	}
	if (a->process_file) {
		if (argc - optind != 1 || a->spec.cwd || a->spec.user ||
		    a->n_env)
			return usage_error(v, "--process: a container id and "
					      "nothing else");
		r = read_process(a, e);
		if (r < 0)
			return r;
	} else if (argc - optind < 2) {
		return usage_error(v, "a container id and a program are "
				      "needed");
	}
	if (a->spec.terminal != !!a->console_socket)
		return usage_error(v, "--tty and --console-socket need each "
				      "other");
	a->id = argv[optind];
	if (!a->process)
		a->spec.args = (const char *const *)&argv[optind + 1];
	a->spec.env = a->env;
	return 0;
}

int verb_exec(const struct options *o, int argc, char **argv, struct err *e)
{
	_cleanup_(loaded_done) struct loaded l = LOADED_INIT;
	struct container_failure failure = {.exit_code = 0};
	_cleanup_(exec_args_done) struct exec_args a = {
		.spec = {.search_path = true, .stdio = {0, 1, 2}}};
	struct container_process p;
	int r;

	r = parse_args(argc, argv, &a, e);
	l.process = a.process;
	if (r == 0)
		r = load(o, a.id, true, false, &l, e);
	if (r != 0)
		return r;
	r = container_exec(l.c, &a.spec, &p, &failure, e);
	if (r < 0) {
		err_wrap(e, "exec in '%s'", a.id);
		/* As a shell would: the caller sees why by the number, too. */
		return failure.exit_code ? failure.exit_code : r;
	}
	if (p.console >= 0) {
		r = send_console(a.console_socket, p.console, e);
		close(p.console);
	}
	if (r == 0 && a.pid_file)
		r = write_pid_file(a.pid_file, p.pid, e);
	if (r == 0 && !a.detach)
		r = wait_exit(p.pidfd);
	close(p.pidfd);
	return r;
}
