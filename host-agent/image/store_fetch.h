/* SPDX-License-Identifier: Apache-2.0 */
/* What store_pull.c and store_fetch.c share. */
#ifndef HYB_HOST_IMAGE_STORE_FETCH_H
#define HYB_HOST_IMAGE_STORE_FETCH_H

#include "host-agent/image/image_ref.h"
#include "host-agent/image/pull_plan.h"
#include "host-agent/image/skopeo.h"
#include "host-agent/image/store_layers.h"

struct pull {
	struct image_store *s;
	const struct image_pull *p;
	struct image_ref ref;
	char dir[4096]; /* private to skopeo */
	char out[4110]; /* what it writes: dir/image */
	char auth[4110];
	const char *auth_text;	    /* what is in there */
	char arch[24], variant[24]; /* that were asked for; "": the host's */
	uint64_t deadline_ms;
	image_progress progress;
	void *arg;
	struct skopeo skopeo;
	struct pull_plan plan; /* that has been asked for */
	struct layers *layers; /* NULL as long as the plan is not known */
};

/* Has the registry another image than p->have? -EALREADY: it has not. 0 where
 * it cannot be told. */
int store_ask(struct pull *u, struct err *e);

/* Makes u->out of the image, trying again where a connection broke: what came
 * whole is not fetched again. */
int store_fetch(struct pull *u, struct err *e);

#endif
