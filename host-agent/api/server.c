/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define IFACE		 "io.hyb.Host."
#define STACK_SIZE	 ((size_t)512 * 1024)
#define REFUSED_EVERY_MS 60000

static const struct vl_method methods[] = {
	{IFACE "Version", 0, 0, 0, on_version},
	{IFACE "Deploy", 0, VL_MORE, 0, on_deploy},
	{IFACE "Plan", 0, 0, 0, on_plan},
	{IFACE "Ps", 0, 0, 0, on_ps},
	{IFACE "VmList", 0, 0, 0, on_vm_list},
	{IFACE "Inspect", 0, 0, 0, on_inspect},
	{IFACE "Down", 0, VL_MORE, 0, on_down},
	{IFACE "DownVolumes", 0, VL_MORE, 0, on_down_volumes},
	{IFACE "Stop", 0, VL_MORE, 0, on_stop},
	{IFACE "Start", 0, VL_MORE, 0, on_start},
	{IFACE "Pause", 0, VL_MORE, 0, on_pause},
	{IFACE "Resume", 0, VL_MORE, 0, on_resume},
	{IFACE "Restart", 0, VL_MORE, 0, on_restart},
	{IFACE "Kill", 0, 0, 0, on_kill},
	{IFACE "Events", 0, VL_MORE, 0, on_events},
	{IFACE "Stats", 0, 0, 0, on_stats},
	{IFACE "Top", 0, 0, 0, on_top},
	{IFACE "Exec", 0, 0, 0, on_exec},
	{IFACE "ExecAttach", 0, 0, 0, on_exec_attach},
	{IFACE "ExecKill", 0, 0, 0, on_exec_kill},
	{IFACE "ExecList", 0, 0, 0, on_exec_list},
	{IFACE "Logs", VL_UPGRADE, 0, 0, on_logs},
	{IFACE "Copy", 0, 0, 0, on_copy},
	{IFACE "Forward", 0, 0, 0, on_forward},
	{IFACE "Resolve", 0, 0, 0, on_resolve},
	{IFACE "ImageLoad", 0, VL_MORE, 0, on_image_load},
	{IFACE "ImageImport", 0, VL_MORE, 0, on_image_import},
	{IFACE "ImagePull", 0, VL_MORE, 0, on_image_pull},
	{IFACE "ImageList", 0, 0, 0, on_image_list},
	{IFACE "ImageInspect", 0, 0, 0, on_image_inspect},
	{IFACE "ImageRemove", 0, 0, 0, on_image_remove},
	{IFACE "ImagePrune", 0, 0, 0, on_image_prune},
	{IFACE "VolumeList", 0, 0, 0, on_volume_list},
	{IFACE "VolumeCreate", 0, 0, 0, on_volume_create},
	{IFACE "VolumeInspect", 0, 0, 0, on_volume_inspect},
	{IFACE "VolumeSnapshot", 0, 0, 0, on_volume_snapshot},
	{IFACE "VolumeRestore", 0, 0, 0, on_volume_restore},
	{IFACE "VolumeExport", VL_MORE, 0, 0, on_volume_export},
	{IFACE "VolumeImport", VL_MORE, 0, 0, on_volume_import},
	{IFACE "VolumeRemove", 0, 0, 0, on_volume_remove},
	{IFACE "SecretSet", 0, 0, 0, on_secret_set},
	{IFACE "SecretList", 0, 0, 0, on_secret_list},
	{IFACE "SecretRemove", 0, 0, 0, on_secret_remove},
	{IFACE "DiskImport", 0, VL_MORE, 0, on_disk_import},
	{IFACE "DiskList", 0, 0, 0, on_disk_list},
	{IFACE "DiskRemove", 0, 0, 0, on_disk_remove},
	{IFACE "Console", 0, 0, 0, on_console},
	{IFACE "Doctor", 0, 0, 0, on_doctor},
	{IFACE "Use", 0, 0, 0, on_use},
	{IFACE "TenantApply", 0, 0, 0, on_tenant_apply},
	{IFACE "TenantList", 0, 0, 0, on_tenant_list},
	{IFACE "TenantInspect", 0, 0, 0, on_tenant_inspect},
	{IFACE "TenantRemove", 0, 0, 0, on_tenant_remove},
};

struct connection {
	struct api *api;
	int fd;
	struct peer peer;
};

