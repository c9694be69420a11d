/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers around jansson. */
#ifndef HYB_COMMON_BASE_JSON_H
#define HYB_COMMON_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

static inline void cleanup_json(json_t **j)
{
	json_decref(*j);
}
#define _cleanup_json_ __attribute__((cleanup(cleanup_json)))

/* Are there more than max values in this text, which an enemy wrote? In memory
 * one takes up to some 200 bytes, "{}," three: looked at before it is parsed. */
bool json_is_over(const char *text, size_t len, size_t max);

/* The text of a member, "" where there is none or it is no text. */
static inline const char *json_text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

#endif
