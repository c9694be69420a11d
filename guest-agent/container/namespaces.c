/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which namespaces a container has.
 *
 * New ones are made by the clone, all at once, so that they belong to the
 * container's user namespace. One that exists is entered by the parent for the
 * instant of the clone: the child, inside its user namespace, would have no
 * right to. A network namespace entered like this belongs to the machine, not
 * to the container, whose root therefore cannot administer it.
 *
 * Three are different. A user namespace cannot be left again: a process that
 * ends at once enters it and clones the child (userns.c). A mount namespace
 * is entered by the child, because the parent still looks up paths in its own.
 * The time namespace's offsets can be written only while nobody is in it, so
 * the parent makes it for its children and comes back to its own.
 */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/sys/kernel.h"

static const struct ns_type {
	const char *name, *file;
	int flag;
} types[] = {
	{"pid", "pid", CLONE_NEWPID},	       {"network", "net", CLONE_NEWNET},
	{"mount", "mnt", CLONE_NEWNS},	       {"ipc", "ipc", CLONE_NEWIPC},
	{"uts", "uts", CLONE_NEWUTS},	       {"user", "user", CLONE_NEWUSER},
	{"cgroup", "cgroup", CLONE_NEWCGROUP}, {"time", "time", CLONE_NEWTIME},
};

static const struct ns_type *find_type(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(types[i].name, name) == 0)
			return &types[i];
	return NULL;
}

/* A descriptor of the parent's own namespace. */
static int open_own(const char *file, struct err *e)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/ns/%s", file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "open '%s'", path) : fd;
}

/* Takes fd. */
static int add_join(struct create *cr, int type, const char *file, int fd,
		    struct err *e)
{
	struct join *j;
	int own = open_own(file, e);

	if (own < 0) {
		close(fd);
		return own;
	}
	j = &cr->joins[cr->n_joins++];
	*j = (struct join){.type = type, .fd = fd, .own = own};
	return 0;
}

/* The namespace at a path, which must be one of this type. A FIFO or a device
 * there is not waited for. */
