/* SPDX-License-Identifier: Apache-2.0 */
/* hyb deploy FILE... */
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "host-agent/cli/changes.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/image.h"
#include "host-agent/cli/input.h"
#include "host-agent/cli/progress.h"
#include "host-agent/cli/verbs.h"

/* hybd ends a deployment that takes too long itself, with the better words. */
#define GRACE_MS 15000

struct args {
	bool dry_run, timings, no_wait;
	struct opt_duration timeout;
};

#define AT(m) offsetof(struct args, m)

static const struct opt opts[] = {
	{'\0', "dry-run", OPT_FLAG, AT(dry_run), NULL,
	 "show what would be done, and do nothing"},
	{'\0', "timings", OPT_FLAG, AT(timings), NULL,
	 "print how long every phase took"},
	{'\0', "timeout", OPT_DURATION, AT(timeout), "TIME",
	 "give up after this, pulls and all (default 120s from when all images "
	 "are there)"},
	{'\0', "no-wait", OPT_FLAG, AT(no_wait), NULL,
	 "return as soon as the deployment is accepted"},
	{'\0', "lossy", OPT_LATER, 0, NULL, NULL},
};

/* The caller's, read once; where they cannot be, why: that counts where an image
 * has to be pulled. */
struct credentials {
	int fd;
	struct err err;
};

static json_t *make_params(const struct input *in, const struct args *a,
			   const struct credentials *auth)
{
	json_t *p = input_params(in);

	if (!p)
		return NULL;
	json_object_set_new(p, "dry_run", json_boolean(a->dry_run));
	json_object_set_new(p, "wait", json_boolean(!a->no_wait));
	if (a->timeout.given)
		json_object_set_new(p, "timeout",
				    json_integer((json_int_t)a->timeout.ms));
	if (auth->err.code)
		json_object_set_new(
			p, "credentials_error",
			json_stringn(auth->err.msg, strlen(auth->err.msg)));
	return p;
}

static const char *stack_names(const json_t *reply, char out[256])
{
	const json_t *stacks = json_object_get(reply, "stacks"), *s;
	_cleanup_buf_ struct buf b = {.max = 4096};
	size_t i;

	json_array_foreach(stacks, i, s) {
		if (json_is_string(s))
			buf_printf(&b, "%s%s", i ? ", " : "",
				   json_string_value(s));
	}
	return text_escape(buf_str(&b), out, 256);
}

static void report(const struct input *in, const struct args *a,
		   struct progress *p, const json_t *reply)
{
	const json_t *changes = json_object_get(reply, "changes");
	char names[256], took[24];
	size_t n = json_array_size(changes);

	stack_names(reply, names);
	if (!names[0])
		snprintf(names, sizeof(names), "%s", in->file);
	if (n == 0)
		printf("%s: nothing to do\n", names);
	else if (a->dry_run)
		changes_print(changes);
	else
		printf("%s: %zu change%s%s in %s\n", names, n,
		       n == 1 ? "" : "s",
		       a->no_wait ? " accepted" : ", all as declared",
		       out_elapsed(now_ms() - p->begin, took));
	if (a->timings && !a->dry_run)
		progress_timings(p, json_object_get(reply, "timings"));
}

/* What goes on, and whether images are being pulled still. */
struct watch {
	struct progress p;
	bool pulling;
};

static void on_event(void *ctx, const json_t *event)
{
	struct watch *w = ctx;
	const char *phase = event ? out_str(event, "phase") : "";

	if (event)
		w->pulling = out_has(event, "done") ||
			     strcmp(phase, "pulled") == 0 ||
			     (w->pulling && strcmp(phase, "failed") == 0);
	progress_on_event(&w->p, event);
}

static void tell_interrupted(const struct watch *w)
{
	if (w->pulling) {
		out_note("interrupted while images were pulled; nothing was "
			 "deployed");
		fputs("hint: deploying again goes on with what is missing\n",
		      stderr);
		return;
	}
	out_note("interrupted; the deployment goes on in hybd");
	fputs("hint: `hyb ps` shows it, `hyb down` takes it down\n", stderr);
}

/* Without a time that the caller gives it is hybd's: that for pulls and then
 * that for the rest. */
static uint64_t patience(const struct args *a)
{
	return GRACE_MS + (a->timeout.given ? a->timeout.ms
					    : CLI_PULL_MS + CLI_TIMEOUT_MS);
}

static int deploy_one(struct vl_conn *c, const struct input *in,
		      const struct args *a, const struct credentials *auth)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;
	struct watch w = {.pulling = false};
	char what[320];
	int st;

	progress_init(&w.p);
	st = client_call_more(c, HOST_IFACE "Deploy", make_params(in, a, auth),
			      &auth->fd, auth->fd < 0 ? 0 : 1, patience(a),
			      on_event, &w, &reply, &e);
	if (st == 0) {
		report(in, a, &w.p, reply.parameters);
		warnings_print(reply.parameters);
	} else if (st == CLI_INTERRUPTED) {
		tell_interrupted(&w);
	} else {
		snprintf(what, sizeof(what), "deploy '%.300s'", in->file);
		/* hybd says which stack; then the file need not be said. */
		cli_fail(st, strncmp(e.msg, "deploy ", 7) == 0 ? "" : what, &e);
	}
	progress_done(&w.p);
	return st;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	struct credentials auth = {.fd = -1};
	struct err e = ERR_INIT;
	struct input *in;
	int i, st;

	in = inputs_load("deploy", n, words, &st);
	if (!in)
		return st;
	image_auth_open(NULL, &auth.fd, &auth.err);
	st = client_open(cli, CLIENT_START, &c, &e);
	if (st)
		cli_fail(st, "deploy", &e);
	else
		client_catch_interrupt();
	for (i = 0; i < n && st == 0; i++)
		st = deploy_one(&c, &in[i], args, &auth);
	cleanup_close(&auth.fd);
	inputs_free(in, n);
	return st;
}

const struct verb cli_verb_deploy = {
	.name = "deploy",
	.words = "FILE...",
	.brief = "Makes what the manifests declare, and waits until it runs",
	.about = "Deploying the same file twice changes nothing and says so. "
		 "'-' is standard\ninput. Interrupted, the deployment goes on "
		 "in hybd.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 1,
	.max_words = -1,
	.kind = WORDS_FILES,
	.run = run,
};
