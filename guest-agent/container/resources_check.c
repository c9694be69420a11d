/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the configuration's resources, all of them before the first is
 * written. What cgroup v1 had and version 2 has nothing for is refused, as the
 * specification says of what cannot be converted, unless it asks for nothing
 * (0 or -1 for a limit).
 */
#include "guest-agent/container/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "guest-agent/sys/devfilter.h"

struct rules {
	const char *path;
	struct err *e;
};

static int breaks(const struct rules *r, const char *key, const char *rule)
{
	return err_set(r->e, EINVAL, "%s.%s: %s", r->path, key, rule);
}

static int has_none(const struct rules *r, const char *key)
{
	return err_set(r->e, ENOTSUP, "%s.%s: cgroup v2 has none", r->path,
		       key);
}

static bool asks(const struct oci_opt *limit)
{
	return limit->set && limit->value > 0;
}

static int check_memory(const struct rules *r, const struct oci_memory *m)
{
	const struct oci_opt *limit = &m->limit, *swap = &m->swap;

	/* The specification's swap is memory and swap together; 0: no swap. */
	if (asks(swap) && (!limit->set || limit->value < 0))
		return breaks(r, "memory.swap", "needs memory.limit");
	if (asks(swap) && swap->value < limit->value)
		return breaks(r, "memory.swap",
			      "is memory and swap together: must not be below "
			      "memory.limit");
	if (asks(&m->kernel))
		return has_none(r, "memory.kernel");
	if (asks(&m->kernel_tcp))
		return has_none(r, "memory.kernelTCP");
	if (m->swappiness.set)
		return has_none(r, "memory.swappiness");
	if (m->disable_oom_killer)
		return err_set(r->e, ENOTSUP,
			       "%s.memory.disableOOMKiller: cgroup v2 cannot",
			       r->path);
	return 0;
}

/* "0-3,7"; what else the kernel takes ("0-31:1/2") is for it to judge. */
static int check_list(const struct rules *r, const char *key, const char *list)
{
	char path[96];

	if (!list || strchr(list, ':'))
		return 0;
	snprintf(path, sizeof(path), "%s.%s", r->path, key);
	return cpu_list_check(list, path, r->e);
}

static int check_cpu(const struct rules *r, const struct oci_cpu *c)
{
	int rc;

	if (c->realtime_runtime.set)
		return has_none(r, "cpu.realtimeRuntime");
	if (c->realtime_period.set)
		return has_none(r, "cpu.realtimePeriod");
	if (asks(&c->quota) && c->quota.value < 1000)
		return breaks(r, "cpu.quota",
			      "must be -1 or at least 1000 (microseconds)");
	if (asks(&c->burst) && asks(&c->quota) &&
	    c->burst.value > c->quota.value)
		return breaks(r, "cpu.burst", "must not be above cpu.quota");
	rc = check_list(r, "cpu.cpus", c->cpus);
	return rc < 0 ? rc : check_list(r, "cpu.mems", c->mems);
}

static int check_weight(const struct rules *r, const char *key,
			const struct oci_opt *weight)
{
	if (!weight->set || weight->value == 0 || weight->value >= 10)
		return 0;
	return breaks(r, key, "must be from 10 to 1000, or 0 for as it is");
}

static int check_io(const struct rules *r, const struct oci_block_io *b)
{
	const struct oci_weight_device *d = b->weight_device;
	char key[64];
	size_t i;
	int rc;

	if (b->leaf_weight.set)
		return has_none(r, "blockIO.leafWeight");
	rc = check_weight(r, "blockIO.weight", &b->weight);
	for (i = 0; rc == 0 && i < b->n_weight_device; i++) {
		snprintf(key, sizeof(key), "blockIO.weightDevice[%zu].%s", i,
			 d[i].leaf_weight.set ? "leafWeight" : "weight");
		if (d[i].leaf_weight.set)
			return has_none(r, key);
		if (!d[i].weight.set)
			return breaks(r, key, "is missing");
		rc = check_weight(r, key, &d[i].weight);
	}
	return rc;
}

/* "64KB" "2MB" "1GB", as in the names of the kernel's files. */
static bool page_size_is_valid(const char *s)
{
	size_t n = strspn(s, "0123456789");

	return n > 0 && n < 8 && s[0] != '0' && s[n] && strchr("KMG", s[n]) &&
	       strcmp(s + n + 1, "B") == 0;
}

static int check_hugetlb(const struct rules *r, const struct oci_resources *res)
{
	const struct oci_hugepage_limit *h = res->hugepage_limits;
	char key[48];
	size_t i, j;

	for (i = 0; i < res->n_hugepage_limits; i++) {
		snprintf(key, sizeof(key), "hugepageLimits[%zu].pageSize", i);
		if (!page_size_is_valid(h[i].page_size))
			return breaks(r, key,
				      "must be a size such as 64KB, 2MB or "
				      "1GB");
		for (j = 0; j < i; j++)
			if (strcmp(h[i].page_size, h[j].page_size) == 0)
				return breaks(r, key, "is there twice");
	}
	return 0;
}

