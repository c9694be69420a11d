/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/cleanup.h"
#include "common/varlink/call.h"
#include "common/varlink/params.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

static void pair(struct vl_conn *a, struct vl_conn *b, size_t max)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	vl_conn_init(a, sv[0], max);
	vl_conn_init(b, sv[1], max);
}

static void send_raw(struct vl_conn *c, const char *s, size_t n)
{
	assert_int_equal(write_full(c->fd, s, n), 0);
}

#define SIZED(s)   s, sizeof(s) - 1
#define SEND(c, s) send_raw(c, SIZED(s))

static void test_frames(void **state)
{
	struct vl_conn a, b;
	json_t *msg = NULL;
	struct err e = ERR_INIT;
	size_t n;

	(void)state;
	pair(&a, &b, 100);
	SEND(&a, "{\"x\":1}\0{\"y\"");
	assert_int_equal(vl_conn_read(&b, 0, &msg, &e), 0);
	assert_int_equal(json_integer_value(json_object_get(msg, "x")), 1);
	json_decref(msg);
	assert_int_equal(vl_conn_next(&b, &msg, &e), 0);
	SEND(&a,
	     ":\"\\\"[,,,,,,,,,,,,,\\\\\",\"z\":[0,0,0,0,0,0,0,0,0]}\0rest");
	assert_int_equal(vl_conn_read(&b, 0, &msg, &e), 0);
	json_decref(msg);
	assert_memory_equal(vl_conn_leftover(&b, &n), "rest", 4);
	assert_int_equal(n, 4);
	vl_conn_done(&a);
	assert_int_equal(vl_conn_read(&b, 0, &msg, &e), -ECONNRESET);
	vl_conn_done(&b);
}

static void bad_frame(const char *s, size_t n, int want)
{
	struct vl_conn a, b;
	json_t *msg = NULL;
	struct err e = ERR_INIT;

	pair(&a, &b, 100);
	send_raw(&a, s, n);
	assert_int_equal(vl_conn_read(&b, now_ms() + 100, &msg, &e), want);
	assert_true(b.in.len <= 100 + 1 + 16384);
	vl_conn_done(&a);
	vl_conn_done(&b);
}

static void test_bad_frames(void **state)
{
	char big[300];

	(void)state;
	memset(big, ' ', sizeof(big));
	bad_frame("\0", 1, -EBADMSG);
	bad_frame("[]\0", 3, -EBADMSG);
	bad_frame("{\"a\":1,\"a\":2}\0", 14, -EBADMSG);
	bad_frame("{} x\0", 5, -EBADMSG);
	bad_frame("{\"a\":\"\xff\"}\0", 10, -EBADMSG);
	bad_frame(big, sizeof(big), -EMSGSIZE);
	big[200] = '\0';
	bad_frame(big, sizeof(big), -EMSGSIZE);
	bad_frame("{", 1, -ETIMEDOUT);
	/* A hundred bytes may be 12 values, and one that holds them. */
	bad_frame(SIZED("{\"a\":[0,0,0,0,0,0,0,0,0,0,0,0]}\0"), -EMSGSIZE);
	bad_frame(SIZED("{\"\\\"\":[[[[[[[[[[[[]]]]]]]]]]]]}\0"), -EMSGSIZE);
	bad_frame(
		SIZED("{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{"
		      "\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}}}}}}\0"),
		-EMSGSIZE);
}

static void test_call(void **state)
{
	struct vl_conn a, b;
	struct vl_call call = {.msg = NULL};
	struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;
	json_t *msg = NULL, *out;

	(void)state;
	pair(&a, &b, 0);
	assert_int_equal(vl_call_send(&a, "io.x.Y", json_pack("{s:i}", "n", 5),
				      VL_MORE, NULL, 0, 0, &e),
			 0);
	assert_int_equal(vl_conn_read(&b, 0, &msg, &e), 0);
	assert_int_equal(vl_call_parse(msg, &call, &e), 0);
	assert_string_equal(call.method, "io.x.Y");
	assert_int_equal(call.flags, VL_MORE);
	vl_call_done(&call);
	out = vl_make_error("io.x.Bad",
			    json_pack("{s:s}", "message", "no\x1b[1m"));
	assert_int_equal(vl_conn_write(&b, out, NULL, 0, 0, &e), 0);
	json_decref(out);
	assert_int_equal(vl_reply_read(&a, 0, &reply, &e), 0);
	assert_string_equal(reply.error, "io.x.Bad");
	assert_int_equal(vl_reply_check(&reply, &e), -EREMOTEIO);
	assert_string_equal(e.msg, "Bad: no\\x1b[1m");
	vl_reply_done(&reply);
	vl_conn_done(&a);
	vl_conn_done(&b);
}

static int nothing(void *ctx, struct vl_call *call, struct err *e)
{
	(void)ctx;
	(void)call;
	(void)e;
	return 0;
}

