/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What systemd hands on to who it starts: NOTIFY_SOCKET, over which a program
 * says that it is ready, and LISTEN_FDS.
 *
 * The service manager believes only processes of the service, and the
 * container's are in a cgroup of their own. So the container gets a socket of
 * ours (in ROOT/ID/notify, mounted where NOTIFY_SOCKET is), and `start` hands
 * on what comes over it.
 */
#include "guest-agent/runtime/runtime.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#define READY "READY=1"

/* An abstract address cannot be mounted. */
static const char *service_socket(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	return path && path[0] == '/' ? path : NULL;
}

static int add_env(struct sdnotify *n, const char *name, const char *value,
		   const char *more)
{
	size_t i = 0;

	while (n->env[i])
		i++;
	return asprintf(&n->env[i], "%s=%s%s", name, value, more) < 0 ? -ENOMEM
								      : 0;
}

/* The configuration's mounts, and ours. */
static int add_mount(struct sdnotify *n, const char *dir, struct err *e)
{
	static const char *options[] = {"bind", "nosuid", "nodev", "noexec",
					NULL};
	const char *at = service_socket();
	size_t count = n->config->n_mounts;

	if (snprintf(n->source, sizeof(n->source), "%s/notify", dir) >=
	    (int)sizeof(n->source))
		return err_sys(e, ENAMETOOLONG, "NOTIFY_SOCKET");
	if (mkdir(n->source, 0755) < 0 && errno != EEXIST)
		return err_sys(e, errno, "make '%s'", n->source);
	n->mounts = calloc(count + 1, sizeof(*n->mounts));
	if (!n->mounts)
		return err_sys(e, ENOMEM, "NOTIFY_SOCKET");
	if (count)
		memcpy(n->mounts, n->config->mounts,
		       count * sizeof(*n->mounts));
	n->mounts[count] = (struct oci_mount){.destination = at,
					      .type = "bind",
					      .source = n->source,
					      .options = options};
	n->config->mounts = n->mounts;
	n->config->n_mounts = count + 1;
	return 0;
}

int sdnotify_plan(struct sdnotify *n, struct oci_runtime *config,
		  const char *dir, struct err *e)
{
	const char *fds = getenv("LISTEN_FDS"),
		   *names = getenv("LISTEN_FDNAMES");
	int r = 0;

	n->config = config;
	if (fds && *fds) {
		r = add_env(n, "LISTEN_FDS", fds, "");
		if (r == 0)
			r = add_env(n, "LISTEN_PID", "1", "");
		if (r == 0 && names)
			r = add_env(n, "LISTEN_FDNAMES", names, "");
	}
	if (r == 0 && service_socket())
		r = add_env(n, "NOTIFY_SOCKET", service_socket(), "/notify");
	if (r < 0)
		return err_sys(e, -r, "environment");
	return service_socket() ? add_mount(n, dir, e) : 0;
}

void sdnotify_done(struct sdnotify *n)
{
	size_t i;

	for (i = 0; n->env[i]; i++)
		free(n->env[i]);
	/* The configuration's own are of its arena. */
	if (n->mounts) {
		n->config->mounts = NULL;
		n->config->n_mounts = 0;
	}
	free(n->mounts);
}

int sdnotify_listen(int dir)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	if (!service_socket() || faccessat(dir, "notify", F_OK, 0) < 0)
		return -1;
	snprintf(sa.sun_path, sizeof(sa.sun_path),
		 "/proc/self/fd/%d/notify/notify", dir);
	unlinkat(dir, "notify/notify", 0);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	/* Whoever is in the container may write: it is not seen elsewhere. */
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    fchmodat(dir, "notify/notify", 0777, 0) < 0)
		return -1;
	return steal_fd(&fd);
}

static bool is_ready(const char *text)
{
	size_t n;

	for (; *text; text += n + (text[n] == '\n')) {
		n = strcspn(text, "\n");
		if (n == strlen(READY) && strncmp(text, READY, n) == 0)
			return true;
	}
	return false;
}

/* To the service manager: that it is ready, and who it is. */
static void tell(pid_t pid)
{
	const char *path = service_socket();
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	char text[32];

	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || !path || strlen(path) >= sizeof(sa.sun_path))
		return;
	memcpy(sa.sun_path, path, strlen(path));
	snprintf(text, sizeof(text), "MAINPID=%d", (int)pid);
	if (sendto(fd, READY, strlen(READY), MSG_NOSIGNAL,
		   (struct sockaddr *)&sa, sizeof(sa)) > 0)
		sendto(fd, text, strlen(text), MSG_NOSIGNAL,
		       (struct sockaddr *)&sa, sizeof(sa));
}

void sdnotify_forward(int sock, int pidfd, pid_t pid)
{
	struct pollfd p[] = {{.fd = sock, .events = POLLIN},
			     {.fd = pidfd, .events = POLLIN}};
	char text[4096];
	ssize_t n;

	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return;
		if (p[0].revents & POLLIN) {
			n = recv(sock, text, sizeof(text) - 1, MSG_DONTWAIT);
			text[n > 0 ? n : 0] = '\0';
			if (is_ready(text)) {
				tell(pid);
				return;
			}
			continue;
		}
		if (p[1].revents)
			return;
	}
}

void sdnotify_forward_aside(int sock, int pidfd, pid_t pid)
{
	if (fork() != 0)
		return;
	sdnotify_forward(sock, pidfd, pid);
	_exit(0);
}
