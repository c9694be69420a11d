/* SPDX-License-Identifier: Apache-2.0 */
/* hyb volume snapshot · restore */
#include "common/base/cleanup.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

/* A copy of many gigabytes takes its time. */
#define COPY_MS ((uint64_t)3600 * 1000)

static int call_one(struct cli *cli, const char *verb, const char *method,
		    const char *done, const char *name)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	struct err e = ERR_INIT;
	char what[320];
	int st;

	if (!strchr(name, '@'))
		return cli_usage(verb, "write VOLUME@SNAPSHOT");
	st = client_open(cli, CLIENT_START, &c, &e);
	if (st == 0)
		st = client_call(&c, method, json_pack("{s:s}", "name", name),
				 COPY_MS, &reply, &e);
	if (st) {
		snprintf(what, sizeof(what), "%s '%.256s'", verb, name);
		return cli_fail(st, what, &e);
	}
	out_text(stdout, name);
	printf(": %s\n", done);
	return CLI_DONE;
}

static int run_snapshot(struct cli *cli, const void *args, int n, char **words)
{
	(void)args;
	(void)n;
	return call_one(cli, "volume snapshot", HOST_IFACE "VolumeSnapshot",
			"taken", words[0]);
}

const struct verb cli_verb_volume_snapshot = {
	.name = "volume snapshot",
	.words = "VOLUME@SNAPSHOT",
	.brief = "Takes a copy of a volume as it is now",
	.about = "What writes to it waits for as long as the copy takes (an "
		 "instant where the\nhost's file system has reflinks). `hyb "
		 "volume inspect` lists them, `hyb volume rm\n"
		 "VOLUME@SNAPSHOT` removes one.",
	.min_words = 1,
	.max_words = 1,
	.run = run_snapshot,
};

static int run_restore(struct cli *cli, const void *args, int n, char **words)
{
	(void)args;
	(void)n;
	return call_one(cli, "volume restore", HOST_IFACE "VolumeRestore",
			"restored", words[0]);
}

const struct verb cli_verb_volume_restore = {
	.name = "volume restore",
	.words = "VOLUME@SNAPSHOT",
	.brief = "Makes a volume that is not in use what it was then",
	.about = "What was written since is gone.",
	.min_words = 1,
	.max_words = 1,
	.run = run_restore,
};
