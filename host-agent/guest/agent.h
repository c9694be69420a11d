/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client of io.hyb.Agent: the only place on the host that reads what a guest
 * says. Every answer is taken as written by an enemy: one deadline a call, at
 * most HYB_AGENT_REPLY_MAX bytes, every field checked by type and bounds,
 * strings that could reach a log or a terminal escaped, nothing that the guest
 * names is used as a path or a size.
 */
#ifndef HYB_HOST_AGENT_GUEST_AGENT_H
#define HYB_HOST_AGENT_GUEST_AGENT_H

#include "common/varlink/call.h"
#include "host-agent/guest/vsock.h"

#define HYB_AGENT_PORT	    1024
#define HYB_AGENT_PROTOCOL  1
#define HYB_AGENT_REPLY_MAX ((size_t)512 * 1024)
/* Containers a VM, as the agent limits them too. */
#define HYB_AGENT_CONTAINERS_MAX 128

struct agent {
	struct vl_conn conn;
};

/* Connects; the connection is held by the device while the guest boots. */
int agent_open(struct agent *a, const struct vsock_addr *addr,
	       uint64_t deadline_ms, struct err *e);
void agent_close(struct agent *a);
#define _cleanup_agent_ __attribute__((cleanup(agent_close)))

struct agent_hello {
	int64_t protocol;
	char version[64];
	char kernel[128];
	char instance[64];
	int64_t uptime_ns;
	int64_t memory_total;
	int64_t vcpus;
};

int agent_hello(struct agent *a, uint64_t deadline_ms, struct agent_hello *ret,
		struct err *e);

struct agent_claim {
	const char *instance;
	const char *hostname;
	const char *machine_id;
};

/* Claims with the host's clock and fresh entropy. */
int agent_claim(struct agent *a, const struct agent_claim *c,
		uint64_t deadline_ms, struct err *e);
int agent_set_time(struct agent *a, uint64_t deadline_ms, struct err *e);

enum agent_status {
	AGENT_CREATED,
	AGENT_RUNNING,
	AGENT_PAUSED,
	AGENT_STOPPED,
	AGENT_STATUS_MAX
};

/* What a check of a container has found. */
enum agent_health {
	AGENT_HEALTH_NONE, /* there is no such check */
	AGENT_HEALTH_STARTING,
	AGENT_HEALTH_GOOD,
	AGENT_HEALTH_BAD
};

struct agent_container {
	char id[80];
	enum agent_status status;
	int64_t pid;
	int64_t started_at;
	int64_t finished_at;
	int64_t exit_code; /* -1: not ended */
	bool oom_killed;
	char reason[24];   /* one of a closed list, or "" */
	char message[384]; /* escaped */
	enum agent_health health, readiness;
	char health_note[256], readiness_note[256]; /* escaped */
};

struct agent_create {
	const char *id;
	json_t *config; /* borrowed */
	const char *image_serial;
	uint64_t disk_timeout_ms;
	const char *scratch_serial; /* NULL: the guest's memory */
	uint64_t scratch_size;
	const char *user;
	bool init;
	uint64_t log_size;
	json_t *files; /* borrowed; NULL: none */
	uint32_t ids;  /* a range that AGENT_IDS_BASE() tells; 0: any */
};
/* Where the ids of the guest begin that a container with `ids` has. */
#define AGENT_IDS_BASE(ids) (65536u * (1024u + (ids)))

int agent_create(struct agent *a, const struct agent_create *c,
		 uint64_t deadline_ms, struct err *e);
/* A program that cannot be executed: -ENOEXEC, *ret_exit_code 126 or 127 and
 * the guest's words in e. */
int agent_start(struct agent *a, const char *id, uint64_t deadline_ms,
		int64_t *ret_pid, int64_t *ret_exit_code, struct err *e);
int agent_signal(struct agent *a, const char *id, int sig, bool all,
		 uint64_t deadline_ms, struct err *e);
/* Freezes and thaws it; done twice is fine. */
int agent_pause(struct agent *a, const char *id, uint64_t deadline_ms,
		struct err *e);
int agent_resume(struct agent *a, const char *id, uint64_t deadline_ms,
		 struct err *e);
int agent_wait(struct agent *a, const char *id, uint64_t deadline_ms,
	       struct agent_container *ret, struct err *e);
int agent_delete(struct agent *a, const char *id, bool force,
		 uint64_t deadline_ms, struct err *e);
/* As io.hyb.Agent.Check, JSON null for none; takes the references. *ret: what
 * is known by the new checks. */
int agent_set_checks(struct agent *a, const char *id, json_t *health,
		     json_t *readiness, json_t *ports, uint64_t deadline_ms,
		     struct agent_container *ret, struct err *e);
/* What the container's checks have found last, for people: {health, readiness},
 * each null or an object of checked, escaped members; `output` is a list of
 * lines. */
int agent_checks(struct agent *a, const char *id, uint64_t deadline_ms,
		 json_t **ret, struct err *e);
/* At most HYB_AGENT_CONTAINERS_MAX. */
int agent_list(struct agent *a, uint64_t deadline_ms,
	       struct agent_container *ret, size_t *ret_n, struct err *e);

struct agent_stats {
	int64_t memory_total;
	int64_t memory_available;
};
int agent_stats(struct agent *a, uint64_t deadline_ms, struct agent_stats *ret,
		struct err *e);
