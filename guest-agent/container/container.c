/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Creating a container.
 *
 * The parent prepares all that it can, clones the child straight into its
 * namespaces and cgroup, gives it what needs its user namespace to exist (the
 * mappings, the overlay whose image is shifted by them), and waits for it to be
 * ready. What fails undoes all before it: struct create and struct container
 * hold everything that was made, and their release is the undoing.
 */
#include "guest-agent/container/internal.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/container/hooks.h"
#include "guest-agent/sys/cgroup.h"

/* How long leftover processes may take to be gone after SIGKILL. */
#define GONE_MS 5000

bool container_id_is_valid(const char *id)
{
	size_t i;

	if (!id[0] || strcmp(id, ".") == 0 || strcmp(id, "..") == 0)
		return false;
	for (i = 0; id[i]; i++)
		if (i == HYB_CONTAINER_ID_MAX ||
		    (!isalnum((unsigned char)id[i]) && !strchr("_+-.,", id[i])))
			return false;
	return true;
}

int container_id_check(const char *id, struct err *e)
{
	const char *c;

	if (container_id_is_valid(id))
		return 0;
	for (c = id; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("_+-.,", *c) &&
		    isprint((unsigned char)*c))
			return err_set(e, EINVAL,
				       "the container's id is not valid: "
				       "invalid character `%c` in the ID",
				       *c);
	return err_set(e, EINVAL, "the container's id is not valid");
}

struct container *container_new(const char *id)
{
	struct container *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->pidfd = c->console = c->sync = c->cgroup_fd = -1;
	c->exit_code = -1;
	c->reason = "";
	c->id = strdup(id);
	if (!c->id) {
		free(c);
		return NULL;
	}
	return c;
}

void container_free(struct container *c)
{
	if (!c)
		return;
	cleanup_close(&c->pidfd);
	cleanup_close(&c->console);
	cleanup_close(&c->sync);
	cleanup_close(&c->cgroup_fd);
	plan_free(c->plan);
	seccomp_filter_done(&c->own_filter);
	free(c->id);
	free(c);
}

/* ------------------------------------------------------------------ cgroup */

static int name_cgroup(struct container *c, const struct container_spec *spec,
		       struct err *e)
{
	const char *name = spec->cgroup_name ? spec->cgroup_name : spec->id;
	int n;

	if (name[0] == '/')
		n = snprintf(c->cgroup, sizeof(c->cgroup), "%s",
			     name + strspn(name, "/"));
	else
		n = snprintf(c->cgroup, sizeof(c->cgroup),
			     HYB_CGROUP_BASE "/%s", name);
	if (n <= 0 || (size_t)n >= sizeof(c->cgroup)) {
		c->cgroup[0] = '\0';
		return err_set(e, EINVAL, "linux.cgroupsPath: bad length");
	}
	return 0;
}

static int make_cgroup(struct create *cr, struct err *e)
{
	struct container *c = cr->c;
	uint64_t frozen = 0;
	unsigned int have;
	int fd, r;

	if (engine.cgroup_root < 0 || cr->spec->no_cgroup)
		return delegate_none(cr, -ENOENT, e);
	r = name_cgroup(c, cr->spec, e);
	if (r < 0)
		return r;
	fd = cgroup_make(engine.cgroup_root, c->cgroup, &have, e);
	if (fd < 0)
		return delegate_none(cr, fd, e);
	/* One that was there before: what is in it must not be ended with a
	 * creation that fails. */
	cgroup_read_u64(fd, "cgroup.freeze", &frozen);
	if (frozen == 1) {
		close(fd);
		return err_set(e, EBUSY,
			       "linux.cgroupsPath: container's cgroup "
			       "unexpectedly frozen");
	}
	if (cgroup_pids(fd, NULL, 0) > 0)
		container_warn(c,
			       "linux.cgroupsPath: container's cgroup is not "
			       "empty");
	c->cgroup_fd = fd;
	r = resources_apply(fd, have, cr->config->lx->resources,
			    cr->spec->defaults, false, e);
	/* Only the machine's root may filter devices; in a user namespace no
	 * node can be made that a filter would be needed for. */
	return r < 0 || engine.confined
		       ? r
		       : resources_devices(fd, cr->config->lx->resources,
					   cr->spec->defaults, e);
}

/* ---------------------------------------------------------------- together */

static void create_done(struct create *cr)
{
	size_t i;

	for (i = 0; i < cr->n_joins; i++) {
		cleanup_close(&cr->joins[i].fd);
		cleanup_close(&cr->joins[i].own);
	}
	cleanup_close(&cr->lower);
	cleanup_close(&cr->userns_fd);
	cleanup_close(&cr->own_time);
	if (!cr->c)
		return;
	if (cr->c->cgroup_fd >= 0) {
		cgroup_kill(cr->c->cgroup_fd);
		cgroup_remove(engine.cgroup_root, cr->c->cgroup, GONE_MS, NULL);
	}
	container_free(cr->c);
}

static int create_run(struct create *cr, struct container_failure *failure,
		      struct err *e)
{
	const struct oci_linux *lx = cr->config->lx;
	struct plan *p = cr->plan;
	int r;

	r = lx->rootfs_propagation
		    ? propagation_parse(lx->rootfs_propagation,
					&p->root_propagation,
					&p->root_propagation_rec, e)
		    : 0;
	if (r == 0)
		r = plan_namespaces(cr, e);
	if (r == 0)
		r = rootfs_open(cr, e);
	if (r == 0)
		r = plan_process(cr, cr->lower >= 0 ? cr->lower : p->root_fd,
				 e);
	if (r == 0)
		r = plan_rest(cr, e);
	if (r == 0)
		r = process_own_stdio(cr->c, &p->process, e);
	if (r == 0)
		r = make_cgroup(cr, e);
	return r < 0 ? r : container_birth(cr, failure, e);
}

