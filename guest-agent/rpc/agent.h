/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's state: connections, containers, sessions, forwards, in tables of
 * fixed size, and what the parts of rpc/ use of each other.
 *
 *   peer.c       connections: accepted, read, answered, handed over
 *   methods.c    the table of methods; those about the machine
 *   containers.c those about containers
 *   disks.c      image disks by serial
 *   logs.c       containers' output
 *   session*.c   Exec, Attach and Sessions
 *   forward.c    Forward
 *   tree.c       Copy
 *   health*.c    SetChecks, Checks
 *   volumes.c    volumes, by child processes
 *   scratch.c    the disk that containers' own writing goes to
 *   folders.c    what of that outlives containers
 *   shutdown.c   Shutdown
 *
 * A pointer into a table stays valid, but what it points to may be freed by
 * any call that can end it; `used` tells.
 */
#ifndef HYB_GUEST_RPC_AGENT_H
#define HYB_GUEST_RPC_AGENT_H

#include "common/varlink/call.h"
#include "guest-agent/container/container.h"
#include "guest-agent/rpc/copy.h"
#include "guest-agent/rpc/health.h"
#include "guest-agent/rpc/limits.h"
#include "guest-agent/rpc/logring.h"
#include "guest-agent/rpc/outring.h"
#include "guest-agent/rpc/poller.h"

#define IFACE "io.hyb.Agent."

struct agent;
struct peer;
struct slot;

/* ------------------------------------------------- what the program gives */

/* Claim's parameters, checked. */
struct claim {
	const char *instance;
	const char *hostname;
	const char *machine_id; /* 32 hexadecimal digits */
	int64_t time;		/* CLOCK_REALTIME, ns */
	const unsigned char *entropy;
	size_t entropy_len;
};

/* What is done to the machine, by PID 1 or by a test. */
struct agent_ops {
	int (*claim)(const struct claim *c, struct err *e);
	/* *ret_offset: ns that the clock was behind `time` */
	int (*set_time)(int64_t time, int64_t *ret_offset, struct err *e);
	/* Before the first container: what may wait until then. */
	int (*prepare)(struct err *e);
	/* Does not return for PID 1. */
	void (*power_off)(void);
};

/* --------------------------------------------------------------- the parts */

/* What a deferred call waits for. */
enum peer_wait {
	WAIT_NONE,
	WAIT_DISK,     /* Create */
	WAIT_END,      /* Wait */
	WAIT_DELETE,   /* Delete with force */
	WAIT_CONNECT,  /* Forward */
	WAIT_SHUTDOWN, /* Shutdown */
	WAIT_EVENTS,   /* Events: never ends */
	WAIT_VOLUME,   /* MountVolume, UnmountVolume, KeepFolders */
	WAIT_SCRATCH,  /* Delete: what it wrote is being removed */
};

/* How a connection goes on after an upgrade. */
struct peer_mode {
	void (*readable)(struct peer *p);
	void (*writable)(struct peer *p);
	/* It is being closed; only what points to it is to be cleared. */
	void (*gone)(struct peer *p);
};

struct peer {
	bool used;
	struct agent *agent;
	struct watch watch;
	struct vl_conn conn; /* owns the descriptor that watch has, too */
	struct buf out;	     /* replies that are not sent yet */
	size_t out_at;
	const struct peer_mode *mode; /* NULL: calls */
	void *owner;		      /* of the mode */
	bool want_in, want_out;	      /* of the mode */
	bool ending;		      /* close when `out` is sent */
	bool kicked;		      /* look again after this round */
	uint64_t active_ms;	      /* when the host was last heard */
	enum peer_wait wait;
	struct slot *slot;   /* WAIT_END, WAIT_DELETE, WAIT_SCRATCH */
	struct vl_call call; /* WAIT_DISK */
	struct timer timer;
	/* WAIT_EVENTS: containers to be told of, a bit each */
	uint64_t dirty[AGENT_CONTAINERS_MAX / 64];
	unsigned char ack[8];
	size_t ack_len;
};

