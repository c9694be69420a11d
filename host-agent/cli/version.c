/* SPDX-License-Identifier: Apache-2.0 */
/* hyb version */
#include "common/base/cleanup.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

struct args {
	bool client;
	enum out_format format;
};

static const struct opt opts[] = {
	{'\0', "client", OPT_FLAG, offsetof(struct args, client), NULL,
	 "hyb's own only: no hybd is needed"},
	{'o', "output", OPT_FORMAT, offsetof(struct args, format), "table|json",
	 "how to show it"},
};

static void print_text(const json_t *hybd)
{
	static const char *const shown[] = {"version",	 "root", "connect",
					    "libvirt",	 "qemu", "accelerator",
					    "isolation", NULL};
	size_t i;

	printf("hyb    %s\n", HYB_VERSION);
	if (!hybd)
		return;
	printf("hybd   ");
	out_text(stdout, out_str(hybd, "version"));
	printf(" (pid %lld)\n", (long long)out_int(hybd, "pid", 0));
	for (i = 1; shown[i]; i++) {
		if (!*out_str(hybd, shown[i]))
			continue;
		printf("  %-12s ", shown[i]);
		out_text(stdout, out_str(hybd, shown[i]));
		putchar('\n');
	}
}

static void print(const struct args *a, const json_t *hybd)
{
	json_t *o;

	if (a->format != OUT_JSON) {
		print_text(hybd);
		return;
	}
	o = json_pack("{s:s}", "version", HYB_VERSION);
	if (hybd)
		json_object_set(o, "hybd", (json_t *)(uintptr_t)hybd);
	out_json(o);
	json_decref(o);
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	const struct args *a = args;
	struct err e = ERR_INIT;
	int st;

	(void)n;
	(void)words;
	if (a->client) {
		print(a, NULL);
		return CLI_DONE;
	}
	st = client_one(cli, HOST_IFACE "Version", NULL, &reply, &e);
	print(a, st ? NULL : reply.parameters);
	return st ? cli_fail(st, "version", &e) : CLI_DONE;
}

const struct verb cli_verb_version = {
	.name = "version",
	.words = "",
	.brief = "Shows the versions of hyb, hybd and what they use",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.run = run,
};
