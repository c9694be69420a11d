/* SPDX-License-Identifier: Apache-2.0 */
/* hyb image pull REF */
#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/image.h"
#include "host-agent/cli/progress.h"
#include "host-agent/cli/verbs.h"

struct args {
	const char *authfile, *tls_verify, *platform;
	enum out_format format;
};

#define AT(m) offsetof(struct args, m)

static const struct opt opts[] = {
	{'\0', "authfile", OPT_STRING, AT(authfile), "FILE",
	 "credentials of registries (default: those of `skopeo login`)"},
	{'\0', "tls-verify", OPT_STRING, AT(tls_verify), "true|false",
	 "false: also plain HTTP and unknown certificates"},
	{'\0', "platform", OPT_STRING, AT(platform), "OS/ARCH[/VARIANT]",
	 "which image of an index for several"},
	{'o', "output", OPT_FORMAT, AT(format), "table|json", "how to show it"},
};

static int tls_verify(const struct args *a, bool *ret)
{
	*ret = true;
	if (a->tls_verify && parse_bool(a->tls_verify, ret) < 0)
		return cli_usage("image pull",
				 "--tls-verify: '%s' is neither true nor false",
				 a->tls_verify);
	return 0;
}

static int pull(struct cli *cli, const struct args *a, json_t *params, int auth,
		struct err *e)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct progress p;
	int st;

	st = client_open(cli, CLIENT_START, &c, e);
	if (st)
		return st;
	progress_init(&p);
	client_catch_interrupt();
	st = client_call_more(&c, HOST_IFACE "ImagePull", json_incref(params),
			      &auth, auth < 0 ? 0 : 1, CLI_PULL_MS,
			      progress_on_event, &p, &reply, e);
	progress_clear(&p);
	progress_done(&p);
	if (st == 0)
		image_print(json_object_get(reply.parameters, "images"),
			    a->format, false);
	return st;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	const struct args *a = args;
	_cleanup_close_ int auth = -1;
	struct err e = ERR_INIT;
	json_t *params;
	bool verify;
	int st;

	(void)n;
	st = tls_verify(a, &verify);
	if (st)
		return st;
	params = json_pack("{s:s,s:b}", "reference", words[0], "tls_verify",
			   verify);
	if (a->platform && json_object_set_new(params, "platform",
					       json_string(a->platform)) < 0) {
		json_decref(params);
		return cli_usage("image pull", "--platform is not UTF-8");
	}
	st = image_auth_open(a->authfile, &auth, &e) < 0
		     ? CLI_FAILED
		     : pull(cli, a, params, auth, &e);
	json_decref(params);
	return st ? image_fail(st, "pull", words[0], &e) : st;
}

const struct verb cli_verb_image_pull = {
	.name = "image pull",
	.words = "REF",
	.brief = "Fetches an image from a registry into the store",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 1,
	.max_words = 1,
	.kind = WORDS_NONE,
	.run = run,
};
