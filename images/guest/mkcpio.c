// SPDX-License-Identifier: Apache-2.0
//
// mkcpio INIT: writes the guest's initramfs to standard output: an
// uncompressed "newc" cpio archive with INIT as /init and the few directories
// and device nodes that an init needs before it has mounted anything.
//
// Reproducible: times, owners, inode numbers and order are fixed. Needs no
// root: the nodes exist in the archive only.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ALIGNMENT 4   // of names and contents, by the format
#define BLOCK	  512 // the archive's length is padded to this

struct entry {
	const char *name;
	unsigned int mode;
	unsigned int major;
	unsigned int minor;
};

// /init comes last: its content is the only one, so that what precedes it is
// the same in every initramfs.
static const struct entry entries[] = {
	{"dev", S_IFDIR | 0755, 0, 0},
	// The kernel opens the console for init before devtmpfs is mounted.
	{"dev/console", S_IFCHR | 0600, 5, 1},
	{"dev/null", S_IFCHR | 0666, 1, 3},
	{"proc", S_IFDIR | 0555, 0, 0},
	{"run", S_IFDIR | 0755, 0, 0},
	{"sys", S_IFDIR | 0555, 0, 0},
	{"tmp", S_IFDIR | 01777, 0, 0},
};

static unsigned long written;

static void put(const void *bytes, size_t size)
{
	if (fwrite(bytes, 1, size, stdout) != size) {
		perror("mkcpio: write");
		exit(1);
	}
	written += size;
}

static void pad(unsigned long alignment)
{
	static const char zeros[BLOCK];

	put(zeros, (alignment - written % alignment) % alignment);
}

static void put_header(const struct entry *e, unsigned int inode, size_t size)
{
	char header[6 + 13 * 8 + 1];
	unsigned int links = S_ISDIR(e->mode) ? 2 : 1;
	size_t length = strlen(e->name) + 1;

	// magic, inode, mode, uid, gid, links, mtime, size, device of the
	// file (two), device of the node (two), length of the name, checksum
	snprintf(header, sizeof(header),
		 "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		 inode, e->mode, 0U, 0U, links, 0U, (unsigned int)size, 0U, 0U,
		 e->major, e->minor, (unsigned int)length, 0U);
	put(header, sizeof(header) - 1);
	put(e->name, length);
	pad(ALIGNMENT);
}

static void put_file(const struct entry *e, unsigned int inode,
		     const char *path)
{
	FILE *file = fopen(path, "rb");
	struct stat st;
	char buf[65536];
	size_t left;

	if (!file || fstat(fileno(file), &st) != 0) {
		perror(path);
		exit(1);
	}
	if (!S_ISREG(st.st_mode) || st.st_size > 0x7fffffff) {
		fprintf(stderr, "mkcpio: %s: not a file of 2 GiB at most\n",
			path);
		exit(1);
	}
	left = (size_t)st.st_size;
	put_header(e, inode, left);
	while (left > 0) {
		size_t want = left < sizeof(buf) ? left : sizeof(buf);

		if (fread(buf, 1, want, file) != want) {
			fprintf(stderr, "mkcpio: %s: shorter than it was\n",
				path);
			exit(1);
		}
		put(buf, want);
		left -= want;
	}
	pad(ALIGNMENT);
	fclose(file);
}

int main(int argc, char **argv)
{
	static const struct entry init = {"init", S_IFREG | 0755, 0, 0};
	static const struct entry end = {"TRAILER!!!", 0, 0, 0};
	size_t count = sizeof(entries) / sizeof(entries[0]);
	unsigned int inode = 1;

	if (argc != 2) {
		fprintf(stderr, "usage: mkcpio INIT > OUT\n");
		return 2;
	}
	for (size_t i = 0; i < count; i++)
		put_header(&entries[i], inode++, 0);
	put_file(&init, inode, argv[1]);
	put_header(&end, 0, 0);
	pad(BLOCK);
	if (fflush(stdout) != 0) {
		perror("mkcpio: write");
		return 1;
	}
	return 0;
}
