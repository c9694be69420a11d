/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hyb-agent: PID 1 of a VM.
 *
 * The host connects while the guest boots, so the first thing done is to
 * listen: from then on the kernel takes connections. What is needed to answer
 * follows, and then the rest in stages, between which calls are answered; the
 * first Create runs what is left of them.
 *
 * On a Linux that has another PID 1, for tests:
 *   hyb-agent --listen-unix PATH [--images DIR]
 */
#include "guest-agent/init/machine.h"
#include "guest-agent/init/setup.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

/* The agent's memory that is never taken from it: itself, its kernel objects
 * and the log rings of a few containers. */
#define OWN_MEMORY_MIN ((uint64_t)8 << 20)
/* So long after boot the first containers are expected to run. */
#define SETTLE_MS 1000

static struct agent agent;
static struct watch child_watch = {.fd = -1};
static bool verbose;

/* --------------------------------------------------------------- children */

/*
 * A handler, not a signalfd: a blocked or ignored signal would be inherited by
 * what containers execute, a handler is not.
 */
static void on_sigchld(int sig)
{
	uint64_t one = 1;
	int saved = errno;

	(void)sig;
	if (write(child_watch.fd, &one, sizeof(one)) < 0)
		errno = saved;
	errno = saved;
}

static void on_sigpipe(int sig)
{
	(void)sig;
}

static void on_children(struct watch *w, uint32_t events)
{
	uint64_t count;

	(void)events;
	if (read(w->fd, &count, sizeof(count)) > 0)
		agent_reap(&agent);
}

static int watch_children(struct err *e)
{
	struct sigaction act = {.sa_handler = on_sigchld,
				.sa_flags = SA_RESTART | SA_NOCLDSTOP};
	int r;

	child_watch.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (child_watch.fd < 0)
		return err_sys(e, errno, "eventfd");
	child_watch.fn = on_children;
	r = poller_watch(&agent.poller, &child_watch, EPOLLIN);
	if (r < 0)
		return err_sys(e, -r, "eventfd");
	if (sigaction(SIGCHLD, &act, NULL) < 0)
		return err_sys(e, errno, "SIGCHLD");
	act.sa_handler = on_sigpipe;
	if (sigaction(SIGPIPE, &act, NULL) < 0)
		return err_sys(e, errno, "SIGPIPE");
	return 0;
}

/* ------------------------------------------------------------------ stages */

static int stage_mounts(struct err *e)
{
	return setup_mounts(e);
}

static int stage_disks(struct err *e)
{
	return disks_init(&agent, e);
}

static int stage_network(struct err *e)
{
	return setup_pod_network(&agent.pod_netns, e);
}

static int stage_engine(struct err *e)
{
	int r = container_engine_setup(e);

	if (r == 0 && container_engine_warning()[0])
		log_warn("%s", container_engine_warning());
	return r;
}

struct stage {
	const char *name;
	int (*run)(struct err *e);
};

/* In order: the uevents' socket and the kernel settings are the network
 * namespace's that the machine booted with. */
static const struct stage stages[] = {
	{"mounts", stage_mounts},    {"disks", stage_disks},
	{"settings", setup_sysctls}, {"network", stage_network},
	{"self", setup_self},	     {"engine", stage_engine},
};
static size_t stages_run;

static void tell(const char *what)
{
	struct timespec t;

	if (!verbose)
		return;
	clock_gettime(CLOCK_BOOTTIME, &t);
	dprintf(STDERR_FILENO, "hyb-agent: %lld.%06ld %s\n",
		(long long)t.tv_sec, t.tv_nsec / 1000, what);
}

static int run_stage(struct err *e)
{
	const struct stage *s = &stages[stages_run++];
	int r = s->run(e);

	if (r < 0)
		return err_wrap(e, "%s", s->name);
	tell(s->name);
	return 0;
}

/*
 * Not needed by any container, and it takes a while: it must not get between
 * the first calls. Until then the agent is where the containers' network is, and
 * has no socket there; and it is in the root cgroup, where nothing of its memory
 * could be taken away either, as there is no swap.
 */
static void on_settled(struct timer *t)
{
	struct err e = ERR_INIT;

	(void)t;
	if (setup_own_network(&agent.own_netns, &e) < 0 ||
	    setup_spared(&e) < 0 ||
	    container_engine_move(OWN_MEMORY_MIN, &e) < 0)
		machine_die("settling", &e);
	tell("settled");
}

static struct timer settled_timer = {.fn = on_settled};

/* A VM without one of them is none that containers may run in. */
static int prepare(struct err *e)
{
	while (stages_run < ARRAY_SIZE(stages)) {
		struct err why = ERR_INIT;

		if (run_stage(&why) < 0)
			machine_die("set-up", &why);
	}
	(void)e;
	return 0;
}

static const struct agent_ops machine_ops = {
	.claim = machine_claim,
	.set_time = machine_set_time,
	.prepare = prepare,
	.power_off = machine_power_off,
};

/* ----------------------------------------------------------------- as PID 1 */

