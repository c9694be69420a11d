/* SPDX-License-Identifier: Apache-2.0 */
/* Options, names of verbs, help, times and sizes: in this process, so that the
 * leak check sees it. */
#include "tests/unit/cli_fake.h"
#include "tests/unit/golden.h"

#include "host-agent/cli/tty.h"

struct args {
	bool flag, other;
	const char *text;
	struct opt_list list;
	struct opt_duration time;
	enum out_format format;
};

#define AT(m) offsetof(struct args, m)

static const struct opt opts[] = {
	{'f', "flag", OPT_FLAG, AT(flag), NULL, ""},
	{'x', "other", OPT_FLAG, AT(other), NULL, ""},
	{'t', "text", OPT_STRING, AT(text), "TEXT", ""},
	{'l', "list", OPT_LIST, AT(list), "ITEM", ""},
	{'\0', "time", OPT_DURATION, AT(time), "TIME", ""},
	{'o', "output", OPT_FORMAT, AT(format), "table|json", ""},
	{'\0', "later", OPT_LATER, 0, NULL, NULL},
	{'\0', "later-value", OPT_LATER, 0, "X", NULL},
};

static struct args args;
static char *words[32];
static int n_words;
static struct err error;

static int parse(unsigned int flags, const char *const *in)
{
	struct opt_set set = {opts, ARRAY_SIZE(opts), &args};
	int argc = 0, r;

	opt_release(&set);
	memset(&args, 0, sizeof(args));
	err_clear(&error);
	while (in[argc])
		argc++;
	r = opt_parse(&set, 1, flags, argc, (char **)(uintptr_t)in, words,
		      &n_words, &error);
	return r;
}

#define OK(...)	 assert_int_equal(parse(0, WORDS(__VA_ARGS__)), 0)
#define BAD(...) assert_int_equal(parse(0, WORDS(__VA_ARGS__)), -EINVAL)

static void test_good(void **state)
{
	(void)state;
	OK("a", "-fx", "--text", "v", "b", "--list=1", "-l2", "-l", "3");
	assert_true(args.flag && args.other);
	assert_string_equal(args.text, "v");
	assert_int_equal(args.list.n, 3);
	assert_string_equal(args.list.v[1], "2");
	assert_int_equal(n_words, 2);
	assert_string_equal(words[1], "b");
	OK("--text=", "-", "--", "-f", "--", "--text");
	assert_string_equal(args.text, "");
	assert_false(args.flag);
	assert_int_equal(n_words, 4);
	OK("-ftv");
	assert_string_equal(args.text, "v");
	OK("-t=v");
	assert_string_equal(args.text, "v");
	OK("--time=1m30s", "-o", "json", "-f", "-f");
	assert_int_equal(args.time.ms, 90000);
	assert_int_equal(args.format, OUT_JSON);
	assert_int_equal(parse(OPT_STOP_EARLY,
			       WORDS("-f", "name", "-x", "--", "--nope")),
			 0);
	assert_false(args.other);
	assert_int_equal(n_words, 4);
	assert_int_equal(parse(OPT_STOP_EARLY, WORDS("-f", "--", "-x")), 0);
	assert_string_equal(words[0], "-x");
	OK("x");
}

static void test_bad(void **state)
{
	(void)state;
	BAD("--flg");
	assert_string_equal(error.msg, "unknown option '--flg'");
	assert_string_equal(error.hint, "did you mean '--flag'?");
	BAD("--outp=json");
	assert_string_equal(error.hint, "did you mean '--output'?");
	BAD("--completely-different");
	assert_string_equal(error.hint, "");
	BAD("--\x1b[31m");
	assert_null(strchr(error.msg, '\x1b'));
	BAD("-z");
	BAD("-fz");
	BAD("--flag=1");
	BAD("--text");
	BAD("-t");
	BAD("--text", "a", "--text", "b");
	BAD("-o", "yaml");
	BAD("--time", "5");
	BAD("--time", "-5s");
	BAD("--time=");
	BAD("--later");
	assert_non_null(strstr(error.msg, "not supported yet"));
	BAD("--later-value=3");
	assert_non_null(strstr(error.msg, "not supported yet"));
	BAD("--=x");
	BAD("--FLAG");
	OK("x");
}

