/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container engine: from an OCI runtime configuration to a process, and
 * back to nothing.
 *
 *   container_create()  cgroup, namespaces, mounts; the first process exists
 *                       and waits, everything but its program in place
 *   container_start()   it executes its program
 *   (pidfd readable)    the caller reaps it and tells container_ended()
 *   container_delete()  undoes everything; frees
 *
 * The functions that talk to a process being set up block until it has
 * answered (some milliseconds; at most HYB_CONTAINER_SETUP_MS, after which it
 * is killed). All others do not block, but for container_delete(force), which
 * waits for processes that it has just killed.
 *
 * The engine is single-threaded: one thread calls it, the one that may change
 * its namespaces for an instant (it enters spec.netns_fd around the clone and
 * comes back). It never reaps a process that the caller knows: pids that
 * container_create() and container_exec() have returned successfully belong
 * to the caller's waitid(). The caller must therefore not set SIGCHLD to
 * SIG_IGN.
 */
#ifndef HYB_GUEST_CONTAINER_CONTAINER_H
#define HYB_GUEST_CONTAINER_CONTAINER_H

#include "common/base/err.h"
#include "common/oci/runtime.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct container;

/* Longest time that one set-up, start or exec may take. */
#define HYB_CONTAINER_SETUP_MS 30000
/* Ids in the user namespace of one container, and where the ranges begin:
 * container number n (0 ...) has ids from HYB_CONTAINER_IDS * (n + 1) on. */
#define HYB_CONTAINER_IDS 65536u
/* Longest id: letters, digits and "_+-." , as in runc; never "." or "..". */
#define HYB_CONTAINER_ID_MAX 255

enum container_status {
	CONTAINER_CREATED,
	CONTAINER_RUNNING,
	CONTAINER_PAUSED,
	CONTAINER_STOPPED,
};

/* "created" "running" "paused" "stopped" */
const char *container_status_name(enum container_status s);

/* Where the root file system comes from: exactly one of `erofs` and `dir`. */
struct container_rootfs {
	/* A block device with an EROFS file system: the lower of an overlay
	 * whose upper is a tmpfs of scratch_size bytes (0: 64 MiB), or lies in
	 * scratch_dir: an empty folder of the caller's, whose file system
	 * limits it. What is written there is never synced. */
	const char *erofs;
	uint64_t scratch_size;
	const char *scratch_dir;
	/* An existing folder, used as it is. */
	const char *dir;
};

/* A root that is attached in a mount namespace of others: the namespace (where
 * it was found, and which it is), and the mount. */
struct container_joined {
	const char *path; /* NULL: there is none */
	uint64_t dev, ino, mount;
};

struct container_spec {
	const char *id;
	/* Read during the call only. */
	const struct oci_runtime *config;
	struct container_rootfs rootfs;
	/* With true, what the configuration leaves open is closed as
	 * docs/container.md says: all namespaces are new, user namespace of
	 * HYB_CONTAINER_IDS ids from `ids_base` on, default mounts where there
	 * are none, masked and read-only paths, seccomp default profile,
	 * no_new_privs, no core files, devices by the short list, limits that
	 * no container may exceed on capabilities. With false (an OCI command
	 * line) the configuration is done as it is. */
	bool defaults;
	/* First id of the user namespace in the caller's, a multiple of
	 * HYB_CONTAINER_IDS, distinct among living containers. Only with
	 * `defaults`. */
	uint32_t ids_base;
	/* A network namespace to be in, or -1: as the configuration says. */
	int netns_fd;
	/* A user as in an image's USER; NULL or "": process.user as it is. */
	const char *user;
	/* process.args[0] without a slash is looked up in process.env's PATH.
	 * Without it such a name is relative to process.cwd. */
	bool search_path;
	/* A reaper is the container's PID 1, the program its child. */
	bool init;
	/* The process's descriptors 0, 1, 2; -1: /dev/null. They stay the
	 * caller's. Not used where process.terminal is true: then a terminal
	 * is made inside the container, see container_take_console(). */
	int stdio[3];
	/* "K=V" on top of process.env; NULL: nothing. Read during the call. */
	const char *const *env;
	/* Descriptors 3 to 2 + n are the program's, too (not with `init`). */
	unsigned int preserve_fds;
	/* Supplementary groups stay the caller's: none are set, or taken. */
	bool keep_groups;
	/* The bundle's folder, which hooks are told; may be NULL. */
	const char *bundle;
	/* A listening unix socket whose first connection starts the container
	 * in place of container_start(), or -1: for callers that do not live
	 * as long as the container. */
	int start_listen_fd;
	/* The cgroup below the engine's own folder, or with a leading slash
	 * below the hierarchy's root; NULL: the id. */
	const char *cgroup_name;
	bool no_cgroup; /* it has none */
	/* For container_attach(): what container_get_joined() said. */
	struct container_joined joined;
};