/* One pipe (or terminal) that a container writes its output to. */
struct tap {
	struct watch watch;
	struct slot *slot;
	uint8_t stream;
	bool resting;
};

struct slot {
	bool used;
	struct agent *agent;
	char id[AGENT_ID_MAX + 1];
	uint64_t hash; /* of Create's parameters */
	int64_t ids;   /* the range of ids that the host has chosen; 0: none */
	struct container *container;
	pid_t pid;
	bool ended;
	bool on_scratch; /* it has a folder there */
	struct logring ring;
	struct logcursor cursor;
	struct peer *reader; /* of Logs */
	struct tap taps[2];
	struct timer rest;  /* of the taps */
	struct timer drain; /* after its end */
	bool cut;	    /* what the taps have is all that will come */
};

struct session;

struct session_stream {
	struct watch watch; /* our end of the pipe or terminal; -1: ended */
	struct session *session;
	struct peer *peer;
	struct copy copy;
	bool attached; /* once; again and again when the session is kept */
	bool discard;  /* nobody will take what comes */
	struct outring ring; /* output of a session that is kept */
};

enum { STREAM_STDIN, STREAM_STDOUT, STREAM_STDERR, STREAM_N };

struct session {
	bool used;
	struct agent *agent;
	char id[33];
	struct slot *slot; /* NULL: the container has been deleted */
	pid_t pid;	   /* 0: there is no process (any more) */
	int pidfd;
	bool tty, in;
	bool kept; /* goes on without its host, may be attached again */
	bool ended;
	bool cut; /* what the pipes have is all that will come */
	uint64_t oom_kills;
	struct {
		int code, sig;
		bool oom;
	} exit;				  /* when it has ended */
	uint64_t started_at, finished_at; /* CLOCK_REALTIME, ns */
	char command[AGENT_TOP_COMMAND + 1];
	bool in_eof;	/* kept: the host has said that stdin has ended */
	bool in_closed; /* kept: stdin's connection has */
	struct peer *control;
	struct session_stream streams[STREAM_N];
	struct timer linger;
};

struct forward {
	bool used;
	struct peer *peer;
	struct watch watch; /* the TCP socket */
	bool connecting, v6;
	int error; /* of the first address */
	uint16_t port;
	struct copy up, down; /* to the container, to the host */
	bool up_done, down_done;
};

/* A child that mounts or unmounts a volume. */
struct volume_job {
	pid_t pid; /* 0: none */
	bool freezes;
	char serial[AGENT_SERIAL_MAX + 1];
	int out;	   /* what went wrong */
	struct peer *peer; /* who waits; NULL: nobody any more */
	bool fills;	   /* of folders.c */
	json_t *reply;	   /* when all went well; NULL: {} */
};

/* A folder of a container, by its name and not by its incarnation. */
struct folder {
	char *path; /* in the container; NULL: there is none */
	char container[64];
	struct volume_job *job; /* that fills it */
	pid_t sweep;		/* that removes it; 0: none */
};

struct agent {
	struct poller poller;
	const struct agent_ops *ops;
	/* The network namespaces: the containers' and the agent's own; -1:
	 * there is only one (tests). */
	int pod_netns, own_netns;
	/* Tests: folders there are the images, by serial. NULL: disks. */
	const char *image_dir;
	bool claimed, prepared;
	char instance[AGENT_INSTANCE_MAX + 1];
	struct watch listener;
	bool listener_vsock;
	struct watch uevents;
	struct timer disk_look, heartbeat;
	bool any_kicked;
	/* Shutdown */
	bool stopping, killed, flushing;
	struct timer stop_timer;
	struct peer *stop_peer;
	struct peer peers[AGENT_PEERS_MAX];
	struct slot slots[AGENT_CONTAINERS_MAX];
	struct session sessions[AGENT_SESSIONS_MAX];
	struct forward forwards[AGENT_FORWARDS_MAX];
	pid_t trees[AGENT_TREES_MAX]; /* processes of Copy; 0: none */
	/* Of the container in the same place. */
	struct check checks[AGENT_CONTAINERS_MAX][CHECK_KINDS];
	/* The serial of the scratch disk that is mounted; "": none. Children
	 * that remove what the container in the same place wrote; 0: none. */
	char scratch[AGENT_SERIAL_MAX + 1];
	pid_t sweeps[AGENT_CONTAINERS_MAX];
	struct volume_job volume_jobs[AGENT_VOLUME_JOBS_MAX];
	struct folder folders[AGENT_FOLDERS_MAX];
	char frozen[AGENT_SERIAL_MAX + 1]; /* volume; "": none */
	struct peer *freezer;		   /* whose connection holds it */
	struct timer thaw;
};

