/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/convert/feed.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "common/base/parse.h"
#include "host-agent/image/convert/inflate.h"

#define THREADS_MAX 4
#define BUFFERS	    6
#define BUFFER_SIZE (512u * 1024u)
#define INPUT_SIZE  (256u * 1024u)

struct buffer {
	uint8_t *data;
	size_t len;
};

/* One layer at work. Fields below the line belong to the lock. */
struct stream {
	const struct feed_layer *layer;
	struct buffer buffers[BUFFERS];
	uint8_t digest[FEED_DIGEST_LEN]; /* set before `done` */
	EVP_MD_CTX *md;			 /* consumer's, of the diff_id */
	/* lock */
	unsigned int head, tail; /* buffers taken and filled, ever */
	bool done;		 /* no more buffers; err says how it went */
	struct err err;
};

struct feed {
	const struct feed_layer *layers;
	size_t n;
	struct stream *streams;
	pthread_t threads[THREADS_MAX];
	unsigned int n_threads;
	uint64_t max_bytes;
	void (*on_start)(void);
	size_t current; /* the consumer's layer */
	bool holding;	/* the consumer reads from a buffer */

	pthread_mutex_t lock;
	pthread_cond_t change;
	size_t next;	 /* layer that no thread has taken */
	size_t finished; /* layers that the consumer is done with */
	bool stop;
	uint64_t taken; /* compressed bytes */
	uint64_t produced;
};

/* Waits for an empty buffer; NULL: stop. */
static struct buffer *get_empty(struct feed *f, struct stream *s)
{
	struct buffer *b = NULL;

	pthread_mutex_lock(&f->lock);
	while (!f->stop && s->tail - s->head == BUFFERS)
		pthread_cond_wait(&f->change, &f->lock);
	if (!f->stop)
		b = &s->buffers[s->tail % BUFFERS];
	pthread_mutex_unlock(&f->lock);
	return b;
}

static int put_full(struct feed *f, struct stream *s, size_t read,
		    struct err *e)
{
	struct buffer *b = &s->buffers[s->tail % BUFFERS];
	int r = 0;

	pthread_mutex_lock(&f->lock);
	f->taken += read;
	f->produced += b->len;
	if (f->produced > f->max_bytes)
		r = err_set(e, EFBIG,
			    "the layers hold more than the limit of %llu MiB",
			    (unsigned long long)f->max_bytes >> 20);
	else if (b->len)
		s->tail++;
	pthread_cond_broadcast(&f->change);
	pthread_mutex_unlock(&f->lock);
	return r;
}

/* The next piece of the file into in[]; bytes, 0 at its end, or -errno. */
static ssize_t read_input(const struct feed_layer *l, uint64_t at, uint8_t *in,
			  struct err *e)
{
	size_t want =
		l->size - at < INPUT_SIZE ? (size_t)(l->size - at) : INPUT_SIZE;
	ssize_t n;

	if (want == 0)
		return 0;
	do
		n = pread(l->fd, in, want, (off_t)(l->offset + at));
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return err_sys(e, errno, "read");
	if (n == 0)
		return err_set(e, ENODATA,
			       "the file ends %llu bytes before the layer does",
			       (unsigned long long)(l->size - at));
	return n;
}

struct decoder {
	struct feed *f;
	struct stream *s;
	struct inflate *z;
	EVP_MD_CTX *md;
	uint8_t *in;
};

/* Decodes in[len] into buffers. -ECANCELED: stop. */
static int decode(struct decoder *d, size_t len, struct err *e)
{
	const uint8_t *p = d->in;
	size_t counted = len, out, left;
	struct buffer *b;
	int r;

	do {
		b = get_empty(d->f, d->s);
		if (!b)
			return err_sys(e, ECANCELED, "read");
		left = len;
		r = inflate_step(d->z, &p, &len, b->data + b->len,
				 BUFFER_SIZE - b->len, &out, e);
		if (r < 0)
			return r;
		if (out == 0 && len > 0 && len == left)
			return err_set(e, EBADMSG,
				       "the compressed data are broken");
		b->len += out;
		out = b->len;
		if (out < BUFFER_SIZE)
			continue; /* not full: goes on with the next input */
		r = put_full(d->f, d->s, counted, e);
		counted = 0;
		if (r < 0)
			return r;
	} while (len > 0 || out == BUFFER_SIZE);
	return 0;
}

