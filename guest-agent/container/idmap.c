/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idmapped mounts (mounts[].uidMappings, the options idmap and ridmap).
 *
 * The kernel takes the mapping as a user namespace. Where the mount says its
 * own, one is made for it (userns_make()). Where it does not, the container's
 * own is meant, which exists once the child does: the parent maps the detached
 * mount, which it shares with the child, before it lets the child go on.
 */
#include "guest-agent/container/internal.h"

#include "common/base/cleanup.h"

int mount_map_own(struct create *cr, struct plan_mount *m,
		  const struct oci_mount *om, struct err *e)
{
	_cleanup_close_ int userns = -1;
	struct id_maps uids, gids;
	int r;

	if (!om->n_uid_mappings || !om->n_gid_mappings)
		return err_set(e, EINVAL,
			       "'%s' needs uidMappings and gidMappings",
			       m->destination);
	r = id_maps_copy(cr->plan, om->uid_mappings, om->n_uid_mappings,
			 "uidMappings", &uids, e);
	if (r == 0)
		r = id_maps_copy(cr->plan, om->gid_mappings, om->n_gid_mappings,
				 "gidMappings", &gids, e);
	if (r < 0)
		return r;
	userns = userns_make(&uids, &gids, e);
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
