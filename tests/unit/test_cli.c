/* SPDX-License-Identifier: Apache-2.0 */
/* hyb against a scripted hybd: exit status, tables, JSON, errors, calls. What
 * it prints is in tests/golden/cli. */
#include "tests/unit/cli_fake.h"
#include "tests/unit/golden.h"

#include <pty.h>
#include <sys/stat.h>

#define GOLDEN "tests/golden/cli/"

static const char manifest[] = "hyb: 1\n"
			       "name: shop\n"
			       "vms:\n"
			       "  web:\n"
			       "    containers:\n"
			       "      nginx: { image: nginx }\n";

#define ROW_RUNNING                                                      \
	"{\"tenant\":\"default\",\"stack\":\"shop\",\"vm\":\"web-0\","   \
	"\"container\":\"nginx\",\"state\":\"running\",\"reason\":\"\"," \
	"\"exit_code\":null,\"image\":\"local/nginx\","                  \
	"\"digest\":\"sha256:0123456789abcdef0123456789abcdef\","        \
	"\"health\":\"\",\"restarts\":2,\"created_at\":null,"            \
	"\"started_at\":null,\"ports\":\"127.0.0.1:8080->80/tcp\","      \
	"\"pid\":41,\"extra\":{\"a\":1}}"
#define ROW_EXITED                                                        \
	"{\"tenant\":\"default\",\"stack\":\"shop\",\"vm\":\"db\","       \
	"\"container\":\"pg\\u001b[31m\",\"state\":\"exited\","           \
	"\"reason\":\"Error\",\"exit_code\":3,\"image\":\"postgres:15\"," \
	"\"digest\":\"\",\"health\":\"\",\"restarts\":0,"                 \
	"\"created_at\":\"2026-01-01T00:00:00Z\",\"ports\":\"\",\"pid\":null}"

static void test_ps(void **state)
{
	static const struct answer answers[] = {
		{.method = "Ps",
		 .replies = {"{\"rows\":[" ROW_RUNNING "," ROW_EXITED "]}"}},
		{0}};
	struct ran r;

	(void)state;
	fake_start(answers);
	r = HYB("ps");
	assert_int_equal(r.status, 0);
	golden_check(GOLDEN "ps.txt", r.out);
	assert_string_equal(r.err, "");
	assert_null(strchr(r.out, '\x1b'));
	assert_string_equal(fake_call(0), "Ps {\"all\":false,\"name\":\"\"}");
	ran_done(&r);
	r = HYB("ps", "-a", "--no-trunc", "shop/web-0");
	golden_check(GOLDEN "ps-no-trunc.txt", r.out);
	assert_string_equal(fake_call(1),
			    "Ps {\"all\":true,\"name\":\"shop/web-0\"}");
	ran_done(&r);
	r = HYB("ps", "-ojson");
	golden_check(GOLDEN "ps.json", r.out);
	ran_done(&r);
	fake_stop();
}

static void test_vm_ls(void **state)
{
	static const struct answer answers[] = {
		{.method = "VmList",
		 .replies =
			 {"{\"rows\":[{\"tenant\":\"default\",\"stack\":"
			  "\"shop\",\"vm\":\"web\",\"state\":\"running\","
			  "\"reason\":\"\",\"vcpus\":1,\"memory\":134217728,"
			  "\"host_memory\":91234567,\"accelerator\":\"tcg\","
			  "\"isolation\":\"emulated\",\"cid\":7,\"uid\":1000,"
			  "\"qemu_pid\":99,\"agent_version\":\"0.1.0\","
			  "\"kernel\":\"6.12\",\"uptime\":3700,\"pool\":"
			  "\"cold\",\"ip\":null},{\"stack\":\"shop\",\"vm\":\"db\","
			  "\"state\":\"failed\",\"reason\":\"GuestPanic\","
			  "\"vcpus\":2,\"memory\":1610612736,\"uptime\":null,"
			  "\"ip\":\"10.210.0.3\"}]"
			  "}"}},
		{0}};
	struct ran r;

	(void)state;
	fake_start(answers);
	r = HYB("vm", "ls");
	assert_int_equal(r.status, 0);
	golden_check(GOLDEN "vm-ls.txt", r.out);
	ran_done(&r);
	r = HYB("vm", "ls", "--output=json");
	golden_check(GOLDEN "vm-ls.json", r.out);
	ran_done(&r);
	fake_stop();
}

