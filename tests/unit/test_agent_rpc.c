/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's server over a socketpair: calls and their order, waiting,
 * events, forwards, limits. No container is made: the images' folder is
 * empty. */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

static char image_dir[] = "/tmp/hyb-agent-test.XXXXXX";
static int claims, powered_off;

static int fake_claim(const struct claim *c, struct err *e)
{
	(void)e;
	assert_int_equal(c->entropy_len, 4);
	assert_memory_equal(c->entropy, "\x01\x23\xab\xcd", 4);
	claims++;
	return 0;
}

static int fake_set_time(int64_t time, int64_t *ret, struct err *e)
{
	if (time == 13)
		return err_set(e, EPERM, "not at 13");
	*ret = time;
	return 0;
}

static int fake_prepare(struct err *e)
{
	return err_set(e, EIO, "no container in this test");
}

static void fake_power_off(void)
{
	powered_off++;
}

static const struct agent_ops ops = {fake_claim, fake_set_time, fake_prepare,
				     fake_power_off};

struct fixture {
	struct agent *a;
	struct vl_conn c; /* the host's end */
};

static struct vl_conn dial(struct agent *a)
{
	struct vl_conn c;
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX,
				    SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				    0, sv),
			 0);
	assert_non_null(peer_add(a, sv[1]));
	vl_conn_init(&c, sv[0], 0);
	return c;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err e = ERR_INIT;

	f->a = calloc(1, sizeof(*f->a));
	assert_int_equal(agent_init(f->a, &ops, &e), 0);
	f->a->image_dir = image_dir;
	f->c = dial(f->a);
	claims = 0;
	powered_off = 0;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	size_t i;

	vl_conn_done(&f->c);
	agent_done(f->a);
	for (i = 0; i < AGENT_PEERS_MAX; i++)
		assert_false(f->a->peers[i].used);
	for (i = 0; i < AGENT_FORWARDS_MAX; i++)
		assert_false(f->a->forwards[i].used);
	free(f->a);
	free(f);
	return 0;
}

static void run(struct agent *a, int rounds)
{
	while (rounds-- > 0)
		assert_int_equal(agent_step(a, 0), 0);
}

static void send_text(struct vl_conn *c, const char *text)
{
	assert_int_equal(write_full(c->fd, text, strlen(text) + 1), 0);
}

/* The next message as text, or "" when the agent has ended the connection, or
 * "-" when nothing comes. */
static char *next(struct agent *a, struct vl_conn *c)
{
	struct err e = ERR_INIT;
	json_t *msg;
	char *text;
	ssize_t n = -EAGAIN;

	for (int i = 0; i < 8; i++) {
		if (vl_conn_next(c, &msg, &e) > 0) {
			text = json_dumps(msg, JSON_COMPACT | JSON_SORT_KEYS);
			json_decref(msg);
			return text;
		}
		if (n == 0)
			return strdup("");
		run(a, 2);
		n = vl_conn_fill(c);
		if (n == -ECONNRESET || n == -EPIPE)
			n = 0;
	}
	return strdup(n == 0 ? "" : "-");
}

static void expect(struct fixture *f, const char *call, const char *part)
{
	_cleanup_free_ char *got = NULL;

	if (call)
		send_text(&f->c, call);
	got = next(f->a, &f->c);
	if (!strstr(got, part))
		fail_msg("%s\n gave %s\n not  %s", call ? call : "", got, part);
}

#define CLAIM(instance, more)                                                         \
	"{\"method\":\"io.hyb.Agent.Claim\",\"parameters\":{\"instance\":\"" instance \
	"\",\"hostname\":\"vm\",\"machine_id\":"                                      \
	"\"00112233445566778899aabbccddeeff\",\"time\":1,"                            \
	"\"entropy\":\"0123abcd\"" more "}}"
#define CALL(method, params) \
	"{\"method\":\"io.hyb.Agent." method "\",\"parameters\":{" params "}}"

