/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 *
 * Each container has a stream: a connection that the guest writes records to,
 * and a log file. The thread polls all connections; what it receives is
 * checked record by record (the guest may be an enemy: length, stream and the
 * offset, which must be exactly the next one), made absolute by adding the
 * stream's base, appended to the file in one write, and acknowledged.
 *
 * A connection that ends may have ended because the container has, or because
 * a device or a guest died. The stream is opened again from where the file
 * ends: when the guest then ends it at once without a byte, it is drained.
 */
#include "host-agent/reconcile/logpump.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "host-agent/guest/agent.h"
#include "host-agent/reconcile/logfile.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define STREAMS_MAX HYB_AGENT_CONTAINERS_MAX
#define IN_MAX	    ((size_t)4 * (LOGREC_HEADER_SIZE + LOGREC_LENGTH_MAX))
#define RETRY_MS    100
#define OPEN_MS	    5000

enum stream_phase {
	STREAM_FREE,
	STREAM_OPENING, /* to be (re)opened at retry_at */
	STREAM_OPEN,
	STREAM_DRAINED,
	STREAM_REMOVED, /* to be closed by the thread */
};

struct stream {
	enum stream_phase phase;
	char name[80];
	char id[80];
	uint64_t base;
	uint64_t retry_at;
	bool got_bytes; /* since it was opened */
	struct logfile file;
	int fd;
	unsigned char *in; /* IN_MAX */
	size_t in_len;
};

struct logpump {
	char dir[400];
	struct vsock_addr addr;
	void (*changed)(void *arg);
	void *arg;
	pthread_t thread;
	pthread_mutex_t lock; /* of phases and the quit flag */
	pthread_cond_t cond;
	int wake;
	bool quit;
	struct stream streams[STREAMS_MAX];
};

static void stream_close(struct stream *s)
{
	cleanup_close(&s->fd);
	logfile_close(&s->file);
	free(s->in);
	s->in = NULL;
	s->in_len = 0;
}

static void pump_wake(struct logpump *p)
{
	uint64_t one = 1;

	if (write(p->wake, &one, sizeof(one)) < 0)
		log_debug("wake the log pump: %s", strerror(errno));
}

static void stream_set(struct logpump *p, struct stream *s,
		       enum stream_phase phase)
{
	pthread_mutex_lock(&p->lock);
	if (s->phase != STREAM_REMOVED)
		s->phase = phase;
	pthread_cond_broadcast(&p->cond);
	pthread_mutex_unlock(&p->lock);
	if (p->changed)
		p->changed(p->arg);
}

static void stream_retry(struct logpump *p, struct stream *s)
{
	cleanup_close(&s->fd);
	s->in_len = 0;
	s->retry_at = now_ms() + RETRY_MS;
	stream_set(p, s, STREAM_OPENING);
}

/* Opens the stream's file and connection; a failure is tried again later. */
static void stream_open(struct logpump *p, struct stream *s)
{
	struct err e = ERR_INIT;
	uint64_t offset;

	if (s->file.fd < 0 && logfile_open(p->dir, s->name, &s->file, &e) < 0) {
		log_warn("%s", e.msg);
		stream_retry(p, s);
		return;
	}
	/* A log that was removed by hand begins at the base again. */
	if (s->file.end < s->base)
		s->file.end = s->base;
	offset = s->file.end - s->base;
	if (agent_logs(&p->addr, s->id, offset, now_ms() + OPEN_MS, &s->fd,
		       &e) < 0) {
		log_debug("logs of '%s': %s", s->id, e.msg);
		stream_retry(p, s);
		return;
	}
	s->got_bytes = false;
	s->in_len = 0;
	stream_set(p, s, STREAM_OPEN);
}

/*
 * Checks the whole records in s->in and makes them absolute. *ret_len: their
 * bytes, *ret_end: the offset behind the last.
 */
