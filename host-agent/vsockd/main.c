/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hyb-vsockd: the vsock device of one VM (docs/vsockd.md).
 *
 * Stages: the folders of the two sockets are opened with the rights of the
 * caller; then namespaces, an empty root, the VM's ids, no capabilities; with
 * those the listening socket is made and QEMU's connected to. Both folders
 * belong to the VM's uid, and so to a QEMU that its guest has taken over: as
 * root we would follow its links, or give away what it renamed. Then Landlock
 * and seccomp, and only then the first byte of QEMU's or the guest's is read.
 */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/parse.h"
#include "common/base/sandbox.h"
#include "host-agent/vsockd/loop.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#define EXIT_USAGE 2

/* How often QEMU's socket is tried while it is not there yet: every moment
 * counts, and after two seconds it does not. */
#define CONNECT_STEP_NS	     1000000
#define CONNECT_SLOW_STEP_NS 20000000
#define CONNECT_SLOW_MS	     2000
/* libvirt may probe QEMU for a minute before it starts it. */
#define WAIT_MS 180000

struct options {
	int vhost_fd;
	const char *vhost_path;
	const char *listen_path;
	int listen_fd;
	int ready_fd;
	uint64_t cid;
	uint64_t wait_ms;
	bool check_peer;
	uint32_t peer_uid;
	bool drop_ids, have_gid;
	uint32_t uid, gid;
	enum log_level level;
};

static const char usage_text[] =
	"usage: hyb-vsockd {--vhost PATH | --vhost-fd N} "
	"{--listen PATH | --listen-fd N} --cid N\n"
	"                  [--wait DURATION] [--peer-uid UID] "
	"[--uid UID --gid GID]\n"
	"                  [--ready-fd N] "
	"[--log-level error|warning|info|debug]\n";

static int parse_fd(const char *s, int *ret)
{
	uint64_t v;
	int err = parse_u64(s, 3, 1023, &v);

	if (err == 0)
		*ret = (int)v;
	return err;
}

static int parse_option(int c, struct options *o)
{
	uint64_t ns;
	int err = 0;

	switch (c) {
	case 'v':
		o->vhost_path = optarg;
		break;
	case 'V':
		err = parse_fd(optarg, &o->vhost_fd);
		break;
	case 'l':
		o->listen_path = optarg;
		break;
	case 'L':
		err = parse_fd(optarg, &o->listen_fd);
		break;
	case 'r':
		err = parse_fd(optarg, &o->ready_fd);
		break;
	case 'c':
		/* 0 ... 2 have meanings, 2^32 - 1 is the wildcard. */
		err = parse_u64(optarg, 3, UINT32_MAX - 1, &o->cid);
		break;
	case 'w':
		err = parse_duration(optarg, &ns);
		if (err == 0)
			o->wait_ms = ns / 1000000;
		break;
	case 'p':
		err = parse_uid(optarg, &o->peer_uid);
		o->check_peer = true;
		break;
	case 'u':
		err = parse_uid(optarg, &o->uid);
		o->drop_ids = true;
		break;
	case 'g':
		err = parse_uid(optarg, &o->gid);
		o->have_gid = true;
		break;
	case 'd':
		err = log_level_parse(optarg, &o->level);
		break;
	default:
		return -EINVAL;
	}
	if (err < 0)
		fprintf(stderr, "hyb-vsockd: bad value '%s'\n", optarg);
	return err;
}

static int parse_options(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"vhost", required_argument, NULL, 'v'},
		{"vhost-fd", required_argument, NULL, 'V'},
		{"listen", required_argument, NULL, 'l'},
		{"listen-fd", required_argument, NULL, 'L'},
		{"ready-fd", required_argument, NULL, 'r'},
		{"cid", required_argument, NULL, 'c'},
		{"wait", required_argument, NULL, 'w'},
		{"peer-uid", required_argument, NULL, 'p'},
		{"uid", required_argument, NULL, 'u'},
		{"gid", required_argument, NULL, 'g'},
		{"log-level", required_argument, NULL, 'd'},
		{NULL, 0, NULL, 0},
	};
	int c;

	*o = (struct options){.vhost_fd = -1,
			      .listen_fd = -1,
			      .ready_fd = -1,
			      .wait_ms = WAIT_MS,
			      .level = LOG_LEVEL_INFO};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		if (parse_option(c, o) < 0)
			return -EINVAL;
	if (optind != argc || o->cid == 0 ||
	    (o->vhost_fd >= 0) == (o->vhost_path != NULL) ||
	    (o->listen_fd >= 0) == (o->listen_path != NULL) ||
	    o->drop_ids != o->have_gid ||
	    (o->vhost_fd >= 0 && o->vhost_fd == o->listen_fd))
		return -EINVAL;
	return 0;
}