static void test_images(void **state)
{
	static const struct answer answers[] = {
		{.method = "ImageList",
		 .replies =
			 {"{\"images\":[{\"name\":\"busybox:latest\","
			  "\"digest\":\"sha256:dc9faa4fea2bd939762f\","
			  "\"size\":1036800,\"disk_size\":2048000,\"shared_size\":0,"
			  "\"architecture\":\"amd64\",\"tenant\":\"default\",\"created\":\"\"}]}"}},
		{.method = "ImageInspect",
		 .replies = {"{\"object\":{\"name\":\"x\",\"layers\":[1,2]}}"}},
		{.method = "ImageRemove",
		 .replies = {"{\"removed\":[\"busybox:latest\","
			     "\"bad\\u001b]0;x\"]}"}},
		{0}};
	struct ran r;

	(void)state;
	fake_start(answers);
	r = HYB("image", "ls");
	golden_check(GOLDEN "image-ls.txt", r.out);
	ran_done(&r);
	r = HYB("image", "ls", "-o", "json");
	golden_check(GOLDEN "image-ls.json", r.out);
	ran_done(&r);
	r = HYB("image", "inspect", "x");
	assert_int_equal(r.status, 0);
	golden_check(GOLDEN "image-inspect.json", r.out);
	ran_done(&r);
	r = HYB("image", "rm", "busybox");
	assert_string_equal(r.out, "removed busybox:latest\n"
				   "removed bad\\x1b]0;x\n");
	ran_done(&r);
	fake_stop();
}

/* ------------------------------------------------------------------ deploy */

static void write_file(const char *name, const char *text)
{
	char path[128];
	struct err e = ERR_INIT;

	snprintf(path, sizeof(path), "%s/%s", fake.root, name);
	if (file_write_atomic(path, text, strlen(text), 0644, &e) < 0)
		fail_msg("%s", e.msg);
}

static const char *path_of(const char *name)
{
	static char paths[4][128];
	static size_t at;
	char *p = paths[at++ % 4];

	snprintf(p, sizeof(paths[0]), "%s/%s", fake.root, name);
	return p;
}

#define EVENT(object, phase, ms)                                   \
	"{\"event\":{\"object\":\"" object "\",\"phase\":\"" phase \
	"\",\"state\":\"" phase "\",\"message\":\"\",\"elapsed_ms\":" ms "}}"
#define CHANGES                                                          \
	"[{\"action\":\"create\",\"object\":\"shop/web\",\"class\":"     \
	"\"live\",\"why\":\"new\"},{\"action\":\"recreate\",\"object\":" \
	"\"shop/web/nginx\",\"class\":\"restart_container\",\"why\":"    \
	"\"image changed\"}]"

static void test_deploy(void **state)
{
	static const struct answer answers[] = {
		{.method = "Deploy",
		 .replies = {EVENT("shop/web", "starting", "12"),
			     EVENT("shop/web", "running", "1530"),
			     EVENT("shop/web/nginx", "running", "1733"),
			     "{\"changes\":" CHANGES
			     ",\"stacks\":[\"shop\"],\"timings\":{\"total_ms\":"
			     "1800}}"}},
		{0}};
	struct ran r;

	(void)state;
	fake_start(answers);
	write_file("shop.yaml", manifest);
	r = HYB("deploy", path_of("shop.yaml"), "--timeout", "5s");
	assert_int_equal(r.status, 0);
	golden_check(GOLDEN "deploy.stderr.txt", r.err);
	assert_memory_equal(r.out, "shop: 2 changes, all as declared in ", 35);
	assert_non_null(strstr(fake_call(0), "\"timeout\":5000,\"wait\":true"));
	assert_non_null(strstr(fake_call(0), "\"dry_run\":false"));
	assert_non_null(strstr(fake_call(0), "name: shop\\nvms:"));
	ran_done(&r);
	r = HYB("deploy", "--timings", "--no-wait", path_of("shop.yaml"));
	assert_non_null(strstr(r.out, "shop: 2 changes accepted in "));
	assert_non_null(strstr(r.out, "shop/web        starting  12 ms"));
	assert_non_null(strstr(fake_call(1), "\"wait\":false"));
	ran_done(&r);
	r = HYB("deploy", "--dry-run", path_of("shop.yaml"));
	golden_check(GOLDEN "deploy-dry-run.txt", r.out);
	ran_done(&r);
	fake_stop();
}

