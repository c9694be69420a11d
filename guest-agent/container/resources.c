/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration's resources, in cgroup v2's files. */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/sys/cgroup.h"
#include "guest-agent/sys/devfilter.h"

struct target {
	int fd;
	unsigned int have;
	const char *path; /* in messages: "linux.resources" */
	struct err *e;
};

/* What a machine without these says once, in container_engine_warning(). */
#define TOLD (CGROUP_MEMORY | CGROUP_CPU | CGROUP_PIDS)

/* 1: it is to be written. A controller that this cgroup lacks and the machine
 * has is for the write to fail with. */
static int has_controller(const struct target *t, unsigned int controller,
			  const char *key)
{
	if (!controller || (t->have & controller) || (engine.have & controller))
		return 1;
	if (engine.confined)
		return err_set(t->e, ENOTSUP,
			       "%s.%s: the cgroup that this user may write has "
			       "no controller '%s': it is not delegated, or "
			       "processes are in '/%s' itself",
			       t->path, key,
			       cgroup_controller_name(
				       (enum cgroup_controller)controller),
			       engine.delegated);
	if (!engine.have || (controller & TOLD))
		return 0;
	return err_set(
		t->e, ENOTSUP,
		"%s.%s: this machine's cgroup v2 has no controller '%s'",
		t->path, key,
		cgroup_controller_name((enum cgroup_controller)controller));
}

static int set_text(const struct target *t, unsigned int controller,
		    const char *key, const char *file, const char *value)
{
	int r = has_controller(t, controller, key);

	if (r <= 0)
		return r;
	r = cgroup_write(t->fd, file, value);
	if (r < 0)
		return err_sys(t->e, -r, "%s.%s: cgroup: %s = %s", t->path, key,
			       file, value);
	return 0;
}

static int set_limit(const struct target *t, unsigned int controller,
		     const char *key, const char *file, int64_t value)
{
	char text[32] = "max";

	if (value >= 0)
		snprintf(text, sizeof(text), "%" PRId64, value);
	return set_text(t, controller, key, file, text);
}

static bool has_file(const struct target *t, const char *file)
{
	return faccessat(t->fd, file, F_OK, 0) == 0;
}

#define AS_IT_IS -2

/* Swap alone, from memory and swap together. */
static int64_t swap_of(const struct oci_memory *m, bool defaults, bool update)
{
	if (!m || !m->swap.set) {
		/* None in a VM; else, where nothing limits the memory, nothing
		 * limits the swap: as with cgroup v1. */
		if (defaults)
			return update ? AS_IT_IS : 0;
		return m && m->limit.set && m->limit.value < 0 ? -1 : AS_IT_IS;
	}
	if (m->swap.value <= 0)
		return m->swap.value;
	return m->swap.value - m->limit.value;
}

/* checkBeforeUpdate: cgroup v1 refused a limit below what is used; version 2
 * would kill. */
static int check_usage(const struct target *t, const struct oci_memory *m)
{
	uint64_t used = 0, swapped = 0;

	if (!m || !m->check_before_update ||
	    cgroup_read_u64(t->fd, "memory.current", &used) < 0)
		return 0;
	cgroup_read_u64(t->fd, "memory.swap.current", &swapped);
	if (m->limit.set && m->limit.value >= 0 &&
	    (uint64_t)m->limit.value < used)
		return err_set(t->e, EBUSY,
			       "%s.memory.limit: %" PRId64
			       " is below the %" PRIu64
			       " bytes that are used (checkBeforeUpdate)",
			       t->path, m->limit.value, used);
	if (m->swap.set && m->swap.value > 0 &&
	    (uint64_t)m->swap.value < used + swapped)
		return err_set(t->e, EBUSY,
			       "%s.memory.swap: %" PRId64
			       " is below the %" PRIu64
			       " bytes that are used (checkBeforeUpdate)",
			       t->path, m->swap.value, used + swapped);
	return 0;
}

