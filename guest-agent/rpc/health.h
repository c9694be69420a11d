/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks of containers: is it alive (health), may it be sent work (readiness)?
 *
 * Theory of operation
 *
 * A container has at most one check of each kind, set by SetChecks. While it
 * runs and is not paused, the check is made again and again: a process in the
 * container (health_exec.c), or a connection in the containers' network
 * namespace (health_net.c). Each time gives one result.
 *
 *   STARTING   until the first success, or until `retries` failures in a row
 *              that count. Those within the start period do not.
 *   PASSING    from a success on, until `retries` failures in a row
 *   FAILING    until a success
 *
 * The first check is made at once, and until there was a success the next ones
 * follow every second within the start period, which is no shorter than one
 * interval: so nothing fails sooner than by Docker's rules (which begin after
 * one interval), but a container that is up is known to be.
 *
 * What a container can do to its checks: fail them, hold one up until its
 * timeout, write without end into it. It cannot hold up the loop, keep more than
 * AGENT_CHECK_TEXT of output, or keep what a check started: that lies in a
 * cgroup of its own, which is killed.
 */
#ifndef HYB_GUEST_RPC_HEALTH_H
#define HYB_GUEST_RPC_HEALTH_H

#include "common/base/err.h"
#include "guest-agent/rpc/limits.h"
#include "guest-agent/rpc/poller.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct agent;
struct slot;

enum check_kind { CHECK_HEALTH, CHECK_READINESS, CHECK_KINDS };
enum check_how { CHECK_EXEC, CHECK_HTTP, CHECK_TCP, CHECK_HOW_MAX };
enum check_status { CHECK_STARTING, CHECK_PASSING, CHECK_FAILING };

/* Strings are borrowed from the check's `source`. */
struct check_spec {
	enum check_how how;
	json_t *args;	  /* CHECK_EXEC */
	uint16_t port;	  /* CHECK_HTTP, CHECK_TCP */
	const char *path; /* CHECK_HTTP */
	uint64_t interval_ms, timeout_ms, start_period_ms;
	uint32_t retries;
};

struct check_result {
	bool passed;
	uint64_t at;   /* CLOCK_REALTIME ns of its begin; 0: none yet */
	uint64_t ms;   /* it took */
	int exit_code; /* -1: none */
	char why[160]; /* of a failure */
	char text[AGENT_CHECK_TEXT];
	size_t len;
};

struct check {
	struct agent *agent;
	struct slot *slot;
	enum check_kind kind;
	json_t *source; /* as SetChecks gave it; NULL: there is no such check */
	struct check_spec spec;
	uint16_t ports[AGENT_CHECK_PORTS_MAX]; /* that readiness opens */
	size_t n_ports;

	bool active; /* its container runs */
	enum check_status status;
	uint32_t failures;  /* in a row, those that count */
	bool passed;	    /* ever, since it became active */
	uint64_t since_ms;  /* when it became active */
	uint64_t note_hash; /* of what was told last */
	struct check_result last;

	/* The one that is being made. `timer`: its end, else the next one's
	 * begin. */
	bool busy;
	bool over; /* it has its result, only its process is still there */
	struct check_result now;
	uint64_t began_ms;
	struct timer timer;
	struct watch watch; /* the process's output, or the connection */
	pid_t pid;
	unsigned int turn; /* which of two cgroups */
	bool connecting, v6;
	int error; /* of the first address */
};

/* health.c: what the container's life means for its checks. */
void health_started(struct slot *s);
void health_paused(struct slot *s);
void health_resumed(struct slot *s);
void health_ended(struct slot *s);
/* The slot is going to be freed. */
void health_free(struct slot *s);
/* "" (none), starting, healthy, unhealthy; "", starting, ready, unready. */
const char *health_word(const struct slot *s, enum check_kind kind);
/* Why the last check failed and the begin of its output, escaped; "". */
struct check_note {
	char s[AGENT_CHECK_NOTE];
};
const char *health_note(const struct slot *s, enum check_kind kind,
			struct check_note *n);
/* May a published port be connected to? Not when it is one of containers with
 * readiness checks none of which is ready. */
bool health_port_is_open(struct agent *a, uint16_t port);

/* Between health.c and the two ways of checking. */

/* The result of the check at hand; why: of a failure, printf-like, else NULL. */
void check_result(struct check *c, bool passed, const char *why, ...)
	__attribute__((format(printf, 3, 4)));
/* It has left nothing behind: the next one may come. */
void check_over(struct check *c);
/* Adds to what it has said, as far as there is room. */
void check_add_text(struct check *c, const char *data, size_t len);

/* health_exec.c */
int check_exec_begin(struct check *c, struct err *e);
void check_exec_timeout(struct check *c);
/* Ends it without a result. */
void check_exec_abort(struct check *c);
struct check *check_find_pid(struct agent *a, pid_t pid);
void check_exec_ended(struct check *c, int wait_status);

/* health_net.c */
int check_net_begin(struct check *c, struct err *e);
void check_net_timeout(struct check *c);
void check_net_abort(struct check *c);
/* The status code of an HTTP response's begin; -EAGAIN: more is needed,
 * -EPROTO: it is none. */
int http_status(const char *text, size_t len);

#endif