static void test_deploy_nothing(void **state)
{
	static const struct answer answers[] = {
		{.method = "Deploy",
		 .replies = {"{\"changes\":[],\"stacks\":[\"shop\"]}"}},
		{.method = "Plan", .replies = {"{\"changes\":[]}"}},
		{0}};
	struct ran r;

	(void)state;
	fake_start(answers);
	r = hyb_with(manifest, WORDS("deploy", "-"));
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "shop: nothing to do\n");
	ran_done(&r);
	r = hyb_with(manifest, WORDS("plan", "-"));
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "nothing to do\n");
	ran_done(&r);
	fake_stop();
}

static void test_plan(void **state)
{
	static const struct answer answers[] = {
		{.method = "Plan", .replies = {"{\"changes\":" CHANGES "}"}},
		{0}};
	struct ran r;

	(void)state;
	fake_start(answers);
	write_file("a.yaml", manifest);
	write_file("b.yaml", manifest);
	r = HYB("plan", path_of("a.yaml"));
	assert_int_equal(r.status, CLI_CHANGES);
	golden_check(GOLDEN "plan.txt", r.out);
	ran_done(&r);
	r = HYB("plan", "-ojson", path_of("a.yaml"), path_of("b.yaml"));
	assert_int_equal(r.status, CLI_CHANGES);
	golden_check(GOLDEN "plan.json", r.out);
	ran_done(&r);
	r = HYB("plan", path_of("a.yaml"), path_of("a.yaml"));
	assert_int_equal(r.status, CLI_USAGE);
	ran_done(&r);
	fake_stop();
}

static void test_env_files(void **state)
{
	static const struct answer answers[] = {
		{.method = "Deploy",
		 .replies = {"{\"changes\":[],\"stacks\":[\"e\"]}"}},
		{0}};
	static const char text[] = "hyb: 1\nname: e\nvms:\n  v:\n"
				   "    containers:\n      c:\n"
				   "        image: x\n"
				   "        env_file: [./web.env]\n";
	struct ran r;

	(void)state;
	fake_start(answers);
	write_file("e.yaml", text);
	r = HYB("deploy", path_of("e.yaml"));
	assert_int_equal(r.status, CLI_MANIFEST);
	assert_non_null(strstr(r.err, "e.yaml:8:20: "));
	assert_int_equal(fake.n_calls, 0);
	ran_done(&r);
	write_file("web.env", "A=1\nB=two words\n");
	r = HYB("deploy", path_of("e.yaml"));
	assert_int_equal(r.status, 0);
	assert_non_null(strstr(fake_call(0),
			       "\"env_files\":{\"./web.env\":\"A=1\\nB=two "
			       "words\\n\"}"));
	ran_done(&r);
	fake_stop();
}

static void test_validate(void **state)
{
	struct ran r;

	(void)state;
	fake_root();
	write_file("good.yaml", manifest);
	write_file("bad.yaml", "hyb: 1\nname: shop\nvmz: {}\n");
	r = HYB("validate", path_of("good.yaml"));
	assert_int_equal(r.status, 0);
	assert_non_null(strstr(r.out, "good.yaml: valid, 1 stack\n"));
	ran_done(&r);
	r = HYB("validate", path_of("bad.yaml"), path_of("good.yaml"));
	assert_int_equal(r.status, CLI_MANIFEST);
	assert_non_null(strstr(r.err, "bad.yaml:3:1: "));
	assert_non_null(strstr(r.err, "hyb: validate: "));
	ran_done(&r);
	r = HYB("validate", path_of("none.yaml"));
	assert_int_equal(r.status, CLI_FAILED);
	ran_done(&r);
	r = HYB("validate", fake.root);
	assert_int_equal(r.status, CLI_FAILED);
	assert_non_null(strstr(r.err, "Is a directory"));
	ran_done(&r);
	fake_stop();
}

