/* SPDX-License-Identifier: Apache-2.0 */
/* Every limit of a conversion, with its reason. Whoever reaches one gets an
 * error that names it; nothing is cut silently. */
#ifndef HYB_IMAGE_CONVERT_LIMITS_H
#define HYB_IMAGE_CONVERT_LIMITS_H

/* Docker's own limit is 127; one more for a base made by hand. */
#define HYB_IMAGE_LAYERS_MAX 128

/* Files, directories and links in the merged tree. About 130 bytes of memory
 * each: 130 MB at the limit. */
#define HYB_IMAGE_ENTRIES_MAX 1000000

/* Tar entries read over all layers: what later layers hide counts here. */
#define HYB_IMAGE_RECORDS_MAX 4000000

/* Bytes of a path or of a symbolic link's target: PATH_MAX of Linux without
 * its NUL. */
#define HYB_IMAGE_PATH_MAX 4095

/* Bytes of one name: NAME_MAX of Linux and of EROFS. */
#define HYB_IMAGE_NAME_MAX 255

/* Directories inside one another: what fits a byte, and several times what is
 * seen. */
#define HYB_IMAGE_DEPTH_MAX 255

/* Symbolic links followed to find one entry's directory: Linux's limit. */
#define HYB_IMAGE_SYMLINKS_MAX 40

/* Attributes of one file, and bytes of them all: the sizes that Linux's own
 * calls can return (XATTR_LIST_MAX, XATTR_SIZE_MAX). */
#define HYB_IMAGE_XATTRS_MAX	  128
#define HYB_IMAGE_XATTR_BYTES_MAX 65536

/* One PAX or GNU header that extends the next entry. */
#define HYB_IMAGE_TAR_EXTRA_MAX (1024 * 1024)

/* Pieces of one sparse file. */
#define HYB_IMAGE_SPARSE_MAX 65536

/* Names of all entries that were ever in the tree. */
#define HYB_IMAGE_NAME_BYTES_MAX (512ull * 1024 * 1024)

/* Uncompressed bytes of all layers, and bytes of the EROFS file, where the
 * caller sets no other. */
#define HYB_IMAGE_BYTES_MAX (64ull * 1024 * 1024 * 1024)

/* Entries listed of an archive that holds layers (docker-archive keeps three
 * per layer). */
#define HYB_IMAGE_INDEX_MAX 4096

#endif
