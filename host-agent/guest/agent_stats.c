/* SPDX-License-Identifier: Apache-2.0 */
/* What containers and their processes use. */
#include "host-agent/guest/agent_int.h"

#include "common/base/parse.h"

int agent_stats(struct agent *a, uint64_t deadline_ms, struct agent_stats *ret,
		struct err *e)
{
	static const struct vl_field fields[] = {
		{"memory_total", VL_INT, AT(agent_stats, memory_total), 0,
		 INT64_MAX, false},
		{"memory_available", VL_INT, AT(agent_stats, memory_available),
		 0, INT64_MAX, false},
	};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;

	return agent_call_read(a, IFACE "Stats", NULL, deadline_ms, fields,
			       ARRAY_SIZE(fields), ret, &reply, e);
}

struct stats_reply {
	const char *id;
	struct agent_container_stats s;
};

static int stats_read(const json_t *j, struct agent_container_stats *ret,
		      struct err *e)
{
#define FIELD(f, opt)                                               \
	{                                                           \
#f, VL_INT, AT(stats_reply, s.f), 0, INT64_MAX, opt \
	}
	static const struct vl_field fields[] = {
		{"id", VL_STRING, AT(stats_reply, id), 0, 79, false},
		FIELD(memory_current, false),
		FIELD(memory_peak, false),
		FIELD(memory_reclaimable, false),
		FIELD(memory_max, true),
		FIELD(cpu_usec, false),
		FIELD(pids_current, false),
		FIELD(oom_kills, false),
		FIELD(io_read, true),
		FIELD(io_written, true),
		FIELD(memory_pressure, true),
		FIELD(cpu_pressure, true),
		FIELD(io_pressure, true),
	};
#undef FIELD
	struct stats_reply s = {.s.memory_max = -1};
	int r;

	r = vl_params_read(j, fields, ARRAY_SIZE(fields), false, &s, NULL, e);
	if (r < 0)
		return r;
	*ret = s.s;
	text_escape(s.id, ret->id, sizeof(ret->id));
	return 0;
}

int agent_container_stats(struct agent *a, uint64_t deadline_ms,
			  struct agent_container_stats *ret, size_t *ret_n,
			  struct err *e)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	json_t *list;
	size_t i;
	int r;

	r = agent_call_all(a, IFACE "Stats", deadline_ms, &reply, &list, e);
	for (i = 0; r == 0 && i < json_array_size(list); i++)
		r = stats_read(json_array_get(list, i), &ret[i], e);
	if (r == 0)
		*ret_n = i;
	return r;
}

struct process_reply {
	const char *state, *command;
	int64_t pid, uid, rss, cpu_usec, threads;
};

static int process_read(const json_t *j, struct agent_process *ret,
			struct err *e)
{
	static const struct vl_field fields[] = {
		{"pid", VL_INT, AT(process_reply, pid), 0, INT32_MAX, false},
		{"uid", VL_INT, AT(process_reply, uid), 0, INT32_MAX, false},
		{"state", VL_STRING, AT(process_reply, state), 0, 1, false},
		{"rss", VL_INT, AT(process_reply, rss), 0, INT64_MAX, false},
		{"cpu_usec", VL_INT, AT(process_reply, cpu_usec), 0, INT64_MAX,
		 false},
		{"threads", VL_INT, AT(process_reply, threads), 0, INT32_MAX,
		 false},
		{"command", VL_STRING, AT(process_reply, command), 0, 800,
		 false},
	};
	struct process_reply p = {0};
	int r;

	r = vl_params_read(j, fields, ARRAY_SIZE(fields), false, &p, NULL, e);
	if (r < 0)
		return r;
	ret->pid = p.pid;
	ret->uid = p.uid;
	ret->rss = p.rss;
	ret->cpu_usec = p.cpu_usec;
	ret->threads = p.threads;
	text_escape(p.state, ret->state, sizeof(ret->state));
	text_escape(p.command, ret->command, sizeof(ret->command));
	return 0;
}

int agent_top(struct agent *a, const char *id, uint64_t deadline_ms,
	      struct agent_process *ret, size_t *ret_n, struct err *e)
{
	static const struct vl_field fields[] = {
		{"processes", VL_ARRAY, AT(one_object, value), 0,
		 HYB_AGENT_TOP_MAX, false},
	};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct one_object o = {0};
	size_t i;
	int r;

	r = agent_call_read(a, IFACE "Top", json_pack("{s:s}", "id", id),
			    deadline_ms, fields, 1, &o, &reply, e);
	for (i = 0; r == 0 && i < json_array_size(o.value); i++)
		r = process_read(json_array_get(o.value, i), &ret[i], e);
	if (r == 0)
		*ret_n = i;
	return r;
}
