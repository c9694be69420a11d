/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/image_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/json.h"
#include "common/base/parse.h"
#include "common/base/proc.h"

/* A listing of an archive, the longest answer. */
#define ANSWER_MAX	  (16u << 20)
#define ASK_EVERY_MS	  500
#define ANSWER_VALUES_MAX 65536
#define LINE_MAX_	  256

struct run {
	const struct image_child *c;
	pid_t pid;
	int pidfd;
	int sock;
	int out;
	struct buf answer;
	json_t *result; /* the last line that was one */
	uint64_t done;
};

static void run_done(struct run *r)
{
	cleanup_close(&r->pidfd);
	cleanup_close(&r->sock);
	cleanup_close(&r->out);
	buf_done(&r->answer);
	json_decref(r->result);
}

static int start(struct run *r, struct err *e)
{
	const struct image_child *c = r->c;
	char uid[16], gid[16];
	const char *argv[] = {"hyb-image", c->verb, "--uid", uid,
			      "--gid",	   gid,	    NULL};
	_cleanup_close_ int in = -1;
	_cleanup_close_ int out = -1;
	struct proc_spec spec = {.path = c->program,
				 .argv = argv,
				 .stderr_fd = -1,
				 .die_with_parent = true};
	int pair[2];

	snprintf(uid, sizeof(uid), "%u", (unsigned int)c->uid);
	snprintf(gid, sizeof(gid), "%u", (unsigned int)c->gid);
	if (!c->drop_ids)
		argv[2] = NULL;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "start hyb-image");
	r->sock = pair[0];
	in = pair[1];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return err_sys(e, errno, "start hyb-image");
	r->out = pair[0];
	out = pair[1];
	spec.stdin_fd = in;
	spec.stdout_fd = out;
	return proc_spawn(&spec, &r->pid, &r->pidfd, e);
}

static int send_line(struct run *r, int fd, const char *line, struct err *e)
{
	int err = fds_send(r->sock, line, strlen(line), &fd, fd < 0 ? 0 : 1);

	/* It is gone: its exit says why. */
	if (err == -EPIPE || err == -ECONNRESET)
		return 0;
	return err < 0 ? err_sys(e, -err, "talk to hyb-image") : 0;
}

static const char *hex_of(const char *digest)
{
	return digest ? digest + 7 : "-"; /* behind "sha256:" */
}

static int send_job(struct run *r, struct err *e)
{
	static const uint8_t zero[16];
	const struct image_child *c = r->c;
	char line[LINE_MAX_], uuid[33];
	size_t i;
	int err = 0;

	if (c->in >= 0)
		err = send_line(r, c->in, "in", e);
	if (err == 0 && c->out >= 0) {
		hex_format(c->uuid ? c->uuid : zero, 16, uuid);
		snprintf(line, sizeof(line), "out %s %llu", uuid,
			 (unsigned long long)c->max_bytes);
		err = send_line(r, c->out, line, e);
	}
	for (i = 0; err == 0 && i < c->n_layers; i++) {
		const struct image_child_layer *l = &c->layers[i];

		snprintf(line, sizeof(line), "layer %llu %llu %s %s",
			 (unsigned long long)l->offset,
			 (unsigned long long)l->size, hex_of(l->digest),
			 hex_of(l->diff_id));
		err = send_line(r, l->fd, line, e);
	}
	return err < 0 ? err : send_line(r, -1, "go", e);
}

/* One line of the answer. */
static int on_line(struct run *r, const char *line, size_t len, struct err *e)
{
	const struct image_child *c = r->c;
	json_t *o =
		json_is_over(line, len, ANSWER_VALUES_MAX)
			? NULL
			: json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	json_t *n = json_object_get(o, "progress");
	int err = 0;

	if (!n) {
		json_decref(r->result);
		r->result = o;
		return 0;
	}
	if (c->progress && json_is_integer(n) && json_integer_value(n) >= 0) {
		uint64_t done = (uint64_t)json_integer_value(n);

		r->done = c->total && done > c->total ? c->total : done;
		if (c->progress(c->arg, c->phase, r->done, c->total) != 0)
			err = err_set(e, ECANCELED, "cancelled");
	}
	json_decref(o);
	return err;
}

