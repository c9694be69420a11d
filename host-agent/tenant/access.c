/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/tenant/access.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <fnmatch.h>
#include <grp.h>
#include <pwd.h>
#include <sys/socket.h>

#define LOOKUP_BYTES	 ((size_t)16384)
#define LOOKUP_BYTES_MAX ((size_t)4 << 20) /* a group's many members */

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
	/* More groups than fit, or a kernel that does not tell: the host's lists
	 * are asked as well. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, &ret->groups[1], &len) ==
	    0)
		ret->n_groups += len / sizeof(ret->groups[0]);
	return 0;
}

/* 1: there is such a group, 0: there is none. -errno: that cannot be told. The
 * caller frees *ret_buf, in which its members' names are. */
static int find_group(const char *name, struct group *ret, char **ret_buf)
{
	struct group *found = NULL;
	size_t size = LOOKUP_BYTES;
	int r;

	do {
		free(*ret_buf);
		*ret_buf = malloc(size);
		if (!*ret_buf)
			return -ENOMEM;
		r = getgrnam_r(name, ret, *ret_buf, size, &found);
		size *= 4;
	} while (r == ERANGE && size <= LOOKUP_BYTES_MAX);
	if (r != 0 && r != ENOENT && r != ESRCH)
		return -r;
	return found != NULL;
}

static bool has_group(const struct peer *p, gid_t gid)
{
	size_t i;

	for (i = 0; i < p->n_groups; i++)
		if (p->groups[i] == gid)
			return true;
	return false;
}

bool peer_is_in(const struct peer *p, const char *group)
{
	_cleanup_free_ char *buf = NULL;
	struct group gr;

	return find_group(group, &gr, &buf) > 0 && has_group(p, gr.gr_gid);
}

/* Is the user of the group by the host's own lists? */
static int is_listed(const struct peer *p, const struct group *gr)
{
	struct passwd pw, *found = NULL;
	char buf[LOOKUP_BYTES];
	char **m;
	int r = getpwuid_r(p->uid, &pw, buf, sizeof(buf), &found);

	if (r != 0 && r != ENOENT && r != ESRCH)
		return -r;
	if (!found)
		return 0;
	if (pw.pw_gid == gr->gr_gid)
		return 1;
	for (m = gr->gr_mem; *m; m++)
		if (strcmp(*m, pw.pw_name) == 0)
			return 1;
	return 0;
}

/* By what the kernel says or by the lists: who drops a group, as one may in a
 * user namespace, or has more than are told, must not end in `default`, which
 * may do more. */
static int is_member(const struct peer *p, const char *group)
{
	_cleanup_free_ char *buf = NULL;
	struct group gr;
	int r = find_group(group, &gr, &buf);

	if (r <= 0)
		return r;
	return has_group(p, gr.gr_gid) ? 1 : is_listed(p, &gr);
}

static int is_user(const struct peer *p, const char *name)
{
	struct passwd pw, *found = NULL;
	char buf[LOOKUP_BYTES];
	int r = getpwnam_r(name, &pw, buf, sizeof(buf), &found);

	if (r != 0 && r != ENOENT && r != ESRCH)
		return -r;
	return found && pw.pw_uid == p->uid;
}

int access_names(const struct model_tenant *t, const struct peer *p)
{
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && t->users[i]; i++)
		r = is_user(p, t->users[i]);
	for (i = 0; r == 0 && t->groups[i]; i++)
		r = is_member(p, t->groups[i]);
	return r;
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
