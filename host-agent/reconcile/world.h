/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that hybd keeps running, and the actors that keep it so.
 *
 * Theory of operation
 *
 * The world has stacks, a stack has VMs, a VM has containers. One lock guards
 * all of these structs; one condition variable is signalled whenever something in
 * them changes. The lock is never held over I/O, but for writing rows: so the
 * store has them in the order in which they changed, and no stop that a user
 * asks for is overwritten by a row that its actor had read before.
 *
 * Who writes what: a VM's actor writes all of its VM and containers, and does
 * so under the lock; what only it writes it reads without. Requests write
 * (under the lock too) the wish (ref, desired, wanted, restart_at, backoff),
 * user_stopped and, of a container that has ended, state and backoff; libvirt's
 * events write died: these the actor reads under the lock. What is marked as
 * the actor's own nobody else touches.
 *
 * Each VM has an actor: a thread that alone makes, changes and unmakes that
 * VM and what is in it (so that a guest that hangs holds up itself only). It
 * is level-triggered: it compares what is wanted (vm->desired and the users'
 * stops) with what is there, does what plan/ says, and sleeps until a wish, a
 * guest's event, a timer or the end of its QEMU wakes it. A request (deploy,
 * stop, ...) writes the wish into the state store, then into the world, wakes
 * the actors concerned and waits on the condition variable until they have
 * settled it. Whether a request's client is still there changes nothing.
 *
 * Rows are written before what they stand for is made: see state/state.h.
 */
#ifndef HYB_HOST_AGENT_RECONCILE_WORLD_H
#define HYB_HOST_AGENT_RECONCILE_WORLD_H

#include "host-agent/disk/disk.h"
#include "host-agent/guest/agent.h"
#include "host-agent/image/stores.h"
#include "host-agent/model/check.h"
#include "host-agent/model/model.h"
#include "host-agent/net/net.h"
#include "host-agent/plan/plan.h"
#include "host-agent/secret/secret.h"
#include "host-agent/reconcile/logpump.h"
#include "host-agent/state/state.h"
#include "host-agent/virt/virt.h"
#include "host-agent/volume/bind.h"
#include "host-agent/volume/volume.h"

#include <pthread.h>
#include <stdatomic.h>

#define WORLD_VMS_MAX	     1024
#define WORLD_NETWORK_LOCKS  64
#define WORLD_CONTAINERS_MAX HYB_AGENT_CONTAINERS_MAX
/* Bytes of a container's output that its guest keeps until the host has them. */
#define WORLD_LOG_RING ((uint64_t)256 * 1024)

/* Image disks that a VM has ports for. */
#define WORLD_DISKS_MAX 16

/* As `hyb ps` shows it. */
enum ctr_state {
	CTR_PENDING,
	CTR_STARTING,
	CTR_RUNNING,
	CTR_PAUSED,
	CTR_STOPPING,
	CTR_STOPPED, /* by a user */
	CTR_EXITED,  /* by itself, with 0 */
	CTR_FAILED,
	CTR_STATE_MAX
};

struct ctr {
	struct state_container row;
	enum ctr_state state;
	bool in_guest; /* the agent knows it */
	char id[80];   /* in the guest: NAME.INCARNATION */
	int64_t pid;
	char why[160];	     /* what a pending one waits for */
	uint64_t restart_at; /* ms, monotonic; 0: not due */
	uint32_t backoff;    /* restarts in a row */
	int stop_signal;     /* of this incarnation; 0: not known yet */
	bool lost;	     /* ran when its VM ended */
	/* Of this incarnation, as the guest says. */
	enum agent_health health, readiness;
	char health_note[256], readiness_note[256];
	bool was_healthy;
	/* The wish whose checks the guest has; 0: none yet. From then on it is
	 * known which there are, the image's among them. */
	int64_t checks_wish;
	bool has_health, has_readiness;
};

enum vm_state {
	VM_PENDING,
	VM_STARTING,
	VM_RUNNING,
	VM_STOPPING,
	VM_STOPPED,
	VM_FAILED,
	VM_STATE_MAX
};

