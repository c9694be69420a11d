/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which namespaces a container has, and the ids of its user namespace.
 *
 * New ones are made by the clone, all at once, so that they belong to the
 * container's user namespace. One that exists is entered by the parent for the
 * instant of the clone: the child, inside its user namespace, would have no
 * right to. A network namespace entered like this belongs to the machine, not
 * to the container, whose root therefore cannot administer it.
 *
 * Two kinds go another way. A new time namespace is one for children only, whose
 * clocks can be set until the first is born: the parent makes it, sets them,
 * and comes back. And nobody comes back from a user namespace: one that exists
 * is entered by a process between parent and child (clone_child()).
 */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <linux/nsfs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

static const struct ns_type {
	const char *name, *file;
	int flag;
	bool join; /* can an existing one be entered? */
} types[] = {
	{"pid", "pid", CLONE_NEWPID, true},
	{"network", "net", CLONE_NEWNET, true},
	{"mount", "mnt", CLONE_NEWNS, false},
	{"ipc", "ipc", CLONE_NEWIPC, true},
	{"uts", "uts", CLONE_NEWUTS, true},
	{"user", "user", CLONE_NEWUSER, true},
	{"cgroup", "cgroup", CLONE_NEWCGROUP, true},
	{"time", "time", CLONE_NEWTIME, true},
};

static const struct ns_type *find_type(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(types[i].name, name) == 0)
			return &types[i];
	return NULL;
}

static int add_join(struct create *cr, int type, const char *file, int fd,
		    struct err *e)
{
	struct join *j;
	char path[32];

	if (cr->n_joins == HYB_JOINS_MAX)
		return err_set(e, E2BIG, "too many namespaces to join");
	snprintf(path, sizeof(path), "/proc/self/ns/%s", file);
	j = &cr->joins[cr->n_joins++];
	j->type = type;
	j->fd = fd;
	j->own = open(path, O_RDONLY | O_CLOEXEC);
	return j->own < 0 ? err_sys(e, errno, "open %s", path) : 0;
}

/* Opens a namespace by path and makes sure that it is of that type. */
static int open_namespace(const struct oci_namespace *ns, int flag, size_t i,
			  struct err *e)
{
	_cleanup_close_ int fd = open(ns->path, O_RDONLY | O_CLOEXEC);
	int type;

	if (fd < 0)
		return err_sys(e, errno, "linux.namespaces[%zu].path: '%s'", i,
			       ns->path);
	type = ioctl(fd, NS_GET_NSTYPE);
	if (type != flag)
		return err_set(e, EINVAL,
			       "linux.namespaces[%zu].path: '%s' is no %s "
			       "namespace",
			       i, ns->path, ns->type);
	return steal_fd(&fd);
}

static int add_namespace(struct create *cr, const struct oci_namespace *ns,
			 size_t i, uint64_t *seen, struct err *e)
{
	const struct ns_type *t = find_type(ns->type);
	int fd;

	if (!t)
		return err_set(e, EINVAL,
			       "linux.namespaces[%zu].type: unknown '%s'", i,
			       ns->type);
	if (*seen & (uint64_t)t->flag)
		return err_set(e, EINVAL, "linux.namespaces[%zu]: '%s' twice",
			       i, ns->type);
	*seen |= (uint64_t)t->flag;
	if (ns->path && !t->join)
		return err_set(e, ENOTSUP,
			       "linux.namespaces[%zu].path: joining a "
			       "namespace of type '%s' is not supported yet",
			       i, ns->type);
	if (!ns->path && t->flag == CLONE_NEWTIME)
		return add_join(cr, t->flag, t->file, -1, e);
	if (!ns->path) {
		cr->plan->namespaces |= (uint64_t)t->flag;
		return 0;
	}
	fd = open_namespace(ns, t->flag, i, e);
	if (fd < 0)
		return fd;
	if (t->flag == CLONE_NEWUSER) {
		cr->user_fd = fd;
		return 0;
	}
	return add_join(cr, t->flag, t->file, fd, e);
}