static void test_machine(void **state)
{
	struct fixture *f = *state;

	expect(f, CALL("Hello", ""), "\"instance\":\"\"");
	expect(f, CALL("Hello", "\"x\":1"), "InvalidConfig");
	expect(f, CALL("Start", "\"id\":\"a\""), "WrongState");
	expect(f, CLAIM("i 1", ""), "instance");
	expect(f, CLAIM("i1", ",\"x\":1"), "\"field\":\"x\"");
	expect(f, CLAIM("i1", ""), "{\"parameters\":{}}");
	expect(f, CLAIM("i1", ""), "{\"parameters\":{}}");
	expect(f, CLAIM("i2", ""), "AlreadyClaimed");
	assert_int_equal(claims, 1);
	expect(f, CALL("Hello", ""), "\"instance\":\"i1\"");
	expect(f, CALL("SetTime", "\"time\":5"), "\"offset\":5");
	expect(f, CALL("SetTime", "\"time\":13"), "not at 13");
	expect(f, CALL("SetTime", "\"time\":-1"), "\"field\":\"time\"");
	expect(f, CALL("SetTime", "\"time\":1.5"), "InvalidConfig");
	expect(f, CALL("List", ""), "\"containers\":[]");
	expect(f, CALL("Stats", ""), "\"memory_total\":");
	expect(f, CALL("Delete", "\"id\":\"a\",\"force\":true"),
	       "{\"parameters\":{}}");
	expect(f, CALL("Wait", "\"id\":\"a\""), "NotFound");
	expect(f, CALL("Nope", ""), "MethodNotFound");
	expect(f, "{\"method\":\"org.varlink.service.GetInfo\"}", "hyb-agent");
	expect(f,
	       "{\"method\":\"org.varlink.service.GetInterfaceDescription\","
	       "\"parameters\":{\"interface\":\"io.hyb.Agent\"}}",
	       "method Create(");
	expect(f, "{\"method\":\"io.hyb.Agent.Hello\",\"more\":true}",
	       "InvalidParameter");
	expect(f, "{\"method\":\"io.hyb.Agent.Hello\",\"oneway\":true}",
	       "InvalidParameter");
}

/* A check of a container that is not there: what is wrong with it is told
 * first. */
