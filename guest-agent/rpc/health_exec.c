/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A check that is a process in its container. It and all that it starts are in
 * a cgroup of their own: when it has ended, or its time is over, that is
 * killed, and a reaper above it takes the zombies away.
 */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/varlink/params.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

/* Two by turns: what was killed a moment ago may still be leaving one. */
static const char *group_of(const struct check *c)
{
	static const char *const names[CHECK_KINDS][2] = {
		[CHECK_HEALTH] = {"hyb-health-0", "hyb-health-1"},
		[CHECK_READINESS] = {"hyb-readiness-0", "hyb-readiness-1"},
	};

	return names[c->kind][c->turn];
}

struct check *check_find_pid(struct agent *a, pid_t pid)
{
	size_t i, k;

	for (i = 0; i < AGENT_CONTAINERS_MAX; i++)
		for (k = 0; k < CHECK_KINDS; k++)
			if (a->checks[i][k].pid == pid)
				return &a->checks[i][k];
	return NULL;
}

/* Takes what is there, a turn's worth: false when it was the end. */
static bool take_output(struct check *c)
{
	size_t left = AGENT_COPY_TURN;
	char buf[8192];
	ssize_t n;

	while (left > 0) {
		n = read(c->watch.fd, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n <= 0)
			return false;
		check_add_text(c, buf, (size_t)n);
		left -= (size_t)n < left ? (size_t)n : left;
	}
	return true;
}

static void on_output(struct watch *w, uint32_t events)
{
	struct check *c = container_of(w, struct check, watch);

	(void)events;
	if (!take_output(c))
		poller_close(&c->agent->poller, w);
}

static int run(struct check *c, int out, struct container_failure *failure,
	       struct err *e)
{
	_cleanup_free_ const char **args = vl_strings(c->spec.args);
	struct container_process proc = {.pidfd = -1, .console = -1};
	struct container_exec_spec spec = {
		.args = args,
		.search_path = true,
		.stdio = {-1, out, out},
		.group = group_of(c),
		.reaper = true,
	};
	int r;

	if (!args)
		return err_sys(e, ENOMEM, "check");
	r = container_exec(c->slot->container, &spec, &proc, failure, e);
	if (r < 0)
		return r;
	close(proc.pidfd);
	c->pid = proc.pid;
	return 0;
}

int check_exec_begin(struct check *c, struct err *e)
{
	struct container_failure failure = {0};
	_cleanup_close_ int in = -1, out = -1;
	int fds[2], r;

	c->turn ^= 1;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	in = fds[0];
	out = fds[1];
	r = fd_set_nonblock(in, true);
	if (r < 0)
		return err_sys(e, -r, "pipe");
	r = run(c, out, &failure, e);
	if (r < 0) {
		if (failure.exit_code)
			c->now.exit_code = failure.exit_code;
		return r;
	}
	c->watch = (struct watch){.fd = steal_fd(&in), .fn = on_output};
	poller_watch(&c->agent->poller, &c->watch, EPOLLIN);
	return 0;
}

/* All that it has started dies; its reaper ends then. */
static void kill_group(struct check *c)
{
	/* Without a cgroup the reaper is all that can be reached. The pid is a
	 * child that has not been reaped, so nobody else's. */
	if (container_kill_group(c->slot->container, group_of(c)) < 0 &&
	    c->pid > 0)
		kill(c->pid, SIGKILL);
}

void check_exec_timeout(struct check *c)
{
	if (c->over) {
		/* Killed long ago: it hangs in the kernel. Whenever it ends it
		 * is an orphan like others. */
		check_exec_abort(c);
		check_over(c);
		return;
	}
	if (c->watch.fd >= 0)
		take_output(c);
	check_result(c, false, "timed out after %llu ms",
		     (unsigned long long)c->spec.timeout_ms);
	c->over = true;
	kill_group(c);
	poller_timer_set(&c->agent->poller, &c->timer,
			 now_ms() + AGENT_CHECK_KILL_MS);
}

void check_exec_abort(struct check *c)
{
	/* Its reaper ends by itself, an orphan like others. */
	kill_group(c);
	c->pid = 0;
	poller_close(&c->agent->poller, &c->watch);
}

void check_exec_ended(struct check *c, int wait_status)
{
	int code = WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status)
					    : WEXITSTATUS(wait_status);

	c->pid = 0;
	if (!c->over && c->watch.fd >= 0)
		take_output(c);
	kill_group(c);
	poller_close(&c->agent->poller, &c->watch);
	if (!c->over) {
		c->now.exit_code = code;
		if (code == 0)
			check_result(c, true, NULL);
		else
			check_result(c, false, "exit code %d", code);
	}
	check_over(c);
}
