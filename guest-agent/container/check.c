/* SPDX-License-Identifier: Apache-2.0 */
/* What can be said of a configuration without looking at the machine, before
 * anything is made. What it asks for and this engine cannot do is refused:
 * silence would be worse than an error. */
#include "guest-agent/container/internal.h"

#include <sched.h>
#include <stdio.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"

static int refuse(struct err *e, const char *path, const char *why)
{
	return err_set(e, ENOTSUP, "%s: %s", path, why);
}

static int check_version(const char *version, struct err *e)
{
	unsigned int major, minor;
	char escaped[64];

	if (!version || oci_version_parse(version, &major, &minor) < 0 ||
	    major != 1)
		return err_set(
			e, EINVAL,
			"ociVersion: must be 1.MINOR.PATCH (SemVer 2.0.0), "
			"not '%s'",
			text_escape(version ? version : "", escaped,
				    sizeof(escaped)));
	return 0;
}

static int check_annotations(const struct oci_runtime *c, struct err *e)
{
	size_t i;

	for (i = 0; i < c->n_annotations; i++)
		if (!c->annotations[i].key[0])
			return err_set(e, EINVAL,
				       "annotations: a key must not be empty");
	return 0;
}

/* --------------------------------------------------------------- process */

static int check_env(const char *const *env, const char *path, struct err *e)
{
	char escaped[64];
	size_t i;

	for (i = 0; env && env[i]; i++)
		if (env[i][0] == '=' || !strchr(env[i], '='))
			return err_set(
				e, EINVAL,
				"%s[%zu]: must be NAME=VALUE, not '%s'", path,
				i,
				text_escape(env[i], escaped, sizeof(escaped)));
	return 0;
}

static int check_rlimits(const struct oci_process *p, struct err *e)
{
	const struct oci_rlimit *l = p->rlimits;
	size_t i, j;

	for (i = 0; i < p->n_rlimits; i++) {
		if (rlimit_find(l[i].type) < 0)
			return err_set(e, EINVAL,
				       "process.rlimits[%zu].type: unknown "
				       "'%.64s'",
				       i, l[i].type);
		if (l[i].soft > l[i].hard)
			return err_set(e, EINVAL,
				       "process.rlimits[%zu].soft: must not be "
				       "above hard",
				       i);
		for (j = 0; j < i; j++)
			if (strcmp(l[i].type, l[j].type) == 0)
				return err_set(e, EINVAL,
					       "process.rlimits[%zu]: '%s' "
					       "twice",
					       i, l[i].type);
	}
	return 0;
}

static int check_affinity(const struct oci_cpu_affinity *a, struct err *e)
{
	int r = 0;

	if (a && a->initial)
		r = cpu_list_check(a->initial,
				   "process.execCPUAffinity.initial", e);
	if (r == 0 && a && a->final)
		r = cpu_list_check(a->final, "process.execCPUAffinity.final",
				   e);
	return r;
}

static int check_how_it_runs(const struct oci_process *p, struct err *e)
{
	int prio, r;

	if (p->apparmor_profile)
		return refuse(e, "process.apparmorProfile",
			      "not supported yet");
	if (p->selinux_label)
		return refuse(e, "process.selinuxLabel", "not supported yet");
	r = check_rlimits(p, e);
	if (r == 0 && p->scheduler)
		r = scheduler_check(p->scheduler, e);
	if (r == 0 && p->io_priority)
		r = io_priority_parse(p->io_priority, &prio, e);
	return r < 0 ? r : check_affinity(p->exec_cpu_affinity, e);
}

