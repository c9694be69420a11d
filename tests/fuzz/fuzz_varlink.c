/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Varlink framing, calls, replies and parameters. Input: one byte that says in
 * which pieces the rest arrives and whose side reads it, then the bytes.
 */
#include "common/base/cleanup.h"
#include "common/varlink/call.h"
#include "common/varlink/params.h"

#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct all {
	const char *s;
	int64_t i;
	bool b;
	json_t *o, *a, *v;
};

static const struct vl_field fields[] = {
	{"s", VL_STRING, offsetof(struct all, s), 0, 16, true},
	{"i", VL_INT, offsetof(struct all, i), -5, 1000, true},
	{"b", VL_BOOL, offsetof(struct all, b), 0, 0, true},
	{"o", VL_OBJECT, offsetof(struct all, o), 0, 0, true},
	{"a", VL_ARRAY, offsetof(struct all, a), 0, 4, true},
	{"v", VL_STRINGS, offsetof(struct all, v), 0, 4, true},
};

static const struct vl_method methods[] = {
	{"x.Plain", 0, 0, 1, NULL},
	{"x.More", VL_MORE, 0, 1, NULL},
	{"x.Up", VL_UPGRADE, VL_ONEWAY, 1, NULL},
};

static void read_params(const json_t *params)
{
	struct all out = {.s = ""};
	struct err e = ERR_INIT;
	const char *name;

	if (vl_params_read(params, fields, ARRAY_SIZE(fields), true, &out,
			   &name, &e) < 0) {
		if (!name || !e.msg[0])
			abort();
		return;
	}
	if (strlen(out.s) > 16 || out.i < -5 || out.i > 1000)
		abort();
	if (out.v) {
		const char **v = vl_strings(out.v);
		size_t n = 0;

		while (v && v[n])
			n++;
		if (v && n != json_array_size(out.v))
			abort();
		free(v);
	}
}

static void as_server(json_t *msg)
{
	struct vl_call call;
	struct err e = ERR_INIT;
	json_t *reply = NULL;

	if (vl_call_parse(msg, &call, &e) < 0)
		return;
	read_params(call.parameters);
	reply = vl_service_reply(&call, "p", "v", "io.hyb.Agent",
				 idl_io_hyb_Agent);
	if (!reply &&
	    !vl_method_find(methods, ARRAY_SIZE(methods), &call, &reply) &&
	    !reply)
		abort();
	json_decref(reply);
	vl_call_done(&call);
}

static void as_client(json_t *msg)
{
	struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;

	if (vl_reply_parse(msg, &reply, &e) < 0)
		return;
	if (strspn(reply.error, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst"
				"uvwxyz0123456789.-") != strlen(reply.error))
		abort();
	if (vl_reply_check(&reply, &e) == 0)
		read_params(reply.parameters);
	vl_reply_done(&reply);
}

/* What has come so far; false when the connection is to be ended. */
static bool take(struct vl_conn *c, bool server)
{
	struct err e = ERR_INIT;
	json_t *msg = NULL;
	int r;

	while ((r = vl_conn_next(c, &msg, &e)) > 0) {
		if (server)
			as_server(msg);
		else
			as_client(msg);
	}
	return r == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t piece, at, n;
	struct vl_conn c;
	int sv[2];
	ssize_t got;

	if (size < 1 || size > 100000 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) < 0)
		return 0;
	vl_conn_init(&c, sv[0], 2000);
	piece = (size_t)(data[0] & 0x7f) * 16 + 1;
	for (at = 1; at < size; at += n) {
		n = size - at < piece ? size - at : piece;
		if (write(sv[1], data + at, n) != (ssize_t)n)
			break;
		got = vl_conn_fill(&c);
		if (got <= 0 || !take(&c, data[0] & 0x80))
			break;
		if (c.in.len > 2000 + 16384 + 1)
			abort();
	}
	close(sv[1]);
	vl_conn_done(&c);
	return 0;
}
