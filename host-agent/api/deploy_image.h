/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The images of a deployment, each once: found in the store, or fetched.
 *
 * Nothing of the deployment is stored before all of them are there. So a hybd
 * that ends meanwhile, or a caller that does, leaves nothing half-made: what has
 * been fetched is in the store, and deploying again goes on from there.
 */
#ifndef HYB_HOST_AGENT_API_DEPLOY_IMAGE_H
#define HYB_HOST_AGENT_API_DEPLOY_IMAGE_H

#include "host-agent/api/api.h"
#include "host-agent/manifest/manifest.h"

/* An image that containers want. */
struct wanted_image {
	const char *tenant;    /* whose store it is in */
	const char *reference; /* as the first container has it */
	char full[400];	       /* canonical */
	/* That which fetches most of all who want it. */
	enum pull_policy policy;
	/* Who wants it first, for messages, and how many more do. */
	const char *stack, *vm;
	const struct model_container *container;
	size_t others;

	struct image_info *info; /* NULL: it is not in the store, or not yet */
	bool to_pull, pulled;
	struct image_store *store;   /* into which it is pulled */
	struct image_rights *rights; /* of who pulls it */
	struct err err;		     /* why it cannot be had, code 0: it can */

	/* Of a pull under way, under its lock. */
	char phase[16];
	uint64_t done, total;
	bool ended;
	/* Of who tells of it. */
	char told_phase[16];
	uint64_t told_at;
};

struct wanted_images {
	struct wanted_image *list;
	size_t n;
	/* By container, in the order of the stacks. */
	size_t *of_container;
};

struct image_pulls {
	const char *auth; /* as struct image_pull has it */
	/* Why there are none of the caller's, or NULL: then nothing is pulled. */
	const char *auth_error;
	uint64_t begin;	      /* of the call, ms */
	uint64_t deadline_ms; /* 0: the store's own limit */
};

struct image_admission {
	bool dry_run; /* nothing is pulled */
	struct image_pulls pulls;
	json_t *changes, *warnings; /* are added to */
};

/* Every image of these stacks, whose tenants are known, is there, or pulled, and
 * their containers get its digest. Of a dry run those stay without whose image
 * is not there. Sentences about what may surprise go into warnings. What is
 * wrong with the images is told of all. text: the manifest's. */
int images_admit(struct request *q, struct manifest *m, const char *text,
		 const struct image_admission *a, struct err *e);

/* Whether what was admitted is still there: with `removals` held, so that it
 * stays until it is stored who uses it. -ENOENT: some was removed meanwhile. */
int images_check(struct request *q, const struct manifest *m, struct err *e);

/* deploy_pull.c: fetches those with `to_pull`, some at a time, and tells the
 * client. What goes wrong is in each one's err. -ECANCELED: the client left. */
int images_pull(struct request *q, struct wanted_images *w,
		const struct image_pulls *p, struct err *e);

#endif