static int apply_memory(const struct target *t, const struct oci_memory *m,
			bool defaults, bool update)
{
	int64_t swap = swap_of(m, defaults, update);
	int r;

	r = check_usage(t, m);
	if (r == 0 && m && m->limit.set)
		r = set_limit(t, CGROUP_MEMORY, "memory.limit", "memory.max",
			      m->limit.value);
	if (r == 0 && m && m->reservation.set)
		r = set_limit(t, CGROUP_MEMORY, "memory.reservation",
			      "memory.low", m->reservation.value);
	/* A kernel without swap has no such file, and nothing to limit. */
	if (r == 0 && swap != AS_IT_IS && has_file(t, "memory.swap.max"))
		r = set_limit(t, CGROUP_MEMORY, "memory.swap",
			      "memory.swap.max", swap);
	/* When it runs out of memory all of it ends, not some process of it
	 * that happened to be large. */
	if (r == 0 && defaults && !update)
		r = set_text(t, CGROUP_MEMORY, "memory", "memory.oom.group",
			     "1");
	return r;
}

/* v1's 2 ... 262144 to v2's 1 ... 10000, linearly. */
static int64_t weight_of_shares(int64_t shares)
{
	if (shares < 2)
		shares = 2;
	if (shares > 262144)
		shares = 262144;
	return 1 + (shares - 2) * 9999 / 262142;
}

/* Quota and period share a file; what is not given stays as it is. */
static int apply_quota(const struct target *t, const struct oci_cpu *c)
{
	char quota[24] = "max", text[64];
	ssize_t n;
	int fd;

	if (c->quota.set && c->quota.value > 0) {
		snprintf(quota, sizeof(quota), "%" PRId64, c->quota.value);
	} else if (!c->quota.set) {
		fd = openat(t->fd, "cpu.max", O_RDONLY | O_CLOEXEC);
		n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
		cleanup_close(&fd);
		if (n > 0) {
			text[n] = '\0';
			text[strcspn(text, " \n")] = '\0';
			snprintf(quota, sizeof(quota), "%.20s", text);
		}
	}
	if (c->period.set && c->period.value)
		snprintf(text, sizeof(text), "%s %" PRId64, quota,
			 c->period.value);
	else
		snprintf(text, sizeof(text), "%s", quota);
	return set_text(t, CGROUP_CPU,
			c->quota.set ? "cpu.quota" : "cpu.period", "cpu.max",
			text);
}

static int apply_cpu(const struct target *t, const struct oci_cpu *c)
{
	int r = 0;

	if (c->shares.set && c->shares.value)
		r = set_limit(t, CGROUP_CPU, "cpu.shares", "cpu.weight",
			      weight_of_shares(c->shares.value));
	if (r == 0 && (c->quota.set || c->period.set))
		r = apply_quota(t, c);
	if (r == 0 && c->burst.set)
		r = set_limit(t, CGROUP_CPU, "cpu.burst", "cpu.max.burst",
			      c->burst.value);
	if (r == 0 && c->idle.set)
		r = set_limit(t, CGROUP_CPU, "cpu.idle", "cpu.idle",
			      c->idle.value);
	if (r == 0 && c->cpus)
		r = set_text(t, CGROUP_CPUSET, "cpu.cpus", "cpuset.cpus",
			     c->cpus);
	if (r == 0 && c->mems)
		r = set_text(t, CGROUP_CPUSET, "cpu.mems", "cpuset.mems",
			     c->mems);
	return r;
}

static int apply_throttle(const struct target *t,
			  const struct oci_throttle_device *list, size_t n,
			  const char *name, const char *word)
{
	char text[96], key[64];
	size_t i;
	int r;

	for (i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "blockIO.throttle%sDevice[%zu]",
			 name, i);
		snprintf(text, sizeof(text),
			 "%" PRId64 ":%" PRId64 " %s=%" PRIu64, list[i].major,
			 list[i].minor, word, list[i].rate);
		r = set_text(t, CGROUP_IO, key, "io.max", text);
		if (r < 0)
			return r;
	}
	return 0;
}

/* v1's 10 ... 1000 to v2's 1 ... 10000, linearly; BFQ's own file takes them as
 * they are. device: "default", or the numbers of one. */
