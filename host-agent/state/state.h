/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hybd must not forget, in SQLite (WAL, synchronous=FULL): the desired
 * stacks, the VMs and containers made for them, the users' stops, and the
 * counters that give out ids. A row is written before the thing it stands for
 * is made, and removed after it is gone, so that a hybd that was killed finds
 * all that there may be.
 *
 * One connection, one lock: every call is one transaction, from any thread.
 */
#ifndef HYB_HOST_AGENT_STATE_STATE_H
#define HYB_HOST_AGENT_STATE_STATE_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define STATE_NAME_MAX 64
/* All published ports of a VM as text: 48 of the longest. */
#define STATE_PORTS_MAX 4096

struct state;

/* Opens or makes the store at path. A store that is damaged, or written by a
 * newer hyb, is refused with a message that says so; nothing is changed. */
int state_open(const char *path, struct state **ret, struct err *e);
void state_close(struct state *s);

/* ------------------------------------------------------------- stacks */

struct state_stack {
	char tenant[STATE_NAME_MAX];
	char name[STATE_NAME_MAX];
	char *desired; /* canonical JSON of the model; owned */
	int64_t generation;
};

struct quota_use;

/* Makes this what is wanted of the stack; returns its new generation. use:
 * what it takes of its tenant's quota; -EDQUOT (state_tenant.h). */
int state_stack_put(struct state *s, const char *tenant, const char *name,
		    const char *desired, const struct quota_use *use,
		    int64_t *ret_generation, struct err *e);
/* Forgets the stack; VMs' rows stay until they are removed. */
int state_stack_remove(struct state *s, const char *tenant, const char *name,
		       struct err *e);
/* Calls fn for each; the struct is the callee's to read only. */
int state_stack_each(struct state *s,
		     int (*fn)(void *arg, const struct state_stack *st),
		     void *arg, struct err *e);

/* ---------------------------------------------------------------- VMs */

struct state_vm {
	int64_t id; /* never used twice */
	char tenant[STATE_NAME_MAX];
	char stack[STATE_NAME_MAX];
	char name[STATE_NAME_MAX];
	char uuid[37];
	char instance[33]; /* what the guest is claimed with */
	char *applied;	   /* model JSON it was made from; owned; NULL: none */
	bool user_stopped;
	/* It is (to be) there: from before the domain is made until after it
	 * is destroyed. */
	bool exists;
	char reason[32]; /* of its last end */
	char message[512];
	uint32_t restarts;
	int64_t created_at; /* ns of CLOCK_REALTIME; 0: never */
	int64_t started_at;
	int64_t portd_pid; /* 0: none */
	uint64_t portd_start;
	char ports[STATE_PORTS_MAX]; /* what portd was started with */
	/* A user asked that the VM with this id be made anew: once it has
	 * another id, that is done. 0: nobody did. */
	int64_t restart_of;
	/* In its tenant's network; 0: it was never in one. */
	uint32_t net_number;
};

/* Gives the VM of this name a row with a new id, or finds its row. */
int state_vm_ensure(struct state *s, const char *tenant, const char *stack,
		    const char *name, struct state_vm *ret, struct err *e);
/* An id, a UUID and an instance for a VM without a row: one that the next start
 * takes for nobody's. */
int state_vm_number(struct state *s, struct state_vm *ret, struct err *e);
/* Gives it a new id (uid, CID, folder) before it is made again: *vm is
 * updated, its containers' rows move along. */
int state_vm_renew(struct state *s, struct state_vm *vm, struct err *e);
/* Writes all fields but the key. */
int state_vm_put(struct state *s, const struct state_vm *vm, struct err *e);
/* With its containers. */
int state_vm_remove(struct state *s, int64_t id, struct err *e);
int state_vm_each(struct state *s,
		  int (*fn)(void *arg, const struct state_vm *vm), void *arg,
		  struct err *e);
void state_vm_done(struct state_vm *vm);

/* --------------------------------------------------------- containers */

struct state_container {
	int64_t vm_id;
	char name[STATE_NAME_MAX];
	char *applied; /* model JSON it was made from; owned; NULL: none */
	char digest[80];
	bool user_stopped;
	bool user_paused; /* this incarnation; ends with it */
	char state[16];	  /* last known, as `ps` shows it */
	char reason[32];
	char message[512];
	int64_t exit_code; /* -1: none */
	uint32_t restarts;
	int64_t created_at;
	int64_t started_at;
	int64_t finished_at;
	/* Which making of it this is: its id in the guest is NAME.INCARNATION */
	int64_t incarnation;
	/* A user asked that this incarnation be replaced: once there is a
	 * later one, that is done. 0: nobody did. */
	int64_t restart_of;
	/* Bytes of output before this incarnation's first. */
	uint64_t log_base;
};

int state_container_put(struct state *s, const struct state_container *c,
			struct err *e);
int state_container_remove(struct state *s, int64_t vm_id, const char *name,
			   struct err *e);
int state_container_each(struct state *s, int64_t vm_id,
			 int (*fn)(void *arg, const struct state_container *c),
			 void *arg, struct err *e);
void state_container_done(struct state_container *c);

#endif