struct model_ref {
	struct model_stack *model;
	atomic_int refs;
};

struct portd {
	pid_t pid;
	uint64_t start_time;
	int pidfd; /* -1: none */
	char ports[STATE_PORTS_MAX];
};

/* A volume whose disk is attached to a VM. */
struct vm_volume {
	int64_t id;
	char source[STATE_NAME_MAX]; /* as the stack calls it */
	char stack[STATE_NAME_MAX];  /* whose it is; "": external */
	bool writes;
	int64_t size; /* that the guest has seen; 0: not known */
};

struct world;

struct vm {
	struct world *world;
	struct vm *next;
	char tenant[STATE_NAME_MAX];
	char stack[STATE_NAME_MAX];
	char name[STATE_NAME_MAX];
	struct state_vm row;

	/* What is wanted; NULL model: it is to go. */
	struct model_ref *ref;
	const struct model_vm *desired;
	int64_t wanted;	    /* raised with every wish */
	bool all_wanted;    /* the last wish: that all of it runs */
	int64_t settled;    /* the last wish that the actor is done with */
	struct err failure; /* of the last wish, code 0: none */

	enum vm_state state;
	struct ctr ctrs[WORLD_CONTAINERS_MAX];
	size_t n_ctrs;
	char agent_version[64];
	char kernel[128];
	uint64_t booted_at; /* ms, monotonic */
	uint64_t restart_at;
	uint32_t backoff;
	/* What is there, or was last, boots a disk: no agent, no containers. */
	bool machine;
	/* Its tenant's network has it, or may have; lock_network(). */
	bool plugged;
	bool taking_up; /* an earlier hybd's; it is not known yet what is there */
	bool gone;	/* its actor has ended; to be freed */

	/* The actor's own. */
	pthread_t thread;
	/* What it works on, while it does (its binds are the VM's), and the wish
	 * that this is of: `wanted` may be a later one's. */
	const struct model_vm *model;
	int64_t model_wish;
	int wake;	     /* eventfd */
	struct agent agent;  /* calls; fd -1: not connected */
	struct agent events; /* fd -1: not connected */
	uint64_t heard_at;   /* last event, ms */
	uint64_t time_set_at;
	bool died; /* set by the libvirt event; world's lock */
	char died_reason[32];
	char sick[STATE_NAME_MAX]; /* whose health asks for a new VM, or "" */
	struct logpump *pump;
	struct portd portd;
	/* Serials of the image disks that are attached. */
	char disks[WORLD_DISKS_MAX][24];
	size_t n_disks;
	struct vm_volume volumes[HYB_VM_VOLUMES_MAX]; /* that are attached */
	size_t n_volumes;
	uint64_t sizes_seen;   /* volume_generation() that they have; 0: none */
	uint64_t scratch;      /* bytes of its scratch disk; 0: it has none */
	uint64_t secrets_seen; /* secret_generation() that its guest has */
	char dir[256];	       /* ROOT/vms/ID */
	char logs[256];
	struct vsock_addr addr;
};

/* Something that a waiting client is told. */
struct progress {
	struct progress *next;
	char object[160]; /* stack/vm or stack/vm/container */
	char phase[32];	  /* what is being done */
	char message[512];
	uint64_t at; /* ms, monotonic */
};

/* Of what happened to a tenant lately so much is remembered, oldest first to
 * go. */
#define WORLD_EVENTS_MAX 512

struct world_event {
	int64_t time; /* ns of CLOCK_REALTIME */
	char object[160];
	char event[32];
	char message[512];
};

struct subscriber {
	struct subscriber *next;
	char tenant[STATE_NAME_MAX];
	char stack[STATE_NAME_MAX];
	struct progress *head, **tail;
	size_t n;
};

struct world_config {
	struct disk_store *disks;
	struct net *net;
	struct volume_store *volumes;
	struct secret_store *secrets;
	const char *root;
	const char *portd_path;
	const char *accel; /* for display */
	uid_t uid_base;	   /* the probe's; VMs have those behind it */
	uint32_t uid_count;
	bool kernel_vsock; /* the carrier is the host kernel's */
	const struct bind_policy *binds;
};