/* On a terminal the table is drawn again; nothing of it is coloured where
 * NO_COLOR is set. */
static void test_live(void **state)
{
	static const struct answer answers[] = {
		{.method = "Deploy",
		 .replies = {EVENT("shop/web", "starting", "12"),
			     EVENT("shop/web/nginx", "running", "1733"),
			     "{\"changes\":" CHANGES
			     ",\"stacks\":[\"shop\"]}"}},
		{0}};
	char shown[4096] = "";
	int master, slave, colour;
	struct hyb h;
	struct ran r;
	size_t len;
	ssize_t n;

	(void)state;
	setenv("TERM", "xterm", 1);
	fake_start(answers);
	write_file("shop.yaml", manifest);
	for (colour = 1; colour >= 0; colour--) {
		if (!colour)
			setenv("NO_COLOR", "1", 1);
		assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
		hyb_start_fds(&h, -1, -1, slave,
			      WORDS("deploy", path_of("shop.yaml")));
		r = hyb_wait(&h);
		assert_int_equal(r.status, 0);
		/* It comes in pieces, and ends where no slave is left. */
		close(slave);
		memset(shown, 0, sizeof(shown));
		for (len = 0; (n = read(master, shown + len,
					sizeof(shown) - 1 - len)) > 0;)
			len += (size_t)n;
		assert_non_null(strstr(shown, "\x1b[1A\x1b[J"));
		assert_non_null(strstr(shown, "shop/web/nginx"));
		assert_int_equal(strstr(shown, "\x1b[32m") != NULL, colour);
		ran_done(&r);
		close(master);
	}
	fake_stop();
}

/* One event, and then nothing for as long as the client is there. */
static bool never_ends(struct vl_conn *c, const struct vl_call *call)
{
	char byte;

	(void)call;
	fake_send(c, EVENT("shop/web", "starting", "12"), true, NULL, 0);
	return read_full(c->fd, &byte, 1) > 0;
}

static void test_interrupt(void **state)
{
	static const struct answer answers[] = {
		{.method = "Deploy", .answer = never_ends}, {0}};
	struct hyb h;
	struct ran r;
	char first;

	(void)state;
	fake_start(answers);
	write_file("shop.yaml", manifest);
	hyb_start_fds(&h, -1, -1, -1, WORDS("deploy", path_of("shop.yaml")));
	assert_int_equal(read_full(h.err, &first, 1), 1);
	kill(h.pid, SIGINT);
	r = hyb_wait(&h);
	assert_int_equal(r.status, CLI_INTERRUPTED);
	assert_non_null(strstr(r.err, "goes on in hybd"));
	ran_done(&r);
	fake_stop();
}

/* ------------------------------------------------------------------ errors */

static bool fail_by_name(struct vl_conn *c, const struct vl_call *call)
{
	char text[512];
	const char *name =
		json_string_value(json_object_get(call->parameters, "name"));

	snprintf(text, sizeof(text),
		 "{\"error\":\"io.hyb.Host.%s\",\"message\":\"the \\u001b[2J "
		 "message\",\"hint\":\"the hint\"}",
		 name);
	fake_send(c, text, false, NULL, 0);
	return true;
}

