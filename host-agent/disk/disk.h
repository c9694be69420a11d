/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disk images of whole operating systems, and the machines made from them.
 *
 * ROOT/disks/TENANT/NAME.raw is an imported disk: 0444, root's, never changed
 * once it is there (a folder that only root can enter holds it). A machine is
 * what one VM made of it: ROOT/machines/TENANT.STACK.VM/ holds a second link
 * to the disk (so that removing or replacing the import changes nothing for a
 * machine that exists) and an overlay in qcow2 form with all that the VM has
 * written. It lives as long as the VM is declared: through stops, restarts and
 * crashes, until `down`.
 * With UEFI firmware it has a file of that one's variables too.
 *
 * Formats are named by the caller and never guessed, neither here nor by QEMU.
 * A qcow2 image is a stranger's: its header is checked here (no backing file,
 * no external data file, no encryption), and qemu-img reads it as a uid of its
 * own that owns nothing else, without network, privileges or many resources.
 */
#ifndef HYB_HOST_AGENT_DISK_DISK_H
#define HYB_HOST_AGENT_DISK_DISK_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Of a disk as the guest sees it. */
#define DISK_SIZE_MIN ((uint64_t)1 << 20)
#define DISK_SIZE_MAX ((uint64_t)2 << 40)
#define DISK_NAME_MAX 64

enum disk_format { DISK_RAW, DISK_QCOW2, DISK_FORMAT_MAX };

const char *disk_format_name(enum disk_format f);
/* "raw" or "qcow2": 0 or -EINVAL. */
int disk_format_parse(const char *s, enum disk_format *ret);

struct disk_store;

/* Who counts disks; both may be NULL, then nobody does. */
struct disk_quota {
	/* There is to be a disk that takes so many bytes. is_new: asked before
	 * anything of it is there: -EDQUOT, -EEXIST. Else it is told only. */
	int (*hold)(void *arg, const char *tenant, const char *name,
		    uint64_t bytes, bool is_new, struct err *e);
	/* It is gone. */
	int (*drop)(void *arg, const char *tenant, const char *name,
		    struct err *e);
	void *arg;
};

struct disk_store_config {
	const char *root; /* hybd's */
	/* qemu-img's, of nobody else: n_uids from there on (0: one), in turns,
	 * so that one import is nothing to another. */
	uid_t uid;
	unsigned int n_uids;
	gid_t gid;
	struct disk_quota quota;
};

/* Opens ROOT/disks and ROOT/machines, made if missing; what an interrupted
 * import left is removed, and each disk that is there is told to the quota. */
int disk_store_open(const struct disk_store_config *c, struct disk_store **ret,
		    struct err *e);
void disk_store_close(struct disk_store *s);

struct disk_info {
	char tenant[DISK_NAME_MAX];
	char name[DISK_NAME_MAX];
	uint64_t size;	    /* bytes, as the guest sees it */
	uint64_t allocated; /* bytes that it takes of the host's disk */
	int64_t created_at; /* ns of CLOCK_REALTIME */
};

/* Told of bytes done of total; another result than 0 ends the import. */
typedef int (*disk_progress)(void *arg, const char *phase, uint64_t done,
			     uint64_t total);

/*
 * Takes the regular file fd (read from its start) as a disk of this name.
 * -EEXIST: there is one. -EINVAL: not of that format, or a kind of qcow2 that
 * is not taken. -EFBIG: larger than DISK_SIZE_MAX. -EDQUOT. It is whole or not
 * there, whenever this process is killed.
 */
int disk_import(struct disk_store *s, const char *tenant, const char *name,
		int fd, enum disk_format format, disk_progress progress,
		void *arg, struct disk_info *ret, struct err *e);
/* -ENOENT. */
int disk_get(struct disk_store *s, const char *tenant, const char *name,
	     struct disk_info *ret, struct err *e);
/* All disks of a tenant by name; *ret is freed with free(). */
int disk_list(struct disk_store *s, const char *tenant, struct disk_info **ret,
	      size_t *ret_n, struct err *e);
/* Machines made from it keep it. -ENOENT. */
int disk_remove(struct disk_store *s, const char *tenant, const char *name,
		struct err *e);

/* ------------------------------------------------------------- machines */

struct disk_machine {
	char base[512];	   /* paths on the host */
	char overlay[512]; /* owned by uid, 0600 */
	char nvram[512];   /* the same; "": it has none */
};

/*
 * The machine of a VM (whose name is TENANT.STACK.VM), made from the disk if
 * it is not there yet, its files given to uid. One that was made from a disk
 * of another name is thrown away and made anew: whoever declared that was told
 * that it deletes data. vars: the file that its firmware's variables begin as;
 * NULL: it has none.
 */
int disk_machine_prepare(struct disk_store *s, const char *tenant,
			 const char *machine, const char *disk,
			 const char *vars, uid_t uid, gid_t gid,
			 struct disk_machine *ret, struct err *e);
/* Removes it with all that the VM wrote. One that is not there: success. */
int disk_machine_remove(struct disk_store *s, const char *machine,
			struct err *e);
/* Calls fn with each machine's name. */
int disk_machine_each(struct disk_store *s,
		      void (*fn)(void *arg, const char *machine), void *arg,
		      struct err *e);

/* ------------------------------------------------- for the tests: qcow2.c */

/* Checks the first bytes of a qcow2 file (QEMU's docs/interop/qcow2.txt):
 * version 2 or 3, no backing file, no external data file, no encryption, not
 * marked corrupt. *ret_size: the disk's size. -EINVAL or -EFBIG. */
int qcow2_check(const unsigned char *header, size_t len, uint64_t *ret_size,
		struct err *e);
#define QCOW2_HEADER_MAX 104

#endif
