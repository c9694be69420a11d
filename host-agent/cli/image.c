/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/image.h"

#include "common/base/cleanup.h"
#include "host-agent/cli/cli.h"

/* The objects of `-o json`, promised in docs/cli.md. */
static const char *const fields[] = {"name",	    "digest",	    "size",
				     "disk_size",   "architecture", "created",
				     "shared_size", "tenant",	    NULL};

/* "sha256:0123…" as its first 12 digits. */
static void digest_cell(struct out_table *t, const char *digest, bool whole)
{
	const char *hex = strchr(digest, ':');
	char text[32];

	if (whole || !hex) {
		out_table_cell(t, digest);
		return;
	}
	snprintf(text, sizeof(text), "%.12s", hex + 1);
	out_table_cell(t, text);
}

static void print_row(struct out_table *t, const json_t *row, bool whole)
{
	char age[32];

	out_table_cell(t, out_str(row, "name"));
	digest_cell(t, out_str(row, "digest"), whole);
	out_table_size(t, row, "size");
	out_table_size(t, row, "disk_size");
	out_table_size(t, row, "shared_size");
	out_table_cell(t, out_str(row, "architecture"));
	out_table_cell(t, out_age(out_str(row, "created"), age));
	out_table_cell(t, out_str(row, "tenant"));
}

void image_print(const json_t *rows, enum out_format format, bool whole)
{
	static const char *const headings[] = {"NAME",	  "DIGEST", "SIZE",
					       "ON DISK", "SHARED", "ARCH",
					       "CREATED", "TENANT", NULL};

	out_rows(rows, format, whole, fields, headings, print_row);
}

void image_print_skipped(const json_t *reply)
{
	const json_t *list = json_object_get(reply, "skipped"), *s;
	size_t i;

	json_array_foreach(list, i, s) {
		if (!json_is_string(s))
			continue;
		fputs("hyb: left out ", stderr);
		out_text(stderr, json_string_value(s));
		fputc('\n', stderr);
	}
}

int image_fail(int status, const char *verb, const char *word, struct err *e)
{
	char what[320], again[320];
	size_t len;

	snprintf(what, sizeof(what), "image %s '%.256s'", verb, word);
	snprintf(again, sizeof(again), "%s '%.256s': ", verb, word);
	len = strlen(again);
	if (strncmp(e->msg, again, len) == 0)
		memmove(e->msg, e->msg + len, strlen(e->msg + len) + 1);
	return cli_fail(status, what, e);
}