/* Connections by user, for the limits. */
static pthread_mutex_t count_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	uid_t uid;
	unsigned int n;
} counts[API_CONNECTIONS_MAX];
static unsigned int total;

/* May a user who has n have another one? A few users together do not take what
 * all others need. */
static bool has_room(uid_t uid, unsigned int n)
{
	unsigned int max = API_CONNECTIONS_MAX;

	if (n >= API_PER_UID_MAX || total >= max)
		return false;
	return uid == 0 || total + n < max - API_CONNECTIONS_ROOT;
}

static bool count_in(uid_t uid)
{
	size_t i, free_at = API_CONNECTIONS_MAX;
	bool ok = false;

	pthread_mutex_lock(&count_lock);
	for (i = 0; i < API_CONNECTIONS_MAX; i++) {
		if (counts[i].n == 0)
			free_at = i;
		else if (counts[i].uid == uid)
			break;
	}
	if (i == API_CONNECTIONS_MAX)
		i = free_at;
	if (i < API_CONNECTIONS_MAX && has_room(uid, counts[i].n)) {
		counts[i].uid = uid;
		counts[i].n++;
		total++;
		ok = true;
	}
	pthread_mutex_unlock(&count_lock);
	return ok;
}

static void count_out(uid_t uid)
{
	size_t i;

	pthread_mutex_lock(&count_lock);
	for (i = 0; i < API_CONNECTIONS_MAX; i++)
		if (counts[i].n && counts[i].uid == uid)
			break;
	if (i < API_CONNECTIONS_MAX) {
		counts[i].n--;
		total--;
	}
	pthread_mutex_unlock(&count_lock);
}

/* ---------------------------------------------------------------- replies */

/* Sends a message (its reference is taken; NULL: no memory). A client that
 * does not take it is left. */
static int send_message(struct request *q, json_t *msg, const int *fds,
			size_t n, struct err *e)
{
	int r;

	if (!msg)
		return err_sys(e, ENOMEM, "answer");
	r = vl_conn_write(q->conn, msg, fds, n, now_ms() + API_WRITE_MS, e);
	json_decref(msg);
	if (r < 0)
		q->close = true;
	return r;
}

int request_reply(struct request *q, json_t *params, bool continues,
		  struct err *e)
{
	return send_message(q, vl_make_reply(params, continues), NULL, 0, e);
}

int request_reply_fds(struct request *q, json_t *params, const int *fds,
		      size_t n, struct err *e)
{
	return send_message(q, vl_make_reply(params, false), fds, n, e);
}

int request_continue_fds(struct request *q, json_t *params, const int *fds,
			 size_t n, struct err *e)
{
	return send_message(q, vl_make_reply(params, true), fds, n, e);
}

/* The interface's error for an errno. */
static const char *error_name(int code)
{
	switch (code) {
	case ENOENT:
		return IFACE "NotFound";
	case EPERM:
	case EACCES:
	case EDQUOT:
		return IFACE "Denied";
	case ETIMEDOUT:
		return IFACE "TimedOut";
	case EINVAL:
		return IFACE "Invalid";
	case EBUSY:
		return IFACE "Busy";
	case ECONNREFUSED:
	case EHOSTDOWN:
		return IFACE "Unavailable";
	default:
		return IFACE "Failed";
	}
}

/* An answer that nothing can stand in for: without it the connection ends. */
static void send_last(struct request *q, json_t *msg)
{
	if (send_message(q, msg, NULL, 0, NULL) < 0)
		q->close = true;
}

static void send_error(struct request *q, const struct err *e)
{
	json_t *o = json_pack("{s:s%,s:s%}", "message", e->msg, strlen(e->msg),
			      "hint", e->hint, strlen(e->hint));

	if (o && q->diagnostics)
		json_object_set_new(o, "diagnostics",
				    json_string(q->diagnostics));
	send_last(q, vl_make_error(error_name(e->code), o));
}

/* ------------------------------------------------------------------ access */

/* What needs no tenant, or finds it itself. */
static bool needs_tenant(const struct vl_method *m)
{
	return m->handler != on_version && m->handler != on_use &&
	       m->handler != on_deploy && m->handler != on_plan &&
	       m->handler != on_doctor;
}