static int open_ns(const struct oci_namespace *ns, const struct ns_type *t,
		   size_t i, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct statfs fs;

	fd = open(ns->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return err_sys(e, errno,
			       "linux.namespaces[%zu].path: open '%s'", i,
			       ns->path);
	if (fstatfs(fd, &fs) < 0 || fs.f_type != NSFS_MAGIC ||
	    ioctl(fd, NS_GET_NSTYPE) != t->flag)
		return err_set(e, EINVAL,
			       "linux.namespaces[%zu].path: '%s' is not a "
			       "namespace of type '%s'",
			       i, ns->path, t->name);
	return steal_fd(&fd);
}

static int is_own(int fd, const char *file, bool *ret, struct err *e)
{
	_cleanup_close_ int own = open_own(file, e);
	struct stat a, b;

	if (own < 0)
		return own;
	if (fstat(fd, &a) < 0 || fstat(own, &b) < 0)
		return err_sys(e, errno, "look at a namespace");
	*ret = a.st_dev == b.st_dev && a.st_ino == b.st_ino;
	return 0;
}

static int join_ns(struct create *cr, const struct ns_type *t, int ns_fd,
		   struct err *e)
{
	_cleanup_close_ int fd = ns_fd;
	bool own = false;
	int r;

	r = is_own(fd, t->file, &own, e);
	if (r < 0 || own) /* our own: there is nothing to enter */
		return r;
	cr->isolated |= (uint64_t)t->flag;
	if (t->flag == CLONE_NEWUSER)
		cr->userns_fd = steal_fd(&fd);
	else if (t->flag == CLONE_NEWNS)
		cr->plan->join_mnt_fd = steal_fd(&fd);
	else
		return add_join(cr, t->flag, t->file, steal_fd(&fd), e);
	return 0;
}

static int check_namespace(const struct oci_namespace *ns, size_t i,
			   bool defaults, uint64_t *seen, struct err *e)
{
	const struct ns_type *t = find_type(ns->type);

	if (!t)
		return err_set(e, EINVAL,
			       "linux.namespaces[%zu].type: unknown type "
			       "'%.32s'",
			       i, ns->type);
	if (*seen & (uint64_t)t->flag)
		return err_set(
			e, EINVAL,
			"linux.namespaces[%zu].type: '%s' is there twice", i,
			ns->type);
	*seen |= (uint64_t)t->flag;
	if (ns->path && defaults)
		return err_set(e, EINVAL,
			       "linux.namespaces[%zu].path: not allowed here",
			       i);
	if (ns->path && ns->path[0] != '/')
		return err_set(e, EINVAL,
			       "linux.namespaces[%zu].path: '%.256s' must be "
			       "absolute",
			       i, ns->path);
	return 0;
}

/* A new user namespace needs both lists; without one there is nothing that
 * they could be for. */
static int check_mappings(const struct oci_linux *lx, bool new_user, bool user,
			  bool defaults, struct err *e)
{
	const char *uids = "linux.uidMappings", *gids = "linux.gidMappings";
	const char *first = lx->n_uid_mappings ? uids : gids;
	int r;

	if (defaults && (lx->n_uid_mappings || lx->n_gid_mappings))
		return err_set(e, EINVAL, "%s: not allowed here", first);
	if (!user && (lx->n_uid_mappings || lx->n_gid_mappings))
		return err_set(e, EINVAL, "%s: there is no user namespace",
			       first);
	if (new_user && !defaults &&
	    (!lx->n_uid_mappings || !lx->n_gid_mappings))
		return err_set(e, EINVAL,
			       "%s: is needed for a new user namespace",
			       lx->n_uid_mappings ? gids : uids);
	r = id_maps_check(lx->uid_mappings, lx->n_uid_mappings, uids, e);
	return r < 0 ? r
		     : id_maps_check(lx->gid_mappings, lx->n_gid_mappings, gids,
				     e);
}

int namespaces_check(const struct oci_linux *lx, bool defaults,
		     uint64_t *ret_own, struct err *e)
{
	uint64_t seen = 0, fresh = 0;
	size_t i;
	int r;

	for (i = 0; i < lx->n_namespaces; i++) {
		r = check_namespace(&lx->namespaces[i], i, defaults, &seen, e);
		if (r < 0)
			return r;
		if (!lx->namespaces[i].path)
			fresh |= (uint64_t)find_type(lx->namespaces[i].type)
					 ->flag;
	}
	if (!defaults && !(seen & CLONE_NEWNS))
		return err_set(e, EINVAL,
			       "linux.namespaces: a mount namespace is "
			       "needed");
	if (lx->time_offsets && !(fresh & CLONE_NEWTIME))
		return err_set(e, EINVAL,
			       "linux.timeOffsets: there is no new time "
			       "namespace");
	r = check_mappings(lx, fresh & CLONE_NEWUSER, seen & CLONE_NEWUSER,
			   defaults, e);
	if (r < 0)
		return r;
	*ret_own = defaults ? ~UINT64_C(0) : seen;
	return 0;
}

/* open: namespaces at paths are entered, not only counted. */
static int add_namespace(struct create *cr, size_t i, bool open, uint64_t *seen,
			 struct err *e)
{
	const struct oci_namespace *ns = &cr->config->lx->namespaces[i];
	const struct ns_type *t = find_type(ns->type);
	int fd;

	*seen |= (uint64_t)t->flag;
	if (!ns->path) {
		cr->plan->namespaces |= (uint64_t)t->flag;
		return 0;
	}
	cr->joined |= (uint64_t)t->flag;
	if (!open)
		return 0;
	fd = open_ns(ns, t, i, e);
	if (t->flag == CLONE_NEWNS)
		cr->mntns_path = ns->path;
	return fd < 0 ? fd : join_ns(cr, t, fd, e);
}

static int new_maps(struct create *cr, struct err *e)
{
	const struct oci_linux *lx = cr->config->lx;
	struct container *c = cr->c;
	struct plan *p = cr->plan;
	int r;

	if (cr->spec->defaults) {
		const struct oci_id_mapping all = {0, cr->spec->ids_base,
						   HYB_CONTAINER_IDS};

		r = id_maps_copy(p, &all, 1, "ids_base", &c->uids, e);
		c->gids = c->uids;
		return r;
	}
	r = id_maps_copy(p, lx->uid_mappings, lx->n_uid_mappings,
			 "linux.uidMappings", &c->uids, e);
	if (r == 0)
		r = id_maps_copy(p, lx->gid_mappings, lx->n_gid_mappings,
				 "linux.gidMappings", &c->gids, e);
	return r;
}

/* pid: of the container's process, where it runs already. */
static int plan_maps(struct create *cr, pid_t pid, struct err *e)
{
	struct container *c = cr->c;
	struct plan *p = cr->plan;
	int r;

	p->joined_userns =
		cr->userns_fd >= 0 || (pid > 0 && (cr->joined & CLONE_NEWUSER));
	p->userns = (p->namespaces & CLONE_NEWUSER) || p->joined_userns;
	if (!p->userns)
		return 0;
	if (pid > 0)
		r = id_maps_read(p, pid, &c->uids, &c->gids, e);
	else if (cr->userns_fd >= 0)
		r = id_maps_of_ns(p, cr->userns_fd, &c->uids, &c->gids, e);
	else
		r = new_maps(cr, e);
	if (r < 0)
		return r;
	if (map_id(c->uids.maps, c->uids.n, 0) < 0)
		p->setup_uid = c->uids.maps[0].inside;
	if (map_id(c->gids.maps, c->gids.n, 0) < 0)
		p->setup_gid = c->gids.maps[0].inside;
	return 0;
}

/* Under `defaults` everything is the container's own; the network is the
 * caller's choice, and where it made none, an empty one. */
static int close_defaults(struct create *cr, uint64_t seen, struct err *e)
{
	cr->plan->namespaces |= CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC |
				CLONE_NEWUTS | CLONE_NEWUSER | CLONE_NEWCGROUP;
	if (cr->spec->netns_fd < 0 && !(seen & CLONE_NEWNET))
		cr->plan->namespaces |= CLONE_NEWNET;
	if (cr->spec->ids_base == 0 ||
	    cr->spec->ids_base % HYB_CONTAINER_IDS != 0)
		return err_set(e, EINVAL, "ids_base must be a multiple of %u",
			       HYB_CONTAINER_IDS);
	return 0;
}

/* The offsets as the kernel takes them, or "". */
static void plan_offsets(struct create *cr)
{
	const struct oci_time_offsets *o = cr->config->lx->time_offsets;
	size_t len = 0, size = sizeof(cr->time_offsets);
	char *text = cr->time_offsets;

	if (!o)
		return;
	if (o->monotonic)
		len = (size_t)snprintf(text, size, "monotonic %lld %u\n",
				       (long long)o->monotonic->secs,
				       o->monotonic->nanosecs);
	if (o->boottime)
		snprintf(text + len, size - len, "boottime %lld %u\n",
			 (long long)o->boottime->secs, o->boottime->nanosecs);
}

static int add_all(struct create *cr, bool open, struct err *e)
{
	const struct oci_linux *lx = cr->config->lx;
	uint64_t seen = 0;
	size_t i;
	int r;

	cr->userns_fd = cr->own_time = -1;
	for (i = 0; lx && i < lx->n_namespaces; i++) {
		r = add_namespace(cr, i, open, &seen, e);
		if (r < 0)
			return r;
	}
	if (cr->spec->defaults) {
		r = close_defaults(cr, seen, e);
		if (r < 0)
			return r;
	}
	cr->isolated |= cr->plan->namespaces;
	cr->plan->chroot = cr->joined & CLONE_NEWNS;
	cr->c->namespaces = (int)(cr->plan->namespaces | cr->joined);
	return 0;
}

/* A user namespace by path may be our own, which cannot be entered again. */
static int forget_own_user(struct create *cr, pid_t pid, struct err *e)
{
	_cleanup_close_ int fd = -1;
	char path[48];
	bool own;
	int r;

	if (!(cr->joined & CLONE_NEWUSER))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open '%s'", path);
	r = is_own(fd, "user", &own, e);
	if (r < 0 || !own)
		return r;
	cr->joined &= ~(uint64_t)CLONE_NEWUSER;
	cr->c->namespaces &= ~CLONE_NEWUSER;
	return 0;
}

int plan_namespaces_of(struct create *cr, pid_t pid, struct err *e)
{
	int r = add_all(cr, false, e);

	if (r == 0)
		r = forget_own_user(cr, pid, e);
	return r < 0 ? r : plan_maps(cr, pid, e);
}

int plan_namespaces(struct create *cr, struct err *e)
{
	int r, fd;

	r = add_all(cr, true, e);
	if (r < 0)
		return r;
	if (cr->plan->chroot && cr->plan->join_mnt_fd < 0)
		return err_set(e, EINVAL,
			       "linux.namespaces: the mount namespace at the "
			       "path is the engine's own");
	if (cr->spec->netns_fd >= 0) {
		cr->plan->namespaces &= ~(uint64_t)CLONE_NEWNET;
		fd = fcntl(cr->spec->netns_fd, F_DUPFD_CLOEXEC, 3);
		if (fd < 0)
			return err_sys(e, errno, "network namespace");
		r = add_join(cr, CLONE_NEWNET, "net", fd, e);
		if (r < 0)
			return r;
		cr->c->namespaces |= CLONE_NEWNET;
	}
	cr->new_net = cr->plan->namespaces & CLONE_NEWNET;
	cr->plan->loopback = cr->new_net;
	plan_offsets(cr);
	return plan_maps(cr, 0, e);
}

/* For the children only; nobody is in it before the clone. */
static int new_time(struct create *cr, struct err *e)
{
	_cleanup_close_ int fd = -1;
	size_t len = strlen(cr->time_offsets);

	cr->own_time = open_own("time", e);
	if (cr->own_time < 0)
		return cr->own_time;
	if (unshare(CLONE_NEWTIME) < 0) {
		cleanup_close(&cr->own_time);
		return err_sys(e, errno, "make a time namespace");
	}
	if (!len)
		return 0;
	fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open timens_offsets");
	if (write(fd, cr->time_offsets, len) != (ssize_t)len)
		return err_sys(e, errno, "linux.timeOffsets");
	return 0;
}

/* Left to the process of clone_in_userns(), which would else be born in it. */
static bool is_helpers(const struct create *cr, const struct join *j)
{
	return !engine.confined && cr->userns_fd >= 0 &&
	       j->type == CLONE_NEWPID;
}

int namespaces_enter_pid(const struct create *cr)
{
	size_t i;

	for (i = 0; i < cr->n_joins; i++)
		if (cr->joins[i].type == CLONE_NEWPID &&
		    setns(cr->joins[i].fd, CLONE_NEWPID) < 0)
			return -errno;
	return 0;
}

int namespaces_enter(struct create *cr, struct err *e)
{
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < cr->n_joins; i++)
		if (!is_helpers(cr, &cr->joins[i]) &&
		    setns(cr->joins[i].fd, cr->joins[i].type) < 0)
			r = err_sys(e, errno, "join a namespace");
	if (r == 0 && (cr->plan->namespaces & CLONE_NEWTIME))
		r = new_time(cr, e);
	if (r < 0 && !engine.confined)
		namespaces_leave(cr);
	return r;
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
	if (cr->own_time >= 0 && setns(cr->own_time, CLONE_NEWTIME) < 0)
		abort();
	cleanup_close(&cr->own_time);
	cr->own_time = -1;
}