/* Of one container; see io.hyb.Agent. memory_max -1: no limit. */
struct agent_container_stats {
	char id[80];
	int64_t memory_current, memory_peak, memory_reclaimable, memory_max;
	int64_t cpu_usec, pids_current, oom_kills, io_read, io_written;
	int64_t memory_pressure, cpu_pressure, io_pressure;
};
/* At most HYB_AGENT_CONTAINERS_MAX. */
int agent_container_stats(struct agent *a, uint64_t deadline_ms,
			  struct agent_container_stats *ret, size_t *ret_n,
			  struct err *e);

#define HYB_AGENT_TOP_MAX 256
struct agent_process {
	int64_t pid, uid, rss, cpu_usec, threads;
	char state[8];
	char command[800]; /* escaped */
};
/* At most HYB_AGENT_TOP_MAX. */
int agent_top(struct agent *a, const char *id, uint64_t deadline_ms,
	      struct agent_process *ret, size_t *ret_n, struct err *e);
int agent_shutdown(struct agent *a, uint64_t grace_ms, uint64_t deadline_ms,
		   struct err *e);

/* Writes the files with these names anew. */
int agent_update_files(struct agent *a, const char *id, json_t *files,
		       uint64_t deadline_ms, struct err *e);

struct agent_volume {
	const char *serial;
	bool read_only;
	const char *image_serial; /* "": nothing is copied into an empty one */
	const char *path;
};

/* Mounts and grows it; the disk may be on its way for wait_ms. */
int agent_mount_volume(struct agent *a, const struct agent_volume *v,
		       uint64_t wait_ms, uint64_t deadline_ms, struct err *e);
/* Nothing is written to it until it is thawed, or for 60 s; thawing one that
 * has thawed by itself is an error. */
int agent_freeze_volume(struct agent *a, const char *serial,
			uint64_t deadline_ms, struct err *e);
int agent_thaw_volume(struct agent *a, const char *serial, uint64_t deadline_ms,
		      struct err *e);
int agent_unmount_volume(struct agent *a, const char *serial,
			 uint64_t deadline_ms, struct err *e);

/* As io.hyb.Agent.KeepFolders says. */
struct agent_folder {
	const char *path;
	uint64_t size;
	bool copy;
};
#define AGENT_PLACE_MAX 64
/* places[n] are the guest's word; the disks may be on their way for wait_ms. */
int agent_keep_folders(struct agent *a, const char *container,
		       const char *scratch_serial, const char *image_serial,
		       const struct agent_folder *folders, size_t n,
		       char (*places)[AGENT_PLACE_MAX], uint64_t wait_ms,
		       uint64_t deadline_ms, struct err *e);

/* Asks for events on this connection, which carries nothing else from then
 * on. */
int agent_events_open(struct agent *a, uint64_t deadline_ms, struct err *e);
/* Takes the next event out of what was received: 1 with *ret (id "" for a
 * heartbeat), 0 when there is none yet, or an error. Fill with
 * vl_conn_fill(&a->conn). */
int agent_events_next(struct agent *a, struct agent_container *ret,
		      struct err *e);

struct agent_exec {
	const char *session; /* 32 hexadecimal digits */
	const char *id;
	json_t *args; /* borrowed arrays of strings */
	json_t *env;
	const char *cwd;
	const char *user;
	bool tty;
	int64_t rows, cols;
	bool in;
	bool detach; /* it goes on when *ret_fd is closed */
};

/* Upgrade calls: the connection that *ret_fd is afterwards carries what the
 * interface says; nothing of it was read ahead.
 * agent_exec(): with `detach`, of a program that cannot be executed: -ENOEXEC,
 * *ret_exit_code 126 or 127 and the guest's words in e. */
int agent_exec(const struct vsock_addr *addr, const struct agent_exec *x,
	       uint64_t deadline_ms, int *ret_fd, int64_t *ret_exit_code,
	       struct err *e);
int agent_attach(const struct vsock_addr *addr, const char *session,
		 const char *stream, uint64_t deadline_ms, int *ret_fd,
		 struct err *e);

/* What is told of a detached session when one of its streams is attached. */
struct agent_attached {
	int fd;
	bool tty, in; /* "control" */
	int64_t lost; /* outputs: bytes */
};
/* "control" first; `again`: take it over from another host (-EBUSY else); of an
 * output: all that is kept of it. */
int agent_reattach(const struct vsock_addr *addr, const char *session,
		   const char *stream, bool again, uint64_t deadline_ms,
		   struct agent_attached *ret, struct err *e);

#define HYB_AGENT_SESSIONS_MAX 64
struct agent_session {
	char id[33];
	int64_t pid; /* in the container; 0: ended */
	bool tty, in, attached, detached, running;
	int64_t exit_code; /* -1: not ended */
	int64_t started_at, finished_at, waiting;
	char command[800]; /* escaped */
};
/* Of a container, at most HYB_AGENT_SESSIONS_MAX. */
int agent_sessions(struct agent *a, const char *id, uint64_t deadline_ms,
		   struct agent_session *ret, size_t *ret_n, struct err *e);

/* To the process group of a session, whose whole id it is. */
int agent_signal_session(struct agent *a, const char *session, int sig,
			 uint64_t deadline_ms, struct err *e);

int agent_logs(const struct vsock_addr *addr, const char *id, uint64_t offset,
	       uint64_t deadline_ms, int *ret_fd, struct err *e);
int agent_copy(const struct vsock_addr *addr, const char *id,
	       uint64_t deadline_ms, int *ret_fd, struct err *e);
int agent_copy_volume(const struct vsock_addr *addr, const char *serial,
		      uint64_t deadline_ms, int *ret_fd, struct err *e);
/* Whether the port's container is ready or not. */
int agent_forward(const struct vsock_addr *addr, uint16_t port,
		  uint64_t deadline_ms, int *ret_fd, struct err *e);

#endif
