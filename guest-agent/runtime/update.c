/* SPDX-License-Identifier: Apache-2.0 */
/* update: flags become the JSON that -r would have had, so that one table
 * rules both. */
#include "guest-agent/runtime/runtime.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/json.h"
#include "common/base/parse.h"

/* Flags that are a member of the resources. */
static const struct {
	const char *flag, *group, *key;
	bool text, size;
} members[] = {
	{"memory", "memory", "limit", false, true},
	{"memory-reservation", "memory", "reservation", false, true},
	{"memory-swap", "memory", "swap", false, true},
	{"cpu-share", "cpu", "shares", false, false},
	{"cpu-shares", "cpu", "shares", false, false},
	{"cpu-quota", "cpu", "quota", false, false},
	{"cpu-period", "cpu", "period", false, false},
	{"cpu-burst", "cpu", "burst", false, false},
	{"cpu-idle", "cpu", "idle", false, false},
	{"cpuset-cpus", "cpu", "cpus", true, false},
	{"cpuset-mems", "cpu", "mems", true, false},
	{"pids-limit", "pids", "limit", false, false},
	{"blkio-weight", "blockIO", "weight", false, false},
};

static int add_member(json_t *root, size_t i, const char *value)
{
	json_t *group = json_object_get(root, members[i].group);
	uint64_t size;
	int64_t n = 0;

	if (!group) {
		group = json_object();
		json_object_set_new(root, members[i].group, group);
	}
	if (members[i].text) {
		json_object_set_new(group, members[i].key, json_string(value));
		return 0;
	}
	if (parse_i64(value, INT64_MIN, INT64_MAX, &n) < 0) {
		if (!members[i].size || parse_size(value, &size) < 0)
			return -EINVAL;
		n = (int64_t)size;
	}
	json_object_set_new(group, members[i].key, json_integer(n));
	return 0;
}

/* From standard input, where path is "-"; one byte more than is taken. */
static int read_text(const char *path, char **ret, size_t *ret_len,
		     struct err *e)
{
	ssize_t n;

	if (strcmp(path, "-") != 0)
		return file_read(AT_FDCWD, path, HYB_OCI_RUNTIME_MAX, ret,
				 ret_len, e);
	*ret = malloc(HYB_OCI_RUNTIME_MAX + 1);
	n = *ret ? read_full(0, *ret, HYB_OCI_RUNTIME_MAX + 1) : -ENOMEM;
	if (n < 0)
		return err_sys(e, (int)-n, "read standard input");
	*ret_len = (size_t)n;
	return 0;
}

static int read_resources(const char *path, const json_t *flags,
			  struct arena **arena, struct oci_resources **ret,
			  struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r;

	if (!path)
		return oci_resources_parse(flags, arena, ret, e);
	r = read_text(path, &text, &len, e);
	if (r == 0)
		r = oci_resources_parse_text(text, len, arena, ret, e);
	return r < 0 ? err_wrap(e, "resources '%s'", path) : 0;
}

/* 0, or 2 for a wrong command line. *ret_file: NULL where flags say it. */
static int parse_args(int argc, char **argv, json_t *root,
		      const char **ret_file, const char **ret_id)
{
	struct option options[ARRAY_SIZE(members) + 2];
	const struct verb *v = find_verb("update");
	bool flags = false;
	const char *file = NULL;
	size_t i;
	int opt;

	memset(options, 0, sizeof(options));
	for (i = 0; i < ARRAY_SIZE(members); i++)
		options[i] = (struct option){members[i].flag, required_argument,
					     NULL, 256 + (int)i};
	options[i] = (struct option){"resources", required_argument, NULL, 'r'};
	while ((opt = getopt_long(argc, argv, "r:", options, NULL)) >= 0) {
		if (opt == 'r') {
			file = optarg;
			continue;
		}
		if (opt < 256)
			return usage_error(v, NULL);
		i = (size_t)(opt - 256);
		if (add_member(root, i, optarg) < 0)
			return usage_error(v, "--%s: '%s' is not a number",
					   members[i].flag, optarg);
		flags = true;
	}
	if (argc - optind != 1)
		return usage_error(v, "one container id is needed");
	if (!file == !flags)
		return usage_error(v, "either -r or at least one limit is "
				      "needed");
	*ret_id = argv[optind];
	*ret_file = file;
	return 0;
}

int verb_update(const struct options *o, int argc, char **argv, struct err *e)
{
	_cleanup_(loaded_done) struct loaded l = LOADED_INIT;
	_cleanup_json_ json_t *root = json_object();
	_cleanup_arena_ struct arena *arena = NULL;
	struct oci_resources *res;
	const char *id = "", *file = NULL;
	int r;

	r = parse_args(argc, argv, root, &file, &id);
	if (r == 0)
		r = read_resources(file, root, &arena, &res, e);
	if (r == 0)
		r = load(o, id, false, false, &l, e);
	if (r == 0)
		r = container_update(l.c, res, e);
	return r < 0 ? err_wrap(e, "update '%s'", id) : r;
}
