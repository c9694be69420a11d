/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <sys/socket.h>
#include <sys/wait.h>

int agent_init(struct agent *a, const struct agent_ops *ops, struct err *e)
{
	a->ops = ops;
	a->pod_netns = -1;
	a->own_netns = -1;
	a->listener.fd = -1;
	a->uevents.fd = -1;
	return poller_init(&a->poller, e);
}

void agent_done(struct agent *a)
{
	size_t i;

	forwards_done(a);
	containers_done(a);
	sessions_done(a);
	for (i = 0; i < AGENT_PEERS_MAX; i++)
		if (a->peers[i].used)
			peer_close(&a->peers[i]);
	disks_done(a);
	folders_done(a);
	poller_close(&a->poller, &a->listener);
	cleanup_close(&a->pod_netns);
	cleanup_close(&a->own_netns);
	poller_done(&a->poller);
}

int agent_listen(struct agent *a, int fd, bool vsock, struct err *e)
{
	int r;

	a->listener = (struct watch){.fd = fd, .fn = peer_accept};
	a->listener_vsock = vsock;
	r = fd_set_nonblock(fd, true);
	if (r == 0)
		r = poller_watch(&a->poller, &a->listener, EPOLLIN);
	return r < 0 ? err_sys(e, -r, "listen") : 0;
}

static struct slot *slot_find_pid(struct agent *a, pid_t pid)
{
	size_t i;

	for (i = 0; i < AGENT_CONTAINERS_MAX; i++)
		if (a->slots[i].used && a->slots[i].pid == pid)
			return &a->slots[i];
	return NULL;
}

void agent_reap(struct agent *a)
{
	struct session *session;
	struct check *check;
	struct slot *slot;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if ((slot = slot_find_pid(a, pid)))
			slot_ended(slot, status);
		else if ((session = session_find_pid(a, pid)))
			session_ended(session, status);
		else if ((check = check_find_pid(a, pid)))
			check_exec_ended(check, status);
		else if (!trees_ended(a, pid) &&
			 !scratch_reaped(a, pid, status) &&
			 !folders_reaped(a, pid, status))
			volumes_reaped(a, pid, status);
		/* Else an orphan, which nobody waits for. */
	}
}
