/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the child between clone and exec share: setup.c has the
 * columns of steps and what both begin with, and the rules that hold in all of
 * them.
 */
#ifndef HYB_GUEST_CONTAINER_SETUP_H
#define HYB_GUEST_CONTAINER_SETUP_H

#include "guest-agent/container/plan.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct setup {
	const struct plan *p;
	int join_pidfd, join_namespaces; /* exec only */
	int root;			 /* the root file system's mount */
	int dev, devpts, proc, sysfs;	 /* mounts made on the way, or -1 */
	int console;			 /* the terminal's slave, or -1 */
	int start;			 /* where the start comes from */
	const char *what;		 /* detail of a failure, or NULL */
	char detail[212];		 /* room for one */
	int exit_code;			 /* of a failure; 0: 1 */
	/* Why candidate i is not executed; 0: it is. */
	int refused[HYB_PATH_DIRS_MAX];
	bool undo_root; /* attached in a namespace that outlives us */
};

/* Ends the process because the parent has given up, and has said why. */
__attribute__((noreturn)) void setup_give_up(const struct setup *s);
/* Ends the process; the step's name, s->what and err (-errno) go to sock. */
__attribute__((noreturn)) void setup_fail(struct setup *s, int sock,
					  const char *step, int err);
/* setgroups(), where the user namespace lets it. */
int setup_groups(const struct setup *s, size_t n, const gid_t *groups);

/* Each is one step: 0, or -errno with s->what where more can be said. */
/* setup_root.c */
int step_root(struct setup *s);
int step_mask(struct setup *s);
int step_readonly(struct setup *s);
int step_hooks(struct setup *s);
int step_create_hooks(struct setup *s);
int step_start_hooks(struct setup *s);
int step_pivot(struct setup *s);
/* setup_mounts.c */
int step_mounts(struct setup *s);
int step_devices(struct setup *s);
int step_sysctls(struct setup *s);
/* setup_terminal.c */
int step_console(struct setup *s);
int step_exec_console(struct setup *s);
/* setup_process.c */
int step_session(struct setup *s);
int step_cwd(struct setup *s);
int step_present(struct setup *s);
int step_process(struct setup *s);
int step_ready(struct setup *s);
int step_start(struct setup *s);
int step_program(struct setup *s);
int step_filter(struct setup *s);
int step_exec(struct setup *s);

#endif