/* Whom the call is for: what the connection chose, looked at again at every
 * call; else what the caller is in. */
static int admit_call(struct request *q, const struct vl_method *m,
		      struct err *e)
{
	if (q->peer->uid != 0 && !peer_is_in(q->peer, q->api->group)) {
		err_set(e, EPERM, "user %u may not use hyb here", q->peer->uid);
		err_hint(e, "be root, or a member of the group '%s'",
			 q->api->group);
		return -EPERM;
	}
	if (q->chosen[0]) {
		snprintf(q->tenant, sizeof(q->tenant), "%s", q->chosen);
		return tenant_check(q, q->chosen, e);
	}
	return needs_tenant(m) ? tenant_default(q, e) : 0;
}

/* ------------------------------------------------------------ connections */

static void serve_call(struct request *q)
{
	const struct vl_method *m;
	struct err e = ERR_INIT;
	json_t *reply = NULL;

	reply = vl_service_reply(q->call, "hybd", HYB_VERSION, "io.hyb.Host",
				 idl_io_hyb_Host);
	if (reply) {
		send_last(q, reply);
		return;
	}
	m = vl_method_find(methods, ARRAY_SIZE(methods), q->call, &reply);
	if (!m) {
		send_last(q, reply);
		return;
	}
	if ((admit_call(q, m, &e) < 0 || m->handler(q, q->call, &e) < 0) &&
	    e.code)
		send_error(q, &e);
}

static void *serve_connection(void *arg)
{
	struct connection *c = arg;
	struct vl_conn conn;
	char chosen[STATE_NAME_MAX] = "";
	struct err e = ERR_INIT;
	json_t *msg;

	vl_conn_init(&conn, c->fd, VL_MESSAGE_MAX);
	conn.max_values = API_VALUES_MAX;
	for (;;) {
		struct request q = {.api = c->api,
				    .conn = &conn,
				    .uid = c->peer.uid,
				    .gid = c->peer.groups[0],
				    .peer = &c->peer,
				    .chosen = chosen};
		struct vl_call call;
		int fds[HYB_FDS_MAX];
		size_t n, i;

		if (vl_conn_read(&conn, 0, &msg, &e) < 0)
			break;
		if (vl_call_parse(msg, &call, &e) < 0)
			break;
		q.call = &call;
		serve_call(&q);
		free(q.diagnostics);
		vl_call_done(&call);
		/* Descriptors that no handler took. */
		n = vl_conn_take_fds(&conn, fds, HYB_FDS_MAX);
		for (i = 0; i < n; i++)
			close(fds[i]);
		if (q.close)
			break;
	}
	vl_conn_done(&conn);
	count_out(c->peer.uid);
	free(c);
	return NULL;
}

/* Whoever is refused may come again at once. */
static void warn_refused(void)
{
	static uint64_t told_at;
	static unsigned int n;
	uint64_t now = now_ms();

	n++;
	if (told_at && now - told_at < REFUSED_EVERY_MS)
		return;
	log_warn("connections are refused, %u of late: too many", n);
	told_at = now;
	n = 0;
}

static void accept_one(struct api *api)
{
	struct connection *c;
	pthread_attr_t attr;
	pthread_t thread;
	int fd, r;

	fd = accept4(api->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0) {
		/* Out of descriptors or memory: those that wait still do. */
		log_warn("accept a connection: %s", strerror(errno));
		poll(NULL, 0, 100);
		return;
	}
	c = calloc(1, sizeof(*c));
	if (!c || peer_of_socket(fd, &c->peer) < 0 || !count_in(c->peer.uid)) {
		warn_refused();
		free(c);
		close(fd);
		return;
	}
	c->api = api;
	c->fd = fd;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, serve_connection, c);
	pthread_attr_destroy(&attr);
	if (r != 0) {
		log_warn("start a thread: %s", strerror(r));
		count_out(c->peer.uid);
		close(fd);
		free(c);
	}
}

int api_run(struct api *api, struct err *e)
{
	struct pollfd fds[2] = {
		{.fd = api->listen_fd, .events = POLLIN},
		{.fd = api->quit_fd, .events = POLLIN},
	};

	for (;;) {
		if (poll(fds, 2, -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(e, errno, "wait for connections");
		}
		if (fds[1].revents)
			return 0;
		if (fds[0].revents)
			accept_one(api);
	}
}
