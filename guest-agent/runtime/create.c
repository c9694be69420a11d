/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/runtime/runtime.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "common/base/proc.h"

struct create_args {
	const char *id, *bundle, *config, *pid_file, *console_socket;
	const char *pidfd_socket, *preserve;
	unsigned int n_preserve;
	bool run, detach, keep; /* the latter two: run only */
	int console;		/* of a run in the foreground; -1: none */
};

static int parse_args(const char *verb, int argc, char **argv,
		      struct create_args *a)
{
	static const struct option options[] = {
		{"bundle", required_argument, NULL, 'b'},
		{"config", required_argument, NULL, 'f'},
		{"pidfd-socket", required_argument, NULL, 'P'},
		{"pid-file", required_argument, NULL, 'p'},
		{"console-socket", required_argument, NULL, 'c'},
		{"preserve-fds", required_argument, NULL, 'F'},
		{"detach", no_argument, NULL, 'd'},
		{"keep", no_argument, NULL, 'K'},
		{"no-pivot", no_argument, NULL, 'n'},
		{"no-new-keyring", no_argument, NULL, 'k'},
		{"no-subreaper", no_argument, NULL, 's'},
		{NULL, 0, NULL, 0},
	};
	const struct verb *v = find_verb(verb);
	bool run = strcmp(verb, "run") == 0;
	int opt;

	*a = (struct create_args){.bundle = ".",
				  .config = "config.json",
				  .run = run,
				  .console = -1};
	while ((opt = getopt_long(argc, argv, run ? "b:f:d" : "b:f:", options,
				  NULL)) >= 0) {
		switch (opt) {
		case 'b':
			a->bundle = optarg;
			break;
		case 'p':
			a->pid_file = optarg;
			break;
		case 'c':
			a->console_socket = optarg;
			break;
		case 'f':
			a->config = optarg;
			break;
		case 'P':
			a->pidfd_socket = optarg;
			break;
		case 'F':
			a->preserve = optarg;
			break;
		case 'n':
			return usage_error(v, "--no-pivot is not supported: a "
					      "container could leave its root");
		case 'd':
		case 'K':
			if (!run)
				return usage_error(v, NULL);
			a->detach |= opt == 'd';
			a->keep |= opt == 'K';
			break;
		case 'k': /* there is never a new keyring, */
		case 's': /* nor is anything adopted */
			break;
		default:
			return usage_error(v, NULL);
		}
	}
	if (argc - optind != 1)
		return usage_error(v, "one container id is needed");
	a->id = argv[optind];
	return 0;
}

/* The agent's ways that a configuration cannot say, as annotations. */
static int read_annotations(const struct oci_runtime *config,
			    struct container_spec *spec, struct err *e)
{
	const char *v;
	uint64_t n;

	spec->rootfs.erofs = find_annotation(config, "io.hyb.erofs");
	v = find_annotation(config, "io.hyb.scratch");
	if (v && parse_size(v, &spec->rootfs.scratch_size) < 0)
		return err_set(e, EINVAL,
			       "annotations: io.hyb.scratch is not "
			       "a size");
	v = find_annotation(config, "io.hyb.init");
	spec->init = v && strcmp(v, "true") == 0;
	spec->user = find_annotation(config, "io.hyb.user");
	if (read_keep_groups(config, &spec->keep_groups, e) < 0)
		return -EINVAL;
	v = find_annotation(config, "io.hyb.ids");
	if (spec->rootfs.erofs && container_engine_confined())
		return err_set(e, ENOTSUP,
			       "annotations: io.hyb.erofs: only root may mount "
			       "a disk");
	if (!v)
		return 0;
	if (container_engine_confined())
		return err_set(e, ENOTSUP,
			       "annotations: io.hyb.ids: only root may have "
			       "those ids");
	if (parse_u64(v, HYB_CONTAINER_IDS, UINT32_MAX, &n) < 0)
		return err_set(e, EINVAL,
			       "annotations: io.hyb.ids is not an "
			       "id");
	spec->defaults = true;
	spec->ids_base = (uint32_t)n;
	return 0;
}

/* --config is below the bundle, as with crun, unless it is absolute. */
static int read_bundle(const struct create_args *a, char **ret_path,
		       char **ret_text, size_t *ret_len,
		       struct oci_runtime **ret, struct err *e)
{
	_cleanup_free_ char *path = realpath(a->bundle, NULL), *text = NULL;
	bool absolute = a->config[0] == '/';
	char file[PATH_MAX * 2];
	size_t len;
	int n, r;

	if (!path)
		return err_sys(e, errno, "bundle '%s'", a->bundle);
	n = snprintf(file, sizeof(file), "%s%s%s", absolute ? "" : path,
		     absolute ? "" : "/", a->config);
	if (n < 0 || (size_t)n >= sizeof(file))
		return err_sys(e, ENAMETOOLONG, "--config");
	r = file_read(AT_FDCWD, file, HYB_OCI_RUNTIME_MAX, &text, &len, e);
	if (r == 0)
		r = oci_runtime_parse_text(text, len, ret, e);
	if (r < 0)
		return err_wrap(e, "%s", file);
	*ret_path = steal_ptr(path);
	*ret_text = steal_ptr(text);
	*ret_len = len;
	return 0;
}

