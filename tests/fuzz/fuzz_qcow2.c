/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a disk image that a tenant imports: what is accepted names no
 * other file and has a size within the limits. */
#include "host-agent/disk/disk.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t zero[12];
	uint64_t size = 0;
	struct err e = ERR_INIT;

	if (qcow2_check(data, len, &size, &e) < 0)
		return e.code ? 0 : (abort(), 0);
	if (size < DISK_SIZE_MIN || size > DISK_SIZE_MAX || size % 512 ||
	    memcmp(data + 8, zero, 12) != 0 || memcmp(data + 32, zero, 4) != 0)
		abort();
	return 0;
}
