/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hyb-runtime as an ordinary user.
 *
 * What makes a container needs the right to mount, which such a user has only
 * in a user namespace of its own. So create, run and exec go on in one: an
 * outer namespace that maps the ids of the configuration to themselves, in
 * which this process is who it was and has every capability. The container's
 * user namespace is a child of that one, with the mappings as they are
 * written: nothing else of the engine need know. exec goes to the outer
 * namespace of the container, the parent of the container's own.
 *
 * The process's own id alone may be mapped by the process itself, with
 * setgroups() forbidden; all else by newuidmap and newgidmap, which look into
 * /etc/subuid and /etc/subgid.
 *
 * The capabilities are kept over the exec that follows (its binary is on a
 * read-only mount of this namespace, as exe_again() says) as ambient ones,
 * and those are dropped first thing there. Unlike root's the process stays
 * dumpable, or it could not write the mappings of the container; nobody in the
 * container can trace it for that, because it belongs to the outer namespace.
 */
#include "guest-agent/runtime/runtime.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"
#include "guest-agent/sys/caps.h"

/* The kernel takes as many lines. */
#define LINES_MAX 340
#define HELPER_MS 30000

/* -------------------------------------------------------- capabilities */

static int get_caps(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capget, &header, data) < 0 ? -errno : 0;
}

static int set_caps(struct __user_cap_data_struct data[2])
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3};

	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

bool rootless_is_needed(void)
{
	struct __user_cap_data_struct data[2];

	return geteuid() != 0 && get_caps(data) == 0 &&
	       !(data[0].effective & (1u << CAP_SYS_ADMIN));
}

