/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/runtime/store.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"
#include "guest-agent/sys/cgroup.h"

#define STATE_MAX 65536

void store_state_done(struct store_state *s)
{
	free(s->id);
	free(s->bundle);
	free(s->cgroup);
	free(s->rootfs);
	free(s->erofs);
	memset(s, 0, sizeof(*s));
}

static int path_of(const char *root, const char *id, char *out, size_t size,
		   struct err *e)
{
	int n;

	if (!container_id_is_valid(id))
		return err_set(e, EINVAL, "the container's id is not valid");
	n = snprintf(out, size, "%s/%s", root, id);
	if (n < 0 || (size_t)n >= size)
		return err_sys(e, ENAMETOOLONG, "root '%s'", root);
	return 0;
}

static int open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int store_make(const char *root, const char *id, struct err *e)
{
	char path[PATH_MAX];
	int r;

	r = path_of(root, id, path, sizeof(path), e);
	if (r == 0)
		r = dir_make(root, 0700, e);
	if (r < 0)
		return r;
	if (mkdir(path, 0700) < 0) {
		if (errno == EEXIST)
			return err_set(e, EEXIST,
				       "container '%s' exists already", id);
		return err_sys(e, errno, "make '%s'", path);
	}
	r = open_dir(path);
	return r < 0 ? err_sys(e, -r, "open '%s'", path) : r;
}

int store_open(const char *root, const char *id, struct err *e)
{
	char path[PATH_MAX];
	int r;

	r = path_of(root, id, path, sizeof(path), e);
	if (r < 0)
		return r;
	r = open_dir(path);
	if (r == -ENOENT)
		return err_set(e, ENOENT, "container '%s' does not exist", id);
	return r < 0 ? err_sys(e, -r, "open '%s'", path) : r;
}

int store_remove(const char *root, const char *id, struct err *e)
{
	char path[PATH_MAX];
	int r;

	r = path_of(root, id, path, sizeof(path), e);
	return r < 0 ? r : path_remove(path, e);
}

int store_write(const char *root, const struct store_state *s,
		const char *config, size_t config_len, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char dir[PATH_MAX], path[PATH_MAX + 16];
	json_t *json;
	int r;

	r = path_of(root, s->id, dir, sizeof(dir), e);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/config.json", dir);
	r = file_write_atomic(path, config, config_len, 0600, e);
	if (r < 0)
		return r;
	json = json_pack("{ss ss ss ss* ss* sb sb sb sI sI sI sI}", "id", s->id,
			 "bundle", s->bundle, "cgroup",
			 s->cgroup ? s->cgroup : "", "rootfs", s->rootfs,
			 "erofs", s->erofs, "defaults", s->defaults, "hooks",
			 s->hooks, "listener", s->listener, "idsBase",
			 (json_int_t)s->ids_base, "pid", (json_int_t)s->pid,
			 "startTime", (json_int_t)s->start_time, "created",
			 (json_int_t)s->created_at);
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (!text)
		return err_sys(e, ENOMEM, "state");
	snprintf(path, sizeof(path), "%s/state.json", dir);
	return file_write_atomic(path, text, strlen(text), 0600, e);
}

static char *copy_of(const char *s)
{
	return s && s[0] ? strdup(s) : NULL;
}

int store_read(int dir, struct store_state *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	const char *id, *bundle, *cgroup, *rootfs = NULL, *erofs = NULL;
	json_int_t base, pid, start, created;
	json_t *json;
	size_t len;
	int defaults, hooks = 0, listener = 0, r;

	r = file_read(dir, "state.json", STATE_MAX, &text, &len, e);
	if (r < 0)
		return err_wrap(e, "the container was not created whole");
	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	if (!json ||
	    json_unpack(json, "{ss ss ss s?s s?s sb s?b s?b sI sI sI sI}", "id",
			&id, "bundle", &bundle, "cgroup", &cgroup, "rootfs",
			&rootfs, "erofs", &erofs, "defaults", &defaults,
			"hooks", &hooks, "listener", &listener, "idsBase",
			&base, "pid", &pid, "startTime", &start, "created",
			&created) < 0) {
		json_decref(json);
		return err_set(e, EINVAL, "state.json is damaged");
	}
	*ret = (struct store_state){.id = copy_of(id),
				    .bundle = copy_of(bundle),
				    .cgroup = copy_of(cgroup),
				    .rootfs = copy_of(rootfs),
				    .erofs = copy_of(erofs),
				    .defaults = defaults,
				    .hooks = hooks,
				    .listener = listener,
				    .ids_base = (uint32_t)base,
				    .pid = (pid_t)pid,
				    .start_time = (uint64_t)start,
				    .created_at = (uint64_t)created};
	json_decref(json);
	return 0;
}

int store_config(int dir, struct oci_runtime **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = file_read(dir, "config.json", HYB_OCI_RUNTIME_MAX, &text, &len, e);
	return r < 0 ? r : oci_runtime_parse_text(text, len, ret, e);
}

/* By /proc/self/fd, so that no length of the root's path is too much for a
 * socket's address. */
static void address(int dir, struct sockaddr_un *sa)
{
	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(sa->sun_path, sizeof(sa->sun_path), "/proc/self/fd/%d/start",
		 dir);
}

int store_listen(int dir, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un sa;

	address(dir, &sa);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    listen(fd, 1) < 0)
		return err_sys(e, errno, "make the start socket");
	return steal_fd(&fd);
}

int store_connect(int dir, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un sa;

	address(dir, &sa);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_sys(e, errno, "reach the waiting process");
	return steal_fd(&fd);
}

void store_started(int dir)
{
	unlinkat(dir, "start", 0);
}

/* A zombie whose parent has not reaped it yet has ended. */
static bool has_ended(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static bool is_frozen(const struct store_state *s)
{
	_cleanup_close_ int root = cgroup_root_open(NULL), fd = -1;
	const char *path = s->cgroup ? s->cgroup : "";
	char full[PATH_MAX];
	uint64_t frozen = 0;

	if (root < 0)
		return false;
	if (path[0] == '/')
		snprintf(full, sizeof(full), "%s", path + 1);
	else
		snprintf(full, sizeof(full), "hyb/%s", path);
	fd = cgroup_open(root, full);
	if (fd < 0)
		return false;
	cgroup_read_u64(fd, "cgroup.freeze", &frozen);
	return frozen == 1;
}

enum container_status store_status(int dir, const struct store_state *s,
				   int *ret_pidfd)
{
	int pidfd = proc_open(s->pid, s->start_time);

	*ret_pidfd = -1;
	if (pidfd < 0)
		return CONTAINER_STOPPED;
	if (has_ended(pidfd)) {
		close(pidfd);
		return CONTAINER_STOPPED;
	}
	*ret_pidfd = pidfd;
	if (faccessat(dir, "start", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return CONTAINER_CREATED;
	return is_frozen(s) ? CONTAINER_PAUSED : CONTAINER_RUNNING;
}