static int copy_maps(struct id_map *maps, size_t *ret_n,
		     const struct oci_id_mapping *from, size_t n, struct err *e)
{
	size_t i;

	if (n > HYB_ID_MAPS_MAX)
		return err_set(e, E2BIG, "more than %d id mappings",
			       HYB_ID_MAPS_MAX);
	for (i = 0; i < n; i++)
		maps[i] = (struct id_map){from[i].container_id, from[i].host_id,
					  from[i].size};
	*ret_n = n;
	return 0;
}

static int plan_maps(struct create *cr, struct err *e)
{
	const struct oci_linux *lx = cr->config->lx;
	struct container *c = cr->c;
	int r;

	/* One that is joined says itself what is mapped. */
	if (!(cr->plan->namespaces & CLONE_NEWUSER)) {
		if (lx && (lx->n_uid_mappings || lx->n_gid_mappings))
			return err_set(e, EINVAL,
				       "linux.uidMappings: there is no new "
				       "user namespace");
		cr->plan->has_root = true;
		return 0;
	}
	if (cr->spec->defaults) {
		c->uid_map[0] = (struct id_map){0, cr->spec->ids_base,
						HYB_CONTAINER_IDS};
		c->gid_map[0] = c->uid_map[0];
		c->n_uid_map = c->n_gid_map = 1;
	} else {
		r = copy_maps(c->uid_map, &c->n_uid_map, lx->uid_mappings,
			      lx->n_uid_mappings, e);
		if (r == 0)
			r = copy_maps(c->gid_map, &c->n_gid_map,
				      lx->gid_mappings, lx->n_gid_mappings, e);
		if (r < 0)
			return r;
		if (!c->n_uid_map || !c->n_gid_map)
			return err_set(e, EINVAL,
				       "linux.uidMappings and gidMappings are "
				       "needed for a user namespace");
	}
	cr->plan->has_root = map_id(c->uid_map, c->n_uid_map, 0) >= 0 &&
			     map_id(c->gid_map, c->n_gid_map, 0) >= 0;
	return 0;
}

/* Under `defaults` everything is the container's own; the network is the
 * caller's choice, and where it made none, an empty one. */
static int close_defaults(struct create *cr, uint64_t seen, struct err *e)
{
	cr->plan->namespaces |= CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC |
				CLONE_NEWUTS | CLONE_NEWUSER | CLONE_NEWCGROUP;
	if (cr->n_joins > 0 || cr->user_fd >= 0)
		return err_set(e, EINVAL,
			       "linux.namespaces: neither a path nor a time "
			       "namespace is allowed here");
	if (cr->spec->netns_fd < 0 && !(seen & CLONE_NEWNET))
		cr->plan->namespaces |= CLONE_NEWNET;
	if (cr->spec->ids_base == 0 ||
	    cr->spec->ids_base % HYB_CONTAINER_IDS != 0)
		return err_set(e, EINVAL, "ids_base must be a multiple of %u",
			       HYB_CONTAINER_IDS);
	return 0;
}

static int check_time(const struct create *cr, struct err *e)
{
	size_t i;

	if (!cr->config->lx || !cr->config->lx->time_offsets)
		return 0;
	for (i = 0; i < cr->n_joins; i++)
		if (cr->joins[i].type == CLONE_NEWTIME && cr->joins[i].fd < 0)
			return 0;
	return err_set(e, EINVAL,
		       "linux.timeOffsets: there is no new time namespace");
}

