/* SPDX-License-Identifier: Apache-2.0 */
/* hyb-runtime: the engine as an OCI runtime's command line. */
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "guest-agent/runtime/runtime.h"

static const struct verb verbs[] = {
	{"create",
	 "create [-b|--bundle DIR] [-f|--config FILE] [--pid-file FILE] "
	 "[--console-socket PATH] [--pidfd-socket PATH] [--preserve-fds N] ID",
	 "make a container; its process waits for start", verb_create},
	{"run",
	 "run [-d|--detach] [--keep] [-b|--bundle DIR] [-f|--config FILE] "
	 "[--pid-file FILE] [--console-socket PATH] [--pidfd-socket PATH] "
	 "[--preserve-fds N] ID",
	 "create, start, wait for the end, delete", verb_run},
	{"start", "start ID", "let it execute its program", verb_start},
	{"state", "state ID", "print its state as JSON", verb_state},
	{"kill",
	 "kill [-a|--all] ID [SIGNAL] | kill [-a] --regex PATTERN [SIGNAL]",
	 "send a signal (TERM)", verb_kill},
	{"delete", "delete [-f|--force] ID | delete [-f] --regex PATTERN",
	 "undo what create made", verb_delete},
	{"exec",
	 "exec [--cwd DIR] [-e K=V] [-u USER] [-g GID] [-c CAP] [-t] [-d] "
	 "[--console-socket PATH] [--pid-file FILE] [--no-new-privs] "
	 "[--preserve-fds N] [--ignore-paused] [--cgroup PATH] ID PROGRAM [ARG...] | "
	 "exec -p|--process FILE ID",
	 "run another program in it", verb_exec},
	{"update",
	 "update [-r FILE|-] [--memory N] [--memory-reservation N] "
	 "[--memory-swap N] [--cpu-share N] [--cpu-quota N] [--cpu-period N] "
	 "[--cpuset-cpus LIST] [--cpuset-mems LIST] [--pids-limit N] ID",
	 "change its limits", verb_update},
	{"list", "list [-f table|json] [-q]", "print all containers",
	 verb_list},
	{"ps", "ps [-f table|json] ID [OPTION OF ps...]", "print its processes",
	 verb_ps},
	{"features", "features", "print what can be asked for, as JSON",
	 verb_features},
	{"spec", "spec [-b|--bundle DIR] [--rootless]",
	 "write a config.json to begin with", verb_spec},
	{"events", "events [--stats] [--interval TIME] ID",
	 "print what it uses, as JSON", verb_events},
	{"checkpoint", "checkpoint", "not supported", verb_refused},
	{"restore", "restore", "not supported", verb_refused},
	{"pause", "pause ID", "freeze it", verb_pause},
	{"resume", "resume ID", "thaw it", verb_resume},
};

const struct verb *find_verb(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	return NULL;
}

int usage_error(const struct verb *v, const char *fmt, ...)
{
	va_list ap;

	if (fmt) {
		fputs("hyb-runtime: ", stderr);
		va_start(ap, fmt);
		vfprintf(stderr, fmt, ap);
		va_end(ap);
		fputc('\n', stderr);
	}
	fprintf(stderr, "usage: hyb-runtime [OPTIONS] %s\n",
		v ? v->usage : "VERB ...");
	return 2;
}

static void print_help(void)
{
	size_t i;

	puts("NAME:\n   hyb-runtime - run OCI containers\n\nUSAGE:\n   "
	     "hyb-runtime [--root DIR] [--log FILE] [--log-format "
	     "text|json] [--debug] VERB ...\n\nVERBS:");
	for (i = 0; i < ARRAY_SIZE(verbs); i++)
		printf("  %-8s %s\n", verbs[i].name, verbs[i].help);
}

/* It is what it is: a user without rights, or not. */
static int check_rootless(const char *word)
{
	bool want = strcmp(word, "true") == 0;

	if (!want && strcmp(word, "false") != 0 && strcmp(word, "auto") != 0)
		return usage_error(NULL, "--rootless: true, false or auto");
	if (want && !container_engine_confined())
		return usage_error(NULL, "--rootless true: this is root");
	return 0;
}

