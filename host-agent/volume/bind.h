/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binds: folders and files of the host that containers may have, where the operator
 * allows the path (docs/decisions/binds.md).
 *
 * What is checked is what is shared: it is opened once, below the
 * allowed path and through no symbolic link, and from then on it is that
 * descriptor. A tenant who can write below the path can swap what lies there;
 * he gets what he puts there, or an error.
 */
#ifndef HYB_HOST_AGENT_VOLUME_BIND_H
#define HYB_HOST_AGENT_VOLUME_BIND_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BIND_PATH_MAX  1024
#define BIND_ALLOW_MAX 32

/* What the operator allows; nothing to begin with. */
struct bind_allow {
	char path[BIND_PATH_MAX];
	bool writes;
};

struct bind_policy {
	struct bind_allow allow[BIND_ALLOW_MAX];
	size_t n;
	/* Ids of the host that no VM acts as, besides 0: hyb's own. */
	uid_t reserved_first, reserved_last;
	/* What takes the owner's place where nobody may act as him. */
	uid_t nobody;
};

/* "PATH" or "PATH:ro": to be read; "PATH:rw": to be written. -EINVAL: no such
 * text, or a place that is never shared ("/", /proc, /sys, /dev). */
int bind_policy_add(struct bind_policy *p, const char *text, struct err *e);
/* Several, with commas between them. */
int bind_policy_add_all(struct bind_policy *p, const char *text, struct err *e);
/* None of them may hold hyb's root or lie in it: -EINVAL. */
int bind_policy_check(const struct bind_policy *p, const char *root,
		      struct err *e);

struct bind_folder {
	int fd;	   /* O_PATH; -1: none */
	uid_t uid; /* as whom the container's root acts */
	gid_t gid;
};

/* Opens the folder or regular file for a bind. source is absolute and plain. -EPERM: it is not
 * allowed, or not like this (e and its hint say why); -ENOENT, -ENOTDIR, … . The
 * caller closes ret->fd. */
int bind_open(const struct bind_policy *p, const char *source, bool read_only,
	      struct bind_folder *ret, struct err *e);

#endif
