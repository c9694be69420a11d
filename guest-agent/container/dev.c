/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's /dev: a tmpfs that is filled while it is still detached, by
 * descriptor, so that nothing in the image can be in the way. The nodes are
 * made by the parent (a user namespace may not) on a file system of the
 * parent's (on one of the user namespace's they could not be opened); which of
 * them open at all is up to the cgroup's device programme.
 *
 * Where the engine is confined it may make none either: then the child binds
 * the machine's own (setup.c).
 */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "guest-agent/sys/mnt.h"
#include "guest-agent/sys/rootpath.h"

static const struct {
	const char *name;
	unsigned int major, minor;
} nodes[] = {
	{"null", 1, 3},	  {"zero", 1, 5},    {"full", 1, 7},
	{"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
};

static const struct {
	const char *target, *name;
} links[] = {
	{"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"},
	{"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
	{"pts/ptmx", "ptmx"},
};

struct owner {
	uid_t uid;
	gid_t gid;
};

static int make_node(int dir, const char *name, mode_t mode, dev_t rdev,
		     struct owner o, struct err *e)
{
	/* mknodat() applies the umask, chmod does not. */
	if (mknodat(dir, name, mode, rdev) < 0)
		return err_sys(e, errno, "/dev/%s", name);
	if (fchmodat(dir, name, mode & 07777, 0) < 0 ||
	    fchownat(dir, name, o.uid, o.gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "/dev/%s", name);
	return 0;
}

/* Unless the configuration mounts something there itself. */
static int add_bound(struct create *cr, const char *path, mode_t type,
		     dev_t rdev, struct err *e)
{
	const struct oci_runtime *config = cr->config;
	struct plan *p = cr->plan;
	char *copy;
	size_t i;

	for (i = 0; i < config->n_mounts; i++)
		if (strcmp(config->mounts[i].destination, path) == 0)
			return 0;
	copy = plan_strdup(p, path);
	if (!copy)
		return err_sys(e, ENOMEM, "linux.devices");
	p->devices[p->n_devices++] = (struct plan_device){
		.path = copy, .mode = type, .rdev = rdev, .bind = true};
	return 0;
}

static int make_base(struct create *cr, int dir, struct owner root,
		     struct err *e)
{
	char path[32];
	size_t i;
	int r;

	for (i = 0; i < ARRAY_SIZE(nodes); i++) {
		if (engine.confined) {
			snprintf(path, sizeof(path), "/dev/%s", nodes[i].name);
			r = add_bound(cr, path, S_IFCHR,
				      makedev(nodes[i].major, nodes[i].minor),
				      e);
			if (r < 0)
				return r;
			continue;
		}
		r = make_node(dir, nodes[i].name, S_IFCHR | 0666,
			      makedev(nodes[i].major, nodes[i].minor), root, e);
		if (r < 0)
			return r;
	}
	for (i = 0; i < ARRAY_SIZE(links); i++)
		if (symlinkat(links[i].target, dir, links[i].name) < 0)
			return err_sys(e, errno, "/dev/%s", links[i].name);
	return 0;
}

static mode_t node_type(const char *type)
{
	if (strcmp(type, "b") == 0)
		return S_IFBLK;
	return strcmp(type, "p") == 0 ? S_IFIFO : S_IFCHR;
}

/* One of linux.devices; its path is below /dev, in folders where need be. */
static int make_extra(struct create *cr, int dir, const struct oci_device *d,
		      struct owner root, struct err *e)
{
	const struct container *c = cr->c;
	const char *path, *slash;
	_cleanup_close_ int up = -1;
	char parent[256];
	int64_t uid, gid;
	mode_t type;

	/* Elsewhere is the child's; the type is known: config_check(). */
	if (strncmp(d->path, "/dev/", 5) != 0)
		return 0;
	path = d->path + strlen("/dev/");
	slash = strrchr(path, '/');
	type = node_type(d->type);
	if (engine.confined && type != S_IFIFO)
		return add_bound(cr, d->path, type,
				 makedev((unsigned int)d->major.value,
					 (unsigned int)d->minor.value),
				 e);
	uid = map_id(c->uids.maps, c->uids.n,
		     d->uid.set ? (uint32_t)d->uid.value : cr->plan->setup_uid);
	gid = map_id(c->gids.maps, c->gids.n,
		     d->gid.set ? (uint32_t)d->gid.value : cr->plan->setup_gid);
	if (uid < 0 || gid < 0)
		return err_set(e, EINVAL,
			       "linux.devices: owner of '%s' has no mapping",
			       d->path);
	if (slash && (size_t)(slash - path) >= sizeof(parent))
		return err_sys(e, ENAMETOOLONG, "linux.devices");
	memcpy(parent, path, slash ? (size_t)(slash - path) : 0);
	parent[slash ? slash - path : 0] = '\0';
	up = rootpath_make_dir(dir, parent);
	if (up < 0)
		return err_sys(e, -up, "linux.devices: '%s'", d->path);
	/* A folder made on the way is its root's, as /dev is. */
	if (parent[0] && fchownat(up, "", root.uid, root.gid,
				  AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "linux.devices: '%s'", d->path);
	path = slash ? slash + 1 : path;
	if (unlinkat(up, path, 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "linux.devices: '%s'", d->path);
	return make_node(up, path,
			 /* Some writers leave the type in the mode. */
			 type | (d->file_mode.set
					 ? (mode_t)d->file_mode.value & 07777
					 : 0666),
			 makedev((unsigned int)d->major.value,
				 (unsigned int)d->minor.value),
			 (struct owner){(uid_t)uid, (gid_t)gid}, e);
}

/* Without the slashes at its end; NULL: below /dev, or no memory. */
static char *path_elsewhere(struct plan *p, const struct oci_device *d)
{
	size_t len = strlen(d->path);
	char *path;

	if (strncmp(d->path, "/dev/", 5) == 0)
		return NULL;
	path = plan_strdup(p, d->path);
	while (path && len > 1 && path[len - 1] == '/')
		path[--len] = '\0';
	return path;
}

int plan_devices(struct create *cr, struct err *e)
{
	const struct oci_linux *lx = cr->config->lx;
	struct plan *p = cr->plan;
	size_t i;

	p->devices = arena_alloc(p->arena, lx->n_devices + ARRAY_SIZE(nodes),
				 sizeof(*p->devices));
	if (!p->devices)
		return err_sys(e, ENOMEM, "linux.devices");
	for (i = 0; i < lx->n_devices; i++) {
		const struct oci_device *d = &lx->devices[i];
		char *path = path_elsewhere(p, d);

		if (!path)
			continue;
		if (cr->spec->defaults)
			return err_set(e, EINVAL,
				       "linux.devices[%zu].path: '%.256s' is "
				       "not below /dev",
				       i, d->path);
		p->devices[p->n_devices++] = (struct plan_device){
			.path = path,
			.mode = node_type(d->type) |
				(d->file_mode.set
					 ? (mode_t)d->file_mode.value & 07777
					 : 0666),
			.rdev = makedev((unsigned int)d->major.value,
					(unsigned int)d->minor.value),
			.uid = d->uid.set ? (uid_t)d->uid.value : p->setup_uid,
			.gid = d->gid.set ? (gid_t)d->gid.value : p->setup_gid};
	}
	return 0;
}

int dev_make(struct create *cr, const struct plan_mount *m, struct err *e)
{
	const struct oci_linux *lx = cr->config->lx;
	const struct container *c = cr->c;
	_cleanup_close_ int fd = -1;
	int64_t uid = map_id(c->uids.maps, c->uids.n, cr->plan->setup_uid);
	int64_t gid = map_id(c->gids.maps, c->gids.n, cr->plan->setup_gid);
	struct owner root = {uid < 0 ? 0 : (uid_t)uid,
			     gid < 0 ? 0 : (gid_t)gid};
	const char *what = "";
	mode_t mask;
	size_t i;
	int r;

	fd = mnt_new("tmpfs", "tmpfs", m->options, m->n_options, m->set, &what);
	if (fd < 0)
		return err_sys(e, -fd, "/dev: %s", what);
	mask = umask(0);
	r = make_base(cr, fd, root, e);
	for (i = 0; r == 0 && lx && i < lx->n_devices; i++)
		r = make_extra(cr, fd, &lx->devices[i], root, e);
	umask(mask);
	if (r < 0)
		return r;
	/* A mount's descriptor is O_PATH: fchown() refuses it. */
	if (fchownat(fd, "", root.uid, root.gid, AT_EMPTY_PATH) < 0)
		return err_sys(e, errno, "/dev");
	return steal_fd(&fd);
}