static int keep_caps(void)
{
	struct __user_cap_data_struct data[2];
	int r = get_caps(data), cap, last = caps_last();

	if (r < 0)
		return r;
	data[0].inheritable = data[0].permitted;
	data[1].inheritable = data[1].permitted;
	r = set_caps(data);
	for (cap = 0; r == 0 && cap <= last; cap++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			r = -errno;
	return r;
}

/* What this process runs (hooks, ps) is to have none of them. */
int rootless_arrived(struct err *e)
{
	struct __user_cap_data_struct data[2];
	int r;

	if (geteuid() == 0)
		return 0;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return err_sys(e, errno, "drop ambient capabilities");
	r = get_caps(data);
	data[0].inheritable = data[1].inheritable = 0;
	if (r == 0)
		r = set_caps(data);
	return r < 0 ? err_sys(e, -r, "drop inheritable capabilities") : 0;
}

/* Goes on in the user namespace, with a view of the mounts of its own. */
static int run_again(char **argv, struct err *e)
{
	int r;

	if (unshare(CLONE_NEWNS) < 0)
		return err_sys(e, errno, "make a mount namespace");
	r = keep_caps();
	return r < 0 ? err_sys(e, -r, "keep capabilities") : exe_again(argv, e);
}

/* ------------------------------------------------------------- mappings */

struct line {
	uint32_t id, count; /* of the host, mapped to itself */
};
struct lines {
	struct line l[LINES_MAX + 1];
	size_t n;
};

static int cover(struct lines *to, const struct oci_id_mapping *m, size_t n,
		 uint32_t own, const char *path, struct err *e)
{
	bool has_own = false;
	size_t i;

	to->n = 0;
	for (i = 0; i < n; i++) {
		to->l[to->n++] = (struct line){m[i].host_id, m[i].size};
		has_own |=
			own >= m[i].host_id && own - m[i].host_id < m[i].size;
	}
	/* This process is there, too. */
	if (!has_own)
		to->l[to->n++] = (struct line){own, 1};
	return to->n > LINES_MAX ? err_set(e, E2BIG,
					   "%s: more than %d lines with the "
					   "user's own",
					   path, LINES_MAX)
				 : 0;
}

static bool is_own_only(const struct lines *l)
{
	return l->n == 1 && l->l[0].count == 1;
}

static int write_own(const char *file, uint32_t id, struct err *e)
{
	_cleanup_close_ int fd = open(file, O_WRONLY | O_CLOEXEC);
	char text[48];
	int r;

	snprintf(text, sizeof(text), "%u %u 1\n", id, id);
	r = fd < 0 ? -errno : write_full(fd, text, strlen(text));
	return r < 0 ? err_sys(e, -r, "write '%s'", file) : 0;
}

static int forbid_setgroups(struct err *e)
{
	_cleanup_close_ int fd =
		open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : write_full(fd, "deny", 4);

	return r < 0 ? err_sys(e, -r, "write '/proc/self/setgroups'") : 0;
}

/* newuidmap or newgidmap; what it says when it refuses is one line. */
static int run_helper(const char *name, pid_t pid, const struct lines *l,
		      const char *path, struct err *e)
{
	_cleanup_free_ char(*words)[12] = calloc(l->n * 3 + 1, 12);
	_cleanup_free_ const char **argv = calloc(l->n * 3 + 3, sizeof(*argv));
	_cleanup_free_ char *said = NULL;
	struct proc_spec spec = {
		.path = name, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1};
	int status = 0, r;
	size_t i, n = 0;

	if (!words || !argv)
		return err_sys(e, ENOMEM, "%s", path);
	snprintf(words[n], sizeof(words[n]), "%d", (int)pid);
	argv[0] = name;
	argv[1] = words[n++];
	for (i = 0; i < l->n * 3; i++) {
		snprintf(words[n], sizeof(words[n]), "%u",
			 i % 3 == 2 ? l->l[i / 3].count : l->l[i / 3].id);
		argv[n + 1] = words[n];
		n++;
	}
	spec.argv = argv;
	r = proc_run(&spec, now_ms() + HELPER_MS, 4096, NULL, &said, &status,
		     e);
	if (r < 0)
		return err_wrap(e,
				"%s: more than the user's own id needs %s "
				"(package uidmap)",
				path, name);
	if (status == 0)
		return 0;
	if (said)
		said[strcspn(said, "\n")] = '\0';
	return err_set(e, EPERM, "%s: %s", path, said && said[0] ? said : name);
}

/* Waits in the namespace of the caller until the process is in its own: in
 * there the helpers would be no helpers. */
struct mapper {
	pid_t pid;
	int go, told;
};

static void mapper_done(struct mapper *m)
{
	int status;

	cleanup_close(&m->go);
	cleanup_close(&m->told);
	if (m->pid > 0)
		while (waitpid(m->pid, &status, 0) < 0 && errno == EINTR)
			continue;
	m->pid = 0;
}

__attribute__((noreturn)) static void
mapper_run(int go, int told, const struct lines *uids, const struct lines *gids)
{
	pid_t pid = getppid();
	struct err e = ERR_INIT;
	char byte;

	if (read(go, &byte, 1) != 1)
		_exit(1);
	if (!is_own_only(gids))
		run_helper("newgidmap", pid, gids, "linux.gidMappings", &e);
	if (!e.code && !is_own_only(uids))
		run_helper("newuidmap", pid, uids, "linux.uidMappings", &e);
	_exit(write_full(told, &e, sizeof(e)) < 0);
}

static int mapper_start(struct mapper *m, const struct lines *uids,
			const struct lines *gids, struct err *e)
{
	int go[2], told[2];

	if (is_own_only(uids) && is_own_only(gids))
		return 0;
	if (pipe2(go, O_CLOEXEC) < 0)
		return err_sys(e, errno, "pipe");
	m->go = go[1];
	if (pipe2(told, O_CLOEXEC) < 0) {
		close(go[0]);
		return err_sys(e, errno, "pipe");
	}
	m->told = told[0];
	m->pid = fork();
	if (m->pid == 0) {
		close(go[1]);
		mapper_run(go[0], told[1], uids, gids);
	}
	close(go[0]);
	close(told[1]);
	return m->pid < 0 ? err_sys(e, errno, "fork") : 0;
}

static int mapper_finish(struct mapper *m, struct err *e)
{
	struct err theirs;

	if (m->pid <= 0)
		return 0;
	if (write(m->go, "", 1) != 1 ||
	    read_full(m->told, &theirs, sizeof(theirs)) != sizeof(theirs))
		return err_set(e, EIO, "the process for the mappings died");
	if (!theirs.code)
		return 0;
	*e = theirs;
	return -theirs.code;
}

static int write_maps(struct mapper *m, const struct lines *uids,
		      const struct lines *gids, struct err *e)
{
	int r = mapper_finish(m, e);

	if (r == 0 && is_own_only(gids)) {
		r = forbid_setgroups(e);
		if (r == 0)
			r = write_own("/proc/self/gid_map", gids->l[0].id, e);
	}
	if (r == 0 && is_own_only(uids))
		r = write_own("/proc/self/uid_map", uids->l[0].id, e);
	return r;
}

static int enter_new(const struct oci_linux *lx, struct err *e)
{
	_cleanup_(mapper_done) struct mapper m = {.go = -1, .told = -1};
	struct lines uids, gids;
	int r;

	r = cover(&uids, lx->uid_mappings, lx->n_uid_mappings, geteuid(),
		  "linux.uidMappings", e);
	if (r == 0)
		r = cover(&gids, lx->gid_mappings, lx->n_gid_mappings,
			  getegid(), "linux.gidMappings", e);
	if (r == 0)
		r = mapper_start(&m, &uids, &gids, e);
	if (r < 0)
		return r;
	if (unshare(CLONE_NEWUSER) < 0)
		return err_sys(e, errno,
			       "make a user namespace as an ordinary user");
	return write_maps(&m, &uids, &gids, e);
}

/* ----------------------------------------------------------------- doors */

/* The parent of the user namespace that is open as fd. */
static int enter_parent(int fd, const char *whose, struct err *e)
{
	_cleanup_close_ int outer = ioctl(fd, NS_GET_PARENT);

	if (outer < 0)
		return err_sys(e, errno, "%s: the user namespace around it",
			       whose);
	return setns(outer, CLONE_NEWUSER) < 0
		       ? err_sys(e, errno,
				 "%s: join the user namespace around it", whose)
		       : 0;
}

static int enter_joined(const char *path, struct err *e)
{
	_cleanup_close_ int fd =
		open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return err_sys(e, errno, "linux.namespaces: open '%s'", path);
	return enter_parent(fd, "linux.namespaces: user", e);
}

int rootless_create(const struct options *o, const struct oci_runtime *config,
		    struct err *e)
{
	const struct oci_namespace *user = NULL;
	const struct oci_linux *lx = config->lx;
	size_t i;
	int r;

	if (!rootless_is_needed())
		return 0;
	r = container_check(config, false, e);
	if (r < 0)
		return r;
	for (i = 0; i < lx->n_namespaces; i++)
		if (strcmp(lx->namespaces[i].type, "user") == 0)
			user = &lx->namespaces[i];
	if (!user)
		return err_set(
			e, EPERM,
			"linux.namespaces: an ordinary user needs a "
			"user namespace, as `spec --rootless` writes it");
	r = user->path ? enter_joined(user->path, e) : enter_new(lx, e);
	return r < 0 ? r : run_again(o->argv, e);
}

int rootless_exec(const struct options *o, pid_t pid, int pidfd, struct err *e)
{
	_cleanup_close_ int fd = -1;
	char path[48];
	int r;

	if (!rootless_is_needed())
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open '%s'", path);
	/* It lives still: the path was its own. */
	if (pidfd_send_signal(pidfd, 0, NULL, 0) < 0 && errno != EPERM)
		return err_sys(e, errno, "the container's process");
	r = enter_parent(fd, "the container", e);
	return r < 0 ? r : run_again(o->argv, e);
}

const char *rootless_root(void)
{
	static char path[4096];
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (!container_engine_confined())
		return HYB_RUNTIME_ROOT;
	if (!dir || dir[0] != '/')
		return geteuid() == 0 ? HYB_RUNTIME_ROOT : NULL;
	if (snprintf(path, sizeof(path), "%s/hyb-runtime", dir) >=
	    (int)sizeof(path))
		return NULL;
	return path;
}