/* A spec with nothing set: descriptors -1, everything else 0. */
#define CONTAINER_SPEC_INIT                                                  \
	{                                                                    \
		.netns_fd = -1, .stdio = {-1, -1, -1}, .start_listen_fd = -1 \
	}

/* What is known of a container; strings live as long as it does. */
struct container_info {
	const char *id;
	enum container_status status;
	pid_t pid; /* 0 once it has ended */
	/* CLOCK_REALTIME ns; 0: not yet */
	uint64_t created_at, started_at, finished_at;
	int exit_code; /* 0-255, 128 + signal; -1 while it has not ended */
	int signal;
	bool oom_killed;
	/* "" or Completed Error OOMKilled StartError Stopped */
	const char *reason;
	/* With StartError: "STEP: what went wrong". */
	const char *message;
	/* "", or what the configuration asked for and was left out, where the
	 * specification wants a warning rather than an error. */
	const char *warning;
};

/* The cgroup's figures; 0 where the kernel has none. */
struct container_stats {
	uint64_t memory_current, memory_peak, memory_reclaimable;
	uint64_t memory_max; /* UINT64_MAX: no limit */
	uint64_t cpu_usec, pids_current, oom_kills;
	uint64_t io_read, io_written; /* bytes */
	/* PSI, some avg10 in hundredths of a percent */
	uint64_t memory_pressure, cpu_pressure, io_pressure;
};

/* Why a start or an exec failed, beside the struct err. */
struct container_failure {
	int exit_code; /* 127 not found, 126 not executable; 0: set-up */
	char step[32]; /* name of the step that failed */
};

/*
 * Once per process, before the first container: finds the cgroup v2
 * hierarchy, makes the engine's folder "hyb" in it with the controllers that
 * there are enabled for what lies below. A machine without cgroup v2
 * controllers is no error: container_engine_warning() then says what cannot be
 * limited.
 */
int container_engine_setup(struct err *e);
/* For a PID 1: moves the caller out of the root cgroup into "hyb-agent", with
 * memory_min bytes guaranteed. */
int container_engine_move(uint64_t memory_min, struct err *e);
/* Does this process lack the rights of the machine's root, as an ordinary user
 * or as root of a user namespace? Then what only that root may do is done
 * another way, left out with a warning, or refused by name; and
 * container_engine_cgroup() says where a container's cgroup is: *ret has the
 * name ("/a/b", for cgroup_name), or is "" where there is none that may be
 * written. name: linux.cgroupsPath, or the id. */
bool container_engine_confined(void);
int container_engine_cgroup(const char *name, char *ret, size_t size,
			    struct err *e);
/* The rules that container_create() begins with, before anything is made. */
int container_check(const struct oci_runtime *config, bool defaults,
		    struct err *e);
/* The options of mounts that are known by name, at most max of them: how
 * many. */
int container_mount_words(const char **out, int max);
/* "" or one line on what this machine cannot do. */
const char *container_engine_warning(void);

/* 0 and *ret, whose process waits for container_start(). On failure nothing
 * is left of it, and *failure (may be NULL) says which step it was. -EINVAL:
 * the configuration breaks a rule. */
int container_create(const struct container_spec *spec, struct container **ret,
		     struct container_failure *failure, struct err *e);
/* A container that another process has created: pidfd (owned by the result
 * from then on) and pid of its first process, -1 and 0 when it has ended.
 * start_fd: connected to the socket that starts it, for one in state created,
 * owned too; else -1. spec as for container_create(); its config may be NULL
 * where nothing but signals, state and deletion is wanted. */
int container_attach(const struct container_spec *spec, pid_t pid, int pidfd,
		     enum container_status status, int start_fd,
		     struct container **ret, struct err *e);
/* Lets go of it without ending anything; NULL is fine. */
void container_free_attached(struct container *c);
/* The program runs once this returns 0. -EINVAL: not in state created.
 * On failure *failure (may be NULL) has the exit code; the process then ends
 * by itself with that code and the caller reaps it as ever. Where the failure
 * is not the process's own (no answer in time, say) it is killed, and reaped
 * the same way. It can be asked again only where the process was not reached:
 * then it waits as before. */
int container_start(struct container *c, struct container_failure *failure,
		    struct err *e);

/* The first process: readable when it has ended. Owned by c. */
int container_pidfd(const struct container *c);
/* The terminal's master side where process.terminal is true, owned by the
 * caller from then on; -1: none, or taken before. */
int container_take_console(struct container *c);

void container_get_info(const struct container *c, struct container_info *ret);
int container_get_stats(const struct container *c, struct container_stats *ret,
			struct err *e);

/* Sends sig to the first process, or with all to every process of the
 * container. -ESRCH: it has ended. */
int container_kill(struct container *c, int sig, bool all, struct err *e);
/* Has its filter a listener (SCMP_ACT_NOTIFY)? Then container_start() and
 * container_exec() want a container_attach() with its configuration, and end
 * with an error where the supervisor cannot be told. */
