/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HYB_HOST_AGENT_VOLUME_VOLUME_INT_H
#define HYB_HOST_AGENT_VOLUME_VOLUME_INT_H

#include "host-agent/volume/volume.h"

#include <pthread.h>
#include <stdatomic.h>

struct volume_store {
	char dir[256]; /* ROOT/volumes */
	struct state *state;
	uid_t mkfs_uid, vm_uid_base, vm_uid_count;
	pthread_mutex_t lock;
	atomic_uint_fast64_t generation; /* from 1 */
	int64_t last_copy; /* of the numbers of copies: -1, -2, ... */
};

/* volume_file.c; fd: the folder of the tenant */
int volume_dir(struct volume_store *s, const char *tenant, bool make,
	       struct err *e);
void volume_file_name(int64_t id, char out[32]);
/* Makes the file with its file system, over a half-made one of an earlier
 * crash; complete on disk when back. */
int volume_file_make(struct volume_store *s, const struct state_volume *v,
		     struct err *e);
/* The file, checked to be what was made; its descriptor. */
int volume_file_open(struct volume_store *s, const struct state_volume *v,
		     struct err *e);
/* Is in it the file system that was made for the volume? name: for messages. */
int volume_file_check_super(const struct state_volume *v, int fd,
			    const char *name, struct err *e);
/* -EBUSY: a process holds it. */
int volume_file_is_free(int fd, bool writes, struct err *e);
int volume_file_grow(struct volume_store *s, int fd, uint64_t size,
		     struct err *e);
/* Has what is in its file's place more bytes than that? */
bool volume_file_is_larger(struct volume_store *s, const struct state_volume *v,
			   int64_t size);
int volume_file_remove(struct volume_store *s, const struct state_volume *v,
		       struct err *e);
/* Does its journal have to be replayed by who mounts it? */
bool volume_file_is_unclean(int fd);

/* volume_snapshot.c */
/* A use by a copy, which gets its number; v is then as it is now. */
int volume_copy_claim(struct volume_store *s, struct state_volume *v,
		      bool writes, int64_t *ret_holder, struct err *e);
void volume_snapshot_file(int64_t id, char out[32]);
int volume_snapshot_find(struct volume_store *s, const struct state_volume *v,
			 const char *name, struct state_snapshot *ret,
			 struct err *e);
/* Its file, checked to be what was made, to be read. */
int volume_snapshot_open(struct volume_store *s, const struct state_volume *v,
			 const struct state_snapshot *snap, struct err *e);
/* Its file from that of `from`; the row is there, and stays unmade: as long as
 * it is, the next start takes both away. */
int volume_snapshot_fill(struct volume_store *s, const struct state_volume *v,
			 const struct state_snapshot *snap, int from,
			 const struct volume_quiet *quiet, struct err *e);
int volume_snapshot_drop(struct volume_store *s, const char *tenant,
			 const struct state_snapshot *snap, struct err *e);

int volume_space(const struct volume_store *s, uint64_t bytes, struct err *e);
/* Runs mke2fs as a user without rights; fds are its descriptors from 3 on. */
int volume_mke2fs(const struct volume_store *s, const char *const *argv,
		  const int *fds, size_t n_fds, struct err *e);

/* volume_snapshot.c: the data, not the holes. */
int volume_copy_sparse(int from, int to, off_t size);

#endif
