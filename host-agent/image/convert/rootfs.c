/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/convert/rootfs.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/fd.h"
#include "host-agent/image/convert/limits.h"

int rootfs_init(struct rootfs *t, uint32_t max_entries, struct err *e)
{
	uint32_t inode;
	int r;

	memset(t, 0, sizeof(*t));
	t->max_entries = max_entries;
	/* Nobody can prepare names that all fall into one bucket. The order of
	 * the buckets is seen nowhere. */
	random_bytes(&t->seed, sizeof(t->seed));
	t->n_nodes = 1;
	t->n_inodes = 1;
	r = rootfs_new_inode(t, &inode, e);
	if (r < 0)
		return r;
	rootfs_plain_dir(&t->inodes[inode]);
	return rootfs_add(t, 0, "", 0, inode, 0, &inode, e);
}

void rootfs_done(struct rootfs *t)
{
	free(t->nodes);
	free(t->inodes);
	free(t->buckets);
	free(t->pool);
	memset(t, 0, sizeof(*t));
}

void rootfs_plain_dir(struct rootfs_inode *i)
{
	uint32_t nlink = i->nlink;

	memset(i, 0, sizeof(*i));
	i->nlink = nlink;
	i->mode = S_IFDIR | 0755;
}

static uint64_t mix(uint64_t x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	return x ^ x >> 32;
}

static uint32_t hash(const struct rootfs *t, uint32_t dir, const char *name,
		     size_t len)
{
	uint64_t h = mix(t->seed ^ dir), v;

	for (; len >= 8; len -= 8, name += 8) {
		memcpy(&v, name, 8);
		h = mix((h ^ v) + t->seed);
	}
	v = 0;
	memcpy(&v, name, len);
	h = mix((h ^ v) + len);
	return (uint32_t)h & (t->n_buckets - 1);
}

static int rehash(struct rootfs *t, struct err *e)
{
	uint32_t n = t->n_buckets ? t->n_buckets * 2 : 1024, i;
	uint32_t *p = calloc(n, sizeof(*p));

	if (!p)
		return err_sys(e, ENOMEM, "merge");
	free(t->buckets);
	t->buckets = p;
	t->n_buckets = n;
	for (i = 1; i < t->n_nodes; i++) {
		struct rootfs_node *d = &t->nodes[i];
		uint32_t h;

		if (d->inode == 0)
			continue; /* not in use */
		h = hash(t, d->parent, t->pool + d->name_at, d->name_len);
		d->hash_next = p[h];
		p[h] = i;
	}
	return 0;
}

uint32_t rootfs_lookup(const struct rootfs *t, uint32_t dir, const char *name,
		       size_t len)
{
	uint32_t n = t->buckets[hash(t, dir, name, len)];

	for (; n; n = t->nodes[n].hash_next) {
		const struct rootfs_node *d = &t->nodes[n];

		if (d->parent == dir && d->name_len == len &&
		    memcmp(t->pool + d->name_at, name, len) == 0)
			return n;
	}
	return 0;
}

/* Room for one more in a table that is counted in *cap. */
static void *grow(void *table, size_t size, uint32_t n, uint32_t *cap)
{
	uint32_t want = *cap ? *cap + *cap / 2 : 1024;
	void *p;

	if (n < *cap)
		return table;
	p = realloc(table, want * size);
	if (p)
		*cap = want;
	return p;
}

int rootfs_new_inode(struct rootfs *t, uint32_t *ret, struct err *e)
{
	uint32_t n = t->free_inode;
	void *p;

	if (n) {
		t->free_inode = t->inodes[n].nlink;
	} else {
		p = grow(t->inodes, sizeof(*t->inodes), t->n_inodes,
			 &t->cap_inodes);
		if (!p)
			return err_sys(e, ENOMEM, "merge");
		t->inodes = p;
		n = t->n_inodes++;
	}
	memset(&t->inodes[n], 0, sizeof(t->inodes[n]));
	*ret = n;
	return 0;
}

int rootfs_store(struct rootfs *t, const void *data, size_t len, uint32_t *ret,
		 struct err *e)
{
	if (len > HYB_IMAGE_NAME_BYTES_MAX - t->pool_len)
		return err_set(e, E2BIG,
			       "names and attributes take more than %llu MiB",
			       HYB_IMAGE_NAME_BYTES_MAX >> 20);
	if (len >= t->pool_cap - t->pool_len) {
		size_t cap = (t->pool_cap + len) * 3 / 2 + 4096;
		char *p = realloc(t->pool, cap);

		if (!p)
			return err_sys(e, ENOMEM, "merge");
		t->pool = p;
		t->pool_cap = cap;
	}
	*ret = (uint32_t)t->pool_len;
	if (len)
		memcpy(t->pool + t->pool_len, data, len);
	t->pool_len += len;
	return 0;
}

static void put_first(struct rootfs *t, uint32_t dir, uint32_t n)
{
	struct rootfs_node *d = &t->nodes[n];

	d->prev = 0;
	d->next = t->nodes[dir].child;
	if (d->next)
		t->nodes[d->next].prev = n;
	t->nodes[dir].child = n;
}

