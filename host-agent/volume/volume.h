/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes: a sparse raw file each, ROOT/volumes/TENANT/vol-ID.raw, with an
 * ext4 in it that mke2fs made as a user without rights and that no kernel but
 * a guest's ever mounts.
 *
 * Theory of operation. The row comes first: an id is given out once, so a file
 * of that name is ours or a stranger's, never another volume's. `made` in the
 * row says how large the file has been made; 0, that it has to be made (again).
 * A file that was made is never made again: one that is gone, or is not what
 * was made, is an error that says so.
 *
 * Two locks keep a second writer out. The row of a use, written before the disk
 * is attached and removed after its VM is gone, holds across crashes of hybd;
 * and QEMU's lock on the file, asked for before it is attached, holds for as
 * long as any QEMU has it open, whatever a state put back from a backup says.
 *
 * While it is in use a volume belongs to the uid of the VM that writes to it,
 * or may be read by all (its folder is root's alone: QEMU reaches it by a link
 * in the VM's own folder).
 */
#ifndef HYB_HOST_AGENT_VOLUME_VOLUME_H
#define HYB_HOST_AGENT_VOLUME_VOLUME_H

#include "host-agent/state/state_volume.h"

struct volume_store;

struct volume_config {
	const char *root;
	struct state *state;
	uid_t mkfs_uid; /* mke2fs runs as it */
	uid_t vm_uid_base, vm_uid_count;
};

/* As in state/: at most this long. */
#define VOLUME_PATH_MAX	     400
#define VOLUME_SERIAL_PREFIX "vol-"

int volume_store_open(const struct volume_config *c, struct volume_store **ret,
		      struct err *e);

/* Has the tenant such a volume? *ret, or -ENOENT with a message. */
int volume_find(struct volume_store *s, const char *tenant, const char *stack,
		const char *name, struct state_volume *ret, struct err *e);
/* Makes it, or makes it larger as far as that can be done while nobody uses it
 * (the rest is the VM's actor's). -EOPNOTSUPP: it would shrink. -ENOSPC: the host
 * has not so much. *ret_changed (may be NULL): 1 made, 2 grown, 0 neither. */
int volume_ensure(struct volume_store *s, const char *tenant, const char *stack,
		  const char *name, uint64_t size, int *ret_changed,
		  struct err *e);
/* Another one whenever a volume may have been made larger; never 0. */
uint64_t volume_generation(struct volume_store *s);
/* What volume_ensure() would do, and nothing more. */
int volume_would(struct volume_store *s, const char *tenant, const char *stack,
		 const char *name, uint64_t size, int *ret_changed,
		 struct state_volume *ret, struct err *e);

/* Claims it for the VM and makes the file ready for its uid; path: what to
 * attach. -EBUSY: *ret_holder has it (0: a process that no row speaks of). */
int volume_attach(struct volume_store *s, struct state_volume *v, int64_t vm_id,
		  uid_t uid, bool writes, char path[VOLUME_PATH_MAX],
		  int64_t *ret_holder, struct err *e);
/* The disk of that VM has gone, or was never attached. */
int volume_detached(struct volume_store *s, int64_t id, int64_t vm_id,
		    struct err *e);
/* The VM is gone: so are its uses. */
int volume_release_vm(struct volume_store *s, int64_t vm_id, struct err *e);
/* Its file has this size now, and its file system. */
int volume_grown(struct volume_store *s, const struct state_volume *v,
		 struct err *e);

/* Is to go as soon as nobody uses it: on disk from then on. */
int volume_mark(struct volume_store *s, const struct state_volume *v,
		struct err *e);
/* Removes what is marked and not in use; what fails is logged. */
void volume_reap(struct volume_store *s);
/* Removes it now. -EBUSY: it is in use. */
int volume_remove(struct volume_store *s, const struct state_volume *v,
		  struct err *e);

/* While a copy is made of a volume nobody may write to it (or, of one that is
 * restored or imported, use it): that is a use, by a VM that is none. Each copy
 * has a number of its own, so that the end of one is not the end of another. */
static inline bool volume_is_copy(int64_t vm_id)
{
	return vm_id < 0;
}

/* Stops the writer of a volume that is in use, and lets it go on; freeze without
 * thaw where it failed. */
struct volume_quiet {
	int (*freeze)(void *arg, struct err *e);
	int (*thaw)(void *arg, struct err *e);
	void *arg;
};

/* A copy of the whole volume as it is now: a reflink where the file system has
 * them, else its data without the holes. quiet NULL: nobody may write to it
 * (-EBUSY). Killed in between: the next start takes it away. */
int volume_snapshot(struct volume_store *s, const struct state_volume *v,
		    const char *name, const struct volume_quiet *quiet,
		    struct err *e);
/* The volume is what it was then, also where its file has gone; its size stays.
 * -EBUSY: it is in use. */
int volume_restore(struct volume_store *s, const struct state_volume *v,
		   const char *name, struct err *e);
int volume_snapshot_remove(struct volume_store *s, const struct state_volume *v,
			   const char *name, struct err *e);
/* All snapshots of a volume that goes; before its row. */
int volume_snapshots_remove(struct volume_store *s,
			    const struct state_volume *v, struct err *e);
/* At the start, with the uses of what is gone taken away: removes what was not
 * finished, and what is marked. What fails is logged. */
void volume_purge(struct volume_store *s);

struct volume_info {
	uint64_t allocated; /* bytes that it takes on the host */
	char path[VOLUME_PATH_MAX];
	char problem[256]; /* "" : the file is as it should be */
};
void volume_look(struct volume_store *s, const struct state_volume *v,
		 struct volume_info *ret);
/* A scratch disk: DIR/NAME, a new sparse file of `size` bytes with an empty ext4
 * without a journal and with project quotas, which belongs to uid; over whatever
 * had that name. The first of a size runs mke2fs, whose result is the template
 * of all others. Nothing of it need survive: it is not synced. */
int volume_scratch_make(struct volume_store *s, const char *dir,
			const char *name, uint64_t size, uid_t uid,
			struct err *e);

/* Name for messages: "stack/name" or "name". */
const char *volume_format(const struct state_volume *v, char out[136]);
void volume_serial(int64_t id, char out[24]);

/* volume_copy.c: files for a VM that reads a volume out or fills a new one. */
struct volume_copy {
	struct volume_store *store;
	struct state_volume v;
	int64_t holder;		    /* of its use; 0: none */
	struct state_snapshot own;  /* a copy for this alone; id 0: none */
	char path[VOLUME_PATH_MAX]; /* what to attach */
	char serial[24];
	bool writes; /* to be attached for writing */
};

/* The volume (or, not NULL, its snapshot) as it is now, for the VM of this uid;
 * until volume_export_end() nobody writes to what is read. quiet: stops the
 * writer of one that is in use (a copy is made); NULL: nobody may write to it
 * (-EBUSY). Killed in between: the next start takes it back. */
int volume_export_begin(struct volume_store *s, const struct state_volume *v,
			const char *snapshot, const struct volume_quiet *quiet,
			uid_t uid, struct volume_copy *ret, struct err *e);
void volume_export_end(struct volume_copy *c);

/* A new volume, which is none until volume_import_commit(): whatever happens
 * before, it goes, at the latest at the next start. -EEXIST: there is one. */
int volume_import_begin(struct volume_store *s, const char *tenant,
			const char *name, uint64_t size, uid_t uid,
			struct volume_copy *ret, struct err *e);
/* The VM that filled it is gone. */
int volume_import_commit(struct volume_copy *c, struct err *e);
void volume_import_abort(struct volume_copy *c);

#endif
