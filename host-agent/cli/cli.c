/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/cli.h"

#include "common/base/cleanup.h"
#include "host-agent/manifest/text.h"

#include <limits.h>
#include <signal.h>
#include <stdalign.h>
#include <sys/signalfd.h>

#define AT(m) offsetof(struct cli, m)

const struct opt cli_global_opts[] = {
	{'\0', "root", OPT_STRING, AT(root_option), "DIR",
	 "the instance's folder (HYB_ROOT; default " CLI_DEFAULT_ROOT ")"},
	{'\0', "connect", OPT_STRING, AT(connect), "URI",
	 "libvirt connection of a hybd that is started (HYB_CONNECT)"},
	{'\0', "accel", OPT_STRING, AT(accel), "auto|kvm|tcg",
	 "accelerator of a hybd that is started (HYB_ACCEL)"},
	{'\0', "tenant", OPT_STRING, AT(tenant), "NAME",
	 "whom to act for, where it is not plain (HYB_TENANT)"},
	{'h', "help", OPT_FLAG, AT(help), NULL, "what the command does"},
};
const size_t cli_n_global_opts = ARRAY_SIZE(cli_global_opts);

int cli_fail(int status, const char *what, const struct err *e)
{
	out_error(what, e);
	return status;
}

int cli_usage(const char *verb, const char *fmt, ...)
{
	struct err e = {.code = EINVAL};
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e.msg, sizeof(e.msg), fmt, ap);
	va_end(ap);
	err_hint(&e, "`hyb help %s` shows how it is used", verb);
	return cli_fail(CLI_USAGE, verb, &e);
}

int cli_text(const char *verb, const char *word)
{
	return text_is_clean(word, strlen(word))
		       ? 0
		       : cli_usage(verb, "'%s' is not UTF-8", word);
}

int cli_end_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

/* --------------------------------------------------------------- settings */

static const char *env_or_null(const char *name)
{
	const char *v = getenv(name);

	return v && *v ? v : NULL;
}

static int settle_root(struct cli *cli, const char *root, struct err *e)
{
	char cwd[PATH_MAX] = "";
	size_t len;
	int n;

	if (root[0] != '/' && !getcwd(cwd, sizeof(cwd)))
		return err_sys(e, errno, "find the current folder");
	n = snprintf(cli->root, sizeof(cli->root), "%s%s%s", cwd,
		     root[0] == '/' ? "" : "/", root);
	if (n < 0 || (size_t)n >= sizeof(cli->root))
		return err_set(e, ENAMETOOLONG, "--root: the path is too long");
	for (len = strlen(cli->root); len > 1 && cli->root[len - 1] == '/';)
		cli->root[--len] = '\0';
	if (strcmp(cli->root, CLI_DEFAULT_ROOT) == 0)
		snprintf(cli->socket, sizeof(cli->socket), "%s",
			 CLI_DEFAULT_SOCKET);
	else
		n = snprintf(cli->socket, sizeof(cli->socket), "%.240s/%s",
			     cli->root, "hybd.sock");
	if (strlen(cli->socket) > 107) {
		err_set(e, ENAMETOOLONG, "--root: '%s' is too long", cli->root);
		err_hint(e, "a unix socket's path has at most 107 bytes");
		return -ENAMETOOLONG;
	}
	return 0;
}

int cli_settle(struct cli *cli, struct err *e)
{
	static const char *const accels[] = {"auto", "kvm", "tcg"};
	const char *root = cli->root_option;
	size_t i;

	if (!root)
		root = env_or_null("HYB_ROOT");
	if (!root)
		root = CLI_DEFAULT_ROOT;
	if (!*root)
		return err_set(e, EINVAL, "--root: the path is empty");
	if (!cli->connect)
		cli->connect = env_or_null("HYB_CONNECT");
	if (!cli->accel)
		cli->accel = env_or_null("HYB_ACCEL");
	if (!cli->tenant)
		cli->tenant = env_or_null("HYB_TENANT");
	if (cli->tenant && !text_is_clean(cli->tenant, strlen(cli->tenant)))
		return err_set(e, EINVAL, "--tenant: '%s' is not UTF-8",
			       cli->tenant);
	for (i = 0; cli->accel && i < ARRAY_SIZE(accels); i++)
		if (strcmp(cli->accel, accels[i]) == 0)
			break;
	if (i == ARRAY_SIZE(accels))
		return err_set(e, EINVAL,
			       "--accel: '%s' is none of auto, kvm, tcg",
			       cli->accel);
	return settle_root(cli, root, e);
}

/* ------------------------------------------------------------------ verbs */

/* A full disk or a closed pipe must not look like success. */
static int flush_output(int status)
{
	struct err e = ERR_INIT;

	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	err_sys(&e, errno ? errno : EIO, "write to standard output");
	clearerr(stdout);
	out_error("", &e);
	return status ? status : CLI_FAILED;
}

const struct verb *cli_find_verb(int n, char **words, int *ret_used)
{
	char name[64] = "";
	size_t i;
	int used;

	for (used = n < 2 ? n : 2; used > 0; used--) {
		snprintf(name, sizeof(name), "%s%s%s", words[0],
			 used == 2 ? " " : "", used == 2 ? words[1] : "");
		for (i = 0; cli_verbs[i]; i++) {
			if (strcmp(cli_verbs[i]->name, name) == 0) {
				*ret_used = used;
				return cli_verbs[i];
			}
		}
	}
	return NULL;
}

static bool is_later(const char *name)
{
	size_t i;

	for (i = 0; cli_later[i]; i++)
		if (strcmp(cli_later[i], name) == 0)
			return true;
	return false;
}

