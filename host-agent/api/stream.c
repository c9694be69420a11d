/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that give streams: Exec (exec.c), Copy and Forward pass the guest's own connections
 * to the client, so hybd is not in between and may be killed meanwhile; Logs
 * reads the log files. */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "common/varlink/params.h"
#include "host-agent/reconcile/logfile.h"

#include <poll.h>

#define OPEN_MS 20000

int guest_find(struct request *q, const struct target *t, bool running,
	       struct vsock_addr *addr, char id[80], struct err *e)
{
	struct vm *vm;
	struct ctr *c;
	int r = 0;

	world_lock(q->api->world);
	vm = world_find_vm(q->api->world, q->tenant, t->stack, t->vm);
	c = vm ? vm_find_ctr(vm, t->container) : NULL;
	if (!vm || (t->container[0] && !c))
		r = err_set(e, ENOENT, "'%s/%s/%s': not found", t->stack, t->vm,
			    t->container);
	else if (vm->state != VM_RUNNING)
		r = err_set(e, ENOTCONN, "VM '%s/%s' is %s, not running",
			    t->stack, t->vm, vm_state_name(vm->state));
	else if (c && ((running && c->state != CTR_RUNNING) || !c->in_guest)) {
		r = err_set(e, ENOTCONN,
			    "container '%s/%s/%s' is %s, not running", t->stack,
			    t->vm, t->container, ctr_state_name(c->state));
		if (c->state == CTR_PAUSED)
			err_hint(e, "`hyb resume %s/%s/%s` lets it go on",
				 t->stack, t->vm, t->container);
		else
			err_hint(e, "`hyb logs %s/%s/%s` shows what it wrote",
				 t->stack, t->vm, t->container);
	}
	if (r == 0) {
		*addr = vm->addr;
		snprintf(id, 80, "%s", c ? c->id : "");
	}
	world_unlock(q->api->world);
	return r;
}

int on_copy(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, 0, 0, 256, false},
	};
	char id[80], full[3 * STATE_NAME_MAX];
	_cleanup_close_ int fd = -1;
	struct request *q = ctx;
	struct vsock_addr addr;
	const char *name = "";
	struct target t;
	int r;

	r = vl_params_read(call->parameters, fields, 1, true, &name, NULL, e);
	if (r == 0)
		r = target_find(q, name, 3, &t, e);
	if (r == 0)
		r = guest_find(q, &t, true, &addr, id, e);
	if (r < 0)
		return r;
	snprintf(full, sizeof(full), "%s/%s/%s", t.stack, t.vm, t.container);
	r = agent_copy(&addr, id, now_ms() + OPEN_MS, &fd, e);
	if (r < 0)
		return err_wrap(e, "copy with '%s'", full);
	return request_reply_fds(q, json_pack("{s:s}", "name", full), &fd, 1,
				 e);
}

struct forward_params {
	const char *name;
	int64_t port;
};

/* To a VM without an agent: by TCP, in its tenant's network. 1: it has one. */
static int forward_machine(struct request *q, const struct target *t,
			   uint16_t port, int *ret_fd, struct err *e)
{
	uint32_t number = 0;
	struct vm *vm;
	int r = 1;

	world_lock(q->api->world);
	vm = world_find_vm(q->api->world, q->tenant, t->stack, t->vm);
	if (vm && vm->machine) {
		number = vm->plugged ? vm->row.net_number : 0;
		r = number ? 0
			   : err_set(e, ENETUNREACH,
				     "VM '%s/%s' has no network card", t->stack,
				     t->vm);
	}
	world_unlock(q->api->world);
	if (r == 0)
		r = vm_dial(q->api->world, q->tenant, number, port,
			    now_ms() + OPEN_MS, ret_fd, e);
	return r;
}

int on_forward(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, offsetof(struct forward_params, name), 0,
		 256, false},
		{"port", VL_INT, offsetof(struct forward_params, port), 1,
		 65535, false},
	};
	_cleanup_close_ int fd = -1;
	struct forward_params p = {0};
	struct request *q = ctx;
	struct vsock_addr addr;
	struct target t;
	char id[80];
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &p, NULL, e);
	if (r == 0)
		r = target_find(q, p.name, 2, &t, e);
	if (r == 0)
		r = guest_find(q, &t, true, &addr, id, e);
	if (r < 0)
		return r;
	r = forward_machine(q, &t, (uint16_t)p.port, &fd, e);
	if (r > 0)
		r = agent_forward(&addr, (uint16_t)p.port, now_ms() + OPEN_MS,
				  &fd, e);
	if (r < 0)
		return err_wrap(e, "port %lld of '%s/%s'", (long long)p.port,
				t.stack, t.vm);
	return request_reply_fds(q, NULL, &fd, 1, e);
}

/* -------------------------------------------------------------------- logs */