/* -1 becomes one /dev/null for all three. */
static int plan_stdio(struct plan *p, int *null, struct err *e)
{
	int *stdio = p->process.stdio, i;

	for (i = 0; i < 3; i++) {
		if (stdio[i] >= 0 || p->process.terminal)
			continue;
		if (*null < 0)
			*null = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (*null < 0)
			return err_sys(e, errno, "open /dev/null");
		stdio[i] = *null;
	}
	return 0;
}

static int plan_hooks(struct create *cr, struct err *e)
{
	const struct oci_hooks *h = cr->config->hooks;
	struct hook_state state = {.id = cr->spec->id,
				   .status = "creating",
				   .bundle = cr->spec->bundle,
				   .config = cr->config};
	struct plan *p = cr->plan;
	int r;

	if (!h)
		return 0;
	p->hooks = h->n_prestart || h->n_create_runtime;
	r = childhooks_plan(p->arena, "createContainer", h->create_container,
			    h->n_create_container, &state, &p->create_hooks, e);
	if (r < 0)
		return r;
	state.status = "created";
	return childhooks_plan(p->arena, "startContainer", h->start_container,
			       h->n_start_container, &state, &p->start_hooks,
			       e);
}

int container_check(const struct oci_runtime *config, bool defaults,
		    struct err *e)
{
	return config_check(config, defaults, e);
}

int container_create(const struct container_spec *spec, struct container **ret,
		     struct container_failure *failure, struct err *e)
{
	_cleanup_(create_done) struct create cr = {.spec = spec,
						   .config = spec->config,
						   .lower = -1,
						   .userns_fd = -1,
						   .own_time = -1};
	_cleanup_close_ int null = -1;
	struct container_spec copy = *spec;
	int r;

	if (failure)
		memset(failure, 0, sizeof(*failure));
	r = container_id_check(spec->id, e);
	if (r < 0)
		return r;
	r = container_engine_setup(e);
	if (r == 0)
		r = container_check(spec->config, spec->defaults, e);
	if (r < 0)
		return r;
	cr.c = container_new(spec->id);
	cr.plan = plan_new(e);
	if (!cr.c || !cr.plan) {
		plan_free(cr.plan);
		return err_sys(e, ENOMEM, "container");
	}
	cr.c->plan = cr.plan;
	cr.c->defaults = spec->defaults;
	config_warn(spec->config, cr.c);
	/* The agent does not wait for programs of its VM. */
	if (spec->config->hooks && spec->defaults)
		return err_set(e, ENOTSUP, "hooks: not in a VM's container");
	r = plan_hooks(&cr, e);
	if (r < 0)
		return r;
	cr.plan->id = cr.c->id;
	cr.plan->confined = engine.confined;
	cr.plan->no_setgroups = engine.no_setgroups;
	cr.plan->early = !spec->defaults && !spec->config->hooks;
	cr.plan->start_fd = spec->start_listen_fd;
	/* Standard streams first: the plan copies them from the spec. */
	cr.plan->process.terminal = spec->config->process->terminal;
	memcpy(cr.plan->process.stdio, spec->stdio, sizeof(spec->stdio));
	r = plan_stdio(cr.plan, &null, e);
	if (r < 0)
		return r;
	memcpy(copy.stdio, cr.plan->process.stdio, sizeof(copy.stdio));
	cr.spec = &copy;
	r = create_run(&cr, failure, e);
	if (r < 0)
		return r;
	plan_close(cr.plan);
	cr.c->created_at = now_realtime_ns();
	*ret = steal_ptr(cr.c);
	return 0;
}

/* ------------------------------------------------------------------ attach */

static int attach_process(struct create *cr, pid_t pid, struct err *e)
{
	_cleanup_close_ int root = -1;
	char path[48];
	int r;

	snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(e, errno, "open the container's root");
	r = plan_namespaces_of(cr, pid, e);
	return r < 0 ? r : plan_process(cr, root, e);
}

int container_attach(const struct container_spec *spec, pid_t pid, int pidfd,
		     enum container_status status, int start_fd,
		     struct container **ret, struct err *e)
{
	struct create cr = {.spec = spec, .config = spec->config, .lower = -1};
	int r;

	r = container_engine_setup(e);
	if (r == 0 && spec->config)
		r = config_check(spec->config, spec->defaults, e);
	if (r < 0)
		return r;
	cr.c = container_new(spec->id);
	cr.plan = plan_new(e);
	if (!cr.c || !cr.plan) {
		container_free(cr.c);
		plan_free(cr.plan);
		return err_sys(e, ENOMEM, "container");
	}
	cr.c->plan = cr.plan;
	cr.c->defaults = spec->defaults;
	cr.c->status = status;
	cr.plan->confined = engine.confined;
	cr.plan->no_setgroups = engine.no_setgroups;
	if (engine.cgroup_root >= 0 && !spec->no_cgroup) {
		r = name_cgroup(cr.c, spec, e);
		if (r == 0)
			cr.c->cgroup_fd =
				cgroup_open(engine.cgroup_root, cr.c->cgroup);
	}
	if (r == 0)
		r = joined_keep(&cr, e);
	if (r == 0 && spec->config && pid > 0)
		r = attach_process(&cr, pid, e);
	if (r < 0) {
		container_free(cr.c);
		return r;
	}
	cr.c->pid = pid;
	cr.c->pidfd = pidfd;
	cr.c->sync = start_fd;
	*ret = cr.c;
	return 0;
}

void container_free_attached(struct container *c)
{
	container_free(c);
}
