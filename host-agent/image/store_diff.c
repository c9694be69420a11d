/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one file has that another has not, as a qcow2 file of version 3 for QEMU
 * to lay over it (QEMU's docs/interop/qcow2.txt): clusters that are the same
 * are not there, so they are read from the base. The base is not named in it:
 * who opens the file says what is below, and nothing in a file is followed.
 *
 *   header | data ... | level 2 tables ... | level 1 table | refcounts
 *
 * Data first: how much there is shows only at the end. The header comes last.
 */
#include "host-agent/image/store_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"

/* So small that hardly a byte is kept twice: runs of what differs begin and
 * end at blocks of the EROFS. docs/decisions/image-sharing.md has figures. */
#define CLUSTER_BITS 12u
#define CLUSTER	     (1u << CLUSTER_BITS)
#define PIECE	     (1u << 20) /* read at once; whole clusters */
#define PER_TABLE    (CLUSTER / 8)
#define PER_REFBLOCK (CLUSTER / 2)
#define SECTOR	     512u

/* In entries of both tables: used once; in those of level 2: reads as zeros. */
#define COPIED ((uint64_t)1 << 63)
#define ZERO   ((uint64_t)1)

/* It is not worth it where less is saved, or less than half of the file. */
#define SAVED_MIN ((uint64_t)512 << 10)

/* Offsets in the header. */
enum {
	AT_VERSION = 4,
	AT_CLUSTER_BITS = 20,
	AT_SIZE = 24,
	AT_L1_SIZE = 36,
	AT_L1 = 40,
	AT_REFTABLE = 48,
	AT_REFTABLE_CLUSTERS = 56,
	AT_REFCOUNT_ORDER = 96,
	AT_HEADER_LENGTH = 100,
	HEADER_LENGTH = 104
};

struct diff {
	int from, base, to;
	uint64_t size, n_clusters;
	uint64_t next; /* first cluster of `to` that is free */
	uint64_t *map; /* entries of level 2, of all clusters */
	uint64_t l1, l1_size, reftable, reftable_clusters;
	uint8_t want[PIECE], have[PIECE];
};

static uint64_t div_up(uint64_t n, uint64_t by)
{
	return (n + by - 1) / by;
}

static void put_be(uint8_t *p, size_t n, uint64_t v)
{
	while (n--) {
		p[n] = (uint8_t)v;
		v >>= 8;
	}
}

/* Behind a file's end there are zeros. */
static int read_at(int fd, uint8_t *p, size_t len, uint64_t at)
{
	ssize_t n = pread_full(fd, p, len, at);

	if (n < 0)
		return (int)n;
	memset(p + n, 0, len - (size_t)n);
	return 0;
}

/* --------------------------------------------------------------------- data */

static bool is_same(const struct diff *d, size_t i)
{
	return memcmp(d->want + i, d->have + i, CLUSTER) == 0;
}

static bool is_zero(const uint8_t *p)
{
	return p[0] == 0 && memcmp(p, p + 1, CLUSTER - 1) == 0;
}

/* The run of clusters from i on that are data of its own; its end. */
static size_t data_end(const struct diff *d, size_t i, size_t len)
{
	while (i < len && !is_same(d, i) && !is_zero(d->want + i))
		i += CLUSTER;
	return i;
}

static int add_piece(struct diff *d, uint64_t at, size_t len)
{
	uint64_t *map = d->map + at / CLUSTER;
	size_t i = 0, k, end;
	int r;

	while (i < len) {
		end = data_end(d, i, len);
		if (end == i) {
			map[i / CLUSTER] = is_same(d, i) ? 0 : ZERO;
			i += CLUSTER;
			continue;
		}
		r = pwrite_full(d->to, d->want + i, end - i, d->next * CLUSTER);
		if (r < 0)
			return r;
		for (k = i; k < end; k += CLUSTER)
			map[k / CLUSTER] = d->next++ * CLUSTER | COPIED;
		i = end;
	}
	return 0;
}

static int add_data(struct diff *d)
{
	uint64_t at;
	size_t len;
	int r;

	for (at = 0; at < d->size; at += len) {
		len = d->size - at < PIECE ? (size_t)(d->size - at) : PIECE;
		r = read_at(d->from, d->want, len, at);
		if (r == 0)
			r = read_at(d->base, d->have, len, at);
		if (r < 0)
			return r;
		/* The last cluster may end behind the file. */
		memset(d->want + len, 0, -len % CLUSTER);
		memset(d->have + len, 0, -len % CLUSTER);
		r = add_piece(d, at, len);
		if (r < 0)
			return r;
		if (d->next * CLUSTER > d->size / 2)
			return -ENODATA;
	}
	return 0;
}

/* ------------------------------------------------------------------- tables */

/* A table of n entries, in whole clusters behind what there is. */
static int add_table(struct diff *d, const uint64_t *entries, uint64_t n,
		     uint64_t *ret_at)
{
	uint64_t i;
	size_t k;
	int r;

	*ret_at = d->next * CLUSTER;
	for (i = 0; i < n; i += PER_TABLE) {
		memset(d->want, 0, CLUSTER);
		for (k = 0; k < PER_TABLE && i + k < n; k++)
			put_be(d->want + k * 8, 8, entries[i + k]);
		r = pwrite_full(d->to, d->want, CLUSTER, d->next++ * CLUSTER);
		if (r < 0)
			return r;
	}
	return 0;
}

static bool is_empty(const uint64_t *entries, uint64_t n)
{
	while (n > 0 && entries[n - 1] == 0)
		n--;
	return n == 0;
}

/* Of what is the base's all along there is no table of level 2. */
static int add_map(struct diff *d)
{
	_cleanup_free_ uint64_t *l1 = NULL;
	uint64_t i, at, n;
	int r;

	d->l1_size = div_up(d->n_clusters, PER_TABLE);
	l1 = calloc(d->l1_size, sizeof(*l1));
	if (!l1)
		return -ENOMEM;
	for (i = 0; i < d->l1_size; i++) {
		n = d->n_clusters - i * PER_TABLE;
		n = n < PER_TABLE ? n : PER_TABLE;
		if (is_empty(d->map + i * PER_TABLE, n))
			continue;
		r = add_table(d, d->map + i * PER_TABLE, n, &at);
		if (r < 0)
			return r;
		l1[i] = at | COPIED;
	}
	return add_table(d, l1, d->l1_size, &d->l1);
}

/* Each cluster is used once, those of the refcounts too. */
static int add_refcounts(struct diff *d)
{
	_cleanup_free_ uint64_t *table = NULL;
	uint64_t blocks = 0, total = d->next, want, i;
	size_t k;
	int r;

	do {
		want = total;
		blocks = div_up(total, PER_REFBLOCK);
		d->reftable_clusters = div_up(blocks, PER_TABLE);
		total = d->next + blocks + d->reftable_clusters;
	} while (total != want);
	table = calloc(blocks, sizeof(*table));
	if (!table)
		return -ENOMEM;
	for (i = 0; i < blocks; i++) {
		table[i] = d->next * CLUSTER;
		for (k = 0; k < PER_REFBLOCK; k++)
			put_be(d->want + k * 2, 2,
			       i * PER_REFBLOCK + k < total);
		r = pwrite_full(d->to, d->want, CLUSTER, d->next++ * CLUSTER);
		if (r < 0)
			return r;
	}
	return add_table(d, table, blocks, &d->reftable);
}

static int add_header(struct diff *d)
{
	uint8_t *h = d->want;

	memset(h, 0, CLUSTER);
	memcpy(h, "QFI\xfb", 4);
	put_be(h + AT_VERSION, 4, 3);
	put_be(h + AT_CLUSTER_BITS, 4, CLUSTER_BITS);
	put_be(h + AT_SIZE, 8, d->size);
	put_be(h + AT_L1_SIZE, 4, d->l1_size);
	put_be(h + AT_L1, 8, d->l1);
	put_be(h + AT_REFTABLE, 8, d->reftable);
	put_be(h + AT_REFTABLE_CLUSTERS, 4, d->reftable_clusters);
	put_be(h + AT_REFCOUNT_ORDER, 4, 4); /* of 16 bits each */
	put_be(h + AT_HEADER_LENGTH, 4, HEADER_LENGTH);
	return pwrite_full(d->to, h, CLUSTER, 0);
}

static int write_all(struct diff *d)
{
	int r = add_data(d);

	if (r == 0)
		r = add_map(d);
	if (r == 0)
		r = add_refcounts(d);
	if (r == 0 && d->next * CLUSTER + SAVED_MIN > d->size)
		r = -ENODATA;
	return r < 0 ? r : add_header(d);
}

bool store_diff_same(int a, int b)
{
	_cleanup_free_ struct diff *d = malloc(sizeof(*d));
	struct stat x, y;
	uint64_t at;
	bool same;

	if (!d || fstat(a, &x) < 0 || fstat(b, &y) < 0)
		return false;
	same = x.st_size == y.st_size;
	for (at = 0; same && at < (uint64_t)x.st_size; at += PIECE)
		same = read_at(a, d->want, PIECE, at) == 0 &&
		       read_at(b, d->have, PIECE, at) == 0 &&
		       memcmp(d->want, d->have, PIECE) == 0;
	return same;
}

int store_diff_write(int from, int base, int to)
{
	_cleanup_free_ struct diff *d = malloc(sizeof(*d));
	struct stat st;
	int r;

	if (!d)
		return -ENOMEM;
	if (fstat(from, &st) < 0)
		return -errno;
	if (st.st_size < (off_t)SAVED_MIN || st.st_size % SECTOR)
		return -ENODATA;
	d->from = from;
	d->base = base;
	d->to = to;
	d->size = (uint64_t)st.st_size;
	d->n_clusters = div_up(d->size, CLUSTER);
	d->next = 1; /* behind the header */
	d->map = calloc(d->n_clusters, sizeof(*d->map));
	if (!d->map)
		return -ENOMEM;
	r = write_all(d);
	free(d->map);
	return r;
}
