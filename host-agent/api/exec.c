/* SPDX-License-Identifier: Apache-2.0 */
/* Exec, ExecAttach and ExecKill: sessions in containers. The guest's own connections are
 * passed to the client, so hybd is not in between and may be killed meanwhile;
 * what a session is, and whether it goes on without a client, only the guest
 * knows. */
#include "host-agent/api/api.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"
#include "common/varlink/params.h"

#define OPEN_MS 20000

struct exec_params {
	const char *name, *cwd, *user;
	json_t *args, *env;
	bool tty, in, detach;
	int64_t rows, cols;
};

#define AT(m) offsetof(struct exec_params, m)

static const struct vl_field exec_fields[] = {
	{"name", VL_STRING, AT(name), 0, 256, false},
	{"args", VL_STRINGS, AT(args), 0, 4096, false},
	{"env", VL_STRINGS, AT(env), 0, 4096, true},
	{"cwd", VL_STRING, AT(cwd), 0, 4096, true},
	{"user", VL_STRING, AT(user), 0, 256, true},
	{"tty", VL_BOOL, AT(tty), 0, 0, true},
	{"rows", VL_INT, AT(rows), 0, 65535, true},
	{"cols", VL_INT, AT(cols), 0, 65535, true},
	{"stdin", VL_BOOL, AT(in), 0, 0, true},
	{"detach", VL_BOOL, AT(detach), 0, 0, true},
};

#undef AT

/* What is passed to the client, in the order that the interface says. */
struct streams {
	int fds[4];
	size_t n;
};

static void streams_done(struct streams *s)
{
	while (s->n > 0)
		close(s->fds[--s->n]);
}
#define _cleanup_streams_ __attribute__((cleanup(streams_done)))

static int attach_streams(const struct vsock_addr *addr,
			  const struct exec_params *p, const char *session,
			  uint64_t deadline, struct streams *s, struct err *e)
{
	const char *names[3];
	size_t want = 0, i;
	int r;

	if (p->in)
		names[want++] = "stdin";
	names[want++] = "stdout";
	if (!p->tty)
		names[want++] = "stderr";
	for (i = 0; i < want; i++) {
		r = agent_attach(addr, session, names[i], deadline,
				 &s->fds[s->n], e);
		if (r < 0)
			return r;
		s->n++;
	}
	return 0;
}

static int exec_read(const struct vl_call *call, struct exec_params *p,
		     struct err *e)
{
	int r;

	r = vl_params_read(call->parameters, exec_fields,
			   ARRAY_SIZE(exec_fields), true, p, NULL, e);
	if (r == 0 && json_array_size(p->args) == 0)
		r = err_set(e, EINVAL, "args: there is no command");
	return r;
}

/* A program that cannot be executed is the client's status, not an error. */
static int reply_not_executed(struct request *q, int64_t code, struct err *e)
{
	json_t *reply = json_pack("{s:s,s:I,s:s}", "session", "", "exit_code",
				  (json_int_t)code, "message", e->msg);

	err_clear(e);
	return request_reply(q, reply, false, e);
}

static int exec_in(struct request *q, const struct exec_params *p,
		   const struct target *t, const struct vsock_addr *addr,
		   const char *id, struct err *e)
{
	_cleanup_streams_ struct streams s = {.n = 0};
	uint64_t deadline = now_ms() + OPEN_MS;
	unsigned char token[16];
	struct agent_exec x;
	char session[33];
	int64_t code = 0;
	int r;

	random_bytes(token, sizeof(token));
	hex_format(token, sizeof(token), session);
	x = (struct agent_exec){
		.session = session,
		.id = id,
		.args = p->args,
		.env = p->env ? json_incref(p->env) : json_array(),
		.cwd = p->cwd,
		.user = p->user,
		.tty = p->tty,
		.rows = p->rows,
		.cols = p->cols,
		.in = p->in,
		.detach = p->detach,
	};
	r = agent_exec(addr, &x, deadline, &s.fds[0], &code, e);
	json_decref(x.env);
	if (r < 0 && code)
		return reply_not_executed(q, code, e);
	if (r < 0)
		return err_wrap(e, "exec in '%s/%s/%s'", t->stack, t->vm,
				t->container);
	s.n = 1;
	/* One that is detached needs nobody. */
	if (p->detach)
		streams_done(&s);
	else
		r = attach_streams(addr, p, session, deadline, &s, e);
	if (r == 0)
		r = request_reply_fds(q, json_pack("{s:s}", "session", session),
				      s.fds, s.n, e);
	return r;
}

