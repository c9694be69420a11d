/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/client.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <signal.h>
#include <sys/socket.h>

#define TICK_MS 100

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

void client_catch_interrupt(void)
{
	struct sigaction sa = {.sa_handler = on_interrupt};

	interrupted = 0;
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
}

/* ------------------------------------------------------------- connecting */

/* Whoever serves the socket gets the caller's files and commands: it must be
 * root's hybd, or the caller's own. */
static int check_peer(int fd, const char *path, struct err *e)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return err_sys(e, errno, "look who serves '%s'", path);
	if (cred.uid != 0 && cred.uid != geteuid())
		return err_set(
			e, EPERM,
			"'%s' is served by user %u, neither root nor you", path,
			cred.uid);
	return 0;
}

static int connect_once(const struct cli *cli, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r;

	fd = unix_connect(cli->socket, e);
	if (fd < 0)
		return fd;
	r = check_peer(fd, cli->socket, e);
	return r < 0 ? r : steal_fd(&fd);
}

static bool nobody_serves(int r)
{
	return r == -ENOENT || r == -ECONNREFUSED || r == -ENOTDIR;
}

static int unreachable(int r, const struct cli *cli, struct err *e)
{
	if (r == -EACCES || r == -EPERM) {
		if (!e->hint[0])
			err_hint(e, "be root, or a member of the group 'hyb'");
		return CLI_DENIED;
	}
	if (nobody_serves(r))
		err_hint(e, "no hybd serves '%s'", cli->root);
	return CLI_UNREACHABLE;
}

#define DEFAULT_CONNECT "qemu:///embed"

/* "qemu:///embed?root=..." is the same connection as "qemu:///embed". */
static bool same_uri(const char *a, const char *b)
{
	size_t la = strcspn(a, "?"), lb = strcspn(b, "?");

	return la == lb && strncmp(a, b, la) == 0;
}

static int check_settings(const struct cli *cli, struct vl_conn *c,
			  struct err *e)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	const char *accel, *connect;
	int st;

	st = client_call(c, HOST_IFACE "Version", NULL, CLI_QUICK_MS, &reply,
			 e);
	if (st)
		return st;
	accel = out_str(reply.parameters, "accelerator");
	connect = out_str(reply.parameters, "connect");
	if (!*connect)
		connect = DEFAULT_CONNECT;
	if (cli->accel && strcmp(cli->accel, "auto") != 0 &&
	    strcmp(cli->accel, accel) != 0)
		err_set(e, EINVAL,
			"the hybd of '%s' runs with accelerator '%s', not '%s'",
			cli->root, accel, cli->accel);
	else if (cli->connect && !same_uri(cli->connect, connect))
		err_set(e, EINVAL,
			"the hybd of '%s' is connected to '%s', not "
			"'%s'",
			cli->root, connect, cli->connect);
	else
		return 0;
	err_hint(e, "end that hybd (its VMs go on), or use another --root");
	return CLI_FAILED;
}

/* Every call of the connection is for this tenant. */
static int use_tenant(const struct cli *cli, struct vl_conn *c, struct err *e)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;

	return client_call(c, HOST_IFACE "Use",
			   json_pack("{s:s}", "name", cli->tenant),
			   CLI_QUICK_MS, &reply, e);
}

int client_open(const struct cli *cli, unsigned int flags, struct vl_conn *ret,
		struct err *e)
{
	bool started = false;
	int fd, st;

	fd = connect_once(cli, e);
	if (nobody_serves(fd) && (flags & CLIENT_START)) {
		err_clear(e);
		st = client_start(cli, e);
		if (st < 0)
			return unreachable(st, cli, e);
		started = true;
		fd = connect_once(cli, e);
	}
	if (fd < 0)
		return unreachable(fd, cli, e);
	vl_conn_init(ret, fd, 4 * VL_MESSAGE_MAX);
	st = started || (!cli->accel && !cli->connect)
		     ? 0
		     : check_settings(cli, ret, e);
	if (st == 0 && cli->tenant)
		st = use_tenant(cli, ret, e);
	if (st)
		vl_conn_done(ret);
	return st;
}

/* ------------------------------------------------------------------ calls */

static void print_diagnostics(const json_t *parameters)
{
	const char *text = out_str(parameters, "diagnostics");
	_cleanup_buf_ struct buf b = BUF_INIT;

	out_safe(&b, text, strlen(text), "\\\n");
	fputs(buf_str(&b), stderr);
	if (b.len > 0 && b.data[b.len - 1] != '\n')
		fputc('\n', stderr);
}

int client_status(const struct vl_reply *reply, struct err *e)
{
	static const struct {
		const char *name;
		int status;
	} map[] = {
		{HOST_IFACE "InvalidManifest", CLI_MANIFEST},
		{HOST_IFACE "NotFound", CLI_NOT_FOUND},
		{HOST_IFACE "Denied", CLI_DENIED},
		{HOST_IFACE "TimedOut", CLI_TIMED_OUT},
		{HOST_IFACE "Invalid", CLI_USAGE},
		{HOST_IFACE "Unavailable", CLI_UNREACHABLE},
	};
	const char *msg = out_str(reply->parameters, "message");
	size_t i;

	if (!reply->error[0])
		return 0;
	if (strncmp(reply->error, HOST_IFACE, strlen(HOST_IFACE)) != 0 ||
	    !*msg) {
		vl_reply_check(reply, e);
		err_hint(e, "are hyb and hybd of the same version? "
			    "`hyb version` tells");
		return CLI_FAILED;
	}
	err_set(e, EREMOTEIO, "%s", msg);
	err_hint(e, "%s", out_str(reply->parameters, "hint"));
	for (i = 0; i < ARRAY_SIZE(map); i++)
		if (strcmp(reply->error, map[i].name) == 0)
			break;
	print_diagnostics(reply->parameters);
	if (i == ARRAY_SIZE(map))
		return CLI_FAILED;
	return map[i].status;
}

