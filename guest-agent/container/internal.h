/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the engine share. Not for its callers. */
#ifndef HYB_GUEST_CONTAINER_INTERNAL_H
#define HYB_GUEST_CONTAINER_INTERNAL_H

#include "guest-agent/container/container.h"
#include "guest-agent/container/notify.h"
#include "guest-agent/container/plan.h"
#include "guest-agent/container/sync.h"
#include "guest-agent/sys/kernel.h"

#include <sys/types.h>

/* One line of a user namespace's map. */
struct id_map {
	uint32_t inside, outside, count;
};
/* The kernel's own limit. */
#define HYB_ID_MAPS_MAX 340
struct id_maps {
	struct id_map *maps; /* of the plan's arena */
	size_t n;
};

/* A namespace that exists already; entered by the parent around the clone. */
struct join {
	int type; /* CLONE_NEW* */
	int fd;	  /* -1: a new one, for children (time) */
	int own;  /* the parent's own, to come back */
};
#define HYB_JOINS_MAX 8

/* Cgroups of the engine lie below this folder. */
#define HYB_CGROUP_BASE "hyb"
#define HYB_CGROUP_OWN	"hyb-agent"
/* Longest name of a container's, by linux.cgroupsPath or its id. */
#define HYB_CGROUP_NAME_MAX 1000

/* What the engine knows of this machine; made by container_engine_setup(). */
struct engine {
	bool ready;
	int cgroup_root;   /* -1: no cgroup v2 */
	unsigned int have; /* controllers in the engine's folder */
	/* Without the rights of the machine's root: as an ordinary user, or as
	 * root of a user namespace. */
	bool confined;
	bool no_setgroups; /* forbidden in this user namespace for good */
	/* Confined: the highest cgroup that may be written, "": none. */
	char delegated[HYB_CGROUP_NAME_MAX];
	int device_programme; /* the short list, loaded once; -1: not yet */
	char warning[256];
};
extern struct engine engine;

struct container {
	char *id;
	enum container_status status;
	pid_t pid;
	int pidfd;
	int console; /* -1: none, or taken */
	int sync;    /* starts the container; -1: started, or by a listener */
	char cgroup[HYB_CGROUP_NAME_MAX + 8];
	int cgroup_fd; /* -1: none */
	uint64_t created_at, started_at, finished_at;
	int exit_code, signal;
	bool oom_killed;
	bool killed; /* by the engine's caller, with SIGKILL or SIGTERM */
	char message[300];
	char warning[300]; /* what was left out, though it was asked for */
	const char *reason;
	/* Of the first process: what exec begins with. */
	struct plan *plan;
	bool defaults;
	int namespaces; /* CLONE_NEW* that its process is in and we are not */
	struct id_maps uids, gids;
	struct seccomp_filter own_filter; /* of linux.seccomp */
	struct notify notify;		  /* where its listener goes */
	/* Of the plan's arena, as the place is. */
	struct container_joined joined;
	const char *joined_place;
};

struct dev_rule;

/* The parent's own CPUs while it is not on them; size 0: it is. */
struct affinity {
	void *set; /* cpu_set_t */
	size_t size;
};

/* A container being made: what container_create() holds until it succeeds. */
struct create {
	const struct container_spec *spec;
	const struct oci_runtime *config;
	struct plan *plan;
	struct container *c;
	struct join joins[HYB_JOINS_MAX];
	size_t n_joins;
	int userns_fd;		/* joined, or -1 */
	const char *mntns_path; /* of plan.join_mnt_fd */
	int own_time; /* while there is a new one for children, or -1 */
	char time_offsets[128];
	bool new_net;
	/* CLONE_NEW*: what the container does not share with this process */
	uint64_t isolated;
	uint64_t joined; /* CLONE_NEW*: by path */
	int lower;	 /* EROFS, detached; -1: root is a folder */
};

/* delegate.c: looks for the cgroup that engine.delegated names. */
void delegate_find(void);
/* "linux.resources.memory" or another member that asks for a limit; NULL: none
 * does. */
const char *delegate_asked(const struct oci_resources *res);
/* There is no cgroup for the container, r says why (-errno): 0 where it asks
 * for no limit. */
int delegate_none(const struct create *cr, int r, struct err *e);
/* mounts.c: the mounts of the configuration (and those that are missing),
 * prepared as far as the parent can. Called inside the joined namespaces. */
int plan_mounts(struct create *cr, struct err *e);
/* mountwords.c: its options into m. */
int mount_words_parse(struct plan *p, struct plan_mount *m,
		      const char *const *options, struct err *e);
bool words_have(const char *const *list, size_t n, const char *word);
/* linux.rootfsPropagation to MS_SHARED... */
int propagation_parse(const char *name, unsigned long *ret, bool *ret_recursive,
		      struct err *e);
