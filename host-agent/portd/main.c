/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hyb-portd: the published TCP ports of one VM (docs/vsockd.md).
 *
 * It is given listening sockets; it can make none. Its network namespace is
 * empty, its root is the folder of the device's socket, its rights are those
 * of the VM's own uid. It lives as long as the VM, whatever becomes of hybd.
 *
 * To a VM without an agent it connects by TCP, in a network namespace that it
 * is given; then its root is empty.
 */
#include "common/base/cage.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "common/base/sandbox.h"
#include "host-agent/portd/forward.h"

#include <fcntl.h>
#include <arpa/inet.h>
#include <jansson.h>
#include <libgen.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define EXIT_USAGE 2

struct options {
	struct forward_port port[PORTD_PORTS_MAX];
	size_t n_ports;
	const char *path;
	struct forward_carrier carrier;
	bool cid, tcp;	/* the carriers that were named */
	uint64_t netns; /* a descriptor; 0: none */
	bool drop_ids, have_gid, wait;
	uint32_t uid, gid;
	enum log_level level;
};

static const char usage_text[] =
	"usage: hyb-portd --port FD:PORT... {--vsock PATH | --vsock-cid N |\n"
	"                 --tcp IP --netns FD} [--agent-port N]\n"
	"                 [--uid UID --gid GID] [--wait]\n"
	"                 [--log-level error|warning|info|debug]\n"
	"FD is an inherited listening TCP socket: 3, 4, ... in this order; behind\n"
	"them that of the network namespace where IP is connected to.\n"
	"--wait: serves once a byte comes on standard input, ends at its end.\n";

/* "FD:PORT"; the descriptors come in order, so that all others can be
 * closed. */
static int parse_published(const char *s, struct options *o)
{
	const char *colon = strchr(s, ':');
	char fd_text[8];
	uint64_t fd;

	if (!colon || (size_t)(colon - s) >= sizeof(fd_text) ||
	    o->n_ports == PORTD_PORTS_MAX)
		return -EINVAL;
	memcpy(fd_text, s, (size_t)(colon - s));
	fd_text[colon - s] = '\0';
	if (parse_u64(fd_text, 3 + o->n_ports, 3 + o->n_ports, &fd) < 0 ||
	    parse_port(colon + 1, &o->port[o->n_ports].guest_port) < 0)
		return -EINVAL;
	o->port[o->n_ports++].listen_fd = (int)fd;
	return 0;
}

static int parse_option(int c, void *arg)
{
	struct options *o = arg;
	uint64_t v = 0;
	int err = 0;

	switch (c) {
	case 'p':
		err = parse_published(optarg, o);
		break;
	case 'v':
		o->path = optarg;
		break;
	case 'c':
		err = parse_u64(optarg, 3, UINT32_MAX - 1, &v);
		o->cid = true;
		o->carrier.kind = FORWARD_VSOCK;
		o->carrier.cid = (uint32_t)v;
		break;
	case 't':
		err = inet_pton(AF_INET, optarg, &o->carrier.ip) == 1 ? 0
								      : -EINVAL;
		o->tcp = true;
		o->carrier.kind = FORWARD_TCP;
		break;
	case 'n':
		err = parse_u64(optarg, 3, INT32_MAX, &o->netns);
		break;
	case 'a':
		err = parse_u64(optarg, 1, UINT32_MAX - 1, &v);
		o->carrier.agent_port = (uint32_t)v;
		break;
	case 'u':
		err = parse_uid(optarg, &o->uid);
		o->drop_ids = true;
		break;
	case 'g':
		err = parse_uid(optarg, &o->gid);
		o->have_gid = true;
		break;
	case 'w':
		o->wait = true;
		break;
	case 'd':
		err = log_level_parse(optarg, &o->level);
		break;
	default:
		return -EINVAL;
	}
	if (err < 0)
		fprintf(stderr, "hyb-portd: bad value '%s'\n", optarg);
	return err;
}

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"port", required_argument, NULL, 'p'},
		{"vsock", required_argument, NULL, 'v'},
		{"vsock-cid", required_argument, NULL, 'c'},
		{"tcp", required_argument, NULL, 't'},
		{"netns", required_argument, NULL, 'n'},
		{"agent-port", required_argument, NULL, 'a'},
		{"uid", required_argument, NULL, 'u'},
		{"gid", required_argument, NULL, 'g'},
		{"log-level", required_argument, NULL, 'd'},
		{"wait", no_argument, NULL, 'w'},
		{NULL, 0, NULL, 0},
	};

	*o = (struct options){.carrier.agent_port = 1024,
			      .level = LOG_LEVEL_INFO};
	if (cage_options(argc, argv, longs, parse_option, o) < 0 ||
	    o->n_ports == 0 || o->cid + o->tcp + (o->path != NULL) != 1 ||
	    o->netns != (o->tcp ? 3 + o->n_ports : 0) ||
	    o->drop_ids != o->have_gid)
		return -EINVAL;
	return 0;
}

