/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that ask the guests: Stats, Top, ExecList. A guest that does not answer in time
 * holds up this call, and no other. */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/varlink/params.h"

#define ASK_MS 5000

/* A VM that is to be asked, and its containers that run. */
struct asked {
	char stack[STATE_NAME_MAX], vm[STATE_NAME_MAX];
	struct vsock_addr addr;
	struct {
		char name[STATE_NAME_MAX], id[80], state[16];
	} ctrs[WORLD_CONTAINERS_MAX];
	size_t n;
};

/* What is asked of one VM: its rows are added to `rows`. */
typedef int (*ask_fn)(struct request *q, struct agent *a,
		      const struct asked *vm, json_t *rows, struct err *e);

/* The VM'th that is meant; false: there is none. */
static bool next_vm(struct request *q, const struct target *t, size_t index,
		    struct asked *ret)
{
	const struct vm *vm;
	size_t i;

	memset(ret, 0, sizeof(*ret));
	for (vm = q->api->world->vms; vm; vm = vm->next) {
		if (!target_has(q, t, vm))
			continue;
		if (index-- == 0)
			break;
	}
	if (!vm)
		return false;
	snprintf(ret->stack, sizeof(ret->stack), "%s", vm->stack);
	snprintf(ret->vm, sizeof(ret->vm), "%s", vm->name);
	ret->addr = vm->addr;
	for (i = 0; vm->state == VM_RUNNING && i < vm->n_ctrs; i++) {
		const struct ctr *c = &vm->ctrs[i];

		if (!c->in_guest || !ctr_is_live(c->state) ||
		    (t->container[0] && strcmp(c->row.name, t->container) != 0))
			continue;
		snprintf(ret->ctrs[ret->n].name, STATE_NAME_MAX, "%s",
			 c->row.name);
		snprintf(ret->ctrs[ret->n].id, 80, "%s", c->id);
		snprintf(ret->ctrs[ret->n].state, 16, "%s",
			 ctr_state_name(c->state));
		ret->n++;
	}
	return true;
}

static int ask_vm(struct request *q, const struct asked *vm, ask_fn fn,
		  json_t *rows, struct err *e)
{
	_cleanup_agent_ struct agent a = {.conn.fd = -1};
	int r;

	r = agent_open(&a, &vm->addr, now_ms() + ASK_MS, e);
	if (r == 0)
		r = fn(q, &a, vm, rows, e);
	return r < 0 ? err_wrap(e, "VM '%s/%s'", vm->stack, vm->vm) : 0;
}

static int ask_sessions(struct request *q, struct agent *a,
			const struct asked *vm, json_t *rows, struct err *e);

/* Asks all that the call's name means. Where none answers that is the error;
 * where some do, `fallback` (may be NULL) makes the rows of the others. */
static int ask(struct request *q, struct vl_call *call, ask_fn fn,
	       void (*fallback)(struct request *q, const struct asked *vm,
				json_t *rows),
	       struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, 0, 0, 256, true},
	};
	_cleanup_free_ struct asked *vm = calloc(1, sizeof(*vm));
	struct target t = {"", "", ""};
	struct err one = ERR_INIT;
	const char *name = "";
	size_t index, answered = 0, asked = 0;
	json_t *rows;
	bool more;
	int r;

	if (!vm)
		return err_sys(e, ENOMEM, "ask the guests");
	r = vl_params_read(call->parameters, fields, 1, true, &name, NULL, e);
	if (r == 0 && name[0])
		r = target_find(q, name, 1, &t, e);
	if (r < 0)
		return r;
	rows = json_array();
	for (index = 0;; index++) {
		world_lock(q->api->world);
		more = next_vm(q, &t, index, vm);
		world_unlock(q->api->world);
		if (!more)
			break;
		if (vm->n == 0)
			continue;
		asked++;
		if (ask_vm(q, vm, fn, rows, &one) == 0)
			answered++;
		else if (fallback)
			fallback(q, vm, rows);
	}
	if (answered == 0 && one.code) {
		*e = one;
		json_decref(rows);
		return -e->code;
	}
	/* What runs has figures and processes, but need not have sessions. */
	if (t.container[0] && json_array_size(rows) == 0 &&
	    (asked == 0 || fn != ask_sessions)) {
		json_decref(rows);
		return err_set(e, ENOTCONN, "'%s' does not run", name);
	}
	return request_reply(q, json_pack("{s:o}", "rows", rows), false, e);
}

static json_t *row_new(struct request *q, const struct asked *vm, size_t i)
{
	return json_pack("{s:s,s:s,s:s,s:s,s:s}", "tenant", q->tenant, "stack",
			 vm->stack, "vm", vm->vm, "container", vm->ctrs[i].name,
			 "state", vm->ctrs[i].state);
}

static void set(json_t *row, const char *key, int64_t v)
{
	json_object_set_new(row, key, v < 0 ? json_null() : json_integer(v));
}