int rootfs_add(struct rootfs *t, uint32_t dir, const char *name, size_t len,
	       uint32_t inode, uint8_t layer, uint32_t *ret, struct err *e)
{
	unsigned int depth = dir ? t->nodes[dir].depth + 1u : 0;
	uint32_t n, at, h;
	void *p;
	int r;

	if (t->live_nodes >= t->max_entries)
		return err_set(e, E2BIG, "more than %u files",
			       (unsigned int)t->max_entries - 1);
	if (depth > HYB_IMAGE_DEPTH_MAX)
		return err_set(e, E2BIG, "more than %u directories deep",
			       HYB_IMAGE_DEPTH_MAX);
	r = rootfs_store(t, name, len, &at, e);
	if (r == 0 && t->live_nodes >= t->n_buckets)
		r = rehash(t, e);
	if (r < 0)
		return r;
	n = t->free_node;
	if (n) {
		t->free_node = t->nodes[n].next;
	} else {
		p = grow(t->nodes, sizeof(*t->nodes), t->n_nodes,
			 &t->cap_nodes);
		if (!p)
			return err_sys(e, ENOMEM, "merge");
		t->nodes = p;
		n = t->n_nodes++;
	}
	t->nodes[n] = (struct rootfs_node){.parent = dir,
					   .inode = inode,
					   .name_at = at,
					   .name_len = (uint8_t)len,
					   .layer = layer,
					   .depth = (uint8_t)depth};
	h = hash(t, dir, name, len);
	t->nodes[n].hash_next = t->buckets[h];
	t->buckets[h] = n;
	if (dir)
		put_first(t, dir, n);
	t->inodes[inode].nlink++;
	t->live_nodes++;
	*ret = n;
	return 0;
}

/* One name without children. */
static void drop(struct rootfs *t, uint32_t n)
{
	struct rootfs_node *d = &t->nodes[n];
	struct rootfs_inode *i = &t->inodes[d->inode];
	uint32_t *p = &t->buckets[hash(t, d->parent, t->pool + d->name_at,
				       d->name_len)];

	while (*p != n)
		p = &t->nodes[*p].hash_next;
	*p = d->hash_next;
	if (d->prev)
		t->nodes[d->prev].next = d->next;
	else
		t->nodes[d->parent].child = d->next;
	if (d->next)
		t->nodes[d->next].prev = d->prev;
	if (--i->nlink == 0) {
		if (!S_ISDIR(i->mode) && t->released)
			t->released(t->arg, i);
		i->mode = 0; /* not in use */
		i->nlink = t->free_inode;
		t->free_inode = d->inode;
	}
	memset(d, 0, sizeof(*d));
	d->next = t->free_node;
	t->free_node = n;
	t->live_nodes--;
}

void rootfs_remove(struct rootfs *t, uint32_t node)
{
	uint32_t n = node;

	for (;;) {
		uint32_t parent;

		while (t->nodes[n].child)
			n = t->nodes[n].child;
		parent = t->nodes[n].parent;
		drop(t, n);
		if (n == node)
			return;
		n = parent;
	}
}

/* The next in a walk, not going below n. */
static uint32_t walk_past(const struct rootfs *t, uint32_t top, uint32_t n)
{
	while (n != top) {
		if (t->nodes[n].next)
			return t->nodes[n].next;
		n = t->nodes[n].parent;
	}
	return 0;
}

uint32_t rootfs_walk(const struct rootfs *t, uint32_t top, uint32_t n)
{
	return t->nodes[n].child ? t->nodes[n].child : walk_past(t, top, n);
}

void rootfs_clear(struct rootfs *t, uint32_t dir, uint8_t layer)
{
	uint32_t n = rootfs_walk(t, dir, dir), next;

	if (t->nodes[dir].cleared == layer)
		return;
	t->nodes[dir].cleared = layer;
	for (; n; n = next) {
		struct rootfs_inode *i = rootfs_inode(t, n);

		if (t->nodes[n].layer != layer) {
			next = walk_past(t, dir, n);
			rootfs_remove(t, n);
			continue;
		}
		if (S_ISDIR(i->mode) && i->layer != layer)
			rootfs_plain_dir(i);
		next = rootfs_walk(t, dir, n);
	}
}

static bool comes_before(const struct rootfs *t, uint32_t a, uint32_t b)
{
	const struct rootfs_node *x = &t->nodes[a], *y = &t->nodes[b];
	size_t n = x->name_len < y->name_len ? x->name_len : y->name_len;
	int r = memcmp(t->pool + x->name_at, t->pool + y->name_at, n);

	return r < 0 || (r == 0 && x->name_len < y->name_len);
}

/* Two sorted lists into one. */
static uint32_t merge_lists(struct rootfs *t, uint32_t a, uint32_t b)
{
	uint32_t head = 0, *end = &head;

	while (a && b) {
		uint32_t *from = comes_before(t, a, b) ? &a : &b;

		*end = *from;
		end = &t->nodes[*from].next;
		*from = *end;
	}
	*end = a ? a : b;
	return head;
}

/* A merge sort of the list itself: list k of runs[] holds 2^k names. It takes
 * no memory, and makes no calls that a filter would have to know of, as the C
 * library's does. */
void rootfs_sort(struct rootfs *t, uint32_t dir)
{
	uint32_t runs[32] = {0}, n = t->nodes[dir].child, prev = 0;
	size_t k;

	while (n) {
		uint32_t one = n;

		n = t->nodes[n].next;
		t->nodes[one].next = 0;
		for (k = 0; runs[k]; k++) {
			one = merge_lists(t, runs[k], one);
			runs[k] = 0;
		}
		runs[k] = one;
	}
	for (k = 0; k < 32; k++)
		n = merge_lists(t, runs[k], n);
	t->nodes[dir].child = n;
	for (; n; n = t->nodes[n].next) {
		t->nodes[n].prev = prev;
		prev = n;
	}
}
