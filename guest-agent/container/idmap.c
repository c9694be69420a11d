/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idmapped mounts (mounts[].uidMappings, the options idmap and ridmap).
 *
 * The kernel takes the mapping as a user namespace. Where the mount says its
 * own, one is made for it, in a process that does nothing and is ended as soon
 * as the namespace is held by descriptor. Where it does not, the container's
 * own is meant, which exists once the child does: the parent maps the detached
 * mount, which it shares with the child, before it lets the child go on.
 */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "guest-agent/sys/kernel.h"

static int copy_map(struct id_map *maps, const struct oci_id_mapping *from,
		    size_t n, const char *destination, struct err *e)
{
	size_t i;

	if (n == 0 || n > HYB_ID_MAPS_MAX)
		return err_set(e, EINVAL,
			       "mounts: '%s' needs uidMappings and "
			       "gidMappings, of 1 to %d lines each",
			       destination, HYB_ID_MAPS_MAX);
	for (i = 0; i < n; i++)
		maps[i] = (struct id_map){from[i].container_id, from[i].host_id,
					  from[i].size};
	return 0;
}

/* A user namespace with these mappings: a descriptor. */
static int make_userns(const struct container *maps, struct err *e)
{
	struct clone_args args = {.flags = CLONE_NEWUSER,
				  .exit_signal = SIGCHLD};
	char path[48];
	pid_t pid;
	int fd, r;

	pid = sys_clone3(&args);
	if (pid == 0) {
		pause();
		_exit(0);
	}
	if (pid < 0)
		return err_sys(e, errno, "clone");
	r = namespaces_write_maps(maps, pid, e);
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	fd = r < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (r == 0 && fd < 0)
		r = err_sys(e, errno, "open '%s'", path);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return r < 0 ? r : fd;
}

int mount_map_own(struct plan_mount *m, const struct oci_mount *om,
		  struct err *e)
{
	struct container maps = {.n_uid_map = om->n_uid_mappings,
				 .n_gid_map = om->n_gid_mappings};
	_cleanup_close_ int userns = -1;
	int r;

	r = copy_map(maps.uid_map, om->uid_mappings, om->n_uid_mappings,
		     m->destination, e);
	if (r == 0)
		r = copy_map(maps.gid_map, om->gid_mappings, om->n_gid_mappings,
			     m->destination, e);
	if (r < 0)
		return r;
	userns = make_userns(&maps, e);
	if (userns < 0)
		return userns;
	r = mnt_idmap(m->fd, userns, m->idmap_recursive);
	return r < 0 ? err_sys(e, -r, "mounts: map the ids of '%s'",
			       m->destination)
		     : 0;
}

int mounts_map(struct create *cr, int userns_fd, struct err *e)
{
	struct plan *p = cr->plan;
	size_t i;
	int r;

	for (i = 0; i < p->n_mounts; i++) {
		struct plan_mount *m = &p->mounts[i];

		if (!m->idmap)
			continue;
		r = mnt_idmap(m->fd, userns_fd, m->idmap_recursive);
		if (r < 0)
			return err_sys(e, -r, "mounts: map the ids of '%s'",
				       m->destination);
	}
	return 0;
}
