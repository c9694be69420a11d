/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published ports of one VM: this process binds them (so that a port in use is
 * told to the user), a hyb-portd of the VM's own carries them: over vsock, or
 * to a VM without an agent by TCP in its tenant's network. It lives on when
 * hybd is killed, and the next hybd finds it by pid and start time.
 */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/proc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PORTS_MAX 48

static void port_put(struct buf *b, const struct model_port *p)
{
	bool v6 = strchr(p->host_ip, ':') != NULL;

	buf_printf(b, "%s%s%s%s:%u->%u/tcp", b->len ? ", " : "", v6 ? "[" : "",
		   p->host_ip, v6 ? "]" : "", p->published, p->target);
}

void ports_format(const struct model_port *p, size_t n, char *out, size_t size)
{
	struct buf b = BUF_INIT;
	size_t i;

	for (i = 0; i < n; i++)
		port_put(&b, &p[i]);
	snprintf(out, size, "%s", buf_str(&b));
	buf_done(&b);
}

/* A listening socket for a published port. */
static int port_bind(const struct model_port *p, int *ret, struct err *e)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
				   .sin6_port = htons(p->published)};
	struct sockaddr_in in4 = {.sin_family = AF_INET,
				  .sin_port = htons(p->published)};
	bool v4 = inet_pton(AF_INET, p->host_ip, &in4.sin_addr) == 1;
	const struct sockaddr *sa = (const struct sockaddr *)&in4;
	socklen_t len = sizeof(in4);
	_cleanup_close_ int fd = -1;
	int one = 1, r;

	if (!v4) {
		if (inet_pton(AF_INET6, p->host_ip, &in6.sin6_addr) != 1)
			return err_set(e, EINVAL,
				       "publish port %u: '%s' is no address",
				       p->published, p->host_ip);
		sa = (const struct sockaddr *)&in6;
		len = sizeof(in6);
	}
	fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, errno, "make a socket");
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    (!v4 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one,
			       sizeof(one)) < 0) ||
	    bind(fd, sa, len) < 0 || listen(fd, 512) < 0) {
		r = err_sys(e, errno, "publish port %s:%u", p->host_ip,
			    p->published);
		if (r == -EADDRINUSE)
			err_hint(e, "another program has this port; see `ss "
				    "-ltnp`, or publish another one");
		return r;
	}
	*ret = steal_fd(&fd);
	return 0;
}

struct port_set {
	int fds[PORTS_MAX + 1]; /* and a network namespace */
	size_t n;
	bool netns;
	char args[PORTS_MAX][32]; /* "FD:TARGET" */
};

static void port_set_done(struct port_set *s)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		close(s->fds[i]);
	if (s->netns)
		close(s->fds[s->n]);
	s->n = 0;
}

/* Which other VM of ours has the port? With what its portd was given. */
static void name_owner(struct vm *vm, const struct model_port *p, struct err *e)
{
	bool everywhere = strcmp(p->host_ip, "0.0.0.0") == 0 ||
			  strcmp(p->host_ip, "::") == 0;
	char host[64], any[64], any6[64];
	const struct vm *o;

	snprintf(host, sizeof(host), "%s:%u->", everywhere ? "" : p->host_ip,
		 p->published);
	snprintf(any, sizeof(any), "0.0.0.0:%u->", p->published);
	snprintf(any6, sizeof(any6), "[::]:%u->", p->published);
	world_lock(vm->world);
	for (o = vm->world->vms; o; o = o->next) {
		/* Of another tenant's it is not told whose it is. */
		if (o == vm || strcmp(o->tenant, vm->tenant) != 0 ||
		    (!strstr(o->row.ports, host) &&
		     !strstr(o->row.ports, any) && !strstr(o->row.ports, any6)))
			continue;
		err_set(e, EADDRINUSE,
			"publish port %s:%u: it is published by '%s/%s'",
			p->host_ip, p->published, o->stack, o->name);
		err_hint(e,
			 "publish another port, or take that stack down: "
			 "`hyb down %s`",
			 o->stack);
		break;
	}
	world_unlock(vm->world);
}

