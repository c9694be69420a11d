/* SPDX-License-Identifier: Apache-2.0 */
/* A TOML document, such as registries.conf: what is told of it is bounded, and
 * an error names a line that is there. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/toml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
	size_t n, stop; /* calls; the one that ends it */
	int index;	/* of the last one, in its array */
};

static int on_string(void *arg, const char *table, const char *key, int index,
		     const char *value, struct err *e)
{
	struct seen *s = arg;

	assert(table && key && index >= -1);
	assert(strlen(table) < 2 * HYB_TOML_TEXT_MAX);
	assert(strlen(key) < HYB_TOML_TEXT_MAX);
	assert(value || index == -1);
	assert(!value || strlen(value) < HYB_TOML_TEXT_MAX);
	s->index = index;
	if (++s->n == s->stop)
		return err_set(e, ECANCELED, "enough");
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seen s = {.n = 0}, again;
	struct err e = ERR_INIT, e2 = ERR_INIT;
	char *text = malloc(size + 1);
	size_t i, lines = 1;
	int r;

	if (!text)
		abort();
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	for (i = 0; text[i]; i++)
		lines += text[i] == '\n';
	r = toml_read(text, on_string, &s, &e);
	assert(r <= 0);
	if (r < 0) {
		assert(r == -EINVAL && strncmp(e.msg, "line ", 5) == 0);
		assert(strtoul(e.msg + 5, NULL, 10) >= 1);
		assert(strtoul(e.msg + 5, NULL, 10) <= lines);
	}
	/* Who ends it at the last string has seen the same. */
	again = (struct seen){.stop = s.n};
	if (s.n > 0) {
		assert(toml_read(text, on_string, &again, &e2) == -ECANCELED);
		assert(again.n == s.n && again.index == s.index);
	}
	free(text);
	return 0;
}