static void test_checks(void **state)
{
#define SET(kind, check) \
	CALL("SetChecks", "\"id\":\"a\",\"" kind "\":{" check "}")
#define TIMES \
	"\"interval\":100,\"timeout\":100,\"retries\":1,\"start_period\":0"
	static const struct {
		const char *call, *part;
	} cases[] = {
		{CALL("SetChecks", "\"id\":\"a\""), "NotFound"},
		{CALL("SetChecks", ""), "\"field\":\"id\""},
		{CALL("SetChecks", "\"id\":\"a\",\"health\":1"),
		 "\"field\":\"health\""},
		{CALL("SetChecks", "\"id\":\"a\",\"liveness\":{}"),
		 "\"field\":\"liveness\""},
		{SET("health", ""), "\"field\":\"how\""},
		{SET("health", "\"how\":\"exec\""), "\"field\":\"interval\""},
		{SET("health", "\"how\":\"icmp\"," TIMES),
		 "must be exec, http or tcp"},
		{SET("health", "\"how\":\"exec\"," TIMES), "no program"},
		{SET("health", "\"how\":\"exec\",\"args\":[]," TIMES),
		 "no program"},
		{SET("health", "\"how\":\"exec\",\"args\":[\"\"]," TIMES),
		 "no program"},
		{SET("health", "\"how\":\"exec\",\"args\":[1]," TIMES),
		 "array of strings"},
		{SET("health",
		     "\"how\":\"exec\",\"args\":[\"a\"],\"x\":1," TIMES),
		 "unknown parameter"},
		{SET("health", "\"how\":\"exec\",\"args\":[\"a\"]," TIMES),
		 "NotFound"},
		{SET("readiness", "\"how\":\"tcp\"," TIMES), "port"},
		{SET("readiness", "\"how\":\"tcp\",\"port\":0," TIMES), "port"},
		{SET("readiness", "\"how\":\"tcp\",\"port\":65536," TIMES),
		 "port"},
		{SET("readiness", "\"how\":\"tcp\",\"port\":1," TIMES),
		 "NotFound"},
		{SET("readiness",
		     "\"how\":\"http\",\"port\":1,\"path\":\"x\"," TIMES),
		 "begin with '/'"},
		{SET("readiness",
		     "\"how\":\"http\",\"port\":1,\"path\":\"/a b\"," TIMES),
		 "without blanks"},
		{SET("readiness", "\"how\":\"http\",\"port\":1,\"path\":"
				  "\"/a\\r\\nX: y\"," TIMES),
		 "without blanks"},
		{SET("readiness", "\"how\":\"http\",\"port\":1," TIMES),
		 "NotFound"},
		{SET("health",
		     "\"how\":\"tcp\",\"port\":1,\"interval\":99,"
		     "\"timeout\":100,\"retries\":1,\"start_period\":0"),
		 "\"field\":\"interval\""},
		{SET("health",
		     "\"how\":\"tcp\",\"port\":1,\"interval\":100,"
		     "\"timeout\":3600001,\"retries\":1,\"start_period\":0"),
		 "\"field\":\"timeout\""},
		{SET("health",
		     "\"how\":\"tcp\",\"port\":1,\"interval\":100,"
		     "\"timeout\":100,\"retries\":0,\"start_period\":0"),
		 "\"field\":\"retries\""},
		{SET("health",
		     "\"how\":\"tcp\",\"port\":1,\"interval\":100,"
		     "\"timeout\":100,\"retries\":1,\"start_period\":-1"),
		 "\"field\":\"start_period\""},
		{CALL("SetChecks", "\"id\":\"a\",\"ports\":[0]"), "not a port"},
		{CALL("SetChecks", "\"id\":\"a\",\"ports\":[\"80\"]"),
		 "not a port"},
		{CALL("Checks", "\"id\":\"a\""), "NotFound"},
		{CALL("Checks", ""), "\"field\":\"id\""},
	};
	struct fixture *f = *state;
	size_t i;

	expect(f, cases[0].call, "WrongState");
	f->a->claimed = true;
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		expect(f, cases[i].call, cases[i].part);
#undef SET
#undef TIMES
}

