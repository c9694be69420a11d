/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that deal with a container that exists. */
#include "guest-agent/runtime/runtime.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "guest-agent/container/hooks.h"

/* Verbs of one id and no option. */
static int only_id(const char *name, int argc, char **argv, const char **ret)
{
	static const struct option none[] = {{NULL, 0, NULL, 0}};
	const struct verb *v = find_verb(name);

	if (getopt_long(argc, argv, "+", none, NULL) >= 0)
		return usage_error(v, NULL);
	if (argc - optind != 1)
		return usage_error(v, "one container id is needed");
	*ret = argv[optind];
	return 0;
}

void run_poststop(const char *id, const char *bundle,
		  const struct oci_runtime *config)
{
	const struct hook_state state = {.id = id,
					 .status = "stopped",
					 .bundle = bundle,
					 .config = config};
	struct err e = ERR_INIT;
	size_t i;

	/* One that fails does not keep the others from running. */
	for (i = 0; config->hooks && i < config->hooks->n_poststop; i++)
		if (hooks_run("poststop", &config->hooks->poststop[i], 1,
			      &state, &e) < 0)
			log_warn("%s", e.msg);
}

/* The first that fails ends the container: by 1.2.1 of the specification. */
static int run_poststart(const struct loaded *l, struct err *e)
{
	const struct hook_state state = {.id = l->state.id,
					 .status = "running",
					 .bundle = l->state.bundle,
					 .pid = l->state.pid,
					 .config = l->config};
	const struct oci_hooks *h = l->config->hooks;
	int r;

	r = h ? hooks_run("poststart", h->poststart, h->n_poststart, &state, e)
	      : 0;
	if (r < 0)
		container_kill(l->c, SIGKILL, container_has_cgroup(l->c), NULL);
	return r;
}

int start_id(const struct options *o, const char *id, bool foreground,
	     struct err *e)
{
	_cleanup_(loaded_done) struct loaded l = LOADED_INIT;
	_cleanup_close_ int ready = -1;
	int r;

	r = load(o, id, false, true, &l, e);
	if (r != 0)
		return r;
	if (l.status == CONTAINER_CREATED)
		ready = sdnotify_listen(l.dir);
	r = container_start(l.c, NULL, e);
	/* Once asked it is started or has ended; nobody can ask again. */
	if (l.status == CONTAINER_CREATED)
		store_started(l.dir);
	if (r == 0 && l.state.hooks) {
		r = store_config(l.dir, &l.config, e);
		if (r == 0)
			r = run_poststart(&l, e);
	}
	if (r == 0 && ready >= 0 && foreground)
		sdnotify_forward_aside(ready, container_pidfd(l.c),
				       l.state.pid);
	else if (r == 0 && ready >= 0)
		sdnotify_forward(ready, container_pidfd(l.c), l.state.pid);
	return r < 0 ? err_wrap(e, "start '%s'", id) : 0;
}

int verb_start(const struct options *o, int argc, char **argv, struct err *e)
{
	const char *id;
	int r;

	r = only_id("start", argc, argv, &id);
	return r != 0 ? r : start_id(o, id, false, e);
}

static int print_state(const struct loaded *l, struct err *e)
{
	json_t *json = json_object(), *notes = json_object();
	char stamp[48], owner[64];
	size_t i;

	json_object_set_new(json, "ociVersion",
			    json_string(HYB_OCI_RUNTIME_VERSION));
	json_object_set_new(json, "id", json_string(l->state.id));
	json_object_set_new(json, "status",
			    json_string(container_status_name(l->status)));
	json_object_set_new(json, "pid",
			    json_integer(l->status == CONTAINER_STOPPED
						 ? 0
						 : l->state.pid));
	json_object_set_new(json, "bundle", json_string(l->state.bundle));
	if (l->state.rootfs)
		json_object_set_new(json, "rootfs",
				    json_string(l->state.rootfs));
	format_time(l->state.created_at, stamp, sizeof(stamp));
	json_object_set_new(json, "created", json_string(stamp));
	store_owner(l->dir, owner, sizeof(owner));
	json_object_set_new(json, "owner", json_string(owner));
	for (i = 0; i < l->config->n_annotations; i++)
		json_object_set_new(
			notes, l->config->annotations[i].key,
			json_string(l->config->annotations[i].value));
	if (json_object_size(notes))
		json_object_set(json, "annotations", notes);
	json_decref(notes);
	return print_json(json, e);
}

