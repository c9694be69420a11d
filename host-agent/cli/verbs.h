/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs, each defined in the file of its name. */
#ifndef HYB_HOST_AGENT_CLI_VERBS_H
#define HYB_HOST_AGENT_CLI_VERBS_H

#include "host-agent/cli/cli.h"

extern const struct verb cli_verb_deploy, cli_verb_plan, cli_verb_validate,
	cli_verb_ps, cli_verb_logs, cli_verb_exec, cli_verb_events,
	cli_verb_stats, cli_verb_top, cli_verb_cp, cli_verb_start,
	cli_verb_stop, cli_verb_restart, cli_verb_pause, cli_verb_resume,
	cli_verb_kill, cli_verb_down, cli_verb_image_load,
	cli_verb_image_import, cli_verb_image_build, cli_verb_image_prune,
	cli_verb_image_pull, cli_verb_image_ls, cli_verb_image_inspect,
	cli_verb_image_rm, cli_verb_vm_ls, cli_verb_port_forward,
	cli_verb_inspect, cli_verb_doctor, cli_verb_version,
	cli_verb_completion, cli_verb_complete, cli_verb_help,
	cli_verb_volume_ls, cli_verb_volume_create, cli_verb_volume_inspect,
	cli_verb_volume_rm, cli_verb_volume_snapshot, cli_verb_volume_restore,
	cli_verb_volume_export, cli_verb_volume_import, cli_verb_secret_set,
	cli_verb_secret_ls, cli_verb_secret_rm, cli_verb_console,
	cli_verb_disk_import, cli_verb_disk_ls, cli_verb_disk_rm,
	cli_verb_tenant_apply, cli_verb_tenant_ls, cli_verb_tenant_show,
	cli_verb_tenant_rm;

#endif
