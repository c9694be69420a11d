/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/manifest/text.h"

#include <string.h>

size_t text_char(const char *text, size_t len, uint32_t *ret)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	const unsigned char *s = (const unsigned char *)text;
	size_t need, i;
	uint32_t c;

	if (s[0] < 0x80) {
		*ret = s[0];
		return 1;
	}
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	need = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (need > len)
		return 0;
	c = s[0] & (0x7fu >> need);
	for (i = 1; i < need; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3fu);
	}
	if (c < least[need] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret = c;
	return need;
}

bool text_is_allowed(uint32_t cp)
{
	if (cp < 0x20)
		return cp == '\t' || cp == '\n' || cp == '\r';
	if (cp < 0xa0)
		return cp < 0x7f || cp == 0x85;
	return cp != 0xfeff && cp != 0xfffe && cp != 0xffff;
}

unsigned text_width(uint32_t cp)
{
	static const struct {
		uint32_t first, last;
		unsigned width;
	} ranges[] = {
		{0x0300, 0x036f, 0},   {0x1100, 0x115f, 2},
		{0x1ab0, 0x1aff, 0},   {0x20d0, 0x20ff, 0},
		{0x2e80, 0xa4cf, 2},   {0xac00, 0xd7a3, 2},
		{0xf900, 0xfaff, 2},   {0xfe00, 0xfe0f, 0},
		{0xfe20, 0xfe2f, 0},   {0xfe30, 0xfe6f, 2},
		{0xff00, 0xff60, 2},   {0xffe0, 0xffe6, 2},
		{0x1f300, 0x1f64f, 2}, {0x1f680, 0x1f6ff, 2},
		{0x1f900, 0x1faff, 2}, {0x20000, 0x3fffd, 2},
	};
	size_t i;

	for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (cp >= ranges[i].first && cp <= ranges[i].last)
			return ranges[i].width;
	return 1;
}

size_t text_break(const char *s, size_t len)
{
	if (s[0] == '\n')
		return 1;
	if (s[0] == '\r')
		return len > 1 && s[1] == '\n' ? 2 : 1;
	if (len > 1 && memcmp(s, "\xc2\x85", 2) == 0)
		return 2;
	if (len > 2 && (memcmp(s, "\xe2\x80\xa8", 3) == 0 ||
			memcmp(s, "\xe2\x80\xa9", 3) == 0))
		return 3;
	return 0;
}

bool text_is_clean(const char *s, size_t len)
{
	uint32_t cp;
	size_t n;

	for (; len > 0; s += n, len -= n) {
		n = text_char(s, len, &cp);
		if (n == 0 || cp == 0)
			return false;
	}
	return true;
}