static void test_http_status(void **state)
{
	static const struct {
		const char *text;
		int status;
	} cases[] = {
		{"", -EAGAIN},
		{"H", -EAGAIN},
		{"HTTP/1.", -EAGAIN},
		{"HTTP/1.1 20", -EAGAIN},
		{"HTTP/1.1 200", -EAGAIN},
		{"HTTP/1.1 200 ", 200},
		{"HTTP/1.0 301\r\n", 301},
		{"HTTP/1.1 500\n", 500},
		{"HTTP/1.1 000 ", 0},
		{"HTTP/1.1 2000", -EPROTO},
		{"HTTP/1.1 -20 ", -EPROTO},
		{"HTTP/1.1\r\n", -EPROTO},
		{"HTTP/1.2 200 ", -EPROTO},
		{"HTTP/2 200 \r\n", -EPROTO},
		{"http/1.1 200 ", -EPROTO},
		{"SSH-2.0-x\r\n", -EPROTO},
		{"\n", -EPROTO},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		if (http_status(cases[i].text, strlen(cases[i].text)) !=
		    cases[i].status)
			fail_msg("'%s'", cases[i].text);
	assert_int_equal(http_status("HTTP/1.1\0"
				     "200 ",
				     13),
			 -EPROTO);
}

static void test_pipelined(void **state)
{
	struct fixture *f = *state;
	char text[4096];
	size_t len = 0;

	for (int i = 0; i < 20; i++) {
		strcpy(text + len, CALL("SetTime", "\"time\":7"));
		len += strlen(text + len) + 1;
	}
	assert_int_equal(write_full(f->c.fd, text, len), 0);
	for (int i = 0; i < 20; i++)
		expect(f, NULL, "\"offset\":7");
	expect(f, NULL, "-");
}

static void test_broken(void **state)
{
	static const char *const texts[] = {
		"nonsense",
		"[]",
		"{}",
		"{\"method\":1}",
		"{\"method\":\"io.hyb.Agent.Hello\",\"parameters\":[]}",
		"{\"a\":1,\"a\":2}",
		"",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_vl_conn_ struct vl_conn c = dial(f->a);
		_cleanup_free_ char *got = NULL;

		send_text(&c, texts[i]);
		got = next(f->a, &c);
		assert_string_equal(got, "");
	}
	expect(f, CALL("Hello", ""), "protocol");
}

#define CREATE(id, more)                                             \
	CALL("Create",                                               \
	     "\"id\":\"" id "\",\"image\":\"i\",\"scratch_size\":0," \
	     "\"user\":\"\",\"init\":false,\"log_size\":65536,"      \
	     "\"config\":{\"ociVersion\":\"1.2.0\",\"linux\":{}}" more)

static void test_create(void **state)
{
	struct fixture *f = *state;
	char path[64];

	expect(f, CLAIM("i1", ""), "{\"parameters\":{}}");
	/* What a Create does before it waits needs the engine: it fails. */
	expect(f, CREATE("a", ",\"disk_timeout\":5"),
	       "no container in this test");
	expect(f, CREATE("../a", ",\"disk_timeout\":5"), "\"field\":\"id\"");
	expect(f, CREATE("a", ",\"disk_timeout\":-1"), "disk_timeout");
	expect(f, CREATE("a", ""), "disk_timeout");
	expect(f, CREATE("a", ",\"disk_timeout\":5,\"scratch\":\"../s\""),
	       "\"field\":\"scratch\"");
	expect(f, CREATE("a", ",\"disk_timeout\":5,\"scratch\":1"), "scratch");
	f->a->prepared = true;
	expect(f, CREATE("a", ",\"disk_timeout\":5"), "-");
	assert_int_equal(f->a->peers[0].wait, WAIT_DISK);
	usleep(10000);
	expect(f, NULL, "no disk with the serial 'i' came");
	expect(f, CREATE("a", ",\"disk_timeout\":5,\"scratch\":\"s\""), "-");
	usleep(10000);
	expect(f, NULL, "no disk with the serial 'i', or none with 's', came");
	/* The host leaves while it waits. */
	send_text(&f->c, CREATE("a", ",\"disk_timeout\":60000"));
	run(f->a, 3);
	assert_int_equal(f->a->peers[0].wait, WAIT_DISK);
	vl_conn_done(&f->c);
	run(f->a, 3);
	assert_false(f->a->peers[0].used);
	/* A disk that comes: the configuration has no process. */
	f->c = dial(f->a);
	send_text(&f->c, CREATE("a", ",\"disk_timeout\":60000"));
	run(f->a, 3);
	snprintf(path, sizeof(path), "%s/i", image_dir);
	assert_int_equal(mkdir(path, 0700), 0);
	create_disks_changed(f->a);
	expect(f, NULL, "InvalidConfig");
	rmdir(path);
}

static void test_events(void **state)
{
	struct fixture *f = *state;

	expect(f, "{\"method\":\"io.hyb.Agent.Events\",\"more\":true}",
	       "\"container\":null");
	expect(f, NULL, "-");
	assert_true(f->a->heartbeat.armed);
	poller_timer_set(&f->a->poller, &f->a->heartbeat, 0);
	expect(f, NULL, "\"continues\":true");
	/* A subscriber that does not read costs nothing but itself. */
	for (int i = 0; i < 10000; i++) {
		poller_timer_set(&f->a->poller, &f->a->heartbeat, 0);
		run(f->a, 1);
	}
	assert_true(f->a->peers[0].out.cap <= AGENT_OUT_MAX);
	vl_conn_done(&f->c);
	run(f->a, 3);
	assert_false(f->a->peers[0].used);
}

/* Asks without reading the answers: its queue fills, it is ended. */
static void test_never_reads(void **state)
{
	struct fixture *f = *state;
	struct vl_conn c = dial(f->a);
	const char *call = "{\"method\":\"org.varlink.service."
			   "GetInterfaceDescription\",\"parameters\":{"
			   "\"interface\":\"io.hyb.Agent\"}}";
	int i;

	for (i = 0; i < 10000 && f->a->peers[1].used; i++) {
		if (send(c.fd, call, strlen(call) + 1, MSG_NOSIGNAL) < 0)
			break;
		run(f->a, 1);
		assert_true(f->a->peers[1].out.len <= AGENT_OUT_MAX);
	}
	assert_false(f->a->peers[1].used);
	vl_conn_done(&c);
	expect(f, CALL("Hello", ""), "protocol");
}

static void test_too_long(void **state)
{
	struct fixture *f = *state;
	static char text[AGENT_MESSAGE_MAX + 100000];
	size_t at = 0;
	ssize_t n;

	memset(text, ' ', sizeof(text));
	while (at < sizeof(text)) {
		n = send(f->c.fd, text + at, sizeof(text) - at, MSG_NOSIGNAL);
		if (n > 0)
			at += (size_t)n;
		else if (errno != EAGAIN)
			break;
		run(f->a, 1);
	}
	run(f->a, 4);
	assert_false(f->a->peers[0].used);
}

static void test_many(void **state)
{
	struct fixture *f = *state;
	int sv[2], used = 1;

	while (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) == 0) {
		struct peer *p = peer_add(f->a, sv[1]);

		close(sv[0]);
		if (!p)
			break;
		used++;
	}
	assert_int_equal(used, AGENT_PEERS_MAX);
	run(f->a, 40);
	expect(f, CALL("Hello", ""), "protocol");
	assert_false(f->a->peers[1].used);
}

