/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that only look: list, features. */
#include "guest-agent/runtime/runtime.h"

#include <dirent.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/json.h"
#include "guest-agent/sys/caps.h"

/* [-f FORMAT] [-q] */
static int parse_args(int argc, char **argv, bool *json, bool *quiet)
{
	static const struct option options[] = {
		{"format", required_argument, NULL, 'f'},
		{"quiet", no_argument, NULL, 'q'},
		{NULL, 0, NULL, 0}};
	const struct verb *v = find_verb("list");
	int opt;

	while ((opt = getopt_long(argc, argv, "f:q", options, NULL)) >= 0) {
		if (opt == 'q')
			*quiet = true;
		else if (opt != 'f' || parse_format(optarg, json) < 0)
			return usage_error(v, NULL);
	}
	return argc == optind ? 0 : usage_error(v, "no argument is wanted");
}

/* One that is being made or taken away this moment has no state: NULL. */
static json_t *describe(const struct options *o, const char *id)
{
	_cleanup_(store_state_done) struct store_state s = {.id = NULL};
	_cleanup_close_ int dir = -1, pidfd = -1;
	enum container_status status;
	char stamp[48], owner[64];

	dir = store_open(o->root, id, NULL);
	if (dir < 0 || store_read(dir, &s, NULL) < 0)
		return NULL;
	status = store_status(dir, &s, &pidfd);
	format_time(s.created_at, stamp, sizeof(stamp));
	store_owner(dir, owner, sizeof(owner));
	return json_pack("{ss ss si ss ss ss* ss ss}", "ociVersion",
			 HYB_OCI_RUNTIME_VERSION, "id", s.id, "pid",
			 status == CONTAINER_STOPPED ? 0 : (int)s.pid, "status",
			 container_status_name(status), "bundle", s.bundle,
			 "rootfs", s.rootfs, "created", stamp, "owner", owner);
}

/* Columns as wide as what is in them. */
static void print_table(const json_t *all)
{
	int id = 11, bundle = 11, n;
	const json_t *c;
	size_t i;

	json_array_foreach(all, i, c) {
		n = (int)strlen(json_text(c, "id"));
		id = n > id ? n : id;
		n = (int)strlen(json_text(c, "bundle"));
		bundle = n > bundle ? n : bundle;
	}
	printf("%-*s %-11s %-11s %-*s %-30s %s\n", id, "ID", "PID", "STATUS",
	       bundle, "BUNDLE", "CREATED", "OWNER");
	json_array_foreach(all, i, c)
		printf("%-*s %-11d %-11s %-*s %-30s %s\n", id,
		       json_text(c, "id"),
		       (int)json_integer_value(json_object_get(c, "pid")),
		       json_text(c, "status"), bundle, json_text(c, "bundle"),
		       json_text(c, "created"), json_text(c, "owner"));
}

static json_t *describe_all(const struct options *o, struct dirent **names,
			    int n)
{
	json_t *all = json_array(), *one;
	int i;

	for (i = 0; i < n; i++) {
		one = container_id_is_valid(names[i]->d_name)
			      ? describe(o, names[i]->d_name)
			      : NULL;
		if (one)
			json_array_append_new(all, one);
	}
	return all;
}

int verb_list(const struct options *o, int argc, char **argv, struct err *e)
{
	bool as_json = false, quiet = false;
	struct dirent **names = NULL;
	json_t *all, *one;
	size_t i;
	int r, n;

	r = parse_args(argc, argv, &as_json, &quiet);
	if (r != 0)
		return r;
	n = scandir(o->root, &names, NULL, alphasort);
	/* The usual folder is made by the first container. */
	if (n < 0 && (errno != ENOENT || o->own_root))
		return err_sys(e, errno, "open '%s'", o->root);
	all = describe_all(o, names, n);
	while (n > 0)
		free(names[--n]);
	free(names);
	if (as_json && !quiet)
		return print_json_line(all, e);
	if (!quiet)
		print_table(all);
	json_array_foreach(all, i, one)
		if (quiet)
			puts(json_text(one, "id"));
	json_decref(all);
	return 0;
}

