/* SPDX-License-Identifier: Apache-2.0 */
/* Stats: memory and pressure of the VM, and its containers' figures. */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/varlink/params.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>

static void read_text(const char *path, char *ret, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read_full(fd, ret, size - 1);

	ret[n < 0 ? 0 : n] = '\0';
}

/* "Key:  N kB" in bytes, 0 where there is none. */
static json_int_t meminfo(const char *text, const char *key)
{
	const char *at = strstr(text, key);
	unsigned long long kb = 0;

	if (at && sscanf(at + strlen(key), ": %llu kB", &kb) == 1)
		return (json_int_t)(kb * 1024);
	return 0;
}

/* "some avg10=1.23 ..." in hundredths of a percent. */
static json_int_t pressure(const char *path)
{
	char text[256];
	unsigned int whole = 0, part = 0;

	read_text(path, text, sizeof(text));
	if (sscanf(text, "some avg10=%3u.%2u", &whole, &part) != 2)
		return 0;
	return (json_int_t)whole * 100 + part;
}

static json_int_t clamp(uint64_t v)
{
	return v > INT64_MAX ? INT64_MAX : (json_int_t)v;
}

static json_t *slot_stats(const struct slot *s)
{
	struct container_stats st = {0};
	json_t *max;

	/* Of one that has ended there may be nothing: zeros. */
	if (container_get_stats(s->container, &st, NULL) < 0)
		st.memory_max = UINT64_MAX;
	max = st.memory_max == UINT64_MAX ? json_null()
					  : json_integer(clamp(st.memory_max));
	return json_pack(
		"{s:s,s:I,s:I,s:I,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "id",
		s->id, "memory_current", clamp(st.memory_current),
		"memory_peak", clamp(st.memory_peak), "memory_reclaimable",
		clamp(st.memory_reclaimable), "memory_max", max, "cpu_usec",
		clamp(st.cpu_usec), "pids_current", clamp(st.pids_current),
		"oom_kills", clamp(st.oom_kills), "io_read", clamp(st.io_read),
		"io_written", clamp(st.io_written), "memory_pressure",
		clamp(st.memory_pressure), "cpu_pressure",
		clamp(st.cpu_pressure), "io_pressure", clamp(st.io_pressure));
}

int method_stats(void *ctx, struct vl_call *call, struct err *e)
{
	struct peer *p = ctx;
	char text[4096];
	json_t *list;
	size_t i;
	int r;

	r = vl_params_read(call->parameters, NULL, 0, true, NULL, NULL, e);
	if (r < 0)
		return r;
	list = json_array();
	for (i = 0; i < AGENT_CONTAINERS_MAX; i++)
		if (p->agent->slots[i].used)
			json_array_append_new(list,
					      slot_stats(&p->agent->slots[i]));
	read_text("/proc/meminfo", text, sizeof(text));
	peer_reply(p,
		   json_pack("{s:I,s:I,s:I,s:I,s:o}", "memory_total",
			     meminfo(text, "MemTotal"), "memory_available",
			     meminfo(text, "MemAvailable"), "memory_pressure",
			     pressure("/proc/pressure/memory"), "cpu_pressure",
			     pressure("/proc/pressure/cpu"), "containers",
			     list));
	return 0;
}
