/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/tenant/access.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <fnmatch.h>
#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>

#define LOOKUP_BYTES 16384

int peer_of_socket(int fd, struct peer *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return -errno;
	ret->uid = cred.uid;
	ret->groups[0] = cred.gid;
	ret->n_groups = 1;
	len = sizeof(ret->groups) - sizeof(ret->groups[0]);
	/* More groups than fit, or a kernel that does not tell: fewer rights,
	 * never more. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, &ret->groups[1], &len) ==
	    0)
		ret->n_groups += len / sizeof(ret->groups[0]);
	return 0;
}

bool peer_is_in(const struct peer *p, const char *group)
{
	struct group gr, *found = NULL;
	char buf[LOOKUP_BYTES];
	size_t i;

	if (getgrnam_r(group, &gr, buf, sizeof(buf), &found) != 0 || !found)
		return false;
	for (i = 0; i < p->n_groups; i++)
		if (p->groups[i] == gr.gr_gid)
			return true;
	return false;
}

static bool is_user(const struct peer *p, const char *name)
{
	struct passwd pw, *found = NULL;
	char buf[LOOKUP_BYTES];

	return getpwnam_r(name, &pw, buf, sizeof(buf), &found) == 0 && found &&
	       pw.pw_uid == p->uid;
}

bool access_names(const struct model_tenant *t, const struct peer *p)
{
	size_t i;

	for (i = 0; t->users[i]; i++)
		if (is_user(p, t->users[i]))
			return true;
	for (i = 0; t->groups[i]; i++)
		if (peer_is_in(p, t->groups[i]))
			return true;
	return false;
}

bool access_image(const struct model_tenant *t, const char *reference)
{
	size_t i;

	if (!t->limits_images)
		return true;
	for (i = 0; t->images[i]; i++)
		if (fnmatch(t->images[i], reference, 0) == 0)
			return true;
	return false;
}