struct world {
	struct world_config config;
	struct state *state;
	struct image_stores *images;
	struct disk_store *disks;
	struct net *net;
	struct virt *virt;
	struct volume_store *volumes;
	struct secret_store *secrets;
	pthread_mutex_t lock;
	/* Held over a whole request that changes what is wanted: the store and
	 * the actors hear of requests in the same order. Before lock. */
	pthread_mutex_t wishes;
	/* By tenant: held while a VM is put into its tenant's network, and while
	 * it is looked whether the one that goes was the last there. Before
	 * lock. */
	pthread_mutex_t networks[WORLD_NETWORK_LOCKS];
	pthread_cond_t changed;
	struct vm *vms;
	struct subscriber *subscribers;
	struct event_ring *events; /* of all tenants */
};

/* Loads the state, takes up what is running, starts an actor for every VM. */
int world_open(const struct world_config *config, struct state *state,
	       struct image_stores *images, struct virt *virt,
	       struct world **ret, struct err *e);

void world_lock(struct world *w);
void world_unlock(struct world *w);
/* With the lock held: the tenant's event number *at, which becomes the next
 * one's, or the oldest that is still there; NULL: none yet. What is returned is
 * there as long as the lock is held. */
const struct world_event *world_event_next(const struct world *w,
					   const char *tenant, uint64_t *at);
/* Frees VMs whose actors have ended. With the lock held. */
void world_reap_gone(struct world *w);
/* With the lock held: tells everybody who waits. */
void world_changed(struct world *w);
/* Waits for a change, at most ms; the lock is held before and after. */
void world_wait(struct world *w, uint64_t ms);

/* Waits until what earlier hybds made has been taken up, at most ms. */
void world_await_taken_up(struct world *w, uint64_t ms);

/* ------------------------------------------------------------- wishes */

/* Makes the model what is wanted (it is taken over in any case). ret_plan:
 * what will change. Returns once it is stored. */
int world_deploy(struct world *w, struct model_stack *model,
		 struct plan *ret_plan, struct err *e);
/* What world_deploy() would change. */
int world_plan(struct world *w, const struct model_stack *model,
	       struct plan *ret_plan, struct err *e);
/* The whole stack is to go. */
int world_down(struct world *w, const char *tenant, const char *stack,
	       struct plan *ret_plan, struct err *e);
/* A user stops or starts a VM (container "") or a container; stack-wide with
 * vm "". */
int world_set_stopped(struct world *w, const char *tenant, const char *stack,
		      const char *vm, const char *container, bool stopped,
		      struct err *e);
/* A user pauses what runs, or resumes it (names as above): the wish is on disk
 * when this returns, the freezing is the actors'. It is of this incarnation of
 * a container: what ends, is stopped, started or deployed is paused no more.
 * *ret_n: how many containers change. -ENOTCONN: the container does not run,
 * or nothing does. */
int world_set_paused(struct world *w, const char *tenant, const char *stack,
		     const char *vm, const char *container, bool paused,
		     size_t *ret_n, struct err *e);
/* What runs is ended as `stop` does and made anew, once, however often hybd is
 * killed meanwhile; what does not run is started. A VM is made anew itself. */
int world_restart(struct world *w, const char *tenant, const char *stack,
		  const char *vm, const char *container, struct err *e);
/* Waits until the actors of the stack have settled all wishes, telling fn what
 * happens. -ETIMEDOUT, or the first failure. fn's result other than 0 ends the
 * wait (the client is gone). */
int world_settle(struct world *w, const char *tenant, const char *stack,
		 uint64_t timeout_ms,
		 int (*fn)(void *arg, const struct progress *p), void *arg,
		 struct err *e);

/* Is there room for the stack in its tenant's quota? -EDQUOT. It is asked again
 * when it is stored. */
int world_ask_quota(struct world *w, const struct model_stack *s,
		    struct err *e);
/* Is the stack wanted still, or has a request taken it down meanwhile? */
bool world_is_wanted(struct world *w, const char *tenant, const char *stack);