static int apply_weight(const struct target *t, const char *key,
			const char *device, int64_t weight)
{
	bool bfq = !has_file(t, "io.weight") && has_file(t, "io.bfq.weight");
	char text[80];

	snprintf(text, sizeof(text), "%s %" PRId64, device,
		 bfq ? weight : 1 + (weight - 10) * 9999 / 990);
	return set_text(t, CGROUP_IO, key, bfq ? "io.bfq.weight" : "io.weight",
			text);
}

static int apply_weights(const struct target *t, const struct oci_block_io *b)
{
	const struct oci_weight_device *d = b->weight_device;
	char key[64], device[48];
	size_t i;
	int r = 0;

	if (b->weight.set && b->weight.value)
		r = apply_weight(t, "blockIO.weight", "default",
				 b->weight.value);
	for (i = 0; r == 0 && i < b->n_weight_device; i++) {
		if (!d[i].weight.value)
			continue;
		snprintf(key, sizeof(key), "blockIO.weightDevice[%zu]", i);
		snprintf(device, sizeof(device), "%" PRId64 ":%" PRId64,
			 d[i].major, d[i].minor);
		r = apply_weight(t, key, device, d[i].weight.value);
	}
	return r;
}

static int apply_io(const struct target *t, const struct oci_block_io *b)
{
	int r = apply_weights(t, b);

	if (r == 0)
		r = apply_throttle(t, b->read_bps, b->n_read_bps, "ReadBps",
				   "rbps");
	if (r == 0)
		r = apply_throttle(t, b->write_bps, b->n_write_bps, "WriteBps",
				   "wbps");
	if (r == 0)
		r = apply_throttle(t, b->read_iops, b->n_read_iops, "ReadIOPS",
				   "riops");
	if (r == 0)
		r = apply_throttle(t, b->write_iops, b->n_write_iops,
				   "WriteIOPS", "wiops");
	return r;
}

/* Of what is used and, where the kernel counts it, of what is reserved. */
static int apply_hugetlb(const struct target *t, size_t i,
			 const struct oci_hugepage_limit *h)
{
	int64_t limit = h->limit > INT64_MAX ? -1 : (int64_t)h->limit;
	char file[64], key[32];
	int r;

	snprintf(key, sizeof(key), "hugepageLimits[%zu]", i);
	snprintf(file, sizeof(file), "hugetlb.%s.max", h->page_size);
	r = set_limit(t, CGROUP_HUGETLB, key, file, limit);
	snprintf(file, sizeof(file), "hugetlb.%s.rsvd.max", h->page_size);
	if (r == 0 && has_file(t, file))
		r = set_limit(t, CGROUP_HUGETLB, key, file, limit);
	return r;
}

static int apply_rdma(const struct target *t, const struct oci_rdma_limit *l)
{
	char text[128], key[80];
	size_t n;

	snprintf(key, sizeof(key), "rdma.%s", l->device);
	n = (size_t)snprintf(text, sizeof(text), "%s", l->device);
	if (l->handles.set)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
				      " hca_handle=%" PRId64, l->handles.value);
	if (l->objects.set)
		snprintf(text + n, sizeof(text) - n, " hca_object=%" PRId64,
			 l->objects.value);
	return set_text(t, CGROUP_RDMA, key, "rdma.max", text);
}

/* Is there no controller for this file at all? In crun's words, which tests
 * look for. */
static int check_unified_controller(const struct target *t, const char *file)
{
	size_t n = strcspn(file, "."), len, word;
	_cleanup_free_ char *text = NULL;
	const char *at;
	int r;

	r = file_read(t->fd, "cgroup.controllers", 4096, &text, &len, t->e);
	if (r < 0)
		return r;
	for (at = text; *at; at += word + (at[word] != '\0')) {
		word = strcspn(at, " \n");
		if (word == n && strncmp(at, file, n) == 0)
			return 0;
	}
	return err_set(t->e, ENOENT,
		       "%s.unified: the requested cgroup controller `%.*s` is "
		       "not available",
		       t->path, (int)n, file);
}