static int transport_status(int r, struct err *e)
{
	if (r == -ETIMEDOUT) {
		err_set(e, ETIMEDOUT, "hybd did not answer in time");
		return CLI_TIMED_OUT;
	}
	if (r == -ECONNRESET || r == -EPIPE) {
		err_set(e, ECONNRESET, "hybd closed the connection");
		err_hint(e, "what it had accepted goes on; run the command "
			    "again (hybd.log in the root tells why it ended)");
		return CLI_UNREACHABLE;
	}
	return CLI_FAILED;
}

int client_call(struct vl_conn *c, const char *method, json_t *params,
		uint64_t timeout_ms, struct vl_reply *reply, struct err *e)
{
	uint64_t deadline = timeout_ms ? now_ms() + timeout_ms : 0;
	int r;

	r = vl_call_send(c, method, params, 0, NULL, 0, deadline, e);
	if (r == 0)
		r = vl_reply_read(c, deadline, reply, e);
	if (r < 0)
		return transport_status(r, e);
	return client_status(reply, e);
}

/* The next reply, telling of the time that passes. */
static int next_reply(struct vl_conn *c, uint64_t deadline,
		      client_event_fn on_event, void *ctx,
		      struct vl_reply *reply, struct err *e)
{
	uint64_t until;
	int r;

	for (;;) {
		until = now_ms() + TICK_MS;
		if (deadline && deadline < until)
			until = deadline;
		r = vl_reply_read(c, until, reply, e);
		if (r != -ETIMEDOUT)
			return r;
		if (interrupted)
			return -EINTR;
		if (deadline && now_ms() >= deadline)
			return r;
		err_clear(e);
		on_event(ctx, NULL);
	}
}

int client_call_more(struct vl_conn *c, const char *method, json_t *params,
		     const int *fds, size_t n_fds, uint64_t timeout_ms,
		     client_event_fn on_event, void *ctx,
		     struct vl_reply *reply, struct err *e)
{
	uint64_t deadline = timeout_ms ? now_ms() + timeout_ms : 0;
	const json_t *event;
	int r;

	r = vl_call_send(c, method, params, VL_MORE, fds, n_fds, deadline, e);
	while (r == 0) {
		r = next_reply(c, deadline, on_event, ctx, reply, e);
		if (r < 0)
			break;
		event = json_object_get(reply->parameters, "event");
		if (json_is_object(event))
			on_event(ctx, event);
		if (!reply->continues)
			return client_status(reply, e);
		if (interrupted)
			r = -EINTR;
	}
	if (r == -EINTR) {
		err_set(e, EINTR, "interrupted");
		return CLI_INTERRUPTED;
	}
	return transport_status(r, e);
}

int client_list(const struct cli *cli, const char *verb, const char *method,
		const char *key, enum out_format format,
		const char *const *fields, const char *const *headings,
		out_row_fn print_row)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;
	int st = client_one(cli, method, NULL, &reply, &e);

	if (st)
		return cli_fail(st, verb, &e);
	out_rows(json_object_get(reply.parameters, key), format, false, fields,
		 headings, print_row);
	return CLI_DONE;
}

int client_each(const struct cli *cli, const char *verb, int n, char **words,
		int (*fn)(struct vl_conn *c, const char *word))
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	struct err e = ERR_INIT;
	int i, st, first = 0;

	st = client_open(cli, CLIENT_START, &c, &e);
	if (st)
		return cli_fail(st, verb, &e);
	for (i = 0; i < n; i++) {
		st = fn(&c, words[i]);
		first = first ? first : st;
		if (st == CLI_UNREACHABLE)
			break;
	}
	return first;
}

int client_remove(struct vl_conn *c, const char *what, const char *method,
		  const char *name)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;
	int st;

	st = client_call(c, method, json_pack("{s:s}", "name", name),
			 CLI_QUICK_MS, &reply, &e);
	if (st)
		return cli_fail(st, what, &e);
	fputs("removed ", stdout);
	out_text(stdout, name);
	putchar('\n');
	return 0;
}

int client_one(const struct cli *cli, const char *method, json_t *params,
	       struct vl_reply *reply, struct err *e)
{
	_cleanup_vl_conn_ struct vl_conn c = {.fd = -1};
	int st;

	st = client_open(cli, CLIENT_START, &c, e);
	if (st) {
		json_decref(params);
		return st;
	}
	return client_call(&c, method, params, CLI_QUICK_MS, reply, e);
}

int client_inspect(const struct cli *cli, const char *verb, const char *method,
		   const char *key, const char *word)
{
	_cleanup_vl_reply_ struct vl_reply reply = VL_REPLY_INIT;
	struct err e = ERR_INIT;
	char what[320];
	int st;

	st = client_one(cli, method, json_pack("{s:s}", key, word), &reply, &e);
	if (st == 0) {
		out_json(json_object_get(reply.parameters, "object"));
		return CLI_DONE;
	}
	snprintf(what, sizeof(what), "%s '%.256s'", verb, word);
	return cli_fail(st, what, &e);
}