static int records_check(struct stream *s, size_t *ret_len, uint64_t *ret_end)
{
	uint64_t end = s->file.end;
	struct logrec rec;
	size_t at = 0;

	while (s->in_len - at >= LOGREC_HEADER_SIZE) {
		if (logrec_decode(s->in + at, &rec) < 0)
			return -EBADMSG;
		if (rec.length > s->in_len - at - LOGREC_HEADER_SIZE)
			break;
		/* Exactly what comes next: nothing is left out and nothing
		 * comes twice. */
		if (rec.offset != end - s->base)
			return -EBADMSG;
		rec.offset += s->base;
		logrec_encode(&rec, s->in + at);
		end = rec.offset + rec.length;
		at += LOGREC_HEADER_SIZE + rec.length;
	}
	*ret_len = at;
	*ret_end = end;
	return 0;
}

/* What was received into the file, and the acknowledgement. */
static int stream_store(struct stream *s, struct err *e)
{
	uint64_t end, ack;
	size_t len;
	int r;

	r = records_check(s, &len, &end);
	if (r < 0)
		return err_set(e, EBADMSG,
			       "the guest sent a log record that breaks the "
			       "rules");
	if (len == 0)
		return 0;
	r = logfile_append(&s->file, s->in, len, end, e);
	if (r < 0)
		return r;
	s->in_len -= len;
	memmove(s->in, s->in + len, s->in_len);
	s->got_bytes = true;
	ack = htole64(end - s->base);
	r = write_deadline(s->fd, &ack, sizeof(ack), now_ms() + 1000);
	return r < 0 ? err_sys(e, -r, "acknowledge") : 1;
}

static void stream_read(struct logpump *p, struct stream *s)
{
	struct err e = ERR_INIT;
	ssize_t n;
	int r;

	n = recv(s->fd, s->in + s->in_len, IN_MAX - s->in_len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 0 && !s->got_bytes && s->in_len == 0) {
		cleanup_close(&s->fd);
		stream_set(p, s, STREAM_DRAINED);
		return;
	}
	if (n <= 0) {
		stream_retry(p, s);
		/* At once: the likely reason is that it has ended. */
		if (n == 0)
			s->retry_at = 0;
		return;
	}
	s->in_len += (size_t)n;
	r = stream_store(s, &e);
	if (r < 0) {
		log_warn("log of '%s': %s", s->id, e.msg);
		stream_retry(p, s);
	} else if (r > 0 && p->changed) {
		p->changed(p->arg);
	}
}

/* Descriptors to poll; opens what is due. Returns the timeout in ms. */
static int pump_prepare(struct logpump *p, struct pollfd *fds,
			struct stream **of, nfds_t *n)
{
	uint64_t now = now_ms();
	int timeout = 10000;
	size_t i;

	*n = 1;
	for (i = 0; i < STREAMS_MAX; i++) {
		struct stream *s = &p->streams[i];
		enum stream_phase phase;

		pthread_mutex_lock(&p->lock);
		if (s->phase == STREAM_REMOVED) {
			stream_close(s);
			s->phase = STREAM_FREE;
			pthread_cond_broadcast(&p->cond);
		}
		phase = s->phase;
		pthread_mutex_unlock(&p->lock);
		if (phase == STREAM_OPENING && s->retry_at <= now) {
			stream_open(p, s);
			now = now_ms();
		}
		if (phase == STREAM_OPENING || phase == STREAM_OPEN) {
			if (s->fd < 0) {
				if (timeout > RETRY_MS)
					timeout = RETRY_MS;
				continue;
			}
			of[*n] = s;
			fds[(*n)++] =
				(struct pollfd){.fd = s->fd, .events = POLLIN};
		}
	}
	return timeout;
}

