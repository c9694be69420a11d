/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/verbs.h"

const struct verb *const cli_verbs[] = {
	&verb_deploy,
	&verb_plan,
	&verb_validate,
	&verb_ps,
	&verb_vm_ls,
	&verb_logs,
	&verb_exec,
	&verb_start,
	&verb_stop,
	&verb_down,
	&verb_inspect,
	&verb_port_forward,
	&verb_image_load,
	&verb_image_pull,
	&verb_image_ls,
	&verb_image_inspect,
	&verb_image_rm,
	&verb_doctor,
	&verb_completion,
	&verb_version,
	&verb_help,
	&verb_complete,
	NULL,
};

/* Verbs that are designed and not built yet: told so, not "unknown". */
const char *const cli_later[] = {
	"top",		"stats",       "cp",	  "restart",  "pause",
	"resume",	"kill",	       "scale",	  "rollback", "events",
	"image import", "image prune", "volume",  "secret",   "tenant",
	"convert",	"export",      "compare", NULL,
};
