/* SPDX-License-Identifier: Apache-2.0 */
#include "common/varlink/call.h"

#include "common/base/cleanup.h"

#include <stdio.h>

void vl_reply_done(struct vl_reply *r)
{
	json_decref(r->msg);
	r->msg = NULL;
	r->parameters = NULL;
}

int vl_call_send(struct vl_conn *c, const char *method, json_t *params,
		 unsigned int flags, const int *fds, size_t n_fds,
		 uint64_t deadline_ms, struct err *e)
{
	json_t *msg = json_object();
	int r = 0;

	r |= json_object_set_new(msg, "method", json_string(method));
	if (params)
		r |= json_object_set_new(msg, "parameters", params);
	if (flags & VL_MORE)
		r |= json_object_set_new(msg, "more", json_true());
	if (flags & VL_ONEWAY)
		r |= json_object_set_new(msg, "oneway", json_true());
	if (flags & VL_UPGRADE)
		r |= json_object_set_new(msg, "upgrade", json_true());
	if (r == 0)
		r = vl_conn_write(c, msg, fds, n_fds, deadline_ms, e);
	else
		r = err_sys(e, ENOMEM, "make a call");
	json_decref(msg);
	return r;
}

/* Copies an error's name, as far as it is made of what names are made of. */
static void copy_error_name(char out[128], const char *name)
{
	size_t n = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				"abcdefghijklmnopqrstuvwxyz0123456789.-");

	if (n == 0) {
		snprintf(out, 128, "unnamed");
		return;
	}
	snprintf(out, 128, "%.*s", n < 127 ? (int)n : 127, name);
}

int vl_reply_parse(json_t *msg, struct vl_reply *reply, struct err *e)
{
	json_t *error = json_object_get(msg, "error");
	json_t *params = json_object_get(msg, "parameters");
	json_t *continues = json_object_get(msg, "continues");

	if ((error && !json_is_string(error)) ||
	    (params && !json_is_object(params)) ||
	    (continues && !json_is_boolean(continues))) {
		json_decref(msg);
		return err_set(e, EBADMSG, "answer is not a Varlink reply");
	}
	if (!params) {
		params = json_object();
		if (json_object_set_new(msg, "parameters", params) < 0) {
			json_decref(msg);
			return err_sys(e, ENOMEM, "read a reply");
		}
	}
	vl_reply_done(reply);
	reply->msg = msg;
	reply->parameters = params;
	reply->continues = json_is_true(continues);
	reply->error[0] = '\0';
	if (error)
		copy_error_name(reply->error, json_string_value(error));
	return 0;
}

int vl_reply_read(struct vl_conn *c, uint64_t deadline_ms,
		  struct vl_reply *reply, struct err *e)
{
	json_t *msg = NULL;
	int r;

	r = vl_conn_read(c, deadline_ms, &msg, e);
	return r < 0 ? r : vl_reply_parse(msg, reply, e);
}

int vl_reply_check(const struct vl_reply *reply, struct err *e)
{
	const char *msg, *name = reply->error, *dot;
	char shown[512];

	if (!name[0])
		return 0;
	dot = strrchr(name, '.');
	msg = json_string_value(json_object_get(reply->parameters, "message"));
	if (!msg)
		msg = json_string_value(
			json_object_get(reply->parameters, "what"));
	if (!msg)
		msg = json_string_value(
			json_object_get(reply->parameters, "parameter"));
	name = dot ? dot + 1 : name;
	/* "Failed" says nothing that its message does not. */
	if (msg && strcmp(name, "Failed") == 0)
		return err_set(e, EREMOTEIO, "%s",
			       text_escape(msg, shown, sizeof(shown)));
	return err_set(e, EREMOTEIO, "%s%s%s", name, msg ? ": " : "",
		       msg ? text_escape(msg, shown, sizeof(shown)) : "");
}

int vl_call(struct vl_conn *c, const char *method, json_t *params,
	    unsigned int flags, uint64_t deadline_ms, struct vl_reply *reply,
	    struct err *e)
{
	int r;

	r = vl_call_send(c, method, params, flags, NULL, 0, deadline_ms, e);
	if (r == 0)
		r = vl_reply_read(c, deadline_ms, reply, e);
	if (r == 0)
		r = vl_reply_check(reply, e);
	return r;
}

