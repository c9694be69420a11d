/* SPDX-License-Identifier: Apache-2.0 */
/* The table of methods, and those that are about the machine. */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "common/varlink/params.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <time.h>

#define ANY	 (PERMIT_BLANK | PERMIT_CLAIMED | PERMIT_STOPPING)
#define CLAIMED	 (PERMIT_CLAIMED)
#define LOOKING	 (PERMIT_CLAIMED | PERMIT_STOPPING)
#define STARTING (PERMIT_BLANK | PERMIT_CLAIMED)

static int method_hello(void *ctx, struct vl_call *call, struct err *e);
static int method_claim(void *ctx, struct vl_call *call, struct err *e);
static int method_set_time(void *ctx, struct vl_call *call, struct err *e);

const struct vl_method agent_methods[] = {
	{IFACE "Hello", 0, 0, ANY, method_hello},
	{IFACE "Claim", 0, 0, STARTING, method_claim},
	{IFACE "SetTime", 0, 0, ANY, method_set_time},
	{IFACE "Create", 0, 0, CLAIMED, method_create},
	{IFACE "Start", 0, 0, CLAIMED, method_start},
	{IFACE "Signal", 0, 0, LOOKING, method_signal},
	{IFACE "Pause", 0, 0, CLAIMED, method_pause},
	{IFACE "Resume", 0, 0, CLAIMED, method_resume},
	{IFACE "Wait", 0, 0, LOOKING, method_wait},
	{IFACE "Delete", 0, 0, LOOKING, method_delete},
	{IFACE "List", 0, 0, ANY, method_list},
	{IFACE "Stats", 0, 0, ANY, method_stats},
	{IFACE "Top", 0, 0, LOOKING, method_top},
	{IFACE "Events", VL_MORE, 0, ANY, method_events},
	{IFACE "Exec", VL_UPGRADE, 0, CLAIMED, method_exec},
	{IFACE "Attach", VL_UPGRADE, 0, LOOKING, method_attach},
	{IFACE "Sessions", 0, 0, LOOKING, method_sessions},
	{IFACE "SignalSession", 0, 0, LOOKING, method_signal_session},
	{IFACE "Copy", VL_UPGRADE, 0, CLAIMED, method_copy},
	{IFACE "CopyVolume", VL_UPGRADE, 0, CLAIMED, method_copy_volume},
	{IFACE "Logs", VL_UPGRADE, 0, LOOKING, method_logs},
	{IFACE "Forward", VL_UPGRADE, 0, CLAIMED, method_forward},
	{IFACE "SetChecks", 0, 0, CLAIMED, method_set_checks},
	{IFACE "Checks", 0, 0, LOOKING, method_checks},
	{IFACE "UpdateFiles", 0, 0, CLAIMED, method_update_files},
	{IFACE "MountVolume", 0, 0, CLAIMED, method_mount_volume},
	{IFACE "UnmountVolume", 0, 0, LOOKING, method_unmount_volume},
	{IFACE "FreezeVolume", 0, 0, CLAIMED, method_freeze_volume},
	{IFACE "ThawVolume", 0, 0, LOOKING, method_thaw_volume},
	{IFACE "KeepFolders", 0, 0, CLAIMED, method_keep_folders},
	{IFACE "Shutdown", 0, 0, STARTING, method_shutdown},
};
const size_t agent_methods_n = ARRAY_SIZE(agent_methods);

unsigned int agent_permits(const struct agent *a)
{
	if (a->stopping)
		return PERMIT_STOPPING;
	return a->claimed ? PERMIT_CLAIMED : PERMIT_BLANK;
}

/* No parameters at all. */
static int no_params(const struct vl_call *call, struct err *e)
{
	return vl_params_read(call->parameters, NULL, 0, true, NULL, NULL, e);
}

static uint64_t boottime_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ------------------------------------------------------------------ Hello */

static int64_t memory_total(void)
{
	return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
}