/* a is zeroed memory. */
int agent_init(struct agent *a, const struct agent_ops *ops, struct err *e);
/* Kills the containers, closes everything. Tests; PID 1 never ends. */
void agent_done(struct agent *a);
/* Takes over a listening socket. vsock: only the host may connect. */
int agent_listen(struct agent *a, int fd, bool vsock, struct err *e);
/* One round of the loop. */
int agent_step(struct agent *a, int max_ms);
/* Reaps every child that has ended. */
void agent_reap(struct agent *a);

/* ------------------------------------------------------------------ peer.c */

void peer_accept(struct watch *w, uint32_t events);
/* A connection that is there already (tests). NULL: no room. */
struct peer *peer_add(struct agent *a, int fd);
void peer_close(struct peer *p);
/* Sends what is queued; closes it on failure: false then. */
bool peer_flush(struct peer *p);
/* Sets what is watched, from the fields. Closes it on failure. */
void peer_update(struct peer *p);
/* Answers the call in hand; ends what it waits for. params: reference taken. */
void peer_reply(struct peer *p, json_t *params);
void peer_error(struct peer *p, const char *name, json_t *params);
/* One of several replies (Events). */
void peer_continue(struct peer *p, json_t *params);
/* The reply of an upgrade call; from then on the connection is mode's. */
void peer_upgrade(struct peer *p, const struct peer_mode *mode, void *owner);
/* The same with parameters, whose reference is taken. */
void peer_upgrade_with(struct peer *p, const struct peer_mode *mode,
		       void *owner, json_t *params);
/* The answer comes later. */
void peer_defer(struct peer *p, enum peer_wait wait);
/* As read() (what came with the upgrade call first) and write() of an upgraded
 * connection: a copy's functions; arg is the peer. */
ssize_t peer_read(void *peer, void *buf, size_t len);
ssize_t peer_write(void *peer, const void *buf, size_t len);
/* Ends our direction; the connection goes when the host has ended its. */
void peer_finish(struct peer *p);

/* Text of an error, for the wire: whatever bytes an image put into it, it is
 * UTF-8 and short, or JSON could not hold it. */
struct wire_text {
	char s[AGENT_TEXT_MAX];
};
const char *wire_text(struct wire_text *t, const char *text);

/* Errors of the interface. */
void peer_error_err(struct peer *p, const struct err *e);
/* InvalidConfig for r -EINVAL and a message "field: rule", else Failed. */
void peer_error_failure(struct peer *p, int r, const struct err *e);
void peer_error_invalid(struct peer *p, const char *field, const char *rule);
void peer_error_not_found(struct peer *p, const char *what);
void peer_error_limit(struct peer *p, const char *what, int limit);
void peer_error_state(struct peer *p, const char *status, const char *msg);

/* --------------------------------------------------------------- methods.c */

extern const struct vl_method agent_methods[];
extern const size_t agent_methods_n;
/* When a method is permitted. */
enum { PERMIT_BLANK = 1, PERMIT_CLAIMED = 2, PERMIT_STOPPING = 4 };
unsigned int agent_permits(const struct agent *a);

int method_events(void *ctx, struct vl_call *call, struct err *e);
/* Tells the subscribers that this container has changed. */
void events_changed(struct slot *s);
/* Tells p what it has not been told yet. */
void events_flush(struct peer *p);
/* Is there something of that kind? */
bool events_pending(const struct peer *p);

