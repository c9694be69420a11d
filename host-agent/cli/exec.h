/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of `hyb exec` have in common. */
#ifndef HYB_HOST_AGENT_CLI_EXEC_H
#define HYB_HOST_AGENT_CLI_EXEC_H

#include "host-agent/cli/cli.h"

struct exec_args {
	bool interactive, tty, detach, steal, replay, no_stdin, ls, no_trunc;
	const char *user, *workdir, *keys, *attach, *kill, *signal;
	struct opt_list env;
	enum out_format format;
};

/* Lists the sessions of what the name means ("": all). The exit status. */
int exec_ls(struct cli *cli, const struct exec_args *a, const char *name);

#endif
