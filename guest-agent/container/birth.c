/* SPDX-License-Identifier: Apache-2.0 */
/* From what is prepared to a process that waits to be started. */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>

#include "common/base/cleanup.h"
#include "guest-agent/container/hooks.h"
#include "guest-agent/sys/cgroup.h"
#include "guest-agent/sys/kernel.h"

/* Would it enter namespaces that it may not leave? Back to its own needs a right
 * there. */
static bool is_one_way(const struct create *cr)
{
	return engine.confined &&
	       (cr->n_joins || (cr->plan->namespaces & CLONE_NEWTIME));
}

/* In the namespaces that are joined, as short as possible. */
static int clone_child(struct create *cr, struct spawned *s, struct err *e)
{
	struct plan *p = cr->plan;
	struct clone_args args = {
		.flags = CLONE_PIDFD | CLONE_CLEAR_SIGHAND |
			 (p->namespaces &
			  ~(uint64_t)(CLONE_NEWCGROUP | CLONE_NEWTIME)),
		.pidfd = (uint64_t)(uintptr_t)&s->pidfd,
		.exit_signal = SIGCHLD,
	};
	pid_t pid;

	if (cr->c->cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)(unsigned int)cr->c->cgroup_fd;
	}
	if (cr->userns_fd >= 0 || is_one_way(cr))
		return clone_in_userns(cr, &args, s, e);
	pid = sys_clone3(&args);
	if (pid == 0)
		setup_run(p);
	if (pid < 0) {
		s->pidfd = -1;
		if (errno == EACCES && cr->c->cgroup_fd >= 0)
			return err_sys(e, errno, "clone into cgroup '/%s'",
				       cr->c->cgroup);
		return clone_failed(errno, cr->joined & CLONE_NEWPID, e);
	}
	s->pid = pid;
	return 0;
}

/* A score that cannot be had is left out, as by other runtimes: only root may
 * make a process less likely to be killed. */
static void take_oom_score(struct create *cr)
{
	int r = process_take_oom_score(&cr->plan->process);

	if (r < 0)
		container_warn(cr->c, "process.oomScoreAdj: %d: %s: left out",
			       cr->plan->process.oom_score_adj, strerror(-r));
}

static int spawn(struct create *cr, struct spawned *s, struct err *e)
{
	struct plan *p = cr->plan;
	int r;

	r = sync_pair(&s->sync, &p->sync_fd, e);
	if (r < 0)
		return r;
	take_oom_score(cr);
	if (!engine.confined)
		r = namespaces_enter(cr, e);
	if (r < 0)
		return r;
	r = plan_mounts(cr, e);
	if (r == 0)
		r = plan_keep(p, NULL, 0, e);
	if (r == 0)
		r = clone_child(cr, s, e);
	if (!engine.confined)
		namespaces_leave(cr);
	/* The child has its own copies; with ours closed, its death is an end
	 * of file. */
	cleanup_close(&p->sync_fd);
	return r;
}

/* What needs the child's user namespace. */
static int release_child(struct create *cr, struct spawned *s, struct err *e)
{
	struct sync_msg go = {.kind = SYNC_GO};
	_cleanup_close_ int userns = -1, root = -1;
	char path[48];
	int r;

	if (cr->plan->namespaces & CLONE_NEWUSER) {
		r = id_maps_write(s->pid, &cr->c->uids, &cr->c->gids, e);
		if (r < 0)
			return r;
	}
	r = process_set_oom_score(&cr->plan->process, s->pid, e);
	if (r < 0)
		return r;
	if (cr->plan->userns) {
		snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)s->pid);
		userns = open(path, O_RDONLY | O_CLOEXEC);
		if (userns < 0)
			return err_sys(e, errno, "open '%s'", path);
		r = mounts_map(cr, userns, e);
		if (r < 0)
			return r;
	}
	if (cr->lower >= 0) {
		root = rootfs_overlay(cr, userns, e);
		if (root < 0)
			return root;
	}
	r = sync_send(s->sync, &go, root);
	return r < 0 ? err_sys(e, -r, "talk to the process") : 0;
}

/* A limit below what the set-up itself needs kills the child without a word. */
static int explain(const struct container *c, int r, struct err *e)
{
	uint64_t kills = 0;

	if (c->cgroup_fd >= 0)
		cgroup_read_key(c->cgroup_fd, "memory.events", "oom_kill",
				&kills);
	if (kills)
		return err_set(e, ENOMEM,
			       "linux.resources.memory.limit: too little for "
			       "the container's set-up");
	return r;
}

/* With the mounts in place and the root not yet pivoted to. */
static int run_hooks(struct create *cr, struct spawned *s,
		     struct container_failure *failure, struct err *e)
{
	const struct oci_hooks *h = cr->config->hooks;
	const struct hook_state state = {.id = cr->c->id,
					 .status = "creating",
					 .bundle = cr->spec->bundle,
					 .pid = s->pid,
					 .config = cr->config};
	struct sync_msg go = {.kind = SYNC_GO};
	int r;

	if (!cr->plan->hooks)
		return 0;
	r = spawned_wait(s, false, &cr->c->console, failure, e);
	if (r < 0)
		return r;
	r = hooks_run("prestart", h->prestart, h->n_prestart, &state, e);
	if (r == 0)
		r = hooks_run("createRuntime", h->create_runtime,
			      h->n_create_runtime, &state, e);
	if (r < 0) {
		if (failure)
			memcpy(failure->step, "hooks", sizeof("hooks"));
		return r;
	}
	r = sync_send(s->sync, &go, -1);
	return r < 0 ? err_sys(e, -r, "talk to the process") : 0;
}

int container_birth(struct create *cr, struct container_failure *failure,
		    struct err *e)
{
	struct spawned s = SPAWNED_INIT;
	int r;

	s.patient = cr->plan->create_hooks.n > 0;
	r = spawn(cr, &s, e);
	if (r == 0)
		r = release_child(cr, &s, e);
	if (r == 0)
		r = run_hooks(cr, &s, failure, e);
	if (r == 0)
		r = spawned_wait(&s, false, &cr->c->console, failure, e);
	if (r == 0)
		r = process_set_limits(&cr->plan->process, s.pid, e);
	if (r == 0)
		r = process_set_scheduling(&cr->plan->process, s.pid, e);
	if (r == 0)
		r = joined_note(cr, e);
	if (r < 0) {
		spawned_abort(&s);
		joined_undo(cr);
		return explain(cr->c, r, e);
	}
	cr->c->pid = s.pid;
	cr->c->pidfd = s.pidfd;
	cr->c->sync = s.sync;
	if (cr->spec->start_listen_fd >= 0)
		cleanup_close(&cr->c->sync);
	return 0;
}
