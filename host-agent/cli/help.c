/* SPDX-License-Identifier: Apache-2.0 */
/* `hyb help`, `hyb help VERB`, `hyb VERB --help`: made from the tables. */
#include "common/base/cleanup.h"
#include "host-agent/cli/cli.h"
#include "host-agent/cli/verbs.h"

void cli_help_all(FILE *f)
{
	size_t i;

	fputs("usage: hyb VERB [OPTION...] [WORD...]\n\n"
	      "Containers in VMs of their own, from one YAML file.\n\n",
	      f);
	for (i = 0; cli_verbs[i]; i++)
		if (!cli_verbs[i]->hidden)
			fprintf(f, "  %-15s %s\n", cli_verbs[i]->name,
				cli_verbs[i]->brief);
	fputs("\n`hyb help VERB` tells more. A NAME is stack, stack/vm or "
	      "stack/vm/container.\n",
	      f);
}

static void print_options(FILE *f, const struct opt *opts, size_t n)
{
	char left[64], shortname[8];
	const struct opt *o;
	size_t i;

	for (i = 0; i < n; i++) {
		o = &opts[i];
		if (!o->help)
			continue;
		if (o->short_name)
			snprintf(shortname, sizeof(shortname), "-%c, ",
				 o->short_name);
		else
			snprintf(shortname, sizeof(shortname), "    ");
		snprintf(left, sizeof(left), "%s--%s%s%s", shortname,
			 o->long_name, o->arg ? " " : "", o->arg ? o->arg : "");
		fprintf(f, "  %-28s %s\n", left, o->help);
	}
}

void cli_help_verb(FILE *f, const struct verb *v)
{
	fprintf(f, "usage: hyb %s%s%s%s\n\n%s.\n", v->name,
		v->n_opts ? " [OPTION...]" : "", *v->words ? " " : "", v->words,
		v->brief);
	if (v->about)
		fprintf(f, "\n%s\n", v->about);
	if (v->n_opts) {
		fputs("\noptions:\n", f);
		print_options(f, v->opts, v->n_opts);
	}
	fputs("\noptions of every verb:\n", f);
	print_options(f, cli_global_opts, cli_n_global_opts);
}

bool cli_help_group(FILE *f, const char *word)
{
	size_t i, len = strlen(word);
	bool found = false;

	for (i = 0; cli_verbs[i]; i++) {
		if (strncmp(cli_verbs[i]->name, word, len) != 0 ||
		    cli_verbs[i]->name[len] != ' ')
			continue;
		fprintf(f, "  hyb %-15s %s\n", cli_verbs[i]->name,
			cli_verbs[i]->brief);
		found = true;
	}
	return found;
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	const struct verb *v;
	int used;

	(void)cli;
	(void)args;
	if (n == 0) {
		cli_help_all(stdout);
		return CLI_DONE;
	}
	v = cli_find_verb(n, words, &used);
	if (v && used == n) {
		cli_help_verb(stdout, v);
		return CLI_DONE;
	}
	if (n == 1 && cli_help_group(stdout, words[0]))
		return CLI_DONE;
	return cli_usage("help", "there is no verb '%s%s%s'", words[0],
			 n > 1 ? " " : "", n > 1 ? words[1] : "");
}

const struct verb cli_verb_help = {
	.name = "help",
	.words = "[VERB]",
	.brief = "Shows the verbs, or what one does",
	.max_words = 2,
	.kind = WORDS_VERBS,
	.run = run,
};