static int check_process(const struct oci_process *p, struct err *e)
{
	int r;

	if (!p)
		return err_set(e, EINVAL, "process: is missing");
	if (!p->args || !p->args[0])
		return err_set(e, EINVAL, "process.args: is missing");
	if (!p->args[0][0])
		return err_set(e, EINVAL, "process.args[0]: must not be empty");
	if (p->cwd[0] != '/')
		return err_set(e, EINVAL, "process.cwd: must be absolute");
	if (p->user.n_additional_gids > HYB_GROUPS_MAX)
		return err_set(e, E2BIG,
			       "process.user.additionalGids: more than %d",
			       HYB_GROUPS_MAX);
	r = check_env(p->env, "process.env", e);
	return r < 0 ? r : check_how_it_runs(p, e);
}

/* ----------------------------------------------------------------- hooks */

static int check_hook_list(const char *kind, const struct oci_hook *hooks,
			   size_t n, struct err *e)
{
	char path[64];
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < n; i++) {
		if (hooks[i].path[0] != '/')
			return err_set(e, EINVAL,
				       "hooks.%s[%zu].path: must be absolute",
				       kind, i);
		snprintf(path, sizeof(path), "hooks.%s[%zu].env", kind, i);
		r = check_env(hooks[i].env, path, e);
	}
	return r;
}

static int check_hooks(const struct oci_hooks *h, struct err *e)
{
	int r;

	if (!h)
		return 0;
	r = check_hook_list("prestart", h->prestart, h->n_prestart, e);
	if (r == 0)
		r = check_hook_list("createRuntime", h->create_runtime,
				    h->n_create_runtime, e);
	if (r == 0)
		r = check_hook_list("createContainer", h->create_container,
				    h->n_create_container, e);
	if (r == 0)
		r = check_hook_list("startContainer", h->start_container,
				    h->n_start_container, e);
	if (r == 0)
		r = check_hook_list("poststart", h->poststart, h->n_poststart,
				    e);
	return r < 0 ? r
		     : check_hook_list("poststop", h->poststop, h->n_poststop,
				       e);
}

/* ----------------------------------------------------------------- linux */

static int check_name(const char *name, const char *path, uint64_t own,
		      struct err *e)
{
	if (!name)
		return 0;
	if (strlen(name) > 64)
		return err_set(e, EINVAL, "%s: longer than 64 characters",
			       path);
	if (!(own & CLONE_NEWUTS))
		return err_set(e, EINVAL,
			       "%s: there is no uts namespace of the "
			       "container's own",
			       path);
	return 0;
}

static int check_unsupported(const struct oci_linux *lx, struct err *e)
{
	if (lx->mount_label)
		return refuse(e, "linux.mountLabel",
			      "no SELinux in the kernel that this engine is "
			      "for");
	if (lx->intel_rdt)
		return refuse(e, "linux.intelRdt",
			      "not supported: no resctrl file system");
	if (lx->memory_policy)
		return refuse(e, "linux.memoryPolicy", "not supported yet");
	if (lx->net_devices)
		return refuse(e, "linux.netDevices", "not supported yet");
	return 0;
}

static int check_device(const struct oci_device *d, size_t i, struct err *e)
{
	char type = d->type[1] ? '\0' : d->type[0];

	if (!type || !strchr("cubp", type))
		return err_set(e, EINVAL,
			       "linux.devices[%zu].type: must be c, u, b or p, "
			       "not '%.32s'",
			       i, d->type);
	if (d->path[0] != '/' || !d->path[strspn(d->path, "/")] ||
	    strcmp(d->path, "/dev/") == 0)
		return err_set(e, EINVAL,
			       "linux.devices[%zu].path: '%.256s' is not the "
			       "path of a node",
			       i, d->path);
	if (type != 'p' && !d->major.set)
		return err_set(e, EINVAL,
			       "linux.devices[%zu].major: is missing", i);
	if (type != 'p' && !d->minor.set)
		return err_set(e, EINVAL,
			       "linux.devices[%zu].minor: is missing", i);
	return 0;
}

static int check_absolute(const char *const *paths, const char *key,
			  struct err *e)
{
	char escaped[128];
	size_t i;

