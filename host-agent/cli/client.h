/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hyb's side of the connection to hybd. Where none answers, one is started
 * for the root; of several that try, one wins and all connect to it.
 */
#ifndef HYB_HOST_AGENT_CLI_CLIENT_H
#define HYB_HOST_AGENT_CLI_CLIENT_H

#include "common/varlink/call.h"
#include "host-agent/cli/cli.h"

#define HOST_IFACE "io.hyb.Host."

enum client_flags {
	CLIENT_START = 1 /* start a hybd where none answers */
};

/* Connects. Returns 0 or an exit status with the reason in e. A hybd that
 * runs with another libvirt URI or accelerator than the caller asked for is an
 * error: what was asked for is never dropped. */
int client_open(const struct cli *cli, unsigned int flags, struct vl_conn *ret,
		struct err *e);

/* One call, one reply, within timeout_ms (0: no limit). params' reference is
 * taken. 0, or an exit status with the reason in e; what an error says of the
 * manifest's lines has been printed. */
int client_call(struct vl_conn *c, const char *method, json_t *params,
		uint64_t timeout_ms, struct vl_reply *reply, struct err *e);

/* Told of every {event} of a call with `more`. NULL event: nothing has come
 * for a tenth of a second. */
typedef void (*client_event_fn)(void *ctx, const json_t *event);
/* A call with `more`: 0 and the last reply, or as above. -1 is no status:
 * CLI_INTERRUPTED where SIGINT came (client_catch_interrupt() first). fds go
 * with the call. */
int client_call_more(struct vl_conn *c, const char *method, json_t *params,
		     const int *fds, size_t n_fds, uint64_t timeout_ms,
		     client_event_fn on_event, void *ctx,
		     struct vl_reply *reply, struct err *e);
/* From here on SIGINT and SIGTERM end client_call_more(), not the process. */
void client_catch_interrupt(void);

/* The exit status for an error reply (0: it is none), its text in e. */
int client_status(const struct vl_reply *reply, struct err *e);

/* Connects (starting a hybd), calls, closes: for verbs that make one call. */
int client_one(const struct cli *cli, const char *method, json_t *params,
	       struct vl_reply *reply, struct err *e);

/* Calls the method with {key: word} and prints the object it answers with, as
 * JSON: for the verbs that inspect. */
int client_inspect(const struct cli *cli, const char *verb, const char *method,
		   const char *key, const char *word);
/* Calls the method and prints the rows that it answers with as KEY: for the verbs
 * that list. */
int client_list(const struct cli *cli, const char *verb, const char *method,
		const char *key, enum out_format format,
		const char *const *fields, const char *const *headings,
		out_row_fn print_row);
/* Connects and calls fn for each word, all of them but where hybd is gone. fn
 * tells of its failure itself; the first exit status counts. */
int client_each(const struct cli *cli, const char *verb, int n, char **words,
		int (*fn)(struct vl_conn *c, const char *word));

/* For the verbs that remove, within client_each(): calls the method with the name
 * and says that it is gone, or that `what` failed. */
int client_remove(struct vl_conn *c, const char *what, const char *method,
		  const char *name);

/* spawn.c: starts a hybd and waits until it serves. 0 or -errno. */
int client_start(const struct cli *cli, struct err *e);

#endif