static int decode_layer(struct decoder *d, struct err *e)
{
	const struct feed_layer *l = d->s->layer;
	uint64_t at = 0;
	ssize_t n;
	int r;

	if (EVP_DigestInit_ex(d->md, EVP_sha256(), NULL) != 1)
		return err_set(e, EIO, "sha256 does not work");
	while ((n = read_input(l, at, d->in, e)) > 0) {
		EVP_DigestUpdate(d->md, d->in, (size_t)n);
		if (!d->z) {
			d->z = inflate_new(inflate_detect(d->in, (size_t)n));
			if (!d->z)
				return err_sys(e, ENOMEM, "read");
		}
		r = decode(d, (size_t)n, e);
		if (r < 0)
			return r;
		at += (uint64_t)n;
	}
	if (n < 0)
		return (int)n;
	EVP_DigestFinal_ex(d->md, d->s->digest, NULL);
	if (d->z) {
		r = inflate_end(d->z, e);
		if (r < 0)
			return r;
	}
	/* The last buffer, not full. */
	if (!get_empty(d->f, d->s))
		return err_sys(e, ECANCELED, "read");
	return put_full(d->f, d->s, 0, e);
}

static int alloc_buffers(struct stream *s, struct err *e)
{
	size_t i;

	for (i = 0; i < BUFFERS; i++) {
		s->buffers[i].data = malloc(BUFFER_SIZE);
		if (!s->buffers[i].data)
			return err_sys(e, ENOMEM, "read");
	}
	return 0;
}

static void free_buffers(struct stream *s)
{
	size_t i;

	for (i = 0; i < BUFFERS; i++) {
		free(s->buffers[i].data);
		s->buffers[i].data = NULL;
	}
}

static void work_layer(struct feed *f, struct stream *s)
{
	struct decoder d = {.f = f,
			    .s = s,
			    .md = EVP_MD_CTX_new(),
			    .in = malloc(INPUT_SIZE)};
	struct err err = ERR_INIT;
	int r;

	r = d.md && d.in ? alloc_buffers(s, &err)
			 : err_sys(&err, ENOMEM, "read");
	if (r == 0)
		r = decode_layer(&d, &err);
	inflate_free(d.z);
	EVP_MD_CTX_free(d.md);
	free(d.in);
	pthread_mutex_lock(&f->lock);
	s->done = true;
	s->err = err;
	pthread_cond_broadcast(&f->change);
	pthread_mutex_unlock(&f->lock);
}

static void *on_thread(void *arg)
{
	struct feed *f = arg;

	if (f->on_start)
		f->on_start();
	for (;;) {
		size_t i;

		pthread_mutex_lock(&f->lock);
		/* Not further ahead than there are threads, so that buffers
		 * wait for the consumer in that many layers only. */
		while (!f->stop && f->next < f->n &&
		       f->next >= f->finished + f->n_threads)
			pthread_cond_wait(&f->change, &f->lock);
		i = f->stop ? f->n : f->next;
		if (i < f->n)
			f->next++;
		pthread_mutex_unlock(&f->lock);
		if (i >= f->n)
			return NULL;
		work_layer(f, &f->streams[i]);
	}
}

static unsigned int count_threads(unsigned int want, size_t layers)
{
	cpu_set_t set;
	unsigned int n = want;

	if (n == 0) {
		n = 2;
		if (sched_getaffinity(0, sizeof(set), &set) == 0)
			n = (unsigned int)CPU_COUNT(&set);
	}
	if (n > THREADS_MAX)
		n = THREADS_MAX;
	if (n > layers)
		n = (unsigned int)layers;
	return n ? n : 1;
}

int feed_new(const struct feed_layer *layers, size_t n, unsigned int threads,
	     uint64_t max_bytes, void (*on_start)(void), struct feed **ret,
	     struct err *e)
{
	struct feed *f = calloc(1, sizeof(*f));
	unsigned int want = count_threads(threads, n);
	size_t i;
	int r = 0;

