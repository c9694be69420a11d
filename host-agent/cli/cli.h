/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hyb, the command line. A table of verbs (verbs.c), one verb per file; each
 * verb is a table of options, a struct that they fill and a function.
 */
#ifndef HYB_HOST_AGENT_CLI_CLI_H
#define HYB_HOST_AGENT_CLI_CLI_H

#include "host-agent/cli/opt.h"
#include "host-agent/cli/out.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit status, as docs/cli.md lists it. */
enum cli_status {
	CLI_DONE = 0,
	CLI_FAILED = 1,
	CLI_USAGE = 2,
	CLI_MANIFEST = 3,
	CLI_NOT_FOUND = 4,
	CLI_DENIED = 5,
	CLI_TIMED_OUT = 6,
	CLI_UNREACHABLE = 7,
	CLI_CHANGES = 8,
	CLI_EXEC_FAILED = 125,
	CLI_INTERRUPTED = 130
};

#define CLI_DEFAULT_ROOT   "/var/lib/hyb"
#define CLI_DEFAULT_SOCKET "/run/hyb/hybd.sock"
/* How long a call may take that only looks. */
#define CLI_QUICK_MS 30000
/* How long a call may take that brings something about, by default. */
#define CLI_TIMEOUT_MS 120000
/* hybd's own limit of pulls. */
#define CLI_PULL_MS ((uint64_t)3600 * 1000)

/* What holds for every verb. */
struct cli {
	const char *root_option; /* as given, else from the environment */
	const char *connect;	 /* NULL: hybd's default */
	const char *accel;	 /* NULL: hybd's default */
	const char *tenant;	 /* NULL: whom the caller acts for */
	bool help;
	char root[256]; /* absolute */
	char socket[256];
};

/* What a verb's words are, for completion. */
enum cli_words {
	WORDS_NONE,
	WORDS_FILES,
	WORDS_NAMES,
	WORDS_IMAGES,
	WORDS_VERBS,
	WORDS_SHELLS
};

struct verb {
	const char *name;  /* one word, or two: "image load" */
	const char *words; /* usage behind the options: "NAME..." */
	const char *brief; /* one line */
	const char *about; /* more, or NULL */
	const struct opt *opts;
	size_t n_opts;
	size_t args_size;	  /* of the struct that opts fill */
	int min_words, max_words; /* max -1: any number */
	bool stop_early;	  /* OPT_STOP_EARLY */
	bool hidden;
	enum cli_words kind;
	/* Exit status. args: zeroed, then filled by the options. */
	int (*run)(struct cli *cli, const void *args, int n, char **words);
};

#define CLI_ARGS_MAX ((size_t)256)

/* verbs.c: the table; names of the design that are not built yet. Both end
 * with a NULL name. */
extern const struct verb *const cli_verbs[];
extern const char *const cli_later[];
/* The options that every verb takes (struct cli). */
extern const struct opt cli_global_opts[];
extern const size_t cli_n_global_opts;

/* main() without the process: the exit status. */
int cli_main(int argc, char **argv);
/* The verb of words[0] (and words[1]); *ret_used: how many. NULL: none. */
const struct verb *cli_find_verb(int n, char **words, int *ret_used);
/* The environment and the options into cli->root and so on. */
int cli_settle(struct cli *cli, struct err *e);

/* Prints the error and gives the status back. */
int cli_fail(int status, const char *what, const struct err *e);
/* As cli_fail(CLI_USAGE, verb, ...) with a hint at `hyb help VERB`. */
int cli_usage(const char *verb, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* 0, or as cli_usage() where a word that names something is not UTF-8. */
int cli_text(const char *verb, const char *word);

/* A signalfd of SIGINT, SIGTERM and SIGHUP, which are blocked from then on: for
 * verbs that wait in poll() until they are ended. -1: errno. */
int cli_end_signals(void);

/* help.c */
void cli_help_all(FILE *f);
void cli_help_verb(FILE *f, const struct verb *v);
/* The verbs of two words that begin with this one; false: there are none. */
bool cli_help_group(FILE *f, const char *word);

#endif
