/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/runtime/store.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/json.h"
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
	free((char *)(uintptr_t)s->joined.path);
	memset(s, 0, sizeof(*s));
}

static int path_of(const char *root, const char *id, char *out, size_t size,
		   struct err *e)
{
	int n, r;

	r = container_id_check(id, e);
	if (r < 0)
		return r;
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
	json_t *json, *joined = NULL;
	int r;

	r = path_of(root, s->id, dir, sizeof(dir), e);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "%s/config.json", dir);
	r = file_write_atomic(path, config, config_len, 0600, e);
	if (r < 0)
		return r;
	if (s->joined.path)
		joined = json_pack("{ss sI sI sI}", "path", s->joined.path,
				   "dev", (json_int_t)s->joined.dev, "ino",
				   (json_int_t)s->joined.ino, "mount",
				   (json_int_t)s->joined.mount);
	json = json_pack("{ss ss ss ss* ss* sb sb sb sI sI sI sI so*}", "id",
			 s->id, "bundle", s->bundle, "cgroup",
			 s->cgroup ? s->cgroup : "", "rootfs", s->rootfs,
			 "erofs", s->erofs, "defaults", s->defaults, "hooks",
			 s->hooks, "listener", s->listener, "idsBase",
			 (json_int_t)s->ids_base, "pid", (json_int_t)s->pid,
			 "startTime", (json_int_t)s->start_time, "created",
			 (json_int_t)s->created_at, "joined", joined);
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	if (!text)
		return err_sys(e, ENOMEM, "state");
	snprintf(path, sizeof(path), "%s/state.json", dir);
	return file_write_atomic(path, text, strlen(text), 0600, e);
}

static int read_joined(json_t *json, struct container_joined *ret)
{
	json_int_t dev, ino, mount;
	const char *path;

	if (!json)
		return 0;
	if (json_unpack(json, "{ss sI sI sI}", "path", &path, "dev", &dev,
			"ino", &ino, "mount", &mount) < 0)
		return -EINVAL;
	*ret = (struct container_joined){.path = strdup(path),
					 .dev = (uint64_t)dev,
					 .ino = (uint64_t)ino,
					 .mount = (uint64_t)mount};
	return ret->path ? 0 : -ENOMEM;
}

static char *copy_of(const char *s)
{
	return s && s[0] ? strdup(s) : NULL;
}

/* A name below the hierarchy: what is killed and removed by it must not be
 * another's. */
static bool cgroup_is_valid(const char *path)
{
	size_t len;

	if (strlen(path) > HYB_CGROUP_PATH_MAX)
		return false;
	for (; *path; path += len + (path[len] == '/')) {
		len = strcspn(path, "/");
		if ((len == 1 && path[0] == '.') ||
		    (len == 2 && path[0] == '.' && path[1] == '.'))
			return false;
	}
	return true;
}

struct numbers {
	json_int_t base, pid, start, created;
};

static const char *find_damage(const char *id, const char *bundle,
			       const char *cgroup, const struct numbers *n)
{
	if (!container_id_is_valid(id))
		return "id";
	if (bundle[0] != '/')
		return "bundle";
	if (!cgroup_is_valid(cgroup))
		return "cgroup";
	if (n->base < 0 || n->base > UINT32_MAX)
		return "idsBase";
	if (n->pid < 1 || n->pid > INT_MAX)
		return "pid";
	if (n->start < 0)
		return "startTime";
	return n->created < 0 ? "created" : NULL;
}

int store_parse(const char *text, size_t len, struct store_state *ret,
		struct err *e)
{
	const char *id, *bundle, *cgroup, *rootfs = NULL, *erofs = NULL;
	_cleanup_json_ json_t *json = NULL;
	struct container_joined joined = {.path = NULL};
	int defaults, hooks = 0, listener = 0, r;
	const char *damage;
	struct numbers n;
	json_error_t why;

