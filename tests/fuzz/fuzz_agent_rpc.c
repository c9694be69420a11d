/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's server, fed by a host that says anything. Input: a byte of
 * flags, then what is sent; 0xfe turns the loop, 0xfd opens and uses another
 * connection, 0xfc goes back to the one before, 0xfb half-closes it, 0xfa lets
 * the timers run out, 0xf9 ends a container's process, 0xf8 a session's, 0xf7
 * has a container write, 0xf6 a session. All of them are no UTF-8, so that JSON
 * has no use for them. Flags: 1 claimed, 2 there is an image.
 *
 * Nothing real can happen: what makes and moves processes is put aside by the
 * linker (--wrap, in the Makefile), and containers are made that have every
 * state and no process. The network namespace to connect in is none; the
 * machine is not there.
 */
#include "guest-agent/container/internal.h"
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define CONNS	 8
#define MACHINES 16 /* descriptors that stand for what processes hold */

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

/* ------------------------------------------- in the place of real processes */

/* In the place of the descriptor of a process: always readable, as of one that
 * has ended. */
static int gone = -1;
/* What containers' and sessions' processes would write to. */
static int outs[MACHINES], session_outs[MACHINES];
static pid_t next_pid = 1 << 22; /* beyond what the kernel gives */

static void hold(int list[MACHINES], int fd)
{
	size_t i;

	if (fd < 0)
		return;
	for (i = 0; i < MACHINES; i++) {
		if (list[i] < 0) {
			list[i] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
			return;
		}
	}
}

static void let_go(int list[MACHINES])
{
	size_t i;

	for (i = 0; i < MACHINES; i++) {
		cleanup_close(&list[i]);
		list[i] = -1;
	}
}

static void write_somewhere(const int list[MACHINES])
{
	static const char text[] = "a line\nand \033[2J half of one";
	size_t i;

	for (i = 0; i < MACHINES; i++)
		if (list[i] >= 0 &&
		    send(list[i], text, sizeof(text), MSG_DONTWAIT) < 0 &&
		    errno == ENOTSOCK && fd_set_nonblock(list[i], true) == 0 &&
		    write(list[i], text, sizeof(text)) < 0)
			continue;
}

int __wrap_container_create(const struct container_spec *spec,
			    struct container **ret,
			    struct container_failure *failure, struct err *e);
int __wrap_container_create(const struct container_spec *spec,
			    struct container **ret,
			    struct container_failure *failure, struct err *e)
{
	struct container *c;
	int r;

	(void)failure;
	r = config_check(spec->config, spec->defaults, e);
	if (r < 0)
		return r;
	c = container_new(spec->id);
	if (!c)
		abort();
	config_warn(spec->config, c);
	c->pid = next_pid++;
	c->pidfd = fcntl(gone, F_DUPFD_CLOEXEC, 3);
	c->defaults = spec->defaults;
	c->created_at = now_realtime_ns();
	hold(outs, spec->stdio[1]);
	*ret = c;
	return 0;
}

int __wrap_container_start(struct container *c,
			   struct container_failure *failure, struct err *e);
int __wrap_container_start(struct container *c,
			   struct container_failure *failure, struct err *e)
{
	/* Some programs are not there. */
	if (strstr(c->id, "none")) {
		failure->exit_code = 127;
		c->reason = "StartError";
		return err_set(e, ENOENT, "exec: not found");
	}
	c->status = CONTAINER_RUNNING;
	c->started_at = now_realtime_ns();
	return 0;
}

static int stand_still(struct container *c, enum container_status status)
{
	c->status = status;
	return 0;
}

int __wrap_container_pause(struct container *c, struct err *e);
int __wrap_container_pause(struct container *c, struct err *e)
{
	(void)e;
	return stand_still(c, CONTAINER_PAUSED);
}

int __wrap_container_resume(struct container *c, struct err *e);
int __wrap_container_resume(struct container *c, struct err *e)
{
	(void)e;
	return stand_still(c, CONTAINER_RUNNING);
}

int __wrap_container_kill(struct container *c, int sig, bool all,
			  struct err *e);
int __wrap_container_kill(struct container *c, int sig, bool all, struct err *e)
{
	(void)all;
	if (sig < 0 || sig > 64)
		abort();
	return c->status == CONTAINER_STOPPED ? err_set(e, ESRCH, "ended") : 0;
}

int __wrap_container_exec(struct container *c,
			  const struct container_exec_spec *spec,
			  struct container_process *ret,
			  struct container_failure *failure, struct err *e);
int __wrap_container_exec(struct container *c,
			  const struct container_exec_spec *spec,
			  struct container_process *ret,
			  struct container_failure *failure, struct err *e)
{
	int sv[2];

