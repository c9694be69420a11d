/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hybd that answers from a script, and hyb run against it: hyb in a child
 * process (so that signals, terminals and exits are real), the fake in a thread
 * of the test.
 */
#ifndef HYB_TESTS_UNIT_CLI_FAKE_H
#define HYB_TESTS_UNIT_CLI_FAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/proc.h"
#include "common/varlink/call.h"
#include "host-agent/cli/cli.h"

#define CALLS_MAX 32

/* One method's answer. `replies`: the parameters of each reply as JSON, all
 * but the last with `continues`; an error is {"error": NAME, ...}. */
struct answer {
	const char *method; /* without the interface */
	const char *replies[8];
	/* Called behind the last reply, may be NULL; true: the connection
	 * is closed then. */
	bool (*then)(int fd, const struct vl_call *call);
	/* Instead of replies. */
	bool (*answer)(struct vl_conn *c, const struct vl_call *call);
};

static struct {
	char root[64], socket[96];
	int listen_fd;
	pthread_t thread;
	const struct answer *answers;
	pthread_mutex_t lock;
	size_t n_calls;
	char *calls[CALLS_MAX]; /* "Method {parameters}" */
} fake;

/* ----------------------------------------------------------------- the fake */

static inline void fake_record(const struct vl_call *call)
{
	char *p = call->parameters ? json_dumps(call->parameters,
						JSON_COMPACT | JSON_SORT_KEYS)
				   : strdup("");
	struct buf b = BUF_INIT;

	buf_printf(&b, "%s %s", strrchr(call->method, '.') + 1, p);
	free(p);
	pthread_mutex_lock(&fake.lock);
	if (fake.n_calls < CALLS_MAX)
		fake.calls[fake.n_calls++] = buf_steal(&b);
	pthread_mutex_unlock(&fake.lock);
	buf_done(&b);
}

static inline void fake_send(struct vl_conn *c, const char *text, bool more,
			     const int *fds, size_t n)
{
	json_error_t je;
	json_t *p = json_loads(text, 0, &je), *msg, *error;

	if (!p) {
		fprintf(stderr, "fake: bad script: %s: %s\n", je.text, text);
		abort();
	}
	error = json_object_get(p, "error");
	msg = error ? vl_make_error(json_string_value(error), json_incref(p))
		    : vl_make_reply(json_incref(p), more);
	vl_conn_write(c, msg, fds, n, 0, NULL);
	json_decref(msg);
	json_decref(p);
}

/* false: the connection is over. */
static inline bool fake_answer(struct vl_conn *c, const struct vl_call *call)
{
	const struct answer *a;
	const char *method = strrchr(call->method, '.') + 1;
	size_t i;

	fake_record(call);
	for (a = fake.answers; a->method; a++)
		if (strcmp(a->method, method) == 0)
			break;
	if (!a->method) {
		fake_send(c,
			  "{\"error\":\"org.varlink.service.MethodNotFound\"}",
			  false, NULL, 0);
		return true;
	}
	if (a->answer)
		return a->answer(c, call);
	for (i = 0; a->replies[i]; i++)
		fake_send(c, a->replies[i], a->replies[i + 1] != NULL, NULL, 0);
	return a->then ? !a->then(c->fd, call) : true;
}

static inline void fake_serve(int fd)
{
	struct vl_conn c;
	struct vl_call call;
	json_t *msg;
	bool go_on = true;

	vl_conn_init(&c, fd, 4 * VL_MESSAGE_MAX);
	while (go_on && vl_conn_read(&c, 0, &msg, NULL) == 0) {
		if (vl_call_parse(msg, &call, NULL) < 0)
			break;
		go_on = fake_answer(&c, &call);
		vl_call_done(&call);
	}
	vl_conn_done(&c);
}

static inline void *fake_connection(void *arg)
{
	fake_serve((int)(intptr_t)arg);
	return NULL;
}

