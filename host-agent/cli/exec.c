/* SPDX-License-Identifier: Apache-2.0 */
/* hyb exec NAME -- CMD...: the call; session.c carries the streams. */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/session.h"
#include "host-agent/cli/verbs.h"

#include <sys/ioctl.h>

struct args {
	bool interactive, tty;
	const char *user, *workdir;
	struct opt_list env;
};

#define AT(m) offsetof(struct args, m)

static const struct opt opts[] = {
	{'i', "interactive", OPT_FLAG, AT(interactive), NULL,
	 "pass standard input on"},
	{'t', "tty", OPT_FLAG, AT(tty), NULL, "give CMD a terminal"},
	{'u', "user", OPT_STRING, AT(user), "USER",
	 "user[:group], names or numbers"},
	{'w', "workdir", OPT_STRING, AT(workdir), "DIR", "the folder to be in"},
	{'e', "env", OPT_LIST, AT(env), "K=V",
	 "a variable more (K alone: as it is here)"},
};

/* The pieces of NAME [--] CMD... */
static int split_words(int n, char **words, int *ret_cmd)
{
	int at = 1;

	if (n > 1 && strcmp(words[1], "--") == 0)
		at = 2;
	else if (n > 1 && words[1][0] == '-')
		return cli_usage("exec",
				 "'%s' stands behind the name: options go "
				 "before it, a command behind --",
				 words[1]);
	if (at >= n)
		return cli_usage("exec", "the command is missing");
	*ret_cmd = at;
	return 0;
}

static int make_env(const struct opt_list *list, json_t *env)
{
	_cleanup_buf_ struct buf b = BUF_INIT;
	const char *value;
	size_t i;

	for (i = 0; i < list->n; i++) {
		buf_clear(&b);
		if (list->v[i][0] == '=' || !list->v[i][0])
			return cli_usage("exec", "--env: '%s' has no name",
					 list->v[i]);
		buf_puts(&b, list->v[i]);
		if (!strchr(list->v[i], '=')) {
			value = getenv(list->v[i]);
			if (!value)
				continue;
			buf_printf(&b, "=%s", value);
		}
		if (json_array_append_new(env, json_string(buf_str(&b))) < 0)
			return cli_usage("exec", "--env: '%s' is not UTF-8",
					 list->v[i]);
	}
	return 0;
}

static int make_args(int n, char **words, json_t *args)
{
	int i;

	for (i = 0; i < n; i++)
		if (json_array_append_new(args, json_string(words[i])) < 0)
			return cli_usage("exec", "'%s' is not UTF-8", words[i]);
	return 0;
}

static int make_params(const struct args *a, const char *name, int n,
		       char **cmd, json_t **ret)
{
	json_t *argv = json_array(), *env = json_array(), *params;
	struct winsize ws = {.ws_row = 24, .ws_col = 80};
	int st;

	st = make_args(n, cmd, argv);
	if (st == 0)
		st = make_env(&a->env, env);
	if (st) {
		json_decref(argv);
		json_decref(env);
		return st;
	}
	if (a->tty)
		session_window(&ws);
	params = json_pack("{s:s,s:o,s:o,s:s,s:s,s:b,s:i,s:i,s:b}", "name",
			   name, "args", argv, "env", env, "cwd",
			   a->workdir ? a->workdir : "", "user",
			   a->user ? a->user : "", "tty", a->tty, "rows",
			   a->tty ? ws.ws_row : 0, "cols",
			   a->tty ? ws.ws_col : 0, "stdin", a->interactive);
	if (!params)
		return cli_usage("exec", "a word is not UTF-8");
	*ret = params;
	return 0;
}

/* The descriptors that came, in the order that the interface says. */
static int take_streams(struct vl_conn *c, const struct args *a,
			struct session *s, struct err *e)
{
	int fds[HYB_FDS_MAX];
	size_t want = 2u + a->interactive + !a->tty, n, i = 0;

	n = vl_conn_take_fds(c, fds, HYB_FDS_MAX);
	if (n != want) {
		while (n > 0)
			close(fds[--n]);
		return err_set(e, EBADMSG,
			       "hybd sent other streams than were asked for");
	}
	s->control = fds[i++];
	s->in = a->interactive ? fds[i++] : -1;
	s->out = fds[i++];
	s->errout = a->tty ? -1 : fds[i];
	s->tty = a->tty;
	return 0;
}

/* For exec a status tells CMD's from hyb's: what has no class of its own is
 * 125. */
static int exec_status(int st)
{
	return st == CLI_FAILED ? CLI_EXEC_FAILED : st;
}

static int call_and_run(struct cli *cli, const struct args *a, const char *name,
			json_t *params, struct err *e)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct session s = SESSION_INIT;
	int st, r;

	st = client_open(cli, CLIENT_START, &c, e);
	if (st) {
		json_decref(params);
		return exec_status(st);
	}
	st = client_call(&c, HOST_IFACE "Exec", params, CLI_QUICK_MS, &reply,
			 e);
	if (st)
		return exec_status(st);
	if (take_streams(&c, a, &s, e) < 0)
		return CLI_EXEC_FAILED;
	/* hybd has done its part: it may go. */
	vl_conn_done(&c);
	r = session_run(&s, name, &st, e);
	session_done(&s);
	return r < 0 ? CLI_EXEC_FAILED : st;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	const struct args *a = args;
	struct err e = ERR_INIT;
	json_t *params = NULL;
	char what[300];
	int at = 0, st;

	st = split_words(n, words, &at);
	if (st)
		return st;
	if (a->tty && a->interactive && !isatty(STDIN_FILENO))
		return cli_usage("exec", "-t with -i needs a terminal on "
					 "standard input; leave -t out");
	st = make_params(a, words[0], n - at, words + at, &params);
	if (st)
		return st;
	st = call_and_run(cli, a, words[0], params, &e);
	if (e.code) {
		snprintf(what, sizeof(what), "exec '%.256s'", words[0]);
		cli_fail(st, what, &e);
	}
	return st;
}

const struct verb cli_verb_exec = {
	.name = "exec",
	.words = "NAME -- CMD...",
	.brief = "Runs a command in a container; its exit status is CMD's",
	.about = "125: hyb failed itself; 126: CMD cannot be executed; 127: "
		 "there is no CMD;\n128+n: signal n ended it. Signals that hyb "
		 "gets are passed on. With -i and -t,\nctrl-p ctrl-q leaves "
		 "CMD's terminal (which hangs up on it).",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 2,
	.max_words = -1,
	.stop_early = true,
	.kind = WORDS_NAMES,
	.run = run,
};