static int ports_bind(struct vm *vm, const struct model_vm *m,
		      struct port_set *s, struct err *e)
{
	const struct model_port *p;
	int r;

	while ((p = model_vm_port(m, s->n)) != NULL) {
		if (s->n == PORTS_MAX)
			return err_set(e, E2BIG,
				       "VM '%s' publishes more than %d ports",
				       m->name, PORTS_MAX);
		r = port_bind(p, &s->fds[s->n], e);
		if (r == -EADDRINUSE)
			name_owner(vm, p, e);
		if (r < 0)
			return r;
		snprintf(s->args[s->n], sizeof(s->args[0]), "%zu:%u", s->n + 3,
			 p->target);
		s->n++;
	}
	return 0;
}

/* What the VM's ports are, as text that is compared and stored. */
static void ports_describe(const struct vm *vm, const struct model_vm *m,
			   char *out, size_t size)
{
	const struct model_port *p;
	struct buf b = BUF_INIT;
	size_t i;

	for (i = 0; (p = model_vm_port(m, i)) != NULL; i++)
		port_put(&b, p);
	/* Of this VM: a VM that is made anew has another socket. */
	if (b.len)
		buf_printf(&b, " @%lld", (long long)vm->row.id);
	snprintf(out, size, "%s", buf_str(&b));
	buf_done(&b);
}

/* How portd reaches the VM, as its arguments. */
struct portd_way {
	const char *argv[5];
	char cid[16], fd[16];
	struct net_machine net;
};

/* Behind the listening sockets. */
static int way_by_network(struct vm *vm, struct port_set *s,
			  struct portd_way *way, struct err *e)
{
	int r;

	if (!vm->plugged) {
		err_set(e, ENETUNREACH,
			"VM '%s' has no network card: it was started by an "
			"earlier hyb",
			vm->name);
		err_hint(e, "`hyb restart %s/%s` gives it one", vm->stack,
			 vm->name);
		return -e->code;
	}
	r = net_namespace(vm->world->net, vm->tenant, &s->fds[s->n], e);
	if (r < 0)
		return r;
	s->netns = true;
	net_machine_address(vm->row.net_number, &way->net);
	snprintf(way->fd, sizeof(way->fd), "%zu", s->n + 3);
	way->argv[0] = "--tcp";
	way->argv[1] = way->net.ip;
	way->argv[2] = "--netns";
	way->argv[3] = way->fd;
	return 0;
}

static int way_find(struct vm *vm, struct port_set *s, struct portd_way *way,
		    struct err *e)
{
	memset(way, 0, sizeof(*way));
	if (vm->machine)
		return way_by_network(vm, s, way, e);
	if (vm->addr.carrier == VSOCK_UNIX) {
		way->argv[0] = "--vsock";
		way->argv[1] = vm->addr.path;
		return 0;
	}
	snprintf(way->cid, sizeof(way->cid), "%u", vm->addr.cid);
	way->argv[0] = "--vsock-cid";
	way->argv[1] = way->cid;
	return 0;
}

/*
 * Starts it; it serves once a byte is written to *ret_go, and ends should that
 * be closed before: a hybd that is killed before the row says which process
 * has the ports leaves none that nobody knows of.
 */
