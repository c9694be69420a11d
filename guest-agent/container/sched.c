/* SPDX-License-Identifier: Apache-2.0 */
/* process.scheduler and process.ioPriority: checked in the plan, set by the
 * parent, which has the right to, once the process is otherwise ready. */
#include "guest-agent/container/internal.h"

#include <linux/ioprio.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/cleanup.h"

static const struct word {
	const char *name;
	unsigned int value;
} policies[] =
	{
		{"SCHED_OTHER", SCHED_NORMAL},
		{"SCHED_FIFO", SCHED_FIFO},
		{"SCHED_RR", SCHED_RR},
		{"SCHED_BATCH", SCHED_BATCH},
		{"SCHED_IDLE", SCHED_IDLE},
		{"SCHED_DEADLINE", SCHED_DEADLINE},
},
  flags[] =
	  {
		  {"SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK},
		  {"SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM},
		  {"SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN},
		  {"SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY},
		  {"SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS},
		  {"SCHED_FLAG_UTIL_CLAMP_MIN", SCHED_FLAG_UTIL_CLAMP_MIN},
		  {"SCHED_FLAG_UTIL_CLAMP_MAX", SCHED_FLAG_UTIL_CLAMP_MAX},
},
  classes[] = {
	  {"IOPRIO_CLASS_RT", IOPRIO_CLASS_RT},
	  {"IOPRIO_CLASS_BE", IOPRIO_CLASS_BE},
	  {"IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE},
};

static const struct word *find(const struct word *list, size_t n,
			       const char *name)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0)
			return &list[i];
	return NULL;
}

/* Which members go with which policy: the kernel takes others without a word,
 * and does nothing with them. */
static int check_scheduler(const struct oci_scheduler *s, unsigned int policy,
			   struct err *e)
{
	bool fair = policy == SCHED_NORMAL || policy == SCHED_BATCH;
	bool real_time = policy == SCHED_FIFO || policy == SCHED_RR;

	if (s->nice && !fair)
		return err_set(e, EINVAL,
			       "process.scheduler.nice: only with SCHED_OTHER "
			       "and SCHED_BATCH");
	if (s->priority && !real_time)
		return err_set(e, EINVAL,
			       "process.scheduler.priority: only with "
			       "SCHED_FIFO and SCHED_RR");
	if (real_time && !s->priority)
		return err_set(e, EINVAL,
			       "process.scheduler.priority: 1 to 99 is needed "
			       "with %s",
			       s->policy);
	if ((s->runtime || s->deadline || s->period) &&
	    policy != SCHED_DEADLINE)
		return err_set(e, EINVAL,
			       "process.scheduler.%s: only with "
			       "SCHED_DEADLINE",
			       s->runtime    ? "runtime"
			       : s->deadline ? "deadline"
					     : "period");
	return 0;
}

/* The kernel's rules (sched(7)), whose word for all of them is "Invalid
 * argument". */
static int check_deadline(const struct oci_scheduler *s, struct err *e)
{
	if (!s->runtime)
		return err_set(e, EINVAL,
			       "process.scheduler.runtime: is needed with "
			       "SCHED_DEADLINE");
	if (s->deadline < s->runtime)
		return err_set(e, EINVAL,
			       "process.scheduler.deadline: must not be below "
			       "runtime");
	if (s->period && s->period < s->deadline)
		return err_set(e, EINVAL,
			       "process.scheduler.period: must not be below "
			       "deadline");
	return 0;
}

static int scheduler_parse(const struct oci_scheduler *s,
			   struct sched_attr *ret, struct err *e)
{
	const struct word *w = find(policies, ARRAY_SIZE(policies), s->policy);
	size_t i;
	int r;

	if (!w)
		return err_set(e, EINVAL,
			       "process.scheduler.policy: unknown '%.64s'",
			       s->policy);
	r = check_scheduler(s, w->value, e);
	if (r == 0 && w->value == SCHED_DEADLINE)
		r = check_deadline(s, e);
	if (r < 0)
		return r;
	*ret = (struct sched_attr){.size = sizeof(*ret),
				   .sched_policy = w->value,
				   .sched_nice = s->nice,
				   .sched_priority = (uint32_t)s->priority,
				   .sched_runtime = s->runtime,
				   .sched_deadline = s->deadline,
				   .sched_period = s->period};
	for (i = 0; s->flags && s->flags[i]; i++) {
		w = find(flags, ARRAY_SIZE(flags), s->flags[i]);
		if (!w)
			return err_set(e, EINVAL,
				       "process.scheduler.flags[%zu]: unknown "
				       "'%.64s'",
				       i, s->flags[i]);
		ret->sched_flags |= w->value;
	}
	return 0;
}

int scheduler_check(const struct oci_scheduler *s, struct err *e)
{
	struct sched_attr attr;

	return scheduler_parse(s, &attr, e);
}

int plan_scheduler(struct plan *p, const struct oci_scheduler *s, struct err *e)
{
	struct sched_attr *attr = arena_alloc(p->arena, 1, sizeof(*attr));

	if (!attr)
		return err_sys(e, ENOMEM, "process.scheduler");
	p->process.scheduler = attr;
	return scheduler_parse(s, attr, e);
}

int io_priority_parse(const struct oci_io_priority *io, int *ret, struct err *e)
{
	const struct word *w = find(classes, ARRAY_SIZE(classes), io->io_class);

	if (!w)
		return err_set(e, EINVAL,
			       "process.ioPriority.class: unknown '%.64s'",
			       io->io_class);
	*ret = (int)IOPRIO_PRIO_VALUE(w->value, (unsigned int)io->priority);
	return 0;
}

bool process_is_realtime(const struct plan_process *pp)
{
	uint32_t policy = pp->scheduler ? pp->scheduler->sched_policy : 0;

	return policy == SCHED_FIFO || policy == SCHED_RR ||
	       policy == SCHED_DEADLINE;
}

int process_set_scheduling(const struct plan_process *pp, pid_t pid,
			   struct err *e)
{
	if (pp->scheduler &&
	    syscall(SYS_sched_setattr, pid, pp->scheduler, 0) < 0)
		return err_sys(e, errno, "process.scheduler");
	if (pp->io_priority && syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, pid,
				       pp->io_priority) < 0)
		return err_sys(e, errno, "process.ioPriority");
	return 0;
}
