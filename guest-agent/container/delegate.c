/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cgroup of an engine that is not the machine's root.
 *
 * It may write a cgroup only where one was delegated to it: from its own
 * cgroup up, the highest whose files it may write. Below that one lie the
 * containers' ("hyb/ID"), and a process can be moved there from its own cgroup
 * because what they have in common is delegated, too. Without one a container
 * is in the cgroup of whoever made it, which is an error only where limits are
 * asked for.
 */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/sys/cgroup.h"

/* What a delegation comprises (cgroups(7)). */
static bool may_write(const char *path)
{
	_cleanup_close_ int fd = cgroup_open(engine.cgroup_root, path);

	return fd >= 0 && faccessat(fd, ".", W_OK, AT_EACCESS) == 0 &&
	       faccessat(fd, "cgroup.procs", W_OK, AT_EACCESS) == 0 &&
	       faccessat(fd, "cgroup.subtree_control", W_OK, AT_EACCESS) == 0;
}

void delegate_find(void)
{
	_cleanup_free_ char *text = NULL;
	char *line, *slash;
	size_t len;

	engine.delegated[0] = '\0';
	if (file_read(AT_FDCWD, "/proc/self/cgroup", 65536, &text, &len, NULL) <
	    0)
		return;
	line = strstr(text, "0::/");
	if (!line || (line != text && line[-1] != '\n'))
		return;
	line += strlen("0::/");
	line[strcspn(line, "\n")] = '\0';
	/* Outside of what this cgroup namespace shows. */
	if (strncmp(line, "..", 2) == 0 ||
	    strlen(line) > HYB_CGROUP_NAME_MAX / 2)
		return;
	while (line[0] && may_write(line)) {
		snprintf(engine.delegated, sizeof(engine.delegated), "%s",
			 line);
		slash = strrchr(line, '/');
		*(slash ? slash : line) = '\0';
	}
}

int container_engine_cgroup(const char *name, char *ret, size_t size,
			    struct err *e)
{
	int r = container_engine_setup(e), n;

	if (r < 0)
		return r;
	ret[0] = '\0';
	if (engine.cgroup_root < 0 || (name[0] != '/' && !engine.delegated[0]))
		return 0;
	n = name[0] == '/' ? snprintf(ret, size, "%s", name)
			   : snprintf(ret, size, "/%s/" HYB_CGROUP_BASE "/%s",
				      engine.delegated, name);
	if (n < 0 || (size_t)n >= size)
		return err_set(e, EINVAL, "linux.cgroupsPath: bad length");
	return 0;
}

static bool asks_memory(const struct oci_memory *m)
{
	return m && (m->limit.set || m->reservation.set || m->swap.set);
}

static bool asks_cpu(const struct oci_cpu *c)
{
	return c && (c->shares.value || c->quota.set || c->period.value ||
		     c->burst.set || c->idle.set || c->cpus || c->mems);
}

static bool asks_io(const struct oci_block_io *b)
{
	return b && (b->weight.value || b->n_weight_device || b->n_read_bps ||
		     b->n_write_bps || b->n_read_iops || b->n_write_iops);
}

const char *delegate_asked(const struct oci_resources *res)
{
	if (!res)
		return NULL;
	if (asks_memory(res->memory))
		return "linux.resources.memory";
	if (asks_cpu(res->cpu))
		return "linux.resources.cpu";
	if (res->pids && res->pids->limit.set)
		return "linux.resources.pids";
	if (asks_io(res->block_io))
		return "linux.resources.blockIO";
	if (res->n_hugepage_limits)
		return "linux.resources.hugepageLimits";
	if (res->n_rdma)
		return "linux.resources.rdma";
	return res->n_unified ? "linux.resources.unified" : NULL;
}

int delegate_none(const struct create *cr, int r, struct err *e)
{
	const char *asked = delegate_asked(cr->config->lx->resources);

	/* The machine's root without cgroup v2 is warned, not refused. */
	if (!engine.confined)
		return engine.cgroup_root < 0 ? 0 : r;
	if (r != -EACCES && r != -EPERM && r != -EROFS && r != -ENOENT)
		return r;
	err_clear(e);
	if (!asked)
		return 0;
	if (cr->spec->no_cgroup && engine.delegated[0])
		return err_set(e, ENOTSUP,
			       "%s: the container is to have no cgroup", asked);
	return err_set(e, ENOTSUP,
		       "%s: there is no cgroup that this user may write: %s",
		       asked,
		       engine.cgroup_root < 0
			       ? "cgroup v2 is not mounted"
			       : "one must be delegated, with the processes in "
				 "a cgroup below it");
}
