/* SPDX-License-Identifier: Apache-2.0 */
/*
 * process.execCPUAffinity: on which CPUs a program that joins a container
 * runs. `initial` is for the time until the process is in the container's
 * cgroup; since it is born there, that is the parent's own set around the
 * clone. `final` is for the time after. A container's first process has
 * neither.
 */
#include "guest-agent/container/internal.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/parse.h"

/* More than any kernel is built for (CONFIG_NR_CPUS is at most 8192). */
#define CPUS_MAX 8192

static int parse_number(const char **s, unsigned int *ret)
{
	char digits[8];
	size_t n = strspn(*s, "0123456789");
	uint64_t value;

	if (n == 0 || n >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, *s, n);
	digits[n] = '\0';
	if (parse_u64(digits, 0, CPUS_MAX - 1, &value) < 0)
		return -EINVAL;
	*s += n;
	*ret = (unsigned int)value;
	return 0;
}

static int parse_list(const char *s, cpu_set_t *set, size_t size)
{
	unsigned int from, to;

	for (;;) {
		if (parse_number(&s, &from) < 0)
			return -EINVAL;
		to = from;
		if (*s == '-') {
			s++;
			if (parse_number(&s, &to) < 0 || to < from)
				return -EINVAL;
		}
		for (; from <= to; from++)
			CPU_SET_S(from, size, set);
		if (!*s)
			return 0;
		if (*s++ != ',')
			return -EINVAL;
	}
}

/* To be freed with CPU_FREE(). */
static int list_parse(const char *text, cpu_set_t **ret, size_t *ret_size,
		      const char *path, struct err *e)
{
	size_t size = CPU_ALLOC_SIZE(CPUS_MAX);
	cpu_set_t *set = CPU_ALLOC(CPUS_MAX);
	char escaped[96];

	if (!set)
		return err_sys(e, ENOMEM, "%s", path);
	CPU_ZERO_S(size, set);
	if (parse_list(text, set, size) < 0) {
		CPU_FREE(set);
		return err_set(e, EINVAL,
			       "%s: must be a list of CPUs such as \"0-3,7\", "
			       "not '%s'",
			       path,
			       text_escape(text, escaped, sizeof(escaped)));
	}
	*ret = set;
	*ret_size = size;
	return 0;
}

int cpu_list_check(const char *text, const char *path, struct err *e)
{
	cpu_set_t *set;
	size_t size;
	int r = list_parse(text, &set, &size, path, e);

	if (r == 0)
		CPU_FREE(set);
	return r;
}

static int set_cpus(const char *list, pid_t pid, const char *path,
		    struct err *e)
{
	cpu_set_t *set;
	size_t size;
	int r;

	r = list_parse(list, &set, &size, path, e);
	if (r < 0)
		return r;
	if (sched_setaffinity(pid, size, set) < 0)
		r = err_sys(e, errno, "%s: '%s'", path, list);
	CPU_FREE(set);
	return r;
}

int affinity_enter(const struct plan_process *pp, struct affinity *saved,
		   struct err *e)
{
	cpu_set_t *own;
	size_t size = CPU_ALLOC_SIZE(CPUS_MAX);
	int r;

	*saved = (struct affinity){.size = 0};
	if (!pp->initial_cpus)
		return 0;
	own = CPU_ALLOC(CPUS_MAX);
	if (!own)
		return err_sys(e, ENOMEM, "process.execCPUAffinity");
	if (sched_getaffinity(0, size, own) < 0)
		r = err_sys(e, errno, "process.execCPUAffinity.initial");
	else
		r = set_cpus(pp->initial_cpus, 0,
			     "process.execCPUAffinity.initial", e);
	if (r < 0) {
		CPU_FREE(own);
		return r;
	}
	*saved = (struct affinity){own, size};
	return 0;
}

void affinity_leave(struct affinity *saved)
{
	if (!saved->size)
		return;
	/* CPUs that have gone meanwhile are the kernel's business: a parent
	 * that stays on fewer is slower, not wrong. */
	sched_setaffinity(0, saved->size, saved->set);
	CPU_FREE((cpu_set_t *)saved->set);
	saved->size = 0;
}

int affinity_set(const struct plan_process *pp, pid_t pid, struct err *e)
{
	size_t size = CPU_ALLOC_SIZE(CPUS_MAX);
	cpu_set_t *all;
	int r = 0;

	if (pp->final_cpus)
		return set_cpus(pp->final_cpus, pid,
				"process.execCPUAffinity.final", e);
	if (!pp->initial_cpus)
		return 0;
	/* The cgroup's own: all that it has. */
	all = CPU_ALLOC(CPUS_MAX);
	if (!all)
		return err_sys(e, ENOMEM, "process.execCPUAffinity");
	memset(all, 0xff, size);
	if (sched_setaffinity(pid, size, all) < 0)
		r = err_sys(e, errno, "process.execCPUAffinity");
	CPU_FREE(all);
	return r;
}
