/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hybd's Varlink server (io.hyb.Host): a thread for each connection, at most
 * API_CONNECTIONS_MAX, and of one user API_PER_UID_MAX and half of what the
 * others leave. The peer's credentials are read once, at accept, and decide
 * every call.
 */
#ifndef HYB_HOST_AGENT_API_API_H
#define HYB_HOST_AGENT_API_API_H

#include "common/varlink/call.h"
#include "host-agent/reconcile/world.h"
#include "host-agent/tenant/access.h"

#include <stdatomic.h>

#define API_PROTOCOL	    1
#define API_CONNECTIONS_MAX 512
/* Of them for root alone: whoever has the others, root can end that. */
#define API_CONNECTIONS_ROOT 32
#define API_PER_UID_MAX	     128
/* Of a call: arguments and environments are the longest lists. */
#define API_VALUES_MAX ((size_t)16384)
/* A client that does not take its answers in this time is left. */
#define API_WRITE_MS 10000

struct api {
	struct world *world;
	struct state *state;
	struct image_stores *images;
	struct volume_store *volumes;
	struct secret_store *secrets;
	struct disk_store *disks;
	struct virt *virt;
	const struct bind_policy *binds;
	const char *root;
	const char *connect;
	const char *group; /* whose members may call, besides root */
	/* For reading from where a deployment's images are seen to be there to
	 * where it is stored that it has them; for writing while some are
	 * removed. Before all other locks. */
	pthread_rwlock_t removals;
	int listen_fd;
	int quit_fd; /* eventfd: to end */
};

/* One call that is being served. */
struct request {
	struct api *api;
	struct vl_conn *conn;
	struct vl_call *call;
	uid_t uid;
	gid_t gid;
	const struct peer *peer;
	/* Whom it is for; "" in Deploy and Plan: the manifest says. */
	char tenant[STATE_NAME_MAX];
	char *chosen; /* the connection's, STATE_NAME_MAX; "": none */
	bool close;   /* after the reply this connection is over */
	/* Of an error: what stands before it, lines about the manifest. Owned. */
	char *diagnostics;
};

/* A name in a call, found: what it means. Empty fields: everything below. */
struct target {
	char stack[STATE_NAME_MAX];
	char vm[STATE_NAME_MAX];
	char container[STATE_NAME_MAX];
};

/* Does it mean this VM, or one of its containers? With the lock held. */
bool target_has(const struct request *q, const struct target *t,
		const struct vm *vm);

/* Serves until quit_fd is written. */
int api_run(struct api *api, struct err *e);

/* ------------------------------------------------------ for the handlers */

/* Sends a reply; params' reference is taken. */
int request_reply(struct request *q, json_t *params, bool continues,
		  struct err *e);
int request_reply_fds(struct request *q, json_t *params, const int *fds,
		      size_t n, struct err *e);
/* The same, and more is to come. */
int request_continue_fds(struct request *q, json_t *params, const int *fds,
			 size_t n, struct err *e);

/* The caller's credentials of registries that came with the call, as an
 * auth.json's text that the caller frees; NULL: none did. (image.c) */
int request_take_auth(struct request *q, char **ret, struct err *e);

/* Has the client left? (stream.c) */
bool request_is_gone(struct request *q);

/* Parameters of calls that change what runs: a name and, where it may be
 * given, how long to wait for it. */
struct change_params {
	const char *name;
	int64_t timeout; /* ms */
};
int change_read(const struct vl_call *call, struct change_params *p,
		struct err *e);
/* Waits until the stack has settled, with progress. */
int change_wait(struct request *q, const struct target *t, int64_t timeout,
		struct err *e);
/* Answers {changes}, whose reference is taken, when r is 0; returns r else. */
int change_reply(struct request *q, json_t *changes, int r, struct err *e);
/* One change of `class` live. */
json_t *change_json(const char *action, const char *object);

/* Adds `checks`, what the guest says of the last ones, to the containers of a
 * VM's object as Inspect gives it; null where it does not say. */
void checks_add(struct request *q, json_t *vm);

/* tell.c: "2026-01-01T00:00:00Z" of ns of CLOCK_REALTIME, or null for 0. */
json_t *time_json(int64_t ns);
/* Progress of what image/ and disk/ take in, to a client that called with
 * `more`; not more often than it can be read. */
struct bytes_teller {
	struct request *q;
	uint64_t told_at;
	char phase[16];
};
int bytes_tell(void *teller, const char *phase, uint64_t done, uint64_t total);

