/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs, each defined in the file of its name. */
#ifndef HYB_HOST_AGENT_CLI_VERBS_H
#define HYB_HOST_AGENT_CLI_VERBS_H

#include "host-agent/cli/cli.h"

extern const struct verb verb_deploy, verb_plan, verb_validate, verb_ps,
	verb_logs, verb_exec, verb_start, verb_stop, verb_down, verb_image_load,
	verb_image_pull, verb_image_ls, verb_image_inspect, verb_image_rm,
	verb_vm_ls, verb_port_forward, verb_inspect, verb_doctor, verb_version,
	verb_completion, verb_complete, verb_help;

#endif
