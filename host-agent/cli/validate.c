/* SPDX-License-Identifier: Apache-2.0 */
/* hyb validate FILE...: no hybd needed. */
#include "common/base/cleanup.h"
#include "host-agent/cli/input.h"
#include "host-agent/cli/verbs.h"

struct args {
	bool quiet;
};

static const struct opt opts[] = {
	{'q', "quiet", OPT_FLAG, offsetof(struct args, quiet), NULL,
	 "say nothing where all is well"},
};

static int run(struct cli *cli, const void *args, int n, char **words)
{
	const struct args *a = args;
	struct input *in;
	int i, st;

	(void)cli;
	in = inputs_load("validate", n, words, &st);
	for (i = 0; in && !a->quiet && i < n; i++) {
		out_text(stdout, in[i].file);
		printf(": valid, %zu stack%s", in[i].n_stacks,
		       in[i].n_stacks == 1 ? "" : "s");
		if (in[i].n_tenants)
			printf(", %zu tenant%s", in[i].n_tenants,
			       in[i].n_tenants == 1 ? "" : "s");
		putchar('\n');
	}
	inputs_free(in, n);
	return st;
}

const struct verb cli_verb_validate = {
	.name = "validate",
	.words = "FILE...",
	.brief = "Checks manifests, showing every error with its place",
	.about = "Exit status 3: there are errors. env_files are read too. No "
		 "hybd is needed.",
	.opts = opts,
	.n_opts = ARRAY_SIZE(opts),
	.args_size = sizeof(struct args),
	.min_words = 1,
	.max_words = -1,
	.kind = WORDS_FILES,
	.run = run,
};