/* Descriptors that were passed move to 3 (QEMU), 4 (clients) and 5 (ready), so
 * that all others can be closed. */
static int gather_fds(struct options *o, struct err *e)
{
	int *const fds[] = {&o->vhost_fd, &o->listen_fd, &o->ready_fd};
	int moved[] = {-1, -1, -1};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		if (*fds[i] < 0)
			continue;
		moved[i] = fcntl(*fds[i], F_DUPFD_CLOEXEC, 6);
		if (moved[i] < 0)
			return err_sys(e, errno, "descriptor %d", *fds[i]);
	}
	close_range(3, 5, 0);
	for (i = 0; i < ARRAY_SIZE(fds); i++)
		if (moved[i] >= 0)
			*fds[i] = dup2(moved[i], 3 + (int)i);
	return sandbox_start(6, e);
}

/* The folder that a path lies in, and the rest of the path. */
static int open_folder(const char *path, const char **ret_name, struct err *e)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = NULL;
	int fd;

	dir = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	if (!dir)
		return err_sys(e, ENOMEM, "start");
	*ret_name = slash ? slash + 1 : path;
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "folder '%s'", dir) : fd;
}

static int enter_folder(int fd, struct err *e)
{
	return fchdir(fd) < 0 ? err_sys(e, errno, "enter a socket's folder")
			      : 0;
}

/* QEMU is the server, so that a new device can take the place of a dead one;
 * its socket appears some time after it was started. `name` is relative to
 * the current directory. */
static int connect_vhost(const char *name, uint64_t wait_ms, struct err *e)
{
	struct timespec step = {.tv_nsec = CONNECT_STEP_NS};
	uint64_t start = now_ms(), now;
	int fd;

	for (;;) {
		fd = unix_connect(name, e);
		now = now_ms();
		if (fd >= 0 || now - start >= wait_ms)
			return fd;
		if (now - start >= CONNECT_SLOW_MS)
			step.tv_nsec = CONNECT_SLOW_STEP_NS;
		if (fd != -ENOENT && fd != -ECONNREFUSED && fd != -EAGAIN)
			return fd;
		nanosleep(&step, NULL);
	}
}

static int check_peer(int fd, uint32_t uid, struct err *e)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return err_sys(e, errno, "ask who QEMU is");
	if (cred.uid != uid)
		return err_set(e, EPERM, "the socket belongs to uid %u, not %u",
			       cred.uid, uid);
	return 0;
}

/* All that the loop, the log and the C library's exit need. No open, no exec,
 * no fork, no socket, no kill. */
static int lock(struct err *e)
{
	static const struct sandbox_call calls[] = {
		{.nr = SYS_epoll_wait},
		{.nr = SYS_epoll_pwait},
		{.nr = SYS_epoll_ctl},
		{.nr = SYS_recvmsg},
		{.nr = SYS_sendmsg},
		{.nr = SYS_recvfrom},
		{.nr = SYS_sendto},
		{.nr = SYS_write},
		{.nr = SYS_accept4},
		{.nr = SYS_close},
		{.nr = SYS_shutdown},
		{.nr = SYS_fcntl},
		{.nr = SYS_fstat},
		{.nr = SYS_newfstatat},
		{.nr = SYS_mmap, .arg = 2, .forbid = PROT_EXEC},
		{.nr = SYS_munmap},
		{.nr = SYS_madvise},
		{.nr = SYS_brk},
		{.nr = SYS_clock_gettime},
		{.nr = SYS_gettimeofday},
		{.nr = SYS_setitimer},
		{.nr = SYS_rt_sigreturn},
		{.nr = SYS_restart_syscall},
		{.nr = SYS_exit},
		{.nr = SYS_exit_group},
	};
	int err = sandbox_landlock(e);

	if (err < 0 && err != -EOPNOTSUPP)
		return err;
	return sandbox_seccomp(calls, ARRAY_SIZE(calls), e);
}

