/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes the output of one VM's containers from the guest to the log files, on
 * a thread of its own. A record is acknowledged to the guest once the file has
 * it, so none is lost and none comes twice, whoever is killed in between.
 */
#ifndef HYB_HOST_AGENT_RECONCILE_LOGPUMP_H
#define HYB_HOST_AGENT_RECONCILE_LOGPUMP_H

#include "common/base/err.h"
#include "host-agent/guest/vsock.h"

#include <stdbool.h>
#include <stdint.h>

struct logpump;

/* dir: the folder of the VM's logs. changed: called (from the pump's thread)
 * when a log has grown or ended; NULL: nobody waits. */
int logpump_new(const char *dir, const struct vsock_addr *addr,
		void (*changed)(void *arg), void *arg, struct logpump **ret,
		struct err *e);
/* Stops and joins the thread. What was not taken stays in the guest. */
void logpump_free(struct logpump *p);

/* Begins with the container that the guest knows as id: its bytes continue
 * NAME.log, and its offset 0 is the log's `base`. */
int logpump_add(struct logpump *p, const char *name, const char *id,
		uint64_t base, struct err *e);
/* Waits until all that a container that has ended wrote is in its log: 0, or
 * -ETIMEDOUT. A container that is not pumped is drained. */
int logpump_drain(struct logpump *p, const char *id, uint64_t deadline_ms);
/* Ends the pumping of it. */
void logpump_remove(struct logpump *p, const char *id);
/* Has all that it wrote been taken, and will no more come? */
bool logpump_is_drained(struct logpump *p, const char *id);

#endif
