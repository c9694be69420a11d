/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another process in a running container.
 *
 * The parent enters the container's pid namespace for the instant of the clone
 * (only its future children are affected), so that one clone is enough. The
 * child, non-dumpable from its first step, joins the other namespaces in one
 * call and then goes the same way as the first process did: privileges, filter,
 * program. It is born in the container's cgroup, so there is no moment in which
 * it is without limits.
 */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/sys/cgroup.h"
#include "guest-agent/sys/kernel.h"

/* A reaper whose program could not be executed ends at once. */
#define REAPER_MS 500

static void cleanup_plan(struct plan **p)
{
	plan_free(*p);
}

/* The container's own root directory, through its first process, which has not
 * been reaped: its pid cannot be another's. */
static int open_root(const struct container *c, struct err *e)
{
	char path[48];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/root", (int)c->pid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "open the container's root") : fd;
}

static int exec_args(struct plan *p, const struct container *c,
		     const struct container_exec_spec *spec, struct err *e)
{
	const struct plan_process *first = &c->plan->process;

	if (!spec->args || !spec->args[0])
		return err_set(e, EINVAL, "args: is missing");
	p->process.argv = arena_strv(p->arena, spec->args);
	if (!p->process.argv)
		return err_sys(e, ENOMEM, "exec");
	p->process.envp =
		plan_env(p->arena, (const char *const *)first->envp, spec->env);
	if (!p->process.envp)
		return err_sys(e, ENOMEM, "exec");
	p->process.cwd = spec->cwd && spec->cwd[0] ? plan_strdup(p, spec->cwd)
						   : first->cwd;
	if (!p->process.cwd)
		return err_sys(e, ENOMEM, "exec");
	if (p->process.cwd[0] != '/')
		return err_set(e, EINVAL, "cwd: must be absolute");
	return 0;
}

/* A process of another uid than 0 has none; nobody has more than the first
 * process could have had. */
static void exec_caps(struct plan_process *pp, const struct container *c)
{
	const struct cap_sets none = {.bounding = 0};

	if (pp->uid == c->plan->process.uid || !c->defaults)
		return;
	pp->caps = none;
	if (pp->uid == 0)
		pp->caps = c->plan->root_caps;
}

/* The HOME that the engine gave the first process is that process's user's:
 * another user has another. */
static int exec_home(struct plan *p, int rootfd,
		     const struct container_exec_spec *spec, struct err *e)
{
	char **env = p->process.envp;
	size_t i, n = 0;

	if (spec->env && env_get((char *const *)(uintptr_t)spec->env, "HOME"))
		return 0;
	for (i = 0; env[i]; i++)
		if (strncmp(env[i], "HOME=", 5) != 0)
			env[n++] = env[i];
	env[n] = NULL;
	return plan_home(p, rootfd, e);
}

static int exec_user(struct plan *p, const struct container *c,
		     const struct container_exec_spec *spec, struct err *e)
{
	_cleanup_close_ int root = -1;
	int r;

	if (!spec->user || !spec->user[0])
		return 0;
	root = open_root(c, e);
	if (root < 0)
		return root;
	r = plan_user(p, root, spec->user, e);
	if (r < 0)
		return r;
	if (map_id(c->uids.maps, c->uids.n, p->process.uid) < 0 ||
	    map_id(c->gids.maps, c->gids.n, p->process.gid) < 0)
		return err_set(e, EINVAL,
			       "user: %u:%u has no mapping in the user "
			       "namespace",
			       p->process.uid, p->process.gid);
	exec_caps(&p->process, c);
	return c->plan->home_added ? exec_home(p, root, spec, e) : 0;
}

