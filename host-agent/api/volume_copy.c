/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes out and in, as streams between a client and a VM that runs for this
 * alone. hybd is not in between; it waits for a byte in a second descriptor,
 * which says that the client has had (or sent) all. When that ends without one,
 * or the client is gone, what was begun is undone.
 */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"
#include "common/varlink/params.h"
#include "host-agent/reconcile/courier.h"

#include <poll.h>
#include <sys/socket.h>

/* 0: the client says that all is done. */
static int await_client(struct request *q, int done, struct err *e)
{
	struct pollfd p[2] = {
		{.fd = done, .events = POLLIN},
		{.fd = q->conn->fd, .events = POLLRDHUP},
	};
	ssize_t n;
	char c;

	for (;;) {
		if (poll(p, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(e, errno, "wait for the client");
		}
		if (p[0].revents) {
			n = read(done, &c, 1);
			return n == 1 ? 0
				      : err_set(e, ECANCELED,
						"the client gave up");
		}
		if (p[1].revents)
			return err_set(e, ECANCELED, "the client is gone");
	}
}

/* Gives the stream to the client, and waits until he is done with it. */
static int lend_stream(struct request *q, int stream, json_t *params,
		       struct err *e)
{
	_cleanup_close_ int mine = -1;
	int pair[2], fds[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		json_decref(params);
		return err_sys(e, errno, "socketpair");
	}
	mine = pair[0];
	fds[0] = stream;
	fds[1] = pair[1];
	r = request_continue_fds(q, params, fds, 2, e);
	close(pair[1]);
	return r < 0 ? r : await_client(q, mine, e);
}

static int carry(struct request *q, struct courier *c,
		 const struct volume_copy *copy, struct err *e)
{
	_cleanup_close_ int stream = -1;
	char name[136];
	int r;

	r = courier_open(c, copy->path, copy->serial, copy->writes, &stream, e);
	if (r < 0)
		return err_wrap(e, "volume '%s'",
				volume_format(&copy->v, name));
	return lend_stream(
		q, stream,
		json_pack("{s:s}", "name", volume_format(&copy->v, name)), e);
}

struct copy_params {
	const char *name;
	int64_t size;
};

/* ------------------------------------------------------------------ export */

static int export(struct request *q, struct courier *c,
		  const struct state_volume *v, const char *snapshot,
		  struct err *e)
{
	struct err ending = ERR_INIT;
	struct volume_writer writer;
	struct volume_copy copy;
	bool quiet = volume_writer_find(q, v, &writer);
	int r;

	r = volume_export_begin(q->api->volumes, v, snapshot,
				quiet ? &writer.quiet : NULL, courier_uid(c),
				&copy, e);
	if (r < 0) {
		courier_free(c, &ending);
		return r;
	}
	r = courier_start(c, e);
	if (r == 0)
		r = carry(q, c, &copy, e);
	/* What a VM still has open is not given to others. */
	if (courier_free(c, &ending) == 0)
		volume_export_end(&copy);
	return r;
}

int on_volume_export(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, offsetof(struct copy_params, name), 1, 255,
		 false},
	};
	struct copy_params p = {.name = NULL};
	struct request *q = ctx;
	const char *snapshot;
	struct state_volume v;
	struct courier *c;
	char word[256];
	int r;

	r = vl_params_read(call->parameters, fields, 1, true, &p, NULL, e);
	if (r == 0)
		r = volume_by_name(q, p.name, word, &v, &snapshot, e);
	if (r == 0)
		r = courier_new(q->api->world, q->tenant, &c, e);
	if (r == 0)
		r = export(q, c, &v, snapshot, e);
	if (r < 0)
		return r;
	log_info("volume export '%s': by user %u", p.name, q->uid);
	return request_reply(q, NULL, false, e);
}

/* ------------------------------------------------------------------ import */

static int import(struct request *q, struct courier *c,
		  const struct copy_params *p, struct err *e)
{
	struct err ending = ERR_INIT;
	struct volume_copy copy;
	int r;

	r = volume_import_begin(q->api->volumes, q->tenant, p->name,
				(uint64_t)p->size, courier_uid(c), &copy, e);
	if (r < 0) {
		courier_free(c, &ending);
		return r;
	}
	r = courier_start(c, e);
	if (r == 0)
		r = carry(q, c, &copy, e);
	if (r == 0)
		r = courier_close(c, e);
	if (courier_free(c, &ending) < 0) {
		/* Marked as it is, it goes at the next start. */
		if (r == 0)
			*e = ending;
		return -e->code;
	}
	if (r == 0)
		r = volume_import_commit(&copy, e);
	if (r < 0)
		volume_import_abort(&copy);
	return r;
}

int on_volume_import(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"name", VL_STRING, offsetof(struct copy_params, name), 1, 256,
		 false},
		{"size", VL_INT, offsetof(struct copy_params, size), 0,
		 INT64_MAX, false},
	};
	struct copy_params p = {.name = NULL};
	struct request *q = ctx;
	struct courier *c;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &p, NULL, e);
	if (r == 0)
		r = volume_check_new(p.name, p.size, e);
	if (r == 0)
		r = courier_new(q->api->world, q->tenant, &c, e);
	if (r == 0)
		r = import(q, c, &p, e);
	if (r < 0)
		return r;
	log_info("volume import '%s': by user %u", p.name, q->uid);
	return request_reply(q, NULL, false, e);
}
