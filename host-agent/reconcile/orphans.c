/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What no row speaks of is nobody's: a row is written before what it stands
 * for is made, and goes after that has gone. Such things are there when a hybd
 * was killed between the two, or when a state was put back from a backup.
 */
#include "host-agent/reconcile/world.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/base/parse.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void cleanup_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

/* Does a row say that this VM is (to be) there? */
static bool has_vm(const struct world *w, const char *domain)
{
	const struct vm *vm;
	char name[64];

	for (vm = w->vms; vm; vm = vm->next) {
		vm_domain_name(vm, name);
		if (vm->row.exists && strcmp(name, domain) == 0)
			return true;
	}
	return false;
}

static void remove_domains(struct world *w)
{
	_cleanup_free_ struct virt_vm_info *list = NULL;
	struct err e = ERR_INIT;
	size_t n = 0, i;

	if (virt_list(w->virt, &list, &n, &e) < 0) {
		log_warn("look for VMs that are nobody's: %s", e.msg);
		return;
	}
	for (i = 0; i < n; i++) {
		const char *name = list[i].name;

		if (strncmp(name, "hyb-", 4) != 0 || has_vm(w, name))
			continue;
		log_warn("VM %s is nobody's: removed", name);
		if (virt_vm_destroy(w->virt, name, &e) < 0 ||
		    virt_vm_forget(w->virt, name, &e) < 0)
			log_warn("%s", e.msg);
	}
}

/* Calls fn with each name in ROOT/path that is not hidden. */
static void each_name(struct world *w, const char *path,
		      void (*fn)(struct world *w, const char *path,
				 const char *name))
{
	_cleanup_(cleanup_dir) DIR *d = NULL;
	const struct dirent *ent;
	char full[512];

	snprintf(full, sizeof(full), "%s/%s", w->config.root, path);
	d = opendir(full);
	while (d && (ent = readdir(d)))
		if (ent->d_name[0] != '.')
			fn(w, path, ent->d_name);
}

static void remove_path(struct world *w, const char *path, const char *name)
{
	struct err e = ERR_INIT;
	char full[800];

	snprintf(full, sizeof(full), "%s/%s/%s", w->config.root, path, name);
	log_warn("'%s' is nobody's: removed", full);
	if (path_remove(full, &e) < 0)
		log_warn("%s", e.msg);
}

static void check_vm_dir(struct world *w, const char *path, const char *name)
{
	char domain[64];
	uint64_t id;

	/* What hybd cannot have made is left alone. */
	if (parse_u64(name, 1, INT64_MAX, &id) < 0)
		return;
	snprintf(domain, sizeof(domain), "hyb-%llu", (unsigned long long)id);
	if (!has_vm(w, domain))
		remove_path(w, path, name);
}

/* logs/TENANT/STACK/VM: of a VM that has a row, running or not. */
static void check_logs_vm(struct world *w, const char *path, const char *name)
{
	char full[512];
	const struct vm *vm;

	snprintf(full, sizeof(full), "%s/%s/%s", w->config.root, path, name);
	for (vm = w->vms; vm; vm = vm->next)
		if (strcmp(vm->logs, full) == 0)
			return;
	remove_path(w, path, name);
}

/* A folder's folders, then itself when nothing is left in it. */
static void check_below(struct world *w, const char *path, const char *name,
			void (*fn)(struct world *w, const char *path,
				   const char *name))
{
	char below[256], full[512];

	if (!name_is_valid(name) || snprintf(below, sizeof(below), "%s/%s",
					     path, name) >= (int)sizeof(below))
		return;
	each_name(w, below, fn);
	snprintf(full, sizeof(full), "%s/%s", w->config.root, below);
	if (rmdir(full) < 0 && errno != ENOTEMPTY)
		log_debug("remove '%s': %s", full, strerror(errno));
}

static void check_logs_stack(struct world *w, const char *path,
			     const char *name)
{
	check_below(w, path, name, check_logs_vm);
}

static void check_logs_tenant(struct world *w, const char *path,
			      const char *name)
{
	check_below(w, path, name, check_logs_stack);
}

void orphans_remove(struct world *w)
{
	remove_domains(w);
	each_name(w, "vms", check_vm_dir);
	each_name(w, "logs", check_logs_tenant);
	machine_orphans(w);
	networks_sweep(w);
}
