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
#include "guest-agent/sys/cgroup.h"
#include "guest-agent/sys/devfilter.h"

struct target {
	int fd;
	unsigned int have;
	struct err *e;
};

/* A controller that the machine does not give to anybody has been told in
 * container_engine_warning(); one that only this cgroup lacks is an error. */
static int set_text(const struct target *t, unsigned int controller,
		    const char *file, const char *value)
{
	int r;

	if (controller && !(t->have & controller) &&
	    !(engine.have & controller))
		return 0;
	r = cgroup_write(t->fd, file, value);
	if (r < 0)
		return err_sys(t->e, -r, "cgroup: %s = %s", file, value);
	return 0;
}

static int set_limit(const struct target *t, unsigned int controller,
		     const char *file, int64_t value)
{
	char text[32] = "max";

	if (value >= 0)
		snprintf(text, sizeof(text), "%" PRId64, value);
	return set_text(t, controller, file, text);
}

static int apply_memory(const struct target *t, const struct oci_memory *m,
			bool defaults)
{
	int64_t swap = -2; /* as it is */
	int r = 0;

	if (m && m->disable_oom_killer)
		return err_set(t->e, ENOTSUP,
			       "linux.resources.memory.disableOOMKiller: "
			       "cgroup v2 cannot");
	if (m && m->limit.set)
		r = set_limit(t, CGROUP_MEMORY, "memory.max", m->limit.value);
	if (r == 0 && m && m->reservation.set)
		r = set_limit(t, CGROUP_MEMORY, "memory.low",
			      m->reservation.value);
	/* The specification's swap is memory and swap together. */
	if (m && m->swap.set && m->swap.value < 0)
		swap = -1;
	else if (m && m->swap.set && m->limit.set && m->limit.value >= 0)
		swap = m->swap.value - m->limit.value;
	else if (defaults)
		swap = 0;
	else if (m && m->swap.set)
		return err_set(t->e, EINVAL,
			       "linux.resources.memory.swap: needs "
			       "memory.limit");
	if (m && m->swap.set && swap < -1)
		return err_set(t->e, EINVAL,
			       "linux.resources.memory.swap: must not be below "
			       "memory.limit");
	/* A kernel without swap has no such file, and nothing to limit. */
	if (r == 0 && swap != -2 &&
	    faccessat(t->fd, "memory.swap.max", F_OK, 0) == 0)
		r = set_limit(t, CGROUP_MEMORY, "memory.swap.max", swap);
	/* When it runs out of memory all of it ends, not some process of it
	 * that happened to be large. */
	if (r == 0 && defaults)
		r = set_text(t, CGROUP_MEMORY, "memory.oom.group", "1");
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
	return set_text(t, CGROUP_CPU, "cpu.max", text);
}

static int apply_cpu(const struct target *t, const struct oci_cpu *c)
{
	int r = 0;

	if (c->realtime_period.set || c->realtime_runtime.set)
		return err_set(t->e, ENOTSUP,
			       "linux.resources.cpu.realtimeRuntime: cgroup v2 "
			       "has none");
	if (c->shares.set && c->shares.value)
		r = set_limit(t, CGROUP_CPU, "cpu.weight",
			      weight_of_shares(c->shares.value));
	if (r == 0 && (c->quota.set || c->period.set))
		r = apply_quota(t, c);
	if (r == 0 && c->burst.set)
		r = set_limit(t, CGROUP_CPU, "cpu.max.burst", c->burst.value);
	if (r == 0 && c->idle.set)
		r = set_limit(t, CGROUP_CPU, "cpu.idle", c->idle.value);
	if (r == 0 && c->cpus)
		r = set_text(t, CGROUP_CPUSET, "cpuset.cpus", c->cpus);
	if (r == 0 && c->mems)
		r = set_text(t, CGROUP_CPUSET, "cpuset.mems", c->mems);
	return r;
}

static int apply_throttle(const struct target *t,
			  const struct oci_throttle_device *list, size_t n,
			  const char *word)
{
	char text[96];
	size_t i;
	int r;

	for (i = 0; i < n; i++) {
		snprintf(text, sizeof(text),
			 "%" PRId64 ":%" PRId64 " %s=%" PRIu64, list[i].major,
			 list[i].minor, word, list[i].rate);
		r = set_text(t, CGROUP_IO, "io.max", text);
		if (r < 0)
			return r;
	}
	return 0;
}

/* v1's 10 ... 1000 to v2's 1 ... 10000, linearly. */
static int64_t weight_of_blkio(int64_t weight)
{
	return 1 + (weight - 10) * 9999 / 990;
}

static int apply_weight_device(const struct target *t,
			       const struct oci_weight_device *d)
{
	char text[80];

	if (d->leaf_weight.set)
		return err_set(t->e, ENOTSUP,
			       "linux.resources.blockIO.weightDevice: "
			       "cgroup v2 has no leafWeight");
	if (!d->weight.set || !d->weight.value)
		return 0;
	snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %" PRId64,
		 d->major, d->minor, weight_of_blkio(d->weight.value));
	return set_text(t, CGROUP_IO, "io.weight", text);
}

