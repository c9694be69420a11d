/* SPDX-License-Identifier: Apache-2.0 */
/* hyb exec: begins sessions, and attaches to those that were left; session.c
 * carries the streams, exec_ls.c lists. */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/exec.h"
#include "host-agent/cli/session.h"
#include "host-agent/cli/verbs.h"

#include <signal.h>
#include <sys/ioctl.h>

#define AT(m) offsetof(struct exec_args, m)

static const struct opt opts[] = {
	{'i', "interactive", OPT_FLAG, AT(interactive), NULL,
	 "pass standard input on"},
	{'t', "tty", OPT_FLAG, AT(tty), NULL, "give CMD a terminal"},
	{'u', "user", OPT_STRING, AT(user), "USER",
	 "user[:group], names or numbers"},
	{'w', "workdir", OPT_STRING, AT(workdir), "DIR", "the folder to be in"},
	{'e', "env", OPT_LIST, AT(env), "K=V",
	 "a variable more (K alone: as it is here)"},
	{'d', "detach", OPT_FLAG, AT(detach), NULL,
	 "print the session's id and leave CMD running"},
	{'\0', "detach-keys", OPT_STRING, AT(keys), "KEYS",
	 "what leaves a terminal (ctrl-p,ctrl-q; \"\": nothing)"},
	{'\0', "attach", OPT_STRING, AT(attach), "SESSION",
	 "go on with a session that was left"},
	{'\0', "steal", OPT_FLAG, AT(steal), NULL,
	 "attach: even if somebody else is there"},
	{'\0', "replay", OPT_FLAG, AT(replay), NULL,
	 "attach: show all that is kept of its output"},
	{'\0', "no-stdin", OPT_FLAG, AT(no_stdin), NULL,
	 "attach: do not pass standard input on"},
	{'\0', "kill", OPT_STRING, AT(kill), "SESSION",
	 "send a signal to a session's processes"},
	{'s', "signal", OPT_STRING, AT(signal), "SIGNAL",
	 "kill: a name or a number (default KILL)"},
	{'\0', "ls", OPT_FLAG, AT(ls), NULL, "list sessions"},
	{'o', "output", OPT_FORMAT, AT(format), "table|json",
	 "ls: how to show it"},
	{'\0', "no-trunc", OPT_FLAG, AT(no_trunc), NULL,
	 "ls: nothing is shortened"},
};

#undef AT

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

static int make_params(const struct exec_args *a, const char *name, int n,
		       char **cmd, json_t **ret)
{
	json_t *argv = json_array(), *env = json_array(), *params;
	struct winsize ws = {.ws_row = 24, .ws_col = 80};
	int i, st;

	for (i = 0; i < n; i++)
		json_array_append_new(argv, json_string(cmd[i]));
	st = make_env(&a->env, env);
	if (st) {
		json_decref(argv);
		json_decref(env);
		return st;
	}
	if (a->tty)
		session_window(&ws);
	params = json_pack(
		"{s:s,s:o,s:o,s:s,s:s,s:b,s:i,s:i,s:b,s:b}", "name", name,
		"args", argv, "env", env, "cwd", a->workdir ? a->workdir : "",
		"user", a->user ? a->user : "", "tty", a->tty, "rows",
		a->tty ? ws.ws_row : 0, "cols", a->tty ? ws.ws_col : 0, "stdin",
		a->interactive, "detach", a->detach);
	if (!params)
		return cli_usage("exec", "a word is not UTF-8");
	*ret = params;
	return 0;
}

/* The descriptors that came, in the order that the interface says. */
static int take_streams(struct vl_conn *c, bool in, struct session *s,
			struct err *e)
{
	int fds[HYB_FDS_MAX];
	size_t want = 2u + in + !s->tty, n, i = 0;

	n = vl_conn_take_fds(c, fds, HYB_FDS_MAX);
	if (n != want) {
		while (n > 0)
			close(fds[--n]);
		return err_set(e, EBADMSG,
			       "hybd sent other streams than were asked for");
	}
	s->control = fds[i++];
	s->in = in ? fds[i++] : -1;
	s->out = fds[i++];
	s->errout = s->tty ? -1 : fds[i];
	return 0;
}