void vl_call_done(struct vl_call *call)
{
	json_decref(call->msg);
	call->msg = NULL;
}

/* Adds flag when the member is true; -EBADMSG when it is no boolean. */
static int read_flag(const json_t *msg, const char *name, unsigned int flag,
		     unsigned int *flags)
{
	const json_t *v = json_object_get(msg, name);

	if (v && !json_is_boolean(v))
		return -EBADMSG;
	if (json_is_true(v))
		*flags |= flag;
	return 0;
}

int vl_call_parse(json_t *msg, struct vl_call *ret, struct err *e)
{
	json_t *params = json_object_get(msg, "parameters");
	const json_t *method = json_object_get(msg, "method");
	unsigned int flags = 0;

	if (json_is_null(params))
		params = NULL;
	if (!json_is_string(method) ||
	    strlen(json_string_value(method)) != json_string_length(method) ||
	    json_string_length(method) > 255 ||
	    (params && !json_is_object(params)) ||
	    read_flag(msg, "more", VL_MORE, &flags) < 0 ||
	    read_flag(msg, "oneway", VL_ONEWAY, &flags) < 0 ||
	    read_flag(msg, "upgrade", VL_UPGRADE, &flags) < 0) {
		json_decref(msg);
		return err_set(e, EBADMSG, "message is not a Varlink call");
	}
	*ret = (struct vl_call){
		.msg = msg,
		.method = json_string_value(method),
		.parameters = params,
		.flags = flags,
	};
	return 0;
}

const struct vl_method *vl_method_find(const struct vl_method *table, size_t n,
				       const struct vl_call *call,
				       json_t **ret_reply)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strcmp(table[i].name, call->method) == 0)
			break;
	if (i == n) {
		*ret_reply = vl_make_error(
			"org.varlink.service.MethodNotFound",
			json_pack("{s:s}", "method", call->method));
		return NULL;
	}
	if ((call->flags & table[i].needs) != table[i].needs ||
	    (call->flags & ~(table[i].allows | table[i].needs))) {
		*ret_reply =
			vl_make_error("org.varlink.service.InvalidParameter",
				      json_pack("{s:s}", "parameter",
						"more, oneway or upgrade"));
		return NULL;
	}
	return &table[i];
}

json_t *vl_make_reply(json_t *params, bool continues)
{
	json_t *msg = json_object();

	if (!params)
		params = json_object();
	if (json_object_set_new(msg, "parameters", params) < 0 ||
	    (continues &&
	     json_object_set_new(msg, "continues", json_true()) < 0)) {
		json_decref(msg);
		return NULL;
	}
	return msg;
}

json_t *vl_make_error(const char *name, json_t *params)
{
	json_t *msg = vl_make_reply(params, false);

	if (msg && json_object_set_new(msg, "error", json_string(name)) < 0) {
		json_decref(msg);
		return NULL;
	}
	return msg;
}

json_t *vl_make_invalid_parameter(const char *name)
{
	return vl_make_error("org.varlink.service.InvalidParameter",
			     json_pack("{s:s}", "parameter", name));
}

json_t *vl_service_reply(const struct vl_call *call, const char *product,
			 const char *version, const char *interface,
			 const char *idl)
{
	const char *wanted;

	if (strcmp(call->method, "org.varlink.service.GetInfo") == 0)
		return vl_make_reply(
			json_pack("{s:s,s:s,s:s,s:s,s:[s,s]}", "vendor", "hyb",
				  "product", product, "version", version, "url",
				  "https://varlink.org", "interfaces",
				  "org.varlink.service", interface),
			false);
	if (strcmp(call->method,
		   "org.varlink.service.GetInterfaceDescription") != 0)
		return NULL;
	wanted = json_string_value(
		json_object_get(call->parameters, "interface"));
	if (!wanted)
		return vl_make_invalid_parameter("interface");
	if (strcmp(wanted, interface) != 0)
		return vl_make_error("org.varlink.service.InterfaceNotFound",
				     json_pack("{s:s}", "interface", wanted));
	return vl_make_reply(json_pack("{s:s}", "description", idl), false);
}
