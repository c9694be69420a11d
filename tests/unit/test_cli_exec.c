/* SPDX-License-Identifier: Apache-2.0 */
/* hyb exec: the streams, the exit status, signals, the terminal. */
#include "tests/unit/cli_fake.h"

#include <poll.h>
#include <pty.h>
#include <termios.h>

/* The guest's ends. */
struct guest {
	struct vl_conn control;
	int in, out, err;
};

static void (*play)(struct guest *g, const struct vl_call *call);

static void pair(int *ours, int *theirs)
{
	int p[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p) < 0)
		abort();
	*ours = p[0];
	*theirs = p[1];
}

/* Passes the streams and plays the guest until play() is done. */
static bool answer_exec(struct vl_conn *c, const struct vl_call *call)
{
	bool tty = json_is_true(json_object_get(call->parameters, "tty"));
	bool in = json_is_true(json_object_get(call->parameters, "stdin"));
	struct guest g = {.in = -1, .err = -1};
	int fds[4], control, n = 0;

	pair(&control, &fds[n++]);
	if (in)
		pair(&g.in, &fds[n++]);
	pair(&g.out, &fds[n++]);
	if (!tty)
		pair(&g.err, &fds[n++]);
	fake_send(c, "{\"session\":\"00\"}", false, fds, (size_t)n);
	while (n > 0)
		close(fds[--n]);
	vl_conn_init(&g.control, control, 0);
	play(&g, call);
	vl_conn_done(&g.control);
	cleanup_close(&g.in);
	cleanup_close(&g.out);
	cleanup_close(&g.err);
	return false;
}

/* Of ExecAttach, and what is asked for with -d. */
static const char *attach_reply;

static bool answer_attach(struct vl_conn *c, const struct vl_call *call)
{
	bool tty = strstr(attach_reply, "\"tty\":true") != NULL;
	bool in = json_is_true(json_object_get(call->parameters, "stdin"));
	struct guest g = {.in = -1, .err = -1};
	int fds[4], control, n = 0;

	pair(&control, &fds[n++]);
	if (in)
		pair(&g.in, &fds[n++]);
	pair(&g.out, &fds[n++]);
	if (!tty)
		pair(&g.err, &fds[n++]);
	fake_send(c, attach_reply, false, fds, (size_t)n);
	while (n > 0)
		close(fds[--n]);
	vl_conn_init(&g.control, control, 0);
	play(&g, call);
	vl_conn_done(&g.control);
	cleanup_close(&g.in);
	cleanup_close(&g.out);
	cleanup_close(&g.err);
	return false;
}

static bool answer_either(struct vl_conn *c, const struct vl_call *call)
{
	if (!json_is_true(json_object_get(call->parameters, "detach")))
		return answer_exec(c, call);
	fake_send(c, attach_reply, false, NULL, 0);
	return true;
}

static const struct answer answers[] = {
	{.method = "Exec", .answer = answer_either},
	{.method = "ExecAttach", .answer = answer_attach},
	{.method = "ExecList",
	 .replies = {"{\"rows\":[{\"tenant\":\"default\",\"stack\":\"s\","
		     "\"vm\":\"v\",\"container\":\"c\",\"session\":"
		     "\"0123456789abcdef0123456789abcdef\",\"pid\":7,"
		     "\"tty\":true,\"stdin\":true,\"attached\":false,"
		     "\"detached\":true,\"session_state\":\"running\","
		     "\"exit_code\":null,\"started_at\":null,"
		     "\"finished_at\":null,\"waiting\":2048,\"command\":"
		     "\"top \\u001b[2J\"}]}"}},
	{0}};

static void say(int fd, const char *text)
{
	write_full(fd, text, strlen(text));
}

static void say_exit(struct guest *g, const char *members)
{
	char text[256];

	/* With its NUL: that is the frame. */
	snprintf(text, sizeof(text), "{\"exit\":{%s}}", members);
	write_full(g->control.fd, text, strlen(text) + 1);
}