static int find_root(const struct oci_runtime *config, const char *bundle,
		     struct container_spec *spec, char *out, size_t size,
		     struct err *e)
{
	int n;

	if (spec->rootfs.erofs)
		return 0;
	if (!config->root)
		return err_set(e, EINVAL, "root: is missing");
	n = config->root->path[0] == '/'
		    ? snprintf(out, size, "%s", config->root->path)
		    : snprintf(out, size, "%s/%s", bundle, config->root->path);
	if (n < 0 || (size_t)n >= size)
		return err_sys(e, ENAMETOOLONG, "root.path");
	spec->rootfs.dir = out;
	return 0;
}

/* Remembers the container, then tells the caller; what fails ends it. */
static int finish(const struct options *o, struct create_args *a,
		  const struct container_spec *spec, struct container *c,
		  char *bundle, const char *text, size_t len, struct err *e)
{
	_cleanup_close_ int console = container_take_console(c);
	struct container_info info;
	struct store_state s;
	const char *receiver;
	int r;

	container_get_info(c, &info);
	s = (struct store_state){
		.id = (char *)(uintptr_t)spec->id,
		.bundle = bundle,
		.cgroup = container_has_cgroup(c)
				  ? (char *)(uintptr_t)spec->cgroup_name
				  : NULL,
		.rootfs = (char *)(uintptr_t)spec->rootfs.dir,
		.erofs = (char *)(uintptr_t)spec->rootfs.erofs,
		.defaults = spec->defaults,
		.hooks = spec->config->hooks != NULL,
		.listener = container_has_listener(c),
		.ids_base = spec->ids_base,
		.pid = info.pid,
		.created_at = info.created_at,
		.joined = *container_get_joined(c)};
	r = proc_start_time(info.pid, &s.start_time);
	if (r < 0)
		return err_sys(e, -r, "the process is gone");
	r = store_write(o->root, &s, text, len, e);
	if (r == 0 && console >= 0 && a->console_socket)
		r = send_console(a->console_socket, console, e);
	else if (r == 0)
		a->console = steal_fd(&console);
	receiver = a->pidfd_socket;
	if (!receiver) /* crun's way to say it */
		receiver =
			find_annotation(spec->config, "run.oci.pidfd_receiver");
	if (r == 0 && receiver)
		r = send_pidfd(receiver, container_pidfd(c), e);
	if (r == 0 && a->pid_file)
		r = write_pid_file(a->pid_file, info.pid, e);
	return r;
}

/* A terminal goes to whoever listens, or to us while we are there. */
static int check_console(const struct oci_runtime *config,
			 const struct create_args *a, struct err *e)
{
	bool terminal = config->process && config->process->terminal;

	if (a->console_socket && !terminal)
		return err_set(e, EINVAL,
			       "--console-socket: process.terminal is not "
			       "true");
	if (terminal && !a->console_socket && (!a->run || a->detach))
		return err_set(e, EINVAL,
			       "process.terminal: needs --console-socket, for "
			       "nobody would hold the terminal");
	return 0;
}

static int plan_sdnotify(const struct options *o, const char *id,
			 struct sdnotify *n, struct oci_runtime *config,
			 struct err *e)
{
	_cleanup_free_ char *root = realpath(o->root, NULL);
	char dir[PATH_MAX * 2];

	if (!root)
		return err_sys(e, errno, "root '%s'", o->root);
	snprintf(dir, sizeof(dir), "%s/%s", root, id);
	return sdnotify_plan(n, config, dir, e);
}

/* By the configuration or the id; an ordinary user's is where it may be. */
static int find_cgroup(const struct options *o,
		       const struct oci_runtime *config, const char *id,
		       char *out, size_t size, struct container_spec *spec,
		       struct err *e)
{
	const char *path = config->lx ? config->lx->cgroups_path : NULL;
	int r;

	spec->cgroup_name = path && path[0] ? path : id;
	spec->no_cgroup = o->no_cgroup;
	if (o->no_cgroup || !container_engine_confined())
		return 0;
	r = container_engine_cgroup(spec->cgroup_name, out, size, e);
	if (r < 0)
		return r;
	spec->cgroup_name = out;
	spec->no_cgroup = !out[0];
	return 0;
}