int on_exec(void *ctx, struct vl_call *call, struct err *e)
{
	struct exec_params p = {.cwd = "", .user = ""};
	struct request *q = ctx;
	struct vsock_addr addr;
	struct target t;
	char id[80];
	int r;

	r = exec_read(call, &p, e);
	if (r == 0)
		r = target_find(q, p.name, 3, &t, e);
	if (r == 0)
		r = guest_find(q, &t, true, &addr, id, e);
	return r < 0 ? r : exec_in(q, &p, &t, &addr, id, e);
}

/* -------------------------------------------------------------- ExecAttach */

struct attach_params {
	const char *name, *session;
	bool in, steal, replay;
};

static int check_session(const char *session, struct err *e)
{
	if (session[0] && session[strspn(session, "0123456789abcdef")] == '\0')
		return 0;
	return err_set(e, EINVAL,
		       "session: '%s' is not hexadecimal: it is no session's "
		       "id",
		       session);
}

static int attach_read(const struct vl_call *call, struct attach_params *p,
		       struct err *e)
{
#define AT(m) offsetof(struct attach_params, m)
	static const struct vl_field fields[] = {
		{"name", VL_STRING, AT(name), 0, 256, false},
		{"session", VL_STRING, AT(session), 1, 32, false},
		{"stdin", VL_BOOL, AT(in), 0, 0, true},
		{"steal", VL_BOOL, AT(steal), 0, 0, true},
		{"replay", VL_BOOL, AT(replay), 0, 0, true},
	};
#undef AT
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   p, NULL, e);
	return r < 0 ? r : check_session(p->session, e);
}

/* The session whose id begins so. */
static int find_session(const struct vsock_addr *addr, const char *id,
			const char *begin, const char *name,
			struct agent_session *ret, struct err *e)
{
	_cleanup_agent_ struct agent a = {.conn.fd = -1};
	uint64_t deadline = now_ms() + OPEN_MS;
	_cleanup_free_ struct agent_session *list =
		calloc(HYB_AGENT_SESSIONS_MAX, sizeof(*list));
	const struct agent_session *found = NULL;
	size_t n = 0, i;
	int r;

	if (!list)
		return err_sys(e, ENOMEM, "list sessions");
	r = agent_open(&a, addr, deadline, e);
	if (r == 0)
		r = agent_sessions(&a, id, deadline, list, &n, e);
	for (i = 0; r == 0 && i < n; i++) {
		if (strncmp(list[i].id, begin, strlen(begin)) != 0)
			continue;
		if (found)
			return err_set(e, EINVAL,
				       "more than one session's id begins with "
				       "'%s'",
				       begin);
		found = &list[i];
	}
	if (r < 0)
		return r;
	if (!found) {
		err_set(e, ENOENT, "there is no session '%s'", begin);
		err_hint(e, "`hyb exec --ls %s` lists them", name);
		return -ENOENT;
	}
	*ret = *found;
	return 0;
}

/* In the container of that name; *addr: its VM. */
static int find_session_of(struct request *q, const char *name,
			   const char *begin, struct vsock_addr *addr,
			   struct agent_session *ret, struct err *e)
{
	struct target t;
	char id[80];
	int r = target_find(q, name, 3, &t, e);

	if (r == 0)
		r = guest_find(q, &t, false, addr, id, e);
	return r < 0 ? r : find_session(addr, id, begin, name, ret, e);
}

