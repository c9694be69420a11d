/* SPDX-License-Identifier: Apache-2.0 */
/* Two layers of tar through the merge into an EROFS file, which is then read
 * back. Header sums are put right first, or nothing would get past them. The
 * first byte says where the second layer begins and how small the pieces are.
 */
#include "host-agent/image/convert/erofs.h"
#include "host-agent/image/convert/merge.h"
#include "tests/unit/image_build.h"

#include <fcntl.h>

#define BYTES_MAX (64ull << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fix_sums(uint8_t *p, size_t len)
{
	for (; len >= 512; p += 512, len -= 512) {
		char h[512];

		if (memcmp(p + 257, "ustar", 5) != 0)
			continue;
		memcpy(h, p, sizeof(h));
		tar_sum(h);
		memcpy(p, h, sizeof(h));
	}
}

static int add(struct merge *m, const uint8_t *data, size_t len, size_t step)
{
	struct mem_source mem = {.data = data, .len = len, .step = step};
	struct byte_source src = {.next = mem_next, .arg = &mem};
	struct err e = ERR_INIT;
	int r = merge_layer(m, &src, &e);

	assert(r == 0 || e.msg[0]);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t uuid[16];
	static int fd = -1;
	struct buf out = BUF_INIT;
	struct erofs *w = NULL;
	struct merge *m = NULL;
	struct merge_stats stats;
	struct err e = ERR_INIT;
	uint64_t bytes;
	uint8_t *copy;
	size_t cut;
	int r;

	if (size < 1)
		return 0;
	if (fd < 0)
		fd = memfd_create("image", MFD_CLOEXEC);
	copy = malloc(size);
	memcpy(copy, data, size);
	fix_sums(copy + 1, size - 1);
	cut = (size_t)(copy[0] >> 3) * 512;
	if (cut > size - 1)
		cut = size - 1;
	r = ftruncate(fd, 0);
	assert(r == 0);
	r = erofs_new(fd, BYTES_MAX, uuid, &w, &e);
	assert(r == 0);
	r = merge_new(w, 1000, &m, &e);
	assert(r == 0);
	r = add(m, copy + 1, cut, 1 + (copy[0] & 7u) * 100);
	if (r == 0)
		r = add(m, copy + 1 + cut, size - 1 - cut, 100000);
	if (r == 0)
		r = merge_finish(m, &stats, &bytes, &e);
	if (r == 0) {
		out.max = 16u << 20;
		erofs_list(fd, &out, true);
	}
	buf_done(&out);
	merge_free(m);
	erofs_free(w);
	free(copy);
	return 0;
}
