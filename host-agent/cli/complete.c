/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hyb __complete -- WORD...: what may stand in the place of the last word, one
 * candidate a line; ":files" where it is a file. The scripts of
 * `hyb completion` call it. It never starts a hybd and never complains.
 */
#include "common/base/cleanup.h"
#include "host-agent/cli/client.h"
#include "host-agent/cli/verbs.h"

#define CANDIDATES_MS 1500

/* Only what a shell takes without quotes. */
static bool is_plain(const char *s)
{
	return *s && s[strspn(s, "abcdefghijklmnopqrstuvwxyz"
				 "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				 "0123456789-_./:@+=")] == '\0';
}

static void offer(const char *candidate, const char *prefix)
{
	if (is_plain(candidate) &&
	    strncmp(candidate, prefix, strlen(prefix)) == 0)
		puts(candidate);
}

static void offer_options(const struct opt *opts, size_t n, const char *prefix)
{
	char text[80];
	size_t i;

	for (i = 0; i < n; i++) {
		if (!opts[i].help)
			continue;
		snprintf(text, sizeof(text), "--%s", opts[i].long_name);
		offer(text, prefix);
	}
}

/* The n-th words of the verbs whose first words are these. */
static void offer_verbs(int n, char **words, const char *prefix)
{
	const char *name, *space;
	char word[64], last[64] = "";
	size_t i, len;

	for (i = 0; cli_verbs[i]; i++) {
		name = cli_verbs[i]->name;
		if (cli_verbs[i]->hidden)
			continue;
		space = strchr(name, ' ');
		len = space ? (size_t)(space - name) : strlen(name);
		if (n == 0) {
			snprintf(word, sizeof(word), "%.*s", (int)len, name);
			if (strcmp(word, last) != 0)
				offer(word, prefix);
			snprintf(last, sizeof(last), "%.63s", word);
		} else if (space && strlen(words[0]) == len &&
			   strncmp(words[0], name, len) == 0) {
			offer(space + 1, prefix);
		}
	}
}

static void offer_rows(const json_t *rows, const char *key, const char *prefix)
{
	const json_t *row;
	const char *s;
	size_t i;

	json_array_foreach(rows, i, row) {
		s = json_is_string(row) ? json_string_value(row)
					: out_str(row, key);
		offer(s, prefix);
	}
}

/* Asks hybd, if there is one. */
static void offer_known(struct cli *cli, const char *method, const char *list,
			const char *key, const char *prefix)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	bool images = strcmp(list, "images") == 0;
	json_t *params = images ? NULL : json_pack("{s:s}", "name", "");
	struct err e = ERR_INIT;

	cli->connect = NULL;
	cli->accel = NULL;
	if (client_open(cli, 0, &c, &e)) {
		json_decref(params);
		return;
	}
	if (client_call(&c, method, params, CANDIDATES_MS, &reply, &e) == 0)
		offer_rows(json_object_get(reply.parameters, list), key,
			   prefix);
}

static void offer_words(struct cli *cli, const struct verb *v,
			const char *prefix)
{
	static const char *const shells[] = {"bash", "zsh", "fish"};
	size_t i;

	switch (v->kind) {
	case WORDS_NONE:
		break;
	case WORDS_FILES:
		puts(":files");
		break;
	case WORDS_NAMES:
		offer_known(cli, HOST_IFACE "Resolve", "names", "name", prefix);
		break;
	case WORDS_IMAGES:
		offer_known(cli, HOST_IFACE "ImageList", "images", "name",
			    prefix);
		break;
	case WORDS_VERBS:
		offer_verbs(0, NULL, prefix);
		break;
	case WORDS_SHELLS:
		for (i = 0; i < ARRAY_SIZE(shells); i++)
			offer(shells[i], prefix);
		break;
	}
}

/* Is the word before an option that wants a value? */
static const struct opt *open_option(const struct verb *v, const char *word)
{
	const struct opt *o;
	size_t i;

	for (i = 0; word[0] == '-' && i < v->n_opts; i++) {
		o = &v->opts[i];
		if (!opt_takes_value(o))
			continue;
		if (word[1] == '-'
			    ? strcmp(o->long_name, word + 2) == 0
			    : o->short_name && word[1] == o->short_name &&
				      !word[2])
			return o;
	}
	return NULL;
}

static void offer_value(struct cli *cli, const struct opt *o,
			const char *prefix)
{
	if (o->type == OPT_FORMAT) {
		offer("table", prefix);
		offer("json", prefix);
	} else if (o->arg && strcmp(o->arg, "FILE") == 0) {
		puts(":files");
	} else if (o->arg && strcmp(o->arg, "SESSION") == 0) {
		offer_known(cli, HOST_IFACE "ExecList", "rows", "session",
			    prefix);
	}
}

static int run(struct cli *cli, const void *args, int n, char **words)
{
	const struct verb *v;
	const struct opt *o;
	const char *last;
	int used = 0;

	(void)args;
	if (n == 0)
		return CLI_DONE;
	last = words[n - 1];
	v = cli_find_verb(n - 1, words, &used);
	if (!v) {
		if (n <= 2 && last[0] != '-')
			offer_verbs(n - 1, words, last);
		else
			offer_options(cli_global_opts, cli_n_global_opts, last);
		return CLI_DONE;
	}
	o = n - 1 > used ? open_option(v, words[n - 2]) : NULL;
	if (o) {
		offer_value(cli, o, last);
	} else if (last[0] == '-') {
		offer_options(v->opts, v->n_opts, last);
		offer_options(cli_global_opts, cli_n_global_opts, last);
	} else {
		offer_words(cli, v, last);
	}
	return CLI_DONE;
}

const struct verb cli_verb_complete = {
	.name = "__complete",
	.words = "WORD...",
	.brief = "Candidates for a shell's completion",
	.max_words = -1,
	.stop_early = true,
	.hidden = true,
	.run = run,
};
