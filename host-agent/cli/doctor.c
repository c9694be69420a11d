/* SPDX-License-Identifier: Apache-2.0 */
/* hyb doctor [--repair] */
#include "host-agent/cli/doctor.h"

#include "common/base/cleanup.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

#define DOCTOR_MS 60000

struct args {
	bool repair;
	enum out_format format;
};

#define AT(m) offsetof(struct args, m)

static const struct opt opts[] = {
	{'\0', "repair", OPT_FLAG, AT(repair), NULL,
	 "remove what is left over (starts a hybd)"},
	{'o', "output", OPT_FORMAT, AT(format), "table|json", "how to show it"},
};

void doctor_add(json_t *checks, const char *name, const char *status,
		const char *hint, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_array_append_new(checks, json_pack("{s:s,s:s,s:s,s:s}", "name",
						name, "status", status,
						"message", text, "hint", hint));
}

/* hybd's checks; what was looked at from here is not shown twice. */
static void add_hybds(json_t *checks, const json_t *theirs)
{
	json_t *mine = json_object(), *c;
	size_t i;

	json_array_foreach(checks, i, c)
		json_object_set_new(mine, out_str(c, "name"), json_true());
	json_array_foreach(theirs, i, c) {
		if (!json_object_get(mine, out_str(c, "name")))
			json_array_append(checks, c);
	}
	json_decref(mine);
}

/* What hybd finds, where one answers. */
static int ask_hybd(struct cli *cli, bool repair, json_t *checks)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;
	int st;

	st = client_open(cli, repair ? CLIENT_START : 0, &c, &e);
	if (st == CLI_UNREACHABLE && !repair) {
		doctor_add(checks, "hybd", "ok", "",
			   "none serves '%s'; the next command starts one",
			   cli->root);
		return 0;
	}
	if (st == 0)
		st = client_call(&c, HOST_IFACE "Doctor",
				 json_pack("{s:b}", "repair", repair),
				 DOCTOR_MS, &reply, &e);
	if (st) {
		doctor_add(checks, "hybd", "fail", e.hint, "%s", e.msg);
		return st;
	}
	doctor_add(checks, "hybd", "ok", "", "serves '%s'", cli->root);
	add_hybds(checks, json_object_get(reply.parameters, "checks"));
	return 0;
}

static void print(const json_t *checks)
{
	static const struct {
		const char *status;
		enum out_tone tone;
	} tones[] = {{"ok", OUT_GOOD}, {"warn", OUT_BUSY}, {"fail", OUT_BAD}};
	bool colour = out_colour(stdout);
	enum out_tone tone;
	const char *status;
	const json_t *c;
	size_t i, k;

	json_array_foreach(checks, i, c) {
		status = out_str(c, "status");
		tone = OUT_BAD;
		for (k = 0; k < ARRAY_SIZE(tones); k++)
			if (strcmp(tones[k].status, status) == 0)
				tone = tones[k].tone;
		fputs(out_tone_on(tone, colour), stdout);
		printf("%-5.8s", status);
		fputs(out_tone_off(tone, colour), stdout);
		printf(" %-16.40s ", out_str(c, "name"));
		out_text(stdout, out_str(c, "message"));
		putchar('\n');
		if (*out_str(c, "hint")) {
			fputs("      hint: ", stdout);
			out_text(stdout, out_str(c, "hint"));
			putchar('\n');
		}
	}
}

static bool any_failed(const json_t *checks)
{
	const json_t *c;
	size_t i;

	json_array_foreach(checks, i, c) {
		if (strcmp(out_str(c, "status"), "fail") == 0)
			return true;
	}
	return false;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	static const char *const fields[] = {"name", "status", "message",
					     "hint", NULL};
	const struct args *a = args;
	json_t *checks = json_array();
	bool failed;

	(void)n;
	(void)words;
	doctor_kvm(checks);
	doctor_host(checks, cli->root);
	ask_hybd(cli, a->repair, checks);
	if (a->format == OUT_JSON)
		out_json_rows(checks, fields);
	else
		print(checks);
	failed = any_failed(checks);
	json_decref(checks);
	return failed ? CLI_FAILED : CLI_DONE;
}

const struct verb cli_verb_doctor = {
	.name = "doctor",
	.words = "",
	.brief = "Checks the host, and says what to do",
	.about = "Exit status 1: something fails that hyb needs.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.run = run,
};