static struct ran run_with(void (*fn)(struct guest *, const struct vl_call *),
			   const char *input, const char *const *words)
{
	play = fn;
	return hyb_with(input, words);
}

#define EXEC(fn, ...) run_with(fn, NULL, WORDS("exec", __VA_ARGS__))

static int setup(void **state)
{
	(void)state;
	fake_start(answers);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_stop();
	return 0;
}

/* --------------------------------------------------------------- exit status */

static const char *exit_members;

static void play_exit(struct guest *g, const struct vl_call *call)
{
	(void)call;
	say(g->out, "out\n");
	say(g->err, "err\n");
	say_exit(g, exit_members);
}

static void test_status(void **state)
{
	static const struct {
		const char *members;
		int status;
	} cases[] = {
		{"\"code\":0,\"signal\":0,\"oom_killed\":false", 0},
		{"\"code\":42,\"signal\":0", 42},
		{"\"code\":255", 255},
		{"\"code\":137,\"signal\":9", 137},
		{"\"code\":0,\"signal\":15", 143},
		{"\"code\":256", 125},
		{"\"code\":-1", 125},
		{"\"code\":\"0\"", 125},
		{"\"code\":3,\"signal\":65", 3},
	};
	struct ran r;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		exit_members = cases[i].members;
		r = EXEC(play_exit, "a/b/c", "--", "true");
		assert_int_equal(r.status, cases[i].status);
		assert_string_equal(r.out, "out\n");
		assert_string_equal(r.err, "err\n");
		ran_done(&r);
	}
	assert_string_equal(
		fake_call(0),
		"Exec {\"args\":[\"true\"],\"cols\":0,\"cwd\":\"\",\"detach\":false,"
		"\"env\":[],\"name\":\"a/b/c\",\"rows\":0,\"stdin\":false,\"tty\":false,"
		"\"user\":\"\"}");
}

static void test_not_found(void **state)
{
	struct ran r;

	(void)state;
	exit_members = "\"code\":127,\"message\":\"'x': No such \\u001bfile\"";
	r = EXEC(play_exit, "a/b/c", "x");
	assert_int_equal(r.status, 127);
	assert_string_equal(r.err,
			    "err\nhyb: exec 'a/b/c': 'x': No such \\x1bfile\n");
	ran_done(&r);
}

static void play_lost(struct guest *g, const struct vl_call *call)
{
	(void)call;
	say(g->out, "some");
	(void)g;
}

static void test_lost(void **state)
{
	struct ran r;

	(void)state;
	r = EXEC(play_lost, "a/b/c", "x");
	assert_int_equal(r.status, CLI_EXEC_FAILED);
	assert_string_equal(r.out, "some");
	assert_non_null(strstr(r.err, "connection to the VM was lost\nhint: "));
	ran_done(&r);
}

static void play_garbage(struct guest *g, const struct vl_call *call)
{
	(void)call;
	write_full(g->control.fd, "{\"exit\":7}\0[1]\0rubbish", 23);
}

static void test_garbage(void **state)
{
	struct ran r;

	(void)state;
	r = EXEC(play_garbage, "a/b/c", "x");
	assert_int_equal(r.status, CLI_EXEC_FAILED);
	ran_done(&r);
}

/* ------------------------------------------------------------------ streams */

#define BIG ((size_t)8 << 20)

/* The exit message comes first, and 8 MiB on each stream behind it. */
static void play_big(struct guest *g, const struct vl_call *call)
{
	static char block[65536];
	size_t i;

	(void)call;
	memset(block, 'x', sizeof(block));
	say_exit(g, "\"code\":5");
	for (i = 0; i < BIG / sizeof(block); i++) {
		write_full(g->out, block, sizeof(block));
		write_full(g->err, block, sizeof(block));
	}
}

static void test_never_cut(void **state)
{
	struct ran r;

	(void)state;
	r = EXEC(play_big, "a/b/c", "x");
	assert_int_equal(r.status, 5);
	assert_int_equal(r.out_len, BIG);
	assert_int_equal(r.err_len, BIG);
	ran_done(&r);
}