/* What is on top of the container's own: groups and capabilities. */
static int exec_more(struct plan *p, const struct container *c,
		     const struct container_exec_spec *spec, struct err *e)
{
	struct plan_process *pp = &p->process;
	size_t n = pp->n_groups, i;
	gid_t *groups;
	uint64_t mask;
	int cap;

	for (i = 0; spec->add_caps && spec->add_caps[i]; i++) {
		cap = caps_parse(spec->add_caps[i]);
		if (c->defaults || cap < 0 || cap > pp->last_cap)
			return err_set(e, EINVAL, "capability '%s': %s",
				       spec->add_caps[i],
				       c->defaults ? "may not be added"
						   : "unknown");
		mask = UINT64_C(1) << cap;
		pp->caps.bounding |= mask;
		pp->caps.permitted |= mask;
		pp->caps.effective |= mask;
	}
	if (!spec->n_add_groups)
		return 0;
	groups = arena_alloc(p->arena, n + spec->n_add_groups, sizeof(*groups));
	if (!groups)
		return err_sys(e, ENOMEM, "exec");
	memcpy(groups, pp->groups, n * sizeof(*groups));
	for (i = 0; i < spec->n_add_groups; i++) {
		if (map_id(c->gids.maps, c->gids.n, spec->add_groups[i]) < 0)
			return err_set(e, EINVAL,
				       "group %u has no mapping in the user "
				       "namespace",
				       spec->add_groups[i]);
		groups[n + i] = spec->add_groups[i];
	}
	pp->groups = groups;
	pp->n_groups = n + spec->n_add_groups;
	return 0;
}

static int exec_plan(struct plan *p, const struct container *c,
		     const struct container_exec_spec *spec, struct err *e)
{
	struct plan_process *pp = &p->process;
	int r;

	*pp = c->plan->process;
	p->userns = c->plan->userns;
	p->joined_userns = c->plan->joined_userns;
	p->no_setgroups = c->plan->no_setgroups;
	p->confined = c->plan->confined;
	p->setup_uid = c->plan->setup_uid;
	p->setup_gid = c->plan->setup_gid;
	pp->reaper = spec->reaper;
	pp->terminal = spec->terminal;
	pp->plain_lines = spec->plain_lines;
	pp->rows = spec->rows;
	pp->cols = spec->cols;
	memcpy(pp->stdio, spec->stdio, sizeof(pp->stdio));
	pp->preserve = spec->preserve_fds;
	pp->no_new_privs |= spec->no_new_privs;
	r = exec_args(p, c, spec, e);
	if (r == 0)
		r = exec_user(p, c, spec, e);
	if (r == 0)
		r = exec_more(p, c, spec, e);
	return r < 0 ? r : plan_candidates(p, spec->search_path, e);
}

/* ------------------------------------------------------------- the cgroup */

/*
 * Below the container's own, with no controller of its own: what it uses counts
 * as the container's, and the kernel lets processes be in both. Always a new one:
 * from 6.14 on the kernel takes a process that is cloned into a cgroup which was
 * killed once, by a parent elsewhere, for one that the kill has missed. *ret
 * stays as it is where there is none.
 */
static int group_open(const struct container *c, const char *name, int *ret,
		      struct err *e)
{
	int fd;

	if (c->cgroup_fd < 0 || !name)
		return 0;
	if ((unlinkat(c->cgroup_fd, name, AT_REMOVEDIR) < 0 &&
	     errno != ENOENT) ||
	    mkdirat(c->cgroup_fd, name, 0755) < 0)
		return err_sys(e, errno, "make cgroup '%s'", name);
	fd = cgroup_open(c->cgroup_fd, name);
	if (fd < 0)
		return err_sys(e, -fd, "open cgroup '%s'", name);
	*ret = fd;
	return 0;
}

/* In runc's words, which tests look for. */
static int not_added(int err, const char *path, struct err *e)
{
	return err_set(e, err, "adding pid of exec to cgroups '%s': %s", path,
		       err == ENOENT ? "no such file or directory"
				     : strerror(err));
}

/* One that somebody made below the container's own. */
static int subgroup_open(const struct container *c, const char *path, int *ret,
			 struct err *e)
{
	char copy[HYB_CGROUP_PATH_MAX], *save = NULL, *word;
	int n = snprintf(copy, sizeof(copy), "%s", path);

