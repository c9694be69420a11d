/* SPDX-License-Identifier: Apache-2.0 */
/* What of a configuration needs no file of its own: names, sysctls, paths that
 * are masked or read-only. */
#include "guest-agent/container/internal.h"

#include <sched.h>
#include <sys/mount.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"

/* Only what belongs to a namespace of the container: the rest would be the
 * whole machine's. */
int sysctl_check(const struct oci_kv *kv, uint64_t own, struct err *e)
{
	static const struct {
		const char *prefix;
		uint64_t ns;
	} allowed[] = {
		{"kernel.msg", CLONE_NEWIPC},
		{"kernel.sem", CLONE_NEWIPC},
		{"kernel.shm", CLONE_NEWIPC},
		{"fs.mqueue.", CLONE_NEWIPC},
		{"kernel.domainname", CLONE_NEWUTS},
		{"net.", CLONE_NEWNET},
	};
	char escaped[80];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(allowed); i++)
		if (strncmp(kv->key, allowed[i].prefix,
			    strlen(allowed[i].prefix)) == 0 &&
		    (own & allowed[i].ns) && !strstr(kv->key, "..") &&
		    !strchr(kv->key, '/'))
			return 0;
	return err_set(e, EINVAL,
		       "linux.sysctl: '%s' is not of a namespace that the "
		       "container has of its own",
		       text_escape(kv->key, escaped, sizeof(escaped)));
}

/* "net.core.somaxconn" to "net/core/somaxconn". */
static int plan_sysctl(struct create *cr, const struct oci_kv *kv,
		       struct plan_sysctl *ret, struct err *e)
{
	struct plan *p = cr->plan;
	char *path = plan_strdup(p, kv->key), *c;

	ret->value = plan_strdup(p, kv->value);
	if (!path || !ret->value)
		return err_sys(e, ENOMEM, "linux.sysctl");
	for (c = path; *c; c++)
		if (*c == '.')
			*c = '/';
	ret->path = path;
	return sysctl_check(kv, cr->isolated, e);
}

/* Docker's list, and what security asks for on top. */
static const char *const default_masked[] = {
	"/proc/acpi",
	"/proc/asound",
	"/proc/interrupts",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/proc/sched_debug",
	"/proc/scsi",
	"/proc/kallsyms",
	"/proc/kmsg",
	"/proc/sysrq-trigger",
	"/sys/firmware",
	"/sys/kernel/debug",
	"/sys/kernel/security",
	"/sys/devices/virtual/powercap",
	NULL,
};
static const char *const default_readonly[] = {
	"/proc/bus",	  "/proc/fs",  "/proc/irq",
	"/proc/pressure", "/proc/sys", NULL,
};

/* The configuration's list and the other, as one. */
static const char **join_lists(struct plan *p, const char *const *own,
			       const char *const *defaults)
{
	size_t n = 0, i;
	const char **list;

	while (own && own[n])
		n++;
	for (i = 0; defaults && defaults[i]; i++)
		continue;
	list = arena_alloc(p->arena, n + i + 1, sizeof(*list));
	if (!list)
		return NULL;
	for (n = 0; own && own[n]; n++) {
		list[n] = plan_strdup(p, own[n]);
		if (!list[n])
			return NULL;
	}
	if (defaults)
		memcpy(list + n, defaults, i * sizeof(*list));
	return list;
}

int plan_rest(struct create *cr, struct err *e)
{
	const struct oci_linux *lx = cr->config->lx;
	bool defaults = cr->spec->defaults;
	struct plan *p = cr->plan;
	size_t i;
	int r;

	if (cr->config->hostname)
		p->hostname = plan_strdup(p, cr->config->hostname);
	if (cr->config->domainname)
		p->domainname = plan_strdup(p, cr->config->domainname);
	/* By a path that is our own it is not the container's. */
	if ((p->hostname || p->domainname) && !(cr->isolated & CLONE_NEWUTS))
		return err_set(e, EINVAL,
			       "%s: there is no uts namespace of the "
			       "container's own",
			       p->hostname ? "hostname" : "domainname");
	p->root_readonly = cr->config->root && cr->config->root->readonly;
	p->masked = join_lists(p, lx->masked_paths,
			       defaults ? default_masked : NULL);
	p->readonly = join_lists(p, lx->readonly_paths,
				 defaults ? default_readonly : NULL);
	p->sysctls =
		arena_alloc(p->arena, lx->n_sysctl + 1, sizeof(*p->sysctls));
	if (!p->masked || !p->readonly || !p->sysctls)
		return err_sys(e, ENOMEM, "plan");
	for (i = 0; i < lx->n_sysctl; i++) {
		r = plan_sysctl(cr, &lx->sysctl[i], &p->sysctls[i], e);
		if (r < 0)
			return r;
	}
	p->n_sysctls = lx->n_sysctl;
	return plan_devices(cr, e);
}
