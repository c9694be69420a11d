/* SPDX-License-Identifier: Apache-2.0 */
/* Runs skopeo: as the store's user, with nothing of our environment but
 * proxies, and a home that is a folder of this one pull. */
#ifndef HYB_HOST_IMAGE_SKOPEO_H
#define HYB_HOST_IMAGE_SKOPEO_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct skopeo {
	const char *program;
	const char *home;
	uid_t uid; /* if we are root */
	gid_t gid;
	const char *arch, *variant; /* NULL or "": the host's */
	const char *authfile;	    /* or NULL */
	bool no_tls_verify;
};

/* Starts it with these words behind its general options; out and err are its
 * outputs (-1: /dev/null). Its end is the caller's to wait for. */
int skopeo_spawn(const struct skopeo *k, const char *const *words, int out,
		 int err, pid_t *ret_pid, int *ret_pidfd, struct err *e);

/* Of what it wrote to its error output, the message of its last error: the line
 * is time="..." level=fatal msg="WHY", quoted as Go quotes. */
void skopeo_reason(const char *text, char *out, size_t size);

#endif
