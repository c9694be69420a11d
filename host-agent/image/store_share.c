/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images on one base share blocks of the host's disk, where its file system
 * can (XFS, btrfs). hyb-image writes layers in their order, and the same layers
 * as the same bytes; so what two images have in common lies at the same place
 * in both, but for what an upper layer removed or renamed.
 *
 * The new image becomes a clone of the other's file into which the blocks that
 * differ are written. The other way, FIDEDUPERANGE on the finished file, gives
 * nothing back on btrfs: there a block that stays keeps all of its extent.
 */
#include "host-agent/image/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/arena.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"

#define BLOCK 4096u
#define PIECE (1u << 20) /* read at once */

struct share {
	int from, to;
	uint64_t size, written;
	uint8_t want[PIECE], have[PIECE];
};

/* The lowest layers that both have. */
static size_t common_layers(const struct stored *x, const struct image_found *f)
{
	_cleanup_arena_ struct arena *a = arena_new(0);
	struct oci_image_config c;
	struct err e = ERR_INIT;
	size_t n = 0;

	if (!a || oci_image_config_parse(x->config_text, strlen(x->config_text),
					 a, &c, &e) < 0)
		return 0;
	while (n < c.n_diff_ids && n < f->config.n_diff_ids &&
	       strcmp(c.diff_ids[n], f->config.diff_ids[n]) == 0)
		n++;
	return n;
}

/* The file of the image that has most layers in common; -1: none. A file that
 * has the same layers is used itself, so none is made. */
static int open_base(struct image_store *s, const struct image_found *f,
		     const char *key)
{
	const struct stored *best = NULL;
	size_t i, n, most = 0;
	char name[80];
	int fd = -1;

	pthread_mutex_lock(&s->lock);
	for (i = 0; i < s->n_images; i++) {
		if (strcmp(s->images[i].key, key) == 0) {
			best = NULL;
			break;
		}
		n = common_layers(&s->images[i], f);
		if (n > most && store_check_file(s, &s->images[i]) == 0) {
			most = n;
			best = &s->images[i];
		}
	}
	if (best) {
		snprintf(name, sizeof(name), "%s.erofs", best->key);
		fd = openat(s->erofs_fd, name,
			    O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	}
	pthread_mutex_unlock(&s->lock);
	return fd;
}

static int write_all(int fd, const uint8_t *p, size_t len, uint64_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, p, len, (off_t)at);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* len bytes, all of which the file has. */
static int read_all(int fd, uint8_t *p, size_t len, uint64_t at)
{
	while (len > 0) {
		ssize_t n = pread(fd, p, len, (off_t)at);

		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		p += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

static bool differs(const struct share *h, size_t i, size_t len)
{
	size_t n = len - i < BLOCK ? len - i : BLOCK;

	return memcmp(h->want + i, h->have + i, n) != 0;
}

/* Writes the runs of blocks that are not yet right. */
static int correct_piece(struct share *h, uint64_t at, size_t len)
{
	size_t i = 0, end;
	int r;

	while (i < len) {
		if (!differs(h, i, len)) {
			i += BLOCK;
			continue;
		}
		for (end = i; end < len && differs(h, end, len); end += BLOCK)
			;
		end = end < len ? end : len;
		r = write_all(h->to, h->want + i, end - i, at + i);
		if (r < 0)
			return r;
		h->written += end - i;
		i = end;
	}
	return 0;
}

static int correct(struct share *h)
{
	uint64_t at;
	size_t len;
	int r;

	for (at = 0; at < h->size; at += len) {
		len = h->size - at < PIECE ? (size_t)(h->size - at) : PIECE;
		r = read_all(h->from, h->want, len, at);
		if (r == 0)
			r = read_all(h->to, h->have, len, at);
		if (r == 0)
			r = correct_piece(h, at, len);
		if (r < 0)
			return r;
		/* Little in common: what is there has fewer extents. */
		if (h->written > h->size / 2)
			return -ENODATA;
	}
	return 0;
}

int store_share_base(struct image_store *s, const struct image_found *f,
		     const char *key, int from, int to)
{
	_cleanup_close_ int base = open_base(s, f, key);
	_cleanup_free_ struct share *h = NULL;
	struct stat st;
	int r;

	if (base < 0)
		return -ENOENT;
	if (fstat(from, &st) < 0 || ioctl(to, FICLONE, base) < 0 ||
	    ftruncate(to, st.st_size) < 0)
		return -errno;
	h = malloc(sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->from = from;
	h->to = to;
	h->size = (uint64_t)st.st_size;
	h->written = 0;
	r = correct(h);
	if (r == 0)
		log_debug("image store: %llu bytes of %llu are not the base's",
			  (unsigned long long)h->written,
			  (unsigned long long)h->size);
	return r;
}