/* Reads the configuration itself: load() would prepare a process. */
int verb_state(const struct options *o, int argc, char **argv, struct err *e)
{
	_cleanup_(loaded_done) struct loaded l = LOADED_INIT;
	const char *id;
	int r;

	r = only_id("state", argc, argv, &id);
	if (r != 0)
		return r;
	l.dir = store_open(o->root, id, e);
	if (l.dir < 0)
		return l.dir;
	r = store_read(l.dir, &l.state, e);
	if (r == 0)
		r = store_config(l.dir, &l.config, e);
	if (r < 0)
		return r;
	l.status = store_status(l.dir, &l.state, &l.pidfd);
	return print_state(&l, e);
}

/* By number (0 only asks) or name, real-time ones too: "RTMIN+3". */
static int find_signal(const char *text, int *ret)
{
	const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;
	bool max = strncasecmp(name, "RTMAX", 5) == 0;
	int64_t n = 0;

	if (strcmp(text, "0") == 0) {
		*ret = 0;
		return 0;
	}
	if (!max && strncasecmp(name, "RTMIN", 5) != 0)
		return parse_signal(text, ret);
	name += 5;
	if (name[0] == (max ? '-' : '+') &&
	    parse_i64(name + 1, 0, SIGRTMAX - SIGRTMIN, &n) < 0)
		return -EINVAL;
	if (name[0] && name[0] != (max ? '-' : '+'))
		return -EINVAL;
	*ret = max ? SIGRTMAX - (int)n : SIGRTMIN + (int)n;
	return 0;
}

/* Without a pid namespace of its own nothing ends with the first process. */
static bool has_own_pids(const struct oci_runtime *config)
{
	const struct oci_linux *lx = config->lx;
	size_t i;

	for (i = 0; lx && i < lx->n_namespaces; i++)
		if (strcmp(lx->namespaces[i].type, "pid") == 0)
			return !lx->namespaces[i].path;
	return false;
}

static int kill_loaded(struct loaded *l, int sig, bool all, struct err *e)
{
	int r;

	if (sig == SIGKILL && !l->state.defaults) {
		r = store_config(l->dir, &l->config, e);
		if (r < 0)
			return r;
		/* With the first one of its pid namespace all are gone. */
		if (!all || !container_has_cgroup(l->c))
			all = !has_own_pids(l->config) &&
			      (all || container_has_cgroup(l->c));
	}
	if (l->status == CONTAINER_STOPPED && !all)
		return err_set(e, ESRCH, "container not running");
	return container_kill(l->c, sig, all, e);
}

struct kill_args {
	int sig;
	bool all;
};

static int kill_id(const struct options *o, const char *id, void *arg,
		   struct err *e)
{
	_cleanup_(loaded_done) struct loaded l = LOADED_INIT;
	const struct kill_args *a = arg;
	int r;

	r = load(o, id, false, false, &l, e);
	if (r == 0)
		r = kill_loaded(&l, a->sig, a->all, e);
	return r < 0 ? err_wrap(e, "kill '%s'", id) : 0;
}

int verb_kill(const struct options *o, int argc, char **argv, struct err *e)
{
	static const struct option options[] = {
		{"all", no_argument, NULL, 'a'},
		{"regex", no_argument, NULL, 'r'},
		{NULL, 0, NULL, 0}};
	const struct verb *v = find_verb("kill");
	struct kill_args a = {.sig = SIGTERM};
	bool regex = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "ar", options, NULL)) >= 0) {
		if (opt != 'a' && opt != 'r')
			return usage_error(v, NULL);
		a.all |= opt == 'a';
		regex |= opt == 'r';
	}
	if (argc - optind < 1 || argc - optind > 2)
		return usage_error(v, "a container id and at most one signal "
				      "are needed");
	if (argc - optind == 2 && find_signal(argv[optind + 1], &a.sig) < 0)
		return usage_error(v, "there is no signal '%s'",
				   argv[optind + 1]);
	return regex ? for_each_match(o, argv[optind], kill_id, &a, e)
		     : kill_id(o, argv[optind], &a, e);
}