/* For exec a status tells CMD's from hyb's: what has no class of its own is
 * 125. */
static int exec_status(int st)
{
	return st == CLI_FAILED ? CLI_EXEC_FAILED : st;
}

/* Connects and calls; the exit status, params' reference is taken. */
static int call(struct cli *cli, const char *method, json_t *params,
		struct vl_conn *c, struct vl_reply *reply, struct err *e)
{
	int st = client_open(cli, CLIENT_START, c, e);

	if (st)
		json_decref(params);
	else
		st = client_call(c, method, params, CLI_QUICK_MS, reply, e);
	return exec_status(st);
}

/* Of -d: the id, or why there is none. */
static int print_session(const json_t *reply, struct err *e)
{
	const char *id = out_str(reply, "session");
	int64_t code = out_int(reply, "exit_code", 0);

	if (!*id) {
		err_set(e, ENOEXEC, "%s", out_str(reply, "message"));
		return code == 126 || code == 127 ? (int)code : CLI_EXEC_FAILED;
	}
	out_text(stdout, id);
	putchar('\n');
	return CLI_DONE;
}

static int carry(struct vl_conn *c, const char *name, bool in,
		 struct session *s, struct err *e)
{
	int st = CLI_EXEC_FAILED;

	if (take_streams(c, in, s, e) == 0) {
		/* hybd has done its part: it may go. */
		vl_conn_done(c);
		if (session_run(s, name, &st, e) < 0)
			st = CLI_EXEC_FAILED;
	}
	session_done(s);
	return st;
}

static int call_and_run(struct cli *cli, const struct exec_args *a,
			const struct tty_detach *keys, const char *name,
			json_t *params, struct err *e)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct session s = SESSION_INIT;
	int st;

	st = call(cli, HOST_IFACE "Exec", params, &c, &reply, e);
	if (st)
		return st;
	if (a->detach)
		return print_session(reply.parameters, e);
	s.tty = a->tty;
	s.keys = *keys;
	snprintf(s.id, sizeof(s.id), "%s",
		 out_str(reply.parameters, "session"));
	return carry(&c, name, a->interactive, &s, e);
}

static int begin(struct cli *cli, const struct exec_args *a,
		 const struct tty_detach *keys, int n, char **words,
		 struct err *e)
{
	json_t *params = NULL;
	int at = 0, st;

	if (n < 2)
		return cli_usage("exec", "NAME -- CMD... is missing");
	st = split_words(n, words, &at);
	if (st)
		return st;
	if (a->tty && a->interactive && !a->detach && !isatty(STDIN_FILENO))
		return cli_usage("exec", "-t with -i needs a terminal on "
					 "standard input; leave -t out");
	st = make_params(a, words[0], n - at, words + at, &params);
	if (st)
		return st;
	return call_and_run(cli, a, keys, words[0], params, e);
}

/* ------------------------------------------------------------------ attach */

static void tell_lost(const json_t *reply, const char *key, const char *what)
{
	int64_t n = out_int(reply, key, 0);

	if (n > 0)
		out_note("%lld bytes of %s are lost: nobody was attached, and "
			 "the last 64 KiB are kept",
			 (long long)n, what);
}

static int attach(struct cli *cli, const struct exec_args *a,
		  const struct tty_detach *keys, const char *name,
		  struct err *e)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct session s = SESSION_INIT;
	json_t *params;
	int st;

	params = json_pack("{s:s,s:s,s:b,s:b,s:b}", "name", name, "session",
			   a->attach, "stdin", !a->no_stdin, "steal", a->steal,
			   "replay", a->replay);
	if (!params)
		return cli_usage("exec", "a word is not UTF-8");
	st = call(cli, HOST_IFACE "ExecAttach", params, &c, &reply, e);
	if (st)
		return st;
	s.tty = json_is_true(json_object_get(reply.parameters, "tty"));
	s.kept = true;
	s.keys = *keys;
	snprintf(s.id, sizeof(s.id), "%s",
		 out_str(reply.parameters, "session"));
	tell_lost(reply.parameters, "lost",
		  s.tty ? "its terminal" : "standard output");
	tell_lost(reply.parameters, "lost_stderr", "standard error");
	return carry(&c, name,
		     json_is_true(json_object_get(reply.parameters, "stdin")),
		     &s, e);
}