	if (n < 0 || (size_t)n >= sizeof(copy))
		return err_sys(e, ENAMETOOLONG, "cgroup");
	for (word = strtok_r(copy, "/", &save); word;
	     word = strtok_r(NULL, "/", &save))
		if (strcmp(word, "..") == 0)
			return err_set(e, EINVAL,
				       "cgroup: bad sub cgroup path '%s'",
				       path);
	if (c->cgroup_fd < 0)
		return err_set(e, ENOTSUP, "cgroup: the container has none");
	path += strspn(path, "/");
	*ret = cgroup_open(c->cgroup_fd, *path ? path : ".");
	return *ret < 0 ? not_added(-*ret, path, e) : 0;
}

/* Where the first process went: one that gave its children controllers may
 * have no process itself. By the kernel's word, not the container's. */
static int first_group_open(const struct container *c)
{
	_cleanup_free_ char *text = NULL;
	char path[48], *line;
	size_t own = strlen(c->cgroup), len;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)c->pid);
	r = file_read(AT_FDCWD, path, 65536, &text, &len, NULL);
	if (r < 0)
		return r;
	line = strstr(text, "0::/");
	if (!line || (line != text && line[-1] != '\n'))
		return -ENOENT;
	line += strlen("0::/");
	line[strcspn(line, "\n")] = '\0';
	if (strncmp(line, c->cgroup, own) != 0 || line[own] != '/')
		return -ENOENT;
	return cgroup_open(c->cgroup_fd, line + own + 1);
}

int container_kill_group(struct container *c, const char *group)
{
	_cleanup_close_ int fd = -1;

	if (c->cgroup_fd < 0)
		return -ENOTSUP;
	fd = cgroup_open(c->cgroup_fd, group);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	return cgroup_kill(fd);
}

/* Out of the group, which is killed without it. Where that cannot be it dies
 * with the rest. */
static void group_leave(const struct container *c, pid_t pid)
{
	if (c->cgroup_fd >= 0)
		cgroup_write_u64(c->cgroup_fd, "cgroup.procs", (uint64_t)pid);
}

/* --------------------------------------------------------------- the clone */

/* In the cgroup, or where that one takes no process, in the first one's. */
static pid_t clone_into(const struct container *c, struct plan *p,
			struct clone_args *args, bool own)
{
	_cleanup_close_ int other = -1;
	pid_t pid = sys_clone3(args);

	if (pid < 0 && errno == EBUSY && own && args->cgroup) {
		other = first_group_open(c);
		args->cgroup = (uint64_t)(unsigned int)other;
		if (other >= 0)
			pid = sys_clone3(args);
		else
			errno = EBUSY;
	}
	if (pid == 0)
		setup_run_exec(p, c->pidfd, c->namespaces & ~CLONE_NEWPID);
	return pid;
}

static int exec_clone(struct container *c, struct plan *p, int cgroup_fd,
		      struct spawned *s, struct err *e)
{
	_cleanup_close_ int own = -1;
	struct clone_args args = {
		.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
		.pidfd = (uint64_t)(uintptr_t)&s->pidfd,
		.exit_signal = SIGCHLD,
	};
	struct affinity saved;
	pid_t pid;
	int err, r;

	/* What may not be had was told when the container was made. */
	process_take_oom_score(&p->process);
	own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
	if (own < 0)
		return err_sys(e, errno, "open the own pid namespace");
	if (cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)(unsigned int)cgroup_fd;
	}
	r = affinity_enter(&p->process, &saved, e);
	if (r < 0)
		return r;
	if ((c->namespaces & CLONE_NEWPID) &&
	    setns(c->pidfd, CLONE_NEWPID) < 0) {
		err = errno;
		affinity_leave(&saved);
		return err_sys(e, err, "join the pid namespace");
	}
	pid = clone_into(c, p, &args, cgroup_fd == c->cgroup_fd);
	err = errno;
	affinity_leave(&saved);
	/* As in namespaces_leave(): must not fail. Who is confined may not go
	 * back, its own being the machine's root's, and makes no other child
	 * after this one. */
	if ((c->namespaces & CLONE_NEWPID) && setns(own, CLONE_NEWPID) < 0 &&
	    !engine.confined)
		abort();
	if (pid < 0) {
		s->pidfd = -1;
		if (err == EBUSY)
			return not_added(err, c->cgroup, e);
		return clone_failed(err, c->namespaces & CLONE_NEWPID, e);
	}
	s->pid = pid;
	return 0;
}