static int listen_vsock(struct err *e)
{
	struct sockaddr_vm addr = {.svm_family = AF_VSOCK,
				   .svm_cid = VMADDR_CID_ANY,
				   .svm_port = AGENT_PORT};
	uint64_t buffer = AGENT_SOCKET_BUFFER;
	_cleanup_close_ int fd = -1;

	fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_sys(e, errno, "vsock");
	/* Accepted ones have it from the listening one. */
	if (setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &buffer,
		       sizeof(buffer)) < 0)
		return err_sys(e, errno, "vsock buffer");
	if (bind(fd, (struct sockaddr *)(void *)&addr, sizeof(addr)) < 0 ||
	    listen(fd, AGENT_BACKLOG) < 0)
		return err_sys(e, errno, "listen on vsock port %d", AGENT_PORT);
	return steal_fd(&fd);
}

/* The console may be missing; descriptors 0, 1, 2 must not be. */
static void open_console(void)
{
	int fd;

	do {
		fd = open("/dev/console", O_RDWR | O_NOCTTY);
		if (fd < 0)
			fd = open("/dev/null", O_RDWR | O_NOCTTY);
	} while (fd >= 0 && fd < STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

static int boot(struct err *e)
{
	int fd, r;

	fd = listen_vsock(e);
	if (fd < 0)
		return fd;
	tell("listening");
	r = setup_root(e);
	if (r == 0)
		r = agent_init(&agent, &machine_ops, e);
	if (r == 0)
		r = watch_children(e);
	if (r == 0)
		r = agent_listen(&agent, fd, true, e);
	if (r < 0)
		return r;
	tell("answering");
	while (stages_run < ARRAY_SIZE(stages)) {
		r = agent_step(&agent, 0);
		/* A call may have run what was left. */
		if (r == 0 && stages_run < ARRAY_SIZE(stages))
			r = run_stage(e);
		if (r < 0)
			return e->code ? r : err_sys(e, -r, "epoll");
	}
	agent.prepared = true;
	poller_timer_set(&agent.poller, &settled_timer, now_ms() + SETTLE_MS);
	return 0;
}

static void run_as_init(void)
{
	struct err e = ERR_INIT;
	int r;

	log_init("hyb-agent", LOG_LEVEL_WARN);
	/* The kernel hands unknown parameters NAME=VALUE on as environment. */
	verbose = getenv("HYB_AGENT_VERBOSE") != NULL;
	open_console();
	if (boot(&e) < 0)
		machine_die("boot", &e);
	for (;;) {
		r = agent_step(&agent, -1);
		if (r < 0) {
			err_sys(&e, -r, "epoll");
			machine_die("event loop", &e);
		}
	}
}

/* -------------------------------------------------------------------- tests */

static int test_claim(const struct claim *c, struct err *e)
{
	(void)c;
	(void)e;
	return 0;
}

static int test_set_time(int64_t time, int64_t *ret_offset, struct err *e)
{
	(void)e;
	*ret_offset = time - (int64_t)now_realtime_ns();
	return 0;
}

static int test_prepare(struct err *e)
{
	int r = container_engine_setup(e);

	if (r == 0 && container_engine_warning()[0])
		log_warn("%s", container_engine_warning());
	return r;
}

static void test_power_off(void)
{
	agent_done(&agent);
	exit(0);
}

static const struct agent_ops test_ops = {
	.claim = test_claim,
	.set_time = test_set_time,
	.prepare = test_prepare,
	.power_off = test_power_off,
};

static volatile sig_atomic_t stop_requested;

static void on_stop(int sig)
{
	(void)sig;
	stop_requested = 1;
}

static int run_for_test(const char *path, const char *images, struct err *e)
{
	struct sigaction act = {.sa_handler = on_stop};
	int fd, r;

	r = agent_init(&agent, &test_ops, e);
	if (r == 0)
		r = watch_children(e);
	if (r < 0)
		return r;
	/* Orphans of containers come to us, as they do to PID 1. */
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	agent.image_dir = images;
	fd = unix_listen(path, 0600, AGENT_BACKLOG, e);
	if (fd < 0)
		return fd;
	r = agent_listen(&agent, fd, false, e);
	while (r == 0 && !stop_requested)
		r = agent_step(&agent, 500);
	agent_done(&agent);
	return r;
}

static int usage(void)
{
	fprintf(stderr, "hyb-agent is PID 1 of a VM. For tests:\n"
			"hyb-agent --listen-unix PATH [--images DIR]\n");
	return 2;
}

int main(int argc, char **argv)
{
	const char *path = NULL, *images = NULL;
	struct err e = ERR_INIT;
	int i;

	if (getpid() == 1)
		run_as_init();
	log_init("hyb-agent", LOG_LEVEL_INFO);
	for (i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--listen-unix") == 0)
			path = argv[i + 1];
		else if (strcmp(argv[i], "--images") == 0)
			images = argv[i + 1];
		else
			return usage();
	}
	if (i != argc || !path)
		return usage();
	if (run_for_test(path, images, &e) < 0) {
		log_error("%s", e.msg);
		return 1;
	}
	return 0;
}
