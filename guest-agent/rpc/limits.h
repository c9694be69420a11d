/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every limit of the agent, with its reason. The tables are of fixed size and
 * lie in .bss: a page of them costs memory when it is first used.
 */
#ifndef HYB_GUEST_RPC_LIMITS_H
#define HYB_GUEST_RPC_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* Of io.hyb.Agent; raised when an older peer cannot read what is said. */
#define AGENT_PROTOCOL 1
/* The vsock port that it is served on. */
#define AGENT_PORT 1024

/* Volumes that are mounted or unmounted at one time: as many as a VM has. */
#define AGENT_VOLUME_JOBS_MAX 8

/* A volume is frozen no longer, should its host forget it. */
#define AGENT_FREEZE_MS 60000

/* Secrets and configs of a container: as many as its host sends, and the
 * longest of them. */
#define AGENT_FILES_MAX 33
#define AGENT_FILE_MAX	((int64_t)64 * 1024)

/* What a container may write to its scratch folder, at least: that an overlay
 * can be there. */
#define AGENT_SCRATCH_MIN ((uint64_t)1 << 20)
/* Folders that outlive their containers: of a VM, as many as its host counts on,
 * and of one container. */
#define AGENT_FOLDERS_MAX	    256
#define AGENT_CONTAINER_FOLDERS_MAX 64

/* As many connections as hyb-vsockd carries for a VM: none that it lets in is
 * refused here, none more can come. */
#define AGENT_PEERS_MAX 256
/* Waiting in the kernel to be accepted: all that may come while the guest
 * boots. */
#define AGENT_BACKLOG 128
/* Containers of a VM: what its host counts on. A hundred small ones fit into
 * half a gigabyte; each has a connection for its log. */
#define AGENT_CONTAINERS_MAX 128
/* Ranges of ids that the host may choose for containers that have folders of
 * its own, where it maps these ids: as many as a VM has such folders, and where
 * they begin, behind those of all containers. */
#define AGENT_IDS_MAX	8
#define AGENT_IDS_FIRST 1024
/* Sessions of Exec: four connections each, so no more could be attached. */
#define AGENT_SESSIONS_MAX 64
/* Forwarded TCP connections: three in four of all connections, and fewer where
 * containers' logs and these for calls and sessions would not come through when
 * a port is flooded. */
#define AGENT_FORWARDS_MAX 192
#define AGENT_CALLS_MIN	   32

/* Processes told by a Top, and bytes of the command of each: with all of it
 * escaped the answer stays below what the host takes. */
#define AGENT_TOP_MAX	  256
#define AGENT_TOP_COMMAND 200

/* Processes of Copy, each of which may stand still for as long as its host end
 * does not read. */
#define AGENT_TREES_MAX 16

/* Longest message: a configuration of an image with a long environment. */
#define AGENT_MESSAGE_MAX ((size_t)1 << 20)
/* A receive buffer over this is a large one, and at most so many connections
 * have one: together 8 MiB, less than the smallest VM has to spare. */
#define AGENT_IN_LARGE	((size_t)64 * 1024)
#define AGENT_IN_LARGES 8
/* What is queued for a connection whose host end does not read. Over it the
 * connection ends. A List of all containers with the longest messages fits. */
#define AGENT_OUT_MAX ((size_t)512 * 1024)
/* Beyond this, events are not queued but remembered as one bit a container. */
#define AGENT_EVENTS_HIGH ((size_t)32 * 1024)
/* Of an error's text: so many that a List of 128 containers that failed with the
 * longest stays below what is queued. */
#define AGENT_TEXT_MAX 512
/* What the kernel keeps of a connection that is not read; its default of 256
 * KiB would make 64 MiB of all connections. */
#define AGENT_SOCKET_BUFFER ((uint64_t)64 * 1024)
/* When all connections are in use, one that carries no stream and was silent
 * for so long gives way: a vsock device that died and was replaced cannot
 * tell of the connections that died with it. */
#define AGENT_STALE_MS 90000
/* A control message of a session: {"resize":{"rows":N,"cols":N}}. */
#define AGENT_CONTROL_MAX ((size_t)4096)

/* One read of a stream: half a pipe. What the other side does not take of it
 * is kept, so this is also the memory of a stream that does not move. */