/* idmap.c: maps the ids of a mount that says how itself; of those that are to
 * be mapped as the container's are. */
int mount_map_own(struct create *cr, struct plan_mount *m,
		  const struct oci_mount *om, struct err *e);
int mounts_map(struct create *cr, int userns_fd, struct err *e);
/* subdir.c: the PATH of the option X-mount.subdir=PATH; NULL: another one. */
const char *subdir_word(const char *word);
/* Does it go together with what else is asked for? */
int subdir_check(const struct create *cr, const struct plan_mount *m,
		 struct err *e);
/* In the place of the folder at *fd, or of the new, detached mount, the part of
 * it that m->subdir names. On failure *fd stays what it was. */
int subdir_open(const struct plan_mount *m, int *fd, struct err *e);
int subdir_take(const struct plan_mount *m, int *fd, struct err *e);
/* dev.c: those of linux.devices that are not below /dev, for the child. */
int plan_devices(struct create *cr, struct err *e);
/* A detached tmpfs with the device nodes; options of the mount. */
int dev_make(struct create *cr, const struct plan_mount *m, struct err *e);
/* rootfs.c */
int rootfs_open(struct create *cr, struct err *e);
/* The overlay over cr->lower, whose ids are mapped by userns_fd (-1: not);
 * its descriptor. */
int rootfs_overlay(struct create *cr, int userns_fd, struct err *e);
/* namespaces.c */
int plan_namespaces(struct create *cr, struct err *e);
/* For a container that runs: which namespaces it has, and the ids of its
 * process pid. Opens no path of the configuration. */
int plan_namespaces_of(struct create *cr, pid_t pid, struct err *e);
/* Of the child from here on: the joined ones, and the new time namespace. What
 * it has entered is left again on failure. */
int namespaces_enter(struct create *cr, struct err *e);
void namespaces_leave(struct create *cr);
/* The pid namespace, for children of this process. */
int namespaces_enter_pid(const struct create *cr);
/* Types, paths and mappings; *ret_own: CLONE_NEW* that the container may have
 * of its own. */
int namespaces_check(const struct oci_linux *lx, bool defaults,
		     uint64_t *ret_own, struct err *e);
/* ids.c: path names the mappings in messages. */
int id_maps_check(const struct oci_id_mapping *m, size_t n, const char *path,
		  struct err *e);
int id_maps_copy(struct plan *p, const struct oci_id_mapping *from, size_t n,
		 const char *path, struct id_maps *ret, struct err *e);
int id_maps_write(pid_t pid, const struct id_maps *uids,
		  const struct id_maps *gids, struct err *e);
/* Of the user namespace of a process, as the parent sees them. */
int id_maps_read(struct plan *p, pid_t pid, struct id_maps *uids,
		 struct id_maps *gids, struct err *e);
int id_maps_of_ns(struct plan *p, int userns_fd, struct id_maps *uids,
		  struct id_maps *gids, struct err *e);
/* A user namespace that nobody is in; its descriptor. */
int userns_make(const struct id_maps *uids, const struct id_maps *gids,
		struct err *e);
/* An id inside as the parent sees it; -1: it has none. */
int64_t map_id(const struct id_map *maps, size_t n, uint32_t inside);
/* process.c: c->plan->process from the configuration. */
int plan_process(struct create *cr, int rootfd, struct err *e);
int plan_user(struct plan *p, int rootfd, const char *text, struct err *e);
int plan_candidates(struct plan *p, bool search, struct err *e);
int plan_home(struct plan *p, int rootfd, struct err *e);
char **plan_env(struct arena *a, const char *const *base,
		const char *const *more);
const char *env_get(char *const *env, const char *name);
/* Limits and what else only the parent may set. */
int process_set_limits(const struct plan_process *pp, pid_t pid, struct err *e);
int process_set_oom_score(const struct plan_process *pp, pid_t pid,
			  struct err *e);
/* Where the engine is confined: taken by this process itself, for the child to
 * inherit. -EACCES: it would be lower than may be. */
int process_take_oom_score(const struct plan_process *pp);
int rlimit_find(const char *name);
int personality_parse(const struct oci_personality *p, unsigned long *ret,
		      struct err *e);
/* sched.c */
int scheduler_check(const struct oci_scheduler *s, struct err *e);
int io_priority_parse(const struct oci_io_priority *io, int *ret,
		      struct err *e);
int plan_scheduler(struct plan *p, const struct oci_scheduler *s,
		   struct err *e);
/* SCHED_FIFO, SCHED_RR or SCHED_DEADLINE? */
bool process_is_realtime(const struct plan_process *pp);
int process_set_scheduling(const struct plan_process *pp, pid_t pid,
			   struct err *e);
