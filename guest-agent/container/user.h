/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a process is, from the text of an image's USER and the root file
 * system's /etc/passwd and /etc/group, both written by whoever made the image.
 *
 * A user or group that is a number (the whole string, 0 ... 2^31-1) is that
 * number and never looked up as a name; its line in /etc/passwd, found by the
 * number, still gives the primary group and the home.
 */
#ifndef HYB_GUEST_CONTAINER_USER_H
#define HYB_GUEST_CONTAINER_USER_H

#include "common/base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Most bytes of either file that are read. */
#define HYB_PASSWD_MAX	    (1024u * 1024u)
#define HYB_USER_GROUPS_MAX 256

struct user {
	uid_t uid;
	gid_t gid;
	gid_t groups[HYB_USER_GROUPS_MAX];
	size_t n_groups;
	char home[256]; /* "" where nothing is known */
};

/* text: "", "name", "uid", "name:group", "uid:gid"... "" is uid 0. rootfd:
 * the root file system. -EINVAL: no such user, or not a user at all. */
int user_resolve(int rootfd, const char *text, struct user *ret, struct err *e);
/* The same from the texts of the two files, which are cut into pieces. */
int user_find(char *passwd, char *group, const char *text, struct user *ret,
	      struct err *e);
/* Only the home of a uid: "" where /etc/passwd does not have it. */
void user_find_home(int rootfd, uid_t uid, char *home, size_t size);

#endif