/* Devices go into a line with blanks: "mlx4_0 hca_handle=2". */
static int check_rdma(const struct rules *r, const struct oci_resources *res)
{
	const struct oci_rdma_limit *l = res->rdma;
	char escaped[64];
	size_t i, len;

	for (i = 0; i < res->n_rdma; i++) {
		len = strspn(l[i].device, "abcdefghijklmnopqrstuvwxyz"
					  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
					  "0123456789_.-");
		if (len == 0 || l[i].device[len] || len > 63)
			return err_set(r->e, EINVAL,
				       "%s.rdma: '%s' is not a device's name",
				       r->path,
				       text_escape(l[i].device, escaped,
						   sizeof(escaped)));
		if (!l[i].handles.set && !l[i].objects.set)
			return err_set(r->e, EINVAL,
				       "%s.rdma.%s: hcaHandles or hcaObjects "
				       "is needed",
				       r->path, l[i].device);
	}
	return 0;
}

/* Files by name, as they are: names must not leave the folder. */
static int check_unified(const struct rules *r, const struct oci_resources *res)
{
	const struct oci_kv *kv = res->unified;
	char escaped[96];
	size_t i;

	for (i = 0; i < res->n_unified; i++) {
		text_escape(kv[i].key, escaped, sizeof(escaped));
		/* In crun's words, which tests look for. */
		if (!strchr(kv[i].key, '.'))
			return err_set(r->e, EINVAL,
				       "%s.unified: the specified key has not "
				       "the form CONTROLLER.VALUE `%s`",
				       r->path, escaped);
		if (strchr(kv[i].key, '/') || kv[i].key[0] == '.' ||
		    strncmp(kv[i].key, "cgroup.", 7) == 0)
			return err_set(r->e, EINVAL,
				       "%s.unified: '%s' is not a controller's "
				       "file",
				       r->path, escaped);
	}
	return 0;
}

int device_rule_parse(const struct oci_device_rule *from, const char *path,
		      size_t index, struct dev_rule *to, struct err *e)
{
	const char *type = from->type ? from->type : "a", *c;

	if ((type[0] != 'a' && type[0] != 'b' && type[0] != 'c') || type[1])
		return err_set(e, EINVAL,
			       "%s.devices[%zu].type: must be a, b or c", path,
			       index);
	*to = (struct dev_rule){
		.allow = from->allow,
		.type = type[0],
		.major = from->major.set ? from->major.value : -1,
		.minor = from->minor.set ? from->minor.value : -1};
	for (c = from->access ? from->access : "rwm"; *c; c++) {
		if (*c == 'r')
			to->access |= DEV_READ;
		else if (*c == 'w')
			to->access |= DEV_WRITE;
		else if (*c == 'm')
			to->access |= DEV_MKNOD;
		else
			return err_set(e, EINVAL,
				       "%s.devices[%zu].access: must be of r, "
				       "w and m",
				       path, index);
	}
	return 0;
}

static int check_devices(const struct rules *r, const struct oci_resources *res)
{
	struct dev_rule rule;
	size_t i;
	int rc = 0;

	if (res->n_devices + devfilter_short_list_n > HYB_DEV_RULES_MAX)
		return err_set(r->e, E2BIG, "%s.devices: more than %zu rules",
			       r->path,
			       HYB_DEV_RULES_MAX - devfilter_short_list_n);
	for (i = 0; rc == 0 && i < res->n_devices; i++)
		rc = device_rule_parse(&res->devices[i], r->path, i, &rule,
				       r->e);
	return rc;
}

int resources_check(const struct oci_resources *res, const char *path,
		    struct err *e)
{
	const struct rules r = {path, e};
	const struct oci_network *n = res->network;
	int rc;

	rc = check_devices(&r, res);
	if (rc == 0 && res->memory)
		rc = check_memory(&r, res->memory);
	if (rc == 0 && res->cpu)
		rc = check_cpu(&r, res->cpu);
	if (rc == 0 && res->block_io)
		rc = check_io(&r, res->block_io);
	if (rc == 0 && n && n->class_id.set)
		rc = has_none(&r, "network.classID");
	if (rc == 0 && n && n->n_priorities)
		rc = has_none(&r, "network.priorities");
	if (rc == 0)
		rc = check_hugetlb(&r, res);
	if (rc == 0)
		rc = check_rdma(&r, res);
	return rc < 0 ? rc : check_unified(&r, res);
}