static int run(int vhost_fd, int listen_fd, uint64_t cid, int epoll_fd,
	       struct err *e)
{
	static struct device device;
	static struct vhost_user vhost;
	struct loop loop;
	int err;

	err = device_init(&device, cid, epoll_fd, e);
	if (err == 0) {
		vhost_user_init(&vhost, &device, vhost_fd);
		err = loop_init(&loop, &device, &vhost, epoll_fd, listen_fd, e);
	}
	if (err == 0)
		err = loop_watchdog(e);
	if (err == 0)
		err = lock(e);
	while (err == 0)
		err = loop_turn(&loop, -1, e);
	return err;
}

/* The listening socket: by path, in its folder. */
static int get_listener(const struct options *o, int folder, const char *name,
			struct err *e)
{
	int fd = o->listen_fd;

	if (o->listen_path) {
		if (enter_folder(folder, e) < 0)
			return -e->code;
		fd = unix_listen(name, 0600, VSOCKD_CONNS_MAX, e);
	}
	if (fd >= 0 && fd_set_nonblock(fd, true) < 0)
		return err_set(e, EBADF, "the listening descriptor is bad");
	return fd;
}

static int get_vhost(const struct options *o, int folder, const char *name,
		     struct err *e)
{
	int fd = o->vhost_fd, err = 0;

	if (o->vhost_path) {
		if (enter_folder(folder, e) < 0)
			return -e->code;
		fd = connect_vhost(name, o->wait_ms, e);
	}
	if (fd >= 0 && o->check_peer)
		err = check_peer(fd, o->peer_uid, e);
	if (fd >= 0 && err == 0 && fd_set_nonblock(fd, true) < 0)
		err = err_set(e, EBADF, "QEMU's descriptor is bad");
	return err < 0 ? err : fd;
}

static int start(struct options *o, struct err *e)
{
	const struct sandbox_spec spec = {.drop_ids = o->drop_ids,
					  .uid = o->uid,
					  .gid = o->gid,
					  .max_fds = VSOCKD_FDS_MAX};
	_cleanup_close_ int listen_dir = -1, vhost_dir = -1;
	_cleanup_close_ int listen_fd = -1, vhost_fd = -1, epoll_fd = -1;
	const char *listen_name = NULL, *vhost_name = NULL;
	bool confined;
	int err;

	if (o->listen_path)
		listen_dir = open_folder(o->listen_path, &listen_name, e);
	if (o->vhost_path)
		vhost_dir = open_folder(o->vhost_path, &vhost_name, e);
	if ((o->listen_path && listen_dir < 0) ||
	    (o->vhost_path && vhost_dir < 0))
		return -e->code;
	err = sandbox_enter(&spec, &confined, e);
	if (err < 0)
		return err;
	if (!confined)
		log_warn("no namespaces of its own: started without "
			 "privileges");
	listen_fd = get_listener(o, listen_dir, listen_name, e);
	if (listen_fd < 0)
		return listen_fd;
	vhost_fd = get_vhost(o, vhost_dir, vhost_name, e);
	if (vhost_fd < 0)
		return vhost_fd;
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0 || chdir("/") < 0)
		return err_sys(e, errno, "prepare the loop");
	/* From here on there is no way to either folder. */
	cleanup_close(&listen_dir);
	cleanup_close(&vhost_dir);
	/* The end of this pipe is what the caller waits for. */
	cleanup_close(&o->ready_fd);
	return run(vhost_fd, listen_fd, o->cid, epoll_fd, e);
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	struct options o;
	int err;

	if (parse_options(argc, argv, &o) < 0) {
		fputs(usage_text, stderr);
		return EXIT_USAGE;
	}
	log_init("hyb-vsockd", o.level);
	err = gather_fds(&o, &e);
	if (err == 0)
		err = start(&o, &e);
	if (err == -ENOTCONN) {
		log_info("QEMU has closed the connection");
		return EXIT_SUCCESS;
	}
	log_error("%s", e.msg);
	return EXIT_FAILURE;
}
