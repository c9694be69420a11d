/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores whose owners share: an image's file may be another store's, by a hard
 * link, so that disk and page cache have it once.
 *
 * A new image is converted all the same, and the other store's file compared
 * with it byte for byte: a key is no proof that its sender has the layers, and
 * none that the other's file is what hyb-image should have made of them. A file
 * is the base of a difference only where all its layers are the new image's as
 * well: the whole of it is open to the VM's QEMU.
 *
 * No lock is held while another store is looked at; its file is held by a
 * descriptor, and by nothing else.
 */
#include "host-agent/image/store_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"

static void peers_free(struct image_store ***list)
{
	struct image_store **s;

	for (s = *list; s && *s; s++)
		image_store_put(*s);
	free(*list);
}

static struct image_store **peers_of(const struct image_store *s)
{
	const struct image_peers *p = &s->c.peers;
	struct image_store **list = NULL;

	if (p->list && p->list(p->arg, s->tenant, &list, NULL) < 0)
		return NULL;
	return list;
}

static int open_whole(struct image_store *s, const char *key)
{
	char name[80];

	snprintf(name, sizeof(name), "%s.erofs", key);
	return openat(s->erofs_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

/* -1: it has none. */
static int find_whole(struct image_store *s, const char *key)
{
	uint64_t size;
	int64_t mtime;
	int fd = -1;

	pthread_mutex_lock(&s->lock);
	if (store_find_whole(s, key, &size, &mtime))
		fd = open_whole(s, key);
	pthread_mutex_unlock(&s->lock);
	return fd;
}

void store_peer_twin(struct image_store *s, struct store_ready *y)
{
	_cleanup_(peers_free) struct image_store **list = NULL;
	struct image_store **p;
	uint64_t size;
	int64_t mtime;
	bool has;

	pthread_mutex_lock(&s->lock);
	has = store_find_whole(s, y->i.key, &size, &mtime);
	pthread_mutex_unlock(&s->lock);
	list = has ? NULL : peers_of(s);
	for (p = list; p && *p; p++) {
		int fd = find_whole(*p, y->i.key);

		if (fd >= 0 && store_diff_same(fd, y->whole.fd)) {
			y->twin = fd;
			return;
		}
		cleanup_close(&fd);
	}
}

/* The file of an image all whose layers, more than *ret has, are the lowest of
 * the new one. */
static int find_base(struct image_store *s, const struct image_found *f,
		     struct stored_base *ret)
{
	const struct stored *best = NULL;
	uint32_t most = ret->layers;
	int fd = -1;
	size_t i;

	pthread_mutex_lock(&s->lock);
	for (i = 0; i < s->n_images; i++) {
		const struct stored *x = &s->images[i];
		uint32_t all, n;

		if (x->base.key[0])
			continue;
		n = store_common_layers(x, f, &all);
		if (n <= most || n < all || store_check(s, x, NULL) < 0)
			continue;
		most = n;
		best = x;
	}
	fd = best ? open_whole(s, best->key) : -1;
	if (fd >= 0) {
		memset(ret, 0, sizeof(*ret));
		ret->layers = most;
		memcpy(ret->key, best->key, sizeof(ret->key));
		/* What its image is called there is not told. */
		snprintf(ret->digest, sizeof(ret->digest), "sha256:%s",
			 best->key);
	}
	pthread_mutex_unlock(&s->lock);
	return fd;
}

int store_peer_base(struct image_store *s, const struct image_found *f,
		    struct stored_base *b)
{
	_cleanup_(peers_free) struct image_store **list = peers_of(s);
	struct image_store **p;
	int fd = -1;

	for (p = list; p && *p; p++) {
		int found = find_base(*p, f, b);

		if (found < 0)
			continue;
		cleanup_close(&fd);
		fd = found;
	}
	return fd;
}

/* By another name first: a rename replaces what is there, a link does not. */
int store_peer_link(struct image_store *s, int fd, const char *key,
		    uint64_t *ret_size, int64_t *ret_mtime_ns)
{
	char from[64], temp[32], name[80];
	struct stat st;

	snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
	snprintf(temp, sizeof(temp), "new-%llu",
		 (unsigned long long)s->next_tmp++);
	snprintf(name, sizeof(name), "%s.erofs", key);
	if (fstat(fd, &st) < 0 ||
	    linkat(AT_FDCWD, from, s->tmp_fd, temp, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	if (renameat(s->tmp_fd, temp, s->erofs_fd, name) < 0 ||
	    fsync(s->erofs_fd) < 0) {
		int r = -errno;

		unlinkat(s->tmp_fd, temp, 0);
		return r;
	}
	*ret_size = (uint64_t)st.st_size;
	*ret_mtime_ns = st.st_mtim.tv_sec * 1000000000ll + st.st_mtim.tv_nsec;
	return 0;
}