static void *pump_run(void *arg)
{
	struct pollfd fds[STREAMS_MAX + 1];
	struct stream *of[STREAMS_MAX + 1];
	struct logpump *p = arg;
	uint64_t count;
	nfds_t n, i;
	bool quit;
	int timeout;

	for (;;) {
		fds[0] = (struct pollfd){.fd = p->wake, .events = POLLIN};
		timeout = pump_prepare(p, fds, of, &n);
		pthread_mutex_lock(&p->lock);
		quit = p->quit;
		pthread_mutex_unlock(&p->lock);
		if (quit)
			return NULL;
		if (poll(fds, n, timeout) < 0)
			continue;
		if (fds[0].revents &&
		    read(p->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
			log_debug("log pump: %s", strerror(errno));
		for (i = 1; i < n; i++)
			if (fds[i].revents)
				stream_read(p, of[i]);
	}
}

int logpump_new(const char *dir, const struct vsock_addr *addr,
		void (*changed)(void *arg), void *arg, struct logpump **ret,
		struct err *e)
{
	struct logpump *p;
	size_t i;
	int r;

	r = dir_make(dir, 0700, e);
	if (r < 0)
		return r;
	p = calloc(1, sizeof(*p));
	if (!p)
		return err_sys(e, ENOMEM, "start a log pump");
	snprintf(p->dir, sizeof(p->dir), "%s", dir);
	p->addr = *addr;
	p->changed = changed;
	p->arg = arg;
	for (i = 0; i < STREAMS_MAX; i++) {
		p->streams[i].fd = -1;
		p->streams[i].file.fd = -1;
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->cond, NULL);
	p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = p->wake < 0 ? errno : pthread_create(&p->thread, NULL, pump_run, p);
	if (r != 0) {
		cleanup_close(&p->wake);
		free(p);
		return err_sys(e, r, "start a log pump");
	}
	*ret = p;
	return 0;
}

void logpump_free(struct logpump *p)
{
	size_t i;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->quit = true;
	pthread_mutex_unlock(&p->lock);
	pump_wake(p);
	pthread_join(p->thread, NULL);
	for (i = 0; i < STREAMS_MAX; i++)
		stream_close(&p->streams[i]);
	close(p->wake);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->cond);
	free(p);
}

/* With the lock held. */
static struct stream *find(struct logpump *p, const char *id)
{
	size_t i;

	for (i = 0; i < STREAMS_MAX; i++)
		if (p->streams[i].phase != STREAM_FREE &&
		    p->streams[i].phase != STREAM_REMOVED &&
		    strcmp(p->streams[i].id, id) == 0)
			return &p->streams[i];
	return NULL;
}

int logpump_add(struct logpump *p, const char *name, const char *id,
		uint64_t base, struct err *e)
{
	struct stream *s = NULL;
	size_t i;

	pthread_mutex_lock(&p->lock);
	for (i = 0; i < STREAMS_MAX && !s; i++)
		if (p->streams[i].phase == STREAM_FREE)
			s = &p->streams[i];
	if (s && !find(p, id)) {
		s->in = malloc(IN_MAX);
		if (s->in) {
			snprintf(s->name, sizeof(s->name), "%s", name);
			snprintf(s->id, sizeof(s->id), "%s", id);
			s->base = base;
			s->retry_at = 0;
			s->fd = -1;
			s->file.fd = -1;
			s->phase = STREAM_OPENING;
		} else {
			s = NULL;
		}
	}
	pthread_mutex_unlock(&p->lock);
	if (!s)
		return err_sys(e, ENOMEM, "follow the log of '%s'", name);
	pump_wake(p);
	return 0;
}

int logpump_drain(struct logpump *p, const char *id, uint64_t deadline_ms)
{
	uint64_t left = deadline_ms - now_ms();
	struct timespec until;
	struct stream *s;
	int r = 0;

	if (deadline_ms <= now_ms())
		left = 0;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += (time_t)(left / 1000);
	until.tv_nsec += (long)(left % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&p->lock);
	while (r == 0 && (s = find(p, id)) && s->phase != STREAM_DRAINED)
		r = -pthread_cond_timedwait(&p->cond, &p->lock, &until);
	pthread_mutex_unlock(&p->lock);
	return r;
}

bool logpump_is_drained(struct logpump *p, const char *id)
{
	const struct stream *s;
	bool drained;

	pthread_mutex_lock(&p->lock);
	s = find(p, id);
	drained = !s || s->phase == STREAM_DRAINED;
	pthread_mutex_unlock(&p->lock);
	return drained;
}

void logpump_remove(struct logpump *p, const char *id)
{
	struct stream *s;

	pthread_mutex_lock(&p->lock);
	s = find(p, id);
	if (s)
		s->phase = STREAM_REMOVED;
	pthread_mutex_unlock(&p->lock);
	pump_wake(p);
}
