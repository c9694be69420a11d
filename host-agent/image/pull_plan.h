/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which layers an image has, and how large they are, before they are fetched:
 * asks the registry for the manifest, of an index twice. The answer is a hint
 * only. It says which layers of the cache the pull may use, and how much there
 * is to come; what is stored comes of the pull itself, which checks policies
 * and has a manifest of its own.
 */
#ifndef HYB_HOST_IMAGE_PULL_PLAN_H
#define HYB_HOST_IMAGE_PULL_PLAN_H

#include "common/base/arena.h"
#include "common/oci/image.h"
#include "host-agent/image/skopeo.h"

#include <stdint.h>

struct pull_plan {
	const struct skopeo *skopeo;
	const char *name; /* registry and path */
	int asked;	  /* questions: the second is for an index's entry */
	int pidfd;	  /* of one that is under way, or -1 */
	pid_t pid;
	int answer, errors;  /* what it says */
	struct arena *arena; /* of the manifest */
	struct oci_manifest manifest;
	char digest[72]; /* its own */
	bool known;	 /* the manifest is there */
	bool leads_away; /* it has parts of the image elsewhere (`urls`) */
	char wanted[72]; /* digest that the answer is asked for by, or "" */
	char why[700];	 /* it is not known: skopeo's words, or "" */
};

/* full: name and tag or digest. What the pointers point to must live as long
 * as the plan. */
void pull_plan_start(struct pull_plan *p, const struct skopeo *skopeo,
		     const char *name, const char *full);
/* Whether nothing more will come: then p->known says whether it was answered.
 * Never waits. */
bool pull_plan_ended(struct pull_plan *p);
void pull_plan_done(struct pull_plan *p);
#define _cleanup_pull_plan_ __attribute__((cleanup(pull_plan_done)))

#endif