/* ------------------------------------------------------------ containers.c */

struct slot *slot_find(struct agent *a, const char *id);
/* As slot_find(), for a call of this peer's: NULL: it has been told NotFound;
 * or, where the container must run, WrongState. */
struct slot *peer_slot(struct peer *p, const char *id);
struct slot *peer_running_slot(struct peer *p, const char *id);
json_t *slot_json(const struct slot *s);
/* Its first process has been reaped. */
void slot_ended(struct slot *s, int wait_status);
void containers_done(struct agent *a);

int method_start(void *ctx, struct vl_call *call, struct err *e);
int method_signal(void *ctx, struct vl_call *call, struct err *e);
int method_pause(void *ctx, struct vl_call *call, struct err *e);
int method_resume(void *ctx, struct vl_call *call, struct err *e);
int method_wait(void *ctx, struct vl_call *call, struct err *e);
int method_delete(void *ctx, struct vl_call *call, struct err *e);
int method_list(void *ctx, struct vl_call *call, struct err *e);
int method_update_files(void *ctx, struct vl_call *call, struct err *e);
int method_top(void *ctx, struct vl_call *call, struct err *e);
/* top.c: the id of a process in its own pid namespace. */
pid_t pid_inside(pid_t pid);
int method_stats(void *ctx, struct vl_call *call, struct err *e);

/* ---------------------------------------------------------------- create.c */

int method_create(void *ctx, struct vl_call *call, struct err *e);
/* Where the ids of its user namespace begin: behind those of all slots where
 * the host has chosen them. */
uint32_t slot_ids(const struct slot *s);
/* The outcome of what a peer waits for (a disk, a deletion), for lack of
 * time. */
void create_peer_timeout(struct peer *p);
/* A disk has come: those that wait look again. */
void create_disks_changed(struct agent *a);

/* ----------------------------------------------------------------- disks.c */

/* Watches for new disks. */
int disks_init(struct agent *a, struct err *e);
void disks_done(struct agent *a);
/* The path of the disk with this serial into ret: 0, -ENOENT. */
int disks_find(const char *serial, char *ret, size_t size);
bool serial_is_valid(const char *serial);
/* Someone waits: look now and then, too. */
void disks_expect(struct agent *a);

/* ------------------------------------------------------------------ logs.c */

/* Makes the pipes; *ret_write: the ends for the container. */
int logs_open(struct slot *s, size_t size, int ret_write[2], struct err *e);
/* A terminal in place of the pipes; taken over. */
int logs_set_console(struct slot *s, int fd, struct err *e);
/* Begins to read. */
int logs_begin(struct slot *s, struct err *e);
/* The container has ended. */
void logs_ended(struct slot *s);
void logs_close(struct slot *s);
/* Has all been read, sent and acknowledged, or is there no reader? */
bool logs_are_taken(const struct slot *s);
int method_logs(void *ctx, struct vl_call *call, struct err *e);

/* --------------------------------------------------------------- session.c */

int method_exec(void *ctx, struct vl_call *call, struct err *e);
int method_attach(void *ctx, struct vl_call *call, struct err *e);
int method_sessions(void *ctx, struct vl_call *call, struct err *e);
int method_signal_session(void *ctx, struct vl_call *call, struct err *e);
struct session *session_find_pid(struct agent *a, pid_t pid);
void session_ended(struct session *s, int wait_status);
/* The container's slot is going to be freed. */
void sessions_forget(struct slot *slot);
void sessions_done(struct agent *a);

/* --------------------------------------------------------------- forward.c */

int method_forward(void *ctx, struct vl_call *call, struct err *e);
/* A socket of the containers' network namespace, non-blocking. */
int forward_socket(const struct agent *a, int family, struct err *e);
/* Not connected in time. */
void forward_timeout(struct peer *p);
void forwards_done(struct agent *a);

/* ---------------------------------------------------------------- health.c */

