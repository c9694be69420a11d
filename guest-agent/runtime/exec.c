/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/runtime/runtime.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "guest-agent/sys/caps.h"

/* An exec that fails is told by this number, so that it is not taken for the
 * end of a program: what runc and crun end with. */
#define EXEC_FAILED 255
#define ENV_MAX	    256
#define CAPS_MAX    64
#define GROUPS_MAX  64

struct exec_args {
	struct container_exec_spec spec;
	const char *id, *pid_file, *console_socket, *pidfd_socket;
	const char *env[ENV_MAX + 1];
	size_t n_env;
	const char *caps[CAPS_MAX + 1];
	gid_t groups[GROUPS_MAX];
	size_t n_caps;
	const char *preserve;
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
	size_t len;
	int r;

	r = file_read(AT_FDCWD, a->process_file, HYB_OCI_RUNTIME_MAX, &text,
		      &len, e);
	if (r < 0)
		return r;
	r = oci_process_parse_text(text, len, &a->arena, &a->process, e);
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

static const struct option exec_options[] = {
	{"cwd", required_argument, NULL, 'w'},
	{"env", required_argument, NULL, 'e'},
	{"user", required_argument, NULL, 'u'},
	{"tty", no_argument, NULL, 't'},
	{"detach", no_argument, NULL, 'd'},
	{"pid-file", required_argument, NULL, 'f'},
	{"console-socket", required_argument, NULL, 's'},
	{"pidfd-socket", required_argument, NULL, 'D'},
	{"process", required_argument, NULL, 'p'},
	{"additional-gids", required_argument, NULL, 'g'},
	{"cap", required_argument, NULL, 'c'},
	{"no-new-privs", no_argument, NULL, 'N'},
	{"preserve-fds", required_argument, NULL, 'P'},
	{"ignore-paused", no_argument, NULL, 'I'},
	{"no-subreaper", no_argument, NULL, 'S'},
	{"apparmor", required_argument, NULL, 'A'},
	{"process-label", required_argument, NULL, 'L'},
	{"cgroup", required_argument, NULL, 'C'},
	{NULL, 0, NULL, 0},
};

/* Options that add to a list. */
static int take_more(struct exec_args *a, int opt, const char *word)
{
	uint64_t gid;

	if (opt == 'e' && a->n_env < ENV_MAX) {
		a->env[a->n_env++] = word;
	} else if (opt == 'c' && a->n_caps < CAPS_MAX) {
		/* As in a configuration: left out, and told. */
		if (caps_parse(word) < 0 || caps_parse(word) > caps_last())
			log_warn("--cap: '%s' is unknown", word);
		else
			a->caps[a->n_caps++] = word;
	} else if (opt == 'g' && a->spec.n_add_groups < GROUPS_MAX) {
		if (parse_u64(word, 0, INT32_MAX, &gid) < 0)
			return -EINVAL;
		a->groups[a->spec.n_add_groups++] = (gid_t)gid;
	} else {
		return -E2BIG;
	}
	return 0;
}

static int take_option(struct exec_args *a, int opt)
{
	switch (opt) {
	case 'w':
		a->spec.cwd = optarg;
		return 0;
	case 'u':
		a->spec.user = optarg;
		return 0;
	case 't':
		a->spec.terminal = true;
		return 0;
	case 'd':
		a->detach = true;
		return 0;
	case 's':
		a->console_socket = optarg;
		return 0;
	case 'D':
		a->pidfd_socket = optarg;
		return 0;
	case 'p':
		a->process_file = optarg;
		return 0;
	case 'f':
		a->pid_file = optarg;
		return 0;
	case 'N':
		a->spec.no_new_privs = true;
		return 0;
	case 'P':
		a->preserve = optarg;
		return 0;
	case 'I':
		a->spec.even_paused = true;
		return 0;
	case 'C':
		a->spec.cgroup = optarg;
		return 0;
	case 'S':
		return 0; /* nothing is adopted */
	case 'e':
	case 'c':
	case 'g':
		return take_more(a, opt, optarg);
	default:
		return -ENOENT;
	}
}

/* Options that this machine's kernel, or this runtime, has nothing for. */
static int refuse(int opt)
{
	const struct verb *v = find_verb("exec");

	switch (opt) {
	case 'A':
		return usage_error(v, "--apparmor is not supported");
	case 'L':
		return usage_error(v, "--process-label is not supported");
	default:
		return usage_error(v, NULL);
	}
}

static int parse_args(int argc, char **argv, struct exec_args *a, struct err *e)
{
	const struct verb *v = find_verb("exec");
	int opt, r;

	while ((opt = getopt_long(argc, argv, "+e:u:tdp:g:c:", exec_options,
				  NULL)) >= 0) {
		r = take_option(a, opt);
		if (r == -ENOENT)
			return refuse(opt);
		if (r < 0)
			return usage_error(v, "'%s': %s", optarg,
					   r == -E2BIG ? "too many"
						       : "not a number");
	}
	if (a->process_file) {
		if (argc - optind != 1)
			return usage_error(v, "--process: a container id and "
					      "no program");
		/* It is the whole of the process, as with runc. */
		a->spec.cwd = a->spec.user = NULL;
		a->env[0] = NULL;
		r = read_process(a, e);
		if (r < 0)
			return r;
	} else if (argc - optind < 2) {
		return usage_error(v, "a container id and a program are "
				      "needed");
	}
	if (a->console_socket && !a->spec.terminal)
		return usage_error(v, "--console-socket: there is no --tty");
	if (a->spec.terminal && a->detach && !a->console_socket)
		return usage_error(v, "--tty with --detach needs "
				      "--console-socket");
	a->spec.plain_lines = !a->console_socket;
	a->id = argv[optind];
	if (!a->process)
		a->spec.args = (const char *const *)&argv[optind + 1];
	a->spec.env = a->env;
	a->spec.add_caps = a->caps;
	a->spec.add_groups = a->groups;
	return parse_preserve(a->preserve, &a->spec.preserve_fds, e);
}

/* Its terminal goes to who asked for it, or is ours as long as we are there. */
static int follow(const struct exec_args *a, struct container_process *p,
		  struct err *e)
{
	int r = 0;

