/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to the agent whose answer is a stream, and those about sessions. */
#include "host-agent/guest/agent_int.h"

#include "common/base/fd.h"
#include "common/base/parse.h"

#include <poll.h>
#include <sys/socket.h>

/*
 * An upgrade call on a connection of its own. The answer is read byte by byte
 * up to its NUL by peeking, so that nothing of the stream behind it is taken:
 * the descriptor goes to another process.
 */
static int read_upgrade_reply(int fd, uint64_t deadline_ms,
			      struct vl_reply *reply, struct err *e)
{
	struct buf b = {.max = 16384};
	char tmp[2048], *end;
	json_t *msg;
	ssize_t n;
	int r;

	for (;;) {
		r = fd_wait(fd, POLLIN, deadline_ms);
		if (r < 0) {
			buf_done(&b);
			return err_sys(e, -r, "wait for an answer");
		}
		n = recv(fd, tmp, sizeof(tmp), MSG_PEEK);
		if (n <= 0)
			break;
		end = memchr(tmp, '\0', (size_t)n);
		if (end)
			n = end - tmp + 1;
		n = recv(fd, tmp, (size_t)n, 0);
		if (n <= 0 || buf_append(&b, tmp, (size_t)n) < 0 || end)
			break;
	}
	if (n <= 0 || b.error || b.len == 0) {
		buf_done(&b);
		return err_set(e, ECONNRESET,
			       "the guest closed the connection");
	}
	msg = json_loadb(b.data, b.len - 1, JSON_REJECT_DUPLICATES, NULL);
	buf_done(&b);
	if (!json_is_object(msg)) {
		json_decref(msg);
		return err_set(e, EBADMSG, "the guest's answer is not JSON");
	}
	r = vl_reply_parse(msg, reply, e);
	return r < 0 ? r : vl_reply_check(reply, e);
}

static int upgrade_call_reply(const struct vsock_addr *addr, const char *method,
			      json_t *params, uint64_t deadline_ms, int *ret_fd,
			      struct vl_reply *reply, struct err *e)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	int fd, r;

	r = vsock_connect(addr, HYB_AGENT_PORT, deadline_ms, &fd, e);
	if (r < 0) {
		json_decref(params);
		return r;
	}
	vl_conn_init(&c, fd, 0);
	r = vl_call_send(&c, method, params, VL_UPGRADE, NULL, 0, deadline_ms,
			 e);
	if (r == 0)
		r = read_upgrade_reply(c.fd, deadline_ms, reply, e);
	if (r < 0)
		return r;
	*ret_fd = steal_fd(&c.fd);
	return 0;
}

static int upgrade_call(const struct vsock_addr *addr, const char *method,
			json_t *params, uint64_t deadline_ms, int *ret_fd,
			struct err *e)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;

	return upgrade_call_reply(addr, method, params, deadline_ms, ret_fd,
				  &reply, e);
}

/* ------------------------------------------------------------ sessions */

/* Limits have a class of their own: there is nothing wrong with the guest. */
static int exec_error(const struct vl_reply *reply, int64_t *ret_exit_code,
		      int r, struct err *e)
{
	int64_t code = 0;
	const struct vl_field field = {"exit_code", VL_INT, 0, 126, 127, false};

	if (strcmp(reply->error, IFACE "StartError") == 0 &&
	    vl_params_read(reply->parameters, &field, 1, false, &code, NULL,
			   NULL) == 0) {
		const char *text = json_string_value(
			json_object_get(reply->parameters, "message"));
		char shown[512];

		*ret_exit_code = code;
		return err_set(
			e, ENOEXEC, "%s",
			text_escape(text ? text : "", shown, sizeof(shown)));
	}
	return r;
}

int agent_exec(const struct vsock_addr *addr, const struct agent_exec *x,
	       uint64_t deadline_ms, int *ret_fd, int64_t *ret_exit_code,
	       struct err *e)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	int r;

	r = upgrade_call_reply(
		addr, IFACE "Exec",
		json_pack("{s:s,s:s,s:O,s:O,s:s,s:s,s:b,s:I,s:I,s:b,s:b}",
			  "session", x->session, "id", x->id, "args", x->args,
			  "env", x->env, "cwd", x->cwd, "user", x->user, "tty",
			  (int)x->tty, "rows", (json_int_t)x->rows, "cols",
			  (json_int_t)x->cols, "stdin", (int)x->in, "detach",
			  (int)x->detach),
		deadline_ms, ret_fd, &reply, e);
	return r < 0 ? exec_error(&reply, ret_exit_code, r, e) : 0;
}

int agent_attach(const struct vsock_addr *addr, const char *session,
		 const char *stream, uint64_t deadline_ms, int *ret_fd,
		 struct err *e)
{
	return upgrade_call(
		addr, IFACE "Attach",
		json_pack("{s:s,s:s}", "session", session, "stream", stream),
		deadline_ms, ret_fd, e);
}

int agent_reattach(const struct vsock_addr *addr, const char *session,
		   const char *stream, bool again, uint64_t deadline_ms,
		   struct agent_attached *ret, struct err *e)
{
	static const struct vl_field fields[] = {
		{"tty", VL_BOOL, AT(agent_attached, tty), 0, 0, true},
		{"stdin", VL_BOOL, AT(agent_attached, in), 0, 0, true},
		{"lost", VL_INT, AT(agent_attached, lost), 0, INT64_MAX, true},
	};
	bool control = strcmp(stream, "control") == 0;
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	int r;

