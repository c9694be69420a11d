/* SPDX-License-Identifier: Apache-2.0 */
/* What can be done with a container that exists. */
#include "guest-agent/container/internal.h"

#include <signal.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/sys/cgroup.h"

/* How long a cgroup may take to freeze, and its processes to die. */
#define FREEZE_MS 5000
#define GONE_MS	  5000

const char *container_status_name(enum container_status s)
{
	static const char *const names[] = {
		[CONTAINER_CREATED] = "created",
		[CONTAINER_RUNNING] = "running",
		[CONTAINER_PAUSED] = "paused",
		[CONTAINER_STOPPED] = "stopped",
	};

	return names[s];
}

static void kill_everything(struct container *c)
{
	if (c->cgroup_fd >= 0)
		cgroup_kill(c->cgroup_fd);
	pidfd_send_signal(c->pidfd, SIGKILL, NULL, 0);
}

int container_start(struct container *c, struct container_failure *failure,
		    struct err *e)
{
	/* There may be startContainer hooks where the agent is not the caller.
	 */
	struct spawned s = {.pid = c->pid,
			    .pidfd = c->pidfd,
			    .sync = c->sync,
			    .supervisor = -1,
			    .patient = !c->defaults};
	struct err mine = ERR_INIT;
	int r;

	if (failure)
		memset(failure, 0, sizeof(*failure));
	if (c->status != CONTAINER_CREATED || c->sync < 0)
		return err_set(e, EINVAL, "the container is %s, not created",
			       container_status_name(c->status));
	r = spawned_supervise(&s, c, e);
	if (r < 0)
		return r;
	if (send(c->sync, "", 1, MSG_NOSIGNAL) < 0) {
		r = err_sys(e, errno, "start the process");
		cleanup_close(&s.supervisor);
		return r;
	}
	r = spawned_wait(&s, true, NULL, failure, &mine);
	cleanup_close(&s.supervisor);
	cleanup_close(&c->sync);
	c->started_at = now_realtime_ns();
	if (r < 0) {
		/* Where it is we that failed the program may be running. */
		if (!s.told)
			kill_everything(c);
		memcpy(c->message, mine.msg, sizeof(c->message) - 1);
		c->reason = "StartError";
		if (e)
			*e = mine;
		return r;
	}
	c->status = CONTAINER_RUNNING;
	return 0;
}

bool container_has_listener(const struct container *c)
{
	return c->notify.path;
}

int container_pidfd(const struct container *c)
{
	return c->pidfd;
}

int container_take_console(struct container *c)
{
	return steal_fd(&c->console);
}

void container_get_info(const struct container *c, struct container_info *ret)
{
	*ret = (struct container_info){
		.id = c->id,
		.status = c->status,
		.pid = c->status == CONTAINER_STOPPED ? 0 : c->pid,
		.created_at = c->created_at,
		.started_at = c->started_at,
		.finished_at = c->finished_at,
		.exit_code = c->exit_code,
		.signal = c->signal,
		.oom_killed = c->oom_killed,
		.reason = c->status == CONTAINER_STOPPED ? c->reason : "",
		.message = c->message,
		.warning = c->warning,
	};
}

int container_get_stats(const struct container *c, struct container_stats *ret,
			struct err *e)
{
	uint64_t file = 0, slab = 0;

	memset(ret, 0, sizeof(*ret));
	if (c->cgroup_fd < 0)
		return err_set(e, ENOTSUP, "the container has no cgroup");
	cgroup_read_u64(c->cgroup_fd, "memory.current", &ret->memory_current);
	cgroup_read_u64(c->cgroup_fd, "memory.peak", &ret->memory_peak);
	cgroup_read_u64(c->cgroup_fd, "memory.max", &ret->memory_max);
	cgroup_read_key(c->cgroup_fd, "memory.stat", "inactive_file", &file);
	cgroup_read_key(c->cgroup_fd, "memory.stat", "slab_reclaimable", &slab);
	ret->memory_reclaimable = file + slab;
	cgroup_read_key(c->cgroup_fd, "cpu.stat", "usage_usec", &ret->cpu_usec);
	cgroup_read_u64(c->cgroup_fd, "pids.current", &ret->pids_current);
	cgroup_read_key(c->cgroup_fd, "memory.events", "oom_kill",
			&ret->oom_kills);
	cgroup_read_io(c->cgroup_fd, &ret->io_read, &ret->io_written);
	cgroup_read_pressure(c->cgroup_fd, "memory.pressure",
			     &ret->memory_pressure);
	cgroup_read_pressure(c->cgroup_fd, "cpu.pressure", &ret->cpu_pressure);
	cgroup_read_pressure(c->cgroup_fd, "io.pressure", &ret->io_pressure);
	return 0;
}

static int signal_all(struct container *c, int sig, struct err *e)
{
	int r;

	if (c->cgroup_fd < 0)
		return err_set(
			e, ENOTSUP,
			"signal all processes: the container has no cgroup");
	if (sig == SIGKILL)
		r = cgroup_kill(c->cgroup_fd);
	else
		r = cgroup_signal(c->cgroup_fd, sig);
	if (r < 0)
		return err_sys(e, -r, "signal all processes");
	return 0;
}

int container_kill(struct container *c, int sig, bool all, struct err *e)
{
	if (sig < 0 || sig >= NSIG)
		return err_set(e, EINVAL, "there is no signal %d", sig);
	/* Others may outlive it where the pid namespace is not its own, unless
	 * container_ended() has seen to them. */
	if (c->status == CONTAINER_STOPPED &&
	    !(all && c->cgroup_fd >= 0 && !c->finished_at))
		return err_set(e, ESRCH, "the container has ended");
	if (sig == SIGKILL || sig == SIGTERM)
		c->killed = true;
	if (all)
		return signal_all(c, sig, e);
	if (pidfd_send_signal(c->pidfd, sig, NULL, 0) < 0)
		return err_sys(e, errno, "signal the process");
	return 0;
}