bool container_has_listener(const struct container *c);
/* Its cgroup's descriptor, which stays its own; -1: it has none. */
int container_cgroup(const struct container *c);
/* Can all its processes be reached, by a cgroup of its own? */
bool container_has_cgroup(const struct container *c);
/* What container_delete() takes away beside the cgroup; strings live as long
 * as c. */
const struct container_joined *container_get_joined(const struct container *c);
/* Freezes and thaws; pausing a paused container is fine. */
int container_pause(struct container *c, struct err *e);
int container_resume(struct container *c, struct err *e);

/* Writes those limits that are set in *res; devices are not changed. -ESRCH: it
 * has ended. What was written before a failing one stays. */
int container_update(struct container *c, const struct oci_resources *res,
		     struct err *e);
/* The processes of the container as the caller's pid namespace numbers them,
 * the first max of them; how many there are, or -errno. */
int container_pids(const struct container *c, pid_t *pids, size_t max,
		   struct err *e);

/* The caller has reaped the first process: wait_status as from waitpid().
 * Reads what the cgroup knows of its end, then kills what else runs in the
 * container. */
void container_ended(struct container *c, int wait_status);

struct container_exec_spec {
	const char *const *args; /* NULL-terminated, at least one */
	const char *const *env;	 /* "K=V" on top of the container's own */
	const char *cwd;	 /* NULL or "": the container's own */
	const char *user;	 /* as in container_spec; "": container's own */
	bool search_path;
	bool terminal;
	bool plain_lines;    /* with terminal: a line feed stays one */
	uint16_t rows, cols; /* with terminal; 0: unset */
	int stdio[3];	     /* as in container_spec */
	unsigned int preserve_fds;
	/* On top of the container's own, each NULL-terminated or NULL. */
	const char *const *add_caps; /* "CAP_KILL"; not under `defaults` */
	const gid_t *add_groups;
	size_t n_add_groups;
	bool no_new_privs; /* set even where the container has it not */
	bool even_paused;
	bool even_created; /* its program has not begun yet */
	/* A cgroup below the container's own that exists; NULL: its own. */
	const char *cgroup;
	/* A cgroup of its own below the container's: what the process starts
	 * can be killed whole, see container_kill_group(). One word without a
	 * slash; -EBUSY while processes of an earlier exec are in it. NULL: in
	 * the container's. Ignored where there is no cgroup v2. */
	const char *group;
	/* The program's parent, outside the group, is a reaper for all that the
	 * program leaves behind: killed, it would otherwise stay as zombies of
	 * the container's PID 1, which may know nothing of them. `pid` is the
	 * reaper's; it ends as the program did, at most 100 ms after it. */
	bool reaper;
};

struct container_process {
	pid_t pid;
	int pidfd;   /* owned by the caller */
	int console; /* master side, owned by the caller; -1: no terminal */
};

/* Runs another process in a running container; it has executed its program
 * when this returns 0. On failure nothing is left and failure->exit_code is
 * 126 or 127 where the program was the reason. */
int container_exec(struct container *c, const struct container_exec_spec *spec,
		   struct container_process *ret,
		   struct container_failure *failure, struct err *e);

/* Kills all that is in a group of container_exec(); one that is not there is
 * fine. 0 or -errno. */
int container_kill_group(struct container *c, const char *group);

/* What runs inside: in_err has code 0, or says why it could not be put there.
 * Its descriptor 0 is the one that was given; there is no other. */
typedef void container_inside_fn(void *arg, const struct err *in_err);
/* Forks a process that sees the container's files as its root does, and runs fn
 * in it: in the container's cgroup and namespaces but for its pid namespace, so
 * that nothing in there sees it or can touch it; as its uid 0 with the
 * capabilities for files only; with system calls for files only. It gets a copy
 * of fd. Its pid is the caller's to reap. -EINVAL: it does not run. */
int container_inside(struct container *c, int fd, container_inside_fn *fn,
		     void *arg, pid_t *ret_pid, struct err *e);
/* The same over the files below the folder `place`, which is all that fn sees,
 * as the machine's uid 0; it may set capabilities of files too. */
int container_in_folder(int place, int fd, container_inside_fn *fn, void *arg,
			pid_t *ret_pid, struct err *e);

/* Binds another file, of the same file system, in the place of the one that the
 * configuration binds from `source`, wherever it does; as one step for who opens
 * it by its name. Who has the old one open keeps that. Nothing is done where the
 * configuration binds no such source, or the container has ended. -ENOENT: the
 * container has something else in its place by now. Needs Linux 6.5. */
int container_rebind(struct container *c, const char *source, int file,
		     struct err *e);

/* Undoes everything and frees c. -EBUSY while it runs, unless force, which
 * kills it; the first process is reaped by this function then. On failure c
 * stays as it is. */
int container_delete(struct container *c, bool force, struct err *e);
static inline void cleanup_container(struct container **c)
{
	if (*c)
		container_delete(*c, true, NULL);
}

/* Is it an id that a container may have? */
bool container_id_is_valid(const char *id);
/* The same, with what is wrong. */
int container_id_check(const char *id, struct err *e);

#endif
