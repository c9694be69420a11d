/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/opt.h"

#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "host-agent/cli/out.h"

#define WORD_MAX     ((size_t)32)
#define OPTS_MAX     ((size_t)48)
#define OPTS_IN_SETS ((size_t)2)

/* What a run of the parser knows. */
struct parser {
	const struct opt_set *sets;
	size_t n_sets;
	int argc, at;
	char **argv;
	bool seen[OPTS_IN_SETS][OPTS_MAX];
};

struct found {
	const struct opt *opt;
	size_t set, index;
};

/* ------------------------------------------------------------ suggestions */

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/* Edits (insert, delete, replace, swap) from a to b; both at most WORD_MAX. */
static size_t edit_distance(const char *a, const char *b)
{
	size_t d[WORD_MAX + 1][WORD_MAX + 1];
	size_t la = strlen(a), lb = strlen(b), i, j, cost;

	for (i = 0; i <= la; i++)
		d[i][0] = i;
	for (j = 0; j <= lb; j++)
		d[0][j] = j;
	for (i = 1; i <= la; i++) {
		for (j = 1; j <= lb; j++) {
			cost = a[i - 1] != b[j - 1];
			d[i][j] = min3(d[i - 1][j] + 1, d[i][j - 1] + 1,
				       d[i - 1][j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1] &&
			    d[i - 2][j - 2] + 1 < d[i][j])
				d[i][j] = d[i - 2][j - 2] + 1;
		}
	}
	return d[la][lb];
}

const char *opt_nearest(const char *word, size_t n,
			const char *(*next)(const void *ctx, size_t i),
			const void *ctx)
{
	size_t i, d, len = strlen(word), best_d = 1 + len / 3;
	const char *best = NULL, *s;

	if (len == 0 || len > WORD_MAX)
		return NULL;
	for (i = 0; i < n; i++) {
		s = next(ctx, i);
		if (!s || strlen(s) > WORD_MAX)
			continue;
		d = edit_distance(word, s);
		/* "--out" for "--output": a beginning counts as near. */
		if (len >= 3 && strncmp(word, s, len) == 0)
			d = 1;
		if (d < best_d || (d == best_d && !best)) {
			best_d = d;
			best = s;
		}
	}
	return best;
}

static const char *next_long(const void *ctx, size_t i)
{
	const struct parser *p = ctx;
	size_t s;

	for (s = 0; s < p->n_sets; s++) {
		if (i < p->sets[s].n)
			return p->sets[s].opts[i].long_name;
		i -= p->sets[s].n;
	}
	return NULL;
}

static int unknown_long(const struct parser *p, const char *name, struct err *e)
{
	char shown[64];
	const char *near;
	size_t n = 0, i;

	for (i = 0; i < p->n_sets; i++)
		n += p->sets[i].n;
	near = opt_nearest(name, n, next_long, p);
	err_set(e, EINVAL, "unknown option '--%s'",
		text_escape(name, shown, sizeof(shown)));
	if (near)
		err_hint(e, "did you mean '--%s'?", near);
	return -EINVAL;
}

/* ----------------------------------------------------------------- values */

bool opt_takes_value(const struct opt *o)
{
	return o->type != OPT_FLAG && (o->type != OPT_LATER || o->arg);
}