static const char *next_verb(const void *ctx, size_t i)
{
	(void)ctx;
	return cli_verbs[i]->hidden ? NULL : cli_verbs[i]->name;
}

/* "hyb image": there are only verbs of two words. */
static bool is_group(const char *word)
{
	size_t i, len = strlen(word);

	for (i = 0; cli_verbs[i]; i++)
		if (strncmp(cli_verbs[i]->name, word, len) == 0 &&
		    cli_verbs[i]->name[len] == ' ')
			return true;
	return false;
}

/* What users of other tools type first. */
static const char *other_name(const char *name)
{
	static const char *const names[][2] = {
		{"up", "deploy"},	{"apply", "deploy"},
		{"run", "deploy"},	{"list", "ps"},
		{"ls", "ps"},		{"rm", "down"},
		{"images", "image ls"}, {"pull", "image pull"},
		{"load", "image load"}, {"attach", "exec"},
		{"diff", "plan"},	{"check", "validate"},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i][0], name) == 0)
			return names[i][1];
	return NULL;
}

static bool asks_help(const char *word)
{
	return strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0;
}

static int unknown_verb(int n, char **words)
{
	struct err e = ERR_INIT;
	const char *near;
	char name[80];
	size_t count = 0;
	bool two = n > 1 && (is_group(words[0]) || strlen(words[0]) < 8);

	if (n > 1 && asks_help(words[1]) && cli_help_group(stdout, words[0]))
		return flush_output(CLI_DONE);
	snprintf(name, sizeof(name), "%.40s %.30s", words[0],
		 two ? words[1] : "");
	if (!two || (!is_group(words[0]) && !is_later(name)))
		snprintf(name, sizeof(name), "%.40s", words[0]);
	if (is_later(name) || (!is_group(words[0]) && is_later(words[0]))) {
		err_set(&e, ENOTSUP, "not supported yet");
		err_hint(&e, "`hyb help` lists the verbs that there are");
		return cli_fail(CLI_USAGE, name, &e);
	}
	if (is_group(words[0]) && n == 1)
		return cli_usage(words[0], "a verb is missing behind '%s'",
				 words[0]);
	while (cli_verbs[count])
		count++;
	near = other_name(name);
	if (!near)
		near = opt_nearest(name, count, next_verb, NULL);
	err_set(&e, EINVAL, "there is no verb '%s'", name);
	if (near)
		err_hint(&e, "did you mean `hyb %s`?", near);
	else
		err_hint(&e, "`hyb help` lists the verbs");
	return cli_fail(CLI_USAGE, "", &e);
}

static int check_words(const struct verb *v, int n, char **words)
{
	if (n < v->min_words)
		return cli_usage(v->name, "%s is missing", v->words);
	if (v->max_words >= 0 && n > v->max_words)
		return cli_usage(v->name, "'%s' is one word too many",
				 words[v->max_words]);
	return 0;
}

/* What goes to hybd is text. A file's name may be of any bytes. */
static int check_text(const struct verb *v, int n, char **words)
{
	int i, st = 0;

	for (i = 0; v->kind != WORDS_FILES && i < n && st == 0; i++)
		st = cli_text(v->name, words[i]);
	return st;
}

static int run_verb(struct cli *cli, const struct verb *v, int argc,
		    char **argv, char **words)
{
	alignas(max_align_t) char args[CLI_ARGS_MAX] = {0};
	struct opt_set sets[] = {
		{v->opts, v->n_opts, args},
		{cli_global_opts, cli_n_global_opts, cli},
	};
	struct err e = ERR_INIT;
	int n, r;

	r = opt_parse(sets, ARRAY_SIZE(sets),
		      v->stop_early ? OPT_STOP_EARLY : 0, argc, argv, words, &n,
		      &e);
	if (r < 0) {
		if (!e.hint[0])
			err_hint(&e, "`hyb help %s` lists the options",
				 v->name);
		r = cli_fail(CLI_USAGE, v->name, &e);
	} else if (cli->help) {
		cli_help_verb(stdout, v);
		r = 0;
	} else {
		r = check_words(v, n, words);
		if (r == 0)
			r = check_text(v, n, words);
		if (r == 0 && cli_settle(cli, &e) < 0)
			r = cli_fail(CLI_USAGE, v->name, &e);
		if (r == 0)
			r = v->run(cli, args, n, words);
	}
	opt_release(&sets[0]);
	return r;
}

int cli_main(int argc, char **argv)
{
	struct cli cli = {.root_option = NULL};
	struct opt_set set = {cli_global_opts, cli_n_global_opts, &cli};
	_cleanup_free_ char **words = NULL, **rest = NULL;
	const struct verb *v;
	struct err e = ERR_INIT;
	int n = 0, used, r;

	words = calloc((size_t)argc + 1, sizeof(*words));
	rest = calloc((size_t)argc + 1, sizeof(*rest));
	if (!words || !rest || argc < 1)
		return CLI_FAILED;
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("hyb " HYB_VERSION);
		return flush_output(CLI_DONE);
	}
	r = opt_parse(&set, 1, OPT_STOP_EARLY, argc - 1, argv + 1, words, &n,
		      &e);
	if (r < 0)
		return cli_fail(CLI_USAGE, "", &e);
	if (n == 0) {
		cli_help_all(cli.help ? stdout : stderr);
		return flush_output(cli.help ? CLI_DONE : CLI_USAGE);
	}
	v = cli_find_verb(n, words, &used);
	if (!v)
		return unknown_verb(n, words);
	r = run_verb(&cli, v, n - used, words + used, rest);
	return flush_output(r);
}