static int ask_stats(struct request *q, struct agent *a, const struct asked *vm,
		     json_t *rows, struct err *e)
{
	struct agent_container_stats list[HYB_AGENT_CONTAINERS_MAX];
	size_t n = 0, i, k;
	json_t *row;
	int r;

	r = agent_container_stats(a, now_ms() + ASK_MS, list, &n, e);
	for (i = 0; r == 0 && i < vm->n; i++) {
		const struct agent_container_stats *s;

		for (k = 0; k < n && strcmp(list[k].id, vm->ctrs[i].id); k++)
			;
		if (k == n)
			continue; /* ended meanwhile */
		s = &list[k];
		row = row_new(q, vm, i);
		set(row, "memory", s->memory_current);
		set(row, "memory_peak", s->memory_peak);
		set(row, "memory_reclaimable", s->memory_reclaimable);
		set(row, "memory_max", s->memory_max);
		set(row, "cpu_usec", s->cpu_usec);
		set(row, "pids", s->pids_current);
		set(row, "oom_kills", s->oom_kills);
		set(row, "io_read", s->io_read);
		set(row, "io_written", s->io_written);
		set(row, "memory_pressure", s->memory_pressure);
		set(row, "cpu_pressure", s->cpu_pressure);
		set(row, "io_pressure", s->io_pressure);
		set(row, "at", (int64_t)now_ns());
		json_array_append_new(rows, row);
	}
	return r;
}

/* A guest that does not answer: its containers are named all the same. */
static void no_stats(struct request *q, const struct asked *vm, json_t *rows)
{
	size_t i;

	for (i = 0; i < vm->n; i++)
		json_array_append_new(rows, row_new(q, vm, i));
}

int on_stats(void *ctx, struct vl_call *call, struct err *e)
{
	return ask(ctx, call, ask_stats, no_stats, e);
}

static int ask_top(struct request *q, struct agent *a, const struct asked *vm,
		   json_t *rows, struct err *e)
{
	_cleanup_free_ struct agent_process *list =
		calloc(HYB_AGENT_TOP_MAX, sizeof(*list));
	size_t i, k, n;
	json_t *row;
	int r = 0;

	if (!list)
		return err_sys(e, ENOMEM, "list processes");
	for (i = 0; i < vm->n && r == 0; i++) {
		n = 0;
		r = agent_top(a, vm->ctrs[i].id, now_ms() + ASK_MS, list, &n,
			      e);
		for (k = 0; r == 0 && k < n; k++) {
			/* Others' answers fit in the message, too. */
			if (json_array_size(rows) >= 2000)
				return err_set(e, E2BIG,
					       "too many processes: name a "
					       "container");
			row = row_new(q, vm, i);
			set(row, "pid", list[k].pid);
			set(row, "uid", list[k].uid);
			json_object_set_new(row, "process_state",
					    json_string(list[k].state));
			set(row, "rss", list[k].rss);
			set(row, "cpu_usec", list[k].cpu_usec);
			set(row, "threads", list[k].threads);
			json_object_set_new(row, "command",
					    json_string(list[k].command));
			json_array_append_new(rows, row);
		}
	}
	return r;
}

int on_top(void *ctx, struct vl_call *call, struct err *e)
{
	return ask(ctx, call, ask_top, NULL, e);
}

static json_t *session_row(struct request *q, const struct asked *vm, size_t i,
			   const struct agent_session *s)
{
	json_t *row = row_new(q, vm, i), *more;

	more = json_pack(
		"{s:s,s:o,s:b,s:b,s:b,s:b,s:s,s:o,s:o,s:o,s:I,s:s}", "session",
		s->id, "pid", s->pid ? json_integer(s->pid) : json_null(),
		"tty", (int)s->tty, "stdin", (int)s->in, "attached",
		(int)s->attached, "detached", (int)s->detached, "session_state",
		s->running ? "running" : "exited", "exit_code",
		s->running ? json_null() : json_integer(s->exit_code),
		"started_at", time_json(s->started_at), "finished_at",
		time_json(s->finished_at), "waiting", (json_int_t)s->waiting,
		"command", s->command);
	if (row && more)
		json_object_update(row, more);
	json_decref(more);
	return row;
}

static int ask_sessions(struct request *q, struct agent *a,
			const struct asked *vm, json_t *rows, struct err *e)
{
	_cleanup_free_ struct agent_session *list =
		calloc(HYB_AGENT_SESSIONS_MAX, sizeof(*list));
	size_t i, k, n;
	int r = 0;

	if (!list)
		return err_sys(e, ENOMEM, "list sessions");
	for (i = 0; i < vm->n && r == 0; i++) {
		n = 0;
		r = agent_sessions(a, vm->ctrs[i].id, now_ms() + ASK_MS, list,
				   &n, e);
		for (k = 0; r == 0 && k < n; k++)
			json_array_append_new(rows,
					      session_row(q, vm, i, &list[k]));
	}
	return r;
}

int on_exec_list(void *ctx, struct vl_call *call, struct err *e)
{
	return ask(ctx, call, ask_sessions, NULL, e);
}