int container_cgroup(const struct container *c)
{
	return c->cgroup_fd;
}

bool container_has_cgroup(const struct container *c)
{
	return c->cgroup_fd >= 0;
}

const struct container_joined *container_get_joined(const struct container *c)
{
	return &c->joined;
}

int container_update(struct container *c, const struct oci_resources *res,
		     struct err *e)
{
	int r;

	if (c->status == CONTAINER_STOPPED)
		return err_set(e, ESRCH, "the container has ended");
	if (c->cgroup_fd < 0)
		return err_set(e, ENOTSUP, "the container has no cgroup");
	if (res->n_devices)
		return err_set(e, ENOTSUP,
			       "resources.devices: cannot be changed");
	r = resources_check(res, "resources", e);
	if (r < 0)
		return r;
	/* None is taken to be missing: an update that does nothing must not
	 * look like one that was done. */
	return resources_apply(c->cgroup_fd, ~0u, res, c->defaults, true, e);
}

int container_pids(const struct container *c, pid_t *pids, size_t max,
		   struct err *e)
{
	int n;

	if (c->cgroup_fd < 0)
		return err_set(e, ENOTSUP, "the container has no cgroup");
	n = cgroup_pids(c->cgroup_fd, pids, max);
	return n < 0 ? err_sys(e, -n, "list the processes") : n;
}

static int freeze(struct container *c, bool frozen, struct err *e)
{
	int r;

	if (c->status != CONTAINER_RUNNING && c->status != CONTAINER_PAUSED)
		return err_set(e, EINVAL, "the container is %s",
			       container_status_name(c->status));
	if (c->cgroup_fd < 0)
		return err_set(e, ENOTSUP, "the container has no cgroup");
	r = cgroup_freeze(c->cgroup_fd, frozen, FREEZE_MS);
	if (r < 0) {
		/* Half frozen is neither. */
		if (frozen)
			cgroup_write(c->cgroup_fd, "cgroup.freeze", "0");
		return err_sys(e, -r, frozen ? "freeze" : "thaw");
	}
	c->status = frozen ? CONTAINER_PAUSED : CONTAINER_RUNNING;
	return 0;
}

int container_pause(struct container *c, struct err *e)
{
	return freeze(c, true, e);
}

int container_resume(struct container *c, struct err *e)
{
	return freeze(c, false, e);
}

/* The most telling cause first: a kill by the kernel for want of memory also
 * looks like a SIGKILL, and one by us like any other. */
static const char *find_reason(const struct container *c)
{
	if (strcmp(c->reason, "StartError") == 0)
		return c->reason;
	if (c->oom_killed && c->signal == SIGKILL)
		return "OOMKilled";
	if (c->oom_killed && c->exit_code == 128 + SIGKILL)
		return "OOMKilled";
	if (c->killed)
		return "Stopped";
	return c->exit_code == 0 ? "Completed" : "Error";
}

void container_ended(struct container *c, int wait_status)
{
	uint64_t kills = 0;

	if (c->status == CONTAINER_STOPPED)
		return;
	c->signal = WIFSIGNALED(wait_status) ? WTERMSIG(wait_status) : 0;
	c->exit_code =
		c->signal ? 128 + c->signal
			  : (WIFEXITED(wait_status) ? WEXITSTATUS(wait_status)
						    : 255);
	c->finished_at = now_realtime_ns();
	if (c->cgroup_fd >= 0) {
		cgroup_read_key(c->cgroup_fd, "memory.events", "oom_kill",
				&kills);
		/* Nothing outlives the first process: without a pid namespace
		 * of its own the kernel does not see to that. */
		cgroup_kill(c->cgroup_fd);
		if (c->status == CONTAINER_PAUSED)
			cgroup_write(c->cgroup_fd, "cgroup.freeze", "0");
	}
	c->oom_killed = kills > 0;
	c->reason = find_reason(c);
	c->status = CONTAINER_STOPPED;
	cleanup_close(&c->sync);
}

/* Kills everything and reaps the first process. */
static int end_by_force(struct container *c, struct err *e)
{
	siginfo_t info = {.si_pid = 0};
	int r, status;

	c->killed = true;
	kill_everything(c);
	r = fd_wait(c->pidfd, 1 /* POLLIN */, now_ms() + GONE_MS);
	if (r < 0)
		return err_sys(e, -r, "the process does not end");
	/* Not our child (another process created it): then whoever is its
	 * parent reaps it. */
	if (waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED) < 0)
		info.si_pid = 0;
	status = info.si_pid && info.si_code == CLD_EXITED
			 ? (info.si_status & 0xff) << 8
			 : SIGKILL;
	container_ended(c, status);
	return 0;
}

int container_delete(struct container *c, bool force, struct err *e)
{
	int r;

	if (c->status != CONTAINER_STOPPED && !force)
		return err_set(e, EBUSY, "the container is %s",
			       container_status_name(c->status));
	if (c->status != CONTAINER_STOPPED) {
		r = end_by_force(c, e);
		if (r < 0)
			return r;
	}
	if (c->cgroup_fd >= 0) {
		cgroup_kill(c->cgroup_fd);
		r = cgroup_remove(engine.cgroup_root, c->cgroup, GONE_MS, e);
		if (r < 0)
			return r;
	}
	r = joined_remove(c, e);
	if (r < 0)
		return r;
	container_free(c);
	return 0;
}
