/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one option parser: tables of options into plain structs, strictly. Long
 * and short options, `--opt=value`, `--opt value`, `-ovalue`, bundles of
 * flags (`-it`), `--` ends the options. An unknown option is an error that
 * names the nearest known one. No value is ever dropped: an option given
 * twice is an error unless it is a list.
 */
#ifndef HYB_HOST_AGENT_CLI_OPT_H
#define HYB_HOST_AGENT_CLI_OPT_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum opt_type {
	OPT_FLAG,     /* bool */
	OPT_STRING,   /* const char *, borrowed from argv */
	OPT_LIST,     /* struct opt_list */
	OPT_DURATION, /* struct opt_duration */
	OPT_FORMAT,   /* enum out_format: "table" or "json" */
	OPT_LATER     /* refused: not supported yet */
};

/* Values in the order given; opt_release() frees the array. */
struct opt_list {
	const char **v;
	size_t n;
};

struct opt_duration {
	bool given;
	uint64_t ms;
};

struct opt {
	char short_name; /* '\0': none */
	const char *long_name;
	enum opt_type type;
	size_t offset;	  /* in the struct that is filled */
	const char *arg;  /* what the help calls the value; NULL: none */
	const char *help; /* NULL: not shown */
};

/* A table and the struct that it fills (zeroed by the caller). */
struct opt_set {
	const struct opt *opts;
	size_t n;
	void *out;
};

enum opt_flags {
	OPT_STOP_EARLY = 1 /* the first word that is no option ends them */
};

/* Reads argv[0 ... argc) into the sets; the other words go to words[argc] in
 * order. With OPT_STOP_EARLY the words are all that follows, a leading "--"
 * included only when it comes behind a word. -EINVAL and e otherwise. */
int opt_parse(const struct opt_set *sets, size_t n_sets, unsigned int flags,
	      int argc, char **argv, char **words, int *ret_n, struct err *e);
/* Frees what lists hold. */
void opt_release(const struct opt_set *set);

/* Does the option take a value? */
bool opt_takes_value(const struct opt *o);

/* The nearest of n words to a misspelt one, or NULL where none is near.
 * next(ctx, i) gives the i-th. */
const char *opt_nearest(const char *word, size_t n,
			const char *(*next)(const void *ctx, size_t i),
			const void *ctx);

#endif