	if (p->console >= 0 && a->console_socket)
		r = send_console(a->console_socket, p->console, e);
	if (r == 0 && a->pidfd_socket)
		r = send_pidfd(a->pidfd_socket, p->pidfd, e);
	if (r == 0 && a->pid_file)
		r = write_pid_file(a->pid_file, p->pid, e);
	/* Nobody would know of it. */
	if (r < 0 && pidfd_send_signal(p->pidfd, SIGKILL, NULL, 0) == 0)
		wait_exit(p->pidfd);
	if (r < 0 || a->detach)
		return r;
	return attend(p->pidfd, a->console_socket ? -1 : p->console);
}

/* What does not run is for load() to tell. */
static int enter_rootless(const struct options *o, const char *id,
			  struct err *e)
{
	_cleanup_(store_state_done) struct store_state s = {.id = NULL};
	_cleanup_close_ int dir = -1, pidfd = -1;

	if (!rootless_is_needed())
		return 0;
	dir = store_open(o->root, id, e);
	if (dir < 0)
		return dir;
	if (store_read(dir, &s, e) < 0)
		return err_wrap(e, "container '%s'", id);
	store_status(dir, &s, &pidfd);
	return pidfd < 0 ? 0 : rootless_exec(o, s.pid, pidfd, e);
}

static int exec_one(const struct options *o, int argc, char **argv,
		    struct err *e)
{
	_cleanup_(loaded_done) struct loaded l = LOADED_INIT;
	_cleanup_(exec_args_done) struct exec_args a = {
		.spec = {.search_path = true, .stdio = {0, 1, 2}}};
	struct container_process p;
	int r;

	r = parse_args(argc, argv, &a, e);
	l.process = a.process;
	if (r == 0)
		r = enter_rootless(o, a.id, e);
	if (r == 0)
		r = load(o, a.id, true, false, &l, e);
	if (r != 0)
		return r;
	if (l.status == CONTAINER_PAUSED && !a.spec.even_paused)
		return err_set(e, EBUSY, "cannot exec in a paused container");
	a.spec.even_created = true;
	r = container_exec(l.c, &a.spec, &p, NULL, e);
	if (r < 0)
		return err_wrap(e, "exec in '%s'", a.id);
	r = follow(&a, &p, e);
	cleanup_close(&p.console);
	cleanup_close(&p.pidfd);
	return r;
}

int verb_exec(const struct options *o, int argc, char **argv, struct err *e)
{
	int r = exec_one(o, argc, argv, e);

	return r < 0 ? EXEC_FAILED : r;
}