static void test_errors(void **state)
{
	static const struct answer answers[] = {
		{.method = "Ps", .answer = fail_by_name}, {0}};
	static const struct {
		const char *name;
		int status;
	} cases[] = {
		{"InvalidManifest", 3},
		{"NotFound", 4},
		{"Denied", 5},
		{"TimedOut", 6},
		{"Unavailable", 7},
		{"Invalid", 2},
		{"Busy", 1},
		{"Failed", 1},
		{"Whatever", 1},
	};
	struct ran r;
	size_t i;

	(void)state;
	fake_start(answers);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		r = HYB("ps", cases[i].name);
		assert_int_equal(r.status, cases[i].status);
		assert_string_equal(r.out, "");
		assert_string_equal(r.err, "hyb: ps: the \\x1b[2J message\n"
					   "hint: the hint\n");
		ran_done(&r);
	}
	r = HYB("vm", "ls");
	assert_int_equal(r.status, CLI_FAILED);
	assert_non_null(strstr(r.err, "hint: are hyb and hybd of the same"));
	ran_done(&r);
	fake_stop();
}

/* What JSON cannot say is not left out: "ps \xff" is not "ps". */
static void test_not_text(void **state)
{
	static const char *const verbs[][5] = {
		{"ps", "\xff"},
		{"vm", "ls", "\xff"},
		{"inspect", "\xff"},
		{"logs", "\xff"},
		{"stop", "\xff"},
		{"events", "\xff"},
		{"stats", "\xff"},
		{"kill", "\xff"},
		{"exec", "a", "\xff"},
		{"image", "rm", "\xff"},
		{"image", "pull", "\xff"},
		{"volume", "create", "\xff", "--size", "20m"},
		{"secret", "set", "\xff"},
		{"ps", "--tenant", "\xff"},
	};
	static const struct answer answers[] = {{0}};
	struct ran r;
	size_t i;

	(void)state;
	fake_start(answers);
	for (i = 0; i < ARRAY_SIZE(verbs); i++) {
		r = HYB(verbs[i][0], verbs[i][1], verbs[i][2], verbs[i][3],
			verbs[i][4]);
		assert_int_equal(r.status, CLI_USAGE);
		assert_string_equal(r.out, "");
		assert_non_null(strstr(r.err, ": '\\xff' is not UTF-8\n"));
		ran_done(&r);
	}
	assert_int_equal(fake.n_calls, 0);
	fake_stop();
}

static bool hang_up(int fd, const struct vl_call *call)
{
	(void)fd;
	(void)call;
	return true;
}

static bool garbage(struct vl_conn *c, const struct vl_call *call)
{
	(void)call;
	return write_full(c->fd, "nonsense", 9) < 0;
}

static bool wrong_types(struct vl_conn *c, const struct vl_call *call)
{
	(void)call;
	fake_send(c, "{\"rows\":{\"a\":[1]},\"images\":7,\"names\":null}",
		  false, NULL, 0);
	return true;
}

static void test_bad_hybd(void **state)
{
	static const struct answer answers[] = {
		{.method = "Ps", .replies = {NULL}, .then = hang_up},
		{.method = "VmList", .answer = garbage},
		{.method = "ImageList", .answer = wrong_types},
		{.method = "Resolve", .answer = wrong_types},
		{0}};
	struct ran r;

	(void)state;
	fake_start(answers);
	r = HYB("ps");
	assert_int_equal(r.status, CLI_UNREACHABLE);
	assert_non_null(strstr(r.err, "hybd closed the connection\nhint: "));
	ran_done(&r);
	r = HYB("vm", "ls");
	assert_int_equal(r.status, CLI_FAILED);
	ran_done(&r);
	r = HYB("image", "ls", "-o", "json");
	assert_int_equal(r.status, 0);
	assert_string_equal(r.out, "[]\n");
	ran_done(&r);
	r = HYB("logs", "shop");
	assert_int_equal(r.status, CLI_NOT_FOUND);
	ran_done(&r);
	fake_stop();
}

/* ------------------------------------------------------------ start and stop */

