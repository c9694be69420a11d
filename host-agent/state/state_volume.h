/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes in the store: what there is, and who uses it. A use is written
 * before the disk is attached and removed after the VM (or the disk) is gone:
 * so no crash of hybd gives a volume to a second writer.
 */
#ifndef HYB_HOST_AGENT_STATE_STATE_VOLUME_H
#define HYB_HOST_AGENT_STATE_STATE_VOLUME_H

#include "host-agent/state/state.h"

struct state_volume {
	int64_t id; /* never used twice */
	char tenant[STATE_NAME_MAX];
	char stack[STATE_NAME_MAX]; /* "": made by hand, no stack's own */
	char name[STATE_NAME_MAX];
	char uuid[37]; /* of its file system */
	int64_t size;  /* bytes that it is to have */
	int64_t made;  /* bytes that its file has; 0: not made yet */
	bool deleting; /* to be removed as soon as nobody uses it */
	int64_t created_at;
};

struct state_volume_use {
	int64_t volume_id, vm_id;
	bool writes;
};

/* -ENOENT (without a message): none. */
int state_volume_find(struct state *s, const char *tenant, const char *stack,
		      const char *name, struct state_volume *ret,
		      struct err *e);
/* A new row for *v, which gets its id. */
int state_volume_add(struct state *s, struct state_volume *v, struct err *e);
/* Writes size, made and deleting. */
int state_volume_put(struct state *s, const struct state_volume *v,
		     struct err *e);
int state_volume_remove(struct state *s, int64_t id, struct err *e);
/* All of them, ordered; the caller frees *ret. */
int state_volume_list(struct state *s, struct state_volume **ret, size_t *ret_n,
		      struct err *e);

struct state_snapshot {
	int64_t id; /* of the volumes' numbers */
	int64_t volume_id;
	char name[STATE_NAME_MAX];
	int64_t size;
	bool made; /* its file is whole */
	int64_t created_at;
};

/* A new row, not made yet, which gets its id; -EEXIST: the name is taken. */
int state_snapshot_add(struct state *s, struct state_snapshot *snap,
		       struct err *e);
/* Its file is whole, or (made false) about to go. */
int state_snapshot_made(struct state *s, int64_t id, bool made, struct err *e);
int state_snapshot_remove(struct state *s, int64_t id, struct err *e);
/* Of one volume (0: of all); the caller frees *ret. */
int state_snapshot_list(struct state *s, int64_t volume_id,
			struct state_snapshot **ret, size_t *ret_n,
			struct err *e);

/* One VM that writes, or any number that read. -EBUSY: *ret_holder (a VM's id)
 * is in the way. A VM that has it already may claim it again. */
int state_volume_claim(struct state *s, int64_t id, int64_t vm_id, bool writes,
		       int64_t *ret_holder, struct err *e);
int state_volume_release(struct state *s, int64_t id, int64_t vm_id,
			 struct err *e);
/* All uses, or those of one volume (0: all); the caller frees *ret. */
int state_volume_uses(struct state *s, int64_t id,
		      struct state_volume_use **ret, size_t *ret_n,
		      struct err *e);

#endif