static int create(const struct options *o, struct create_args *a, int dir,
		  struct err *e)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *config = NULL;
	_cleanup_free_ char *bundle = NULL, *text = NULL;
	_cleanup_close_ int listen_fd = -1, cwd = -1;
	struct container_spec spec = CONTAINER_SPEC_INIT;
	struct container_failure failure = {.exit_code = 0};
	struct container_info info;
	struct container *c = NULL;
	_cleanup_(sdnotify_done) struct sdnotify notify = {.config = NULL};
	char root[PATH_MAX * 2], cgroup[PATH_MAX];
	size_t len = 0;
	int r;

	r = read_bundle(a, &bundle, &text, &len, &config, e);
	if (r < 0)
		return r;
	r = check_console(config, a, e);
	if (r < 0)
		return r;
	listen_fd = store_listen(dir, e);
	if (listen_fd < 0)
		return listen_fd;
	spec.id = a->id;
	spec.config = config;
	spec.bundle = bundle;
	spec.search_path = true;
	spec.stdio[0] = 0;
	spec.stdio[1] = 1;
	spec.stdio[2] = 2;
	spec.start_listen_fd = listen_fd;
	spec.preserve_fds = a->n_preserve;
	r = find_cgroup(o, config, a->id, cgroup, sizeof(cgroup), &spec, e);
	if (r < 0)
		return r;
	spec.env = (const char *const *)notify.env;
	r = read_annotations(config, &spec, e);
	if (r == 0)
		r = plan_sdnotify(o, a->id, &notify, config, e);
	if (r == 0)
		r = find_root(config, bundle, &spec, root, sizeof(root), e);
	/* Relative to the bundle are binds, too; --pid-file and the sockets
	 * are relative to where the caller is. */
	cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r == 0 && (cwd < 0 || chdir(bundle) < 0))
		r = err_sys(e, errno, "bundle '%s'", bundle);
	if (r == 0 && !spec.no_cgroup)
		r = store_note_cgroup(dir, spec.cgroup_name, e);
	if (r == 0)
		r = container_create(&spec, &c, &failure, e);
	if (cwd >= 0 && fchdir(cwd) < 0 && r == 0) {
		container_delete(c, true, NULL);
		return err_sys(e, errno, "go back from the bundle");
	}
	if (r < 0 && strcmp(failure.step, "hooks") == 0)
		run_poststop(a->id, bundle, config);
	if (r < 0)
		return r;
	if (container_engine_warning()[0])
		log_warn("%s", container_engine_warning());
	container_get_info(c, &info);
	if (info.warning[0])
		log_warn("%s", info.warning);
	r = finish(o, a, &spec, c, bundle, text, len, e);
	if (r < 0)
		container_delete(c, true, NULL);
	else
		container_free_attached(c);
	return r;
}

static int enter_rootless(const struct options *o, const struct create_args *a,
			  struct err *e)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *config = NULL;
	_cleanup_free_ char *bundle = NULL, *text = NULL;
	size_t len;
	int r;

	if (!rootless_is_needed())
		return 0;
	r = read_bundle(a, &bundle, &text, &len, &config, e);
	return r < 0 ? r : rootless_create(o, config, e);
}

static int make(const struct options *o, struct create_args *a, struct err *e)
{
	_cleanup_close_ int dir = -1;
	int r;

	r = enter_rootless(o, a, e);
	if (r < 0)
		return r;
	/* Before anything of ours could have their numbers. */
	r = parse_preserve(a->preserve, &a->n_preserve, e);
	if (r < 0)
		return r;
	dir = store_make(o->root, a->id, e);
	if (dir < 0)
		return dir;
	r = create(o, a, dir, e);
	if (r < 0)
		store_remove(o->root, a->id, NULL);
	return r;
}

int verb_create(const struct options *o, int argc, char **argv, struct err *e)
{
	struct create_args a;
	int r;

	r = parse_args("create", argc, argv, &a);
	return r != 0 ? r : make(o, &a, e);
}

/* The process is this one's child, and so is its exit code this one's to
 * have. */
static int start_and_wait(const struct options *o, const struct create_args *a,
			  struct err *e)
{
	_cleanup_(store_state_done) struct store_state s = {.id = NULL};
	_cleanup_close_ int dir = -1, pidfd = -1;
	int r;

	dir = store_open(o->root, a->id, e);
	if (dir < 0)
		return dir;
	r = store_read(dir, &s, e);
	if (r < 0)
		return r;
	/* Not yet reaped: the pid is no other's. */
	pidfd = pidfd_open(s.pid, 0);
	if (pidfd < 0)
		return err_sys(e, errno, "the process is gone");
	if (a->console >= 0)
		end_lines_plainly(a->console);
	r = start_id(o, a->id, !a->detach, e);
	if (r != 0 || a->detach)
		return r;
	return attend(pidfd, a->console);
}

int verb_run(const struct options *o, int argc, char **argv, struct err *e)
{
	struct create_args a;
	int r;

	r = parse_args("run", argc, argv, &a);
	if (r == 0)
		r = make(o, &a, e);
	if (r != 0)
		return r;
	r = start_and_wait(o, &a, e);
	cleanup_close(&a.console);
	if (r < 0)
		delete_id(o, a.id, true, NULL);
	else if (!a.detach && !a.keep && delete_id(o, a.id, true, e) < 0)
		return -EIO;
	return r;
}