static void test_change(void **state)
{
	static const struct answer answers[] = {
		{.method = "Stop",
		 .replies = {EVENT("shop/web/nginx", "stopped", "20"),
			     "{\"changes\":[{\"action\":\"stop\"}]}"}},
		{.method = "Down", .replies = {"{\"changes\":[]}"}},
		{.method = "DownVolumes", .replies = {"{\"changes\":[]}"}},
		{0}};
	struct ran r;

	(void)state;
	fake_start(answers);
	r = HYB("stop", "shop/web/nginx", "--timeout=1m");
	assert_int_equal(r.status, 0);
	assert_memory_equal(r.out, "shop/web/nginx: stopped in ", 27);
	assert_string_equal(fake_call(0), "Stop {\"name\":\"shop/web/nginx\","
					  "\"timeout\":60000}");
	ran_done(&r);
	r = HYB("down", "shop");
	assert_string_equal(r.out, "shop: nothing to do\n");
	ran_done(&r);
	r = HYB("down", "--volumes", "shop");
	assert_int_equal(r.status, 0);
	ran_done(&r);
	fake_stop();
}

/* -------------------------------------------------------------- image load */

static bool take_image(struct vl_conn *c, const struct vl_call *call)
{
	char text[256], data[64] = "";
	int fd = -1;

	(void)call;
	if (vl_conn_take_fds(c, &fd, 1) != 1 ||
	    read_full(fd, data, sizeof(data) - 1) < 0)
		snprintf(data, sizeof(data), "nothing");
	if (fd >= 0)
		close(fd);
	snprintf(text, sizeof(text), "{\"images\":[{\"name\":\"%s\"}]}", data);
	fake_send(c, "{\"event\":{\"phase\":\"store\",\"done\":5,\"total\":9}}",
		  true, NULL, 0);
	fake_send(c, text, false, NULL, 0);
	return true;
}

static void test_image_load(void **state)
{
	static const struct answer answers[] = {
		{.method = "ImageLoad", .answer = take_image}, {0}};
	struct ran r;

	(void)state;
	fake_start(answers);
	write_file("image.tar", "from-a-file");
	r = HYB("image", "load", path_of("image.tar"), "--name", "n");
	assert_int_equal(r.status, 0);
	assert_non_null(strstr(r.out, "\nfrom-a-file  "));
	assert_non_null(strstr(fake_call(0), "ImageLoad {\"name\":\"n\","));
	assert_non_null(strstr(fake_call(0), "/image.tar\"}"));
	ran_done(&r);
	/* A pipe is no file: it is copied into one. */
	r = hyb_with("from-a-pipe", WORDS("image", "load", "-"));
	assert_int_equal(r.status, 0);
	assert_non_null(strstr(r.out, "\nfrom-a-pipe  "));
	ran_done(&r);
	r = HYB("image", "load", path_of("nothing.tar"));
	assert_int_equal(r.status, CLI_FAILED);
	assert_non_null(strstr(r.err, "No such file"));
	ran_done(&r);
	r = HYB("image", "load", "/dev/zero");
	assert_int_equal(r.status, CLI_FAILED);
	assert_non_null(strstr(r.err, "'/dev/zero' is a device"));
	ran_done(&r);
	fake_stop();
}

#define FETCH(at, done, total)                                \
	"{\"event\":{\"phase\":\"fetch\",\"elapsed_ms\":" #at \
	",\"done\":" #done ",\"total\":" #total "}}"

/* Without a terminal: few lines, of those that say something new. */
static void test_progress_lines(void **state)
{
	static const struct answer answers[] = {
		{.method = "ImagePull",
		 .replies = {FETCH(10, 0, 0), FETCH(1000, 1000000, 0),
			     FETCH(1500, 2000000, 8000000),
			     FETCH(4000, 3000000, 8000000),
			     FETCH(6600, 4000000, 8000000),
			     FETCH(7000, 8000000, 8000000), "{\"images\":[]}"}},
		{0}};
	struct ran r;

	(void)state;
	fake_start(answers);
	r = HYB("image", "pull", "reg/x");
	assert_int_equal(r.status, 0);
	assert_string_equal(r.err, "   0.01 s  image                    fetch\n"
				   "   1.50 s  image                    fetch  "
				   "1.9 MiB of 7.6 MiB (25%)\n"
				   "   6.60 s  image                    fetch  "
				   "3.8 MiB of 7.6 MiB (50%)\n");
	ran_done(&r);
	fake_stop();
}

