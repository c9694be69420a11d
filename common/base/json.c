/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/json.h"

bool json_is_over(const char *text, size_t len, size_t max)
{
	bool in_string = false;
	size_t i, n = 0;

	for (i = 0; i < len; i++) {
		if (in_string && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			in_string = !in_string;
		else if (!in_string &&
			 (text[i] == ',' || text[i] == '[' || text[i] == '{'))
			n++;
	}
	return n > max;
}
