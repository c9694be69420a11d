/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/runtime/runtime.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "guest-agent/sys/mnt.h"

extern char **environ;

void loaded_done(struct loaded *l)
{
	container_free_attached(l->c);
	cleanup_close(&l->dir);
	cleanup_close(&l->pidfd);
	store_state_done(&l->state);
	oci_runtime_free(l->config);
}

const char *find_annotation(const struct oci_runtime *config, const char *key)
{
	size_t i;

	for (i = 0; i < config->n_annotations; i++)
		if (strcmp(config->annotations[i].key, key) == 0)
			return config->annotations[i].value;
	return NULL;
}

int read_keep_groups(const struct oci_runtime *config, bool *ret, struct err *e)
{
	const char *v = find_annotation(config, "run.oci.keep_original_groups");

	*ret = v && (strcmp(v, "1") == 0 || strcmp(v, "true") == 0);
	if (!v || *ret || strcmp(v, "0") == 0 || strcmp(v, "false") == 0)
		return 0;
	return err_set(e, EINVAL,
		       "annotations: run.oci.keep_original_groups: must be 1 "
		       "or 0");
}

int load(const struct options *o, const char *id, bool with_config,
	 bool for_start, struct loaded *ret, struct err *e)
{
	struct container_spec spec = CONTAINER_SPEC_INIT;
	_cleanup_close_ int start = -1;
	int r;

	ret->dir = store_open(o->root, id, e);
	if (ret->dir < 0)
		return ret->dir;
	r = store_read(ret->dir, &ret->state, e);
	if (r < 0)
		return err_wrap(e, "container '%s'", id);
	ret->status = store_status(ret->dir, &ret->state, &ret->pidfd);
	spec.bundle = ret->state.bundle;
	if (with_config || (for_start && ret->state.listener)) {
		r = store_config(ret->dir, &ret->config, e);
		if (r < 0)
			return r;
		if (ret->process)
			ret->config->process = ret->process;
		r = read_keep_groups(ret->config, &spec.keep_groups, e);
		if (r < 0)
			return r;
	}
	if (for_start && ret->status == CONTAINER_CREATED) {
		start = store_connect(ret->dir, e);
		if (start < 0)
			return start;
	}
	spec.id = id;
	spec.config = ret->config;
	spec.cgroup_name = ret->state.cgroup;
	spec.no_cgroup = !ret->state.cgroup;
	spec.defaults = ret->state.defaults;
	spec.ids_base = ret->state.ids_base;
	spec.rootfs.dir = ret->state.rootfs;
	spec.joined = ret->state.joined;
	r = container_attach(&spec, ret->pidfd >= 0 ? ret->state.pid : 0,
			     ret->pidfd, ret->status, start, &ret->c, e);
	if (r < 0)
		return r;
	ret->pidfd = -1;
	start = -1;
	return 0;
}

/* By its path in a new mount namespace, where the link leads to a mount of the
 * old one; the same file, or none. */
static int clone_exe(int exe)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX];
	struct stat own, there;
	ssize_t n;
	int tree = mnt_clone(AT_FDCWD, "/proc/self/exe", false);

	if (tree != -EINVAL)
		return tree;
	n = readlink("/proc/self/exe", path, sizeof(path) - 1);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &there) < 0 || fstat(exe, &own) < 0)
		return -errno;
	if (own.st_dev != there.st_dev || own.st_ino != there.st_ino)
		return -ESTALE;
	return mnt_clone_fd(fd, false);
}

int exe_again(char **argv, struct err *e)
{
	_cleanup_close_ int exe = -1, tree = -1;
	int r;

	exe = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (exe < 0)
		return err_sys(e, errno, "look at the own program");
	tree = clone_exe(exe);
	if (tree < 0)
		return err_sys(e, -tree, "protect the own program");
	r = mnt_set(tree, MOUNT_ATTR_RDONLY, 0, 0, false);
	if (r < 0)
		return err_sys(e, -r, "protect the own program");
	fexecve(tree, argv, environ);
	return err_sys(e, errno, "run the own program again");
}

/* The binary by a read-only mount of its own, which belongs to no mount
 * namespace: nobody can make it writable again. An exec costs less than a copy
 * in memory would. */
