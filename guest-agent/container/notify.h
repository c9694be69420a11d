/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCMP_ACT_NOTIFY: the filter's listener on its way from the process that has
 * just installed the filter to the supervisor that answers its calls.
 */
#ifndef HYB_GUEST_CONTAINER_NOTIFY_H
#define HYB_GUEST_CONTAINER_NOTIFY_H

#include "common/base/arena.h"
#include "common/base/err.h"
#include "guest-agent/container/hooks.h"
#include "guest-agent/sys/seccomp.h"

#include <sys/types.h>

/* Longest that the supervisor may take to accept a connection and to take what
 * is sent. */
#define HYB_NOTIFY_MS 10000

/* Where the listener goes. All strings are of the arena. */
struct notify {
	const char *path; /* NULL: there is none */
	const char *metadata;
	const char *state; /* of the container, its status to be filled in */
};

/* From linux.seccomp, whose filter has a listener; state is that of the
 * container. The socket must be there. */
int notify_plan(struct arena *a, const struct oci_seccomp *config,
		const struct hook_state *state, struct notify *ret,
		struct err *e);
/* A connection to the supervisor. */
int notify_connect(const struct notify *n, struct err *e);
/* The container process state (config-linux, "The Container Process State") of
 * process pid over the connection, with the listener. status and first: the
 * container's and the pid of its first process. */
int notify_send(const struct notify *n, int sock, int listener, pid_t pid,
		const char *status, pid_t first, struct err *e);

/* The child's side: installs the filter, has its listener taken over the sync
 * socket and answered with GO; 0 or -errno. After the installation the calling
 * thread makes no system call. When the other side gives up, the process ends.
 * Allocates nothing. */
int notify_install(const struct seccomp_filter *f, int sock);

#endif