/* hyb WORDS... in this process, standard output and error into one file. */
static char *captured(int *ret_status, const char *const *in)
{
	char *argv[32] = {(char *)(uintptr_t) "hyb"}, *text;
	int argc = 1, out, err, fd;
	size_t len;

	for (; in[argc - 1]; argc++)
		argv[argc] = (char *)(uintptr_t)in[argc - 1];
	fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	fflush(NULL);
	out = dup(STDOUT_FILENO);
	err = dup(STDERR_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	*ret_status = cli_main(argc, argv);
	fflush(NULL);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	close(out);
	close(err);
	lseek(fd, 0, SEEK_SET);
	text = NULL;
	len = 0;
	text = read_all(fd, &len);
	return text;
}

static void check_run(int status, const char *has, const char *const *in)
{
	int got;
	char *text = captured(&got, in);

	if (got != status || !strstr(text, has))
		fail_msg("status %d, wanted %d and '%s' in:\n%s", got, status,
			 has, text);
	free(text);
}

static void test_verbs(void **state)
{
	static const char *const later[] = {"scale", "rollback", "convert",
					    "export", "compare"};
	size_t i;

	(void)state;
	check_run(2, "usage: hyb VERB", WORDS(NULL));
	check_run(0, "usage: hyb VERB", WORDS("--help"));
	check_run(2,
		  "hyb: there is no verb 'depoly'\nhint: did you mean `hyb "
		  "deploy`?",
		  WORDS("depoly", "x"));
	check_run(2, "a verb is missing", WORDS("image"));
	check_run(2, "did you mean `hyb image ls`?", WORDS("image", "sl"));
	check_run(2, "a verb is missing", WORDS("tenant"));
	for (i = 0; i < ARRAY_SIZE(later); i++)
		check_run(2, "not supported yet\nhint: ",
			  WORDS(later[i], "--any", "thing"));
	check_run(2, "hyb: deploy: FILE... is missing", WORDS("deploy"));
	check_run(2, "is one word too many", WORDS("ps", "a", "b"));
	check_run(2, "'--lossy': not supported yet",
		  WORDS("deploy", "--lossy", "x"));
	check_run(2, "--root: ", WORDS("ps", "--root", ""));
	check_run(0, "hyb    ", WORDS("version", "--client"));
	check_run(0, "complete -F _hyb hyb", WORDS("completion", "bash"));
	check_run(0, "#compdef hyb", WORDS("completion", "zsh"));
	check_run(0, "complete -c hyb", WORDS("completion", "fish"));
	check_run(2, "none of bash", WORDS("completion", "tcsh"));
	check_run(0, "hyb image load", WORDS("help", "image"));
	check_run(0, "hyb image load", WORDS("image", "--help"));
	check_run(0, "hyb 0", WORDS("--version"));
	check_run(2, "did you mean `hyb deploy`?", WORDS("up"));
	check_run(2, "did you mean `hyb image ls`?", WORDS("images"));
	check_run(2, "there is no verb 'nope'", WORDS("help", "nope"));
}

static void test_help(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; cli_verbs[i]; i++) {
		char path[128], *text, *again;
		char name[32], *space;
		int status;

		snprintf(name, sizeof(name), "%s", cli_verbs[i]->name);
		space = strchr(name, ' ');
		if (space)
			*space = '\0';
		text = captured(&status, space ? WORDS("help", name, space + 1)
					       : WORDS("help", name));
		assert_int_equal(status, 0);
		again = captured(&status, space ? WORDS(name, space + 1, "-h")
						: WORDS(name, "--help"));
		assert_int_equal(status, 0);
		assert_string_equal(text, again);
		snprintf(path, sizeof(path), "tests/golden/cli/help-%s%s%s.txt",
			 name, space ? "-" : "", space ? space + 1 : "");
		if (!cli_verbs[i]->hidden)
			golden_check(path, text);
		free(text);
		free(again);
	}
}

static void test_complete(void **state)
{
	int status;
	char *text;

	(void)state;
	setenv("HYB_ROOT", "/nonexistent", 1);
	text = captured(&status, WORDS("__complete", "--", "p"));
	assert_string_equal(text, "plan\nps\npause\nport-forward\n");
	free(text);
	text = captured(&status, WORDS("__complete", "--", "image", ""));
	assert_string_equal(
		text, "load\nimport\nbuild\npull\nls\ninspect\nrm\nprune\n");
	free(text);
	text = captured(&status, WORDS("__complete", "--", "deploy", "x"));
	assert_string_equal(text, ":files\n");
	free(text);
	text = captured(&status, WORDS("__complete", "--", "ps", "--no"));
	assert_string_equal(text, "--no-trunc\n");
	free(text);
	text = captured(&status,
			WORDS("__complete", "--", "ps", "--output", ""));
	assert_string_equal(text, "table\njson\n");
	free(text);
	/* Nobody serves: no candidates, no error, no hybd is started. */
	text = captured(&status, WORDS("__complete", "--", "logs", ""));
	assert_string_equal(text, "");
	assert_int_equal(status, 0);
	free(text);
}

