/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/vsockd/iov.h"

#include <stdint.h>
#include <string.h>

size_t iov_cut(const struct iovec *iov, size_t n, size_t from, size_t len,
	       struct iovec *out)
{
	size_t i, part, count = 0;

	for (i = 0; i < n && len > 0; i++) {
		if (from >= iov[i].iov_len) {
			from -= iov[i].iov_len;
			continue;
		}
		part = iov[i].iov_len - from;
		if (part > len)
			part = len;
		out[count].iov_base = (uint8_t *)iov[i].iov_base + from;
		out[count++].iov_len = part;
		from = 0;
		len -= part;
	}
	return count;
}

/* Copies between the segments and flat memory, in one direction or the
 * other. */
static size_t copy(const struct iovec *iov, size_t n, size_t from,
		   uint8_t *flat_to, const uint8_t *flat_from, size_t len)
{
	size_t i, part, done = 0;
	uint8_t *p;

	for (i = 0; i < n && done < len; i++) {
		if (from >= iov[i].iov_len) {
			from -= iov[i].iov_len;
			continue;
		}
		part = iov[i].iov_len - from;
		if (part > len - done)
			part = len - done;
		p = (uint8_t *)iov[i].iov_base + from;
		if (flat_to)
			memcpy(flat_to + done, p, part);
		else
			memcpy(p, flat_from + done, part);
		done += part;
		from = 0;
	}
	return done;
}

size_t iov_read(const struct iovec *iov, size_t n, size_t from, void *to,
		size_t len)
{
	return copy(iov, n, from, to, NULL, len);
}

size_t iov_write(const struct iovec *iov, size_t n, size_t from,
		 const void *data, size_t len)
{
	return copy(iov, n, from, NULL, data, len);
}