/* A reader that takes its time gets everything, long after the exit. */
static void test_slow_reader(void **state)
{
	struct hyb h;
	struct ran r;

	(void)state;
	play = play_big;
	hyb_start_fds(&h, -1, -1, -1, WORDS("exec", "a/b/c", "x"));
	assert_int_equal(fd_wait(h.pidfd, POLLIN, now_ms() + 2600), -ETIMEDOUT);
	r = hyb_wait(&h);
	assert_int_equal(r.status, 5);
	assert_int_equal(r.out_len, BIG);
	ran_done(&r);
}

static int held = -1;

static void play_grandchild(struct guest *g, const struct vl_call *call)
{
	(void)call;
	say(g->out, "before\n");
	say_exit(g, "\"code\":0");
	/* Somebody still holds the stream. */
	held = dup(g->out);
}

static void test_grandchild(void **state)
{
	uint64_t begin = now_ms();
	struct ran r;

	(void)state;
	r = EXEC(play_grandchild, "a/b/c", "x");
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "before\n");
	assert_in_range(now_ms() - begin, 1500, 60000);
	ran_done(&r);
	cleanup_close(&held);
}

static void play_cat(struct guest *g, const struct vl_call *call)
{
	char data[65536];
	ssize_t n;

	(void)call;
	while ((n = read(g->in, data, sizeof(data))) > 0)
		write_full(g->out, data, (size_t)n);
	say(g->out, "eof");
	say_exit(g, "\"code\":0");
}

static void test_stdin(void **state)
{
	struct buf big = BUF_INIT;
	struct ran r;
	size_t i;

	(void)state;
	for (i = 0; i < 300000; i++)
		buf_putc(&big, (char)('a' + i % 26));
	r = run_with(play_cat, buf_str(&big),
		     WORDS("exec", "-i", "a/b/c", "--", "cat"));
	assert_int_equal(r.status, 0);
	assert_int_equal(r.out_len, 300003);
	assert_memory_equal(r.out, big.data, 300000);
	ran_done(&r);
	buf_done(&big);
}

/* Nobody reads what it writes: the guest is told, its status still counts. */
static void play_broken(struct guest *g, const struct vl_call *call)
{
	char block[4096] = "";

	(void)call;
	while (write_full(g->out, block, sizeof(block)) == 0)
		;
	say_exit(g, "\"code\":141");
}

static void test_broken_pipe(void **state)
{
	struct hyb h;
	struct ran r;

	(void)state;
	play = play_broken;
	hyb_start_fds(&h, -1, -1, -1, WORDS("exec", "a/b/c", "yes"));
	cleanup_close(&h.out);
	r = hyb_wait(&h);
	assert_int_equal(r.status, 141);
	ran_done(&r);
}

/* Output that goes nowhere is told, whatever CMD says of its own end. */
static void test_unwritten(void **state)
{
	_cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct hyb h;
	struct ran r;

	(void)state;
	exit_members = "\"code\":0";
	play = play_exit;
	assert_true(full >= 0);
	hyb_start_fds(&h, -1, full, -1, WORDS("exec", "a/b/c", "dump"));
	cleanup_close(&h.out);
	r = hyb_wait(&h);
	assert_int_equal(r.status, CLI_EXEC_FAILED);
	assert_non_null(strstr(r.err, "hyb: exec 'a/b/c': write to standard "
				      "output: No space left on device\n"));
	ran_done(&r);
}

/* ------------------------------------------------------------------ signals */

/* Waits for a control message; the number of its member, or -1. */
static int await_control(struct guest *g, const char *member, const char *sub)
{
	json_t *msg = NULL, *v;
	int n = -1;

	while (vl_conn_read(&g->control, now_ms() + 60000, &msg, NULL) == 0) {
		v = json_object_get(msg, member);
		if (v && sub)
			v = json_object_get(v, sub);
		if (v)
			n = (int)json_integer_value(v);
		json_decref(msg);
		if (v)
			return n;
	}
	return -1;
}

