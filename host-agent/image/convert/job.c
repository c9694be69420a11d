/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/convert/job.h"

#include <errno.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"

#define WORDS_MAX 5

static int bad(struct err *e)
{
	return err_set(e, EINVAL, "a message on standard input is not valid");
}

static int get_digest(const char *s, bool *has, uint8_t *out)
{
	*has = strcmp(s, "-") != 0;
	return *has ? hex_parse(s, out, FEED_DIGEST_LEN) : 0;
}

static int on_layer(struct job *j, char *const *w, int fd)
{
	struct feed_layer *l = &j->layers[j->n_layers];

	if (j->n_layers == HYB_IMAGE_LAYERS_MAX)
		return -E2BIG;
	l->fd = fd;
	if (parse_u64(w[1], 0, INT64_MAX / 2, &l->offset) < 0 ||
	    parse_u64(w[2], 0, INT64_MAX / 2, &l->size) < 0 ||
	    get_digest(w[3], &l->has_digest, l->digest) < 0 ||
	    get_digest(w[4], &l->has_diff_id, l->diff_id) < 0)
		return -EINVAL;
	j->n_layers++;
	return 0;
}

/* 1: go. The descriptor is the job's from then on. */
static int on_line(struct job *j, char *line, int *fd, struct err *e)
{
	char *w[WORDS_MAX] = {NULL}, *save = NULL, *p;
	size_t n = 0;
	int r = 0;

	for (p = strtok_r(line, " \n", &save); p && n < WORDS_MAX;
	     p = strtok_r(NULL, " \n", &save))
		w[n++] = p;
	if (n == 1 && strcmp(w[0], "go") == 0)
		return 1;
	if (n == 0 || *fd < 0)
		return bad(e);
	if (n == 1 && strcmp(w[0], "in") == 0)
		j->in = *fd;
	else if (n == 3 && strcmp(w[0], "out") == 0 &&
		 hex_parse(w[1], j->uuid, sizeof(j->uuid)) == 0 &&
		 parse_u64(w[2], 0, INT64_MAX / 2, &j->max_bytes) == 0)
		j->out = *fd;
	else if (n == 5 && strcmp(w[0], "layer") == 0)
		r = on_layer(j, w, *fd);
	else
		return bad(e);
	if (r < 0)
		return bad(e);
	*fd = -1;
	return 0;
}

int job_receive(int sock, struct job *ret, struct err *e)
{
	char line[JOB_LINE_MAX + 1];

	memset(ret, 0, sizeof(*ret));
	ret->in = -1;
	ret->out = -1;
	for (;;) {
		_cleanup_close_ int fd = -1;
		size_t n_fds = 0;
		ssize_t n = fds_recv(sock, line, JOB_LINE_MAX, &fd, 1, &n_fds);
		int r;

		if (n == -EINTR)
			continue;
		if (n < 0)
			return err_sys(e, (int)-n, "standard input");
		if (n == 0)
			return err_set(e, EPIPE,
				       "standard input ends before 'go'");
		if (n_fds == 0)
			fd = -1;
		line[n] = '\0';
		r = on_line(ret, line, &fd, e);
		if (r < 0)
			return r;
		if (r > 0)
			return 0;
	}
}
