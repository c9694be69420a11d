/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/vsockd/mem.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Do [a, a + a_len) and [b, b + b_len) share a byte? Both are known not to
 * wrap. */
static bool overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

static int check_numbers(const struct mem_entry *r, struct err *e)
{
	if (r->size == 0 || r->size > VSOCKD_MEMORY_MAX)
		return err_set(e, EPROTO, "memory region of size %#jx",
			       (uintmax_t)r->size);
	if (r->guest_addr > UINT64_MAX - r->size ||
	    r->user_addr > UINT64_MAX - r->size ||
	    r->offset > VSOCKD_MEMORY_MAX)
		return err_set(e, EPROTO, "memory region at %#jx wraps",
			       (uintmax_t)r->guest_addr);
	return 0;
}

static int check_table(const struct mem_entry *r, size_t n, struct err *e)
{
	uint64_t total = 0;
	size_t i, j;
	int err;

	for (i = 0; i < n; i++) {
		err = check_numbers(&r[i], e);
		if (err < 0)
			return err;
		total += r[i].size; /* at most 8 * 2^44 */
		for (j = 0; j < i; j++)
			if (overlap(r[i].guest_addr, r[i].size, r[j].guest_addr,
				    r[j].size) ||
			    overlap(r[i].user_addr, r[i].size, r[j].user_addr,
				    r[j].size))
				return err_set(e, EPROTO,
					       "memory regions overlap");
	}
	if (total > VSOCKD_MEMORY_MAX)
		return err_set(e, EPROTO, "too much memory");
	return 0;
}

/*
 * The region lies in the file, and the file cannot shrink. Without the seal
 * QEMU could truncate it after this check, and the next look at a ring would
 * be a SIGBUS. (QEMU's memory-backend-memfd seals by default.)
 */
static int check_file(int fd, const struct mem_entry *r, struct err *e)
{
	struct stat st;
	int seals;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "look at guest memory");
	if (!S_ISREG(st.st_mode) || st.st_size < 0)
		return err_set(e, EPROTO, "guest memory is not a file");
	if (r->offset > (uint64_t)st.st_size ||
	    r->size > (uint64_t)st.st_size - r->offset)
		return err_set(e, EPROTO,
			       "memory region reaches beyond its file");
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || !(seals & F_SEAL_SHRINK)) {
		err_set(e, EPROTO, "guest memory is not sealed");
		err_hint(e, "give the VM memory of type memfd with seal=on");
		return -EPROTO;
	}
	return 0;
}

int mem_set(struct mem *m, const struct mem_entry *entry, const int *fds,
	    size_t n, struct err *e)
{
	struct mem_region *r;
	size_t i;
	int err;

	mem_done(m);
	if (n == 0 || n > VSOCKD_REGIONS_MAX)
		return err_set(e, EPROTO, "%zu memory regions", n);
	err = check_table(entry, n, e);
	for (i = 0; i < n && err == 0; i++) {
		err = check_file(fds[i], &entry[i], e);
		if (err < 0)
			break;
		r = &m->region[i];
		r->map = mmap(NULL, entry[i].size, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_NORESERVE, fds[i],
			      (off_t)entry[i].offset);
		if (r->map == MAP_FAILED) {
			err = err_sys(e, errno, "map guest memory");
			break;
		}
		r->at = entry[i];
		m->count = i + 1;
	}
	if (err < 0)
		mem_done(m);
	return err;
}

void mem_done(struct mem *m)
{
	while (m->count > 0) {
		m->count--;
		munmap(m->region[m->count].map, m->region[m->count].at.size);
	}
	memset(m, 0, sizeof(*m));
}

/* safe because base + size does not wrap (check_numbers) and the subtractions
 * follow the comparisons that keep them from going below zero. */
static bool within(uint64_t addr, uint64_t len, uint64_t base, uint64_t size)
{
	return addr >= base && addr - base <= size &&
	       len <= size - (addr - base);
}

void *mem_guest(const struct mem *m, uint64_t addr, uint64_t len)
{
	const struct mem_region *r;

	for (r = m->region; r < m->region + m->count; r++)
		if (within(addr, len, r->at.guest_addr, r->at.size))
			return r->map + (addr - r->at.guest_addr);
	return NULL;
}

void *mem_user(const struct mem *m, uint64_t addr, uint64_t len)
{
	const struct mem_region *r;

	for (r = m->region; r < m->region + m->count; r++)
		if (within(addr, len, r->at.user_addr, r->at.size))
			return r->map + (addr - r->at.user_addr);
	return NULL;
}