static int portd_spawn(struct vm *vm, const struct port_set *s,
		       const struct portd_way *way, int *ret_go, struct err *e)
{
	_cleanup_close_ int wait_fd = -1, go = -1;
	const char *argv[PORTS_MAX * 2 + 16];
	struct proc_spec spec;
	size_t n = 0, i;
	char uid[16];
	int r, ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return err_sys(e, errno, "make a pipe");
	wait_fd = ends[0];
	go = ends[1];
	snprintf(uid, sizeof(uid), "%u", (unsigned int)vm_uid(vm));
	argv[n++] = "hyb-portd";
	for (i = 0; way->argv[i]; i++)
		argv[n++] = way->argv[i];
	argv[n++] = "--wait";
	argv[n++] = "--uid";
	argv[n++] = uid;
	argv[n++] = "--gid";
	argv[n++] = uid;
	for (i = 0; i < s->n; i++) {
		argv[n++] = "--port";
		argv[n++] = s->args[i];
	}
	argv[n] = NULL;
	spec = (struct proc_spec){
		.path = vm->world->config.portd_path,
		.argv = argv,
		.stdin_fd = wait_fd,
		.stdout_fd = -1,
		.stderr_fd = -1,
		.fds = s->fds,
		.n_fds = s->n + s->netns,
		.new_session = true,
	};
	r = proc_spawn(&spec, &pid, &vm->portd.pidfd, e);
	if (r < 0)
		return r;
	world_lock(vm->world);
	vm->portd.pid = pid;
	world_unlock(vm->world);
	if (proc_start_time(pid, &vm->portd.start_time) < 0)
		return err_set(e, ECHILD, "hyb-portd ended at once");
	*ret_go = steal_fd(&go);
	return 0;
}

static bool portd_alive(const struct vm *vm)
{
	struct pollfd p = {.fd = vm->portd.pidfd, .events = POLLIN};

	return vm->portd.pidfd >= 0 && poll(&p, 1, 0) == 0;
}

static int portd_store(struct vm *vm, struct err *e)
{
	world_lock(vm->world);
	vm->row.portd_pid = vm->portd.pid;
	vm->row.portd_start = vm->portd.start_time;
	snprintf(vm->row.ports, sizeof(vm->row.ports), "%s", vm->portd.ports);
	world_unlock(vm->world);
	return vm_store(vm, e);
}

int ports_publish(struct vm *vm, const struct model_vm *m, struct err *e)
{
	_cleanup_(port_set_done) struct port_set s = {.n = 0};
	_cleanup_close_ int go = -1;
	char wanted[sizeof(vm->portd.ports)];
	struct portd_way way;
	int r;

	ports_describe(vm, m, wanted, sizeof(wanted));
	if (strcmp(wanted, vm->portd.ports) == 0 &&
	    (!wanted[0] || portd_alive(vm)))
		return 0;
	ports_unpublish(vm);
	if (!wanted[0])
		return portd_store(vm, e);
	r = ports_bind(vm, m, &s, e);
	if (r == 0)
		r = way_find(vm, &s, &way, e);
	if (r == 0)
		r = portd_spawn(vm, &s, &way, &go, e);
	if (r < 0)
		return r;
	world_lock(vm->world);
	snprintf(vm->portd.ports, sizeof(vm->portd.ports), "%s", wanted);
	world_unlock(vm->world);
	r = portd_store(vm, e);
	if (r == 0 && write(go, "", 1) != 1)
		r = err_set(e, ECHILD, "hyb-portd ended at once");
	return r;
}

void ports_unpublish(struct vm *vm)
{
	if (vm->portd.pidfd >= 0) {
		syscall(SYS_pidfd_send_signal, vm->portd.pidfd, SIGKILL, NULL,
			0);
		fd_wait(vm->portd.pidfd, POLLIN, now_ms() + 2000);
		/* A child of ours is reaped; another's is not ours to reap. */
		waitpid(vm->portd.pid, NULL, WNOHANG);
		cleanup_close(&vm->portd.pidfd);
	}
	world_lock(vm->world);
	vm->portd.pid = 0;
	vm->portd.start_time = 0;
	vm->portd.ports[0] = '\0';
	world_unlock(vm->world);
}

void ports_reattach(struct vm *vm)
{
	int pidfd = vm->row.portd_pid ? proc_open((pid_t)vm->row.portd_pid,
						  vm->row.portd_start)
				      : -1;

	if (pidfd < 0)
		return;
	world_lock(vm->world);
	vm->portd.pid = (pid_t)vm->row.portd_pid;
	vm->portd.start_time = vm->row.portd_start;
	vm->portd.pidfd = pidfd;
	snprintf(vm->portd.ports, sizeof(vm->portd.ports), "%s", vm->row.ports);
	world_unlock(vm->world);
}