static void play_signal(struct guest *g, const struct vl_call *call)
{
	char text[64];
	int sig;

	(void)call;
	say(g->out, "ready\n");
	sig = await_control(g, "signal", NULL);
	snprintf(text, sizeof(text), "\"code\":%d", 100 + sig);
	say_exit(g, text);
}

static void test_signals(void **state)
{
	static const int sigs[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
	char line[6];
	struct hyb h;
	struct ran r;
	size_t i;

	(void)state;
	play = play_signal;
	for (i = 0; i < ARRAY_SIZE(sigs); i++) {
		hyb_start_fds(&h, -1, -1, -1, WORDS("exec", "a/b/c", "x"));
		assert_int_equal(read_full(h.out, line, sizeof(line)), 6);
		kill(h.pid, sigs[i]);
		r = hyb_wait(&h);
		assert_int_equal(r.status, 100 + sigs[i]);
		ran_done(&r);
	}
}

/* ----------------------------------------------------------------- terminal */

static void read_until(int fd, const char *text)
{
	struct buf b = BUF_INIT;
	char c;

	while (!strstr(buf_str(&b), text)) {
		if (fd_wait(fd, POLLIN, now_ms() + 60000) < 0 ||
		    read(fd, &c, 1) != 1)
			fail_msg("no '%s' in '%s'", text, buf_str(&b));
		buf_putc(&b, c);
	}
	buf_done(&b);
}

static struct {
	int master, slave;
	struct termios before;
} term;

static void open_term(void)
{
	struct winsize ws = {.ws_row = 33, .ws_col = 101};

	assert_int_equal(openpty(&term.master, &term.slave, NULL, NULL, &ws),
			 0);
	assert_int_equal(tcgetattr(term.slave, &term.before), 0);
}

static void assert_restored(void)
{
	struct termios now;

	assert_int_equal(tcgetattr(term.slave, &now), 0);
	assert_int_equal(now.c_lflag, term.before.c_lflag);
	assert_int_equal(now.c_iflag, term.before.c_iflag);
	assert_int_equal(now.c_oflag, term.before.c_oflag);
	close(term.master);
	close(term.slave);
}

static void play_tty(struct guest *g, const struct vl_call *call)
{
	char typed[64] = "";
	size_t n = 0;

	(void)call;
	/* Raw: ctrl-c and ctrl-p come as bytes. */
	say(g->out, "ready");
	while (n < 4 && read(g->in, typed + n, 1) == 1)
		n++;
	say(g->out, memcmp(typed, "a\x03\x10z", 4) == 0 ? "good" : "bad");
	say_exit(g, "\"code\":7");
}

static void test_tty(void **state)
{
	struct hyb h;
	struct ran r;

	(void)state;
	play = play_tty;
	open_term();
	hyb_start_fds(&h, term.slave, term.slave, term.slave,
		      WORDS("exec", "-it", "a/b/c", "sh"));
	read_until(term.master, "ready");
	say(term.master, "a\x03\x10z");
	read_until(term.master, "good");
	r = hyb_wait(&h);
	assert_int_equal(r.status, 7);
	assert_non_null(strstr(fake_call(0), "\"cols\":101,\"cwd\":\"\","));
	assert_non_null(strstr(fake_call(0), "\"rows\":33"));
	ran_done(&r);
	assert_restored();
}

static void say_control(struct guest *g, const char *text)
{
	write_full(g->control.fd, text, strlen(text) + 1);
}

static bool await_member(struct guest *g, const char *member)
{
	json_t *msg = NULL;
	bool is;

	while (vl_conn_read(&g->control, now_ms() + 60000, &msg, NULL) == 0) {
		is = json_object_get(msg, member) != NULL;
		json_decref(msg);
		if (is)
			return true;
	}
	return false;
}

static void play_hold(struct guest *g, const struct vl_call *call)
{
	char byte;

	(void)call;
	say(g->out, "ready");
	while (read(g->in, &byte, 1) == 1)
		;
}

/* Refused once, then kept: what was typed before the keys arrives, and what the
 * guest has sent is shown. */
static void play_leave(struct guest *g, const struct vl_call *call)
{
	char typed[2] = "";

	(void)call;
	say(g->out, "ready");
	if (!await_member(g, "detach"))
		return;
	say_control(g, "{\"refused\":{\"message\":\"too \\u001bmany\"}}");
	if (!await_member(g, "detach"))
		return;
	if (read_full(g->in, typed, 1) == 1 && typed[0] == 'x')
		say(g->out, "the rest");
	say_control(g, "{\"detached\":{}}");
}

static void test_detach(void **state)
{
	struct hyb h;
	struct ran r;

	(void)state;
	play = play_leave;
	open_term();
	hyb_start_fds(&h, term.slave, term.slave, term.slave,
		      WORDS("exec", "-it", "a/b/c", "sh"));
	read_until(term.master, "ready");
	say(term.master, "x\x10");
	say(term.master, "\x11");
	read_until(term.master, "not detached: too \\x1bmany");
	say(term.master, "\x10\x11");
	read_until(term.master, "the rest");
	read_until(term.master, "detached; `hyb exec --attach 00 a/b/c`");
	r = hyb_wait(&h);
	assert_int_equal(r.status, 0);
	ran_done(&r);
	assert_restored();
}

static void test_detach_keys(void **state)
{
	struct hyb h;
	struct ran r;

	(void)state;
	play = play_leave;
	open_term();
	hyb_start_fds(&h, term.slave, term.slave, term.slave,
		      WORDS("exec", "-it", "--detach-keys", "ctrl-a,d", "a/b/c",
			    "sh"));
	read_until(term.master, "ready");
	say(term.master, "x\x10\x11\x01"
			 "d");
	read_until(term.master, "not detached");
	say(term.master, "\x01"
			 "d");
	read_until(term.master, "detached");
	r = hyb_wait(&h);
	assert_int_equal(r.status, 0);
	ran_done(&r);
	assert_restored();
}

static void test_tty_killed(void **state)
{
	struct hyb h;
	struct ran r;

	(void)state;
	play = play_hold;
	open_term();
	hyb_start_fds(&h, term.slave, term.slave, term.slave,
		      WORDS("exec", "-it", "a/b/c", "sh"));
	read_until(term.master, "ready");
	kill(h.pid, SIGTERM);
	r = hyb_wait(&h);
	assert_int_equal(r.status, 128 + SIGTERM);
	ran_done(&r);
	assert_restored();
}

static void play_resize(struct guest *g, const struct vl_call *call)
{
	char text[64];
	int cols = 0, i;

	(void)call;
	say(g->out, "ready");
	/* The first tells the size at the start. */
	for (i = 0; i < 10 && cols != 55; i++)
		cols = await_control(g, "resize", "cols");
	snprintf(text, sizeof(text), "\"code\":%d", cols);
	say_exit(g, text);
}

static void test_resize(void **state)
{
	struct winsize ws = {.ws_row = 20, .ws_col = 55};
	struct hyb h;
	struct ran r;

	(void)state;
	play = play_resize;
	open_term();
	hyb_start_fds(&h, term.slave, term.slave, term.slave,
		      WORDS("exec", "-it", "a/b/c", "sh"));
	read_until(term.master, "ready");
	ioctl(term.master, TIOCSWINSZ, &ws);
	kill(h.pid, SIGWINCH);
	r = hyb_wait(&h);
	assert_int_equal(r.status, 55);
	ran_done(&r);
	assert_restored();
}

/* ----------------------------------------------------------------- sessions */

static void test_background(void **state)
{
	struct ran r;

	(void)state;
	attach_reply = "{\"session\":\"0123456789abcdef0123456789abcdef\"}";
	r = EXEC(NULL, "-d", "a/b/c", "--", "top");
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "0123456789abcdef0123456789abcdef\n");
	assert_string_equal(r.err, "");
	ran_done(&r);
	attach_reply = "{\"session\":\"\",\"exit_code\":127,"
		       "\"message\":\"no \\u001bfile\"}";
	r = EXEC(NULL, "-dit", "a/b/c", "nope");
	assert_int_equal(r.status, 127);
	assert_string_equal(r.out, "");
	assert_string_equal(r.err, "hyb: exec 'a/b/c': no \\x1bfile\n");
	ran_done(&r);
	attach_reply = "{\"session\":\"\",\"exit_code\":0}";
	r = EXEC(NULL, "-d", "a/b/c", "nope");
	assert_int_equal(r.status, CLI_EXEC_FAILED);
	ran_done(&r);
}

