/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images on one base: the second is stored as what differs from the first, and
 * the host's disk and page cache have what is common once. hyb-image writes
 * layers in their order, and the same layers as the same bytes; so what two
 * images have in common lies at the same place in both, but for what an upper
 * layer removed or renamed.
 *
 * A base is a whole file itself: never more than two files make an image.
 */
#include "host-agent/image/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/arena.h"
#include "common/base/cleanup.h"
#include "common/base/log.h"

/* The base that is best so far; its file, where it has no name yet. */
struct choice {
	struct stored_base base;
	int fd;
};

uint32_t store_common_layers(const struct stored *x,
			     const struct image_found *f, uint32_t *ret_all)
{
	_cleanup_arena_ struct arena *a = arena_new(0);
	struct oci_image_config c;
	struct err e = ERR_INIT;
	uint32_t n = 0;

	if (!a || oci_image_config_parse(x->config_text, strlen(x->config_text),
					 a, &c, &e) < 0)
		return 0;
	if (ret_all)
		*ret_all = (uint32_t)c.n_diff_ids;
	while (n < c.n_diff_ids && n < f->config.n_diff_ids &&
	       strcmp(c.diff_ids[n], f->config.diff_ids[n]) == 0)
		n++;
	return n;
}

/* The image's file, or the base of an image that is a difference: of that as
 * many layers are known to be the same as the two have. */
static void consider(const struct stored *x, const struct image_found *f,
		     int fd, struct choice *best)
{
	uint32_t n = store_common_layers(x, f, NULL);

	if (x->base.key[0]) {
		n = n < x->base.layers ? n : x->base.layers;
		if (n <= best->base.layers)
			return;
		best->base = x->base;
	} else {
		if (n <= best->base.layers)
			return;
		memcpy(best->base.key, x->key, sizeof(x->key));
		memcpy(best->base.digest, x->digest, sizeof(x->digest));
	}
	best->base.layers = n;
	best->fd = fd;
}

/* Files of these layers are there, or are others' base, which is whole: the
 * new image then is what they are, or makes them whole again. */
static bool is_wanted_whole(const struct image_store *s, const char *key)
{
	size_t i;

	for (i = 0; i < s->n_images; i++) {
		if (strcmp(s->images[i].base.key, key) == 0 ||
		    (strcmp(s->images[i].key, key) == 0 &&
		     store_check(s, &s->images[i], NULL) == 0))
			return true;
	}
	return false;
}

/* Descriptor of the best base's file; -1: none; *ret_whole: for none is to be
 * looked. */
static int open_base(struct image_store *s, const struct image_found *f,
		     const struct store_ready *list, size_t n, const char *key,
		     struct stored_base *ret, bool *ret_whole)
{
	struct choice best = {.fd = -1};
	char name[80];
	int fd = -1;
	size_t i;

	pthread_mutex_lock(&s->lock);
	*ret_whole = is_wanted_whole(s, key);
	if (*ret_whole) {
		pthread_mutex_unlock(&s->lock);
		return -1;
	}
	for (i = 0; i < s->n_images; i++) {
		if (store_check(s, &s->images[i], NULL) == 0)
			consider(&s->images[i], f, -1, &best);
	}
	for (i = 0; i < n; i++)
		if (strcmp(list[i].i.key, key) != 0)
			consider(&list[i].i, f, list[i].whole.fd, &best);
	if (best.fd >= 0) {
		fd = fcntl(best.fd, F_DUPFD_CLOEXEC, 0);
	} else if (best.base.layers) {
		snprintf(name, sizeof(name), "%s.erofs", best.base.key);
		fd = openat(s->erofs_fd, name,
			    O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	}
	pthread_mutex_unlock(&s->lock);
	*ret = best.base;
	return fd;
}

int store_share_base(struct image_store *s, const struct image_found *f,
		     const struct store_ready *list, size_t n,
		     struct store_ready *y)
{
	struct stored_base b = {.key = ""};
	_cleanup_close_ int base = -1, foreign = -1;
	bool whole = false;
	int r;

	base = open_base(s, f, list, n, y->i.key, &b, &whole);
	foreign = whole ? -1 : store_peer_base(s, f, &b);
	if (foreign >= 0)
		cleanup_close(&base);
	if (base < 0 && foreign < 0)
		return -ENOENT;
	r = store_diff_write(y->whole.fd, foreign < 0 ? base : foreign,
			     y->diff.fd);
	if (r < 0)
		return r;
	y->i.base = b;
	y->base = steal_fd(&foreign);
	return 0;
}