/* Finds what a name means for this caller. A name with fewer parts than
 * `parts` (1 stack, 2 VM, 3 container) is completed where there is only one
 * way to. -ENOENT with a hint. */
int target_find(struct request *q, const char *name, int parts,
		struct target *ret, struct err *e);

/* stream.c: the guest's address of a VM that runs, and the container's id in it;
 * `running`: the container must, else it may have ended. */
int guest_find(struct request *q, const struct target *t, bool running,
	       struct vsock_addr *addr, char id[80], struct err *e);

/* volume.c: the volume that a name of the caller's means; volume: what
 * *ret_snapshot (NULL: none) points into. */
int volume_by_name(struct request *q, const char *name, char volume[256],
		   struct state_volume *ret, const char **ret_snapshot,
		   struct err *e);
/* The guest that writes to a volume, and how to stop it for a moment. */
struct volume_writer {
	struct vsock_addr addr;
	struct agent agent; /* open while it is stopped */
	char serial[24];
	struct volume_quiet quiet;
};
/* false: no VM that runs writes to it. */
bool volume_writer_find(struct request *q, const struct state_volume *v,
			struct volume_writer *ret);
/* Is there something about the name or the size of a new volume? */
int volume_check_new(const char *name, int64_t size, struct err *e);

/* volume.c: makes what the stack declares (or says what that would change);
 * adds the changes. */
int volumes_deploy(struct request *q, const struct model_stack *s, bool dry_run,
		   json_t *changes, struct err *e);
/* The volumes of a stack are to go with it: on disk from then on. false: it
 * has none. */
int volumes_down(struct request *q, const char *stack, json_t *changes,
		 struct err *e);

/* secret.c: the same for secrets. */
int secrets_deploy(struct request *q, const struct model_stack *s, bool dry_run,
		   json_t *changes, struct err *e);
/* What the stack's own files brought goes with it. */
void secrets_down(struct request *q, const char *stack);

struct manifest;
/* deploy.c: answers with what is wrong with a manifest. */
void send_diagnostics(struct request *q, const struct manifest *m);

/* tenant.c: sets q->tenant to whom the caller acts for where nothing is said.
 * -EINVAL: for several, one must be named. */
int tenant_default(struct request *q, struct err *e);
/* May the caller act for it? Root, for each that is declared (-ENOENT); others
 * are never told whether there is such a tenant (-EPERM). */
int tenant_check(struct request *q, const char *name, struct err *e);
/* The declaration, freed with model_tenant_free(); *ret NULL: there is none. */
int tenant_find(struct state *s, const char *name, struct model_tenant **ret,
		struct err *e);
struct state_tenant;
int tenant_read_row(const struct state_tenant *row, struct model_tenant **ret,
		    struct err *e);

/* tenant_image.c: the image stores of all tenants that are declared. operators:
 * of the operator's; first_uid: of n_uids that tenants' programs run as. */
int tenant_images_open(struct state *s,
		       const struct image_store_config *operators,
		       uid_t first_uid, unsigned int n_uids,
		       struct image_stores **ret, struct err *e);
/* disk.c: the disks of all tenants, which count. */
int tenant_disks_open(struct state *s, const struct disk_store_config *config,
		      struct disk_store **ret, struct err *e);
/* What the reference means to the tenant, for its containers; -EPERM, whether
 * it is there or not, where `allow.images` says so. */
int tenant_image(struct request *q, const char *tenant, const char *reference,
		 struct image_info **ret, struct err *e);
/* The same, only to look at: its own images it may always. */
int tenant_image_look(struct request *q, const char *tenant,
		      const char *reference, struct image_info **ret,
		      struct err *e);
/* image_declared.c: the digests (members) of owner's images that containers are
 * declared with which have not been made yet. */
json_t *images_declared(struct api *api, const char *owner);
/* What `image ls` shows to the tenant. Its own come first. */
int tenant_image_rows(struct request *q, json_t *rows, struct err *e);
/* What images the caller may put into the tenant's store; for image_may_load(),
 * as long as *ret is there. */
struct image_rights;
int tenant_image_rights(struct request *q, const char *tenant,
			struct image_rights **ret, struct err *e);
void image_rights_free(struct image_rights *r);
static inline void cleanup_image_rights(struct image_rights **r)
{
	image_rights_free(*r);
}
#define _cleanup_image_rights_ __attribute__((cleanup(cleanup_image_rights)))
/* -EPERM, with a hint. image_may of image/store.h; arg: a struct image_rights. */
int image_may_load(void *arg, const char *full, struct err *e);
/* The store into which images for the tenant are pulled, given back with
 * image_store_put(), and what may be pulled, which image_rights_pull() puts
 * into each pull. -EPERM: nothing. */