#define ATTACHED(members) \
	"{\"session\":\"0123456789abcdef0123456789abcdef\"," members "}"

static void test_attach(void **state)
{
	struct ran r;

	(void)state;
	attach_reply = ATTACHED("\"tty\":false,\"stdin\":false,\"lost\":5,"
				"\"lost_stderr\":0");
	exit_members = "\"code\":9";
	r = EXEC(play_exit, "--attach", "0123", "--no-stdin", "--replay",
		 "a/b/c");
	assert_int_equal(r.status, 9);
	assert_string_equal(r.out, "out\n");
	assert_string_equal(
		r.err, "hyb: 5 bytes of standard output are lost: nobody "
		       "was attached, and the last 64 KiB are kept\nerr\n");
	assert_string_equal(fake_call(0),
			    "ExecAttach {\"name\":\"a/b/c\",\"replay\":true,"
			    "\"session\":\"0123\",\"stdin\":false,"
			    "\"steal\":false}");
	ran_done(&r);
}

/* Standard input's end is said, too: that of its connection means nothing. */
static void play_eof(struct guest *g, const struct vl_call *call)
{
	char data[64] = "";
	ssize_t n = read_full(g->in, data, sizeof(data));

	(void)call;
	if (n == 2 && memcmp(data, "in", 2) == 0 && await_member(g, "eof"))
		say_exit(g, "\"code\":4");
}