static int list_add(struct opt_list *l, const char *value)
{
	const char **v = reallocarray(l->v, l->n + 1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v[l->n++] = value;
	l->v = v;
	return 0;
}

static int set_duration(struct opt_duration *d, const char *value)
{
	uint64_t ns;
	int r = parse_duration(value, &ns);

	if (r < 0)
		return r;
	d->given = true;
	d->ms = (ns + 999999) / 1000000;
	return 0;
}

static int set_format(enum out_format *f, const char *value)
{
	if (strcmp(value, "json") == 0)
		*f = OUT_JSON;
	else if (strcmp(value, "table") == 0)
		*f = OUT_TABLE;
	else
		return -EINVAL;
	return 0;
}

static int set_value(const struct opt *o, char *out, const char *value,
		     struct err *e)
{
	static const char *const rules[] = {
		[OPT_DURATION] = "is no duration (like 30s, 1m30s, 500ms)",
		[OPT_FORMAT] = "must be table or json",
		[OPT_LIST] = "is one too many",
		[OPT_LATER] = ""};
	void *dst = out + o->offset;
	char shown[96];
	int r = 0;

	switch (o->type) {
	case OPT_FLAG:
		*(bool *)dst = true;
		return 0;
	case OPT_STRING:
		*(const char **)dst = value;
		return 0;
	case OPT_LIST:
		r = list_add(dst, value);
		break;
	case OPT_DURATION:
		r = set_duration(dst, value);
		break;
	case OPT_FORMAT:
		r = set_format(dst, value);
		break;
	case OPT_LATER:
		break;
	}
	if (r < 0)
		return err_set(e, EINVAL, "option '--%s': '%s' %s",
			       o->long_name,
			       text_escape(value, shown, sizeof(shown)),
			       rules[o->type]);
	return 0;
}

/* Stores one option; value NULL: none was given with "=". */
static int take(struct parser *p, const struct found *f, const char *value,
		struct err *e)
{
	const struct opt *o = f->opt;

	if (o->type == OPT_LATER) {
		err_set(e, EINVAL, "option '--%s': not supported yet",
			o->long_name);
		err_hint(e, "leave it out");
		return -EINVAL;
	}
	if (p->seen[f->set][f->index] && o->type != OPT_LIST &&
	    o->type != OPT_FLAG)
		return err_set(e, EINVAL, "option '--%s' is given twice",
			       o->long_name);
	p->seen[f->set][f->index] = true;
	if (!opt_takes_value(o) && value)
		return err_set(e, EINVAL, "option '--%s' takes no value",
			       o->long_name);
	if (opt_takes_value(o) && !value) {
		if (p->at >= p->argc)
			return err_set(e, EINVAL, "option '--%s' needs %s",
				       o->long_name, o->arg);
		value = p->argv[p->at++];
	}
	return set_value(o, p->sets[f->set].out, value, e);
}

/* ---------------------------------------------------------------- parsing */

static bool find(const struct parser *p, const char *name, size_t len,
		 char short_name, struct found *f)
{
	const struct opt *o;
	size_t s, i;

	for (s = 0; s < p->n_sets; s++) {
		for (i = 0; i < p->sets[s].n; i++) {
			o = &p->sets[s].opts[i];
			if (name ? strlen(o->long_name) == len &&
					    strncmp(o->long_name, name, len) ==
						    0
				 : o->short_name == short_name) {
				*f = (struct found){o, s, i};
				return true;
			}
		}
	}
	return false;
}

static int parse_long(struct parser *p, const char *arg, struct err *e)
{
	const char *name = arg + 2, *eq = strchr(name, '=');
	size_t len = eq ? (size_t)(eq - name) : strlen(name);
	char word[WORD_MAX * 2];
	struct found f;

	if (!find(p, name, len, '\0', &f)) {
		snprintf(word, sizeof(word), "%.*s",
			 len < sizeof(word) ? (int)len : (int)sizeof(word) - 1,
			 name);
		return unknown_long(p, word, e);
	}
	return take(p, &f, eq ? eq + 1 : NULL, e);
}

static int parse_short(struct parser *p, const char *arg, struct err *e)
{
	struct found f;
	char shown[8], one[2] = "";
	int r;

	for (arg++; *arg; arg++) {
		if (!find(p, NULL, 0, *arg, &f)) {
			one[0] = *arg;
			return err_set(e, EINVAL, "unknown option '-%s'",
				       text_escape(one, shown, sizeof(shown)));
		}
		if (opt_takes_value(f.opt) && arg[1]) {
			arg++;
			return take(p, &f, *arg == '=' ? arg + 1 : arg, e);
		}
		r = take(p, &f, NULL, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int opt_parse(const struct opt_set *sets, size_t n_sets, unsigned int flags,
	      int argc, char **argv, char **words, int *ret_n, struct err *e)
{
	struct parser p = {
		.sets = sets, .n_sets = n_sets, .argc = argc, .argv = argv};
	bool ended = false;
	int n = 0, r;
	char *arg;

	while (p.at < argc) {
		arg = argv[p.at++];
		if (!ended && strcmp(arg, "--") == 0) {
			ended = true;
			continue;
		}
		if (ended || arg[0] != '-' || arg[1] == '\0') {
			words[n++] = arg;
			if (!(flags & OPT_STOP_EARLY))
				continue;
			while (p.at < argc)
				words[n++] = argv[p.at++];
			break;
		}
		r = arg[1] == '-' ? parse_long(&p, arg, e)
				  : parse_short(&p, arg, e);
		if (r < 0)
			return r;
	}
	*ret_n = n;
	return 0;
}

void opt_release(const struct opt_set *set)
{
	struct opt_list *l;
	size_t i;

	for (i = 0; i < set->n; i++) {
		if (set->opts[i].type != OPT_LIST)
			continue;
		l = (struct opt_list *)(void *)((char *)set->out +
						set->opts[i].offset);
		free(l->v);
		l->v = NULL;
		l->n = 0;
	}
}
