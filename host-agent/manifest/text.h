/* SPDX-License-Identifier: Apache-2.0 */
/* Characters and lines of a YAML text, as libyaml counts them. */
#ifndef HYB_HOST_AGENT_MANIFEST_TEXT_H
#define HYB_HOST_AGENT_MANIFEST_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The well-formed UTF-8 character at s (len > 0 bytes at most): its length and
 * code point; 0 when it is not well formed (RFC 3629). */
size_t text_char(const char *s, size_t len, uint32_t *ret_cp);

/* May YAML contain it (YAML 1.1, 5.1)? */
bool text_is_allowed(uint32_t cp);

/* Columns of a terminal that it takes, roughly: 0, 1 or 2. */
unsigned text_width(uint32_t cp);

/* Bytes of the line break at s, or 0: CR, LF, CR LF, NEL, LS, PS. */
size_t text_break(const char *s, size_t len);

/* Well-formed UTF-8 with no NUL? */
bool text_is_clean(const char *s, size_t len);

#endif