	json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (!json)
		return err_set(e, EINVAL,
			       "state.json is damaged: line %d, column %d",
			       why.line, why.column);
	if (json_unpack(json, "{ss ss ss s?s s?s sb s?b s?b sI sI sI sI}", "id",
			&id, "bundle", &bundle, "cgroup", &cgroup, "rootfs",
			&rootfs, "erofs", &erofs, "defaults", &defaults,
			"hooks", &hooks, "listener", &listener, "idsBase",
			&n.base, "pid", &n.pid, "startTime", &n.start,
			"created", &n.created) < 0)
		return err_set(e, EINVAL,
			       "state.json is damaged: a member is missing or "
			       "of another type");
	damage = find_damage(id, bundle, cgroup, &n);
	if (damage)
		return err_set(e, EINVAL, "state.json is damaged: %s", damage);
	r = read_joined(json_object_get(json, "joined"), &joined);
	if (r < 0)
		return err_sys(e, -r, "state.json is damaged: joined");
	*ret = (struct store_state){.id = copy_of(id),
				    .bundle = copy_of(bundle),
				    .cgroup = copy_of(cgroup),
				    .rootfs = copy_of(rootfs),
				    .erofs = copy_of(erofs),
				    .defaults = defaults,
				    .hooks = hooks,
				    .listener = listener,
				    .ids_base = (uint32_t)n.base,
				    .pid = (pid_t)n.pid,
				    .start_time = (uint64_t)n.start,
				    .created_at = (uint64_t)n.created,
				    .joined = joined};
	return 0;
}

int store_read(int dir, struct store_state *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	r = file_read(dir, "state.json", STATE_MAX, &text, &len, e);
	if (r < 0)
		return err_wrap(e, "the container was not created whole");
	return store_parse(text, len, ret, e);
}

/* The cgroup of this name where there is one, or -errno. */
static int open_cgroup(const char *name)
{
	_cleanup_close_ int root = cgroup_root_open(NULL);
	char full[PATH_MAX];

	if (root < 0)
		return root;
	if (name[0] == '/')
		snprintf(full, sizeof(full), "%s", name + strspn(name, "/"));
	else
		snprintf(full, sizeof(full), "hyb/%s", name);
	return cgroup_open(root, full);
}

int store_note_cgroup(int dir, const char *cgroup, struct err *e)
{
	_cleanup_close_ int fd = -1, there = open_cgroup(cgroup);
	int r;

	if (there >= 0)
		return 0;
	fd = openat(dir, "cgroup", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		    0600);
	r = fd < 0 ? -errno : write_full(fd, cgroup, strlen(cgroup));
	return r < 0 ? err_sys(e, -r, "note the cgroup") : 0;
}

int store_noted_cgroup(int dir, char **ret, struct err *e)
{
	size_t len;
	int r = file_read(dir, "cgroup", STATE_MAX, ret, &len, e);

	if (r != -ENOENT)
		return r;
	err_clear(e);
	*ret = strdup("");
	return *ret ? 0 : err_sys(e, ENOMEM, "cgroup");
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

void store_owner(int dir, char *out, size_t size)
{
	_cleanup_fclose_ FILE *f = NULL;
	const struct passwd *p;
	struct stat st;

	snprintf(out, size, "root");
	if (fstat(dir, &st) < 0 || st.st_uid == 0)
		return;
	snprintf(out, size, "%u", st.st_uid);
	f = fopen("/etc/passwd", "re");
	while (f && (p = fgetpwent(f)))
		if (p->pw_uid == st.st_uid) {
			snprintf(out, size, "%s", p->pw_name);
			return;
		}
}

/* A zombie whose parent has not reaped it yet has ended. */
static bool has_ended(int pidfd)
{
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	return poll(&p, 1, 0) > 0;
}

static bool is_frozen(const struct store_state *s)
{
	_cleanup_close_ int fd = s->cgroup ? open_cgroup(s->cgroup) : -1;
	uint64_t frozen = 0;

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
