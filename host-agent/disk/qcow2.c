/* SPDX-License-Identifier: Apache-2.0 */
/* What must be known of a qcow2 file before a program opens it that follows
 * what stands in it. The layout is that of QEMU's docs/interop/qcow2.txt. */
#include "host-agent/disk/disk.h"

#include <errno.h>
#include <string.h>

/* Offsets in the header; all numbers are big-endian. */
enum {
	AT_VERSION = 4,
	AT_BACKING_OFFSET = 8,
	AT_BACKING_LENGTH = 16,
	AT_CLUSTER_BITS = 20,
	AT_SIZE = 24,
	AT_CRYPT = 32,
	HEADER_V2 = 72,
	AT_INCOMPATIBLE = 72,
	HEADER_V3 = 104
};

#define INCOMPATIBLE_DIRTY	 ((uint64_t)1 << 0)
#define INCOMPATIBLE_CORRUPT	 ((uint64_t)1 << 1)
#define INCOMPATIBLE_DATA_FILE	 ((uint64_t)1 << 2)
#define INCOMPATIBLE_COMPRESSION ((uint64_t)1 << 3)
#define INCOMPATIBLE_EXTENDED_L2 ((uint64_t)1 << 4)
#define INCOMPATIBLE_KNOWN                                                    \
	(INCOMPATIBLE_DIRTY | INCOMPATIBLE_CORRUPT | INCOMPATIBLE_DATA_FILE | \
	 INCOMPATIBLE_COMPRESSION | INCOMPATIBLE_EXTENDED_L2)

static uint64_t be(const unsigned char *p, size_t n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

static int check_features(uint64_t bits, struct err *e)
{
	if (bits & INCOMPATIBLE_DATA_FILE)
		return err_set(e, EINVAL,
			       "its data is in another file, which is not "
			       "followed");
	if (bits & INCOMPATIBLE_CORRUPT)
		return err_set(e, EINVAL, "it is marked as corrupt");
	if (bits & ~INCOMPATIBLE_KNOWN)
		return err_set(
			e, EINVAL,
			"it has features that are not known (0x%llx)",
			(unsigned long long)(bits & ~INCOMPATIBLE_KNOWN));
	return 0;
}

int qcow2_check(const unsigned char *header, size_t len, uint64_t *ret_size,
		struct err *e)
{
	uint64_t size, version, bits;
	int r = 0;

	if (len < HEADER_V2 || memcmp(header, "QFI\xfb", 4) != 0)
		return err_set(e, EINVAL, "it is no qcow2 image");
	version = be(header + AT_VERSION, 4);
	if (version != 2 && version != 3)
		return err_set(e, EINVAL,
			       "its qcow2 version is %llu, not 2 or 3",
			       (unsigned long long)version);
	if (version == 3 && len < HEADER_V3)
		return err_set(e, EINVAL, "it ends within its header");
	bits = version == 3 ? be(header + AT_INCOMPATIBLE, 8) : 0;
	r = check_features(bits, e);
	if (r < 0)
		return r;
	if (be(header + AT_BACKING_OFFSET, 8) ||
	    be(header + AT_BACKING_LENGTH, 4)) {
		err_set(e, EINVAL,
			"it is based on another file, which is not followed");
		err_hint(e, "`qemu-img convert -O qcow2` makes one file of it");
		return -EINVAL;
	}
	if (be(header + AT_CRYPT, 4))
		return err_set(e, EINVAL, "it is encrypted");
	if (be(header + AT_CLUSTER_BITS, 4) < 9 ||
	    be(header + AT_CLUSTER_BITS, 4) > 21)
		return err_set(e, EINVAL, "its cluster size is not valid");
	size = be(header + AT_SIZE, 8);
	if (size > DISK_SIZE_MAX)
		return err_set(
			e, EFBIG,
			"the disk in it has %llu bytes, the most is %llu",
			(unsigned long long)size,
			(unsigned long long)DISK_SIZE_MAX);
	if (size < DISK_SIZE_MIN || size % 512)
		return err_set(e, EINVAL,
			       "the disk in it has %llu bytes: whole sectors, "
			       "at least 1 MiB",
			       (unsigned long long)size);
	*ret_size = size;
	return 0;
}
