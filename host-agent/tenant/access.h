/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may act for which tenant. Root for all. Another user must be of the
 * group that the socket belongs to; then for the tenants whose `access` names
 * them or one of their groups, and where none does, for `default`.
 */
#ifndef HYB_HOST_AGENT_TENANT_ACCESS_H
#define HYB_HOST_AGENT_TENANT_ACCESS_H

#include "host-agent/model/tenant.h"

#include <sys/types.h>

#define ACCESS_GROUPS_MAX 1024

/* Who is at the other end of a connection: as it was when it was made. */
struct peer {
	uid_t uid;
	gid_t groups[ACCESS_GROUPS_MAX]; /* the first: its own */
	size_t n_groups;
};

/* From the socket's SO_PEERCRED and SO_PEERGROUPS. -errno. */
int peer_of_socket(int fd, struct peer *ret);
bool peer_is_in(const struct peer *p, const char *group);
/* Does the tenant's `access` name the peer? (Root: not asked.) 1, 0, or -errno
 * where that cannot be told: then it must not be taken for a no, which leads to
 * `default`. */
int access_names(const struct model_tenant *t, const struct peer *p);
/* May its images be this one, as the manifest or the command names it? */
bool access_image(const struct model_tenant *t, const char *reference);

#endif
