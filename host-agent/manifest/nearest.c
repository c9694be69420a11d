/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody may have meant who wrote a word that we do not know. */
#include "host-agent/manifest/fields.h"

#include <ctype.h>
#include <string.h>

#define WORD_MAX 32

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

/* Letters only differ in case, and '-' stands for '_': "workingDir" and
 * "working-dir" are near to "working_dir". */
static size_t fold(const char *s, char *out)
{
	size_t i;

	for (i = 0; s[i] && i < WORD_MAX; i++) {
		out[i] = (char)tolower((unsigned char)s[i]);
		if (out[i] == '-')
			out[i] = '_';
	}
	return i;
}

/* Edit distance with exchanged neighbours as one step (optimal string
 * alignment). */
static size_t distance(const char *a, size_t n, const char *b, size_t m)
{
	size_t d[3][WORD_MAX + 1];
	size_t i, j, cost, *row, *before, *two_before;

	for (j = 0; j <= m; j++)
		d[0][j] = j;
	for (i = 1; i <= n; i++) {
		row = d[i % 3];
		before = d[(i + 2) % 3];
		two_before = d[(i + 1) % 3];
		row[0] = i;
		for (j = 1; j <= m; j++) {
			cost = a[i - 1] != b[j - 1];
			row[j] = min3(before[j] + 1, row[j - 1] + 1,
				      before[j - 1] + cost);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] &&
			    a[i - 2] == b[j - 1] &&
			    two_before[j - 2] + 1 < row[j])
				row[j] = two_before[j - 2] + 1;
		}
	}
	return d[n % 3][m];
}

const char *nearest_name(const char *s, const char *const *names, size_t n)
{
	char a[WORD_MAX], b[WORD_MAX];
	const char *best = NULL;
	size_t i, la, lb, dist, most;

	if (strlen(s) > WORD_MAX)
		return NULL;
	la = fold(s, a);
	if (la == 0)
		return NULL;
	/* A third of the letters may be wrong, and never all of them. */
	most = la <= 2 ? la - 1 : la <= 4 ? 1 : la <= 8 ? 2 : la / 3;
	for (i = 0; i < n; i++) {
		lb = fold(names[i], b);
		dist = distance(a, la, b, lb);
		if (dist <= most && dist < lb) {
			best = names[i];
			if (dist == 0)
				break;
			most = dist - 1;
		}
	}
	/* The beginning of a longer name, or a longer form of one. */
	for (i = 0; !best && la >= 4 && i < n; i++) {
		lb = fold(names[i], b);
		if (lb >= 4 && memcmp(a, b, la < lb ? la : lb) == 0)
			best = names[i];
	}
	return best;
}