/* Answers with the credentials that came, as an image's name. */
static bool take_auth(struct vl_conn *c, const struct vl_call *call)
{
	char data[600] = "nothing";
	json_t *o;
	char *text;
	int fd = -1;

	(void)call;
	if (vl_conn_take_fds(c, &fd, 1) == 1) {
		ssize_t n = pread(fd, data, sizeof(data) - 1, 0);

		data[n > 0 ? n : 0] = '\0';
		close(fd);
	}
	o = json_pack("{s:[{s:s}]}", "images", "name", data);
	text = json_dumps(o, 0);
	fake_send(c, text, false, NULL, 0);
	free(text);
	json_decref(o);
	return true;
}

static void expect_auth(const char *file, const char *want)
{
	struct ran r = file ? HYB("image", "pull", "--authfile", path_of(file),
				  "reg/x", "-o", "json")
			    : HYB("image", "pull", "reg/x", "-o", "json");
	json_t *o = json_loads(r.out, 0, NULL);
	const char *got = json_string_value(
		json_object_get(json_array_get(o, 0), "name"));

	if (r.status != 0 || !got || strcmp(got, want) != 0)
		fail_msg("status %d, %s: %s; %s", r.status, r.err, r.out, want);
	json_decref(o);
	ran_done(&r);
}

/* Whose credentials go with a pull: of a file that is named, or of those that
 * logins leave, the first that has some for a registry. */
static void test_image_auth(void **state)
{
	static const struct answer answers[] = {
		{.method = "ImagePull", .answer = take_auth}, {0}};
	char home[200];
	struct ran r;

	(void)state;
	fake_start(answers);
	unsetenv("REGISTRY_AUTH_FILE");
	unsetenv("DOCKER_CONFIG");
	snprintf(home, sizeof(home), "%s", path_of("home"));
	setenv("HOME", home, 1);
	setenv("XDG_RUNTIME_DIR", path_of("run"), 1);
	setenv("XDG_CONFIG_HOME", path_of("config"), 1);
	expect_auth(NULL, "nothing");
	assert_int_equal(mkdir(home, 0700), 0);
	assert_int_equal(mkdir(path_of("home/.docker"), 0700), 0);
	write_file("home/.docker/config.json",
		   "{\"credsStore\":\"x\",\"auths\":{\"a\":{\"auth\":\"1\"},"
		   "\"b\":{\"auth\":\"2\"},\"c\":{}}}");
	expect_auth(NULL, "{\"auths\":{\"a\":{\"auth\":\"1\"},\"b\":{\"auth\":"
			  "\"2\"}}}");
	assert_int_equal(mkdir(path_of("run"), 0700), 0);
	assert_int_equal(mkdir(path_of("run/containers"), 0700), 0);
	write_file("run/containers/auth.json",
		   "{\"auths\":{\"b\":{\"auth\":\"3\"}}}");
	expect_auth(NULL, "{\"auths\":{\"b\":{\"auth\":\"3\"},\"a\":{\"auth\":"
			  "\"1\"}}}");
	write_file("mine", "{\"auths\":{\"d\":{\"identitytoken\":\"4\"}}}");
	expect_auth("mine", "{\"auths\":{\"d\":{\"identitytoken\":\"4\"}}}");
	setenv("REGISTRY_AUTH_FILE", path_of("mine"), 1);
	expect_auth(NULL, "{\"auths\":{\"d\":{\"identitytoken\":\"4\"}}}");
	setenv("REGISTRY_AUTH_FILE", "/no/such", 1);
	r = HYB("image", "pull", "reg/x");
	assert_int_equal(r.status, CLI_FAILED);
	assert_non_null(strstr(r.err, "credentials: open '/no/such'"));
	ran_done(&r);
	unsetenv("REGISTRY_AUTH_FILE");
	write_file("run/containers/auth.json", "secret");
	r = HYB("image", "pull", "reg/x");
	assert_int_equal(r.status, CLI_FAILED);
	assert_non_null(strstr(r.err, "auth.json' is no JSON object"));
	ran_done(&r);
	fake_stop();
}

