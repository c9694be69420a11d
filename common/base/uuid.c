/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/uuid.h"

#include "common/base/fd.h"
#include "common/base/parse.h"

#include <stdio.h>

void uuid_random(char out[37])
{
	unsigned char u[16];
	char hex[33];

	random_bytes(u, sizeof(u));
	u[6] = (unsigned char)((u[6] & 0x0f) | 0x40);
	u[8] = (unsigned char)((u[8] & 0x3f) | 0x80);
	hex_format(u, sizeof(u), hex);
	snprintf(out, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
		 hex + 16, hex + 20);
}