/* affinity.c: is it a list of CPUs ("0-3,7")? */
int cpu_list_check(const char *text, const char *path, struct err *e);
/* Around the clone of an exec: the parent's own CPUs, and back. */
int affinity_enter(const struct plan_process *pp, struct affinity *saved,
		   struct err *e);
void affinity_leave(struct affinity *saved);
/* Of the process, once it is in its cgroup. */
int affinity_set(const struct plan_process *pp, pid_t pid, struct err *e);
int process_own_stdio(const struct container *c, const struct plan_process *pp,
		      struct err *e);
/* joined.c: the root in a mount namespace of others. Remembers where it is, of
 * one that was made and of one that is attached to; undoes what a creation that
 * fails may have attached. */
int joined_note(struct create *cr, struct err *e);
int joined_keep(struct create *cr, struct err *e);
void joined_undo(const struct create *cr);
/* Takes it away; 0 also where it or the namespace has gone. */
int joined_remove(const struct container *c, struct err *e);
/* Waits for a child of one's own that ends with the number of an error: that,
 * negative; -EIO: killed, -ETIMEDOUT: by its alarm. */
int child_result(pid_t pid);
/* check.c: the rules of a configuration, and what the engine cannot do, before
 * anything is looked at or made: -EINVAL, -ENOTSUP, -E2BIG, with the JSON path
 * in front. What only the machine knows comes later. */
int config_check(const struct oci_runtime *config, bool defaults,
		 struct err *e);
/* What the specification wants a warning for rather than an error. */
void config_warn(const struct oci_runtime *config, struct container *c);
/* resources_check.c: path is what messages begin with, "linux.resources". */
int resources_check(const struct oci_resources *res, const char *path,
		    struct err *e);
int device_rule_parse(const struct oci_device_rule *from, const char *path,
		      size_t index, struct dev_rule *to, struct err *e);
/* resources.c: those that resources_check() has let through. update: of a
 * container that runs, where what is not said stays as it is. */
int resources_apply(int cgroup_fd, unsigned int have,
		    const struct oci_resources *res, bool defaults, bool update,
		    struct err *e);
int resources_devices(int cgroup_fd, const struct oci_resources *r,
		      bool defaults, struct err *e);

/* spawn.c: clones a process that runs fn(plan). Its sync socket, pid, pidfd. */
struct spawned {
	pid_t pid;
	int pidfd, sync;
	bool patient; /* hooks take the time that they take */
	bool told;    /* its error came from itself: it ends by itself */
	/* Connected, where the filter has a listener; else -1. */
	int supervisor;
	const struct container *c; /* whose listener it is */
};
#define SPAWNED_INIT                                                \
	{                                                           \
		.pid = 0, .pidfd = -1, .sync = -1, .supervisor = -1 \
	}
/* Connects to the supervisor of c's filter, where there is one. */
int spawned_supervise(struct spawned *s, const struct container *c,
		      struct err *e);
int plan_keep(struct plan *p, const int *extra, size_t n_extra, struct err *e);
/* Waits for READY (or, running, for the program): 0, or the child's error in
 * e and *failure. *console gets a terminal's master. */
int spawned_wait(struct spawned *s, bool running, int *console,
		 struct container_failure *failure, struct err *e);
/* The error of a clone, given err: the kernel's for a pid namespace whose first
 * process has ended is that of too little memory. pid_joined: into one that
 * exists. */
int clone_failed(int err, bool pid_joined, struct err *e);
/* Kills and reaps it, closes all. */
void spawned_abort(struct spawned *s);
int sync_pair(int *ret_parent, int *ret_child, struct err *e);

/* userns.c: clones the child into the user namespace that is joined. s has its
 * pidfd even on failure, where there is one. */
int clone_in_userns(struct create *cr, const struct clone_args *args,
		    struct spawned *s, struct err *e);

struct plan *plan_new(struct err *e);
/* Closes what the plan holds for the child. */
void plan_close(struct plan *p);
void plan_free(struct plan *p);
char *plan_strdup(struct plan *p, const char *s);

/* birth.c: clones the child and goes through its set-up with it, hooks
 * included. What fails leaves no process. */
int container_birth(struct create *cr, struct container_failure *failure,
		    struct err *e);

/* rest.c */
int plan_rest(struct create *cr, struct err *e);
/* Is it of a namespace in own (CLONE_NEW*)? */
int sysctl_check(const struct oci_kv *kv, uint64_t own, struct err *e);

/* container.c */
/* Adds a sentence to c->warning. */
void container_warn(struct container *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
struct container *container_new(const char *id);
void container_free(struct container *c);

#endif