int image_child_wait(const struct image_child *c, int fd, const char *phase,
		     uint64_t done, uint64_t total, struct err *e)
{
	uint64_t until;
	int r;

	for (;;) {
		until = now_ms() + ASK_EVERY_MS;
		if (c->deadline_ms && c->deadline_ms < until)
			until = c->deadline_ms;
		r = fd_wait(fd, POLLIN, until);
		if (r != -ETIMEDOUT)
			return r;
		if (c->progress && c->progress(c->arg, phase, done, total) != 0)
			return err_set(e, ECANCELED, "cancelled");
		if (c->deadline_ms && now_ms() >= c->deadline_ms)
			return r;
	}
}

static int read_answer(struct run *r, struct err *e)
{
	char chunk[65536], *nl;
	int err;

	for (;;) {
		ssize_t n;

		err = image_child_wait(r->c, r->out, r->c->phase, r->done,
				       r->c->total, e);
		if (err == -ECANCELED)
			return err;
		if (err == -ETIMEDOUT)
			return err_set(e, ETIMEDOUT,
				       "the image was not converted in time");
		if (err < 0)
			return err_sys(e, -err, "hyb-image");
		n = read(r->out, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "hyb-image");
		if (n == 0)
			return 0;
		err = buf_append(&r->answer, chunk, (size_t)n);
		if (err < 0)
			return err_set(e, -err,
				       "hyb-image: its answer is too "
				       "long");
		while ((nl = memchr(r->answer.data, '\n', r->answer.len))) {
			size_t len = (size_t)(nl - r->answer.data);

			err = on_line(r, r->answer.data, len, e);
			if (err < 0)
				return err;
			buf_consume(&r->answer, len + 1);
			if (r->answer.len == 0)
				break;
		}
	}
}

/* How it ended, once its output has. */
static int judge(struct run *r, int status, json_t **ret, struct err *e)
{
	json_t *error = json_object_get(r->result, "error");
	json_t *code = json_object_get(r->result, "errno");
	json_t *result = json_object_get(r->result, "result");
	char text[HYB_ERR_MSG_MAX];
	int n = EBADMSG;

	if (status == 0 && result) {
		*ret = json_incref(result);
		return 0;
	}
	if (status == 128 + SIGXCPU || status == 128 + SIGKILL)
		return err_set(e, ETIME,
			       "hyb-image took too much time and was killed");
	if (status > 128)
		return err_set(e, EBADMSG,
			       "hyb-image was killed by signal %d: the image "
			       "made it do what it must not",
			       status - 128);
	if (!json_is_string(error))
		return err_set(e, EIO, "hyb-image failed with status %d",
			       status);
	if (json_is_integer(code) && json_integer_value(code) > 0 &&
	    json_integer_value(code) < 4096)
		n = (int)json_integer_value(code);
	/* Names in it are escaped already; what still is not printable is not
	 * hyb-image's. */
	return err_set(e, n, "%s",
		       strpbrk(json_string_value(error), "\n\r\t\033")
			       ? text_escape(json_string_value(error), text,
					     sizeof(text))
			       : json_string_value(error));
}

int image_child_run(const struct image_child *c, json_t **ret, struct err *e)
{
	_cleanup_(run_done) struct run r = {.c = c,
					    .pidfd = -1,
					    .sock = -1,
					    .out = -1,
					    .answer = {.max = ANSWER_MAX}};
	struct err ignored = ERR_INIT;
	int status = 0, err = start(&r, e);

	if (err < 0)
		return err;
	err = send_job(&r, e);
	if (err == 0)
		err = read_answer(&r, e);
	if (err == 0)
		err = proc_wait(r.pid, r.pidfd, c->deadline_ms, &status, e);
	if (err < 0) {
		syscall(SYS_pidfd_send_signal, r.pidfd, SIGKILL, NULL, 0);
		proc_wait(r.pid, r.pidfd, 0, &status, &ignored);
		return err;
	}
	return judge(&r, status, ret, e);
}
