/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration may ask for and this engine cannot do is refused before
 * anything is made: silence would be worse than an error. */
#include "guest-agent/container/internal.h"

#include <stdio.h>

#include "common/base/cleanup.h"

static int not_yet(struct err *e, const char *path)
{
	return err_set(e, ENOTSUP, "%s: not supported yet", path);
}

static int check_version(const char *version, struct err *e)
{
	if (!version || strncmp(version, "1.", 2) != 0)
		return err_set(e, EINVAL,
			       "ociVersion: must be 1.x, not '%.32s'",
			       version ? version : "");
	return 0;
}

static int check_process(const struct oci_process *p, struct err *e)
{
	if (!p)
		return err_set(e, EINVAL, "process: is missing");
	if (p->apparmor_profile && p->apparmor_profile[0])
		return not_yet(e, "process.apparmorProfile");
	if (p->selinux_label && p->selinux_label[0])
		return not_yet(e, "process.selinuxLabel");
	return 0;
}

static int check_hostname(const char *name, const char *path, struct err *e)
{
	if (name && strlen(name) > 64)
		return err_set(e, EINVAL, "%s: longer than 64 characters",
			       path);
	return 0;
}

static bool has_namespace(const struct oci_linux *lx, const char *type)
{
	size_t i;

	for (i = 0; lx && i < lx->n_namespaces; i++)
		if (strcmp(lx->namespaces[i].type, type) == 0)
			return true;
	return false;
}

static int check_linux(const struct oci_linux *lx, struct err *e)
{
	if (!lx)
		return err_set(e, EINVAL, "linux: is missing");
	if (lx->mount_label)
		return err_set(e, ENOTSUP,
			       "linux.mountLabel: no SELinux in the kernel "
			       "that this engine is for");
	if ((lx->n_uid_mappings || lx->n_gid_mappings) &&
	    !has_namespace(lx, "user"))
		return err_set(e, EINVAL,
			       "linux.uidMappings: there is no user namespace");
	return 0;
}

int config_check(const struct oci_runtime *config, struct err *e)
{
	int r;

	r = check_version(config->oci_version, e);
	if (r == 0)
		r = check_process(config->process, e);
	if (r == 0)
		r = check_hostname(config->hostname, "hostname", e);
	if (r == 0)
		r = check_hostname(config->domainname, "domainname", e);
	return r < 0 ? r : check_linux(config->lx, e);
}