static int check_listener(const struct forward_port *p, struct err *e)
{
	socklen_t len = sizeof(int);
	int listening = 0;

	if (getsockopt(p->listen_fd, SOL_SOCKET, SO_ACCEPTCONN, &listening,
		       &len) < 0 ||
	    !listening || fd_set_nonblock(p->listen_fd, true) < 0)
		return err_set(e, EBADF, "descriptor %d does not listen",
			       p->listen_fd);
	return 0;
}

/* The network namespace that it was given becomes its own. */
static int enter_network(int fd, struct err *e)
{
	if (setns(fd, CLONE_NEWNET) < 0)
		return err_sys(e, errno, "enter a network namespace");
	close(fd);
	return 0;
}

/* Nothing is opened, and TCP connects to the VM's ports only. */
static int lock_landlock(const struct options *o, struct err *e)
{
	uint16_t ports[PORTD_PORTS_MAX];
	size_t i, n = o->carrier.kind == FORWARD_TCP ? o->n_ports : 0;
	int r;

	for (i = 0; i < n; i++)
		ports[i] = o->port[i].guest_port;
	r = sandbox_landlock_tcp(ports, n, e);
	return r == -EOPNOTSUPP ? 0 : r;
}

/* No open, no exec, no fork, no bind, no kill; stream sockets of the carrier's
 * family only, without a protocol that is not the family's own. */
static int lock(const struct options *o, struct err *e)
{
	static const uint32_t families[] = {[FORWARD_UNIX] = AF_UNIX,
					    [FORWARD_VSOCK] = AF_VSOCK,
					    [FORWARD_TCP] = AF_INET};
	const struct sandbox_call calls[] = {
		{.nr = SYS_epoll_wait},
		{.nr = SYS_epoll_pwait},
		{.nr = SYS_epoll_ctl},
		{.nr = SYS_recvfrom},
		{.nr = SYS_sendto},
		{.nr = SYS_write},
		{.nr = SYS_accept4},
		{.nr = SYS_socket,
		 .arg = 0,
		 .forbid = ~families[o->carrier.kind]},
		{.nr = SYS_socket,
		 .arg = 1,
		 .forbid = ~(uint32_t)(SOCK_STREAM | SOCK_CLOEXEC |
				       SOCK_NONBLOCK)},
		{.nr = SYS_socket, .arg = 2, .forbid = ~0u},
		{.nr = SYS_connect},
		{.nr = SYS_setsockopt},
		{.nr = SYS_close},
		{.nr = SYS_shutdown},
		{.nr = SYS_fstat},
		{.nr = SYS_newfstatat},
		{.nr = SYS_mmap, .arg = 2, .forbid = PROT_EXEC},
		{.nr = SYS_munmap},
		{.nr = SYS_madvise},
		{.nr = SYS_brk},
		{.nr = SYS_clock_gettime},
		{.nr = SYS_gettimeofday},
		{.nr = SYS_rt_sigreturn},
		{.nr = SYS_restart_syscall},
		{.nr = SYS_exit},
		{.nr = SYS_exit_group},
	};
	int err = lock_landlock(o, e);

	if (err < 0)
		return err;
	return sandbox_seccomp(calls, ARRAY_SIZE(calls), e);
}

static int run(void *arg, struct err *e)
{
	struct options *o = arg;
	struct sandbox_spec spec = {.keep_net = o->netns != 0,
				    .drop_ids = o->drop_ids,
				    .uid = o->uid,
				    .gid = o->gid,
				    .max_fds = PORTD_FDS_MAX};
	_cleanup_free_ char *dir = NULL, *base = NULL;
	static struct forward forward;
	bool confined;
	size_t i;
	int err = 0;

	for (i = 0; i < o->n_ports && err == 0; i++)
		err = check_listener(&o->port[i], e);
	if (err == 0 && o->path) {
		dir = strdup(o->path);
		base = strdup(o->path);
		if (!dir || !base)
			return err_sys(e, ENOMEM, "start");
		spec.root = dirname(dir);
		/* Relative to the new root. */
		if (strlen(basename(base)) >= sizeof(o->carrier.path))
			return err_sys(e, ENAMETOOLONG, "'%s'", o->path);
		strcpy(o->carrier.path, basename(base));
	}
	if (err == 0 && o->netns)
		err = enter_network((int)o->netns, e);
	/* The JSON library draws its hash seed from a device file. */
	json_object_seed(0);
	if (err == 0)
		err = sandbox_enter(&spec, &confined, e);
	if (err < 0)
		return err;
	if (!confined)
		log_warn("no namespaces of its own: started without "
			 "privileges");
	err = forward_init(&forward, &o->carrier, o->port, o->n_ports, e);
	if (err == 0)
		err = lock(o, e);
	while (err == 0)
		err = forward_turn(&forward, -1, e);
	return err;
}

int main(int argc, char **argv)
{
	struct options o;
	struct cage c = {
		.name = "hyb-portd", .logs = true, .run = run, .arg = &o};

	if (parse_options(argc, argv, &o) < 0) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	log_init(c.name, o.level);
	c.wait = o.wait;
	c.n_fds = (unsigned int)o.n_ports + (o.netns != 0);
	return cage_main(&c);
}
