/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/container/childhooks.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"

/* ------------------------------------------------------------- the parent */

static int plan_one(struct arena *a, const struct oci_hook *from,
		    struct child_hook *ret, struct err *e)
{
	const char *const only[] = {from->path, NULL};

	if (from->path[0] != '/')
		return err_set(e, EINVAL, "path: must be absolute");
	ret->path = arena_strdup(a, from->path);
	ret->argv = arena_strv(a, from->args ? from->args : only);
	ret->envp = arena_strv(a, from->env);
	if (from->timeout.set)
		ret->timeout_ms = (uint64_t)from->timeout.value * 1000;
	return ret->path && ret->argv && ret->envp
		       ? 0
		       : err_sys(e, ENOMEM, "hooks");
}

/* The state without a pid, cut before its last brace. */
static int plan_state(struct arena *a, const struct hook_state *s,
		      struct child_hooks *ret, struct err *e)
{
	_cleanup_free_ char *text = hooks_state_text(s);
	size_t len = text ? strlen(text) : 0;
	char *head;

	if (len < 2)
		return err_sys(e, ENOMEM, "hooks");
	text[len - 1] = '\0';
	head = arena_alloc(a, len + 16, 1);
	if (!head)
		return err_sys(e, ENOMEM, "hooks");
	snprintf(head, len + 16, "%s,\"pid\":", text);
	ret->head = head;
	ret->tail = "}";
	return 0;
}

int childhooks_plan(struct arena *a, const char *kind,
		    const struct oci_hook *hooks, size_t n,
		    const struct hook_state *state, struct child_hooks *ret,
		    struct err *e)
{
	size_t i;
	int r = 0;

	ret->kind = kind;
	ret->n = n;
	if (n == 0)
		return 0;
	ret->hooks = arena_alloc(a, n, sizeof(*ret->hooks));
	if (!ret->hooks)
		return err_sys(e, ENOMEM, "hooks");
	for (i = 0; i < n; i++) {
		r = plan_one(a, &hooks[i], &ret->hooks[i], e);
		if (r < 0)
			return err_wrap(e, "hooks.%s[%zu]", kind, i);
	}
	return plan_state(a, state, ret, e);
}

/* -------------------------------------------------------------- the child */

/* Sealed, so that what one hook writes no other reads. */
static int make_state(const struct child_hooks *h)
{
	_cleanup_close_ int fd =
		memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	char pid[16];
	int r;

	if (fd < 0)
		return -errno;
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	r = write_full(fd, h->head, strlen(h->head));
	if (r == 0)
		r = write_full(fd, pid, strlen(pid));
	if (r == 0)
		r = write_full(fd, h->tail, strlen(h->tail));
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS,
		  F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return -errno;
	return steal_fd(&fd);
}

__attribute__((noreturn)) static void exec_hook(const struct child_hook *h,
						int state)
{
	if (lseek(state, 0, SEEK_SET) < 0 || dup2(state, 0) < 0)
		_exit(126);
	/* All else closes by itself. */
	execve(h->path, h->argv, h->envp);
	_exit(errno == ENOENT ? 127 : 126);
}

static int await(pid_t pid, uint64_t timeout_ms)
{
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	siginfo_t info = {.si_pid = 0};
	int r = 0;

	if (pidfd < 0)
		r = -errno;
	else if (timeout_ms)
		r = fd_wait(pidfd, POLLIN, now_ms() + timeout_ms);
	if (r < 0)
		kill(pid, SIGKILL);
	while (waitid(P_PID, (id_t)pid, &info, WEXITED) < 0)
		if (errno != EINTR)
			return -errno;
	if (r < 0)
		return r;
	return info.si_code == CLD_EXITED && info.si_status == 0 ? 0 : -EIO;
}

static int run_one(const struct child_hook *h, int state)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		exec_hook(h, state);
	return await(pid, h->timeout_ms);
}

int childhooks_run(const struct child_hooks *h, char *what, size_t size)
{
	_cleanup_close_ int state = -1;
	size_t i;
	int r = 0;

	if (h->n == 0)
		return 0;
	state = make_state(h);
	if (state < 0) {
		snprintf(what, size, "%s", h->kind);
		return state;
	}
	for (i = 0; i < h->n && r == 0; i++) {
		r = run_one(&h->hooks[i], state);
		if (r < 0)
			snprintf(what, size,
				 "error running %s hook #%zu: %s[%zu]: %s",
				 h->kind, i, h->kind, i, h->hooks[i].path);
	}
	return r;
}