/* Without a cgroup nothing holds the machine's root back from devices. */
static int parse_manager(const char *word, bool *ret_none)
{
	*ret_none = strcmp(word, "disabled") == 0;
	if (!*ret_none && strcmp(word, "cgroupfs") != 0)
		return usage_error(NULL, "--cgroup-manager: cgroupfs or "
					 "disabled");
	if (*ret_none && !container_engine_confined())
		return usage_error(NULL, "--cgroup-manager disabled: for an "
					 "ordinary user; root's containers "
					 "need a cgroup for their device "
					 "rules");
	return 0;
}

/* Without --root: of the user's own. */
static int find_root(struct options *o, const struct verb *v, struct err *e)
{
	if (!o->root)
		o->root = rootless_root();
	if (o->root || v->run == verb_spec || v->run == verb_features)
		return 0;
	return err_set(e, ENOENT,
		       "XDG_RUNTIME_DIR is not set: --root must say where the "
		       "state of containers is");
}

/* 0: go on, 1: done, else the exit code plus 1. */
static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option options[] = {
		{"root", required_argument, NULL, 'r'},
		{"log", required_argument, NULL, 'l'},
		{"log-format", required_argument, NULL, 'f'},
		{"debug", no_argument, NULL, 'd'},
		{"systemd-cgroup", no_argument, NULL, 's'},
		{"cgroup-manager", required_argument, NULL, 'm'},
		{"rootless", required_argument, NULL, 'R'},
		{"version", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int opt, r;

	*o = (struct options){.argv = argv};
	while ((opt = getopt_long(argc, argv, "+vh", options, NULL)) >= 0) {
		switch (opt) {
		case 'r':
			o->root = optarg;
			o->own_root = true;
			break;
		case 'l':
			o->log = optarg;
			break;
		case 'f':
			if (parse_format(optarg, &o->log_json) < 0)
				return 1 + usage_error(NULL,
						       "--log-format: text or "
						       "json");
			break;
		case 'd':
			o->debug = true;
			break;
		case 's':
			return 1 + usage_error(NULL, "--systemd-cgroup: this "
						     "runtime manages cgroups "
						     "itself");
		case 'm':
			r = parse_manager(optarg, &o->no_cgroup);
			if (r != 0)
				return 1 + r;
			break;
		case 'R':
			r = check_rootless(optarg);
			if (r != 0)
				return 1 + r;
			break;
		case 'v':
			printf("hyb-runtime version %s\nspec: %s\n",
			       HYB_VERSION, HYB_OCI_RUNTIME_VERSION);
			return 1;
		case 'h':
			print_help();
			return 1;
		default:
			return 1 + usage_error(NULL, NULL);
		}
	}
	return 0;
}

/* 0-2 must be something, or the first file opened would be a standard
 * stream. */
static void open_std(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd < 3);
	if (fd >= 3)
		close(fd);
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	const struct verb *v;
	struct options o;
	bool help;
	int r;

	open_std();
	r = parse_options(argc, argv, &o);
	if (r != 0)
		return r - 1;
	log_init("hyb-runtime", o.debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN);
	if (optind >= argc)
		return usage_error(NULL, "a verb is needed");
	v = find_verb(argv[optind]);
	help = optind + 1 < argc && (strcmp(argv[optind + 1], "-h") == 0 ||
				     strcmp(argv[optind + 1], "--help") == 0);
	if (!v)
		return usage_error(NULL,
				   help ? "No help topic for '%s'"
					: "there is no verb '%s'",
				   argv[optind]);
	if (help) {
		printf("NAME:\n   hyb-runtime %s - %s\n\nUSAGE:\n   "
		       "hyb-runtime [OPTIONS] %s\n",
		       v->name, v->help, v->usage);
		return 0;
	}
	r = find_root(&o, v, &e);
	if (r == 0)
		r = check_log(&o, &e);
	if (r == 0)
		r = rootless_arrived(&e);
	if (r == 0 && !rootless_is_needed() &&
	    (v->run == verb_create || v->run == verb_run ||
	     v->run == verb_exec))
		r = exe_protect(argv, &e);
	if (r < 0) {
		report_error(&o, &e);
		return 1;
	}
	argc -= optind;
	argv += optind;
	optind = 0;
	debug_line(&o, "%s begins", v->name);
	r = v->run(&o, argc, argv, &e);
	debug_line(&o, "%s ends with %d", v->name, r < 0 ? 1 : r);
	if (e.code)
		report_error(&o, &e);
	return r < 0 ? 1 : r;
}