static inline void *fake_accept(void *arg)
{
	pthread_t t;
	int fd;

	(void)arg;
	while ((fd = accept4(fake.listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
		if (pthread_create(&t, NULL, fake_connection,
				   (void *)(intptr_t)fd) != 0)
			abort();
		pthread_detach(t);
	}
	return NULL;
}

static inline void fake_root(void)
{
	snprintf(fake.root, sizeof(fake.root), "/tmp/hyb-cli.XXXXXX");
	if (!mkdtemp(fake.root))
		abort();
	snprintf(fake.socket, sizeof(fake.socket), "%s/hybd.sock", fake.root);
	fake.listen_fd = -1;
	setenv("HYB_ROOT", fake.root, 1);
	unsetenv("HYB_ACCEL");
	unsetenv("HYB_CONNECT");
	unsetenv("NO_COLOR");
}

static inline void fake_start(const struct answer *answers)
{
	fake_root();
	fake.answers = answers;
	pthread_mutex_init(&fake.lock, NULL);
	fake.listen_fd = unix_listen(fake.socket, 0600, 16, NULL);
	if (fake.listen_fd < 0 ||
	    pthread_create(&fake.thread, NULL, fake_accept, NULL) != 0)
		abort();
}

static inline void fake_stop(void)
{
	size_t i;

	if (fake.listen_fd >= 0) {
		shutdown(fake.listen_fd, SHUT_RDWR);
		pthread_join(fake.thread, NULL);
		close(fake.listen_fd);
	}
	for (i = 0; i < fake.n_calls; i++)
		free(fake.calls[i]);
	fake.n_calls = 0;
	path_remove(fake.root, NULL);
}

/* The n-th call as it came. */
static inline const char *fake_call(size_t n)
{
	return n < fake.n_calls ? fake.calls[n] : "(none)";
}

/* -------------------------------------------------------------------- hyb */

struct ran {
	int status; /* 128 + signal where one ended it */
	char *out, *err;
	size_t out_len, err_len;
};

static inline void ran_done(struct ran *r)
{
	free(r->out);
	free(r->err);
	memset(r, 0, sizeof(*r));
}
#define _cleanup_ran_ __attribute__((cleanup(ran_done)))

struct hyb {
	pid_t pid;
	int pidfd;
	int out, err; /* read ends */
	int in;	      /* write end, or -1 */
};

/* The child executes the test's own binary again, and here it turns into hyb: a
 * fork alone would be a copy of a process with threads, whose locks (the
 * sanitizers' allocator's, too) may be held for ever. */
#define AS_HYB "HYB_TEST_AS_HYB=1"
__attribute__((constructor)) static void as_hyb(int argc, char **argv)
{
	if (!getenv("HYB_TEST_AS_HYB"))
		return;
	unsetenv("HYB_TEST_AS_HYB");
	argc = cli_main(argc, argv);
	fflush(NULL);
	_exit(argc);
}

#define ENV_WORDS 256

/* Starts it with these descriptors (-1: a pipe, whose other end is in h). */
static inline void hyb_start_fds(struct hyb *h, int in, int out, int err,
				 const char *const *words)
{
	char *argv[64] = {(char *)(uintptr_t) "hyb"};
	int pin[2] = {-1, -1}, pout[2] = {-1, -1}, perr[2] = {-1, -1};
	char *env[ENV_WORDS + 2] = {(char *)(uintptr_t)AS_HYB};
	int argc = 1, i;

	for (i = 0; environ[i] && i < ENV_WORDS; i++)
		env[i + 1] = environ[i];
	for (; words[argc - 1] && argc < 63; argc++)
		argv[argc] = (char *)(uintptr_t)words[argc - 1];
	if ((in < 0 && pipe2(pin, O_CLOEXEC) < 0) ||
	    (out < 0 && pipe2(pout, O_CLOEXEC) < 0) ||
	    (err < 0 && pipe2(perr, O_CLOEXEC) < 0))
		abort();
	fflush(NULL);
	h->pid = fork();
	if (h->pid < 0)
		abort();
	if (h->pid == 0) {
		dup2(in < 0 ? pin[0] : in, 0);
		dup2(out < 0 ? pout[1] : out, 1);
		dup2(err < 0 ? perr[1] : err, 2);
		close_range(3, ~0u, 0);
		execve("/proc/self/exe", argv, env);
		_exit(99);
	}
	h->pidfd = (int)syscall(434 /* pidfd_open */, h->pid, 0);
	if (in < 0)
		close(pin[0]);
	if (out < 0)
		close(pout[1]);
	if (err < 0)
		close(perr[1]);
	h->in = pin[1];
	h->out = pout[0];
	h->err = perr[0];
}

static inline char *read_all(int fd, size_t *len)
{
	struct buf b = BUF_INIT;
	char tmp[65536];
	ssize_t n;

	if (fd < 0)
		return strdup("");
	while ((n = read_full(fd, tmp, sizeof(tmp))) > 0)
		buf_append(&b, tmp, (size_t)n);
	close(fd);
	*len = b.len;
	return buf_steal(&b);
}

struct reader {
	int fd;
	char *text;
	size_t len;
};

static inline void *reader_run(void *arg)
{
	struct reader *r = arg;

	r->text = read_all(r->fd, &r->len);
	return NULL;
}

/* Closes its input, takes all it writes, waits for its end. */
static inline struct ran hyb_wait(struct hyb *h)
{
	struct reader err = {.fd = h->err};
	struct ran r = {0};
	pthread_t t;

	if (h->in >= 0)
		close(h->in);
	if (pthread_create(&t, NULL, reader_run, &err) != 0)
		abort();
	r.out = read_all(h->out, &r.out_len);
	pthread_join(t, NULL);
	r.err = err.text;
	r.err_len = err.len;
	if (proc_wait(h->pid, h->pidfd, now_ms() + 60000, &r.status, NULL) < 0)
		r.status = -1;
	close(h->pidfd);
	return r;
}

/* hyb WORDS... with this standard input, to its end. */
static inline struct ran hyb_with(const char *input, const char *const *words)
{
	struct hyb h;

	hyb_start_fds(&h, -1, -1, -1, words);
	signal(SIGPIPE, SIG_IGN);
	if (input && write_full(h.in, input, strlen(input)) < 0)
		input = NULL; /* it did not want it */
	return hyb_wait(&h);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define HYB(...)   hyb_with(NULL, WORDS(__VA_ARGS__))

#endif
