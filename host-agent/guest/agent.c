/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/guest/agent_int.h"

#include <poll.h>
#include <sys/socket.h>

#include "common/base/parse.h"

int agent_open(struct agent *a, const struct vsock_addr *addr,
	       uint64_t deadline_ms, struct err *e)
{
	int fd, r;

	r = vsock_connect(addr, HYB_AGENT_PORT, deadline_ms, &fd, e);
	if (r < 0)
		return r;
	vl_conn_init(&a->conn, fd, HYB_AGENT_REPLY_MAX);
	return 0;
}

void agent_close(struct agent *a)
{
	vl_conn_done(&a->conn);
}

int agent_call_read(struct agent *a, const char *method, json_t *params,
		    uint64_t deadline_ms, const struct vl_field *fields,
		    size_t n, void *out, struct vl_reply *reply, struct err *e)
{
	int r;

	r = vl_call(&a->conn, method, params, 0, deadline_ms, reply, e);
	if (r == 0 && n > 0)
		r = vl_params_read(reply->parameters, fields, n, false, out,
				   NULL, e);
	if (r < 0 && !reply->error[0])
		/* No answer, or none that makes sense: what comes later on this
		 * connection would be taken for the next call's. */
		vl_conn_done(&a->conn);
	if (r < 0)
		return err_wrap(e, "%s", strrchr(method, '.') + 1);
	return 0;
}

int agent_call(struct agent *a, const char *method, json_t *params,
	       uint64_t deadline_ms, struct err *e)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;

	return agent_call_read(a, method, params, deadline_ms, NULL, 0, NULL,
			       &reply, e);
}

struct hello_reply {
	int64_t protocol, uptime, memory_total, vcpus;
	const char *version, *kernel, *instance;
};

int agent_hello(struct agent *a, uint64_t deadline_ms, struct agent_hello *ret,
		struct err *e)
{
	static const struct vl_field fields[] = {
		{"protocol", VL_INT, AT(hello_reply, protocol), 1, 1000, false},
		{"uptime", VL_INT, AT(hello_reply, uptime), 0, INT64_MAX,
		 false},
		{"memory_total", VL_INT, AT(hello_reply, memory_total), 0,
		 INT64_MAX, false},
		{"vcpus", VL_INT, AT(hello_reply, vcpus), 1, 1024, false},
		{"version", VL_STRING, AT(hello_reply, version), 0, 48, false},
		{"kernel", VL_STRING, AT(hello_reply, kernel), 0, 64, false},
		{"instance", VL_STRING, AT(hello_reply, instance), 0, 48,
		 false},
	};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct hello_reply h = {0};
	int r;

	r = agent_call_read(a, IFACE "Hello", NULL, deadline_ms, fields,
			    ARRAY_SIZE(fields), &h, &reply, e);
	if (r < 0)
		return r;
	ret->protocol = h.protocol;
	ret->uptime_ns = h.uptime;
	ret->memory_total = h.memory_total;
	ret->vcpus = h.vcpus;
	text_escape(h.version, ret->version, sizeof(ret->version));
	text_escape(h.kernel, ret->kernel, sizeof(ret->kernel));
	text_escape(h.instance, ret->instance, sizeof(ret->instance));
	return 0;
}

int agent_claim(struct agent *a, const struct agent_claim *c,
		uint64_t deadline_ms, struct err *e)
{
	unsigned char seed[64];
	char hex[2 * sizeof(seed) + 1];

	random_bytes(seed, sizeof(seed));
	hex_format(seed, sizeof(seed), hex);
	return agent_call(a, IFACE "Claim",
			  json_pack("{s:s,s:s,s:s,s:I,s:s}", "instance",
				    c->instance, "hostname", c->hostname,
				    "machine_id", c->machine_id, "time",
				    (json_int_t)now_realtime_ns(), "entropy",
				    hex),
			  deadline_ms, e);
}

