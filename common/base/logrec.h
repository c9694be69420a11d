/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record of a container's output, as it goes over vsock, lies in the host's
 * log files and goes to `hyb logs`: 24 bytes of header, little-endian (u64
 * offset, u64 time, u32 length, u8 stream, three zero bytes), and its bytes.
 */
#ifndef HYB_COMMON_BASE_LOGREC_H
#define HYB_COMMON_BASE_LOGREC_H

#include <stddef.h>
#include <stdint.h>

#define LOGREC_HEADER_SIZE 24
#define LOGREC_LENGTH_MAX  65536

#define LOGREC_STDOUT 1
#define LOGREC_STDERR 2

struct logrec {
	uint64_t offset; /* of its first byte in the container's whole output */
	uint64_t time;	 /* CLOCK_REALTIME, ns */
	uint32_t length; /* 1 ... LOGREC_LENGTH_MAX */
	uint8_t stream;
};

void logrec_encode(const struct logrec *r,
		   unsigned char out[LOGREC_HEADER_SIZE]);
/* 0, or -EBADMSG when a field is out of bounds. */
int logrec_decode(const unsigned char in[LOGREC_HEADER_SIZE],
		  struct logrec *ret);

#endif