static int exec_null(struct plan_process *pp, int *null, struct err *e)
{
	int i;

	for (i = 0; i < 3; i++) {
		if (pp->stdio[i] >= 0 || pp->terminal)
			continue;
		if (*null < 0)
			*null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (*null < 0)
			return err_sys(e, errno, "open /dev/null");
		pp->stdio[i] = *null;
	}
	return 0;
}

static int exec_run(struct container *c, struct plan *p, int group,
		    struct spawned *s, int *console,
		    struct container_failure *failure, struct err *e)
{
	const int extra[] = {c->pidfd};
	int r;

	/* In a mount namespace of others "/" is theirs. */
	if (c->plan->chroot) {
		p->root_fd = open_root(c, e);
		if (p->root_fd < 0)
			return p->root_fd;
	}
	r = spawned_supervise(s, c, e);
	if (r == 0)
		r = process_own_stdio(c, &p->process, e);
	if (r == 0)
		r = sync_pair(&s->sync, &p->sync_fd, e);
	if (r == 0)
		r = plan_keep(p, extra, ARRAY_SIZE(extra), e);
	if (r == 0)
		r = exec_clone(c, p, group >= 0 ? group : c->cgroup_fd, s, e);
	cleanup_close(&p->sync_fd);
	if (r == 0)
		r = process_set_oom_score(&p->process, s->pid, e);
	if (r == 0)
		r = spawned_wait(s, false, console, failure, e);
	if (r == 0)
		r = process_set_limits(&p->process, s->pid, e);
	if (r == 0)
		r = process_set_scheduling(&p->process, s->pid, e);
	if (r == 0)
		r = affinity_set(&p->process, s->pid, e);
	if (r < 0)
		return r;
	if (send(s->sync, "", 1, MSG_NOSIGNAL) < 0)
		return err_sys(e, errno, "start the process");
	return spawned_wait(s, true, NULL, failure, e);
}

int container_exec(struct container *c, const struct container_exec_spec *spec,
		   struct container_process *ret,
		   struct container_failure *failure, struct err *e)
{
	_cleanup_(cleanup_plan) struct plan *p = NULL;
	_cleanup_close_ int null = -1, console = -1, group = -1;
	struct spawned s = SPAWNED_INIT;
	int r;

	if (failure)
		memset(failure, 0, sizeof(*failure));
	if (c->status != CONTAINER_RUNNING &&
	    !(c->status == CONTAINER_PAUSED && spec->even_paused) &&
	    !(c->status == CONTAINER_CREATED && spec->even_created))
		return err_set(e, EINVAL, "the container is %s, not running",
			       container_status_name(c->status));
	p = plan_new(e);
	if (!p)
		return -ENOMEM;
	r = exec_plan(p, c, spec, e);
	if (r == 0)
		r = exec_null(&p->process, &null, e);
	if (r == 0)
		r = spec->cgroup ? subgroup_open(c, spec->cgroup, &group, e)
				 : group_open(c, spec->group, &group, e);
	if (r == 0)
		r = exec_run(c, p, group, &s, &console, failure, e);
	if (r < 0) {
		/* The program is the reaper's to reap, not PID 1's. */
		if (s.pidfd >= 0 && spec->reaper)
			fd_wait(s.pidfd, POLLIN, now_ms() + REAPER_MS);
		spawned_abort(&s);
		return r;
	}
	if (group >= 0 && spec->reaper)
		group_leave(c, s.pid);
	close(s.sync);
	cleanup_close(&s.supervisor);
	ret->pid = s.pid;
	ret->pidfd = s.pidfd;
	ret->console = steal_fd(&console);
	return 0;
}