/* ---------------------------------------------------------------- features */

/* Room for the names of options: there are fewer by far. */
#define MOUNT_WORDS_MAX 128

static json_t *words(const char *const *list)
{
	json_t *json = json_array();

	for (; *list; list++)
		json_array_append_new(json, json_string(*list));
	return json;
}

static json_t *capabilities(void)
{
	json_t *json = json_array();
	char name[48];
	int i, last = caps_last();

	for (i = 0; i <= last && caps_name(i); i++) {
		snprintf(name, sizeof(name), "CAP_%s", caps_name(i));
		json_array_append_new(json, json_string(name));
	}
	return json;
}

static json_t *seccomp(void)
{
	static const char *const actions[] = {
		"SCMP_ACT_ALLOW",	 "SCMP_ACT_ERRNO",
		"SCMP_ACT_KILL",	 "SCMP_ACT_LOG",
		"SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
		"SCMP_ACT_TRACE",	 "SCMP_ACT_TRAP",
		"SCMP_ACT_NOTIFY",	 NULL};
	static const char *const operators[] = {
		"SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT",
		"SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
		"SCMP_CMP_NE", NULL};
	static const char *const flags[] = {
		"SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG",
		"SECCOMP_FILTER_FLAG_SPEC_ALLOW",
		"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", NULL};
	static const char *const archs[] = {"SCMP_ARCH_X86_64", "SCMP_ARCH_X86",
					    "SCMP_ARCH_X32", NULL};

	return json_pack("{sb so so so so so}", "enabled", 1, "actions",
			 words(actions), "operators", words(operators), "archs",
			 words(archs), "knownFlags", words(flags),
			 "supportedFlags", words(flags));
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Those that the engine's own tables have. */
static json_t *mount_options(void)
{
	const char *list[MOUNT_WORDS_MAX + 1];
	int n = container_mount_words(list, MOUNT_WORDS_MAX);

	qsort(list, (size_t)n, sizeof(*list), compare);
	list[n] = NULL;
	return words(list);
}

int verb_features(const struct options *o, int argc, char **argv, struct err *e)
{
	static const char *const namespaces[] = {"cgroup",  "ipc", "mount",
						 "network", "pid", "time",
						 "user",    "uts", NULL};
	static const char *const hooks[] = {"prestart",
					    "createRuntime",
					    "createContainer",
					    "startContainer",
					    "poststart",
					    "poststop",
					    NULL};
	/* What names files, ids or groups of the machine; those that end in a
	 * dot are prefixes. */
	static const char *const annotations[] = {
		"io.hyb.", "run.oci.keep_original_groups",
		"run.oci.pidfd_receiver", NULL};
	json_t *lx;

	(void)o;
	(void)argv;
	if (argc != 1)
		return usage_error(find_verb("features"), NULL);
	lx = json_pack(
		"{so so s{sb sb sb sb sb} so s{sb} s{sb} s{sb} s{s{sb}}}",
		"namespaces", words(namespaces), "capabilities", capabilities(),
		"cgroup", "v1", 0, "v2", 1, "systemd", 0, "systemdUser", 0,
		"rdma", 1, "seccomp", seccomp(), "apparmor", "enabled", 0,
		"selinux", "enabled", 0, "intelRdt", "enabled", 0,
		"mountExtensions", "idmap", "enabled", 1);
	return print_json(
		json_pack("{ss ss so so so so}", "ociVersionMin", "1.0.0",
			  "ociVersionMax", HYB_OCI_RUNTIME_VERSION, "hooks",
			  words(hooks), "mountOptions", mount_options(),
			  "linux", lx, "potentiallyUnsafeConfigAnnotations",
			  words(annotations)),
		e);
}