#define AGENT_COPY_SIZE ((size_t)32 * 1024)
/* Bytes moved for one source before others have their turn. */
#define AGENT_COPY_TURN ((size_t)256 * 1024)

/* A container's log ring: a few records, and less than a small VM's memory. */
#define AGENT_LOG_MIN ((int64_t)16 * 1024)
#define AGENT_LOG_MAX ((int64_t)16 << 20)
/* Output within this time of a record's first byte may join it, as long as
 * none of it has been sent: a million lines are not a million records. */
#define AGENT_LOG_JOIN_NS ((uint64_t)5000000)
/* After a read of less than half a page the pipe rests: a program that writes
 * line by line fills it meanwhile and wakes the agent 500 times a second, not
 * once a line. The first line is never held up. */
#define AGENT_LOG_REST_MS  2
#define AGENT_LOG_REST_LEN 2048
/* After a container's end its pipes have ended, too, as all its processes were
 * killed; one that hangs in the kernel may hold them up no longer. */
#define AGENT_LOG_DRAIN_MS 5000

/* After the end of a session's process, others that it left behind may still
 * hold its output open; what they write within this time is passed on. */
#define AGENT_SESSION_DRAIN_MS 1000
/* Streams that nobody has attached this long after that are given up. */
#define AGENT_SESSION_KEEP_MS 10000
/* Of a session that its host may leave: the last bytes of each output, several
 * screens of a terminal; so many sessions of a container, of which one that has
 * ended gives way; and how long it is told how one ended. */
#define AGENT_KEPT_BYTES     ((size_t)64 * 1024)
#define AGENT_KEPT_MAX	     16
#define AGENT_KEPT_STATUS_MS 600000
/* A connection that we have ended waits so long for the host to end it. */
#define AGENT_LINGER_MS 10000

/* Waiting for a disk: a host that boots slowly under load. */
#define AGENT_DISK_TIMEOUT_MAX_MS 120000
/* The kernel tells of new disks; this look is for what a full socket lost. */
#define AGENT_DISK_LOOK_MS 200
/* Connecting inside the VM takes no time; a full backlog drops the SYN, and
 * its first repetition comes after a second. */
#define AGENT_CONNECT_MS 4000
/* Killing what a Delete with force meets. */
#define AGENT_DELETE_MS 20000
/* Longest grace of a Shutdown, and what is given to it beyond: killed
 * containers must be reaped, logs fetched, the answer taken. */
#define AGENT_GRACE_MAX_MS 600000
#define AGENT_KILL_MS	   5000
#define AGENT_FLUSH_MS	   2000

/* What is kept of what a check has said: as Docker keeps. */
#define AGENT_CHECK_TEXT 4096
/* The begin of it that every event carries: 256 of them and all else of 128
 * containers stay below what is queued. */
#define AGENT_CHECK_NOTE 256
/* Its command line, in words and in all. */
#define AGENT_CHECK_ARGS_MAX   256
#define AGENT_CHECK_ARGS_BYTES ((size_t)16 * 1024)
#define AGENT_CHECK_PATH_MAX   1024
/* As many as a host publishes of one VM, and some. */
#define AGENT_CHECK_PORTS_MAX	    64
#define AGENT_CHECK_LEAST_MS	    100
#define AGENT_CHECK_INTERVAL_MAX_MS INT64_C(86400000)
#define AGENT_CHECK_TIMEOUT_MAX_MS  INT64_C(3600000)
#define AGENT_CHECK_RETRIES_MAX	    1000
/* Between checks of what has not come up yet. */
#define AGENT_CHECK_QUICK_MS 1000
/* What is killed is gone after it, or hangs in the kernel. */
#define AGENT_CHECK_KILL_MS 5000

/* The heartbeat that Events promises. */
#define AGENT_HEARTBEAT_MS 1000

/* Strings of calls. An id is the host's NAME.INCARNATION. */
#define AGENT_ID_MAX	   79
#define AGENT_INSTANCE_MAX 64
#define AGENT_HOSTNAME_MAX 64
#define AGENT_ENTROPY_MAX  512
/* virtio-blk has 20 bytes for a serial. */
#define AGENT_SERIAL_MAX 20
#define AGENT_USER_MAX	 256
/* Of an Exec: what a command line and an environment have in practice; the
 * kernel's own limit is what counts beyond. */
#define AGENT_ARGS_MAX 4096
#define AGENT_ENV_MAX  4096

#endif
