/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of bytes in a list of segments (of the guest's memory). */
#ifndef HYB_HOST_AGENT_VSOCKD_IOV_H
#define HYB_HOST_AGENT_VSOCKD_IOV_H

#include <stddef.h>
#include <sys/uio.h>

/* The segments of bytes [from, from + len) into out, which has room for n;
 * how many. What lies beyond the end is left out. */
size_t iov_cut(const struct iovec *iov, size_t n, size_t from, size_t len,
	       struct iovec *out);
/* Copies out of and into the segments; the bytes copied. */
size_t iov_read(const struct iovec *iov, size_t n, size_t from, void *to,
		size_t len);
size_t iov_write(const struct iovec *iov, size_t n, size_t from,
		 const void *data, size_t len);

#endif
