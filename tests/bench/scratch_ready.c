/* SPDX-License-Identifier: Apache-2.0 */
/* How long a scratch disk takes to be ready on the host: with its template
 * there, and, to compare, with mke2fs for each. scratch_ready FOLDER */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/fd.h"
#include "host-agent/state/state.h"
#include "host-agent/volume/volume.h"

#define ROUNDS 21
#define SIZE   ((uint64_t)1280 << 20) /* of a VM with one container */
#define UID    64001

static struct volume_store *store;
static char folder[256];

static double round_once(bool template_there)
{
	struct err e = ERR_INIT;
	char path[300];
	uint64_t start;

	snprintf(path, sizeof(path), "%s/volumes/.scratch", folder);
	if (!template_there)
		path_remove(path, NULL);
	start = now_realtime_ns();
	if (volume_scratch_make(store, folder, "disk", SIZE, UID, &e) < 0) {
		fprintf(stderr, "bench: %s\n", e.msg);
		exit(1);
	}
	return (double)(now_realtime_ns() - start) / 1e6;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	double copied[ROUNDS], made[ROUNDS];
	struct volume_config c = {
		.mkfs_uid = UID, .vm_uid_base = UID - 1, .vm_uid_count = 10};
	struct err e = ERR_INIT;
	char path[300];
	size_t i;

	if (argc != 2)
		return 2;
	snprintf(folder, sizeof(folder), "%s", argv[1]);
	snprintf(path, sizeof(path), "%s/state.db", folder);
	c.root = folder;
	if (state_open(path, &c.state, &e) < 0 ||
	    volume_store_open(&c, &store, &e) < 0) {
		fprintf(stderr, "bench: %s\n", e.msg);
		return 1;
	}
	/* By turns: both see the same machine. */
	for (i = 0; i < ROUNDS; i++) {
		made[i] = round_once(false);
		copied[i] = round_once(true);
	}
	qsort(copied, ROUNDS, sizeof(copied[0]), compare);
	qsort(made, ROUNDS, sizeof(made[0]), compare);
	printf("bench: scratch_ready %.3g ms ratio=%.3f # theirs: mke2fs each "
	       "time: %.3g ms; worst of %d: %.3g and %.3g ms; budget 50 ms\n",
	       copied[ROUNDS / 2], copied[ROUNDS / 2] / made[ROUNDS / 2],
	       made[ROUNDS / 2], ROUNDS, copied[ROUNDS - 1], made[ROUNDS - 1]);
	return 0;
}
