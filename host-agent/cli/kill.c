/* SPDX-License-Identifier: Apache-2.0 */
/* hyb kill [-s SIG] NAME... */
#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

#include <signal.h>

#define DEFAULT_MS 10000
#define GRACE_MS   5000

struct args {
	const char *signal;
	struct opt_duration timeout;
};

static const struct opt opts[] = {
	{'s', "signal", OPT_STRING, offsetof(struct args, signal), "SIGNAL",
	 "a name or a number (default KILL)"},
	{'\0', "timeout", OPT_DURATION, offsetof(struct args, timeout), "TIME",
	 "give up on a guest that does not answer (default 10s)"},
};

static int kill_one(struct vl_conn *c, const char *name, int sig, uint64_t ms)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;
	char what[320];
	json_t *params;
	int st;

	params = json_pack("{s:s,s:i,s:I}", "name", name, "signal", sig,
			   "timeout", (json_int_t)ms);
	st = client_call(c, HOST_IFACE "Kill", params, ms + GRACE_MS, &reply,
			 &e);
	if (st == 0) {
		out_text(stdout, name);
		printf(": sent signal %d\n", sig);
		return 0;
	}
	snprintf(what, sizeof(what), "kill '%.256s'", name);
	return cli_fail(st, what, &e);
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	const struct args *a = args;
	struct err e = ERR_INIT;
	uint64_t ms = a->timeout.given ? a->timeout.ms : DEFAULT_MS;
	int sig = SIGKILL, first = 0, i, st;

	if (a->signal && parse_signal(a->signal, &sig) < 0)
		return cli_usage("kill", "--signal: '%s' is no signal",
				 a->signal);
	if (ms < 1 || ms > 600000)
		return cli_usage("kill", "--timeout: must be 1ms to 10m");
	st = client_open(cli, CLIENT_START, &c, &e);
	if (st)
		return cli_fail(st, "kill", &e);
	for (i = 0; i < n; i++) {
		st = kill_one(&c, words[i], sig, ms);
		first = first ? first : st;
		if (st == CLI_UNREACHABLE || st == CLI_TIMED_OUT)
			break;
	}
	return first;
}

const struct verb cli_verb_kill = {
	.name = "kill",
	.words = "NAME...",
	.brief = "Sends a signal to what runs in a stack, a VM or a container",
	.about =
		"To the first process of each container. What ends by it is started again where its\nrestart policy says so: `hyb stop` is for what is to stay down.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 1,
	.max_words = -1,
	.kind = WORDS_NAMES,
	.run = run,
};