/* As it is, a line at a time: that is how the kernel takes "io.max". */
static int apply_unified(const struct target *t, const struct oci_kv *kv)
{
	_cleanup_free_ char *copy = strdup(kv->value);
	char key[128], *rest = copy, *line;
	int r = 0;

	if (!copy)
		return err_sys(t->e, ENOMEM, "%s.unified", t->path);
	if (!has_file(t, kv->key))
		r = check_unified_controller(t, kv->key);
	snprintf(key, sizeof(key), "unified.%s", kv->key);
	while (r == 0 && (line = strsep(&rest, "\n")))
		if (*line || !*copy)
			r = set_text(t, 0, key, kv->key, line);
	return r;
}

int resources_apply(int cgroup_fd, unsigned int have,
		    const struct oci_resources *res, bool defaults, bool update,
		    struct err *e)
{
	const struct target t = {.fd = cgroup_fd,
				 .have = have,
				 .path = update ? "resources"
						: "linux.resources",
				 .e = e};
	size_t i;
	int r;

	r = apply_memory(&t, res ? res->memory : NULL, defaults, update);
	if (r < 0 || !res)
		return r;
	if (res->pids && res->pids->limit.set)
		r = set_limit(&t, CGROUP_PIDS, "pids.limit", "pids.max",
			      res->pids->limit.value > 0
				      ? res->pids->limit.value
				      : -1);
	if (r == 0 && res->cpu)
		r = apply_cpu(&t, res->cpu);
	if (r == 0 && res->block_io)
		r = apply_io(&t, res->block_io);
	for (i = 0; r == 0 && i < res->n_hugepage_limits; i++)
		r = apply_hugetlb(&t, i, &res->hugepage_limits[i]);
	for (i = 0; r == 0 && i < res->n_rdma; i++)
		r = apply_rdma(&t, &res->rdma[i]);
	for (i = 0; r == 0 && i < res->n_unified; i++)
		r = apply_unified(&t, &res->unified[i]);
	return r;
}

/* ------------------------------------------------------------------ devices */

/* The configuration's rules, and the short list behind them: what every
 * container may use is not for a rule to take away. Nodes may be made, as with
 * other runtimes: that opens none of them. */
static int load_rules(const struct oci_resources *res, struct err *e)
{
	static const struct dev_rule nodes[] = {{true, 'c', -1, -1, DEV_MKNOD},
						{true, 'b', -1, -1, DEV_MKNOD}};
	size_t n = res ? res->n_devices : 0, i,
	       all = n + ARRAY_SIZE(nodes) + devfilter_short_list_n;
	_cleanup_free_ struct dev_rule *rules = NULL;
	int r;

	if (all > HYB_DEV_RULES_MAX)
		return err_set(e, E2BIG, "linux.resources.devices: too many");
	rules = calloc(all, sizeof(*rules));
	if (!rules)
		return err_sys(e, ENOMEM, "linux.resources.devices");
	for (i = 0; i < n; i++) {
		r = device_rule_parse(&res->devices[i], "linux.resources", i,
				      &rules[i], e);
		if (r < 0)
			return r;
	}
	memcpy(rules + n, nodes, sizeof(nodes));
	memcpy(rules + n + ARRAY_SIZE(nodes), devfilter_short_list,
	       devfilter_short_list_n * sizeof(*rules));
	return devfilter_load(rules, all, e);
}

int resources_devices(int cgroup_fd, const struct oci_resources *res,
		      bool defaults, struct err *e)
{
	_cleanup_close_ int own = -1;

	if (!defaults) {
		own = load_rules(res, e);
		return own < 0 ? own : devfilter_attach(own, cgroup_fd, e);
	}
	if (engine.device_programme < 0) {
		engine.device_programme = devfilter_load(
			devfilter_short_list, devfilter_short_list_n, e);
		if (engine.device_programme < 0)
			return engine.device_programme;
	}
	return devfilter_attach(engine.device_programme, cgroup_fd, e);
}
