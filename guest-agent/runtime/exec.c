/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/runtime/runtime.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "common/base/cleanup.h"

#define ENV_MAX 256

struct exec_args {
	struct container_exec_spec spec;
	const char *id, *pid_file, *console_socket;
	const char *env[ENV_MAX + 1];
	size_t n_env;
	bool detach;
};

static int parse_args(int argc, char **argv, struct exec_args *a)
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
	int opt;

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
			return usage_error(v, "--process is not supported yet");
		case 'p':
			a->pid_file = optarg;
			break;
		default:
			return usage_error(v, NULL);
		}
	}
	if (argc - optind < 2)
		return usage_error(v, "a container id and a program are "
				      "needed");
	if (a->spec.terminal != !!a->console_socket)
		return usage_error(v, "--tty and --console-socket need each "
				      "other");
	a->id = argv[optind];
	a->spec.args = (const char *const *)&argv[optind + 1];
	a->spec.env = a->env;
	return 0;
}

static int wait_exit(int pidfd)
{
	siginfo_t info;

	while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0)
		if (errno != EINTR)
			return 255;
	return info.si_code == CLD_EXITED ? info.si_status
					  : 128 + info.si_status;
}

int verb_exec(const struct options *o, int argc, char **argv, struct err *e)
{
	_cleanup_(loaded_done) struct loaded l = LOADED_INIT;
	struct container_failure failure = {.exit_code = 0};
	struct exec_args a = {
		.spec = {.search_path = true, .stdio = {0, 1, 2}}};
	struct container_process p;
	int r;

	r = parse_args(argc, argv, &a);
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