	if (!f)
		return err_sys(e, ENOMEM, "read");
	f->layers = layers;
	f->n = n;
	f->max_bytes = max_bytes;
	f->on_start = on_start;
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->change, NULL);
	f->streams = calloc(n, sizeof(*f->streams));
	if (!f->streams) {
		feed_free(f);
		return err_sys(e, ENOMEM, "read");
	}
	for (i = 0; i < n; i++)
		f->streams[i].layer = &layers[i];
	pthread_mutex_lock(&f->lock);
	for (; f->n_threads < want; f->n_threads++) {
		r = pthread_create(&f->threads[f->n_threads], NULL, on_thread,
				   f);
		if (r != 0)
			break;
	}
	pthread_mutex_unlock(&f->lock);
	if (f->n_threads == 0) {
		feed_free(f);
		return err_sys(e, r, "start a thread");
	}
	*ret = f;
	return 0;
}

void feed_free(struct feed *f)
{
	size_t i;

	if (!f)
		return;
	pthread_mutex_lock(&f->lock);
	f->stop = true;
	pthread_cond_broadcast(&f->change);
	pthread_mutex_unlock(&f->lock);
	for (i = 0; i < f->n_threads; i++)
		pthread_join(f->threads[i], NULL);
	for (i = 0; f->streams && i < f->n; i++) {
		free_buffers(&f->streams[i]);
		EVP_MD_CTX_free(f->streams[i].md);
	}
	free(f->streams);
	pthread_cond_destroy(&f->change);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

/* The consumer's byte_source. */
static ssize_t next_bytes(void *arg, const uint8_t **ret, struct err *e)
{
	struct feed *f = arg;
	struct stream *s = &f->streams[f->current];
	struct buffer *b = NULL;

	pthread_mutex_lock(&f->lock);
	if (f->holding) {
		s->buffers[s->head % BUFFERS].len = 0;
		s->head++;
		f->holding = false;
		pthread_cond_broadcast(&f->change);
	}
	while (s->head == s->tail && !s->done)
		pthread_cond_wait(&f->change, &f->lock);
	if (s->head != s->tail) {
		b = &s->buffers[s->head % BUFFERS];
		f->holding = true;
	} else if (s->err.code) {
		*e = s->err;
	}
	pthread_mutex_unlock(&f->lock);
	if (!b)
		return s->err.code ? -s->err.code : 0;
	EVP_DigestUpdate(s->md, b->data, b->len);
	*ret = b->data;
	return (ssize_t)b->len;
}

void feed_begin(struct feed *f, size_t i, struct byte_source *ret)
{
	struct stream *s = &f->streams[i];

	f->current = i;
	f->holding = false;
	s->md = EVP_MD_CTX_new();
	if (s->md)
		EVP_DigestInit_ex(s->md, EVP_sha256(), NULL);
	*ret = (struct byte_source){.next = next_bytes, .arg = f};
}

static int check_one(const char *what, const uint8_t *want, const uint8_t *have,
		     struct err *e)
{
	char a[2 * FEED_DIGEST_LEN + 1], b[2 * FEED_DIGEST_LEN + 1];

	if (memcmp(want, have, FEED_DIGEST_LEN) == 0)
		return 0;
	hex_format(want, FEED_DIGEST_LEN, a);
	hex_format(have, FEED_DIGEST_LEN, b);
	return err_set(e, EBADMSG,
		       "its %s is sha256:%s, and should be sha256:%s", what, b,
		       a);
}

int feed_check(struct feed *f, struct err *e)
{
	struct stream *s = &f->streams[f->current];
	uint8_t diff_id[FEED_DIGEST_LEN];
	int r = 0;

	if (!s->md || EVP_DigestFinal_ex(s->md, diff_id, NULL) != 1)
		return err_set(e, EIO, "sha256 does not work");
	if (s->layer->has_digest)
		r = check_one("digest", s->layer->digest, s->digest, e);
	if (r == 0 && s->layer->has_diff_id)
		r = check_one("uncompressed digest (diff_id)",
			      s->layer->diff_id, diff_id, e);
	if (r < 0)
		return r;
	/* The thread is done with it. */
	free_buffers(s);
	pthread_mutex_lock(&f->lock);
	f->finished++;
	pthread_cond_broadcast(&f->change);
	pthread_mutex_unlock(&f->lock);
	return 0;
}

uint64_t feed_progress(struct feed *f)
{
	uint64_t n;

	pthread_mutex_lock(&f->lock);
	n = f->taken;
	pthread_mutex_unlock(&f->lock);
	return n;
}