/* Is it there, of this tenant's stack, and of this name ("": any)? With the lock
 * held. */
bool vm_is_in(const struct vm *vm, const char *tenant, const char *stack,
	      const char *name);
/* Finds with the lock held; NULL: none. */
struct vm *world_find_vm(struct world *w, const char *tenant, const char *stack,
			 const char *vm);
struct ctr *vm_find_ctr(struct vm *vm, const char *name);

/* Does its process live? */
static inline bool ctr_is_live(enum ctr_state s)
{
	return s == CTR_RUNNING || s == CTR_PAUSED;
}

const char *ctr_state_name(enum ctr_state s);
const char *vm_state_name(enum vm_state s);

/* Called by virt's event callback: a domain has ended. */
void world_domain_ended(struct world *w, const char *domain,
			const char *reason);

/* ------------------------------------------- between the actor's files */

void *vm_actor(void *vm);
void vm_wake(struct vm *vm);
/* A line of progress to whoever waits. */
void vm_tell(struct vm *vm, const char *container, const char *phase,
	     const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Models are shared between the world and actors at work. */
struct model_ref *model_ref_take(struct model_ref *r);
void model_ref_drop(struct model_ref *r);
/* ms until the n-th restart in a row: 100 ms, doubled each time, to 60 s. */
uint64_t backoff_ms(uint32_t n);
/* Does the policy restart what ended with this code (n restarts so far)? */
bool restart_applies(const struct restart_policy *p, int64_t exit_code,
		     uint32_t n);

/* orphans.c: removes what earlier hybds left that no row speaks of: domains,
 * folders of VMs and of logs. Before any actor runs; what cannot be removed is
 * told in the log and left to the next start. */
void orphans_remove(struct world *w);

/* world.c, for wishes.c, with the lock held: it is to run, in its row too, for
 * the next hybd. */
void ctr_want(struct ctr *c);
/* What users had stopped or paused, and what failed, is to run. */
void vm_clear_stops(struct vm *vm);
/* Rows of the stack, on disk. Takes the lock. */
int world_store_rows(struct world *w, const char *tenant, const char *stack,
		     struct err *e);

/* observe.c: what there is, for plan/. */
struct observed;
struct observed *observed_new(struct world *w, const char *tenant,
			      const char *stack, const char *only_vm);
const struct observed_stack *observed_stack(const struct observed *o);
void observed_free(struct observed *o);

/* vm_converge.c: one pass from what is there towards what is wanted: 0 all
 * there, 1 something must happen first, or what failed. */
int vm_converge(struct vm *vm, const struct model_vm *m, int64_t wish,
		struct err *e);
/* It counts as ended, for this reason if it is the first. */
void vm_mark_dead(struct vm *vm, const char *reason);

/* vm_images.c: image disk of the container's image: linked into the VM's folder
 * and attached. ret_image is the caller's to free. */
int vm_attach_image(struct vm *vm, const struct model_container *m,
		    struct image_info **ret_image, struct err *e);
/* Those of all containers, and the scratch disk, while the guest boots. What is
 * missing is its container's error, told when that is made. */
void vm_attach_images(struct vm *vm, const struct model_vm *m);

/* vm_reattach.c: finds again what an earlier hybd made; -ESRCH: it is gone,
 * -EOWNERDEAD: a bind is. */
int vm_reattach(struct vm *vm, struct err *e);

/* vm_boot.c */
int vm_boot(struct vm *vm, const struct model_vm *m, struct err *e);
void vm_set_state(struct vm *vm, enum vm_state s);
/* How long a guest that ran has for its answers. */
#define VM_REATTACH_MS 5000
/* Says hello and checks that this is a guest we can talk to. */
int vm_greet(struct vm *vm, uint64_t deadline_ms, struct agent_hello *h,
	     struct err *e);
int vm_open_events(struct vm *vm, struct err *e);
int vm_start_pump(struct vm *vm, struct err *e);
/* Starts the domain that the spec, whose name and ids are filled in here,
 * describes. */
int vm_start_domain(struct vm *vm, const struct model_vm *m,
		    struct virt_vm_spec *spec, struct err *e);
/* On disk: what is about to end does so on purpose. */
int vm_announce_end(struct vm *vm, const char *reason, struct err *e);
int vm_destroy(struct vm *vm, const char *reason, struct err *e);
int vm_connect(struct vm *vm, uint64_t deadline_ms, struct err *e);
void vm_disconnect(struct vm *vm);
void vm_domain_name(const struct vm *vm, char out[64]);
/* Has it, which ended for this reason, done so as a machine that was shut down
 * from within? With our own kernel that is a failure. */
bool vm_is_completed(const struct vm *vm, const char *reason);
/* Has libvirt, or a missing heartbeat, said that it ended? */
bool vm_has_died(struct vm *vm);
/* Writes its row. */
int vm_store(struct vm *vm, struct err *e);
/* Connects again after a call that was not answered in time. */
int vm_ensure_connected(struct vm *vm, struct err *e);
uid_t vm_uid(const struct vm *vm);
uint32_t vm_cid(const struct vm *vm);
void vm_set_id(struct vm *vm);

/* vm_machine.c: VMs that boot a disk of their own. */
int machine_boot(struct vm *vm, const struct model_vm *m,
		 struct virt_vm_spec *spec, struct err *e);
int machine_reattach(struct vm *vm, struct err *e);
/* Asks its operating system to shut down, and waits for a while. */
void machine_shutdown(struct vm *vm);
/* What it has written goes, for it is not declared any more. */
int machine_forget(struct vm *vm, struct err *e);
/* Machines that no row speaks of. */
void machine_orphans(struct world *w);

/* vm_net.c: the network card of such a VM. With the lock held: it has a number
 * in its tenant's network from then on. */
void vm_take_number(struct vm *vm);
/* Its tap, whose descriptor is the caller's; its row is stored. */
int vm_plug(struct vm *vm, struct net_machine *ret, int *ret_tap,
	    struct err *e);
int vm_unplug(struct vm *vm, struct err *e);
/* At a start: networks and taps that no row speaks of. */
void networks_sweep(struct world *w);
/* A connection to a port of the VM with this number. */
int vm_dial(struct world *w, const char *tenant, uint32_t number, uint16_t port,
	    uint64_t deadline_ms, int *ret_fd, struct err *e);

/* vm_containers.c */
int ctr_ensure(struct vm *vm, const struct model_container *m, struct err *e);
int ctr_remove(struct vm *vm, const char *name, struct err *e);
/* With the lock held: a user wants this incarnation replaced. */
static inline bool ctr_restart_is_due(const struct ctr *c)
{
	return c->row.restart_of && c->row.restart_of == c->row.incarnation;
}
enum ctr_state ctr_now(struct vm *vm, const struct ctr *c);
/* What the guest says of its end becomes its state. */
void ctr_take_end(struct vm *vm, struct ctr *c,
		  const struct agent_container *a);
/* vm_stop.c: the signal, the time of grace, SIGKILL. Not one that runs is
 * fine. */
int ctr_stop(struct vm *vm, struct ctr *c, struct err *e);
/* The same of all that are chosen: side by side, and who depends on another
 * before it. What does not end is told in the log. */
typedef bool (*ctr_choice)(const struct vm *vm, const struct ctr *c,
			   const void *arg);
void ctrs_stop(struct vm *vm, ctr_choice chosen, const void *arg);
/* Did it end because its VM did? By what its row says, for the next hybd. */
bool ctr_row_is_lost(const struct state_container *row);
/* When is one that has ended to run again? */
void ctr_plan_restart(struct vm *vm, struct ctr *c);
/* The guest says what a container does now. */
void ctr_observe(struct vm *vm, const struct agent_container *a);
/* All containers of a VM that is gone. */
void ctr_all_gone(struct vm *vm, const char *reason);
/* Its state, in its row too, and whoever waits is told. */
void ctr_set(struct vm *vm, struct ctr *c, enum ctr_state state,
	     const char *reason, const char *message);
/* Writes its row; an error is logged (the next write tries again). */
void ctr_store(struct vm *vm, struct ctr *c);

/* ctr_pause.c: brings a live container to what a user wishes of its freezer. */
int ctr_apply_pause(struct vm *vm, struct ctr *c, struct err *e);
/* The guest's word on it, of a container that an earlier hybd made. */
void ctr_take_pause(struct vm *vm, struct ctr *c,
		    const struct agent_container *a);

/* vm_volumes.c */
/* All volumes of a container are attached and mounted. 1: one is held by a VM
 * that is about to give it back (c->why says so). */
int volumes_ensure(struct vm *vm, struct ctr *c,
		   const struct model_container *m,
		   const struct image_info *image, struct err *e);
/* The id of an attached volume, for oci_config_make(); arg: the VM. */
int64_t volumes_id(void *arg, const char *source);
/* Detaches what no container uses and the model does not want any more; what
 * cannot be is logged, and tried again. */
void volumes_give_back(struct vm *vm);
/* Before the VM is taken down on purpose: so that no journal is left over. */
void volumes_unmount(struct vm *vm);
/* Those whose size was raised. */
int volumes_grow(struct vm *vm, struct err *e);
/* What an earlier hybd attached, by what the domain has. */
int volumes_take(struct vm *vm, const struct virt_disk *disks, size_t n,
		 struct err *e);
/* At the start: uses of VMs that are not there, and volumes that are to go. */
void volumes_purge(struct world *w);

/* vm_scratch.c: the disk that containers' writable layers lie on. */
#define SCRATCH_SERIAL "scratch"
/* There is one, as large as the VM that is wanted needs; none where no container
 * writes. */
int scratch_ensure(struct vm *vm, struct err *e);
/* vm_folders.c: the container's anonymous volumes, in the guest. folders: by
 * the number of the mount; others' are "". */
int folders_ensure(struct vm *vm, const struct ctr *c,
		   const struct model_container *m,
		   const struct image_info *image,
		   char (*folders)[AGENT_PLACE_MAX], struct err *e);
/* The container is not wanted any more: nor are they. */
void folders_remove(struct vm *vm, const struct ctr *c);
/* What an earlier hybd attached, by what the domain has. */
void scratch_take(struct vm *vm, const struct virt_disk *disks, size_t n);

/* vm_files.c */
/* A container's secrets and configs for agent_create(), to be given to
 * files_free(); NULL: e says why. */
json_t *files_make(struct vm *vm, const struct model_container *m,
		   struct err *e);
void files_free(json_t *list);
/* Containers that run have what secrets are now. */
void files_rotate(struct vm *vm, const struct model_vm *m);

/* ctr_health.c: brings the guest's checks of a container that it has to what is
 * wanted. */
int ctr_apply_checks(struct vm *vm, struct ctr *c,
		     const struct model_container *m, struct err *e);
/* What the guest says of them. */
void ctr_take_health(struct vm *vm, struct ctr *c,
		     const struct agent_container *a);
/* Of a live one: what is unhealthy is ended, or vm->sick set, by its policy.
 * 1: a deployment is to wait. */
int ctr_follow_health(struct vm *vm, struct ctr *c,
		      const struct model_container *m, struct err *e);
/* These with the lock held. A new incarnation: nothing is known of it. */
void ctr_reset_health(struct ctr *c);
/* May those that depend on its health start? 0: yes, 1: not yet, -ENOENT: it
 * has no check that could tell. */
int ctr_health_answer(const struct ctr *c);
bool ctr_is_unhealthy(const struct ctr *c);
/* "" (no check, or it does not run), starting, healthy, unhealthy, not ready */
const char *ctr_health_word(const struct ctr *c);

/* vm_ports.c */
int ports_publish(struct vm *vm, const struct model_vm *m, struct err *e);
void ports_unpublish(struct vm *vm);
/* Takes up the process of an earlier hybd. */
void ports_reattach(struct vm *vm);
/* "127.0.0.1:8080->80/tcp, ..." of a container. */
void ports_format(const struct model_port *p, size_t n, char *out, size_t size);

#endif