static int vcpus(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	return CPU_COUNT(&set) > 0 ? CPU_COUNT(&set) : 1;
}

static void boot_id(char ret[40])
{
	_cleanup_close_ int fd =
		open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read_full(fd, ret, 36);

	ret[n < 0 ? 0 : n] = '\0';
}

static int method_hello(void *ctx, struct vl_call *call, struct err *e)
{
	struct peer *p = ctx;
	struct utsname uts;
	char boot[40];
	int r;

	r = no_params(call, e);
	if (r < 0)
		return r;
	if (uname(&uts) < 0)
		return err_sys(e, errno, "uname");
	boot_id(boot);
	peer_reply(p,
		   json_pack("{s:i,s:s,s:s,s:s,s:I,s:I,s:i,s:s,s:[s]}",
			     "protocol", AGENT_PROTOCOL, "version", HYB_VERSION,
			     "boot_id", boot, "kernel", uts.release, "uptime",
			     (json_int_t)boottime_ns(), "memory_total",
			     (json_int_t)memory_total(), "vcpus", vcpus(),
			     "instance", p->agent->instance, "features",
			     "checks"));
	return 0;
}

/* ------------------------------------------------------------------ Claim */

/* RFC 1123 letters, digits, "-" and "."; what the kernel would take beyond
 * that could upset those who print it. */
static bool hostname_is_valid(const char *s)
{
	return s[0] && strlen(s) <= AGENT_HOSTNAME_MAX && s[0] != '-' &&
	       s[0] != '.' &&
	       s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXY"
			   "Z0123456789-.")] == '\0';
}

static bool instance_is_valid(const char *s)
{
	return s[0] && s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"
				   "RSTUVWXYZ0123456789-_.")] == '\0';
}

static int claim_check(struct claim *c, const char *entropy,
		       unsigned char raw[AGENT_ENTROPY_MAX], struct err *e)
{
	unsigned char id[16];
	size_t len = strlen(entropy);

	if (!instance_is_valid(c->instance))
		return err_set(e, EINVAL, "instance: letters, digits, \"-_.\"");
	if (!hostname_is_valid(c->hostname))
		return err_set(e, EINVAL, "hostname: not a host name");
	if (hex_parse(c->machine_id, id, sizeof(id)) < 0)
		return err_set(e, EINVAL,
			       "machine_id: must be 32 hexadecimal digits");
	if (len % 2 || hex_parse(entropy, raw, len / 2) < 0)
		return err_set(e, EINVAL,
			       "entropy: must be pairs of hexadecimal digits");
	c->entropy = raw;
	c->entropy_len = len / 2;
	return 0;
}

struct claim_params {
	struct claim c;
	const char *entropy;
};

static int method_claim(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"instance", VL_STRING,
		 offsetof(struct claim_params, c.instance), 0,
		 AGENT_INSTANCE_MAX, false},
		{"hostname", VL_STRING,
		 offsetof(struct claim_params, c.hostname), 0,
		 AGENT_HOSTNAME_MAX, false},
		{"machine_id", VL_STRING,
		 offsetof(struct claim_params, c.machine_id), 0, 32, false},
		{"time", VL_INT, offsetof(struct claim_params, c.time), 0,
		 INT64_MAX, false},
		{"entropy", VL_STRING, offsetof(struct claim_params, entropy),
		 0, AGENT_ENTROPY_MAX * 2, false},
	};
	unsigned char raw[AGENT_ENTROPY_MAX];
	struct claim_params q = {0};
	struct peer *p = ctx;
	struct agent *a = p->agent;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &q, NULL, e);
	if (r == 0)
		r = claim_check(&q.c, q.entropy, raw, e);
	if (r < 0)
		return r;
	if (a->claimed && strcmp(a->instance, q.c.instance) != 0) {
		peer_error(p, IFACE "AlreadyClaimed", NULL);
		return 0;
	}
	if (!a->claimed) {
		r = a->ops->claim(&q.c, e);
		explicit_bzero(raw, sizeof(raw));
		if (r < 0)
			return r == -EINVAL ? -EIO : r;
		snprintf(a->instance, sizeof(a->instance), "%s", q.c.instance);
		a->claimed = true;
	}
	peer_reply(p, NULL);
	return 0;
}

