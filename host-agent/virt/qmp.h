/* SPDX-License-Identifier: Apache-2.0 */
/* A QEMU monitor (QMP) spoken to directly. Only while libvirt does not hold
 * that monitor: a monitor has one client. */
#ifndef HYB_HOST_AGENT_VIRT_QMP_H
#define HYB_HOST_AGENT_VIRT_QMP_H

#include "common/base/buf.h"
#include "common/base/json.h"

struct qmp {
	int fd;
	struct buf in;
	unsigned int calls;
	char id[32]; /* of the last call */
	uint64_t deadline_ms;
};

#define QMP_MAX ((size_t)1 << 20) /* of one answer */
#define QMP_INIT                            \
	{                                   \
		.fd = -1, .in.max = QMP_MAX \
	}

/* Connects to the socket at path and negotiates. All calls together end at
 * deadline_ms (CLOCK_MONOTONIC). 0 or -errno. */
int qmp_open(struct qmp *q, const char *path, uint64_t deadline_ms);
void qmp_close(struct qmp *q);
#define _cleanup_qmp_ __attribute__((cleanup(qmp_close)))

/* Calls `command` with `arguments` (taken over; NULL: none). What it returned,
 * for the caller to json_decref(), or NULL: it failed, or no answer in time. */
json_t *qmp_call(struct qmp *q, const char *command, json_t *arguments);

#endif