static int apply_io(const struct target *t, const struct oci_block_io *b)
{
	char text[32];
	size_t i;
	int r = 0;

	if (b->leaf_weight.set)
		return err_set(t->e, ENOTSUP,
			       "linux.resources.blockIO.leafWeight: cgroup v2 "
			       "has none");
	if (b->weight.set && b->weight.value) {
		snprintf(text, sizeof(text), "default %" PRId64,
			 weight_of_blkio(b->weight.value));
		r = set_text(t, CGROUP_IO, "io.weight", text);
	}
	for (i = 0; r == 0 && i < b->n_weight_device; i++)
		r = apply_weight_device(t, &b->weight_device[i]);
	if (r == 0)
		r = apply_throttle(t, b->read_bps, b->n_read_bps, "rbps");
	if (r == 0)
		r = apply_throttle(t, b->write_bps, b->n_write_bps, "wbps");
	if (r == 0)
		r = apply_throttle(t, b->read_iops, b->n_read_iops, "riops");
	if (r == 0)
		r = apply_throttle(t, b->write_iops, b->n_write_iops, "wiops");
	return r;
}

static int apply_hugetlb(const struct target *t,
			 const struct oci_hugepage_limit *h)
{
	char file[64];

	if (strchr(h->page_size, '/') || strlen(h->page_size) > 16)
		return err_set(t->e, EINVAL,
			       "linux.resources.hugepageLimits: bad pageSize");
	snprintf(file, sizeof(file), "hugetlb.%s.max", h->page_size);
	return set_limit(t, CGROUP_HUGETLB, file,
			 h->limit > INT64_MAX ? -1 : (int64_t)h->limit);
}

/* Files by name, as they are: names must not leave the folder. */
static int apply_unified(const struct target *t, const struct oci_kv *kv)
{
	if (strchr(kv->key, '/') || !strchr(kv->key, '.') ||
	    kv->key[0] == '.' || strncmp(kv->key, "cgroup.", 7) == 0)
		return err_set(t->e, EINVAL,
			       "linux.resources.unified: '%.64s' is not a "
			       "controller's file",
			       kv->key);
	return set_text(t, 0, kv->key, kv->value);
}

int resources_apply(int cgroup_fd, unsigned int have,
		    const struct oci_resources *res, bool defaults,
		    struct err *e)
{
	const struct target t = {.fd = cgroup_fd, .have = have, .e = e};
	size_t i;
	int r;

	r = apply_memory(&t, res ? res->memory : NULL, defaults);
	if (r < 0 || !res)
		return r;
	if (res->pids && res->pids->limit.set)
		r = set_limit(&t, CGROUP_PIDS, "pids.max",
			      res->pids->limit.value > 0
				      ? res->pids->limit.value
				      : -1);
	if (r == 0 && res->cpu)
		r = apply_cpu(&t, res->cpu);
	if (r == 0 && res->block_io)
		r = apply_io(&t, res->block_io);
	for (i = 0; r == 0 && i < res->n_hugepage_limits; i++)
		r = apply_hugetlb(&t, &res->hugepage_limits[i]);
	for (i = 0; r == 0 && i < res->n_unified; i++)
		r = apply_unified(&t, &res->unified[i]);
	return r;
}

/* ------------------------------------------------------------------ devices */

static int parse_rule(const struct oci_device_rule *from, size_t index,
		      struct dev_rule *to, struct err *e)
{
	const char *type = from->type ? from->type : "a", *c;

	if ((type[0] != 'a' && type[0] != 'b' && type[0] != 'c') || type[1])
		return err_set(e, EINVAL,
			       "linux.resources.devices[%zu].type: must be a, "
			       "b or c",
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
				       "linux.resources.devices[%zu].access: "
				       "must be of r, w and m",
				       index);
	}
	/* No access at all: a rule that speaks of nothing. */
	if (!to->access)
		to->access = DEV_READ | DEV_WRITE | DEV_MKNOD;
	return 0;
}

/* The configuration's rules, and the short list behind them: what every
 * container may use is not for a rule to take away. */
static int load_rules(const struct oci_resources *res, struct err *e)
{
	_cleanup_free_ struct dev_rule *rules = NULL;
	size_t n = res->n_devices, i;
	int r;

	if (n + devfilter_short_list_n > HYB_DEV_RULES_MAX)
		return err_set(e, E2BIG, "linux.resources.devices: too many");
	rules = calloc(n + devfilter_short_list_n, sizeof(*rules));
	if (!rules)
		return err_sys(e, ENOMEM, "linux.resources.devices");
	for (i = 0; i < n; i++) {
		r = parse_rule(&res->devices[i], i, &rules[i], e);
		if (r < 0)
			return r;
	}
	memcpy(rules + n, devfilter_short_list,
	       devfilter_short_list_n * sizeof(*rules));
	return devfilter_load(rules, n + devfilter_short_list_n, e);
}

int resources_devices(int cgroup_fd, const struct oci_resources *res,
		      bool defaults, struct err *e)
{
	_cleanup_close_ int own = -1;

	if (!defaults && res && res->n_devices) {
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
