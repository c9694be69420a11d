/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes and mounts of the model as JSON and back; json.c's. What is missing
 * was stored before hyb knew of it: there is none of it. */
#ifndef HYB_HOST_AGENT_MODEL_JSON_STORAGE_H
#define HYB_HOST_AGENT_MODEL_JSON_STORAGE_H

#include "host-agent/model/model.h"

/* Adds the container's keys to o; false: no memory. */
bool storage_to_json(json_t *o, const struct model_container *c);
/* The stack's volumes; NULL: no memory. */
json_t *volumes_to_json(const struct model_stack *s);

int storage_from_json(struct arena *arena, const json_t *o,
		      struct model_container *c, struct err *e);
int volumes_from_json(struct arena *arena, const json_t *o,
		      struct model_stack *s, struct err *e);

#endif