int tenant_pull(struct request *q, const char *tenant, struct image_store **ret,
		struct image_rights **ret_rights, struct err *e);
void image_rights_pull(struct image_rights *r, struct image_pull *p);
/* image.c: appends a row for each name. */
void image_rows_add(json_t *rows, const struct image_info *i);

/* Handlers, by file. */
int on_use(void *ctx, struct vl_call *call, struct err *e);
int on_tenant_apply(void *ctx, struct vl_call *call, struct err *e);
int on_tenant_list(void *ctx, struct vl_call *call, struct err *e);
int on_tenant_inspect(void *ctx, struct vl_call *call, struct err *e);
int on_tenant_remove(void *ctx, struct vl_call *call, struct err *e);
int on_version(void *ctx, struct vl_call *call, struct err *e);
int on_deploy(void *ctx, struct vl_call *call, struct err *e);
int on_plan(void *ctx, struct vl_call *call, struct err *e);
int on_down_volumes(void *ctx, struct vl_call *call, struct err *e);
int on_down(void *ctx, struct vl_call *call, struct err *e);
int on_stop(void *ctx, struct vl_call *call, struct err *e);
int on_start(void *ctx, struct vl_call *call, struct err *e);
int on_pause(void *ctx, struct vl_call *call, struct err *e);
int on_resume(void *ctx, struct vl_call *call, struct err *e);
int on_restart(void *ctx, struct vl_call *call, struct err *e);
int on_kill(void *ctx, struct vl_call *call, struct err *e);
int on_events(void *ctx, struct vl_call *call, struct err *e);
int on_stats(void *ctx, struct vl_call *call, struct err *e);
int on_top(void *ctx, struct vl_call *call, struct err *e);
int on_ps(void *ctx, struct vl_call *call, struct err *e);
int on_vm_list(void *ctx, struct vl_call *call, struct err *e);
int on_inspect(void *ctx, struct vl_call *call, struct err *e);
int on_resolve(void *ctx, struct vl_call *call, struct err *e);
int on_exec(void *ctx, struct vl_call *call, struct err *e);
int on_exec_attach(void *ctx, struct vl_call *call, struct err *e);
int on_exec_kill(void *ctx, struct vl_call *call, struct err *e);
int on_exec_list(void *ctx, struct vl_call *call, struct err *e);
int on_logs(void *ctx, struct vl_call *call, struct err *e);
int on_copy(void *ctx, struct vl_call *call, struct err *e);
int on_forward(void *ctx, struct vl_call *call, struct err *e);
int on_image_load(void *ctx, struct vl_call *call, struct err *e);
int on_image_import(void *ctx, struct vl_call *call, struct err *e);
int on_image_prune(void *ctx, struct vl_call *call, struct err *e);
int on_image_pull(void *ctx, struct vl_call *call, struct err *e);
int on_image_list(void *ctx, struct vl_call *call, struct err *e);
int on_image_inspect(void *ctx, struct vl_call *call, struct err *e);
int on_image_remove(void *ctx, struct vl_call *call, struct err *e);
int on_volume_list(void *ctx, struct vl_call *call, struct err *e);
int on_volume_create(void *ctx, struct vl_call *call, struct err *e);
int on_volume_inspect(void *ctx, struct vl_call *call, struct err *e);
int on_volume_snapshot(void *ctx, struct vl_call *call, struct err *e);
int on_volume_restore(void *ctx, struct vl_call *call, struct err *e);
int on_volume_export(void *ctx, struct vl_call *call, struct err *e);
int on_volume_import(void *ctx, struct vl_call *call, struct err *e);
int on_volume_remove(void *ctx, struct vl_call *call, struct err *e);
int on_secret_set(void *ctx, struct vl_call *call, struct err *e);
int on_secret_list(void *ctx, struct vl_call *call, struct err *e);
int on_secret_remove(void *ctx, struct vl_call *call, struct err *e);
int on_disk_import(void *ctx, struct vl_call *call, struct err *e);
int on_disk_list(void *ctx, struct vl_call *call, struct err *e);
int on_disk_remove(void *ctx, struct vl_call *call, struct err *e);
int on_console(void *ctx, struct vl_call *call, struct err *e);
int on_doctor(void *ctx, struct vl_call *call, struct err *e);

#endif