/* One stream more; what its answer tells. */
static int reattach(const struct vsock_addr *addr, const char *session,
		    const char *stream, bool again, uint64_t deadline,
		    struct streams *s, struct agent_attached *ret,
		    struct err *e)
{
	int r = agent_reattach(addr, session, stream, again, deadline, ret, e);

	if (r == 0)
		s->fds[s->n++] = ret->fd;
	return r;
}

static int reattach_all(struct request *q, const struct attach_params *p,
			const struct vsock_addr *addr, const char *session,
			struct err *e)
{
	struct agent_attached control = {0}, in = {0}, out = {0}, errout = {0};
	_cleanup_streams_ struct streams s = {.n = 0};
	uint64_t deadline = now_ms() + OPEN_MS;
	bool with_in;
	int r;

	r = reattach(addr, session, "control", p->steal, deadline, &s, &control,
		     e);
	if (r == -EBUSY)
		err_hint(e, "--steal takes it over");
	with_in = p->in && control.in;
	if (r == 0 && with_in)
		r = reattach(addr, session, "stdin", false, deadline, &s, &in,
			     e);
	if (r == 0)
		r = reattach(addr, session, "stdout", p->replay, deadline, &s,
			     &out, e);
	if (r == 0 && !control.tty)
		r = reattach(addr, session, "stderr", p->replay, deadline, &s,
			     &errout, e);
	if (r < 0)
		return err_wrap(e, "session '%.12s'", session);
	return request_reply_fds(q,
				 json_pack("{s:s,s:b,s:b,s:I,s:I}", "session",
					   session, "tty", (int)control.tty,
					   "stdin", (int)with_in, "lost",
					   (json_int_t)out.lost, "lost_stderr",
					   (json_int_t)errout.lost),
				 s.fds, s.n, e);
}

int on_exec_attach(void *ctx, struct vl_call *call, struct err *e)
{
	struct agent_session session;
	struct attach_params p = {0};
	struct request *q = ctx;
	struct vsock_addr addr;
	int r;

	r = attach_read(call, &p, e);
	if (r == 0)
		r = find_session_of(q, p.name, p.session, &addr, &session, e);
	if (r < 0)
		return r;
	if (!session.detached) {
		err_set(e, EBUSY,
			"session '%.12s' belongs to the client that began it",
			session.id);
		err_hint(e, "one that was begun with -d, or was left with the "
			    "detach keys, can be attached");
		return -EBUSY;
	}
	return reattach_all(q, &p, &addr, session.id, e);
}

/* ---------------------------------------------------------------- ExecKill */

struct kill_params {
	const char *name, *session;
	int64_t signal;
};

int on_exec_kill(void *ctx, struct vl_call *call, struct err *e)
{
#define AT(m) offsetof(struct kill_params, m)
	static const struct vl_field fields[] = {
		{"name", VL_STRING, AT(name), 0, 256, false},
		{"session", VL_STRING, AT(session), 1, 32, false},
		{"signal", VL_INT, AT(signal), 1, 64, false},
	};
#undef AT
	_cleanup_agent_ struct agent a = {.conn.fd = -1};
	uint64_t deadline = now_ms() + OPEN_MS;
	struct agent_session session;
	struct kill_params p = {0};
	struct request *q = ctx;
	struct vsock_addr addr;
	int r;

	r = vl_params_read(call->parameters, fields, ARRAY_SIZE(fields), true,
			   &p, NULL, e);
	if (r == 0)
		r = check_session(p.session, e);
	if (r == 0)
		r = find_session_of(q, p.name, p.session, &addr, &session, e);
	if (r == 0 && !session.running)
		r = err_set(e, EBUSY, "session '%.12s' has ended", session.id);
	if (r == 0)
		r = agent_open(&a, &addr, deadline, e);
	if (r == 0)
		r = agent_signal_session(&a, session.id, (int)p.signal,
					 deadline, e);
	return r < 0 ? r
		     : request_reply(q,
				     json_pack("{s:s}", "session", session.id),
				     false, e);
}