static void test_times(void **state)
{
	static const char *const bad[] = {
		"",
		"2026-02-30T00:00:00Z",
		"2026-01-01",
		"2026-01-01T00:00:00",
		"2026-01-01 00:00:00Z",
		"2026-01-01T00:00:00.Z",
		"2026-01-01T24:00:00Z",
		"2026-01-01T00:00:00+1:00",
		"2026-01-01T00:00:00Zx",
		" 2026-01-01T00:00:0Z",
	};
	int64_t s = 0;
	uint32_t ns = 0;
	size_t i;
	char out[32];

	(void)state;
	assert_int_equal(out_parse_time("1970-01-01T00:00:01Z", &s, &ns), 0);
	assert_int_equal(s, 1);
	assert_int_equal(
		out_parse_time("2026-01-31T14:00:00.250+02:00", &s, &ns), 0);
	assert_int_equal(s, 1769860800);
	assert_int_equal(ns, 250000000);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(out_parse_time(bad[i], &s, &ns), -EINVAL);
	assert_string_equal(out_age("rubbish", out), "");
	assert_string_equal(out_span(1, out), "1 second");
	assert_string_equal(out_span(7200, out), "2 hours");
	assert_string_equal(out_elapsed(61500, out), "1 m 1 s");
}

static void test_sizes(void **state)
{
	static const struct {
		uint64_t n;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{1023, "1023 B"},
		{1024, "1 KiB"},
		{1536, "1.5 KiB"},
		{67108864, "64 MiB"},
		{1610612736, "1.5 GiB"},
		{UINT64_MAX, "16383 PiB"},
	};
	char out[24];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(out_size(cases[i].n, out), cases[i].text);
}

static void test_filter(void **state)
{
	struct tty_detach d = {.n = 0};
	char out[32];
	bool detach;

	(void)state;
	assert_int_equal(tty_filter(&d, "ab", 2, out, &detach), 2);
	assert_int_equal(tty_filter(&d, "a\x10", 2, out, &detach), 1);
	assert_int_equal(tty_filter(&d, "b", 1, out, &detach), 2);
	assert_memory_equal(out,
			    "\x10"
			    "b",
			    2);
	assert_int_equal(tty_filter(&d, "\x10\x10", 2, out, &detach), 1);
	assert_false(detach);
	assert_int_equal(tty_filter(&d, "\x11zz", 3, out, &detach), 0);
	assert_true(detach);
}

static void test_keys(void **state)
{
	static const char *const bad[] = {
		"ctrl-", "ab",	   "a,",
		",a",	 "ctrl-A", "ctrl-aa",
		"alt-x", "a,,b",   "1,2,3,4,5,6,7,8,9,a,b,c,d,e,f,g,h"};
	struct tty_detach d = {.n = 0};
	bool detach;
	char out[32];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(tty_detach_parse(&d, bad[i]), -EINVAL);
	/* What begins anew within itself. */
	assert_int_equal(tty_detach_parse(&d, "a,a,b"), 0);
	assert_int_equal(tty_filter(&d, "aaab", 4, out, &detach), 1);
	assert_true(detach);
	assert_int_equal(tty_detach_parse(&d, "a,b,a,c"), 0);
	assert_int_equal(tty_filter(&d, "abab", 4, out, &detach), 2);
	assert_memory_equal(out, "ab", 2);
	assert_false(detach);
	assert_int_equal(tty_filter(&d, "x", 1, out, &detach), 3);
	assert_memory_equal(out, "abx", 3);
	assert_int_equal(tty_detach_parse(&d, "ctrl-@,ctrl-z,ctrl-_"), 0);
	assert_int_equal(tty_filter(&d, "\0\x1a\x1f", 3, out, &detach), 0);
	assert_true(detach);
	assert_int_equal(tty_detach_parse(&d, ""), 0);
	assert_int_equal(tty_filter(&d, "\x10\x11", 2, out, &detach), 2);
	assert_false(detach);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),   cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),    cmocka_unit_test(test_verbs),
		cmocka_unit_test(test_help),   cmocka_unit_test(test_complete),
		cmocka_unit_test(test_times),  cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_filter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
