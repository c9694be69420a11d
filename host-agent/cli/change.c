/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/change.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/progress.h"

#define GRACE_MS 15000

const struct opt change_opts[1] = {
	CHANGE_OPT_TIMEOUT(struct change_args),
};

static void report(const char *name, const char *done, const json_t *reply,
		   const struct progress *p)
{
	char took[24];

	out_text(stdout, name);
	if (json_array_size(json_object_get(reply, "changes")) == 0)
		puts(": nothing to do");
	else
		printf(": %s in %s\n", done,
		       out_elapsed(now_ms() - p->begin, took));
}

static int change_one(struct vl_conn *c, const char *verb, const char *method,
		      const char *done, uint64_t timeout, const char *name)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;
	struct progress p;
	char what[320];
	json_t *params;
	int st;

	progress_init(&p);
	params = json_pack("{s:s,s:I}", "name", name, "timeout",
			   (json_int_t)timeout);
	st = client_call_more(c, method, params, NULL, 0, timeout + GRACE_MS,
			      progress_on_event, &p, &reply, &e);
	if (st == 0) {
		report(name, done, reply.parameters, &p);
	} else if (st == CLI_INTERRUPTED) {
		out_note("interrupted; hybd goes on with it");
	} else {
		snprintf(what, sizeof(what), "%s '%.256s'", verb, name);
		cli_fail(st, what, &e);
	}
	progress_done(&p);
	return st;
}

int change_run(struct cli *cli, const char *verb, const char *method,
	       const char *done, const struct opt_duration *timeout, int n,
	       char **names)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	struct err e = ERR_INIT;
	uint64_t ms = timeout->given ? timeout->ms : CLI_TIMEOUT_MS;
	int i, st, first = 0;

	st = client_open(cli, CLIENT_START, &c, &e);
	if (st)
		return cli_fail(st, verb, &e);
	client_catch_interrupt();
	for (i = 0; i < n; i++) {
		st = change_one(&c, verb, method, done, ms, names[i]);
		first = first ? first : st;
		if (st == CLI_INTERRUPTED || st == CLI_UNREACHABLE ||
		    st == CLI_TIMED_OUT)
			break;
	}
	return first;
}