int agent_set_time(struct agent *a, uint64_t deadline_ms, struct err *e)
{
	return agent_call(
		a, IFACE "SetTime",
		json_pack("{s:I}", "time", (json_int_t)now_realtime_ns()),
		deadline_ms, e);
}

/* ---------------------------------------------------------- containers */

struct container_reply {
	const char *id, *status, *reason, *message;
	const char *health, *health_note, *readiness, *readiness_note;
	int64_t pid, created_at, started_at, finished_at, exit_code, sig;
	bool oom_killed;
};

static const struct vl_field container_fields[] = {
	{"id", VL_STRING, AT(container_reply, id), 0, 79, false},
	{"status", VL_STRING, AT(container_reply, status), 0, 16, false},
	{"pid", VL_INT, AT(container_reply, pid), 0, INT32_MAX, false},
	{"created_at", VL_INT, AT(container_reply, created_at), 0, INT64_MAX,
	 true},
	{"started_at", VL_INT, AT(container_reply, started_at), 0, INT64_MAX,
	 false},
	{"finished_at", VL_INT, AT(container_reply, finished_at), 0, INT64_MAX,
	 false},
	{"exit_code", VL_INT, AT(container_reply, exit_code), -1, 255, false},
	{"signal", VL_INT, AT(container_reply, sig), 0, 127, true},
	{"oom_killed", VL_BOOL, AT(container_reply, oom_killed), 0, 0, false},
	{"reason", VL_STRING, AT(container_reply, reason), 0, 23, false},
	{"message", VL_STRING, AT(container_reply, message), 0, 4096, false},
	{"health", VL_STRING, AT(container_reply, health), 0, 16, true},
	{"health_note", VL_STRING, AT(container_reply, health_note), 0, 1024,
	 true},
	{"readiness", VL_STRING, AT(container_reply, readiness), 0, 16, true},
	{"readiness_note", VL_STRING, AT(container_reply, readiness_note), 0,
	 1024, true},
};