/* Left by a creation that was killed: there is no state yet. Its process may
 * wait for a start that cannot come: it is in the cgroup. */
static int delete_unfinished(const struct options *o, const char *id, int dir,
			     struct err *e)
{
	struct container_spec spec = CONTAINER_SPEC_INIT;
	_cleanup_free_ char *cgroup = NULL;
	struct container *c = NULL;
	int r;

	r = store_noted_cgroup(dir, &cgroup, e);
	if (r < 0)
		return r;
	spec.id = id;
	spec.cgroup_name = cgroup;
	if (cgroup[0])
		r = container_attach(&spec, 0, -1, CONTAINER_STOPPED, -1, &c,
				     e);
	if (r == 0 && c)
		r = container_delete(c, true, e);
	if (r < 0) {
		container_free_attached(c);
		return err_wrap(e, "delete '%s'", id);
	}
	return store_remove(o->root, id, e);
}

int delete_id(const struct options *o, const char *id, bool force,
	      struct err *e)
{
	_cleanup_(loaded_done) struct loaded l = LOADED_INIT;
	int r;

	r = load(o, id, false, false, &l, e);
	if (r == -ENOENT && force && l.dir < 0) {
		err_clear(e);
		return 0;
	}
	if (r < 0 && force && l.dir >= 0 && !l.c) {
		err_clear(e);
		return delete_unfinished(o, id, l.dir, e);
	}
	if (r == 0 && l.state.hooks)
		r = store_config(l.dir, &l.config, e);
	if (r == 0) {
		/* One that waits for its start has nothing to lose: runc and
		 * crun take it away unasked. */
		r = container_delete(l.c,
				     force || l.status == CONTAINER_CREATED, e);
		if (r == 0)
			l.c = NULL;
	}
	if (r < 0)
		return err_wrap(e, "delete '%s'", id);
	if (l.config)
		run_poststop(id, l.state.bundle, l.config);
	return store_remove(o->root, id, e);
}

static int delete_match(const struct options *o, const char *id, void *arg,
			struct err *e)
{
	return delete_id(o, id, *(const bool *)arg, e);
}

int verb_delete(const struct options *o, int argc, char **argv, struct err *e)
{
	static const struct option options[] = {
		{"force", no_argument, NULL, 'f'},
		{"regex", no_argument, NULL, 'r'},
		{NULL, 0, NULL, 0}};
	const struct verb *v = find_verb("delete");
	bool force = false, regex = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "fr", options, NULL)) >= 0) {
		if (opt != 'f' && opt != 'r')
			return usage_error(v, NULL);
		force |= opt == 'f';
		regex |= opt == 'r';
	}
	if (argc - optind != 1)
		return usage_error(v, "one container id is needed");
	if (regex)
		return for_each_match(o, argv[optind], delete_match, &force, e);
	return delete_id(o, argv[optind], force, e);
}

static int freeze(const struct options *o, const char *verb, int argc,
		  char **argv, struct err *e)
{
	_cleanup_(loaded_done) struct loaded l = LOADED_INIT;
	const char *id;
	int r;

	r = only_id(verb, argc, argv, &id);
	if (r == 0)
		r = load(o, id, false, false, &l, e);
	if (r != 0)
		return r;
	r = strcmp(verb, "pause") == 0 ? container_pause(l.c, e)
				       : container_resume(l.c, e);
	return r < 0 ? err_wrap(e, "%s '%s'", verb, id) : 0;
}

int verb_pause(const struct options *o, int argc, char **argv, struct err *e)
{
	return freeze(o, "pause", argc, argv, e);
}

int verb_resume(const struct options *o, int argc, char **argv, struct err *e)
{
	return freeze(o, "resume", argc, argv, e);
}

int verb_refused(const struct options *o, int argc, char **argv, struct err *e)
{
	(void)o;
	(void)argc;
	return err_set(e, ENOTSUP,
		       "%s: is not supported: a container is not saved to disk",
		       argv[0]);
}