	*ret = (struct agent_attached){.fd = -1};
	r = upgrade_call_reply(
		addr, IFACE "Attach",
		json_pack("{s:s,s:s,s:b}", "session", session, "stream", stream,
			  control ? "steal" : "replay", (int)again),
		deadline_ms, &ret->fd, &reply, e);
	if (r < 0 && strcmp(reply.error, IFACE "AlreadyExists") == 0)
		return err_set(e, EBUSY, "somebody is attached to it");
	if (r == 0)
		r = vl_params_read(reply.parameters, fields, ARRAY_SIZE(fields),
				   false, ret, NULL, e);
	if (r < 0)
		cleanup_close(&ret->fd);
	return r;
}

struct session_reply {
	struct agent_session s;
	const char *id, *command;
};

static int session_read(const json_t *j, struct agent_session *ret,
			struct err *e)
{
	static const struct vl_field fields[] = {
		{"session", VL_STRING, AT(session_reply, id), 0, 32, false},
		{"pid", VL_INT, AT(session_reply, s.pid), 0, INT32_MAX, false},
		{"tty", VL_BOOL, AT(session_reply, s.tty), 0, 0, false},
		{"stdin", VL_BOOL, AT(session_reply, s.in), 0, 0, false},
		{"attached", VL_BOOL, AT(session_reply, s.attached), 0, 0,
		 false},
		{"detached", VL_BOOL, AT(session_reply, s.detached), 0, 0,
		 false},
		{"running", VL_BOOL, AT(session_reply, s.running), 0, 0, false},
		{"exit_code", VL_INT, AT(session_reply, s.exit_code), -1, 255,
		 false},
		{"started_at", VL_INT, AT(session_reply, s.started_at), 0,
		 INT64_MAX, false},
		{"finished_at", VL_INT, AT(session_reply, s.finished_at), 0,
		 INT64_MAX, false},
		{"waiting", VL_INT, AT(session_reply, s.waiting), 0, INT32_MAX,
		 false},
		{"command", VL_STRING, AT(session_reply, command), 0, 800,
		 false},
	};
	struct session_reply q = {0};
	unsigned char raw[16];
	int r;

	r = vl_params_read(j, fields, ARRAY_SIZE(fields), false, &q, NULL, e);
	if (r < 0)
		return r;
	if (hex_parse(q.id, raw, sizeof(raw)) < 0)
		return err_set(e, EBADMSG, "the guest names no session");
	*ret = q.s;
	snprintf(ret->id, sizeof(ret->id), "%s", q.id);
	text_escape(q.command, ret->command, sizeof(ret->command));
	return 0;
}

int agent_sessions(struct agent *a, const char *id, uint64_t deadline_ms,
		   struct agent_session *ret, size_t *ret_n, struct err *e)
{
	static const struct vl_field field = {
		"sessions", VL_ARRAY, 0, 0, HYB_AGENT_SESSIONS_MAX, false};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	json_t *list = NULL;
	size_t i;
	int r;

	r = vl_call(&a->conn, IFACE "Sessions", json_pack("{s:s}", "id", id), 0,
		    deadline_ms, &reply, e);
	if (r == 0)
		r = vl_params_read(reply.parameters, &field, 1, false, &list,
				   NULL, e);
	for (i = 0; r == 0 && i < json_array_size(list); i++)
		r = session_read(json_array_get(list, i), &ret[i], e);
	if (r == 0)
		*ret_n = i;
	return r;
}

int agent_signal_session(struct agent *a, const char *session, int sig,
			 uint64_t deadline_ms, struct err *e)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;

	return vl_call(
		&a->conn, IFACE "SignalSession",
		json_pack("{s:s,s:i}", "session", session, "signal", sig), 0,
		deadline_ms, &reply, e);
}

/* -------------------------------------------------------- other streams */

int agent_logs(const struct vsock_addr *addr, const char *id, uint64_t offset,
	       uint64_t deadline_ms, int *ret_fd, struct err *e)
{
	return upgrade_call(
		addr, IFACE "Logs",
		json_pack("{s:s,s:I}", "id", id, "offset", (json_int_t)offset),
		deadline_ms, ret_fd, e);
}

int agent_copy(const struct vsock_addr *addr, const char *id,
	       uint64_t deadline_ms, int *ret_fd, struct err *e)
{
	return upgrade_call(addr, IFACE "Copy", json_pack("{s:s}", "id", id),
			    deadline_ms, ret_fd, e);
}

int agent_copy_volume(const struct vsock_addr *addr, const char *serial,
		      uint64_t deadline_ms, int *ret_fd, struct err *e)
{
	return upgrade_call(addr, IFACE "CopyVolume",
			    json_pack("{s:s}", "serial", serial), deadline_ms,
			    ret_fd, e);
}

int agent_forward(const struct vsock_addr *addr, uint16_t port,
		  uint64_t deadline_ms, int *ret_fd, struct err *e)
{
	return upgrade_call(
		addr, IFACE "Forward",
		json_pack("{s:i,s:b}", "port", (int)port, "unready", 1),
		deadline_ms, ret_fd, e);
}
