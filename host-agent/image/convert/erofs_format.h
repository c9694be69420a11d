/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the EROFS on-disk format that are written here: uncompressed,
 * 4 KiB blocks, extended inodes, inline attributes. Linux 5.4 and later read
 * it. All numbers little-endian; hyb runs on little-endian hosts only. */
#ifndef HYB_IMAGE_CONVERT_EROFS_FORMAT_H
#define HYB_IMAGE_CONVERT_EROFS_FORMAT_H

#include <assert.h>
#include <stdint.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "little-endian only");

#define EROFS_MAGIC	 0xE0F5E1E2u
#define EROFS_SUPER_AT	 1024
#define EROFS_BLOCK_BITS 12
#define EROFS_BLOCK	 4096u
#define EROFS_SLOT_BITS	 5 /* a nid counts places of 32 bytes */
#define EROFS_SLOT	 32u

#define EROFS_COMPAT_CHECKSUM 0x1u
#define EROFS_COMPAT_MTIME    0x2u

struct erofs_super {
	uint32_t magic;
	uint32_t checksum; /* crc32c of the block from here on, this field 0 */
	uint32_t feature_compat;
	uint8_t block_bits;
	uint8_t extra_slots;
	uint16_t root_nid;
	uint64_t inodes;
	uint64_t build_time;
	uint32_t build_time_nsec;
	uint32_t blocks;
	uint32_t meta_block;
	uint32_t xattr_block;
	uint8_t uuid[16];
	char volume_name[16];
	uint32_t feature_incompat;
	uint16_t compression;
	uint16_t extra_devices;
	uint16_t device_slot;
	uint8_t dir_block_bits;
	uint8_t xattr_prefixes;
	uint32_t xattr_prefix_start;
	uint64_t packed_nid;
	uint8_t reserved[24];
};
static_assert(sizeof(struct erofs_super) == 128, "on disk");

#define EROFS_FORMAT_EXTENDED 1u
#define EROFS_LAYOUT_PLAIN    0u
#define EROFS_LAYOUT_INLINE   2u /* the last, partial block is behind the inode */

struct erofs_inode {
	uint16_t format; /* extended | layout << 1 */
	uint16_t xattr_count;
	uint16_t mode;
	uint16_t reserved;
	uint64_t size;
	uint32_t where; /* first block, or device number */
	uint32_t ino;
	uint32_t uid;
	uint32_t gid;
	uint64_t mtime;
	uint32_t mtime_nsec;
	uint32_t nlink;
	uint8_t reserved2[16];
};
static_assert(sizeof(struct erofs_inode) == 64, "on disk");

/* In front of the attributes; xattr_count is 1 + (their bytes / 4). */
struct erofs_xattr_head {
	uint32_t name_filter;
	uint8_t shared_count;
	uint8_t reserved[7];
};
static_assert(sizeof(struct erofs_xattr_head) == 12, "on disk");

struct erofs_xattr {
	uint8_t name_len; /* without the prefix that name_index stands for */
	uint8_t name_index;
	uint16_t value_len;
	/* name, value, up to a multiple of 4 */
};
static_assert(sizeof(struct erofs_xattr) == 4, "on disk");

#define EROFS_XATTR_USER     1
#define EROFS_XATTR_SECURITY 6

struct erofs_dirent {
	uint64_t nid;
	uint16_t name_at;
	uint8_t type;
	uint8_t reserved;
} __attribute__((packed));
static_assert(sizeof(struct erofs_dirent) == 12, "on disk");

enum erofs_type {
	EROFS_REG = 1,
	EROFS_DIR,
	EROFS_CHR,
	EROFS_BLK,
	EROFS_FIFO,
	EROFS_SOCK,
	EROFS_LNK,
};

#endif
