/* SPDX-License-Identifier: Apache-2.0 */
/* hyb completion bash|zsh|fish: short scripts that ask `hyb __complete`. */
#include "common/base/cleanup.h"
#include "host-agent/cli/verbs.h"

static const char bash[] =
	"# bash completion of hyb: source <(hyb completion bash)\n"
	"_hyb() {\n"
	"	local cur words out line\n"
	"	COMPREPLY=()\n"
	"	cur=${COMP_LINE:0:COMP_POINT}\n"
	"	read -ra words <<<\"$cur\"\n"
	"	[[ $cur == *[[:space:]] ]] && words+=(\"\")\n"
	"	out=$(\"${words[0]}\" __complete -- \"${words[@]:1}\" 2>/dev/null)\n"
	"	cur=${words[-1]}\n"
	"	while IFS= read -r line; do\n"
	"		case $line in\n"
	"		'') ;;\n"
	"		:files) compopt -o filenames\n"
	"			mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
	"		*) COMPREPLY+=(\"$line\") ;;\n"
	"		esac\n"
	"	done <<<\"$out\"\n"
	"	# readline takes a colon for the end of a word\n"
	"	if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then\n"
	"		local cut=${cur%\"${cur##*:}\"} i\n"
	"		for i in \"${!COMPREPLY[@]}\"; do COMPREPLY[i]=${COMPREPLY[i]#\"$cut\"}; done\n"
	"	fi\n"
	"}\n"
	"complete -F _hyb hyb\n";

static const char zsh[] =
	"#compdef hyb\n"
	"# zsh completion of hyb: source <(hyb completion zsh)\n"
	"_hyb() {\n"
	"	local -a out list\n"
	"	out=(${(f)\"$(${words[1]} __complete -- \"${(@)words[2,$CURRENT]}\" 2>/dev/null)\"})\n"
	"	list=(${out:#:files})\n"
	"	(( $#list )) && compadd -a list\n"
	"	(( ${out[(Ie):files]} )) && _files\n"
	"}\n"
	"if [[ $funcstack[1] == _hyb ]]; then _hyb \"$@\"; else compdef _hyb hyb; fi\n";

static const char fish[] =
	"# fish completion of hyb: hyb completion fish | source\n"
	"function __hyb_complete\n"
	"	set -l words (commandline -opc) (commandline -ct)\n"
	"	for line in ($words[1] __complete -- $words[2..-1] 2>/dev/null)\n"
	"		if test \"$line\" = :files\n"
	"			__fish_complete_path (commandline -ct)\n"
	"		else\n"
	"			echo $line\n"
	"		end\n"
	"	end\n"
	"end\n"
	"complete -c hyb -f -a '(__hyb_complete)'\n";

static int run(struct cli *cli, const void *args, int n, char **words)
{
	static const struct {
		const char *name, *text;
	} shells[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
	size_t i;

	(void)cli;
	(void)args;
	(void)n;
	for (i = 0; i < ARRAY_SIZE(shells); i++) {
		if (strcmp(shells[i].name, words[0]) == 0) {
			fputs(shells[i].text, stdout);
			return CLI_DONE;
		}
	}
	return cli_usage("completion", "'%s' is none of bash, zsh, fish",
			 words[0]);
}

const struct verb cli_verb_completion = {
	.name = "completion",
	.words = "bash|zsh|fish",
	.brief = "Prints a shell's completion script",
	.about = "For bash: source <(hyb completion bash)",
	.min_words = 1,
	.max_words = 1,
	.kind = WORDS_SHELLS,
	.run = run,
};
