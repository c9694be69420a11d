/* SPDX-License-Identifier: Apache-2.0 */
/* spec: a configuration to begin with. */
#include "guest-agent/runtime/runtime.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"

static const char template[] =
	"{\"ociVersion\":\"" HYB_OCI_RUNTIME_VERSION "\","
	"\"process\":{\"terminal\":true,\"user\":{\"uid\":0,\"gid\":0},"
	"\"args\":[\"sh\"],\"env\":[\"PATH=/usr/local/sbin:/usr/local/bin:"
	"/usr/sbin:/usr/bin:/sbin:/bin\",\"TERM=xterm\"],\"cwd\":\"/\","
	"\"capabilities\":{"
	"\"bounding\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\","
	"\"CAP_NET_BIND_SERVICE\"],"
	"\"effective\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\","
	"\"CAP_NET_BIND_SERVICE\"],"
	"\"permitted\":[\"CAP_AUDIT_WRITE\",\"CAP_KILL\","
	"\"CAP_NET_BIND_SERVICE\"]},"
	"\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"hard\":1024,"
	"\"soft\":1024}],\"noNewPrivileges\":true},"
	"\"root\":{\"path\":\"rootfs\",\"readonly\":true},"
	"\"hostname\":\"hyb\","
	"\"mounts\":["
	"{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
	"{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\","
	"\"options\":[\"nosuid\",\"strictatime\",\"mode=755\","
	"\"size=65536k\"]},"
	"{\"destination\":\"/dev/pts\",\"type\":\"devpts\","
	"\"source\":\"devpts\",\"options\":[\"nosuid\",\"noexec\","
	"\"newinstance\",\"ptmxmode=0666\",\"mode=0620\",\"gid=5\"]},"
	"{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\","
	"\"size=65536k\"]},"
	"{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\","
	"\"source\":\"mqueue\",\"options\":[\"nosuid\",\"noexec\","
	"\"nodev\"]},"
	"{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\","
	"\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]},"
	"{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\","
	"\"source\":\"cgroup\",\"options\":[\"nosuid\",\"noexec\",\"nodev\","
	"\"relatime\",\"ro\"]}],"
	"\"linux\":{\"resources\":{\"devices\":[{\"allow\":false,"
	"\"access\":\"rwm\"}]},"
	"\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\"},"
	"{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"mount\"},"
	"{\"type\":\"cgroup\"}],"
	"\"maskedPaths\":[\"/proc/acpi\",\"/proc/asound\",\"/proc/kcore\","
	"\"/proc/keys\",\"/proc/latency_stats\",\"/proc/timer_list\","
	"\"/proc/timer_stats\",\"/proc/sched_debug\",\"/sys/firmware\","
	"\"/proc/scsi\"],"
	"\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\","
	"\"/proc/sys\",\"/proc/sysrq-trigger\"]}}";

/* Drops the items of `list` whose `key` is `value`. */
static void drop(json_t *list, const char *key, const char *value)
{
	size_t i = json_array_size(list);
	const char *s;

	while (i-- > 0) {
		s = json_string_value(
			json_object_get(json_array_get(list, i), key));
		if (s && strcmp(s, value) == 0)
			json_array_remove(list, i);
	}
}

static json_t *one_id(unsigned int id)
{
	return json_pack("[{s:i,s:I,s:i}]", "containerID", 0, "hostID",
			 (json_int_t)id, "size", 1);
}

/* Without privileges: one id is mapped, the host's network stays, its sysfs is
 * bound, terminals have no group of their own, and no limit is asked for. */
static void make_rootless(json_t *spec)
{
	json_t *lx = json_object_get(spec, "linux"), *item;
	json_t *mounts = json_object_get(spec, "mounts");
	json_t *ns = json_object_get(lx, "namespaces");
	size_t i;

	drop(ns, "type", "network");
	json_array_append_new(ns, json_pack("{s:s}", "type", "user"));
	json_object_set_new(lx, "uidMappings", one_id(geteuid()));
	json_object_set_new(lx, "gidMappings", one_id(getegid()));
	json_object_del(lx, "resources");
	drop(mounts, "destination", "/sys");
	drop(mounts, "destination", "/sys/fs/cgroup");
	json_array_append_new(mounts,
			      json_pack("{s:s,s:s,s:s,s:[s,s,s,s,s]}",
					"destination", "/sys", "type", "none",
					"source", "/sys", "options", "rbind",
					"nosuid", "noexec", "nodev", "ro"));
	json_array_foreach(mounts, i, item) {
		json_t *options = json_object_get(item, "options");
		size_t k = json_array_size(options);

		while (k-- > 0)
			if (strcmp(json_string_value(
					   json_array_get(options, k)),
				   "gid=5") == 0)
				json_array_remove(options, k);
	}
}

static int write_spec(const char *dir, const json_t *spec, struct err *e)
{
	_cleanup_free_ char *text = json_dumps(spec, JSON_INDENT(2));
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	int r;

	if (!text)
		return err_sys(e, ENOMEM, "spec");
	if ((size_t)snprintf(path, sizeof(path), "%s/config.json", dir) >=
	    sizeof(path))
		return err_sys(e, ENAMETOOLONG, "'%s'", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 && errno == EEXIST)
		return err_set(e, EEXIST,
			       "File config.json exists. Remove it first");
	if (fd < 0)
		return err_sys(e, errno, "make '%s'", path);
	r = write_full(fd, text, strlen(text));
	if (r == 0)
		r = write_full(fd, "\n", 1);
	return r < 0 ? err_sys(e, -r, "write '%s'", path) : 0;
}

int verb_spec(const struct options *o, int argc, char **argv, struct err *e)
{
	static const struct option options[] = {
		{"bundle", required_argument, NULL, 'b'},
		{"rootless", no_argument, NULL, 'r'},
		{NULL, 0, NULL, 0}};
	const char *dir = ".";
	bool rootless = false;
	json_t *spec;
	int opt, r;

	(void)o;
	while ((opt = getopt_long(argc, argv, "b:", options, NULL)) >= 0) {
		if (opt == 'b')
			dir = optarg;
		else if (opt == 'r')
			rootless = true;
		else
			return usage_error(find_verb("spec"), NULL);
	}
	if (argc != optind)
		return usage_error(find_verb("spec"), "no argument is wanted");
	spec = json_loads(template, JSON_REJECT_DUPLICATES, NULL);
	if (!spec)
		return err_sys(e, ENOMEM, "spec");
	if (rootless)
		make_rootless(spec);
	r = write_spec(dir, spec, e);
	json_decref(spec);
	return r;
}