static const struct vl_method *find(const char *text, json_t **reply)
{
	static const struct vl_method table[] = {
		{"io.x.Plain", 0, 0, 0, nothing},
		{"io.x.More", 0, VL_MORE, 0, nothing},
		{"io.x.Up", VL_UPGRADE, 0, 0, nothing},
	};
	struct vl_call call;
	struct err e = ERR_INIT;
	const struct vl_method *m;

	*reply = NULL;
	if (vl_call_parse(json_loads(text, 0, NULL), &call, &e) < 0)
		return NULL;
	m = vl_method_find(table, ARRAY_SIZE(table), &call, reply);
	vl_call_done(&call);
	return m;
}

static void test_methods(void **state)
{
	static const struct {
		const char *text;
		bool found;
	} cases[] = {
		{"{\"method\":\"io.x.Plain\"}", true},
		{"{\"method\":\"io.x.Plain\",\"more\":false}", true},
		{"{\"method\":\"io.x.Plain\",\"more\":true}", false},
		{"{\"method\":\"io.x.More\",\"more\":true}", true},
		{"{\"method\":\"io.x.Up\"}", false},
		{"{\"method\":\"io.x.Up\",\"upgrade\":true}", true},
		{"{\"method\":\"io.x.Up\",\"upgrade\":true,\"oneway\":true}",
		 false},
		{"{\"method\":\"io.x.None\"}", false},
		{"{\"method\":7}", false},
		{"{\"method\":\"io.x.Plain\",\"more\":1}", false},
		{"{\"method\":\"io.x.Plain\",\"parameters\":[]}", false},
		{"{}", false},
	};
	json_t *reply;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(find(cases[i].text, &reply) != NULL,
				 cases[i].found);
		json_decref(reply);
	}
}

struct sample {
	const char *s;
	int64_t n;
	bool b;
	json_t *o, *list;
};

static int read_sample(const char *text, struct sample *out, struct err *e)
{
	static const struct vl_field fields[] = {
		{"s", VL_STRING, offsetof(struct sample, s), 0, 3, false},
		{"n", VL_INT, offsetof(struct sample, n), 1, 5, false},
		{"b", VL_BOOL, offsetof(struct sample, b), 0, 0, true},
		{"o", VL_OBJECT, offsetof(struct sample, o), 0, 0, true},
		{"l", VL_STRINGS, offsetof(struct sample, list), 0, 2, true},
	};
	json_t *j = json_loads(text, JSON_ALLOW_NUL, NULL);
	int r = vl_params_read(j, fields, ARRAY_SIZE(fields), true, out, NULL,
			       e);

	json_decref(j);
	return r;
}

static void test_params(void **state)
{
	static const char *const bad[] = {
		"{}",
		"{\"s\":\"a\"}",
		"{\"s\":1,\"n\":1}",
		"{\"s\":null,\"n\":1}",
		"{\"s\":\"abcd\",\"n\":1}",
		"{\"s\":\"a\\u0000\",\"n\":1}",
		"{\"s\":\"a\",\"n\":0}",
		"{\"s\":\"a\",\"n\":6}",
		"{\"s\":\"a\",\"n\":1.5}",
		"{\"s\":\"a\",\"n\":\"1\"}",
		"{\"s\":\"a\",\"n\":1,\"b\":0}",
		"{\"s\":\"a\",\"n\":1,\"o\":[]}",
		"{\"s\":\"a\",\"n\":1,\"l\":{}}",
		"{\"s\":\"a\",\"n\":1,\"l\":[1]}",
		"{\"s\":\"a\",\"n\":1,\"l\":[\"1\",\"2\",\"3\"]}",
		"{\"s\":\"a\",\"n\":1,\"unknown\":1}",
		"[]",
	};
	struct sample out = {.b = true};
	struct err e = ERR_INIT;
	size_t i;

	(void)state;
	assert_int_equal(
		read_sample("{\"s\":\"abc\",\"n\":5,\"b\":null}", &out, &e), 0);
	assert_int_equal(out.n, 5);
	assert_true(out.b);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(read_sample(bad[i], &out, &e), -EINVAL);
}

static void test_service(void **state)
{
	struct vl_call call;
	struct err e = ERR_INIT;
	json_t *msg = json_pack("{s:s,s:{s:s}}", "method",
				"org.varlink.service.GetInterfaceDescription",
				"parameters", "interface", "io.hyb.Agent");
	json_t *reply;
	const char *text;

	(void)state;
	assert_int_equal(vl_call_parse(msg, &call, &e), 0);
	reply = vl_service_reply(&call, "p", "v", "io.hyb.Agent",
				 idl_io_hyb_Agent);
	text = json_string_value(json_object_get(
		json_object_get(reply, "parameters"), "description"));
	assert_non_null(text);
	assert_non_null(strstr(text, "interface io.hyb.Agent\n"));
	json_decref(reply);
	vl_call_done(&call);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_bad_frames),
		cmocka_unit_test(test_call),
		cmocka_unit_test(test_methods),
		cmocka_unit_test(test_params),
		cmocka_unit_test(test_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