int plan_namespaces(struct create *cr, struct err *e)
{
	const struct oci_linux *lx = cr->config->lx;
	uint64_t seen = 0;
	size_t i;
	int r, fd;

	for (i = 0; lx && i < lx->n_namespaces; i++) {
		r = add_namespace(cr, &lx->namespaces[i], i, &seen, e);
		if (r < 0)
			return r;
	}
	if (cr->spec->defaults) {
		r = close_defaults(cr, seen, e);
		if (r < 0)
			return r;
	}
	if (cr->spec->netns_fd >= 0) {
		cr->plan->namespaces &= ~(uint64_t)CLONE_NEWNET;
		fd = fcntl(cr->spec->netns_fd, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			return err_sys(e, errno, "network namespace");
		r = add_join(cr, CLONE_NEWNET, "net", fd, e);
		if (r < 0)
			return r;
	}
	if (!(cr->plan->namespaces & CLONE_NEWNS))
		return err_set(e, EINVAL,
			       "linux.namespaces: a new mount namespace is "
			       "needed");
	cr->plan->joined_userns = cr->user_fd >= 0;
	cr->plan->userns = (cr->plan->namespaces & CLONE_NEWUSER) ||
			   cr->plan->joined_userns;
	cr->new_net = cr->plan->namespaces & CLONE_NEWNET;
	cr->plan->loopback = cr->new_net;
	cr->c->namespaces = (int)cr->plan->namespaces;
	for (i = 0; i < cr->n_joins; i++)
		cr->c->namespaces |= cr->joins[i].type;
	if (cr->user_fd >= 0)
		cr->c->namespaces |= CLONE_NEWUSER;
	r = check_time(cr, e);
	return r < 0 ? r : plan_maps(cr, e);
}

static int set_clock(int fd, const char *clock, const struct oci_time_offset *o,
		     struct err *e)
{
	char text[64];
	int n;

	if (!o)
		return 0;
	n = snprintf(text, sizeof(text), "%s %lld %u", clock,
		     (long long)o->secs, o->nanosecs);
	if (write(fd, text, (size_t)n) != n)
		return err_sys(e, errno, "linux.timeOffsets.%s", clock);
	return 0;
}

static int new_time(const struct create *cr, struct err *e)
{
	const struct oci_time_offsets *o = cr->config->lx->time_offsets;
	_cleanup_close_ int fd = -1;
	int r;

	if (unshare(CLONE_NEWTIME) < 0)
		return err_sys(e, errno, "make a time namespace");
	if (!o)
		return 0;
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "linux.timeOffsets");
	r = set_clock(fd, "monotonic", o->monotonic, e);
	return r < 0 ? r : set_clock(fd, "boottime", o->boottime, e);
}

int namespaces_enter(struct create *cr, struct err *e)
{
	size_t i;
	int r;

	for (i = 0; i < cr->n_joins; i++) {
		const struct join *j = &cr->joins[i];

		if (j->fd < 0)
			r = new_time(cr, e);
		else
			r = setns(j->fd, j->type) < 0
				    ? err_sys(e, errno, "join a namespace")
				    : 0;
		if (r < 0) {
			namespaces_leave(cr);
			return r;
		}
	}
	return 0;
}

/* Going back must not fail: a parent in a container's namespaces would be a
 * hole. It has held the descriptors all along, so only a kernel out of memory
 * could; then the process ends. */
void namespaces_leave(struct create *cr)
{
	size_t i;

	for (i = 0; i < cr->n_joins; i++)
		if (setns(cr->joins[i].own, cr->joins[i].type) < 0)
			abort();
}

int64_t map_id(const struct id_map *maps, size_t n, uint32_t inside)
{
	size_t i;

	if (n == 0)
		return inside;
	for (i = 0; i < n; i++)
		if (inside >= maps[i].inside &&
		    inside - maps[i].inside < maps[i].count)
			return (int64_t)maps[i].outside +
			       (inside - maps[i].inside);
	return -1;
}

static int write_map(pid_t pid, const char *file, const struct id_map *maps,
		     size_t n, struct err *e)
{
	_cleanup_close_ int fd = -1;
	char text[HYB_ID_MAPS_MAX * 36], path[48];
	size_t i, len = 0;

	for (i = 0; i < n; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"%u %u %u\n", maps[i].inside,
					maps[i].outside, maps[i].count);
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	/* One write: the kernel takes no second one. */
	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		return err_sys(e, errno, "write %s", file);
	return 0;
}

int namespaces_write_maps(const struct container *c, pid_t pid, struct err *e)
{
	int r;

	r = write_map(pid, "uid_map", c->uid_map, c->n_uid_map, e);
	return r < 0 ? r
		     : write_map(pid, "gid_map", c->gid_map, c->n_gid_map, e);
}