static void test_attach_stdin(void **state)
{
	struct ran r;

	(void)state;
	attach_reply = ATTACHED("\"tty\":false,\"stdin\":true");
	r = run_with(play_eof, "in", WORDS("exec", "--attach", "01", "a/b/c"));
	assert_int_equal(r.status, 4);
	ran_done(&r);
}

static void play_taken(struct guest *g, const struct vl_call *call)
{
	(void)call;
	say(g->out, "before\n");
	say_control(g, "{\"taken\":{}}");
}

static void test_taken(void **state)
{
	struct ran r;

	(void)state;
	attach_reply = ATTACHED("\"tty\":true,\"stdin\":false");
	r = EXEC(play_taken, "--attach", "01", "--no-stdin", "a/b/c");
	assert_int_equal(r.status, CLI_EXEC_FAILED);
	assert_string_equal(r.out, "before\n");
	assert_non_null(strstr(r.err, "another client has taken"));
	ran_done(&r);
}

/* A hang-up is ours, not that of what is attached. */
static void play_hup(struct guest *g, const struct vl_call *call)
{
	char byte;

	(void)call;
	say(g->out, "ready\n");
	while (read(g->control.fd, &byte, 1) == 1)
		if (byte == 's') /* of "signal" */
			say_exit(g, "\"code\":66");
}

static void test_attach_hup(void **state)
{
	char line[6];
	struct hyb h;
	struct ran r;

	(void)state;
	play = play_hup;
	attach_reply = ATTACHED("\"tty\":false,\"stdin\":false");
	hyb_start_fds(&h, -1, -1, -1,
		      WORDS("exec", "--attach", "01", "--no-stdin", "a/b/c"));
	assert_int_equal(read_full(h.out, line, sizeof(line)), 6);
	kill(h.pid, SIGHUP);
	r = hyb_wait(&h);
	assert_int_equal(r.status, 128 + SIGHUP);
	ran_done(&r);
}

