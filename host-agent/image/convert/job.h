/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hyb-image is asked to do, as its parent sends it: messages on a
 * SOCK_SEQPACKET socket (standard input), each of one line, with one
 * descriptor where one is named:
 *
 *   in                                         + descriptor
 *   out UUID MAX-BYTES                         + descriptor
 *   layer OFFSET SIZE DIGEST|- DIFF_ID|-       + descriptor
 *   go
 *
 * Numbers are decimal, UUID is 32 and digests are 64 hexadecimal digits.
 * Answers on standard output, one JSON object a line: {"progress": BYTES} at
 * times, then {"result": ...} or {"error": TEXT, "errno": NUMBER}.
 */
#ifndef HYB_IMAGE_CONVERT_JOB_H
#define HYB_IMAGE_CONVERT_JOB_H

#include "common/base/err.h"
#include "host-agent/image/convert/convert.h"

/* Longest message. */
#define JOB_LINE_MAX 256

struct job {
	int in;
	int out; /* -1: none */
	uint8_t uuid[16];
	uint64_t max_bytes;
	struct feed_layer layers[HYB_IMAGE_LAYERS_MAX];
	size_t n_layers;
};

/* Reads messages up to "go". Descriptors stay open as long as the process. */
int job_receive(int sock, struct job *ret, struct err *e);

#endif
