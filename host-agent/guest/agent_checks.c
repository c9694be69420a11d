/* SPDX-License-Identifier: Apache-2.0 */
/* Health and readiness of a container. */
#include "host-agent/guest/agent_int.h"

#include "common/base/buf.h"
#include "common/base/parse.h"

int agent_set_checks(struct agent *a, const char *id, json_t *health,
		     json_t *readiness, json_t *ports, uint64_t deadline_ms,
		     struct agent_container *ret, struct err *e)
{
	json_t *params =
		json_pack("{s:s,s:o,s:o,s:o}", "id", id, "health", health,
			  "readiness", readiness, "ports", ports);

	return agent_call_one(a, IFACE "SetChecks", params, id, deadline_ms,
			      ret, e);
}

/* 4096 bytes, of which each may have become a sign of three. */
#define CHECK_OUTPUT_MAX 12288
#define CHECK_LINES_MAX	 256

struct check_reply {
	const char *status, *message, *output;
	int64_t failures, at, duration, exit_code;
	bool passed;
};

static json_t *lines_json(const char *s)
{
	json_t *list = json_array();
	size_t len, n;

	for (n = 0; *s && n < CHECK_LINES_MAX; n++) {
		_cleanup_buf_ struct buf b = BUF_INIT;

		len = strcspn(s, "\n");
		buf_put_escaped(&b, s, len);
		json_array_append_new(list, json_string(buf_str(&b)));
		s += len;
		s += *s == '\n';
	}
	return list;
}

static int check_read(const json_t *j, json_t **ret, struct err *e)
{
	static const struct vl_field fields[] = {
		{"status", VL_STRING, AT(check_reply, status), 0, 16, false},
		{"failures", VL_INT, AT(check_reply, failures), 0, UINT32_MAX,
		 false},
		{"passed", VL_BOOL, AT(check_reply, passed), 0, 0, false},
		{"at", VL_INT, AT(check_reply, at), 0, INT64_MAX, false},
		{"duration", VL_INT, AT(check_reply, duration), 0, INT64_MAX,
		 false},
		{"exit_code", VL_INT, AT(check_reply, exit_code), -1, 255,
		 false},
		{"message", VL_STRING, AT(check_reply, message), 0, 1024,
		 false},
		{"output", VL_STRING, AT(check_reply, output), 0,
		 CHECK_OUTPUT_MAX, false},
	};
	struct check_reply c = {0};
	char status[32], message[256];
	int r;

	*ret = json_null();
	if (!j || json_is_null(j))
		return 0;
	r = vl_params_read(j, fields, ARRAY_SIZE(fields), false, &c, NULL, e);
	if (r < 0)
		return r;
	*ret = json_pack("{s:s,s:I,s:b,s:I,s:I,s:I,s:s,s:o}", "status",
			 text_escape(c.status, status, sizeof(status)),
			 "failures", (json_int_t)c.failures, "passed",
			 (int)c.passed, "at", (json_int_t)c.at, "duration_ms",
			 (json_int_t)c.duration, "exit_code",
			 (json_int_t)c.exit_code, "message",
			 text_escape(c.message, message, sizeof(message)),
			 "output", lines_json(c.output));
	return *ret ? 0 : err_set(e, ENOMEM, "no memory");
}

int agent_checks(struct agent *a, const char *id, uint64_t deadline_ms,
		 json_t **ret, struct err *e)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	json_t *health = NULL, *readiness = NULL;
	int r;

	r = agent_call_read(a, IFACE "Checks", json_pack("{s:s}", "id", id),
			    deadline_ms, NULL, 0, NULL, &reply, e);
	if (r == 0)
		r = check_read(json_object_get(reply.parameters, "health"),
			       &health, e);
	if (r == 0)
		r = check_read(json_object_get(reply.parameters, "readiness"),
			       &readiness, e);
	if (r < 0) {
		json_decref(health);
		return r;
	}
	*ret = json_pack("{s:o,s:o}", "health", health, "readiness", readiness);
	return *ret ? 0 : err_set(e, ENOMEM, "no memory");
}