static void test_ls(void **state)
{
	struct ran r;

	(void)state;
	r = EXEC(NULL, "--ls");
	assert_int_equal(r.status, 0);
	assert_string_equal(
		r.out,
		"SESSION       NAME   PID  STATE    STARTED  WAITING  COMMAND\n"
		"0123456789ab  s/v/c  7    running  -        2 KiB    "
		"top \\x1b[2J\n");
	ran_done(&r);
	r = EXEC(NULL, "--ls", "-o", "json", "s");
	assert_int_equal(r.status, 0);
	assert_non_null(strstr(r.out, "\"waiting\": 2048"));
	assert_string_equal(fake_call(1), "ExecList {\"name\":\"s\"}");
	ran_done(&r);
	r = run_with(NULL, NULL, WORDS("__complete", "exec", "--attach", "01"));
	assert_string_equal(r.out, "0123456789abcdef0123456789abcdef\n");
	ran_done(&r);
}

/* -------------------------------------------------------------------- usage */

static void test_usage(void **state)
{
	static const char *const bad[][8] = {
		{"exec", "--attach", "1", "--ls", "c"},
		{"exec", "--attach", "1", "-i", "c"},
		{"exec", "--attach", "1", "c", "sh"},
		{"exec", "--attach", "1"},
		{"exec", "--ls", "-d", "c"},
		{"exec", "--ls", "a", "b"},
		{"exec", "--steal", "c", "sh"},
		{"exec", "--no-trunc", "c", "sh"},
		{"exec", "-d", "--detach-keys", "a", "c", "sh"},
		{"exec", "--detach-keys", "hello", "c", "sh"},
	};
	struct ran r;
	size_t i;

	(void)state;
	r = EXEC(play_exit, "a/b/c");
	assert_int_equal(r.status, CLI_USAGE);
	ran_done(&r);
	r = EXEC(play_exit, "a/b/c", "--");
	assert_int_equal(r.status, CLI_USAGE);
	ran_done(&r);
	r = EXEC(play_exit, "a/b/c", "-i", "--", "x");
	assert_int_equal(r.status, CLI_USAGE);
	assert_non_null(strstr(r.err, "options go before it"));
	ran_done(&r);
	r = EXEC(play_exit, "-it", "a/b/c", "sh");
	assert_int_equal(r.status, CLI_USAGE);
	assert_non_null(strstr(r.err, "needs a terminal"));
	ran_done(&r);
	r = EXEC(play_exit, "-e", "=x", "a/b/c", "sh");
	assert_int_equal(r.status, CLI_USAGE);
	ran_done(&r);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		r = run_with(play_exit, NULL, bad[i]);
		assert_int_equal(r.status, CLI_USAGE);
		ran_done(&r);
	}
	assert_int_equal(fake.n_calls, 0);
	setenv("FROM_HERE", "it", 1);
	exit_members = "\"code\":0";
	r = EXEC(play_exit, "-e", "A=1", "-eB=2", "--env=FROM_HERE", "-e",
		 "NOT_SET_HERE", "-u0:0", "-w", "/tmp", "a/b/c", "sh", "-c",
		 "--", "-x");
	assert_int_equal(r.status, 0);
	assert_string_equal(
		fake_call(0),
		"Exec {\"args\":[\"sh\",\"-c\",\"--\",\"-x\"],\"cols\":0,"
		"\"cwd\":\"/tmp\",\"detach\":false,\"env\":[\"A=1\",\"B=2\",\"FROM_HERE=it\"],"
		"\"name\":\"a/b/c\",\"rows\":0,\"stdin\":false,\"tty\":false,"
		"\"user\":\"0:0\"}");
	ran_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(test_status),	    T(test_not_found),	  T(test_lost),
		T(test_garbage),    T(test_never_cut),	  T(test_slow_reader),
		T(test_grandchild), T(test_stdin),	  T(test_broken_pipe),
		T(test_unwritten),  T(test_signals),	  T(test_tty),
		T(test_detach),	    T(test_tty_killed),	  T(test_resize),
		T(test_usage),	    T(test_detach_keys),  T(test_background),
		T(test_attach),	    T(test_attach_stdin), T(test_taken),
		T(test_attach_hup), T(test_ls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