static int listen_tcp(uint16_t *port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 8), 0);
	getsockname(fd, (struct sockaddr *)&addr, &len);
	*port = ntohs(addr.sin_port);
	return fd;
}

static void test_forward(void **state)
{
	struct fixture *f = *state;
	char call[200], buf[64];
	uint16_t port;
	int fd = listen_tcp(&port), conn;
	size_t len;

	expect(f, CLAIM("i1", ""), "{\"parameters\":{}}");
	/* Bytes right behind the call belong to the stream. */
	snprintf(call, sizeof(call),
		 "{\"method\":\"io.hyb.Agent.Forward\",\"upgrade\":true,"
		 "\"parameters\":{\"port\":%u}}",
		 port);
	assert_int_equal(write_full(f->c.fd, call, strlen(call) + 1), 0);
	assert_int_equal(write_full(f->c.fd, "early", 5), 0);
	expect(f, NULL, "{\"parameters\":{}}");
	conn = accept(fd, NULL, NULL);
	assert_true(conn >= 0);
	run(f->a, 4);
	assert_int_equal(read(conn, buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "early", 5);
	/* Half close, either way. */
	shutdown(f->c.fd, SHUT_WR);
	run(f->a, 4);
	assert_int_equal(read(conn, buf, sizeof(buf)), 0);
	assert_int_equal(write(conn, "answer", 6), 6);
	close(conn);
	run(f->a, 6);
	(void)vl_conn_leftover(&f->c, &len);
	assert_int_equal(len, 0);
	assert_int_equal(read_full(f->c.fd, buf, 7), 6);
	assert_memory_equal(buf, "answer", 6);
	assert_false(f->a->peers[0].used);
	close(fd);
	/* Nobody listens any more. */
	vl_conn_done(&f->c);
	f->c = dial(f->a);
	expect(f, call, "Connection refused");
	expect(f, CALL("Hello", ""), "protocol");
}

static void test_shutdown(void **state)
{
	struct fixture *f = *state;

	expect(f, CALL("Shutdown", "\"grace\":1000"), "{\"parameters\":{}}");
	assert_int_equal(powered_off, 1);
	assert_true(f->a->stopping);
}

static void test_sessions_unknown(void **state)
{
	struct fixture *f = *state;

	expect(f, CLAIM("i1", ""), "{\"parameters\":{}}");
	expect(f,
	       "{\"method\":\"io.hyb.Agent.Attach\",\"upgrade\":true,"
	       "\"parameters\":{\"session\":\"x\",\"stream\":\"stdout\"}}",
	       "NotFound");
	expect(f,
	       "{\"method\":\"io.hyb.Agent.Attach\",\"upgrade\":true,"
	       "\"parameters\":{\"session\":\"x\",\"stream\":\"std\"}}",
	       "\"field\":\"stream\"");
	expect(f,
	       "{\"method\":\"io.hyb.Agent.Exec\",\"upgrade\":true,"
	       "\"parameters\":{\"session\":\"0\",\"id\":\"a\",\"args\":[\"x\"]"
	       ",\"env\":[],\"cwd\":\"\",\"user\":\"\",\"tty\":false,"
	       "\"rows\":0,\"cols\":0,\"stdin\":false}}",
	       "\"field\":\"session\"");
	expect(f,
	       "{\"method\":\"io.hyb.Agent.Exec\",\"upgrade\":true,"
	       "\"parameters\":{\"session\":"
	       "\"00112233445566778899aabbccddeeff\",\"id\":\"a\","
	       "\"args\":[],\"env\":[],\"cwd\":\"\",\"user\":\"\","
	       "\"tty\":false,\"rows\":0,\"cols\":0,\"stdin\":false}}",
	       "\"field\":\"args\"");
	expect(f,
	       "{\"method\":\"io.hyb.Agent.Logs\",\"upgrade\":true,"
	       "\"parameters\":{\"id\":\"x\",\"offset\":0}}",
	       "NotFound");
}

static void test_wire_text(void **state)
{
	static char text[2000];
	struct wire_text t;

	(void)state;
	assert_string_equal(wire_text(&t, "plain \xc3\xa4"), "plain \xc3\xa4");
	assert_string_equal(wire_text(&t, "\xff\033"), "\\xff\\x1b");
	/* Cut between characters, wherever it comes to lie. */
	for (size_t shift = 0; shift < 4; shift++) {
		json_t *j;

		memset(text, 'x', shift);
		for (size_t i = 0; i < 300; i++)
			memcpy(text + shift + 3 * i, "\xe2\x82\xac", 4);
		j = json_string(wire_text(&t, text));
		assert_non_null(j);
		assert_true(json_string_length(j) > AGENT_TEXT_MAX - 8);
		json_decref(j);
	}
}

/* A full table: who was silent for long gives way, nobody else. */
static void test_stale(void **state)
{
	struct fixture *f = *state;
	int sv[2];
	size_t i;

	for (i = 1; i < AGENT_PEERS_MAX; i++) {
		assert_int_equal(
			socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv),
			0);
		assert_non_null(peer_add(f->a, sv[0]));
		close(sv[1]);
	}
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv);
	assert_null(peer_add(f->a, sv[0]));
	close(sv[1]);
	f->a->peers[7].active_ms -= AGENT_STALE_MS + 1;
	f->a->peers[7].wait = WAIT_DISK;
	f->a->peers[9].active_ms -= AGENT_STALE_MS + 1;
	socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv);
	assert_ptr_equal(peer_add(f->a, sv[0]), &f->a->peers[9]);
	close(sv[1]);
	f->a->peers[7].wait = WAIT_NONE;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_machine),
		TEST(test_pipelined),
		TEST(test_broken),
		TEST(test_create),
		TEST(test_events),
		TEST(test_never_reads),
		TEST(test_too_long),
		TEST(test_many),
		TEST(test_forward),
		TEST(test_shutdown),
		TEST(test_sessions_unknown),
		TEST(test_stale),
		TEST(test_checks),
		cmocka_unit_test(test_http_status),
		cmocka_unit_test(test_wire_text),
	};
	int r;

	if (!mkdtemp(image_dir))
		return 2;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(image_dir);
	return r;
}
