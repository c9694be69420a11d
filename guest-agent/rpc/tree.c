/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copy and CopyVolume: files into a container or a volume, and out of it.
 *
 * The agent forks a process into the container (or volume) and hands it the connection: of
 * what is copied not a byte passes through the agent, and a host that does not
 * read holds up nobody but that process. It reads the host's request, which
 * comes after the upgrade's reply; errors go the same way as files do.
 */
#include "guest-agent/rpc/agent.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/tree/tree.h"
#include "common/varlink/params.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* What the process is born with. */
struct job {
	const void *early; /* came behind the call */
	size_t early_len;
};

static int sync_all(struct err *e)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 || syncfs(fd) < 0 ? err_sys(e, errno, "write back") : 0;

	if (fd >= 0)
		close(fd);
	return r;
}

static int serve(struct tree_wire *w, struct tree_end *end, bool *ret_in,
		 struct err *e)
{
	char path[TREE_PATH_MAX + 1], base[TREE_NAME_MAX + 1];
	const unsigned char *p;
	struct tree_target target;
	struct tree_request q;
	struct tree_end sender = {0};
	size_t len;
	int r;

	r = tree_get(w, &p, &len, e);
	if (r < 0)
		return r;
	if (r != TREE_REQUEST)
		return err_set(e, EBADMSG, "no request came");
	r = tree_parse_request(w, p, len, &q, e);
	if (r < 0)
		return r;
	/* The wire's buffers are the next frame's. */
	snprintf(path, sizeof(path), "%s", q.path);
	snprintf(base, sizeof(base), "%s", q.base);
	*ret_in = q.flags & TREE_IN;
	if (!*ret_in)
		return tree_send(w, path, q.flags, end, e);
	target = (struct tree_target){
		.path = path,
		.base = base,
		.flags = q.flags,
		.special = true,
	};
	r = tree_receive(w, &target, end, &sender, e);
	if (r == 0 && (q.flags & TREE_WHOLE))
		r = sync_all(e);
	return r;
}

/* What still comes is read and dropped, so that the last word is not lost with
 * a connection that is reset for unread bytes. */
static void drain(struct tree_wire *w)
{
	const unsigned char *p;
	size_t len;

	w->idle_ms = AGENT_LINGER_MS;
	while (tree_get(w, &p, &len, NULL) > 0)
		continue;
}

static void run_inside(void *arg, const struct err *in_err)
{
	const struct job *job = arg;
	struct tree_end end = {0};
	struct err e = *in_err;
	struct tree_wire w;
	bool in = true;

	if (tree_wire_init(&w, 0, 0, NULL) < 0)
		return;
	if (!e.code)
		tree_wire_preload(&w, job->early, job->early_len);
	if (!e.code)
		serve(&w, &end, &in, &e);
	tree_end_from(&end, &e);
	if (tree_put_end(&w, &end, NULL) == 0 && in && e.code)
		drain(&w);
	tree_wire_done(&w);
}

static pid_t *free_place(struct agent *a)
{
	size_t i;

	for (i = 0; i < AGENT_TREES_MAX; i++)
		if (!a->trees[i])
			return &a->trees[i];
	return NULL;
}

bool trees_ended(struct agent *a, pid_t pid)
{
	size_t i;

	for (i = 0; i < AGENT_TREES_MAX; i++) {
		if (a->trees[i] != pid)
			continue;
		a->trees[i] = 0;
		return true;
	}
	return false;
}

static const struct peer_mode handed_over;

/* 1: the call has been answered. */
static int prepare(struct peer *p, struct job *job, pid_t **ret_place,
		   struct err *e)
{
	*ret_place = free_place(p->agent);
	if (!*ret_place) {
		peer_error_limit(p, "copies", AGENT_TREES_MAX);
		return 1;
	}
	job->early = vl_conn_leftover(&p->conn, &job->early_len);
	if (job->early_len > TREE_FRAME_MAX)
		return err_set(e, EINVAL, "more came than a request");
	return 0;
}

/* r: whether the process could be made. */
static void hand_over(struct peer *p, pid_t *place, int r, const struct err *e)
{
	if (r < 0) {
		*place = 0;
		peer_error_err(p, e);
		return;
	}
	/* The answer first; then the connection is that process's alone. */
	peer_upgrade(p, &handed_over, NULL);
	peer_close(p);
}

int method_copy(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"id", VL_STRING, 0, 0, AGENT_ID_MAX, false},
	};
	const char *id = NULL;
	struct peer *p = ctx;
	struct job job = {0};
	struct slot *slot;
	pid_t *place;
	int r;

	r = vl_params_read(call->parameters, fields, 1, true, &id, NULL, e);
	if (r < 0)
		return r;
	slot = peer_running_slot(p, id);
	if (!slot)
		return 0;
	r = prepare(p, &job, &place, e);
	if (r != 0)
		return r < 0 ? r : 0;
	r = container_inside(slot->container, p->watch.fd, run_inside, &job,
			     place, e);
	hand_over(p, place, r, e);
	return 0;
}

int method_copy_volume(void *ctx, struct vl_call *call, struct err *e)
{
	static const struct vl_field fields[] = {
		{"serial", VL_STRING, 0, 0, AGENT_SERIAL_MAX, false},
	};
	_cleanup_close_ int data = -1;
	const char *serial = NULL;
	struct peer *p = ctx;
	struct job job = {0};
	pid_t *place;
	int r;

	r = vl_params_read(call->parameters, fields, 1, true, &serial, NULL, e);
	if (r < 0)
		return r;
	if (!serial_is_valid(serial))
		return err_set(e, EINVAL, "serial: not a disk's serial");
	data = volumes_open_data(serial);
	if (data < 0) {
		peer_error_not_found(p, serial);
		return 0;
	}
	r = prepare(p, &job, &place, e);
	if (r != 0)
		return r < 0 ? r : 0;
	r = container_in_folder(data, p->watch.fd, run_inside, &job, place, e);
	hand_over(p, place, r, e);
	return 0;
}