static void test_image_pull(void **state)
{
	static const struct answer answers[] = {
		{.method = "ImagePull", .replies = {"{\"images\":[]}"}}, {0}};
	struct ran r;

	(void)state;
	setenv("REGISTRY_AUTH_FILE", "", 1);
	fake_start(answers);
	r = HYB("image", "pull", "--tls-verify=false", "reg/x");
	assert_int_equal(r.status, 0);
	assert_string_equal(fake_call(0), "ImagePull {\"reference\":\"reg/x\","
					  "\"tls_verify\":false}");
	ran_done(&r);
	r = HYB("image", "pull", "--tls-verify=no", "reg/x");
	assert_int_equal(r.status, CLI_USAGE);
	ran_done(&r);
	r = HYB("image", "pull", "--authfile", "/no/such", "reg/x");
	assert_int_equal(r.status, CLI_FAILED);
	ran_done(&r);
	fake_stop();
}

/* ------------------------------------------------------------------ settings */

static void test_settings(void **state)
{
	static const struct answer answers[] = {
		{.method = "Version",
		 .replies = {"{\"version\":\"0.1.0\",\"pid\":5,\"accelerator\":"
			     "\"tcg\",\"connect\":\"qemu:///embed?root=/x\"}"}},
		{.method = "Ps", .replies = {"{\"rows\":[]}"}},
		{0}};
	static const struct answer own_driver[] = {
		{.method = "Version",
		 .replies = {"{\"version\":\"0.1.0\",\"pid\":5,\"accelerator\":"
			     "\"tcg\",\"connect\":\"\"}"}},
		{.method = "Ps", .replies = {"{\"rows\":[]}"}},
		{0}};
	struct ran r;

	(void)state;
	fake_start(answers);
	r = HYB("--accel", "kvm", "ps");
	assert_int_equal(r.status, CLI_FAILED);
	assert_non_null(strstr(r.err, "accelerator 'tcg', not 'kvm'\nhint: "));
	ran_done(&r);
	r = HYB("ps", "--connect", "qemu:///system");
	assert_int_equal(r.status, CLI_FAILED);
	ran_done(&r);
	r = HYB("ps", "--connect", "qemu:///embed", "--accel=tcg", "-ojson");
	assert_int_equal(r.status, 0);
	ran_done(&r);
	r = HYB("ps", "--accel=turbo");
	assert_int_equal(r.status, CLI_USAGE);
	ran_done(&r);
	r = HYB("version", "-o", "json");
	assert_non_null(strstr(r.out, "\"pid\": 5"));
	ran_done(&r);
	/* hybd says nothing of its own driver, which is none of the others. */
	fake_stop();
	fake_start(own_driver);
	r = HYB("ps", "--connect", "qemu:///system");
	assert_int_equal(r.status, CLI_FAILED);
	assert_non_null(strstr(r.err, "'qemu:///embed', not 'qemu:///system'"));
	ran_done(&r);
	r = HYB("ps", "--connect", "qemu:///embed");
	assert_int_equal(r.status, 0);
	ran_done(&r);
	/* --root counts before the environment. */
	setenv("HYB_ROOT", "/nonexistent", 1);
	r = HYB("ps", "--root", fake.root);
	assert_int_equal(r.status, 0);
	ran_done(&r);
	fake_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ps),
		cmocka_unit_test(test_vm_ls),
		cmocka_unit_test(test_images),
		cmocka_unit_test(test_deploy),
		cmocka_unit_test(test_deploy_nothing),
		cmocka_unit_test(test_plan),
		cmocka_unit_test(test_env_files),
		cmocka_unit_test(test_validate),
		cmocka_unit_test(test_live),
		cmocka_unit_test(test_interrupt),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_not_text),
		cmocka_unit_test(test_bad_hybd),
		cmocka_unit_test(test_change),
		cmocka_unit_test(test_image_load),
		cmocka_unit_test(test_image_pull),
		cmocka_unit_test(test_image_auth),
		cmocka_unit_test(test_progress_lines),
		cmocka_unit_test(test_settings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
