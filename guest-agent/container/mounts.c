/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the configuration's mounts to a list that the child carries out.
 *
 * The parent makes, detached, everything that needs its own rights or its own
 * view: binds (their source is a path of the parent's), sysfs of a network
 * namespace that is not the container's, /dev with its nodes, and file systems
 * on devices. The child makes what belongs to its namespaces: proc, devpts,
 * mqueue, cgroup, and tmpfs (which then belongs to its user namespace).
 */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "common/base/cleanup.h"
#include "guest-agent/sys/kernel.h"
#include "guest-agent/sys/mnt.h"

static enum mount_special special_of(const struct plan_mount *m)
{
	if (m->bind)
		return MOUNT_PLAIN;
	if (strcmp(m->type, "proc") == 0 &&
	    strcmp(m->destination, "/proc") == 0)
		return MOUNT_PROC;
	if (strcmp(m->type, "sysfs") == 0 &&
	    strcmp(m->destination, "/sys") == 0)
		return MOUNT_SYSFS;
	if (strcmp(m->type, "tmpfs") == 0 &&
	    strcmp(m->destination, "/dev") == 0)
		return MOUNT_DEV;
	if (strcmp(m->type, "devpts") == 0 &&
	    strcmp(m->destination, "/dev/pts") == 0)
		return MOUNT_DEVPTS;
	if (strcmp(m->type, "cgroup2") == 0)
		return MOUNT_CGROUP;
	return MOUNT_PLAIN;
}

/* Under `defaults` a source may lie in a volume that another container can
 * write to, so it is not reached through links. */
static int open_source(const struct create *cr, const struct plan_mount *m)
{
	const int flags = O_PATH | O_CLOEXEC |
			  (m->source_nofollow || m->copy_link ? O_NOFOLLOW : 0);
	int fd;

	if (cr->spec->defaults)
		fd = sys_openat2(AT_FDCWD, m->source, (uint64_t)flags, 0,
				 RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
	else
		fd = open(m->source, flags);
	return fd < 0 ? -errno : fd;
}

/* The text of a link that is made again inside, for the child. */
static int copy_link(struct create *cr, struct plan_mount *m, int source,
		     struct err *e)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(source, "", text, sizeof(text) - 1);

	if (n < 0)
		return err_sys(e, errno, "read the link '%s'", m->source);
	text[n] = '\0';
	m->idmap = false; /* no mount, whose ids there would be to map */
	m->link = plan_strdup(cr->plan, text);
	return m->link ? 0 : err_sys(e, ENOMEM, "mount");
}

static int make_bind(struct create *cr, struct plan_mount *m, struct err *e)
{
	_cleanup_close_ int source = -1, fd = -1;
	struct stat st;
	int r;

	if (!m->source)
		return err_set(e, EINVAL, "bind on '%s' needs a source",
			       m->destination);
	source = open_source(cr, m);
	if (source < 0)
		return err_sys(e, -source, "bind '%s'", m->source);
	r = m->subdir ? subdir_open(m, &source, e) : 0;
	if (r < 0)
		return r;
	if (fstat(source, &st) < 0)
		return err_sys(e, errno, "bind '%s'", m->source);
	m->is_file = !S_ISDIR(st.st_mode);
	if (m->copy_link && S_ISLNK(st.st_mode))
		return copy_link(cr, m, source, e);
	fd = mnt_clone_fd(source, m->bind_recursive);
	if (fd < 0)
		return err_sys(e, -fd, "bind '%s'", m->source);
	/* Not a peer of the parent's mount, unless that was asked for. */
	r = m->n_propagation ? 0 : mnt_set(fd, 0, 0, MS_PRIVATE, true);
	if (r == 0 && (m->set || m->clear))
		r = mnt_set(fd, m->set, m->clear, 0, false);
	if (r == 0 && (m->rec_set || m->rec_clear))
		r = mnt_set(fd, m->rec_set, m->rec_clear, 0, true);
	if (r < 0)
		return err_sys(e, -r, "bind '%s': options", m->source);
	m->fd = steal_fd(&fd);
	return 0;
}

/* Made by the child, in the namespaces that it belongs to. */
static bool is_childs(const struct create *cr, const struct plan_mount *m)
{
	static const char *const always[] = {"proc",  "devpts",	 "mqueue",
					     "tmpfs", "cgroup2", "ramfs"};

	if (m->special == MOUNT_DEV)
		return false;
	/* A confined parent is not in the namespaces that are joined. */
	if (strcmp(m->type, "sysfs") == 0)
		return cr->new_net || engine.confined;
	return words_have(always, ARRAY_SIZE(always), m->type);
}

/* In place of a new mount, one that there is already, with these attributes. */
static int make_copy(int dirfd, const char *path, bool recursive, uint64_t set,
		     struct plan_mount *m, struct err *e)
{
	_cleanup_close_ int fd = mnt_clone(dirfd, path, recursive);
	int r = fd < 0 ? fd : mnt_set(fd, set, 0, MS_PRIVATE, recursive);

	if (r < 0)
		return err_sys(e, -r, "'%s' on '%s'", m->type, m->destination);
	m->fd = steal_fd(&fd);
	return 0;
}

/* Who may not mount a sysfs, being root of a user namespace only, has the one
 * that is there with all below it: read-only whatever was asked for, because
 * it is the engine's own and shows the engine's network. Never under
 * `defaults`, whose caller may mount one. */
static int copy_sysfs(struct create *cr, struct plan_mount *m, struct err *e)
{
	const uint64_t set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
			     MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

	if (cr->spec->defaults)
		return err_sys(e, EPERM, "'sysfs' on '%s'", m->destination);
	return make_copy(AT_FDCWD, "/sys", true, set | m->set, m, e);
}

/* A part of a new mount, which may be a file. */
static int take_part(struct plan_mount *m, struct err *e)
{
	struct stat st;
	int r = subdir_take(m, &m->fd, e);

	if (r == 0 && fstat(m->fd, &st) < 0)
		r = err_sys(e, errno, "mount '%s'", m->destination);
	m->is_file = r == 0 && !S_ISDIR(st.st_mode);
	return r;
}

static int make_mount(struct create *cr, struct plan_mount *m, struct err *e)
{
	const char *what = "";
	int fd;

	m->fd = -1;
	/* Nothing is below it yet: what is of all of it is of itself. */
	m->set = (m->set & ~m->rec_clear) | m->rec_set;
	/* A user namespace without a cgroup namespace may not mount the
	 * hierarchy, but have its own part of it. */
	if (m->special == MOUNT_CGROUP &&
	    (cr->plan->userns || engine.confined) &&
	    !(cr->isolated & CLONE_NEWCGROUP)) {
		if (cr->c->cgroup_fd >= 0)
			return make_copy(cr->c->cgroup_fd, "", false, m->set, m,
					 e);
		if (engine.confined && engine.cgroup_root >= 0)
			return make_copy(engine.cgroup_root, "", false,
					 m->set | MOUNT_ATTR_RDONLY, m, e);
	}
	if (is_childs(cr, m))
		return 0;
	if (m->special == MOUNT_DEV) {
		/* Only when all that is to be in it is there. */
		cr->plan->dev_readonly = m->set & MOUNT_ATTR_RDONLY;
		m->set &= ~(uint64_t)MOUNT_ATTR_RDONLY;
		fd = dev_make(cr, m, e);
		if (fd < 0)
			return fd;
	} else {
		fd = mnt_new(m->type, m->source, m->options, m->n_options,
			     m->set, &what);
		if (fd == -EPERM && strcmp(m->type, "sysfs") == 0)
			return copy_sysfs(cr, m, e);
		if (fd < 0)
			return err_sys(e, -fd, "'%s' on '%s': %s", m->type,
				       m->destination, what);
	}
	m->fd = fd;
	return m->subdir ? take_part(m, e) : 0;
}

/* In a user namespace without a group 5 gid=5 is refused; the terminals then
 * belong to group 0. */
static void adapt_devpts(const struct create *cr, struct plan_mount *m)
{
	const struct container *c = cr->c;
	size_t i;

	if (strcmp(m->type, "devpts") != 0 ||
	    map_id(c->gids.maps, c->gids.n, 5) >= 0)
		return;
	for (i = 0; i < m->n_options; i++)
		if (strcmp(m->options[i].key, "gid") == 0)
			m->options[i].value = "0";
}

/* What was mounted there before belongs to the container alone: made in its
 * namespaces, and no bind. */
static bool remounts_own(const struct plan *p, const struct plan_mount *m)
{
	const struct plan_mount *old = m;

	while (old-- > p->mounts)
		if (!old->remount &&
		    strcmp(old->destination, m->destination) == 0)
			return !old->bind && old->fd < 0;
	return false;
}

/* Words that do not go together. */
static int check_words(const struct create *cr, const struct plan_mount *m,
		       const struct oci_mount *om, struct err *e)
{
	bool own = om->n_uid_mappings || om->n_gid_mappings;
	int r = subdir_check(cr, m, e);

	if (r < 0)
		return r;

	/* Into a bind it would write into what is bound. */
	if (m->copy_up && (m->bind || strcmp(m->type, "tmpfs") != 0))
		return err_set(e, EINVAL,
			       "option 'tmpcopyup' of '%s' is for a "
			       "tmpfs",
			       m->destination);
	if ((m->source_nofollow || m->copy_link) && !m->bind)
		return err_set(e, EINVAL, "option '%s' of '%s' is for a bind",
			       m->copy_link ? "copy-symlink" : "src-nofollow",
			       m->destination);
	if (m->remount &&
	    (m->source_nofollow || m->target_nofollow || m->copy_link))
		return err_set(e, EINVAL, "a remount of '%s' looks at no link",
			       m->destination);
	if ((m->idmap || own) && !m->bind)
		return err_set(e, EINVAL,
			       "the ids of '%s' cannot be mapped: it "
			       "is no bind",
			       m->destination);
	if (m->idmap && !own && !cr->plan->userns)
		return err_set(e, EINVAL,
			       "option 'idmap' of '%s' needs "
			       "uidMappings and gidMappings: the container has "
			       "no user namespace",
			       m->destination);
	/* Options of a file system are the options of whoever else has it
	 * mounted. The kernel refuses that across user namespaces; here the
	 * reason is told. With "bind" they are ignored, as mount(2) does. */
	if (m->remount && m->n_options && !m->bind && cr->spec->defaults &&
	    !remounts_own(cr->plan, m))
		return err_set(e, EINVAL,
			       "option '%s' of '%s' would change a file system "
			       "that is not the container's own",
			       m->options[0].key, m->destination);
	return 0;
}

/* Below "/", whatever it is relative to, without what says nothing; ".." goes
 * back by the text, as the configuration's writer means it. Where links lead is
 * up to the lookup, which stays inside. */
static char *clean_path(struct plan *p, const char *path)
{
	char *out = arena_alloc(p->arena, strlen(path) + 2, 1);
	size_t len = 0, n;

	if (!out)
		return NULL;
	for (; *path; path += n) {
		path += strspn(path, "/");
		n = strcspn(path, "/");
		if (n == 0 || (n == 1 && path[0] == '.'))
			continue;
		if (n == 2 && path[0] == '.' && path[1] == '.') {
			while (len > 0 && out[--len] != '/')
				continue;
			continue;
		}
		out[len++] = '/';
		memcpy(out + len, path, n);
		len += n;
	}
	if (len == 0)
		out[len++] = '/';
	out[len] = '\0';
	return out;
}

/* A mount in the place of the root: what was mounted before it, and is masked
 * later, would be covered by it, so nothing is before it. Where others have
 * the mount namespace one root is attached and taken away again. */
static int check_root(const struct create *cr, const struct plan_mount *m,
		      struct err *e)
{
	const struct plan *p = cr->plan;
	const char *why = NULL;

	if (cr->spec->defaults)
		why = "not here";
	else if (p->chroot)
		why = "not in a joined mount namespace";
	else if (p->n_mounts > 0 && p->mounts[p->n_mounts - 1].destination[1])
		why = "only before all other mounts";
	else if (m->copy_link)
		why = "not by a link";
	return why ? err_set(e, EINVAL, "cannot mount over '%s': %s",
			     m->destination, why)
		   : 0;
}

static int add_mount(struct create *cr, const struct oci_mount *om,
		     const char *destination, struct err *e)
{
	struct plan *p = cr->plan;
	struct plan_mount *m;
	int r;

	m = &p->mounts[p->n_mounts];
	m->fd = -1;
	m->destination = destination;
	m->type = plan_strdup(p, om->type ? om->type : "none");
	m->source = om->source ? plan_strdup(p, om->source) : NULL;
	if (!m->type || (om->source && !m->source))
		return err_sys(e, ENOMEM, "mount");
	r = mount_words_parse(p, m, om->options, e);
	if (r < 0)
		return r;
	if (!m->destination[1] && !m->remount) {
		r = check_root(cr, m, e);
		if (r < 0)
			return r;
	}
	if (strcmp(m->type, "bind") == 0)
		m->bind = true;
	/* What the specification calls "cgroup" is version 2 here. */
	if (strcmp(m->type, "cgroup") == 0)
		m->type = "cgroup2";
	if (strcmp(m->type, "cgroup2") == 0)
		m->n_options = 0;
	m->special = special_of(m);
	adapt_devpts(cr, m);
	p->n_mounts++;
	r = check_words(cr, m, om, e);
	if (r < 0 || m->remount)
		return r;
	r = m->bind ? make_bind(cr, m, e) : make_mount(cr, m, e);
	if (r < 0 || m->link || (!om->n_uid_mappings && !om->n_gid_mappings))
		return r;
	/* Mapped as it says itself, not as the container is. */
	m->idmap = false;
	return mount_map_own(cr, m, om, e);
}

/* What a container has under `defaults` where the configuration is silent. */
static const char *no_exec[] = {"nosuid", "noexec", "nodev", NULL};
static const char *no_exec_ro[] = {"nosuid", "noexec", "nodev", "ro", NULL};
static const char *dev_options[] = {"nosuid",	"noexec",   "strictatime",
				    "mode=755", "size=64k", NULL};
static const char *pts_options[] = {
	"nosuid",    "noexec", "newinstance", "ptmxmode=0666",
	"mode=0620", "gid=5",  NULL};
static const char *shm_options[] = {"nosuid",	 "noexec",   "nodev",
				    "mode=1777", "size=64m", NULL};
static const struct oci_mount default_mounts[] = {
	{"/proc", "proc", "proc", no_exec, NULL, NULL, 0, 0},
	{"/dev", "tmpfs", "tmpfs", dev_options, NULL, NULL, 0, 0},
	{"/dev/pts", "devpts", "devpts", pts_options, NULL, NULL, 0, 0},
	{"/dev/shm", "tmpfs", "shm", shm_options, NULL, NULL, 0, 0},
	{"/dev/mqueue", "mqueue", "mqueue", no_exec, NULL, NULL, 0, 0},
	{"/sys", "sysfs", "sysfs", no_exec_ro, NULL, NULL, 0, 0},
	{"/sys/fs/cgroup", "cgroup", "cgroup", no_exec_ro, NULL, NULL, 0, 0},
};

static bool is_remount(const struct oci_mount *om)
{
	size_t i;

	for (i = 0; om->options && om->options[i]; i++)
		if (strcmp(om->options[i], "remount") == 0)
			return true;
	return false;
}

/* Does the configuration itself mount something there? */
static bool has_destination(const struct oci_runtime *config,
			    const char *const *destinations, const char *path)
{
	size_t i;

	for (i = 0; i < config->n_mounts; i++)
		if (strcmp(destinations[i], path) == 0 &&
		    !is_remount(&config->mounts[i]))
			return true;
	return false;
}

/* /dev is always ours: there is no other place where nodes could be made that
 * the image has no say in (CVE-2025-31133). */
static int add_missing(struct create *cr, const char *const *destinations,
		       struct err *e)
{
	size_t i;
	int r;

	for (i = 0; i < ARRAY_SIZE(default_mounts); i++) {
		const struct oci_mount *m = &default_mounts[i];

		if (has_destination(cr->config, destinations, m->destination) ||
		    (!cr->spec->defaults && strcmp(m->destination, "/dev")))
			continue;
		r = add_mount(cr, m, m->destination, e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* The configuration's destinations, cleaned. */
static const char **clean_destinations(struct create *cr)
{
	const struct oci_runtime *config = cr->config;
	const char **list = arena_alloc(cr->plan->arena, config->n_mounts + 1,
					sizeof(*list));
	size_t i;

	for (i = 0; list && i < config->n_mounts; i++) {
		list[i] = clean_path(cr->plan, config->mounts[i].destination);
		if (!list[i])
			return NULL;
	}
	return list;
}

static int add_one(struct create *cr, const char *const *destinations, size_t i,
		   struct err *e)
{
	if (add_mount(cr, &cr->config->mounts[i], destinations[i], e) < 0)
		return err_wrap(e, "mounts[%zu]", i);
	return 0;
}

int plan_mounts(struct create *cr, struct err *e)
{
	struct plan *p = cr->plan;
	const char **destinations;
	size_t i;
	int r = 0;

	if (cr->config->n_mounts > HYB_MOUNTS_MAX)
		return err_set(e, E2BIG, "mounts: more than %d",
			       HYB_MOUNTS_MAX);
	p->mounts = arena_alloc(
		p->arena, cr->config->n_mounts + ARRAY_SIZE(default_mounts),
		sizeof(*p->mounts));
	destinations = clean_destinations(cr);
	if (!p->mounts || !destinations)
		return err_sys(e, ENOMEM, "mounts");
	/* Roots are before what is missing. */
	for (i = 0; r == 0 && i < cr->config->n_mounts; i++) {
		if (destinations[i][1] || is_remount(&cr->config->mounts[i]))
			break;
		r = add_one(cr, destinations, i, e);
	}
	if (r == 0 && add_missing(cr, destinations, e) < 0)
		r = err_wrap(e, "mounts");
	for (; r == 0 && i < cr->config->n_mounts; i++)
		r = add_one(cr, destinations, i, e);
	return r;
}
