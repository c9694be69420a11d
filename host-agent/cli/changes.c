/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/changes.h"

#include "common/base/cleanup.h"

static const struct {
	const char *name, *shown;
	enum out_tone tone;
} classes[] = {
	{"live", "live", OUT_GOOD},
	{"restart_container", "restart container", OUT_BUSY},
	{"restart_vm", "restart VM", OUT_BUSY},
	{"recreate_vm", "recreate VM", OUT_BUSY},
	{"deletes_data", "deletes data", OUT_BAD},
};

void changes_print(const json_t *changes)
{
	static const char *const headings[] = {"CHANGE", "OBJECT", "CLASS",
					       "WHY", NULL};
	_cleanup_out_table_ struct out_table t;
	const json_t *c;
	const char *name;
	size_t i, k;

	if (json_array_size(changes) == 0)
		return;
	out_table_init(&t, headings);
	json_array_foreach(changes, i, c) {
		out_table_cell(&t, out_str(c, "action"));
		out_table_cell(&t, out_str(c, "object"));
		name = out_str(c, "class");
		for (k = 0; k < ARRAY_SIZE(classes); k++)
			if (strcmp(classes[k].name, name) == 0)
				break;
		if (k < ARRAY_SIZE(classes))
			out_table_cell_tone(&t, classes[k].shown,
					    classes[k].tone);
		else
			out_table_cell(&t, name);
		out_table_cell(&t, out_str(c, "why"));
	}
	out_table_print(&t, stdout);
}

void warnings_print(const json_t *reply)
{
	const json_t *list = json_object_get(reply, "warnings"), *w;
	size_t i;

	json_array_foreach(list, i, w)
		if (json_is_string(w))
			out_note("warning: %s", json_string_value(w));
}

int changes_json(const json_t *changes)
{
	static const char *const fields[] = {"action", "object", "class", "why",
					     NULL};

	return out_json_rows(changes, fields);
}
