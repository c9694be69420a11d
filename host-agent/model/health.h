/* SPDX-License-Identifier: Apache-2.0 */
/* Health and readiness checks of the model: their rules, and as JSON and back.
 * What is missing was stored before hyb knew of it: there is none of it. */
#ifndef HYB_HOST_AGENT_MODEL_HEALTH_H
#define HYB_HOST_AGENT_MODEL_HEALTH_H

#include "host-agent/model/model.h"

/* What the agent takes, see io.hyb.Agent.Check. */
#define HYB_CHECK_WORDS_MAX   256
#define HYB_CHECK_BYTES_MAX   ((size_t)16 * 1024)
#define HYB_CHECK_PATH_MAX    1024
#define HYB_CHECK_LEAST_NS    ((uint64_t)100 * 1000 * 1000)
#define HYB_CHECK_INTERVAL_NS ((uint64_t)24 * 3600 * 1000 * 1000 * 1000)
#define HYB_CHECK_TIMEOUT_NS  ((uint64_t)3600 * 1000 * 1000 * 1000)
#define HYB_CHECK_RETRIES_MAX 1000

/* As Docker's; readiness is looked at more often. */
#define HYB_HEALTH_INTERVAL_NS	  ((uint64_t)30 * 1000 * 1000 * 1000)
#define HYB_HEALTH_TIMEOUT_NS	  ((uint64_t)30 * 1000 * 1000 * 1000)
#define HYB_READINESS_INTERVAL_NS ((uint64_t)10 * 1000 * 1000 * 1000)
#define HYB_READINESS_TIMEOUT_NS  ((uint64_t)5 * 1000 * 1000 * 1000)
#define HYB_CHECK_RETRIES	  3

/* NULL when it is fine, or what it must be (see check.h). */
const char *check_http_path(const char *s);
const char *check_words(const char *const *words);

/* Of a check that its container has: 0 or -EINVAL. */
int check_health(const struct model_container *c, struct err *e);

/* Adds the container's keys to o; false: no memory. */
bool health_to_json(json_t *o, const struct model_container *c);
int health_from_json(struct arena *arena, const json_t *o,
		     struct model_container *c, struct err *e);

/* "exec", "http", "tcp", "none"; "restart", "restart_vm", "none" */
const char *check_how_name(enum check_how h);
const char *check_action_name(enum check_action a);

#endif
