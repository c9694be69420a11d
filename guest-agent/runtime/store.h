/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hyb-runtime remembers of a container between two commands: a folder
 * ROOT/ID with
 *   state.json   who it is (written whole, after it exists)
 *   config.json  the configuration that it was created with
 *   cgroup       where its cgroup is, until there is a state.json
 *   start        the socket that starts it, while it waits for that
 */
#ifndef HYB_GUEST_RUNTIME_STORE_H
#define HYB_GUEST_RUNTIME_STORE_H

#include "common/base/err.h"
#include "common/oci/runtime.h"
#include "guest-agent/container/container.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define HYB_RUNTIME_ROOT "/run/hyb-runtime"

struct store_state {
	char *id, *bundle, *cgroup, *rootfs, *erofs;
	bool defaults;
	bool hooks;    /* some of the configuration's run after create */
	bool listener; /* its filter has one: the start needs the configuration */
	uint32_t ids_base;
	pid_t pid;
	uint64_t start_time; /* of the process, in ticks: see proc_open() */
	uint64_t created_at;
	/* As of container_get_joined(); path is owned. */
	struct container_joined joined;
};

void store_state_done(struct store_state *s);

/* Makes ROOT/ID; -EEXIST when there is such a container. Its descriptor. */
int store_make(const char *root, const char *id, struct err *e);
/* Opens it; -ENOENT with "container 'ID' does not exist". */
int store_open(const char *root, const char *id, struct err *e);
int store_remove(const char *root, const char *id, struct err *e);

int store_write(const char *root, const struct store_state *s,
		const char *config, size_t config_len, struct err *e);
/* The text of state.json; -EINVAL: cut, changed, or not of this form. */
int store_parse(const char *text, size_t len, struct store_state *ret,
		struct err *e);
/* For whoever finds a creation that was killed: the cgroup that it may have
 * made ("": none, or there was one of that name, which is somebody else's),
 * owned by the caller. */
int store_note_cgroup(int dir, const char *cgroup, struct err *e);
int store_noted_cgroup(int dir, char **ret, struct err *e);
int store_read(int dir, struct store_state *ret, struct err *e);
int store_config(int dir, struct oci_runtime **ret, struct err *e);

/* The socket that starts a container: made, connected to, taken away. */
int store_listen(int dir, struct err *e);
int store_connect(int dir, struct err *e);
void store_started(int dir);

/* Whose it is: a name of /etc/passwd, or the uid. */
void store_owner(int dir, char *out, size_t size);

/* What the container is doing; *ret_pidfd its process, or -1. */
enum container_status store_status(int dir, const struct store_state *s,
				   int *ret_pidfd);

#endif