struct logs_params {
	const char *name;
	bool follow;
	int64_t since, tail, from;
};

/* Will the container's log grow no more (for now)? With the lock held. */
static bool log_is_over(struct request *q, const struct target *t)
{
	struct vm *vm =
		world_find_vm(q->api->world, q->tenant, t->stack, t->vm);
	const struct ctr *c = vm ? vm_find_ctr(vm, t->container) : NULL;

	if (!c)
		return true;
	if (c->state == CTR_EXITED || c->state == CTR_STOPPED ||
	    (c->state == CTR_FAILED && !c->restart_at))
		return !c->in_guest || !vm->pump ||
		       logpump_is_drained(vm->pump, c->id);
	return false;
}

/* What a container wrote that has ended is wanted whole: waits (shortly) until
 * the pump has it. */
static void await_drain(struct request *q, const struct target *t)
{
	uint64_t deadline = now_ms() + 3000;
	struct vm *vm;
	struct ctr *c;

	world_lock(q->api->world);
	for (;;) {
		vm = world_find_vm(q->api->world, q->tenant, t->stack, t->vm);
		c = vm ? vm_find_ctr(vm, t->container) : NULL;
		if (!c ||
		    (c->state != CTR_EXITED && c->state != CTR_FAILED &&
		     c->state != CTR_STOPPED) ||
		    log_is_over(q, t) || now_ms() >= deadline)
			break;
		world_wait(q->api->world, 50);
	}
	world_unlock(q->api->world);
}

bool request_is_gone(struct request *q)
{
	struct pollfd p = {.fd = q->conn->fd, .events = POLLIN | POLLRDHUP};

	return poll(&p, 1, 0) > 0 &&
	       (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* Tells the log's own end from that of this process. */
static int send_end(struct request *q, const struct logreader *reader)
{
	unsigned char end[LOGREC_HEADER_SIZE];

	logrec_encode(&(struct logrec){.offset = reader->next}, end);
	return write_full(q->conn->fd, end, sizeof(end));
}

static int send_logs(struct request *q, const struct target *t,
		     struct logreader *reader, bool follow, struct err *e)
{
	_cleanup_free_ unsigned char *buf =
		malloc(LOGREC_HEADER_SIZE + LOGREC_LENGTH_MAX);
	bool over = false;
	ssize_t n;

	if (!buf)
		return err_sys(e, ENOMEM, "send logs");
	for (;;) {
		/* Asked before the file is read to its end: what was written
		 * before it was over is seen. */
		world_lock(q->api->world);
		over = !follow || log_is_over(q, t);
		world_unlock(q->api->world);
		while ((n = logreader_next(reader, buf, e)) > 0)
			if (write_full(q->conn->fd, buf, (size_t)n) < 0)
				return 0;
		if (n == 0 && over)
			return send_end(q, reader);
		if (n < 0 || request_is_gone(q))
			return (int)n;
		world_lock(q->api->world);
		if (!log_is_over(q, t))
			world_wait(q->api->world, 250);
		world_unlock(q->api->world);
	}
}

int on_logs(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, offsetof(struct logs_params, name), 0, 256,
		 false},
		{"follow", VL_BOOL, offsetof(struct logs_params, follow), 0, 0,
		 true},
		{"since", VL_INT, offsetof(struct logs_params, since), 0,
		 INT64_MAX, true},
		{"tail", VL_INT, offsetof(struct logs_params, tail), -1,
		 1000000000, true},
		{"from", VL_INT, offsetof(struct logs_params, from), 0,
		 INT64_MAX, true},
	};
	struct logs_params p = {.tail = -1};
	struct request *q = ctx;
	struct logreader reader;
	char full[3 * STATE_NAME_MAX], dir[256] = "";
	const struct vm *vm;
	struct target t;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &p, NULL, e);
	if (r == 0)
		r = target_find(q, p.name, 3, &t, e);
	if (r < 0)
		return r;
	await_drain(q, &t);
	world_lock(q->api->world);
	vm = world_find_vm(q->api->world, q->tenant, t.stack, t.vm);
	if (vm)
		snprintf(dir, sizeof(dir), "%s", vm->logs);
	world_unlock(q->api->world);
	r = logreader_open(dir, t.container, p.tail, (uint64_t)p.since, &reader,
			   e);
	if (r < 0)
		return r;
	if (reader.next < (uint64_t)p.from)
		reader.next = (uint64_t)p.from;
	snprintf(full, sizeof(full), "%s/%s/%s", t.stack, t.vm, t.container);
	r = request_reply(q, json_pack("{s:s}", "name", full), false, e);
	q->close = true;
	if (r == 0)
		send_logs(q, &t, &reader, p.follow, e);
	logreader_close(&reader);
	/* Upgraded: no Varlink error can be sent any more. */
	return 0;
}