static int method_set_time(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"time", VL_INT, 0, 0, INT64_MAX, false},
	};
	int64_t wanted = 0, offset = 0;
	struct peer *p = ctx;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &wanted, NULL, e);
	if (r < 0)
		return r;
	r = p->agent->ops->set_time(wanted, &offset, e);
	if (r < 0)
		return r == -EINVAL ? -EIO : r;
	peer_reply(p, json_pack("{s:I}", "offset", (json_int_t)offset));
	return 0;
}

/* ----------------------------------------------------------------- Events */

static json_t *event_json(json_t *container)
{
	return json_pack("{s:o?,s:I}", "container", container, "uptime",
			 (json_int_t)boottime_ns());
}

_Static_assert(AGENT_CONTAINERS_MAX % 64 == 0, "a bit for each container");

static bool is_dirty(const struct peer *p, size_t slot)
{
	return p->dirty[slot / 64] >> slot % 64 & 1;
}

static void set_dirty(struct peer *p, size_t slot)
{
	p->dirty[slot / 64] |= UINT64_C(1) << slot % 64;
}

bool events_pending(const struct peer *p)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(p->dirty); i++)
		if (p->dirty[i])
			return true;
	return false;
}

void events_flush(struct peer *p)
{
	struct agent *a = p->agent;
	size_t i;

	for (i = 0; p->used && i < AGENT_CONTAINERS_MAX; i++) {
		if (!is_dirty(p, i))
			continue;
		if (p->out.len > AGENT_EVENTS_HIGH)
			return;
		p->dirty[i / 64] &= ~(UINT64_C(1) << i % 64);
		if (a->slots[i].used)
			peer_continue(p, event_json(slot_json(&a->slots[i])));
	}
}

void events_changed(struct slot *s)
{
	struct agent *a = s->agent;
	size_t i;

	for (i = 0; i < AGENT_PEERS_MAX; i++) {
		struct peer *p = &a->peers[i];

		if (!p->used || p->wait != WAIT_EVENTS)
			continue;
		set_dirty(p, (size_t)(s - a->slots));
		events_flush(p);
	}
}

/* To those that have taken what they were sent. */
static void on_heartbeat(struct timer *t)
{
	struct agent *a = container_of(t, struct agent, heartbeat);
	bool any = false;
	size_t i;

	for (i = 0; i < AGENT_PEERS_MAX; i++) {
		struct peer *p = &a->peers[i];

		if (!p->used || p->wait != WAIT_EVENTS)
			continue;
		any = true;
		if (p->out.len == 0)
			peer_continue(p, event_json(NULL));
	}
	if (any)
		poller_timer_set(&a->poller, t, now_ms() + AGENT_HEARTBEAT_MS);
}

int method_events(void *ctx, struct vl_call *call, struct err *e)
{
	struct peer *p = ctx;
	struct agent *a = p->agent;
	size_t i;
	int r;

	r = no_params(call, e);
	if (r < 0)
		return r;
	peer_defer(p, WAIT_EVENTS);
	if (!a->heartbeat.armed) {
		a->heartbeat.fn = on_heartbeat;
		poller_timer_set(&a->poller, &a->heartbeat,
				 now_ms() + AGENT_HEARTBEAT_MS);
	}
	for (i = 0; i < AGENT_CONTAINERS_MAX; i++)
		if (a->slots[i].used && a->slots[i].container)
			set_dirty(p, i);
	if (!events_pending(p))
		peer_continue(p, event_json(NULL));
	else
		events_flush(p);
	return 0;
}