static int status_parse(const char *s, enum agent_status *ret)
{
	static const char *const names[] = {
		[AGENT_CREATED] = "created",
		[AGENT_RUNNING] = "running",
		[AGENT_PAUSED] = "paused",
		[AGENT_STOPPED] = "stopped",
	};
	size_t i;

	_Static_assert(ARRAY_SIZE(names) == AGENT_STATUS_MAX, "status names");
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(s, names[i]) == 0) {
			*ret = (enum agent_status)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* The reasons that a guest may give; anything else is told as Error. */
static const char *reason_check(const char *s)
{
	static const char *const names[] = {"Completed", "Error", "OOMKilled",
					    "StartError", "Stopped"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(s, names[i]) == 0)
			return names[i];
	return *s ? "Error" : "";
}

/* A word that is not known says nothing. */
static enum agent_health health_parse(const char *s, const char *good,
				      const char *bad)
{
	if (strcmp(s, good) == 0)
		return AGENT_HEALTH_GOOD;
	if (strcmp(s, bad) == 0)
		return AGENT_HEALTH_BAD;
	return strcmp(s, "starting") == 0 ? AGENT_HEALTH_STARTING
					  : AGENT_HEALTH_NONE;
}

static int container_read(const json_t *j, struct agent_container *ret,
			  struct err *e)
{
	struct container_reply c = {.health = "",
				    .health_note = "",
				    .readiness = "",
				    .readiness_note = ""};
	int r;

	r = vl_params_read(j, container_fields, ARRAY_SIZE(container_fields),
			   false, &c, NULL, e);
	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	if (status_parse(c.status, &ret->status) < 0)
		return err_set(e, EINVAL, "status: not one that is known");
	text_escape(c.id, ret->id, sizeof(ret->id));
	ret->pid = c.pid;
	ret->started_at = c.started_at;
	ret->finished_at = c.finished_at;
	ret->exit_code = c.exit_code;
	ret->oom_killed = c.oom_killed;
	snprintf(ret->reason, sizeof(ret->reason), "%s",
		 reason_check(c.reason));
	text_escape(c.message, ret->message, sizeof(ret->message));
	ret->health = health_parse(c.health, "healthy", "unhealthy");
	ret->readiness = health_parse(c.readiness, "ready", "unready");
	text_escape(c.health_note, ret->health_note, sizeof(ret->health_note));
	text_escape(c.readiness_note, ret->readiness_note,
		    sizeof(ret->readiness_note));
	return 0;
}

int agent_create(struct agent *a, const struct agent_create *c,
		 uint64_t deadline_ms, struct err *e)
{
	json_t *none = json_array();
	int r;

	r = agent_call(
		a, IFACE "Create",
		json_pack("{s:s,s:O,s:s,s:I,s:s*,s:I,s:s,s:b,s:I,s:O,s:I}",
			  "id", c->id, "config", c->config, "image",
			  c->image_serial, "disk_timeout",
			  (json_int_t)c->disk_timeout_ms, "scratch",
			  c->scratch_serial, "scratch_size",
			  (json_int_t)c->scratch_size, "user", c->user, "init",
			  (int)c->init, "log_size", (json_int_t)c->log_size,
			  "files", c->files ? c->files : none, "ids",
			  (json_int_t)c->ids),
		deadline_ms, e);
	json_decref(none);
	return r;
}

struct start_reply {
	int64_t pid, started_at;
};

struct start_error {
	int64_t exit_code;
	const char *step, *message;
};

static int start_error_read(const struct vl_reply *reply,
			    int64_t *ret_exit_code, struct err *e)
{
	static const struct vl_field fields[] = {
		{"exit_code", VL_INT, AT(start_error, exit_code), 1, 255,
		 false},
		{"step", VL_STRING, AT(start_error, step), 0, 256, false},
		{"message", VL_STRING, AT(start_error, message), 0, 4096,
		 false},
	};
	struct start_error s = {0};
	char step[128], message[384];
	size_t len;
	int r;

	r = vl_params_read(reply->parameters, fields, ARRAY_SIZE(fields), false,
			   &s, NULL, e);
	if (r < 0)
		return r;
	*ret_exit_code = s.exit_code;
	text_escape(s.step, step, sizeof(step));
	text_escape(s.message, message, sizeof(message));
	/* The engine's messages begin with their step as a rule. */
	len = strlen(step);
	if (strncmp(message, step, len) == 0 && message[len] == ':')
		return err_set(e, ENOEXEC, "%s", message);
	return err_set(e, ENOEXEC, "%s: %s", step, message);
}

int agent_start(struct agent *a, const char *id, uint64_t deadline_ms,
		int64_t *ret_pid, int64_t *ret_exit_code, struct err *e)
{
	static const struct vl_field fields[] = {
		{"pid", VL_INT, AT(start_reply, pid), 0, INT32_MAX, false},
		{"started_at", VL_INT, AT(start_reply, started_at), 0,
		 INT64_MAX, false},
	};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct start_reply s = {0};
	int r;

	*ret_exit_code = -1;
	r = agent_call_read(a, IFACE "Start", json_pack("{s:s}", "id", id),
			    deadline_ms, fields, ARRAY_SIZE(fields), &s, &reply,
			    e);
	if (r == -EREMOTEIO && strcmp(reply.error, IFACE "StartError") == 0)
		return start_error_read(&reply, ret_exit_code, e);
	if (r == 0)
		*ret_pid = s.pid;
	return r;
}

int agent_signal(struct agent *a, const char *id, int sig, bool all,
		 uint64_t deadline_ms, struct err *e)
{
	return agent_call(a, IFACE "Signal",
			  json_pack("{s:s,s:i,s:b}", "id", id, "signal", sig,
				    "all", (int)all),
			  deadline_ms, e);
}

int agent_pause(struct agent *a, const char *id, uint64_t deadline_ms,
		struct err *e)
{
	return agent_call(a, IFACE "Pause", json_pack("{s:s}", "id", id),
			  deadline_ms, e);
}

int agent_resume(struct agent *a, const char *id, uint64_t deadline_ms,
		 struct err *e)
{
	return agent_call(a, IFACE "Resume", json_pack("{s:s}", "id", id),
			  deadline_ms, e);
}

int agent_call_one(struct agent *a, const char *method, json_t *params,
		   const char *id, uint64_t deadline_ms,
		   struct agent_container *ret, struct err *e)
{
	static const struct vl_field fields[] = {
		{"container", VL_OBJECT, AT(one_object, value), 0, 0, false},
	};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct one_object o = {0};
	int r;

	r = agent_call_read(a, method, params, deadline_ms, fields, 1, &o,
			    &reply, e);
	if (r == 0)
		r = container_read(o.value, ret, e);
	if (r == 0 && strcmp(ret->id, id) != 0)
		r = err_set(e, EBADMSG, "the guest answered for another");
	return r;
}

int agent_wait(struct agent *a, const char *id, uint64_t deadline_ms,
	       struct agent_container *ret, struct err *e)
{
	return agent_call_one(a, IFACE "Wait", json_pack("{s:s}", "id", id), id,
			      deadline_ms, ret, e);
}

int agent_delete(struct agent *a, const char *id, bool force,
		 uint64_t deadline_ms, struct err *e)
{
	return agent_call(a, IFACE "Delete",
			  json_pack("{s:s,s:b}", "id", id, "force", (int)force),
			  deadline_ms, e);
}

int agent_call_all(struct agent *a, const char *method, uint64_t deadline_ms,
		   struct vl_reply *reply, json_t **ret, struct err *e)
{
	static const struct vl_field fields[] = {
		{"containers", VL_ARRAY, AT(one_object, value), 0,
		 HYB_AGENT_CONTAINERS_MAX, false},
	};
	struct one_object o = {0};
	int r;

	r = agent_call_read(a, method, NULL, deadline_ms, fields, 1, &o, reply,
			    e);
	*ret = o.value;
	return r;
}

int agent_list(struct agent *a, uint64_t deadline_ms,
	       struct agent_container *ret, size_t *ret_n, struct err *e)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	json_t *list;
	size_t i;
	int r;

	r = agent_call_all(a, IFACE "List", deadline_ms, &reply, &list, e);
	for (i = 0; r == 0 && i < json_array_size(list); i++)
		r = container_read(json_array_get(list, i), &ret[i], e);
	if (r == 0)
		*ret_n = i;
	return r;
}

