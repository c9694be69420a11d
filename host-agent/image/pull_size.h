/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many bytes a pull will fetch: for people who wait, and for nothing else.
 *
 * skopeo writes the manifest last, so it is asked for once more, beside the
 * pull, and only of one that has lasted a second: a registry may count what is
 * asked of it. What goes wrong with it leaves the size unknown.
 */
#ifndef HYB_HOST_IMAGE_PULL_SIZE_H
#define HYB_HOST_IMAGE_PULL_SIZE_H

#include "host-agent/image/skopeo.h"

#include <stdint.h>

struct pull_size {
	const struct skopeo *skopeo;
	const char *name; /* registry and path */
	const char *full; /* and tag or digest */
	uint64_t since_ms;
	int asked; /* questions: the second is for an index's entry */
	int pidfd; /* of one that is under way, or -1 */
	pid_t pid;
	int answer; /* what it says */
	uint64_t total;
};

void pull_size_init(struct pull_size *z);
/* What is known by now, 0: nothing. Never waits. */
uint64_t pull_size_ask(struct pull_size *z);
void pull_size_done(struct pull_size *z);
#define _cleanup_pull_size_ __attribute__((cleanup(pull_size_done)))

#endif