int exe_protect(char **argv, struct err *e)
{
	_cleanup_close_ int exe = -1;
	struct statvfs fs;

	exe = open("/proc/self/exe", O_PATH | O_CLOEXEC);
	if (exe < 0 || fstatvfs(exe, &fs) < 0)
		return err_sys(e, errno, "look at the own program");
	if (!(fs.f_flag & ST_RDONLY))
		return exe_again(argv, e);
	/* An ordinary user's must be able to write its child's mappings: see
	 * rootless.c. */
	if (geteuid() == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(e, errno, "prctl");
	return 0;
}

int wait_exit(int pidfd)
{
	siginfo_t info;

	while (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0)
		if (errno != EINTR)
			return 255;
	return info.si_code == CLD_EXITED ? info.si_status
					  : 128 + info.si_status;
}

int parse_format(const char *text, bool *ret_json)
{
	*ret_json = strcmp(text, "json") == 0;
	return *ret_json || strcmp(text, "table") == 0 ||
			       strcmp(text, "text") == 0
		       ? 0
		       : -EINVAL;
}

static int print(json_t *json, size_t flags, struct err *e)
{
	_cleanup_free_ char *text = json ? json_dumps(json, flags) : NULL;

	json_decref(json);
	if (!text)
		return err_sys(e, ENOMEM, "JSON");
	puts(text);
	return 0;
}

int print_json(json_t *json, struct err *e)
{
	return print(json, JSON_INDENT(2), e);
}

int print_json_line(json_t *json, struct err *e)
{
	return print(json, JSON_COMPACT, e);
}

void format_time(uint64_t ns, char *out, size_t size)
{
	time_t t = (time_t)(ns / 1000000000u);
	char stamp[32];
	struct tm tm;

	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", gmtime_r(&t, &tm));
	snprintf(out, size, "%s.%09uZ", stamp,
		 (unsigned int)(ns % 1000000000u));
}

int write_pid_file(const char *path, pid_t pid, struct err *e)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", (int)pid);
	return file_write_atomic(path, text, strlen(text), 0644, e);
}

static int send_fd(const char *socket_path, const char *name, int fd,
		   struct err *e)
{
	_cleanup_close_ int sock = unix_connect(socket_path, e);
	int r;

	if (sock < 0)
		return sock;
	r = fds_send(sock, name, strlen(name), &fd, 1);
	return r < 0 ? err_sys(e, -r, "send the %s", name) : 0;
}

int send_console(const char *socket_path, int console, struct err *e)
{
	return send_fd(socket_path, "console", console, e);
}

int send_pidfd(const char *socket_path, int pidfd, struct err *e)
{
	return send_fd(socket_path, "pidfd", pidfd, e);
}

/* As many as may be handed on: no more are likely. */
#define PRESERVE_MAX 4096

/* What is not open is not open in the container either, and until then its
 * number is nothing's of ours: /dev/null has it, up to the exec. */
static int hold_number(int fd, int *null)
{
	if (fcntl(fd, F_GETFD) >= 0)
		return 0;
	if (*null < 0)
		*null = open("/dev/null", O_PATH | O_CLOEXEC);
	if (*null == fd) {
		*null = -1;
		return 0;
	}
	return *null < 0 || dup3(*null, fd, O_CLOEXEC) < 0 ? -errno : 0;
}

int parse_preserve(const char *text, unsigned int *ret, struct err *e)
{
	const char *listen = getenv("LISTEN_FDS");
	uint64_t n = 0, more = 0, i;
	_cleanup_close_ int null = -1;
	int r;

	if (text && parse_u64(text, 0, PRESERVE_MAX, &n) < 0)
		return err_set(e, EINVAL,
			       "--preserve-fds: '%s' is not a number of "
			       "descriptors",
			       text);
	if (listen && parse_u64(listen, 0, PRESERVE_MAX, &more) == 0)
		n += more;
	for (i = 3; i < 3 + n; i++) {
		r = hold_number((int)i, &null);
		if (r < 0)
			return err_sys(e, -r, "--preserve-fds: descriptor %llu",
				       (unsigned long long)i);
	}
	*ret = (unsigned int)n;
	return 0;
}