	if (c->status != CONTAINER_RUNNING || !spec->args[0])
		abort();
	if (strcmp(spec->args[0], "none") == 0) {
		if (failure)
			failure->exit_code = 127;
		return err_set(e, ENOENT, "exec: not found");
	}
	*ret = (struct container_process){.pid = next_pid++, .console = -1};
	ret->pidfd = fcntl(gone, F_DUPFD_CLOEXEC, 3);
	if (!spec->terminal) {
		hold(session_outs, spec->stdio[1]);
		return 0;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
		abort();
	ret->console = sv[0];
	hold(session_outs, sv[1]);
	close(sv[1]);
	return 0;
}

int __wrap_container_inside(struct container *c, int fd,
			    container_inside_fn *fn, void *arg, pid_t *ret_pid,
			    struct err *e);
int __wrap_container_inside(struct container *c, int fd,
			    container_inside_fn *fn, void *arg, pid_t *ret_pid,
			    struct err *e)
{
	(void)fn;
	(void)arg;
	if (c->status != CONTAINER_RUNNING || fd < 0)
		abort();
	if (strstr(c->id, "lost"))
		return err_set(e, ESRCH, "it is gone");
	*ret_pid = next_pid++;
	return 0;
}

int __wrap_disks_find(const char *serial, char *path, size_t size);
int __wrap_disks_find(const char *serial, char *path, size_t size)
{
	(void)serial;
	(void)path;
	(void)size;
	return -ENOENT;
}

int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode)
{
	(void)path;
	(void)mode;
	errno = EEXIST;
	return -1;
}

int __wrap_files_remove(const char *id, struct err *e);
int __wrap_files_remove(const char *id, struct err *e)
{
	(void)id;
	(void)e;
	return 0;
}

pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
	errno = EAGAIN;
	return -1;
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

static void end_container(void)
{
	size_t i;

	for (i = 0; i < AGENT_CONTAINERS_MAX; i++) {
		if (agent.slots[i].used && !agent.slots[i].ended) {
			slot_ended(&agent.slots[i], 0x0300);
			return;
		}
	}
}

static void end_session(void)
{
	size_t i;

	for (i = 0; i < AGENT_SESSIONS_MAX; i++) {
		if (agent.sessions[i].used && agent.sessions[i].pid) {
			session_ended(&agent.sessions[i], SIGKILL);
			return;
		}
	}
}

static void say(size_t *at, uint8_t c)
{
	switch (c) {
	case 0xf6:
		write_somewhere(session_outs);
		turn();
		break;
	case 0xf7:
		write_somewhere(outs);
		turn();
		break;
	case 0xf8:
		end_session();
		break;
	case 0xf9:
		end_container();
		break;
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

/* A folder with an image. */
static const char *make_images(void)
{
	static char dir[] = "/tmp/hyb-fuzz-images.XXXXXX";
	char path[64];

	snprintf(path, sizeof(path), "%s/img", dir);
	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof(path), "%s/img", dir);
	if (mkdirat(AT_FDCWD, path, 0700) < 0)
		abort();
	return dir;
}

static const char *images;

static void remove_images(void)
{
	path_remove(images, NULL);
}

static void make_machine(void)
{
	if (images)
		return;
	/* As the agent does. */
	signal(SIGPIPE, SIG_IGN);
	images = make_images();
	atexit(remove_images);
	gone = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (gone < 0)
		abort();
	memset(outs, 0xff, sizeof(outs));
	memset(session_outs, 0xff, sizeof(session_outs));
}

static void start(uint8_t flags)
{
	struct err e = ERR_INIT;
	size_t i;

	make_machine();

	memset(&agent, 0, sizeof(agent));
	if (agent_init(&agent, &ops, &e) < 0)
		abort();
	agent.image_dir = flags & 2 ? images : "/nonexistent";
	agent.pod_netns = open("/dev/null", O_RDONLY | O_CLOEXEC);
	agent.own_netns = open("/dev/null", O_RDONLY | O_CLOEXEC);
	agent.prepared = true;
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
	/* What a container answers to a check. */
	if (http_status((const char *)data, size) > 999)
		abort();
	start(data[0]);
	while (i < size) {
		for (n = i; n < size && (data[n] < 0xf6 || data[n] > 0xfe); n++)
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
	let_go(outs);
	let_go(session_outs);
	for (i = 0; i < AGENT_PEERS_MAX; i++)
		if (agent.peers[i].used)
			abort();
	if (agent.poller.timers && agent.poller.timers != &agent.heartbeat &&
	    agent.poller.timers != &agent.disk_look &&
	    agent.poller.timers != &agent.stop_timer)
		abort();
	return 0;
}