int method_set_checks(void *ctx, struct vl_call *call, struct err *e);
int method_checks(void *ctx, struct vl_call *call, struct err *e);
/* ----------------------------------------------------------------- files.c */

/* Writes the files (Create's list) of a container whose ids begin at base. c NULL:
 * there is none yet, and the folder is made, too. Else they take the place of
 * those that it has. */
int files_write(const char *id, const json_t *list, uint32_t base,
		struct container *c, struct err *e);
/* None there is no error. */
int files_remove(const char *id, struct err *e);

/* --------------------------------------------------------------- volumes.c */

int method_mount_volume(void *ctx, struct vl_call *call, struct err *e);
int method_freeze_volume(void *ctx, struct vl_call *call, struct err *e);
int method_thaw_volume(void *ctx, struct vl_call *call, struct err *e);
int method_unmount_volume(void *ctx, struct vl_call *call, struct err *e);
/* The folder that containers see of a volume that is mounted; or -ENOENT. */
int volumes_open_data(const char *serial);
/* Was it a child of ours that ended? Then who waits is answered. */
bool volumes_reaped(struct agent *a, pid_t pid, int status);
void volumes_peer_gone(struct peer *p);
/* A child does fn(arg); what fn says in e is told to the peer, who waits. NULL:
 * it was not begun. */
struct volume_job *volumes_start(struct peer *p, const char *serial,
				 int (*fn)(void *arg, struct err *e), void *arg,
				 struct err *e);
/* The folder at this path of the image on the disk, or -ENOENT: there is none. */
int volumes_open_image(const char *dev, const char *path);
/* A mounted ext4 (root: a descriptor in it) to the size of its disk. */
int volumes_grow_fs(const char *dev, int root, struct err *e);

/* --------------------------------------------------------------- scratch.c */

#define SCRATCH		 "/run/hyb/scratch"
#define SCRATCH_PATH_MAX 48

/* Mounts the disk with this serial, and takes note of its size. 1: it is not
 * there yet. */
int scratch_mount(struct agent *a, const char *serial, struct err *e);
/* A folder for this container, which may write so many bytes there. */
int scratch_make_folder(struct slot *s, uint64_t bytes,
			char path[SCRATCH_PATH_MAX], struct err *e);
/* The same of any name, which becomes the project's. *ret_made: the folder is
 * there, whatever went wrong then. */
int scratch_make(const char *name, uint32_t project, uint64_t bytes,
		 bool *ret_made, struct err *e);
int scratch_set_room(uint32_t project, uint64_t bytes, struct err *e);
/* The child that removes it; 0: there is none. */
pid_t scratch_begin_removal(const char *name);
/* The container is gone: so is its folder, soon (none: nothing happens). Until
 * then scratch_is_busy(), and its slot is nobody's. */
void scratch_remove_folder(struct slot *s);
bool scratch_is_busy(const struct slot *s);
/* Was it such a child that ended? Then who waits is answered. */
bool scratch_reaped(struct agent *a, pid_t pid, int status);
/* Removes all that is in a folder, however deep; 0 or -errno. */
int scratch_sweep(int top);

/* --------------------------------------------------------------- folders.c */

int method_keep_folders(void *ctx, struct vl_call *call, struct err *e);
void folders_done(struct agent *a);
/* The job has ended. */
void folders_filled(struct agent *a, const struct volume_job *job, bool good);
/* Was it a child that removed one? */
bool folders_reaped(struct agent *a, pid_t pid, int status);

/* ------------------------------------------------------------------ tree.c */

int method_copy(void *ctx, struct vl_call *call, struct err *e);
int method_copy_volume(void *ctx, struct vl_call *call, struct err *e);
/* A process has been reaped: was it one of a Copy? */
bool trees_ended(struct agent *a, pid_t pid);

/* -------------------------------------------------------------- shutdown.c */

int method_shutdown(void *ctx, struct vl_call *call, struct err *e);
/* A container has ended, or a log was taken. */
void shutdown_look(struct agent *a);

#endif
