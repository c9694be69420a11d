/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/container/hooks.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"

char *hooks_state_text(const struct hook_state *s)
{
	json_t *json, *notes = json_object();
	char *text;
	size_t i;

	for (i = 0; i < s->config->n_annotations; i++)
		json_object_set_new(
			notes, s->config->annotations[i].key,
			json_string(s->config->annotations[i].value));
	json = json_pack("{ss ss ss ss so}", "ociVersion",
			 HYB_OCI_RUNTIME_VERSION, "id", s->id, "status",
			 s->status, "bundle", s->bundle ? s->bundle : "",
			 "annotations", notes);
	if (s->pid)
		json_object_set_new(json, "pid", json_integer(s->pid));
	text = json ? json_dumps(json, JSON_COMPACT) : NULL;
	json_decref(json);
	return text;
}

/* In memory, so that a hook that does not read it keeps nobody waiting. Each
 * has its own: what one writes into it no other sees. */
static int open_state(const char *text, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("state", MFD_CLOEXEC);
	int r;

	if (fd < 0)
		return err_sys(e, errno, "the state for a hook");
	r = write_full(fd, text, strlen(text));
	if (r < 0)
		return err_sys(e, -r, "the state for a hook");
	if (lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, errno, "the state for a hook");
	return steal_fd(&fd);
}

static int run_one(const struct oci_hook *h, const char *text, struct err *e)
{
	static const char *const none[] = {NULL};
	const char *argv[] = {h->path, NULL};
	_cleanup_close_ int state = -1, pidfd = -1;
	struct proc_spec spec = {
		.path = h->path,
		.argv = h->args ? h->args : argv,
		.envp = h->env ? h->env : none,
		.stdout_fd = -1,
		.stderr_fd = -1,
	};
	uint64_t deadline = 0;
	int r, status;
	pid_t pid;

	if (h->path[0] != '/')
		return err_set(e, EINVAL, "path: must be absolute");
	state = open_state(text, e);
	if (state < 0)
		return state;
	spec.stdin_fd = state;
	if (h->timeout.set)
		deadline = now_ms() + (uint64_t)h->timeout.value * 1000;
	r = proc_spawn(&spec, &pid, &pidfd, e);
	if (r < 0)
		return r;
	r = proc_wait(pid, pidfd, deadline, &status, e);
	if (r < 0) {
		pidfd_send_signal(pidfd, SIGKILL, NULL, 0);
		proc_wait(pid, pidfd, 0, &status, NULL);
		return r;
	}
	if (status != 0)
		return err_set(e, EIO, "'%s' ended with status %d", h->path,
			       status);
	return 0;
}

int hooks_run(const char *kind, const struct oci_hook *hooks, size_t n,
	      const struct hook_state *state, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t i;
	int r;

	if (n == 0)
		return 0;
	text = hooks_state_text(state);
	if (!text)
		return err_sys(e, ENOMEM, "hooks");
	for (i = 0; i < n; i++) {
		r = run_one(&hooks[i], text, e);
		if (r < 0)
			return err_wrap(e,
					"error running %s hook #%zu: "
					"hooks.%s[%zu]",
					kind, i, kind, i);
	}
	return 0;
}