int agent_shutdown(struct agent *a, uint64_t grace_ms, uint64_t deadline_ms,
		   struct err *e)
{
	return agent_call(a, IFACE "Shutdown",
			  json_pack("{s:I}", "grace", (json_int_t)grace_ms),
			  deadline_ms, e);
}

int agent_update_files(struct agent *a, const char *id, json_t *files,
		       uint64_t deadline_ms, struct err *e)
{
	return agent_call(a, IFACE "UpdateFiles",
			  json_pack("{s:s,s:O}", "id", id, "files", files),
			  deadline_ms, e);
}

/* -------------------------------------------------------------- events */

int agent_events_open(struct agent *a, uint64_t deadline_ms, struct err *e)
{
	return vl_call_send(&a->conn, IFACE "Events", NULL, VL_MORE, NULL, 0,
			    deadline_ms, e);
}

int agent_events_next(struct agent *a, struct agent_container *ret,
		      struct err *e)
{
	json_t *msg = NULL, *params, *container;
	int r;

	r = vl_conn_next(&a->conn, &msg, e);
	if (r <= 0)
		return r;
	params = json_object_get(msg, "parameters");
	container = json_object_get(params, "container");
	memset(ret, 0, sizeof(*ret));
	if (json_object_get(msg, "error"))
		r = err_set(e, EREMOTEIO, "the guest ended its events");
	else if (container && !json_is_null(container))
		r = container_read(container, ret, e);
	json_decref(msg);
	return r < 0 ? r : 1;
}