	for (i = 0; paths && paths[i]; i++)
		if (paths[i][0] != '/')
			return err_set(e, EINVAL,
				       "linux.%s[%zu]: must be absolute, not "
				       "'%s'",
				       key, i,
				       text_escape(paths[i], escaped,
						   sizeof(escaped)));
	return 0;
}

static int check_cgroups_path(const char *path, struct err *e)
{
	const char *s;
	size_t len;

	for (s = path; s && *s; s += len + (s[len] == '/')) {
		len = strcspn(s, "/");
		if ((len == 1 && s[0] == '.') ||
		    (len == 2 && s[0] == '.' && s[1] == '.'))
			return err_set(
				e, EINVAL,
				"linux.cgroupsPath: must not have '%.*s'",
				(int)len, s);
	}
	if (path && strlen(path) > HYB_CGROUP_NAME_MAX)
		return err_set(e, EINVAL,
			       "linux.cgroupsPath: longer than %d characters",
			       HYB_CGROUP_NAME_MAX);
	return 0;
}

static int check_lists(const struct oci_linux *lx, uint64_t own, struct err *e)
{
	unsigned long flag, personality;
	bool recursive;
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < lx->n_devices; i++)
		r = check_device(&lx->devices[i], i, e);
	for (i = 0; r == 0 && i < lx->n_sysctl; i++)
		r = sysctl_check(&lx->sysctl[i], own, e);
	if (r == 0)
		r = check_absolute(lx->masked_paths, "maskedPaths", e);
	if (r == 0)
		r = check_absolute(lx->readonly_paths, "readonlyPaths", e);
	if (r == 0)
		r = check_cgroups_path(lx->cgroups_path, e);
	if (r == 0 && lx->rootfs_propagation)
		r = propagation_parse(lx->rootfs_propagation, &flag, &recursive,
				      e);
	if (r == 0 && lx->personality)
		r = personality_parse(lx->personality, &personality, e);
	return r;
}

static int check_linux(const struct oci_runtime *c, bool defaults,
		       struct err *e)
{
	const struct oci_linux *lx = c->lx;
	uint64_t own = 0;
	int r;

	if (!lx)
		return err_set(e, EINVAL, "linux: is missing");
	r = check_unsupported(lx, e);
	if (r == 0)
		r = namespaces_check(lx, defaults, &own, e);
	if (r == 0)
		r = check_name(c->hostname, "hostname", own, e);
	if (r == 0)
		r = check_name(c->domainname, "domainname", own, e);
	if (r == 0)
		r = check_lists(lx, own, e);
	if (r == 0 && lx->resources)
		r = resources_check(lx->resources, "linux.resources", e);
	return r;
}

int config_check(const struct oci_runtime *config, bool defaults, struct err *e)
{
	int r;

	r = check_version(config->oci_version, e);
	if (r == 0)
		r = check_annotations(config, e);
	if (r == 0)
		r = check_process(config->process, e);
	if (r == 0)
		r = check_hooks(config->hooks, e);
	return r < 0 ? r : check_linux(config, defaults, e);
}

void config_warn(const struct oci_runtime *config, struct container *c)
{
	const struct {
		bool there;
		const char *path;
	} others[] = {
		{config->windows, "windows"}, {config->solaris, "solaris"},
		{config->freebsd, "freebsd"}, {config->zos, "zos"},
		{config->vm, "vm"},
	};
	unsigned int major = 0, minor = 0;
	size_t i;

	oci_version_parse(config->oci_version, &major, &minor);
	if (minor > HYB_OCI_RUNTIME_MINOR)
		container_warn(c,
			       "ociVersion: what is new in %.32s is not known",
			       config->oci_version);
	for (i = 0; i < ARRAY_SIZE(others); i++)
		if (others[i].there)
			container_warn(c, "%s: left out: not of this platform",
				       others[i].path);
	if (config->process->user.username)
		container_warn(c, "process.user.username: left out: not of "
				  "this platform");
}