/* -------------------------------------------------------------------- kill */

static int send_signal(struct cli *cli, const struct exec_args *a,
		       const char *name, struct err *e)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	int sig = SIGKILL, st;
	json_t *params;

	if (a->signal && parse_signal(a->signal, &sig) < 0)
		return cli_usage("exec", "--signal: '%s' is no signal",
				 a->signal);
	params = json_pack("{s:s,s:s,s:i}", "name", name, "session", a->kill,
			   "signal", sig);
	if (!params)
		return cli_usage("exec", "a word is not UTF-8");
	st = call(cli, HOST_IFACE "ExecKill", params, &c, &reply, e);
	if (st)
		return st;
	out_text(stdout, out_str(reply.parameters, "session"));
	printf(": sent signal %d\n", sig);
	return CLI_DONE;
}

/* What belongs to the other things that exec does is not ignored. */
static int check_options(const struct exec_args *a, int n)
{
	bool begins = a->interactive || a->tty || a->user || a->workdir ||
		      a->env.n > 0 || a->detach;
	bool attaches = a->steal || a->replay || a->no_stdin;
	bool lists = a->no_trunc || a->format == OUT_JSON;

	int others = (a->attach != NULL) + a->ls + (a->kill != NULL);

	if (others > 1)
		return cli_usage("exec", "--attach, --ls and --kill exclude "
					 "each other");
	if (others && begins)
		return cli_usage("exec", "-i, -t, -u, -w, -e and -d belong to "
					 "a session's begin");
	if (!a->attach && attaches)
		return cli_usage("exec", "--steal, --replay and --no-stdin "
					 "belong to --attach");
	if (!a->ls && lists)
		return cli_usage("exec", "-o and --no-trunc belong to --ls");
	if (!a->kill && a->signal)
		return cli_usage("exec", "--signal belongs to --kill");
	if (a->keys && (a->ls || a->detach || a->kill))
		return cli_usage("exec", "--detach-keys is of no use here");
	if ((a->attach || a->kill) && n == 0)
		return cli_usage("exec", "NAME is missing");
	if (others && n > 1)
		return cli_usage("exec", "there is one word too many: the "
					 "command is running already");
	return 0;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	const struct exec_args *a = args;
	struct tty_detach keys = {.n = 0};
	struct err e = ERR_INIT;
	char what[300];
	int st;

	st = check_options(a, n);
	if (st)
		return st;
	if (a->keys && tty_detach_parse(&keys, a->keys) < 0)
		return cli_usage("exec",
				 "--detach-keys: '%s' must be up to %d keys "
				 "such as a or ctrl-a, with commas between",
				 a->keys, TTY_KEYS_MAX);
	if (a->ls)
		return exec_ls(cli, a, n ? words[0] : "");
	if (a->kill)
		st = send_signal(cli, a, words[0], &e);
	else if (a->attach)
		st = attach(cli, a, &keys, words[0], &e);
	else
		st = begin(cli, a, &keys, n, words, &e);
	if (e.code) {
		snprintf(what, sizeof(what), "exec '%.256s'", words[0]);
		cli_fail(st, what, &e);
	}
	return st;
}

const struct verb cli_verb_exec = {
	.name = "exec",
	.words =
		"NAME -- CMD... | --attach SESSION NAME | --kill SESSION NAME | "
		"--ls [NAME]",
	.brief = "Runs a command in a container; its exit status is CMD's",
	.about =
		"125: hyb failed itself; 126: CMD cannot be executed; 127: "
		"there is no CMD;\n128+n: signal n ended it. Signals that hyb "
		"gets are passed on. With -i and -t,\nctrl-p ctrl-q leaves "
		"CMD, which goes on, as one that was begun with -d; --attach\n"
		"goes on with it: input and terminal are as it was begun with. "
		"SESSION is the\nbegin of an id.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct exec_args),
	.min_words = 0,
	.max_words = -1,
	.stop_early = true,
	.kind = WORDS_NAMES,
	.run = run,
};
