/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/convert/convert.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"

/* Passes a layer's bytes on and tells how far the work has come. */
struct watch {
	const struct convert_job *job;
	struct feed *feed;
	struct byte_source src;
};

static ssize_t watched(void *arg, const uint8_t **ret, struct err *e)
{
	struct watch *w = arg;

	if (w->job->progress)
		w->job->progress(w->job->arg, feed_progress(w->feed));
	return w->src.next(w->src.arg, ret, e);
}

static int name_layer(const struct convert_job *job, size_t i, struct err *e)
{
	const struct feed_layer *l = &job->layers[i];
	char hex[2 * FEED_DIGEST_LEN + 1];

	hex_format(l->has_digest ? l->digest : l->diff_id, FEED_DIGEST_LEN,
		   hex);
	hex[12] = '\0';
	return err_wrap(e, "layer %zu (sha256:%s)", i + 1, hex);
}

static int run_layers(const struct convert_job *job, struct feed *feed,
		      struct merge *m, struct err *e)
{
	size_t i;
	int r;

	for (i = 0; i < job->n_layers; i++) {
		struct watch w = {.job = job, .feed = feed};
		struct byte_source src = {.next = watched, .arg = &w};

		feed_begin(feed, i, &w.src);
		r = merge_layer(m, &src, e);
		if (r == 0)
			r = feed_check(feed, e);
		if (r < 0)
			return name_layer(job, i, e);
	}
	return 0;
}

int convert_run(const struct convert_job *job, struct convert_result *ret,
		struct err *e)
{
	uint64_t max = job->max_bytes ? job->max_bytes : HYB_IMAGE_BYTES_MAX;
	_cleanup_(cleanup_erofs) struct erofs *out = NULL;
	_cleanup_(cleanup_merge) struct merge *m = NULL;
	_cleanup_(cleanup_feed) struct feed *feed = NULL;
	struct convert_result res = {0};
	int r;

	if (job->n_layers == 0)
		return err_set(e, EINVAL, "the image has no layers");
	if (job->n_layers > HYB_IMAGE_LAYERS_MAX)
		return err_set(e, E2BIG, "the image has more than %d layers",
			       HYB_IMAGE_LAYERS_MAX);
	r = erofs_new(job->out, max, job->uuid, &out, e);
	if (r == 0)
		r = merge_new(out,
			      job->max_entries ? job->max_entries
					       : HYB_IMAGE_ENTRIES_MAX,
			      &m, e);
	if (r == 0)
		r = feed_new(job->layers, job->n_layers, job->threads, max,
			     job->confine, &feed, e);
	if (r == 0 && job->confine)
		job->confine();
	if (r == 0)
		r = run_layers(job, feed, m, e);
	if (r == 0)
		r = merge_finish(m, &res.stats, &res.bytes, e);
	if (r < 0)
		return r;
	*ret = res;
	return 0;
}

int convert_plain(int in, int out, uint64_t max_bytes, void (*confine)(void),
		  uint64_t *ret_bytes, struct err *e)
{
	_cleanup_(cleanup_feed) struct feed *feed = NULL;
	struct feed_layer l = {.fd = in};
	struct byte_source src;
	const uint8_t *p;
	uint64_t bytes = 0;
	struct stat st;
	ssize_t n;
	int r;

	if (fstat(in, &st) < 0)
		return err_sys(e, errno, "read");
	l.size = (uint64_t)st.st_size;
	r = feed_new(&l, 1, 1, max_bytes, confine, &feed, e);
	if (r < 0)
		return r;
	if (confine)
		confine();
	feed_begin(feed, 0, &src);
	while ((n = src.next(src.arg, &p, e)) > 0) {
		r = pwrite_full(out, p, (size_t)n, bytes);
		if (r < 0)
			return err_sys(e, -r, "write");
		bytes += (uint64_t)n;
	}
	if (n < 0)
		return (int)n;
	*ret_bytes = bytes;
	return 0;
}
