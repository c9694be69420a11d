/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's server, fed by a host that says anything. Input: a byte of
 * flags, then what is sent; 0xfe turns the loop, 0xfd opens and uses another
 * connection, 0xfc goes back to the one before, 0xfb half-closes it, 0xfa lets
 * the timers run out. All of them are no UTF-8, so that JSON has no use for
 * them.
 *
 * Nothing real can happen: no disk is ever found, so that no container is
 * made; the network namespace to connect in is none; the machine is not there.
 */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"

#include <fcntl.h>
#include <sys/socket.h>

#define CONNS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int no_claim(const struct claim *c, struct err *e)
{
	/* The program's promise on what it hands over. */
	if (strlen(c->machine_id) != 32 || c->entropy_len > AGENT_ENTROPY_MAX)
		abort();
	(void)e;
	return 0;
}

static int no_set_time(int64_t time, int64_t *ret, struct err *e)
{
	(void)e;
	*ret = time;
	return 0;
}

static int no_prepare(struct err *e)
{
	(void)e;
	return 0;
}

static void no_power_off(void)
{
}

static const struct agent_ops ops = {no_claim, no_set_time, no_prepare,
				     no_power_off};
static struct agent agent;
static int conns[CONNS];

static int dial(void)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
		       sv) < 0)
		abort();
	peer_add(&agent, sv[1]);
	return sv[0];
}

static void turn(void)
{
	char drop[65536];
	size_t i;

	agent_step(&agent, 0);
	for (i = 0; i < CONNS; i++)
		while (conns[i] >= 0 &&
		       recv(conns[i], drop, sizeof(drop), MSG_DONTWAIT) > 0)
			;
}

static void expire_timers(void)
{
	struct timer *t;

	for (t = agent.poller.timers; t; t = t->next)
		t->at_ms = 0;
	turn();
}

static void say(size_t *at, uint8_t c)
{
	switch (c) {
	case 0xfe:
		turn();
		break;
	case 0xfd:
		*at = (*at + 1) % CONNS;
		if (conns[*at] < 0)
			conns[*at] = dial();
		break;
	case 0xfc:
		*at = (*at + CONNS - 1) % CONNS;
		break;
	case 0xfb:
		if (conns[*at] >= 0)
			shutdown(conns[*at], SHUT_WR);
		break;
	case 0xfa:
		expire_timers();
		break;
	default:
		break;
	}
}

static void start(uint8_t flags)
{
	struct err e = ERR_INIT;
	size_t i;

	memset(&agent, 0, sizeof(agent));
	if (agent_init(&agent, &ops, &e) < 0)
		abort();
	agent.image_dir = "/nonexistent";
	agent.pod_netns = open("/dev/null", O_RDONLY | O_CLOEXEC);
	agent.own_netns = open("/dev/null", O_RDONLY | O_CLOEXEC);
	agent.prepared = true;
	agent.seccomp_ready = true;
	agent.claimed = flags & 1;
	for (i = 0; i < CONNS; i++)
		conns[i] = -1;
	conns[0] = dial();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t at = 0, i = 1, n;

	if (size < 2)
		return 0;
	start(data[0]);
	while (i < size) {
		for (n = i; n < size && (data[n] < 0xfa || data[n] > 0xfe); n++)
			;
		if (n > i && conns[at] >= 0 &&
		    send(conns[at], data + i, n - i,
			 MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
			turn();
		if (n < size)
			say(&at, data[n]);
		i = n + 1;
	}
	turn();
	turn();
	expire_timers();
	for (i = 0; i < CONNS; i++)
		cleanup_close(&conns[i]);
	agent_step(&agent, 0);
	agent_done(&agent);
	for (i = 0; i < AGENT_PEERS_MAX; i++)
		if (agent.peers[i].used)
			abort();
	if (agent.poller.timers && agent.poller.timers != &agent.heartbeat &&
	    agent.poller.timers != &agent.disk_look &&
	    agent.poller.timers != &agent.stop_timer)
		abort();
	return 0;
}
